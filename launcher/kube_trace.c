#include "launcher/kube_trace.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_flow.h"

#include <stdbool.h>
#include <string.h>

struct kube_trace *kube_trace_create(void) {
    struct kube_trace *trace = memory_alloc(sizeof *trace);
    *trace = (struct kube_trace){json_array(), json_object(), json_object(), json_object()};
    return trace;
}

void kube_trace_destroy(struct kube_trace *trace) {
    if (trace == NULL)
        return;
    json_decref(trace->decisions);
    json_decref(trace->values);
    json_decref(trace->said);
    json_decref(trace->rules);
    free(trace);
}

/* What tells an element from its neighbours: one volume may be mounted twice. */
static const char *name_of(const json_t *element) {
    const char *mount = json_string_value(json_object_get(element, "mountPath"));
    return mount != NULL ? mount : json_string_value(json_object_get(element, "name"));
}

char *kube_trace_place(const char *place, const char *key, size_t index, const json_t *value) {
    const char *name = key == NULL ? name_of(value) : NULL;
    if (key != NULL)
        return memory_printf("%s%s%s", place, *place != '\0' ? "." : "", key);
    return name != NULL ? memory_printf("%s[%s]", place, name)
                        : memory_printf("%s[%zu]", place, index);
}

static void walk(const char *place, const char *exact, const json_t *value, kube_trace_leaf *tell,
                 void *context) {
    const char *key;
    json_t *member;
    size_t index;
    if (json_object_size(value) == 0 && json_array_size(value) == 0)
        tell(context, place, exact, value);
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
        cleanup_free char *inner = kube_trace_place(place, key, 0, member),
                          *inner_exact = kube_trace_place(exact, key, 0, member);
        walk(inner, inner_exact, member, tell, context);
    }
    json_array_foreach((json_t *)(uintptr_t)value, index, member) {
        cleanup_free char *inner = kube_trace_place(place, NULL, index, member),
                          *inner_exact = memory_printf("%s[%zu]", exact, index);
        walk(inner, inner_exact, member, tell, context);
    }
}

void kube_trace_walk(const json_t *pod, kube_trace_leaf *tell, void *context) {
    walk("", "", pod, tell, context);
}

struct step {
    struct kube_trace *trace;
    const char *who;
    kube_trace_who *who_by; /* if not NULL it is asked instead */
    void *context;
    bool is_policys;
    const struct kube_flow *flow;
    json_t *values;
};

/* Of several the last: a mount is looked at after its volume. */
static void note_rule(struct kube_trace *trace, const char *place, const char *exact) {
    size_t index;
    json_t *decision;
    json_array_foreach(trace->decisions, index, decision) {
        const char *judged = json_string_value(json_object_get(decision, "place"));
        size_t length = strlen(judged);
        if (text_starts_with(exact, judged) && strchr(".[", exact[length]) != NULL) /* or its end */
            json_object_set(trace->rules, place, json_object_get(decision, "rule"));
    }
}

static void note_leaf(void *context, const char *place, const char *exact, const json_t *value) {
    struct step *step = context;
    const json_t *before = json_object_get(step->trace->values, place);
    json_object_set_new(step->values, place, json_deep_copy(value));
    if (before != NULL && json_equal(before, value))
        return;
    kube_trace_say(step->trace, place,
                   step->who_by != NULL ? step->who_by(step->context, place) : step->who);
    if (step->is_policys)
        note_rule(step->trace, place, exact);
}

static void run_step(struct kube_trace *trace, const json_t *pod, struct step step) {
    if (trace == NULL)
        return;
    step.trace = trace;
    step.values = json_object();
    kube_trace_walk(pod, note_leaf, &step);
    json_decref(trace->values);
    trace->values = step.values;
}

void kube_trace_step(struct kube_trace *trace, const json_t *pod, const char *who) {
    run_step(trace, pod, (struct step){.who = who});
}

void kube_trace_step_by(struct kube_trace *trace, const json_t *pod, kube_trace_who *who,
                        void *context) {
    run_step(trace, pod, (struct step){.who_by = who, .context = context});
}

void kube_trace_policy(struct kube_trace *trace, const json_t *pod) {
    run_step(trace, pod, (struct step){.who = "policy", .is_policys = true});
}

static void judge_leaf(void *context, const char *place, const char *exact, const json_t *value) {
    struct step *step = context;
    const char *variable = kube_flow_said(step->flow, exact);
    (void)value;
    if (variable == NULL)
        return;
    cleanup_free char *who = memory_printf("client's %s", variable);
    kube_trace_say(step->trace, place, who);
    note_rule(step->trace, place, exact);
}

void kube_trace_judged(struct kube_trace *trace, const json_t *pod, const struct kube_flow *flow) {
    struct step step = {.trace = trace, .flow = flow};
    if (trace != NULL)
        kube_trace_walk(pod, judge_leaf, &step);
}

void kube_trace_say(struct kube_trace *trace, const char *place, const char *who) {
    if (trace != NULL)
        json_object_set_new(trace->said, place, json_string(who));
}
