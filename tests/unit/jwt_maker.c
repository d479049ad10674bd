#include "jwt_maker.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

EVP_PKEY *jwt_maker_rsa(unsigned bits) {
    return EVP_RSA_gen(bits);
}

EVP_PKEY *jwt_maker_ec(const char *curve) {
    return EVP_EC_gen(curve);
}

char *jwt_maker_base64(const void *data, size_t length) {
    char *text = malloc(4 * length / 3 + 8);
    MUST(text != NULL);
    int written = EVP_EncodeBlock((unsigned char *)text, data, (int)length);
    for (int i = 0; i < written; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    text[strcspn(text, "=")] = '\0';
    return text;
}

static void set_number(json_t *jwk, const char *name, const EVP_PKEY *key, const char *parameter,
                       size_t size) {
    BIGNUM *number = NULL;
    unsigned char bytes[1024];
    MUST(EVP_PKEY_get_bn_param(key, parameter, &number) == 1);
    int length = BN_bn2binpad(number, bytes, (int)(size > 0 ? size : (size_t)BN_num_bytes(number)));
    char *text = jwt_maker_base64(bytes, (size_t)length);
    json_object_set_new(jwk, name, json_string(text));
    free(text);
    BN_free(number);
}

json_t *jwt_maker_jwk(const EVP_PKEY *key, const char *id, const char *algorithm) {
    json_t *jwk = json_object();
    size_t size = ((size_t)EVP_PKEY_get_bits(key) + 7) / 8;
    if (EVP_PKEY_is_a(key, "RSA")) {
        json_object_set_new(jwk, "kty", json_string("RSA"));
        set_number(jwk, "n", key, OSSL_PKEY_PARAM_RSA_N, 0);
        set_number(jwk, "e", key, OSSL_PKEY_PARAM_RSA_E, 0);
    } else {
        char curve[16];
        snprintf(curve, sizeof curve, "P-%d", EVP_PKEY_get_bits(key));
        json_object_set_new(jwk, "kty", json_string("EC"));
        json_object_set_new(jwk, "crv", json_string(curve));
        set_number(jwk, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, size);
        set_number(jwk, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, size);
    }
    if (id != NULL)
        json_object_set_new(jwk, "kid", json_string(id));
    if (algorithm != NULL)
        json_object_set_new(jwk, "alg", json_string(algorithm));
    return jwk;
}

static size_t hmac(EVP_PKEY *key, const char *text, unsigned char *ret) {
    BIO *memory = BIO_new(BIO_s_mem());
    char *pem;
    unsigned length = 0;
    MUST(PEM_write_bio_PUBKEY(memory, key) == 1);
    long size = BIO_get_mem_data(memory, &pem);
    MUST(HMAC(EVP_sha256(), pem, (int)size, (const unsigned char *)text, strlen(text), ret,
              &length) != NULL);
    BIO_free(memory);
    return length;
}

/* RFC 7518, 3.4: two numbers of the curve's size. */
static size_t flatten(const EVP_PKEY *key, const unsigned char *der, size_t length,
                      unsigned char *ret) {
    int size = (EVP_PKEY_get_bits(key) + 7) / 8;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)length);
    MUST(pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), ret, size) == size &&
         BN_bn2binpad(ECDSA_SIG_get0_s(pair), ret + size, size) == size);
    ECDSA_SIG_free(pair);
    return 2 * (size_t)size;
}

static size_t sign(EVP_PKEY *key, const char *algorithm, const char *text, unsigned char *ret,
                   size_t room) {
    char digest[16];
    unsigned char raw[1024];
    size_t length = sizeof raw;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options = NULL;
    snprintf(digest, sizeof digest, "SHA%s", algorithm + 2);
    MUST(EVP_DigestSignInit_ex(context, &options, digest, NULL, NULL, key, NULL) == 1);
    if (algorithm[0] == 'P')
        MUST(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1);
    MUST(EVP_DigestSign(context, raw, &length, (const unsigned char *)text, strlen(text)) == 1 &&
         length <= room);
    EVP_MD_CTX_free(context);
    if (algorithm[0] == 'E')
        return flatten(key, raw, length, ret);
    memcpy(ret, raw, length);
    return length;
}

char *jwt_maker_sign(EVP_PKEY *key, const char *algorithm, const char *header, const char *claims) {
    unsigned char signature[1024];
    char *first = jwt_maker_base64(header, strlen(header)), *signed_text, *token;
    char *second = jwt_maker_base64(claims, strlen(claims));
    MUST(asprintf(&signed_text, "%s.%s", first, second) > 0);
    size_t length = strcmp(algorithm, "none") == 0 ? 0
                    : strcmp(algorithm, "HS256") == 0
                        ? hmac(key, signed_text, signature)
                        : sign(key, algorithm, signed_text, signature, sizeof signature);
    char *third = jwt_maker_base64(signature, length);
    MUST(asprintf(&token, "%s.%s", signed_text, third) > 0);
    free(first);
    free(second);
    free(third);
    free(signed_text);
    return token;
}
