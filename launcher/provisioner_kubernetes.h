/* Kernels as pods (docs/kubernetes.md). What there is of a kernel: a record Secret in the gateway's
 * own namespace, which is there before anybody is told of the kernel and tells of its end; in the
 * kernel's namespace a key Secret, which owns the pod of each attempt. Any replica of the gateway
 * may do any step: names come from the kernel's id, so that what is done twice is there once. */
#pragma once

#include "base/error.h"
#include "launcher/kube_client.h"
#include "launcher/kube_config.h"
#include "launcher/kube_home.h"
#include "launcher/kube_pod.h"
#include "launcher/provisioner.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

enum kubernetes_namespaces {
    KUBERNETES_FIXED,      /* all kernels in one */
    KUBERNETES_PER_USER,   /* made when missing, kept */
    KUBERNETES_PER_KERNEL, /* made for the kernel and deleted with it */
};

/* All is borrowed, and outlives the provisioner. */
struct provisioner_kubernetes_settings {
    struct background *background; /* reads pods' templates */
    const char *install;           /* kube_install_check */
    const char *gateway_namespace; /* of the record Secrets; NULL: the configuration's */
    enum kubernetes_namespaces namespaces;
    const char *kernel_namespace;   /* KUBERNETES_FIXED: NULL is the gateway's own */
    const char *namespace_prefix;   /* of users' namespaces */
    const json_t *namespace_labels; /* for namespaces that we make; NULL: none */
    const json_t *network_policy;   /* a NetworkPolicySpec for them; NULL: they get none */
    /* Bound to pod.service_account in namespaces that we make; NULL or "": none. */
    const char *cluster_role;
    struct kube_pod_settings pod;
    struct home_settings home;
    int64_t start_deadline_ms;      /* for a pod to run; 0: none */
    int64_t tombstone_retention_ms; /* of the records of ended kernels */
    /* What belongs to no kernel is left alone for so long, and a start without a pod, or an end
     * that left something, is another gateway's for so long. */
    int64_t sweep_grace_ms;
};

/* Takes config; returns at once: an API server that does not answer is only waited for. */
int provisioner_kubernetes_create(struct event_base *loop, struct kube_config *config,
                                  const struct provisioner_kubernetes_settings *settings,
                                  struct provisioner **ret, struct error *err);
/* From now on; kernels that run keep what they were started with. */
void provisioner_kubernetes_configure(struct provisioner *provisioner,
                                      const struct provisioner_kubernetes_settings *settings);
