/* The REST resources, a file for each (docs/http-api.md). Their handlers get the struct gateway as
 * their context. */
#pragma once

#include "gateway/gateway.h"
#include "gateway/http.h"
#include "gateway/kernel_activity.h"
#include "gateway/kernel_shares.h"
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
extern const struct http_route api_shares_routes[];  /* /api/kernels/{id}/shares... */
extern const struct http_route api_elara_routes[];   /* /api/elara/..., /api/kernels/{id}/logs */

void api_add_routes(struct gateway *gateway); /* all of the above */
json_t *api_swagger(const char *base_url); /* OpenAPI 2 document of those routes; a new reference */

/* True when it has answered 503 with Retry-After, because the kernels of an earlier gateway are
 * still being taken over. */
bool api_reply_adopting(struct gateway *gateway, struct http_request *request);

/* The kernel of that id if the client has this right to it; else NULL, and the request is answered:
 * 404 (the same for a foreign kernel as for one that never was), 403 when it may do less with it,
 * or 503 while adopting. */
struct kernel *api_find_kernel(struct gateway *gateway, struct http_request *request,
                               const char *id, enum kernel_right right);
/* The same of what this gateway knows, for a request whose handler has done its work: it is not
 * called again. */
struct kernel *api_known_kernel(struct gateway *gateway, struct http_request *request,
                                const char *id, enum kernel_right right);
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

/* Asks launchers what their kernels do: each looks at its processes, so only some at once. */
enum { API_ASKED_MAX = 256 };
struct api_gather {
    struct gateway *gateway;
    bool (*wants)(void *context, struct kernel *kernel); /* of those that can be asked */
    kernel_asked *answered;      /* kernel NULL: it ended meanwhile; may be NULL */
    void (*done)(void *context); /* when all have answered; at once when nobody is asked */
    void *context;
    int64_t patience_ms; /* done comes by then in any case; 0: whenever it comes */
    size_t at_once;      /* 0: API_ASKED_MAX */
};
void api_gather(const struct api_gather *plan);

/* Some of the kernels that the client may see, oldest first. */
struct api_page {
    uint64_t after; /* kernel_number of the one before them; 0: from the first on */
    size_t first;   /* so many of them are passed over */
    size_t max;
};
/* As GET /api/elara/kernels shows each (docs/http-api.md); their launchers are asked what they use,
 * and waited for a few seconds. total: of all that the client may see. next: what `after` is of the
 * next page; 0: there is none. */
typedef void api_listed(void *context, json_t *list /* given away */, size_t total, uint64_t next);
void api_list_kernels(struct gateway *gateway, const struct auth_identity *identity,
                      const struct api_page *page, api_listed *done, void *context);

/* refusal_style for this client: limits and refusals become a dead kernel that says why. */
bool api_refuse_in_notebook(const struct gateway *gateway, const struct http_request *request);

/* A whole number of the query; left alone when it is not there. */
int api_take_number(const struct http_request *request, const char *name, int64_t min, int64_t max,
                    int64_t *ret, struct error *err);
/* A member of a JSON object that must be a text when it is there (null counts as absent). Absent: 0
 * and *ret NULL. Otherwise ERROR_INVALID naming the field. */
int api_take_text(const json_t *object, const char *field, size_t max, const char **ret,
                  struct error *err);
