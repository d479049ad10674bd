/* The reasons for which a kernel in Kubernetes does not run: the word that is {reason} in the API,
 * and what to do about it. docs/reasons.md shows this table; a test compares them. */
#pragma once

#include <jansson.h>
#include <stddef.h>

struct kube_reason {
    const char *word;   /* "ImagePullBackOff" */
    const char *advice; /* the end of the message: what to do, one sentence or two */
};

/* NULL: no such word. */
const struct kube_reason *kube_reason_find(const char *word);
const struct kube_reason *kube_reason_at(size_t index); /* NULL behind the last */

/* "cause. advice" into text, cut at a character; a full stop is put between. The word's advice, or
 * none. */
void kube_reason_write(const char *word, const char *cause, char *text, size_t size);

/* Why the API server refused to make an object: its Status (Kubernetes API, meta/v1), with the HTTP
 * status (403: quota, admission, rights; 404; 409; 422), as reason word and sentence. what: "the
 * pod", "the namespace x". status_object may be NULL or anything. */
struct kube_refusal {
    char reason[64];
    char message[1024];
};
void kube_refusal_explain(int http_status, const json_t *status_object, const char *what,
                          struct kube_refusal *ret);
