/* What a client that comes back is shown anew: cells of which it is unsure what arrived, and
 * nothing else. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "link_cells.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WINDOW = 64 << 20, PROXY_MS = 90000 };

static void test_what_may_have_arrived_is_shown_anew(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    status(world, 0, "starting"); /* 4: a dialog if it came twice */
    say(world, 'a', "comm_msg", "{}");
    for (int i = 0; i < 2; i++)
        peer_expect(peer, LINK_MESSAGE, 1);
    ack(peer, 1, 2);
    detach(peer, 1, "{\"left\": 3, \"broken\": true}");
    say(world, 'a', "stream", "{}"); /* 6, while it is away */
    assert_int_equal(attach(peer, 2, "s", 0, true), 2);
    expect(peer, 2, REPEAT, 0, 'a', "clear_output");
    expect(peer, 2, REPEAT, 1, 'a', "status");
    expect(peer, 2, REPEAT, 2, 'a', "stream");
    expect(peer, 2, STREAM, 3, 'a', "stream");
    expect(peer, 2, STREAM, 4, 0, "status");
    expect(peer, 2, STREAM, 5, 'a', "comm_msg");
    expect(peer, 2, STREAM, 6, 'a', "stream");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_nothing_is_shown_anew_that_is_sure(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    ack(peer, 1, 3);
    detach(peer, 1, "{\"left\": 3, \"broken\": true}");
    say(world, 'a', "stream", "{}");
    assert_int_equal(attach(peer, 2, "s", 0, true), 3);
    expect(peer, 2, STREAM, 4, 'a', "stream");
    peer_expect_nothing(peer);
    attach(peer, 3, "s", 0, true); /* at once, from two sockets: 4 is unsure */
    expect(peer, 3, REPEAT, 0, 'a', "clear_output");
    for (uint64_t seq = 1; seq <= 3; seq++)
        expect(peer, 3, REPEAT, seq, 'a', seq == 1 ? "status" : "stream");
    expect(peer, 3, STREAM, 4, 'a', "stream");
    ack(peer, 3, 4);
    attach(peer, 4, "s", 0, true); /* and now it is not */
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_cells_that_are_sure_stay_as_they_are(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    session_number session = number_of(world, "s");
    say_to(world, session, CHANNEL_SHELL, 'a', "execute_reply", "{}", 0); /* 4 */
    status(world, 'a', "idle");
    status(world, 'b', "busy");                                               /* 6 */
    say_to(world, session + 1, CHANNEL_SHELL, 'b', "execute_reply", "{}", 0); /* another's */
    say(world, 'b', "execute_input", "{}");
    say(world, 'b', "update_display_data", "{}");
    for (int i = 0; i < 5; i++)
        peer_expect(peer, LINK_MESSAGE, 1);
    ack(peer, 1, 8);
    detach(peer, 1, "{\"left\": 9, \"broken\": false}");
    attach(peer, 2, "s", 0, true);
    expect(peer, 2, REPEAT, 0, 'b', "clear_output");
    expect(peer, 2, REPEAT, 6, 'b', "status");
    expect(peer, 2, REPEAT, 8, 'b', "execute_input");
    expect(peer, 2, STREAM, 9, 'b', "update_display_data");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_without_the_capability_it_is_as_it_was(void **state) {
    struct world *world = *state;
    struct peer *peer = gateway(world, "g", "\"later\"");
    attach(peer, 1, "s", 0, true);
    status(world, 'a', "busy");
    peer_expect(peer, LINK_MESSAGE, 1);
    detach(peer, 1, "");
    attach(peer, 2, "s", 0, true);
    expect(peer, 2, STREAM, 1, 'a', "status");
    attach(peer, 3, "new", 0, true);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_the_same_client_over_a_new_link_gets_no_repeats(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    struct peer *again = gateway(world, "g", "\"rebuild\"");
    attach(again, 1, "s", 0, false);
    expect(again, 1, STREAM, 1, 'a', "status");
    peer_expect(again, LINK_MESSAGE, 1);
    peer_expect(again, LINK_MESSAGE, 1);
    peer_expect_nothing(again);
    peer_destroy(peer);
    peer_destroy(again);
}

static void test_a_lost_gateway_leaves_everything_sent_unsure(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0), *next = gateway(world, "h", "\"rebuild\"");
    ack(peer, 1, 2);
    attach(next, 1, "s", 0, true); /* the old connection is not known to be gone */
    expect(next, 1, REPEAT, 0, 'a', "clear_output");
    expect(next, 1, REPEAT, 1, 'a', "status");
    expect(next, 1, REPEAT, 2, 'a', "stream");
    expect(next, 1, STREAM, 3, 'a', "stream");
    peer_expect_nothing(next);
    peer_destroy(peer);
    peer_destroy(next);
}

/* The break of a rebuild must not leave a cell cleared. */
static void test_a_rebuild_that_breaks_is_done_again(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    ack(peer, 1, 2);
    detach(peer, 1, "{\"left\": 3, \"broken\": true}");
    for (uint16_t number = 2; number < 6; number++) {
        attach(peer, number, "s", 0, true);
        expect(peer, number, REPEAT, 0, 'a', "clear_output");
        expect(peer, number, REPEAT, 1, 'a', "status");
        expect(peer, number, REPEAT, 2, 'a', "stream");
        expect(peer, number, STREAM, 3, 'a', "stream");
        detach(peer, number, "{\"left\": 2, \"broken\": true}");
    }
    attach(peer, 6, "s", 0, true);
    for (int i = 0; i < 4; i++)
        peer_expect(peer, LINK_MESSAGE, 6);
    ack(peer, 6, 3); /* which proves what came before it */
    detach(peer, 6, "{\"left\": 3, \"broken\": true}");
    attach(peer, 7, "s", 0, true);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_repeats_count_and_prove_nothing(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    struct link_session *session = map_get(world->server->sessions, "s");
    ack(peer, 1, 2);
    detach(peer, 1, "{\"left\": 3, \"broken\": true}");
    attach(peer, 2, "s", 0, true);
    uint64_t bytes = 0;
    for (int i = 0; i < 4; i++)
        bytes += peer_expect(peer, LINK_MESSAGE, 2)->frame.length;
    peer_u64(peer, LINK_ACK, 2, 0, bytes + 1); /* refused */
    peer_send(peer);
    peer_expect_nothing(peer);
    assert_int_equal(
        list_entry(session->attachments.head.next, struct link_attachment, node)->consumed, 0);
    peer_u64(peer, LINK_ACK, 2, 0, bytes);
    peer_send(peer);
    peer_expect_nothing(peer);
    const struct link_attachment *attachment =
        list_entry(session->attachments.head.next, struct link_attachment, node);
    assert_int_equal(attachment->consumed, bytes);
    assert_int_equal(session->slot->cursor, 2);
    peer_destroy(peer);
}

static void test_the_window_holds_a_rebuild_back(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    for (int i = 0; i < 20; i++)
        say_to(world, 0, CHANNEL_IOPUB, 'a', "display_data", "{}", 1000);
    for (int i = 0; i < 20; i++)
        peer_expect(peer, LINK_MESSAGE, 1);
    ack(peer, 1, 22);
    detach(peer, 1, "{\"left\": 23, \"broken\": true}");
    peer_json(peer, LINK_ATTACH, 2, 0,
              "{\"session_id\": \"s\", \"window\": 2500, \"from\": \"cursor\", \"rebuild\": true}");
    peer_send(peer);
    peer_expect(peer, LINK_ATTACHED, 2);
    uint64_t consumed = 0, next = 1;
    while (next <= 23) { /* clear_output, then 1 ... 23 */
        struct inbox_frame *frame = peer_expect(peer, LINK_MESSAGE, 2);
        assert_true(frame->frame.seq == 0 || frame->frame.seq == next);
        assert_int_equal(!!(frame->frame.flags & LINK_FLAG_REPEAT), frame->frame.seq <= 22);
        next += frame->frame.seq != 0;
        consumed += frame->frame.length;
        peer_u64(peer, LINK_ACK, 2, 0, consumed);
        peer_send(peer);
    }
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_a_notebook_server_may_have_swallowed_what_it_acknowledged(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, PROXY_MS);
    status(world, 'a', "idle");
    peer_expect(peer, LINK_MESSAGE, 1);
    ack(peer, 1, 4);
    detach(peer, 1, "{\"left\": 4, \"broken\": false}");
    attach(peer, 2, "s", PROXY_MS, true);
    expect(peer, 2, REPEAT, 0, 'a', "clear_output");
    for (uint64_t seq = 1; seq <= 4; seq++)
        expect(peer, 2, REPEAT, seq, 'a', seq == 1 || seq == 4 ? "status" : "stream");
    peer_expect_nothing(peer);
    detach(peer, 2, "{\"left\": 4, \"broken\": false}");
    attach(peer, 3, "s", 0, true); /* and it still may have */
    expect(peer, 3, REPEAT, 0, 'a', "clear_output");
    peer_destroy(peer);
}

/* The launcher is killed, and another one goes on from its files, as they are now. */
static struct peer *start_anew(struct world *world, struct peer *peer) {
    cleanup_free char *path = memory_printf("%s/sessions", world->directory);
    cleanup_buffer struct buffer sessions = {0};
    assert_int_equal(file_read(path, 1 << 20, &sessions, NULL), 0);
    peer_destroy(peer);
    link_server_destroy(&world->server);
    assert_int_equal(file_write(path, sessions.data, sessions.length, 0600, NULL), 0);
    world_start(world, NULL);
    return gateway(world, "g", "\"rebuild\"");
}

static void expect_whole_cell(struct peer *peer, uint16_t number, uint64_t last) {
    expect(peer, number, REPEAT, 0, 'a', "clear_output");
    expect(peer, number, REPEAT, 1, 'a', "status");
    for (uint64_t seq = 2; seq <= last; seq++)
        expect(peer, number, REPEAT, seq, 'a', "stream");
}

static void test_what_was_swallowed_outlives_the_launcher(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, PROXY_MS);
    ack(peer, 1, 3);
    peer = start_anew(world, peer); /* while it is attached */
    assert_int_equal(attach(peer, 1, "s", PROXY_MS, false), 3);
    say(world, 'a', "stream", "{}");
    expect(peer, 1, STREAM, 4, 'a', "stream");
    ack(peer, 1, 4);
    peer = start_anew(world, peer); /* again, and now its client is a new one */
    assert_int_equal(attach(peer, 1, "s", PROXY_MS, true), 4);
    expect_whole_cell(peer, 1, 4);
    peer_expect_nothing(peer);
    detach(peer, 1, "{\"left\": 4, \"broken\": false}");
    peer = start_anew(world, peer); /* after it has left */
    assert_int_equal(attach(peer, 1, "s", PROXY_MS, true), 4);
    expect_whole_cell(peer, 1, 4);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_what_was_unsure_outlives_the_launcher(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    ack(peer, 1, 3);
    detach(peer, 1, "{\"left\": 3, \"broken\": true, \"sure\": 1}");
    peer = start_anew(world, peer);
    attach(peer, 1, "s", 0, true);
    expect_whole_cell(peer, 1, 3);
    peer = start_anew(world, peer); /* nothing says that the rebuild arrived */
    attach(peer, 1, "s", 0, true);
    expect_whole_cell(peer, 1, 3);
    say(world, 'a', "stream", "{}");
    expect(peer, 1, STREAM, 4, 'a', "stream");
    ack(peer, 1, 4); /* and this does */
    peer = start_anew(world, peer);
    attach(peer, 1, "s", 0, true);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_what_was_sure_is_sure_after_the_launcher(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    ack(peer, 1, 3);
    for (int has_left = 0; has_left < 2; has_left++) {
        if (has_left)
            detach(peer, 1, "{\"left\": 3, \"broken\": false}");
        peer = start_anew(world, peer);
        attach(peer, 1, "s", 0, true);
        peer_expect_nothing(peer);
    }
    peer_destroy(peer);
}

static void test_a_cell_without_its_beginning_is_not_cleared(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    for (int i = 0; i < 2; i++) { /* 4, 5: pushed out of the table, it speaks again */
        say(world, 'b', "stream", "{}");
        peer_expect(peer, LINK_MESSAGE, 1);
    }
    ack(peer, 1, 4);
    detach(peer, 1, "{\"left\": 5, \"broken\": true}");
    attach(peer, 2, "s", 0, true);
    expect(peer, 2, REPEAT, 0, 'b', "stream"); /* that it may stand twice */
    expect(peer, 2, STREAM, 5, 'b', "stream");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_a_direct_client_that_fell_silent_is_unsure_since_then(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    ack(peer, 1, 3);
    detach(peer, 1, "{\"left\": 3, \"broken\": true, \"sure\": 1}");
    attach(peer, 2, "s", 0, true);
    expect(peer, 2, REPEAT, 0, 'a', "clear_output");
    peer_destroy(peer);
}

/* Nobody says DETACH for a gateway that was killed: what its client's TCP had acknowledged may lie
 * unread. */
static void test_a_lost_gateway_has_said_how_far_its_client_was_there(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    static const char *const names[] = {"not known to be gone", "g"};
    for (uint16_t i = 0; i < 2; i++) { /* it is gone, and so is what the first one was told */
        ack_sure(peer, 1, 3, 1);
        struct peer *next = gateway(world, names[i], "\"rebuild\", \"sure\"");
        attach(next, 1, "s", 0, true);
        expect_whole_cell(next, 1, 3);
        peer_expect_nothing(next);
        peer_destroy(i == 0 ? next : peer);
        peer = i == 0 ? peer : next;
    }
    for (uint64_t last = 3; last < 5; last++) { /* and the launcher with it */
        peer = start_anew(world, peer);
        attach(peer, 1, "s", 0, true);
        expect_whole_cell(peer, 1, last);
        say(world, 'a', "stream", "{}");
        expect(peer, 1, STREAM, last + 1, 'a', "stream");
        ack_sure(peer, 1, last + 1, last);
    }
    ack_sure(peer, 1, 0, 5); /* it was heard of */
    peer = start_anew(world, peer);
    attach(peer, 1, "s", 0, true);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

/* A gateway that answers for all its clients knows them better than what it said before. */
static void test_clients_of_one_gateway_are_as_sure_as_it_says_last(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    ack_sure(peer, 1, 3, 1);
    attach(peer, 2, "s", 0, true);
    peer_expect_nothing(peer);
    detach(peer, 1, "{\"left\": 3}"); /* which says nothing new of it */
    attach(peer, 3, "s", 0, true);
    expect_whole_cell(peer, 3, 3);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_a_newcomer_sees_what_runs(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    session_number session = number_of(world, "s");
    status(world, 'a', "idle");
    status(world, 'b', "busy"); /* 5 */
    say(world, 'b', "execute_input", "{}");
    say(world, 'b', "stream", "{}");
    say_to(world, session, CHANNEL_STDIN, 'b', "input_request", "{}", 0);
    pass_over(peer, 5);
    for (uint16_t number = 2; number < 4; number++) { /* its first socket may be nobody's */
        assert_int_equal(attach(peer, number, "new", 0, true), 8);
        if (number == 3)
            expect(peer, number, REPEAT, 0, 'b', "clear_output");
        expect(peer, number, REPEAT, 5, 'b', "status");
        expect(peer, number, REPEAT, 6, 'b', "execute_input");
        expect(peer, number, REPEAT, 7, 'b', "stream");
        peer_expect_nothing(peer);
    }
    peer_destroy(peer);
}

static void test_a_question_is_asked_again_until_it_is_answered(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    session_number session = number_of(world, "s");
    say_to(world, session, CHANNEL_STDIN, 'a', "input_request", "{}", 0); /* 4 */
    peer_expect(peer, LINK_MESSAGE, 1);
    ack(peer, 1, 4);
    detach(peer, 1, "{\"left\": 4, \"broken\": false}");
    attach(peer, 2, "other", 0, true); /* it is not asked */
    for (uint64_t seq = 1; seq <= 3; seq++)
        expect(peer, 2, REPEAT, seq, 'a', seq == 1 ? "status" : "stream");
    peer_expect_nothing(peer);
    attach(peer, 3, "s", 0, true);
    expect(peer, 3, REPEAT, 0, 'a', "clear_output");
    for (uint64_t seq = 1; seq <= 3; seq++)
        expect(peer, 3, REPEAT, seq, 'a', seq == 1 ? "status" : "stream");
    expect(peer, 3, REPEAT, 4, 'a', "input_request");
    peer_expect_nothing(peer);

    cleanup_buffer struct buffer answer = {0};
    make_message(&answer, CHANNEL_STDIN, "\"Ada\"", 0);
    peer_frame(peer, LINK_REQUEST, 3, 1, answer.data, answer.length);
    peer_send(peer);
    world_run_until_request(world, 1);
    attach(peer, 4, "s", 0, true);
    while (peer->inbox_at < peer->inbox_count)
        assert_int_not_equal(peer_next(peer)->frame.seq, 4);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_a_message_that_ends_connections_is_left_out(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    session_number session = number_of(world, "s");
    ack(peer, 1, 3);
    say_to(world, session, CHANNEL_SHELL, 'a', "execute_reply", "{}", 5 << 20); /* 4 */
    say(world, 'a', "stream", "{}");
    pass_over(peer, 2);
    static const char ending[] = "{\"left\": 4, \"broken\": true, \"suspect\": 4}";
    detach(peer, 1, ending);
    attach(peer, 2, "s", 0, true);
    pass_over(peer, 6); /* the cell, and it is tried again */
    detach(peer, 2, "{\"left\": 4, \"broken\": false, \"suspect\": 4}");
    attach(peer, 3, "s", 0, true);
    pass_over(peer, 6);
    detach(peer, 3, ending);
    attach(peer, 4, "s", 0, true);
    pass_over(peer, 4);
    struct inbox_frame *frame = peer_expect(peer, LINK_MESSAGE, 4);
    assert_int_equal(frame->frame.seq, 4);
    assert_int_equal(frame->frame.flags & LINK_FLAG_REPEAT, 0);
    assert_true(frame->frame.length < 2000);
    assert_non_null(memmem(frame->payload, frame->frame.length, "execute_reply, 524", 18));
    expect(peer, 4, STREAM, 5, 'a', "stream");
    ack(peer, 4, 5);
    say(world, 'a', "stream", "{}");
    pass_over(peer, 1);
    detach(peer, 4, "{\"left\": 6, \"broken\": true}");
    attach(peer, 5, "s", 0, true); /* nor in a rebuild */
    pass_over(peer, 4);
    assert_true(peer_expect(peer, LINK_MESSAGE, 5)->frame.length < 2000);
    peer_destroy(peer);
}

static void test_small_messages_are_not_suspected(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    ack(peer, 1, 2);
    for (uint16_t number = 1; number < 12; number++) {
        detach(peer, number, "{\"left\": 3, \"broken\": true, \"suspect\": 3}");
        attach(peer, (uint16_t)(number + 1), "s", 0, true);
        pass_over(peer, 3);
        expect(peer, (uint16_t)(number + 1), STREAM, 3, 'a', "stream");
    }
    peer_destroy(peer);
}

static void test_bad_endings_are_refused(void **state) {
    static const char *const bad[] = {
        "garbage",
        "[]",
        "{\"left\": -1}",
        "{\"left\": \"3\"}",
        "{\"left\": 1000}",
        "{\"left\": 3, \"sure\": -5}",
        "{\"left\": 3, \"suspect\": {}}",
        "{\"left\": 9223372036854775807}",
        "{\"left\": 1e300}",
        "\x00\xFF",
    };
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        detach(peer, (uint16_t)(i + 1), bad[i]);
        attach(peer, (uint16_t)(i + 2), "s", 0, true); /* as if nothing had been said */
        expect(peer, (uint16_t)(i + 2), REPEAT, 0, 'a', "clear_output");
        for (uint64_t seq = 1; seq <= 3; seq++)
            expect(peer, (uint16_t)(i + 2), STREAM, seq, 'a', seq == 1 ? "status" : "stream");
        peer_expect_nothing(peer);
    }
    peer_destroy(peer);
}

/* The cursor passes over what is for others: a client to which nothing more was sent ends there. */
static void test_an_ending_behind_what_was_sent_to_others_is_taken(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    const struct link_session *session = map_get(world->server->sessions, "s");
    ack(peer, 1, 3);
    attach(peer, 2, "another", 0, false);
    say_to(world, number_of(world, "another"), CHANNEL_SHELL, 'a', "execute_reply", "{}", 0);
    peer_expect(peer, LINK_MESSAGE, 2);
    detach(peer, 1, "{\"left\": 3}");
    assert_int_equal(attach(peer, 1, "s", 0, true), 4);
    detach(peer, 1, "{\"left\": 5, \"broken\": true}"); /* that was sent to nobody */
    assert_int_equal(session->suspect_ends, 0);
    assert_int_equal(attach(peer, 1, "s", 0, true), 4);
    detach(peer, 1, "{\"left\": 4, \"broken\": true}");
    assert_int_equal(session->suspect_ends, 1);
    peer_destroy(peer);
}

#define test_server(test) cmocka_unit_test_setup_teardown(test, world_setup, world_destroy)

int main(void) {
    const struct CMUnitTest tests[] = {
        test_server(test_what_may_have_arrived_is_shown_anew),
        test_server(test_nothing_is_shown_anew_that_is_sure),
        test_server(test_cells_that_are_sure_stay_as_they_are),
        test_server(test_without_the_capability_it_is_as_it_was),
        test_server(test_the_same_client_over_a_new_link_gets_no_repeats),
        test_server(test_a_lost_gateway_leaves_everything_sent_unsure),
        test_server(test_a_rebuild_that_breaks_is_done_again),
        test_server(test_repeats_count_and_prove_nothing),
        test_server(test_the_window_holds_a_rebuild_back),
        test_server(test_a_notebook_server_may_have_swallowed_what_it_acknowledged),
        test_server(test_what_was_swallowed_outlives_the_launcher),
        test_server(test_what_was_unsure_outlives_the_launcher),
        test_server(test_what_was_sure_is_sure_after_the_launcher),
        test_server(test_a_cell_without_its_beginning_is_not_cleared),
        test_server(test_a_direct_client_that_fell_silent_is_unsure_since_then),
        test_server(test_a_lost_gateway_has_said_how_far_its_client_was_there),
        test_server(test_clients_of_one_gateway_are_as_sure_as_it_says_last),
        test_server(test_a_newcomer_sees_what_runs),
        test_server(test_a_question_is_asked_again_until_it_is_answered),
        test_server(test_a_message_that_ends_connections_is_left_out),
        test_server(test_small_messages_are_not_suspected),
        test_server(test_bad_endings_are_refused),
        test_server(test_an_ending_behind_what_was_sent_to_others_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
