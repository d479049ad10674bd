/* Whose answer is it: routing by session and msg_id, the limit, and what is left to answer when the
 * kernel dies. */
#include "launcher/request_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct header {
    char text[1200];
};

static struct bytes make(struct header *header, const char *session, const char *id,
                         const char *type) {
    int length =
        snprintf(header->text, sizeof header->text,
                 "{\"msg_id\":\"%s\",\"session\":\"%s\",\"msg_type\":\"%s\"}", id, session, type);
    return (struct bytes){(const uint8_t *)header->text, (size_t)length};
}

static void test_routes(void **state) {
    (void)state;
    struct header header;
    session_number found = 0;
    struct request_table *table = request_table_create();
    assert_true(request_table_add(table, CHANNEL_SHELL, make(&header, "alice", "1", "x"), 7));
    assert_true(request_table_add(table, CHANNEL_SHELL, make(&header, "bob", "1", "x"), 8));
    assert_true(request_table_find(table, make(&header, "alice", "1", "x"), &found));
    assert_int_equal(found, 7);
    assert_true(request_table_replied(table, make(&header, "bob", "1", "other"), &found));
    assert_int_equal(found, 8);
    /* a late input_request or a second reply */
    assert_true(request_table_find(table, make(&header, "bob", "1", "x"), &found));
    assert_int_equal(found, 8);
    assert_false(request_table_find(table, make(&header, "bob", "2", "x"), &found));
    assert_false(request_table_find(table, make(&header, "", "1", "x"), &found));
    request_table_destroy(table);
    request_table_destroy(NULL);
}

static void test_bad_headers(void **state) {
    (void)state;
    static const char *const wrong[] = {"",      "{}", "[]", "{\"msg_id\":1}", "{\"msg_id\":\"\"}",
                                        "{\"msg"};
    session_number found;
    struct request_table *table = request_table_create();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct bytes header = {(const uint8_t *)wrong[i], strlen(wrong[i])};
        assert_false(request_table_add(table, CHANNEL_SHELL, header, 1));
        assert_false(request_table_find(table, header, &found));
        assert_false(request_table_replied(table, header, &found));
    }
    struct header header;
    char long_id[REQUEST_ID_MAX + 2];
    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    assert_false(request_table_add(table, CHANNEL_SHELL, make(&header, "s", long_id, "x"), 1));
    request_table_destroy(table);
}

/* Answered ones leave the table one by one; waiting ones go round the ring before the oldest
 * leaves. */
static void check_limit(const char *type) {
    struct header header;
    char id[24];
    session_number found;
    const unsigned extra = 500;
    struct request_table *table = request_table_create();
    for (unsigned i = 0; i < REQUEST_TABLE_MAX + extra; i++) {
        snprintf(id, sizeof id, "%u", i);
        assert_true(request_table_add(table, CHANNEL_SHELL, make(&header, "s", id, type), i + 1));
    }
    for (unsigned i = 0; i < REQUEST_TABLE_MAX + extra; i++) {
        snprintf(id, sizeof id, "%u", i);
        bool is_there = request_table_find(table, make(&header, "s", id, "x"), &found);
        assert_int_equal(is_there, i >= extra);
        if (is_there)
            assert_int_equal(found, i + 1);
    }
    request_table_destroy(table);
}

static void test_limit(void **state) {
    (void)state;
    check_limit("execute_request");
    check_limit("usage_request");
}

/* A long cell, and ten thousand short requests on other channels meanwhile. */
static void test_waiting_request_outlives_answered_ones(void **state) {
    (void)state;
    struct header header;
    char id[24];
    session_number found;
    struct request_table *table = request_table_create();
    assert_true(
        request_table_add(table, CHANNEL_SHELL, make(&header, "s", "long", "execute_request"), 7));
    for (unsigned i = 0; i < 2 * REQUEST_TABLE_MAX; i++) {
        snprintf(id, sizeof id, "%u", i);
        assert_true(
            request_table_add(table, CHANNEL_SHELL, make(&header, "s", id, "usage_request"), 8));
    }
    assert_true(request_table_replied(table, make(&header, "s", "long", "x"), &found));
    assert_int_equal(found, 7);
    request_table_destroy(table);
}

/* The same id again and again, while the ring goes round: the last one counts, and nothing is left
 * dangling. */
static void test_repeated_id(void **state) {
    (void)state;
    struct header header;
    char id[24];
    session_number found;
    struct request_table *table = request_table_create();
    for (unsigned i = 0; i < 3 * REQUEST_TABLE_MAX; i++) {
        snprintf(id, sizeof id, "%u", i % 100);
        assert_true(
            request_table_add(table, CHANNEL_SHELL, make(&header, "s", id, "execute_request"), i));
    }
    for (unsigned i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%u", i);
        assert_true(request_table_find(table, make(&header, "s", id, "x"), &found));
        assert_int_equal(found, 3 * REQUEST_TABLE_MAX - 100 + i);
    }
    request_table_destroy(table);
}

struct ended {
    char text[256];
};

static void note(void *context, session_number session, struct bytes header) {
    struct ended *ended = context;
    size_t length = strlen(ended->text);
    snprintf(ended->text + length, sizeof ended->text - length, "%u:%.*s ", (unsigned)session, 13,
             (const char *)header.data);
}

static void test_end(void **state) {
    (void)state;
    struct header header;
    session_number found;
    struct ended ended = {""};
    struct request_table *table = request_table_create();
    request_table_add(table, CHANNEL_SHELL, make(&header, "s", "a", "execute_request"), 1);
    request_table_add(table, CHANNEL_SHELL, make(&header, "s", "b", "kernel_info_request"), 1);
    request_table_add(table, CHANNEL_SHELL, make(&header, "s", "c", "execute_request"), 2);
    request_table_add(table, CHANNEL_SHELL, make(&header, "s", "d", "execute_request"), 3);
    request_table_replied(table, make(&header, "s", "c", "x"), &found);
    request_table_end(table, note, &ended);
    assert_string_equal(ended.text, "1:{\"msg_id\":\"a\" 3:{\"msg_id\":\"d\" ");
    ended.text[0] = '\0';
    request_table_end(table, note, &ended);
    assert_string_equal(ended.text, "");
    request_table_destroy(table);
}

static void test_headers_are_bounded(void **state) {
    (void)state;
    static char text[(1 << 20) + 64];
    char start[64];
    struct ended ended = {""};
    struct request_table *table = request_table_create();
    for (int i = 0; i < 6; i++) {
        int length =
            snprintf(start, sizeof start, "{\"msg_id\":\"%d\",\"msg_type\":\"execute_request\"", i);
        memset(text, ' ', sizeof text);
        memcpy(text, start, (size_t)length);
        text[(1 << 20) - 1] = '}';
        assert_true(request_table_add(table, CHANNEL_SHELL,
                                      (struct bytes){(const uint8_t *)text, 1 << 20},
                                      (session_number)i + 1));
    }
    request_table_end(table, note, &ended); /* 4 MiB of headers, the rest is not kept */
    assert_string_equal(ended.text, "1:{\"msg_id\":\"0\" 2:{\"msg_id\":\"1\" 3:{\"msg_id\":\"2\" "
                                    "4:{\"msg_id\":\"3\" ");
    request_table_destroy(table);
}

static struct bytes text_of(const char *text) {
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void test_what_is_known_of_a_request(void **state) {
    (void)state;
    static const char shell[] = "{\"msg_id\":\"a\",\"msg_type\":\"x\",\"subshell_id\":null}";
    static const char subshell[] = "{\"msg_id\":\"b\",\"msg_type\":\"x\",\"subshell_id\":\"one\"}";
    static const char control[] = "{\"msg_id\":\"c\",\"msg_type\":\"execute_request\"}";
    struct request_facts facts;
    session_number found;
    struct request_table *table = request_table_create();
    request_table_add(table, CHANNEL_SHELL, text_of(shell), 1);
    request_table_add(table, CHANNEL_SHELL, text_of(subshell), 1);
    assert_false(request_table_is_waiting(table));
    request_table_add(table, CHANNEL_CONTROL, text_of(control), 1);
    assert_true(request_table_is_waiting(table) && request_table_is_at_work(table));
    assert_false(request_table_look(table, text_of("{\"msg_id\":\"d\"}"), &facts));
    assert_true(request_table_look(table, text_of(shell), &facts));
    assert_true(facts.is_in_row && !facts.is_replied && !facts.was_idle);
    assert_true(request_table_look(table, text_of(subshell), &facts) && !facts.is_in_row);
    assert_true(request_table_look(table, text_of(control), &facts) && !facts.is_in_row);
    assert_true(request_table_replied(table, text_of(control), &found));
    assert_false(request_table_is_waiting(table) || request_table_is_at_work(table));
    assert_true(request_table_idle(table, text_of(control), &facts));
    assert_true(facts.is_replied && !facts.was_idle);
    assert_true(request_table_look(table, text_of(control), &facts) && facts.was_idle);
    assert_true(request_table_look(table, text_of(shell), &facts) && !facts.was_idle);
    request_table_destroy(table);
}

static void test_idle_ends_a_run_without_a_reply(void **state) {
    (void)state;
    static const char first[] = "{\"msg_id\":\"a\",\"msg_type\":\"execute_request\"}";
    static const char second[] = "{\"msg_id\":\"b\",\"msg_type\":\"execute_request\"}";
    struct request_facts facts;
    session_number found;
    struct request_table *table = request_table_create();
    request_table_add(table, CHANNEL_SHELL, text_of(first), 1);
    request_table_add(table, CHANNEL_SHELL, text_of(second), 1);
    request_table_idle(table, text_of(first), &facts);
    request_table_idle(table, text_of(first), &facts);
    assert_true(request_table_is_at_work(table));
    request_table_replied(table, text_of(second), &found);
    assert_false(request_table_is_at_work(table));
    assert_true(request_table_is_waiting(table));
    request_table_replied(table, text_of(first), &found);
    request_table_add(table, CHANNEL_SHELL, text_of(first), 1);
    assert_true(request_table_is_at_work(table));
    request_table_add(table, CHANNEL_SHELL, text_of(first), 1); /* again */
    request_table_idle(table, text_of(first), &facts);
    assert_false(request_table_is_at_work(table));
    for (int i = 0; i < 2 * REQUEST_TABLE_MAX; i++) {
        char other[64];
        snprintf(other, sizeof other, "{\"msg_id\":\"%d\",\"msg_type\":\"x\"}", i);
        request_table_add(table, CHANNEL_SHELL, text_of(other), 1);
    }
    assert_false(request_table_is_at_work(table));
    assert_true(request_table_is_waiting(table));
    request_table_destroy(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_what_is_known_of_a_request),
        cmocka_unit_test(test_idle_ends_a_run_without_a_reply),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_waiting_request_outlives_answered_ones),
        cmocka_unit_test(test_repeated_id),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_headers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
