/* The namespace of a kernel: which one it is, and the steps that make it with its RoleBinding. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

static const char *user_of(const struct provision *place) {
    return json_string_value(json_object_get(place->record, "user"));
}

/* The gateway's own namespace has the keys and records of all kernels. */
int kubernetes_check_namespace(const struct kubernetes *cluster, const char *wish,
                               struct error *err) {
    const struct provisioner_kubernetes_settings *settings = &cluster->settings;
    if (wish == NULL)
        return 0;
    if (!kube_is_dns_label(wish))
        return error_set(err, ERROR_INVALID,
                         "KERNEL_NAMESPACE: \"%.100s\" is no name of a namespace", wish);
    bool is_kernels =
        settings->namespaces == KUBERNETES_FIXED && strcmp(wish, settings->kernel_namespace) == 0;
    if (strcmp(wish, settings->gateway_namespace) == 0 && !is_kernels)
        return error_set(err, ERROR_DENIED,
                         "KERNEL_NAMESPACE: %s is the gateway's own, which has no kernels", wish);
    return 0;
}

static void on_binding(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    if (err != NULL && status != 409)
        kubernetes_refuse_step(place, status, answer, "the kernel's RoleBinding", err);
    else
        kubernetes_advance(place, STEP_KEY);
}

void kubernetes_begin_binding(struct provision *place) {
    const struct provisioner_kubernetes_settings *settings = &place->cluster->settings;
    bool is_given =
        kubernetes_wish_of(place, KUBE_WISH_NAMESPACE) != NULL; /* with all that is in it */
    if (is_given || settings->namespaces == KUBERNETES_FIXED || settings->cluster_role == NULL ||
        settings->cluster_role[0] == '\0') {
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
    bool is_ours = kubernetes_is_of_install(place->cluster, answer);
    if (place->namespace_created && is_ours)
        is_ours = kubernetes_is_of_kernel(answer, place->id);
    place->namespace_created &= is_ours;
    if (!is_ours) {
        place->step = STEP_NONE;
        kubernetes_call_ended(place, &foreign);
    } else
        kubernetes_advance(place, STEP_BINDING);
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
        kubernetes_advance(place, STEP_BINDING);
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

void kubernetes_choose_namespace(struct provision *place, const json_t *values) {
    const struct provisioner_kubernetes_settings *settings = &place->cluster->settings;
    const char *wish = kubernetes_wish_of(place, KUBE_WISH_NAMESPACE);
    char name[KUBE_NAME_SIZE];
    if (place->namespace != NULL)
        return;
    if (wish != NULL) {
        place->namespace = memory_strdup(wish);
        return;
    }
    if (settings->namespaces == KUBERNETES_FIXED) {
        place->namespace = memory_strdup(settings->kernel_namespace);
        return;
    }
    if (settings->namespaces == KUBERNETES_PER_USER)
        kube_name_user_namespace(settings->namespace_prefix, user_of(place), name);
    else
        kube_name_kernel_namespace(settings->install, place->id, values, user_of(place), name);
    place->namespace = memory_strdup(name);
    place->namespace_created = settings->namespaces == KUBERNETES_PER_KERNEL;
}
