#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void formats_as_jupyter_server_reads_it(void **state) {
    (void)state;
    static const struct {
        int64_t wall_us;
        const char *want;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {INT64_C(1769860800000000), "2026-01-31T12:00:00.000000Z"},
        {INT64_C(951868799999999), "2000-02-29T23:59:59.999999Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[CLOCK_TEXT_SIZE];
        clock_format(rows[i].wall_us, text);
        assert_string_equal(text, rows[i].want);
    }
}

static void goes_forward(void **state) {
    (void)state;
    int64_t before = clock_monotonic_ms();
    assert_true(before >= 0);
    assert_true(clock_monotonic_ms() >= before);
    assert_true(clock_wall_us() > INT64_C(1700000000000000)); /* microseconds, not milliseconds */
    assert_true(clock_wall_us() < INT64_C(9999999999999999));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_as_jupyter_server_reads_it),
        cmocka_unit_test(goes_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
