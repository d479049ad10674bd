/* What the http*.c files share. A connection (http_connection.c) owns its bufferevent and at most
 * one request; a request handed to its handler lives on its own until it is answered, also when the
 * connection has gone (connection NULL). Everything but reading bytes happens in the connection's
 * task, so that no handler runs under a bufferevent callback. */
#pragma once

#include "base/buffer.h"
#include "gateway/http.h"
#include "gateway/http_limits.h"
#include "gateway/http_parse.h"
#include "gateway/http_refusals.h"

#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum {
    HTTP_LISTENERS_MAX = 8,
    HTTP_TABLES_MAX = 16,
    HTTP_PARAMS_MAX = 8,
    HTTP_ADDRESS_SIZE = INET6_ADDRSTRLEN,
    HTTP_LINGER_MS = 2000,
};

struct ssl_ctx_st;
struct ssl_st;

struct http_table {
    const struct http_route *routes;
    void *context;
};

/* Lines of the access log in one second: whoever sends requests by the ten thousand must not fill a
 * disk with them. */
struct http_log_budget {
    int64_t second;
    size_t lines, left_out;
};

struct http {
    struct loop *loop;
    struct auth *auth;
    struct http_settings settings; /* texts are copies, never NULL but the TLS files */
    struct http_target base;       /* base_url, split */
    struct http_table tables[HTTP_TABLES_MAX];
    size_t table_count;
    struct evconnlistener *listeners[HTTP_LISTENERS_MAX];
    size_t listener_count;
    int port;
    struct ssl_ctx_st *tls;
    struct list connections;
    struct loop_deadline accept_again; /* after running out of descriptors */
    bool lacks_files;                  /* since then nobody was accepted */
    struct http_limits *limits;
    struct http_log_budget log_budget;
    struct http_refusals refusals;
    bool pauses;  /* accepting, until accept_again */
    int accepted; /* in this turn, at whose end: */
    struct loop_task accept_task;
    bool stopping;
};

enum http_connection_state {
    HTTP_READING_HEAD,
    HTTP_READING_BODY,
    HTTP_ADMITTING, /* another server is asked who the client is */
    HTTP_HANDLING,  /* the handler has the request */
    HTTP_SENDING,   /* until the output is empty */
    HTTP_HELD,      /* it was refused, and so were too many others: it waits before it may go on */
    HTTP_LINGERING, /* answered and closing; reads on so that no reset overtakes the answer */
    HTTP_CLOSED,    /* to be freed by the task */
};

struct http_connection {
    struct http *http;
    struct list_node node;
    struct bufferevent *io;
    struct http_seat *seat;
    struct loop_task task;
    struct loop_deadline deadline;
    struct http_request *request;
    enum http_connection_state state;
    bool head_started; /* the first byte of a head is there */
    bool body_done;    /* nothing of the request is left unread */
    bool closes;       /* after this answer */
    bool has_served;   /* a request before */
    bool is_refused;   /* its request got no further than admission, */
    int64_t spent_us;  /* which took so long */
    size_t progress;   /* bytes at the last deadline */
    char address[HTTP_ADDRESS_SIZE];
};

struct http_param {
    const char *name; /* in the pattern */
    size_t name_length;
    char *value; /* decoded; owned */
};

struct http_request {
    struct http *http;
    struct http_connection *connection; /* NULL: the client has gone */
    char *text;                         /* the head, cut up */
    struct http_head head;
    struct http_target target;
    const struct http_route *route;
    void *route_context;
    struct http_param params[HTTP_PARAMS_MAX];
    size_t param_count;
    const struct auth_identity *identity;
    const char *asked_header, *asked_value; /* that somebody looked at to know it; in text */
    struct auth_waiter waiter;              /* linked: until it is known who asks */
    struct http_seat *seat; /* among the requests under way; NULL: none is needed, or not yet */
    bool is_admitted;
    bool is_handled; /* the handler was called */
    struct evbuffer *body;
    struct http_chunks chunks;
    json_t *json;
    bool json_is_read;
    struct buffer headers; /* of the answer, given by http_reply_header */
    const char *refusal;   /* for the access log: why it is refused; borrowed, until the answer */
    char address[HTTP_ADDRESS_SIZE];
    int64_t started_us;
    void (*gone)(void *context);
    void *gone_context;
    struct loop_task gone_task;
};

/* http_connection.c */
void http_connection_open(struct http *http, evutil_socket_t fd, const struct sockaddr *peer);
void http_connection_free(struct http_connection *connection); /* its request is told */
/* The answer is in the output. */
void http_connection_answered(struct http_connection *connection);

/* http_request.c */
struct http_request *http_request_create(struct http_connection *connection);
void http_request_free(struct http_request *request);
/* address from X-Real-Ip, X-Forwarded-For */
void http_request_trust_proxy(struct http_request *request);
void http_request_tell_gone(struct http_request *request); /* it may be freed by this */

/* http_reply.c: whether there is room for a line about a request; says first how many were left
 * out. */
bool http_may_log(struct http *http);
bool http_etag_matches(const struct http_request *request, const char *etag); /* If-None-Match */
/* Takes malloc'ed data. */
void http_reply_memory(struct http_request *request, int status, const char *content_type,
                       void *data, size_t length);

/* http_routes.c: finds the route; checks Host, method, Origin and who asks. */
enum http_admission {
    HTTP_ADMITTED, /* call the route's handler */
    HTTP_ANSWERED,
    HTTP_WAITS, /* request->waiter is linked; admit it once more when it has run */
};
enum http_admission http_route_admit(struct http_request *request);

/* http_tls.c: the client's, verified; NULL: none. Borrowed from the connection. */
const struct x509_st *http_tls_certificate(struct bufferevent *io);

/* http_routes.c: whether an Origin is of the host that the request is for, and not of http where
 * the client came by TLS: whoever is in the network can make a page of http://our-host. */
bool http_is_same_origin(const struct http_request *request, const char *origin);

/* http_page.c: routes with HTTP_PAGE. */
bool http_is_page(const struct http_request *request);
/* Sets the headers that all answers of a page have; then looks at Origin. False: it has been
 * answered. */
bool http_page_admit(struct http_request *request);
void http_page_reply_error(struct http_request *request, int status, const char *reason,
                           const char *message);

/* http_host.c: whether a request for this Host may be answered; settings of an http. */
bool http_host_is_ours(const struct http_settings *settings, const char *host);

/* http_listen.c */
void http_listen_close(struct http *http);
void http_pause_accepting(struct http *http, int64_t for_ms);

/* http_tls.c */
int http_tls_create(const struct http_settings *settings, struct ssl_ctx_st **ret,
                    struct error *err);
void http_tls_destroy(struct ssl_ctx_st *tls);
struct bufferevent *http_tls_accept(struct http *http, evutil_socket_t fd);
