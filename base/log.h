/* One line a log entry on stderr, as text: "2026-01-31T12:00:00.000000Z INFO area: text", or as a
 * JSON object of ts, level, area, kernel_id where there is one, and message. Control characters in
 * the text are replaced or escaped, so that bytes from outside cannot forge a line. A text about
 * one kernel begins with "kernel <id>: "; in JSON that is the kernel_id, and not in the message.
 * Only a module's edge logs; tokens and keys never get here. */
#pragma once

/* czmq.h brings syslog.h in, whose macros have these names: taken away here, whichever comes
 * first. */
#include <syslog.h>
#undef LOG_DEBUG
#undef LOG_INFO
#undef LOG_WARNING

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* Any case; also 10, 20, 30, 40; -1 when it is none. */
int log_level_parse(const char *name, enum log_level *ret);
void log_set_format(enum log_format format);
enum log_format log_get_format(void);
int log_format_parse(const char *name, enum log_format *ret); /* text, json; -1 */
/* The one that this whole process is about: a launcher's. */
void log_set_kernel(const char *kernel_id);

void log_write(enum log_level level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same; in JSON its kernel_id is that one (NULL: of nobody), which the text need not name. */
void log_write_about(enum log_level level, const char *area, const char *kernel_id,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Each .c file that logs defines LOG_AREA (its folder and file: "gateway/http") before these. */
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_get_level() <= LOG_DEBUG)                                                          \
            log_write(LOG_DEBUG, LOG_AREA, __VA_ARGS__);                                           \
    } while (0)
#define log_info(...)    log_write(LOG_INFO, LOG_AREA, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, LOG_AREA, __VA_ARGS__)
#define log_error(...)   log_write(LOG_ERROR, LOG_AREA, __VA_ARGS__)
