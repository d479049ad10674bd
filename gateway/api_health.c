/* For load balancers and Kubernetes probes; no token needed, nothing told. */
#include "gateway/api.h"

static void get_healthz(struct http_request *request, void *context) {
    (void)context; /* that this runs is the answer */
    http_reply_json(request, 200, json_pack("{s:s}", "status", "ok"));
}

static void get_readyz(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    if (!api_reply_adopting(gateway, request))
        http_reply_json(request, 200, json_pack("{s:s}", "status", "ready"));
}

const struct http_route api_health_routes[] = {
    {"GET", "/healthz", get_healthz, HTTP_PUBLIC},
    {"GET", "/readyz", get_readyz, HTTP_PUBLIC},
    {NULL, NULL, NULL, 0},
};
