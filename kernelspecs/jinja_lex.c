#include "kernelspecs/jinja_lex.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BLANKS  " \t\r\n\f\v"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
#define DIGITS  "0123456789"

void jinja_lexer_start(struct jinja_lexer *lexer, const char *text, size_t length, const char *what,
                       struct error *err) {
    *lexer = (struct jinja_lexer){
        .text = text, .at = text, .end = text + length, .what = what, .err = err};
}

int jinja_lexer_fail(struct jinja_lexer *lexer, const char *format, ...) {
    char problem[512];
    va_list values;
    size_t line = 1;
    if (lexer->has_failed)
        return -1;
    lexer->has_failed = true;
    for (const char *c = lexer->text; c < lexer->at; c++)
        line += *c == '\n';
    va_start(values, format);
    vsnprintf(problem, sizeof problem, format, values);
    va_end(values);
    return error_set(lexer->err, ERROR_INVALID, "%s:%zu: %s", lexer->what, line, problem);
}

bool jinja_lexer_is(const struct jinja_lexer *lexer, const char *name) {
    return lexer->token.kind == JINJA_NAME && strcmp(lexer->token.text, name) == 0;
}

static bool starts(const struct jinja_lexer *lexer, const char *with) {
    size_t length = strlen(with);
    return (size_t)(lexer->end - lexer->at) >= length && memcmp(lexer->at, with, length) == 0;
}

static bool is_one_of(char c, const char *set) {
    return c != '\0' && strchr(set, c) != NULL;
}

static void skip(struct jinja_lexer *lexer, const char *set) {
    while (lexer->at < lexer->end && is_one_of(*lexer->at, set))
        lexer->at++;
}

/* Behind an end: "-" takes all blanks, a tag or a comment its line's end. */
static void trim_behind(struct jinja_lexer *lexer, bool takes_all, bool takes_line_end) {
    if (takes_all) {
        skip(lexer, BLANKS);
    } else if (takes_line_end) {
        lexer->at += starts(lexer, "\r\n");
        lexer->at += starts(lexer, "\n");
    }
}

/* How much of the text from `from` to where a {{, {% or {# begins is left of it. */
static size_t trim_before(const struct jinja_lexer *lexer, const char *from) {
    const char *end = lexer->at;
    if (lexer->end - end > 2 && end[2] == '-') {
        while (end > from && is_one_of(end[-1], BLANKS))
            end--;
    } else if (end[1] != '{') {
        const char *line = end;
        while (line > lexer->text && (line[-1] == ' ' || line[-1] == '\t'))
            line--;
        if (line >= from && (line == lexer->text || line[-1] == '\n'))
            end = line;
    }
    return (size_t)(end - from);
}

enum jinja_begin jinja_lexer_text(struct jinja_lexer *lexer, const char **ret, size_t *length) {
    const char *from = *ret = lexer->at;
    while (lexer->at < lexer->end && !starts(lexer, "{{") && !starts(lexer, "{%") &&
           !starts(lexer, "{#"))
        lexer->at++;
    if (lexer->at == lexer->end) {
        *length = (size_t)(lexer->at - from);
        return JINJA_NOTHING;
    }
    *length = trim_before(lexer, from);
    char kind = lexer->at[1];
    lexer->at += 2;
    if (kind == '#') {
        const char *end = memmem(lexer->at, (size_t)(lexer->end - lexer->at), "#}", 2);
        if (end == NULL)
            return jinja_lexer_fail(lexer, "a #} is missing"), JINJA_BAD;
        bool takes_all = end > lexer->at && end[-1] == '-';
        lexer->at = end + 2;
        trim_behind(lexer, takes_all, true);
        return JINJA_COMMENT;
    }
    lexer->at += starts(lexer, "-");
    return kind == '{' ? JINJA_OUTPUT : JINJA_TAG;
}

static int take(struct jinja_lexer *lexer, enum jinja_kind kind, size_t length) {
    struct jinja_token *token = &lexer->token;
    if (length >= sizeof token->text)
        return jinja_lexer_fail(lexer, "a word is longer than %zu bytes", sizeof token->text - 1);
    token->kind = kind;
    memcpy(token->text, lexer->at, length);
    token->text[length] = '\0';
    lexer->at += length;
    return 0;
}

static int take_string(struct jinja_lexer *lexer) {
    char quote = *lexer->at++;
    const char *end = memchr(lexer->at, quote, (size_t)(lexer->end - lexer->at));
    if (end == NULL)
        return jinja_lexer_fail(lexer, "the %c that ends a text is missing", quote);
    if (memchr(lexer->at, '\\', (size_t)(end - lexer->at)) != NULL)
        return jinja_lexer_fail(lexer,
                                "a \\ in a text is not in the part of Jinja that is read here");
    if (take(lexer, JINJA_STRING, (size_t)(end - lexer->at)) < 0)
        return -1;
    lexer->at++;
    return 0;
}

static size_t span(const struct jinja_lexer *lexer, const char *set) {
    size_t length = 0;
    while (lexer->at + length < lexer->end && is_one_of(lexer->at[length], set))
        length++;
    return length;
}

int jinja_lexer_next(struct jinja_lexer *lexer) {
    static const struct {
        const char *text;
        enum jinja_kind kind;
    } signs[] = {
        {"-}}", JINJA_END_OUTPUT}, {"}}", JINJA_END_OUTPUT}, {"-%}", JINJA_END_TAG},
        {"%}", JINJA_END_TAG},     {"==", JINJA_EQUAL},      {"!=", JINJA_UNEQUAL},
        {"(", JINJA_OPEN},         {")", JINJA_CLOSE},       {"|", JINJA_PIPE},
    };
    skip(lexer, BLANKS);
    if (lexer->at == lexer->end)
        return jinja_lexer_fail(lexer, "a }} or %%} is missing");
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (starts(lexer, signs[i].text)) {
            take(lexer, signs[i].kind, strlen(signs[i].text));
            if (signs[i].kind == JINJA_END_OUTPUT || signs[i].kind == JINJA_END_TAG)
                trim_behind(lexer, signs[i].text[0] == '-', signs[i].kind == JINJA_END_TAG);
            return 0;
        }
    if (*lexer->at == '"' || *lexer->at == '\'')
        return take_string(lexer);
    size_t digits = span(lexer, DIGITS);
    if (digits > 0) {
        if (take(lexer, JINJA_NUMBER, digits) < 0)
            return -1;
        struct error problem = {0};
        if (text_parse_int(lexer->token.text, 0, INT64_MAX, "a number", &lexer->token.number,
                           &problem) < 0)
            return jinja_lexer_fail(lexer, "%s", problem.text);
        return 0;
    }
    size_t length = span(lexer, LETTERS DIGITS);
    if (length > 0)
        return take(lexer, JINJA_NAME, length);
    for (length = 1; lexer->at + length < lexer->end && (lexer->at[length] & 0xC0) == 0x80;)
        length++; /* the whole of a character */
    return take(lexer, JINJA_OTHER, length);
}
