/* Values of the option table: from text or JSON into a settings struct, and back to text. Only
 * base/option*.c need this. */
#pragma once

#include "base/buffer.h"
#include "base/option.h"

/* Sets the row's field. `source` names where the text came from, for the message. Text given to a
 * list replaces what it holds. */
int option_value_parse(const struct option_row *row, const char *text, const char *source,
                       void *settings, struct error *err);
int option_value_from_json(const struct option_row *row, const json_t *json, const char *source,
                           void *settings, struct error *err);

/* Adds to a list row instead of replacing it. */
int option_value_append(const struct option_row *row, const char *text, const char *source,
                        void *settings, struct error *err);

void option_value_clear(const struct option_row *row, void *settings);

/* The value as one line of YAML. Secrets are written out: the caller masks. */
void option_value_print(const struct option_row *row, const void *settings, struct buffer *out);

/* "true, false", "a number from 1 to 65535", ...: what a value of this row may be. */
void option_value_describe(const struct option_row *row, struct buffer *out);

/* The row whose name looks most like it; NULL when none does. */
const struct option_row *option_nearest_row(const struct option_row *table, const char *name);
