/* What an order for a kernel becomes in Kubernetes: whether it may be, its namespace, its pod.
 * Nothing here speaks to a cluster, so that whoever only asks (`elara policy explain`) is told by
 * the code that starts kernels. */
#pragma once

#include "launcher/kube_home.h"
#include "launcher/kube_pod.h"
#include "launcher/provisioner_kubernetes.h"

struct kube_order {
    const struct provisioner_kubernetes_settings *settings; /* namespaces not NULL */
    const char *kernel_id;
    const json_t *record, *launch; /* as launch.h describes them */
    const json_t *spec;            /* kernel.json */
    struct kube_trace *trace;      /* NULL: nobody asks who said what */
};

/* Which of the request's wishes count; as kube_pod_take_wishes. */
int kube_order_take_wishes(const struct kube_order *order, struct kube_wishes *ret,
                           struct error *err);
/* What is told before anything is made. */
int kube_order_check(const struct kube_order *order, struct error *err);
/* malloc'ed; *is_made: it is made for the kernel, and goes with it. */
char *kube_order_namespace(const struct kube_order *order, bool *is_made);

struct kube_attempt {
    int64_t number; /* from 1 */
    const char *namespace;
    const json_t *template; /* of kube_template_load, or NULL */
    json_t *owner;          /* metadata of the key Secret */
};
/* The Pod. home: whose directory it has; its path is the caller's. */
int kube_order_pod(const struct kube_order *order, const struct kube_attempt *attempt, json_t **ret,
                   struct kube_home *home, struct error *err);
