/* What requests may make of their pods (docs/policy.md). Pure: a request, what its values became in
 * the pod that was built of it (kube_flow.h), and the administrator's policy; the answer is yes, or
 * one sentence that names the variable, the rule and where it is written. What no value of the
 * client's went into is not looked at: it is the administrator's. */
#pragma once

#include "base/error.h"
#include "launcher/kube_flow.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct policy; /* policy_file.h makes it; it does not change */
void policy_destroy(struct policy *policy);
/* What holds where there is no file: no value of a client's reaches what could be another's. */
const struct policy *policy_builtin(void);

/* Borrowed. */
struct policy_request {
    const char *kernelspec;    /* its name */
    const char *owner;         /* by the token that was sent */
    const json_t *client;      /* the variables that the client sent; NULL: none */
    const json_t *spec_env;    /* kernel.json's env, or NULL */
    const json_t *overridable; /* metadata.elara.overridable of kernel.json, or NULL */
    /* An array that what was allowed is appended to, for people: {"place", "variable", "rule"};
     * NULL: nobody asks. */
    json_t *decisions;
};

/* kernel_json: the kernelspec's, as it stands there. */
struct policy_request policy_request_of(const char *kernelspec, const json_t *kernel_json,
                                        const char *owner, const json_t *client);

/* Whose kernel it is for the rules, and {user} in them: the owner, or where the policy trusts
 * claimed names (users.trust_claimed_names) KERNEL_USERNAME. */
const char *policy_user(const struct policy *policy, const struct policy_request *request);
/* KERNEL_USERNAME is the client's word, and counts. */
bool policy_trusts_names(const struct policy *policy);

/* Does the kernelspec's value count, whatever the client says? "image" and "KERNEL_IMAGE" in
 * `overridable` are the same. */
bool policy_spec_wins(const struct policy_request *request, const char *variable);

/* The client's variables without those; a new reference. */
json_t *policy_counting(const struct policy_request *request);

/* Who asks, and for which variables. */
int policy_check_request(const struct policy *policy, const struct policy_request *request,
                         struct error *err);
/* Which of KERNEL_IMAGE, ... (kube_wishes.h) count from the client: `fallback` where the policy
 * has no `variables`, less what the kernelspec says itself. */
uint32_t policy_wishes(const struct policy *policy, const struct policy_request *request,
                       uint32_t fallback);
/* member: "uid" or "gid". What the policy lets it be: {from, to, prohibited}, each if it is there,
 * where the settings' prohibited ones stand in for the policy's. A new reference. */
json_t *policy_ids(const struct policy *policy, const struct policy_request *request,
                   const char *member);
/* pod: {"spec": ...}, before what Elara adds. gpu_resource: what KERNEL_GPUS counts. */
int policy_check_pod(const struct policy *policy, const struct policy_request *request,
                     const struct kube_flow *flow, const json_t *pod, const char *gpu_resource,
                     struct error *err);
/* The client's KERNEL_NAMESPACE. */
int policy_check_namespace(const struct policy *policy, const struct policy_request *request,
                           const char *name, struct error *err);
/* resources.*.default where the container asks for none, .max where it has no limit. place: of the
 * container, for the decisions. */
void policy_add_resources(const struct policy *policy, const struct policy_request *request,
                          const char *gpu_resource, const char *place, json_t *container);
