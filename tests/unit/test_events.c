/* The event log where a write does not go through. All else: tests/integration/test_events.py. */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "gateway/events.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

static char directory[32];

static int set_up(void **state) {
    (void)state;
    strcpy(directory, "/tmp/test-events-XXXXXX");
    signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return file_remove_tree(directory, NULL);
}

static void emit(struct events *events, const char *action) {
    events_emit(events, EVENT_KERNEL_ACTION, json_pack("{s:s}", "action", action));
}

/* A write that ends in the middle, as on a disk that becomes full. */
static void test_half_a_line_is_taken_back(void **state) {
    (void)state;
    struct events *events;
    struct rlimit before, low;
    cleanup_free char *path = memory_printf("%s/events", directory);
    cleanup_buffer struct buffer text = {0};
    assert_int_equal(events_create(path, &events, NULL), 0);
    emit(events, "first");
    assert_int_equal(file_read(path, 4096, &text, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = (struct rlimit){.rlim_cur = text.length + 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    emit(events, "lost");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    emit(events, "last");
    events_destroy(events);
    buffer_clear(&text);
    assert_int_equal(file_read(path, 4096, &text, NULL), 0);
    size_t lines = 0;
    for (const char *line = buffer_text(&text); *line != '\0'; lines++) {
        size_t length = strcspn(line, "\n");
        assert_int_equal(line[length], '\n');
        cleanup_json json_t *event = json_loadb(line, length, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(event, "action")),
                            lines == 0 ? "first" : "last");
        line += length + 1;
    }
    assert_int_equal(lines, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_half_a_line_is_taken_back, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
