/* What is logged between begin and end. */
#pragma once

#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct log_capture {
    int stderr_copy, file;
    enum log_level level;
};

static inline struct log_capture log_capture_begin(enum log_level level) {
    struct log_capture capture = {dup(STDERR_FILENO), memfd_create("log", MFD_CLOEXEC),
                                  log_get_level()};
    dup2(capture.file, STDERR_FILENO);
    log_set_level(level);
    return capture;
}

/* To be freed. */
static inline char *log_capture_end(const struct log_capture *capture) {
    struct stat found;
    log_set_level(capture->level);
    dup2(capture->stderr_copy, STDERR_FILENO);
    close(capture->stderr_copy);
    char *text = fstat(capture->file, &found) == 0 ? calloc(1, (size_t)found.st_size + 1) : NULL;
    if (text == NULL || pread(capture->file, text, (size_t)found.st_size, 0) != found.st_size)
        abort();
    close(capture->file);
    return text;
}

static inline unsigned log_count(const char *log, const char *words) {
    unsigned count = 0;
    for (const char *at = log; (at = strstr(at, words)) != NULL; at += strlen(words))
        count++;
    return count;
}
