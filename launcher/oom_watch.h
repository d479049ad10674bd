/* Whether the system's OOM killer was at work: the oom_kill counter of this process's memory cgroup (Linux documentation, cgroup v2
 * memory.events; cgroup v1 memory.oom_control), before and after. */
#pragma once

#include <stdint.h>

/* The counter now, or -1 when it cannot be read. */
int64_t oom_watch_count(void);

/* 1: a process of the cgroup was killed for memory in between, 0: none was, -1: unknown. */
int oom_watch_compare(int64_t before, int64_t after);
