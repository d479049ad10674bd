#include "kube_trees.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/text.h"
#include "launcher/kube_reasons.h"
#include "launcher/kube_status.h"
#include "launcher/kube_text.h"
#include "launcher/kube_wishes.h"

#include <stdio.h>

#define FORBIDDEN "pods \"kernel-0f8fad5b-1\" is forbidden: "

static const struct {
    int status;
    const char *answer; /* a Status; NULL: none */
    const char *error;  /* the client's own words */
    const char *word, *message;
} refused[] = {
    {403,
     "{kind: Status, reason: Forbidden, message: '" FORBIDDEN
     "exceeded quota: team-a, requested: limits.memory=4Gi, used: limits.memory=14Gi, limited: "
     "limits.memory=16Gi', details: {name: kernel-0f8fad5b-1, kind: pods}, code: 403}",
     NULL, "QuotaExceeded",
     "Kubernetes refuses the pod: exceeded quota: team-a, requested: limits.memory=4Gi, used: "
     "limits.memory=14Gi, limited: limits.memory=16Gi. Ask for less"},
    {403, "{message: '" FORBIDDEN "failed quota: team-a: must specify limits.cpu for: kernel'}",
     NULL, "QuotaNeedsAmounts", "must specify limits.cpu for: kernel. Say them with KERNEL_CPUS"},
    {403, "{message: '" FORBIDDEN "[maximum memory usage per Container is 1Gi, but limit is 4Gi]'}",
     NULL, "LimitRange", "maximum memory usage per Container is 1Gi"},
    {403,
     "{message: '" FORBIDDEN "cpu max limit to request ratio per Container is 2, but provided "
     "ratio is 4.000000'}",
     NULL, "LimitRange", "ratio per Container is 2"},
    {403,
     "{message: '" FORBIDDEN "violates PodSecurity \"restricted:latest\": privileged (container "
     "\"kernel\" must not set securityContext.privileged=true)'}",
     NULL, "PodSecurity", "violates PodSecurity \"restricted:latest\": privileged (container"},
    {400,
     "{message: 'admission webhook \"validate.kyverno.svc-fail\" denied the request: resource "
     "Pod was blocked: exceeded quota: of policies'}",
     NULL, "AdmissionDenied", "admission webhook \"validate.kyverno.svc-fail\" denied the"},
    {422,
     "{reason: Invalid, message: 'pods \"x\" is forbidden: ValidatingAdmissionPolicy "
     "''images'' with binding ''all'' denied request: no registry but ours'}",
     NULL, "AdmissionDenied", "refuses the pod: ValidatingAdmissionPolicy 'images'"},
    {403,
     "{message: '" FORBIDDEN "error looking up service account team-a/spark: serviceaccount "
     "\"spark\" not found'}",
     NULL, "ServiceAccountMissing", "serviceaccount \"spark\" not found. The administrator"},
    {403, "{message: '" FORBIDDEN "no PriorityClass with name low was found'}", NULL,
     "ClassMissing", "no PriorityClass with name low was found."},
    {403, "{message: '" FORBIDDEN "pod rejected: RuntimeClass \"kata\" not found'}", NULL,
     "ClassMissing", "RuntimeClass \"kata\" not found."},
    {403,
     "{message: '" FORBIDDEN "unable to create new content in namespace team-a because it is "
     "being terminated'}",
     NULL, "NamespaceEnding", "because it is being terminated. Start the kernel again"},
    {403,
     "{message: 'pods is forbidden: User \"system:serviceaccount:g:elara\" cannot create "
     "resource \"pods\" in API group \"\" in the namespace \"team-a\"'}",
     "system:serviceaccount:g:elara may not create pods in namespace \"team-a\": a Role has to "
     "grant it",
     "Forbidden", "refuses the pod: system:serviceaccount:g:elara may not create pods in"},
    {404,
     "{reason: NotFound, message: 'namespaces \"team-a\" not found', details: {kind: "
     "namespaces}}",
     NULL, "NamespaceMissing", "namespaces \"team-a\" not found. The administrator has to make"},
    {404, "{reason: NotFound, message: 'the server could not find the requested resource'}", NULL,
     "ApiRefused", "could not find the requested resource."},
    {409, "{reason: AlreadyExists, message: 'pods \"x\" already exists'}", NULL, "AlreadyExists",
     "pods \"x\" already exists. Delete it"},
    {409, "{reason: Conflict, message: 'the object has been modified'}", NULL, "ApiRefused",
     "has been modified"},
    {422,
     "{reason: Invalid, message: 'Pod \"x\" is invalid: spec.containers[1].image: Required "
     "value'}",
     NULL, "InvalidObject", "refuses the pod: spec.containers[1].image: Required value. Correct"},
    {400,
     "{reason: BadRequest, message: 'Pod in version \"v1\" cannot be handled as a Pod: strict "
     "decoding error: unknown field \"spec.nodeSelecter\"'}",
     NULL, "InvalidObject", "refuses the pod: unknown field \"spec.nodeSelecter\". Correct"},
    {401, "{reason: Unauthorized, message: Unauthorized}", "the token has expired", "Unauthorized",
     "refuses the pod: the token has expired. The administrator"},
    {500, "{message: 'Internal error occurred: failed calling webhook'}", NULL, "ApiUnavailable",
     "Kubernetes could not be asked for the pod: Internal error occurred: failed calling webhook."},
    {503, NULL, "what stands before it answers with 503", "ApiUnavailable", "stands before it"},
    {0, NULL, "the Kubernetes API server x cannot be reached: no", "ApiUnavailable",
     "Kubernetes could not be asked for the pod: the Kubernetes API server x cannot be reached: "
     "no. "
     "Start the kernel again"},
    {429, NULL, "too many requests", "ApiUnavailable", "asked for the pod: too many requests."},
    {201, NULL, "it answers with what is no JSON", "ApiUnavailable", "no JSON. Start"},
    {405, "{message: 'method not allowed'}", NULL, "ApiRefused", "method not allowed. Ask"},
    {403, NULL, NULL, "AdmissionDenied", "Kubernetes refuses the pod (HTTP status 403)."},
    {403, "[]", NULL, "AdmissionDenied", "(HTTP status 403)."},
    {403, "{message: 7}", NULL, "AdmissionDenied", "(HTTP status 403)."},
};

static void refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct kube_refusal refusal;
        struct error err = {.code = ERROR_DENIED};
        snprintf(err.text, sizeof err.text, "%s", refused[i].error ? refused[i].error : "");
        json_t *answer = refused[i].answer != NULL ? tree_of(refused[i].answer) : NULL;
        kube_refusal_explain(refused[i].status, answer, refused[i].error != NULL ? &err : NULL,
                             "the pod", &refusal);
        assert_string_equal(refusal.reason, refused[i].word);
        assert_has(refusal.message, refused[i].message);
        assert_has(refusal.message, kube_reason_find(refusal.reason)->advice);
        json_decref(answer);
    }
}

static void whose_refusals_they_are(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct error err = {.code = ERROR_DENIED}, cause;
        json_t *answer = refused[i].answer != NULL ? tree_of(refused[i].answer) : NULL;
        bool is_gateways_own = strcmp(refused[i].word, "Unauthorized") == 0 ||
                               strcmp(refused[i].word, "Forbidden") == 0 ||
                               strcmp(refused[i].word, "ApiUnavailable") == 0;
        kube_refusal_error(refused[i].status, answer, &err, "the pod", &cause);
        assert_int_equal(cause.code, is_gateways_own ? ERROR_UNAVAILABLE : ERROR_DENIED);
        assert_string_equal(cause.cause, refused[i].word);
        err.code = ERROR_TIMEOUT;
        kube_refusal_error(refused[i].status, answer, &err, "the pod", &cause);
        assert_int_equal(cause.code, ERROR_TIMEOUT);
        json_decref(answer);
    }
}

static void messages(void **state) {
    char text[400], small[80];
    (void)state;
    kube_reason_write("PodEnded", "the  pod\nis over. ", text, sizeof text);
    assert_string_equal(text, "The pod is over. Restart starts the kernel again.");
    kube_reason_write("Nonsense", "a=b.", text, sizeof text);
    assert_string_equal(text, "a=b.");
    kube_reason_write("PodEnded", "a cause that is too long for the room that there is", small,
                      sizeof small);
    assert_has(small, "... Restart starts the kernel again.");
    assert_true(strlen(small) < sizeof small);
    kube_reason_write("PodEnded", "x", small, 20);
    assert_true(strlen(small) < 20);
    assert_null(kube_reason_find("Nonsense"));
    assert_null(kube_reason_at(10000));
}

static void pulls_that_may_pass(void **state) {
    static const struct {
        const char *message, *image;
        bool expected;
    } rows[] = {
        {"docker.io/library/x:1: not found", "x:1", false},
        {"manifest unknown", "x", false},
        {"unauthorized: authentication required", "x", false},
        {"tls: failed to verify certificate: x509: certificate signed by unknown authority", "x",
         false},
        {"dial tcp: lookup registry.example.com: no such host", "x", true},
        {"net/http: TLS handshake timeout", "x", true},
        {"503 Service Unavailable", "x", true},
        {"", "x", true},
        {"something new", "x", true},
        /* The image's own name says nothing. */
        {"lab/timeout:1: not found", "lab/timeout:1", false},
        {"registry:5000/timeout:2: manifest unknown", "registry:5000/timeout:2", false},
        {"lab/denied:1: dial failed", "lab/denied:1", true},
        {"lab/timeout@sha256:00: not found", "lab/timeout@sha256:00", false},
        {"x: not found", "", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (kube_text_pull_may_pass(rows[i].message, rows[i].image) != rows[i].expected)
            fail_msg("%s", rows[i].message);
}

static void read_page(const char *name, struct buffer *page) {
    char path[512];
    struct error err = {0};
    snprintf(path, sizeof path, ELARA_SOURCE_DIR "/docs/%s", name);
    if (file_read(path, 1 << 20, page, &err) < 0)
        fail_msg("%s", err.text);
}

/* docs/kernelspecs.md says of each wish whether a client may have it. */
static void the_page_shows_the_wishes(void **state) {
    struct buffer page = {.limit = 1 << 20};
    (void)state;
    read_page("kernelspecs.md", &page);
    for (unsigned i = 0; i < KUBE_WISHES; i++) {
        const struct kube_wish_row *wish = kube_wish_row(i);
        char name[64], line[1024];
        snprintf(name, sizeof name, "`%s`", wish->name);
        const char *row = strstr(buffer_text(&page), "| name | what it sets |");
        for (row = row != NULL ? strstr(row, name) : NULL; row != NULL; row = strstr(row + 1, name))
            if (strchr(row, '|') != NULL && strchr(row, '|') < strchr(row, '\n'))
                break;
        if (row == NULL)
            fail_msg("docs/kernelspecs.md lacks %s", name);
        snprintf(line, sizeof line, "%.*s", (int)strcspn(row, "\n"), row);
        assert_has(line, wish->is_free ? "| yes |" : "| with `kubernetes-allow` |");
    }
    buffer_free(&page);
}

/* docs/reasons.md has a row for each word, in this order, and no other; and the graces. What it
 * shows between is what the user reads: test_docs.py. */
static void the_page_shows_the_table(void **state) {
    struct buffer page = {.limit = 1 << 20};
    (void)state;
    read_page("reasons.md", &page);
    const char *at = buffer_text(&page);
    size_t rows = 0;
    for (const struct kube_reason *reason; (reason = kube_reason_at(rows)) != NULL; rows++) {
        char begin[512], end[512], row[2048];
        snprintf(begin, sizeof begin, "\n| `%s` | %s | ", reason->word, reason->when);
        snprintf(end, sizeof end, " | %s |", reason->advice);
        const char *found = strstr(at, begin);
        if (found == NULL)
            fail_msg("docs/reasons.md lacks, at its place:%s", begin);
        at = found + 1;
        snprintf(row, sizeof row, "%.*s", (int)strcspn(at, "\n"), at);
        if (!text_ends_with(row, end))
            fail_msg("docs/reasons.md says what to do in other words: %s", row);
    }
    size_t shown = 0;
    for (const char *row = buffer_text(&page); (row = strstr(row, "\n| `")) != NULL; row++)
        shown++;
    assert_int_equal(shown, rows);
    const int64_t graces[] = {
        kube_status_defaults.unschedulable_grace_ms, kube_status_defaults.scale_up_grace_ms,
        kube_status_defaults.image_grace_ms,         kube_status_defaults.volume_grace_ms,
        kube_status_defaults.sandbox_grace_ms,       kube_status_defaults.config_grace_ms};
    at = strstr(buffer_text(&page), "\n## What is waited for");
    assert_non_null(at);
    for (size_t i = 0; i < sizeof graces / sizeof *graces; i++) {
        cleanup_buffer struct buffer cell = {.limit = 64};
        buffer_append_text(&cell, "| ");
        text_append_duration(&cell, graces[i]);
        buffer_append_text(&cell, " |\n");
        at = strstr(at, buffer_text(&cell));
        if (at == NULL)
            fail_msg("docs/reasons.md lacks the grace %s", buffer_text(&cell));
        at++;
    }
    buffer_free(&page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(whose_refusals_they_are),
        cmocka_unit_test(messages),
        cmocka_unit_test(pulls_that_may_pass),
        cmocka_unit_test(the_page_shows_the_table),
        cmocka_unit_test(the_page_shows_the_wishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
