#include "base/text.h"

#include "base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

bool text_equal_n(const char *text, size_t length, const char *other) {
    return strlen(other) == length && memcmp(text, other, length) == 0;
}

bool text_starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *text, const char *suffix) {
    size_t length = strlen(text);
    size_t tail = strlen(suffix);
    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

const char *text_or_null(const char *text) {
    return text != NULL && text[0] != '\0' ? text : NULL;
}

void text_replace(char **text, const char *value) {
    char *copy = value != NULL ? memory_strdup(value) : NULL;
    free(*text);
    *text = copy;
}

void text_lower(char *text) {
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

int text_parse_int(const char *text, int64_t min, int64_t max, const char *what, int64_t *ret,
                   struct error *err) {
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool plain = *text == '-' || isdigit((unsigned char)*text);
    if (!plain || *end != '\0' || errno != 0 || value < min || value > max)
        return error_set(err, ERROR_INVALID,
                         "%s: \"%.64s\" is not a whole number from %" PRId64 " to %" PRId64, what,
                         text, min, max);
    *ret = value;
    return 0;
}

/* Bytes of the sequence that starts at data, 0 when it is not valid UTF-8. */
static size_t sequence_length(const uint8_t *data, size_t length) {
    uint8_t first = data[0];
    if (first < 0x80)
        return 1;
    size_t need = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || length < need)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((data[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (first == 0xE0 && data[1] < 0xA0) || (first == 0xF0 && data[1] < 0x90);
    bool surrogate = first == 0xED && data[1] > 0x9F;
    bool too_big = first == 0xF4 && data[1] > 0x8F;
    return overlong || surrogate || too_big ? 0 : need;
}

/* Bytes of the bad sequence at data: as many as a good one could have begun with, at least one. */
static size_t bad_sequence_length(const uint8_t *data, size_t length) {
    uint8_t first = data[0];
    if (first < 0xE0 || first > 0xF4 || length < 2)
        return 1;
    uint8_t least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (data[1] < least || data[1] > most)
        return 1;
    return first >= 0xF0 && length > 2 && (data[2] & 0xC0) == 0x80 ? 3 : 2;
}

/* Whether these last bytes are the beginning of a good sequence. */
static bool is_cut_off(const uint8_t *data, size_t length) {
    size_t need = data[0] >= 0xF0 ? 4 : data[0] >= 0xE0 ? 3 : 2;
    return data[0] >= 0xC2 && data[0] <= 0xF4 && length < need &&
           bad_sequence_length(data, length) == length;
}

bool text_may_be_utf8(const void *data, size_t length, size_t *checked) {
    const uint8_t *bytes = data;
    size_t at = *checked;
    while (at < length) {
        uint64_t eight; /* most text is ASCII: eight bytes a step */
        if (length - at >= sizeof eight) {
            memcpy(&eight, bytes + at, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        size_t step = sequence_length(bytes + at, length - at);
        if (step == 0)
            break;
        at += step;
    }
    *checked = at;
    return at == length || is_cut_off(bytes + at, length - at);
}

bool text_is_utf8(const void *data, size_t length) {
    size_t checked = 0;
    return text_may_be_utf8(data, length, &checked) && checked == length;
}

char *text_repair(const char *text) {
    char *copy = memory_strdup(text);
    size_t length = strlen(copy);
    for (size_t at = 0; at < length;) {
        size_t step = sequence_length((const uint8_t *)copy + at, length - at);
        if (step == 0) {
            copy[at] = '?';
            step = 1;
        }
        at += step;
    }
    return copy;
}

int text_append_readable(struct buffer *out, const void *data, size_t length) {
    const uint8_t *bytes = data;
    size_t copied = 0, at = 0;
    while (at < length) {
        size_t step = sequence_length(bytes + at, length - at);
        if (step == 0) {
            if (buffer_append(out, bytes + copied, at - copied) < 0 ||
                buffer_append_text(out, "\xEF\xBF\xBD") < 0)
                return -1;
            step = bad_sequence_length(bytes + at, length - at);
            copied = at + step;
        }
        at += step;
    }
    return length > copied ? buffer_append(out, bytes + copied, length - copied) : 0;
}

size_t text_utf8_floor(const char *data, size_t length, size_t max) {
    if (length <= max)
        return length;
    while (max > 0 && ((uint8_t)data[max] & 0xC0) == 0x80)
        max--;
    return max;
}

void text_vformat(char *text, size_t size, const char *format, va_list args) {
    int length = vsnprintf(text, size, format, args);
    size_t whole = 0;
    if (length >= (int)size && text_may_be_utf8(text, size - 1, &whole))
        text[whole] = '\0';
}

void text_hex(const uint8_t *data, size_t length, char *hex) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        hex[2 * i] = digits[data[i] >> 4];
        hex[2 * i + 1] = digits[data[i] & 15];
    }
    hex[2 * length] = '\0';
}

void text_uuid4(char uuid[37]) {
    uint8_t raw[16];
    if (getrandom(raw, sizeof raw, 0) != sizeof raw)
        abort(); /* 16 bytes cannot come short once the pool is up */
    raw[6] = (uint8_t)((raw[6] & 0x0F) | 0x40);
    raw[8] = (uint8_t)((raw[8] & 0x3F) | 0x80);
    char hex[33];
    text_hex(raw, sizeof raw, hex);
    snprintf(uuid, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

bool text_is_kernel_id(const char *text) {
    size_t groups = 1;
    size_t in_group = 0;
    if (strlen(text) > 128)
        return false;
    for (; *text; text++) {
        if (*text == '-') {
            if (in_group == 0)
                return false;
            groups++;
            in_group = 0;
        } else if (isalnum((unsigned char)*text) || *text == '_') {
            in_group++;
        } else {
            return false;
        }
    }
    return groups == 5 && in_group > 0;
}

void text_append_duration(struct buffer *out, int64_t ms) {
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
    enum { UNITS = sizeof units / sizeof units[0] };
    unsigned unit = 0;
    while (unit < UNITS - 1 && ms < units[unit].ms)
        unit++;
    buffer_printf(out, "%" PRId64 " %s", ms / units[unit].ms, units[unit].name);
    int64_t rest = ms % units[unit].ms;
    if (unit + 2 < UNITS && rest >= units[unit + 1].ms)
        buffer_printf(out, " %" PRId64 " %s", rest / units[unit + 1].ms, units[unit + 1].name);
}

/* Not fnmatch, to which '[' and, in some places, '.' and '/' mean more. What follows the last * is
 * tried behind ever more of the text. */
bool text_glob(const char *pattern, const char *text) {
    const char *behind_star = NULL, *tried = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            behind_star = ++pattern;
            tried = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (behind_star != NULL) {
            pattern = behind_star;
            text = ++tried;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

char **text_list_copy(char *const *list) {
    size_t count = 0;
    if (list == NULL)
        return NULL;
    while (list[count] != NULL)
        count++;
    char **copy = memory_alloc((count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = memory_strdup(list[i]);
    return copy;
}

void text_list_free(char **list) {
    for (char **item = list; item != NULL && *item != NULL; item++)
        free(*item);
    free(list);
}

bool text_list_has(char *const *list, const char *text) {
    for (; list != NULL && *list != NULL; list++)
        if (strcmp(*list, text) == 0)
            return true;
    return false;
}

uint64_t text_hash(const char *text) {
    uint64_t value = UINT64_C(0xCBF29CE484222325);
    for (; *text != '\0'; text++)
        value = (value ^ (uint8_t)*text) * UINT64_C(0x100000001B3);
    return value;
}
