#include "base/buffer.h"
#include "base/cleanup.h"
#include "gateway/culling.h"
#include "gateway/events.h"
#include "gateway/kernels_internal.h"
#include "gateway/metrics.h"

#define LOG_AREA "gateway/kernel_observe"
#include "base/log.h"

#include <string.h>

/* How a start ended that is followed, by the phase that came. */
static enum metrics_outcome outcome_of(enum kernel_phase phase) {
    switch (phase) {
    case KERNEL_DEAD:
        return METRICS_FAILED;
    case KERNEL_STOPPING:
    case KERNEL_GONE:
        return METRICS_ENDED;
    case KERNEL_LAUNCHING:
    case KERNEL_STARTING:
    case KERNEL_READY:
    case KERNEL_RESTARTING:
        break;
    }
    return METRICS_READY;
}

static void count_start(const struct kernel *kernel, enum metrics_start which,
                        enum metrics_outcome outcome, int64_t began_us) {
    struct metrics *metrics = kernel->kernels->settings.metrics;
    if (metrics != NULL)
        histogram_add(&metrics->starts[which][outcome], &histogram_starts,
                      clock_monotonic_us() - began_us);
}

static void log_pod(const struct kernel *kernel) {
    const struct kernel_observed *observed = &kernel->observed;
    cleanup_buffer struct buffer text = {.limit = 512};
    int64_t since_us = observed->pod_us;
    for (size_t i = 0; i < METRICS_POD_STAGES; since_us = observed->pod_stages_us[i++])
        buffer_printf(&text, "%s%s %.3f s", i > 0 ? ", " : "", metrics_pod_stage_names[i],
                      (double)(observed->pod_stages_us[i] - since_us) / 1e6);
    log_info("kernel %s: its start took: %s", kernel->id, buffer_text(&text));
}

/* Of a start that we follow from its order on, with a pod of its own. */
void kernel_observe_pod(struct kernel *kernel, unsigned stage) {
    struct metrics *metrics = kernel->kernels->settings.metrics;
    struct kernel_observed *observed = &kernel->observed;
    int64_t before_us = stage > 0 ? observed->pod_stages_us[stage - 1] : observed->pod_us;
    if (observed->began_us == 0 || before_us == 0 || observed->pod_stages_us[stage] != 0)
        return;
    observed->pod_stages_us[stage] = clock_monotonic_us();
    if (metrics != NULL)
        histogram_add(&metrics->pod_stages[stage], &histogram_starts,
                      observed->pod_stages_us[stage] - before_us);
    if (stage == METRICS_POD_READY)
        log_pod(kernel);
}

static void begin(struct kernel *kernel, bool is_restart) {
    kernel->observed.began_us = kernel->observed.stage_us = clock_monotonic_us();
    kernel->observed.is_restart = is_restart;
}

static void end(struct kernel *kernel, enum kernel_phase from, enum kernel_phase to) {
    struct kernel_observed *observed = &kernel->observed;
    if (!observed->is_restart)
        count_start(kernel,
                    from == KERNEL_LAUNCHING ? METRICS_STAGE_LAUNCHER : METRICS_STAGE_KERNEL,
                    outcome_of(to), observed->stage_us);
    count_start(kernel, observed->is_restart ? METRICS_RESTART : METRICS_START, outcome_of(to),
                observed->began_us);
    observed->began_us = 0;
}

/* A restart goes through the phases of a start; it is one. */
static void follow(struct kernel *kernel, enum kernel_phase from, enum kernel_phase to) {
    struct kernel_observed *observed = &kernel->observed;
    if (to == KERNEL_STARTING || to == KERNEL_READY)
        kernel_observe_pod(kernel, METRICS_POD_HELLO);
    if (to == KERNEL_READY)
        kernel_observe_pod(kernel, METRICS_POD_READY);
    if (to == KERNEL_RESTARTING || (to == KERNEL_LAUNCHING && kernel->is_spawned)) {
        if (observed->began_us == 0)
            begin(kernel, true);
        observed->is_restart = true;
    } else if (observed->began_us == 0) {
        return; /* nobody knows since when */
    } else if (to != KERNEL_STARTING && to != KERNEL_LAUNCHING) {
        end(kernel, from, to);
    } else if (from == KERNEL_LAUNCHING && !observed->is_restart) {
        count_start(kernel, METRICS_STAGE_LAUNCHER, METRICS_READY, observed->stage_us);
        observed->stage_us = clock_monotonic_us();
    }
}

void kernel_observe_start(struct kernel *kernel) {
    if (kernel->observed.began_us == 0)
        begin(kernel, kernel->is_restarting);
    kernel->observed.pod_us = clock_monotonic_us();
    memset(kernel->observed.pod_stages_us, 0, sizeof kernel->observed.pod_stages_us);
}

/* What one that was found is in already is no news. */
void kernel_observe_phase(struct kernel *kernel, enum kernel_phase from, enum kernel_phase to) {
    struct metrics *metrics = kernel->kernels->settings.metrics;
    bool is_news = from != KERNEL_LAUNCHING || kernel->observed.began_us != 0;
    follow(kernel, from, to);
    if (!is_news)
        return;
    if (to == KERNEL_READY)
        kernel_observe_action(kernel, "ready", NULL);
    else if (to == KERNEL_RESTARTING)
        kernel_observe_action(kernel, "restart", NULL);
    else if (to == KERNEL_DEAD)
        kernel_observe_action(kernel, "dead", kernel->reason);
    if (to == KERNEL_DEAD && metrics != NULL)
        metrics->deaths++;
}

static uint64_t number(const json_t *object, const char *name) {
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value > 0 ? (uint64_t)value : 0;
}

/* The launcher counts since its own start: what it said first was before us, and less than before
 * is another launcher's. */
void kernel_observe_status(struct kernel *kernel, const json_t *status) {
    struct metrics *metrics = kernel->kernels->settings.metrics;
    struct kernel_observed *observed = &kernel->observed;
    const json_t *journal = json_object_get(status, "journal");
    if (!json_is_object(journal))
        return; /* an older launcher does not say */
    uint64_t folded = number(journal, "folded_bytes");
    if (metrics != NULL && observed->is_measured && folded > observed->folded_bytes)
        metrics->folded_bytes += folded - observed->folded_bytes;
    observed->is_measured = true;
    observed->journal_bytes = number(journal, "bytes");
    observed->folded_bytes = folded;
}

uint64_t kernel_journal_bytes(const struct kernel *kernel) {
    return kernel->observed.journal_bytes;
}

/* Of msg the first line: what stands behind the reason of a kernel's death is its output, which is
 * its user's. */
static json_t *describe(const struct kernel *kernel, const char *action, const char *msg) {
    json_t *data = json_pack("{s:s, s:s, s:s, s:s}", "action", action, "kernel_id", kernel->id,
                             "kernel_name", kernel->name, "owner", kernel->owner);
    if (msg != NULL && data != NULL)
        json_object_set_new(data, "msg", json_stringn(msg, strcspn(msg, "\n")));
    return data;
}

void kernel_observe_action(const struct kernel *kernel, const char *action, const char *msg) {
    struct events *events = kernel->kernels->settings.events;
    if (events != NULL)
        events_emit(events, EVENT_KERNEL_ACTION, describe(kernel, action, msg));
}

static void tell_culling(const struct kernel *kernel, const char *action, enum culler_rule rule,
                         int64_t in_ms, const char *reason) {
    struct events *events = kernel->kernels->settings.events;
    if (events == NULL)
        return;
    json_t *data = describe(kernel, action, reason);
    if (data != NULL)
        json_object_set_new(data, "rule", json_string(culler_rule_name(rule)));
    if (data != NULL && in_ms >= 0)
        json_object_set_new(data, "in_ms", json_integer(in_ms));
    events_emit(events, EVENT_KERNEL_CULLING, data);
}

static void on_warned(void *context, struct kernel *kernel, enum culler_rule rule, int64_t in_ms,
                      const char *reason) {
    (void)context;
    tell_culling(kernel, "warned", rule, in_ms > 0 ? in_ms : 0, reason);
}

static void on_culled(void *context, struct kernel *kernel, enum culler_rule rule,
                      const char *reason) {
    (void)context;
    tell_culling(kernel, "culled", rule, -1, reason);
}

void kernels_observe_culling(struct culling *culling) {
    static const struct culling_observer observer = {.warned = on_warned, .culled = on_culled};
    culling_observe(culling, &observer);
}
