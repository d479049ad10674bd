/* Which cells the journal holds: where they begin and end, which run, which ask; and a table that
 * stays bounded. */
#include "launcher/cells.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void note(struct cells *cells, uint64_t seq, enum message_class class, uint32_t cell) {
    cells_note(cells, seq, class == MESSAGE_PROMPT ? 7 : 0,
               &(struct message_mark){.class = class, .cell = cell});
}

/* All zero when the cell is not known. */
static struct cells_entry entry_of(const struct cells *cells, uint32_t cell) {
    const struct cells_entry *entry;
    size_t at = 0;
    while ((entry = cells_next(cells, &at)) != NULL)
        if (entry->cell == cell)
            return *entry;
    return (struct cells_entry){.cell = 0};
}

static int setup(void **state) {
    *state = cells_create();
    return 0;
}

static int teardown(void **state) {
    cells_destroy(*state);
    cells_destroy(NULL);
    return 0;
}

static void test_a_cell_from_busy_to_idle_and_beyond(void **state) {
    struct cells *cells = *state;
    note(cells, 3, MESSAGE_OTHER, 0); /* no cell's */
    note(cells, 4, MESSAGE_REQUEST, 1);
    assert_int_equal(entry_of(cells, 1).cell, 0); /* no client sees it */
    note(cells, 5, MESSAGE_BUSY, 1);
    note(cells, 6, MESSAGE_STREAM, 1);
    assert_true(entry_of(cells, 1).is_whole && entry_of(cells, 1).is_running);
    note(cells, 7, MESSAGE_IDLE, 1);
    note(cells, 8, MESSAGE_BUSY, 2);
    note(cells, 9, MESSAGE_STREAM, 1); /* a thread of its */
    struct cells_entry one = entry_of(cells, 1);
    assert_int_equal(one.first, 5);
    assert_int_equal(one.last, 9);
    assert_false(one.is_running);
    assert_true(entry_of(cells, 2).is_running);
}

/* shell and stdin are other sockets than iopub. */
static void test_a_cell_is_whole_though_something_overtook_its_beginning(void **state) {
    static const enum message_class quick[] = {MESSAGE_PROMPT, MESSAGE_REPLY};
    struct cells *cells = *state;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t whole = 1 + 2 * i, part = 2 + 2 * i;
        note(cells, 10 * whole, quick[i], whole);
        assert_false(entry_of(cells, whole).is_whole);
        note(cells, 10 * whole + 1, MESSAGE_BUSY, whole);
        assert_true(entry_of(cells, whole).is_whole);
        assert_int_equal(entry_of(cells, whole).first, 10 * whole);
        note(cells, 10 * part, quick[i], part);
        note(cells, 10 * part + 1, MESSAGE_STREAM, part);
        note(cells, 10 * part + 2, MESSAGE_BUSY, part);
        assert_false(entry_of(cells, part).is_whole);
    }
    assert_int_equal(entry_of(cells, 1).prompt, 10);
}

static void test_a_new_process_ends_what_ran(void **state) {
    struct cells *cells = *state;
    note(cells, 1, MESSAGE_BUSY, 1);
    note(cells, 2, MESSAGE_PROMPT, 1);
    note(cells, 3, MESSAGE_STATE, 0);
    assert_false(entry_of(cells, 1).is_running);
    assert_int_equal(entry_of(cells, 1).prompt, 0);
}

static void test_a_prompt_waits_until_it_is_answered(void **state) {
    static const enum message_class ends[] = {MESSAGE_REPLY, MESSAGE_IDLE};
    struct cells *cells = *state;
    note(cells, 1, MESSAGE_BUSY, 1);
    note(cells, 2, MESSAGE_PROMPT, 1);
    assert_int_equal(entry_of(cells, 1).prompt_session, 7);
    assert_false(cells_is_over(cells, 1, 2));
    cells_answered(cells, 8); /* somebody else */
    assert_false(cells_is_over(cells, 1, 2));
    cells_answered(cells, 7);
    assert_true(cells_is_over(cells, 1, 2));
    for (uint64_t i = 0; i < 2; i++) {
        note(cells, 10 + 2 * i, MESSAGE_PROMPT, 1);
        assert_false(cells_is_over(cells, 1, 10 + 2 * i));
        note(cells, 11 + 2 * i, ends[i], 1);
        assert_true(cells_is_over(cells, 1, 10 + 2 * i));
    }
    assert_false(
        cells_is_over(cells, 0, 5)); /* of no cell, of one that is not known: it may wait */
    assert_false(cells_is_over(cells, 99, 5));
}

static void test_the_oldest_goes_and_does_not_come_back_whole(void **state) {
    struct cells *cells = *state;
    for (uint32_t i = 1; i <= 3 * CELLS_MAX; i++)
        note(cells, i, MESSAGE_BUSY, i);
    size_t at = 0, count = 0;
    uint32_t cell = 2 * CELLS_MAX;
    const struct cells_entry *entry;
    while ((entry = cells_next(cells, &at)) != NULL) {
        assert_int_equal(entry->cell, ++cell); /* oldest first */
        count++;
    }
    assert_int_equal(count, CELLS_MAX);
    note(cells, 100000, MESSAGE_STREAM, 1);
    assert_false(entry_of(cells, 1).is_whole);
    assert_int_equal(entry_of(cells, 2 * CELLS_MAX + 1).cell, 0);
}

#define test_cells(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test_cells(test_a_cell_from_busy_to_idle_and_beyond),
        test_cells(test_a_cell_is_whole_though_something_overtook_its_beginning),
        test_cells(test_a_new_process_ends_what_ran),
        test_cells(test_a_prompt_waits_until_it_is_answered),
        test_cells(test_the_oldest_goes_and_does_not_come_back_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
