/* Calls to a Kubernetes API server: JSON trees over libcurl's multi interface, on the caller's
 * loop; nothing blocks. SIGPIPE has to be ignored by the program.
 *
 * A call is tried again, with growing pauses, as long as its deadline allows: when no connection
 * came to be, and at 429 and 503 (the server did nothing), always; when the connection broke later,
 * and at 500, 502 and 504 (a few times), if it may be repeated: GET, PUT and DELETE always, POST
 * and PATCH by may_repeat. A POST that is answered 409 Conflict lost a race for a quota inside the
 * server and is tried again too. 401 and a certificate that does not verify: once more if the
 * credentials' files have changed. Redirects are never followed. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "launcher/kube_config.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct kube_client;
struct kube_request; /* a call that is not done */

/* 0 is the default in each. */
struct kube_limits {
    unsigned connections_max; /* calls under way at once, beside watches (32) */
    unsigned queue_max;       /* calls that wait for one of them (10,000); above: ERROR_LIMIT */
    size_t answer_max;        /* bytes of an answer (32 MiB); above: ERROR_LIMIT */
    int64_t pause_ms;         /* before the first repetition (100), doubled up to 50 times that */
};

struct kube_counts {
    uint64_t calls;                   /* taken by kube_client_call */
    uint64_t requests;                /* sent, repetitions and watches among them */
    uint64_t repeated;                /* of those, repetitions */
    unsigned active, queued, waiting; /* under way; for a connection; for their next attempt */
};

struct kube_call {
    const char *method;       /* "GET", "POST", "PUT", "PATCH", "DELETE" */
    const char *path;         /* "/api/v1/namespaces/x/pods?limit=1"; see kube_path_add_query */
    const json_t *body;       /* NULL: none; written out before the call returns */
    const char *content_type; /* NULL: application/json, of a PATCH a merge patch (RFC 7396) */
    bool may_repeat;          /* POST, PATCH: doing it twice does no harm; see above */
    bool once;                /* one attempt only: the caller has pauses of its own */
    bool is_of_purge;         /* who asks needs the rights of `elara purge` (kube_rights.h) */
    int64_t deadline_ms;      /* from now, all attempts together; 0: 30 s */
};

/* status: of HTTP, 0 when there was no answer. answer: borrowed; NULL when there was none or it is
 * no JSON; of a refusal it is the Status object. err: NULL for 2xx, else the cause, a sentence for
 * a person that names the server:
 *   400, 422 and others INVALID; 401, 403 DENIED, a quota's LIMIT; 404 NOT_FOUND; 409 EXISTS, of a
 *   Conflict UNAVAILABLE; 405, 406, 415 UNSUPPORTED; 413 LIMIT; 410, 429, 5xx UNAVAILABLE; no
 *   connection, a broken or no Kubernetes answer UNAVAILABLE; a certificate on either side
 *   DENIED; deadline TIMEOUT.
 * The request is gone when it runs. It may start and cancel calls, not destroy the client. */
typedef void kube_done(void *context, int status, json_t *answer, const struct error *err);

/* config: borrowed, outlives it. limits: NULL for the defaults. */
int kube_client_create(struct event_base *loop, struct kube_config *config,
                       const struct kube_limits *limits, struct kube_client **ret,
                       struct error *err);
/* Drops all calls without a callback. Watches are destroyed before. */
void kube_client_destroy(struct kube_client *client);

/* Never fails and never calls back from inside: what is wrong comes through done. */
struct kube_request *kube_client_call(struct kube_client *client, const struct kube_call *call,
                                      kube_done *done, void *context);
/* No callback comes; the server may have carried it out all the same. NULL is fine. */
void kube_request_cancel(struct kube_request *request);

/* Of HTTP, of its last attempt that failed; 0: none has, or there was no answer. */
int kube_request_status(const struct kube_request *request);

/* So many seconds is the API server's wall clock ahead of ours, by the Date of its last answer; 0
 * where that is less than some seconds, which an answer may take, or nothing has been answered. */
int64_t kube_client_clock_ahead_s(const struct kube_client *client);
/* What lies in objects is compared with this: the server's clock in ms since 1970. */
int64_t kube_client_wall_ms(const struct kube_client *client);

void kube_client_count(const struct kube_client *client, struct kube_counts *ret);

/* Appends "?name=value" or "&name=value", the value percent-encoded. -1 at the buffer's limit. */
int kube_path_add_query(struct buffer *path, const char *name, const char *value);

/* The reason of a Status object ("AlreadyExists", "Conflict", "Expired"), "" when there is none. */
const char *kube_status_reason(const json_t *answer);
