#include "kube_script.h"

void kube_on_done(void *context, int status, json_t *answer, const struct error *err) {
    struct kube_result *result = context;
    assert_false(result->is_done);
    result->is_done = true;
    result->status = status;
    result->answer = json_incref(answer);
    result->code = err != NULL ? err->code : ERROR_NONE;
    snprintf(result->text, sizeof result->text, "%s", err != NULL ? err->text : "");
}

void kube_clear(struct kube_result *result) {
    json_decref(result->answer);
    *result = (struct kube_result){0};
}

void kube_call_and_wait(struct kube_fixture *fixture, struct kube_result *result,
                        const struct kube_call *given) {
    kube_clear(result);
    kube_client_call(fixture->client, given, kube_on_done, result);
    assert_false(result->is_done); /* never from inside */
    kube_run_until(fixture->loop, &result->is_done);
}

void kube_get(struct kube_fixture *fixture, struct kube_result *result, int64_t deadline_ms) {
    kube_call_and_wait(
        fixture, result,
        &(struct kube_call){.method = "GET", .path = "/x?q=1", .deadline_ms = deadline_ms});
}

void kube_post(struct kube_fixture *fixture, struct kube_result *result, bool may_repeat) {
    json_t *body = json_pack("{s:s}", "kind", "Pod");
    kube_call_and_wait(fixture, result,
                       &(struct kube_call){.method = "POST",
                                           .path = "/pods",
                                           .body = body,
                                           .may_repeat = may_repeat,
                                           .deadline_ms = 20000});
    json_decref(body);
}

void kube_tell_back(struct kube_connection *connection, const struct kube_incoming *request) {
    kube_answer_json(connection, 200,
                     json_pack("{s:s, s:s, s:s}", "method", request->method, "path", request->path,
                               "body", request->body));
}

void kube_refuse(struct kube_connection *connection, int status, const char *reason) {
    kube_answer_status(connection, status, reason, "the server's own sentence");
}

static void act(enum kube_action action, struct kube_connection *connection,
                const struct kube_incoming *request) {
    static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":";
    static const char chunk[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n";
    switch (action) {
    case ANSWER:
        kube_tell_back(connection, request);
        break;
    case BREAK:
        kube_close(connection);
        break;
    case RESET:
        kube_abort(connection);
        break;
    case TRUNCATE:
        kube_write(connection, half, sizeof half - 1);
        kube_close(connection);
        break;
    case CHUNKED_TRUNCATE:
        kube_write(connection, chunk, sizeof chunk - 1);
        kube_close(connection);
        break;
    case GARBAGE:
        kube_answer(connection, 200, "Content-Type: text/html\r\n", "<html>log in\n</html>");
        break;
    case EMPTY:
        kube_answer(connection, 200, "", "");
        break;
    case ENORMOUS: {
        char *spaces = memory_alloc(200001);
        memset(spaces, ' ', 200000);
        kube_answer(connection, 200, "", spaces);
        free(spaces);
        break;
    }
    case REDIRECT:
        kube_answer(connection, 302, "Location: http://127.0.0.1:1/evil\r\n", "");
        break;
    case SILENCE:
        break;
    case TOO_MANY:
        kube_answer(connection, 429, "Retry-After: 1\r\n", "{\"message\":\"too many\"}");
        break;
    case TOO_MANY_AT_ONCE:
        kube_refuse(connection, 429, "TooManyRequests");
        break;
    case UNAVAILABLE:
        kube_refuse(connection, 503, "ServiceUnavailable");
        break;
    case INTERNAL:
        kube_refuse(connection, 500, "InternalError");
        break;
    case GATEWAY:
        kube_answer(connection, 502, "Content-Type: text/html\r\n", "<h1>Bad\x01gateway</h1>");
        break;
    case CONFLICT:
        kube_refuse(connection, 409, "Conflict");
        break;
    case EXISTS:
        kube_refuse(connection, 409, "AlreadyExists");
        break;
    case UNAUTHORIZED:
        kube_refuse(connection, 401, "Unauthorized");
        break;
    }
}

void kube_script_handle(void *context, struct kube_connection *connection,
                        const struct kube_incoming *request) {
    struct kube_script *script = context;
    size_t at = script->at < script->count ? script->at++ : script->count - 1;
    snprintf(script->last_head, sizeof script->last_head, "%s", request->head);
    act(script->actions[at], connection, request);
}
