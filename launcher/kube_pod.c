#include "launcher/kube_pod.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernelspecs/substitute.h"
#include "launcher/kube_jinja.h"
#include "launcher/kube_names.h"
#include "launcher/kube_pod_parts.h"
#include "launcher/kube_template.h"

#include <string.h>

enum {
    KEY_MODE = 0444,           /* any uid of the container is the kernel's */
    GRACE_MORE_S = 5,          /* the launcher ends after its kernel */
    LAUNCHER_BYTES = 128 << 20 /* it, its libraries and small files */
};

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

/* What references see: the environment, with only those wishes that count. The kernelspec's own
 * may refer to it; they are kept alive by the values. */
static json_t *make_values(const struct kube_pod_plan *plan, struct kube_wishes *wishes) {
    json_t *values =
        plan->values != NULL ? json_copy((json_t *)(uintptr_t)plan->values) : json_object();
    if (plan->identity.owner != NULL)
        json_object_set_new(values, "KERNEL_USERNAME", json_string(plan->identity.owner));
    for (unsigned i = 0; i < KUBE_WISHES; i++) {
        const char *name = kube_wish_row(i)->name;
        if (wishes->is_clients[i])
            json_object_set_new(values, name, json_string(wishes->value[i]));
        else
            json_object_del(values, name);
    }
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

/* NULL: none. */
static const char *choose_image(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                                const char *from_template) {
    const char *images[] = {wishes->value[KUBE_WISH_IMAGE], plan->spec_image,
                            text_or_null(from_template), text_or_null(plan->settings->image)};
    size_t i = 0;
    while (i < sizeof images / sizeof *images - 1 && images[i] == NULL)
        i++;
    return images[i];
}

static int set_image(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                     json_t *container, struct error *err) {
    const char *from_template = text_of(container, "image");
    const char *image = choose_image(plan, wishes, from_template);
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

/* The variables of a Jinja template. */
static json_t *make_names(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                          const json_t *values, json_t *volumes, json_t *mounts) {
    const struct kube_pod_settings *settings = plan->settings;
    json_t *names = json_object();
    char pod_name[KUBE_NAME_SIZE];
    const char *name, *account = wishes->value[KUBE_WISH_SERVICE_ACCOUNT];
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)values, name, value) {
        cleanup_free char *lower = memory_strdup(name);
        text_lower(lower);
        if (text_starts_with(name, "KERNEL_"))
            json_object_set(names, lower, value);
    }
    kube_name_pod(plan->identity.install, plan->identity.kernel_id, values, plan->attempt,
                  pod_name);
    set_name(names, "kernel_pod_name", pod_name);
    set_name(names, "kernel_namespace", plan->namespace);
    set_name(names, "kernel_id", plan->identity.kernel_id);
    set_name(names, "kernel_image", choose_image(plan, wishes, NULL));
    set_name(names, "kernel_service_account_name",
             account != NULL                     ? account
             : settings->service_account != NULL ? settings->service_account
                                                 : "default");
    set_number(names, "kernel_uid", settings->uid);
    set_number(names, "kernel_gid", settings->gid);
    if (!settings->mirror_working_dirs)
        json_object_del(names, "kernel_working_dir");
    if (volumes != NULL)
        json_object_set(names, "kernel_volumes", volumes);
    if (mounts != NULL)
        json_object_set(names, "kernel_volume_mounts", mounts);
    return names;
}

/* A Jinja template puts volumes and mounts where it wants them, any other gets them added. */
static int fill_template(const struct kube_pod_plan *plan, const struct kube_wishes *wishes,
                         const json_t *values, json_t **ret, struct error *err) {
    const json_t *template = plan->template != NULL ? plan->template : plan->settings->pod;
    const char *what = plan->template != NULL ? "pod.yaml" : "kubernetes-pod";
    cleanup_json json_t *volumes = NULL, *mounts = NULL, *pod = NULL;
    if (kube_pod_parse_volumes(wishes, values, &volumes, &mounts, err) < 0)
        return -1;
    if (json_is_string(template)) {
        cleanup_json json_t *names = make_names(plan, wishes, values, volumes, mounts);
        return kube_jinja_pod(json_string_value(template), names, KUBE_JINJA_FILE, ret, err);
    }
    if (template == NULL)
        pod = json_pack("{s:{s:[{s:s}]}}", "spec", "containers", "name", "kernel");
    else if (kube_template_fill(template, values, what, &pod, err) < 0)
        return -1;
    json_t *spec = json_object_get(pod, "spec");
    json_t *container =
        json_array_get(json_object_get(spec, "containers"), kube_template_kernel(pod));
    if (kube_pod_add_volumes(spec, container, volumes, mounts, err) < 0)
        return -1;
    *ret = steal(&pod);
    return 0;
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

int kube_pod_create(const struct kube_pod_plan *plan, json_t **ret, struct error *err) {
    const struct kube_pod_settings *settings = plan->settings;
    struct kube_wishes wishes;
    if (kube_wishes_take(plan->client, plan->spec_env, settings->allowed, &wishes, err) < 0)
        return -1;
    if (settings->launcher_image == NULL || *settings->launcher_image == '\0')
        return error_set(err, ERROR_INVALID,
                         "the setting kubernetes-launcher-image is empty: it names Elara's image, "
                         "which brings the launcher into the pod");
    cleanup_json json_t *values = make_values(plan, &wishes);
    cleanup_json json_t *pod = NULL;
    if (fill_template(plan, &wishes, values, &pod, err) < 0)
        return -1;
    json_t *spec = json_object_get(pod, "spec");
    json_t *container =
        json_array_get(json_object_get(spec, "containers"), kube_template_kernel(pod));
    const char *gpu = settings->gpu_resource;
    kube_set_default(container, "name", json_string("kernel"));
    if (set_image(plan, &wishes, container, err) < 0 ||
        set_working_dir(plan, &wishes, container, err) < 0 ||
        set_service_account(plan, &wishes, spec, err) < 0 ||
        kube_pod_set_resources(container, &wishes, gpu != NULL ? gpu : "nvidia.com/gpu", err) < 0 ||
        kube_pod_set_security(spec, container, &wishes, settings, err) < 0 ||
        check_ports(spec, port_of(settings), err) < 0)
        return -1;
    add_launcher(plan, spec, container);
    add_init(plan, spec, container);
    set_defaults(plan, spec);
    if (set_metadata(plan, values, container, pod, err) < 0)
        return -1;
    *ret = steal(&pod);
    return 0;
}
