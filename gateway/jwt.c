#include "gateway/jwt.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#include <cjose/cjose.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEYS_MAX = 64, SKEW_MS = 60 * 1000 };

struct jwt_key {
    cjose_jwk_t *jwk;
    char *id, *algorithm; /* NULL: it does not say */
};

struct jwt_keys {
    struct jwt_key list[KEYS_MAX];
    size_t count;
};

static bool is_for_signatures(const json_t *key) {
    const char *use = json_string_value(json_object_get(key, "use"));
    const char *type = json_string_value(json_object_get(key, "kty"));
    return (use == NULL || strcmp(use, "sig") == 0) && type != NULL &&
           (strcmp(type, "RSA") == 0 || strcmp(type, "EC") == 0);
}

static void add_key(struct jwt_keys *keys, const json_t *key) {
    cleanup_free char *text = json_dumps(key, JSON_COMPACT);
    cjose_jwk_t *jwk = cjose_jwk_import(text, strlen(text), NULL);
    if (jwk == NULL)
        return;
    const char *id = json_string_value(json_object_get(key, "kid"));
    const char *algorithm = json_string_value(json_object_get(key, "alg"));
    keys->list[keys->count++] = (struct jwt_key){
        .jwk = jwk,
        .id = id != NULL ? memory_strdup(id) : NULL,
        .algorithm = algorithm != NULL ? memory_strdup(algorithm) : NULL,
    };
}

int jwt_keys_parse(const json_t *set, struct jwt_keys **ret, struct error *err) {
    struct jwt_keys *keys = memory_alloc(sizeof *keys);
    const json_t *key;
    size_t i;
    json_array_foreach(json_object_get(set, "keys"), i, key) {
        if (keys->count < KEYS_MAX && is_for_signatures(key))
            add_key(keys, key);
    }
    if (keys->count == 0) {
        jwt_keys_destroy(keys);
        return error_set(err, ERROR_INVALID, "keys: none of RSA or EC for signatures is there");
    }
    *ret = keys;
    return 0;
}

void jwt_keys_destroy(struct jwt_keys *keys) {
    if (keys == NULL)
        return;
    for (size_t i = 0; i < keys->count; i++) {
        cjose_jwk_release(keys->list[i].jwk);
        free(keys->list[i].id);
        free(keys->list[i].algorithm);
    }
    free(keys);
}

/* The type that keys of this algorithm have; 0: it does not count here ("none", HS256, ...). */
static cjose_jwk_kty_t key_type(const char *algorithm) {
    static const char sizes[3][4] = {"256", "384", "512"};
    bool has_size = false;
    if (algorithm == NULL || strlen(algorithm) != 5)
        return 0;
    for (size_t i = 0; i < 3; i++)
        has_size = has_size || strcmp(algorithm + 2, sizes[i]) == 0;
    if (has_size && (text_starts_with(algorithm, "RS") || text_starts_with(algorithm, "PS")))
        return CJOSE_JWK_KTY_RSA;
    return has_size && text_starts_with(algorithm, "ES") ? CJOSE_JWK_KTY_EC : 0;
}

static bool may_have_signed(const struct jwt_key *key, const char *id, const char *algorithm) {
    return (id == NULL || key->id == NULL || strcmp(id, key->id) == 0) &&
           (key->algorithm == NULL || strcmp(algorithm, key->algorithm) == 0) &&
           cjose_jwk_get_kty(key->jwk, NULL) == key_type(algorithm);
}

/* What the same issuer signs for other purposes, such as a logout token (RFC 8725, 3.12). */
static bool is_to_come_in(const char *type) {
    if (type != NULL && strncasecmp(type, "application/", 12) == 0)
        type += 12;
    return type == NULL || strcasecmp(type, "JWT") == 0 || strcasecmp(type, "at+jwt") == 0;
}

static int check_header(cjose_header_t *header, struct error *err) {
    char *critical = cjose_header_get_raw(header, "crit", NULL);
    cjose_get_dealloc()(critical);
    if (critical != NULL) /* RFC 7515, 4.1.11: nothing of that is understood here */
        return error_set(err, ERROR_DENIED, "the token's header has crit");
    if (key_type(cjose_header_get(header, CJOSE_HDR_ALG, NULL)) == 0)
        return error_set(err, ERROR_DENIED,
                         "the token's algorithm is not one of RS, PS and ES with 256, 384 or 512");
    const char *type = cjose_header_get(header, "typ", NULL);
    if (!is_to_come_in(type))
        return error_set(err, ERROR_DENIED, "the token's type is %.40s, not JWT or at+jwt", type);
    return 0;
}

/* Only a key that has the token's very name is certainly the right one. */
static int verify(const struct jwt_keys *keys, cjose_jws_t *jws, struct error *err) {
    cjose_header_t *header = cjose_jws_get_protected(jws);
    const char *algorithm = cjose_header_get(header, CJOSE_HDR_ALG, NULL);
    const char *id = cjose_header_get(header, CJOSE_HDR_KID, NULL);
    bool is_certain = false;
    for (size_t i = 0; i < keys->count; i++) {
        const struct jwt_key *key = &keys->list[i];
        if (!may_have_signed(key, id, algorithm))
            continue;
        if (cjose_jws_verify(jws, key->jwk, NULL))
            return 0;
        is_certain = is_certain || (id != NULL && key->id != NULL);
    }
    return is_certain
               ? error_set(err, ERROR_DENIED, "the token's signature is not the issuer's")
               : error_set(err, ERROR_NOT_FOUND,
                           "the token is signed with a key that the issuer does not publish");
}

static json_t *read_claims(const cjose_jws_t *jws) {
    uint8_t *text;
    size_t length;
    if (!cjose_jws_get_plaintext(jws, &text, &length, NULL))
        return NULL;
    json_t *claims = json_loadb((const char *)text, length, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(claims))
        return claims;
    json_decref(claims);
    return NULL;
}

/* The issuer first: another one's keys are not among these, nor worth looking for. */
static int check_token(const struct jwt_keys *keys, cjose_jws_t *jws, const char *issuer,
                       const json_t *claims, struct error *err) {
    const char *from = json_string_value(json_object_get(claims, "iss"));
    if (claims == NULL)
        return error_set(err, ERROR_DENIED, "the token's claims are no JSON object");
    if (from == NULL || strcmp(from, issuer) != 0)
        return error_set(err, ERROR_DENIED, "the token is of another issuer");
    if (check_header(cjose_jws_get_protected(jws), err) < 0)
        return -1;
    return verify(keys, jws, err);
}

int jwt_verify(const struct jwt_keys *keys, const char *token, const char *issuer, json_t **ret,
               struct error *err) {
    cjose_jws_t *jws = cjose_jws_import(token, strlen(token), NULL);
    if (jws == NULL)
        return error_set(err, ERROR_DENIED, "the token is no JSON Web Token");
    cleanup_json json_t *claims = read_claims(jws);
    int result = check_token(keys, jws, issuer, claims, err);
    if (result == 0)
        *ret = steal(&claims);
    cjose_jws_release(jws);
    return result;
}

/* RFC 7519, 4.1.3: a text, or an array of them. */
static bool is_for(const json_t *audience, const char *us) {
    const json_t *one;
    size_t i;
    if (json_is_string(audience))
        return strcmp(json_string_value(audience), us) == 0;
    json_array_foreach(audience, i, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), us) == 0)
            return true;
    }
    return false;
}

int jwt_check_claims(const json_t *claims, const char *audience, int64_t now_ms, int64_t *until_ms,
                     struct error *err) {
    const json_t *expires = json_object_get(claims, "exp");
    const json_t *not_before = json_object_get(claims, "nbf");
    if (!is_for(json_object_get(claims, "aud"), audience))
        return error_set(err, ERROR_DENIED,
                         "the token is not for this gateway: its aud must have "
                         "oidc-audience");
    /* A year of six digits is far enough, and no overflow. */
    double end = json_number_value(expires), begin = json_number_value(not_before);
    if (!json_is_number(expires) || end < 0 || end > 1e13)
        return error_set(err, ERROR_DENIED, "the token does not say when it ends (exp)");
    if (end * 1000 + SKEW_MS < (double)now_ms)
        return error_set(err, ERROR_DENIED, "the token has expired");
    if (not_before != NULL &&
        (!json_is_number(not_before) || begin * 1000 - SKEW_MS > (double)now_ms))
        return error_set(err, ERROR_DENIED, "the token does not count yet (nbf)");
    *until_ms = (int64_t)(end * 1000) + SKEW_MS;
    return 0;
}
