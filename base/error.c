#include "base/error.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static const char *const names[] = {
    [ERROR_NONE] = "none",           [ERROR_INVALID] = "invalid",
    [ERROR_NOT_FOUND] = "not_found", [ERROR_EXISTS] = "exists",
    [ERROR_DENIED] = "denied",       [ERROR_CHANGED] = "changed",
    [ERROR_LIMIT] = "limit",         [ERROR_UNAVAILABLE] = "unavailable",
    [ERROR_TIMEOUT] = "timeout",     [ERROR_UNSUPPORTED] = "unsupported",
    [ERROR_SYSTEM] = "system",       [ERROR_BUSY] = "busy",
};

int error_set(struct error *err, enum error_code code, const char *format, ...) {
    if (err == NULL)
        return -1;
    err->code = code;
    err->errnum = 0;
    err->cause = NULL;
    va_list args;
    va_start(args, format);
    utf8_format(err->text, sizeof err->text, format, args);
    va_end(args);
    return -1;
}

__attribute__((format(printf, 2, 3))) static void append(struct error *err, const char *format,
                                                         ...) {
    size_t used = strlen(err->text);
    va_list args;
    va_start(args, format);
    utf8_format(err->text + used, sizeof err->text - used, format, args);
    va_end(args);
}

int error_system(struct error *err, int errnum, const char *format, ...) {
    if (err == NULL)
        return -1;
    err->code = ERROR_SYSTEM;
    err->errnum = errnum;
    err->cause = NULL;
    va_list args;
    va_start(args, format);
    utf8_format(err->text, sizeof err->text, format, args);
    va_end(args);
    char reason[128];
    append(err, ": %s", strerror_r(errnum, reason, sizeof reason));
    return -1;
}

int error_wrap(struct error *err, const char *format, ...) {
    if (err == NULL)
        return -1;
    char inner[sizeof err->text];
    memcpy(inner, err->text, sizeof inner);
    va_list args;
    va_start(args, format);
    utf8_format(err->text, sizeof err->text, format, args);
    va_end(args);
    append(err, ": %s", inner);
    return -1;
}

const char *error_code_name(enum error_code code) {
    return names[code];
}

enum error_code error_code_parse(const char *name) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return (enum error_code)i;
    return ERROR_SYSTEM;
}
