#include "launcher/kube_jinja.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/yaml.h"
#include "kernelspecs/jinja.h"
#include "launcher/kube_schema.h"
#include "launcher/kube_template.h"

#include <string.h>

int kube_jinja_check(const char *text, const char *what, struct error *err) {
    return jinja_check(text, strlen(text), what, err);
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
    if (jinja_render(text, strlen(text), what, names, &yaml, &marked, err) < 0)
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
