#include "gateway/kernel_activity.h"

#include "gateway/kernels_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"

#define LOG_AREA "gateway/kernel_activity"

/* What any JSON reader keeps exactly; time goes on behind it without an overflow. */
#define NUMBER_MAX (INT64_C(1) << 53)

enum { ASK_TIMEOUT_MS = 15000, KEEP_TIMEOUT_MS = 15000 };

struct asker {
    struct list_node node;
    kernel_asked *asked;
    void *context;
};

void kernel_activity_init(struct kernel_activity *activity) {
    list_init(&activity->askers);
    activity->cpu_ms = activity->rss_bytes = activity->processes = -1;
}

/* What it says. */

static int take_number(const json_t *json, const char *member, int64_t *ret, struct error *err) {
    const json_t *value = json_object_get(json, member);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > NUMBER_MAX)
        return error_set(err, ERROR_INVALID,
                         "activity.%s: must be a whole number from 0 to %" PRId64, member,
                         NUMBER_MAX);
    *ret = json_integer_value(value);
    return 0;
}

static int take_state(const json_t *json, enum culler_state *ret, struct error *err) {
    const char *text = json_string_value(json_object_get(json, "state"));
    for (enum culler_state state = 0; text != NULL && state < CULLER_STATES; state++)
        if (strcmp(culler_state_name(state), text) == 0) {
            *ret = state;
            return 0;
        }
    return error_set(err, ERROR_INVALID, "activity.state: must be starting, idle, busy or dead");
}

int kernel_activity_take(struct kernel_activity *activity, const json_t *json, bool is_answer,
                         int64_t now_ms, struct error *err) {
    struct culler_kernel told = {0};
    int64_t subshells = 0, cpu_ms = -1, rss_bytes = -1, processes = -1;
    const json_t *waits = json_object_get(json, "waits_for_input");
    if (take_state(json, &told.state, err) < 0 ||
        take_number(json, "age_ms", &told.age_ms, err) < 0 ||
        take_number(json, "state_for_ms", &told.state_for_ms, err) < 0 ||
        take_number(json, "untouched_for_ms", &told.untouched_for_ms, err) < 0 ||
        take_number(json, "silent_for_ms", &told.silent_for_ms, err) < 0 ||
        take_number(json, "unattached_for_ms", &told.unheard_for_ms, err) < 0 ||
        take_number(json, "busy_subshells", &subshells, err) < 0 ||
        take_number(json, "keep_ms", &told.keep_ms, err) < 0)
        return -1;
    if (!json_is_boolean(waits))
        return error_set(err, ERROR_INVALID, "activity.waits_for_input: must be true or false");
    if (is_answer && (take_number(json, "at_rest_for_ms", &told.at_rest_for_ms, err) < 0 ||
                      take_number(json, "cpu_ms", &cpu_ms, err) < 0 ||
                      take_number(json, "rss_bytes", &rss_bytes, err) < 0 ||
                      take_number(json, "processes", &processes, err) < 0))
        return -1;
    told.waits_for_input = json_is_true(waits);
    /* Older ones do not say. One that was started anew knows nothing of what was before. */
    told.is_new = json_is_false(json_object_get(json, "was_attached")) && !activity->was_attached;
    activity->was_attached = !told.is_new;
    told.busy_subshells = subshells > INT32_MAX ? INT32_MAX : (unsigned)subshells;
    if (is_answer) {
        activity->answered_ms = now_ms;
        activity->cpu_ms = cpu_ms;
        activity->rss_bytes = rss_bytes;
        activity->processes = processes;
    } else { /* the most that it can be: who decides asks */
        told.at_rest_for_ms = told.age_ms;
        if (activity->answered_ms > 0)
            told.at_rest_for_ms = activity->then.at_rest_for_ms + (now_ms - activity->heard_ms);
    }
    activity->then = told;
    activity->changes = (uint64_t)json_integer_value(json_object_get(json, "changes"));
    activity->heard_ms = now_ms;
    return 0;
}

bool kernel_activity_now(const struct kernel_activity *activity, unsigned connections,
                         int64_t now_ms, struct culler_kernel *ret) {
    if (activity->heard_ms == 0)
        return false;
    int64_t since_ms = now_ms - activity->heard_ms;
    *ret = activity->then;
    ret->age_ms += since_ms;
    ret->state_for_ms += since_ms;
    ret->untouched_for_ms += since_ms;
    ret->silent_for_ms += since_ms;
    ret->at_rest_for_ms += since_ms;
    ret->keep_ms = ret->keep_ms > since_ms ? ret->keep_ms - since_ms : 0;
    /* That the last client went, be it another gateway's, would have been told. */
    bool has_client = connections > 0 || ret->unheard_for_ms == 0;
    ret->is_new &= !has_client && !activity->was_attached;
    ret->unheard_for_ms = has_client ? 0 : ret->unheard_for_ms + since_ms;
    return true;
}

void kernel_activity_keep(struct kernel_activity *activity, int64_t keep_ms) {
    if (activity->heard_ms > 0)
        activity->then.keep_ms = keep_ms + (clock_monotonic_ms() - activity->heard_ms);
}

/* Keeping. */

static void on_kept(struct kernel *kernel, kernel_done *done, void *context, const json_t *result,
                    const struct error *err) {
    if (kernel != NULL && err == NULL)
        kernel_activity_keep(&kernel->activity,
                             json_integer_value(json_object_get(result, "keep_ms")));
    if (done != NULL)
        done(context, err);
}

void kernel_keep(struct kernel *kernel, int64_t for_ms, const char *by, kernel_done *done,
                 void *context) {
    struct error err;
    bool is_dead = kernel->status.phase == KERNEL_DEAD;
    if (kernel->link != NULL && !is_dead) {
        kernel_order(kernel, "keep",
                     json_pack("{s:I, s:s}", "for_ms", (json_int_t)for_ms, "by", by),
                     KEEP_TIMEOUT_MS, on_kept, done, context);
        return;
    }
    error_set(&err, ERROR_UNAVAILABLE, "The kernel %s; there is nothing to keep",
              is_dead ? "is dead" : "has no launcher at the moment");
    kernel_answer(kernel->kernels, done, context, &err);
}

/* Asking. */

static void answer_askers(struct kernel *kernel, struct kernel *named, const struct error *err) {
    struct list waiting; /* those that ask again wait for the next answer */
    list_init(&waiting);
    while (!list_is_empty(&kernel->activity.askers)) {
        struct list_node *node = kernel->activity.askers.head.next;
        list_remove(node);
        list_append(&waiting, node);
    }
    while (!list_is_empty(&waiting)) {
        struct asker *asker = list_entry(waiting.head.next, struct asker, node);
        list_remove(&asker->node);
        asker->asked(asker->context, named, err);
        free(asker);
    }
}

void kernel_forget_askers(struct kernel *kernel) {
    struct error err;
    error_set(&err, ERROR_NOT_FOUND, "Kernel does not exist: %s (it is being ended)", kernel->id);
    answer_askers(kernel, NULL, &err);
}

void kernel_drop_askers(struct kernel *kernel) {
    list_each (&kernel->activity.askers, struct asker, node, asker) {
        list_remove(&asker->node);
        free(asker);
    }
}

void kernel_take_own_idle(struct kernel *kernel) {
    struct error err; /* refused when the kernel was started */
    (void)kernel_request_own_idle(json_object_get(kernel->request, "env"), &kernel->own_idle_ms,
                                  &err);
}

int64_t kernel_own_idle_ms(const struct kernel *kernel) {
    if (kernel->own_idle_ms >= 0)
        return kernel->own_idle_ms;
    const struct kernelspec *spec = kernelspecs_find(kernel->kernels->specs, kernel->name);
    return spec != NULL ? kernelspec_cull_idle_ms(spec) : -1;
}

void kernel_take_activity(struct kernel *kernel, const json_t *json, bool is_answer) {
    struct error err;
    if (json == NULL ||
        kernel_activity_take(&kernel->activity, json, is_answer, clock_monotonic_ms(), &err) == 0)
        return;
    log_warning("kernel %s: what its launcher tells cannot be read: %s", kernel->id, err.text);
}

static void on_activity(struct kernel *kernel, kernel_done *done, void *context,
                        const json_t *result, const struct error *err) {
    (void)done, (void)context;
    if (kernel == NULL)
        return; /* its askers know */
    struct error bad;
    if (err == NULL &&
        kernel_activity_take(&kernel->activity, result, true, clock_monotonic_ms(), &bad) < 0) {
        log_warning("kernel %s: what its launcher tells cannot be read: %s", kernel->id, bad.text);
        err = &bad;
    } else if (err != NULL && err->code == ERROR_UNSUPPORTED) {
        kernel->activity.is_unknown = true;
    }
    answer_askers(kernel, kernel, err);
}

void kernel_ask_activity(struct kernel *kernel, kernel_asked *asked, void *context) {
    bool is_under_way = !list_is_empty(&kernel->activity.askers);
    struct asker *asker = memory_alloc(sizeof *asker);
    asker->asked = asked;
    asker->context = context;
    list_append(&kernel->activity.askers, &asker->node);
    if (!is_under_way)
        kernel_order(kernel, "activity", NULL, ASK_TIMEOUT_MS, on_activity, NULL, NULL);
}

bool kernel_may_ask_activity(const struct kernel *kernel) {
    return kernel->link != NULL && link_is_up(kernel->link) && !kernel->activity.is_unknown &&
           (kernel->status.phase == KERNEL_READY || kernel->status.phase == KERNEL_STARTING ||
            kernel->status.phase == KERNEL_RESTARTING || kernel->status.phase == KERNEL_DEAD);
}

bool kernel_is_asking_activity(const struct kernel *kernel) {
    return !list_is_empty(&kernel->activity.askers);
}
