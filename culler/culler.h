/* When a kernel has to go. A pure function: what is known of the kernel and the admin's policy give
 * a decision, without a clock, a loop or a memory of its own, so that the same question has the
 * same answer in a dry run, in "why" and when it is acted upon.
 *
 * All times are durations in ms, as the kernel's launcher counts them (a monotonic clock that
 * stands still while the machine sleeps): neither a gateway that starts again nor a step of the
 * wall clock makes a kernel older. */
#pragma once

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

#define CULLER_NEVER INT64_MAX

enum culler_state {
    CULLER_STARTING, /* and restarting: it has not answered yet */
    CULLER_IDLE,
    CULLER_BUSY,
    CULLER_DEAD,   /* kept for its reason; its retention ends it, no rule */
    CULLER_STATES, /* how many */
};

enum culler_rule {
    CULLER_NO_RULE,
    CULLER_RULE_IDLE,
    CULLER_RULE_IDLE_CONNECTED,
    CULLER_RULE_STALLED,
    CULLER_RULE_DETACHED,
    CULLER_RULE_UNATTACHED,
    CULLER_RULE_AGE,
    CULLER_RULES, /* how many */
};

struct culler_kernel {
    enum culler_state state;
    int64_t age_ms;
    int64_t state_for_ms;
    /* Since somebody made it do something. A client that connects, asks for kernel_info or sends
     * comm messages from a sleeping page is nobody. */
    int64_t untouched_for_ms;
    int64_t silent_for_ms;  /* since its last output (stream, display, result, error) */
    int64_t at_rest_for_ms; /* since its process tree used CPU worth mentioning */
    int64_t unheard_for_ms; /* since a client was connected that answers pings; 0: now */
    bool is_new;            /* none ever was */
    bool waits_for_input;   /* busy in input() */
    unsigned busy_subshells;
    int64_t keep_ms;      /* of a keep-alive mark, what is left; 0: none */
    int64_t own_idle_ms;  /* wished by its kernelspec or owner, within what the admin allows */
    bool has_own_idle_ms; /* 0 ms then means never */
    /* The last warning that was given, by the rule it was of; CULLER_NO_RULE: none, or it was
     * called off. One from before something happened to the kernel means nothing any more. */
    enum culler_rule warned_rule;
    int64_t warned_for_ms;
};

struct culler_policy {
    int64_t idle_ms;           /* 0, here and below: the rule is off */
    bool culls_connected;      /* idle_ms holds for kernels with clients, too */
    int64_t idle_connected_ms; /* for kernels with clients, at least idle_ms; off where that is */
    int64_t stalled_ms;        /* a cell that runs without output or CPU */
    int64_t detached_ms;       /* nobody is connected, and nothing runs */
    int64_t unattached_ms;     /* nobody has ever been connected */
    int64_t age_ms;            /* whatever it does */
    int64_t warn_ms;           /* a warning goes out so long before, at the least; 0: none */
};

enum culler_verdict { CULLER_KEEP, CULLER_WARN, CULLER_CULL };

struct culler_decision {
    enum culler_verdict verdict;
    enum culler_rule rule; /* the one that ends it first, if nothing happens */
    int64_t in_ms;         /* until then; 0: now; CULLER_NEVER */
    bool is_warned;        /* of it, since something last happened */
    /* in_ms without the time that is left to a warning: negative, for as long as the kernel would
     * have been gone had somebody been told. With its age the moment at which it was due, which
     * stays the same until something happens. */
    int64_t due_in_ms;
};

/* Nobody is ended unwarned: a kernel that is beyond a limit which did not apply to it before (its
 * last client has gone, the limit was lowered) is warned now and has warn_ms from then on. */
struct culler_decision culler_decide(const struct culler_kernel *kernel,
                                     const struct culler_policy *policy);

/* How long it has been idle: since its last run, since somebody wanted anything of it, since it
 * printed and since it worked behind its prompt; 0 while it is not. */
int64_t culler_idle_for(const struct culler_kernel *kernel);
/* "starting", "idle", "busy", "dead": as launchers say it, and people are told it. */
const char *culler_state_name(enum culler_state state);
/* As metrics and `elara why` name it: "idle", "stalled" ... */
const char *culler_rule_name(enum culler_rule rule);
/* Why it ends, for people: "it was idle for 1 h 5 min and nobody was connected; the limit is 1 h
 * (cull-idle-timeout)". Of a kernel to which the rule applies. */
void culler_explain(const struct culler_kernel *kernel, const struct culler_policy *policy,
                    enum culler_rule rule, struct buffer *out);
