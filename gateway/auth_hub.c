/* JupyterHub: the token of a user's own server (JUPYTERHUB_API_TOKEN), or another one of his, is
 * shown to the hub, which says whose it is and what it may (JupyterHub, REST API, GET /user). */
#include "base/memory.h"
#include "base/text.h"
#include "gateway/auth_answers.h"
#include "gateway/web_client.h"

#include <stdlib.h>
#include <string.h>

enum { ASK_TIMEOUT_MS = 5000 };

struct hub {
    struct auth_method method;
    struct auth *auth;
    struct web_client *client;
    struct auth_answers *answers;
    char *user_url;
    char **scopes;
};

/* Is the filter of a scope, "user=alice" or "server=alice/lab", about this user's own? A server of
 * somebody else's gets tokens of all who visit it, with access to that server alone: it must not be
 * able to come in as its visitors. */
static bool is_about(const char *filter, const char *name) {
    size_t length = strlen(name);
    if (text_starts_with(filter, "user="))
        return strcmp(filter + 5, name) == 0;
    return text_starts_with(filter, "server=") && strncmp(filter + 7, name, length) == 0 &&
           filter[7 + length] == '/';
}

/* "access:servers" is also had by who has "access:servers!server=alice/" and is alice. */
static bool has_scope(const json_t *scopes, const char *wanted, const char *name) {
    size_t length = strlen(wanted), i;
    const json_t *scope;
    json_array_foreach(scopes, i, scope) {
        const char *text = json_string_value(scope);
        if (text == NULL || strncmp(text, wanted, length) != 0)
            continue;
        if (text[length] == '\0' || (text[length] == '!' && strchr(wanted, '!') == NULL &&
                                     is_about(text + length + 1, name)))
            return true;
    }
    return false;
}

static bool may_come_in(const struct hub *hub, const json_t *user, const char *name) {
    if (hub->scopes == NULL || hub->scopes[0] == NULL)
        return true;
    for (char *const *scope = hub->scopes; *scope != NULL; scope++)
        if (has_scope(json_object_get(user, "scopes"), *scope, name))
            return true;
    return false;
}

static int read_user(const struct hub *hub, const json_t *user, const struct auth_identity **ret,
                     struct error *err) {
    const char *kind = json_string_value(json_object_get(user, "kind"));
    const char *name = json_string_value(json_object_get(user, "name"));
    if (name == NULL || (kind != NULL && strcmp(kind, "user") != 0))
        return error_set(err, ERROR_DENIED, "the token is not of one of JupyterHub's users");
    if (!may_come_in(hub, user, name))
        return error_set(err, ERROR_DENIED,
                         "the token has none of jupyterhub-scopes for what is its user's own");
    *ret = auth_identity_of(hub->auth, name);
    return *ret != NULL ? 0 : error_set(err, ERROR_DENIED, "the token's user cannot be an owner");
}

static void on_answer(void *context, int status, const json_t *user, const struct error *err) {
    struct auth_answer *answer = context;
    const struct hub *hub = auth_answer_context(answer);
    const struct auth_identity *identity = NULL;
    struct error why;
    int failed = 0;
    if (err != NULL)
        failed = error_set(&why, ERROR_UNAVAILABLE, "%s", err->text);
    else if (status != 200 && status != 401 && status != 403)
        failed = error_set(&why, ERROR_UNAVAILABLE, "%s answers %d", hub->user_url, status);
    else if (status == 200 && !json_is_object(user))
        failed = error_set(&why, ERROR_UNAVAILABLE, "%s does not answer with JSON", hub->user_url);
    if (failed < 0)
        error_wrap(&why, "JupyterHub cannot be asked whose the token is");
    else if (status == 200)
        failed = read_user(hub, user, &identity, &why);
    auth_answer_give(answer, identity, 0, failed < 0 ? &why : NULL);
}

static void ask(void *context, const char *token, struct auth_answer *answer) {
    const struct hub *hub = context;
    char *header = memory_printf("token %s", token);
    web_client_get(hub->client, hub->user_url, header, ASK_TIMEOUT_MS, on_answer, answer);
    explicit_bzero(header, strlen(header));
    free(header);
}

static enum auth_found hub_find(struct auth_method *self, const struct auth_evidence *evidence,
                                const struct auth_presented *presented, struct auth_waiter *waiter,
                                const struct auth_identity **ret, struct error *err) {
    (void)evidence;
    const struct hub *hub = (const struct hub *)self;
    if (auth_token_is_jwt(presented->token))
        return AUTH_UNKNOWN; /* the hub's are none; those of others are not for its eyes */
    return auth_answers_find(hub->answers, presented, waiter, ret, err);
}

static void hub_destroy(struct auth_method *self) {
    struct hub *hub = (struct hub *)self;
    web_client_destroy(hub->client);
    auth_answers_destroy(hub->answers);
    text_list_free(hub->scopes);
    free(hub->user_url);
    free(hub);
}

static const struct auth_method_ops hub_ops = {
    .name = "JupyterHub",
    .is_last_resort = true,
    .needs_token = true,
    .find = hub_find,
    .destroy = hub_destroy,
};

int auth_hub_create(struct auth *auth, struct event_base *loop,
                    const struct auth_settings *settings, struct auth_method **ret,
                    struct error *err) {
    size_t length = strlen(settings->hub_api_url);
    if (!text_starts_with(settings->hub_api_url, "http://") &&
        !text_starts_with(settings->hub_api_url, "https://"))
        return error_set(err, ERROR_INVALID,
                         "jupyterhub-api-url: must begin with http:// or https://, such as "
                         "http://hub:8081/hub/api");
    struct web_client *client;
    if (web_client_create(loop, settings->ca, &client, err) < 0)
        return -1;
    struct hub *hub = memory_alloc(sizeof *hub);
    hub->method.ops = &hub_ops;
    hub->auth = auth;
    hub->client = client;
    hub->answers = auth_answers_create(settings->keep_ms, ask, hub);
    hub->scopes = text_list_copy(settings->hub_scopes);
    hub->user_url = memory_printf("%s%suser", settings->hub_api_url,
                                  settings->hub_api_url[length - 1] == '/' ? "" : "/");
    *ret = &hub->method;
    return 0;
}
