/* Who said what of a pod, for `elara policy explain`. It is looked at after each step of its
 * making: what is new or another then is that step's. */
#pragma once

#include <jansson.h>

struct kube_flow;

struct kube_trace {
    json_t *decisions; /* what the policy allowed (policy.h) */
    json_t *values;    /* of the pod after the last step: a leaf's place to its value */
    json_t *said;      /* a leaf's place to who said it: "pod.yaml" */
    json_t *rules;     /* a leaf's place to what allowed it: "policy.yaml line 6 (volumes.nfs)" */
};

struct kube_trace *kube_trace_create(void);
void kube_trace_destroy(struct kube_trace *trace);

/* For both: trace may be NULL, which is nobody who asks. Places are written for people:
 * "spec.volumes[home].nfs.path" for the element of that name. */
void kube_trace_step(struct kube_trace *trace, const json_t *pod, const char *who);
/* The same where who says it depends on the place. */
typedef const char *kube_trace_who(void *context, const char *place);
void kube_trace_step_by(struct kube_trace *trace, const json_t *pod, kube_trace_who *who,
                        void *context);
/* After the policy has looked at the pod: what is a client's, and the rule that allows it. */
void kube_trace_judged(struct kube_trace *trace, const json_t *pod, const struct kube_flow *flow);
/* A step of the policy's own. */
void kube_trace_policy(struct kube_trace *trace, const json_t *pod);
/* What one said of one field, whatever its step. */
void kube_trace_say(struct kube_trace *trace, const char *place, const char *who);

/* Tells of each leaf: a text, a number, ... or an empty list or object. place: for people; exact:
 * with indices, as kube_flow has them. */
typedef void kube_trace_leaf(void *context, const char *place, const char *exact,
                             const json_t *value);
void kube_trace_walk(const json_t *pod, kube_trace_leaf *tell, void *context);
/* The place of an element or member below `place`; malloc'ed. key NULL: the element at index. */
char *kube_trace_place(const char *place, const char *key, size_t index, const json_t *value);
