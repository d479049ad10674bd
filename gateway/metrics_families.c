/* The table of metrics: each name once, with what writes its samples. Labels are bounded: routes by
 * their pattern, kernelspecs by METRICS_SPECS_MAX. */
#include "gateway/metrics_families.h"

#include "base/map.h"
#include "gateway/channels.h"
#include "gateway/culling.h"
#include "gateway/gateway.h"
#include "gateway/http.h"
#include "gateway/kernels.h"
#include "gateway/loop.h"
#include "gateway/metrics.h"
#include "gateway/metrics_process.h"
#include "gateway/metrics_text.h"
#include "kernelspecs/kernelspecs.h"

#include <stdio.h>
#include <string.h>

enum { SPECS_MAX = 100, ROUTE_LABELS = 3 };

struct sample {
    const char *name;
    const struct gateway *gateway;
    const struct metrics *metrics;
    struct buffer *out;
};

typedef void family_write(const struct sample *at);

static void add(const struct sample *at, const struct metrics_label *labels, size_t label_count,
                uint64_t value) {
    metrics_text_number(at->out, at->name, labels, label_count, value);
}

/* Kernels. */

static const char *const states[] = {"starting", "idle", "busy", "restarting", "dead"};
enum { STATES = sizeof states / sizeof *states };

/* Those that are offered, then those that kernels have; one more is for all others. */
struct census {
    struct map *rows; /* name -> its row + 1 */
    const char *names[SPECS_MAX + 1];
    uint64_t counts[SPECS_MAX + 1][STATES];
    size_t count;
};

static size_t find_row(struct census *census, const char *name) {
    size_t row = (size_t)(uintptr_t)map_get(census->rows, name);
    if (row > 0)
        return row - 1;
    if (census->count == SPECS_MAX) {
        census->names[SPECS_MAX] = "other";
        return SPECS_MAX;
    }
    census->names[census->count++] = name;
    map_put(census->rows, name, (void *)(uintptr_t)census->count);
    return census->count - 1;
}

static size_t state_of(const struct kernel *kernel) {
    const char *state = kernel_status(kernel)->execution_state;
    for (size_t i = 0; i < STATES; i++)
        if (strcmp(states[i], state) == 0)
            return i;
    return STATES - 1;
}

static void take_census(const struct gateway *gateway, struct census *census) {
    const struct kernelspec *spec;
    census->rows = map_create();
    for (size_t i = 0; (spec = kernelspecs_at(gateway->specs, i)) != NULL; i++)
        find_row(census, spec->name);
    for (struct kernel *at = NULL; (at = kernels_next(gateway->kernels, at)) != NULL;)
        census->counts[find_row(census, kernel_spec_name(at))][state_of(at)]++;
}

static void write_kernels(const struct sample *at) {
    struct census census = {0};
    take_census(at->gateway, &census);
    for (size_t row = 0; row <= SPECS_MAX; row++) {
        for (size_t state = 0; census.names[row] != NULL && state < STATES; state++) {
            struct metrics_label labels[] = {{"kernelspec", census.names[row]},
                                             {"state", states[state]}};
            add(at, labels, 2, census.counts[row][state]);
        }
    }
    map_destroy(census.rows);
}

static void write_starts_of(const struct sample *at, enum metrics_start which, const char *label,
                            const char *value) {
    static const char *const outcomes[] = {"ready", "failed", "ended"};
    for (size_t outcome = 0; outcome < METRICS_OUTCOMES; outcome++) {
        struct metrics_label labels[] = {{label, value}, {"outcome", outcomes[outcome]}};
        metrics_text_histogram(at->out, at->name, labels, 2, &at->metrics->starts[which][outcome],
                               &histogram_starts);
    }
}

static void write_stages(const struct sample *at) {
    write_starts_of(at, METRICS_STAGE_LAUNCHER, "stage", "launcher");
    write_starts_of(at, METRICS_STAGE_KERNEL, "stage", "kernel");
}

static void write_pod_stages(const struct sample *at) {
    for (size_t i = 0; i < METRICS_POD_STAGES; i++) {
        struct metrics_label labels[] = {{"stage", metrics_pod_stage_names[i]}};
        metrics_text_histogram(at->out, at->name, labels, 1, &at->metrics->pod_stages[i],
                               &histogram_starts);
    }
}

static void write_starts(const struct sample *at) {
    write_starts_of(at, METRICS_START, "kind", "start");
    write_starts_of(at, METRICS_RESTART, "kind", "restart");
}

static void write_deaths(const struct sample *at) {
    add(at, NULL, 0, at->metrics->deaths);
}

static void write_adopting(const struct sample *at) {
    add(at, NULL, 0, kernels_is_adopting(at->gateway->kernels));
}

static void write_swept(const struct sample *at) {
    const struct provisioner *provisioner = at->gateway->provisioner;
    if (provisioner->ops->count_swept != NULL)
        add(at, NULL, 0, provisioner->ops->count_swept(provisioner));
}

static void write_culled(const struct sample *at) {
    const struct culling_counters *counters = culling_counters(at->gateway->culling);
    for (int rule = CULLER_NO_RULE + 1; rule < CULLER_RULES; rule++) {
        struct metrics_label labels[] = {{"rule", culler_rule_name((enum culler_rule)rule)}};
        add(at, labels, 1, counters->culled[rule]);
    }
}

static void write_warned(const struct sample *at) {
    add(at, NULL, 0, culling_counters(at->gateway->culling)->warned);
}

static void write_pass(const struct sample *at) {
    metrics_text_time(at->out, at->name, NULL, 0,
                      culling_counters(at->gateway->culling)->last_pass_us);
}

/* Messages and journals. */

static const char *const directions[] = {"to_client", "to_kernel"};

static void write_traffic(const struct sample *at, bool bytes) {
    for (int direction = 0; direction < METRICS_DIRECTIONS; direction++) {
        for (int channel = 0; channel < CHANNEL_COUNT; channel++) {
            const struct metrics_traffic *traffic = &at->metrics->traffic[direction][channel];
            struct metrics_label labels[] = {
                {"direction", directions[direction]},
                {"channel", kernel_channel_name((enum kernel_channel)channel)}};
            add(at, labels, 2, bytes ? traffic->bytes : traffic->messages);
        }
    }
}

static void write_messages(const struct sample *at) {
    write_traffic(at, false);
}

static void write_message_bytes(const struct sample *at) {
    write_traffic(at, true);
}

static void write_replayed(const struct sample *at) {
    add(at, NULL, 0, at->metrics->replayed.messages);
}

static void write_replayed_bytes(const struct sample *at) {
    add(at, NULL, 0, at->metrics->replayed.bytes);
}

static void write_journal(const struct sample *at) {
    uint64_t bytes = 0;
    for (struct kernel *kernel = NULL;
         (kernel = kernels_next(at->gateway->kernels, kernel)) != NULL;)
        bytes += kernel_journal_bytes(kernel);
    add(at, NULL, 0, bytes);
}

static void write_folded(const struct sample *at) {
    add(at, NULL, 0, at->metrics->folded_bytes);
}

static void write_clients(const struct sample *at) {
    add(at, NULL, 0, channels_count(at->gateway->channels));
}

/* HTTP. */

static size_t route_labels(const struct metrics *metrics, size_t route,
                           struct metrics_label labels[ROUTE_LABELS]) {
    const struct http_route *found = metrics->routes[route];
    labels[0] = (struct metrics_label){"route", found ? found->pattern : "none"};
    labels[1] = (struct metrics_label){"method", found ? found->method : "none"};
    return 2;
}

static void write_requests(const struct sample *at) {
    struct metrics_label labels[ROUTE_LABELS];
    for (size_t route = 0; route < at->metrics->route_count; route++) {
        size_t count = route_labels(at->metrics, route, labels);
        for (int i = 0; i <= METRICS_STATUS_MAX - METRICS_STATUS_MIN; i++) {
            char status[16];
            snprintf(status, sizeof status, "%d", METRICS_STATUS_MIN + i);
            labels[count] = (struct metrics_label){"status", status};
            if (at->metrics->requests[route].statuses[i] > 0)
                add(at, labels, count + 1, at->metrics->requests[route].statuses[i]);
        }
    }
}

static void write_request_durations(const struct sample *at) {
    struct metrics_label labels[ROUTE_LABELS];
    for (size_t route = 0; route < at->metrics->route_count; route++) {
        size_t count = route_labels(at->metrics, route, labels);
        metrics_text_histogram(at->out, at->name, labels, count,
                               &at->metrics->requests[route].durations, &histogram_requests);
    }
}

static struct http_load measure(const struct sample *at) {
    struct http_load load;
    http_measure(at->gateway->http, &load);
    return load;
}

static void write_connections(const struct sample *at) {
    add(at, NULL, 0, measure(at).connections);
}

static void write_requests_under_way(const struct sample *at) {
    add(at, NULL, 0, measure(at).requests);
}

static void write_refused(const struct sample *at) {
    add(at, NULL, 0, measure(at).refused);
}

static void write_lacks_files(const struct sample *at) {
    add(at, NULL, 0, measure(at).lacks_files);
}

/* The gateway itself. */

static void write_lag(const struct sample *at) {
    metrics_text_histogram(at->out, at->name, NULL, 0, loop_lag(at->gateway->loop), &histogram_lag);
}

static void write_problem(const struct sample *at) {
    add(at, NULL, 0, settings_problem(at->gateway->settings, NULL) != NULL);
}

static void write_pending(const struct sample *at) {
    add(at, NULL, 0, settings_pending(at->gateway->settings) != NULL);
}

static void write_build(const struct sample *at) {
    struct metrics_label labels[] = {{"version", ELARA_VERSION}};
    add(at, labels, 1, 1);
}

static const struct family {
    const char *name;
    enum metrics_type type;
    const char *help;
    family_write *write;
} families[] = {
    {"elara_kernels", METRICS_GAUGE, "Kernels by kernelspec and execution state.", write_kernels},
    {"elara_kernel_start_stage_duration_seconds", METRICS_HISTOGRAM,
     "How long the stages of starts took.", write_stages},
    {"elara_kernel_pod_stage_duration_seconds", METRICS_HISTOGRAM,
     "How long kernels' pods took from one stage of their start to the next.", write_pod_stages},
    {"elara_kernel_start_duration_seconds", METRICS_HISTOGRAM,
     "How long starts and restarts took until the kernel answered.", write_starts},
    {"elara_kernel_deaths_total", METRICS_COUNTER, "Kernels that died for good or could not start.",
     write_deaths},
    {"elara_culled_kernels_total", METRICS_COUNTER, "Kernels that were culled, by rule.",
     write_culled},
    {"elara_swept_total", METRICS_COUNTER,
     "What gateways left half done or without a kernel, and this one finished or deleted.",
     write_swept},
    {"elara_cull_warnings_total", METRICS_COUNTER, "Notebooks that were warned of a cull.",
     write_warned},
    {"elara_culling_last_pass_duration_seconds", METRICS_GAUGE,
     "How long the culler's last look at all kernels took.", write_pass},
    {"elara_adopting", METRICS_GAUGE, "Whether kernels of an earlier gateway are being taken over.",
     write_adopting},
    {"elara_messages_total", METRICS_COUNTER,
     "Kernel messages handed on, by direction and channel; for each client.", write_messages},
    {"elara_message_bytes_total", METRICS_COUNTER,
     "Bytes of the kernel messages handed on, by direction and channel.", write_message_bytes},
    {"elara_replayed_messages_total", METRICS_COUNTER,
     "Messages sent again to rebuild a cell after a break.", write_replayed},
    {"elara_replayed_bytes_total", METRICS_COUNTER,
     "Bytes of the messages sent again to rebuild a cell.", write_replayed_bytes},
    {"elara_journal_bytes", METRICS_GAUGE, "Room that the journals of all kernels take.",
     write_journal},
    {"elara_journal_folded_bytes_total", METRICS_COUNTER,
     "Bytes of output that journals gave up at their cap.", write_folded},
    {"elara_clients", METRICS_GAUGE, "WebSocket clients.", write_clients},
    {"elara_http_requests_total", METRICS_COUNTER,
     "Answered HTTP requests by route, method and status.", write_requests},
    {"elara_http_request_duration_seconds", METRICS_HISTOGRAM,
     "From the head of a request to its answer, by route and method.", write_request_durations},
    {"elara_http_connections", METRICS_GAUGE, "Connections of clients, WebSockets included.",
     write_connections},
    {"elara_http_requests_under_way", METRICS_GAUGE, "HTTP requests that are not answered yet.",
     write_requests_under_way},
    {"elara_http_overload_refusals_total", METRICS_COUNTER,
     "Connections and requests refused because of a limit of them.", write_refused},
    {"elara_http_lacks_files", METRICS_GAUGE,
     "Whether no connection can be accepted because of the limit of open files.",
     write_lacks_files},
    {"elara_loop_lag_seconds", METRICS_HISTOGRAM,
     "How late timers of the event loop ran: what every client waits for.", write_lag},
    {"elara_settings_problem", METRICS_GAUGE,
     "Whether settings, tokens, certificates or kernelspecs could not be read again.",
     write_problem},
    {"elara_settings_pending", METRICS_GAUGE, "Whether a changed setting waits for a restart.",
     write_pending},
    {"elara_build_info", METRICS_GAUGE, "Always 1; the version is the label.", write_build},
};

void metrics_families_write(const struct gateway *gateway, struct buffer *out) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const struct family *family = &families[i];
        struct sample at = {family->name, gateway, gateway->metrics, out};
        metrics_text_head(out, family->name, family->type, family->help);
        family->write(&at);
    }
    metrics_process_write(out, gateway->started_us);
}
