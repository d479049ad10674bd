/* What went wrong with a request to the API server, as a code and a sentence for a person. */
#pragma once

#include "launcher/kube_transport.h"

#include <jansson.h>

/* What was asked, for the sentence. */
struct kube_target {
    const char *server, *origin; /* of kube_config.h */
    const char *method, *path;
    int64_t timeout_ms;
    size_t answer_max;
    bool is_of_purge; /* of kube_rights.h */
};

/* No answer, or not a whole one: outcome->code is not CURLE_OK. Returns -1. */
int kube_error_of_transfer(const struct kube_target *target, const struct kube_outcome *outcome,
                           struct error *err);

/* An answer that is no 2xx; answer: its JSON, NULL where it is none. Returns -1. */
int kube_error_of_status(const struct kube_target *target, const struct kube_outcome *outcome,
                         const json_t *answer, struct error *err);

/* The same of a Status object alone (https://kubernetes.io/docs/reference/kubernetes-api/
 * common-definitions/status/), as an event of a watch has it. */
int kube_error_of_object(const struct kube_target *target, int status, const json_t *object,
                         struct error *err);

/* A 2xx without JSON. Returns -1. */
int kube_error_of_garbage(const struct kube_target *target, const struct buffer *body,
                          struct error *err);
