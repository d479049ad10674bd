/* The HTTP/1.1 server on libevent's bufferevents: connections, routes, authentication, JSON
 * answers, CORS, TLS and the access log. Every refusal is JSON {"reason", "message"}. */
#pragma once

#include "base/error.h"
#include "gateway/auth.h"
#include "gateway/loop.h"

#include <event2/bufferevent.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct background;
struct http;
struct http_seat;
struct metrics;
/* lives until its reply is given (or the connection taken); a handler may answer in a later turn */
struct http_request;

typedef void http_handler(struct http_request *request, void *context);

enum http_route_flags {
    HTTP_PUBLIC = 1, /* no token needed */
    /* For people in a browser (http_page.c): the token may come by HTTP Basic, only our own pages
     * may POST, refusals are HTML, nobody may embed or keep it. */
    HTTP_PAGE = 2,
    HTTP_CONTENT = 4, /* what kernels said: not for the role viewer */
    HTTP_METRICS = 8, /* numbers: for the role metrics, too */
};

struct http_route {
    const char *method; /* "GET"; HEAD falls back to GET, OPTIONS is answered on every route */
    /* "/api/kernels/{kernel_id}/restart" below the base URL; the last {name...} takes slashes
     * too */
    const char *pattern;
    http_handler *handler;
    unsigned flags;
};

struct http_settings {
    const char *ip;
    int port;
    int port_retries;   /* further ports to try when taken */
    const int *sockets; /* listening already, used (as copies) instead of ip and port */
    size_t socket_count;
    bool accept_later;            /* not before http_start_accepting */
    const char *base_url;         /* "/" or "/prefix/" */
    int64_t body_max, header_max; /* bytes; above: 413, 431 */
    /* for the whole head, from its first byte (TLS handshake included), and again for whoever is
     * asked who sent it: 503 */
    int64_t header_timeout_ms;
    /* for each 64 KiB of a body, and for a client that does not read its answer */
    int64_t body_timeout_ms;
    int64_t idle_timeout_ms; /* between requests */
    const char *allow_origin, *allow_headers, *allow_methods, *allow_credentials, *expose_headers,
        *max_age;                                          /* NULL or "" = not sent */
    const char *tls_certificate, *tls_key, *tls_client_ca; /* NULL = plain HTTP */
    bool tls_client_ca_optional;                           /* a certificate need not be shown */
    /* What clients may have at once, 0: as much as they like. Connections, WebSockets included; and
     * requests that their handlers have not answered. Beyond it: 503, or 429 for too many of
     * one. */
    int64_t connections_max, connections_per_address_max, connections_per_user_max;
    int64_t requests_max, requests_per_user_max;
    /* Bytes of what has not arrived whole, or is not answered yet: heads, bodies, WebSocket
     * messages. 0: no limit. */
    int64_t input_max, input_per_user_max;
    int64_t hsts_ms; /* with TLS browsers are told to come by it alone for so long; 0: not */
    bool trust_xheaders;
    /* Answer only to localhost, names below it, loopback addresses, the host of allow_origin and
     * allow_hosts; 403 for any other Host. */
    bool check_host;
    char *const *allow_hosts; /* names, * and ? allowed; NULL: none; must outlive the server */
    struct metrics *metrics;  /* requests are counted there; NULL: nowhere */
};

/* Copies the settings. auth NULL: everybody may do everything and has no identity. */
int http_create(struct loop *loop, const struct http_settings *settings, struct auth *auth,
                struct http **ret, struct error *err);
/* Requests that are not answered yet are told that their client went away; they may still be
 * answered. */
void http_destroy(struct http *http);
/* routes ends with a NULL method; it and context must outlive the server. */
void http_add_routes(struct http *http, const struct http_route *routes, void *context);
int http_listen(struct http *http, struct error *err);

struct http_load {
    size_t connections, requests; /* that count for the limits */
    size_t input;                 /* bytes, see input_max */
    uint64_t refused;             /* since the start, because of one */
    bool lacks_files; /* no connection can be accepted: the limit of open files is reached */
};
void http_measure(const struct http *http, struct http_load *ret);
int http_port(const struct http *http); /* the one it listens on */
/* The sockets it listens on, still its own; returns how many. */
size_t http_sockets(const struct http *http, int *ret, size_t max);
void http_start_accepting(struct http *http);
void http_stop_accepting(struct http *http); /* what is under way is answered, then closed */
bool http_is_quiet(const struct http *http); /* no connection is left */
/* Other settings from now on, but for where it listens, base_url and whether there is TLS. On
 * failure the old certificate, key and client CA stay; the rest is taken. */
int http_configure(struct http *http, const struct http_settings *settings, struct error *err);
/* Reads certificate, key and client CA again; on failure the old ones stay. Does nothing without
 * TLS. */
int http_reload_tls(struct http *http, struct error *err);

/* What the client sent. Texts live as long as the request; NULL = not there. */
const char *http_request_method(const struct http_request *request);
const char *
http_request_path(const struct http_request *request); /* decoded, for logs and messages */
const char *http_request_param(const struct http_request *request,
                               const char *name); /* {name}, decoded */
const char *http_request_query(const struct http_request *request,
                               const char *name); /* decoded; "" for a bare key */
const char *http_request_header(const struct http_request *request, const char *name);
/* True when a header of that name has `token` in its comma-separated list; exact: case matters. */
bool http_request_header_lists(const struct http_request *request, const char *name,
                               const char *token, bool exact);
const struct auth_identity *http_request_identity(const struct http_request *request);
const char *http_base_url(const struct http_request *request);
/* True for a notebook server's gateway client (User-Agent "Tornado/..."). */
bool http_request_is_gateway_client(const struct http_request *request);

/* The body as JSON whatever its Content-Type; *ret is borrowed, NULL for an empty body. Bad JSON or
 * UTF-8: ERROR_INVALID "Invalid JSON in body of request: ...". */
int http_request_json(struct http_request *request, json_t **ret, struct error *err);

/* Tells when the client went away before the answer; the request stays valid until it is answered
 * (the answer then goes nowhere). */
void http_request_on_gone(struct http_request *request, void (*gone)(void *context), void *context);

/* Calls its handler once more, as if the request had just come. */
void http_request_repeat(struct http_request *request);

const char *http_status_phrase(int status); /* "Not Found" */

/* Answers; the request is gone afterwards. */
void http_reply_header(struct http_request *request, const char *name,
                       const char *value); /* before the answer */
void http_reply_json(struct http_request *request, int status, json_t *body /* stolen */);
void http_reply_empty(struct http_request *request, int status);
void http_reply_bytes(struct http_request *request, int status, const char *content_type,
                      const void *data, size_t length);
/* A file below a directory: type by extension, ETag, Last-Modified, one Range, HEAD, 304; 404 when
 * missing, 403 when `path` leaves root, 503 while root's parent does not answer. */
struct http_file {
    const char *root, *path;
    const char *except; /* a file of root that is not served under any name: 404. NULL: none */
};
void http_reply_file(struct http_request *request, struct background *background,
                     const struct http_file *file);
/* {"reason", "message"}. reason NULL: the status's standard phrase. */
void http_reply_error(struct http_request *request, int status, const char *reason,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Status by the error's code: INVALID 400, DENIED 403, NOT_FOUND 404, EXISTS 409, LIMIT 403,
 * TIMEOUT 504, UNAVAILABLE 503 and BUSY 429 with Retry-After, UNSUPPORTED 501, SYSTEM 500, or 503
 * when disk, descriptors or memory are what is missing. */
void http_reply_failure(struct http_request *request, const struct error *err);
int http_status_of(enum error_code code);

/* Answers 101 with the headers given so far and hands over the connection, disabled and without
 * callbacks; what the client sent behind its request is in the input. The request is gone
 * afterwards. NULL when the client is gone. End it with bufferevent_free, then free its seat. */
struct bufferevent *http_request_take(struct http_request *request, struct http_seat **seat);
/* A place among the connections that may be there; may be NULL. */
void http_seat_free(struct http_seat *seat);
/* What came over it and is not done with takes so many bytes from now on. On failure the amount
 * stays: ERROR_BUSY, ERROR_UNAVAILABLE and the setting's name as the cause. */
int http_seat_hold(struct http_seat *seat, size_t bytes, struct error *err);
