/* Substitution in kernelspec values. References are replaced once, from left to right; what a value
 * brings in is never looked at again. An outcome above 1 MiB is not made: the text then stays as it
 * is. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* Python's string.Template.safe_substitute over one text: $name, ${name}, $$; unknown and malformed
 * references stay as they are. Names are [A-Za-z_][A-Za-z0-9_]*. values: object of texts. A
 * malloc'ed text. */
char *substitute_variables(const char *text, const json_t *values);

/* Is the text one reference to a variable and nothing else? */
bool substitute_is_variable(const char *text);
/* The first name with that prefix that is referred to and has no value, or NULL; malloc'ed. */
char *substitute_find_unknown(const char *text, const char *prefix, const json_t *values);
/* The first name that is referred to and has a value, or NULL; malloc'ed. */
char *substitute_find_known(const char *text, const json_t *values);

/* {name} in an argv element: known names are replaced, unknown ones stay literal. values: object of
 * texts. A malloc'ed text. */
char *substitute_placeholders(const char *text, const json_t *values);
