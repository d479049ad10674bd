#include "gateway/culling.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define LOG_AREA "gateway/culling"

enum {
    QUIET_INTERVALS = 2,
    ASKED_MAX = 256, /* launchers at once: each looks at its processes */
};

struct culling {
    struct loop *loop;
    struct kernels *kernels;
    const struct culling_settings *settings;
    struct culling_policies *policies;
    struct loop_deadline tick;
    int64_t interval_ms;
    struct loop_task rest;
    size_t asking;
    bool is_cut;     /* there are more to be asked in this pass */
    int64_t pass_ms; /* when it began: monotonic, as the following */
    int64_t next_ms;
    int64_t quiet_until_ms; /* nobody is ended before */
    struct culling_counters counters;
    struct culling_observer observer;
};

static void on_tick(void *context);
static void on_rest(void *context);
static void on_asked(void *context, struct kernel *kernel, const struct error *err);

static void set_timer(struct culling *culling) {
    culling->interval_ms = culling_interval_ms(culling_policies_settings(culling->policies));
    culling->next_ms = clock_monotonic_ms() + culling->interval_ms;
    loop_deadline_set(culling->loop, &culling->tick, culling->interval_ms);
}

int culling_create(struct loop *loop, const struct culling_settings *settings,
                   struct kernels *kernels, struct culling **ret, struct error *err) {
    struct culling_policies *policies;
    if (culling_policies_create(settings, &policies, err) < 0)
        return -1;
    struct culling *culling = memory_alloc(sizeof *culling);
    culling->loop = loop;
    culling->kernels = kernels;
    culling->settings = settings;
    culling->policies = policies;
    culling->tick = (struct loop_deadline){.run = on_tick, .context = culling};
    culling->rest = (struct loop_task){.run = on_rest, .context = culling};
    set_timer(culling);
    culling->quiet_until_ms = clock_monotonic_ms() + QUIET_INTERVALS * culling->interval_ms;
    *ret = culling;
    return 0;
}

void culling_destroy(struct culling *culling) {
    if (culling == NULL)
        return;
    loop_deadline_clear(culling->loop, &culling->tick);
    loop_cancel(&culling->rest);
    culling_policies_destroy(culling->policies);
    free(culling);
}

int culling_configure(struct culling *culling, struct error *err) {
    struct culling_policies *policies;
    if (culling_policies_create(culling->settings, &policies, err) < 0)
        return -1;
    culling_policies_destroy(culling->policies);
    culling->policies = policies;
    if (culling_interval_ms(culling->settings) != culling->interval_ms)
        set_timer(culling);
    return 0;
}

void culling_observe(struct culling *culling, const struct culling_observer *observer) {
    culling->observer = *observer;
}

const struct culling_counters *culling_counters(const struct culling *culling) {
    return &culling->counters;
}

const struct culling_policies *culling_policies(const struct culling *culling) {
    return culling->policies;
}

static int64_t until(int64_t then_ms) {
    int64_t left_ms = then_ms - clock_monotonic_ms();
    return left_ms > 0 ? left_ms : 0;
}

int64_t culling_next_pass_ms(const struct culling *culling) {
    return until(culling->next_ms);
}

int64_t culling_quiet_ms(const struct culling *culling) {
    return until(culling->quiet_until_ms);
}

/* Looking. */

static const char *why_kept(const struct kernel *kernel) {
    switch (kernel_status(kernel)->phase) {
    case KERNEL_LAUNCHING:
    case KERNEL_STARTING:
        return "it is starting";
    case KERNEL_RESTARTING:
        return "it is being restarted";
    case KERNEL_STOPPING:
    case KERNEL_GONE:
        return "it is being ended already";
    case KERNEL_DEAD:
        return "it is dead, and kept for its reason (failed-retention)";
    case KERNEL_READY:
        break;
    }
    if (kernel_link(kernel) == NULL || !link_is_up(kernel_link(kernel)))
        return "its launcher does not answer at the moment";
    return NULL;
}

void culling_look(const struct culling *culling, const struct culling_policies *policies,
                  struct kernel *kernel, struct culling_view *ret) {
    const struct kernel_activity *activity = kernel_activity(kernel);
    int64_t now_ms = clock_monotonic_ms();
    struct culling_subject subject = {.user = kernel_user(kernel),
                                      .spec = kernel_spec_name(kernel),
                                      .own_idle_ms = kernel_own_idle_ms(kernel)};
    *ret = (struct culling_view){.kept = why_kept(kernel), .decision = {.in_ms = CULLER_NEVER}};
    if (policies == NULL)
        policies = culling->policies;
    ret->is_known = kernel_activity_now(activity, kernel_connections(kernel), now_ms, &ret->inputs);
    ret->inputs.warned_rule = activity->warned_rule;
    ret->inputs.warned_for_ms = now_ms - activity->warned_ms;
    culling_policy_for(policies, &subject, &ret->inputs, &ret->policy);
    if (ret->kept == NULL && activity->is_end_ordered)
        ret->kept = "it is being ended already";
    if (!ret->is_known && ret->kept == NULL)
        ret->kept = activity->is_unknown
                        ? "its launcher is of an older version, which does not tell what it does"
                        : "nothing is known of it yet";
    if (ret->kept == NULL)
        ret->decision = culler_decide(&ret->inputs, &ret->policy);
    int64_t quiet_ms = culling_quiet_ms(culling);
    if (ret->decision.in_ms >= quiet_ms)
        return;
    ret->decision.in_ms = quiet_ms;
    ret->decision.verdict = quiet_ms <= ret->policy.warn_ms ? CULLER_WARN : CULLER_KEEP;
}

/* Saying. */

static const char *why_no_rule(const struct culling_view *view) {
    const struct culler_kernel *inputs = &view->inputs;
    if (inputs->busy_subshells > 0)
        return "a subshell of it works";
    if (inputs->state == CULLER_BUSY)
        return inputs->waits_for_input ? "its cell waits for input" : "it is busy";
    if (inputs->has_own_idle_ms && inputs->own_idle_ms == 0)
        return "it asks never to be ended for being idle";
    if (inputs->unheard_for_ms <= 0)
        return "somebody is connected to it";
    return "no rule for it is on";
}

static void append_end(const struct culling_view *view, const char *subject, struct buffer *out) {
    const struct culler_decision *decision = &view->decision;
    if (decision->in_ms > 0) {
        buffer_printf(out, "%s will be ended in ", subject);
        text_append_duration(out, decision->in_ms);
        buffer_append_text(out, decision->rule == CULLER_RULE_AGE ? ", whatever it does: "
                                                                  : " if nothing happens: ");
    } else {
        buffer_printf(out, "%s is to be ended: ", subject);
    }
}

void culling_explain(const struct culling_view *view, struct buffer *out) {
    const struct culler_decision *decision = &view->decision;
    if (decision->rule == CULLER_NO_RULE) {
        buffer_printf(out, "It is kept: %s.", view->kept ? view->kept : why_no_rule(view));
        return;
    }
    append_end(view, "It", out);
    culler_explain(&view->inputs, &view->policy, decision->rule, out);
    buffer_append_text(out, ".");
    if (view->inputs.keep_ms > 0 && decision->rule != CULLER_RULE_AGE) {
        buffer_append_text(out, " Somebody asked to keep it for ");
        text_append_duration(out, view->inputs.keep_ms);
        buffer_append_text(out, ".");
    }
}

/* Acting. */

/* Most have no reader any more: the owner's next kernel tells. */
static void leave_notice(const struct culling *culling, struct kernel *kernel, const char *why) {
    cleanup_buffer struct buffer text = {0};
    char now[CLOCK_TEXT_SIZE]; /* 2026-01-31T12:00:00.000000Z */
    if (!culling_policies_settings(culling->policies)->notice)
        return;
    clock_format(clock_wall_us(), now);
    buffer_printf(&text,
                  "[elara] The kernel that was here before was ended on %.10s at %.5s UTC: %s. "
                  "Its variables are gone.",
                  now, now + 11, why);
    kernel_leave_notice(kernel, buffer_text(&text));
}

/* Not before it is sure that nothing else has ended it, nor kept it: the launcher lets one order of
 * all gateways end the kernel. */
struct order {
    struct culling *culling;
    enum culler_rule rule;
    char *why;    /* "it was idle for 1 h ..." */
    char *reason; /* the same as a sentence */
    kernel_asked *told;
    void *context;
};

static void finish_order(struct order *order, struct kernel *kernel, const struct error *err) {
    if (order->told != NULL)
        order->told(order->context, kernel, err);
    free(order->why);
    free(order->reason);
    free(order);
}

static void count(const struct order *order, struct kernel *kernel) {
    struct culling *culling = order->culling;
    culling->counters.culled[order->rule]++;
    log_info("kernel %s: culled by the rule %s: %s", kernel_id(kernel),
             culler_rule_name(order->rule), order->reason);
    if (culling->observer.culled != NULL)
        culling->observer.culled(culling->observer.context, kernel, order->rule, order->reason);
    leave_notice(culling, kernel, order->why);
}

/* One that was refused is decided upon again in the next pass. */
static void on_ordered(void *context, struct kernel *kernel, const struct error *err) {
    struct order *order = context;
    if (kernel != NULL && err == NULL)
        count(order, kernel);
    else if (kernel != NULL && err->code == ERROR_CHANGED)
        log_info("kernel %s: is not culled after all: %s", kernel_id(kernel), err->text);
    else if (kernel != NULL)
        log_warning("kernel %s: could not be culled: %s", kernel_id(kernel), err->text);
    finish_order(order, kernel, err);
}

void culling_end(struct culling *culling, struct kernel *kernel, const struct culling_view *view,
                 kernel_asked *told, void *context) {
    cleanup_buffer struct buffer why = {0};
    culler_explain(&view->inputs, &view->policy, view->decision.rule, &why);
    struct order *order = memory_alloc(sizeof *order);
    *order = (struct order){
        .culling = culling, .rule = view->decision.rule, .told = told, .context = context};
    order->why = memory_strdup(buffer_text(&why));
    order->reason = memory_printf("The kernel was ended because %s.", order->why);
    if (kernel_may_end_if(kernel)) {
        kernel_end_if(kernel, order->rule != CULLER_RULE_AGE, order->reason, on_ordered, order);
        return;
    }
    count(order, kernel);
    kernel_shutdown(kernel, order->reason, NULL, NULL);
    finish_order(order, kernel, NULL);
}

static const char *advice(enum culler_rule rule) {
    if (rule == CULLER_RULE_AGE)
        return "Save what you need.";
    if (rule == CULLER_RULE_STALLED)
        return "Output or work of the cell keeps it.";
    return "Run a cell to keep it.";
}

/* Of several gateways that warn, the launcher lets one speak. */
static void say_warning(struct kernel *kernel, const struct culling_view *view) {
    cleanup_buffer struct buffer text = {0};
    cleanup_free char *id =
        memory_printf("culling: %s at the age of %" PRId64, culler_rule_name(view->decision.rule),
                      view->inputs.age_ms + view->decision.due_in_ms);
    buffer_append_text(&text, "\n[elara] ");
    append_end(view, "This kernel", &text);
    culler_explain(&view->inputs, &view->policy, view->decision.rule, &text);
    buffer_printf(&text, ". %s\n", advice(view->decision.rule));
    kernel_say(kernel, buffer_text(&text), id);
}

/* One approach, one warning. */
static void warn(struct culling *culling, struct kernel *kernel, const struct culling_view *view) {
    struct kernel_activity *activity = kernel_activity(kernel);
    if (view->decision.is_warned)
        return;
    activity->warned_rule = view->decision.rule;
    activity->warned_ms = clock_monotonic_ms();
    activity->spared_ms = 0;
    culling->counters.warned++;
    cleanup_buffer struct buffer text = {0};
    culling_explain(view, &text);
    log_info("kernel %s: is to be culled soon: %s", kernel_id(kernel), buffer_text(&text));
    say_warning(kernel, view);
    if (culling->observer.warned != NULL)
        culling->observer.warned(culling->observer.context, kernel, view->decision.rule,
                                 view->decision.in_ms, buffer_text(&text));
}

/* Upon what is known of it now, which was asked just now. */
static void act(struct culling *culling, struct kernel *kernel) {
    struct culling_view view;
    culling_look(culling, NULL, kernel, &view);
    if (view.decision.verdict == CULLER_CULL)
        culling_end(culling, kernel, &view, NULL, NULL);
    else if (view.decision.verdict == CULLER_WARN)
        warn(culling, kernel, &view);
}

/* The pass. */

/* A warning is called off when nothing was about to end the kernel for as long as it was early: its
 * client is back, the limit was raised. Not sooner, or one that comes and goes would be warned for
 * ever. */
static void note_spared(const struct culling *culling, struct kernel_activity *activity,
                        const struct culling_view *view) {
    if (view->decision.verdict != CULLER_KEEP)
        activity->spared_ms = 0;
    else if (activity->spared_ms == 0)
        activity->spared_ms = culling->pass_ms;
    else if (culling->pass_ms - activity->spared_ms >= view->policy.warn_ms)
        activity->warned_rule = CULLER_NO_RULE;
}

static void consider(struct culling *culling, struct kernel *kernel) {
    struct kernel_activity *activity = kernel_activity(kernel);
    struct culling_view view;
    if (activity->asked_ms >= culling->pass_ms || kernel_is_asking_activity(kernel) ||
        !kernel_may_ask_activity(kernel))
        return;
    culling_look(culling, NULL, kernel, &view);
    if (activity->warned_rule != CULLER_NO_RULE)
        note_spared(culling, activity, &view);
    bool is_unknown = !view.is_known && kernel_status(kernel)->phase == KERNEL_READY;
    if (view.decision.verdict == CULLER_KEEP && !is_unknown)
        return;
    if (culling->asking >= ASKED_MAX) {
        culling->is_cut = true;
        return;
    }
    activity->asked_ms = clock_monotonic_ms();
    culling->asking++;
    culling->counters.asked++;
    kernel_ask_activity(kernel, on_asked, culling);
}

static void consider_all(struct culling *culling) {
    struct kernel *kernel = NULL;
    culling->is_cut = false;
    while ((kernel = kernels_next(culling->kernels, kernel)) != NULL)
        consider(culling, kernel);
}

static void on_asked(void *context, struct kernel *kernel, const struct error *err) {
    struct culling *culling = context;
    culling->asking--;
    if (err == NULL) {
        act(culling, kernel);
    } else {
        culling->counters.unanswered++;
        log_debug("a kernel is not culled: %s", err->text);
    }
    if (culling->asking == 0 && culling->is_cut)
        loop_post(culling->loop, &culling->rest);
}

/* Those for whom there was no room. */
static void on_rest(void *context) {
    consider_all(context);
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void culling_pass(struct culling *culling) {
    int64_t began_us = now_us();
    culling->pass_ms = clock_monotonic_ms();
    consider_all(culling);
    struct culling_counters *counters = &culling->counters;
    counters->passes++;
    counters->last_pass_us = now_us() - began_us;
    if (counters->last_pass_us > counters->longest_pass_us)
        counters->longest_pass_us = counters->last_pass_us;
}

static void on_tick(void *context) {
    struct culling *culling = context;
    set_timer(culling);
    if (!kernels_is_adopting(culling->kernels))
        culling_pass(culling);
}
