/* The words of a Jinja template: texts, and what stands in {{ }} and {% %} (jinja.h). */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum jinja_kind {
    JINJA_NAME,
    JINJA_STRING,
    JINJA_NUMBER,
    JINJA_OPEN,
    JINJA_CLOSE,
    JINJA_PIPE,
    JINJA_EQUAL,
    JINJA_UNEQUAL,
    JINJA_END_OUTPUT,
    JINJA_END_TAG,
    JINJA_OTHER, /* for the error */
};

struct jinja_token {
    enum jinja_kind kind;
    int64_t number;
    char text[256]; /* a name, a string's content, else the characters */
};

/* May be copied: that is how a loop's body is read again. Borrows the text. */
struct jinja_lexer {
    const char *text, *at, *end;
    const char *what;
    bool has_failed;
    struct jinja_token token;
    struct error *err;
};

void jinja_lexer_start(struct jinja_lexer *lexer, const char *text, size_t length, const char *what,
                       struct error *err);

/* The text up to the next {{ or {% (without comments and what whitespace control takes), and which
 * of them begins. */
enum jinja_begin { JINJA_NOTHING, JINJA_OUTPUT, JINJA_TAG, JINJA_COMMENT, JINJA_BAD };
enum jinja_begin jinja_lexer_text(struct jinja_lexer *lexer, const char **ret, size_t *length);

/* Into lexer->token. -1: what stands there is no word. */
int jinja_lexer_next(struct jinja_lexer *lexer);
bool jinja_lexer_is(const struct jinja_lexer *lexer, const char *name);

/* "what:line: ..."; the first one stays. -1 */
int jinja_lexer_fail(struct jinja_lexer *lexer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
