/* The names of the option table: which one was meant, and which variables are nobody's. */
#include "base/option.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option_value.h"
#include "base/text.h"

#include <ctype.h>
#include <string.h>

void option_key(const struct option_row *row, char ret[OPTION_NAME_MAX]) {
    snprintf(ret, OPTION_NAME_MAX, "%s", row->name);
    for (char *at = ret; *at; at++)
        if (*at == '-')
            *at = '_';
}

/* Levenshtein's distance, '-' and '_' and letter case being the same. */
static size_t distance(const char *left, const char *right) {
    size_t row[OPTION_NAME_MAX + 1];
    size_t width = strnlen(right, OPTION_NAME_MAX);
    for (size_t i = 0; i <= width; i++)
        row[i] = i;
    for (size_t y = 0; y < OPTION_NAME_MAX && left[y] != '\0'; y++) {
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
const struct option_row *option_nearest_row(const struct option_row *table, const char *name) {
    const struct option_row *nearest = NULL;
    size_t least = strnlen(name, OPTION_NAME_MAX) / 2 + 1;
    for (const struct option_row *row = table; row->name != NULL; row++) {
        size_t far = distance(name, row->name);
        if (far < least) {
            least = far;
            nearest = row;
        }
    }
    return nearest;
}

bool option_nearest_variable(const struct option_row *table, const char *name, size_t length,
                             char ret[OPTION_NAME_MAX]) {
    char wanted[OPTION_NAME_MAX];
    snprintf(wanted, sizeof wanted, "%.*s", (int)length, name);
    /* A third of it: with their common prefix any two short names are alike. */
    size_t least = strlen(wanted) / 3 + 1;
    bool found = false;
    for (const struct option_row *row = table; row->name != NULL; row++) {
        const char *at = row->environment != NULL ? row->environment : "";
        for (; *at != '\0'; at += strcspn(at, ","), at += *at == ',') {
            char known[OPTION_NAME_MAX];
            snprintf(known, sizeof known, "%.*s", (int)strcspn(at, ","), at);
            size_t far = distance(wanted, known);
            if (far >= least)
                continue;
            least = far;
            found = true;
            memcpy(ret, known, sizeof known);
        }
    }
    return found;
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
