/* The REST resources, a file for each (docs/http-api.md). Their handlers get the struct gateway as
 * their context. */
#pragma once

#include "gateway/gateway.h"
#include "gateway/http.h"
#include "gateway/kernels.h"

#include <stdbool.h>

/* What /api tells as "version": the jupyter_server whose REST API this is compatible with. Clients
 * switch features by it. */
#define API_JUPYTER_SERVER_VERSION "2.21.1"

extern const struct http_route
    api_root_routes[]; /* /api, /api/status, /api/me, /api/swagger.json|yaml */
extern const struct http_route api_health_routes[];  /* /healthz, /readyz */
extern const struct http_route api_kernels_routes[]; /* /api/kernels... */
extern const struct http_route
    api_kernelspecs_routes[]; /* /api/kernelspecs..., /kernelspecs/{name}/{path} */
extern const struct http_route api_journal_routes[];        /* /api/kernels/{id}/journal */
extern const struct http_route api_sessions_routes[];       /* /api/sessions... */
extern const struct http_route api_metrics_routes[];        /* /metrics */
extern const struct http_route api_public_metrics_routes[]; /* the same without a token */
extern const struct http_route api_culling_routes[]; /* /api/kernels/{id}/why..., /api/elara/cull */
extern const struct http_route api_elara_routes[];   /* /api/elara/..., /api/kernels/{id}/logs */

void api_add_routes(struct gateway *gateway); /* all of the above */
json_t *api_swagger(const char *base_url); /* OpenAPI 2 document of those routes; a new reference */

/* True when it has answered 503 with Retry-After, because the kernels of an earlier gateway are
 * still being taken over. */
bool api_reply_adopting(struct gateway *gateway, struct http_request *request);

/* The kernel of that id that the client may use; else NULL, and the request is answered: 404 (the
 * same for a foreign kernel as for one that never was) or 503 while adopting. */
struct kernel *api_find_kernel(struct gateway *gateway, struct http_request *request,
                               const char *id);
/* The same of what this gateway knows, for a request whose handler has done its work: it is not
 * called again. */
struct kernel *api_known_kernel(struct gateway *gateway, struct http_request *request,
                                const char *id);
/* kernels_look_for; *is_pending: the request's handler is called again when it is known. */
struct kernel *api_look_for_kernel(struct gateway *gateway, struct http_request *request,
                                   const char *id, bool *is_pending);

/* A request that is answered later; the gateway on its way out waits for it. */
enum { API_ID_MAX = 128 };
struct api_pending {
    struct gateway *gateway;
    struct http_request *request;
    char id[API_ID_MAX + 1]; /* of its kernel or session */
    int64_t number;          /* whatever the resource wants to remember */
};
struct api_pending *api_pending_create(struct gateway *gateway, struct http_request *request,
                                       const char *id);
/* The answer is to be given now; it is freed. */
struct api_pending api_pending_take(struct api_pending *pending);

/* The kernels that the client may see, oldest first, from number `first` (0) on, at most `max` of
 * them, as GET /api/elara/kernels shows each (docs/http-api.md); their launchers are asked what
 * they use, and waited for a few seconds. `total`: of all of them. */
typedef void api_gathered(void *context, json_t *list /* given away */, size_t total);
void api_gather_kernels(struct gateway *gateway, const struct auth_identity *identity, size_t first,
                        size_t max, api_gathered *done, void *context);

/* refusal_style for this client: limits and refusals become a dead kernel that says why. */
bool api_refuse_in_notebook(const struct gateway *gateway, const struct http_request *request);

/* A member of a JSON object that must be a text when it is there (null counts as absent). Absent: 0
 * and *ret NULL. Otherwise ERROR_INVALID naming the field. */
int api_take_text(const json_t *object, const char *field, size_t max, const char **ret,
                  struct error *err);
