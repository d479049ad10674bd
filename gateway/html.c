#include "gateway/html.h"

#include "base/cleanup.h"
#include "gateway/html_style.h"

#include "base/utf8.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char *escape_of(char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\t':
    case '\n':
        return NULL;
    default:
        return (unsigned char)c < ' ' || c == 0x7f ? "\xEF\xBF\xBD" : NULL;
    }
}

static void add_value(struct buffer *out, const char *value) {
    cleanup_buffer struct buffer readable = {0};
    utf8_append_readable(&readable, value, strlen(value));
    const char *text = buffer_text(&readable), *plain = text;
    for (const char *at = text; *at != '\0'; at++) {
        const char *escaped = escape_of(*at);
        if (escaped == NULL)
            continue;
        buffer_append(out, plain, (size_t)(at - plain));
        buffer_append_text(out, escaped);
        plain = at + 1;
    }
    buffer_append_text(out, plain);
}

void html_add_values(struct buffer *out, const char *form, const char *const *values) {
    values++; /* the first is there so that the list is never empty */
    for (const char *gap; (gap = strstr(form, "{}")) != NULL; form = gap + 2) {
        if (*values == NULL)
            abort();
        buffer_append(out, form, (size_t)(gap - form));
        add_value(out, *values++);
    }
    if (*values != NULL)
        abort();
    buffer_append_text(out, form);
}

void html_begin(struct buffer *out, const char *title) {
    html_add(out,
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n"
             "<title>{}</title>\n<style>",
             title);
    buffer_append_text(out, html_style);
    html_add(out, "</style>\n</head>\n<body>\n<main>\n");
}

void html_end(struct buffer *out) {
    html_add(out, "</main>\n</body>\n</html>\n");
}

void html_style_hash(char hash[HTML_STYLE_HASH_SIZE]) {
    unsigned char sum[crypto_hash_sha256_BYTES];
    char text[HTML_STYLE_HASH_SIZE - 16];
    crypto_hash_sha256(sum, (const unsigned char *)html_style, strlen(html_style));
    sodium_bin2base64(text, sizeof text, sum, sizeof sum, sodium_base64_VARIANT_ORIGINAL);
    snprintf(hash, HTML_STYLE_HASH_SIZE, "'sha256-%s'", text);
}
