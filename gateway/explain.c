#include "gateway/explain.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/explain_fields.h"
#include "gateway/gateway.h"
#include "gateway/kernel_launch.h"
#include "gateway/kernels.h"
#include "gateway/loop.h"
#include "launcher/kube_config.h"
#include "launcher/kube_order.h"
#include "launcher/kube_template.h"
#include "launcher/kube_trace.h"
#include "launcher/policy.h"
#include "launcher/provisioner_kubernetes.h"

#include <string.h>

/* A provisioner that starts nothing. */
struct explainer {
    struct provisioner base;
    const struct policy *policy;                              /* or NULL */
    struct home_settings home;                                /* of processes */
    const struct provisioner_kubernetes_settings *kubernetes; /* NULL: processes */
    struct kube_trace *trace;
    struct explanation *ret;
};

static int draft_pod(struct explainer *self, const struct provision_order *order,
                     struct error *err) {
    const struct kube_order wanted = {.settings = self->kubernetes,
                                      .kernel_id = order->kernel_id,
                                      .record = order->record,
                                      .launch = order->launch,
                                      .spec = order->spec,
                                      .trace = self->trace};
    /* What only a gateway at its cluster knows. */
    cleanup_json json_t *owner = json_pack("{s:s, s:s}", "name", "not-yet", "uid", "not-yet");
    cleanup_json json_t *template = NULL;
    struct kube_home home = {0};
    bool is_made;
    if (kube_order_check(&wanted, err) < 0 ||
        kube_template_load(order->spec_directory, &template, err) < 0)
        return -1;
    cleanup_free char *namespace = kube_order_namespace(&wanted, &is_made);
    const struct kube_attempt attempt = {
        .number = 1, .namespace = namespace, .template = template, .owner = owner};
    int failed = kube_order_pod(&wanted, &attempt, &self->ret->pod, &home, err);
    free(home.path);
    return failed;
}

static struct policy_request request_of(const struct provision_order *order) {
    const json_t *request = json_object_get(order->record, "request");
    return policy_request_of(json_string_value(json_object_get(order->launch, "kernel_name")),
                             order->spec,
                             json_string_value(json_object_get(order->record, "owner")),
                             json_object_get(request, "env"));
}

/* The kernels have asked the policy already; here it says what it thought. */
static int draft_process(struct explainer *self, const struct provision_order *order,
                         struct error *err) {
    struct policy_request request = request_of(order);
    bool has_home;
    request.decisions = self->trace->decisions;
    if (provisioner_local_add_home(&self->home, order->spec, order->record, order->launch,
                                   &has_home, err) < 0)
        return -1;
    self->ret->launch = json_pack("{s:O, s:O, s:O}", "argv", json_object_get(order->launch, "argv"),
                                  "cwd", json_object_get(order->launch, "cwd"), "env",
                                  json_object_get(order->launch, "env"));
    return self->policy != NULL ? policy_check_request(self->policy, &request, err) : 0;
}

/* Always -1, so that nothing is there afterwards. */
static int start(struct provisioner *base, const struct provision_order *order,
                 const struct provision_events *events, void *context, struct provision **ret,
                 struct error *err) {
    struct explainer *self = (struct explainer *)base;
    (void)events, (void)context, (void)ret;
    const struct policy_request request = request_of(order);
    int failed =
        self->kubernetes != NULL ? draft_pod(self, order, err) : draft_process(self, order, err);
    self->ret->is_allowed = failed == 0;
    self->ret->kernelspec = memory_strdup(request.kernelspec);
    self->ret->fields = explain_fields(
        order, self->policy != NULL ? policy_user(self->policy, &request) : request.owner,
        self->ret, self->trace);
    return failed < 0 ? -1 : error_set(err, ERROR_UNSUPPORTED, "nothing is started");
}

static const struct provisioner_ops ops_of_processes = {.name = "local", .start = start};
static const struct provisioner_ops ops_of_pods = {
    .name = "kubernetes", .is_elsewhere = true, .start = start};

static void ask(struct gateway *gateway, struct explainer *explainer,
                const struct explain_request *request) {
    const struct kernel_request wish = {.name = request->name,
                                        .env = request->env,
                                        .path = request->path,
                                        .identity = request->identity};
    struct explanation *ret = explainer->ret;
    struct kernels_settings settings;
    struct kernel *kernel;
    gateway_kernels_settings(gateway, &settings);
    settings.state_directory = NULL;
    gateway->loop = loop_create();
    if (kernels_create(gateway->loop, &settings, NULL, &explainer->base, gateway->specs,
                       &gateway->kernels, &ret->refusal) == 0) {
        kernels_start(gateway->kernels, &wish, &kernel, &ret->refusal);
        kernels_destroy(gateway->kernels);
    }
    loop_destroy(gateway->loop);
}

/* As the provisioner does it; without a cluster the namespace has no name. */
static void name_namespaces(const struct settings *settings, struct kube_config **config,
                            struct provisioner_kubernetes_settings *wanted) {
    struct error unknown;
    if (gateway_kube_config(settings, config, &unknown) < 0)
        *config = NULL;
    if (wanted->gateway_namespace == NULL)
        wanted->gateway_namespace = *config != NULL ? kube_config_namespace(*config) : "default";
    if (wanted->kernel_namespace == NULL)
        wanted->kernel_namespace = wanted->gateway_namespace;
}

int explain(struct settings *settings, struct kernelspecs *specs,
            const struct explain_request *request, struct explanation *ret, struct error *err) {
    struct gateway gateway = {.settings = settings, .specs = specs};
    struct provisioner_kubernetes_settings kubernetes;
    struct kube_config *config = NULL;
    bool has_pods = strcmp(settings->provisioner, "kubernetes") == 0;
    *ret = (struct explanation){0};
    struct home_settings home = {0};
    if (gateway_load_policy(&gateway, err) < 0 ||
        (has_pods ? gateway_kubernetes_settings(&gateway, &kubernetes, err)
                  : gateway_home_settings(&gateway, &home, err)) < 0) {
        policy_destroy(gateway.policy);
        json_decref(gateway.home_uids);
        return -1;
    }
    if (has_pods)
        name_namespaces(settings, &config, &kubernetes);
    struct explainer explainer = {.base = {has_pods ? &ops_of_pods : &ops_of_processes},
                                  .policy = gateway.policy,
                                  .home = home,
                                  .kubernetes = has_pods ? &kubernetes : NULL,
                                  .trace = kube_trace_create(),
                                  .ret = ret};
    ask(&gateway, &explainer, request);
    kube_trace_destroy(explainer.trace);
    kube_config_destroy(config);
    policy_destroy(gateway.policy);
    json_decref(gateway.home_uids);
    return 0;
}

void explain_free(struct explanation *explanation) {
    free(explanation->kernelspec);
    json_decref(explanation->pod);
    json_decref(explanation->launch);
    json_decref(explanation->fields);
}
