/* HTTP exchanges with one server over libcurl's multi interface, on the caller's loop: what
 * kube_client.c makes calls of and kube_watch.c streams. No repetitions, no queue. */
#pragma once

#include "base/buffer.h"
#include "launcher/kube_config.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct kube_transport;
struct kube_exchange;

struct kube_outcome {
    CURLcode code;
    int status;             /* of HTTP; 0: no answer */
    int64_t retry_after_ms; /* -1: the answer does not say */
    int64_t date_s;         /* of the answer, by the server's clock, since 1970; -1: not said */
    bool was_sent;          /* the server may have carried it out */
    bool is_too_large;
    long verify_result; /* of the server's certificate, X509_V_ERR_... */
    int system_error;   /* errno of the connection; 0 */
    char detail[CURL_ERROR_SIZE];
    struct buffer *body; /* of a stream: what came with a status that is not 200, its start */
};

struct kube_exchange_request {
    const char *method, *path, *content_type; /* content_type NULL: application/json */
    const char *body;                         /* borrowed until the end; NULL: none */
    size_t body_length;
    bool may_repeat;    /* libcurl may send it again on another connection */
    int64_t timeout_ms; /* 0: none */
    size_t answer_max;
};

/* From the loop, never from inside a call. Each may cancel this exchange and others and start new
 * ones. data makes it a stream: the bytes of a 200 are handed over as they come, opened is told
 * before them. The exchange is gone when done runs. */
struct kube_exchange_events {
    void (*opened)(void *context); /* needed where data is */
    void (*data)(void *context, const char *data, size_t length);
    void (*done)(void *context, const struct kube_outcome *outcome);
};

int kube_transport_create(struct event_base *loop, struct kube_config *config,
                          struct kube_transport **ret, struct error *err);
/* After all exchanges; not from inside a callback. */
void kube_transport_destroy(struct kube_transport *transport);

struct kube_exchange *kube_transport_start(struct kube_transport *transport,
                                           const struct kube_exchange_request *request,
                                           const struct kube_exchange_events *events,
                                           void *context);
void kube_exchange_cancel(struct kube_exchange *exchange); /* NULL is fine */
