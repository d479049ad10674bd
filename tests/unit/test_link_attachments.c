/* What the gateway's side of the link does for its attachments: messages, requests, and what of
 * them is repeated. See test_links.c. */
#include "launcher/kernel_message.h"
#include "links_fixture.h"

static void peer_grant(struct fixture *f, uint16_t attachment, uint64_t taken, uint64_t granted) {
    uint8_t payload[8];
    link_u64_write(payload, granted);
    peer_say_bytes(f, LINK_GRANT, attachment, taken, payload, sizeof payload);
}

static size_t count_type(const struct fixture *f, enum link_type type) {
    size_t count = 0;
    for (size_t i = 0; i < f->heard_count; i++)
        count += f->heard[i].type == type;
    return count;
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
    attachment_ack(f->a.attachment, 5, 5, UINT64_MAX);
    attachment_ack(f->a.attachment, 0, 100005, 4);
    const struct heard *ack = expect(f, LINK_ACK);
    assert_int_equal(ack->attachment, a);
    assert_int_equal(ack->seq, 5); /* the turn's two are one */
    uint64_t consumed, sure;
    struct link_frame frame = {.length = (uint32_t)ack->length};
    assert_int_equal(link_ack_read(&frame, (const uint8_t *)ack->payload, &consumed, &sure), 0);
    assert_int_equal(consumed, 100005);
    assert_int_equal(sure, 4);
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

/* A rebuild that was cut by a break of the link is asked for again, and what was handed on before
 * counts no more: it was cleared. */
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

static void send_cell(struct attachment *attachment, const char *header) {
    cleanup_buffer struct buffer message = {0};
    struct bytes none = bytes_of_text("{}");
    assert_int_equal(kernel_message_write(&message, CHANNEL_SHELL, bytes_of_text(header), none,
                                          none, none, NULL, 0),
                     0);
    attachment_send(attachment, message.data, message.length);
}

static void expect_announced(struct fixture *f, enum link_announcement what, const char *header) {
    const struct heard *announced = expect(f, LINK_ANNOUNCE);
    assert_int_equal(announced->seq, what);
    assert_int_equal(announced->length, strlen(header));
    assert_memory_equal(announced->payload, header, strlen(header));
}

static const char cell_header[] = "{\"msg_id\":\"x\",\"msg_type\":\"execute_request\"}";

/* Should this gateway be lost with it, the launcher answers its cell. */
static void test_what_waits_for_a_grant_is_announced(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session a");
    char *large = memory_alloc(LINK_GRANT_DEFAULT);
    attachment_send(f->a.attachment, "small", 5);
    attachment_send(f->a.attachment, large, LINK_GRANT_DEFAULT); /* nothing that can be answered */
    free(large);
    send_cell(f->a.attachment, cell_header);
    assert_false(attachment_is_recorded(f->a.attachment));
    expect_announced(f, LINK_ANNOUNCE_MAY_COME, cell_header);
    assert_true(attachment_is_recorded(f->a.attachment));
    settle(f);
    peer_grant(f, a, 1, LINK_GRANT_DEFAULT); /* the large one goes, the cell still waits */
    settle(f);
    assert_int_equal(count_type(f, LINK_ANNOUNCE), 1);
    assert_int_equal(count_type(f, LINK_REQUEST), 2);
}

static void test_what_comes_while_the_link_holds_is_announced_and_waits(void **state) {
    struct fixture *f = *state;
    come_up(f);
    attach(f, &f->a, "session a");
    attachment_send(f->a.attachment, "before", 6);
    link_hold_requests(f->link, true);
    send_cell(f->a.attachment, cell_header);
    expect_announced(f, LINK_ANNOUNCE_MAY_COME, cell_header);
    settle(f);
    assert_int_equal(count_type(f, LINK_REQUEST), 1);
    link_hold_requests(f->link, false);
    assert_int_equal(expect(f, LINK_REQUEST)->seq, 2);
}

/* What is under way goes its way; of what is not the launcher is told before the attachment
 * ends. */
static void test_what_is_given_up_is_said(void **state) {
    struct fixture *f = *state;
    come_up(f);
    attach(f, &f->a, "session a");
    send_cell(f->a.attachment, "{\"msg_id\":\"w\",\"msg_type\":\"execute_request\"}");
    expect(f, LINK_REQUEST);
    link_hold_requests(f->link, true);
    send_cell(f->a.attachment, cell_header);
    expect_announced(f, LINK_ANNOUNCE_MAY_COME, cell_header);
    links_give_up_requests(f->links);
    assert_false(attachment_may_send(f->a.attachment));
    expect_announced(f, LINK_ANNOUNCE_GIVEN_UP, cell_header);
    settle(f);
    assert_int_equal(count_type(f, LINK_DETACH), 0);
    attachment_close(f->a.attachment, NULL);
    expect(f, LINK_DETACH);
    settle(f);
    assert_int_equal(count_type(f, LINK_REQUEST), 1);
}

/* It leaves a request that is under way when the connection breaks: that goes out again before the
 * attachment ends. */
static void test_a_request_of_one_that_left_is_repeated_after_a_break(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session a");
    attachment_send(f->a.attachment, "one", 3);
    expect(f, LINK_REQUEST);
    attachment_close(f->a.attachment, NULL);
    settle(f);
    peer_say(f, LINK_RESET, 0, 0, "");
    expect(f, LINK_HELLO);
    peer_welcome(f, KERNEL, 0);
    expect(f, LINK_ATTACH);
    peer_say(f, LINK_ATTACHED, a, 0, "{\"resumed\": true, \"next_request\": 1}");
    assert_int_equal(expect(f, LINK_REQUEST)->seq, 1);
    peer_grant(f, a, 1, LINK_GRANT_DEFAULT);
    expect(f, LINK_DETACH);
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
    attachment_ack(f->a.attachment, 6, 10,
                   UINT64_MAX); /* three + three + four, since the beginning */
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

static bool got_first(struct fixture *f) {
    return f->a.messages > 0;
}

static bool got_second(struct fixture *f) {
    return f->a.messages > 1;
}

/* A launcher that lost its journal: its numbers are small again, and none of its messages is taken
 * for one that was seen. */
static void test_journal_that_begins_again(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session");
    peer_say(f, LINK_MESSAGE, a, 50, "of the first launcher");
    run_until(f, got_first);
    attachment_ack(f->a.attachment, 50, f->a.bytes, UINT64_MAX);
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
    attachment_ack(f->a.attachment, 2, f->a.bytes, UINT64_MAX);
    assert_int_equal(expect(f, LINK_ACK)->seq, 2); /* not what was delivered of the first one's */
}

static bool one_message(struct fixture *f) {
    return f->a.messages == 1;
}

static bool both_messages(struct fixture *f) {
    return f->a.messages == 2;
}

/* Its numbers may have grown beyond those we know until we hear of it. */
static void test_journal_that_begins_again_and_has_grown(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session");
    peer_say(f, LINK_MESSAGE, a, 4, "four");
    run_until(f, one_message);
    peer_say(f, LINK_RESET, 0, 0, "");
    expect(f, LINK_HELLO);
    f->numbering = "second";
    peer_welcome_as(f, "n2", KERNEL, 9);
    expect(f, LINK_ATTACH);
    peer_say(f, LINK_ATTACHED, a, 1, "{\"resumed\": true, \"next_request\": 1}");
    run_until(f, attached_twice);
    assert_true(f->a.anew);
    peer_say(f, LINK_MESSAGE, a, 2, "two");
    run_until(f, both_messages);
    assert_int_equal(f->a.last_seq, 2);
}

/* A new launcher whose journal began again, where another gateway has attached the session already:
 * low numbers are new ones. */
static void test_session_resumed_in_another_journal(void **state) {
    struct fixture *f = *state;
    come_up(f);
    uint16_t a = attach(f, &f->a, "session");
    assert_true(f->a.anew);
    peer_say(f, LINK_MESSAGE, a, 4, "four");
    run_until(f, one_message);
    attachment_ack(f->a.attachment, 0, 0, 4);
    expect(f, LINK_ACK);
    peer_say(f, LINK_RESET, 0, 0, "");
    expect(f, LINK_HELLO);
    peer_welcome_as(f, "n2", KERNEL, 2);
    expect(f, LINK_ATTACH);
    attachment_ack(f->a.attachment, 4, 4, 4); /* it arrived, but its number means nothing here */
    peer_say(f, LINK_ATTACHED, a, 1, "{\"resumed\": true, \"next_request\": 1}");
    run_until(f, attached_twice);
    assert_true(f->a.anew);
    peer_say(f, LINK_MESSAGE, a, 2, "two");
    peer_say(f, LINK_MESSAGE, a, 2, "two"); /* again: what is skipped is acknowledged by itself */
    run_until(f, both_messages);
    assert_int_equal(f->a.last_seq, 2);
    assert_int_equal(number_of(expect(f, LINK_ACK)), 3);
    attachment_ack(f->a.attachment, 0, 7, UINT64_MAX);
    const struct heard *ack = expect(f, LINK_ACK);
    while (number_of(ack) < 6) {
        assert_int_equal(ack->seq, 0);
        ack = expect(f, LINK_ACK);
    }
    assert_int_equal(ack->seq, 0); /* nobody has said that the second has arrived */
    assert_int_equal(number_of(ack), 6);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_messages_and_acks),
        TEST(test_rebuilds),
        TEST(test_requests_wait_for_grants),
        TEST(test_what_waits_for_a_grant_is_announced),
        TEST(test_what_comes_while_the_link_holds_is_announced_and_waits),
        TEST(test_what_is_given_up_is_said),
        TEST(test_a_request_of_one_that_left_is_repeated_after_a_break),
        TEST(test_reset_repeats_what_was_not_taken),
        TEST(test_without_a_session_nothing_is_repeated),
        TEST(test_two_attachments_share_a_session),
        TEST(test_a_clients_last_words_arrive),
        TEST(test_launcher_refuses_an_attachment),
        TEST(test_journal_that_begins_again),
        TEST(test_journal_that_begins_again_and_has_grown),
        TEST(test_session_resumed_in_another_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
