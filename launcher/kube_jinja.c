#include "launcher/kube_jinja.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/yaml.h"
#include "kernelspecs/jinja.h"
#include "launcher/kube_schema.h"
#include "launcher/kube_template.h"

#include <string.h>

/* "kind: Secret" at the beginning of a line. */
static int check_kinds(const char *text, const char *what, struct error *err) {
    size_t number = 1;
    for (const char *line = text; *line != '\0'; number++) {
        size_t length = strcspn(line, "\n");
        if (text_starts_with(line, "kind:")) {
            const char *kind = line + 5 + strspn(line + 5, " \t\"'");
            size_t size = strspn(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
            if (size > 0 && !text_equal_n(kind, size, "Pod"))
                return error_set(err, ERROR_UNSUPPORTED,
                                 "%s:%zu: kind: %.*s: only the Pod is made of a template; take it "
                                 "out, and make what is to be there beside the pod once, in the "
                                 "namespace of the kernels",
                                 what, number, (int)size, kind);
        }
        line += length + (line[length] == '\n');
    }
    return 0;
}

int kube_jinja_check(const char *text, const char *what, struct error *err) {
    return jinja_check(text, strlen(text), what, err) < 0 ? -1 : check_kinds(text, what, err);
}

/* Members without a value ("env:" with comments below it) are none, as for the API. */
static void drop_nulls(json_t *object) {
    const char *key;
    json_t *member;
    void *next;
    json_object_foreach_safe(object, next, key, member) {
        if (json_is_null(member))
            json_object_del(object, key);
    }
}

static int check_same(const json_t *metadata, const char *member, const json_t *names,
                      const char *name, const char *what, struct error *err) {
    const char *text = json_string_value(json_object_get(metadata, member));
    const char *wanted = json_string_value(json_object_get(names, name));
    if (text == NULL || wanted == NULL || strcmp(text, wanted) == 0)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "%s: metadata.%s: must be {{ %s }} or left out, not \"%.100s\"", what, member,
                     name, text);
}

/* Labels that the template has because that gateway's script counts on them. */
static json_t *other_labels(const json_t *labels) {
    static const char *const ours[] = {"app", "component", "kernel_id"};
    json_t *others = json_copy((json_t *)(uintptr_t)labels);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        json_object_del(others, ours[i]);
    return others;
}

static json_t *make_template(const json_t *pod) {
    const json_t *metadata = json_object_get(pod, "metadata");
    json_t *spec = json_copy(json_object_get(pod, "spec")), *kept = json_object();
    json_t *labels = json_object_get(metadata, "labels"),
           *annotations = json_object_get(metadata, "annotations"),
           *containers = json_object_get(spec, "containers");
    if (labels != NULL)
        json_object_set_new(kept, "labels",
                            json_is_object(labels) ? other_labels(labels) : json_incref(labels));
    if (annotations != NULL)
        json_object_set(kept, "annotations", annotations);
    drop_nulls(kept);
    json_object_del(spec, "restartPolicy");
    drop_nulls(spec);
    for (size_t i = 0; i < json_array_size(containers); i++)
        drop_nulls(json_array_get(containers, i));
    return json_pack("{s:o, s:o}", "metadata", kept, "spec", spec);
}

static int check_pod(const json_t *pod, const char *what, struct error *err) {
    const char *kind = json_string_value(json_object_get(pod, "kind"));
    if (kind == NULL || strcmp(kind, "Pod") != 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: kind: \"%.50s\"; it has to be one Pod, nothing else is made of it",
                         what, kind != NULL ? kind : "");
    if (!json_is_object(json_object_get(pod, "spec")))
        return error_set(err, ERROR_INVALID, "%s: spec: must be there, with the containers", what);
    return 0;
}

int kube_jinja_pod(const char *text, const json_t *names, const char *what, struct kube_flow *flow,
                   json_t **ret, struct error *err) {
    cleanup_buffer struct buffer yaml = {.limit = 4 * KUBE_TEMPLATE_MAX};
    cleanup_json json_t *marked = NULL, *tree = NULL, *pod = NULL;
    if (check_kinds(text, what, err) < 0 ||
        jinja_render(text, strlen(text), what, names, &yaml, &marked, err) < 0)
        return -1;
    if (yaml_parse(buffer_text(&yaml), yaml.length, &tree, err) < 0)
        return error_wrap(err, "%s, what the template makes", what);
    if (kube_template_fill_marks(tree, marked, what, flow, &pod, err) < 0 ||
        check_pod(pod, what, err) < 0 ||
        check_same(json_object_get(pod, "metadata"), "name", names, "kernel_pod_name", what, err) <
            0 ||
        check_same(json_object_get(pod, "metadata"), "namespace", names, "kernel_namespace", what,
                   err) < 0)
        return -1;
    cleanup_json json_t *template = make_template(pod);
    if (kube_template_check_filled(template, what, err) < 0)
        return -1;
    *ret = steal(&template);
    return 0;
}

static bool has_variable(const json_t *env, const char *name) {
    for (size_t i = 0; i < json_array_size(env); i++) {
        const char *one = json_string_value(json_object_get(json_array_get(env, i), "name"));
        if (one != NULL && strcmp(one, name) == 0)
            return true;
    }
    return false;
}

static void add_variable(json_t *env, const char *name, const json_t *value) {
    if (value == NULL || has_variable(env, name))
        return;
    json_t *text = json_is_integer(value)
                       ? json_sprintf("%lld", (long long)json_integer_value(value))
                       : json_copy((json_t *)(uintptr_t)value);
    json_array_append_new(env, json_pack("{s:s, s:o}", "name", name, "value", text));
}

void kube_jinja_add_environment(json_t *pod, const json_t *names, const char *kernelspec) {
    static const char *const of_pod[] = {
        "KERNEL_ID",  "KERNEL_NAMESPACE",           "KERNEL_POD_NAME", "KERNEL_IMAGE", "KERNEL_UID",
        "KERNEL_GID", "KERNEL_SERVICE_ACCOUNT_NAME"};
    static const struct {
        const char *name, *value;
    } fixed[] = {{"KERNEL_SPARK_CONTEXT_INIT_MODE", "none"},
                 {"PORT_RANGE", "0..0"}, /* any */
                 {"RESPONSE_ADDRESS", ""},
                 {"PUBLIC_KEY", ""}};
    json_t *container = json_array_get(json_object_get(json_object_get(pod, "spec"), "containers"),
                                       kube_template_kernel(pod));
    json_t *env = json_object_get(container, "env");
    if (env == NULL)
        json_object_set_new(container, "env", env = json_array());
    for (size_t i = 0; i < sizeof of_pod / sizeof *of_pod; i++) {
        cleanup_free char *lower = memory_strdup(of_pod[i]);
        text_lower(lower);
        add_variable(env, of_pod[i], json_object_get(names, lower));
    }
    cleanup_json json_t *name = json_string(kernelspec);
    add_variable(env, "KERNEL_NAME", name);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        cleanup_json json_t *value = json_string(fixed[i].value);
        add_variable(env, fixed[i].name, value);
    }
}
