/* Events of libyaml's parser into a jansson tree, with limits: YAML comes from admins and, later,
 * from clients' values. */
#include "base/yaml.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* The recursion is ours and libyaml's stacks grow with depth; values are for configuration, not for
 * data. */
enum { DEPTH_LIMIT = 64, SIZE_LIMIT = 4 << 20, NODE_LIMIT = 200000, PATH_LIMIT = 256 };

struct reader {
    yaml_parser_t parser;
    size_t nodes;
    struct error *err;
    const char *text;
    size_t length;
    json_t *lines; /* NULL: nobody asked */
    /* of the mapping or sequence that is read; at its limit no line is noted */
    char path[PATH_LIMIT];
    size_t path_length;
};

static int refuse_at(const struct reader *reader, yaml_mark_t mark, const char *why) {
    return error_set(reader->err, ERROR_INVALID, "line %zu, column %zu: %s", mark.line + 1,
                     mark.column + 1, why);
}

/* libyaml says "cannot start any token" of a tab, which tells nobody what to do. */
static bool is_indented_by_tab(const struct reader *reader, size_t line) {
    const char *at = reader->text, *end = at + reader->length;
    for (; line > 0 && at < end; at++)
        line -= *at == '\n';
    while (at < end && *at == ' ')
        at++;
    return at < end && *at == '\t';
}

static int next_event(struct reader *reader, yaml_event_t *event) {
    if (yaml_parser_parse(&reader->parser, event))
        return 0;
    const yaml_parser_t *parser = &reader->parser;
    const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
    if (parser->error == YAML_READER_ERROR) /* has no mark: the reader is ahead of the scanner */
        return error_set(reader->err, ERROR_INVALID, "byte %zu: %s", parser->problem_offset,
                         problem);
    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(reader->err, ERROR_SYSTEM, "out of memory");
    if (is_indented_by_tab(reader, parser->problem_mark.line))
        return refuse_at(reader, parser->problem_mark,
                         "a tab indents this line; YAML is indented by spaces alone");
    refuse_at(reader, parser->problem_mark, problem);
    if (parser->context != NULL)
        error_wrap(reader->err, "%s", parser->context);
    return -1;
}

/* [-+]? digits, the core schema's int, or 0o and 0x numbers. */
static bool is_integer(const char *text) {
    if (text_starts_with(text, "0x"))
        return text[2] != '\0' && text[2 + strspn(text + 2, "0123456789abcdefABCDEF")] == '\0';
    if (text_starts_with(text, "0o"))
        return text[2] != '\0' && text[2 + strspn(text + 2, "01234567")] == '\0';
    text += *text == '-' || *text == '+';
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_real(const char *text) {
    text += *text == '-' || *text == '+';
    size_t whole = strspn(text, "0123456789");
    text += whole;
    size_t fraction = 0;
    if (*text == '.') {
        fraction = strspn(text + 1, "0123456789");
        text += 1 + fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        size_t exponent = strspn(text, "0123456789");
        if (exponent == 0)
            return false;
        text += exponent;
    }
    return *text == '\0';
}

static bool is_one_of(const char *text, const char *const *words) {
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

static json_t *integer_value(const char *text) {
    bool octal = text_starts_with(text, "0o");
    errno = 0;
    /* Base 10 keeps 0644 at 644, as YAML 1.2 has it. */
    long long value = octal ? strtoll(text + 2, NULL, 8)
                            : strtoll(text, NULL, text_starts_with(text, "0x") ? 16 : 10);
    return errno == 0 ? json_integer(value) : NULL;
}

/* NULL for a number that JSON cannot hold. */
static json_t *plain_value(const char *text, size_t length) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    if (is_one_of(text, nulls))
        return json_null();
    if (is_one_of(text, trues))
        return json_true();
    if (is_one_of(text, falses))
        return json_false();
    if (is_integer(text))
        return integer_value(text);
    if (is_real(text))
        return json_real(strtod(text, NULL)); /* NULL for an infinity */
    return json_stringn(text, length);
}

static int check_properties(struct reader *reader, const yaml_char_t *anchor,
                            const yaml_char_t *tag, yaml_mark_t mark) {
    if (++reader->nodes > NODE_LIMIT)
        return error_set(reader->err, ERROR_LIMIT, "line %zu: more than %d values", mark.line + 1,
                         NODE_LIMIT);
    if (anchor != NULL)
        return refuse_at(reader, mark, "anchors (&name) are not taken; write the value out");
    if (tag != NULL)
        return refuse_at(reader, mark, "tags (!name) are not taken; put a text in quotes instead");
    return 0;
}

static int read_scalar(struct reader *reader, const yaml_event_t *event, json_t **ret) {
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (check_properties(reader, event->data.scalar.anchor, event->data.scalar.tag,
                         event->start_mark) < 0)
        return -1;
    if (strlen(text) != length)
        return refuse_at(reader, event->start_mark, "a text must not hold a NUL");
    json_t *value = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE
                        ? plain_value(text, length)
                        : json_stringn(text, length);
    if (value == NULL)
        return refuse_at(reader, event->start_mark, "the number is too large; put it in quotes");
    *ret = value;
    return 0;
}

static int read_value(struct reader *reader, const yaml_event_t *event, int depth, json_t **ret);

/* A member's or an item's; returns the path's length before. */
static size_t enter(struct reader *reader, const char *part, yaml_mark_t mark) {
    size_t before = reader->path_length, room = sizeof reader->path - before;
    int added =
        snprintf(reader->path + before, room, "%s%s", before > 0 && *part != '[' ? "." : "", part);
    if (added < 0 || (size_t)added >= room)
        reader->path_length = sizeof reader->path; /* nothing below has a path */
    else
        reader->path_length = before + (size_t)added;
    if (reader->lines != NULL && reader->path_length < sizeof reader->path)
        json_object_set_new(reader->lines, reader->path, json_integer((json_int_t)mark.line + 1));
    return before;
}

static int read_sequence(struct reader *reader, int depth, json_t **ret) {
    cleanup_json json_t *array = json_array();
    for (;;) {
        yaml_event_t event;
        if (next_event(reader, &event) < 0)
            return -1;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            *ret = steal(&array);
            return 0;
        }
        json_t *item = NULL;
        char index[32];
        snprintf(index, sizeof index, "[%zu]", json_array_size(array));
        size_t before = enter(reader, index, event.start_mark);
        int failed = read_value(reader, &event, depth + 1, &item);
        reader->path_length = before;
        yaml_event_delete(&event);
        if (failed < 0)
            return -1;
        json_array_append_new(array, item);
    }
}

static int check_key(struct reader *reader, const yaml_event_t *event, const json_t *object) {
    if (event->type == YAML_ALIAS_EVENT)
        return refuse_at(reader, event->start_mark, "aliases (*name) are not taken");
    if (event->type != YAML_SCALAR_EVENT)
        return refuse_at(reader, event->start_mark, "a key must be a text");
    const char *key = (const char *)event->data.scalar.value;
    if (check_properties(reader, event->data.scalar.anchor, event->data.scalar.tag,
                         event->start_mark) < 0)
        return -1;
    if (strlen(key) != event->data.scalar.length)
        return refuse_at(reader, event->start_mark, "a key must not hold a NUL");
    if (strcmp(key, "<<") == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return refuse_at(reader, event->start_mark, "merge keys (<<) are not taken");
    if (json_object_get(object, key) == NULL)
        return 0;
    return error_set(reader->err, ERROR_INVALID, "line %zu, column %zu: \"%.64s\" is there twice",
                     event->start_mark.line + 1, event->start_mark.column + 1, key);
}

/* One "key: value"; *ended when the mapping ended instead. */
static int read_pair(struct reader *reader, int depth, json_t *object, bool *ended) {
    yaml_event_t key;
    if (next_event(reader, &key) < 0)
        return -1;
    *ended = key.type == YAML_MAPPING_END_EVENT;
    int failed = *ended ? 0 : check_key(reader, &key, object);
    yaml_event_t event;
    if (failed < 0 || *ended || next_event(reader, &event) < 0) {
        failed = *ended ? 0 : -1;
        yaml_event_delete(&key);
        return failed;
    }
    json_t *value = NULL;
    size_t before = enter(reader, (const char *)key.data.scalar.value, key.start_mark);
    failed = read_value(reader, &event, depth + 1, &value);
    reader->path_length = before;
    if (failed == 0)
        json_object_set_new(object, (const char *)key.data.scalar.value, value);
    yaml_event_delete(&event);
    yaml_event_delete(&key);
    return failed;
}

static int read_mapping(struct reader *reader, int depth, json_t **ret) {
    cleanup_json json_t *object = json_object();
    for (bool ended = false; !ended;)
        if (read_pair(reader, depth, object, &ended) < 0)
            return -1;
    *ret = steal(&object);
    return 0;
}

static int read_value(struct reader *reader, const yaml_event_t *event, int depth, json_t **ret) {
    if (depth > DEPTH_LIMIT)
        return error_set(reader->err, ERROR_LIMIT, "line %zu: nested deeper than %d levels",
                         event->start_mark.line + 1, DEPTH_LIMIT);
    switch ((int)event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(reader, event, ret);
    case YAML_SEQUENCE_START_EVENT:
        if (check_properties(reader, event->data.sequence_start.anchor,
                             event->data.sequence_start.tag, event->start_mark) < 0)
            return -1;
        return read_sequence(reader, depth, ret);
    case YAML_MAPPING_START_EVENT:
        if (check_properties(reader, event->data.mapping_start.anchor,
                             event->data.mapping_start.tag, event->start_mark) < 0)
            return -1;
        return read_mapping(reader, depth, ret);
    case YAML_ALIAS_EVENT:
        return refuse_at(reader, event->start_mark, "aliases (*name) are not taken");
    default:
        return refuse_at(reader, event->start_mark, "a value is missing");
    }
}

/* The events around values: stream start, document start, document end. *type says which one
 * came. */
static int skip_event(struct reader *reader, yaml_event_type_t *type, yaml_mark_t *mark) {
    yaml_event_t event;
    if (next_event(reader, &event) < 0)
        return -1;
    *type = event.type;
    *mark = event.start_mark;
    yaml_event_delete(&event);
    return 0;
}

static int read_stream(struct reader *reader, json_t **ret) {
    yaml_event_type_t type;
    yaml_mark_t mark;
    if (skip_event(reader, &type, &mark) < 0 || skip_event(reader, &type, &mark) < 0)
        return -1;
    if (type == YAML_STREAM_END_EVENT) { /* nothing but comments */
        *ret = json_null();
        return 0;
    }
    yaml_event_t event;
    if (next_event(reader, &event) < 0)
        return -1;
    cleanup_json json_t *value = NULL;
    int failed = read_value(reader, &event, 1, &value);
    yaml_event_delete(&event);
    if (failed < 0 || skip_event(reader, &type, &mark) < 0 || skip_event(reader, &type, &mark) < 0)
        return -1;
    if (type != YAML_STREAM_END_EVENT)
        return refuse_at(reader, mark, "a second document (---) is not taken");
    *ret = steal(&value);
    return 0;
}

int yaml_parse_lines(const char *text, size_t length, json_t **ret, json_t **lines,
                     struct error *err) {
    if (length > SIZE_LIMIT)
        return error_set(err, ERROR_LIMIT, "larger than %d bytes", SIZE_LIMIT);
    cleanup_json json_t *noted = lines != NULL ? json_object() : NULL;
    struct reader reader = {.err = err, .text = text, .length = length, .lines = noted};
    if (!yaml_parser_initialize(&reader.parser))
        return error_set(err, ERROR_SYSTEM, "out of memory");
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, length);
    /* Byte order marks would switch libyaml to UTF-16; positions in messages are for UTF-8. */
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    int failed = read_stream(&reader, ret);
    yaml_parser_delete(&reader.parser);
    if (failed == 0 && lines != NULL)
        *lines = steal(&noted);
    return failed;
}

int yaml_parse(const char *text, size_t length, json_t **ret, struct error *err) {
    return yaml_parse_lines(text, length, ret, NULL, err);
}

/* Valid UTF-8: DEL, C1, LS, PS, BOM, and the two that are no characters. 0: as it is. */
static unsigned special(const uint8_t *at, size_t *ret_length) {
    *ret_length = at[0] == 0x7F ? 1 : at[0] == 0xC2 ? 2 : 3;
    if (at[0] == 0x7F)
        return at[0];
    if (at[0] == 0xC2 && at[1] < 0xA0)
        return at[1];
    if (at[0] == 0xE2 && at[1] == 0x80 && (at[2] == 0xA8 || at[2] == 0xA9))
        return 0x2000U | (at[2] & 0x3FU);
    if (at[0] == 0xEF && ((at[1] == 0xBB && at[2] == 0xBF) || (at[1] == 0xBF && at[2] >= 0xBE)))
        return 0xF000U | (at[1] & 0x3FU) << 6 | (at[2] & 0x3FU);
    return 0;
}

void yaml_print_flow(const json_t *tree, struct buffer *out) {
    cleanup_free char *text = json_dumps(tree, JSON_ENCODE_ANY);
    const char *done = text != NULL ? text : "null";
    size_t length;
    for (const char *at = done; *at != '\0'; at++) {
        unsigned code = special((const uint8_t *)at, &length);
        if (code == 0)
            continue;
        buffer_append(out, done, (size_t)(at - done));
        buffer_printf(out, "\\u%04x", code);
        done = at + length;
        at = done - 1;
    }
    buffer_append_text(out, done);
}
