/* What a way of knowing clients has to offer to auth.c. A new one is a file of its own with a
 * create function. */
#pragma once

#include "gateway/auth.h"

#include <stdint.h>

enum { AUTH_HASH_SIZE = 32, AUTH_NAME_MAX = 128, AUTH_TOKEN_MAX = 16384 };

/* The owner of what is started without a named token. Nobody else may have this name. */
#define AUTH_DEFAULT_NAME "default"

/* A token that a client showed, and its hashes, made once for all methods. */
struct auth_presented {
    const char *token;
    uint8_t blake2b[AUTH_HASH_SIZE];
    uint8_t sha256[AUTH_HASH_SIZE];
};
void auth_present(const char *token, struct auth_presented *ret);
/* Does it look like a JSON Web Token (RFC 7519)? Others are not shown to those who want one. */
bool auth_token_is_jwt(const char *token);

enum auth_found {
    AUTH_FOUND,
    AUTH_UNKNOWN, /* err: why, where more is known than that; ERROR_UNAVAILABLE: perhaps later */
    AUTH_ASKING,  /* the waiter was taken */
};

struct auth_method;
struct auth_method_ops {
    const char *name; /* for the log */
    /* It asks somebody else, or looks at more than a token: it is not asked when a method before
     * it knows the client. The others are always, for the same time. */
    bool is_last_resort;
    bool needs_token; /* presented is never NULL */
    /* Whose evidence it is. A token is compared in the same time whether and where it is found. */
    enum auth_found (*find)(struct auth_method *self, const struct auth_evidence *evidence,
                            const struct auth_presented *presented, struct auth_waiter *waiter,
                            const struct auth_identity **ret, struct error *err);
    /* Reads its source again; NULL: it has none. On failure the old state stays. */
    int (*reload)(struct auth_method *self, struct error *err);
    void (*destroy)(struct auth_method *self);
};
struct auth_method {
    const struct auth_method_ops *ops;
};

/* "user", "admin", "viewer", "metrics"; false: it is none of them. */
bool auth_role_parse(const char *name, enum auth_role *ret);

/* The one identity of that name and role; lives as long as `auth`, so that a request that is under
 * way survives a reload. */
const struct auth_identity *auth_identity_get(struct auth *auth, const char *name,
                                              enum auth_role role, bool verified);
/* The same of a name that somebody else vouches for, with the role that the settings give it. NULL
 * when it cannot be an owner's: empty, longer than AUTH_NAME_MAX, "default", not UTF-8, with a
 * slash, control characters or spaces at an end. */
const struct auth_identity *auth_identity_of(struct auth *auth, const char *name);

int auth_token_create(struct auth *auth, const char *token, struct auth_method **ret,
                      struct error *err);
int auth_file_create(struct auth *auth, const char *path, struct auth_method **ret,
                     struct error *err);
int auth_certificate_create(struct auth *auth, const struct auth_settings *settings,
                            struct auth_method **ret, struct error *err);
int auth_proxy_create(struct auth *auth, const struct auth_settings *settings,
                      struct auth_method **ret, struct error *err);
int auth_oidc_create(struct auth *auth, struct event_base *loop,
                     const struct auth_settings *settings, struct auth_method **ret,
                     struct error *err);
int auth_review_create(struct auth *auth, struct event_base *loop,
                       const struct auth_settings *settings, struct auth_method **ret,
                       struct error *err);
int auth_hub_create(struct auth *auth, struct event_base *loop,
                    const struct auth_settings *settings, struct auth_method **ret,
                    struct error *err);
