/* Ends kernels that are to go (culler/culler.h decides, docs/culling.md explains). One timer looks
 * at all of them, by what is known without asking; whom it may concern is asked afresh, decided
 * upon again, and only then warned or ended. A kernel that does not answer stays. */
#pragma once

#include "base/error.h"
#include "gateway/culling_policy.h"
#include "gateway/kernel_activity.h"
#include "gateway/kernels.h"
#include "gateway/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct culling;

struct culling_counters {
    uint64_t culled[CULLER_RULES]; /* by the rule that ended it */
    uint64_t warned;
    uint64_t asked, unanswered; /* launchers, for what they know now */
    uint64_t passes;
    int64_t last_pass_us, longest_pass_us;
};

/* What happened, for events: reason is the sentence that people are told. */
struct culling_observer {
    void (*warned)(void *context, struct kernel *kernel, enum culler_rule rule, int64_t in_ms,
                   const char *reason);
    void (*culled)(void *context, struct kernel *kernel, enum culler_rule rule, const char *reason);
    void *context;
};

/* settings: those in effect, which must outlive it; read anew by culling_configure. */
int culling_create(struct loop *loop, const struct culling_settings *settings,
                   struct kernels *kernels, struct culling **ret, struct error *err);
void culling_destroy(struct culling *culling);
/* The settings have changed. On failure the old policy stays. */
int culling_configure(struct culling *culling, struct error *err);
void culling_observe(struct culling *culling, const struct culling_observer *observer);
const struct culling_counters *culling_counters(const struct culling *culling);
const struct culling_policies *culling_policies(const struct culling *culling);
/* Until the next pass. */
int64_t culling_next_pass_ms(const struct culling *culling);
/* Until kernels may be ended at all: clients of an earlier gateway need time to come back. 0: they
 * may. */
int64_t culling_quiet_ms(const struct culling *culling);
/* One pass now, as the timer makes it. */
void culling_pass(struct culling *culling);

/* What is decided of a kernel, by what is known of it now. */
struct culling_view {
    struct culler_kernel inputs;
    struct culler_policy policy;
    struct culler_decision decision;
    bool is_known;    /* false: nothing was told yet; it is kept */
    const char *kept; /* why no rule is asked ("its launcher does not answer"), or NULL */
};
/* policies NULL: those in effect. */
void culling_look(const struct culling *culling, const struct culling_policies *policies,
                  struct kernel *kernel, struct culling_view *ret);
/* The same in a sentence. */
void culling_explain(const struct culling_view *view, struct buffer *out);
/* Ends it by a view of what was asked just now, whose verdict is CULLER_CULL. told, which may be
 * NULL, comes once, as of kernel_end_if: without an error it is being ended by this. It comes from
 * inside the call only where the launcher knows no conditions. */
void culling_end(struct culling *culling, struct kernel *kernel, const struct culling_view *view,
                 kernel_asked *told, void *context);
