#include "base/text.h"
#include "base/utf8.h"
#include "launcher/kernel_message.h"

#include <stdbool.h>
#include <string.h>

/* A cursor over JSON text (RFC 8259). Strict in form, so that a member found here is the one a real
 * parser finds; bounded in depth, since it recurses. */
enum { DEPTH_MAX = 200 };

struct scan {
    const uint8_t *at;
    const uint8_t *end;
};

static int skip_value(struct scan *scan, int depth);

static void skip_space(struct scan *scan) {
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
        scan->at++;
}

static bool take(struct scan *scan, uint8_t byte) {
    if (scan->at >= scan->end || *scan->at != byte)
        return false;
    scan->at++;
    return true;
}

/* One string without its quotes, still escaped. */
static int take_string(struct scan *scan, struct bytes *ret, bool *escaped) {
    if (!take(scan, '"'))
        return -1;
    const uint8_t *start = scan->at;
    *escaped = false;
    for (; scan->at < scan->end; scan->at++) {
        uint8_t byte = *scan->at;
        if (byte == '"') {
            *ret = (struct bytes){start, (size_t)(scan->at - start)};
            scan->at++;
            return 0;
        }
        if (byte < 0x20)
            return -1;
        if (byte == '\\') {
            *escaped = true;
            if (++scan->at >= scan->end) /* the escaped byte ends nothing */
                return -1;
        }
    }
    return -1;
}

static int hex4(const uint8_t *at, const uint8_t *end, unsigned *ret) {
    if (end - at < 4)
        return -1;
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t byte = at[i];
        unsigned digit = byte >= '0' && byte <= '9'   ? (unsigned)byte - '0'
                         : byte >= 'a' && byte <= 'f' ? (unsigned)byte - 'a' + 10
                         : byte >= 'A' && byte <= 'F' ? (unsigned)byte - 'A' + 10
                                                      : 16;
        if (digit > 15)
            return -1;
        value = value * 16 + digit;
    }
    *ret = value;
    return 0;
}

static size_t encode_utf8(unsigned code, uint8_t out[4]) {
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xC0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xE0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}

/* \uXXXX at *at (which stands behind the 'u'), with its second half if it is a surrogate. */
static int decode_unicode(const uint8_t **at, const uint8_t *end, unsigned *ret) {
    unsigned code;
    if (hex4(*at, end, &code) < 0 || (code >= 0xDC00 && code <= 0xDFFF))
        return -1;
    *at += 4;
    if (code >= 0xD800 && code <= 0xDBFF) {
        unsigned low;
        if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' || hex4(*at + 2, end, &low) < 0 ||
            low < 0xDC00 || low > 0xDFFF)
            return -1;
        *at += 6;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    *ret = code;
    return 0;
}

/* One character (or one run's byte) of an escaped string. Returns the bytes written to out, 0 when
 * it is malformed. */
static size_t decode_one(const uint8_t **at, const uint8_t *end, uint8_t out[4]) {
    if (**at != '\\') {
        out[0] = *(*at)++;
        return 1;
    }
    static const char escapes[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (++*at >= end)
        return 0;
    uint8_t letter = *(*at)++;
    if (letter == 'u') {
        unsigned code;
        return decode_unicode(at, end, &code) < 0 ? 0 : encode_utf8(code, out);
    }
    const char *escape = letter != '\0' ? strchr(escapes, letter) : NULL;
    if (escape == NULL)
        return 0;
    out[0] = (uint8_t)meanings[escape - escapes];
    return 1;
}

static int decode_text(struct bytes text, char *ret, size_t size) {
    const uint8_t *at = text.data;
    const uint8_t *end = at + text.length;
    size_t used = 0;
    while (at < end) {
        uint8_t bytes[4];
        size_t count = decode_one(&at, end, bytes);
        if (count == 0 || bytes[0] == '\0' || used + count >= size)
            return -1;
        memcpy(ret + used, bytes, count);
        used += count;
    }
    if (used >= size || !utf8_is_valid(ret, used))
        return -1;
    ret[used] = '\0';
    return (int)used;
}

static bool is_member(struct bytes key, bool escaped, const char *member) {
    if (!escaped)
        return text_equal_n((const char *)key.data, key.length, member);
    char decoded[128];
    return decode_text(key, decoded, sizeof decoded) >= 0 && strcmp(decoded, member) == 0;
}

static int skip_digits(struct scan *scan) {
    const uint8_t *start = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > start ? 0 : -1;
}

static int skip_number(struct scan *scan) {
    (void)take(scan, '-');
    if (!take(scan, '0') && skip_digits(scan) < 0)
        return -1;
    if (take(scan, '.') && skip_digits(scan) < 0)
        return -1;
    if (take(scan, 'e') || take(scan, 'E')) {
        if (!take(scan, '+'))
            (void)take(scan, '-');
        return skip_digits(scan);
    }
    return 0;
}

static int skip_word(struct scan *scan, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0)
        return -1;
    scan->at += length;
    return 0;
}

static int take_key(struct scan *scan, struct bytes *key, bool *escaped) {
    skip_space(scan);
    if (take_string(scan, key, escaped) < 0)
        return -1;
    skip_space(scan);
    return take(scan, ':') ? 0 : -1;
}

/* What comes behind the opening bracket. */
static int skip_container(struct scan *scan, bool object, int depth) {
    uint8_t close = object ? '}' : ']';
    skip_space(scan);
    if (take(scan, close))
        return 0;
    do {
        struct bytes key;
        bool escaped;
        if (object && take_key(scan, &key, &escaped) < 0)
            return -1;
        if (skip_value(scan, depth) < 0)
            return -1;
    } while (take(scan, ','));
    return take(scan, close) ? 0 : -1;
}

/* One value and the space around it. */
static int skip_value(struct scan *scan, int depth) {
    if (depth >= DEPTH_MAX)
        return -1;
    skip_space(scan);
    if (scan->at >= scan->end)
        return -1;
    struct bytes text;
    bool escaped;
    int result;
    switch (*scan->at) {
    case '"':
        result = take_string(scan, &text, &escaped);
        break;
    case '{':
    case '[':
        result = skip_container(scan, *scan->at++ == '{', depth + 1);
        break;
    case 't':
        result = skip_word(scan, "true");
        break;
    case 'f':
        result = skip_word(scan, "false");
        break;
    case 'n':
        result = skip_word(scan, "null");
        break;
    default:
        result = skip_number(scan);
        break;
    }
    skip_space(scan);
    return result;
}

/* The cursor at the member's value; -1 when there is no such member. */
static int find_member(struct bytes object, const char *member, struct scan *ret) {
    if (object.length == 0)
        return -1;
    *ret = (struct scan){object.data, object.data + object.length};
    skip_space(ret);
    if (!take(ret, '{'))
        return -1;
    do {
        struct bytes key;
        bool escaped;
        if (take_key(ret, &key, &escaped) < 0)
            return -1;
        if (is_member(key, escaped, member)) {
            skip_space(ret);
            return 0;
        }
        if (skip_value(ret, 0) < 0)
            return -1;
    } while (take(ret, ','));
    return -1;
}

int json_scan_text(struct bytes object, const char *member, char *ret, size_t size) {
    struct scan scan;
    struct bytes value;
    bool escaped;
    if (find_member(object, member, &scan) < 0 || take_string(&scan, &value, &escaped) < 0)
        return -1;
    return decode_text(value, ret, size);
}

int json_scan_object(struct bytes object, const char *member, struct bytes *ret) {
    struct scan scan;
    if (find_member(object, member, &scan) < 0 || scan.at >= scan.end || *scan.at != '{')
        return -1;
    const uint8_t *start = scan.at++;
    if (skip_container(&scan, true, 1) < 0)
        return -1;
    *ret = (struct bytes){start, (size_t)(scan.at - start)};
    return 0;
}
