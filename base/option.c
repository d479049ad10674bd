#include "base/option.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option_value.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_LIMIT = 96 };

/* What the steps of option_load share. */
struct load {
    const struct option_row *table;
    void *settings;
    struct option_source *sources; /* NULL: nobody asked */
    bool *from_flag;               /* a row each: later flags of a list add to it */
};

static void note_source(struct load *load, const struct option_row *row, const char *source) {
    if (load->sources != NULL)
        snprintf(load->sources[row - load->table].text, sizeof load->sources->text, "%s", source);
}

static void key_of(const struct option_row *row, char key[NAME_LIMIT]) {
    snprintf(key, NAME_LIMIT, "%s", row->name);
    for (char *at = key; *at; at++)
        if (*at == '-')
            *at = '_';
}

static size_t table_length(const struct option_row *table) {
    size_t length = 0;
    while (table[length].name != NULL)
        length++;
    return length;
}

/* Levenshtein's distance, '-' and '_' and letter case being the same. */
static size_t distance(const char *left, const char *right) {
    size_t row[NAME_LIMIT + 1];
    size_t width = strnlen(right, NAME_LIMIT);
    for (size_t i = 0; i <= width; i++)
        row[i] = i;
    for (size_t y = 0; y < NAME_LIMIT && left[y] != '\0'; y++) {
        size_t diagonal = row[0];
        row[0] = y + 1;
        for (size_t x = 1; x <= width; x++) {
            int a = left[y] == '_' ? '-' : tolower((unsigned char)left[y]);
            int b = right[x - 1] == '_' ? '-' : tolower((unsigned char)right[x - 1]);
            size_t best = diagonal + (a != b);
            diagonal = row[x];
            if (row[x] + 1 < best)
                best = row[x] + 1;
            if (row[x - 1] + 1 < best)
                best = row[x - 1] + 1;
            row[x] = best;
        }
    }
    return row[width];
}

/* The row whose name looks most like it; NULL when none does. */
static const struct option_row *find_nearest(const struct option_row *table, const char *name) {
    const struct option_row *nearest = NULL;
    size_t least = strnlen(name, NAME_LIMIT) / 2 + 1;
    for (const struct option_row *row = table; row->name != NULL; row++) {
        size_t far = distance(name, row->name);
        if (far < least) {
            least = far;
            nearest = row;
        }
    }
    return nearest;
}

static const struct option_row *find_row(const struct option_row *table, const char *name,
                                         size_t length) {
    for (const struct option_row *row = table; row->name != NULL; row++)
        if (text_equal_n(name, length, row->name))
            return row;
    return NULL;
}

static int load_defaults(struct load *load, struct error *err) {
    for (const struct option_row *row = load->table; row->name != NULL; row++) {
        note_source(load, row, "default");
        if (row->fallback == NULL && row->type != OPTION_LIST)
            continue;
        const char *text = row->fallback != NULL ? row->fallback : "";
        if (option_value_parse(row, text, row->name, load->settings, err) < 0)
            return error_wrap(err, "default");
    }
    return 0;
}

static int refuse_key(const struct load *load, const char *file_name, const char *key,
                      struct error *err) {
    const struct option_row *nearest = find_nearest(load->table, key);
    if (nearest == NULL)
        return error_set(err, ERROR_INVALID, "%s: unknown key \"%.64s\"; --help lists all settings",
                         file_name, key);
    char meant[NAME_LIMIT];
    key_of(nearest, meant);
    return error_set(err, ERROR_INVALID, "%s: unknown key \"%.64s\"; did you mean \"%s\"?",
                     file_name, key, meant);
}

static int load_file(struct load *load, const json_t *file, const char *file_name,
                     struct error *err) {
    if (file == NULL || json_is_null(file))
        return 0;
    if (!json_is_object(file))
        return error_set(err, ERROR_INVALID, "%s: must hold lines of \"key: value\"", file_name);
    size_t used = 0;
    for (const struct option_row *row = load->table; row->name != NULL; row++) {
        char key[NAME_LIMIT];
        key_of(row, key);
        const json_t *value = json_object_get(file, key);
        if (value == NULL)
            continue;
        used++;
        if (json_is_null(value))
            continue;
        struct option_source source;
        snprintf(source.text, sizeof source.text, "%s:%s", file_name, key);
        if (option_value_from_json(row, value, source.text, load->settings, err) < 0)
            return -1;
        note_source(load, row, source.text);
    }
    if (used == json_object_size(file))
        return 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)file, key, value) {
        cleanup_free char *name = memory_strdup(key);
        for (char *at = name; *at; at++)
            *at = *at == '_' ? '-' : *at;
        if (strchr(key, '-') != NULL || find_row(load->table, name, strlen(name)) == NULL)
            return refuse_key(load, file_name, key, err);
    }
    return 0;
}

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

static int load_environment(struct load *load, char *const *environment, struct error *err) {
    for (const struct option_row *row = load->table; row->name != NULL; row++) {
        const char *name = row->environment != NULL ? row->environment : "";
        while (*name != '\0') {
            size_t length = strcspn(name, ",");
            const char *text = find_variable(environment, name, length);
            if (text != NULL && !counts_as_unset(row, text)) {
                struct option_source source;
                snprintf(source.text, sizeof source.text, "%.*s", (int)length, name);
                if (option_value_parse(row, text, source.text, load->settings, err) < 0)
                    return -1;
                note_source(load, row, source.text);
                break; /* the first name that is set wins */
            }
            name += length + (name[length] == ',');
        }
    }
    return 0;
}

static int refuse_flag(const struct option_row *table, const char *argument, struct error *err) {
    int shown = (int)strcspn(argument, "="); /* what follows may be a secret */
    char name[NAME_LIMIT];
    snprintf(name, sizeof name, "%.*s", shown - 2, argument + 2);
    const struct option_row *nearest = find_nearest(table, name);
    if (nearest == NULL)
        return error_set(err, ERROR_INVALID, "%.*s: unknown flag; --help lists all",
                         shown > 64 ? 64 : shown, argument);
    return error_set(err, ERROR_INVALID, "%.*s: unknown flag; did you mean --%s?",
                     shown > 64 ? 64 : shown, argument, nearest->name);
}

static int refuse_secret(const struct option_row *row, struct error *err) {
    char key[NAME_LIMIT];
    key_of(row, key);
    const char *names = row->environment != NULL ? row->environment : "";
    return error_set(err, ERROR_INVALID,
                     "--%s: not taken as a flag, because everybody on the machine can read command "
                     "lines; set it as %.*s%s%s in the configuration file",
                     row->name, (int)strcspn(names, ","), names,
                     *names != '\0' ? " in the environment or as " : "", key);
}

/* One flag and, where it is a word of its own, its value; *used says how many words that were. */
static int load_flag(struct load *load, char **argv, int left, int *used, struct error *err) {
    const char *name = argv[0] + 2;
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    const struct option_row *row = find_row(load->table, name, length);
    *used = 1;
    if (row == NULL && text_starts_with(name, "no-") && value == NULL) {
        row = find_row(load->table, name + 3, length - 3);
        if (row != NULL && row->type != OPTION_BOOL)
            row = NULL;
        value = "false";
    }
    if (row == NULL)
        return refuse_flag(load->table, argv[0], err);
    if (row->flags & OPTION_SECRET)
        return refuse_secret(row, err);
    bool next_is_value = left > 1 && !text_starts_with(argv[1], "--");
    if (value == NULL && next_is_value) {
        value = argv[1];
        *used = 2;
    }
    if (value == NULL && row->type == OPTION_BOOL)
        value = "true";
    struct option_source source;
    snprintf(source.text, sizeof source.text, "--%.*s", (int)length, name);
    if (value == NULL)
        return error_set(err, ERROR_INVALID, "%s: needs a value: %s=VALUE", source.text,
                         source.text);
    size_t at = (size_t)(row - load->table);
    bool adds = row->type == OPTION_LIST && load->from_flag[at];
    load->from_flag[at] = true;
    note_source(load, row, source.text);
    return (adds ? option_value_append : option_value_parse)(row, value, source.text,
                                                             load->settings, err);
}

static int load_flags(struct load *load, int argc, char **argv, struct error *err) {
    for (int i = 1, used; i < argc; i += used) {
        if (!text_starts_with(argv[i], "--") || argv[i][2] == '\0')
            return error_set(err, ERROR_INVALID,
                             "\"%.64s\": not a flag; flags read --name value or --name=value",
                             argv[i]);
        if (load_flag(load, argv + i, argc - i, &used, err) < 0)
            return -1;
    }
    return 0;
}

int option_load(const struct option_row *table, int argc, char **argv, char *const *environment,
                const json_t *file, const char *file_name, void *settings,
                struct option_source *sources, struct error *err) {
    cleanup_free bool *from_flag = memory_alloc(table_length(table) * sizeof *from_flag);
    struct load load = {
        .table = table, .settings = settings, .sources = sources, .from_flag = from_flag};
    if (load_defaults(&load, err) < 0 ||
        load_file(&load, file, file_name != NULL ? file_name : "configuration file", err) < 0 ||
        load_environment(&load, environment, err) < 0 || load_flags(&load, argc, argv, err) < 0) {
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

bool option_names_variable(const struct option_row *table, const char *name, size_t length) {
    for (const struct option_row *row = table; row->name != NULL; row++) {
        const char *at = row->environment != NULL ? row->environment : "";
        for (; *at != '\0'; at += strcspn(at, ","), at += *at == ',')
            if (strcspn(at, ",") == length && strncmp(at, name, length) == 0)
                return true;
    }
    return false;
}

static bool is_service_variable(const char *name, size_t length) {
    cleanup_free char *text = memory_strndup(name, length);
    if (text_ends_with(text, "_SERVICE_HOST") || strstr(text, "_SERVICE_PORT") != NULL)
        return true;
    const char *port = strstr(text, "_PORT");
    if (port == NULL)
        return false;
    return (port[5] == '\0' && text_starts_with(name + length, "=tcp://")) ||
           (port[5] == '_' && isdigit((unsigned char)port[6]));
}

const char *option_next_unknown(const struct option_row *table, char *const *environment,
                                const char *prefix, size_t *at) {
    while (environment[*at] != NULL) {
        const char *variable = environment[(*at)++];
        size_t length = strcspn(variable, "=");
        if (text_starts_with(variable, prefix) && !option_names_variable(table, variable, length) &&
            !is_service_variable(variable, length))
            return variable;
    }
    return NULL;
}
