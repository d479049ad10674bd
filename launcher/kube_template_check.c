/* Is it a template, and does it leave ours alone? */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_names.h"
#include "launcher/kube_schema.h"
#include "launcher/kube_template.h"

#include <string.h>

static const char *text_of(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

size_t kube_template_kernel(const json_t *tree) {
    const json_t *containers = json_object_get(json_object_get(tree, "spec"), "containers");
    for (size_t i = 0; i < json_array_size(containers); i++)
        if (strcmp(text_of(json_array_get(containers, i), "name"), "kernel") == 0)
            return i;
    return 0;
}

/* Whole objects of the API that people put there, and where the template is in them. */
static int check_kind(const struct kube_check *check, const json_t *tree, struct error *err) {
    static const struct {
        const char *kind, *advice;
    } rows[] = {
        {"Pod", "take out apiVersion, kind and status, and of metadata all but labels and "
                "annotations; what is left is the template"},
        {"PodTemplate", "keep only what stands below \"template\""},
        {"Deployment", "keep only what stands below spec.template"},
        {"StatefulSet", "keep only what stands below spec.template"},
        {"ReplicaSet", "keep only what stands below spec.template"},
        {"DaemonSet", "keep only what stands below spec.template"},
        {"Job", "keep only what stands below spec.template"},
    };
    struct kube_place root = {0}, place = {&root, "kind", 0};
    const char *kind = text_of(tree, "kind");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(kind, rows[i].kind) == 0)
            return kube_place_error(check, &place, err, "a %s, but a PodTemplateSpec is wanted: %s",
                                    kind, rows[i].advice);
    const char *key;
    json_t *unused;
    json_object_foreach((json_t *)(uintptr_t)tree, key, unused) {
        place.key = key;
        if (strcmp(key, "metadata") != 0 && strcmp(key, "spec") != 0)
            return kube_place_error(check, &place, err,
                                    "does not belong here: a pod's template has metadata and spec");
    }
    return 0;
}

static bool is_our_label(const char *label) {
    static const char *const ours[] = {"app", "component", "kernel_id", "app.kubernetes.io/name",
                                       "app.kubernetes.io/component"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcmp(ours[i], label) == 0)
            return true;
    return text_starts_with(label, "elara.");
}

static int check_texts(const struct kube_check *check, const struct kube_place *place,
                       const json_t *map, bool are_labels, struct error *err) {
    const char *key;
    json_t *value;
    if (map != NULL && !json_is_object(map))
        return kube_place_error(check, place, err, "must be a mapping of names to texts");
    json_object_foreach((json_t *)(uintptr_t)map, key, value) {
        struct kube_place inner = {place, key, 0};
        if (!json_is_string(value))
            return kube_place_error(check, &inner, err, "must be a text (put it in quotes)");
        if (are_labels ? is_our_label(key) : text_starts_with(key, "elara."))
            return kube_place_error(check, &inner, err, "Elara sets it; take it out");
        if (are_labels && check->is_filled && !kube_is_label_value(json_string_value(value)))
            return kube_place_error(check, &inner, err,
                                    "\"%.100s\" must be at most 63 letters, digits, -, _ and . "
                                    "(an annotation takes any text)",
                                    json_string_value(value));
    }
    return 0;
}

static int check_metadata(const struct kube_check *check, const struct kube_place *root,
                          const json_t *metadata, struct error *err) {
    struct kube_place place = {root, "metadata", 0};
    const char *key;
    json_t *value;
    if (metadata == NULL || json_is_null(metadata))
        return 0;
    if (!json_is_object(metadata))
        return kube_place_error(check, &place, err,
                                "must be a mapping with labels and "
                                "annotations");
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value) {
        struct kube_place inner = {&place, key, 0};
        bool are_labels = strcmp(key, "labels") == 0;
        if (are_labels || strcmp(key, "annotations") == 0) {
            if (!json_is_null(value) && check_texts(check, &inner, value, are_labels, err) < 0)
                return -1;
        } else if (strcmp(key, "creationTimestamp") != 0 || !json_is_null(value)) {
            return kube_place_error(check, &inner, err,
                                    "take it out: Elara names, places and owns the pod; only "
                                    "labels and annotations may be here");
        }
    }
    return 0;
}

/* At, below or above of ours. */
static bool is_our_mount(const char *path) {
    static const char *const ours[] = {KUBE_MOUNT, KUBE_KEY_MOUNT};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        size_t length = strlen(ours[i]);
        if (strncmp(path, ours[i], length) == 0 && (path[length] == '\0' || path[length] == '/'))
            return true;
    }
    return strcmp(path, "/") == 0;
}

bool kube_template_is_ours(const char *name) {
    return strcmp(name, KUBE_VOLUME) == 0 || text_starts_with(name, KUBE_VOLUME "-");
}

static int check_volume_name(const struct kube_check *check, const struct kube_place *place,
                             const json_t *object, struct error *err) {
    struct kube_place inner = {place, "name", 0};
    const char *name = text_of(object, "name");
    return kube_template_is_ours(name)
               ? kube_place_error(check, &inner, err, "\"%.100s\" is Elara's own; choose another",
                                  name)
               : 0;
}

typedef int check_element(const struct kube_check *check, const struct kube_place *place,
                          const json_t *element, struct error *err);

static int check_each(const struct kube_check *check, const struct kube_place *place,
                      const json_t *object, const char *member, check_element *check_one,
                      struct error *err) {
    const struct kube_place list = {place, member, 0};
    const json_t *elements = json_object_get(object, member);
    for (size_t i = 0; i < json_array_size(elements); i++) {
        const struct kube_place element = {&list, NULL, i};
        if (check_one(check, &element, json_array_get(elements, i), err) < 0)
            return -1;
    }
    return 0;
}

int kube_template_check_mount(const struct kube_check *check, const struct kube_place *place,
                              const json_t *mount, struct error *err) {
    struct kube_place path = {place, "mountPath", 0};
    if (check_volume_name(check, place, mount, err) < 0)
        return -1;
    if (is_our_mount(text_of(mount, "mountPath")))
        return kube_place_error(check, &path, err,
                                "\"%.100s\" must not hide " KUBE_MOUNT " or " KUBE_KEY_MOUNT
                                ", where the launcher is",
                                text_of(mount, "mountPath"));
    return 0;
}

int kube_template_check_volume(const struct kube_check *check, const struct kube_place *place,
                               const json_t *volume, struct error *err) {
    return check_volume_name(check, place, volume, err);
}

static int check_ports(const struct kube_check *check, const struct kube_place *place,
                       const json_t *ports, struct error *err) {
    for (size_t i = 0; i < json_array_size(ports); i++) {
        struct kube_place element = {place, NULL, i}, inner = {&element, "name", 0};
        if (strcmp(text_of(json_array_get(ports, i), "name"), KUBE_PORT_NAME) == 0)
            return kube_place_error(check, &inner, err,
                                    "\"" KUBE_PORT_NAME "\" is Elara's own; choose another");
    }
    return 0;
}

static int check_container(const struct kube_check *check, const struct kube_place *place,
                           const json_t *container, bool is_kernel, struct error *err) {
    struct kube_place inner = {place, "name", 0};
    const char *name = text_of(container, "name");
    if (*name == '\0' && !is_kernel)
        return kube_place_error(check, &inner, err, "must be there");
    if (strcmp(name, KUBE_INIT) == 0)
        return kube_place_error(check, &inner, err,
                                "\"" KUBE_INIT "\" is Elara's own; choose another");
    static const char *const replaced[] = {"command", "args"};
    for (size_t i = 0; is_kernel && i < sizeof replaced / sizeof *replaced; i++) {
        inner.key = replaced[i];
        if (json_object_get(container, replaced[i]) != NULL)
            return kube_place_error(check, &inner, err,
                                    "take it out: the launcher is this container's command, and "
                                    "the kernel's is argv in kernel.json");
    }
    inner.key = "ports";
    if (check_ports(check, &inner, json_object_get(container, "ports"), err) < 0)
        return -1;
    return check_each(check, place, container, "volumeMounts", kube_template_check_mount, err) <
                       0 ||
                   check_each(check, place, container, "volumeDevices", check_volume_name, err) < 0
               ? -1
               : 0;
}

static int check_containers(const struct kube_check *check, const struct kube_place *spec,
                            const char *member, const json_t *list, size_t kernel,
                            struct error *err) {
    struct kube_place place = {spec, member, 0};
    if (json_array_size(list) > KUBE_TEMPLATE_CONTAINERS)
        return kube_place_error(check, &place, err, "must be at most %d", KUBE_TEMPLATE_CONTAINERS);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct kube_place inner = {&place, NULL, i};
        if (check_container(check, &inner, json_array_get(list, i), i == kernel, err) < 0)
            return -1;
    }
    return 0;
}

static int check_ours(const struct kube_check *check, const struct kube_place *root,
                      const json_t *tree, struct error *err) {
    static const char *const shared[] = {"hostPID", "shareProcessNamespace"};
    const json_t *spec = json_object_get(tree, "spec");
    struct kube_place place = {root, "spec", 0}, inner = {&place, "restartPolicy", 0};
    const char *policy = text_of(spec, "restartPolicy");
    if (*policy != '\0' && strcmp(policy, "OnFailure") != 0)
        return kube_place_error(check, &inner, err,
                                "must be OnFailure or left out: after an out of memory the kernel "
                                "goes on in the same pod");
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        inner.key = shared[i];
        if (json_is_true(json_object_get(spec, shared[i])))
            return kube_place_error(check, &inner, err,
                                    "must be false or left out: the launcher is process 1 of the "
                                    "kernel's container");
    }
    inner.key = "ephemeralContainers";
    if (json_array_size(json_object_get(spec, inner.key)) > 0)
        return kube_place_error(check, &inner, err, "must be left out: no pod begins with one");
    inner.key = "volumes";
    const json_t *volumes = json_object_get(spec, "volumes"),
                 *containers = json_object_get(spec, "containers");
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        struct kube_place element = {&inner, NULL, i};
        if (kube_template_check_volume(check, &element, json_array_get(volumes, i), err) < 0)
            return -1;
    }
    inner.key = "containers";
    if (json_array_size(containers) == 0)
        return kube_place_error(check, &inner, err, "must have the kernel's container");
    return check_containers(check, &place, "containers", containers, kube_template_kernel(tree),
                            err) < 0 ||
                   check_containers(check, &place, "initContainers",
                                    json_object_get(spec, "initContainers"), SIZE_MAX, err) < 0
               ? -1
               : 0;
}

static int check_all(const struct kube_check *check, json_t *tree, struct error *err) {
    struct kube_place root = {0}, place = {&root, "spec", 0};
    if (!json_is_object(tree))
        return kube_place_error(check, &root, err,
                                "must be a pod's template: a mapping with metadata and spec");
    json_t *spec = json_object_get(tree, "spec");
    if (check_kind(check, tree, err) < 0)
        return -1;
    if (spec == NULL)
        return kube_place_error(check, &place, err, "must be there, with the containers");
    return check_metadata(check, &root, json_object_get(tree, "metadata"), err) < 0 ||
                   kube_schema_spec(check, &place, spec, err) < 0 ||
                   check_ours(check, &root, tree, err) < 0
               ? -1
               : 0;
}

int kube_template_check(const json_t *tree, const char *what, struct error *err) {
    /* Nothing is changed in a tree that is not filled. */
    return check_all(&(struct kube_check){what, false}, (json_t *)(uintptr_t)tree, err);
}

int kube_template_check_filled(json_t *tree, const char *what, struct error *err) {
    return check_all(&(struct kube_check){what, true}, tree, err);
}
