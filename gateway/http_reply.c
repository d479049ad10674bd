#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "gateway/http_internal.h"
#include "gateway/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOG_AREA "gateway/http"

enum { HEADERS_MAX = 16 << 10, PHRASE_MAX = 200, COPY_MAX = 4096, LOG_LINES_MAX = 200 };

static const struct {
    int status;
    const char *phrase;
} phrases[] = {
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {413, "Request Entity Too Large"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_status_phrase(int status) {
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Unknown";
}

/* The answer's head. */

static struct evbuffer *new_evbuffer(void) {
    struct evbuffer *buffer = evbuffer_new();
    if (buffer == NULL)
        abort(); /* out of memory */
    return buffer;
}

/* Values come from clients too (Location, a kernel's name): nothing of them may start a new
 * line. */
static void add_clean(struct evbuffer *out, const char *text, size_t max) {
    char part[256];
    size_t length = strnlen(text, max);
    for (size_t at = 0; at < length;) {
        size_t step = length - at < sizeof part ? length - at : sizeof part;
        for (size_t i = 0; i < step; i++) {
            char c = text[at + i];
            part[i] = (unsigned char)c < ' ' || c == 0x7f ? ' ' : c;
        }
        evbuffer_add(out, part, step);
        at += step;
    }
}

static void add_header(struct evbuffer *out, const char *name, const char *value) {
    if (*value == '\0')
        return;
    evbuffer_add_printf(out, "%s: ", name);
    add_clean(out, value, HEADERS_MAX);
    evbuffer_add(out, "\r\n", 2);
}

static void add_date(struct evbuffer *out) {
    time_t now = time(NULL);
    struct tm utc;
    char date[64];
    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
    evbuffer_add(out, date, strlen(date));
}

static void add_cors(struct evbuffer *out, const struct http_settings *settings) {
    add_header(out, "Access-Control-Allow-Origin", settings->allow_origin);
    add_header(out, "Access-Control-Allow-Headers", settings->allow_headers);
    add_header(out, "Access-Control-Allow-Methods", settings->allow_methods);
    add_header(out, "Access-Control-Allow-Credentials", settings->allow_credentials);
    add_header(out, "Access-Control-Expose-Headers", settings->expose_headers);
    add_header(out, "Access-Control-Max-Age", settings->max_age);
}

static void add_common(struct evbuffer *out, const struct http_request *request) {
    evbuffer_add_printf(out, "Server: Elara/%s\r\n", ELARA_VERSION);
    add_date(out);
    evbuffer_add_printf(out, "X-Content-Type-Options: nosniff\r\n");
    if (request->http->tls != NULL && request->http->settings.hsts_ms > 0) /* RFC 6797 */
        evbuffer_add_printf(out, "Strict-Transport-Security: max-age=%lld\r\n",
                            (long long)request->http->settings.hsts_ms / 1000);
    if (!http_is_page(request)) /* nobody else's page may read it */
        add_cors(out, &request->http->settings);
    evbuffer_add(out, request->headers.data, request->headers.length);
}

/* A reason of our own is the status line's phrase too, as far as it is plain text. */
static void add_status_line(struct evbuffer *out, int status, const char *phrase) {
    evbuffer_add_printf(out, "HTTP/1.1 %d ", status);
    for (const char *at = phrase; *at && at - phrase < PHRASE_MAX; at++)
        evbuffer_add(out, *at >= ' ' && *at < 0x7f ? at : "?", 1);
    evbuffer_add(out, "\r\n", 2);
}

void http_reply_header(struct http_request *request, const char *name, const char *value) {
    struct evbuffer *line = new_evbuffer();
    request->headers.limit = HEADERS_MAX;
    add_header(line, name, value);
    buffer_append(&request->headers, evbuffer_pullup(line, -1), evbuffer_get_length(line));
    evbuffer_free(line);
}

/* The access log. */

static char *describe_target(const struct http_request *request) {
    struct buffer text = {.limit = 2048};
    buffer_append_text(&text, http_request_path(request));
    for (size_t i = 0; i < request->target.query_count; i++) {
        const struct http_field *pair = &request->target.query[i];
        bool secret = strcasecmp(pair->name, "token") == 0;
        buffer_printf(&text, "%c%s%s%s", i == 0 ? '?' : '&', pair->name, *pair->value ? "=" : "",
                      secret ? "***" : pair->value);
    }
    char *copy = utf8_repair(buffer_text(&text));
    buffer_free(&text);
    return copy;
}

bool http_may_log(struct http *http) {
    struct http_log_budget *budget = &http->log_budget;
    int64_t second = clock_monotonic_ms() / 1000;
    if (second != budget->second && budget->left_out > 0)
        log_warning("%zu lines about requests are not in this log: it takes %d of them a second",
                    budget->left_out, LOG_LINES_MAX);
    if (second != budget->second)
        *budget = (struct http_log_budget){.second = second};
    if (budget->lines == LOG_LINES_MAX) {
        budget->left_out++;
        return false;
    }
    budget->lines++;
    return true;
}

/* Lists are polled every few seconds by each client: only with --log-level debug. */
static void note_answer(const struct http_request *request, int status) {
    int64_t took_us = clock_monotonic_us() - request->started_us;
    metrics_add_request(request->http->settings.metrics, request->route, status, took_us);
    bool is_poll =
        (status == 200 || status == 304) &&
        (strcmp(request->head.method, "GET") == 0 || strcmp(request->head.method, "HEAD") == 0 ||
         strcmp(request->head.method, "OPTIONS") == 0);
    enum log_level level = is_poll ? LOG_DEBUG : LOG_INFO;
    if (log_get_level() > level || !http_may_log(request->http))
        return;
    cleanup_free char *target = describe_target(request);
    log_write_about(level, LOG_AREA, http_request_param(request, "kernel_id"),
                    "%s %s -> %d in %" PRId64 " ms, from %s%s%s%s", request->head.method, target,
                    status, took_us / 1000, request->address,
                    request->connection ? "" : ", which did not wait", request->refusal ? ": " : "",
                    request->refusal ? request->refusal : "");
}

/* Sending. */

static bool may_have_body(int status) {
    return status >= 200 && status != 204 && status != 304;
}

static void add_head(struct evbuffer *out, const struct http_request *request, int status,
                     const char *phrase, const char *type, size_t length) {
    add_status_line(out, status, phrase ? phrase : http_status_phrase(status));
    add_common(out, request);
    if (type != NULL)
        add_header(out, "Content-Type", type);
    if (may_have_body(status))
        evbuffer_add_printf(out, "Content-Length: %zu\r\n", length);
    if (request->connection->closes)
        evbuffer_add_printf(out, "Connection: close\r\n");
    else if (request->head.is_http_1_0)
        evbuffer_add_printf(out, "Connection: keep-alive\r\n");
    evbuffer_add(out, "\r\n", 2);
}

/* body: what follows the head, or for HEAD what would have. Takes body. */
static void send_answer(struct http_request *request, int status, const char *phrase,
                        const char *type, struct evbuffer *body) {
    struct http_connection *connection = request->connection;
    note_answer(request, status);
    if (connection != NULL) {
        struct evbuffer *out =
            new_evbuffer(); /* to the connection in one piece: TLS writes at once */
        if (!connection->body_done || request->http->stopping)
            connection->closes = true;
        add_head(out, request, status, phrase, type, body ? evbuffer_get_length(body) : 0);
        if (body && may_have_body(status) && strcmp(request->head.method, "HEAD") != 0)
            evbuffer_add_buffer(out, body);
        http_connection_answered(connection);
        bufferevent_write_buffer(connection->io, out);
        evbuffer_free(out);
    }
    if (body != NULL)
        evbuffer_free(body);
    http_request_free(request);
}

static void free_reference(const void *data, size_t length, void *memory) {
    (void)data, (void)length;
    free(memory);
}

/* Takes text. */
static struct evbuffer *body_of(char *text, size_t length) {
    struct evbuffer *body = new_evbuffer();
    if (length > COPY_MAX) {
        evbuffer_add_reference(body, text, length, free_reference, text);
    } else {
        evbuffer_add(body, text, length);
        free(text);
    }
    return body;
}

/* FNV-1a: enough to tell two states of one resource apart. */
static void make_etag(const char *text, size_t length, char etag[24]) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    snprintf(etag, 24, "\"%016" PRIx64 "\"", hash);
}

bool http_etag_matches(const struct http_request *request, const char *etag) {
    const char *list = http_head_field(&request->head, "If-None-Match");
    if (list == NULL)
        return false;
    if (strcmp(list, "*") == 0 || http_head_lists(&request->head, "If-None-Match", etag, true))
        return true;
    cleanup_free char *weak = memory_printf("W/%s", etag);
    return http_head_lists(&request->head, "If-None-Match", weak, true);
}

static bool is_read(const struct http_request *request) {
    return strcmp(request->head.method, "GET") == 0 || strcmp(request->head.method, "HEAD") == 0;
}

static const char json_content_type[] = "application/json; charset=UTF-8";

void http_reply_json(struct http_request *request, int status, json_t *body) {
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(body);
    if (text == NULL) {
        http_reply_error(request, 500, NULL, "the answer cannot be written as JSON");
        return;
    }
    size_t length = strlen(text);
    if (status == 200 && is_read(request)) {
        char etag[24];
        make_etag(text, length, etag);
        http_reply_header(request, "Etag", etag);
        if (http_etag_matches(request, etag)) {
            free(text);
            send_answer(request, 304, NULL, NULL, NULL);
            return;
        }
    }
    send_answer(request, status, NULL, json_content_type, body_of(text, length));
}

void http_reply_empty(struct http_request *request, int status) {
    send_answer(request, status, NULL, may_have_body(status) ? json_content_type : NULL, NULL);
}

void http_reply_bytes(struct http_request *request, int status, const char *content_type,
                      const void *data, size_t length) {
    struct evbuffer *body = new_evbuffer();
    evbuffer_add(body, data, length);
    send_answer(request, status, NULL, content_type, body);
}

void http_reply_memory(struct http_request *request, int status, const char *content_type,
                       void *data, size_t length) {
    send_answer(request, status, NULL, content_type, body_of(data, length));
}

void http_reply_error(struct http_request *request, int status, const char *reason,
                      const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *message = NULL;
    if (vasprintf(&message, format, args) < 0)
        abort();
    va_end(args);
    cleanup_free char *clean_message = utf8_repair(message);
    cleanup_free char *clean_reason = utf8_repair(reason ? reason : http_status_phrase(status));
    free(message);
    if (http_is_page(request)) {
        http_page_reply_error(request, status, clean_reason, clean_message);
        return;
    }
    cleanup_json json_t *body =
        json_pack("{s:s, s:s}", "reason", clean_reason, "message", clean_message);
    char *text = body ? json_dumps(body, JSON_COMPACT) : memory_strdup("{}");
    send_answer(request, status, clean_reason, json_content_type, body_of(text, strlen(text)));
}

int http_status_of(enum error_code code) {
    switch (code) {
    case ERROR_INVALID:
        return 400;
    case ERROR_DENIED:
    case ERROR_LIMIT:
        return 403;
    case ERROR_NOT_FOUND:
        return 404;
    case ERROR_EXISTS:
    case ERROR_CHANGED:
        return 409;
    case ERROR_BUSY:
        return 429;
    case ERROR_UNAVAILABLE:
        return 503;
    case ERROR_TIMEOUT:
        return 504;
    case ERROR_UNSUPPORTED:
        return 501;
    case ERROR_NONE:
    case ERROR_SYSTEM:
        break;
    }
    return 500;
}

/* Disk, descriptors or memory: there may be some in a moment. */
static bool is_shortage(int errnum) {
    return errnum == ENOSPC || errnum == EDQUOT || errnum == EMFILE || errnum == ENFILE ||
           errnum == ENOMEM;
}

void http_reply_failure(struct http_request *request, const struct error *err) {
    bool lacks = err->code == ERROR_SYSTEM && is_shortage(err->errnum);
    int status = lacks ? 503 : http_status_of(err->code);
    if (status == 503 || status == 429)
        http_reply_header(request, "Retry-After", "1");
    http_reply_error(request, status, err->cause, "%s", err->text);
}

struct bufferevent *http_request_take(struct http_request *request, struct http_seat **seat) {
    struct http_connection *connection = request->connection;
    struct bufferevent *io = NULL;
    note_answer(request, 101);
    if (connection != NULL) {
        io = connection->io;
        connection->io = NULL;
        *seat = connection->seat;
        connection->seat = NULL;
        connection->request = NULL;
        http_connection_free(connection);
        bufferevent_setcb(io, NULL, NULL, NULL, NULL);
        bufferevent_disable(io, EV_READ | EV_WRITE);
        struct evbuffer *out = new_evbuffer();
        add_status_line(out, 101, http_status_phrase(101));
        add_common(out, request);
        evbuffer_add(out, "\r\n", 2);
        bufferevent_write_buffer(io, out);
        evbuffer_free(out);
    }
    http_request_free(request);
    return io;
}
