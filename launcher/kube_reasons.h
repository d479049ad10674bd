/* The reasons for which a kernel in Kubernetes does not run: the word that is {reason} in the API,
 * when it is said and what to do. docs/reasons.md shows this table; a test compares them. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

struct kube_reason {
    const char *word;   /* "ImagePullBackOff" */
    const char *when;   /* for the page: what has happened */
    const char *advice; /* the end of the message: what to do */
};

/* NULL: no such word. */
const struct kube_reason *kube_reason_find(const char *word);
const char *kube_reason_word(const char *word); /* the table's own, static; NULL: no such word */
const struct kube_reason *kube_reason_at(size_t index); /* NULL behind the last */

/* "Cause. Advice" into text: on one line, the cause is cut where there is no room for both. A word
 * that is not in the table has no advice. */
void kube_reason_write(const char *word, const char *cause, char *text, size_t size);

/* Why the API server refused to make an object, as reason word and sentence. answer: its Status
 * (Kubernetes API, meta/v1), NULL or anything. err: what kube_client.h says of it, or NULL; it is
 * the cause where it knows more (a missing right). what: "the pod", "the namespace x". */
enum { KUBE_REFUSAL_REASON_SIZE = 64, KUBE_REFUSAL_MESSAGE_SIZE = 1024 };

struct kube_refusal {
    char reason[KUBE_REFUSAL_REASON_SIZE];
    char message[KUBE_REFUSAL_MESSAGE_SIZE];
};
void kube_refusal_explain(int http_status, const json_t *answer, const struct error *err,
                          const char *what, struct kube_refusal *ret);
/* The same as an error, of err's code, with the word as its cause. What is refused to the gateway
 * itself is forbidden to nobody who asks for a kernel: ERROR_UNAVAILABLE. err: not NULL. */
void kube_refusal_error(int http_status, const json_t *answer, const struct error *err,
                        const char *what, struct error *ret);
