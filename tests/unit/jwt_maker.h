/* Keys of an OpenID provider and what it signs with them, by OpenSSL alone: another hand than the
 * one that reads them. */
#pragma once

#include <jansson.h>
#include <openssl/evp.h>
#include <stddef.h>

EVP_PKEY *jwt_maker_rsa(unsigned bits);
EVP_PKEY *jwt_maker_ec(const char *curve); /* "P-256" */
/* The public half as a JWK with these members beside (NULL: none); a new reference. */
json_t *jwt_maker_jwk(const EVP_PKEY *key, const char *id, const char *algorithm);

/* header and claims as they are, signed for `algorithm`: RS256, PS384, ES256, ... or HS256, whose
 * secret is the key's PEM text; "none": without a signature. To be freed. */
char *jwt_maker_sign(EVP_PKEY *key, const char *algorithm, const char *header, const char *claims);
char *jwt_maker_base64(const void *data,
                       size_t length); /* URL-safe, without padding; to be freed */
