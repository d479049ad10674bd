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
    *flow = (struct kube_flow){json_object(), json_array(), json_object(), json_object(),
                               json_object()};
    return flow;
}

void kube_flow_destroy(struct kube_flow *flow) {
    if (flow == NULL)
        return;
    json_decref(flow->names);
    json_decref(flow->values);
    json_decref(flow->places);
    json_decref(flow->trusted);
    json_decref(flow->trusted_places);
    free(flow);
}

void kube_flow_add_name(struct kube_flow *flow, const char *name) {
    if (flow != NULL)
        json_object_set_new(flow->names, name, json_string(""));
}

void kube_flow_trust_name(struct kube_flow *flow, const char *name) {
    if (flow != NULL)
        json_object_set_new(flow->trusted, name, json_string(""));
}

void kube_flow_copy_names(struct kube_flow *flow, const struct kube_flow *from) {
    json_object_update(flow->names, from->names);
    json_object_update(flow->trusted, from->trusted);
}

bool kube_flow_has_name(const struct kube_flow *flow, const char *name) {
    return flow != NULL && (json_object_get(flow->names, name) != NULL ||
                            json_object_get(flow->trusted, name) != NULL);
}

static bool is_trusted(const struct kube_flow *flow, const char *name) {
    return json_object_get(flow->names, name) == NULL &&
           json_object_get(flow->trusted, name) != NULL;
}

static void spread(json_t *names, const json_t *texts) {
    size_t before;
    do {
        const char *name;
        json_t *text;
        before = json_object_size(names);
        json_object_foreach((json_t *)(uintptr_t)texts, name, text) {
            const char *value = json_string_value(text);
            cleanup_free char *used = value != NULL ? substitute_find_known(value, names) : NULL;
            if (used != NULL)
                json_object_set_new(names, name, json_string(""));
        }
    } while (json_object_size(names) > before);
}

void kube_flow_spread(struct kube_flow *flow, const json_t *texts) {
    if (flow == NULL)
        return;
    spread(flow->names, texts);
    spread(flow->trusted, texts);
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

/* One that is looked at goes before one that is trusted. */
static const char *variable_of(const struct kube_flow *flow, const json_t *value) {
    const char *found = NULL;
    for (size_t i = 0; i < json_array_size(flow->values); i++) {
        const json_t *pair = json_array_get(flow->values, i), *known = json_array_get(pair, 0);
        const char *name = json_string_value(json_array_get(pair, 1));
        bool is_its = known == value || is_number_of(value, known);
        if (is_its && !is_trusted(flow, name))
            return name;
        if (is_its)
            found = name;
    }
    return found;
}

static const char *marked_variable(const struct kube_flow *flow, const char *text,
                                   const json_t *marked) {
    const char *found = NULL;
    const json_t *value;
    while ((value = jinja_next_value(&text, marked)) != NULL) {
        const char *name = variable_of(flow, value);
        if (name != NULL && !is_trusted(flow, name))
            return name;
        if (name != NULL)
            found = name;
    }
    return found;
}

void kube_flow_note_text(struct kube_flow *flow, const struct kube_place *place, const char *text,
                         const json_t *marked) {
    cleanup_free char *used = NULL;
    if (flow == NULL)
        return;
    if (marked == NULL)
        used = substitute_find_known(text, flow->names);
    if (marked == NULL && used == NULL)
        used = substitute_find_known(text, flow->trusted);
    const char *name = marked != NULL ? marked_variable(flow, text, marked) : used;
    if (name == NULL)
        return;
    cleanup_free char *path = kube_place_exact(place);
    kube_flow_note(flow, path, name);
}

void kube_flow_note(struct kube_flow *flow, const char *place, const char *name) {
    if (flow == NULL)
        return;
    json_object_set_new(is_trusted(flow, name) ? flow->trusted_places : flow->places, place,
                        json_string(name));
}

void kube_flow_forget(struct kube_flow *flow, const char *place) {
    if (flow == NULL)
        return;
    json_object_del(flow->places, place);
    json_object_del(flow->trusted_places, place);
}

/* Is one of two places in the other, or the other itself? */
static bool touch(const char *one, const char *other) {
    size_t i = 0;
    while (one[i] != '\0' && one[i] == other[i])
        i++;
    return (one[i] == '\0' && (other[i] == '\0' || strchr(".[", other[i]) != NULL)) ||
           (other[i] == '\0' && strchr(".[", one[i]) != NULL);
}

static const char *touching(const json_t *places, const char *place) {
    const char *path;
    json_t *name;
    json_object_foreach((json_t *)(uintptr_t)places, path, name) {
        if (touch(path, place))
            return json_string_value(name);
    }
    return NULL;
}

const char *kube_flow_at(const struct kube_flow *flow, const char *place) {
    return flow != NULL ? touching(flow->places, place) : NULL;
}

const char *kube_flow_said(const struct kube_flow *flow, const char *place) {
    const char *name = touching(flow->places, place);
    return name != NULL ? name : touching(flow->trusted_places, place);
}
