#include "gateway/auth.h"

#include "base/log.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "gateway/auth_method.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LOG_AREA "gateway/auth"

enum { METHODS_MAX = 7 };

/* Kept until the auth goes: at most one for each name and role that somebody has vouched for. */
struct known_identity {
    struct auth_identity identity;
    char name[AUTH_NAME_MAX + 1];
};

struct auth {
    struct event_base *loop;
    struct auth_method *methods[METHODS_MAX];
    size_t method_count;
    char **admins, **viewers;
    struct map *identities;              /* "<role><verified>:<name>" to struct known_identity */
    const struct auth_identity *anybody; /* when no token is configured */
};

const struct auth_identity *auth_identity_get(struct auth *auth, const char *name,
                                              enum auth_role role, bool verified) {
    char key[AUTH_NAME_MAX + 8];
    snprintf(key, sizeof key, "%d%c:%s", (int)role, verified ? 'v' : '-', name);
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

bool auth_role_parse(const char *name, enum auth_role *ret) {
    static const char *const names[] = {[AUTH_USER] = "user",
                                        [AUTH_ADMIN] = "admin",
                                        [AUTH_VIEWER] = "viewer",
                                        [AUTH_METRICS] = "metrics"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        *ret = (enum auth_role)i;
        return true;
    }
    return false;
}

bool auth_is_user_name(const char *name) {
    size_t length = strlen(name);
    if (length == 0 || length > AUTH_NAME_MAX || strcmp(name, AUTH_DEFAULT_NAME) == 0 ||
        !utf8_is_valid(name, length) || name[0] == ' ' || name[length - 1] == ' ')
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f || name[i] == '/')
            return false;
    return true;
}

const struct auth_identity *auth_identity_of(struct auth *auth, const char *name) {
    if (!auth_is_user_name(name)) {
        log_warning("somebody is vouched for whose name cannot be an owner's: \"%.200s\"", name);
        return NULL;
    }
    enum auth_role role = text_list_has(auth->admins, name)    ? AUTH_ADMIN
                          : text_list_has(auth->viewers, name) ? AUTH_VIEWER
                                                               : AUTH_USER;
    return auth_identity_get(auth, name, role, true);
}

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

static void destroy_methods(struct auth_method **methods, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (methods[i] != NULL)
            methods[i]->ops->destroy(methods[i]);
}

/* What needs no other server first; the hub last, to which all other tokens are shown. */
static int create_methods(struct auth *auth, const struct auth_settings *settings,
                          struct auth_method **methods, size_t *count, struct error *err) {
    bool has_certificates =
        is_set(settings->certificate_user) && strcmp(settings->certificate_user, "none") != 0;
    if (is_set(settings->token) &&
        auth_token_create(auth, settings->token, &methods[(*count)++], err) < 0)
        return -1;
    if (is_set(settings->token_file) &&
        auth_file_create(auth, settings->token_file, &methods[(*count)++], err) < 0)
        return -1;
    if (has_certificates && auth_certificate_create(auth, settings, &methods[(*count)++], err) < 0)
        return -1;
    if (is_set(settings->proxy_header) &&
        auth_proxy_create(auth, settings, &methods[(*count)++], err) < 0)
        return -1;
    if (is_set(settings->oidc_issuer) &&
        auth_oidc_create(auth, auth->loop, settings, &methods[(*count)++], err) < 0)
        return -1;
    if (settings->token_review &&
        auth_review_create(auth, auth->loop, settings, &methods[(*count)++], err) < 0)
        return -1;
    if (is_set(settings->hub_api_url) &&
        auth_hub_create(auth, auth->loop, settings, &methods[(*count)++], err) < 0)
        return -1;
    return 0;
}

int auth_configure(struct auth *auth, const struct auth_settings *settings, struct error *err) {
    struct auth_method *methods[METHODS_MAX] = {0}, *before[METHODS_MAX];
    size_t count = 0, count_before = auth->method_count;
    if (create_methods(auth, settings, methods, &count, err) < 0) {
        destroy_methods(methods, count);
        return -1;
    }
    text_list_free(auth->admins);
    text_list_free(auth->viewers);
    auth->admins = text_list_copy(settings->admins);
    auth->viewers = text_list_copy(settings->viewers);
    memcpy(before, auth->methods, sizeof before);
    memcpy(auth->methods, methods, sizeof methods);
    auth->method_count = count;
    destroy_methods(before, count_before); /* last: who waits there asks the new ones */
    return 0;
}

int auth_create(struct event_base *loop, const struct auth_settings *settings, struct auth **ret,
                struct error *err) {
    if (sodium_init() < 0)
        return error_set(err, ERROR_SYSTEM, "libsodium does not start: is there no /dev/urandom?");
    struct auth *auth = memory_alloc(sizeof *auth);
    auth->loop = loop;
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
    text_list_free(auth->admins);
    text_list_free(auth->viewers);
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

void auth_present(const char *token, struct auth_presented *ret) {
    const unsigned char *bytes = (const unsigned char *)token;
    ret->token = token;
    crypto_generichash(ret->blake2b, sizeof ret->blake2b, bytes, strlen(token), NULL, 0);
    crypto_hash_sha256(ret->sha256, bytes, strlen(token));
}

bool auth_token_is_jwt(const char *token) {
    const char *first = strchr(token, '.');
    const char *second = first != NULL ? strchr(first + 1, '.') : NULL;
    return text_starts_with(token, "eyJ") && second != NULL && strchr(second + 1, '.') == NULL;
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

enum { BASIC_SIZE = AUTH_TOKEN_MAX + AUTH_NAME_MAX + 2 };

/* text: room for what HTTP Basic holds; to be wiped. */
static int pick_token(const struct auth_evidence *evidence, char text[BASIC_SIZE], const char **ret,
                      struct error *err) {
    const char *header = evidence->authorization;
    bool is_basic = header != NULL && strncasecmp(header, "basic ", 6) == 0;
    if (evidence->query_token != NULL)
        *ret = evidence->query_token;
    else if (evidence->is_page && (header == NULL || is_basic)) {
        *ret = is_basic ? read_password(header + 6, text, BASIC_SIZE) : NULL;
        if (*ret == NULL || **ret == '\0')
            return error_set(err, ERROR_DENIED,
                             "give your token as the password; the user name does not matter");
    } else if (header == NULL)
        return error_set(
            err, ERROR_DENIED,
            "no token was sent: send the header 'Authorization: token ...', or ?token= "
            "where headers cannot be set");
    else if ((*ret = token_of_header(header)) == NULL)
        return error_set(err, ERROR_DENIED,
                         "the Authorization header must be 'token ...' or 'Bearer ...'");
    if ((*ret)[0] == '\0')
        return error_set(err, ERROR_DENIED, "the token that was sent is empty");
    if (strlen(*ret) > AUTH_TOKEN_MAX)
        return error_set(err, ERROR_DENIED, "the token that was sent is too long");
    return 0;
}

/* presented NULL: no token was sent, which err says. */
static enum auth_verdict find_identity(const struct auth *auth,
                                       const struct auth_evidence *evidence,
                                       const struct auth_presented *presented,
                                       struct auth_waiter *waiter, const struct auth_identity **ret,
                                       struct error *err) {
    const struct auth_identity *found = NULL;
    if (presented != NULL)
        error_set(err, ERROR_DENIED, "the token is not known");
    for (size_t i = 0; i < auth->method_count; i++) {
        struct auth_method *method = auth->methods[i];
        const struct auth_identity *one = NULL;
        if ((presented == NULL && method->ops->needs_token) ||
            (found != NULL && method->ops->is_last_resort))
            continue;
        enum auth_found answer = method->ops->find(method, evidence, presented, waiter, &one, err);
        if (answer == AUTH_ASKING)
            return AUTH_WAIT;
        if (found == NULL && answer == AUTH_FOUND)
            found = one;
    }
    *ret = found;
    return found != NULL ? AUTH_KNOWN : AUTH_REFUSED;
}

enum auth_verdict auth_check(struct auth *auth, const struct auth_evidence *evidence,
                             struct auth_waiter *waiter, const struct auth_identity **ret,
                             struct error *err) {
    if (!auth_is_required(auth)) {
        *ret = auth->anybody;
        return AUTH_KNOWN;
    }
    char text[BASIC_SIZE] = "";
    const char *token = NULL;
    struct auth_presented presented = {0};
    bool has_token = pick_token(evidence, text, &token, err) == 0;
    if (has_token)
        auth_present(token, &presented);
    enum auth_verdict verdict =
        find_identity(auth, evidence, has_token ? &presented : NULL, waiter, ret, err);
    sodium_memzero(&presented, sizeof presented);
    sodium_memzero(text, sizeof text);
    return verdict;
}

bool auth_may_use(const struct auth_identity *identity, const char *owner) {
    if (identity == NULL || identity->role == AUTH_METRICS)
        return false;
    return identity->role != AUTH_USER || (owner != NULL && strcmp(identity->name, owner) == 0);
}
