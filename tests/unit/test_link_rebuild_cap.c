/* Cells that are longer than the journal: what a client is shown of them when it comes back. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "link_cells.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LINES = 300 };

/* Of LINES lines it has the last. */
static int setup(void **state) {
    int result = world_create(state);
    if (result == 0)
        world_start(*state, &(struct link_server_settings){.journal_bytes = 64 << 10});
    return result;
}

static void say_lines(struct world *world, char cell) {
    for (int i = 0; i < LINES; i++)
        say_to(world, 0, CHANNEL_IOPUB, cell, "stream", "{}", 800);
}

/* What is left of the first lines; seq: the last number of what is before them. */
static struct journal_record row_behind(struct world *world, uint64_t seq) {
    struct journal_record row;
    assert_int_equal(journal_next(world->server->journal, seq, &row), 1);
    assert_true(row.is_folded && row.first == seq + 1);
    return row;
}

/* A line of ours that is the next message. */
static void expect_line(struct peer *peer, uint16_t number, bool is_repeat, uint64_t seq,
                        const char *text) {
    expect(peer, number, is_repeat, seq, 'a', "stream");
    const struct inbox_frame *frame = &peer->inbox[peer->inbox_at - 1];
    assert_non_null(memmem(frame->payload, frame->frame.length, text, strlen(text)));
}

static void expect_left_out(struct peer *peer, uint16_t number, bool is_repeat, uint64_t seq,
                            uint64_t messages) {
    cleanup_free char *text = memory_printf(": %d messages (", (int)messages);
    expect_line(peer, number, is_repeat, seq, text);
}

static void test_a_cell_stays_of_which_not_everything_is_kept(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    say_lines(world, 'a');
    pass_over(peer, LINES);
    const uint64_t last = LINES + 3;
    assert_true(row_behind(world, 1).folded.messages > 100);
    ack(peer, 1, last);
    cleanup_free char *ending =
        memory_printf("{\"left\": %d, \"sure\": %d}", (int)last, (int)last - 3);
    detach(peer, 1, ending);
    attach(peer, 2, "s", 0, true);
    expect_line(peer, 2, REPEAT, 0, "may stand above already");
    for (uint64_t seq = last - 2; seq <= last; seq++)
        expect(peer, 2, REPEAT, seq, 'a', "stream");
    peer_expect_nothing(peer);
    status(world, 'a', "idle");
    expect(peer, 2, STREAM, last + 1, 'a', "status");
    ack(peer, 2, last + 1);
    detach(peer, 2, "");
    attach(peer, 3, "s", 0, true);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

/* It may have read all of it, though nothing is known but that it was there once. */
static void test_a_cell_stays_that_may_have_been_read(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    say_lines(world, 'a');
    pass_over(peer, LINES);
    uint64_t last = LINES + 3, kept = row_behind(world, 1).seq;
    ack(peer, 1, last);
    detach(peer, 1, "{\"sure\": 2}");
    attach(peer, 2, "s", 0, true);
    expect_line(peer, 2, REPEAT, 0, "may stand above already");
    expect_left_out(peer, 2, REPEAT, 0, kept - 2);
    for (uint64_t seq = kept + 1; seq <= last; seq++)
        expect(peer, 2, REPEAT, seq, 'a', "stream");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

/* The row begins within what is sure, and another cell is shown anew from before it. */
static void test_of_what_is_left_out_the_sure_part_is_not_said(void **state) {
    struct world *world = *state;
    struct peer *peer = gateway(world, "g", "\"rebuild\"");
    attach(peer, 1, "s", 0, true);
    status(world, 'b', "busy");
    status(world, 'a', "busy");
    say_lines(world, 'a');
    say(world, 'b', "stream", "{}");
    pass_over(peer, LINES + 3);
    const uint64_t last = LINES + 3;
    uint64_t kept = row_behind(world, 2).seq;
    ack(peer, 1, last);
    detach(peer, 1, "{\"sure\": 50}");
    attach(peer, 2, "s", 0, true);
    expect(peer, 2, REPEAT, 0, 'b', "clear_output");
    expect_line(peer, 2, REPEAT, 0, "may stand above already");
    expect(peer, 2, REPEAT, 1, 'b', "status");
    expect_left_out(peer, 2, REPEAT, 0, kept - 50);
    for (uint64_t seq = kept + 1; seq < last; seq++)
        expect(peer, 2, REPEAT, seq, 'a', "stream");
    expect(peer, 2, REPEAT, last, 'b', "stream");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

/* The row ends behind the cursor, where the stream tells it. */
static void test_of_what_is_left_out_the_unsure_part_is_said(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    say_lines(world, 'a');
    pass_over(peer, LINES);
    uint64_t kept = row_behind(world, 1).seq;
    assert_true(kept > 100);
    ack(peer, 1, 100);
    detach(peer, 1, "{\"sure\": 50}");
    attach(peer, 2, "s", 0, true);
    expect_line(peer, 2, REPEAT, 0, "may stand above already");
    expect_left_out(peer, 2, STREAM, kept, kept - 50);
    for (uint64_t seq = kept + 1; seq <= LINES + 3; seq++)
        expect(peer, 2, STREAM, seq, 'a', "stream");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_what_came_later_is_not_said_to_stand_twice(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    ack(peer, 1, 2);
    detach(peer, 1, "{\"left\": 3, \"broken\": true}");
    say_lines(world, 'a'); /* while it is away */
    uint64_t kept = row_behind(world, 1).seq;
    attach(peer, 2, "s", 0, true);
    expect_left_out(peer, 2, STREAM, kept, kept - 2);
    for (uint64_t seq = kept + 1; seq <= LINES + 3; seq++)
        expect(peer, 2, STREAM, seq, 'a', "stream");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_a_cell_that_stays_asks_again(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    say_lines(world, 'a');
    uint64_t prompt =
        say_to(world, number_of(world, "s"), CHANNEL_STDIN, 'a', "input_request", "{}", 0);
    pass_over(peer, LINES + 1);
    ack(peer, 1, prompt);
    detach(peer, 1, "");
    attach(peer, 2, "s", 0, true);
    expect(peer, 2, REPEAT, prompt, 'a', "input_request");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_what_nobody_could_see_keeps_no_cell(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    for (int i = 0; i < 30; i++)
        say_to(world, 0, CHANNEL_IOPUB, 'a', "stream", "{}", 800);
    uint64_t clear = say(world, 'a', "clear_output", "{\"wait\":false}");
    say(world, 'a', "display_data", "{}");
    for (int i = 0; i < 45; i++)
        say_to(world, 0, CHANNEL_IOPUB, 'b', "display_data", "{}", 800);
    uint64_t last = status(world, 'a', "idle");
    pass_over(peer, (unsigned)last - 3);
    struct journal_record row = row_behind(world, 1);
    assert_true(row.seq > 20 && row.folded.messages == 0);
    cleanup_free char *ending = memory_printf("{\"sure\": %d}", (int)last - 1);
    ack(peer, 1, last);
    detach(peer, 1, ending);
    attach(peer, 2, "s", 0, true);
    expect(peer, 2, REPEAT, 0, 'a', "clear_output");
    expect(peer, 2, REPEAT, 1, 'a', "status");
    for (uint64_t seq = row.seq + 1; seq < clear; seq++)
        expect(peer, 2, REPEAT, seq, 'a', "stream");
    expect(peer, 2, REPEAT, clear, 'a', "clear_output");
    expect(peer, 2, REPEAT, clear + 1, 'a', "display_data");
    expect(peer, 2, REPEAT, last, 'a', "status");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

/* JupyterLab drops what it has not yet handled when a message of another session comes; expect()
 * looks at it. */
static void test_what_is_left_out_is_said_as_by_the_kernel(void **state) {
    struct world *world = *state;
    struct peer *peer = begin(world, 0);
    cleanup_buffer struct buffer request = {0};
    struct kernel_message message;
    make_message(&request, CHANNEL_SHELL, "{}", 0);
    assert_int_equal(kernel_message_parse(request.data, request.length, &message, NULL), 0);
    message.header = bytes_of_text("{\"msg_id\":\"r\",\"msg_type\":\"execute_request\"}");
    ack(peer, 1, 3);
    detach(peer, 1, "");
    say_lines(world, 'a');
    uint64_t kept = row_behind(world, 1).seq;
    request_note_append(world->server->journal, 1, &message);
    attach(peer, 2, "s", 0, false);
    expect_left_out(peer, 2, STREAM, kept, kept - 3);
    pass_over(peer, (unsigned)(LINES + 3 - kept));
    peer_expect_nothing(peer);

    say_to(world, 0, CHANNEL_IOPUB, 'a', "stream", "{}", 100000); /* nothing comes behind it */
    expect_left_out(peer, 2, STREAM, LINES + 5, 1);
    peer_destroy(peer);
}

#define test_small(test) cmocka_unit_test_setup_teardown(test, setup, world_destroy)

int main(void) {
    const struct CMUnitTest tests[] = {
        test_small(test_a_cell_stays_of_which_not_everything_is_kept),
        test_small(test_a_cell_stays_that_may_have_been_read),
        test_small(test_of_what_is_left_out_the_sure_part_is_not_said),
        test_small(test_of_what_is_left_out_the_unsure_part_is_said),
        test_small(test_what_came_later_is_not_said_to_stand_twice),
        test_small(test_a_cell_that_stays_asks_again),
        test_small(test_what_nobody_could_see_keeps_no_cell),
        test_small(test_what_is_left_out_is_said_as_by_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
