#include "launcher/kube_flow.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernelspecs/jinja.h"
#include "kernelspecs/substitute.h"
#include "launcher/kube_schema.h"

#include <string.h>

struct kube_flow *kube_flow_create(void) {
    struct kube_flow *flow = memory_alloc(sizeof *flow);
    *flow = (struct kube_flow){json_object(), json_array(), json_object()};
    return flow;
}

void kube_flow_destroy(struct kube_flow *flow) {
    if (flow == NULL)
        return;
    json_decref(flow->names);
    json_decref(flow->values);
    json_decref(flow->places);
    free(flow);
}

void kube_flow_add_name(struct kube_flow *flow, const char *name) {
    if (flow != NULL)
        json_object_set_new(flow->names, name, json_string(""));
}

bool kube_flow_has_name(const struct kube_flow *flow, const char *name) {
    return flow != NULL && json_object_get(flow->names, name) != NULL;
}

void kube_flow_spread(struct kube_flow *flow, const json_t *texts) {
    size_t before;
    if (flow == NULL)
        return;
    do {
        const char *name;
        json_t *text;
        before = json_object_size(flow->names);
        json_object_foreach((json_t *)(uintptr_t)texts, name, text) {
            const char *value = json_string_value(text);
            cleanup_free char *used =
                value != NULL ? substitute_find_known(value, flow->names) : NULL;
            if (used != NULL)
                kube_flow_add_name(flow, name);
        }
    } while (json_object_size(flow->names) > before);
}

void kube_flow_add_value(struct kube_flow *flow, json_t *value, const char *name) {
    if (flow != NULL)
        json_array_append_new(flow->values, json_pack("[O, s]", value, name));
}

/* "| int" makes a number of a text. */
static bool is_number_of(const json_t *number, const json_t *text) {
    int64_t value;
    return json_is_integer(number) && json_is_string(text) &&
           text_parse_int(json_string_value(text), INT64_MIN, INT64_MAX, "", &value, NULL) == 0 &&
           value == json_integer_value(number);
}

static const char *variable_of(const struct kube_flow *flow, const json_t *value) {
    for (size_t i = 0; i < json_array_size(flow->values); i++) {
        const json_t *pair = json_array_get(flow->values, i), *known = json_array_get(pair, 0);
        if (known == value || is_number_of(value, known))
            return json_string_value(json_array_get(pair, 1));
    }
    return NULL;
}

void kube_flow_note_text(struct kube_flow *flow, const struct kube_place *place, const char *text,
                         const json_t *marked) {
    cleanup_free char *used = NULL;
    const char *name = NULL;
    const json_t *value;
    if (flow == NULL)
        return;
    if (marked == NULL)
        name = used = substitute_find_known(text, flow->names);
    while (marked != NULL && name == NULL && (value = jinja_next_value(&text, marked)) != NULL)
        name = variable_of(flow, value);
    if (name == NULL)
        return;
    cleanup_free char *path = kube_place_text(place);
    kube_flow_note(flow, path, name);
}

void kube_flow_note(struct kube_flow *flow, const char *place, const char *name) {
    if (flow != NULL)
        json_object_set_new(flow->places, place, json_string(name));
}

void kube_flow_forget(struct kube_flow *flow, const char *place) {
    if (flow != NULL)
        json_object_del(flow->places, place);
}

/* Is one of two places in the other, or the other itself? */
static bool touch(const char *one, const char *other) {
    size_t i = 0;
    while (one[i] != '\0' && one[i] == other[i])
        i++;
    return (one[i] == '\0' && (other[i] == '\0' || strchr(".[", other[i]) != NULL)) ||
           (other[i] == '\0' && strchr(".[", one[i]) != NULL);
}

const char *kube_flow_at(const struct kube_flow *flow, const char *place) {
    const char *path;
    json_t *name;
    if (flow == NULL)
        return NULL;
    json_object_foreach(flow->places, path, name) {
        if (touch(path, place))
            return json_string_value(name);
    }
    return NULL;
}
