/* Calls to an API server that does all that servers and what stands before them do. */
#include "base/clock.h"
#include "launcher/base64.h"

#include "kube_fixture.h"

#include <unistd.h>

/* What a call came to. */
struct result {
    bool is_done;
    int status;
    json_t *answer;
    enum error_code code;
    char text[1024];
};

static void on_done(void *context, int status, json_t *answer, const struct error *err) {
    struct result *result = context;
    assert_false(result->is_done);
    result->is_done = true;
    result->status = status;
    result->answer = json_incref(answer);
    result->code = err != NULL ? err->code : ERROR_NONE;
    snprintf(result->text, sizeof result->text, "%s", err != NULL ? err->text : "");
}

static void clear(struct result *result) {
    json_decref(result->answer);
    *result = (struct result){0};
}

static void call(struct kube_fixture *fixture, struct result *result,
                 const struct kube_call *given) {
    clear(result);
    kube_client_call(fixture->client, given, on_done, result);
    assert_false(result->is_done); /* never from inside */
    kube_run_until(fixture->loop, &result->is_done);
}

static void get(struct kube_fixture *fixture, struct result *result, int64_t deadline_ms) {
    call(fixture, result,
         &(struct kube_call){.method = "GET", .path = "/x?q=1", .deadline_ms = deadline_ms});
}

static void post(struct kube_fixture *fixture, struct result *result, bool may_repeat) {
    json_t *body = json_pack("{s:s}", "kind", "Pod");
    call(fixture, result,
         &(struct kube_call){.method = "POST",
                             .path = "/pods",
                             .body = body,
                             .may_repeat = may_repeat,
                             .deadline_ms = 20000});
    json_decref(body);
}

#define assert_text(result, words)                                                                 \
    do {                                                                                           \
        if (strstr((result)->text, words) == NULL)                                                 \
            fail_msg("\"%s\" is not in: %s", words, (result)->text);                               \
    } while (0)

/* Handlers. A script: one action a request, the last one again and again. */

enum action {
    ANSWER, /* 200 with the request's method and body */
    BREAK,  /* close without a word */
    RESET,
    TRUNCATE, /* half an answer */
    CHUNKED_TRUNCATE,
    GARBAGE, /* 200 without JSON */
    EMPTY,
    ENORMOUS,
    REDIRECT,
    SILENCE,
    TOO_MANY,         /* 429 with Retry-After: 1 */
    TOO_MANY_AT_ONCE, /* without */
    UNAVAILABLE,
    INTERNAL,
    GATEWAY, /* 502 of a proxy, in HTML */
    CONFLICT,
    EXISTS,
    UNAUTHORIZED,
};

struct script {
    const enum action *actions;
    size_t count, at;
    char last_head[4096];
};

static void tell_back(struct kube_connection *connection, const struct kube_incoming *request) {
    kube_answer_json(connection, 200,
                     json_pack("{s:s, s:s, s:s}", "method", request->method, "path", request->path,
                               "body", request->body));
}

static void answer_with(struct kube_connection *connection, int status, const char *reason) {
    kube_answer_status(connection, status, reason, "the server's own sentence");
}

static void act(enum action action, struct kube_connection *connection,
                const struct kube_incoming *request) {
    static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":";
    static const char chunk[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n";
    switch (action) {
    case ANSWER:
        tell_back(connection, request);
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
        answer_with(connection, 429, "TooManyRequests");
        break;
    case UNAVAILABLE:
        answer_with(connection, 503, "ServiceUnavailable");
        break;
    case INTERNAL:
        answer_with(connection, 500, "InternalError");
        break;
    case GATEWAY:
        kube_answer(connection, 502, "Content-Type: text/html\r\n", "<h1>Bad\x01gateway</h1>");
        break;
    case CONFLICT:
        answer_with(connection, 409, "Conflict");
        break;
    case EXISTS:
        answer_with(connection, 409, "AlreadyExists");
        break;
    case UNAUTHORIZED:
        answer_with(connection, 401, "Unauthorized");
        break;
    }
}

static void on_scripted(void *context, struct kube_connection *connection,
                        const struct kube_incoming *request) {
    struct script *script = context;
    size_t at = script->at < script->count ? script->at++ : script->count - 1;
    snprintf(script->last_head, sizeof script->last_head, "%s", request->head);
    act(script->actions[at], connection, request);
}

#define SCRIPT(...)                                                                                \
    {                                                                                              \
        .actions = (const enum action[]){__VA_ARGS__},                                             \
        .count = sizeof((const enum action[]){__VA_ARGS__}) / sizeof(enum action)                  \
    }

static void carries_trees(void **state) {
    (void)state;
    struct script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    struct result result = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    json_t *body = json_pack("{s:s}", "name", "ü");
    call(&fixture, &result,
         &(struct kube_call){.method = "PATCH",
                             .path = "/api/v1/pods/a",
                             .body = body,
                             .content_type = "application/merge-patch+json"});
    assert_int_equal(result.status, 200);
    assert_int_equal(result.code, ERROR_NONE);
    assert_string_equal(json_string_value(json_object_get(result.answer, "method")), "PATCH");
    assert_string_equal(json_string_value(json_object_get(result.answer, "body")),
                        "{\"name\":\"ü\"}");
    assert_non_null(strstr(script.last_head, "Content-Type: application/merge-patch+json\r\n"));
    assert_null(strstr(script.last_head, "Authorization"));
    json_decref(body);
    get(&fixture, &result, 0);
    assert_string_equal(json_string_value(json_object_get(result.answer, "path")), "/x?q=1");
    assert_int_equal(kube_server_accepted(fixture.server), 1); /* the connection is kept */
    clear(&result);
    kube_fixture_end(&fixture);
}

/* Every byte a piece of its own. */
static struct kube_connection *slow_connection;
static const char *slow_rest;

static void on_slow_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct event *timer = *(struct event **)context;
    if (*slow_rest == '\0')
        return;
    kube_write(slow_connection, slow_rest++, 1);
    event_active(timer, EV_TIMEOUT, 1);
}

static void on_slow(void *context, struct kube_connection *connection,
                    const struct kube_incoming *request) {
    (void)request;
    struct event *timer = *(struct event **)context;
    slow_connection = connection;
    slow_rest = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\n{\"a\r\n4\r\n\":\"\xc3\r\n4\r\n\xbc\"}\n\r\n0\r\n\r\n";
    event_active(timer, EV_TIMEOUT, 1);
}

static void takes_an_answer_byte_by_byte(void **state) {
    (void)state;
    struct kube_fixture fixture = {0};
    struct result result = {0};
    struct event *timer = NULL;
    kube_fixture_begin(&fixture, on_slow, &timer);
    timer = event_new(fixture.loop, -1, 0, on_slow_timer, &timer);
    get(&fixture, &result, 0);
    assert_string_equal(json_string_value(json_object_get(result.answer, "a")), "ü");
    clear(&result);
    event_free(timer);
    kube_fixture_end(&fixture);
}

struct fault {
    enum action action;
    int status;
    enum error_code code;
    const char *words; /* %s: the server's URL */
    unsigned requests; /* of a GET */
};

static void explains_what_is_wrong_with_an_answer(void **state) {
    (void)state;
    static const struct fault faults[] = {
        {BREAK, 0, ERROR_UNAVAILABLE,
         "the connection to the Kubernetes API server %s broke at GET /x: ", 5},
        {RESET, 0, ERROR_UNAVAILABLE,
         "the connection to the Kubernetes API server %s broke at GET /x: ", 5},
        {TRUNCATE, 0, ERROR_UNAVAILABLE,
         "the connection to the Kubernetes API server %s broke at GET /x: ", 5},
        {CHUNKED_TRUNCATE, 0, ERROR_UNAVAILABLE,
         "the connection to the Kubernetes API server %s broke at GET /x: ", 5},
        {GARBAGE, 200, ERROR_UNAVAILABLE,
         "the Kubernetes API server %s, or what stands before it, answers GET /x with what is no "
         "JSON: <html>log in </html>",
         5},
        {EMPTY, 200, ERROR_UNAVAILABLE, "with what is no JSON: nothing", 5},
        {ENORMOUS, 0, ERROR_LIMIT,
         "the Kubernetes API server %s answers GET /x with more than 100000 bytes", 1},
        {REDIRECT, 302, ERROR_INVALID,
         "the Kubernetes API server %s answers GET /x with a redirect (302), which is not followed",
         1},
        {GATEWAY, 502, ERROR_UNAVAILABLE,
         "%s, or what stands before it, answers GET /x with 502: <h1>Bad gateway", 5},
        {INTERNAL, 500, ERROR_UNAVAILABLE, "the server's own sentence", 5},
        {CONFLICT, 409, ERROR_UNAVAILABLE, "the server's own sentence", 1},
        {EXISTS, 409, ERROR_EXISTS, "the server's own sentence", 1},
        {UNAUTHORIZED, 401, ERROR_DENIED,
         "the Kubernetes API server %s does not accept context \"test\" of ", 1},
    };
    struct script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {.limits = {.answer_max = 100000}};
    struct result result = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        const struct fault *fault = &faults[i];
        const char *at = strstr(fault->words, "%s");
        char words[512];
        snprintf(words, sizeof words, "%.*s%s%s", at != NULL ? (int)(at - fault->words) : 0,
                 fault->words, at != NULL ? fixture.url : "", at != NULL ? at + 2 : fault->words);
        script = (struct script){.actions = &fault->action, .count = 1};
        fixture.requests = 0;
        get(&fixture, &result, 20000);
        assert_text(&result, words);
        assert_int_equal(result.code, fault->code);
        assert_int_equal(result.status, fault->status);
        if (fixture.requests != fault->requests)
            fail_msg("%s: %u requests, not %u", result.text, fixture.requests, fault->requests);
    }
    clear(&result);
    kube_fixture_end(&fixture);
}

static void tries_again_what_may_be_repeated(void **state) {
    (void)state;
    struct script script = SCRIPT(BREAK, RESET, TRUNCATE, INTERNAL, ANSWER);
    struct kube_fixture fixture = {0};
    struct result result = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    get(&fixture, &result, 20000);
    assert_int_equal(result.status, 200);
    script.at = 0;
    post(&fixture, &result, true);
    assert_int_equal(result.status, 200);
    assert_string_equal(json_string_value(json_object_get(result.answer, "body")),
                        "{\"kind\":\"Pod\"}"); /* the whole body again */
    struct kube_counts counts;
    kube_client_count(fixture.client, &counts);
    assert_int_equal(fixture.requests, 10);
    assert_true(counts.repeated >= 7); /* libcurl repeats the one on a kept connection itself */
    assert_int_equal(counts.active + counts.queued + counts.waiting, 0);
    clear(&result);
    kube_fixture_end(&fixture);
}

/* libcurl by itself sends a request again when a kept connection is closed: not this one. */
static void repeats_no_post_on_its_own(void **state) {
    (void)state;
    static const enum action broken[] = {BREAK, RESET, TRUNCATE, INTERNAL, GATEWAY};
    struct script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    struct result result = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        script = (struct script)SCRIPT(ANSWER);
        get(&fixture, &result, 20000); /* a connection to be kept */
        assert_int_equal(result.status, 200);
        script = (struct script){.actions = &broken[i], .count = 1};
        fixture.requests = 0;
        post(&fixture, &result, false);
        assert_int_equal(result.code, ERROR_UNAVAILABLE);
        assert_int_equal(fixture.requests, 1);
    }
    clear(&result);
    kube_fixture_end(&fixture);
}

static void tries_all_again_that_was_not_carried_out(void **state) {
    (void)state;
    struct script script = SCRIPT(UNAVAILABLE, TOO_MANY_AT_ONCE, CONFLICT, UNAVAILABLE, CONFLICT,
                                  TOO_MANY_AT_ONCE, UNAVAILABLE, ANSWER);
    struct kube_fixture fixture = {0};
    struct result result = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    post(&fixture, &result, false);
    assert_int_equal(result.status, 200);
    assert_int_equal(fixture.requests, 8);
    clear(&result);
    kube_fixture_end(&fixture);
}

static void waits_as_long_as_the_server_asks(void **state) {
    (void)state;
    struct script script = SCRIPT(TOO_MANY, ANSWER);
    struct kube_fixture fixture = {0};
    struct result first = {0}, second = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    int64_t begun_ms = clock_monotonic_ms();
    struct kube_call call_of = {.method = "GET", .path = "/a"};
    kube_client_call(fixture.client, &call_of, on_done, &first);
    kube_run_until_count(fixture.loop, &fixture.requests, 1);
    kube_run_for(fixture.loop, 100);
    kube_client_call(fixture.client, &call_of, on_done, &second); /* has to wait, too */
    kube_run_until(fixture.loop, &first.is_done);
    kube_run_until(fixture.loop, &second.is_done);
    assert_true(clock_monotonic_ms() - begun_ms >= 1000);
    assert_int_equal(first.status, 200);
    assert_int_equal(second.status, 200);
    assert_int_equal(fixture.requests, 3);
    script = (struct script)SCRIPT(TOO_MANY);
    get(&fixture, &first, 500); /* it will not be in time: told at once */
    assert_int_equal(first.status, 429);
    assert_string_equal(first.text, "too many");
    assert_int_equal(first.code, ERROR_UNAVAILABLE);
    clear(&first);
    clear(&second);
    kube_fixture_end(&fixture);
}

static void ends_at_the_deadline(void **state) {
    (void)state;
    struct script script = SCRIPT(SILENCE);
    struct kube_fixture fixture = {.limits = {.connections_max = 1}};
    struct result result = {0}, queued = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    kube_client_call(fixture.client,
                     &(struct kube_call){.method = "GET", .path = "/a", .deadline_ms = 400},
                     on_done, &result);
    kube_client_call(fixture.client,
                     &(struct kube_call){.method = "GET", .path = "/b", .deadline_ms = 200},
                     on_done, &queued);
    kube_run_until(fixture.loop, &queued.is_done);
    assert_int_equal(queued.code, ERROR_TIMEOUT);
    assert_text(&queued, "1 calls to the Kubernetes API server http://127.0.0.1:");
    kube_run_until(fixture.loop, &result.is_done);
    assert_int_equal(result.code, ERROR_TIMEOUT);
    assert_text(&result, "has not answered GET /a within 0.4 s");
    assert_int_equal(fixture.requests, 1);
    kube_fixture_end(&fixture);
}

static void says_that_nobody_is_there(void **state) {
    (void)state;
    struct script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    struct result result = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    int port = kube_server_port(fixture.server);
    kube_server_stop(fixture.server);
    fixture.server = NULL;
    get(&fixture, &result, 300);
    assert_int_equal(result.code, ERROR_UNAVAILABLE);
    assert_text(&result, "cannot be reached: Connection refused");
    assert_text(&result, fixture.url);
    struct kube_counts counts;
    kube_client_count(fixture.client, &counts);
    assert_true(counts.repeated > 0);
    clear(&result);
    struct kube_call call_of = {.method = "POST", .path = "/a", .body = json_object()};
    kube_client_call(fixture.client, &call_of, on_done, &result);
    kube_run_for(fixture.loop, 50); /* it is refused for a while, then the server is back */
    assert_false(result.is_done);
    fixture.server = kube_server_start(fixture.loop, port, NULL, kube_fixture_handle, &fixture);
    kube_run_until(fixture.loop, &result.is_done);
    assert_int_equal(result.status, 200);
    json_decref((json_t *)(uintptr_t)call_of.body);
    clear(&result);
    kube_fixture_end(&fixture);
}

static void says_that_a_name_does_not_resolve(void **state) {
    (void)state;
    struct kube_fixture fixture = {.loop = event_base_new()};
    struct result result = {0};
    fixture.config =
        kube_fixture_config("https://no-such-host.invalid:6443", "    proxy-url: \"\"\n", NULL);
    fixture.limits.pause_ms = 2;
    kube_fixture_client(&fixture);
    call(&fixture, &result,
         &(struct kube_call){.method = "GET", .path = "/x", .once = true, .deadline_ms = 25000});
    assert_int_equal(result.code, ERROR_UNAVAILABLE);
    assert_text(&result, "https://no-such-host.invalid:6443 cannot be reached: its name does not "
                         "resolve (DNS)");
    kube_fixture_end(&fixture);
}

static void refuses_more_than_its_queue_holds(void **state) {
    (void)state;
    struct script script = SCRIPT(SILENCE);
    struct kube_fixture fixture = {.limits = {.connections_max = 2, .queue_max = 3}};
    struct result results[6] = {{0}};
    kube_fixture_begin(&fixture, on_scripted, &script);
    for (int i = 0; i < 6; i++)
        kube_client_call(fixture.client, &(struct kube_call){.method = "GET", .path = "/x"},
                         on_done, &results[i]);
    struct kube_counts counts;
    kube_client_count(fixture.client, &counts);
    assert_int_equal(counts.active, 2);
    assert_int_equal(counts.queued, 3);
    kube_run_until(fixture.loop, &results[5].is_done);
    assert_int_equal(results[5].code, ERROR_LIMIT);
    assert_text(&results[5], "3 calls wait for the Kubernetes API server");
    assert_false(results[4].is_done);
    kube_fixture_end(&fixture); /* drops the others without a word */
    assert_false(results[0].is_done);
}

static void cancels_wherever_a_call_is(void **state) {
    (void)state;
    struct script script = SCRIPT(SILENCE);
    struct kube_fixture fixture = {.limits = {.connections_max = 1, .queue_max = 1}};
    struct result result = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    struct kube_call call_of = {.method = "GET", .path = "/x"};
    struct kube_request *active = kube_client_call(fixture.client, &call_of, on_done, &result);
    struct kube_request *queued = kube_client_call(fixture.client, &call_of, on_done, &result);
    struct kube_request *refused = kube_client_call(fixture.client, &call_of, on_done, &result);
    kube_request_cancel(refused);
    kube_run_until_count(fixture.loop, &fixture.requests, 1);
    kube_request_cancel(active); /* the next one begins */
    kube_run_until_count(fixture.loop, &fixture.requests, 2);
    kube_request_cancel(queued);
    kube_request_cancel(NULL);
    script = (struct script)SCRIPT(UNAVAILABLE);
    struct kube_request *paused = kube_client_call(fixture.client, &call_of, on_done, &result);
    struct kube_counts counts = {0};
    while (counts.waiting == 0) {
        event_base_loop(fixture.loop, EVLOOP_ONCE);
        kube_client_count(fixture.client, &counts);
    }
    kube_request_cancel(paused);
    kube_client_count(fixture.client, &counts);
    assert_int_equal(counts.active + counts.queued + counts.waiting, 0);
    kube_run_for(fixture.loop, 20);
    assert_false(result.is_done);
    kube_fixture_end(&fixture);
}

/* Rights */

static void on_forbidden(void *context, struct kube_connection *connection,
                         const struct kube_incoming *request) {
    (void)request;
    kube_answer_status(connection, 403, "Forbidden", *(const char **)context);
}

static void names_the_right_that_is_missing(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {"pods is forbidden: User \"system:serviceaccount:elara:gw\" cannot create resource "
         "\"pods\" "
         "in API group \"\" in the namespace \"kernels\"",
         "system:serviceaccount:elara:gw may not create pods in namespace \"kernels\" at the "
         "Kubernetes API server "},
        {"pods is forbidden: User \"system:serviceaccount:elara:gw\" cannot create resource "
         "\"pods\" "
         "in API group \"\" in the namespace \"kernels\"",
         ": a Role in that namespace has to grant it (apiGroups: [\"\"], resources: [\"pods\"], "
         "verbs: [\"create\"]), bound to it by a RoleBinding"},
        {"rolebindings.rbac.authorization.k8s.io is forbidden: User \"u\" cannot list resource "
         "\"rolebindings\" in API group \"rbac.authorization.k8s.io\" at the cluster scope",
         "u may not list rolebindings in the whole cluster at the Kubernetes API server "},
        {"namespaces is forbidden: User \"u\" cannot create resource \"namespaces\" in API group "
         "\"\" at the cluster scope",
         "a ClusterRole has to grant it (apiGroups: [\"\"], resources: [\"namespaces\"], verbs: "
         "[\"create\"]), bound to it by a ClusterRoleBinding"},
        {"pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
         "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": privileged"},
        {"forbidden: User \"u\" cannot get path \"/metrics\"",
         "forbidden: User \"u\" cannot get path \"/metrics\""},
    };
    const char *text = NULL;
    struct kube_fixture fixture = {0};
    struct result result = {0};
    kube_fixture_begin(&fixture, on_forbidden, &text);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        text = texts[i][0];
        post(&fixture, &result, true);
        assert_text(&result, texts[i][1]);
        assert_int_equal(result.code, ERROR_DENIED);
        assert_string_equal(kube_status_reason(result.answer), "Forbidden");
    }
    text =
        "pods \"p\" is forbidden: exceeded quota: q, requested: cpu=1, used: cpu=1, limited: cpu=1";
    post(&fixture, &result, true);
    assert_string_equal(result.text, text);
    assert_int_equal(result.code, ERROR_LIMIT);
    clear(&result);
    kube_fixture_end(&fixture);
}

/* Credentials */

struct gate {
    const char *token; /* that is accepted */
};

static void on_gate(void *context, struct kube_connection *connection,
                    const struct kube_incoming *request) {
    const struct gate *gate = context;
    char *header = memory_printf("\r\nAuthorization: Bearer %s\r\n", gate->token);
    if (strstr(request->head, header) != NULL)
        tell_back(connection, request);
    else
        answer_with(connection, 401, "Unauthorized");
    free(header);
}

static void reads_its_token_again_when_it_is_refused(void **state) {
    (void)state;
    struct gate gate = {"one"};
    struct kube_fixture fixture = {0};
    struct result results[3] = {{0}};
    kube_fixture_begin(&fixture, on_gate, &gate);
    kube_client_destroy(fixture.client);
    kube_config_destroy(fixture.config);
    free(kube_write_file("token", "one\n"));
    fixture.config = kube_fixture_config(fixture.url, "", "    tokenFile: token\n");
    kube_fixture_client(&fixture);
    get(&fixture, &results[0], 0);
    assert_int_equal(results[0].status, 200);
    gate.token = "two"; /* the first has expired; the file has the next one already */
    free(kube_write_file("token", "two\n"));
    for (int i = 0; i < 3; i++) {
        clear(&results[i]);
        kube_client_call(fixture.client, &(struct kube_call){.method = "GET", .path = "/x"},
                         on_done, &results[i]);
    }
    for (int i = 0; i < 3; i++) {
        kube_run_until(fixture.loop, &results[i].is_done);
        assert_int_equal(results[i].status, 200);
    }
    gate.token = "three";
    fixture.requests = 0;
    get(&fixture, &results[0], 0);
    assert_int_equal(results[0].status, 401);
    assert_int_equal(fixture.requests, 1); /* nothing new to try */
    assert_null(strstr(results[0].text, "two"));
    for (int i = 0; i < 3; i++)
        clear(&results[i]);
    kube_fixture_end(&fixture);
}

/* TLS */

struct tls_fixture {
    struct kube_fixture fixture;
    struct kube_pems authority, certificate;
    struct script script;
    struct result result;
};

static void begin_tls(struct tls_fixture *tls, const char *names, long lifetime_s,
                      const char *more) {
    static const enum action answers[] = {ANSWER};
    struct kube_fixture *fixture = &tls->fixture;
    signal(SIGPIPE, SIG_IGN);
    tls->script = (struct script){.actions = answers, .count = 1};
    tls->authority = kube_pems_make(NULL, NULL, 3600);
    tls->certificate = kube_pems_make(names, &tls->authority, lifetime_s);
    free(kube_write_file("ca.pem", tls->authority.certificate_pem));
    *fixture = (struct kube_fixture){.loop = event_base_new(),
                                     .handler = on_scripted,
                                     .context = &tls->script,
                                     .limits = {.pause_ms = 2}};
    fixture->server =
        kube_server_start(fixture->loop, 0, &tls->certificate, kube_fixture_handle, fixture);
    fixture->url = memory_printf("https://127.0.0.1:%d", kube_server_port(fixture->server));
    fixture->config = kube_fixture_config(fixture->url, more, "    token: s3cret\n");
    kube_fixture_client(fixture);
}

static void end_tls(struct tls_fixture *tls) {
    clear(&tls->result);
    kube_fixture_end(&tls->fixture);
    kube_pems_free(&tls->authority);
    kube_pems_free(&tls->certificate);
}

#define TRUST "    certificate-authority: ca.pem\n"

static void speaks_tls(void **state) {
    (void)state;
    static const struct {
        const char *names, *more;
    } good[] = {
        {"IP:127.0.0.1", TRUST},
        {"DNS:api.test", TRUST "    tls-server-name: api.test\n"},
        {"DNS:other", "    insecure-skip-tls-verify: true\n"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct tls_fixture tls = {0};
        begin_tls(&tls, good[i].names, 3600, good[i].more);
        get(&tls.fixture, &tls.result, 20000);
        if (tls.result.status != 200)
            fail_msg("%s", tls.result.text);
        assert_non_null(strstr(tls.script.last_head, "Authorization: Bearer s3cret\r\n"));
        end_tls(&tls);
    }
}

static void says_what_is_wrong_with_the_certificate(void **state) {
    (void)state;
    struct kube_pems other = kube_pems_make(NULL, NULL, 3600);
    free(kube_write_file("other.pem", other.certificate_pem));
    static const struct {
        const char *names;
        long lifetime_s;
        const char *more, *words;
    } bad[] = {
        {"IP:127.0.0.1", 3600, "    certificate-authority: other.pem\n",
         "is not signed by the certificate authority of context \"test\" of "},
        {"IP:127.0.0.1", 3600, "", "is not signed by the certificate authority of"},
        {"IP:127.0.0.1", -60, TRUST, "has expired"},
        {"DNS:other.test", 3600, TRUST, "does not fit ("},
        {"DNS:other.test", 3600, TRUST "    tls-server-name: api.test\n", "does not fit ("},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tls_fixture tls = {0};
        begin_tls(&tls, bad[i].names, bad[i].lifetime_s, bad[i].more);
        get(&tls.fixture, &tls.result, 20000);
        assert_int_equal(tls.result.code, ERROR_DENIED);
        assert_text(&tls.result, bad[i].words);
        assert_text(&tls.result, tls.fixture.url);
        assert_null(strstr(tls.result.text, "s3cret"));
        assert_int_equal(tls.fixture.requests, 0); /* the token was not sent */
        end_tls(&tls);
    }
    kube_pems_free(&other);
}

/* The file that holds the authority is exchanged along with the server's certificate. */
static void trusts_a_new_authority(void **state) {
    (void)state;
    struct tls_fixture tls = {0};
    begin_tls(&tls, "IP:127.0.0.1", 3600, TRUST);
    struct kube_pems authority = kube_pems_make(NULL, NULL, 3600);
    struct kube_pems certificate = kube_pems_make("IP:127.0.0.1", &authority, 3600);
    int port = kube_server_port(tls.fixture.server);
    kube_server_stop(tls.fixture.server);
    tls.fixture.server =
        kube_server_start(tls.fixture.loop, port, &certificate, kube_fixture_handle, &tls.fixture);
    get(&tls.fixture, &tls.result, 20000);
    assert_int_equal(tls.result.code, ERROR_DENIED);
    free(kube_write_file("ca.pem", authority.certificate_pem));
    get(&tls.fixture, &tls.result, 20000);
    assert_int_equal(tls.result.status, 200);
    end_tls(&tls);
    kube_pems_free(&authority);
    kube_pems_free(&certificate);
}

static void says_that_it_is_no_tls(void **state) {
    (void)state;
    struct script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    struct result result = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    kube_client_destroy(fixture.client);
    kube_config_destroy(fixture.config);
    char *url = memory_printf("https://127.0.0.1:%d", kube_server_port(fixture.server));
    fixture.config = kube_fixture_config(url, "", NULL);
    kube_fixture_client(&fixture);
    call(&fixture, &result,
         &(struct kube_call){.method = "GET", .path = "/x", .once = true, .deadline_ms = 300});
    assert_true(result.code == ERROR_UNAVAILABLE || result.code == ERROR_TIMEOUT);
    assert_text(&result, url);
    free(url);
    kube_fixture_end(&fixture);
}

/* Many */

static unsigned answered;

static void on_one_of_many(void *context, int status, json_t *answer, const struct error *err) {
    (void)answer;
    if (err != NULL)
        fail_msg("%s", err->text);
    assert_int_equal(status, 200);
    answered++;
    struct kube_fixture *fixture = context;
    if (answered % 3 == 0 && fixture != NULL) /* a call from inside a callback */
        kube_client_call(fixture->client, &(struct kube_call){.method = "GET", .path = "/y"},
                         on_one_of_many, NULL);
}

static void carries_thousands_over_few_connections(void **state) {
    (void)state;
    struct script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    kube_fixture_begin(&fixture, on_scripted, &script);
    json_t *body = json_object();
    answered = 0;
    for (int i = 0; i < 3000; i++)
        kube_client_call(fixture.client,
                         &(struct kube_call){.method = "POST", .path = "/x", .body = body},
                         on_one_of_many, &fixture);
    kube_run_until_count(fixture.loop, &answered, 4000);
    assert_true(kube_server_accepted(fixture.server) <= 16);
    json_decref(body);
    kube_fixture_end(&fixture);
}

static void encodes_queries(void **state) {
    (void)state;
    struct buffer path = {.limit = 100};
    buffer_append_text(&path, "/api/v1/pods");
    assert_int_equal(kube_path_add_query(&path, "labelSelector", "a/b=c,d in (é)"), 0);
    assert_int_equal(kube_path_add_query(&path, "limit", "5"), 0);
    assert_string_equal(buffer_text(&path),
                        "/api/v1/pods?labelSelector=a%2Fb%3Dc%2Cd%20in%20%28%C3%A9%29&limit=5");
    assert_int_equal(kube_path_add_query(&path, "continue", "0123456789012345678901234567890"), -1);
    assert_true(path.length < 75);
    buffer_free(&path);
}

static int tear_down(void **state) {
    (void)state;
    kube_remove_directory();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_trees),
        cmocka_unit_test(takes_an_answer_byte_by_byte),
        cmocka_unit_test(explains_what_is_wrong_with_an_answer),
        cmocka_unit_test(tries_again_what_may_be_repeated),
        cmocka_unit_test(repeats_no_post_on_its_own),
        cmocka_unit_test(tries_all_again_that_was_not_carried_out),
        cmocka_unit_test(waits_as_long_as_the_server_asks),
        cmocka_unit_test(ends_at_the_deadline),
        cmocka_unit_test(says_that_nobody_is_there),
        cmocka_unit_test(says_that_a_name_does_not_resolve),
        cmocka_unit_test(refuses_more_than_its_queue_holds),
        cmocka_unit_test(cancels_wherever_a_call_is),
        cmocka_unit_test(names_the_right_that_is_missing),
        cmocka_unit_test(reads_its_token_again_when_it_is_refused),
        cmocka_unit_test(speaks_tls),
        cmocka_unit_test(says_what_is_wrong_with_the_certificate),
        cmocka_unit_test(trusts_a_new_authority),
        cmocka_unit_test(says_that_it_is_no_tls),
        cmocka_unit_test(carries_thousands_over_few_connections),
        cmocka_unit_test(encodes_queries),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
