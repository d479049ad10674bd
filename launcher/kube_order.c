#include "launcher/kube_order.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_names.h"
#include "launcher/kube_trace.h"

#include <string.h>

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

static struct policy_request request_of(const struct kube_order *order) {
    const json_t *env = json_object_get(json_object_get(order->record, "request"), "env");
    struct policy_request request = policy_request_of(
        text_of(order->launch, "kernel_name"), order->spec, text_of(order->record, "owner"), env);
    request.decisions = order->trace != NULL ? order->trace->decisions : NULL;
    return request;
}

int kube_order_take_wishes(const struct kube_order *order, struct kube_wishes *ret,
                           struct error *err) {
    struct policy_request request = request_of(order);
    request.decisions = NULL; /* they are told with the pod */
    return kube_pod_take_wishes(&order->settings->pod, &request, ret, err);
}

/* The gateway's own namespace has the keys and records of all kernels. */
static int check_namespace(const struct provisioner_kubernetes_settings *settings, const char *wish,
                           struct error *err) {
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

int kube_order_check(const struct kube_order *order, struct error *err) {
    const struct provisioner_kubernetes_settings *settings = order->settings;
    const struct policy_request request = request_of(order);
    struct kube_wishes wishes;
    if (kube_order_take_wishes(order, &wishes, err) < 0)
        return -1;
    const char *namespace = wishes.value[KUBE_WISH_NAMESPACE];
    if (settings->pod.policy != NULL && wishes.is_clients[KUBE_WISH_NAMESPACE] &&
        policy_check_namespace(settings->pod.policy, &request, namespace, err) < 0)
        return -1;
    if (check_namespace(settings, namespace, err) < 0)
        return -1;
    if (settings->namespaces == KUBERNETES_PER_USER && namespace == NULL &&
        text_or_null(text_of(order->record, "user")) == NULL)
        return error_set(err, ERROR_DENIED,
                         "A kernel of nobody has no namespace: the request names no user");
    return 0;
}

char *kube_order_namespace(const struct kube_order *order, bool *is_made) {
    const struct provisioner_kubernetes_settings *settings = order->settings;
    const char *user = text_of(order->record, "user");
    struct kube_wishes wishes;
    char name[KUBE_NAME_SIZE];
    bool is_wished = kube_order_take_wishes(order, &wishes, NULL) == 0 &&
                     wishes.value[KUBE_WISH_NAMESPACE] != NULL;
    *is_made = !is_wished && settings->namespaces == KUBERNETES_PER_KERNEL;
    if (is_wished)
        return memory_strdup(wishes.value[KUBE_WISH_NAMESPACE]);
    if (settings->namespaces == KUBERNETES_FIXED)
        return memory_strdup(settings->kernel_namespace);
    if (settings->namespaces == KUBERNETES_PER_USER)
        kube_name_user_namespace(settings->namespace_prefix, user, name);
    else
        kube_name_kernel_namespace(settings->install, order->kernel_id,
                                   json_object_get(order->launch, "env"), user, name);
    return memory_strdup(name);
}

static void say_namespace(const struct kube_order *order) {
    struct kube_wishes wishes;
    if (kube_order_take_wishes(order, &wishes, NULL) < 0)
        return;
    bool is_wished = wishes.value[KUBE_WISH_NAMESPACE] != NULL;
    kube_trace_say(order->trace, "metadata.namespace",
                   wishes.is_clients[KUBE_WISH_NAMESPACE] ? "client's KERNEL_NAMESPACE"
                   : is_wished                            ? "kernel.json's env"
                                                          : "settings kubernetes-namespace...");
}

/* Of the home. */
static const char *who_decided(void *context, const char *place) {
    const struct kube_order *order = context;
    const struct home_settings *home = &order->settings->home;
    const char *member = strrchr(place, '.');
    const char *decider = kube_home_decider(home, home_user(home, order->record), place);
    if (decider != NULL || strstr(place, ".securityContext.") == NULL)
        return decider != NULL ? decider : "Elara";
    cleanup_free char *of_pod = memory_printf("spec.securityContext%s", member);
    const char *said = text_of(order->trace->said, of_pod); /* the container's is the pod's */
    return said != NULL ? said : "Elara";
}

int kube_order_pod(const struct kube_order *order, const struct kube_attempt *attempt, json_t **ret,
                   struct kube_home *home, struct error *err) {
    cleanup_json json_t *owner = json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "Secret",
                                           "metadata", attempt->owner);
    const struct policy_request request = request_of(order);
    const struct kube_pod_plan plan = {.identity = {.install = order->settings->install,
                                                    .kernel_id = order->kernel_id,
                                                    .owner = request.owner},
                                       .settings = &order->settings->pod,
                                       .namespace = attempt->namespace,
                                       .attempt = attempt->number,
                                       .template = attempt->template,
                                       .spec_image = kube_spec_image(order->spec),
                                       .values = json_object_get(order->launch, "env"),
                                       .client = request.client,
                                       .spec_env = request.spec_env,
                                       .kernelspec = request.kernelspec,
                                       .overridable = request.overridable,
                                       .key_secret = owner,
                                       .trace = order->trace};
    if (kube_pod_create(&plan, ret, err) < 0 ||
        kube_home_add(&order->settings->home, order->spec, order->record, *ret, home, err) < 0)
        return -1;
    kube_trace_step_by(order->trace, *ret, who_decided, (void *)(uintptr_t)order);
    say_namespace(order);
    return 0;
}
