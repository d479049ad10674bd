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
