/* The gateway's side of the link against a launcher written by hand: a ROUTER that says what a test wants said. */
#include "launcher/kernel_message.h"
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

static const char *const two_capabilities[] = {"rebuild", "announce", NULL};

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
        reconnect_offering(f, two_capabilities);
        const struct heard *hello = expect(f, LINK_HELLO);
        assert_non_null(strstr(hello->payload, "[\"rebuild\",\"announce\"]"));
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

static bool got_big(struct fixture *f) {
    return f->a.bytes >= 5 + 100000;
}

static int wanted_messages;

static bool got_messages(struct fixture *f) {
    return f->a.messages >= wanted_messages;
}

static void test_messages_and_acks(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session a");
    assert_int_equal(f->a.cursor, 3);
    peer_say(f, LINK_MESSAGE, (uint16_t)(a + 1), 4, "for nobody");
    peer_say(f, LINK_MESSAGE, a, 5, "hello");
    char *big = memory_alloc(100000);
    memset(big, 'x', 100000);
    peer_say_bytes(f, LINK_MESSAGE, a, 6, big, 100000);
    run_until(f, got_big);
    free(big);
    assert_int_equal(f->a.messages, 2);
    assert_memory_equal(f->a.kept.data, "hello", 5); /* outlives its batch */
    attachment_ack(f->a.attachment, 5, 5);
    attachment_ack(f->a.attachment, 0, 100005);
    const struct heard *ack = expect(f, LINK_ACK);
    assert_int_equal(ack->attachment, a);
    assert_int_equal(ack->seq, 5); /* the turn's two are one */
    assert_int_equal(number_of(ack), 100005);
    link_payload_release(f->a.kept.owner);
    attachment_close(f->a.attachment, NULL);
    assert_int_equal(expect(f, LINK_DETACH)->attachment, a);
    assert_int_equal(f->a.detached, 0);
}

/* A message for `a` that is this one's repeat, and that it has come. */
static void repeat(struct fixture *f, uint16_t a, uint64_t seq) {
    cleanup_buffer struct buffer batch = {0};
    assert_int_equal(link_frame_write(&batch, LINK_MESSAGE, a, seq, "again", 5, LINK_FLAG_REPEAT),
                     0);
    peer_send_parts(f, &batch, NULL, 0);
    wanted_messages = f->a.messages + 1;
    run_until(f, got_messages);
}

static bool is_rebuild(const struct heard *attach) {
    cleanup_json json_t *json = json_loadb(attach->payload, attach->length, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "unsure_ms")), 7);
    return json_is_true(json_object_get(json, "rebuild"));
}

/* A rebuild that was cut by a break of the link is asked for again, and what was handed on before counts no more: it was cleared. */
static void test_rebuilds(void **state) {
    struct fixture *f = *state;
    f->rebuilds = true;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session a");
    repeat(f, a, 0);
    repeat(f, a, 2);
    for (int i = 0; i < 2; i++) {
        peer_say(f, LINK_RESET, 0, 0, "");
        expect(f, LINK_HELLO);
        peer_welcome(f, KERNEL, 3);
        assert_int_equal(is_rebuild(expect(f, LINK_ATTACH)), i == 0);
        peer_say(f, LINK_ATTACHED, a, 3, "{\"resumed\": true, \"next_request\": 1}");
        repeat(f, a, 3);
        if (i == 0) {
            peer_say(f, LINK_MESSAGE, a, 4, "behind it");
            wanted_messages = f->a.messages + 1;
            run_until(f, got_messages);
        }
    }
    peer_say(f, LINK_MESSAGE, a, 4, "behind it"); /* it has it */
    repeat(f, a, 3);
    assert_int_equal(f->a.repeats, 5);
    assert_int_equal(f->a.last_seq, 3);
    struct attachment_ending ending = {
        .left = 4, .sure = UINT64_MAX, .suspect = 3, .is_broken = true};
    attachment_close(f->a.attachment, &ending);
    const struct heard *detach = expect(f, LINK_DETACH);
    assert_string_equal(detach->payload, "{\"left\":4,\"broken\":true,\"suspect\":3}");
}

static bool a_granted(struct fixture *f) {
    return f->a.granted > 1;
}

static void test_requests_wait_for_grants(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session a");
    assert_true(attachment_may_send(f->a.attachment));
    char *large = memory_alloc(LINK_GRANT_DEFAULT);
    attachment_send(f->a.attachment, "small", 5);
    attachment_send(f->a.attachment, large, LINK_GRANT_DEFAULT);
    free(large);
    assert_false(attachment_may_send(f->a.attachment));
    const struct heard *request = expect(f, LINK_REQUEST);
    assert_int_equal(request->seq, 1);
    assert_memory_equal(request->payload, "small", 5);
    settle(f);
    assert_int_equal(count_type(f, LINK_REQUEST), 1); /* the large one is beyond the grant */
    int granted = f->a.granted;
    peer_grant(f, a, 1, LINK_GRANT_DEFAULT); /* nothing outstanding: it goes alone */
    request = expect(f, LINK_REQUEST);
    assert_int_equal(request->seq, 2);
    assert_true(request->external);
    assert_int_equal(request->length, LINK_GRANT_DEFAULT);
    assert_int_equal(f->a.granted, granted);
    assert_false(attachment_may_send(f->a.attachment));
    peer_grant(f, a, 2, 3 * LINK_GRANT_DEFAULT);
    run_until(f, a_granted);
    assert_true(attachment_may_send(f->a.attachment));
}

/* Should this gateway be lost with it, the launcher answers its cell. */
static void test_what_waits_for_a_grant_is_announced(void **state) {
    static const char header[] = "{\"msg_id\":\"x\",\"msg_type\":\"execute_request\"}";
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session a");
    struct buffer message = {0};
    char *large = memory_alloc(LINK_GRANT_DEFAULT);
    attachment_send(f->a.attachment, "small", 5);
    attachment_send(f->a.attachment, large, LINK_GRANT_DEFAULT); /* nothing that can be answered */
    free(large);
    assert_int_equal(kernel_message_write(&message, CHANNEL_SHELL, bytes_of_text(header),
                                          bytes_of_text("{}"), bytes_of_text("{}"),
                                          bytes_of_text("{}"), NULL, 0),
                     0);
    attachment_send(f->a.attachment, message.data, message.length);
    buffer_free(&message);
    const struct heard *announced = expect(f, LINK_ANNOUNCE);
    assert_int_equal(announced->length, strlen(header));
    assert_memory_equal(announced->payload, header, strlen(header));
    settle(f);
    peer_grant(f, a, 1, LINK_GRANT_DEFAULT); /* the large one goes, the cell still waits */
    settle(f);
    assert_int_equal(count_type(f, LINK_ANNOUNCE), 1);
    assert_int_equal(count_type(f, LINK_REQUEST), 2);
}

static bool attached_twice(struct fixture *f) {
    return f->a.attached == 2;
}
static bool three_messages(struct fixture *f) {
    return f->a.messages == 3;
}

static void test_reset_repeats_what_was_not_taken(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session a");
    peer_say(f, LINK_MESSAGE, a, 4, "one");
    peer_say(f, LINK_MESSAGE, a, 5, "two");
    attachment_send(f->a.attachment, "r1", 2);
    attachment_send(f->a.attachment, "r2", 2);
    attachment_send(f->a.attachment, "r3", 2);
    link_command(f->link, "interrupt", NULL, 60000, on_result, f);
    const struct heard *command = expect(f, LINK_COMMAND);
    cleanup_json json_t *first = json_loadb(command->payload, command->length, 0, NULL);
    while (expect(f, LINK_REQUEST)->seq < 3)
        ;
    peer_grant(f, a, 1, LINK_GRANT_DEFAULT);
    peer_say(f, LINK_RESET, 0, 0, "");
    expect(f, LINK_HELLO);
    attachment_send(f->a.attachment, "r4", 2); /* meanwhile */
    peer_welcome(f, KERNEL, 5);
    command = expect(f, LINK_COMMAND);
    cleanup_json json_t *second = json_loadb(command->payload, command->length, 0, NULL);
    assert_true(json_equal(first, second)); /* the same id: carried out once */
    const struct heard *again = expect(f, LINK_ATTACH);
    assert_true(has_member(again, "from", "cursor"));
    peer_say(f, LINK_ATTACHED, a, 4, "{\"resumed\": true, \"next_request\": 3}");
    run_until(f, attached_twice);
    assert_false(f->a.anew);
    const struct heard *request = expect(f, LINK_REQUEST);
    assert_int_equal(request->seq, 3); /* 2 was taken, its GRANT was lost */
    assert_memory_equal(request->payload, "r3", 2);
    request = expect(f, LINK_REQUEST);
    assert_int_equal(request->seq, 4);
    assert_memory_equal(request->payload, "r4", 2);
    peer_say(f, LINK_MESSAGE, a, 5, "two"); /* it has that one */
    peer_say(f, LINK_MESSAGE, a, 6, "six!");
    run_until(f, three_messages);
    assert_int_equal(f->a.last_seq, 6);
    attachment_ack(f->a.attachment, 6, 10); /* three + three + four, since the beginning */
    const struct heard *ack;
    do
        ack = expect(f, LINK_ACK);
    while (ack->seq < 6);
    assert_int_equal(number_of(ack), 3 + 4); /* since ATTACH, the repeated one included */
    assert_int_equal(f->welcomed, 2);
}

static void test_without_a_session_nothing_is_repeated(void **state) {
    struct fixture *f = *state;
    come_up(f);
    assert_int_equal(
        attachment_open(f->link, &wish_of(NULL), &attachment_events, &f->a, &f->a.attachment, NULL),
        0);
    const struct heard *heard = expect(f, LINK_ATTACH);
    assert_true(has_member(heard, "session_id", NULL));
    assert_true(has_member(heard, "from", "live"));
    uint16_t a = heard->attachment;
    peer_say(f, LINK_ATTACHED, a, 3, "{\"resumed\": false, \"next_request\": 1}");
    attachment_send(f->a.attachment, "r1", 2);
    assert_int_equal(expect(f, LINK_REQUEST)->seq, 1);
    peer_say(f, LINK_RESET, 0, 0, "");
    expect(f, LINK_HELLO);
    attachment_send(f->a.attachment, "r2", 2);
    peer_welcome(f, KERNEL, 5);
    assert_true(has_member(expect(f, LINK_ATTACH), "from", "live"));
    peer_say(f, LINK_ATTACHED, a, 5, "{\"resumed\": false, \"next_request\": 1}");
    const struct heard *request = expect(f, LINK_REQUEST);
    assert_int_equal(request->seq, 1);
    assert_memory_equal(request->payload, "r2", 2);
}

static void test_two_attachments_share_a_session(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session");
    attachment_send(f->a.attachment, "a1", 2);
    assert_int_equal(expect(f, LINK_REQUEST)->seq, 1);
    uint16_t b = attach(f, &f->b, "session");
    assert_int_not_equal(a, b);
    attachment_send(f->b.attachment, "b2", 2);
    assert_int_equal(expect(f, LINK_REQUEST)->seq, 2);
    attachment_send(f->a.attachment, "a3", 2);
    assert_int_equal(expect(f, LINK_REQUEST)->seq, 3);
    /* All three come again in their order, once both are attached. */
    peer_say(f, LINK_RESET, 0, 0, "");
    expect(f, LINK_HELLO);
    peer_welcome(f, KERNEL, 5);
    expect(f, LINK_ATTACH);
    expect(f, LINK_ATTACH);
    peer_say(f, LINK_ATTACHED, b, 3, "{\"resumed\": true, \"next_request\": 1}");
    settle(f);
    assert_int_equal(count_type(f, LINK_REQUEST), 3);
    peer_say(f, LINK_ATTACHED, a, 3, "{\"resumed\": true, \"next_request\": 1}");
    const struct heard *request;
    for (uint64_t i = 1; i <= 3; i++) {
        request = expect(f, LINK_REQUEST);
        assert_int_equal(request->seq, i);
        assert_int_equal(request->attachment, i == 2 ? b : a);
    }
}

static void test_a_clients_last_words_arrive(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session");
    attachment_send(f->a.attachment, "bye", 3);
    attachment_close(f->a.attachment, NULL);
    assert_int_equal(expect(f, LINK_REQUEST)->seq, 1);
    settle(f);
    assert_int_equal(count_type(f, LINK_DETACH), 0); /* not taken yet: it would be repeated */
    peer_say(f, LINK_MESSAGE, a, 4, "too late");
    peer_grant(f, a, 1, LINK_GRANT_DEFAULT + 3);
    assert_int_equal(expect(f, LINK_DETACH)->attachment, a);
    assert_int_equal(f->a.messages, 0);
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
    attachment_ack(f->a.attachment, 1, 1); /* until the turn's end it may still be named */
    attachment_send(f->a.attachment, "x", 1);
    attachment_close(f->a.attachment, NULL);
    assert_false(attachment_may_send(f->a.attachment));
}

static bool a_detached(struct fixture *f) {
    return f->a.detached == 1;
}

static void test_launcher_refuses_an_attachment(void **state) {
    struct fixture *f = *state;
    come_up(f);
    struct error err;
    char long_id[300];
    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    const char *const bad[] = {"", "\xff", long_id};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(attachment_open(f->link, &wish_of(bad[i]), &attachment_events, &f->b,
                                         &f->b.attachment, &err),
                         -1);
        assert_int_equal(err.code, ERROR_INVALID);
    }
    assert_int_equal(
        attachment_open(f->link, &wish_of("s"), &attachment_events, &f->a, &f->a.attachment, &err),
        0);
    peer_say(f, LINK_DETACHED, expect(f, LINK_ATTACH)->attachment, 0, "{\"reason\": \"too many\"}");
    run_until(f, a_detached);
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
    attachment_ack(f->a.attachment, 0, (uint64_t)++turns);
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
    /* libzmq connects again by itself. The command gets there, or is lost in the old connection and the next question
     * does: either shows that the launcher does not know us. */
    run_until(f, heard_anything);
    peer_say(f, LINK_RESET, 0, 0, "");
    expect(f, LINK_HELLO);
    peer_welcome(f, KERNEL, 3);
    peer_say(f, LINK_RESULT, 0, expect(f, LINK_COMMAND)->seq, "{\"ok\": true}");
    expect(f, LINK_ATTACH);
    run_until(f, one_result);
    assert_int_equal(f->result_code, ERROR_NONE);
}

static bool got_first(struct fixture *f) {
    return f->a.messages > 0;
}

static bool got_second(struct fixture *f) {
    return f->a.messages > 1;
}

/* A launcher that lost its journal: its numbers are small again, and none of its messages is taken for one that was seen. */
static void test_journal_that_begins_again(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session");
    peer_say(f, LINK_MESSAGE, a, 50, "of the first launcher");
    run_until(f, got_first);
    attachment_ack(f->a.attachment, 50, f->a.bytes);
    peer_say(f, LINK_STATUS, 0, 50, "{\"phase\": \"ready\"}");
    assert_int_equal(expect(f, LINK_ACK)->seq, 50);
    link_reconnect(f->link);
    expect(f, LINK_HELLO);
    cleanup_free char *welcome =
        memory_printf("{\"version\": 1, \"launcher\": \"n2\", \"kernel_id\": \"%s\", "
                      "\"record\": {}, \"status\": {\"phase\": \"ready\"}}",
                      KERNEL);
    peer_say(f, LINK_WELCOME, 0, 1, welcome);
    a = expect(f, LINK_ATTACH)->attachment;
    peer_say(f, LINK_ATTACHED, a, 1, "{\"resumed\": false, \"next_request\": 1}");
    peer_say(f, LINK_MESSAGE, a, 2, "of the second");
    run_until(f, got_second);
    assert_string_equal(f->a.text, "of the second");
    assert_int_equal(f->a.last_seq, 2);
    attachment_ack(f->a.attachment, 2, f->a.bytes);
    assert_int_equal(expect(f, LINK_ACK)->seq, 2); /* not what was delivered of the first one's */
}

static bool one_message(struct fixture *f) {
    return f->a.messages == 1;
}

static bool both_messages(struct fixture *f) {
    return f->a.messages == 2;
}

/* A new launcher whose journal began again, where another gateway has attached the session already: low numbers are new ones. */
static void test_session_resumed_in_another_journal(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session");
    assert_true(f->a.anew);
    peer_say(f, LINK_MESSAGE, a, 4, "four");
    run_until(f, one_message);
    peer_say(f, LINK_RESET, 0, 0, "");
    expect(f, LINK_HELLO);
    peer_welcome_as(f, "n2", KERNEL, 2);
    expect(f, LINK_ATTACH);
    attachment_ack(f->a.attachment, 4, 4); /* it arrived, but its number means nothing here */
    peer_say(f, LINK_ATTACHED, a, 1, "{\"resumed\": true, \"next_request\": 1}");
    run_until(f, attached_twice);
    assert_true(f->a.anew);
    peer_say(f, LINK_MESSAGE, a, 2, "two");
    run_until(f, both_messages);
    assert_int_equal(f->a.last_seq, 2);
    attachment_ack(f->a.attachment, 0, 7);
    const struct heard *ack = expect(f, LINK_ACK);
    while (number_of(ack) < 3) {
        assert_int_equal(ack->seq, 0);
        ack = expect(f, LINK_ACK);
    }
    assert_int_equal(ack->seq, 0); /* nobody has said that the second has arrived */
    assert_int_equal(number_of(ack), 3);
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
    assert_int_equal(link_open(f->links, OTHER, "nonsense", NULL, &link_events, f, &link, &err),
                     -1);
    assert_int_equal(err.code, ERROR_SYSTEM);
    assert_int_equal(link_open(f->links, "no id", f->endpoint, NULL, &link_events, f, &link, &err),
                     -1);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_int_equal(link_open(f->links, OTHER, f->endpoint, "short", &link_events, f, &link, &err),
                     -1);
    assert_int_equal(err.code, ERROR_INVALID);
    come_up(f); /* the others go on, without CURVE */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_hello_and_welcome),
        TEST(test_another_kernels_launcher_is_left),
        TEST(test_only_what_both_sides_named_is_used),
        TEST(test_welcomes_without_a_version_are_refused),
        TEST(test_messages_and_acks),
        TEST(test_rebuilds),
        TEST(test_requests_wait_for_grants),
        TEST(test_what_waits_for_a_grant_is_announced),
        TEST(test_reset_repeats_what_was_not_taken),
        TEST(test_without_a_session_nothing_is_repeated),
        TEST(test_two_attachments_share_a_session),
        TEST(test_a_clients_last_words_arrive),
        TEST(test_commands),
        TEST(test_close_ends_attachments),
        TEST(test_launcher_refuses_an_attachment),
        TEST(test_malformed_batch_is_dropped_whole),
        TEST(test_full_pipe_is_tried_again),
        TEST(test_launcher_that_came_back),
        TEST(test_journal_that_begins_again),
        TEST(test_session_resumed_in_another_journal),
        TEST(test_new_generation),
        TEST(test_bad_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
