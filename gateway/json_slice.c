#include "gateway/json_slice.h"

#include "base/utf8.h"

#include <endian.h>
#include <string.h>

struct cursor {
    const uint8_t *start, *at, *end;
    const char *wrong; /* what is wrong at `at` */
};

static int fail(struct cursor *cursor, const char *what) {
    cursor->wrong = what;
    return -1;
}

static inline void skip_space(struct cursor *cursor) {
    if (cursor->at<cursor->end && * cursor->at> ' ')
        return;
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\n' ||
                                        *cursor->at == '\t' || *cursor->at == '\r'))
        cursor->at++;
}

/* How many bytes at the start of eight are plain in a text: no '"', '\\', control character or byte
 * beyond ASCII. A subtraction borrows only from bytes that stand later in memory, so that the first
 * stop is exact. */
static size_t plain_bytes(const uint8_t *at) {
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    uint64_t word;
    memcpy(&word, at, sizeof word);
    word = le64toh(word);
    uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
    uint64_t control = word - ones * 0x20;
    uint64_t stops = ((quote - ones) | (slash - ones) | control | word) & highs;
    return stops ? (size_t)__builtin_ctzll(stops) / 8 : sizeof word;
}

/* To the next byte of a text that is not plain, or its end. */
static void skip_plain(struct cursor *cursor) {
    const uint8_t *at = cursor->at;
    while (cursor->end - at >= 8) {
        size_t plain = plain_bytes(at);
        at += plain;
        if (plain < 8) {
            cursor->at = at;
            return;
        }
    }
    while (at < cursor->end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
        at++;
    cursor->at = at;
}

static int skip_hex(struct cursor *cursor, unsigned *ret) {
    unsigned value = 0;
    if (cursor->end - cursor->at < 4)
        return fail(cursor, "an escape is cut off");
    for (int i = 0; i < 4; i++) {
        unsigned digit = *cursor->at++;
        if (digit >= '0' && digit <= '9')
            digit -= '0';
        else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
            digit = (digit | 0x20) - 'a' + 10;
        else
            return fail(cursor, "\\u needs four hexadecimal digits");
        value = value << 4 | digit;
    }
    *ret = value;
    return 0;
}

/* A lone surrogate is let through: JavaScript and Python both write them. */
static int skip_escape(struct cursor *cursor) {
    cursor->at++;
    if (cursor->at == cursor->end)
        return fail(cursor, "an escape is cut off");
    uint8_t kind = *cursor->at++;
    unsigned unit;
    if (kind == 'u')
        return skip_hex(cursor, &unit);
    return memchr("\"\\/bfnrt", kind, 8) ? 0 : fail(cursor, "no such escape");
}

static int skip_beyond_ascii(struct cursor *cursor) {
    size_t left = (size_t)(cursor->end - cursor->at);
    uint8_t first = *cursor->at;
    size_t need = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || left < need || !utf8_is_valid(cursor->at, need))
        return fail(cursor, "not UTF-8");
    cursor->at += need;
    return 0;
}

/* From behind the opening quote to behind the closing one. */
static int skip_text(struct cursor *cursor) {
    for (;;) {
        skip_plain(cursor);
        if (cursor->at == cursor->end)
            return fail(cursor, "a text is not closed");
        if (*cursor->at == '"') {
            cursor->at++;
            return 0;
        }
        if (*cursor->at < 0x20)
            return fail(cursor, "a control character in a text");
        if ((*cursor->at == '\\' ? skip_escape(cursor) : skip_beyond_ascii(cursor)) < 0)
            return -1;
    }
}

static bool skip_digits(struct cursor *cursor) {
    const uint8_t *first = cursor->at;
    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9')
        cursor->at++;
    return cursor->at > first;
}

static bool skip_literal(struct cursor *cursor, const char *literal) {
    size_t length = strlen(literal);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, literal, length) != 0)
        return false;
    cursor->at += length;
    return true;
}

static bool next_is(const struct cursor *cursor, uint8_t byte) {
    return cursor->at < cursor->end && *cursor->at == byte;
}

static int skip_number(struct cursor *cursor) {
    if (next_is(cursor, '-'))
        cursor->at++;
    if (skip_literal(cursor, "Infinity"))
        return 0;
    if (next_is(cursor, '0'))
        cursor->at++;
    else if (!skip_digits(cursor))
        return fail(cursor, "expected a value");
    if (next_is(cursor, '.')) {
        cursor->at++;
        if (!skip_digits(cursor))
            return fail(cursor, "expected a digit");
    }
    if (next_is(cursor, 'e') || next_is(cursor, 'E')) {
        cursor->at++;
        if (next_is(cursor, '+') || next_is(cursor, '-'))
            cursor->at++;
        if (!skip_digits(cursor))
            return fail(cursor, "expected a digit");
    }
    return 0;
}

static int skip_scalar(struct cursor *cursor) {
    if (cursor->at == cursor->end)
        return fail(cursor, "expected a value");
    switch (*cursor->at) {
    case '"':
        cursor->at++;
        return skip_text(cursor);
    case 't':
        return skip_literal(cursor, "true") ? 0 : fail(cursor, "expected a value");
    case 'f':
        return skip_literal(cursor, "false") ? 0 : fail(cursor, "expected a value");
    case 'n':
        return skip_literal(cursor, "null") ? 0 : fail(cursor, "expected a value");
    case 'N':
        return skip_literal(cursor, "NaN") ? 0 : fail(cursor, "expected a value");
    default:
        return skip_number(cursor);
    }
}

static int skip_key(struct cursor *cursor, struct bytes *ret) {
    skip_space(cursor);
    if (!next_is(cursor, '"'))
        return fail(cursor, "expected a member's name");
    const uint8_t *start = ++cursor->at;
    if (skip_text(cursor) < 0)
        return -1;
    *ret = (struct bytes){start, (size_t)(cursor->at - 1 - start)};
    skip_space(cursor);
    if (!next_is(cursor, ':'))
        return fail(cursor, "expected ':'");
    cursor->at++;
    return 0;
}

/* Opens '{' or '['; 1 when it is closed again at once. In an object the first member's name is
 * skipped too. */
static int open_container(struct cursor *cursor, bool object) {
    struct bytes key;
    cursor->at++;
    skip_space(cursor);
    if (next_is(cursor, object ? '}' : ']')) {
        cursor->at++;
        return 1;
    }
    return object ? skip_key(cursor, &key) : 0;
}

/* Behind a value: closes containers as long as they end here. Leaves the cursor before the next
 * value, or depth at 0. */
static int close_containers(struct cursor *cursor, const bool *objects, size_t *depth) {
    struct bytes key;
    while (*depth > 0) {
        bool object = objects[*depth - 1];
        skip_space(cursor);
        if (next_is(cursor, ',')) {
            cursor->at++;
            return object ? skip_key(cursor, &key) : 0;
        }
        if (!next_is(cursor, object ? '}' : ']'))
            return fail(cursor, object ? "expected ',' or '}'" : "expected ',' or ']'");
        cursor->at++;
        --*depth;
    }
    return 0;
}

static int skip_value(struct cursor *cursor) {
    bool objects[JSON_SLICE_DEPTH_MAX];
    size_t depth = 0;
    do {
        skip_space(cursor);
        bool object = next_is(cursor, '{');
        if (object || next_is(cursor, '[')) {
            if (depth == JSON_SLICE_DEPTH_MAX)
                return fail(cursor, "nested too deep");
            int closed = open_container(cursor, object);
            if (closed < 0)
                return -1;
            if (!closed) {
                objects[depth++] = object;
                continue;
            }
        } else if (skip_scalar(cursor) < 0) {
            return -1;
        }
        if (close_containers(cursor, objects, &depth) < 0)
            return -1;
    } while (depth > 0);
    return 0;
}

static int report(const struct cursor *cursor, struct error *err) {
    return error_set(err, ERROR_INVALID, "byte %zu: %s", (size_t)(cursor->at - cursor->start),
                     cursor->wrong);
}

static int finish(struct cursor *cursor, struct error *err) {
    skip_space(cursor);
    if (cursor->at < cursor->end)
        fail(cursor, "something follows the value");
    return cursor->wrong ? report(cursor, err) : 0;
}

static struct cursor cursor_at(struct bytes text, size_t at) {
    return (struct cursor){
        .start = text.data, .at = text.data + at, .end = text.data + text.length};
}

int json_slice_check(struct bytes text, struct error *err) {
    struct cursor cursor = cursor_at(text, 0);
    if (text.length == 0)
        return error_set(err, ERROR_INVALID, "is empty");
    return skip_value(&cursor) < 0 ? report(&cursor, err) : finish(&cursor, err);
}

/* To the next member's name, or behind the closing brace: 1 or 0. */
static int to_next_member(struct json_walk *walk, struct cursor *cursor) {
    skip_space(cursor);
    if (!walk->started) {
        if (!next_is(cursor, '{'))
            return fail(cursor, "must be an object");
        cursor->at++;
        skip_space(cursor);
        walk->started = true;
        if (!next_is(cursor, '}'))
            return 1;
    }
    if (next_is(cursor, ',')) {
        cursor->at++;
        return 1;
    }
    if (!next_is(cursor, '}'))
        return fail(cursor, "expected ',' or '}'");
    cursor->at++;
    return 0;
}

int json_walk_next(struct json_walk *walk, struct json_member *ret, struct error *err) {
    if (walk->text.length == 0)
        return error_set(err, ERROR_INVALID, "is empty");
    struct cursor cursor = cursor_at(walk->text, walk->at);
    int more = to_next_member(walk, &cursor);
    if (more < 0)
        return report(&cursor, err);
    if (more == 0)
        return finish(&cursor, err);
    if (skip_key(&cursor, &ret->key) < 0)
        return report(&cursor, err);
    skip_space(&cursor);
    const uint8_t *start = cursor.at;
    if (skip_value(&cursor) < 0)
        return report(&cursor, err);
    ret->value = (struct bytes){start, (size_t)(cursor.at - start)};
    walk->at = (size_t)(cursor.at - cursor.start);
    return 1;
}

/* One character of a checked key; only ASCII matters for comparing with our names. */
static unsigned next_character(struct cursor *cursor) {
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    unsigned value = *cursor->at++;
    if (value != '\\')
        return value;
    value = *cursor->at++;
    if (value == 'u')
        return skip_hex(cursor, &value) < 0 ? 0 : value;
    const char *found = strchr(letters, (int)value);
    return found ? (unsigned char)meant[found - letters] : 0;
}

bool json_key_is(struct bytes key, const char *name) {
    size_t length = strlen(name);
    if (key.length <= length) /* an escape makes it longer */
        return key.length == length && memcmp(key.data, name, length) == 0;
    if (memchr(key.data, '\\', key.length) == NULL)
        return false;
    struct cursor cursor = cursor_at(key, 0);
    for (; cursor.at < cursor.end && *name; name++)
        if (next_character(&cursor) != (unsigned char)*name)
            return false;
    return cursor.at == cursor.end && *name == '\0';
}

bool json_slice_is_object(struct bytes value) {
    return value.length > 0 && value.data[0] == '{';
}

bool json_slice_is_text(struct bytes value) {
    return value.length > 0 && value.data[0] == '"';
}

bool json_slice_is_null(struct bytes value) {
    return value.length == 4 && value.data[0] == 'n';
}
