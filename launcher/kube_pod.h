/* From a plan to the Pod object of one attempt. What the template says stays; what it does not say
 * is made so that the pod passes the Pod Security Standard "restricted" (Kubernetes documentation).
 * Ours are an init container that copies the launcher into an emptyDir, that volume, the key
 * Secret's, the command and the port of the kernel's container, labels and annotations. */
#pragma once

#include "base/error.h"
#include "launcher/kube_objects.h"
#include "launcher/kube_wishes.h"
#include "launcher/policy.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct kube_trace;

struct kube_pod_settings {
    const json_t *pod; /* kubernetes-pod: a checked template for kernelspecs without one, or
                                   NULL */
    const char *image; /* kubernetes-image, EG_KERNEL_IMAGE; NULL or "": none */
    const char *launcher_image;  /* kubernetes-launcher-image; must be there */
    const char *gpu_resource;    /* NULL: nvidia.com/gpu */
    const char *service_account; /* for kernels that name none; NULL: the namespace's default */
    int64_t uid, gid; /* for pods that say none; -1: the image's own. Jupyter Enterprise Gateway:
                         1000, 100 */
    bool mirror_working_dirs; /* KERNEL_WORKING_DIR is the container's working directory */
    uint32_t allowed;         /* what clients may wish (kube_wishes.h) */
    /* Without a policy: variables that may be anywhere in the pod, "*" for all; or NULL. */
    char *const *trusted;
    char *const *prohibited_uids, *const *prohibited_gids; /* not for clients, as 0 is; or NULL */
    const struct policy *policy;         /* what they may make of it; NULL: as the two above say */
    int64_t port;                        /* of the launcher; 0: KUBE_PORT_DEFAULT */
    int64_t shutdown_wait_ms;            /* how long a kernel may take to end */
    int64_t journal_bytes, output_bytes; /* the most that the launcher keeps */
};

struct kube_pod_plan {
    struct kube_identity identity;
    const struct kube_pod_settings *settings;
    const char *namespace;
    int64_t attempt;        /* from 1 */
    const json_t *template; /* of kube_template_load; NULL: the setting's, or none */
    const char *spec_image; /* kube_spec_image; NULL: none */
    const json_t
        *values; /* for references: the kernel's whole environment (KERNEL_USERNAME should be
                             a name that was verified). Wishes that do not count are not seen. */
    const json_t *client;   /* the variables that the client sent, or NULL */
    const json_t *spec_env; /* kernel.json's env as it stands there, or NULL */
    const char
        *kernelspec; /* its name, and what it lets clients say though it says it itself: for */
    const json_t *overridable; /* the policy; either may be NULL */
    const json_t *key_secret;  /* as the API server answered it: the pod's owner */
    struct kube_trace *trace;  /* NULL: nobody asks who said what */
};

/* The Pod; ERROR_INVALID or ERROR_DENIED says which variable, field or setting is wrong and what it
 * should be. POST it with fieldValidation=Strict, so that a misspelt field of a template is
 * refused by its path. */
int kube_pod_create(const struct kube_pod_plan *plan, json_t **ret, struct error *err);

/* Which of a request's wishes count, as `allowed` or the policy has it; ERROR_DENIED: one, or the
 * request itself, is refused. */
int kube_pod_take_wishes(const struct kube_pod_settings *settings,
                         const struct policy_request *request, struct kube_wishes *ret,
                         struct error *err);

/* config.image_name of metadata.kernel_provisioner or metadata.process_proxy in kernel.json, or
 * NULL. Borrowed. */
const char *kube_spec_image(const json_t *kernel_json);
