#include "launcher/base64.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(const void *data, size_t length, struct buffer *out) {
    const uint8_t *from = data;
    if (length > SIZE_MAX / 2 || buffer_reserve(out, (length + 2) / 3 * 4) < 0)
        return -1;
    char *to = (char *)out->data + out->length;
    for (size_t at = 0; at < length; at += 3) {
        size_t left = length - at;
        uint32_t three = (uint32_t)from[at] << 16 | (left > 1 ? (uint32_t)from[at + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)from[at + 2] : 0);
        *to++ = alphabet[three >> 18];
        *to++ = alphabet[three >> 12 & 63];
        *to++ = left > 1 ? alphabet[three >> 6 & 63] : '=';
        *to++ = left > 2 ? alphabet[three & 63] : '=';
    }
    out->length += (length + 2) / 3 * 4;
    return 0;
}

/* 0-63, or 64. */
static uint32_t value_of(char letter) {
    if (letter >= 'A' && letter <= 'Z')
        return (uint32_t)(letter - 'A');
    if (letter >= 'a' && letter <= 'z')
        return (uint32_t)(letter - 'a') + 26;
    if (letter >= '0' && letter <= '9')
        return (uint32_t)(letter - '0') + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : 64;
}

int base64_decode(const char *text, size_t length, struct buffer *out) {
    if (length % 4 != 0 || buffer_reserve(out, length / 4 * 3) < 0)
        return -1;
    size_t start = out->length;
    for (size_t at = 0; at < length; at += 4) {
        size_t padding = 0;
        if (at + 4 == length && text[at + 3] == '=')
            padding = text[at + 2] == '=' ? 2 : 1;
        uint32_t three = 0;
        for (size_t i = 0; i < 4; i++) {
            uint32_t value = i < 4 - padding ? value_of(text[at + i]) : 0;
            if (value == 64) {
                out->length = start;
                return -1;
            }
            three = three << 6 | value;
        }
        if ((padding == 1 && three & 0xFF) || (padding == 2 && three & 0xFFFF)) {
            out->length = start;
            return -1;
        }
        for (size_t i = 0; i < 3 - padding; i++)
            out->data[out->length++] = (uint8_t)(three >> (16 - 8 * i));
    }
    return 0;
}
