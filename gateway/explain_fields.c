#include "gateway/explain_fields.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/kernel_launch.h"

#include <string.h>

enum { VALUE_MAX = 60 };

static const char *text_at(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

/* --- secrets --- */

static const char mask[] = "(masked)";

static void mask_containers(json_t *spec, const char *list) {
    size_t i, j;
    json_t *container, *variable;
    json_array_foreach(json_object_get(spec, list), i, container) {
        json_array_foreach(json_object_get(container, "env"), j, variable) {
            if (json_object_get(variable, "value") != NULL &&
                kernel_variable_is_secret(text_at(variable, "name")))
                json_object_set_new(variable, "value", json_string(mask));
        }
    }
}

static void mask_secrets(struct explanation *explanation) {
    json_t *spec = json_object_get(explanation->pod, "spec");
    const char *name;
    json_t *value;
    mask_containers(spec, "containers");
    mask_containers(spec, "initContainers");
    cleanup_json json_t *env = json_copy(json_object_get(explanation->launch, "env"));
    json_object_foreach(json_object_get(explanation->launch, "env"), name, value) {
        if (kernel_variable_is_secret(name))
            json_object_set_new(env, name, json_string(mask));
    }
    if (explanation->launch != NULL)
        json_object_set(explanation->launch, "env", env);
}

/* --- lines --- */

static void add(json_t *fields, const char *field, const char *value, const char *who,
                const char *rule) {
    json_array_append_new(fields, json_pack("{s:s, s:s, s:s, s:s}", "field", field, "value", value,
                                            "said_by", who, "allowed_by", rule));
}

static char *value_text(const json_t *value) {
    return json_is_string(value) ? memory_strdup(json_string_value(value))
                                 : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

/* The rule that allowed what is at the place, as the policy told it. */
static const char *rule_at(const struct kube_trace *trace, const char *place) {
    size_t i;
    json_t *decision;
    json_array_foreach(trace->decisions, i, decision) {
        if (strcmp(text_at(decision, "place"), place) == 0)
            return text_at(decision, "rule");
    }
    return "";
}

/* Each variable that was sent, and whether it counts. */
static void add_variables(const struct provision_order *order, const struct kube_trace *trace,
                          json_t *fields) {
    const json_t *request = json_object_get(order->record, "request");
    const json_t *env = json_object_get(order->launch, "env");
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(request, "env"), name, value) {
        cleanup_free char *place = memory_printf("env.%s", name);
        bool is_said = json_equal(json_object_get(env, name), value);
        add(fields, place, kernel_variable_is_secret(name) ? mask : json_string_value(value),
            is_said ? "client" : "client, does not count", rule_at(trace, place));
    }
}

static bool is_uniform(const json_t *fields, size_t first) {
    const json_t *one = json_array_get(fields, first);
    for (size_t i = first + 1; i < json_array_size(fields); i++) {
        const json_t *other = json_array_get(fields, i);
        if (strcmp(text_at(one, "said_by"), text_at(other, "said_by")) != 0 ||
            strcmp(text_at(one, "allowed_by"), text_at(other, "allowed_by")) != 0)
            return false;
    }
    return true;
}

/* What one has said altogether is one line, if it is short or Elara's own. */
static void fold(json_t *fields, size_t first, const char *place, const json_t *value) {
    if (json_array_size(fields) < first + 2 || !is_uniform(fields, first))
        return;
    const json_t *one = json_array_get(fields, first);
    cleanup_free char *text = value_text(value), *who = memory_strdup(text_at(one, "said_by")),
                      *rule = memory_strdup(text_at(one, "allowed_by"));
    bool is_long = strlen(text) > VALUE_MAX;
    if (is_long && strcmp(who, "Elara") != 0)
        return;
    while (json_array_size(fields) > first)
        json_array_remove(fields, json_array_size(fields) - 1);
    add(fields, place, is_long ? "(--dry-run shows it)" : text, who, rule);
}

static void add_tree(const struct kube_trace *trace, const char *place, const json_t *value,
                     json_t *fields) {
    const char *key;
    json_t *member;
    size_t index, first = json_array_size(fields);
    if (json_object_size(value) == 0 && json_array_size(value) == 0) {
        cleanup_free char *text = value_text(value);
        const char *rule = text_at(trace->rules, place);
        add(fields, place, text, text_at(trace->said, place),
            *rule != '\0' ? rule : rule_at(trace, place));
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
        cleanup_free char *inner = kube_trace_place(place, key, 0, member);
        add_tree(trace, inner, member, fields);
    }
    json_array_foreach((json_t *)(uintptr_t)value, index, member) {
        cleanup_free char *inner = kube_trace_place(place, NULL, index, member);
        add_tree(trace, inner, member, fields);
    }
    if (*place != '\0')
        fold(fields, first, place, value);
}

static const char *says_user(const struct provision_order *order, const char *user) {
    const json_t *request = json_object_get(order->record, "request");
    if (strcmp(user, text_at(order->record, "owner")) != 0)
        return "client's KERNEL_USERNAME";
    return *text_at(request, "verified") != '\0' ? "token" : "shared token, or none";
}

json_t *explain_fields(const struct provision_order *order, const char *user,
                       struct explanation *explanation, const struct kube_trace *trace) {
    json_t *fields = json_array();
    mask_secrets(explanation);
    add(fields, "user", user, says_user(order, user), rule_at(trace, "user"));
    add_variables(order, trace, fields);
    if (explanation->pod != NULL)
        add_tree(trace, "", explanation->pod, fields);
    return fields;
}
