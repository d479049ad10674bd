#include "base/option_value.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "base/yaml.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LIST_LIMIT = 4096, TEXT_LIMIT = 1 << 16 };

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {"", 1000}, {NULL, 0}};
static const struct unit byte_units[] = {{"T", INT64_C(1) << 40},
                                         {"G", INT64_C(1) << 30},
                                         {"M", INT64_C(1) << 20},
                                         {"k", INT64_C(1) << 10},
                                         {"", 1},
                                         {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(const struct option_row *row) {
    if (row->type == OPTION_DURATION)
        return duration_units;
    return row->type == OPTION_BYTES ? byte_units : no_units;
}

static void *field_of(const struct option_row *row, void *settings) {
    return (char *)settings + row->offset;
}

static const void *const_field_of(const struct option_row *row, const void *settings) {
    return (const char *)settings + row->offset;
}

static int64_t max_of(const struct option_row *row) {
    return row->min == 0 && row->max == 0 ? INT64_MAX : row->max;
}

/* A number in the largest unit that shows it whole. */
static void print_number(const struct option_row *row, int64_t number, struct buffer *out) {
    const struct unit *unit = units_of(row);
    while (unit->name[0] != '\0' && (number == 0 || number % unit->factor != 0))
        unit++;
    buffer_printf(out, "%" PRId64 "%s", number / unit->factor, unit->name);
}

void option_value_describe(const struct option_row *row, struct buffer *out) {
    static const char *const forms[] = {
        [OPTION_BOOL] = "true or false",
        [OPTION_INT] = "a whole number",
        [OPTION_DURATION] = "seconds, or a time such as 500ms, 30s, 5m, 4h, 2d",
        [OPTION_BYTES] = "bytes, or a size such as 64k, 10M, 1G",
        [OPTION_TEXT] = "text",
        [OPTION_ENUM] = "one of ",
        [OPTION_LIST] = "a list: a,b,c or [\"a\", \"b\", \"c\"]",
        [OPTION_MAPPING] = "a mapping: lines of \"key: value\", or {\"key\": value}",
    };
    buffer_append_text(out, forms[row->type]);
    if (row->type == OPTION_ENUM)
        for (const char *at = row->choices; *at; at++)
            buffer_append(out, *at == '|' ? ", " : at, *at == '|' ? 2 : 1);
    if (row->type != OPTION_INT && row->type != OPTION_DURATION && row->type != OPTION_BYTES)
        return;
    if (max_of(row) == INT64_MAX) {
        buffer_append_text(out, row->type == OPTION_INT ? " of at least " : ", at least ");
        print_number(row, row->min, out);
        return;
    }
    buffer_append_text(out, row->type == OPTION_INT ? " from " : ", from ");
    print_number(row, row->min, out);
    buffer_append_text(out, " to ");
    print_number(row, max_of(row), out);
}

static int refuse(const struct option_row *row, const char *text, const char *source,
                  struct error *err) {
    cleanup_buffer struct buffer form = {.limit = 512};
    option_value_describe(row, &form);
    if (row->flags & OPTION_SECRET)
        return error_set(err, ERROR_INVALID, "%s: the value must be %s", source,
                         buffer_text(&form));
    return error_set(err, ERROR_INVALID, "%s: \"%.64s\" must be %s", source, text,
                     buffer_text(&form));
}

static int parse_bool(const char *text, bool *ret) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i % 2 == 1;
            return 0;
        }
    }
    return -1;
}

static bool is_unit(const struct unit *unit, enum option_type type, const char *text) {
    if (type != OPTION_BYTES || unit->name[0] == '\0')
        return strcmp(text, unit->name) == 0;
    /* As people write sizes: k, K, Ki, KiB. All mean 1024. */
    if (tolower((unsigned char)*text) != tolower((unsigned char)unit->name[0]))
        return false;
    return strcasecmp(text + 1, "") == 0 || strcmp(text + 1, "i") == 0 ||
           strcmp(text + 1, "iB") == 0;
}

/* Digits, an optional decimal fraction, an optional unit. */
static int parse_number(const struct option_row *row, const char *text, int64_t *ret) {
    bool negative = *text == '-';
    const char *at = text + negative;
    if (!isdigit((unsigned char)*at))
        return -1;
    char *end = NULL;
    long long whole = strtoll(at, &end, 10);
    if (whole == INT64_MAX)
        return -1; /* also what strtoll says when it overflows */
    const char *fraction = NULL;
    if (*end == '.' && row->type != OPTION_INT) {
        fraction = ++end;
        end += strspn(end, "0123456789");
        if (end == fraction)
            return -1;
    }
    const struct unit *unit = units_of(row);
    while (unit->name != NULL && !is_unit(unit, row->type, end))
        unit++;
    int64_t value;
    if (unit->name == NULL || __builtin_mul_overflow((int64_t)whole, unit->factor, &value))
        return -1;
    int64_t part = unit->factor;
    for (; fraction != NULL && isdigit((unsigned char)*fraction) && part > 0; fraction++) {
        int64_t digit = *fraction - '0';
        if (__builtin_add_overflow(value, part * digit / 10, &value))
            return -1;
        part /= 10;
    }
    if (value == 0 && strspn(at, "0.") < strspn(at, "0123456789."))
        return -1; /* less than the smallest there is: zero often means "never" or "off" */
    value = negative ? -value : value;
    if (value < row->min || value > max_of(row))
        return -1;
    *ret = value;
    return 0;
}

static bool is_choice(const char *choices, const char *text) {
    for (const char *at = choices;;) {
        size_t length = strcspn(at, "|");
        if (text_equal_n(at, length, text))
            return true;
        if (at[length] == '\0')
            return false;
        at += length + 1;
    }
}

/* An empty text means "none" where the default is none, so that nobody has to tell "" from NULL:
 * charts set variables to "". */
static void set_text(const struct option_row *row, const char *text, char **field) {
    free(*field);
    *field = *text == '\0' && row->fallback == NULL ? NULL : memory_strdup(text);
}

static size_t list_length(char **list) {
    size_t length = 0;
    while (list != NULL && list[length] != NULL)
        length++;
    return length;
}

static void list_add(char ***list, const char *text, size_t length) {
    size_t count = list_length(*list);
    *list = memory_resize(*list, (count + 2) * sizeof **list);
    (*list)[count] = memory_strndup(text, length);
    (*list)[count + 1] = NULL;
}

static int list_add_json(char ***list, const json_t *array, const char *source, struct error *err) {
    for (size_t i = 0; i < json_array_size(array) && i <= LIST_LIMIT; i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
            return error_set(err, ERROR_INVALID, "%s: item %zu of the list must be a text", source,
                             i + 1);
        list_add(list, json_string_value(item), json_string_length(item));
    }
    return 0;
}

/* One item of a comma-separated list, blanks around it dropped. A quoted one may hold commas: JEG's
 * charts write 'a','b'. Returns where the next one starts, NULL when a quote is not closed. */
static const char *list_add_item(char ***list, const char *at) {
    at += strspn(at, " \t");
    if (*at == '\'' || *at == '"') {
        const char *close = strchr(at + 1, *at);
        if (close == NULL || close[1 + strspn(close + 1, " \t")] != ',')
            if (close == NULL || close[1 + strspn(close + 1, " \t")] != '\0')
                return NULL;
        list_add(list, at + 1, (size_t)(close - at) - 1);
        return close + 1 + strspn(close + 1, " \t");
    }
    size_t length = strcspn(at, ",");
    const char *end = at + length;
    while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t'))
        length--;
    if (length > 0)
        list_add(list, at, length);
    return end;
}

static int list_add_text(char ***list, const char *text, const char *source, struct error *err) {
    text += strspn(text, " \t");
    if (*text == '[') {
        json_error_t where;
        cleanup_json json_t *array = json_loads(text, 0, &where);
        if (!json_is_array(array))
            return error_set(err, ERROR_INVALID,
                             "%s: a list that starts with [ must be a JSON array of texts: %s",
                             source, where.text);
        return list_add_json(list, array, source, err);
    }
    for (const char *at = text; *at != '\0' && list_length(*list) <= LIST_LIMIT;) {
        at = list_add_item(list, at);
        if (at == NULL)
            return error_set(err, ERROR_INVALID,
                             "%s: a quoted list item must end with its quote and a comma", source);
        at += *at == ',';
    }
    return 0;
}

/* Adds what `text` or `array` holds to `list` (taken over) and puts it into the field, if all of it
 * is good. */
static int set_list(char ***field, char **list, const char *text, const json_t *array,
                    const char *source, struct error *err) {
    int failed = text != NULL ? list_add_text(&list, text, source, err)
                              : list_add_json(&list, array, source, err);
    if (failed == 0 && list_length(list) > LIST_LIMIT)
        failed = error_set(err, ERROR_LIMIT, "%s: a list has at most %d items", source, LIST_LIMIT);
    if (failed < 0) {
        text_list_free(list);
        return -1;
    }
    if (list == NULL)
        list = memory_alloc(sizeof *list);
    text_list_free(*field);
    *field = list;
    return 0;
}

/* Takes the tree over. */
static int set_mapping(const struct option_row *row, json_t *tree, const char *source,
                       json_t **field, struct error *err) {
    cleanup_json json_t *mapping = tree;
    if (!json_is_object(mapping)) {
        cleanup_buffer struct buffer form = {.limit = 512};
        option_value_describe(row, &form);
        return error_set(err, ERROR_INVALID, "%s: must be %s", source, buffer_text(&form));
    }
    bool is_empty = json_object_size(mapping) == 0; /* as if it were not set */
    if (!is_empty && row->check != NULL && row->check(mapping, err) < 0)
        return error_wrap(err, "%s", source);
    json_decref(*field);
    *field = is_empty ? NULL : steal(&mapping);
    return 0;
}

static int parse_mapping(const struct option_row *row, const char *text, const char *source,
                         json_t **field, struct error *err) {
    json_t *tree = NULL;
    if (yaml_parse(text, strlen(text), &tree, err) < 0) /* JSON is YAML, and keys are there once */
        return error_wrap(err, "%s", source);
    return set_mapping(row, tree, source, field, err);
}

static int parse_text(const struct option_row *row, const char *text, const char *source,
                      char **field, struct error *err) {
    if (*text != '\0' && row->check != NULL && row->check(text, err) < 0)
        return error_wrap(err, "%s", source);
    set_text(row, text, field);
    return 0;
}

int option_value_parse(const struct option_row *row, const char *text, const char *source,
                       void *settings, struct error *err) {
    void *field = field_of(row, settings);
    if (strlen(text) > TEXT_LIMIT)
        return error_set(err, ERROR_LIMIT, "%s: at most %d bytes", source, TEXT_LIMIT);
    if (!utf8_is_valid(text, strlen(text)))
        return error_set(err, ERROR_INVALID, "%s: the value is not UTF-8", source);
    switch (row->type) {
    case OPTION_BOOL:
        return parse_bool(text, field) < 0 ? refuse(row, text, source, err) : 0;
    case OPTION_INT:
    case OPTION_DURATION:
    case OPTION_BYTES:
        return parse_number(row, text, field) < 0 ? refuse(row, text, source, err) : 0;
    case OPTION_ENUM:
        if (!is_choice(row->choices, text))
            return refuse(row, text, source, err);
        set_text(row, text, field);
        return 0;
    case OPTION_TEXT:
        return parse_text(row, text, source, field, err);
    case OPTION_LIST:
        return set_list(field, NULL, text, NULL, source, err);
    case OPTION_MAPPING:
        return parse_mapping(row, text, source, field, err);
    }
    abort();
}

int option_value_append(const struct option_row *row, const char *text, const char *source,
                        void *settings, struct error *err) {
    char ***field = field_of(row, settings);
    return set_list(field, steal(field), text, NULL, source, err);
}

/* YAML gives true, 5 and 1.5 types of their own; as text they read the same. */
static char *json_as_text(const struct option_row *row, const json_t *json) {
    if (json_is_string(json) && strlen(json_string_value(json)) == json_string_length(json))
        return memory_strdup(json_string_value(json));
    bool wants_number = row->type == OPTION_INT || row->type == OPTION_DURATION ||
                        row->type == OPTION_BYTES || row->type == OPTION_BOOL;
    if (json_is_boolean(json) && (row->type == OPTION_BOOL ||
                                  (row->type == OPTION_ENUM &&
                                   is_choice(row->choices, json_is_true(json) ? "true" : "false"))))
        return memory_strdup(json_is_true(json) ? "true" : "false");
    if (json_is_integer(json) && wants_number)
        return memory_printf("%" JSON_INTEGER_FORMAT, json_integer_value(json));
    if (json_is_real(json) && wants_number) {
        double value = json_real_value(json);
        bool rounds_to_zero = value != 0 && value > -0.0005 && value < 0.0005;
        return memory_printf(rounds_to_zero ? "%.9f" : "%.3f", value);
    }
    return NULL;
}

int option_value_from_json(const struct option_row *row, const json_t *json, const char *source,
                           void *settings, struct error *err) {
    if (row->type == OPTION_LIST && json_is_array(json))
        return set_list(field_of(row, settings), NULL, NULL, json, source, err);
    if (row->type == OPTION_MAPPING)
        return set_mapping(row, json_deep_copy(json), source, field_of(row, settings), err);
    cleanup_free char *text = json_as_text(row, json);
    if (text != NULL)
        return option_value_parse(row, text, source, settings, err);
    cleanup_buffer struct buffer form = {.limit = 512};
    option_value_describe(row, &form);
    bool scalar = !json_is_array(json) && !json_is_object(json);
    return error_set(err, ERROR_INVALID, "%s: must be %s%s", source, buffer_text(&form),
                     scalar && row->type != OPTION_BOOL ? " (put it in quotes to make it a text)"
                                                        : "");
}

void option_value_clear(const struct option_row *row, void *settings) {
    void *field = field_of(row, settings);
    if (row->type == OPTION_LIST) {
        char ***list = field;
        text_list_free(steal(list));
    } else if (row->type == OPTION_TEXT || row->type == OPTION_ENUM) {
        char **text = field;
        free(steal(text));
    } else if (row->type == OPTION_MAPPING) {
        json_t **mapping = field;
        json_decref(steal(mapping));
    }
}

static void print_json(json_t *json, struct buffer *out) {
    yaml_print_flow(json, out);
    json_decref(json);
}

void option_value_print(const struct option_row *row, const void *settings, struct buffer *out) {
    const void *field = const_field_of(row, settings);
    if (row->type == OPTION_BOOL) {
        buffer_append_text(out, *(const bool *)field ? "true" : "false");
    } else if (row->type == OPTION_LIST) {
        json_t *array = json_array();
        for (char *const *item = *(char *const *const *)field; item != NULL && *item != NULL;
             item++)
            json_array_append_new(array, json_string(*item));
        print_json(array, out);
    } else if (row->type == OPTION_TEXT || row->type == OPTION_ENUM) {
        const char *text = *(const char *const *)field;
        print_json(text != NULL ? json_string(text) : json_null(), out);
    } else if (row->type == OPTION_MAPPING) {
        json_t *mapping = *(json_t *const *)field;
        print_json(mapping != NULL ? json_incref(mapping) : json_object(), out);
    } else {
        print_number(row, *(const int64_t *)field, out);
    }
}

char *option_text(const struct option_row *row, const void *settings) {
    cleanup_buffer struct buffer text = {0};
    option_value_print(row, settings, &text);
    return memory_strdup(buffer_text(&text));
}

void option_swap(const struct option_row *row, void *settings, void *other) {
    bool is_pointer = row->type == OPTION_TEXT || row->type == OPTION_ENUM ||
                      row->type == OPTION_LIST || row->type == OPTION_MAPPING;
    size_t size = row->type == OPTION_BOOL ? sizeof(bool)
                  : is_pointer             ? sizeof(void *)
                                           : sizeof(int64_t);
    char saved[sizeof(int64_t)];
    memcpy(saved, field_of(row, settings), size);
    memcpy(field_of(row, settings), field_of(row, other), size);
    memcpy(field_of(row, other), saved, size);
}
