#include "base/option.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option_value.h"
#include "base/text.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_FILE_NAME = 160, SHOWN_VALUE = 64 };

/* What the steps of option_load share. */
struct load {
    const struct option_row *table;
    const struct option_input *input;
    void *settings;
    struct option_source *sources;
    struct error *err;
    bool failed;
};

/* -1: that is enough. 0: go on, to tell of all that is wrong. */
static int note_problem(struct load *load, const struct error *problem) {
    if (!load->failed && load->err != NULL)
        *load->err = *problem;
    load->failed = true;
    if (load->input->problem == NULL)
        return -1;
    load->input->problem(load->input->context, problem);
    return 0;
}

__attribute__((format(printf, 2, 3))) static void note(const struct load *load, const char *format,
                                                       ...) {
    if (load->input->notice == NULL)
        return;
    va_list args;
    va_start(args, format);
    char *whole = NULL;
    if (vasprintf(&whole, format, args) >= 0)
        load->input->notice(load->input->context, whole);
    va_end(args);
    free(whole);
}

static struct option_source *source_of(const struct load *load, const struct option_row *row) {
    return load->sources + (row - load->table);
}

/* The row's field has its new value, `before` is the old one. */
static void note_override(const struct load *load, const struct option_row *row, const char *source,
                          const char *before) {
    cleanup_free char *after = option_text(row, load->settings);
    if (strcmp(before, after) == 0)
        return;
    char key[OPTION_NAME_MAX];
    option_key(row, key);
    const char *old = source_of(load, row)->text;
    if (row->flags & OPTION_SECRET)
        note(load, "%s: %s counts, and not %s, which says otherwise", key, source, old);
    else
        note(load, "%s: %s counts, which says %.*s, and not %s, which says %.*s", key, source,
             (int)utf8_floor(after, strlen(after), SHOWN_VALUE), after, old,
             (int)utf8_floor(before, strlen(before), SHOWN_VALUE), before);
}

/* A variable's or flag's text into the row's field, to which later flags of a list add; says so
 * when it overrides a source that says something else. */
static int take(struct load *load, const struct option_row *row, const char *text,
                const struct option_source *source) {
    struct option_source *place = source_of(load, row);
    struct error problem = {0};
    bool overrides = place->from != OPTION_FROM_DEFAULT;
    cleanup_free char *before = overrides ? option_text(row, load->settings) : NULL;
    bool adds = row->type == OPTION_LIST && place->from == OPTION_FROM_FLAG;
    if ((adds ? option_value_append : option_value_parse)(row, text, source->text, load->settings,
                                                          &problem) < 0)
        return note_problem(load, &problem);
    if (overrides && !adds)
        note_override(load, row, source->text, before);
    *place = *source;
    return 0;
}

static size_t table_length(const struct option_row *table) {
    size_t length = 0;
    while (table[length].name != NULL)
        length++;
    return length;
}

static const struct option_row *find_row(const struct option_row *table, const char *name,
                                         size_t length) {
    for (const struct option_row *row = table; row->name != NULL; row++)
        if (text_equal_n(name, length, row->name))
            return row;
    return NULL;
}

static int load_defaults(struct load *load) {
    for (const struct option_row *row = load->table; row->name != NULL; row++) {
        struct error problem = {0};
        *source_of(load, row) = (struct option_source){OPTION_FROM_DEFAULT, "default"};
        if (row->fallback == NULL && row->type != OPTION_LIST)
            continue;
        const char *text = row->fallback != NULL ? row->fallback : "";
        if (option_value_parse(row, text, row->name, load->settings, &problem) < 0) {
            error_wrap(&problem, "default");
            if (note_problem(load, &problem) < 0)
                return -1;
        }
    }
    return 0;
}

/* ---- the file ---- */

static json_int_t line_of(const struct load *load, const char *path) {
    return json_integer_value(json_object_get(load->input->lines, path));
}

/* "/etc/elara.yaml:12", or without a line that nobody knows; a long name's end is what tells. */
static struct option_source place_in_file(const struct load *load, const char *path) {
    const char *name = load->input->file_name;
    name = name != NULL ? name : "configuration file";
    size_t length = strlen(name);
    const char *dots = length > SHOWN_FILE_NAME ? "..." : "";
    name += length > SHOWN_FILE_NAME ? length - SHOWN_FILE_NAME : 0;
    json_int_t line = line_of(load, path);
    struct option_source place = {.from = OPTION_FROM_FILE};
    if (line > 0)
        snprintf(place.text, sizeof place.text, "%s%s:%" JSON_INTEGER_FORMAT, dots, name, line);
    else
        snprintf(place.text, sizeof place.text, "%s%s", dots, name);
    return place;
}

/* An error that reads "overrides: owners.ann: idle: must be ..." is about the member
 * overrides.owners.ann.idle of the file, which has a line of its own. */
static void add_place(const struct load *load, const char *key, struct error *problem) {
    cleanup_free char *path = memory_strdup(key);
    const char *rest = problem->text + strlen(key);
    while (text_starts_with(rest, ": ")) {
        size_t length = strcspn(rest + 2, ":");
        char *longer = memory_printf("%s.%.*s", path, (int)length, rest + 2);
        if (line_of(load, longer) == 0) {
            free(longer);
            break;
        }
        free(path);
        path = longer;
        rest += 2 + length;
    }
    struct option_source place = place_in_file(load, path);
    error_wrap(problem, "%s", place.text);
}

static int refuse_key(struct load *load, const char *key) {
    const struct option_row *nearest = option_nearest_row(load->table, key);
    struct option_source place = place_in_file(load, key);
    struct error problem = {0};
    char meant[OPTION_NAME_MAX];
    if (nearest != NULL) {
        option_key(nearest, meant);
        error_set(&problem, ERROR_INVALID, "%s: unknown key \"%.64s\"; did you mean \"%s\"?",
                  place.text, key, meant);
    } else {
        error_set(&problem, ERROR_INVALID, "%s: unknown key \"%.64s\"; --help lists all settings",
                  place.text, key);
    }
    return note_problem(load, &problem);
}

/* What says nothing below a mapping's key. */
static void note_empty(const struct load *load, const char *path, const json_t *value) {
    const char *key;
    json_t *member;
    if (json_is_null(value))
        note(load, "%s: %s has no value, and says nothing", place_in_file(load, path).text, path);
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
        cleanup_free char *longer = memory_printf("%s.%s", path, key);
        note_empty(load, longer, member);
    }
}

static int load_member(struct load *load, const struct option_row *row, const char *key,
                       const json_t *value) {
    struct option_source place = place_in_file(load, key);
    if (json_is_null(value)) {
        if (row->fallback != NULL && *row->fallback != '\0')
            note(load, "%s: %s has no value; the default counts, which is %s", place.text, key,
                 row->fallback);
        else if (row->type == OPTION_MAPPING)
            note_empty(load, key, value);
        return 0;
    }
    struct error problem = {0};
    if (option_value_from_json(row, value, key, load->settings, &problem) < 0) {
        add_place(load, key, &problem);
        return note_problem(load, &problem);
    }
    if (row->type == OPTION_MAPPING)
        note_empty(load, key, value);
    *source_of(load, row) = place;
    return 0;
}

static int load_file(struct load *load) {
    const json_t *file = load->input->file;
    struct error problem = {0};
    if (file == NULL || json_is_null(file))
        return 0;
    if (!json_is_object(file)) {
        error_set(&problem, ERROR_INVALID, "%s: must hold lines of \"key: value\"",
                  place_in_file(load, "").text);
        return note_problem(load, &problem);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)file, key, value) {
        cleanup_free char *name = memory_strdup(key);
        for (char *at = name; *at; at++)
            *at = *at == '_' ? '-' : *at;
        const struct option_row *row =
            strchr(key, '-') == NULL ? find_row(load->table, name, strlen(name)) : NULL;
        if ((row != NULL ? load_member(load, row, key, value) : refuse_key(load, key)) < 0)
            return -1;
    }
    return 0;
}

/* ---- variables ---- */

static const char *find_variable(char *const *environment, const char *name, size_t length) {
    for (; environment != NULL && *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

static bool counts_as_unset(const struct option_row *row, const char *text) {
    if (*text == '\0')
        return row->type != OPTION_LIST && row->type != OPTION_TEXT;
    return row->type == OPTION_INT && text_starts_with(text, "tcp://");
}

/* Of several names the first wins, so it comes last. */
static int load_names(struct load *load, const struct option_row *row, const char *name) {
    if (*name == '\0')
        return 0;
    size_t length = strcspn(name, ",");
    if (name[length] == ',' && load_names(load, row, name + length + 1) < 0)
        return -1;
    const char *text = find_variable(load->input->environment, name, length);
    if (text == NULL || counts_as_unset(row, text))
        return 0;
    struct option_source source = {.from = OPTION_FROM_VARIABLE};
    snprintf(source.text, sizeof source.text, "%.*s", (int)length, name);
    return take(load, row, text, &source);
}

static int load_environment(struct load *load) {
    for (const struct option_row *row = load->table; row->name != NULL; row++)
        if (load_names(load, row, row->environment != NULL ? row->environment : "") < 0)
            return -1;
    return 0;
}

/* ---- flags ---- */

static int refuse_flag(const struct option_row *table, const char *argument, struct error *err) {
    int shown = (int)strcspn(argument, "="); /* what follows may be a secret */
    char name[OPTION_NAME_MAX];
    snprintf(name, sizeof name, "%.*s", shown - 2, argument + 2);
    const struct option_row *nearest = option_nearest_row(table, name);
    if (nearest == NULL)
        return error_set(err, ERROR_INVALID, "%.*s: unknown flag; --help lists all",
                         shown > 64 ? 64 : shown, argument);
    return error_set(err, ERROR_INVALID, "%.*s: unknown flag; did you mean --%s?",
                     shown > 64 ? 64 : shown, argument, nearest->name);
}

static int refuse_secret(const struct option_row *row, struct error *err) {
    char key[OPTION_NAME_MAX];
    option_key(row, key);
    const char *names = row->environment != NULL ? row->environment : "";
    return error_set(err, ERROR_INVALID,
                     "--%s: not taken as a flag, because everybody on the machine can read command "
                     "lines; set it as %.*s%s%s in the configuration file",
                     row->name, (int)strcspn(names, ","), names,
                     *names != '\0' ? " in the environment or as " : "", key);
}

/* One flag and, where it is a word of its own, its value; *used says how many words that were. */
static int load_flag(struct load *load, char **argv, int left, int *used) {
    struct error problem = {0};
    const char *name = argv[0] + 2;
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    const struct option_row *row = find_row(load->table, name, length);
    if (row == NULL && text_starts_with(name, "no-") && value == NULL) {
        row = find_row(load->table, name + 3, length - 3);
        if (row != NULL && row->type != OPTION_BOOL)
            row = NULL;
        value = "false";
    }
    bool next_is_value = left > 1 && !text_starts_with(argv[1], "--");
    if (row == NULL || row->flags & OPTION_SECRET) {
        *used = value == NULL && next_is_value ? 2 : 1;
        row == NULL ? refuse_flag(load->table, argv[0], &problem) : refuse_secret(row, &problem);
        return note_problem(load, &problem);
    }
    *used = 1;
    if (value == NULL && next_is_value) {
        value = argv[1];
        *used = 2;
    }
    if (value == NULL && row->type == OPTION_BOOL)
        value = "true";
    struct option_source source = {.from = OPTION_FROM_FLAG};
    snprintf(source.text, sizeof source.text, "--%.*s", (int)length, name);
    if (value == NULL) {
        error_set(&problem, ERROR_INVALID, "%s: needs a value: %s=VALUE", source.text, source.text);
        return note_problem(load, &problem);
    }
    return take(load, row, value, &source);
}

static int load_flags(struct load *load) {
    char **argv = load->input->argv;
    for (int i = 1, used = 1; i < load->input->argc; i += used) {
        if (text_starts_with(argv[i], "--") && argv[i][2] != '\0') {
            if (load_flag(load, argv + i, load->input->argc - i, &used) < 0)
                return -1;
            continue;
        }
        struct error problem = {0};
        used = 1;
        error_set(&problem, ERROR_INVALID,
                  "\"%.64s\": not a flag; flags read --name value or --name=value", argv[i]);
        if (note_problem(load, &problem) < 0)
            return -1;
    }
    return 0;
}

int option_load(const struct option_row *table, const struct option_input *input, void *settings,
                struct option_source *sources, struct error *err) {
    size_t length = table_length(table);
    cleanup_free struct option_source *own =
        sources == NULL ? memory_alloc((length + 1) * sizeof *own) : NULL;
    struct load load = {
        .table = table,
        .input = input,
        .settings = settings,
        .sources = sources != NULL ? sources : own,
        .err = err,
    };
    if (load_defaults(&load) < 0 || load_file(&load) < 0 || load_environment(&load) < 0 ||
        load_flags(&load) < 0 || load.failed) {
        option_free(table, settings);
        return -1;
    }
    return 0;
}

void option_free(const struct option_row *table, void *settings) {
    for (const struct option_row *row = table; row->name != NULL; row++)
        option_value_clear(row, settings);
}

static void drop_words(int *argc, char **argv, int at, int count) {
    for (int i = at; i + count < *argc; i++)
        argv[i] = argv[i + count];
    *argc -= count;
    argv[*argc] = NULL;
}

bool option_take_flag(int *argc, char **argv, const char *name, const char **value) {
    for (int i = 1; i < *argc; i++) {
        if (!text_starts_with(argv[i], "--") || !text_starts_with(argv[i] + 2, name))
            continue;
        const char *behind = argv[i] + 2 + strlen(name);
        if (*behind != '\0' && (*behind != '=' || value == NULL))
            continue;
        int count = 1;
        if (value != NULL) {
            *value = *behind == '=' ? behind + 1 : NULL;
            if (*value == NULL && i + 1 < *argc && !text_starts_with(argv[i + 1], "--")) {
                *value = argv[i + 1];
                count = 2;
            }
        }
        drop_words(argc, argv, i, count);
        return true;
    }
    return false;
}
