/* The option table as people read it: --help, --show-config and the manual's table. */
#include "base/cleanup.h"
#include "base/option.h"
#include "base/option_value.h"

#include <string.h>

enum { HELP_INDENT = 6, HELP_WIDTH = 100 };

static bool starts_group(const struct option_row *table, const struct option_row *row) {
    return row->group != NULL &&
           (row == table || row[-1].group == NULL || strcmp(row[-1].group, row->group) != 0);
}

static void print_key(const struct option_row *row, FILE *out) {
    for (const char *at = row->name; *at; at++)
        fputc(*at == '-' ? '_' : *at, out);
}

static const char *placeholder(const struct option_row *row) {
    static const char *const names[] = {
        [OPTION_BOOL] = "",       [OPTION_INT] = " NUMBER",   [OPTION_DURATION] = " TIME",
        [OPTION_BYTES] = " SIZE", [OPTION_TEXT] = " TEXT",    [OPTION_ENUM] = " WORD",
        [OPTION_LIST] = " LIST",  [OPTION_MAPPING] = " JSON",
    };
    return names[row->type];
}

/* Words, broken before the right margin. */
static void print_wrapped(const char *text, FILE *out) {
    size_t column = 0;
    while (*text != '\0') {
        size_t length = strcspn(text, " \n");
        if (column > 0 && column + 1 + length > HELP_WIDTH - HELP_INDENT) {
            fputc('\n', out);
            column = 0;
        }
        if (column == 0)
            fprintf(out, "%*s", HELP_INDENT, "");
        else
            fputc(' ', out), column++;
        fprintf(out, "%.*s", (int)length, text);
        column += length;
        text += length;
        text += strspn(text, " \n");
    }
    fputc('\n', out);
}

/* "a number from 1 to 65535. Default 8888. Environment: ELARA_PORT, EG_PORT." */
static void append_facts(const struct option_row *row, struct buffer *text) {
    if (row->type != OPTION_TEXT) {
        buffer_append_text(text, " Takes ");
        option_value_describe(row, text);
        buffer_append_text(text, ".");
    }
    if (row->fallback != NULL && *row->fallback != '\0')
        buffer_printf(text, " Default: %s.", row->fallback);
    if (row->environment == NULL || *row->environment == '\0')
        return;
    buffer_append_text(text, " Environment: ");
    for (const char *at = row->environment; *at; at++)
        buffer_append(text, *at == ',' ? ", " : at, *at == ',' ? 2 : 1);
    buffer_append_text(text, ".");
}

void option_print_help(const struct option_row *table, FILE *out) {
    for (const struct option_row *row = table; row->name != NULL; row++) {
        if (starts_group(table, row))
            fprintf(out, "%s%s:\n", row == table ? "" : "\n", row->group);
        if (row->flags & OPTION_SECRET) {
            fputs("  ", out);
            print_key(row, out);
            fputs(" (no flag: command lines are public)\n", out);
        } else {
            fprintf(out, "  --%s%s%s\n", row->type == OPTION_BOOL ? "[no-]" : "", row->name,
                    placeholder(row));
        }
        cleanup_buffer struct buffer text = {.limit = 8192};
        buffer_append_text(&text, row->help != NULL ? row->help : "");
        append_facts(row, &text);
        print_wrapped(buffer_text(&text), out);
    }
}

static bool is_set(const struct option_row *row, const void *settings) {
    const void *field = (const char *)settings + row->offset;
    if (row->type == OPTION_LIST)
        return *(char *const *const *)field != NULL && **(char *const *const *)field != NULL;
    bool may_be_unset =
        row->type == OPTION_TEXT || row->type == OPTION_ENUM || row->type == OPTION_MAPPING;
    return !may_be_unset || *(const void *const *)field != NULL;
}

void option_print_config(const struct option_row *table, const void *settings,
                         const struct option_source *sources, FILE *out) {
    for (const struct option_row *row = table; row->name != NULL; row++) {
        if (starts_group(table, row))
            fprintf(out, "%s# %s\n", row == table ? "" : "\n", row->group);
        cleanup_buffer struct buffer value = {0};
        bool masked = row->flags & OPTION_SECRET && is_set(row, settings);
        if (!masked)
            option_value_print(row, settings, &value);
        fputs(masked ? "# " : "", out); /* what is left can be loaded again */
        print_key(row, out);
        fprintf(out, ": %s  # %s\n", masked ? "(set, not shown)" : buffer_text(&value),
                sources != NULL ? sources[row - table].text : "");
    }
}

/* Table cells: a '|' would end the cell, a '<' would start HTML. */
static void print_cell(const char *text, FILE *out) {
    for (; *text; text++) {
        if (*text == '|')
            fputs("\\|", out);
        else if (*text == '<')
            fputs("&lt;", out);
        else
            fputc(*text == '\n' ? ' ' : *text, out);
    }
}

static void print_names(const struct option_row *row, FILE *out) {
    const char *at = row->environment != NULL ? row->environment : "";
    for (const char *between = ""; *at != '\0'; between = "<br>") {
        size_t length = strcspn(at, ",");
        fprintf(out, "%s`%.*s`", between, (int)length, at);
        at += length + (at[length] == ',');
    }
}

static void print_markdown_row(const struct option_row *row, FILE *out) {
    if (row->flags & OPTION_SECRET)
        fputs("| no flag", out);
    else
        fprintf(out, "| `--%s%s`", row->type == OPTION_BOOL ? "[no-]" : "", row->name);
    fputs("<br>`", out);
    print_key(row, out);
    fputs(":` | ", out);
    print_names(row, out);
    fputs(" | ", out);
    if (row->fallback != NULL && *row->fallback != '\0') {
        fputc('`', out);
        print_cell(row->fallback, out);
        fputc('`', out);
    }
    fputs(" | ", out);
    cleanup_buffer struct buffer takes = {.limit = 1024};
    option_value_describe(row, &takes);
    print_cell(buffer_text(&takes), out);
    fputs(" | ", out);
    print_cell(row->help != NULL ? row->help : "", out);
    fputs(row->flags & OPTION_RELOAD ? " *Reloads.* |\n" : " |\n", out);
}

void option_print_markdown(const struct option_row *table, FILE *out) {
    for (const struct option_row *row = table; row->name != NULL; row++) {
        if (starts_group(table, row))
            fprintf(out, "%s## %s\n\n", row == table ? "" : "\n", row->group);
        if (row == table || starts_group(table, row))
            fputs("| Flag, YAML key | Environment | Default | Takes | Meaning |\n"
                  "| --- | --- | --- | --- | --- |\n",
                  out);
        print_markdown_row(row, out);
    }
}
