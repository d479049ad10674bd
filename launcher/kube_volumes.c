#include "launcher/kube_volumes.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/yaml.h"
#include "launcher/kube_schema.h"
#include "launcher/kube_template.h"

#include <string.h>

/* Private-use characters (U+E000, U+E001) that stand for the braces of ${NAME} while YAML looks,
 * since { means something in its flow form. */
#define OPEN  "\xee\x80\x80"
#define CLOSE "\xee\x80\x81"

int kube_path_check(const char *value, const char *path, struct error *err) {
    const char *before = *path != '\0' ? ": " : "";
    for (const char *c = value; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return error_set(err, ERROR_INVALID, "%s%sthe path has a control character", path,
                             before);
    for (const char *at = value + (*value == '/');; at++) {
        size_t length = strcspn(at, "/");
        if (length == 0 || (length == 1 && at[0] == '.') ||
            (length == 2 && at[0] == '.' && at[1] == '.'))
            return error_set(err, ERROR_INVALID,
                             "%s%s\"%.200s\" must not have an empty part, \".\" or \"..\"", path,
                             before, value);
        at += length;
        if (*at == '\0')
            return 0;
    }
}

/* ${NAME} -> OPEN NAME CLOSE */
static int hide_braces(const char *text, const char *what, struct buffer *out, struct error *err) {
    if (strstr(text, OPEN) != NULL || strstr(text, CLOSE) != NULL)
        return error_set(err, ERROR_INVALID,
                         "%s: the characters U+E000 and U+E001 are not allowed in it", what);
    int rc = 0;
    while (*text != '\0' && rc == 0) {
        size_t length = text_starts_with(text, "${")
                            ? strspn(text + 2, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                               "abcdefghijklmnopqrstuvwxyz0123456789_")
                            : 0;
        if (length > 0 && text[2 + length] == '}') {
            rc = buffer_printf(out, "%s%.*s%s", OPEN, (int)length, text + 2, CLOSE);
            text += length + 3;
        } else {
            rc = buffer_append(out, text++, 1);
        }
    }
    return rc == 0 ? 0 : error_set(err, ERROR_LIMIT, "%s: too long", what);
}

static char *show_braces(const char *text) {
    cleanup_buffer struct buffer out = {.limit = 2 * strlen(text) + 1};
    while (*text != '\0') {
        bool opens = text_starts_with(text, OPEN), closes = text_starts_with(text, CLOSE);
        if (opens || closes)
            buffer_append_text(&out, opens ? "${" : "}");
        else
            buffer_append(&out, text, 1);
        text += opens || closes ? strlen(OPEN) : 1;
    }
    return memory_strdup(buffer_text(&out));
}

/* In all texts of the tree; keys are compared with the API's, so one with a reference is none. */
static json_t *show_braces_in(const json_t *tree) {
    const char *key;
    json_t *member;
    if (json_is_string(tree)) {
        cleanup_free char *text = show_braces(json_string_value(tree));
        return json_string(text);
    }
    if (json_is_array(tree)) {
        json_t *array = json_array();
        for (size_t i = 0; i < json_array_size(tree); i++)
            json_array_append_new(array, show_braces_in(json_array_get(tree, i)));
        return array;
    }
    if (!json_is_object(tree))
        return json_copy((json_t *)(uintptr_t)tree);
    json_t *object = json_object();
    json_object_foreach((json_t *)(uintptr_t)tree, key, member) {
        json_object_set_new(object, key, show_braces_in(member));
    }
    return object;
}

static int read_tree(const char *text, const json_t *values, const char *what,
                     struct kube_flow *flow, json_t **ret, struct error *err) {
    cleanup_buffer struct buffer hidden = {.limit = 4 * KUBE_VOLUMES_TEXT_MAX};
    cleanup_json json_t *parsed = NULL, *shown = NULL;
    if (strlen(text) > KUBE_VOLUMES_TEXT_MAX)
        return error_set(err, ERROR_LIMIT, "%s: longer than %d KiB", what,
                         KUBE_VOLUMES_TEXT_MAX >> 10);
    if (values == NULL)
        return yaml_parse(text, strlen(text), ret, err) < 0 ? error_wrap(err, "%s", what) : 0;
    if (hide_braces(text, what, &hidden, err) < 0)
        return -1;
    if (yaml_parse(buffer_text(&hidden), hidden.length, &parsed, err) < 0)
        return error_wrap(err, "%s", what);
    shown = show_braces_in(parsed);
    return kube_template_fill_part(shown, values, what, flow, ret, err);
}

/* A name and one source. "emptyDir:" without a value is an empty one. */
static int check_volume(const struct kube_check *check, const struct kube_place *place,
                        json_t *volume, struct error *err) {
    const char *key, *source = NULL;
    json_t *value;
    size_t sources = 0;
    json_object_foreach(volume, key, value) {
        if (strcmp(key, "name") == 0)
            continue;
        source = key;
        sources++;
    }
    if (json_is_object(volume) && sources == 1 && json_is_null(json_object_get(volume, source)) &&
        strcmp(source, "emptyDir") == 0)
        json_object_set_new(volume, "emptyDir", json_object());
    if (kube_schema_volume(check, place, volume, err) < 0)
        return -1;
    if (sources != 1)
        return kube_place_error(check, place, err,
                                "must have a name and one source such as nfs or "
                                "persistentVolumeClaim, not %zu",
                                sources);
    struct kube_place inner = {place, source, 0};
    if (!json_is_object(json_object_get(volume, source)))
        return kube_place_error(check, &inner, err, "must be a mapping");
    return kube_template_check_volume(check, place, volume, err);
}

static int check_mount(const struct kube_check *check, const struct kube_place *place,
                       json_t *mount, struct error *err) {
    static const char known[] =
        " name mountPath readOnly subPath subPathExpr mountPropagation recursiveReadOnly ";
    const char *key;
    json_t *unused;
    if (kube_schema_mount(check, place, mount, err) < 0)
        return -1;
    json_object_foreach(mount, key, unused) {
        cleanup_free char *word = memory_printf(" %.64s ", key);
        struct kube_place inner = {place, key, 0};
        if (strstr(known, word) == NULL)
            return kube_place_error(check, &inner, err, "unknown; a mount has%s", known);
    }
    struct kube_place path = {place, "mountPath", 0};
    if (json_string_value(json_object_get(mount, "mountPath"))[0] != '/')
        return kube_place_error(check, &path, err, "must begin with /");
    return kube_template_check_mount(check, place, mount, err);
}

typedef int element_check(const struct kube_check *check, const struct kube_place *place,
                          json_t *value, struct error *err);

static int parse(const char *text, const json_t *values, const char *what, const char *example,
                 element_check *check_element, struct kube_flow *flow, json_t **ret,
                 struct error *err) {
    cleanup_json json_t *list = NULL;
    struct kube_check check = {what, true};
    struct kube_place root = {0};
    if (read_tree(text, values, what, flow, &list, err) < 0)
        return -1;
    if (!json_is_array(list))
        return kube_place_error(&check, &root, err, "must be a list of mappings such as %s",
                                example);
    if (json_array_size(list) > KUBE_VOLUMES_MAX)
        return error_set(err, ERROR_LIMIT, "%s: more than %d", what, KUBE_VOLUMES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct kube_place place = {&root, NULL, i};
        if (check_element(&check, &place, json_array_get(list, i), err) < 0)
            return -1;
    }
    *ret = steal(&list);
    return 0;
}

int kube_volumes_parse(const char *text, const json_t *values, struct kube_flow *flow, json_t **ret,
                       struct error *err) {
    return parse(text, values, "KERNEL_VOLUMES",
                 "[{name: home, nfs: {server: 10.0.0.1, path: /home/ann}}]", check_volume, flow,
                 ret, err);
}

int kube_mounts_parse(const char *text, const json_t *values, struct kube_flow *flow, json_t **ret,
                      struct error *err) {
    return parse(text, values, "KERNEL_VOLUME_MOUNTS", "[{name: home, mountPath: /home/jovyan}]",
                 check_mount, flow, ret, err);
}
