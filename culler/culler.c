#include "culler/culler.h"

#include "base/text.h"

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static bool has_client(const struct culler_kernel *kernel) {
    return kernel->unheard_for_ms <= 0;
}

/* A run that has just ended makes a kernel idle from now on, however long nobody touched it; and
 * what works behind an idle prompt, a thread or a child, is work. */
int64_t culler_idle_for(const struct culler_kernel *kernel) {
    if (kernel->state != CULLER_IDLE || kernel->busy_subshells > 0)
        return 0;
    return least(least(kernel->state_for_ms, kernel->untouched_for_ms),
                 least(kernel->silent_for_ms, kernel->at_rest_for_ms));
}

static int64_t idle_limit(const struct culler_kernel *kernel, const struct culler_policy *policy) {
    return kernel->has_own_idle_ms ? kernel->own_idle_ms : policy->idle_ms;
}

/* An open tab never makes a kernel go sooner, and 0 is never. */
static int64_t idle_connected_limit(const struct culler_kernel *kernel,
                                    const struct culler_policy *policy) {
    int64_t limit = idle_limit(kernel, policy);
    if (limit <= 0)
        return 0;
    if (policy->idle_connected_ms > 0)
        return most(limit, policy->idle_connected_ms);
    return policy->culls_connected ? limit : 0;
}

/* Of a run: without output and without work. */
static int64_t quiet_for(const struct culler_kernel *kernel) {
    return least(kernel->state_for_ms, least(kernel->silent_for_ms, kernel->at_rest_for_ms));
}

/* A run that nobody watches goes on, and has its time afterwards as well. One that asks nobody for
 * input does not. */
static int64_t detached_for(const struct culler_kernel *kernel) {
    bool asks = kernel->state == CULLER_BUSY && kernel->waits_for_input;
    return least(kernel->unheard_for_ms, asks ? quiet_for(kernel) : culler_idle_for(kernel));
}

struct measure {
    int64_t for_ms, limit_ms;
};

/* How long the rule has held, and how long it may; a limit of 0: it does not apply. */
static struct measure measure(const struct culler_kernel *kernel,
                              const struct culler_policy *policy, enum culler_rule rule) {
    switch (rule) {
    case CULLER_RULE_IDLE:
        if (has_client(kernel) || kernel->state != CULLER_IDLE)
            break;
        return (struct measure){culler_idle_for(kernel), idle_limit(kernel, policy)};
    case CULLER_RULE_IDLE_CONNECTED:
        if (!has_client(kernel) || kernel->state != CULLER_IDLE)
            break;
        return (struct measure){culler_idle_for(kernel), idle_connected_limit(kernel, policy)};
    case CULLER_RULE_STALLED:
        if (kernel->state != CULLER_BUSY || kernel->waits_for_input) /* the user has stalled */
            break;
        return (struct measure){quiet_for(kernel), policy->stalled_ms};
    case CULLER_RULE_DETACHED:
        if (has_client(kernel) || (kernel->state == CULLER_BUSY && !kernel->waits_for_input))
            break;
        return (struct measure){detached_for(kernel), policy->detached_ms};
    case CULLER_RULE_UNATTACHED:
        if (has_client(kernel) || !kernel->is_new || kernel->state != CULLER_IDLE)
            break;
        return (struct measure){culler_idle_for(kernel), policy->unattached_ms};
    case CULLER_RULE_AGE:
        return (struct measure){kernel->age_ms, policy->age_ms};
    case CULLER_NO_RULE:
    case CULLER_RULES:
        break;
    }
    return (struct measure){0, 0};
}

/* Whether a warning was given while this rule has held, about an end of the same kind: an idle
 * kernel is told that a cell keeps it, an old one that nothing does. */
static bool is_warned(const struct culler_kernel *kernel, enum culler_rule rule, int64_t for_ms) {
    return kernel->warned_rule != CULLER_NO_RULE &&
           (kernel->warned_rule == CULLER_RULE_AGE) == (rule == CULLER_RULE_AGE) &&
           kernel->warned_for_ms <= for_ms;
}

/* More than the limit, as Enterprise Gateway counts. A rule that only holds without clients was not
 * due before the last one went. A keep-alive mark holds off every rule but the admin's last word,
 * the age. */
static int64_t due_in(const struct culler_kernel *kernel, enum culler_rule rule,
                      struct measure found) {
    int64_t due_ms = found.limit_ms - found.for_ms + 1;
    if (rule == CULLER_RULE_AGE)
        return due_ms;
    if (rule == CULLER_RULE_IDLE)
        due_ms = most(due_ms, -kernel->unheard_for_ms);
    return kernel->keep_ms > 0 ? most(due_ms, kernel->keep_ms) : due_ms;
}

static struct culler_decision decide_by(const struct culler_kernel *kernel,
                                        const struct culler_policy *policy, enum culler_rule rule) {
    struct measure found = measure(kernel, policy, rule);
    if (found.limit_ms <= 0 || kernel->state == CULLER_DEAD ||
        (kernel->state == CULLER_STARTING && rule != CULLER_RULE_AGE))
        return (struct culler_decision){.in_ms = CULLER_NEVER, .due_in_ms = CULLER_NEVER};
    struct culler_decision decision = {.rule = rule,
                                       .is_warned = is_warned(kernel, rule, found.for_ms),
                                       .due_in_ms = due_in(kernel, rule, found)};
    int64_t grace_ms = policy->warn_ms - (decision.is_warned ? kernel->warned_for_ms : 0);
    if (rule == CULLER_RULE_UNATTACHED) /* there is nobody to be warned */
        grace_ms = 0;
    decision.in_ms = most(most(decision.due_in_ms, grace_ms), 0);
    return decision;
}

struct culler_decision culler_decide(const struct culler_kernel *kernel,
                                     const struct culler_policy *policy) {
    struct culler_decision decision = {.in_ms = CULLER_NEVER, .due_in_ms = CULLER_NEVER};
    for (enum culler_rule rule = CULLER_NO_RULE + 1; rule < CULLER_RULES; rule++) {
        struct culler_decision by = decide_by(kernel, policy, rule);
        if (by.in_ms < decision.in_ms ||
            (by.in_ms == decision.in_ms && by.due_in_ms < decision.due_in_ms))
            decision = by;
    }
    if (decision.in_ms <= 0)
        decision.verdict = CULLER_CULL;
    else if (decision.rule != CULLER_NO_RULE && decision.in_ms <= policy->warn_ms)
        decision.verdict = CULLER_WARN;
    return decision;
}

const char *culler_state_name(enum culler_state state) {
    static const char *const names[CULLER_STATES] = {"starting", "idle", "busy", "dead"};
    return names[state];
}

const char *culler_rule_name(enum culler_rule rule) {
    static const char *const names[CULLER_RULES] = {
        "none", "idle", "idle-connected", "stalled", "detached", "unattached", "age",
    };
    return names[rule];
}

void culler_explain(const struct culler_kernel *kernel, const struct culler_policy *policy,
                    enum culler_rule rule, struct buffer *out) {
    static const struct {
        const char *before, *after, *setting;
    } words[CULLER_RULES] = {
        [CULLER_RULE_IDLE] = {"it was idle for ", " and nobody was connected", "cull-idle-timeout"},
        [CULLER_RULE_IDLE_CONNECTED] = {"it was idle for ", ", though somebody was connected",
                                        "cull-idle-connected-timeout"},
        [CULLER_RULE_STALLED] = {"its cell ran for ", " without output and without using the CPU",
                                 "cull-stalled-timeout"},
        [CULLER_RULE_DETACHED] = {"for ", " nobody was connected and nothing ran",
                                  "cull-detached-timeout"},
        [CULLER_RULE_UNATTACHED] = {"nobody connected to it in the ", " since it was started",
                                    "cull-unattached-timeout"},
        [CULLER_RULE_AGE] = {"it was ", " old", "cull-max-age"},
    };
    if (words[rule].before == NULL)
        return;
    struct measure found = measure(kernel, policy, rule);
    bool is_idle = rule == CULLER_RULE_IDLE || rule == CULLER_RULE_IDLE_CONNECTED;
    const char *setting = words[rule].setting;
    if (is_idle && kernel->has_own_idle_ms && found.limit_ms == kernel->own_idle_ms)
        setting = "its own cull_idle_timeout";
    else if (rule == CULLER_RULE_IDLE_CONNECTED && policy->idle_connected_ms <= 0)
        setting = "cull-idle-timeout, cull-connected";
    buffer_append_text(out, words[rule].before);
    text_append_duration(out, found.for_ms);
    buffer_append_text(out, words[rule].after);
    buffer_append_text(out, "; the limit is ");
    text_append_duration(out, found.limit_ms);
    buffer_printf(out, " (%s)", setting);
}
