/* What a gateway, or `elara purge` when it is gone, has to be granted at the API server (Kubernetes
 * documentation, "Using RBAC Authorization"): the one list of it, which the Roles in manifests/
 * grant to the letter, and the sentence that names a right that is missing. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum kube_right_place {
    KUBE_RIGHT_OF_RECORDS, /* in the gateway's own namespace */
    KUBE_RIGHT_OF_KERNELS, /* in the kernels' namespace; everywhere, where the gateway makes them */
    KUBE_RIGHT_EVERYWHERE,
};

/* What in the settings needs a right. */
enum {
    KUBE_NEED_KERNELS = 1 << 0,        /* all of them */
    KUBE_NEED_NAMESPACES = 1 << 1,     /* that the gateway makes */
    KUBE_NEED_OWN_NAMESPACES = 1 << 2, /* and deletes with the kernel */
    KUBE_NEED_NETWORK_POLICY = 1 << 3, /* in namespaces that it makes */
    KUBE_NEED_HOME_CLAIMS = 1 << 4,    /* the same */
    KUBE_NEED_KERNEL_ROLE = 1 << 5,    /* the same */
    KUBE_NEED_TOKEN_REVIEW = 1 << 6,
    KUBE_NEED_PURGE = 1 << 7, /* no setting: `elara purge`, which needs nothing else */
};

struct kube_right {
    unsigned needs;
    enum kube_right_place place;
    const char *group, *resource;
    const char *verbs; /* separated by spaces */
    const char *role;  /* of manifests/ */
};

/* NULL behind the last. */
const struct kube_right *kube_right_at(size_t index);

struct kube_missing_right {
    const char *user, *verb, *group, *resource;
    const char *name;      /* of the one object that it is about; NULL: of all */
    const char *namespace; /* NULL: at the cluster's scope */
    const char *server;
    bool is_of_purge; /* not a gateway's */
};
/* "U may not create pods in namespace "n" at the Kubernetes API server S: the Role R in that
 * namespace has to grant it (...), bound to it by a RoleBinding", ERROR_DENIED. Returns -1. */
int kube_right_explain(const struct kube_missing_right *missing, struct error *err);
