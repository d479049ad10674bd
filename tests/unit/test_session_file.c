#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "launcher/session_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { SLOTS_MAX = 1000, MANY = 100 };

static char directory[] = "/tmp/elara-sessions-XXXXXX";
static char path[64];

static int setup(void **state) {
    (void)state;
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/sessions", directory);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    return file_remove_tree(directory, NULL);
}

static struct session_slot *find(struct session_file *file, const char *id) {
    size_t at = 0;
    struct session_slot *slot;
    while ((slot = session_file_next(file, &at)) != NULL)
        if (strcmp(slot->id, id) == 0)
            return slot;
    return NULL;
}

static size_t count(struct session_file *file) {
    size_t at = 0, slots = 0;
    while (session_file_next(file, &at) != NULL)
        slots++;
    return slots;
}

static void fill(size_t slots) {
    struct session_file *file = session_file_open(path, SLOTS_MAX);
    for (uint32_t i = 1; i <= slots; i++) {
        char id[16];
        snprintf(id, sizeof id, "s%u", i);
        session_file_take(file, i, id)->cursor = i;
    }
    session_file_close(file);
}

static void test_stores_survive_sigkill(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct session_file *file = session_file_open(path, SLOTS_MAX);
        struct session_slot *first = session_file_take(file, 7, "first");
        struct session_slot *gone = session_file_take(file, 8, "gone");
        for (uint32_t i = 0; i < MANY; i++) { /* slots stay where they are while the file grows */
            char id[16];
            snprintf(id, sizeof id, "s%u", i);
            session_file_take(file, 100 + i, id);
        }
        first->cursor = 41;
        first->sent_max = 43;
        first->sure = 40;
        first->left_us = 5;
        first->gateways[1] = (struct session_gateway){.gateway = 9, .received = 3, .accepted = 2};
        session_file_drop(file, gone);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    struct session_file *file = session_file_open(path, SLOTS_MAX);
    assert_int_equal(count(file), MANY + 1);
    struct session_slot *slot = find(file, "first");
    if (slot == NULL)
        abort();
    assert_int_equal(slot->number, 7);
    assert_int_equal(slot->cursor, 41);
    assert_int_equal(slot->sent_max, 43);
    assert_int_equal(slot->sure, 40);
    assert_int_equal(slot->left_us, 5);
    assert_int_equal(session_gateway_find(slot, 9)->received, 3);
    assert_null(session_gateway_find(slot, 10));
    assert_null(find(file, "gone"));
    /* A slot that was let go is used again, and clean. */
    slot = session_file_take(file, 9, "later");
    assert_int_equal(slot->cursor, 0);
    assert_int_equal(count(file), MANY + 2);
    session_file_close(file);
    struct stat status_of;
    assert_int_equal(stat(path, &status_of), 0);
    assert_int_equal(status_of.st_mode & 0777, 0600);
}

/* Whatever byte is wrong, at most the session that it belongs to is lost, or the file is begun
 * anew. */
static void test_any_byte_may_be_wrong(void **state) {
    (void)state;
    enum { SESSIONS = 3 };
    fill(SESSIONS);
    cleanup_buffer struct buffer good = {0};
    assert_int_equal(file_read(path, 1 << 20, &good, NULL), 0);
    for (size_t i = 0; i < 64 + SESSIONS * sizeof(struct session_slot); i++) {
        good.data[i] ^= 0x5A;
        assert_int_equal(file_write(path, good.data, good.length, 0600, NULL), 0);
        good.data[i] ^= 0x5A;
        struct session_file *file = session_file_open(path, SLOTS_MAX);
        size_t left = count(file);
        bool is_in_header = i < 16;
        if (is_in_header ? left != 0 : left < SESSIONS - 1)
            fail_msg("byte %zu: %zu sessions are left", i, left);
        assert_int_equal(session_file_take(file, 50, "new")->number, 50);
        assert_non_null(find(file, "new"));
        session_file_close(file);
    }
}

static void test_it_may_end_anywhere(void **state) {
    (void)state;
    enum { SESSIONS = 3 };
    fill(SESSIONS);
    cleanup_buffer struct buffer good = {0};
    assert_int_equal(file_read(path, 1 << 20, &good, NULL), 0);
    for (size_t length = 0; length < 64 + SESSIONS * sizeof(struct session_slot); length += 5) {
        assert_int_equal(file_write(path, good.data, length, 0600, NULL), 0);
        struct session_file *file = session_file_open(path, SLOTS_MAX);
        size_t whole = length < 64 ? 0 : (length - 64) / sizeof(struct session_slot);
        size_t found = count(file); /* one more when only its last zeros are missing */
        assert_in_range(found, whole, whole + 1);
        for (uint32_t i = 0; i < 20; i++)
            session_file_take(file, 50 + i, "new");
        assert_int_equal(count(file), found + 20);
        session_file_close(file);
    }
}

/* As version 1 wrote it: its slots end behind the id. */
static void write_first_version(const struct buffer *now, size_t length) {
    enum { FIRST_SIZE = 416, NOW_SIZE = sizeof(struct session_slot), PAGE = 4096 };
    uint8_t first[2 * PAGE] = {0};
    static const uint32_t version_and_size[] = {1, FIRST_SIZE};
    memcpy(first, now->data, 64);
    memcpy(first + 8, version_and_size, sizeof version_and_size);
    for (size_t i = 0; (i + 1) * FIRST_SIZE <= sizeof first - 64; i++)
        memcpy(first + 64 + i * FIRST_SIZE, now->data + 64 + i * NOW_SIZE, FIRST_SIZE);
    assert_int_equal(file_write(path, first, length, 0600, NULL), 0);
}

static void test_the_first_version_is_read(void **state) {
    (void)state;
    enum { SESSIONS = 12 };
    fill(SESSIONS);
    cleanup_buffer struct buffer now = {0};
    assert_int_equal(file_read(path, 1 << 20, &now, NULL), 0);
    static const size_t lengths[] = {8192, 64 + SESSIONS * 416, 64 + SESSIONS * 416 - 5};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        write_first_version(&now, lengths[i]);
        for (size_t opened = 0; opened < 2; opened++) { /* and then it is one of now */
            struct session_file *file = session_file_open(path, SLOTS_MAX);
            assert_int_equal(count(file), SESSIONS + opened);
            for (uint32_t number = 1; number <= SESSIONS; number++) {
                char id[16];
                snprintf(id, sizeof id, "s%u", number);
                const struct session_slot *slot = find(file, id);
                if (slot == NULL)
                    abort();
                assert_int_equal(slot->number, number);
                assert_int_equal(slot->cursor, number);
                assert_int_equal(slot->sure, 0); /* nothing was */
            }
            struct session_slot *slot =
                opened == 0 ? session_file_take(file, 50, "new") : find(file, "new");
            if (slot == NULL)
                abort();
            assert_int_equal(slot->sure, opened);
            slot->sure = 1;
            session_file_close(file);
        }
    }
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_without_a_file_it_is_memory(void **state) {
    (void)state;
    struct session_file *file = session_file_open("/nonexistent/sessions", SLOTS_MAX);
    struct session_slot *slot = session_file_take(file, 3, "s");
    assert_string_equal(slot->id, "s");
    session_file_drop(file, slot);
    session_file_close(file);
    session_file_close(NULL);
    file = session_file_open(path, 2); /* and so is what has no place in it */
    session_file_take(file, 1, "a");
    session_file_take(file, 2, "b");
    struct session_slot *third = session_file_take(file, 3, "c");
    struct session_slot *own = session_file_take(file, 4, NULL);
    assert_int_equal(third->number, 3);
    session_file_drop(file, third);
    session_file_drop(file, own);
    assert_int_equal(count(file), 2);
    session_file_close(file);
}

static void test_what_is_no_such_file_is_replaced(void **state) {
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0); /* cannot be replaced */
    struct session_file *file = session_file_open(path, SLOTS_MAX);
    struct session_slot *slot = session_file_take(file, 1, "s");
    session_file_drop(file, slot);
    session_file_close(file);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    fill(1);
    struct stat status;
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISREG(status.st_mode));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stores_survive_sigkill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_byte_may_be_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_may_end_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_first_version_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_file_it_is_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_such_file_is_replaced, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
