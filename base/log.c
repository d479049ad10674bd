#include "base/log.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    TEXT_MAX = 4000,
    ESCAPE_MAX = 6, /* bytes that one byte of a text may take in JSON */
    KERNEL_ID_MAX = 128,
    LINE_MAX_BYTES = (TEXT_MAX + KERNEL_ID_MAX) * ESCAPE_MAX + 256,
};

static enum log_level level_now = LOG_INFO;
static enum log_format format_now = LOG_TEXT;
static char kernel_now[KERNEL_ID_MAX + 1];

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
static const char *const format_names[] = {"text", "json"};

void log_set_level(enum log_level level) {
    level_now = level;
}

enum log_level log_get_level(void) {
    return level_now;
}

int log_level_parse(const char *name, enum log_level *ret) {
    static const char *const numbers[] = {"10", "20", "30", "40"};
    for (int i = 0; i < 4; i++) {
        if (strcasecmp(name, level_names[i]) == 0 || strcmp(name, numbers[i]) == 0) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

void log_set_format(enum log_format format) {
    format_now = format;
}

enum log_format log_get_format(void) {
    return format_now;
}

int log_format_parse(const char *name, enum log_format *ret) {
    for (int i = 0; i < 2; i++) {
        if (strcasecmp(name, format_names[i]) == 0) {
            *ret = (enum log_format)i;
            return 0;
        }
    }
    return -1;
}

void log_set_kernel(const char *kernel_id) {
    snprintf(kernel_now, sizeof kernel_now, "%s", kernel_id);
}

static void put_line(const char *line, size_t length) {
    ssize_t ignored = write(STDERR_FILENO, line, length);
    (void)ignored; /* a full or closed stderr must not stop a gateway */
}

static void write_text(const char *when, enum log_level level, const char *area, char *text) {
    char line[TEXT_MAX + 256];
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = '?';
    int length =
        snprintf(line, sizeof line, "%s %-7s %s: %s\n", when, level_names[level], area, text);
    put_line(line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

/* JSON, without memory from the heap: a log line may be about the want of it. */

static size_t utf8_length(const char *at, size_t left) {
    unsigned char lead = (unsigned char)*at;
    size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    return length <= left && utf8_is_valid(at, length) ? length : 0;
}

/* At most ESCAPE_MAX bytes for each byte of the text. */
static char *put_json_text(char *to, const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        unsigned char c = (unsigned char)text[at];
        size_t step = utf8_length(text + at, length - at);
        if (step == 0)
            to = stpcpy(to, "\\ufffd");
        else if (c == '"' || c == '\\')
            *to++ = '\\', *to++ = (char)c;
        else if (c == '\n')
            to = stpcpy(to, "\\n");
        else if (c < 0x20 || c == 0x7F)
            to += sprintf(to, "\\u%04x", c);
        else
            to = mempcpy(to, text + at, step);
        at += step ? step : 1;
    }
    return to;
}

static char *put_member(char *to, const char *name, const char *text, size_t length) {
    to = stpcpy(stpcpy(stpcpy(to, ",\""), name), "\":\"");
    to = put_json_text(to, text, length);
    *to++ = '"';
    return to;
}

/* "kernel <id>: text" is about that kernel. Returns the length of the id, 0: it names none. */
static size_t find_kernel(const char *text, const char **id) {
    static const char prefix[] = "kernel ";
    if (strncmp(text, prefix, sizeof prefix - 1) != 0)
        return 0;
    *id = text + sizeof prefix - 1;
    size_t length = strcspn(*id, ": ");
    return length <= KERNEL_ID_MAX && (*id)[length] == ':' && (*id)[length + 1] == ' ' ? length : 0;
}

static void write_json(const char *when, enum log_level level, const char *area,
                       const char *kernel_id, const char *text) {
    char line[LINE_MAX_BYTES];
    char *to = line + sprintf(line, "{\"ts\":\"%s\",\"level\":\"%s\"", when, level_names[level]);
    to = put_member(to, "area", area, strnlen(area, 64));
    const char *named;
    size_t length = find_kernel(text, &named);
    if (length > 0) {
        to = put_member(to, "kernel_id", named, length);
        text = named + length + 2;
    } else if (kernel_id[0] != '\0') {
        to = put_member(to, "kernel_id", kernel_id, strnlen(kernel_id, KERNEL_ID_MAX));
    }
    to = put_member(to, "message", text, strlen(text));
    to = stpcpy(to, "}\n");
    put_line(line, (size_t)(to - line));
}

static void write_line(enum log_level level, const char *area, const char *kernel_id,
                       const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static void write_line(enum log_level level, const char *area, const char *kernel_id,
                       const char *format, va_list args) {
    if (level < level_now)
        return;
    char when[CLOCK_TEXT_SIZE];
    char text[TEXT_MAX];
    clock_format(clock_wall_us(), when);
    vsnprintf(text, sizeof text, format, args);
    if (format_now == LOG_JSON)
        write_json(when, level, area, kernel_id, text);
    else
        write_text(when, level, area, text);
}

void log_write(enum log_level level, const char *area, const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_line(level, area, kernel_now, format, args);
    va_end(args);
}

void log_write_about(enum log_level level, const char *area, const char *kernel_id,
                     const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_line(level, area, kernel_id != NULL ? kernel_id : kernel_now, format, args);
    va_end(args);
}
