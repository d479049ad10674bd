/* What the gateway counts while it works, for GET /metrics. Whoever works adds to the fields:
 * nothing is allocated and nothing is looked up for a message. What can be counted when somebody
 * asks is not counted here (metrics_families.c). All of it begins at 0 with each gateway. */
#pragma once

#include "gateway/histogram.h"
#include "launcher/kernel_message.h"
#include "launcher/provisioner.h"

#include <stddef.h>
#include <stdint.h>

enum metrics_direction { METRICS_TO_CLIENT, METRICS_TO_KERNEL, METRICS_DIRECTIONS };

/* A start has two stages, the launcher's and the kernel's; START and RESTART are the whole. */
enum metrics_start {
    METRICS_STAGE_LAUNCHER,
    METRICS_STAGE_KERNEL,
    METRICS_START,
    METRICS_RESTART,
    METRICS_STARTS
};
/* A pod on its way to a kernel that is ready: PROVISION_CREATED and so on, then these. */
enum { METRICS_POD_HELLO = PROVISION_STEPS, METRICS_POD_READY, METRICS_POD_STAGES };
enum metrics_outcome { METRICS_READY, METRICS_FAILED, METRICS_ENDED, METRICS_OUTCOMES };

enum {
    METRICS_ROUTES_MAX = 96, /* requests on more are counted with those on no route */
    METRICS_STATUS_MIN = 100,
    METRICS_STATUS_MAX = 599,
};

struct metrics_traffic {
    uint64_t messages, bytes;
};

struct http_route;

struct metrics_route {
    uint64_t statuses[METRICS_STATUS_MAX - METRICS_STATUS_MIN + 1];
    struct histogram durations;
};

struct metrics {
    /* as they cross the gateway, for each client; bytes as the link carries them */
    struct metrics_traffic traffic[METRICS_DIRECTIONS][CHANNEL_COUNT];
    struct metrics_traffic replayed; /* of those to clients: to rebuild a cell */
    struct histogram starts[METRICS_STARTS][METRICS_OUTCOMES];
    struct histogram pod_stages[METRICS_POD_STAGES]; /* each since the one before */
    uint64_t deaths;
    uint64_t folded_bytes; /* that journals told of while we were there */
    size_t route_count;
    const struct http_route *routes[METRICS_ROUTES_MAX]; /* the first: NULL, for no route */
    struct metrics_route requests[METRICS_ROUTES_MAX];   /* of each of them */
};

/* Their names, as the labels have them. */
extern const char *const metrics_pod_stage_names[METRICS_POD_STAGES];

struct metrics *metrics_create(void);
void metrics_destroy(struct metrics *metrics);

/* metrics NULL: nothing is counted, here and below. */
void metrics_add_request(struct metrics *metrics, const struct http_route *route, int status,
                         int64_t took_us);

/* One message in the link's layout. */
static inline void metrics_add_message(struct metrics *metrics, enum metrics_direction direction,
                                       const uint8_t *message, size_t length) {
    if (metrics == NULL)
        return;
    enum kernel_channel channel;
    if (kernel_message_channel(message, length, &channel) < 0)
        return;
    metrics->traffic[direction][channel].messages++;
    metrics->traffic[direction][channel].bytes += length;
}
