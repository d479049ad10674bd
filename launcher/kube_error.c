#include "launcher/kube_error.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "launcher/kube_client.h"
#include "launcher/kube_rights.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

enum { EXCERPT_MAX = 200, WORD_MAX = 256 };

/* The path without its query. */
static int path_length(const char *path) {
    return (int)strcspn(path, "?");
}

const char *kube_status_reason(const json_t *answer) {
    const char *reason = json_string_value(json_object_get(answer, "reason"));
    return reason != NULL ? reason : "";
}

/* Transfers */

static int certificate_error(const struct kube_target *target, const struct kube_outcome *outcome,
                             struct error *err) {
    switch (outcome->verify_result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return error_set(err, ERROR_DENIED,
                         "the certificate of the Kubernetes API server %s, or of an authority that "
                         "signed it, has expired",
                         target->server);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return error_set(err, ERROR_DENIED,
                         "the certificate of the Kubernetes API server %s is not valid yet: is the "
                         "clock right?",
                         target->server);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return error_set(err, ERROR_DENIED,
                         "the certificate of the Kubernetes API server %s is not signed by the "
                         "certificate authority of %s",
                         target->server, target->origin);
    default:
        return error_set(err, ERROR_DENIED,
                         "the certificate of the Kubernetes API server %s does not fit (%s); where "
                         "only the name differs a kubeconfig can give tls-server-name",
                         target->server, outcome->detail);
    }
}

static int connection_error(const struct kube_target *target, const struct kube_outcome *outcome,
                            struct error *err) {
    char reason[128];
    const char *why = outcome->system_error != 0
                          ? strerror_r(outcome->system_error, reason, sizeof reason)
                          : outcome->detail;
    return error_set(err, ERROR_UNAVAILABLE, "the Kubernetes API server %s cannot be reached: %s",
                     target->server, *why != '\0' ? why : "no connection");
}

static int timeout_error(const struct kube_target *target, const struct kube_outcome *outcome,
                         struct error *err) {
    if (!outcome->was_sent)
        return error_set(err, ERROR_TIMEOUT,
                         "the Kubernetes API server %s cannot be reached: no connection in time",
                         target->server);
    return error_set(err, ERROR_TIMEOUT,
                     "the Kubernetes API server %s has not answered %s %.*s within %.1f s",
                     target->server, target->method, path_length(target->path), target->path,
                     (double)target->timeout_ms / 1000);
}

static int broken_error(const struct kube_target *target, const struct kube_outcome *outcome,
                        struct error *err) {
    const char *why =
        *outcome->detail != '\0' ? outcome->detail : curl_easy_strerror(outcome->code);
    return error_set(err, ERROR_UNAVAILABLE,
                     "the connection to the Kubernetes API server %s broke at %s %.*s: %s",
                     target->server, target->method, path_length(target->path), target->path, why);
}

int kube_error_of_transfer(const struct kube_target *target, const struct kube_outcome *outcome,
                           struct error *err) {
    if (outcome->is_too_large)
        return error_set(err, ERROR_LIMIT,
                         "the Kubernetes API server %s answers %s %.*s with more than %zu bytes",
                         target->server, target->method, path_length(target->path), target->path,
                         target->answer_max);
    switch (outcome->code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return error_set(err, ERROR_UNAVAILABLE,
                         "the Kubernetes API server %s cannot be reached: its name does not "
                         "resolve (DNS)",
                         target->server);
    case CURLE_COULDNT_RESOLVE_PROXY:
        return error_set(err, ERROR_UNAVAILABLE,
                         "the Kubernetes API server %s cannot be reached: the name of the proxy "
                         "does not resolve (DNS)",
                         target->server);
    case CURLE_COULDNT_CONNECT:
        return connection_error(target, outcome, err);
    case CURLE_OPERATION_TIMEDOUT:
        return timeout_error(target, outcome, err);
    case CURLE_PEER_FAILED_VERIFICATION:
        return certificate_error(target, outcome, err);
    case CURLE_SSL_CERTPROBLEM:
        return error_set(err, ERROR_DENIED, "the client certificate of %s cannot be used at %s: %s",
                         target->origin, target->server, outcome->detail);
    case CURLE_SSL_CONNECT_ERROR:
        return error_set(err, ERROR_UNAVAILABLE,
                         "the Kubernetes API server %s cannot be reached: TLS fails: %s",
                         target->server, outcome->detail);
    default:
        return broken_error(target, outcome, err);
    }
}

/* Refusals */

static enum error_code code_of(int status, const char *reason, const char *message) {
    switch (status) {
    case 401:
        return ERROR_DENIED;
    case 403:
        return strstr(message, "exceeded quota") != NULL ? ERROR_LIMIT : ERROR_DENIED;
    case 404:
        return ERROR_NOT_FOUND;
    case 405:
    case 406:
    case 415:
        return ERROR_UNSUPPORTED;
    case 409: /* of a Conflict somebody was faster: trying again may help */
        return strcmp(reason, "AlreadyExists") == 0 ? ERROR_EXISTS : ERROR_UNAVAILABLE;
    case 413:
        return ERROR_LIMIT;
    case 410:
    case 429:
        return ERROR_UNAVAILABLE;
    default:
        return status >= 500 ? ERROR_UNAVAILABLE : ERROR_INVALID;
    }
}

/* The text between `before` and the next '"'; false when there is none. */
static bool quoted_after(const char *message, const char *before, char ret[WORD_MAX]) {
    const char *start = strstr(message, before);
    if (start == NULL)
        return false;
    start += strlen(before);
    size_t length = strcspn(start, "\"");
    if (start[length] != '"' || length >= WORD_MAX)
        return false;
    memcpy(ret, start, length);
    ret[length] = '\0';
    return true;
}

/* What RBAC says: pods is forbidden: User "U" cannot create resource "pods" in API group "" in the
 * namespace "n" (or: at the cluster scope). False: another refusal. */
static bool explain_rights(const struct kube_target *target, const char *message,
                           struct error *err) {
    char user[WORD_MAX], verb[WORD_MAX], resource[WORD_MAX], group[WORD_MAX], place[WORD_MAX];
    const char *cannot = strstr(message, "\" cannot ");
    if (cannot == NULL || !quoted_after(message, "User \"", user) ||
        !quoted_after(cannot, " resource \"", resource) ||
        !quoted_after(cannot, " in API group \"", group))
        return false;
    cannot += strlen("\" cannot ");
    size_t length = strcspn(cannot, " ");
    snprintf(verb, sizeof verb, "%.*s", (int)(length < WORD_MAX ? length : WORD_MAX - 1), cannot);
    bool is_local = quoted_after(cannot, " in the namespace \"", place);
    const struct kube_missing_right missing = {.user = user,
                                               .verb = verb,
                                               .group = group,
                                               .resource = resource,
                                               .namespace = is_local ? place : NULL,
                                               .server = target->server,
                                               .is_of_purge = target->is_of_purge};
    kube_right_explain(&missing, err);
    return true;
}

/* What RBAC says of a RoleBinding to a role that its maker neither has himself nor may bind:
 * rolebindings.rbac.authorization.k8s.io "R" is forbidden: user "U" (groups=[...]) is attempting to
 * grant RBAC permissions not currently held: ... */
static bool explain_binding(const struct kube_target *target, const char *message,
                            struct error *err) {
    char role[WORD_MAX], user[WORD_MAX];
    if (strstr(message, " is attempting to grant RBAC permissions not currently held") == NULL ||
        !quoted_after(message, "rolebindings.rbac.authorization.k8s.io \"", role) ||
        !quoted_after(message, ": user \"", user))
        return false;
    const struct kube_missing_right missing = {.user = user,
                                               .verb = "bind",
                                               .group = "rbac.authorization.k8s.io",
                                               .resource = "clusterroles",
                                               .name = role,
                                               .server = target->server};
    kube_right_explain(&missing, err);
    return true;
}

static bool has_cause(const json_t *object, const char *reason) {
    size_t at;
    json_t *cause;
    json_array_foreach(json_object_get(json_object_get(object, "details"), "causes"), at, cause) {
        const char *name = json_string_value(json_object_get(cause, "reason"));
        if (name != NULL && strcmp(name, reason) == 0)
            return true;
    }
    return false;
}

int kube_error_of_object(const struct kube_target *target, int status, const json_t *object,
                         struct error *err) {
    const char *message = json_string_value(json_object_get(object, "message"));
    if (status == 401)
        return error_set(err, ERROR_DENIED,
                         "the Kubernetes API server %s does not accept %s (401 Unauthorized): its "
                         "token or client certificate has expired or is another cluster's",
                         target->server, target->origin);
    if (message == NULL || *message == '\0')
        message = kube_status_reason(object);
    if (status == 403 &&
        (explain_rights(target, message, err) || explain_binding(target, message, err)))
        return -1;
    enum error_code code = code_of(status, kube_status_reason(object), message);
    if (has_cause(object, "NamespaceTerminating"))
        code = ERROR_UNAVAILABLE; /* a namespace of that name may be made again */
    if (*message == '\0')
        return error_set(err, code, "the Kubernetes API server %s answers %s %.*s with %d",
                         target->server, target->method, path_length(target->path), target->path,
                         status);
    size_t room = sizeof err->text - 1;
    return error_set(err, code, "%.*s", (int)utf8_floor(message, strlen(message), room), message);
}

/* The start of a body that is no JSON, on one line. */
static char *excerpt(const struct buffer *body) {
    size_t length = body->length < EXCERPT_MAX ? body->length : EXCERPT_MAX;
    cleanup_free char *raw = memory_strndup(body->data != NULL ? (char *)body->data : "", length);
    for (char *at = raw; *at; at++)
        if ((unsigned char)*at < 0x20)
            *at = ' ';
    return utf8_repair(raw);
}

int kube_error_of_status(const struct kube_target *target, const struct kube_outcome *outcome,
                         const json_t *answer, struct error *err) {
    int status = outcome->status;
    if (json_is_string(json_object_get(answer, "message")) || status == 401)
        return kube_error_of_object(target, status, answer, err);
    if (status >= 300 && status < 400)
        return error_set(err, ERROR_INVALID,
                         "the Kubernetes API server %s answers %s %.*s with a redirect (%d), which "
                         "is not followed: the server's URL is wrong or leads to a proxy",
                         target->server, target->method, path_length(target->path), target->path,
                         status);
    cleanup_free char *text = excerpt(outcome->body);
    return error_set(err, code_of(status, "", text),
                     "the Kubernetes API server %s, or what stands before it, answers %s %.*s with "
                     "%d: %s",
                     target->server, target->method, path_length(target->path), target->path,
                     status, *text != '\0' ? text : "nothing");
}

int kube_error_of_garbage(const struct kube_target *target, const struct buffer *body,
                          struct error *err) {
    cleanup_free char *text = excerpt(body);
    return error_set(err, ERROR_UNAVAILABLE,
                     "the Kubernetes API server %s, or what stands before it, answers %s %.*s with "
                     "what is no JSON: %s",
                     target->server, target->method, path_length(target->path), target->path,
                     *text != '\0' ? text : "nothing");
}
