/* A value of any bytes for an option of each type: refused, or shown in a form that loads to the
 * same again. The first byte chooses the option, the rest is its value. */
#include "base/buffer.h"
#include "base/option.h"
#include "base/yaml.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    bool flag;
    int64_t number;
    int64_t time_ms;
    int64_t size;
    char *text;
    char *word;
    char **list;
    json_t *mapping;
};

#define AT(field) .offset = offsetof(struct settings, field)

static const struct option_row table[] = {
    {"flag", "X_FLAG", OPTION_BOOL, AT(flag), .fallback = "false"},
    {"number", "X_NUMBER", OPTION_INT, AT(number), .fallback = "0", .min = -1000, .max = 1000},
    {"time", "X_TIME", OPTION_DURATION, AT(time_ms), .fallback = "0"},
    {"size", "X_SIZE", OPTION_BYTES, AT(size), .fallback = "0"},
    {"text", "X_TEXT", OPTION_TEXT, AT(text)},
    {"word", "X_WORD", OPTION_ENUM, AT(word), .fallback = "a", .choices = "a|bc"},
    {"list", "X_LIST", OPTION_LIST, AT(list)},
    {"mapping", "X_MAPPING", OPTION_MAPPING, AT(mapping)},
    {0},
};
enum { ROWS = sizeof table / sizeof table[0] - 1 };

static char *show(const struct settings *settings) {
    struct option_source sources[ROWS] = {0};
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    option_print_config(table, settings, sources, out);
    fclose(out);
    return text;
}

static void load_again(const char *shown) {
    struct error err = {0};
    struct settings settings = {0};
    json_t *file = NULL;
    int failed = yaml_parse(shown, strlen(shown), &file, &err);
    assert(failed == 0);
    struct option_input input = {.file = file, .file_name = "shown"};
    failed = option_load(table, &input, &settings, NULL, &err);
    assert(failed == 0);
    char *again = show(&settings);
    assert(strcmp(shown, again) == 0);
    free(again);
    option_free(table, &settings);
    json_decref(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    struct buffer variable = {0};
    buffer_append_text(&variable, table[data[0] % ROWS].environment);
    buffer_append_text(&variable, "=");
    buffer_append(&variable, data + 1, size - 1);
    buffer_text(&variable);
    char *environment[] = {(char *)variable.data, NULL};
    struct settings settings = {0};
    struct error err = {0};
    struct option_input input = {.environment = environment};
    if (option_load(table, &input, &settings, NULL, &err) == 0) {
        char *shown = show(&settings);
        load_again(shown);
        free(shown);
        option_free(table, &settings);
    } else {
        assert(err.code != ERROR_NONE && err.text[0] != '\0');
    }
    buffer_free(&variable);
    return 0;
}
