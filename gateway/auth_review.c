/* Kubernetes service accounts: the token of a notebook server's pod is shown to the API server
 * (TokenReview, authentication.k8s.io/v1), which says whose it is. The account's name is the
 * owner's; where accounts of several namespaces may come in, with its namespace and a dot, which no
 * namespace has, before it. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/auth_answers.h"
#include "launcher/kube_client.h"

#include <stdlib.h>
#include <string.h>

enum { ASK_TIMEOUT_MS = 5000 };

struct review {
    struct auth_method method;
    struct auth *auth;
    struct kube_config *config;
    struct kube_client *client;
    struct auth_answers *answers;
    char **audiences, **namespaces;
};

/* "system:serviceaccount:NAMESPACE:NAME" of one of our namespaces. */
static int read_account(const struct review *review, const char *username,
                        const struct auth_identity **ret, struct error *err) {
    static const char prefix[] = "system:serviceaccount:";
    const char *namespace =
        username != NULL && text_starts_with(username, prefix) ? username + strlen(prefix) : NULL;
    const char *name = namespace != NULL ? strchr(namespace, ':') : NULL;
    if (name == NULL)
        return error_set(err, ERROR_DENIED, "the token is not of a service account");
    cleanup_free char *copy = memory_strndup(namespace, (size_t)(name - namespace));
    if (!text_list_has(review->namespaces, copy))
        return error_set(err, ERROR_DENIED,
                         "the service account is of namespace %.63s, which is none of "
                         "token-review-namespaces",
                         copy);
    bool has_several = review->namespaces[1] != NULL;
    cleanup_free char *owner =
        has_several ? memory_printf("%s.%s", copy, name + 1) : memory_strdup(name + 1);
    *ret = auth_is_user_name(name + 1) ? auth_identity_of(review->auth, owner) : NULL;
    return *ret != NULL ? 0
                        : error_set(err, ERROR_DENIED,
                                    "the service account's name, \"%.63s\", cannot be an owner's: "
                                    "give each user an account of his own",
                                    name + 1);
}

/* An API server that knows nothing of audiences leaves them out, and would let any token in. */
static bool is_for_us(const struct review *review, const json_t *status) {
    const json_t *audience;
    size_t i;
    if (review->audiences == NULL || review->audiences[0] == NULL)
        return true;
    json_array_foreach(json_object_get(status, "audiences"), i, audience) {
        const char *text = json_string_value(audience);
        if (text != NULL && text_list_has(review->audiences, text))
            return true;
    }
    return false;
}

static void on_answer(void *context, int http_status, json_t *answer, const struct error *err) {
    (void)http_status;
    struct auth_answer *question = context;
    const struct review *review = auth_answer_context(question);
    if (err != NULL) {
        struct error failure = *err;
        failure.code = ERROR_UNAVAILABLE;
        error_wrap(&failure, "the API server cannot be asked whose the token is");
        auth_answer_give(question, NULL, 0, &failure);
        return;
    }
    const json_t *status = json_object_get(answer, "status");
    const json_t *user = json_object_get(status, "user");
    const struct auth_identity *identity = NULL;
    struct error why;
    bool is_known = json_is_true(json_object_get(status, "authenticated"));
    int failed = 0;
    if (is_known && !is_for_us(review, status))
        failed = error_set(&why, ERROR_DENIED, "the token is for none of token-review-audiences");
    else if (is_known)
        failed = read_account(review, json_string_value(json_object_get(user, "username")),
                              &identity, &why);
    auth_answer_give(question, identity, 0, failed < 0 ? &why : NULL);
}

static void ask(void *context, const char *token, struct auth_answer *answer) {
    const struct review *review = context;
    json_t *audiences = json_array();
    for (char *const *one = review->audiences; one != NULL && *one != NULL; one++)
        json_array_append_new(audiences, json_string(*one));
    json_t *body = json_pack("{s:s, s:s, s:{s:s, s:o}}", "apiVersion", "authentication.k8s.io/v1",
                             "kind", "TokenReview", "spec", "token", token, "audiences", audiences);
    kube_client_call(review->client,
                     &(struct kube_call){
                         .method = "POST",
                         .path = "/apis/authentication.k8s.io/v1/tokenreviews",
                         .body = body,
                         .may_repeat = true,
                         .deadline_ms = ASK_TIMEOUT_MS,
                     },
                     on_answer, answer);
    json_decref(body);
}

static enum auth_found review_find(struct auth_method *self, const struct auth_evidence *evidence,
                                   const struct auth_presented *presented,
                                   struct auth_waiter *waiter, const struct auth_identity **ret,
                                   struct error *err) {
    (void)evidence;
    const struct review *review = (const struct review *)self;
    if (!auth_token_is_jwt(presented->token))
        return AUTH_UNKNOWN;
    return auth_answers_find(review->answers, presented, waiter, ret, err);
}

static void review_destroy(struct auth_method *self) {
    struct review *review = (struct review *)self;
    kube_client_destroy(review->client);
    kube_config_destroy(review->config);
    auth_answers_destroy(review->answers);
    text_list_free(review->audiences);
    text_list_free(review->namespaces);
    free(review);
}

static const struct auth_method_ops review_ops = {
    .name = "Kubernetes service accounts",
    .is_last_resort = true,
    .needs_token = true,
    .find = review_find,
    .destroy = review_destroy,
};

static int load_config(const struct auth_settings *settings, struct kube_config **ret,
                       struct error *err) {
    const char *kubeconfig = text_or_null(settings->kubeconfig);
    return kubeconfig != NULL ? kube_config_load(kubeconfig, settings->context, ret, err)
                              : kube_config_in_cluster(NULL, NULL, NULL, ret, err);
}

int auth_review_create(struct auth *auth, struct event_base *loop,
                       const struct auth_settings *settings, struct auth_method **ret,
                       struct error *err) {
    if (settings->review_namespaces == NULL || settings->review_namespaces[0] == NULL)
        return error_set(err, ERROR_INVALID,
                         "token-review-namespaces: must be set beside token-review, or every pod "
                         "of the cluster could come in");
    struct review *review = memory_alloc(sizeof *review);
    review->method.ops = &review_ops;
    review->auth = auth;
    if (load_config(settings, &review->config, err) < 0 ||
        kube_client_create(loop, review->config, NULL, &review->client, err) < 0) {
        kube_config_destroy(review->config);
        free(review);
        return error_wrap(err, "token-review");
    }
    review->answers = auth_answers_create(settings->keep_ms, ask, review);
    review->audiences = text_list_copy(settings->review_audiences);
    review->namespaces = text_list_copy(settings->review_namespaces);
    *ret = &review->method;
    return 0;
}
