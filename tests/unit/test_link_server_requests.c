#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "launcher/base64.h"
#include "link_peer.h"
#include "log_capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WINDOW = 1 << 20 };

/* --- REQUEST --- */

static void test_requests_arrive_with_their_session(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    assert_int_equal(peer_attach(peer, 1, "a", WINDOW, "cursor", NULL, NULL), 1);
    assert_int_equal(peer_attach(peer, 2, NULL, WINDOW, "live", NULL, NULL), 1);
    peer_request(peer, 1, 1, "\"one\"", 0);
    peer_request(peer, 2, 1, "\"anonymous\"", 0);
    peer_request(peer, 1, 2, "\"two\"", 50000);
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 3);
    assert_string_equal(world->request_text[0], "\"one\"");
    assert_string_equal(world->request_text[1], "\"anonymous\"");
    assert_string_equal(world->request_text[2], "\"two\"");
    assert_int_equal(world->request_session[0], world->request_session[2]);
    assert_true(world->request_session[1] != world->request_session[0]);
    /* A reply under that number finds the one without a session_id, too. */
    publish_now(world, world->request_session[1], "{}", 0);
    peer_expect(peer, LINK_MESSAGE, 2);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_each_number_is_taken_once(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    uint64_t bytes = peer_request(peer, 1, 1, "1", 0);
    bytes += peer_request(peer, 1, 2, "2", 0);
    bytes += peer_request(peer, 1, 1, "1", 0);
    bytes += peer_request(peer, 1, 2, "2", 0);
    peer_expect_grant(peer, 1, 2, bytes); /* what was repeated is granted again, too */
    assert_int_equal(world->request_count, 2);

    peer_destroy(peer); /* over connections */
    peer = peer_welcomed(world, "g");
    assert_int_equal(peer_attach(peer, 8, "s", WINDOW, "cursor", NULL, NULL), 3);
    bytes = peer_request(peer, 8, 2, "2", 0);
    bytes += peer_request(peer, 8, 3, "3", 0);
    peer_expect_grant(peer, 8, 3, bytes);
    assert_int_equal(world->request_count, 3);
    assert_string_equal(world->request_text[2], "3");
    /* Attachments of a session count together. */
    peer_attach(peer, 9, "s", WINDOW, "cursor", NULL, NULL);
    peer_request(peer, 9, 4, "4", 0);
    peer_request(peer, 8, 5, "5", 0);
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 5);
    peer_destroy(peer);
}

static void test_numbers_may_be_left_out(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    uint64_t bytes = peer_request(peer, 1, 3, "3", 0); /* the gateway gave 1 and 2 up */
    bytes += peer_request(peer, 1, 1, "1", 0);
    peer_expect_grant(peer, 1, 3, bytes);
    world->is_ready = false;
    bytes += peer_request(peer, 1, 7, "7", 0);
    peer_expect_grant(peer, 1, 3, bytes - peer_request(peer, 1, 8, "8", 0));
    assert_int_equal(peer_attach(peer, 2, "s", WINDOW, "cursor", NULL, NULL), 9);
    peer_request(peer, 1, 9 + (1 << 16), "far", 0);
    peer_expect_detached(peer, 1, "number 65545 came, 9 is the next");
    peer_request(peer, 2, 0, "0", 0);
    peer_expect_detached(peer, 2, "number 0 came");
    peer_request(peer, 1, 9, "9", 0); /* for nobody */
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 1);
    peer_destroy(peer);
}

static void test_a_grant_rides_with_messages(void **state) {
    struct world *world = *state;
    struct link_server *server = world->server;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    link_server_set_deadline(server, &server->grants, clock_monotonic_ms() + 60000);
    uint64_t bytes = peer_request(peer, 1, 1, "1", 0);
    world_run_until_request(world, 1);
    unsigned before = peer->batches;
    publish_now(world, 0, "{}", 0);
    peer_expect(peer, LINK_MESSAGE, 1);
    assert_int_equal(peer->grants[1].bytes, LINK_GRANT_DEFAULT + bytes);
    assert_int_equal(peer->grants[1].batch, before);
    assert_int_equal(peer->batches, before + 1);
    /* A large one does not wait; alone it comes when its time is up. */
    bytes += peer_request(peer, 1, 2, "2", LINK_GRANT_DEFAULT / 2);
    peer_wait_grant(peer, 1, 2, LINK_GRANT_DEFAULT + bytes);
    link_server_clear_deadline(server, &server->grants);
    bytes += peer_request(peer, 1, 3, "3", 0);
    peer_wait_grant(peer, 1, 3, LINK_GRANT_DEFAULT + bytes);
    peer_destroy(peer);
}

static void test_a_kernel_that_is_not_ready_stops_its_clients(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    peer_attach(peer, 2, "t", WINDOW, "cursor", NULL, NULL);
    world->is_ready = false;
    uint64_t bytes = 0;
    for (uint64_t i = 1; i <= 10; i++)
        bytes += peer_request(peer, 1, i, "1", 100000);
    peer_request(peer, 2, 1, "2", 0);
    peer_expect_nothing(peer);
    assert_int_equal(peer->grants[1].count, 0);
    assert_int_equal(world->request_count, 0);
    assert_int_equal(world->refused_count, 1); /* asked once, not for each */
    link_server_resume(world->server);
    link_server_flush(world->server);
    assert_int_equal(world->refused_count, 2);

    world->is_ready = true;
    peer_request(peer, 2, 2, "3", 0); /* a later one does not overtake */
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 0);
    link_server_resume(world->server);
    assert_int_equal(world->request_count, 12);
    for (int i = 0; i < 12; i++)
        assert_string_equal(world->request_text[i], i < 10 ? "1" : i == 10 ? "2" : "3");
    link_server_flush(world->server);
    peer_wait_grant(peer, 1, 10, LINK_GRANT_DEFAULT + bytes);
    assert_int_equal(world->server->queue_bytes, 0);
    peer_destroy(peer);
}

static void test_more_than_granted_ends_the_attachment(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    world->is_ready = false;
    for (uint64_t i = 1; i <= 10; i++)
        peer_request(peer, 1, i, "1", 100000);
    peer_request(peer, 1, 11, "1", 100000);
    peer_expect_detached(peer, 1, "1048576 were granted");
    world->is_ready = true; /* what was taken stays taken */
    link_server_resume(world->server);
    assert_int_equal(world->request_count, 10);
    assert_int_equal(peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL), 11);
    peer_destroy(peer);
}

static void test_one_large_request_when_nothing_is_outstanding(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    peer_expect_grant(peer, 1, 1, peer_request(peer, 1, 1, "1", 3 << 20));
    assert_int_equal(world->request_count, 1);
    world->is_ready = false;
    peer_request(peer, 1, 2, "2", 3 << 20);
    peer_request(peer, 1, 3, "3", 0);
    peer_expect_detached(peer, 1, "were granted");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    peer_request(peer, 1, 3, "3", 5 << 20);
    peer_expect_detached(peer, 1, "is more than 4194304");
    peer_destroy(peer);
}

/* New attachments bring new credit, so the queue has a limit of its own. */
static void test_the_queue_has_a_limit(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    world->is_ready = false;
    enum { SIZE = 3 << 20 };
    unsigned count = 0;
    struct inbox_frame *frame = NULL;
    struct log_capture capture = log_capture_begin(LOG_INFO);
    for (uint64_t i = 1; i < 100 && frame == NULL; i++) {
        peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
        peer_request(peer, 1, i, "1", SIZE);
        peer_frame(peer, LINK_PING, 0, 0, NULL, 0);
        peer_send(peer);
        struct inbox_frame *next = peer_next(peer);
        if (next->frame.type == LINK_DETACHED)
            frame = next;
        else
            count++;
    }
    cleanup_free char *log = log_capture_end(&capture);
    assert_non_null(frame);
    assert_non_null(strstr(frame_text(frame), "wait for the kernel already"));
    assert_null(strstr(log, "wait for")); /* its gateway says so */
    assert_int_equal(count, SERVER_QUEUE_MAX / SIZE);
    peer_destroy(peer);
}

static void test_requests_survive_their_attachment(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    peer_attach(peer, 2, NULL, WINDOW, "live", NULL, NULL);
    world->is_ready = false;
    peer_request(peer, 1, 1, "\"named\"", 0);
    peer_request(peer, 2, 1, "\"anonymous\"", 0);
    peer_frame(peer, LINK_DETACH, 1, 0, NULL, 0);
    peer_frame(peer, LINK_DETACH, 2, 0, NULL, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    /* The session is not forgotten while the kernel has yet to take what it sent. */
    struct link_session *session = map_get(world->server->sessions, "s");
    heap_remove(&world->server->deadlines, &session->forget.node);
    session->forget.due(session, clock_monotonic_ms() + 60001);
    assert_ptr_equal(map_get(world->server->sessions, "s"), session);
    uint64_t next = peer_attach(peer, 3, "s", WINDOW, "cursor", NULL, NULL);
    assert_int_equal(next, 2); /* it waits here: not to be sent again */
    world->is_ready = true;
    link_server_resume(world->server);
    assert_int_equal(world->request_count, 2);
    assert_string_equal(world->request_text[0], "\"named\"");
    assert_string_equal(world->request_text[1], "\"anonymous\"");
    peer_expect_grant(peer, 3, 1, 0);
    peer_destroy(peer);
}

static void test_a_malformed_request_is_dropped_in_its_place(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    peer_json(peer, LINK_REQUEST, 1, 1, "this is no message");
    peer_frame(peer, LINK_REQUEST, 1, 2, NULL, 0);
    peer_send(peer);
    peer_request(peer, 1, 3, "3", 0);
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 1);
    world->is_ready = false;
    peer_request(peer, 1, 4, "4", 0);
    peer_json(peer, LINK_REQUEST, 1, 5, "again");
    peer_send(peer);
    peer_request(peer, 1, 6, "6", 0);
    peer_expect_nothing(peer);
    world->is_ready = true;
    link_server_resume(world->server);
    assert_int_equal(world->request_count, 3);
    assert_string_equal(world->request_text[2], "6");
    assert_int_equal(peer_attach(peer, 2, "s", WINDOW, "cursor", NULL, NULL), 7);
    peer_destroy(peer);
}

/* --- COMMAND --- */

static json_t *command(struct peer *peer, uint64_t number, const char *json) {
    if (strlen(json) > LINK_INLINE_MAX)
        peer_external(peer, LINK_COMMAND, 0, number, json, strlen(json), strlen(json));
    else
        peer_json(peer, LINK_COMMAND, 0, number, json);
    peer_send(peer);
    struct inbox_frame *frame = peer_expect(peer, LINK_RESULT, 0);
    assert_true(frame->frame.seq == number);
    return frame_json(frame);
}

static void expect_failure(struct peer *peer, const char *json, const char *code, const char *why) {
    cleanup_json json_t *result = command(peer, 5, json);
    assert_true(json_is_false(json_object_get(result, "ok")));
    assert_string_equal(json_string_value(json_object_get(result, "code")), code);
    const char *text = json_string_value(json_object_get(result, "message"));
    if (strstr(text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, why);
}

static void test_bad_commands(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    expect_failure(peer, "{", "invalid", "COMMAND: no valid JSON");
    expect_failure(peer, "[]", "invalid", "no object");
    expect_failure(peer, "{\"id\":\"x\"}", "invalid", "command: must");
    expect_failure(peer, "{\"command\":\"interrupt\"}", "invalid", "id: must");
    expect_failure(peer, "{\"command\":\"interrupt\",\"id\":7}", "invalid", "id: must");
    expect_failure(peer, "{\"command\":\"interrupt\",\"id\":\"\"}", "invalid", "id: must");
    expect_failure(peer, "{\"command\":\"interrupt\",\"id\":\"a\\u0000\"}", "invalid", "id: must");
    expect_failure(peer, "{\"command\":\"dance\",\"id\":\"x\"}", "unsupported", "\"dance\"");
    cleanup_free char *large = memory_printf("{\"command\":\"interrupt\",\"id\":\"%0200d\"}", 1);
    expect_failure(peer, large, "invalid", "id: must");
    assert_int_equal(world->command_count, 0);
    peer_destroy(peer);
}

static void test_an_id_is_carried_out_once(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    static const char json[] = "{\"command\":\"restart\",\"id\":\"r\"}";
    cleanup_json json_t *first = command(peer, 1, json);
    assert_true(json_is_true(json_object_get(first, "ok")));
    peer_destroy(peer);
    peer = peer_welcomed(world, "another"); /* over a break, and for anybody */
    cleanup_json json_t *second = command(peer, 2, json);
    assert_true(json_equal(first, second));
    assert_int_equal(world->command_count, 1);
    cleanup_json json_t *third = command(peer, 3, "{\"command\":\"restart\",\"id\":\"r2\"}");
    assert_false(json_equal(first, third));
    peer_destroy(peer);
}

static void test_an_id_repeated_meanwhile_waits_with_the_first(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    struct peer *gone = peer_welcomed(world, "gone");
    world->answers_at_once = false;
    static const char json[] = "{\"command\":\"restart\",\"id\":\"r\"}";
    peer_json(gone, LINK_COMMAND, 0, 7, json);
    peer_send(gone);
    peer_expect_nothing(gone);
    for (uint64_t number = 1; number <= 12; number++) /* more than there are places */
        peer_json(peer, LINK_COMMAND, 0, number, json);
    peer_send(peer);
    peer_expect_nothing(peer);
    assert_int_equal(world->command_count, 1);
    struct peer *again = peer_welcomed(world, "gone"); /* its first connection is forgotten */
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "it did not \xFF start");
    link_server_result(world->command[0], NULL, &err);
    link_server_flush(world->server);
    for (uint64_t number = 5; number <= 12; number++) {
        struct inbox_frame *frame = peer_expect(peer, LINK_RESULT, 0);
        assert_true(frame->frame.seq == number);
        cleanup_json json_t *result = frame_json(frame);
        assert_string_equal(json_string_value(json_object_get(result, "code")), "timeout");
        assert_string_equal(json_string_value(json_object_get(result, "message")),
                            "it did not ? start");
    }
    peer_expect_nothing(again);
    cleanup_json json_t *result = command(again, 8, json);
    assert_true(json_is_false(json_object_get(result, "ok")));
    peer_destroy(peer);
    peer_destroy(gone);
    peer_destroy(again);
}

static void test_the_last_64_are_remembered(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    char json[80];
    for (int i = 0; i < SERVER_COMMANDS_MAX; i++) {
        world->command_count = 0; /* the stub has 64 places, too */
        snprintf(json, sizeof json, "{\"command\":\"signal\",\"id\":\"%d\"}", i);
        json_decref(command(peer, 1, json));
        assert_int_equal(world->command_count, 1);
    }
    world->command_count = 0;
    json_decref(command(peer, 1, "{\"command\":\"signal\",\"id\":\"0\"}"));
    assert_int_equal(world->command_count, 0);
    json_decref(command(peer, 1, "{\"command\":\"signal\",\"id\":\"new\"}"));
    json_decref(command(peer, 1, "{\"command\":\"signal\",\"id\":\"1\"}"));
    assert_int_equal(world->command_count, 1);
    json_decref(command(peer, 1, "{\"command\":\"signal\",\"id\":\"0\"}")); /* the oldest went */
    assert_int_equal(world->command_count, 2);
    peer_destroy(peer);
}

static void test_as_many_at_once_are_too_many(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    world->answers_at_once = false;
    char json[80];
    for (int i = 0; i < SERVER_COMMANDS_MAX; i++) {
        snprintf(json, sizeof json, "{\"command\":\"logs\",\"id\":\"%d\"}", i);
        peer_json(peer, LINK_COMMAND, 0, 1, json);
    }
    peer_send(peer);
    expect_failure(peer, "{\"command\":\"logs\",\"id\":\"more\"}", "limit", "64 commands");
    cleanup_free char *text = memory_alloc(300001);
    memset(text, 'x', 300000);
    for (int i = 0; i < 10; i++) /* large results are remembered up to a limit */
        link_server_result(world->command[i], json_pack("{s:s}", "text", text), NULL);
    assert_true(world->server->result_bytes <= SERVER_RESULTS_BYTES_MAX);
    link_server_flush(world->server);
    for (int i = 0; i < 10; i++)
        assert_int_equal(peer_expect(peer, LINK_RESULT, 0)->frame.length, 300021);
    peer_destroy(peer);
}

static void test_journal_and_inject(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    cleanup_buffer struct buffer message = {0}, text = {0}, back = {0};
    make_message(&message, CHANNEL_IOPUB, "\"injected\"", 0);
    base64_encode(message.data, message.length, &text);
    cleanup_free char *inject = memory_printf(
        "{\"command\":\"inject\",\"id\":\"i\",\"message\":\"%s\"}", buffer_text(&text));
    for (uint64_t number = 1; number <= 2; number++) { /* repeated: once */
        peer_json(peer, LINK_COMMAND, 0, number, inject);
        peer_send(peer);
        struct inbox_frame *frame = peer_expect(peer, LINK_RESULT, 0);
        assert_string_equal(frame_text(frame), "{\"seq\":1,\"ok\":true}");
        if (number == 1)
            assert_int_equal(peer_expect(peer, LINK_MESSAGE, 1)->frame.length, message.length);
    }
    peer_expect_nothing(peer);
    for (int i = 0; i < 9; i++)
        publish(world, 0, "{}", 1000);

    cleanup_json json_t *result =
        command(peer, 3, "{\"command\":\"journal\",\"id\":\"j\",\"since\":0,\"max_bytes\":2500}");
    for (int i = 0; i < 9; i++)
        peer_expect(peer, LINK_MESSAGE, 1);
    const json_t *messages = json_object_get(result, "messages");
    assert_int_equal(json_array_size(messages), 3);
    assert_int_equal(json_integer_value(json_object_get(result, "next")), 3);
    assert_int_equal(json_integer_value(json_object_get(result, "oldest")), 1);
    assert_int_equal(json_integer_value(json_object_get(result, "last")), 10);
    const json_t *first = json_array_get(messages, 0);
    const char *encoded = json_string_value(json_object_get(first, "message"));
    assert_int_equal(json_integer_value(json_object_get(first, "seq")), 1);
    assert_int_equal(base64_decode(encoded, strlen(encoded), &back), 0);
    assert_int_equal(back.length, message.length);
    assert_memory_equal(back.data, message.data, message.length);
    cleanup_json json_t *rest =
        command(peer, 4, "{\"command\":\"journal\",\"id\":\"j\",\"since\":3}");
    assert_int_equal(json_array_size(json_object_get(rest, "messages")), 7);
    cleanup_json json_t *one =
        command(peer, 5, "{\"command\":\"journal\",\"id\":\"j\",\"since\":9,\"max_bytes\":0}");
    assert_int_equal(json_array_size(json_object_get(one, "messages")), 1);

    expect_failure(peer, "{\"command\":\"journal\",\"id\":\"j\",\"since\":-1}", "invalid",
                   "since: ");
    expect_failure(peer, "{\"command\":\"journal\",\"id\":\"j\",\"max_bytes\":\"1\"}", "invalid",
                   "max_bytes: ");
    expect_failure(peer, "{\"command\":\"inject\",\"id\":\"1\"}", "invalid", "message: ");
    expect_failure(peer, "{\"command\":\"inject\",\"id\":\"2\",\"message\":\"a\"}", "invalid",
                   "message: ");
    expect_failure(peer, "{\"command\":\"inject\",\"id\":\"3\",\"message\":\"QUJD\"}", "invalid",
                   "message: offset");
    assert_int_equal(journal_last(world->server->journal), 10);
    peer_destroy(peer);
}

static void test_base64(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xFF\xFE\xFD\xFC", "//79/A=="}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cleanup_buffer struct buffer text = {0}, back = {0};
        assert_int_equal(base64_encode(rows[i][0], strlen(rows[i][0]), &text), 0);
        assert_string_equal(buffer_text(&text), rows[i][1]);
        assert_int_equal(base64_decode(rows[i][1], strlen(rows[i][1]), &back), 0);
        assert_string_equal(buffer_text(&back), rows[i][0]);
    }
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",  "Zg==Zg==", "Z===",
                                      "====", "Zh==", "Zm9=", "Zm 9",     "Zm9v\n",
                                      "Zm-v", "=Zg=", "Zg=v", "\xFFm9v"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cleanup_buffer struct buffer back = {0};
        if (base64_decode(bad[i], strlen(bad[i]), &back) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(back.length, 0);
    }
}

#define test_server(test) cmocka_unit_test_setup_teardown(test, world_setup, world_destroy)

int main(void) {
    const struct CMUnitTest tests[] = {
        test_server(test_requests_arrive_with_their_session),
        test_server(test_each_number_is_taken_once),
        test_server(test_numbers_may_be_left_out),
        test_server(test_a_grant_rides_with_messages),
        test_server(test_a_kernel_that_is_not_ready_stops_its_clients),
        test_server(test_more_than_granted_ends_the_attachment),
        test_server(test_one_large_request_when_nothing_is_outstanding),
        test_server(test_the_queue_has_a_limit),
        test_server(test_requests_survive_their_attachment),
        test_server(test_a_malformed_request_is_dropped_in_its_place),
        test_server(test_bad_commands),
        test_server(test_an_id_is_carried_out_once),
        test_server(test_an_id_repeated_meanwhile_waits_with_the_first),
        test_server(test_the_last_64_are_remembered),
        test_server(test_as_many_at_once_are_too_many),
        test_server(test_journal_and_inject),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
