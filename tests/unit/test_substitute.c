#include "kernelspecs/substitute.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *values(void) {
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "NAME", "ann", "_a1", "under", "SIGN", "$NAME",
                     "kernel_id", "k-1", "NUMBER", 5);
}

static void assert_outcome(char *outcome, const char *expected) {
    assert_string_equal(outcome, expected);
    free(outcome);
}

static void variables_follow_python(void **state) {
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", ""},
        {"plain", "plain"},
        {"$NAME", "ann"},
        {"${NAME}", "ann"},
        {"/home/$NAME/x", "/home/ann/x"},
        {"a${NAME}b", "aannb"},
        {"$NAMEb", "$NAMEb"},
        {"$_a1.", "under."},
        {"$$NAME", "$NAME"},
        {"$$$NAME", "$ann"},
        {"$$", "$"},
        {"$", "$"},
        {"cost: 5$", "cost: 5$"},
        {"$1", "$1"},
        {"$ NAME", "$ NAME"},
        {"${NAME", "${NAME"},
        {"${}", "${}"},
        {"${NA ME}", "${NA ME}"},
        {"${1}", "${1}"},
        {"${${NAME}}", "${ann}"},
        {"${UNKNOWN} $UNKNOWN", "${UNKNOWN} $UNKNOWN"},
        {"$NUMBER", "$NUMBER"},
        {"$SIGN", "$NAME"},
        {"$NAME$NAME", "annann"},
        {"$NAM\xc3\xa9", "$NAM\xc3\xa9"},
        {"{NAME}", "{NAME}"},
    };
    (void)state;
    json_t *known = values();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_outcome(substitute_variables(rows[i].text, known), rows[i].expected);
    assert_outcome(substitute_variables("$NAME", NULL), "$NAME");
    json_decref(known);
}

static void placeholders_of_argv(void **state) {
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"{kernel_id}", "k-1"},
        {"--id={kernel_id}.", "--id=k-1."},
        {"{unknown}", "{unknown}"},
        {"{", "{"},
        {"{}", "{}"},
        {"{kernel_id", "{kernel_id"},
        {"{{kernel_id}}", "{k-1}"},
        {"{a b}", "{a b}"},
        {"$NAME", "$NAME"},
        {"{\"json\": {kernel_id}}", "{\"json\": k-1}"},
    };
    (void)state;
    json_t *known = values();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_outcome(substitute_placeholders(rows[i].text, known), rows[i].expected);
    json_decref(known);
}

static void outcome_is_bounded(void **state) {
    (void)state;
    enum { LONG = 4096, TIMES = 1024 };
    char *value = malloc(LONG + 1);
    char *text = malloc(2 * TIMES + 1);
    memset(value, 'v', LONG);
    value[LONG] = '\0';
    for (size_t i = 0; i < TIMES; i++)
        memcpy(text + 2 * i, "$A", 2);
    text[2 * TIMES] = '\0';
    json_t *known = json_pack("{s:s}", "A", value);
    assert_outcome(substitute_variables(text, known), text);
    text[2 * 16] = '\0';
    char *outcome = substitute_variables(text, known);
    assert_int_equal(strlen(outcome), 16 * LONG);
    free(outcome);
    json_decref(known);
    free(text);
    free(value);
}

static void long_names_are_left(void **state) {
    (void)state;
    char text[602];
    memset(text, 'N', sizeof text - 1);
    text[0] = '$';
    text[sizeof text - 1] = '\0';
    json_t *known = values();
    assert_outcome(substitute_variables(text, known), text);
    json_decref(known);
}

static void variables_are_found(void **state) {
    static const struct {
        const char *text;
        bool is_variable;
        const char *unknown; /* with the prefix N, or NULL */
    } rows[] = {
        {"", false, NULL},           {"$NAME", true, NULL},       {"${NAME}", true, NULL},
        {"$$", false, NULL},         {"$$NOPE", false, NULL},     {"$NOPE", true, "NOPE"},
        {"${NOPE}", true, "NOPE"},   {"x${NOPE}", false, "NOPE"}, {"$NAME$NOPE", false, "NOPE"},
        {"$NAMEX ", false, "NAMEX"}, {"$OTHER", true, NULL},      {"${NOPE", false, NULL},
        {"$", false, NULL},          {"$OTHER/$N", false, "N"},
    };
    (void)state;
    json_t *known = values();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(substitute_is_variable(rows[i].text), rows[i].is_variable);
        char *unknown = substitute_find_unknown(rows[i].text, "N", known);
        if (rows[i].unknown == NULL)
            assert_null(unknown);
        else
            assert_string_equal(unknown, rows[i].unknown);
        free(unknown);
    }
    json_decref(known);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variables_follow_python), cmocka_unit_test(variables_are_found),
        cmocka_unit_test(placeholders_of_argv),    cmocka_unit_test(outcome_is_bounded),
        cmocka_unit_test(long_names_are_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
