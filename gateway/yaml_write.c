#include "gateway/yaml_write.h"

#include "base/yaml.h"

#include <stdbool.h>

static void write_node(const json_t *node, int depth, struct buffer *out);

static bool is_block(const json_t *node) {
    return json_object_size(node) > 0 || json_array_size(node) > 0;
}

static void write_value(const json_t *node, int depth, struct buffer *out) {
    if (is_block(node)) {
        buffer_append_text(out, "\n");
        write_node(node, depth + 1, out);
        return;
    }
    buffer_append_text(out, " ");
    yaml_print_flow(node, out);
    buffer_append_text(out, "\n");
}

static void write_node(const json_t *node, int depth, struct buffer *out) {
    const char *key;
    json_t *value;
    size_t index;
    json_object_foreach((json_t *)(uintptr_t)node, key, value) {
        json_t *name = json_string(key);
        buffer_printf(out, "%*s", depth * 2, "");
        yaml_print_flow(name, out);
        json_decref(name);
        buffer_append_text(out, ":");
        write_value(value, depth, out);
    }
    json_array_foreach(node, index, value) {
        buffer_printf(out, "%*s-", depth * 2, "");
        write_value(value, depth, out);
    }
}

void yaml_write(const json_t *tree, struct buffer *out) {
    if (is_block(tree))
        write_node(tree, 0, out);
    else
        yaml_print_flow(tree, out);
}
