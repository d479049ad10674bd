/* What a kernel is at work on, also when its idles are lost. */
#include "launcher/busy.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ROW = 1, REPLIED = 2, NO_REPLY = 4, UNHEARD = 8 };

static void begin(struct busy *busy, uint64_t id, int flags) {
    char header[16];
    snprintf(header, sizeof header, "{\"%d\":1}", (int)id);
    busy_begin(busy, &(struct busy_request){.id = id,
                                            .header = bytes_of_text(header),
                                            .is_in_row = flags & ROW,
                                            .is_heard = !(flags & UNHEARD),
                                            .is_replied = flags & REPLIED,
                                            .has_no_reply = flags & NO_REPLY});
}

/* The one that is lost, by its header; 0: none. */
static uint64_t lost(struct busy *busy, bool is_quiet) {
    uint64_t id;
    char header[16];
    cleanup_buffer struct buffer got = {0};
    if (!busy_take_lost(busy, is_quiet, &id, &got))
        return 0;
    snprintf(header, sizeof header, "{\"%d\":1}", (int)id);
    assert_int_equal(got.length, strlen(header));
    assert_memory_equal(got.data, header, got.length);
    return id;
}

static int setup(void **state) {
    *state = busy_create();
    return 0;
}

static int teardown(void **state) {
    busy_destroy(*state);
    busy_destroy(NULL);
    return 0;
}

static void test_requests_overlap(void **state) {
    struct busy *busy = *state;
    begin(busy, 1, ROW);
    begin(busy, 2, 0);
    begin(busy, 1, ROW); /* said twice, done once */
    assert_int_equal(busy_count(busy), 2);
    assert_true(busy_end(busy, 1, false));
    assert_int_equal(busy_count(busy), 1);
    assert_true(busy_end(busy, 3, false)); /* its busy was lost */
    assert_int_equal(busy_count(busy), 1);
    assert_true(busy_end(busy, 2, false));
    assert_int_equal(busy_count(busy), 0);
}

static void test_a_kernel_that_does_not_pair(void **state) {
    struct busy *busy = *state;
    begin(busy, 1, ROW);
    begin(busy, 2, ROW);
    assert_true(busy_end(busy, 9, true));
    assert_int_equal(busy_count(busy), 0);
}

static void test_overtaken_and_replied_in_either_order(void **state) {
    struct busy *busy = *state;
    begin(busy, 1, ROW);
    assert_true(busy_replied(busy, 1));
    assert_int_equal(lost(busy, false), 0);
    busy_overtake(busy, 2);
    begin(busy, 2, ROW);
    assert_int_equal(lost(busy, false), 1);
    busy_overtake(busy, 3);
    begin(busy, 3, ROW);
    assert_int_equal(lost(busy, false), 0); /* no reply yet */
    assert_true(busy_replied(busy, 2));
    assert_int_equal(lost(busy, false), 2);
    assert_int_equal(lost(busy, true), 0); /* 3 is at work */
    busy_overtake(busy, 3);
    assert_true(busy_replied(busy, 3));
    assert_int_equal(lost(busy, false), 0); /* not by itself */
    assert_false(busy_replied(busy, 4));
    assert_int_equal(busy_count(busy), 1);
}

static void test_what_runs_beside_the_row_is_not_overtaken(void **state) {
    struct busy *busy = *state;
    begin(busy, 1, REPLIED);
    begin(busy, 2, 0);
    begin(busy, 3, ROW);
    busy_overtake(busy, 4);
    assert_int_equal(lost(busy, false), 0);
    assert_false(busy_is_answered(busy));
    assert_int_equal(lost(busy, true), 1);
    assert_int_equal(lost(busy, true), 0);
    assert_int_equal(busy_count(busy), 2);
}

/* Replies of several may be read before their busy is. */
static void test_a_reply_ahead_of_its_busy(void **state) {
    struct busy *busy = *state;
    begin(busy, 1, ROW | REPLIED | UNHEARD);
    begin(busy, 2, ROW | REPLIED | UNHEARD);
    busy_overtake(busy, 1);
    begin(busy, 1, ROW);
    assert_int_equal(lost(busy, false), 0);
    busy_overtake(busy, 2);
    begin(busy, 2, ROW);
    assert_int_equal(lost(busy, false), 1);
    assert_true(busy_end(busy, 2, false));
    begin(busy, 3, ROW | REPLIED | UNHEARD);
    assert_int_equal(lost(busy, true), 3);
}

static void test_quiet(void **state) {
    struct busy *busy = *state;
    assert_false(busy_is_answered(busy));
    begin(busy, 1, ROW | REPLIED);
    assert_true(busy_is_answered(busy));
    begin(busy, 2, 0);
    assert_false(busy_is_answered(busy));
    busy_replied(busy, 2);
    assert_true(busy_is_answered(busy));
    assert_int_equal(lost(busy, true), 1);
    assert_int_equal(lost(busy, true), 2);
    assert_int_equal(lost(busy, true), 0);
}

/* A comm message has no reply: a long one is not lost, one that was overtaken is. */
static void test_without_replies(void **state) {
    struct busy *busy = *state;
    begin(busy, 1, ROW | NO_REPLY);
    assert_false(busy_is_answered(busy));
    assert_int_equal(lost(busy, true), 0);
    busy_overtake(busy, 2);
    assert_int_equal(lost(busy, false), 1);
}

static void test_an_idle_that_comes_too_late(void **state) {
    struct busy *busy = *state;
    begin(busy, 1, ROW | REPLIED);
    assert_int_equal(lost(busy, true), 1);
    begin(busy, 2, ROW);
    assert_false(busy_end(busy, 1, true));
    assert_int_equal(busy_count(busy), 1); /* 2 goes on */
    assert_true(busy_end(busy, 1, false)); /* once */
    begin(busy, 3, ROW | REPLIED);
    assert_int_equal(lost(busy, true), 3);
    begin(busy, 3, ROW); /* again */
    assert_true(busy_end(busy, 3, false));
    busy_clear(busy);
    assert_int_equal(busy_count(busy), 0);
}

static void test_limits(void **state) {
    struct busy *busy = *state;
    static char large[BUSY_HEADER_MAX + 1];
    busy_begin(busy, &(struct busy_request){.id = 1000,
                                            .is_replied = true,
                                            .header = {(const uint8_t *)large, sizeof large}});
    uint64_t id;
    cleanup_buffer struct buffer header = {0};
    assert_true(busy_take_lost(busy, true, &id, &header));
    assert_int_equal(header.length, 0);
    for (uint64_t i = 1; i <= BUSY_MAX + 1; i++)
        begin(busy, i, ROW);
    assert_int_equal(busy_count(busy), BUSY_MAX);
    assert_false(busy_replied(busy, 1)); /* the oldest went */
    assert_true(busy_replied(busy, 2));
}

static void test_noise_and_subshells(void **state) {
    struct busy *busy = *state;
    static const char *const headers[] = {"{\"subshell_id\":null}", "{\"subshell_id\":\"a\"}",
                                          "{\"subshell_id\":\"b\"}", "{\"subshell_id\":\"a\"}",
                                          "{\"subshell_id\":\"\"}"};
    assert_true(busy_is_noise(busy));
    assert_int_equal(busy_subshells(busy), 0);
    for (uint64_t i = 0; i < 5; i++)
        busy_begin(busy, &(struct busy_request){
                             .id = i + 1, .header = bytes_of_text(headers[i]), .is_noise = i != 2});
    assert_false(busy_is_noise(busy));
    assert_int_equal(busy_subshells(busy), 2);
    busy_end(busy, 3, false);
    assert_true(busy_is_noise(busy));
    busy_end(busy, 2, false);
    assert_int_equal(busy_subshells(busy), 1);
    busy_end(busy, 4, false);
    assert_int_equal(busy_subshells(busy), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_kernel_that_does_not_pair, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overtaken_and_replied_in_either_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_runs_beside_the_row_is_not_overtaken, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_reply_ahead_of_its_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_quiet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_replies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_idle_that_comes_too_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_noise_and_subshells, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
