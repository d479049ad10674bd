#include "launcher/journal_progress.h"

#include <string.h>

enum { CONTENT_MAX = 4096 };

/* Each piece between carriage returns writes over the one before it, so the longest one is what the
 * line's width is. */
static void measure(const char *text, struct progress_text *ret) {
    size_t piece = 0;
    ret->is_progress = ret->is_open = true;
    ret->starts_over = text[0] == '\r';
    for (const char *at = text; *at != '\0'; at++) {
        uint8_t byte = (uint8_t)*at;
        ret->ends_over = byte == '\r';
        if (byte == '\n')
            ret->is_open = false;
        else if ((byte < 0x20 && byte != '\r') || byte == 0x7F || byte >= 0xF0)
            ret->is_progress = false; /* escapes, and characters that are two of JavaScript's */
        if (!ret->is_open)
            continue;
        piece = byte == '\r' ? 0 : piece + ((byte & 0xC0) != 0x80);
        if (piece > ret->width)
            ret->width = piece;
    }
}

struct progress_text progress_read(const void *message, size_t length) {
    struct progress_text ret = {0};
    struct kernel_message parsed;
    char text[CONTENT_MAX];
    if (kernel_message_parse(message, length, &parsed, NULL) < 0 ||
        parsed.content.length >= CONTENT_MAX ||
        memmem(parsed.content.data, parsed.content.length, "\\r", 2) == NULL ||
        json_scan_text(parsed.content, "name", ret.stream, sizeof ret.stream) < 0 ||
        json_scan_text(parsed.content, "text", text, sizeof text) < 0 || strchr(text, '\r') == NULL)
        return ret;
    measure(text, &ret);
    return ret;
}

bool progress_overwrites(const struct progress_text *later, const struct progress_text *earlier) {
    return later->is_progress && earlier->is_progress && earlier->is_open &&
           strcmp(later->stream, earlier->stream) == 0 &&
           (later->starts_over || earlier->ends_over) && later->width >= earlier->width;
}
