/* What is done with a kernel, and since when: what decides whether it may be ended
 * (culler/culler.h). Bookkeeping without a clock of its own; every now_ms is clock_monotonic_ms().
 *
 * Clients say much by themselves: a page that connects again, an open tab, a widget's heartbeat. So
 * what they send counts only when somebody wanted it (activity_is_wish), and a kernel that is busy
 * with nothing but the rest is busy from ACTIVITY_NOISE_MS on: what is over sooner was none. */
#pragma once

#include "launcher/kernel_message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ACTIVITY_NOISE_MS = 1000,
    ACTIVITY_INPUTS_MAX = 8, /* questions at once; beyond it the oldest is forgotten */
    /* CPU worth mentioning: a second, so that what answers noise is none, and a fiftieth of the
     * time between two samples. An idle interpreter needs less than a hundredth. */
    ACTIVITY_WORK_MS = 1000,
    ACTIVITY_WORK_PART = 50,
};

enum activity_state {
    ACTIVITY_STARTING, /* and starting again */
    ACTIVITY_IDLE,
    ACTIVITY_BUSY,
    ACTIVITY_DEAD,
};

/* Counted apart, since looking at one process costs nothing, at all of them something. */
enum activity_cpu {
    ACTIVITY_CPU_KERNEL, /* its own, and of what it has waited for */
    ACTIVITY_CPU_OTHERS, /* that it has started and that live, or that nobody but us waited for */
    ACTIVITY_CPUS,
};

struct activity_sample {
    bool is_taken;
    int64_t at_ms, cpu_ms;
};

struct activity {
    int64_t born_ms;
    enum activity_state state;
    int64_t since_ms;
    bool is_noisy; /* busy with noise, from noise_ms on; state and since_ms do not know yet */
    int64_t noise_ms;
    int64_t touched_ms, output_ms, worked_ms;
    struct activity_sample samples[ACTIVITY_CPUS];
    uint64_t inputs[ACTIVITY_INPUTS_MAX]; /* the requests that asked, oldest first */
    size_t input_count;
    int64_t keep_until_ms;
    /* How often anything of this was another than before: a decision that was made upon it holds
     * while the count stays the same. Time that passes is no change. */
    uint64_t changes;
};

/* Durations up to now, as the COMMAND `activity` tells them. */
struct activity_report {
    enum activity_state state;
    int64_t age_ms;
    int64_t state_for_ms;
    int64_t untouched_for_ms; /* since somebody wanted something of it */
    int64_t silent_for_ms;    /* since its last output */
    int64_t at_rest_for_ms;   /* since it was seen to have used CPU worth mentioning */
    int64_t keep_ms;          /* what is left of a keep-alive mark */
    bool waits_for_input;
    uint64_t changes;
};

/* A kernel that is age_ms old. It counts as touched: somebody started it. */
void activity_begin(struct activity *activity, int64_t now_ms, int64_t age_ms);
/* Another process: it is starting, has said nothing, and asks nothing. */
void activity_restarted(struct activity *activity, int64_t now_ms);

/* Whether a client's request shows that somebody is there. Not what clients send when they connect
 * or from time to time: kernel_info_request, comm_* (also of a widget that somebody moves: what it
 * makes the kernel do counts), history_request, is there a debugger, subshells, usage. What we do
 * not know does count: better kept than ended. */
bool activity_is_wish(const struct kernel_message *request);
/* The same by the header alone, as the kernel repeats it when it begins to work on it. */
bool activity_is_noise(struct bytes header);
void activity_touched(struct activity *activity, int64_t now_ms);

/* Whether a message of the kernel on iopub is output: that of a run shows that it goes on. */
bool activity_is_output(const char *type);
void activity_said(struct activity *activity, int64_t now_ms);

/* What it is now; to be told whenever it may have changed. is_noise: it is busy, with nothing that
 * somebody wanted. */
void activity_set_state(struct activity *activity, int64_t now_ms, enum activity_state state,
                        bool is_noise);

/* Clients have come, or have gone. */
void activity_attended(struct activity *activity);

/* CPU that was used so far, in ms. */
void activity_take_sample(struct activity *activity, int64_t now_ms, enum activity_cpu whose,
                          int64_t cpu_ms);

/* The request asks for input; it was answered; the request is over, answered or not. */
void activity_asked(struct activity *activity, uint64_t request);
void activity_answered(struct activity *activity);
void activity_ended(struct activity *activity, uint64_t request);

/* It is not to be ended for so long; 0 takes that back. */
void activity_keep(struct activity *activity, int64_t now_ms, int64_t for_ms);

struct activity_report activity_look(const struct activity *activity, int64_t now_ms);
const char *activity_state_name(enum activity_state state);
