/* Whether the system's OOM killer was at work: the oom_kill counter of this process's memory cgroup
 * (Linux documentation, cgroup v2 memory.events; cgroup v1 memory.oom_control), before and
 * after. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Kernels of one machine share a counter, so only what was counted shortly before a kernel's death
 * has to do with it. */
struct oom_watch {
    int64_t before, seen; /* the counter when it was noted the last but one and the last time */
    int64_t seen_ms;
};

/* The counter now, or -1 when it cannot be read. */
int64_t oom_watch_count(void);

void oom_watch_begin(struct oom_watch *watch, int64_t count, int64_t now_ms);
/* Whether the last note is so old that what is counted then needs no longer be a process that is
 * still ending. */
bool oom_watch_is_due(const struct oom_watch *watch, int64_t now_ms);
void oom_watch_note(struct oom_watch *watch, int64_t count, int64_t now_ms);

/* 1: a process of the cgroup was killed for memory in between, 0: none was, -1: unknown. */
int oom_watch_compare(int64_t before, int64_t after);
