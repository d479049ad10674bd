/* GET /metrics, for Prometheus: with a token of the role metrics, viewer or admin, or for everybody
 * (metrics-public). */
#include "base/cleanup.h"
#include "gateway/api.h"
#include "gateway/metrics_families.h"

/* Labels are bounded (metrics_families.c): even if each route had answered with every status it
 * were less than half of what a buffer holds. */
static void reply(struct http_request *request, const struct gateway *gateway) {
    cleanup_buffer struct buffer text = {0};
    metrics_families_write(gateway, &text);
    http_reply_bytes(request, 200, "text/plain; version=0.0.4; charset=utf-8", text.data,
                     text.length);
}

static void get_metrics(struct http_request *request, void *context) {
    if (http_request_identity(request)->role == AUTH_USER)
        http_reply_error(
            request, 403, NULL,
            "/metrics tells of all users: it needs a token of the role metrics, viewer or admin");
    else
        reply(request, context);
}

static void get_public_metrics(struct http_request *request, void *context) {
    reply(request, context);
}

const struct http_route api_metrics_routes[] = {
    {"GET", "/metrics", get_metrics, HTTP_METRICS},
    {NULL, NULL, NULL, 0},
};

const struct http_route api_public_metrics_routes[] = {
    {"GET", "/metrics", get_public_metrics, HTTP_PUBLIC},
    {NULL, NULL, NULL, 0},
};
