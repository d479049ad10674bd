#include "launcher/kube_rights.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 256 };

#define RBAC "rbac.authorization.k8s.io"

static const struct kube_right rights[] = {
    {KUBE_NEED_KERNELS, KUBE_RIGHT_OF_RECORDS, "", "secrets", "get list watch create patch delete",
     "elara-records"},
    {KUBE_NEED_KERNELS, KUBE_RIGHT_OF_KERNELS, "", "pods", "list watch create patch delete",
     "elara-kernels"},
    {KUBE_NEED_KERNELS, KUBE_RIGHT_OF_KERNELS, "", "secrets", "create patch delete",
     "elara-kernels"},
    {KUBE_NEED_KERNELS, KUBE_RIGHT_OF_KERNELS, "", "events", "list watch", "elara-kernels"},
    {KUBE_NEED_NAMESPACES, KUBE_RIGHT_EVERYWHERE, "", "namespaces", "get create", "elara-kernels"},
    {KUBE_NEED_OWN_NAMESPACES, KUBE_RIGHT_EVERYWHERE, "", "namespaces", "list watch delete",
     "elara-kernels"},
    {KUBE_NEED_NETWORK_POLICY, KUBE_RIGHT_EVERYWHERE, "networking.k8s.io", "networkpolicies",
     "create", "elara-kernels"},
    {KUBE_NEED_HOME_CLAIMS, KUBE_RIGHT_EVERYWHERE, "", "persistentvolumeclaims", "get create",
     "elara-home-claims"},
    {KUBE_NEED_HOME_CLAIMS, KUBE_RIGHT_EVERYWHERE, "", "persistentvolumes", "create",
     "elara-home-claims"},
    {KUBE_NEED_KERNEL_ROLE, KUBE_RIGHT_EVERYWHERE, RBAC, "rolebindings", "create",
     "elara-kernel-role"},
    {KUBE_NEED_KERNEL_ROLE, KUBE_RIGHT_EVERYWHERE, RBAC, "clusterroles", "bind",
     "elara-kernel-role"},
    {KUBE_NEED_TOKEN_REVIEW, KUBE_RIGHT_EVERYWHERE, "authentication.k8s.io", "tokenreviews",
     "create", "elara-token-review"},
    {KUBE_NEED_PURGE, KUBE_RIGHT_OF_RECORDS, "", "secrets", "list", "elara-uninstall"},
    {KUBE_NEED_PURGE, KUBE_RIGHT_EVERYWHERE, "", "secrets", "delete", "elara-uninstall"},
    {KUBE_NEED_PURGE, KUBE_RIGHT_EVERYWHERE, "", "pods", "list", "elara-uninstall"},
    {KUBE_NEED_PURGE, KUBE_RIGHT_EVERYWHERE, "", "namespaces", "get delete", "elara-uninstall"},
};

const struct kube_right *kube_right_at(size_t index) {
    return index < sizeof rights / sizeof *rights ? &rights[index] : NULL;
}

/* Of Secrets the gateway reads only those in its own namespace, which is its service account's. */
static bool is_of_records(const struct kube_missing_right *missing) {
    static const char prefix[] = "system:serviceaccount:";
    const char *verb = missing->verb, *user = missing->user;
    size_t length = strlen(missing->namespace);
    bool is_read =
        strcmp(verb, "get") == 0 || strcmp(verb, "list") == 0 || strcmp(verb, "watch") == 0;
    bool is_own = text_starts_with(user, prefix) &&
                  strncmp(user + strlen(prefix), missing->namespace, length) == 0 &&
                  user[strlen(prefix) + length] == ':';
    return is_read || is_own;
}

static const struct kube_right *right_of(const struct kube_missing_right *missing) {
    for (size_t i = 0; i < sizeof rights / sizeof *rights; i++) {
        bool is_it = strcmp(rights[i].resource, missing->resource) == 0 &&
                     strstr(rights[i].verbs, missing->verb) != NULL && /* none is part of another */
                     (rights[i].needs == KUBE_NEED_PURGE) == missing->is_of_purge;
        bool is_record = rights[i].place == KUBE_RIGHT_OF_RECORDS;
        if (is_it && (!is_record || (missing->namespace != NULL && is_of_records(missing))))
            return &rights[i];
    }
    return NULL;
}

/* "the Role x in that namespace". In a namespace of the gateway's making kernels have no Role:
 * there the ClusterRole of that name grants it. *is_local: not by a ClusterRole. */
static void name_role(const struct kube_missing_right *missing, char ret[WORD_MAX],
                      bool *is_local) {
    const struct kube_right *right = right_of(missing);
    *is_local =
        missing->namespace != NULL && (right == NULL || right->place != KUBE_RIGHT_EVERYWHERE);
    if (right == NULL)
        snprintf(ret, WORD_MAX, "%s", *is_local ? "a Role in that namespace" : "a ClusterRole");
    else if (!*is_local)
        snprintf(ret, WORD_MAX, "the ClusterRole %s", right->role);
    else if (right->place == KUBE_RIGHT_OF_RECORDS)
        snprintf(ret, WORD_MAX, "the Role %s in that namespace", right->role);
    else
        snprintf(ret, WORD_MAX,
                 "the Role %s in that namespace (the ClusterRole %s where the gateway makes the "
                 "namespaces)",
                 right->role, right->role);
}

int kube_right_explain(const struct kube_missing_right *missing, struct error *err) {
    const char *place = missing->namespace, *name = missing->name;
    char role[WORD_MAX];
    bool is_local;
    name_role(missing, role, &is_local);
    return error_set(
        err, ERROR_DENIED,
        "%.200s may not %.32s %.100s%s%.100s%s %s%.64s%s at the Kubernetes API server %.200s: %s "
        "has to grant it (apiGroups: [\"%.100s\"], resources: [\"%.100s\"]%s%.100s%s, verbs: "
        "[\"%.32s\"]), bound to it by a %s",
        missing->user, missing->verb, missing->resource, name != NULL ? " \"" : "",
        name != NULL ? name : "", name != NULL ? "\"" : "",
        place != NULL ? "in namespace \"" : "in the whole cluster", place != NULL ? place : "",
        place != NULL ? "\"" : "", missing->server, role, missing->group, missing->resource,
        name != NULL ? ", resourceNames: [\"" : "", name != NULL ? name : "",
        name != NULL ? "\"]" : "", missing->verb, is_local ? "RoleBinding" : "ClusterRoleBinding");
}
