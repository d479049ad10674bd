/* JSON Web Tokens (RFC 7519) that a provider has signed (RFC 7515) with one of its published keys
 * (RFC 7517). Only signatures of public keys count: RS, PS and ES with 256, 384 and 512 bits. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct jwt_keys;

/* set: {"keys": [...]}. Keys for something else than signatures, or of kinds that are not known
 * here, are passed over; ERROR_INVALID when none is left. */
int jwt_keys_parse(const json_t *set, struct jwt_keys **ret, struct error *err);
void jwt_keys_destroy(struct jwt_keys *keys); /* NULL is fine */

/* The claims, a new reference, when the token is of that issuer (iss) and its signature is good.
 * ERROR_NOT_FOUND: it was made with a key that is not among these, as far as can be told (there may
 * be newer ones). ERROR_DENIED: anything else is wrong. */
int jwt_verify(const struct jwt_keys *keys, const char *token, const char *issuer, json_t **ret,
               struct error *err);

/* Whether the claims are for us and count at this time; *until_ms: their end (exp). */
int jwt_check_claims(const json_t *claims, const char *audience, int64_t now_ms, int64_t *until_ms,
                     struct error *err);
