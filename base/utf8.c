#include "base/utf8.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

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

bool utf8_may_become_valid(const void *data, size_t length, size_t *checked) {
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

bool utf8_is_valid(const void *data, size_t length) {
    size_t checked = 0;
    return utf8_may_become_valid(data, length, &checked) && checked == length;
}

char *utf8_repair(const char *text) {
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

int utf8_append_readable(struct buffer *out, const void *data, size_t length) {
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

size_t utf8_floor(const char *data, size_t length, size_t max) {
    if (length <= max)
        return length;
    while (max > 0 && ((uint8_t)data[max] & 0xC0) == 0x80)
        max--;
    return max;
}

void utf8_format(char *text, size_t size, const char *format, va_list args) {
    int length = vsnprintf(text, size, format, args);
    size_t whole = 0;
    if (length >= (int)size && utf8_may_become_valid(text, size - 1, &whole))
        text[whole] = '\0';
}
