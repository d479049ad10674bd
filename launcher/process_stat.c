#include "launcher/process_stat.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_line(const char *name, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/stat", name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : read(fd, text, size);
}

/* The name in parentheses may itself hold parentheses and spaces, so the last one counts. */
bool process_stat_read(const char *name, struct process_stat *ret) {
    char text[1024], state;
    ssize_t got = read_line(name, text, sizeof text - 1);
    if (got <= 0)
        return false;
    text[got] = '\0';
    const char *fields = strrchr(text, ')');
    int parent, session;
    unsigned long long user, system, started;
    long long children_user, children_system, pages;
    if (fields == NULL ||
        sscanf(fields + 1,
               " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld %*d %*d %*d %*d "
               "%llu %*u %lld",
               &state, &parent, &session, &user, &system, &children_user, &children_system,
               &started, &pages) != 9)
        return false;
    *ret = (struct process_stat){.pid = (pid_t)atoi(name),
                                 .parent = parent,
                                 .session = session,
                                 .started = started,
                                 .ticks = user + system + (uint64_t)children_user +
                                          (uint64_t)children_system,
                                 .pages = pages,
                                 .is_zombie = state == 'Z'};
    return true;
}

int64_t process_stat_cpu_ms(uint64_t ticks) {
    return (int64_t)(ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
}
