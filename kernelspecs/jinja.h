/* The part of Jinja that kernel-pod.yaml.j2 of Jupyter Enterprise Gateway, and the administrators
 * who edit it, use: {{ name }}, {{ name | int }}, {{ name | yaml_safe }}, {% if %} with elif, else,
 * "is defined", "is not defined", ==, !=, and, or, not and parentheses, {% for x in list %},
 * {# comments #} and the "-" of {%- -%}. trim_blocks and lstrip_blocks are on (Jinja's
 * documentation, "Whitespace Control"), as that gateway sets them. Anything else is an error that
 * names file, line and construct.
 *
 * A value never becomes text of the document: {{ name }} leaves a mark, and when the document has
 * been parsed each mark in one of its texts is replaced. So whatever a value has in it, it stays
 * one text; a list or an object may stand where a mark is all of the text. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* values: object of names to texts, numbers, lists and objects. Appends the document with marks to
 * out; *marked gets what they stand for (a new reference). A name without a value may be asked for
 * ("is defined", truth), but not printed. ERROR_INVALID, ERROR_LIMIT: "what:line: ..." */
int jinja_render(const char *text, size_t length, const char *what, const json_t *values,
                 struct buffer *out, json_t **marked, struct error *err);

/* Its tags alone, for a template whose values are not known yet. */
int jinja_check(const char *text, size_t length, const char *what, struct error *err);

bool jinja_is_marked(const char *text);
/* What the next mark of *text stands for, the value itself; NULL: there is none. *text moves on. */
const json_t *jinja_next_value(const char **text, const json_t *marked);
/* The value of one text of the document, a new reference. A text without marks is itself. */
int jinja_fill(const char *text, const json_t *marked, json_t **ret, struct error *err);
