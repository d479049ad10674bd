#include "launcher/process_remains.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "launcher/process_stat.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ENVIRONMENT_BYTES = 256 << 10, PAUSE_MS = 5 };

static ssize_t read_environment(const char *name, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/environ", name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t got = 0;
    while (fd >= 0 && length < size && (got = read(fd, text + length, size - length)) > 0)
        length += (size_t)got;
    return fd < 0 || got < 0 ? -1 : (ssize_t)length;
}

uint64_t process_started(pid_t pid) {
    char name[16];
    struct process_stat process;
    snprintf(name, sizeof name, "%d", (int)pid);
    return process_stat_read(name, &process) ? process.started : 0;
}

static bool has_variable(const char *name, const char *variable, char *scratch) {
    ssize_t length = read_environment(name, scratch, ENVIRONMENT_BYTES - 1);
    if (length <= 0)
        return false;
    scratch[length] = '\0';
    for (const char *at = scratch; at < scratch + length; at += strlen(at) + 1)
        if (strcmp(at, variable) == 0)
            return true;
    return false;
}

/* A number is not given to another process while one of its session lives: so either its leader is
 * the one that we know, or there is none, and the rest is ours. */
static bool is_our_session(const struct process_remains *what) {
    uint64_t started = what->kernel > 1 ? process_started(what->kernel) : 0;
    return what->kernel > 1 && (started == 0 || started == what->kernel_started);
}

static int kill_once(const struct process_remains *what, char *scratch) {
    bool is_ours = is_our_session(what);
    DIR *directory = opendir("/proc");
    int count = 0;
    const struct dirent *item;
    while (directory != NULL && (item = readdir(directory)) != NULL) {
        struct process_stat process;
        if (!isdigit((unsigned char)item->d_name[0]) ||
            !process_stat_read(item->d_name, &process) || process.is_zombie || process.pid <= 1 ||
            process.pid == getpid())
            continue;
        if ((is_ours && process.session == what->kernel) ||
            has_variable(item->d_name, what->variable, scratch))
            count += kill(process.pid, SIGKILL) == 0;
    }
    if (directory != NULL)
        closedir(directory);
    return count;
}

int process_remains_kill(const struct process_remains *what, int wait_ms) {
    static const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
    int64_t end_ms = clock_monotonic_ms() + wait_ms;
    cleanup_free char *scratch = malloc(ENVIRONMENT_BYTES);
    int left;
    while (scratch != NULL && (left = kill_once(what, scratch)) > 0) {
        if (clock_monotonic_ms() >= end_ms)
            return left;
        nanosleep(&pause,
                  NULL); /* SIGKILL takes a moment; it may have started another one meanwhile */
    }
    return 0;
}
