/* What a way of knowing clients has to offer to auth.c. A new one is a file of its own with a
 * create function. */
#pragma once

#include "gateway/auth.h"

#include <stdint.h>

enum { AUTH_HASH_SIZE = 32, AUTH_NAME_MAX = 128, AUTH_TOKEN_MAX = 4096 };

/* The owner of what is started without a named token. No entry of a token file may have this
 * name. */
#define AUTH_DEFAULT_NAME "default"

/* Hashes of a token that a client showed, made once for all methods. */
struct auth_presented {
    uint8_t blake2b[AUTH_HASH_SIZE];
    uint8_t sha256[AUTH_HASH_SIZE];
};
void auth_present(const char *token, size_t length, struct auth_presented *ret);

struct auth_method;
struct auth_method_ops {
    const char *name; /* for the log */
    /* Whose token it is, or NULL. Takes the same time whether and where it is found. */
    const struct auth_identity *(*find)(const struct auth_method *self,
                                        const struct auth_presented *presented);
    /* Reads its source again; NULL: it has none. On failure the old state stays. */
    int (*reload)(struct auth_method *self, struct error *err);
    void (*destroy)(struct auth_method *self);
};
struct auth_method {
    const struct auth_method_ops *ops;
};

/* The one identity of that name and role; lives as long as `auth`, so that a request that is under
 * way survives a reload. */
const struct auth_identity *auth_identity_get(struct auth *auth, const char *name,
                                              enum auth_role role, bool verified);

int auth_token_create(struct auth *auth, const char *token, struct auth_method **ret,
                      struct error *err);
int auth_file_create(struct auth *auth, const char *path, struct auth_method **ret,
                     struct error *err);
