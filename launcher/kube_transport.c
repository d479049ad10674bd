#include "launcher/kube_transport.h"

#include "base/list.h"
#include "base/memory.h"
#include "launcher/curl_loop.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    CONNECT_TIMEOUT_MS = 10000,
    KEEPALIVE_IDLE_S = 15, /* a server that is gone is noticed after 15 + 3 * 5 s */
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_COUNT = 3,
    IDLE_CONNECTIONS_MAX = 64,
    PENDING_MAX = 4 << 20,  /* of a stream; libcurl reads less than half of it in one turn */
    REFUSAL_MAX = 64 << 10, /* of a stream's answer that is not 200 */
};

struct kube_transport {
    struct kube_config *config;
    struct curl_loop *loop;
    char *base_url; /* with the name the certificate has to have */
    struct curl_slist *connect_to;
    struct list ready; /* exchanges with something to tell */
    unsigned exchanges;
    bool is_telling;
};

struct kube_exchange {
    struct kube_transport *transport;
    struct list_node node;
    CURL *easy;
    struct curl_slist *headers;
    struct kube_exchange_events events;
    void *context;
    const char *body;
    size_t body_length, body_at;
    struct buffer answer;         /* collected */
    struct buffer pending;        /* of a stream, to be handed over */
    bool is_opening, is_finished; /* is_opening: to be told */
    struct kube_outcome outcome;
};

static void make_ready(struct kube_exchange *exchange) {
    struct kube_transport *transport = exchange->transport;
    if (!list_node_is_linked(&exchange->node))
        list_append(&transport->ready, &exchange->node);
}

/* curl_getdate takes what HTTP (RFC 9110, 5.6.7) allows. */
static int64_t date_of(CURL *easy) {
    struct curl_header *header = NULL;
    return curl_easy_header(easy, "Date", 0, CURLH_HEADER, -1, &header) == CURLHE_OK
               ? (int64_t)curl_getdate(header->value, NULL)
               : -1;
}

static void note_outcome(struct kube_exchange *exchange, CURLcode code) {
    struct kube_outcome *outcome = &exchange->outcome;
    long status = 0, system_error = 0, request_size = 0;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(exchange->easy, CURLINFO_OS_ERRNO, &system_error);
    curl_easy_getinfo(exchange->easy, CURLINFO_REQUEST_SIZE, &request_size);
    curl_easy_getinfo(exchange->easy, CURLINFO_SSL_VERIFYRESULT, &outcome->verify_result);
    curl_easy_getinfo(exchange->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    outcome->date_s = date_of(exchange->easy);
    outcome->code = code;
    outcome->status = (int)status;
    outcome->system_error = (int)system_error;
    outcome->was_sent = request_size > 0;
    outcome->retry_after_ms = retry_after_s > 0 ? (int64_t)retry_after_s * 1000 : -1;
}

static void on_finished(void *context, CURL *easy, CURLcode code) {
    (void)context;
    struct kube_exchange *exchange = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &exchange);
    note_outcome(exchange, code);
    exchange->is_finished = true;
    make_ready(exchange);
}

/* Telling the users */

static void free_exchange(struct kube_exchange *exchange) {
    curl_easy_cleanup(exchange->easy);
    for (struct curl_slist *header = exchange->headers; header != NULL; header = header->next)
        explicit_bzero(header->data, strlen(header->data)); /* one has the token */
    curl_slist_free_all(exchange->headers);
    buffer_free(&exchange->answer);
    buffer_free(&exchange->pending);
    exchange->transport->exchanges--;
    free(exchange);
}

static void tell_opened(struct kube_exchange *exchange) {
    exchange->is_opening = false;
    if (exchange->pending.length > 0 || exchange->is_finished)
        make_ready(exchange);
    exchange->events.opened(exchange->context);
}

static void tell_data(struct kube_exchange *exchange) {
    struct buffer data = exchange->pending;
    exchange->pending = (struct buffer){.limit = data.limit};
    if (exchange->is_finished)
        make_ready(exchange);
    exchange->events.data(exchange->context, (const char *)data.data, data.length);
    buffer_free(&data); /* exchange may be gone */
}

static void tell_done(struct kube_exchange *exchange) {
    struct kube_exchange_events events = exchange->events;
    struct kube_outcome outcome = exchange->outcome;
    struct buffer body = exchange->answer;
    void *context = exchange->context;
    exchange->answer = (struct buffer){0};
    outcome.body = &body;
    free_exchange(exchange);
    events.done(context, &outcome);
    buffer_free(&body);
}

static void tell_ready(void *context) {
    struct kube_transport *transport = context;
    transport->is_telling = true;
    while (!list_is_empty(&transport->ready)) {
        struct kube_exchange *exchange =
            list_entry(transport->ready.head.next, struct kube_exchange, node);
        list_remove(&exchange->node);
        if (exchange->is_opening)
            tell_opened(exchange);
        else if (exchange->pending.length > 0)
            tell_data(exchange);
        else if (exchange->is_finished)
            tell_done(exchange);
    }
    transport->is_telling = false;
}

/* One exchange */

static size_t take_stream(struct kube_exchange *exchange, const char *data, size_t length) {
    if (buffer_append(&exchange->pending, data, length) < 0)
        return 0;
    make_ready(exchange);
    return length;
}

/* The empty line behind the headers. A watch has nothing to say for a minute, but sees. */
static size_t take_header(char *data, size_t one, size_t length, void *context) {
    struct kube_exchange *exchange = context;
    long status = 0;
    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200 && length == 2 && data[0] == '\r' && exchange->events.data != NULL) {
        exchange->is_opening = true;
        make_ready(exchange);
    }
    return one * length;
}

static size_t take_body(char *data, size_t one, size_t length, void *context) {
    (void)one;
    struct kube_exchange *exchange = context;
    bool is_stream = exchange->events.data != NULL;
    if (is_stream) {
        long status = 0;
        curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status == 200)
            return take_stream(exchange, data, length);
    }
    if (buffer_append(&exchange->answer, data, length) == 0 || is_stream)
        return length;
    exchange->outcome.is_too_large = true;
    return 0;
}

static size_t give_body(char *into, size_t one, size_t room, void *context) {
    struct kube_exchange *exchange = context;
    size_t length = exchange->body_length - exchange->body_at;
    if (length > one * room)
        length = one * room;
    memcpy(into, exchange->body + exchange->body_at, length);
    exchange->body_at += length;
    return length;
}

/* libcurl sends a request again by itself when a kept connection turns out to be closed. Without
 * this it cannot, once a part of the body has left. */
static int rewind_body(void *context, curl_off_t offset, int origin) {
    struct kube_exchange *exchange = context;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > exchange->body_length)
        return CURL_SEEKFUNC_FAIL;
    exchange->body_at = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static int prepare_socket(void *context, curl_socket_t fd, curlsocktype purpose) {
    (void)context, (void)purpose;
    int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_COUNT;
    unsigned unacknowledged_ms = (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_COUNT) * 1000;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
    return CURL_SOCKOPT_OK;
}

static void set_blob(CURL *easy, CURLoption option, const struct kube_secret *secret) {
    struct curl_blob blob = {secret->data, secret->length, CURL_BLOB_COPY};
    if (secret->data != NULL)
        curl_easy_setopt(easy, option, &blob);
}

static void set_tls(CURL *easy, const struct kube_config *config) {
    const struct kube_secret *authority = kube_config_secret(config, KUBE_AUTHORITY);
    set_blob(easy, CURLOPT_SSLCERT_BLOB, kube_config_secret(config, KUBE_CERTIFICATE));
    set_blob(easy, CURLOPT_SSLKEY_BLOB, kube_config_secret(config, KUBE_KEY));
    if (authority->data != NULL) { /* that one alone, not the system's beside it */
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
        set_blob(easy, CURLOPT_CAINFO_BLOB, authority);
    }
    if (kube_config_is_insecure(config)) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void add_header(struct kube_exchange *exchange, const char *text) {
    exchange->headers = curl_slist_append(exchange->headers, text);
}

static void set_headers(struct kube_exchange *exchange,
                        const struct kube_exchange_request *request) {
    const struct kube_secret *token = kube_config_secret(exchange->transport->config, KUBE_TOKEN);
    add_header(exchange, "Accept: application/json");
    add_header(exchange, "Expect:"); /* no round trip before large bodies */
    if (request->body != NULL) {
        char *type =
            memory_printf("Content-Type: %s", request->content_type != NULL ? request->content_type
                                                                            : "application/json");
        add_header(exchange, type);
        free(type);
    }
    if (token->data != NULL) {
        char *header = memory_printf("Authorization: Bearer %s", token->data);
        add_header(exchange, header);
        explicit_bzero(header, strlen(header));
        free(header);
    }
    curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, exchange->headers);
}

static void set_request(struct kube_exchange *exchange,
                        const struct kube_exchange_request *request) {
    CURL *easy = exchange->easy;
    char *url = memory_printf("%s%s", exchange->transport->base_url, request->path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    free(url);
    if (request->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
        curl_easy_setopt(easy, CURLOPT_READDATA, exchange);
        if (request->may_repeat) {
            curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, rewind_body);
            curl_easy_setopt(easy, CURLOPT_SEEKDATA, exchange);
        }
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    set_headers(exchange, request);
    if (request->timeout_ms > 0)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
}

static void set_connection(struct kube_exchange *exchange) {
    struct kube_transport *transport = exchange->transport;
    CURL *easy = exchange->easy;
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's 200 opens nothing */
    /* 500 POSTs over 32 of these take an API server as long as over one of HTTP/2, where one packet
     * that is lost holds up all of them. */
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* else the end waits for a slow DNS server */
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, prepare_socket);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "elara/" ELARA_VERSION);
    if (transport->connect_to != NULL)
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, transport->connect_to);
    const char *proxy = kube_config_proxy(transport->config);
    if (proxy != NULL)
        curl_easy_setopt(easy, CURLOPT_PROXY, proxy);
    set_tls(easy, transport->config);
}

struct kube_exchange *kube_transport_start(struct kube_transport *transport,
                                           const struct kube_exchange_request *request,
                                           const struct kube_exchange_events *events,
                                           void *context) {
    struct kube_exchange *exchange = memory_alloc(sizeof *exchange);
    exchange->transport = transport;
    exchange->events = *events;
    exchange->context = context;
    exchange->body = request->body;
    exchange->body_length = request->body_length;
    exchange->answer.limit = events->data != NULL ? REFUSAL_MAX : request->answer_max;
    exchange->pending.limit = PENDING_MAX;
    exchange->easy = curl_easy_init();
    transport->exchanges++;
    set_connection(exchange);
    set_request(exchange, request);
    curl_easy_setopt(exchange->easy, CURLOPT_PRIVATE, exchange);
    curl_easy_setopt(exchange->easy, CURLOPT_ERRORBUFFER, exchange->outcome.detail);
    curl_easy_setopt(exchange->easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(exchange->easy, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(exchange->easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(exchange->easy, CURLOPT_HEADERDATA, exchange);
    curl_loop_add(transport->loop, exchange->easy);
    return exchange;
}

void kube_exchange_cancel(struct kube_exchange *exchange) {
    if (exchange == NULL)
        return;
    list_remove(&exchange->node);
    if (!exchange->is_finished)
        curl_loop_remove(exchange->transport->loop, exchange->easy);
    free_exchange(exchange);
}

/* The name in the URL is the one that libcurl looks for in the certificate; where it connects to is
 * said beside it. */
static void set_addresses(struct kube_transport *transport) {
    const char *server = kube_config_server(transport->config);
    const char *name = kube_config_tls_name(transport->config);
    CURLU *url = curl_url();
    char *host = NULL, *port = NULL, *text = NULL;
    curl_url_set(url, CURLUPART_URL, server, 0);
    curl_url_get(url, CURLUPART_HOST, &host, 0);
    curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    transport->base_url = memory_strdup(server);
    if (name != NULL && curl_url_set(url, CURLUPART_HOST, name, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_URL, &text, 0) == CURLUE_OK) {
        char *to = memory_printf("%s:%s:%s:%s", name, port, host, port);
        transport->connect_to = curl_slist_append(NULL, to);
        free(to);
        free(transport->base_url);
        size_t length = strlen(text);
        transport->base_url = memory_strndup(text, length - (text[length - 1] == '/'));
    }
    curl_free(text);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
}

int kube_transport_create(struct event_base *loop, struct kube_config *config,
                          struct kube_transport **ret, struct error *err) {
    struct kube_transport *transport = memory_alloc(sizeof *transport);
    static const struct curl_loop_events events = {on_finished, tell_ready};
    transport->loop = curl_loop_create(loop, IDLE_CONNECTIONS_MAX, &events, transport);
    if (transport->loop == NULL) {
        free(transport);
        return error_set(err, ERROR_SYSTEM, "libcurl does not start");
    }
    transport->config = config;
    list_init(&transport->ready);
    set_addresses(transport);
    *ret = transport;
    return 0;
}

void kube_transport_destroy(struct kube_transport *transport) {
    if (transport == NULL)
        return;
    assert(transport->exchanges == 0 && !transport->is_telling);
    curl_loop_destroy(transport->loop);
    curl_slist_free_all(transport->connect_to);
    free(transport->base_url);
    free(transport);
}
