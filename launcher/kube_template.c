/* Reading a template and putting values into it; what it may say is kube_template_check.c. */
#include "launcher/kube_template.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/yaml.h"
#include "kernelspecs/jinja.h"
#include "kernelspecs/substitute.h"
#include "launcher/kube_jinja.h"
#include "launcher/kube_schema.h"
#include "launcher/kube_volumes.h"

#include <string.h>

int kube_template_parse(const char *text, size_t length, const char *what, json_t **ret,
                        struct error *err) {
    cleanup_json json_t *tree = NULL;
    if (length > KUBE_TEMPLATE_MAX)
        return error_set(err, ERROR_LIMIT, "%s: larger than %d KiB", what, KUBE_TEMPLATE_MAX >> 10);
    if (yaml_parse(text, length, &tree, err) < 0)
        return error_wrap(err, "%s", what);
    if (kube_template_check(tree, what, err) < 0)
        return -1;
    *ret = steal(&tree);
    return 0;
}

/* 1: read, 0: there is no such file. */
static int load_file(const char *directory, const char *name, json_t **ret, struct error *err) {
    cleanup_free char *path = memory_printf("%s/%s", directory, name);
    struct error problem = {0};
    if (strcmp(name, "pod.json") == 0) {
        cleanup_json json_t *tree = NULL;
        if (file_read_json(path, KUBE_TEMPLATE_MAX, &tree, &problem) == 0) {
            if (kube_template_check(tree, name, err) < 0)
                return -1;
            *ret = steal(&tree);
            return 1;
        }
    } else {
        cleanup_buffer struct buffer text = {.limit = KUBE_TEMPLATE_MAX + 1};
        if (file_read(path, KUBE_TEMPLATE_MAX, &text, &problem) == 0)
            return kube_template_parse(buffer_text(&text), text.length, name, ret, err) < 0 ? -1
                                                                                            : 1;
    }
    return problem.code == ERROR_NOT_FOUND ? 0 : error_set(err, problem.code, "%s", problem.text);
}

/* The text of a Jinja template. 1: read, 0: there is none. */
static int load_jinja(const char *directory, json_t **ret, struct error *err) {
    cleanup_free char *path = memory_printf("%s/" KUBE_JINJA_FILE, directory);
    cleanup_buffer struct buffer text = {.limit = KUBE_TEMPLATE_MAX + 1};
    struct error problem = {0};
    if (file_read(path, KUBE_TEMPLATE_MAX, &text, &problem) < 0)
        return problem.code == ERROR_NOT_FOUND ? 0
                                               : error_set(err, problem.code, "%s", problem.text);
    if (kube_jinja_check(buffer_text(&text), KUBE_JINJA_FILE, err) < 0)
        return -1;
    *ret = json_string(buffer_text(&text));
    return 1;
}

int kube_template_load(const char *directory, json_t **ret, struct error *err) {
    static const char *const names[] = {"pod.yaml", "pod.yml", "pod.json"};
    int found = 0;
    *ret = NULL;
    for (size_t i = 0; found == 0 && i < sizeof names / sizeof *names; i++)
        found = load_file(directory, names[i], ret, err);
    if (found == 0)
        found = load_jinja(directory, ret, err);
    return found < 0 ? -1 : 0;
}

struct fill {
    const struct kube_check *check;
    const json_t *values; /* for references, or */
    const json_t *marked; /* for marks (kernelspecs/jinja.h) */
    struct kube_flow *flow;
    struct error *err;
};

/* Keys whose texts are paths on some file system. */
static bool is_path(const char *key) {
    static const char *const keys[] = {"path", "subPath", "subPathExpr", "mountPath"};
    for (size_t i = 0; key != NULL && i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static int fill_references(const struct fill *fill, const struct kube_place *place,
                           const char *text, json_t **ret) {
    cleanup_free char *unknown = substitute_find_unknown(text, "KERNEL_", fill->values);
    if (unknown != NULL)
        return kube_place_error(fill->check, place, fill->err,
                                "${%s} has no value: neither the request nor the kernelspec's env "
                                "has it",
                                unknown);
    cleanup_free char *filled = substitute_variables(text, fill->values);
    *ret = json_string(filled);
    return 0;
}

static int fill_marks(const struct fill *fill, const struct kube_place *place, const char *text,
                      json_t **ret) {
    struct error problem = {0};
    if (jinja_fill(text, fill->marked, ret, &problem) < 0)
        return kube_place_error(fill->check, place, fill->err, "%s", problem.text);
    return 0;
}

/* One text; a value never is anything but a part of it. */
static int fill_text(const struct fill *fill, const struct kube_place *place, const char *text,
                     json_t **ret) {
    cleanup_json json_t *filled = NULL;
    kube_flow_note_text(fill->flow, place, text, fill->marked);
    if (fill->marked != NULL ? fill_marks(fill, place, text, &filled) < 0
                             : fill_references(fill, place, text, &filled) < 0)
        return -1;
    const char *made = json_string_value(filled);
    if (is_path(place->key) && made != NULL && strcmp(made, text) != 0) {
        struct error problem = {0};
        if (kube_path_check(made, "", &problem) < 0)
            return kube_place_error(fill->check, place, fill->err, "%s", problem.text);
    }
    *ret = steal(&filled);
    return 0;
}

static int fill_tree(const struct fill *fill, const struct kube_place *place, const json_t *from,
                     json_t **ret);

static int fill_object(const struct fill *fill, const struct kube_place *place, const json_t *from,
                       json_t **ret) {
    cleanup_json json_t *object = json_object();
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)from, key, member) {
        struct kube_place inner = {place, key, 0};
        json_t *filled = NULL;
        if (fill->marked != NULL && jinja_is_marked(key))
            return kube_place_error(fill->check, place, fill->err, "a value cannot be a key here");
        if (fill_tree(fill, &inner, member, &filled) < 0)
            return -1;
        json_object_set_new(object, key, filled);
    }
    *ret = steal(&object);
    return 0;
}

static int fill_array(const struct fill *fill, const struct kube_place *place, const json_t *from,
                      json_t **ret) {
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < json_array_size(from); i++) {
        struct kube_place inner = {place, NULL, i};
        json_t *filled = NULL;
        if (fill_tree(fill, &inner, json_array_get(from, i), &filled) < 0)
            return -1;
        json_array_append_new(array, filled);
    }
    *ret = steal(&array);
    return 0;
}

static int fill_tree(const struct fill *fill, const struct kube_place *place, const json_t *from,
                     json_t **ret) {
    if (json_is_object(from))
        return fill_object(fill, place, from, ret);
    if (json_is_array(from))
        return fill_array(fill, place, from, ret);
    if (!json_is_string(from)) {
        *ret = json_copy((json_t *)(uintptr_t)from);
        return 0;
    }
    return fill_text(fill, place, json_string_value(from), ret);
}

int kube_template_fill_part(const json_t *tree, const json_t *values, const char *what,
                            struct kube_flow *flow, json_t **ret, struct error *err) {
    struct kube_check check = {what, true};
    struct fill fill = {&check, values, NULL, flow, err};
    return fill_tree(&fill, &(struct kube_place){0}, tree, ret);
}

int kube_template_fill_marks(const json_t *tree, const json_t *marked, const char *what,
                             struct kube_flow *flow, json_t **ret, struct error *err) {
    struct kube_check check = {what, true};
    struct fill fill = {&check, NULL, marked, flow, err};
    return fill_tree(&fill, &(struct kube_place){0}, tree, ret);
}

int kube_template_fill(const json_t *tree, const json_t *values, const char *what,
                       struct kube_flow *flow, json_t **ret, struct error *err) {
    cleanup_json json_t *filled = NULL;
    if (kube_template_fill_part(tree, values, what, flow, &filled, err) < 0 ||
        kube_template_check_filled(filled, what, err) < 0)
        return -1;
    *ret = steal(&filled);
    return 0;
}
