/* jupyter_enterprise_gateway_config.py without Python: assignments of literals are read, whatever
 * else stands there is named. (The Python Language Reference, 2. Lexical analysis.) */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/migrate.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64, NAME_MAX_BYTES = 128, SHOWN_MAX = 60 };

struct reader {
    const char *at;
    int line;
    int depth;
};

static json_t *read_value(struct reader *reader);

/* Blanks, comments and, inside of brackets, line breaks. */
static void skip_blanks(struct reader *reader, bool in_brackets) {
    for (;;) {
        const char *at = reader->at;
        if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\f') {
            reader->at++;
        } else if (at[0] == '\\' && (at[1] == '\n' || (at[1] == '\r' && at[2] == '\n'))) {
            reader->at += at[1] == '\n' ? 2 : 3;
            reader->line++;
        } else if (*at == '#') {
            reader->at += strcspn(at, "\n");
        } else if (*at == '\n' && in_brackets) {
            reader->at++;
            reader->line++;
        } else {
            return;
        }
    }
}

/* \n and its like; false for \x, \u, \N and octal ones, which nobody needs in a configuration. */
static bool append_escape(struct buffer *out, struct reader *reader) {
    static const char names[] = "\\'\"abfnrtv";
    static const char values[] = "\\'\"\a\b\f\n\r\t\v";
    char name = *reader->at;
    if (name == '\n') {
        reader->line++;
        reader->at++;
        return true;
    }
    const char *known = name != '\0' ? strchr(names, name) : NULL;
    if (known == NULL && (name == '\0' || strchr("xuUN01234567", name) != NULL))
        return false;
    buffer_append(out, known != NULL ? &values[known - names] : "\\", 1);
    if (known != NULL)
        reader->at++;
    return true;
}

/* One quoted text behind its prefix. */
static bool read_quoted(struct reader *reader, bool is_raw, struct buffer *out) {
    char quote = *reader->at;
    const char triple[] = {quote, quote, quote, '\0'};
    bool is_triple = text_starts_with(reader->at, triple);
    reader->at += is_triple ? 3 : 1;
    for (;;) {
        char c = *reader->at;
        if (c == '\0' || (c == '\n' && !is_triple))
            return false;
        if (is_triple ? text_starts_with(reader->at, triple) : c == quote) {
            reader->at += is_triple ? 3 : 1;
            return true;
        }
        reader->line += c == '\n';
        reader->at++;
        if (c != '\\') {
            buffer_append(out, &c, 1);
        } else if (is_raw) {
            buffer_append(out, &c, 1);
            reader->line += *reader->at == '\n';
            if (*reader->at != '\0')
                buffer_append(out, reader->at++, 1);
        } else if (!append_escape(out, reader)) {
            return false;
        }
    }
}

/* The length of r, u, b before a quote; -1: no text begins here, or one that has to be computed. */
static int prefix_length(const char *at) {
    int length = 0;
    while (at[length] != '\0' && strchr("rRuU", at[length]) != NULL && length < 2)
        length++;
    return at[length] == '\'' || at[length] == '"' ? length : -1;
}

/* 'a' "b" is "ab". */
static json_t *read_text(struct reader *reader) {
    cleanup_buffer struct buffer text = {.limit = MIGRATE_FILE_MAX};
    int prefix;
    while ((prefix = prefix_length(reader->at)) >= 0) {
        bool is_raw = prefix > 0 &&
                      strpbrk((char[]){reader->at[0], reader->at[prefix - 1], '\0'}, "rR") != NULL;
        reader->at += prefix;
        if (!read_quoted(reader, is_raw, &text))
            return NULL;
        skip_blanks(reader, reader->depth > 0);
    }
    return json_stringn(buffer_text(&text), text.length);
}

static json_t *read_number(struct reader *reader) {
    char digits[64];
    size_t length = 0;
    bool is_real = false;
    const char *at = reader->at;
    if (*at == '-' || *at == '+')
        digits[length++] = *at++;
    if (at[0] == '0' && at[1] != '\0' && strchr("xXoObB", at[1]) != NULL)
        return NULL;
    for (; isalnum((unsigned char)*at) || *at == '.' || *at == '_' ||
           ((*at == '-' || *at == '+') && (at[-1] == 'e' || at[-1] == 'E'));
         at++) {
        if (*at == '_')
            continue;
        if (length + 1 == sizeof digits)
            return NULL;
        is_real = is_real || strchr(".eE", *at) != NULL;
        digits[length++] = *at;
    }
    digits[length] = '\0';
    char *end;
    errno = 0;
    long long whole = is_real ? 0 : strtoll(digits, &end, 10);
    double real = is_real ? strtod(digits, &end) : 0;
    if (errno != 0 || *end != '\0' || end == digits)
        return NULL;
    reader->at = at;
    return is_real ? json_real(real) : json_integer(whole);
}

static json_t *read_word(struct reader *reader) {
    static const char *const words[] = {"True", "False", "None"};
    size_t length = 0;
    while (isalnum((unsigned char)reader->at[length]) || reader->at[length] == '_')
        length++;
    for (size_t i = 0; i < 3; i++) {
        if (!text_equal_n(reader->at, length, words[i]))
            continue;
        reader->at += length;
        return i == 0 ? json_true() : i == 1 ? json_false() : json_null();
    }
    return NULL;
}

static bool add_member(struct reader *reader, json_t *object, json_t *key) {
    if (!json_is_string(key) || *reader->at != ':')
        return false;
    reader->at++;
    json_t *value = read_value(reader);
    return value != NULL && json_object_set_new(object, json_string_value(key), value) == 0;
}

/* [a, b], (a, b), {a, b} and {"a": b}; (a) is a. */
static json_t *read_bracket(struct reader *reader) {
    char close = *reader->at == '[' ? ']' : *reader->at == '(' ? ')' : '}';
    cleanup_json json_t *items = json_array();
    cleanup_json json_t *object = json_object();
    bool has_comma = false;
    reader->at++;
    for (;;) {
        skip_blanks(reader, true);
        if (*reader->at == close)
            break;
        if (json_array_size(items) + json_object_size(object) > 0 && !has_comma)
            return NULL;
        cleanup_json json_t *item = read_value(reader);
        if (item == NULL)
            return NULL;
        if (close == '}' && *reader->at == ':') {
            if (json_array_size(items) > 0 || !add_member(reader, object, item))
                return NULL;
        } else if (json_object_size(object) > 0) {
            return NULL;
        } else {
            json_array_append(items, item);
        }
        has_comma = *reader->at == ',';
        reader->at += has_comma;
        if (!has_comma && *reader->at != close)
            return NULL;
    }
    reader->at++;
    if (close == ')' && json_array_size(items) == 1 && !has_comma)
        return json_incref(json_array_get(items, 0));
    return close == '}' && json_array_size(items) == 0 ? steal(&object) : steal(&items);
}

/* With the blanks behind it. */
static json_t *read_value(struct reader *reader) {
    json_t *value = NULL;
    skip_blanks(reader, reader->depth > 0);
    if (*reader->at == '[' || *reader->at == '(' || *reader->at == '{') {
        if (reader->depth == DEPTH_MAX)
            return NULL;
        reader->depth++;
        value = read_bracket(reader);
        reader->depth--;
    } else if (prefix_length(reader->at) >= 0) {
        value = read_text(reader);
    } else if (isdigit((unsigned char)*reader->at) || strchr("+-.", *reader->at) != NULL) {
        value = *reader->at != '\0' ? read_number(reader) : NULL;
    } else {
        value = read_word(reader);
    }
    if (value != NULL)
        skip_blanks(reader, reader->depth > 0);
    return value;
}

json_t *migrate_python_literal(const char **at, int *line) {
    struct reader reader = {.at = *at, .line = *line};
    json_t *value = read_value(&reader);
    *at = reader.at;
    *line = reader.line;
    return value;
}

/* Behind the statement: line breaks in brackets and in texts are part of it. */
static void skip_statement(struct reader *reader) {
    cleanup_buffer struct buffer ignored = {.limit = MIGRATE_FILE_MAX};
    int depth = 0;
    while (*reader->at != '\0' && (*reader->at != '\n' || depth > 0)) {
        char c = *reader->at;
        if (c == '\'' || c == '"') {
            buffer_clear(&ignored);
            read_quoted(reader, true, &ignored);
            continue;
        }
        const char *before = reader->at;
        skip_blanks(reader, depth > 0);
        if (reader->at != before)
            continue;
        depth += strchr("([{", c) != NULL;
        depth -= strchr(")]}", c) != NULL && depth > 0;
        reader->at++;
    }
    if (*reader->at == '\n') {
        reader->at++;
        reader->line++;
    }
}

/* The word before '.', '=' or a blank, copied. */
static bool read_name(struct reader *reader, char name[NAME_MAX_BYTES]) {
    size_t length = 0;
    while (isalnum((unsigned char)reader->at[length]) || reader->at[length] == '_')
        length++;
    if (length == 0 || length >= NAME_MAX_BYTES)
        return false;
    memcpy(name, reader->at, length);
    name[length] = '\0';
    reader->at += length;
    return true;
}

/* "c.Class.trait = literal" up to the end of the line. */
static bool read_assignment(struct migration *migration, struct reader *reader, const char *where) {
    char class_name[NAME_MAX_BYTES];
    char trait[NAME_MAX_BYTES];
    if (!text_starts_with(reader->at, "c."))
        return false;
    reader->at += 2;
    if (!read_name(reader, class_name) || *reader->at++ != '.' || !read_name(reader, trait))
        return false;
    skip_blanks(reader, false);
    if (reader->at[0] != '=' || reader->at[1] == '=')
        return false;
    reader->at++;
    cleanup_json json_t *value = read_value(reader);
    bool is_whole = *reader->at == '\n' || *reader->at == '\0' || *reader->at == ';';
    if (value == NULL || !is_whole)
        return false;
    migrate_trait(migration, class_name, trait, value, where);
    return true;
}

/* What is computed may hold a secret: only what stands before it is shown. */
static void name_statement(struct migration *migration, const char *start, const char *where) {
    size_t length = strcspn(start, "=(\n#'\"");
    while (length > 0 && isspace((unsigned char)start[length - 1]))
        length--;
    cleanup_free char *shown =
        memory_strndup(start, length < SHOWN_MAX ? length : (size_t)SHOWN_MAX);
    migration_trouble(migration, *shown != '\0' ? shown : "a statement", where,
                      "only c.Class.trait = literal is read, and nothing is executed");
}

/* "c = get_config()", or a text on its own, as files begin with. */
static bool does_nothing(struct reader reader) {
    static const char preamble[] = "c = get_config()";
    const char *at = reader.at;
    if (prefix_length(at) >= 0) {
        cleanup_json json_t *text = read_text(&reader);
        return text != NULL && (*reader.at == '\n' || *reader.at == '\0');
    }
    if (!text_starts_with(at, preamble))
        return false;
    at += sizeof preamble - 1;
    at += strspn(at, " \t\r");
    return *at == '\0' || *at == '\n' || *at == '#' || *at == ';';
}

void migrate_python(struct migration *migration, const char *text, const char *name) {
    struct reader reader = {.at = text, .line = 1};
    if (text_starts_with(reader.at, "\xEF\xBB\xBF"))
        reader.at += 3;
    while (*reader.at != '\0') {
        const char *start = reader.at;
        skip_blanks(&reader, false);
        if (*reader.at == '\n') {
            reader.at++;
            reader.line++;
            continue;
        }
        if (*reader.at == '\0')
            return;
        struct reader behind = reader;
        bool is_indented = reader.at != start;
        cleanup_free char *where = memory_printf("%s:%d", name, reader.line);
        const char *statement = reader.at;
        if (!is_indented && does_nothing(reader)) {
            skip_statement(&reader);
        } else if (!is_indented && read_assignment(migration, &behind, where)) {
            reader = behind;
            reader.at += *reader.at == ';';
            skip_blanks(&reader, false);
        } else {
            name_statement(migration, statement, where);
            skip_statement(&reader);
        }
    }
}
