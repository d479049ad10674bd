/* The option table as a part of a manual page, in man(7)'s language. */
#include "base/cleanup.h"
#include "base/option.h"
#include "base/option_value.h"

#include <string.h>

void option_print_roff(const char *text, FILE *out) {
    if (*text == '.' || *text == '\'')
        fputs("\\&", out); /* would be a request at a line's start */
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out); /* else it becomes a hyphen that nobody can copy */
        else if (*text == ',' && text[1] != ' ' && text[1] != '\0')
            fputs(",\\:", out); /* a long list may be broken here */
        else
            fputc(*text == '\n' ? ' ' : *text, out);
    }
}

static void print_tag(const struct option_row *row, FILE *out) {
    char key[OPTION_NAME_MAX];
    option_key(row, key);
    fputs(".TP\n.B ", out);
    if (row->flags & OPTION_SECRET) {
        option_print_roff(key, out);
    } else {
        option_print_roff(row->type == OPTION_BOOL ? "--[no-]" : "--", out);
        option_print_roff(row->name, out);
        if (row->type != OPTION_BOOL)
            fputs(" \\fIVALUE\\fR", out);
    }
    fputc('\n', out);
}

static void print_facts(const struct option_row *row, FILE *out) {
    cleanup_buffer struct buffer text = {.limit = 8192};
    buffer_append_text(&text, row->help != NULL ? row->help : "");
    buffer_append_text(&text, " Takes ");
    option_value_describe(row, &text);
    buffer_append_text(&text, ".");
    if (row->fallback != NULL && *row->fallback != '\0')
        buffer_printf(&text, " Default: %s.", row->fallback);
    if (row->environment != NULL && *row->environment != '\0') {
        buffer_append_text(&text, " Environment: ");
        for (const char *at = row->environment; *at != '\0'; at++)
            buffer_append(&text, *at == ',' ? ", " : at, *at == ',' ? 2 : 1);
        buffer_append_text(&text, ".");
    }
    if (row->flags & OPTION_SECRET)
        buffer_append_text(&text, " Not a flag: command lines are public.");
    if (row->flags & OPTION_RELOAD)
        buffer_append_text(&text, " Reloads.");
    option_print_roff(buffer_text(&text), out);
    fputc('\n', out);
}

void option_print_manual(const struct option_row *table, FILE *out) {
    const char *group = NULL;
    for (const struct option_row *row = table; row->name != NULL; row++) {
        if (row->group != NULL && (group == NULL || strcmp(group, row->group) != 0)) {
            group = row->group;
            fprintf(out, ".SS \"%s\"\n", group);
        }
        print_tag(row, out);
        print_facts(row, out);
    }
}
