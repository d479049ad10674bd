#include "launcher/kernel_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A copy of the exact size, so that a read beyond it is seen. */
static int scan(const char *json, const char *member, char *ret, size_t size) {
    size_t length = strlen(json);
    uint8_t *copy = malloc(length ? length : 1);
    memcpy(copy, json, length);
    int result = json_scan_text((struct bytes){copy, length}, member, ret, size);
    free(copy);
    return result;
}

static void expect_found(const char *json, const char *value) {
    char text[64] = "?";
    int length = scan(json, "m", text, sizeof text);
    if (length < 0)
        fail_msg("not found in %s", json);
    assert_int_equal(length, strlen(value));
    assert_string_equal(text, value);
}

static void expect_missing(const char *json) {
    char text[64] = "?";
    if (scan(json, "m", text, sizeof text) >= 0)
        fail_msg("found \"%s\" in %s", text, json);
}

static void test_found(void **state) {
    (void)state;
    expect_found("{\"m\":\"v\"}", "v");
    expect_found(" \t\r\n{ \"m\" : \"v\" } ", "v");
    expect_found("{\"m\":\"\"}", "");
    expect_found("{\"a\":1,\"b\":[{\"m\":\"no\"},\"m\"],\"m\":\"v\",\"c\":", "v");
    expect_found("{\"a\":{\"m\":\"no\"},\"m\":\"v\"}", "v");
    expect_found("{\"x\":\"\\\"m\\\":\\\"no\\\"\",\"m\":\"v\"}", "v");
    expect_found("{\"a\":-0.5e+10,\"b\":true,\"c\":false,\"d\":null,\"e\":[],\"f\":{},\"m\":\"v\"}",
                 "v");
    expect_found("{\"mm\":\"no\",\"\":\"no\",\"m\":\"v\"}", "v");
    expect_found("{\"\\u006d\":\"v\"}", "v");
}

static void test_escapes(void **state) {
    (void)state;
    expect_found("{\"m\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t");
    expect_found("{\"m\":\"\\u00e9\\u20AC\"}", "\u00e9\u20ac");
    expect_found("{\"m\":\"\\ud83d\\ude00\"}", "\U0001F600");
    expect_found("{\"m\":\"gr\u00fc\u00df\"}", "gr\u00fc\u00df");
    expect_missing("{\"m\":\"\\ud83d\"}");
    expect_missing("{\"m\":\"\\ud83dx\\ude00\"}");
    expect_missing("{\"m\":\"\\ude00\"}");
    expect_missing("{\"m\":\"\\u12\"}");
    expect_missing("{\"m\":\"\\u12G4\"}");
    expect_missing("{\"m\":\"\\x\"}");
    expect_missing("{\"m\":\"a\\u0000b\"}");
    expect_missing("{\"m\":\"\xC0\xAF\"}");
    expect_missing("{\"m\":\"\xFF\"}");
}

static void test_missing_and_malformed(void **state) {
    (void)state;
    static const char *const rows[] = {
        "",
        "{",
        "{}",
        "[]",
        "null",
        "\"m\"",
        "{\"a\":\"m\"}",
        "{\"m\":1}",
        "{\"m\":null}",
        "{\"m\":{\"m\":\"v\"}}",
        "{\"m\":[\"v\"]}",
        "{\"m\"}",
        "{\"m\" \"v\"}",
        "{\"m\":}",
        "{\"m\":\"v",
        "{\"m\":\"v\\",
        "{\"m\":\"v\\\"",
        "{m:\"v\"}",
        "{,\"m\":\"v\"}",
        "{\"a\":1 \"m\":\"v\"}",
        "{\"a\":01,\"m\":\"v\"}",
        "{\"a\":1.,\"m\":\"v\"}",
        "{\"a\":1e,\"m\":\"v\"}",
        "{\"a\":-,\"m\":\"v\"}",
        "{\"a\":.5,\"m\":\"v\"}",
        "{\"a\":+1,\"m\":\"v\"}",
        "{\"a\":NaN,\"m\":\"v\"}",
        "{\"a\":tru,\"m\":\"v\"}",
        "{\"a\":[1,],\"m\":\"v\"}",
        "{\"a\":[1 2],\"m\":\"v\"}",
        "{\"a\":[1},\"m\":\"v\"}",
        "{\"a\":{1:2},\"m\":\"v\"}",
        "{\"a\":\"\n\",\"m\":\"v\"}",
        "{\"m\":\"a\tb\"}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_missing(rows[i]);
}

static void test_every_cut(void **state) {
    (void)state;
    static const char json[] = "{\"a\":[1,{\"b\":\"\\u00e9\\n\"},-2.5e-3,true],\"m\":\"v\\u0041\"}";
    char text[8];
    for (size_t length = 0; length < sizeof json - 2; length++) {
        char *cut = strndup(json, length);
        assert_int_equal(scan(cut, "m", text, sizeof text), -1);
        free(cut);
    }
    assert_int_equal(scan(json, "m", text, sizeof text), 2);
    assert_string_equal(text, "vA");
}

static void test_size_and_depth(void **state) {
    (void)state;
    char text[4];
    assert_int_equal(scan("{\"m\":\"abc\"}", "m", text, 4), 3);
    assert_int_equal(scan("{\"m\":\"abcd\"}", "m", text, 4), -1);
    assert_int_equal(scan("{\"m\":\"\"}", "m", text, 0), -1);
    enum { DEEP = 100000 };
    char *deep = malloc(2 * DEEP + 32);
    strcpy(deep, "{\"a\":");
    memset(deep + 5, '[', DEEP);
    memset(deep + 5 + DEEP, ']', DEEP);
    strcpy(deep + 5 + 2 * DEEP, ",\"m\":\"v\"}");
    assert_int_equal(scan(deep, "m", text, 4), -1); /* and no stack overflow */
    free(deep);
    expect_found(
        "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],\"m\":\"v\"}",
        "v");
    assert_int_equal(json_scan_text((struct bytes){NULL, 0}, "m", text, 4), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_missing_and_malformed),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_size_and_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
