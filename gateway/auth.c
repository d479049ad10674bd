#include "gateway/auth.h"

#include "base/map.h"
#include "base/memory.h"
#include "gateway/auth_method.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { METHODS_MAX = 4 };

/* Kept until the auth goes: at most one for each name and role that ever stood in the file. */
struct known_identity {
    struct auth_identity identity;
    char name[AUTH_NAME_MAX + 1];
};

struct auth {
    struct auth_method *methods[METHODS_MAX];
    size_t method_count;
    struct map *identities;              /* "<role><verified>:<name>" to struct known_identity */
    const struct auth_identity *anybody; /* when no token is configured */
};

const struct auth_identity *auth_identity_get(struct auth *auth, const char *name,
                                              enum auth_role role, bool verified) {
    char key[AUTH_NAME_MAX + 8];
    snprintf(key, sizeof key, "%c%c:%s", role == AUTH_ADMIN ? 'a' : 'u', verified ? 'v' : '-',
             name);
    struct known_identity *known = map_get(auth->identities, key);
    if (known != NULL)
        return &known->identity;
    known = memory_alloc(sizeof *known);
    snprintf(known->name, sizeof known->name, "%s", name);
    known->identity =
        (struct auth_identity){.name = known->name, .role = role, .verified = verified};
    map_put(auth->identities, key, known);
    return &known->identity;
}

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

static void destroy_methods(struct auth_method **methods, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (methods[i] != NULL)
            methods[i]->ops->destroy(methods[i]);
}

int auth_configure(struct auth *auth, const struct auth_settings *settings, struct error *err) {
    struct auth_method *methods[METHODS_MAX] = {0};
    size_t count = 0;
    int failed = 0;
    if (is_set(settings->token))
        failed = auth_token_create(auth, settings->token, &methods[count++], err);
    if (failed == 0 && is_set(settings->token_file))
        failed = auth_file_create(auth, settings->token_file, &methods[count++], err);
    if (failed < 0) {
        destroy_methods(methods, count);
        return -1;
    }
    destroy_methods(auth->methods, auth->method_count);
    memcpy(auth->methods, methods, sizeof methods);
    auth->method_count = count;
    return 0;
}

int auth_create(const struct auth_settings *settings, struct auth **ret, struct error *err) {
    if (sodium_init() < 0)
        return error_set(err, ERROR_SYSTEM, "libsodium does not start: is there no /dev/urandom?");
    struct auth *auth = memory_alloc(sizeof *auth);
    auth->identities = map_create();
    auth->anybody = auth_identity_get(auth, AUTH_DEFAULT_NAME, AUTH_ADMIN, false);
    if (auth_configure(auth, settings, err) < 0) {
        auth_destroy(auth);
        return -1;
    }
    *ret = auth;
    return 0;
}

void auth_destroy(struct auth *auth) {
    if (auth == NULL)
        return;
    destroy_methods(auth->methods, auth->method_count);
    size_t at = 0;
    void *known;
    while (map_next(auth->identities, &at, NULL, &known))
        free(known);
    map_destroy(auth->identities);
    free(auth);
}

int auth_reload(struct auth *auth, struct error *err) {
    int failed = 0;
    for (size_t i = 0; i < auth->method_count; i++) {
        struct auth_method *method = auth->methods[i];
        if (method->ops->reload != NULL && method->ops->reload(method, err) < 0)
            failed = -1;
    }
    return failed;
}

bool auth_is_required(const struct auth *auth) {
    return auth->method_count > 0;
}

void auth_present(const char *token, size_t length, struct auth_presented *ret) {
    crypto_generichash(ret->blake2b, sizeof ret->blake2b, (const unsigned char *)token, length,
                       NULL, 0);
    crypto_hash_sha256(ret->sha256, (const unsigned char *)token, length);
}

/* "token abc", "Bearer abc": the scheme in any case, spaces, the token to the end. NULL when it is
 * anything else. */
static const char *token_of_header(const char *authorization) {
    static const char *const schemes[] = {"token", "bearer"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);
        if (strncasecmp(authorization, schemes[i], length) != 0 || authorization[length] != ' ')
            continue;
        return authorization + length + strspn(authorization + length, " ");
    }
    return NULL;
}

static int pick_token(const char *authorization, const char *query_token, const char **ret,
                      struct error *err) {
    if (query_token != NULL)
        *ret = query_token;
    else if (authorization == NULL)
        return error_set(
            err, ERROR_DENIED,
            "no token was sent: send the header 'Authorization: token ...', or ?token= "
            "where headers cannot be set");
    else if ((*ret = token_of_header(authorization)) == NULL)
        return error_set(err, ERROR_DENIED,
                         "the Authorization header must be 'token ...' or 'Bearer ...'");
    if ((*ret)[0] == '\0')
        return error_set(err, ERROR_DENIED, "the token that was sent is empty");
    if (strlen(*ret) > AUTH_TOKEN_MAX)
        return error_set(err, ERROR_DENIED, "the token that was sent is too long");
    return 0;
}

static int find_identity(const struct auth *auth, const char *token,
                         const struct auth_identity **ret, struct error *err) {
    struct auth_presented presented;
    auth_present(token, strlen(token), &presented);
    const struct auth_identity *found = NULL;
    for (size_t i = 0; i < auth->method_count; i++) { /* all of them, for the same time */
        const struct auth_identity *one = auth->methods[i]->ops->find(auth->methods[i], &presented);
        if (found == NULL)
            found = one;
    }
    sodium_memzero(&presented, sizeof presented);
    if (found == NULL)
        return error_set(err, ERROR_DENIED, "the token is not known");
    *ret = found;
    return 0;
}

int auth_check(struct auth *auth, const char *authorization, const char *query_token,
               const struct auth_identity **ret, struct error *err) {
    if (!auth_is_required(auth)) {
        *ret = auth->anybody;
        return 0;
    }
    const char *token = NULL;
    if (pick_token(authorization, query_token, &token, err) < 0)
        return -1;
    return find_identity(auth, token, ret, err);
}

/* RFC 7617: base64 of "name:password". The password, within `text`; NULL when there is none. */
static const char *read_password(const char *encoded, char *text, size_t size) {
    size_t length;
    encoded += strspn(encoded, " ");
    if (sodium_base642bin((unsigned char *)text, size - 1, encoded, strlen(encoded), NULL, &length,
                          NULL, sodium_base64_VARIANT_ORIGINAL) < 0)
        return NULL;
    text[length] = '\0';
    char *colon = strchr(text, ':');
    return strlen(text) == length && colon != NULL ? colon + 1 : NULL;
}

int auth_check_page(struct auth *auth, const char *authorization, const char *query_token,
                    const struct auth_identity **ret, struct error *err) {
    bool is_basic = authorization != NULL && strncasecmp(authorization, "basic ", 6) == 0;
    if (!auth_is_required(auth) || query_token != NULL || (authorization != NULL && !is_basic))
        return auth_check(auth, authorization, query_token, ret, err);
    char text[AUTH_TOKEN_MAX + AUTH_NAME_MAX + 2];
    const char *token = is_basic ? read_password(authorization + 6, text, sizeof text) : NULL;
    int result = token != NULL && *token != '\0'
                     ? find_identity(auth, token, ret, err)
                     : error_set(err, ERROR_DENIED,
                                 "give your token as the password; the user name does not matter");
    sodium_memzero(text, sizeof text);
    return result;
}

bool auth_may_use(const struct auth_identity *identity, const char *owner) {
    if (identity == NULL)
        return false;
    return identity->role == AUTH_ADMIN || (owner != NULL && strcmp(identity->name, owner) == 0);
}
