/* Who is asking: methods are tried in order, each in a file of its own (auth_token.c,
 * auth_file.c). */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct auth;

enum auth_role { AUTH_USER, AUTH_ADMIN };

struct auth_identity {
    const char *name; /* owner of what it starts; lives as long as the auth, over reloads too */
    enum auth_role role;
    bool verified; /* false: the one user of a gateway without named tokens */
};

struct auth_settings {
    const char *token;      /* the shared one, role admin; NULL or "" = none */
    const char *token_file; /* names and hashed tokens; NULL = none */
};

int auth_create(const struct auth_settings *settings, struct auth **ret, struct error *err);
void auth_destroy(struct auth *auth);
int auth_reload(struct auth *auth, struct error *err); /* on failure the old tokens stay */
/* The same with other settings. Identities that were given out stay. */
int auth_configure(struct auth *auth, const struct auth_settings *settings, struct error *err);
/* false: no token is configured, everybody is the one user */
bool auth_is_required(const struct auth *auth);

/* authorization: the header or NULL; query_token: "?token=" or NULL, which wins when it is there.
 * -1 with ERROR_DENIED when no method knows the client. Constant-time. */
int auth_check(struct auth *auth, const char *authorization, const char *query_token,
               const struct auth_identity **ret, struct error *err);

/* The same for pages that people open in a browser: HTTP Basic counts too, with the token as the
 * password and any user name. Browsers send that by themselves from then on, for other sites' pages
 * too, so whoever asks this looks at Origin before anything is changed. */
int auth_check_page(struct auth *auth, const char *authorization, const char *query_token,
                    const struct auth_identity **ret, struct error *err);

/* May this identity see and use what `owner` owns? Admins may all. */
bool auth_may_use(const struct auth_identity *identity, const char *owner);
