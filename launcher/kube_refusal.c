/* What the API server refuses, and why: its sentences are the only place that says it. */
#include "base/text.h"
#include "launcher/kube_reasons.h"
#include "launcher/kube_text.h"

#include <stdio.h>
#include <string.h>

/* In this order: a webhook may say anything, also what stands further down. */
static const struct {
    const char *part; /* of the message */
    const char *word;
} rows[] = {
    {"admission webhook ", "AdmissionDenied"},
    {"ValidatingAdmissionPolicy ", "AdmissionDenied"},
    {"exceeded quota: ", "QuotaExceeded"},
    {"failed quota: ", "QuotaNeedsAmounts"},
    {"insufficient quota ", "QuotaExceeded"},
    {"violates PodSecurity ", "PodSecurity"},
    {"usage per Container is ", "LimitRange"},
    {"usage per Pod is ", "LimitRange"},
    {"limit to request ratio ", "LimitRange"},
    {"error looking up service account ", "ServiceAccountMissing"},
    {"no PriorityClass with name ", "ClassMissing"},
    {"RuntimeClass ", "ClassMissing"},
    {"because it is being terminated", "NamespaceEnding"},
    {"is forbidden: User \"", "Forbidden"},
    {" is attempting to grant RBAC permissions not currently held", "Forbidden"},
};

/* A 2xx is here only when what came with it was none of the API server's. */
static bool is_unavailable(int status) {
    return status < 400 || status == 429 || status >= 500;
}

static const char *find_word(int status, const char *reason, const char *message,
                             const char *kind) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strstr(message, rows[i].part) != NULL)
            return rows[i].word;
    switch (status) {
    case 401:
        return "Unauthorized";
    case 403:
        return "AdmissionDenied"; /* rights have their own sentence */
    case 404:
        return strcmp(kind, "namespaces") == 0 ? "NamespaceMissing" : "ApiRefused";
    case 409:
        return strcmp(reason, "AlreadyExists") == 0 ? "AlreadyExists" : "ApiRefused";
    case 400:
    case 422:
        return "InvalidObject";
    default:
        return is_unavailable(status) ? "ApiUnavailable" : "ApiRefused";
    }
}

/* Behind `pods "x" is forbidden: ` and `Pod "x" is invalid: `: what is refused is said anyway. */
static const char *skip_object(const char *message) {
    static const char *const ends[] = {
        "\" is forbidden: ", "\" is invalid: ", "strict decoding error: "};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *end = strstr(message, ends[i]);
        if (end != NULL)
            return end + strlen(ends[i]);
    }
    return message;
}

static const char *text_of(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

void kube_refusal_explain(int http_status, const json_t *answer, const struct error *err,
                          const char *what, struct kube_refusal *ret) {
    *ret = (struct kube_refusal){0};
    const char *message = text_of(answer, "message"), *reason = text_of(answer, "reason");
    const char *word = find_word(http_status, reason, message,
                                 text_of(json_object_get(answer, "details"), "kind"));
    bool says_more = *message == '\0' || strcmp(word, "Forbidden") == 0 || http_status == 401;
    char cause[KUBE_REFUSAL_MESSAGE_SIZE], cleaned[KUBE_REFUSAL_MESSAGE_SIZE];
    if (says_more && err != NULL)
        message = err->text;
    else
        message = skip_object(message);
    kube_text_clean(message, cleaned, sizeof cleaned);
    if (strcmp(word, "ApiUnavailable") == 0 && *cleaned != '\0')
        snprintf(cause, sizeof cause, "Kubernetes could not be asked for %.100s: %.800s", what,
                 cleaned);
    else if (*cleaned == '\0')
        snprintf(cause, sizeof cause, "Kubernetes refuses %.200s (HTTP status %d)", what,
                 http_status);
    else
        snprintf(cause, sizeof cause, "Kubernetes refuses %.100s: %.900s", what, cleaned);
    snprintf(ret->reason, sizeof ret->reason, "%s", word);
    kube_reason_write(word, cause, ret->message, sizeof ret->message);
}

/* It is the gateway that has no right, or what answers it that is not well. */
static bool is_gateways_own(const char *word) {
    static const char *const words[] = {"Unauthorized", "Forbidden", "ApiUnavailable"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

void kube_refusal_error(int http_status, const json_t *answer, const struct error *err,
                        const char *what, struct error *ret) {
    struct kube_refusal refusal;
    enum error_code code = err->code;
    kube_refusal_explain(http_status, answer, err, what, &refusal);
    if (is_gateways_own(refusal.reason) && (code == ERROR_DENIED || code == ERROR_LIMIT))
        code = ERROR_UNAVAILABLE;
    error_set(ret, code, "%s", refusal.message);
    ret->cause = kube_reason_word(refusal.reason);
}
