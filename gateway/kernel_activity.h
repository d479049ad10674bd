/* What a kernel does, as its launcher counts it (docs/link-protocol.md, COMMAND activity): what
 * STATUS and answers told last, and what time has made of it since. */
#pragma once

#include "base/error.h"
#include "base/list.h"
#include "culler/culler.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct kernel;

struct kernel_activity {
    struct culler_kernel then; /* as it was told */
    uint64_t changes;          /* which it was of all that there were; 0: not told */
    int64_t heard_ms;          /* when, by our monotonic clock; 0: never */
    int64_t answered_ms;       /* when it last answered, having looked at its CPU; 0: never */
    bool was_attached;         /* somebody has been, also before its launcher was another one */
    bool is_unknown;           /* its launcher is of a version that does not tell */
    struct list askers;        /* share one COMMAND */
    bool is_end_ordered;       /* kernel_end_if is under way */
    bool is_gone;              /* and another gateway has cleared it away meanwhile */
    /* of the last answer; -1: unknown */
    int64_t cpu_ms, rss_bytes, processes;
    /* The culling's, as the following: when it last wanted to know; 0: never */
    int64_t asked_ms;
    /* Of what its user was last warned, and when; CULLER_NO_RULE: never, or that is off again. */
    enum culler_rule warned_rule;
    int64_t warned_ms;
    int64_t spared_ms; /* since when no rule has been about to end it after all; 0: one is */
};

void kernel_activity_init(struct kernel_activity *activity);
/* What STATUS.activity or the RESULT says. -1 (and nothing is changed): the error names the
 * member. is_answer: it is a RESULT, with what only those have. */
int kernel_activity_take(struct kernel_activity *activity, const json_t *json, bool is_answer,
                         int64_t now_ms, struct error *err);
/* It is kept for so long, from now on. */
void kernel_activity_keep(struct kernel_activity *activity, int64_t keep_ms);
/* What it is by now, should nothing have happened. connections: our own clients. False: nothing was
 * told yet. */
bool kernel_activity_now(const struct kernel_activity *activity, unsigned connections,
                         int64_t now_ms, struct culler_kernel *ret);

/* Told what asking gave: kernel NULL when it is gone (err says so). Never from inside the call. */
typedef void kernel_asked(void *context, struct kernel *kernel, const struct error *err);
/* Asks its launcher, which takes a sample of its CPU; those who ask meanwhile share the answer.
 * Only when kernel_may_ask_activity: its launcher is there and can tell. */
void kernel_ask_activity(struct kernel *kernel, kernel_asked *asked, void *context);
bool kernel_may_ask_activity(const struct kernel *kernel);
bool kernel_is_asking_activity(const struct kernel *kernel);

/* Ends it if it runs and nobody else ends it; if_unchanged: and if all is as it was told last. Told
 * when its launcher has agreed (this is what ends it) or not (ERROR_CHANGED; nothing is done), once
 * and never from inside the call; kernel NULL: it is gone, and nobody knows. Until then the kernel
 * is what it was. Only when kernel_may_end_if: launchers of earlier releases do not know it. */
void kernel_end_if(struct kernel *kernel, bool if_unchanged, const char *reason, kernel_asked *told,
                   void *context);
bool kernel_may_end_if(const struct kernel *kernel);
