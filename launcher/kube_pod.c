#include "launcher/kube_pod.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernelspecs/substitute.h"
#include "launcher/kube_jinja.h"
#include "launcher/kube_names.h"
#include "launcher/kube_pod_parts.h"
#include "launcher/kube_template.h"
#include "launcher/kube_trace.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum {
    KEY_MODE = 0444,           /* any uid of the container is the kernel's */
    GRACE_MORE_S = 6,          /* the launcher begins a second later, and ends after its kernel */
    LAUNCHER_BYTES = 128 << 20 /* it, its libraries and small files */
};

/* Who says something, for a trace. */
#define SPEC_ENV "kernel.json's env"
#define OURS     "Elara"

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

const char *kube_spec_image(const json_t *kernel_json) {
    static const char *const stanzas[] = {"kernel_provisioner", "process_proxy"};
    const json_t *metadata = json_object_get(kernel_json, "metadata");
    for (size_t i = 0; i < sizeof stanzas / sizeof *stanzas; i++) {
        const json_t *config = json_object_get(json_object_get(metadata, stanzas[i]), "config");
        const char *image = text_of(config, "image_name");
        if (image != NULL && *image != '\0')
            return image;
    }
    return NULL;
}

static struct policy_request request_of(const struct kube_pod_plan *plan) {
    return (struct policy_request){.kernelspec = plan->kernelspec,
                                   .owner = plan->identity.owner,
                                   .client = plan->client,
                                   .spec_env = plan->spec_env,
                                   .overridable = plan->overridable,
                                   .decisions =
                                       plan->trace != NULL ? plan->trace->decisions : NULL};
}

int kube_pod_take_wishes(const struct kube_pod_settings *settings,
                         const struct policy_request *request, struct kube_wishes *ret,
                         struct error *err) {
    uint32_t allowed = settings->allowed;
    if (settings->policy != NULL) {
        if (policy_check_request(settings->policy, request, err) < 0)
            return -1;
        allowed = policy_wishes(settings->policy, request, allowed);
    }
    return kube_wishes_take(request->client, request->spec_env, allowed, ret, err);
}

/* KUBE_WISHES: it is none. */
static unsigned wish_named(const char *name) {
    unsigned i = 0;
    while (i < KUBE_WISHES && strcmp(kube_wish_row(i)->name, name) != 0)
        i++;
    return i;
}

static bool is_wish(const char *name) {
    return wish_named(name) < KUBE_WISHES;
}

/* The client's value is not looked at. */
static bool is_kernelspecs(const struct kube_pod_plan *plan, const char *name) {
    const struct policy_request request = request_of(plan);
    if (plan->settings->policy != NULL)
        return policy_spec_wins(&request, name);
    bool may_not = is_wish(name) && (plan->settings->allowed & 1u << wish_named(name)) == 0;
    return may_not && text_or_null(text_of(plan->spec_env, name)) != NULL;
}

static const struct policy *policy_of(const struct kube_pod_settings *settings) {
    return settings->policy != NULL ? settings->policy : policy_builtin();
}

/* Without a policy: the administrator has named it, and lets it say what it likes. */
static bool is_trusted(const struct kube_pod_settings *settings, const char *name) {
    if (settings->policy != NULL)
        return false;
    unsigned wish = wish_named(name);
    if (wish < KUBE_WISHES && !kube_wish_row(wish)->is_free)
        return (settings->allowed & 1u << wish) != 0;
    for (char *const *at = settings->trusted; at != NULL && *at != NULL; at++)
        if (strcmp(*at, "*") == 0 || strcmp(*at, name) == 0)
            return true;
    return false;
}

/* What is the client's alone. Whose kernel it is, and its id, were looked at before. */
static struct kube_flow *make_flow(const struct kube_pod_plan *plan) {
    const char *name;
    json_t *value;
    struct kube_flow *flow = kube_flow_create();
    bool is_owners =
        plan->identity.owner != NULL && !policy_trusts_names(policy_of(plan->settings));
    json_object_foreach((json_t *)(uintptr_t)plan->client, name, value) {
        if (strcmp(name, "KERNEL_ID") == 0 || (is_owners && strcmp(name, "KERNEL_USERNAME") == 0))
            continue;
        if (is_trusted(plan->settings, name))
            kube_flow_trust_name(flow, name);
        else /* also where the kernelspec's counts: it may be made of it */
            kube_flow_add_name(flow, name);
    }
    kube_flow_spread(flow, plan->spec_env);
    json_object_foreach((json_t *)(uintptr_t)plan->client, name, value) {
        if (!is_kernelspecs(plan, name))
            continue;
        cleanup_free char *used = substitute_find_known(
            json_string_value(json_object_get(plan->spec_env, name)), flow->names);
        if (used == NULL)
            json_object_del(flow->names, name);
    }
    return flow;
}

/* The environment has a client's values where the kernelspec's count here, and what was made of
 * them. */
static void restore_spec(const struct kube_pod_plan *plan, json_t *values, json_t *changed) {
    const char *name;
    json_t *text;
    json_object_foreach((json_t *)(uintptr_t)plan->client, name, text) {
        if (is_kernelspecs(plan, name) && !is_wish(name)) {
            json_object_set_new(changed, name, json_string(""));
            json_object_del(values, name);
        }
    }
    cleanup_json json_t *made = json_object();
    json_object_foreach((json_t *)(uintptr_t)plan->spec_env, name, text) {
        const char *value = json_string_value(text);
        bool is_clients =
            json_object_get(plan->client, name) != NULL && !is_kernelspecs(plan, name);
        if (value == NULL || is_clients || is_wish(name))
            continue;
        cleanup_free char *used = substitute_find_known(value, changed);
        if (used == NULL && json_object_get(changed, name) == NULL)
            continue;
        cleanup_free char *filled = substitute_variables(value, values);
        json_object_set_new(made, name, json_string(filled));
    }
    json_object_update(values, made);
}

/* What references see: the environment, with only those wishes that count, and the name that does.
 * The kernelspec's own may refer to it; they are kept alive by the values. */
static json_t *make_values(const struct kube_pod_plan *plan, struct kube_wishes *wishes) {
    const struct policy_request request = request_of(plan);
    cleanup_json json_t *changed = json_object();
    json_t *values =
        plan->values != NULL ? json_copy((json_t *)(uintptr_t)plan->values) : json_object();
    if (plan->identity.owner != NULL) {
        const char *user = policy_user(policy_of(plan->settings), &request);
        json_object_set_new(values, "KERNEL_USERNAME", json_string(user));
        json_object_set_new(changed, "KERNEL_USERNAME", json_string(""));
    }
    for (unsigned i = 0; i < KUBE_WISHES; i++) {
        const char *name = kube_wish_row(i)->name;
        if (wishes->is_clients[i])
            json_object_set_new(values, name, json_string(wishes->value[i]));
        else
            json_object_del(values, name);
    }
    restore_spec(plan, values, changed);
    cleanup_json json_t *own = json_object();
    for (unsigned i = 0; i < KUBE_WISHES; i++) {
        bool is_list = i == KUBE_WISH_VOLUMES || i == KUBE_WISH_VOLUME_MOUNTS;
        if (wishes->value[i] == NULL || wishes->is_clients[i] || is_list)
            continue; /* in lists they are replaced after parsing */
        cleanup_free char *text = substitute_variables(wishes->value[i], values);
        json_object_set_new(own, kube_wish_row(i)->name, json_string(text));
    }
    json_object_update(values, own);
    for (unsigned i = 0; i < KUBE_WISHES; i++)
        if (json_object_get(own, kube_wish_row(i)->name) != NULL)
            wishes->value[i] = text_of(values, kube_wish_row(i)->name);
    return values;
}

/* NULL: none. *who: for a trace. */
static const char *choose_image(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                                const char *from_template, const char **who) {
    static const char *const says[] = {SPEC_ENV, "kernel.json's image_name", "",
                                       "setting kubernetes-image"};
    const char *images[] = {wishes->value[KUBE_WISH_IMAGE], plan->spec_image,
                            text_or_null(from_template), text_or_null(plan->settings->image)};
    size_t i = 0;
    while (i < sizeof images / sizeof *images - 1 && images[i] == NULL)
        i++;
    *who = says[i];
    return images[i];
}

/* As the image was chosen: of the template's, or of something that goes before it. */
static void note_image(const struct kube_wishes *wishes, const char *image, bool is_templates,
                       struct kube_flow *flow, size_t kernel) {
    cleanup_free char *place = memory_printf("spec.containers[%zu].image", kernel);
    if (!is_templates)
        kube_flow_forget(flow, place);
    if (image == wishes->value[KUBE_WISH_IMAGE] && kube_flow_has_name(flow, "KERNEL_IMAGE"))
        kube_flow_note(flow, place, "KERNEL_IMAGE");
}

static int set_image(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                     json_t *container, struct kube_flow *flow, size_t kernel, const char **said,
                     struct error *err) {
    const char *from_template = text_of(container, "image");
    const char *image = choose_image(plan, wishes, from_template, said);
    if (image == NULL)
        return error_set(err, ERROR_INVALID,
                         "no image for the kernel: the kernelspec needs one in its pod.yaml or in "
                         "metadata.kernel_provisioner.config.image_name, or the gateway the "
                         "setting kubernetes-image");
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._-/:@";
    if (image[strspn(image, allowed)] != '\0' || *image == '-' || strlen(image) > 512)
        return error_set(err, ERROR_INVALID,
                         "\"%.200s\" is no image's name: it is like "
                         "registry.example.com/team/image:tag",
                         image);
    note_image(wishes, image, image == from_template, flow, kernel);
    if (image != from_template)
        json_object_set_new(container, "image", json_string(image));
    return 0;
}

static int set_service_account(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                               json_t *spec, struct error *err) {
    const char *wish = wishes->value[KUBE_WISH_SERVICE_ACCOUNT];
    const char *fallback = plan->settings->service_account;
    const char *name = wish != NULL ? wish : fallback;
    if (name != NULL && *name != '\0' && !kube_is_dns_subdomain(name))
        return error_set(err, ERROR_INVALID, "%s: \"%.100s\" is no service account's name",
                         wish != NULL ? "KERNEL_SERVICE_ACCOUNT_NAME"
                                      : "the setting for kernels' service account",
                         name);
    if (wish != NULL) {
        json_object_set_new(spec, "serviceAccountName", json_string(wish));
        json_object_del(spec, "serviceAccount");
    } else if (name != NULL && *name != '\0' && text_of(spec, "serviceAccount") == NULL) {
        kube_set_default(spec, "serviceAccountName", json_string(name));
    }
    return 0;
}

static int64_t port_of(const struct kube_pod_settings *settings) {
    return settings->port > 0 ? settings->port : KUBE_PORT_DEFAULT;
}

static int check_ports(const json_t *spec, int64_t port, struct error *err) {
    const json_t *containers = json_object_get(spec, "containers");
    for (size_t i = 0; i < json_array_size(containers); i++) {
        const json_t *ports = json_object_get(json_array_get(containers, i), "ports");
        for (size_t j = 0; j < json_array_size(ports); j++)
            if (json_integer_value(json_object_get(json_array_get(ports, j), "containerPort")) ==
                port)
                return error_set(err, ERROR_INVALID,
                                 "the pod's template: spec.containers[%zu].ports[%zu]: port %d is "
                                 "the launcher's; choose another",
                                 i, j, (int)port);
    }
    return 0;
}

/* Ours, after all that comes from others. */
static void add_launcher(const struct kube_pod_plan *plan, json_t *spec, json_t *container) {
    const struct kube_pod_settings *settings = plan->settings;
    int64_t kept = settings->journal_bytes + settings->journal_bytes / 4 + settings->output_bytes;
    cleanup_free char *size =
        memory_printf("%lldMi", (long long)((kept + LAUNCHER_BYTES) / (1 << 20) + 1));
    cleanup_free char *listen = memory_printf("tcp://*:%d", (int)port_of(settings));
    json_t *volumes = kube_array_in(spec, "volumes"),
           *mounts = kube_array_in(container, "volumeMounts");
    json_array_append_new(
        volumes, json_pack("{s:s, s:{s:s}}", "name", KUBE_VOLUME, "emptyDir", "sizeLimit", size));
    json_array_append_new(
        volumes, json_pack("{s:s, s:{s:s, s:i}}", "name", KUBE_KEY_VOLUME, "secret", "secretName",
                           kube_object_name(plan->key_secret), "defaultMode", (int)KEY_MODE));
    json_array_append_new(mounts,
                          json_pack("{s:s, s:s}", "name", KUBE_VOLUME, "mountPath", KUBE_MOUNT));
    json_array_append_new(mounts, json_pack("{s:s, s:s, s:b}", "name", KUBE_KEY_VOLUME, "mountPath",
                                            KUBE_KEY_MOUNT, "readOnly", 1));
    kube_pod_add_temporary(spec, container);
    json_array_append_new(kube_array_in(container, "ports"),
                          json_pack("{s:s, s:I, s:s}", "name", KUBE_PORT_NAME, "containerPort",
                                    (json_int_t)port_of(settings), "protocol", "TCP"));
    /* The last lines of a launcher that could not even say hello. */
    kube_set_default(container, "terminationMessagePolicy", json_string("FallbackToLogsOnError"));
    json_object_set_new(container, "command",
                        json_pack("[s, s, s, s, s, s, s]", KUBE_MOUNT "/bin/elara-launcher",
                                  "--directory", KUBE_MOUNT "/kernel", "--place", KUBE_KEY_MOUNT,
                                  "--listen", listen));
}

/* The kernel's own amounts: what a quota or a limit range takes for the kernel it takes here too,
 * and as the init container ends before the kernel's begins, they cost nothing. */
static json_t *init_resources(const json_t *container) {
    static const char *const sides[] = {"requests", "limits"};
    static const char *const names[] = {"cpu", "memory", "ephemeral-storage"};
    json_t *resources = json_object();
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        const json_t *side = json_object_get(json_object_get(container, "resources"), sides[i]);
        for (size_t j = 0; j < sizeof names / sizeof *names; j++) {
            json_t *amount = json_object_get(side, names[j]);
            if (amount != NULL)
                json_object_set(kube_object_in(resources, sides[i]), names[j], amount);
        }
    }
    return resources;
}

/* Copies the launcher into the volume. */
static void add_init(const struct kube_pod_plan *plan, json_t *spec, const json_t *container) {
    json_t *security = json_pack("{s:b, s:b, s:{s:[s]}}", "allowPrivilegeEscalation", 0,
                                 "readOnlyRootFilesystem", 1, "capabilities", "drop", "ALL");
    static const char *const same[] = {"runAsUser", "runAsGroup", "runAsNonRoot"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        json_t *own = json_object_get(json_object_get(container, "securityContext"), same[i]);
        if (own != NULL) /* what it writes is for that user */
            json_object_set(security, same[i], own);
    }
    json_t *init =
        json_pack("{s:s, s:s, s:[s, s, s], s:o, s:[{s:s, s:s}], s:o, s:s}", "name", KUBE_INIT,
                  "image", plan->settings->launcher_image, "command", "/usr/bin/elara-launcher",
                  "--install", KUBE_MOUNT, "securityContext", security, "volumeMounts", "name",
                  KUBE_VOLUME, "mountPath", KUBE_MOUNT, "resources", init_resources(container),
                  "terminationMessagePolicy", "FallbackToLogsOnError");
    json_array_insert_new(kube_array_in(spec, "initContainers"), 0, init);
}

static void set_defaults(const struct kube_pod_plan *plan, json_t *spec) {
    int64_t wait_s = (plan->settings->shutdown_wait_ms + 999) / 1000 + GRACE_MORE_S;
    json_object_set_new(spec, "restartPolicy", json_string("OnFailure"));
    kube_set_default(spec, "enableServiceLinks", json_false());
    kube_set_default(spec, "automountServiceAccountToken", json_false());
    kube_set_default(spec, "terminationGracePeriodSeconds", json_integer(wait_s));
}

static int set_metadata(const struct kube_pod_plan *plan, const json_t *values,
                        const json_t *container, json_t *pod, struct error *err) {
    json_t *metadata = kube_object_in(pod, "metadata");
    json_t *labels = kube_object_in(metadata, "labels"),
           *annotations = kube_object_in(metadata, "annotations");
    cleanup_json json_t *our_labels = kube_labels(&plan->identity, "pod");
    cleanup_json json_t *our_annotations = kube_annotations(&plan->identity);
    char name[KUBE_NAME_SIZE];
    kube_name_pod(plan->identity.install, plan->identity.kernel_id, values, plan->attempt, name);
    cleanup_free char *attempt = memory_printf("%lld", (long long)plan->attempt);
    json_object_update(labels, our_labels);
    json_object_set_new(labels, KUBE_LABEL_ATTEMPT, json_string(attempt));
    json_object_update(annotations, our_annotations);
    kube_set_default(annotations, "cluster-autoscaler.kubernetes.io/safe-to-evict",
                     json_string("false"));
    kube_set_default(annotations, "kubectl.kubernetes.io/default-container",
                     json_copy(json_object_get(container, "name")));
    json_object_set_new(metadata, "name", json_string(name));
    json_object_set_new(metadata, "namespace", json_string(plan->namespace));
    json_object_set_new(pod, "apiVersion", json_string("v1"));
    json_object_set_new(pod, "kind", json_string("Pod"));
    return kube_owner_add(pod, plan->key_secret, err);
}

static void set_name(json_t *names, const char *name, const char *value) {
    if (value != NULL && *value != '\0')
        json_object_set_new(names, name, json_string(value));
}

static void set_number(json_t *names, const char *name, int64_t number) {
    if (number >= 0 && json_object_get(names, name) == NULL)
        json_object_set_new(names, name, json_integer(number));
}

/* KERNEL_Uid is nothing that the rules for KERNEL_UID know of, and must not stand in for it. */
static bool has_lower(const char *name) {
    return name[strcspn(name, "abcdefghijklmnopqrstuvwxyz")] != '\0';
}

/* The variables of a Jinja template. */
static json_t *make_names(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                          const json_t *values, const struct kube_pod_lists *lists) {
    const struct kube_pod_settings *settings = plan->settings;
    json_t *names = json_object();
    char pod_name[KUBE_NAME_SIZE];
    const char *name, *account = wishes->value[KUBE_WISH_SERVICE_ACCOUNT], *unused;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)values, name, value) {
        cleanup_free char *lower = memory_strdup(name);
        text_lower(lower);
        if (text_starts_with(name, "KERNEL_") && !has_lower(name))
            json_object_set(names, lower, value);
    }
    kube_name_pod(plan->identity.install, plan->identity.kernel_id, values, plan->attempt,
                  pod_name);
    set_name(names, "kernel_pod_name", pod_name);
    set_name(names, "kernel_namespace", plan->namespace);
    set_name(names, "kernel_id", plan->identity.kernel_id);
    set_name(names, "kernel_image", choose_image(plan, wishes, NULL, &unused));
    set_name(names, "kernel_service_account_name",
             account != NULL                     ? account
             : settings->service_account != NULL ? settings->service_account
                                                 : "default");
    set_number(names, "kernel_uid", settings->uid);
    set_number(names, "kernel_gid", settings->gid);
    if (!settings->mirror_working_dirs)
        json_object_del(names, "kernel_working_dir");
    if (lists->volumes != NULL)
        json_object_set(names, "kernel_volumes", lists->volumes);
    if (lists->mounts != NULL)
        json_object_set(names, "kernel_volume_mounts", lists->mounts);
    return names;
}

/* Of a list, those elements that have something of the client's. */
static void add_flow_of_list(struct kube_flow *flow, json_t *list,
                             const struct kube_flow *of_list) {
    bool is_any = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        char place[32];
        snprintf(place, sizeof place, "[%zu]", i);
        const char *name = of_list != NULL ? kube_flow_said(of_list, place) : NULL;
        if (name != NULL && !is_any)
            kube_flow_add_value(flow, list, name);
        if (name != NULL)
            kube_flow_add_value(flow, json_array_get(list, i), name);
        is_any |= name != NULL;
    }
}

/* Which of a Jinja template's variables are the client's. */
static void add_flow_of_names(struct kube_flow *flow, const json_t *names,
                              const struct kube_pod_lists *lists) {
    const char *lower;
    json_t *value;
    if (flow == NULL)
        return;
    json_object_foreach((json_t *)(uintptr_t)names, lower, value) {
        cleanup_free char *name = memory_strdup(lower);
        for (char *at = name; *at != '\0'; at++)
            *at = (char)toupper((unsigned char)*at);
        if (kube_flow_has_name(flow, name) && !json_is_array(value))
            kube_flow_add_value(flow, value, name);
    }
    add_flow_of_list(flow, lists->volumes, lists->volume_flow);
    add_flow_of_list(flow, lists->mounts, lists->mount_flow);
}

/* A Jinja template puts volumes and mounts where it wants them, any other gets them added. */
static int fill_with(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                     const json_t *values, const struct kube_pod_lists *lists,
                     struct kube_flow *flow, json_t **ret, struct error *err) {
    const json_t *template = plan->template != NULL ? plan->template : plan->settings->pod;
    const char *what = plan->template != NULL ? "pod.yaml" : "kubernetes-pod";
    cleanup_json json_t *pod = NULL;
    if (json_is_string(template)) {
        cleanup_json json_t *names = make_names(plan, wishes, values, lists);
        add_flow_of_names(flow, names, lists);
        if (kube_jinja_pod(json_string_value(template), names, KUBE_JINJA_FILE, flow, ret, err) < 0)
            return -1;
        kube_trace_step(plan->trace, *ret, KUBE_JINJA_FILE);
        kube_jinja_add_environment(*ret, names, plan->kernelspec);
        kube_trace_step(plan->trace, *ret, OURS);
        return 0;
    }
    if (template == NULL)
        pod = json_pack("{s:{s:[{s:s}]}}", "spec", "containers", "name", "kernel");
    else if (kube_template_fill(template, values, what, flow, &pod, err) < 0)
        return -1;
    kube_trace_step(plan->trace, pod,
                    plan->template != NULL        ? what
                    : plan->settings->pod != NULL ? "setting kubernetes-pod"
                                                  : OURS);
    if (kube_pod_add_lists(json_object_get(pod, "spec"), kube_template_kernel(pod), lists, flow,
                           err) < 0)
        return -1;
    kube_trace_step(plan->trace, pod, SPEC_ENV);
    *ret = steal(&pod);
    return 0;
}

static int fill_template(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                         const json_t *values, struct kube_flow *flow, json_t **ret,
                         struct error *err) {
    struct kube_pod_lists lists = {0};
    int failed = kube_pod_parse_lists(wishes, values, flow, &lists, err) < 0
                     ? -1
                     : fill_with(plan, wishes, values, &lists, flow, ret, err);
    kube_pod_free_lists(&lists);
    return failed;
}

static int set_working_dir(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                           json_t *container, struct error *err) {
    const char *directory = wishes->value[KUBE_WISH_WORKING_DIR];
    if (directory == NULL || !plan->settings->mirror_working_dirs)
        return 0;
    if (*directory != '/')
        return error_set(err, ERROR_INVALID,
                         "KERNEL_WORKING_DIR: \"%.200s\" must be a path that begins with /",
                         directory);
    json_object_set_new(container, "workingDir", json_string(directory));
    return 0;
}

/* What requests have a say in, and then what the policy says of it. */
static int shape(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                 struct kube_flow *flow, json_t *pod, struct error *err) {
    const struct kube_pod_settings *settings = plan->settings;
    const struct policy_request request = request_of(plan);
    const char *gpu = settings->gpu_resource != NULL ? settings->gpu_resource : "nvidia.com/gpu";
    size_t kernel = kube_template_kernel(pod);
    json_t *spec = json_object_get(pod, "spec");
    json_t *container = json_array_get(json_object_get(spec, "containers"), kernel);
    const char *who;
    kube_set_default(container, "name", json_string("kernel"));
    kube_trace_step(plan->trace, pod, OURS);
    if (set_image(plan, wishes, container, flow, kernel, &who, err) < 0)
        return -1;
    kube_trace_step(plan->trace, pod, who);
    if (set_working_dir(plan, wishes, container, err) < 0)
        return -1;
    kube_trace_step(plan->trace, pod, SPEC_ENV);
    if (set_service_account(plan, wishes, spec, err) < 0)
        return -1;
    kube_trace_step(plan->trace, pod,
                    wishes->value[KUBE_WISH_SERVICE_ACCOUNT] != NULL
                        ? SPEC_ENV
                        : "setting kubernetes-service-account");
    if (kube_pod_set_resources(container, wishes, gpu, err) < 0)
        return -1;
    kube_trace_step(plan->trace, pod, SPEC_ENV);
    if (kube_pod_set_user(spec, container, wishes, settings, err) < 0 ||
        check_ports(spec, port_of(settings), err) < 0 || kube_pod_check_mounts(spec, flow, err) < 0)
        return -1;
    bool is_specs = wishes->value[KUBE_WISH_UID] != NULL || wishes->value[KUBE_WISH_GID] != NULL;
    kube_trace_step(plan->trace, pod, is_specs ? SPEC_ENV : "settings kubernetes-uid, -gid");
    kube_pod_harden(spec, container);
    kube_trace_step(plan->trace, pod, OURS);
    kube_pod_note_wishes(wishes, gpu, kernel, flow);
    if (policy_check_pod(policy_of(settings), &request, flow, pod, gpu, err) < 0)
        return -1;
    kube_trace_judged(plan->trace, pod, flow);
    cleanup_free char *place = memory_printf("spec.containers[%zu]", kernel);
    policy_add_resources(policy_of(settings), &request, gpu, place, container);
    kube_trace_policy(plan->trace, pod);
    return 0;
}

static int create(const struct kube_pod_plan *plan, struct kube_flow *flow, json_t **ret,
                  struct error *err) {
    const struct kube_pod_settings *settings = plan->settings;
    const struct policy_request request = request_of(plan);
    struct kube_wishes wishes;
    if (kube_pod_take_wishes(settings, &request, &wishes, err) < 0)
        return -1;
    if (settings->launcher_image == NULL || *settings->launcher_image == '\0')
        return error_set(err, ERROR_INVALID,
                         "the setting kubernetes-launcher-image is empty: it names Elara's image, "
                         "which brings the launcher into the pod");
    cleanup_json json_t *values = make_values(plan, &wishes);
    cleanup_json json_t *pod = NULL;
    if (fill_template(plan, &wishes, values, flow, &pod, err) < 0 ||
        shape(plan, &wishes, flow, pod, err) < 0)
        return -1;
    json_t *spec = json_object_get(pod, "spec");
    json_t *container =
        json_array_get(json_object_get(spec, "containers"), kube_template_kernel(pod));
    add_launcher(plan, spec, container);
    add_init(plan, spec, container);
    set_defaults(plan, spec);
    if (set_metadata(plan, values, container, pod, err) < 0)
        return -1;
    kube_trace_step(plan->trace, pod, OURS);
    *ret = steal(&pod);
    return 0;
}

int kube_pod_create(const struct kube_pod_plan *plan, json_t **ret, struct error *err) {
    struct kube_flow *flow = make_flow(plan);
    int failed = create(plan, flow, ret, err);
    kube_flow_destroy(flow);
    return failed;
}
