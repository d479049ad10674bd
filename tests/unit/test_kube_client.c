/* Calls to an API server that does all that servers and what stands before them do. */
#include "base/clock.h"

#include "kube_script.h"

static void carries_trees(void **state) {
    (void)state;
    struct kube_script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    struct kube_result result = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    json_t *body = json_pack("{s:s}", "name", "ü");
    kube_call_and_wait(&fixture, &result,
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
    kube_get(&fixture, &result, 0);
    assert_string_equal(json_string_value(json_object_get(result.answer, "path")), "/x?q=1");
    assert_int_equal(kube_server_accepted(fixture.server), 1); /* the connection is kept */
    kube_clear(&result);
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
    evtimer_add(timer, &(struct timeval){0}); /* in the next turn */
}

static void on_slow(void *context, struct kube_connection *connection,
                    const struct kube_incoming *request) {
    (void)request;
    struct event *timer = *(struct event **)context;
    slow_connection = connection;
    slow_rest = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\n{\"a\r\n4\r\n\":\"\xc3\r\n4\r\n\xbc\"}\n\r\n0\r\n\r\n";
    evtimer_add(timer, &(struct timeval){0}); /* in the next turn */
}

static void takes_an_answer_byte_by_byte(void **state) {
    (void)state;
    struct kube_fixture fixture = {0};
    struct kube_result result = {0};
    struct event *timer = NULL;
    kube_fixture_begin(&fixture, on_slow, &timer);
    timer = event_new(fixture.loop, -1, 0, on_slow_timer, &timer);
    kube_get(&fixture, &result, 0);
    assert_string_equal(json_string_value(json_object_get(result.answer, "a")), "ü");
    kube_clear(&result);
    event_free(timer);
    kube_fixture_end(&fixture);
}

struct fault {
    enum kube_action action;
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
    struct kube_script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {.limits = {.answer_max = 100000}};
    struct kube_result result = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        const struct fault *fault = &faults[i];
        const char *at = strstr(fault->words, "%s");
        char words[512];
        snprintf(words, sizeof words, "%.*s%s%s", at != NULL ? (int)(at - fault->words) : 0,
                 fault->words, at != NULL ? fixture.url : "", at != NULL ? at + 2 : fault->words);
        script = (struct kube_script){.actions = &fault->action, .count = 1};
        fixture.requests = 0;
        kube_get(&fixture, &result, 20000);
        assert_text(&result, words);
        assert_int_equal(result.code, fault->code);
        assert_int_equal(result.status, fault->status);
        if (fixture.requests != fault->requests)
            fail_msg("%s: %u requests, not %u", result.text, fixture.requests, fault->requests);
    }
    kube_clear(&result);
    kube_fixture_end(&fixture);
}

static void tries_again_what_may_be_repeated(void **state) {
    (void)state;
    struct kube_script script = SCRIPT(BREAK, RESET, TRUNCATE, INTERNAL, ANSWER);
    struct kube_fixture fixture = {0};
    struct kube_result result = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    kube_get(&fixture, &result, 20000);
    assert_int_equal(result.status, 200);
    script.at = 0;
    kube_post(&fixture, &result, true);
    assert_int_equal(result.status, 200);
    assert_string_equal(json_string_value(json_object_get(result.answer, "body")),
                        "{\"kind\":\"Pod\"}"); /* the whole body again */
    struct kube_counts counts;
    kube_client_count(fixture.client, &counts);
    assert_int_equal(fixture.requests, 10);
    assert_true(counts.repeated >= 7); /* libcurl repeats the one on a kept connection itself */
    assert_int_equal(counts.active + counts.queued + counts.waiting, 0);
    kube_clear(&result);
    kube_fixture_end(&fixture);
}

/* libcurl by itself sends a request again when a kept connection is closed: not this one. */
static void repeats_no_post_on_its_own(void **state) {
    (void)state;
    static const enum kube_action broken[] = {BREAK, RESET, TRUNCATE, INTERNAL, GATEWAY};
    struct kube_script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    struct kube_result result = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        script = (struct kube_script)SCRIPT(ANSWER);
        kube_get(&fixture, &result, 20000); /* a connection to be kept */
        assert_int_equal(result.status, 200);
        script = (struct kube_script){.actions = &broken[i], .count = 1};
        fixture.requests = 0;
        kube_post(&fixture, &result, false);
        assert_int_equal(result.code, ERROR_UNAVAILABLE);
        assert_int_equal(fixture.requests, 1);
    }
    kube_clear(&result);
    kube_fixture_end(&fixture);
}

static void tries_all_again_that_was_not_carried_out(void **state) {
    (void)state;
    struct kube_script script = SCRIPT(UNAVAILABLE, TOO_MANY_AT_ONCE, CONFLICT, UNAVAILABLE,
                                       CONFLICT, TOO_MANY_AT_ONCE, UNAVAILABLE, ANSWER);
    struct kube_fixture fixture = {0};
    struct kube_result result = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    kube_post(&fixture, &result, false);
    assert_int_equal(result.status, 200);
    assert_int_equal(fixture.requests, 8);
    kube_clear(&result);
    kube_fixture_end(&fixture);
}

static void waits_as_long_as_the_server_asks(void **state) {
    (void)state;
    struct kube_script script = SCRIPT(TOO_MANY, ANSWER);
    struct kube_fixture fixture = {0};
    struct kube_result first = {0}, second = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    int64_t begun_ms = clock_monotonic_ms();
    struct kube_call call_of = {.method = "GET", .path = "/a"};
    kube_client_call(fixture.client, &call_of, kube_on_done, &first);
    kube_run_until_count(fixture.loop, &fixture.requests, 1);
    kube_run_for(fixture.loop, 100);
    kube_client_call(fixture.client, &call_of, kube_on_done, &second); /* has to wait, too */
    kube_run_until(fixture.loop, &second.is_done);
    assert_true(clock_monotonic_ms() - begun_ms >= 1000);
    kube_run_until(fixture.loop, &first.is_done);
    assert_int_equal(first.status, 200);
    assert_int_equal(second.status, 200);
    assert_int_equal(fixture.requests, 3);
    script = (struct kube_script)SCRIPT(TOO_MANY);
    kube_get(&fixture, &first, 500); /* it will not be in time: told at once */
    assert_int_equal(first.status, 429);
    assert_string_equal(first.text, "too many");
    assert_int_equal(first.code, ERROR_UNAVAILABLE);
    kube_clear(&first);
    kube_clear(&second);
    kube_fixture_end(&fixture);
}

static void ends_at_the_deadline(void **state) {
    (void)state;
    struct kube_script script = SCRIPT(SILENCE);
    struct kube_fixture fixture = {.limits = {.connections_max = 1}};
    struct kube_result result = {0}, queued = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    kube_client_call(fixture.client,
                     &(struct kube_call){.method = "GET", .path = "/a", .deadline_ms = 400},
                     kube_on_done, &result);
    kube_client_call(fixture.client,
                     &(struct kube_call){.method = "GET", .path = "/b", .deadline_ms = 200},
                     kube_on_done, &queued);
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
    struct kube_script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    struct kube_result result = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    int port = kube_server_port(fixture.server);
    kube_server_stop(fixture.server);
    fixture.server = NULL;
    kube_get(&fixture, &result, 300);
    assert_int_equal(result.code, ERROR_UNAVAILABLE);
    assert_text(&result, "cannot be reached: Connection refused");
    assert_text(&result, fixture.url);
    struct kube_counts counts;
    kube_client_count(fixture.client, &counts);
    assert_true(counts.repeated > 0);
    kube_clear(&result);
    struct kube_call call_of = {.method = "POST", .path = "/a", .body = json_object()};
    kube_client_call(fixture.client, &call_of, kube_on_done, &result);
    kube_run_for(fixture.loop, 50); /* it is refused for a while, then the server is back */
    assert_false(result.is_done);
    fixture.server = kube_server_start(fixture.loop, port, NULL, kube_fixture_handle, &fixture);
    kube_run_until(fixture.loop, &result.is_done);
    assert_int_equal(result.status, 200);
    json_decref((json_t *)(uintptr_t)call_of.body);
    kube_clear(&result);
    kube_fixture_end(&fixture);
}

static void says_that_a_name_does_not_resolve(void **state) {
    (void)state;
    struct kube_fixture fixture = {.loop = event_base_new()};
    static const char *const proxies[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof proxies / sizeof proxies[0]; i++)
        unsetenv(proxies[i]); /* a proxy would resolve it */
    struct kube_result result = {0};
    fixture.config = kube_fixture_config("https://no-such-host.invalid:6443", "", NULL);
    fixture.limits.pause_ms = 2;
    kube_fixture_client(&fixture);
    kube_call_and_wait(
        &fixture, &result,
        &(struct kube_call){.method = "GET", .path = "/x", .once = true, .deadline_ms = 25000});
    assert_int_equal(result.code, ERROR_UNAVAILABLE);
    assert_text(&result, "https://no-such-host.invalid:6443 cannot be reached: its name does not "
                         "resolve (DNS)");
    kube_fixture_end(&fixture);
}

static void refuses_more_than_its_queue_holds(void **state) {
    (void)state;
    struct kube_script script = SCRIPT(SILENCE);
    struct kube_fixture fixture = {.limits = {.connections_max = 2, .queue_max = 3}};
    struct kube_result results[6] = {{0}};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    for (int i = 0; i < 6; i++)
        kube_client_call(fixture.client, &(struct kube_call){.method = "GET", .path = "/x"},
                         kube_on_done, &results[i]);
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
    struct kube_script script = SCRIPT(SILENCE);
    struct kube_fixture fixture = {.limits = {.connections_max = 1, .queue_max = 1}};
    struct kube_result result = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    struct kube_call call_of = {.method = "GET", .path = "/x"};
    struct kube_request *active = kube_client_call(fixture.client, &call_of, kube_on_done, &result);
    struct kube_request *queued = kube_client_call(fixture.client, &call_of, kube_on_done, &result);
    struct kube_request *refused =
        kube_client_call(fixture.client, &call_of, kube_on_done, &result);
    kube_request_cancel(refused);
    kube_run_until_count(fixture.loop, &fixture.requests, 1);
    kube_request_cancel(active); /* the next one begins */
    kube_run_until_count(fixture.loop, &fixture.requests, 2);
    kube_request_cancel(queued);
    kube_request_cancel(NULL);
    script = (struct kube_script)SCRIPT(UNAVAILABLE);
    struct kube_request *paused = kube_client_call(fixture.client, &call_of, kube_on_done, &result);
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
    struct kube_script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    json_t *body = json_object();
    answered = 0;
    for (int i = 0; i < 3000; i++)
        kube_client_call(fixture.client,
                         &(struct kube_call){.method = "POST", .path = "/x", .body = body},
                         on_one_of_many, &fixture);
    kube_run_until_count(fixture.loop, &answered, 4000);
    assert_true(kube_server_accepted(fixture.server) <= 32);
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
        cmocka_unit_test(carries_thousands_over_few_connections),
        cmocka_unit_test(encodes_queries),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
