#include "kernelspecs/json_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char text[] = "\n"
                           "{ \"a\\u0072gv\": [1,\n"
                           "   \"two, ] \\\" }\",\n"
                           "   {\"x\": [[], {}]}\n"
                           " ,\n"
                           "   null],\n"
                           "  \"env\" :\n"
                           "     {\"A\": \"\\\\\", \"B\": {\"B\": 1},\n"
                           "      \"C\":true}, \"empty\": {}, \"none\": [],\n"
                           "  \"twice\": 1,\n"
                           "  \"twice\": 2\n"
                           "}\n";

#define LINE(...)                                                                                  \
    json_place_line(text, strlen(text), (const struct json_step[]){__VA_ARGS__},                   \
                    sizeof((const struct json_step[]){__VA_ARGS__}) / sizeof(struct json_step))
#define KEY(name)                                                                                  \
    { .key = name }
#define AT(number)                                                                                 \
    { .index = number }

static void lines_of_members(void **state) {
    (void)state;
    assert_int_equal(json_place_line(text, strlen(text), NULL, 0), 2);
    assert_int_equal(LINE(KEY("argv")), 2);
    assert_int_equal(LINE(KEY("argv"), AT(0)), 2);
    assert_int_equal(LINE(KEY("argv"), AT(1)), 3);
    assert_int_equal(LINE(KEY("argv"), AT(2)), 4);
    assert_int_equal(LINE(KEY("argv"), AT(2), KEY("x")), 4);
    assert_int_equal(LINE(KEY("argv"), AT(3)), 6);
    assert_int_equal(LINE(KEY("env")), 7);
    assert_int_equal(LINE(KEY("env"), KEY("A")), 8);
    assert_int_equal(LINE(KEY("env"), KEY("B"), KEY("B")), 8);
    assert_int_equal(LINE(KEY("env"), KEY("C")), 9);
    assert_int_equal(LINE(KEY("twice")), 11);
}

static void what_is_not_there(void **state) {
    (void)state;
    assert_int_equal(LINE(KEY("x")), 0);
    assert_int_equal(LINE(KEY("argv"), AT(4)), 0);
    assert_int_equal(LINE(KEY("argv"), KEY("x")), 0);
    assert_int_equal(LINE(KEY("env"), AT(0)), 0);
    assert_int_equal(LINE(KEY("twice"), KEY("x")), 0);
    assert_int_equal(LINE(KEY("empty"), KEY("x")), 0);
    assert_int_equal(LINE(KEY("none"), AT(0)), 0);
    const struct json_step step = KEY("x");
    assert_int_equal(json_place_line("7", 1, &step, 1), 0);
    assert_int_equal(json_place_line("", 0, &step, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_members),
        cmocka_unit_test(what_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
