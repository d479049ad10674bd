#include "launcher/log_tail.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* NUL and control characters go (ESC stays: tracebacks are coloured). */
static size_t clean(char *text, size_t length) {
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c >= 0x20 && c != 0x7F) || c == '\n' || c == '\t' || c == 0x1B)
            text[kept++] = text[i];
    }
    return kept;
}

/* Where the last lines begin; a cut first line is left out when there are others. */
static size_t last_lines(const char *text, size_t length, int lines, int is_cut) {
    for (size_t at = length; at > 0 && lines > 0; at--)
        if (text[at - 1] == '\n' && --lines == 0)
            return at;
    const char *newline = is_cut ? memchr(text, '\n', length) : NULL;
    return newline != NULL ? (size_t)(newline + 1 - text) : 0;
}

char *log_tail_of(char *text, size_t length, int lines, int is_cut) {
    length = clean(text, length);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
        length--;
    text[length] = '\0';
    char *repaired = utf8_repair(text + last_lines(text, length, lines, is_cut));
    free(text);
    return repaired;
}

/* Returns whether there was more in front. */
static bool read_end(const char *path, size_t max_bytes, struct buffer *ret) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat found;
    if (fd < 0 || fstat(fd, &found) < 0 || !S_ISREG(found.st_mode))
        return false;
    bool is_cut = (size_t)found.st_size > max_bytes;
    if (buffer_reserve(ret, max_bytes) < 0)
        return true;
    for (off_t at = is_cut ? found.st_size - (off_t)max_bytes : 0; max_bytes > 0;) {
        ssize_t got = pread(fd, ret->data + ret->length, max_bytes, at);
        if (got <= 0)
            break;
        at += got;
        ret->length += (size_t)got;
        max_bytes -= (size_t)got;
    }
    return is_cut;
}

char *log_tail_read(const char *path, size_t max_bytes, int lines) {
    cleanup_free char *old_path = memory_printf("%s.1", path);
    cleanup_buffer struct buffer text = {.limit = max_bytes + 1};
    cleanup_buffer struct buffer last = {.limit = max_bytes + 1};
    bool is_cut = read_end(path, max_bytes, &last);
    if (last.length < max_bytes)
        is_cut = read_end(old_path, max_bytes - last.length, &text);
    buffer_append(&text, last.data, last.length);
    return log_tail_of(memory_strndup((const char *)text.data, text.length), text.length, lines,
                       is_cut);
}
