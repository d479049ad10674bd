/* The processes below this one, read from /proc. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    int64_t cpu_ms;    /* of the living, and of what they have waited for */
    int64_t rss_bytes; /* pages shared between them are counted for each */
    int64_t processes;
};

/* All descendants of this process (orphans come back to it: it is a subreaper). Zeros when /proc
 * cannot be read. */
void process_tree_usage(struct process_usage *ret);
/* Sends a signal to every descendant; returns how many there were. */
int process_tree_signal(int signum);
