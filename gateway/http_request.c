#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "gateway/http_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* An address that a proxy names is believed only when it is one: it goes into logs. */
static bool take_address(const char *text, size_t length, char address[HTTP_ADDRESS_SIZE]) {
    char copy[HTTP_ADDRESS_SIZE];
    struct in6_addr raw;
    if (length >= sizeof copy)
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (inet_pton(AF_INET, copy, &raw) != 1 && inet_pton(AF_INET6, copy, &raw) != 1)
        return false;
    strcpy(address, copy);
    return true;
}

void http_request_trust_proxy(struct http_request *request) {
    const char *real = http_head_field(&request->head, "X-Real-Ip");
    const char *via = http_head_field(&request->head, "X-Forwarded-For");
    if (real != NULL && take_address(real, strlen(real), request->address))
        return;
    if (via == NULL)
        return;
    const char *last = strrchr(via, ','); /* the one that our own proxy added */
    last = last ? last + 1 : via;
    last += strspn(last, " \t");
    take_address(last, strlen(last), request->address);
}

static void run_gone(void *context) {
    http_request_tell_gone(context);
}

static void run_admission(void *context) {
    const struct http_request *request = context;
    loop_post(request->http->loop, &request->connection->task);
}

struct http_request *http_request_create(struct http_connection *connection) {
    struct http_request *request = memory_alloc(sizeof *request);
    request->http = connection->http;
    request->connection = connection;
    request->head.method = request->head.target = "-";
    request->head.host = "";
    request->body = evbuffer_new();
    request->started_us = clock_monotonic_us();
    request->gone_task = (struct loop_task){.run = run_gone, .context = request};
    request->waiter = (struct auth_waiter){.run = run_admission, .context = request};
    strcpy(request->address, connection->address);
    if (request->body == NULL)
        abort();
    return request;
}

void http_request_free(struct http_request *request) {
    loop_cancel(&request->gone_task);
    list_remove(&request->waiter.node);
    http_seat_free(request->seat);
    for (size_t i = 0; i < request->param_count; i++)
        free(request->params[i].value);
    evbuffer_free(request->body);
    json_decref(request->json);
    http_target_free(&request->target);
    buffer_free(&request->headers);
    free(request->text);
    free(request);
}

void http_request_tell_gone(struct http_request *request) {
    void (*gone)(void *context) = request->gone;
    request->gone = NULL;
    if (gone != NULL)
        gone(request->gone_context);
}

void http_request_on_gone(struct http_request *request, void (*gone)(void *context),
                          void *context) {
    request->gone = gone;
    request->gone_context = context;
    if (request->connection == NULL && gone != NULL)
        loop_post(request->http->loop, &request->gone_task);
}

void http_request_repeat(struct http_request *request) {
    request->route->handler(request, request->route_context);
}

const char *http_request_method(const struct http_request *request) {
    return request->head.method;
}

const char *http_request_path(const struct http_request *request) {
    return request->target.path ? request->target.path : "-";
}

const char *http_request_param(const struct http_request *request, const char *name) {
    for (size_t i = 0; i < request->param_count; i++)
        if (text_equal_n(request->params[i].name, request->params[i].name_length, name))
            return request->params[i].value;
    return NULL;
}

const char *http_request_query(const struct http_request *request, const char *name) {
    for (size_t i = 0; i < request->target.query_count; i++)
        if (strcmp(request->target.query[i].name, name) == 0)
            return request->target.query[i].value;
    return NULL;
}

const char *http_request_header(const struct http_request *request, const char *name) {
    return http_head_field(&request->head, name);
}

bool http_request_header_lists(const struct http_request *request, const char *name,
                               const char *token, bool exact) {
    return http_head_lists(&request->head, name, token, exact);
}

const struct auth_identity *http_request_identity(const struct http_request *request) {
    return request->identity;
}

const char *http_base_url(const struct http_request *request) {
    return request->http->settings.base_url;
}

bool http_request_is_gateway_client(const struct http_request *request) {
    const char *agent = http_head_field(&request->head, "User-Agent");
    return agent != NULL && text_starts_with(agent, "Tornado/");
}

/* Where a text holds a NUL, which would cut it short everywhere: "env: KERNEL_NAME". The parser
 * bounds the depth. */
static bool find_nul(const json_t *value, struct buffer *where) {
    size_t length = where->length, i;
    const char *key;
    json_t *member;
    if (json_is_string(value))
        return strlen(json_string_value(value)) < json_string_length(value);
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
        buffer_printf(where, "%s%s", length > 0 ? ": " : "", key);
        if (find_nul(member, where))
            return true;
        where->length = length;
    }
    json_array_foreach(value, i, member) {
        buffer_printf(where, "%s%zu", length > 0 ? ": " : "", i);
        if (find_nul(member, where))
            return true;
        where->length = length;
    }
    return false;
}

static int check_nul(const json_t *json, struct error *err) {
    cleanup_buffer struct buffer where = {.limit = 4096};
    if (!find_nul(json, &where))
        return 0;
    return error_set(err, ERROR_INVALID, "%.400s: must not hold a NUL character (\\u0000)",
                     where.length > 0 ? buffer_text(&where) : "the body");
}

int http_request_json(struct http_request *request, json_t **ret, struct error *err) {
    *ret = request->json;
    if (request->json_is_read)
        return 0;
    size_t length = evbuffer_get_length(request->body);
    const char *text = (const char *)evbuffer_pullup(request->body, -1);
    while (length > 0 && memchr(" \t\r\n", *text, 4)) {
        text++;
        length--;
    }
    if (length == 0)
        return 0;
    static const char complaint[] = "Invalid JSON in body of request";
    if (!utf8_is_valid(text, length))
        return error_set(err, ERROR_INVALID, "%s: it is not UTF-8", complaint);
    json_error_t why;
    cleanup_json json_t *json = json_loadb(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (json == NULL)
        return error_set(err, ERROR_INVALID, "%s: line %d, column %d: %s", complaint, why.line,
                         why.column,
                         json_error_code(&why) == json_error_null_byte_in_key
                             ? "a member's name must not hold a NUL character (\\u0000)"
                             : why.text);
    if (check_nul(json, err) < 0)
        return -1;
    request->json = steal(&json);
    request->json_is_read = true;
    *ret = request->json;
    return 0;
}
