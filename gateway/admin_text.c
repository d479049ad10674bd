/* Numbers as people read them, and JSON as programs do. */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/admin.h"

#include <inttypes.h>
#include <stdio.h>

const char *admin_text_at(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

char *admin_duration_at(const json_t *object, const char *name, const char *otherwise) {
    const json_t *value = json_object_get(object, name);
    cleanup_buffer struct buffer text = {.limit = 256};
    if (!json_is_integer(value))
        return memory_strdup(otherwise);
    text_append_duration(&text, json_integer_value(value));
    return memory_strdup(buffer_text(&text));
}

char *admin_size_at(const json_t *object, const char *name) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    const json_t *value = json_object_get(object, name);
    double size = (double)json_integer_value(value);
    size_t unit = 0;
    if (!json_is_integer(value))
        return memory_strdup("");
    for (; size >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
        size /= 1024;
    return memory_printf(unit < 3 ? "%.0f %s" : "%.1f %s", size, units[unit]);
}

void admin_print_json(json_t *json) {
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(json);
}
