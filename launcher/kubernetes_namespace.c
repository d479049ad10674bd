/* The steps that make the namespace of a kernel (kube_order.h says which), with its NetworkPolicy
 * and RoleBinding. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_reasons.h"

#include <string.h>

static void on_binding(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    if (err != NULL && status != 409)
        kubernetes_refuse_step(place, status, answer, "the kernel's RoleBinding", err);
    else
        kubernetes_advance(place, STEP_KEY);
}

static void begin_binding(struct provision *place) {
    const struct provisioner_kubernetes_settings *settings = &place->cluster->settings;
    if (settings->cluster_role == NULL || settings->cluster_role[0] == '\0') {
        kubernetes_advance(place, STEP_KEY);
        return;
    }
    struct kube_identity identity = kubernetes_identity_of(place);
    const char *account = kubernetes_wish_of(place, KUBE_WISH_SERVICE_ACCOUNT);
    if (account == NULL)
        account = settings->pod.service_account;
    cleanup_json json_t *binding = kube_role_binding_tree(
        place->namespace, settings->cluster_role, account != NULL ? account : "default", &identity);
    cleanup_free char *path = memory_printf(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/rolebindings", place->namespace);
    kubernetes_call_step(place, "POST", path, binding, on_binding);
}

static void on_network_policy(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    if (err != NULL && status != 409)
        kubernetes_refuse_step(place, status, answer, "the NetworkPolicy of its namespace", err);
    else
        begin_binding(place);
}

static void begin_network_policy(struct provision *place) {
    const struct provisioner_kubernetes_settings *settings = &place->cluster->settings;
    if (json_object_size(settings->network_policy) == 0) {
        begin_binding(place);
        return;
    }
    struct kube_identity identity = kubernetes_identity_of(place);
    if (settings->namespaces == KUBERNETES_PER_USER)
        identity.kernel_id = NULL; /* it is for all of them */
    cleanup_json json_t *policy =
        kube_network_policy_tree(place->namespace, &identity, settings->network_policy);
    cleanup_free char *path =
        memory_printf("/apis/networking.k8s.io/v1/namespaces/%s/networkpolicies", place->namespace);
    kubernetes_call_step(place, "POST", path, policy, on_network_policy);
}

void kubernetes_furnish_namespace(struct provision *place) {
    bool is_given =
        kubernetes_wish_of(place, KUBE_WISH_NAMESPACE) != NULL; /* with all that is in it */
    if (is_given || place->cluster->settings.namespaces == KUBERNETES_FIXED)
        kubernetes_advance(place, STEP_KEY);
    else
        begin_network_policy(place);
}

static void advance_with(struct provision *place, const json_t *namespace) {
    text_replace(&place->namespace_uid, kube_object_uid(namespace));
    kubernetes_advance(place, STEP_FURNISH);
}

/* One of that name that is somebody else's gets no kernel of ours. */
static void on_known_namespace(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    struct error foreign;
    place->call = NULL;
    if (err != NULL) {
        kubernetes_refuse_step(place, status, answer, "the kernel's namespace", err);
        return;
    }
    error_set(&foreign, ERROR_DENIED,
              "The namespace %s is there, and lacks the label " KUBE_LABEL_INSTALL
              "=%s: it was not made for kernels. Give it the label, or choose another %s",
              place->namespace, place->cluster->settings.install,
              kubernetes_wish_of(place, KUBE_WISH_NAMESPACE) != NULL
                  ? "KERNEL_NAMESPACE"
                  : "kubernetes-namespace-prefix");
    foreign.cause = kube_reason_word("AlreadyExists");
    bool is_ours = kubernetes_is_of_install(place->cluster, answer);
    if (place->namespace_created && is_ours)
        is_ours = kubernetes_is_of_kernel(answer, place->id);
    place->namespace_created &= is_ours;
    if (!is_ours) {
        place->step = STEP_NONE;
        kubernetes_call_ended(place, &foreign);
    } else
        advance_with(place, answer);
}

static void on_namespace(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    if (status == 409) {
        cleanup_free char *path = kubernetes_path(NULL, "namespaces", place->namespace);
        kubernetes_call_step(place, "GET", path, NULL, on_known_namespace);
    } else if (err != NULL)
        kubernetes_refuse_step(place, status, answer, "the kernel's namespace", err);
    else
        advance_with(place, answer);
}

/* One that the request names is not made, and needs our label where our rights reach any. */
void kubernetes_begin_namespace(struct provision *place) {
    const struct provisioner_kubernetes_settings *settings = &place->cluster->settings;
    if (settings->namespaces == KUBERNETES_FIXED) {
        kubernetes_advance(place, STEP_KEY);
        return;
    }
    if (kubernetes_wish_of(place, KUBE_WISH_NAMESPACE) != NULL) {
        cleanup_free char *path = kubernetes_path(NULL, "namespaces", place->namespace);
        kubernetes_call_step(place, "GET", path, NULL, on_known_namespace);
        return;
    }
    struct kube_identity identity = kubernetes_identity_of(place);
    if (settings->namespaces == KUBERNETES_PER_USER)
        identity.kernel_id = NULL;
    cleanup_json json_t *namespace =
        kube_namespace_tree(place->namespace, &identity, settings->namespace_labels);
    cleanup_free char *path = kubernetes_path(NULL, "namespaces", NULL);
    kubernetes_call_step(place, "POST", path, namespace, on_namespace);
}
