/* What a client's connection has taken becomes acknowledgements. The websocket and the attachment
 * are written by hand here: only their numbers matter. */
#include "gateway/delivery.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WINDOW = 1000 };

struct websocket {
    uint64_t accepted, acknowledged;
    size_t queued;
};
struct attachment {
    uint64_t delivered, consumed, sure;
};

uint64_t websocket_accepted(const struct websocket *ws) {
    return ws->accepted;
}
size_t websocket_queued(const struct websocket *ws) {
    return ws->queued;
}
uint64_t websocket_acknowledged(struct websocket *ws) {
    return ws->acknowledged;
}
void attachment_ack(struct attachment *attachment, uint64_t delivered, uint64_t consumed,
                    uint64_t sure) {
    if (delivered > attachment->delivered)
        attachment->delivered = delivered;
    attachment->consumed = consumed;
    attachment->sure = sure;
}

struct fixture {
    struct loop *loop;
    struct websocket ws;
    struct attachment attachment;
    struct delivery delivery;
};

static int setup(void **state) {
    struct fixture *f = memory_alloc(sizeof *f);
    f->loop = loop_create();
    delivery_init(&f->delivery, f->loop, &f->ws, WINDOW);
    f->delivery.has_spoken = true;
    delivery_start(&f->delivery, &f->attachment, 10, true);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    delivery_stop(&f->delivery);
    loop_destroy(f->loop);
    free(f);
    return 0;
}

/* A message of so many bytes is given to the websocket; a frame's header is 4. */
static void pass_on(struct fixture *f, uint64_t seq, size_t length) {
    f->ws.accepted += length + 4;
    f->ws.queued += length + 4;
    delivery_note(&f->delivery, seq, length, false);
}

static void write_out(struct fixture *f) {
    f->ws.queued = 0;
}

static void arrive(struct fixture *f) {
    f->ws.acknowledged = f->ws.accepted;
}

static void test_written_is_consumed_and_acknowledged_is_delivered(void **state) {
    struct fixture *f = *state;
    pass_on(f, 11, 100);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.consumed, 0);
    write_out(f);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.consumed, 100);
    assert_int_equal(f->attachment.delivered, 0);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.delivered, 11);
}

static void test_orphans_move_no_cursor(void **state) {
    struct fixture *f = *state;
    f->delivery.has_spoken = false;
    pass_on(f, 11, 100);
    write_out(f);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.consumed, 100);
    assert_int_equal(f->attachment.delivered, 0);
}

/* The attachment's totals are since it was opened: a break of the link must not begin them again,
 * or credit never comes back. */
static void test_totals_go_on_over_a_break_of_the_link(void **state) {
    struct fixture *f = *state;
    for (uint64_t seq = 11; seq <= 30; seq++)
        pass_on(f, seq, WINDOW);
    write_out(f);
    delivery_update(&f->delivery);
    assert_int_equal(f->attachment.consumed, 20 * WINDOW);
    delivery_start(&f->delivery, &f->attachment, 12, false);
    pass_on(f, 31, WINDOW);
    write_out(f);
    delivery_update(&f->delivery);
    assert_int_equal(f->attachment.consumed, 21 * WINDOW);
    arrive(f); /* what was under way over the break counts too */
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.delivered, 31);
}

static void test_what_was_under_way_over_a_break_moves_the_cursor(void **state) {
    struct fixture *f = *state;
    pass_on(f, 11, 100);
    write_out(f);
    delivery_start(&f->delivery, &f->attachment, 10, false);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.delivered, 11);
}

static void test_numbers_of_an_earlier_journal_move_no_cursor(void **state) {
    struct fixture *f = *state;
    pass_on(f, 11, 100);
    pass_on(f, 500, 100);
    delivery_start(&f->delivery, &f->attachment, 2, true);
    write_out(f);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.delivered, 0);
    assert_int_equal(f->attachment.consumed, 200);
    pass_on(f, 3, 100);
    write_out(f);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.delivered, 3);
}

static void test_another_attachment_begins_at_nothing(void **state) {
    struct fixture *f = *state;
    struct attachment next = {0};
    pass_on(f, 11, 100);
    delivery_stop(&f->delivery);
    delivery_start(&f->delivery, &next, 0, true);
    pass_on(f, 1, 50);
    write_out(f);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(next.consumed, 50);
    assert_int_equal(next.delivered, 1);
}

static struct attachment_ending end_of(const struct fixture *f) {
    struct attachment_ending ending = {0};
    delivery_measure_end(&f->delivery, &ending);
    return ending;
}

static void test_the_end_tells_what_left_and_what_was_under_way(void **state) {
    struct fixture *f = *state;
    assert_int_equal(end_of(f).left, 10);
    assert_int_equal(end_of(f).suspect, 0);
    pass_on(f, 11, 10000);
    pass_on(f, 12, 10000);
    pass_on(f, 13, 10000);
    assert_int_equal(end_of(f).left, 10); /* all of it is still here */
    f->ws.queued = 10005;                 /* 13 and a byte of 12 */
    assert_int_equal(end_of(f).left, 12);
    assert_int_equal(end_of(f).suspect, 11);
    f->ws.acknowledged = 10004;
    delivery_flush(&f->delivery);
    assert_int_equal(end_of(f).suspect, 12);
    f->ws.queued = 10003;
    assert_int_equal(end_of(f).left, 13);
    write_out(f);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(end_of(f).left, 13);
    assert_int_equal(end_of(f).suspect, 0);
}

/* What is acknowledged may lie unread in a buffer: only a client that says something is there. */
static void test_sure_is_what_had_arrived_when_the_client_was_heard(void **state) {
    struct fixture *f = *state;
    assert_int_equal(end_of(f).sure, 10);
    pass_on(f, 11, 100);
    write_out(f);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(end_of(f).sure, 10);
    pass_on(f, 12, 10000);
    delivery_heard(&f->delivery);
    assert_int_equal(end_of(f).sure, 11);
}

/* Should nobody be left to tell it at the end: kill -9. */
static void test_what_is_sure_is_told_with_the_cursor_and_when_the_client_was_heard(void **state) {
    struct fixture *f = *state;
    pass_on(f, 11, 100);
    write_out(f);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.delivered, 11);
    assert_int_equal(f->attachment.sure, 10);
    loop_deadline_clear(f->loop, &f->delivery.later);
    delivery_heard(&f->delivery);
    assert_true(f->delivery.later.node.place != 0); /* soon */
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.sure, 11);
    loop_deadline_clear(f->loop, &f->delivery.later);
    delivery_heard(&f->delivery);
    assert_true(f->delivery.later.node.place == 0); /* it was */
}

static void test_of_a_notebook_server_nothing_is_sure(void **state) {
    struct fixture *f = *state;
    f->delivery.is_proxy = true;
    delivery_start(&f->delivery, &f->attachment, 10, true);
    pass_on(f, 11, 100);
    write_out(f);
    arrive(f);
    delivery_flush(&f->delivery);
    delivery_heard(&f->delivery);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.delivered, 11);
    assert_true(f->attachment.sure == UINT64_MAX);
    assert_true(end_of(f).sure == UINT64_MAX);
}

static void test_repeats_move_no_cursor_and_are_suspects(void **state) {
    struct fixture *f = *state;
    f->ws.accepted = f->ws.queued = 10000;
    delivery_note(&f->delivery, 4, 9996, true);
    write_out(f);
    assert_int_equal(end_of(f).suspect, 4);
    assert_int_equal(end_of(f).left, 10);
    arrive(f);
    delivery_flush(&f->delivery);
    assert_int_equal(f->attachment.consumed, 9996);
    assert_int_equal(f->attachment.delivered, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_written_is_consumed_and_acknowledged_is_delivered),
        TEST(test_orphans_move_no_cursor),
        TEST(test_totals_go_on_over_a_break_of_the_link),
        TEST(test_what_was_under_way_over_a_break_moves_the_cursor),
        TEST(test_numbers_of_an_earlier_journal_move_no_cursor),
        TEST(test_another_attachment_begins_at_nothing),
        TEST(test_the_end_tells_what_left_and_what_was_under_way),
        TEST(test_sure_is_what_had_arrived_when_the_client_was_heard),
        TEST(test_what_is_sure_is_told_with_the_cursor_and_when_the_client_was_heard),
        TEST(test_of_a_notebook_server_nothing_is_sure),
        TEST(test_repeats_move_no_cursor_and_are_suspects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
