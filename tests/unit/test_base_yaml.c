#include "base/yaml.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *yaml;
    const char *want; /* compact JSON, or the whole message */
};

/* clang-format off */
static const struct row good[] = {
    {"", "null"},
    {"# nothing\n", "null"},
    {"---\n...\n", "null"},
    {"\xEF\xBB\xBF" "a: 1", "{\"a\": 1}"},
    {"a: 1\nb: [x, y]\nc: {d: e}\n", "{\"a\": 1, \"b\": [\"x\", \"y\"], \"c\": {\"d\": \"e\"}}"},
    {"- null\n- ~\n- NULL\n-\n- nULL", "[null, null, null, null, \"nULL\"]"},
    {"[true, True, TRUE, tRUE, false, False, FALSE]", "[true, true, true, \"tRUE\", false, false, false]"},
    {"[yes, no, on, off, y, n]", "[\"yes\", \"no\", \"on\", \"off\", \"y\", \"n\"]"},
    {"[0, -1, +7, 0644, 0o644, 0x1F]", "[0, -1, 7, 644, 420, 31]"},
    {"[1.5, -.5, 1e3, 1., 1.e2]", "[1.5, -0.5, 1000.0, 1.0, 100.0]"},
    {"[1_000, 0x, 0o8, '-', 1e, e1, ., 1.2.3, 12:30, 2026-01-31, .inf, -0x1]",
     "[\"1_000\", \"0x\", \"0o8\", \"-\", \"1e\", \"e1\", \".\", \"1.2.3\", \"12:30\", \"2026-01-31\", \".inf\", \"-0x1\"]"},
    {"['1', \"true\", '', \"a\\nb\"]", "[\"1\", \"true\", \"\", \"a\\nb\"]"},
    {"[9223372036854775807, -9223372036854775808]", "[9223372036854775807, -9223372036854775808]"},
    {"a: |\n  one\n  two\nb: >\n  one\n  two\n", "{\"a\": \"one\\ntwo\\n\", \"b\": \"one two\\n\"}"},
    {"1: a\ntrue: b\n", "{\"1\": \"a\", \"true\": \"b\"}"},
    {"'<<': a", "{\"<<\": \"a\"}"},
    {"caf\xC3\xA9: \xF0\x9F\x90\x9F", "{\"caf\xC3\xA9\": \"\xF0\x9F\x90\x9F\"}"},
    {"{\"json\": [1, {\"too\": null}]}", "{\"json\": [1, {\"too\": null}]}"},
    {"just a text", "\"just a text\""},
};

static const struct row bad[] = {
    {"a: 1\nb: 2\na: 3\n", "line 3, column 1: \"a\" is there twice"},
    {"a: {b: 1, b: 2}", "line 1, column 11: \"b\" is there twice"},
    {"a: null\na: null", "line 2, column 1: \"a\" is there twice"},
    {"a: &x 1", "line 1, column 4: anchors (&name) are not taken; write the value out"},
    {"a: &x [1]", "line 1, column 4: anchors (&name) are not taken; write the value out"},
    {"&x a: 1", "line 1, column 1: anchors (&name) are not taken; write the value out"},
    {"a: *x", "line 1, column 4: aliases (*name) are not taken"},
    {"*x : 1", "line 1, column 1: aliases (*name) are not taken"},
    {"a: !!str 1", "line 1, column 4: tags (!name) are not taken; put a text in quotes instead"},
    {"a: !x {b: 1}", "line 1, column 4: tags (!name) are not taken; put a text in quotes instead"},
    {"<<: {a: 1}", "line 1, column 1: merge keys (<<) are not taken"},
    {"? [a]\n: 1", "line 1, column 3: a key must be a text"},
    {"a: 1\n---\nb: 1", "line 2, column 1: a second document (---) is not taken"},
    {"a: 9223372036854775808", "line 1, column 4: the number is too large; put it in quotes"},
    {"a: 1e999", "line 1, column 4: the number is too large; put it in quotes"},
    {"a: \"x\\0y\"", "line 1, column 4: a text must not hold a NUL"},
    {"\"x\\0y\": 1", "line 1, column 1: a key must not hold a NUL"},
    {"a: \"\\uD800\"", "while parsing a quoted scalar: line 1, column 7: found invalid Unicode character escape code"},
    {"a: [1, 2", "while parsing a flow sequence: line 2, column 1: did not find expected ',' or ']'"},
    {"a: 1\n\tb: 2", "line 2, column 1: a tab indents this line; YAML is indented by spaces alone"},
    {"a:\n  b: 1\n \tc: 2", "line 3, column 2: a tab indents this line; YAML is indented by spaces alone"},
    {"\ta: 1", "line 1, column 1: a tab indents this line; YAML is indented by spaces alone"},
    {"a: b: c", "line 1, column 5: mapping values are not allowed in this context"},
    {"a: 'x", "while scanning a quoted scalar: line 1, column 6: found unexpected end of stream"},
    {"a: \xFF", "byte 3: invalid leading UTF-8 octet"},
    {"a: \xED\xA0\x80", "byte 3: invalid Unicode character"},
    {"a: \x01", "byte 3: control characters are not allowed"},
};
/* clang-format on */

static void reads_the_core_schema(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct error err = {0};
        cleanup_json json_t *json = NULL;
        if (yaml_parse(good[i].yaml, strlen(good[i].yaml), &json, &err) < 0)
            fail_msg("%s: %s", good[i].yaml, err.text);
        cleanup_free char *got = json_dumps(json, JSON_ENCODE_ANY | JSON_SORT_KEYS);
        if (strcmp(got, good[i].want) != 0)
            fail_msg("%s: got %s, want %s", good[i].yaml, got, good[i].want);
    }
}

static void refuses_with_line_and_column(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error err = {0};
        json_t *json = NULL;
        if (yaml_parse(bad[i].yaml, strlen(bad[i].yaml), &json, &err) == 0)
            fail_msg("%s was taken", bad[i].yaml);
        assert_null(json);
        assert_int_equal(err.code, ERROR_INVALID);
        if (strcmp(err.text, bad[i].want) != 0)
            fail_msg("%s: got %s, want %s", bad[i].yaml, err.text, bad[i].want);
    }
}

static int parse_repeated(const char *unit, size_t times, struct error *err) {
    size_t length = strlen(unit);
    cleanup_free char *text = memory_alloc(length * times + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * length, unit, length);
    json_t *json = NULL;
    int failed = yaml_parse(text, length * times, &json, err);
    json_decref(json);
    return failed;
}

static void bounds_depth_size_and_count(void **state) {
    (void)state;
    static const struct {
        const char *unit;
        size_t times;
        const char *want;
    } rows[] = {
        {"[", 100, "line 1: nested deeper than 64 levels"},
        {"{a: ", 100, "line 1: nested deeper than 64 levels"},
        {"- ", 100, "line 1: nested deeper than 64 levels"},
        {"- 1\n", 200001, "line 200000: more than 200000 values"},
        {"# comment\n", 500000, "larger than 4194304 bytes"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err = {0};
        assert_int_equal(parse_repeated(rows[i].unit, rows[i].times, &err), -1);
        assert_int_equal(err.code, ERROR_LIMIT);
        assert_string_equal(err.text, rows[i].want);
    }
    assert_int_equal(parse_repeated("- 1\n", 10000, NULL), 0);
    assert_int_equal(parse_repeated("- ", 63, NULL), 0);
}

static void reads_no_further_than_its_length(void **state) {
    (void)state;
    cleanup_json json_t *json = NULL;
    assert_int_equal(yaml_parse("a: 12345", 5, &json, NULL), 0);
    assert_int_equal(json_integer_value(json_object_get(json, "a")), 12);
}

static void notes_the_line_of_each_member(void **state) {
    (void)state;
    static const char text[] =
        "# first\na: 1\nb:\n  c: {d: 1,\n      e: 2}\n  f: [{g: 1},\n      [2]]\nh: 2\n";
    cleanup_json json_t *json = NULL, *lines = NULL;
    assert_int_equal(yaml_parse_lines(text, strlen(text), &json, &lines, NULL), 0);
    cleanup_json json_t *want =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "a", 2, "b", 3, "b.c",
                  4, "b.c.d", 4, "b.c.e", 5, "b.f", 6, "b.f[0]", 6, "b.f[0].g", 6, "b.f[1]", 7,
                  "b.f[1][0]", 7, "h", 8);
    if (!json_equal(lines, want))
        fail_msg("%s", json_dumps(lines, 0));
    /* Keys as long as they like to be, one in the other. */
    cleanup_free char *deep = memory_alloc(1 << 20);
    size_t length = 0;
    for (int level = 0; level < 60; level++) {
        deep[length++] = '{';
        memset(deep + length, 'k', 10000);
        length += 10000;
        memcpy(deep + length, ": ", 2);
        length += 2;
    }
    deep[length++] = '1';
    memset(deep + length, '}', 60);
    cleanup_json json_t *much = NULL, *none = NULL;
    struct error err = {0};
    assert_int_equal(yaml_parse_lines(deep, length + 60, &much, &none, &err), -1);
    assert_null(none);
    length = 0; /* libyaml's limit of a simple key is 1024 */
    for (int level = 0; level < 60; level++)
        length += (size_t)sprintf(deep + length, "{%0200d: ", level);
    deep[length++] = '1';
    memset(deep + length, '}', 60);
    assert_int_equal(yaml_parse_lines(deep, length + 60, &much, &none, &err), 0);
    assert_int_equal(json_object_size(none), 1);
}

static void prints_what_reads_as_the_same(void **state) {
    (void)state;
    static const char *const texts[] = {
        "plain",
        "\"quoted\" \\ / \n\t\b",
        "a\x7f"
        "b",
        "\xC2\x85,\xC2\x80\xC2\x9F\u00a0\u00c2",
        "\u2027\u2028\u2029\u202a",
        "\ufeffx\ufffd\ufffe\uffff",
        "\U0001F600 \u00e9",
        "",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cleanup_json json_t *tree = json_pack("{s:[s]}", "a", texts[i]);
        cleanup_json json_t *again = NULL;
        cleanup_buffer struct buffer out = {0};
        struct error err = {0};
        yaml_print_flow(tree, &out);
        if (yaml_parse(buffer_text(&out), out.length, &again, &err) < 0)
            fail_msg("%s: %s", buffer_text(&out), err.text);
        assert_true(json_equal(tree, again));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_core_schema),
        cmocka_unit_test(refuses_with_line_and_column),
        cmocka_unit_test(bounds_depth_size_and_count),
        cmocka_unit_test(reads_no_further_than_its_length),
        cmocka_unit_test(notes_the_line_of_each_member),
        cmocka_unit_test(prints_what_reads_as_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
