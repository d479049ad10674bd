#include "gateway/jwt.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    KEYS_MAX = 64,
    SKEW_MS = 60 * 1000,
    RSA_BITS_MIN = 2048, /* RFC 7518, 3.3 */
    RSA_BITS_MAX = 16384,
    COORDINATE_MAX = 66, /* bytes, of P-521 */
};

struct jwt_key {
    EVP_PKEY *key;
    char *id, *algorithm; /* NULL: it does not say */
};

struct jwt_keys {
    struct jwt_key list[KEYS_MAX];
    size_t count;
};

/* RFC 7518, 3.1. "none" and those of shared secrets are not here. */
static const struct algorithm {
    const char *name, *digest;
    int padding;    /* of RSA */
    int curve_bits; /* of the curve that goes with it; 0: RSA */
} algorithms[] = {
    {"RS256", "SHA256", RSA_PKCS1_PADDING, 0},
    {"RS384", "SHA384", RSA_PKCS1_PADDING, 0},
    {"RS512", "SHA512", RSA_PKCS1_PADDING, 0},
    {"PS256", "SHA256", RSA_PKCS1_PSS_PADDING, 0},
    {"PS384", "SHA384", RSA_PKCS1_PSS_PADDING, 0},
    {"PS512", "SHA512", RSA_PKCS1_PSS_PADDING, 0},
    {"ES256", "SHA256", 0, 256},
    {"ES384", "SHA384", 0, 384},
    {"ES512", "SHA512", 0, 521},
};

/* NULL: it does not count. */
static const struct algorithm *find_algorithm(const char *name) {
    for (size_t i = 0; name != NULL && i < sizeof algorithms / sizeof algorithms[0]; i++)
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    return NULL;
}

static const char *text_at(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

/* RFC 7515, 2: base64url without padding. malloc'ed; NULL when it is anything else. */
static unsigned char *decode(const char *text, size_t length, size_t *size) {
    size_t room = length / 4 * 3 + 3;
    unsigned char *data = memory_alloc(room);
    if (sodium_base642bin(data, room, text, length, NULL, size, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0)
        return data;
    free(data);
    return NULL;
}

/* Keys. */

static unsigned char *read_bytes(const json_t *jwk, const char *name, size_t *size) {
    const char *text = text_at(jwk, name);
    return text != NULL ? decode(text, strlen(text), size) : NULL;
}

static EVP_PKEY *make_key(const char *type, OSSL_PARAM_BLD *builder) {
    EVP_PKEY *key = NULL;
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (EVP_PKEY_fromdata_init(maker) == 1)
        EVP_PKEY_fromdata(maker, &key, EVP_PKEY_PUBLIC_KEY, parameters);
    EVP_PKEY_CTX_free(maker);
    OSSL_PARAM_free(parameters);
    EVP_PKEY_CTX *checker = key != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
    if (checker == NULL || EVP_PKEY_public_check(checker) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    EVP_PKEY_CTX_free(checker);
    return key;
}

/* RFC 7518, 6.3.1. */
static EVP_PKEY *read_rsa(const json_t *jwk) {
    size_t n_size = 0, e_size = 0;
    cleanup_free unsigned char *n = read_bytes(jwk, "n", &n_size);
    cleanup_free unsigned char *e = read_bytes(jwk, "e", &e_size);
    if (n == NULL || e == NULL || n_size > RSA_BITS_MAX / 8 || e_size > 8)
        return NULL;
    BIGNUM *modulus = BN_bin2bn(n, (int)n_size, NULL), *exponent = BN_bin2bn(e, (int)e_size, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (BN_num_bits(modulus) >= RSA_BITS_MIN &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        key = make_key("RSA", builder);
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

/* RFC 7518, 6.2.1; the point is uncompressed, as in SEC 1, 2.3.3. */
static EVP_PKEY *read_ec(const json_t *jwk) {
    static const struct {
        const char *name;
        size_t size;
    } curves[] = {{"P-256", 32}, {"P-384", 48}, {"P-521", COORDINATE_MAX}};
    size_t x_size = 0, y_size = 0;
    const char *curve = text_at(jwk, "crv");
    cleanup_free unsigned char *x = read_bytes(jwk, "x", &x_size);
    cleanup_free unsigned char *y = read_bytes(jwk, "y", &y_size);
    unsigned char point[1 + 2 * COORDINATE_MAX] = {4};
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
        size_t size = curves[i].size;
        if (curve == NULL || strcmp(curve, curves[i].name) != 0 || x == NULL || y == NULL ||
            x_size != size || y_size != size)
            continue;
        memcpy(point + 1, x, size);
        memcpy(point + 1 + size, y, size);
        EVP_PKEY *key = NULL;
        OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
        if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) == 1 &&
            OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                                             1 + 2 * size) == 1)
            key = make_key("EC", builder);
        OSSL_PARAM_BLD_free(builder);
        return key;
    }
    return NULL;
}

/* NULL: it is not for signatures, or of a kind that is not known here. */
static EVP_PKEY *read_key(const json_t *jwk) {
    const char *use = text_at(jwk, "use"), *type = text_at(jwk, "kty");
    if (type == NULL || (use != NULL && strcmp(use, "sig") != 0))
        return NULL;
    return strcmp(type, "RSA") == 0 ? read_rsa(jwk) : strcmp(type, "EC") == 0 ? read_ec(jwk) : NULL;
}

int jwt_keys_parse(const json_t *set, struct jwt_keys **ret, struct error *err) {
    struct jwt_keys *keys = memory_alloc(sizeof *keys);
    const json_t *jwk;
    size_t i;
    json_array_foreach(json_object_get(set, "keys"), i, jwk) {
        EVP_PKEY *key = keys->count < KEYS_MAX ? read_key(jwk) : NULL;
        if (key == NULL)
            continue;
        const char *id = text_at(jwk, "kid"), *algorithm = text_at(jwk, "alg");
        keys->list[keys->count++] = (struct jwt_key){
            .key = key,
            .id = id != NULL ? memory_strdup(id) : NULL,
            .algorithm = algorithm != NULL ? memory_strdup(algorithm) : NULL,
        };
    }
    ERR_clear_error(); /* what is left there would be taken for a connection's */
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
        EVP_PKEY_free(keys->list[i].key);
        free(keys->list[i].id);
        free(keys->list[i].algorithm);
    }
    free(keys);
}

/* Signatures. */

struct jwt {
    const char *text; /* what is signed: the first two parts, with the dot between them */
    size_t length;
    json_t *header, *claims;
    unsigned char *signature;
    size_t signature_size;
};

static bool may_have_signed(const struct jwt_key *key, const char *id,
                            const struct algorithm *algorithm) {
    bool is_of_kind =
        algorithm->curve_bits == 0
            ? EVP_PKEY_is_a(key->key, "RSA")
            : EVP_PKEY_is_a(key->key, "EC") && EVP_PKEY_get_bits(key->key) == algorithm->curve_bits;
    return is_of_kind && (id == NULL || key->id == NULL || strcmp(id, key->id) == 0) &&
           (key->algorithm == NULL || strcmp(algorithm->name, key->algorithm) == 0);
}

/* RFC 7518, 3.4: two numbers of the curve's size; OpenSSL wants them in DER. Returns its length; 0:
 * it is no signature. */
static int write_der(const struct jwt *jwt, int curve_bits, unsigned char **ret) {
    int size = (curve_bits + 7) / 8;
    if (jwt->signature_size != 2 * (size_t)size)
        return 0;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    ECDSA_SIG_set0(pair, BN_bin2bn(jwt->signature, size, NULL),
                   BN_bin2bn(jwt->signature + size, size, NULL));
    int length = i2d_ECDSA_SIG(pair, ret);
    ECDSA_SIG_free(pair);
    return length;
}

static bool is_signed_by(const struct jwt *jwt, const struct algorithm *algorithm, EVP_PKEY *key) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options = NULL;
    unsigned char *der = NULL;
    int der_size = algorithm->curve_bits > 0 ? write_der(jwt, algorithm->curve_bits, &der) : 0;
    bool is_good =
        EVP_DigestVerifyInit_ex(context, &options, algorithm->digest, NULL, NULL, key, NULL) == 1;
    if (is_good && algorithm->curve_bits == 0)
        is_good = EVP_PKEY_CTX_set_rsa_padding(options, algorithm->padding) == 1;
    if (is_good && algorithm->padding == RSA_PKCS1_PSS_PADDING)
        is_good = EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1;
    is_good = is_good && (algorithm->curve_bits == 0 || der_size > 0) &&
              EVP_DigestVerify(context, der != NULL ? der : jwt->signature,
                               der != NULL ? (size_t)der_size : jwt->signature_size,
                               (const unsigned char *)jwt->text, jwt->length) == 1;
    OPENSSL_free(der);
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return is_good;
}

/* What the same issuer signs for other purposes, such as a logout token (RFC 8725, 3.12). */
static bool is_to_come_in(const char *type) {
    if (type != NULL && strncasecmp(type, "application/", 12) == 0)
        type += 12;
    return type == NULL || strcasecmp(type, "JWT") == 0 || strcasecmp(type, "at+jwt") == 0;
}

/* Only a key that has the token's very name is certainly the right one. */
static int verify(const struct jwt_keys *keys, const struct jwt *jwt,
                  const struct algorithm *algorithm, struct error *err) {
    const char *id = text_at(jwt->header, "kid");
    bool is_certain = false;
    for (size_t i = 0; i < keys->count; i++) {
        const struct jwt_key *key = &keys->list[i];
        if (!may_have_signed(key, id, algorithm))
            continue;
        if (is_signed_by(jwt, algorithm, key->key))
            return 0;
        is_certain = is_certain || (id != NULL && key->id != NULL);
    }
    return is_certain ? error_set(err, ERROR_DENIED, "the token's signature is not the issuer's")
                      : error_set(err, ERROR_NOT_FOUND,
                                  "the token is signed with a key that the issuer does not "
                                  "publish");
}

/* The issuer first: another one's keys are not among these, nor worth looking for. */
static int check(const struct jwt_keys *keys, const struct jwt *jwt, const char *issuer,
                 struct error *err) {
    const char *from = text_at(jwt->claims, "iss");
    const char *type = text_at(jwt->header, "typ");
    const struct algorithm *algorithm = find_algorithm(text_at(jwt->header, "alg"));
    if (jwt->header == NULL || jwt->signature == NULL)
        return error_set(err, ERROR_DENIED, "the token is no JSON Web Token");
    if (jwt->claims == NULL)
        return error_set(err, ERROR_DENIED, "the token's claims are no JSON object");
    if (from == NULL || strcmp(from, issuer) != 0)
        return error_set(err, ERROR_DENIED, "the token is of another issuer");
    /* RFC 7515, 4.1.11: nothing of that is understood here */
    if (json_object_get(jwt->header, "crit") != NULL)
        return error_set(err, ERROR_DENIED, "the token's header has crit");
    if (algorithm == NULL)
        return error_set(err, ERROR_DENIED,
                         "the token's algorithm is not one of RS, PS and ES with 256, 384 or 512");
    if (!is_to_come_in(type))
        return error_set(err, ERROR_DENIED, "the token's type is %.40s, not JWT or at+jwt", type);
    return verify(keys, jwt, algorithm, err);
}

static json_t *read_object(const char *text, size_t length) {
    size_t size;
    cleanup_free unsigned char *data = decode(text, length, &size);
    json_t *object =
        data != NULL ? json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

int jwt_verify(const struct jwt_keys *keys, const char *token, const char *issuer, json_t **ret,
               struct error *err) {
    const char *first = strchr(token, '.'), *second = first != NULL ? strchr(first + 1, '.') : NULL;
    if (second == NULL)
        return error_set(err, ERROR_DENIED, "the token is no JSON Web Token");
    struct jwt jwt = {
        .text = token,
        .length = (size_t)(second - token),
        .header = read_object(token, (size_t)(first - token)),
        .claims = read_object(first + 1, (size_t)(second - first - 1)),
    };
    jwt.signature = decode(second + 1, strlen(second + 1), &jwt.signature_size);
    int result = check(keys, &jwt, issuer, err);
    if (result == 0)
        *ret = json_incref(jwt.claims);
    json_decref(jwt.header);
    json_decref(jwt.claims);
    free(jwt.signature);
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
