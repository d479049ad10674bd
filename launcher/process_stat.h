/* One line of /proc/<pid>/stat (proc(5)). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_stat {
    pid_t pid, parent, session;
    uint64_t started; /* ticks since boot: with the pid it names one process */
    uint64_t ticks;   /* of CPU, ended children included */
    int64_t pages;    /* resident */
    bool is_zombie;
};

/* name: the process's directory in /proc. False when there is none (any more). */
bool process_stat_read(const char *name, struct process_stat *ret);
int64_t process_stat_cpu_ms(uint64_t ticks);
