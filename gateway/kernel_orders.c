#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/kernels_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/kernel_orders"

enum { REACHED_LATE_MS = 500 };

/* A command under way. The kernel may be freed before it is answered. */
struct order {
    struct list_node node;
    struct kernel *kernel; /* NULL: gone */
    kernel_ordered *answered;
    kernel_done *done;
    void *context;
};

/* Somebody who waits for an outcome; in kernels.answers it is known. */
struct waiter {
    struct list_node node;
    kernel_done *done;
    void *context;
    bool failed;
    struct error err;
};

static void on_result(void *context, const json_t *result, const struct error *err) {
    struct order *order = context;
    list_remove(&order->node);
    order->answered(order->kernel, order->done, order->context, result, err);
    free(order);
}

void kernel_order(struct kernel *kernel, const char *command, json_t *members, int64_t timeout_ms,
                  kernel_ordered *answered, kernel_done *done, void *context) {
    struct order *order = memory_alloc(sizeof *order);
    order->kernel = kernel;
    order->answered = answered;
    order->done = done;
    order->context = context;
    list_append(&kernel->orders, &order->node);
    link_command(kernel->link, command, members, timeout_ms, on_result, order);
}

void kernel_orders_orphan(struct kernel *kernel, bool silently) {
    list_each (&kernel->orders, struct order, node, order) {
        list_remove(&order->node);
        order->kernel = NULL;
        if (silently)
            order->done = NULL;
    }
}

/* Waiters. */

void kernel_wait_in(struct list *list, kernel_done *done, void *context) {
    if (done == NULL)
        return;
    struct waiter *waiter = memory_alloc(sizeof *waiter);
    waiter->done = done;
    waiter->context = context;
    list_append(list, &waiter->node);
}

void kernel_answer_all(struct kernels *kernels, struct list *waiters, const struct error *err) {
    list_each (waiters, struct waiter, node, waiter) {
        list_remove(&waiter->node);
        waiter->failed = err != NULL;
        if (err != NULL)
            waiter->err = *err;
        list_append(&kernels->answers, &waiter->node);
    }
    loop_post(kernels->loop, &kernels->answer);
}

void kernel_answer(struct kernels *kernels, kernel_done *done, void *context,
                   const struct error *err) {
    struct list one;
    list_init(&one);
    kernel_wait_in(&one, done, context);
    kernel_answer_all(kernels, &one, err);
}

void kernels_run_answers(void *context) {
    struct kernels *kernels = context;
    while (!list_is_empty(&kernels->answers)) {
        struct waiter *waiter = list_entry(kernels->answers.head.next, struct waiter, node);
        list_remove(&waiter->node);
        waiter->done(waiter->context, waiter->failed ? &waiter->err : NULL);
        free(waiter);
    }
}

void kernels_drop_waiters(struct list *waiters) {
    list_each (waiters, struct waiter, node, waiter) {
        list_remove(&waiter->node);
        free(waiter);
    }
}

/* Interrupt. */

static void on_interrupted(struct kernel *kernel, kernel_done *done, void *context,
                           const json_t *result, const struct error *err) {
    (void)result;
    if (kernel != NULL && err == NULL)
        kernel_observe_action(kernel, "interrupt", NULL);
    if (done != NULL)
        done(context, err);
}

/* Where nothing runs there is nothing to interrupt: that is no failure. */
void kernel_interrupt(struct kernel *kernel, kernel_done *done, void *context) {
    if (kernel->link == NULL || kernel->status.phase != KERNEL_READY)
        kernel_answer(kernel->kernels, done, context, NULL);
    else
        kernel_order(kernel, "interrupt", NULL, KERNEL_INTERRUPT_TIMEOUT_MS, on_interrupted, done,
                     context);
}

/* Say. */

static void on_spoken(struct kernel *kernel, kernel_done *done, void *context, const json_t *result,
                      const struct error *err) {
    (void)done, (void)context, (void)result;
    if (kernel != NULL && err != NULL)
        log_warning("kernel %s: what it was to be told is lost: %s", kernel->id, err->text);
}

void kernel_say(struct kernel *kernel, const char *text, const char *id) {
    if (kernel->link != NULL)
        kernel_order(kernel, "say", json_pack("{s:s, s:s}", "text", text, "id", id),
                     KERNEL_SAY_TIMEOUT_MS, on_spoken, NULL, NULL);
}

void kernel_explain(struct kernel *kernel, const char *why, const char *id) {
    if (kernel->link != NULL)
        kernel_order(kernel, "explain", json_pack("{s:s, s:s}", "reason", why, "id", id),
                     KERNEL_SAY_TIMEOUT_MS, on_spoken, NULL, NULL);
}

/* Restart. */

static void finish_restart(struct kernel *kernel, const struct error *err) {
    kernel->is_restarting = false;
    kernel_answer_all(kernel->kernels, &kernel->restart_waiters, err);
}

/* Where its launcher was, with its journal; only where there never was one, from its request in a
 * new place: what a kernel has said is not given up because a launcher cannot be started now. */
static int start_again(struct kernel *kernel, struct error *err) {
    if (kernel_check_limits(kernel, err) < 0)
        return -1;
    if (kernel_resume_wanted(kernel, err) == 0)
        return 0;
    if (err->code != ERROR_UNSUPPORTED && err->code != ERROR_NOT_FOUND)
        return -1;
    if (kernel->request == NULL)
        return error_set(err, ERROR_UNSUPPORTED,
                         "This kernel was started by an earlier gateway that did not note how: "
                         "start a new one");
    kernel_drop_link(kernel);
    kernel_drop_provision(kernel, NULL);
    return kernel_provision(kernel, err) < 0 ? -1 : 0;
}

void kernel_start_again(struct kernel *kernel) {
    struct error err;
    kernel->is_replacing = false;
    if (start_again(kernel, &err) < 0) {
        kernel_set_cause(kernel, &err);
        kernel_post(kernel, KERNEL_EVENT_FAILED);
        kernel_keep_dead(kernel);
        finish_restart(kernel, &err);
        return;
    }
    kernel_post(kernel, KERNEL_EVENT_START);
    finish_restart(kernel, NULL);
}

/* Its place is free only when it has ended: on_ended goes on from there. One whose process was not
 * found yet may be about to work: it is told when it does. */
static void replace_launcher(struct kernel *kernel) {
    struct error err;
    if (kernel->provision == NULL || kernel->has_ended) {
        kernel_start_again(kernel);
    } else if (kernel->kernels->provisioner->ops->signal(kernel->provision, SIGKILL, &err) == 0) {
        log_warning("kernel %s: its launcher hangs, starting another one", kernel->id);
        kernel->is_replacing = true;
    } else {
        kernel->start_wanted = true;
        kernel_post(kernel, KERNEL_EVENT_START);
        finish_restart(kernel, NULL);
    }
}

static void on_restarted(struct kernel *kernel, kernel_done *done, void *context,
                         const json_t *result, const struct error *err) {
    (void)done, (void)context, (void)result;
    if (kernel == NULL || !kernel->is_restarting)
        return; /* ended meanwhile, and its waiters were answered */
    if (err != NULL && err->code == ERROR_TIMEOUT) {
        replace_launcher(kernel);
        return;
    }
    if (err != NULL) {
        log_warning("kernel %s: restart: %s", kernel->id, err->text);
        if (kernel->status.phase == KERNEL_RESTARTING) {
            kernel_set_reason(kernel, err->text, kernel->last_words);
            kernel_post(kernel, KERNEL_EVENT_SAYS_DEAD); /* until its status says better */
        }
    }
    finish_restart(kernel, err);
}

/* One that was there before us has had its time to say so, too: when that is over, kernels can be
 * reached a little shorter. */
static bool is_silent(const struct kernel *kernel) {
    return kernel->status.phase == KERNEL_LAUNCHING && kernel_is_unheard(kernel) &&
           clock_monotonic_ms() - kernel->reachable_ms > KERNELS_ADOPTION_MS - REACHED_LATE_MS;
}

void kernel_restart(struct kernel *kernel, kernel_done *done, void *context) {
    struct kernels *kernels = kernel->kernels;
    enum kernel_phase phase = kernel->status.phase;
    struct error err;
    if (phase == KERNEL_STOPPING || phase == KERNEL_GONE) {
        error_set(&err, ERROR_NOT_FOUND, "Kernel does not exist: %s (it is being ended)",
                  kernel->id);
        kernel_answer(kernels, done, context, &err);
    } else if (phase == KERNEL_LAUNCHING && kernel->is_spawned) {
        kernel_answer(kernels, done, context, NULL); /* a new process is on its way anyhow */
    } else if (phase == KERNEL_LAUNCHING && kernel->link == NULL) {
        error_set(&err, ERROR_UNAVAILABLE,
                  "The kernel's launcher is being looked for; try again in a moment.");
        kernel_answer(kernels, done, context, &err);
    } else {
        kernel_wait_in(&kernel->restart_waiters, done, context);
        if (kernel->is_restarting)
            return; /* one restart serves all who ask meanwhile */
        kernel->is_restarting = true;
        if (kernel->link == NULL || is_silent(kernel)) {
            replace_launcher(kernel);
            return;
        }
        kernel_post(kernel, KERNEL_EVENT_RESTART);
        kernel_order(kernel, "restart", NULL,
                     kernels->settings.shutdown_wait_ms + kernels->settings.launch_timeout_ms +
                         KERNEL_ANSWER_MARGIN_MS,
                     on_restarted, NULL, NULL);
    }
}

/* Shutdown. */

/* Those who wait until no gateway will take a kernel up again; it is gone here. */
struct removal {
    struct list_node node;
    char *id;
    struct list waiters;
};

static void free_removal(struct removal *removal) {
    list_remove(&removal->node);
    free(removal->id);
    free(removal);
}

static void await_removal(struct kernel *kernel) {
    if (list_is_empty(&kernel->stop_waiters))
        return;
    struct removal *removal = memory_alloc(sizeof *removal);
    removal->id = memory_strdup(kernel->id);
    list_init(&removal->waiters);
    list_each (&kernel->stop_waiters, struct waiter, node, waiter) {
        list_remove(&waiter->node);
        list_append(&removal->waiters, &waiter->node);
    }
    list_append(&kernel->kernels->removals, &removal->node);
}

void kernels_removed(struct kernels *kernels, const char *id, const struct error *cause) {
    struct error err;
    if (cause != NULL)
        error_set(&err, ERROR_UNAVAILABLE,
                  "The kernel has ended, but that is not on record yet: %s. The gateway goes on "
                  "trying.",
                  cause->text);
    list_each (&kernels->removals, struct removal, node, removal) {
        if (strcmp(removal->id, id) != 0)
            continue;
        kernel_answer_all(kernels, &removal->waiters, cause != NULL ? &err : NULL);
        free_removal(removal);
    }
}

void kernels_drop_removals(struct kernels *kernels) {
    list_each (&kernels->removals, struct removal, node, removal) {
        kernels_drop_waiters(&removal->waiters);
        free_removal(removal);
    }
}

/* Nothing answers any more, or nothing is left: what there is is removed by force. */
void kernel_finish_stop(struct kernel *kernel) {
    kernel_drop_link(kernel);
    await_removal(kernel);
    if (kernel_drop_provision(kernel,
                              kernel->stop_reason ? kernel->stop_reason : KERNEL_SHUT_DOWN) == 0)
        kernels_removed(kernel->kernels, kernel->id, NULL);
    kernel_post(kernel, KERNEL_EVENT_REMOVED);
    kernel_forget(kernel, kernel->stop_reason, !kernel->is_stopping);
}

static void on_patience_ended(void *context) {
    struct kernel *kernel = context;
    log_warning("kernel %s: its launcher did not end, removing it", kernel->id);
    kernel_finish_stop(kernel);
}

static void wait_for_end(struct kernel *kernel, int64_t in_ms) {
    kernel->deadline = (struct loop_deadline){
        .node = kernel->deadline.node, .run = on_patience_ended, .context = kernel};
    loop_deadline_set(kernel->kernels->loop, &kernel->deadline, in_ms);
}

static void on_nothing_left(void *context) {
    kernel_finish_stop(context);
}

/* In the next turn: whoever asked may still be walking over the kernels. */
static void finish_soon(struct kernel *kernel) {
    kernel->deadline = (struct loop_deadline){
        .node = kernel->deadline.node, .run = on_nothing_left, .context = kernel};
    loop_deadline_set(kernel->kernels->loop, &kernel->deadline, 0);
}

/* The launcher ends now by itself, and the provisioner tells so. */
static void on_stopped(struct kernel *kernel, kernel_done *done, void *context,
                       const json_t *result, const struct error *err) {
    (void)done, (void)context, (void)result;
    if (kernel == NULL || kernel->status.phase != KERNEL_STOPPING)
        return;
    if (err != NULL) {
        log_warning("kernel %s: shutdown: %s", kernel->id, err->text);
        kernel_finish_stop(kernel);
    } else {
        wait_for_end(kernel, KERNEL_END_WAIT_MS);
    }
}

static void stop_without_link(struct kernel *kernel) {
    struct error err;
    const struct provisioner_ops *ops = kernel->kernels->provisioner->ops;
    /* Not SIGTERM, after which a launcher keeps what the kernel has said. One that is elsewhere
     * ends with its place, which says first that it is to. */
    if (kernel->provision == NULL || ops->is_elsewhere ||
        ops->signal(kernel->provision, SIGINT, &err) < 0)
        finish_soon(kernel);
    else
        wait_for_end(kernel, KERNEL_END_WAIT_MS);
}

static void begin_stop(struct kernel *kernel, const char *reason) {
    struct error err;
    kernel->is_stopping = true;
    text_replace(&kernel->stop_reason, reason);
    kernel_post(kernel, KERNEL_EVENT_STOP);
    error_set(&err, ERROR_UNAVAILABLE, "The kernel is being ended");
    kernel->is_restarting = false;
    kernel_answer_all(kernel->kernels, &kernel->restart_waiters, &err);
}

void kernel_stop(struct kernel *kernel, const char *reason) {
    if (kernel->is_stopping || kernel->status.phase == KERNEL_GONE)
        return;
    struct kernels *kernels = kernel->kernels;
    bool was_dead = kernel->status.phase == KERNEL_DEAD;
    begin_stop(kernel, reason);
    if (kernel->link != NULL && link_is_up(kernel->link))
        kernel_order(kernel, "shutdown", json_pack("{s:b, s:s?}", "now", 0, "reason", reason),
                     kernels->settings.shutdown_wait_ms + KERNEL_ANSWER_MARGIN_MS, on_stopped, NULL,
                     NULL);
    else if (was_dead && kernel->link == NULL)
        finish_soon(kernel);
    else
        stop_without_link(kernel);
}

void kernel_shutdown(struct kernel *kernel, const char *reason, kernel_done *done, void *context) {
    if (kernel->status.phase == KERNEL_GONE) {
        kernel_answer(kernel->kernels, done, context, NULL);
        return;
    }
    kernel_wait_in(&kernel->stop_waiters, done, context);
    kernel_stop(kernel, reason);
}

/* Shutdown, if nothing has changed. */

struct condition {
    char *reason;
    kernel_asked *told;
    void *context;
};

/* What it means that it has ended was left to this answer. */
static void go_on(struct kernel *kernel, bool agreed) {
    if (kernel->activity.is_gone && kernel->is_stopping)
        kernel_finish_stop(kernel);
    else if (kernel->activity.is_gone)
        kernel_forget_gone(kernel, NULL);
    else if (kernel->has_ended)
        kernel_provision_events.ended(kernel, NULL);
    else if (agreed)
        wait_for_end(kernel, kernel->kernels->settings.shutdown_wait_ms + KERNEL_ANSWER_MARGIN_MS);
}

static void on_agreed(struct kernel *kernel, kernel_done *done, void *context, const json_t *result,
                      const struct error *err) {
    (void)done, (void)result;
    struct condition *condition = context;
    if (kernel != NULL) {
        kernel->activity.is_end_ordered = false;
        if (err == NULL)
            begin_stop(kernel, condition->reason);
    }
    condition->told(condition->context, kernel, err);
    if (kernel != NULL)
        go_on(kernel, err == NULL);
    free(condition->reason);
    free(condition);
}

void kernel_end_if(struct kernel *kernel, bool if_unchanged, const char *reason, kernel_asked *told,
                   void *context) {
    struct condition *condition = memory_alloc(sizeof *condition);
    *condition = (struct condition){memory_strdup(reason), told, context};
    json_t *members = json_pack("{s:s, s:b}", "reason", reason, "if_running", 1);
    if (if_unchanged)
        json_object_set_new(members, "if_unchanged",
                            json_integer((json_int_t)kernel->activity.changes));
    kernel->activity.is_end_ordered = true;
    kernel_order(kernel, "shutdown", members, KERNEL_AGREE_TIMEOUT_MS, on_agreed, NULL, condition);
}

bool kernel_may_end_if(const struct kernel *kernel) {
    return kernel->link != NULL && kernel->activity.changes != 0 &&
           !kernel->activity.is_end_ordered && !kernel->is_stopping;
}
