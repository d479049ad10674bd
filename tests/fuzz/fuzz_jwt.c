/* Tokens of strangers and what a provider publishes, of any bytes: a line with a key set (empty:
 * the one that the corpus has tokens of), then the token. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "gateway/jwt.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char issuer[] = "https://id.example.org";
static const char published[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"ihKXh5HwktLNPYnUEMZS-WXods2fi59GgCBaNwkj_rS"
    "zyYk5q41XDNE8cVVnJEV37JoAZwqi2SwiKva63Qb7MU177FIL_H7dWCSxTAkRRCdmHTpIL"
    "686D9SJItGskZvWLwryylPrV0nGKCKXZmeSY04ociT20QNIzwaJhRo6ilxEg3YH0PaZ042"
    "zlosPdUsVy42TA1Flqy02YPHoQweCEKjWI3raHnsIaKMOWO2bn2b7Y_JDw_RRfT58OMV3x"
    "PNa6OXwORCp-6LNAmc3pxiG03Hfpb8EGl0ZRnZd1h3-qwhwF0_dAwagyLPXQYqVOHrY4aA"
    "guol1bJiWzvmqTowqoQ\",\"e\":\"AQAB\",\"kid\":\"r\"},{\"kty\":\"EC\",\"x\":\"wNM0JENycC"
    "aj5aE2NkhItvxct5n7uJTKXozihShBxsk\",\"y\":\"Bsuh-Ji2RSqUHN2VbqRghRmOk4S-ih"
    "rOJKi9UN_xGi4\",\"crv\":\"P-256\",\"kid\":\"e\",\"alg\":\"ES256\",\"use\":\"sig\"}]}";

static void try_claims(const json_t *claims) {
    struct error err = {0};
    int64_t until_ms = -1, now_ms = INT64_C(1700000000000);
    if (jwt_check_claims(claims, "elara", now_ms, &until_ms, &err) == 0)
        assert(until_ms >= now_ms && err.code == ERROR_NONE);
    else
        assert(until_ms == -1 && err.code == ERROR_DENIED && err.text[0] != '\0');
}

static void try_token(const struct jwt_keys *keys, const char *token) {
    struct error err = {0};
    json_t *claims = NULL;
    if (jwt_verify(keys, token, issuer, &claims, &err) == 0) {
        const char *from = json_string_value(json_object_get(claims, "iss"));
        assert(from != NULL && strcmp(from, issuer) == 0);
        try_claims(claims);
        json_decref(claims);
    } else {
        assert(claims == NULL && err.text[0] != '\0');
        assert(err.code == ERROR_DENIED || err.code == ERROR_NOT_FOUND);
    }
}

/* Made once: that a key is one takes longest. */
static const struct jwt_keys *published_keys(void) {
    static struct jwt_keys *keys;
    cleanup_json json_t *set = keys == NULL ? json_loads(published, 0, NULL) : NULL;
    if (keys == NULL && jwt_keys_parse(set, &keys, NULL) < 0)
        abort();
    return keys;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t length = end != NULL ? (size_t)(end - data) : size;
    cleanup_free char *token =
        end != NULL ? memory_strndup((const char *)end + 1, size - length - 1) : memory_strdup("");
    struct jwt_keys *keys = NULL;
    struct error err = {0};
    if (length == 0) {
        try_token(published_keys(), token);
        return 0;
    }
    cleanup_json json_t *set = json_loadb((const char *)data, length, 0, NULL);
    try_claims(set); /* no object of its kind, too */
    if (jwt_keys_parse(set, &keys, &err) < 0)
        assert(keys == NULL && err.code == ERROR_INVALID);
    else
        try_token(keys, token);
    jwt_keys_destroy(keys);
    return 0;
}
