/* Where in a pod's tree the values of a request's variables went, so that a policy looks at those
 * places, and at no others (policy.h). */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct kube_place;

struct kube_flow {
    json_t *names;  /* variables that hold something of the client's: their names, to "" */
    json_t *values; /* where marks stand for values: [value, name] each, the value itself */
    json_t *places; /* "spec.volumes[0].nfs.path": the variable's name */
    /* The same of variables that no policy looks at, for kube_flow_said alone. */
    json_t *trusted, *trusted_places;
};

struct kube_flow *kube_flow_create(void);
void kube_flow_destroy(struct kube_flow *flow);

/* For each function: flow may be NULL, which is nobody who asks. */

void kube_flow_add_name(struct kube_flow *flow, const char *name);
bool kube_flow_has_name(const struct kube_flow *flow, const char *name);
void kube_flow_trust_name(struct kube_flow *flow, const char *name);
/* Names and trusted names of another. */
void kube_flow_copy_names(struct kube_flow *flow, const struct kube_flow *from);
/* The variables of `texts` that are made of such ones are such ones too. */
void kube_flow_spread(struct kube_flow *flow, const json_t *texts);
/* The value is the variable's. */
void kube_flow_add_value(struct kube_flow *flow, json_t *value, const char *name);

/* Notes the place if the text that stands there refers to such a variable, or, with marked, has a
 * mark of such a value. */
void kube_flow_note_text(struct kube_flow *flow, const struct kube_place *place, const char *text,
                         const json_t *marked);
void kube_flow_note(struct kube_flow *flow, const char *place, const char *name);
void kube_flow_forget(struct kube_flow *flow, const char *place);

/* The variable whose value is at the place, in it or around it; NULL: none is. */
const char *kube_flow_at(const struct kube_flow *flow, const char *place);
/* The same at the place or around it, trusted ones too: whose word it is. */
const char *kube_flow_said(const struct kube_flow *flow, const char *place);
