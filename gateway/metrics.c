#include "gateway/metrics.h"

#include "base/memory.h"

#include <stdlib.h>

const char *const metrics_pod_stage_names[] = {
    [PROVISION_CREATED] = "created", [PROVISION_SCHEDULED] = "scheduled",
    [PROVISION_PULLED] = "pulled",   [PROVISION_STARTED] = "started",
    [METRICS_POD_HELLO] = "hello",   [METRICS_POD_READY] = "ready",
};

struct metrics *metrics_create(void) {
    struct metrics *metrics = memory_alloc(sizeof *metrics);
    metrics->route_count = 1;
    return metrics;
}

void metrics_destroy(struct metrics *metrics) {
    free(metrics);
}

static size_t find_route(struct metrics *metrics, const struct http_route *route) {
    if (route == NULL)
        return 0;
    for (size_t i = 1; i < metrics->route_count; i++)
        if (metrics->routes[i] == route)
            return i;
    if (metrics->route_count == METRICS_ROUTES_MAX)
        return 0;
    metrics->routes[metrics->route_count] = route;
    return metrics->route_count++;
}

void metrics_add_request(struct metrics *metrics, const struct http_route *route, int status,
                         int64_t took_us) {
    if (metrics == NULL || status < METRICS_STATUS_MIN || status > METRICS_STATUS_MAX)
        return;
    struct metrics_route *counted = &metrics->requests[find_route(metrics, route)];
    counted->statuses[status - METRICS_STATUS_MIN]++;
    histogram_add(&counted->durations, &histogram_requests, took_us);
}
