/* Who goes first when memory runs out (proc(5), /proc/<pid>/oom_score_adj): the kernel, not the
 * launcher that can tell what happened and start it again. Anybody may raise the value, and take it
 * back to what it was; to go below that needs a privilege that containers rarely have. */
#pragma once

enum { OOM_SCORE_TEXT_SIZE = 16 };

struct oom_score {
    int fd; /* -1: the value cannot be changed here */
    char own[OOM_SCORE_TEXT_SIZE];
};

/* This process's own value, as low as is allowed; while the process still may be looked into, since
 * afterwards the file is root's. */
void oom_score_open(struct oom_score *score);
/* Around the fork of what is to go first. */
void oom_score_raise(const struct oom_score *score);
void oom_score_restore(const struct oom_score *score);
void oom_score_close(struct oom_score *score);
