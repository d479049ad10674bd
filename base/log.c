#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static enum log_level level_now = LOG_INFO;

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

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

void log_write(enum log_level level, const char *area, const char *format, ...) {
    if (level < level_now)
        return;
    char when[CLOCK_TEXT_SIZE];
    clock_format(clock_wall_us(), when);
    char line[4096];
    int used = snprintf(line, sizeof line, "%s %-7s %s: ", when, level_names[level], area);
    va_list args;
    va_start(args, format);
    vsnprintf(line + used, sizeof line - (size_t)used - 1, format, args);
    va_end(args);
    for (char *at = line; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = '?';
    strcat(line, "\n"); /* room was kept for it */
    ssize_t ignored = write(STDERR_FILENO, line, strlen(line));
    (void)ignored; /* a full or closed stderr must not stop a gateway */
}
