/* The gateway's side of the link against a launcher written by hand: a ROUTER that says what a test
 * wants said. */
#include "links_fixture.h"

/* Tests. */

static void test_hello_and_welcome(void **state) {
    struct fixture *f = *state;
    const struct heard *hello = expect(f, LINK_HELLO);
    assert_true(has_member(hello, "kernel_id", KERNEL));
    assert_false(link_is_up(f->link));
    peer_welcome(f, KERNEL, 3);
    run_until(f, is_up);
    assert_int_equal(f->welcomed, 1);
    assert_string_equal(f->record_name, "python3");
    assert_string_equal(f->status_phase, "ready");
    peer_say(f, LINK_STATUS, 0, 4, "{\"phase\": \"restarting\", \"new\": 1}");
    peer_say(f, 77, 0, 4, "a frame of a later version");
    peer_say(f, LINK_STATUS, 0, 4, "[1]");
    peer_say(f, LINK_EXIT, 0, 4, "{\"code\": null}");
    peer_say(f, LINK_PING, 0, 42, "");
    assert_int_equal(expect(f, LINK_PONG)->seq, 42);
    assert_int_equal(f->statuses, 1);
    assert_int_equal(f->exits, 1);
    assert_string_equal(f->status_phase, "restarting");
}

static void test_another_kernels_launcher_is_left(void **state) {
    struct fixture *f = *state;
    expect(f, LINK_HELLO);
    peer_welcome(f, OTHER, 3);
    settle(f);
    assert_int_equal(f->welcomed, 0);
    assert_false(link_is_up(f->link));
    assert_int_equal(f->link->state, LINK_STATE_REFUSED);
    assert_null(f->link->route);
}

static const char *const offered[] = {"rebuild", "announce", "sure", NULL};

static void reconnect_offering(struct fixture *f, const char *const *capabilities) {
    f->links->capabilities = capabilities;
    link_reconnect(f->link);
}

static void welcome_with(struct fixture *f, const char *members) {
    cleanup_free char *text = memory_printf("{%s\"launcher\": \"n1\", \"kernel_id\": \"%s\", "
                                            "\"record\": {}, \"status\": {\"phase\": \"ready\"}}",
                                            members, KERNEL);
    peer_say(f, LINK_WELCOME, 0, 3, text);
}

static bool one_message(struct fixture *f) {
    return f->a.messages == 1;
}

/* Kernels outlive gateways: a gateway meets launchers of earlier and of later releases. */
static void test_only_what_both_sides_named_is_used(void **state) {
    static const struct {
        const char *members;
        bool repeats, announces;
    } welcomes[] = {
        {"\"version\": 1, \"capabilities\": [], ", false, false},
        {"\"version\": 1, ", false, false},
        {"\"version\": 1, \"capabilities\": null, ", false, false},
        {"\"version\": 1, \"capabilities\": [\"announce\", 7, \"rebuild \"], ", false, true},
        {"\"version\": 9, \"capabilities\": [\"rebuild\", \"announce\", \"x\"], ", true, true},
    };
    struct fixture *f = *state;
    expect(f, LINK_HELLO);
    for (size_t i = 0; i < sizeof welcomes / sizeof welcomes[0]; i++) {
        reconnect_offering(f, offered);
        const struct heard *hello = expect(f, LINK_HELLO);
        assert_non_null(strstr(hello->payload, "[\"rebuild\",\"announce\",\"sure\""));
        assert_false(link_has_capability(f->link, "announce")); /* not settled yet */
        welcome_with(f, welcomes[i].members);
        run_until(f, is_up);
        assert_int_equal(f->link->terms.version, 1);
        assert_int_equal(link_has_capability(f->link, "rebuild"), welcomes[i].repeats);
        assert_int_equal(link_has_capability(f->link, "announce"), welcomes[i].announces);
    }
    uint16_t a = attach(f, &f->a, "session a"); /* and it works */
    peer_say(f, LINK_MESSAGE, a, 4, "hello");
    run_until(f, one_message);
    attachment_send(f->a.attachment, "request", 7);
    assert_memory_equal(expect(f, LINK_REQUEST)->payload, "request", 7);
    attachment_ack(f->a.attachment, 4, 5, 3);
    assert_int_equal(number_of(expect(f, LINK_ACK)), 5); /* without `sure` */
    link_payload_release(f->a.kept.owner);
}

static bool is_refused(struct fixture *f) {
    return f->link->state == LINK_STATE_REFUSED;
}

static void test_welcomes_without_a_version_are_refused(void **state) {
    static const char *const members[] = {
        "\"version\": 0, ",
        "\"version\": -3, ",
        "\"version\": \"1\", ",
        "\"version\": 1.5, ",
        "\"version\": null, ",
        "",
        "\"version\": 1, \"capabilities\": \"rebuild\", ",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        expect(f, LINK_HELLO);
        welcome_with(f, members[i]);
        run_until(f, is_refused);
        assert_int_equal(f->welcomed, 0);
        assert_null(f->link->route);
        link_reconnect(f->link); /* what its deadline does */
    }
    come_up(f); /* it was replaced by a sound one */
}

static bool one_result(struct fixture *f) {
    return f->results == 1;
}

static bool two_results(struct fixture *f) {
    return f->results == 2;
}

static void test_commands(void **state) {
    struct fixture *f = *state;
    come_up(f);
    link_command(f->link, "logs", json_pack("{s:i}", "max_bytes", 10), 60000, on_result, f);
    const struct heard *command = expect(f, LINK_COMMAND);
    assert_true(has_member(command, "command", "logs"));
    peer_say(f, LINK_RESULT, 0, command->seq + 7, "{\"ok\": true}"); /* nobody's */
    peer_say(f, LINK_RESULT, 0, command->seq, "{\"ok\": true, \"text\": \"last\"}");
    run_until(f, one_result);
    assert_string_equal(f->result, "last");
    assert_int_equal(f->result_code, ERROR_NONE);
    link_command(f->link, "signal", NULL, 60000, on_result, f);
    peer_say(f, LINK_RESULT, 0, expect(f, LINK_COMMAND)->seq,
             "{\"ok\": false, \"code\": \"unsupported\", \"message\": \"no such thing\"}");
    run_until(f, two_results);
    assert_int_equal(f->result_code, ERROR_UNSUPPORTED);
    assert_string_equal(f->result, "no such thing");
    f->results = 0;
    link_command(f->link, "restart", NULL, 20, on_result, f);
    run_until(f, one_result);
    assert_int_equal(f->result_code, ERROR_TIMEOUT);
    f->results = 0;
    f->in_call = true;
    link_command(f->link, "restart", NULL, 60000, on_result, f);
    link_close(f->link);
    f->in_call = false;
    run_until(f, one_result);
    assert_int_equal(f->result_code, ERROR_UNAVAILABLE);
}

static void test_close_ends_attachments(void **state) {
    struct fixture *f = *state;
    come_up(f);
    attach(f, &f->a, "session");
    attach(f, &f->b, "other");
    link_close(f->link);
    assert_int_equal(f->a.detached, 1);
    assert_int_equal(f->b.detached, 1);
    attachment_ack(f->a.attachment, 1, 1, 1); /* until the turn's end it may still be named */
    attachment_send(f->a.attachment, "x", 1);
    attachment_close(f->a.attachment, NULL);
    assert_false(attachment_may_send(f->a.attachment));
}

static void test_malformed_batch_is_dropped_whole(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session");
    cleanup_buffer struct buffer batch = {0};
    link_frame_write(&batch, LINK_MESSAGE, a, 4, "good", 4, false);
    link_frame_write(&batch, LINK_MESSAGE, a, 5, NULL, 9000, true);
    peer_send_parts(f, &batch, NULL, 0); /* the further part is missing */
    expect(f, LINK_RESET);
    expect(f, LINK_HELLO);
    assert_int_equal(f->a.messages, 0);
    peer_welcome(f, KERNEL, 5);
    expect(f, LINK_ATTACH);
    assert_int_equal(f->links->malformed, 1);
    buffer_clear(&batch);
    link_frame_write(&batch, LINK_STATUS, 0, 4, "{}", 2, false);
    peer_send_parts(f, &batch, "more", 4); /* a part that belongs to nobody */
    expect(f, LINK_RESET);
    assert_int_equal(f->links->malformed, 2);
    assert_int_equal(f->statuses, 0);
}

static int turns;

static bool many_turns(struct fixture *f) {
    attachment_ack(f->a.attachment, 0, (uint64_t)++turns, UINT64_MAX);
    f->ticks = 0;
    return f->links->stalled.head.next != &f->links->stalled.head || turns > 200000;
}

static bool heard_last(struct fixture *f) {
    for (; f->looked < f->heard_count; f->looked++)
        if (f->heard[f->looked].type == LINK_ACK &&
            number_of(&f->heard[f->looked]) == (uint64_t)turns)
            return true;
    if (f->heard_count > FRAMES_MAX / 2) { /* forget what was looked at */
        for (size_t i = 0; i < f->heard_count; i++)
            free(f->heard[i].payload);
        f->heard_count = f->looked = 0;
    }
    return false;
}

static void test_full_pipe_is_tried_again(void **state) {
    struct fixture *f = *state;
    come_up(f);
    attach(f, &f->a, "session");
    f->deaf = true;
    turns = 0;
    char filler[8000];
    memset(filler, 'f', sizeof filler);
    for (int i = 0; i < 4; i++)
        attachment_send(f->a.attachment, filler, sizeof filler);
    run_until(f, many_turns);
    assert_false(list_is_empty(&f->links->stalled));
    assert_non_null(f->link->stash);
    f->deaf = false;
    run_until(f, heard_last);
    assert_null(f->link->stash);
}

static bool heard_anything(struct fixture *f) {
    return f->route_length > 0;
}

static void test_launcher_that_came_back(void **state) {
    struct fixture *f = *state;
    come_up(f);
    attach(f, &f->a, "session");
    zmq_close(f->peer);
    f->route_length = 0;
    peer_open(f);
    link_command(f->link, "interrupt", NULL, 60000, on_result, f);
    /* libzmq connects again by itself. The command gets there, or is lost in the old connection and
     * the next question does: either shows that the launcher does not know us. */
    run_until(f, heard_anything);
    peer_say(f, LINK_RESET, 0, 0, "");
    expect(f, LINK_HELLO);
    peer_welcome(f, KERNEL, 3);
    peer_say(f, LINK_RESULT, 0, expect(f, LINK_COMMAND)->seq, "{\"ok\": true}");
    expect(f, LINK_ATTACH);
    run_until(f, one_result);
    assert_int_equal(f->result_code, ERROR_NONE);
}

static void test_new_generation(void **state) {
    struct fixture *f = *state;
    come_up(f);
    attach(f, &f->a, "session");
    char old[16];
    memcpy(old, f->route, sizeof old);
    cleanup_free char *route = memory_strdup(f->link->route);
    link_reconnect(f->link);
    assert_string_not_equal(route, f->link->route);
    expect(f, LINK_HELLO);
    assert_memory_not_equal(old, f->route, f->route_length);
    peer_welcome(f, KERNEL, 3);
    assert_true(has_member(expect(f, LINK_ATTACH), "from", "cursor"));
}

static void test_bad_endpoint(void **state) {
    struct fixture *f = *state;
    struct link *link;
    struct error err;
    struct provision_address address = {.endpoint = "nonsense"};
    assert_int_equal(link_open(f->links, OTHER, &address, &link_events, f, &link, &err), -1);
    assert_int_equal(err.code, ERROR_SYSTEM);
    address.endpoint = f->endpoint;
    assert_int_equal(link_open(f->links, "no id", &address, &link_events, f, &link, &err), -1);
    assert_int_equal(err.code, ERROR_INVALID);
    address.server_key = "short";
    assert_int_equal(link_open(f->links, OTHER, &address, &link_events, f, &link, &err), -1);
    assert_int_equal(err.code, ERROR_INVALID);
    char public_key[41], secret_key[41];
    assert_int_equal(zmq_curve_keypair(public_key, secret_key), 0);
    address.server_key = address.public_key = public_key;
    assert_int_equal(link_open(f->links, OTHER, &address, &link_events, f, &link, &err), -1);
    assert_non_null(strstr(err.text, "the gateway's secret key"));
    come_up(f); /* the others go on, without CURVE */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_hello_and_welcome),
        TEST(test_another_kernels_launcher_is_left),
        TEST(test_only_what_both_sides_named_is_used),
        TEST(test_welcomes_without_a_version_are_refused),
        TEST(test_commands),
        TEST(test_close_ends_attachments),
        TEST(test_malformed_batch_is_dropped_whole),
        TEST(test_full_pipe_is_tried_again),
        TEST(test_launcher_that_came_back),
        TEST(test_new_generation),
        TEST(test_bad_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
