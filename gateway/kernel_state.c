#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "gateway/kernels_internal.h"
#include "launcher/exit_reason.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA    "gateway/kernel_state"

#define FROM(phase) (1u << KERNEL_##phase)
#define ALIVE       (FROM(LAUNCHING) | FROM(STARTING) | FROM(READY) | FROM(RESTARTING))

/* A kernel's whole life. What is in no row cannot happen, or comes too late to matter: a kernel
 * that is being ended listens to nothing but its end. */
static const struct {
    enum kernel_event event;
    unsigned from;
    enum kernel_phase to;
} table[] = {
    {KERNEL_EVENT_START, ALIVE | FROM(DEAD), KERNEL_LAUNCHING},
    {KERNEL_EVENT_SAYS_STARTING, ALIVE | FROM(DEAD), KERNEL_STARTING},
    {KERNEL_EVENT_SAYS_READY, ALIVE | FROM(DEAD), KERNEL_READY},
    {KERNEL_EVENT_SAYS_RESTARTING, ALIVE | FROM(DEAD), KERNEL_RESTARTING},
    {KERNEL_EVENT_SAYS_STOPPING, ALIVE, KERNEL_STOPPING},
    {KERNEL_EVENT_SAYS_DEAD, ALIVE | FROM(DEAD), KERNEL_DEAD},
    {KERNEL_EVENT_RESTART, ALIVE | FROM(DEAD), KERNEL_RESTARTING},
    {KERNEL_EVENT_STOP, ALIVE | FROM(DEAD) | FROM(STOPPING), KERNEL_STOPPING},
    {KERNEL_EVENT_FAILED, ALIVE | FROM(DEAD), KERNEL_DEAD},
    {KERNEL_EVENT_REMOVED, ALIVE | FROM(DEAD) | FROM(STOPPING), KERNEL_GONE},
};

static const char *const default_stages[] = {
    [KERNEL_LAUNCHING] = "starting the kernel's launcher",
    [KERNEL_STARTING] = "waiting for the kernel to answer",
    [KERNEL_READY] = "ready",
    [KERNEL_RESTARTING] = "restarting the kernel",
    [KERNEL_STOPPING] = "ending the kernel",
    [KERNEL_DEAD] = "dead",
    [KERNEL_GONE] = "gone",
};

/* What clients may be told: JupyterLab throws at any other state. */
static const char *state_of(const struct kernel *kernel) {
    const char *reported = kernel->reported_state;
    switch (kernel->status.phase) {
    case KERNEL_LAUNCHING:
    case KERNEL_STARTING:
        return "starting";
    case KERNEL_RESTARTING:
        return "restarting";
    case KERNEL_DEAD:
    case KERNEL_GONE:
        return "dead";
    case KERNEL_READY:
    case KERNEL_STOPPING:
        break;
    }
    return reported != NULL && strcmp(reported, "dead") != 0 ? reported : "idle";
}

static const char *known_state(const char *state) {
    static const char *const known[] = {"starting", "idle", "busy", "restarting", "dead"};
    for (size_t i = 0; state != NULL && i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], state) == 0)
            return known[i];
    return NULL;
}

/* Watchers. */

/* Those that were told wait in a list of their own, so that any of them may come and go
 * meanwhile. */
void kernel_notify(void *context) {
    struct kernel *kernel = context;
    while (!list_is_empty(&kernel->watchers)) {
        struct kernel_watcher *watcher =
            list_entry(kernel->watchers.head.next, struct kernel_watcher, node);
        list_remove(&watcher->node);
        list_append(&kernel->told, &watcher->node);
        watcher->changed(watcher->context, kernel);
    }
    while (!list_is_empty(&kernel->told)) {
        struct list_node *node = kernel->told.head.next;
        list_remove(node);
        if (kernel->status.phase != KERNEL_GONE)
            list_append(&kernel->watchers, node);
    }
}

void kernel_changed(struct kernel *kernel) {
    loop_post(kernel->kernels->loop, &kernel->notify);
}

void kernel_watch(struct kernel *kernel, struct kernel_watcher *watcher) {
    list_append(&kernel->watchers, &watcher->node);
}

void kernel_unwatch(struct kernel_watcher *watcher) {
    list_remove(&watcher->node);
}

/* Texts of the status. */

/* Replaces a text; true when it is another one. Cut at `max` bytes, never inside a character. */
static bool set_text(char **text, const char *value, size_t max) {
    if (value != NULL && *text != NULL && strncmp(*text, value, max) == 0 && strlen(value) <= max)
        return false;
    if (value == NULL && *text == NULL)
        return false;
    char *copy = value ? memory_strndup(value, utf8_floor(value, strlen(value), max)) : NULL;
    free(*text);
    *text = copy;
    return true;
}

void kernel_set_stage(struct kernel *kernel, const char *text) {
    if (!set_text(&kernel->stage, text, KERNEL_STAGE_MAX))
        return;
    if (kernel->doubt == NULL)
        kernel->status.stage = kernel->stage;
    kernel_changed(kernel);
}

static void set_doubt(struct kernel *kernel, const char *text) {
    if (!set_text(&kernel->doubt, text, KERNEL_REASON_MAX))
        return;
    kernel->status.doubt = kernel->doubt;
    kernel->status.stage = text != NULL ? kernel->doubt : kernel->stage;
    kernel_changed(kernel);
}

/* The end of a long output says more than its beginning. */
static const char *last_bytes(const char *text, size_t max) {
    size_t length = strlen(text);
    if (length <= max)
        return text;
    text += length - max;
    while (((unsigned char)*text & 0xC0) == 0x80)
        text++;
    return text;
}

void kernel_set_reason(struct kernel *kernel, const char *reason, const char *details) {
    cleanup_free char *whole = NULL;
    if (reason != NULL && details != NULL && *details != '\0') {
        size_t cut = utf8_floor(reason, strlen(reason), KERNEL_REASON_MAX / 2 - 1);
        whole =
            memory_printf("%.*s\n%s", (int)cut, reason, last_bytes(details, KERNEL_REASON_MAX / 2));
    }
    set_text(&kernel->reason, whole ? whole : reason, KERNEL_REASON_MAX);
    kernel->status.reason = kernel->reason;
    free(steal(&kernel->reason_cause));
    kernel_changed(kernel);
}

void kernel_set_cause(struct kernel *kernel, const struct error *cause) {
    kernel_set_reason(kernel, cause->text, NULL);
    text_replace(&kernel->reason_cause, cause->cause);
}

enum { RETENTION_AGAIN_MS = 30000 };

/* The door. */

static void on_retention(void *context) {
    struct kernel *kernel = context;
    if (kernel_is_taken_up(kernel) || kernel_is_unheard(kernel)) {
        if (kernel->status.phase == KERNEL_DEAD)
            loop_deadline_set(kernel->kernels->loop, &kernel->deadline, RETENTION_AGAIN_MS);
        return;
    }
    cleanup_free char *reason =
        memory_printf("it was dead for too long to be kept; it died because: %s",
                      kernel->reason ? kernel->reason : "of a reason nobody knows");
    kernel_stop(kernel, reason);
}

/* During a restart its launcher takes requests for ones that were meant for the process that goes.
 * At all other times it keeps them itself, and they outlive us there. */
static void hold_requests(const struct kernel *kernel) {
    link_hold_requests(kernel->link, kernel->status.phase == KERNEL_RESTARTING);
}

static void enter(struct kernel *kernel, enum kernel_phase phase) {
    struct kernels *kernels = kernel->kernels;
    enum kernel_phase before = kernel->status.phase;
    loop_deadline_clear(kernels->loop, &kernel->deadline);
    kernel->status.phase = phase;
    kernel->was_ready = kernel->was_ready || phase == KERNEL_READY;
    kernel_observe_phase(kernel, before, phase);
    if (kernel->link != NULL)
        hold_requests(kernel);
    if (phase != KERNEL_DEAD && phase != KERNEL_GONE && kernel->reason != NULL)
        kernel_set_reason(kernel, NULL, NULL);
    if (phase == KERNEL_READY || phase == KERNEL_DEAD)
        kernel_drop_held(kernel);
    if (phase == KERNEL_READY && kernel->lost != NULL) {
        free(steal(&kernel->lost));
        free(steal(&kernel->lost_cause));
        kernel->status.lost = NULL;
    }
    if (phase == KERNEL_LAUNCHING)
        kernel->reported_state = NULL;
    kernel_set_stage(kernel, default_stages[phase]);
    if (phase != KERNEL_DEAD) {
        kernel->died_ms = 0;
        return;
    }
    if (kernel->died_ms == 0)
        kernel->died_ms = clock_wall_us() / 1000;
    log_warning("kernel %s: dead: %s", kernel->id, kernel->reason ? kernel->reason : "no reason");
    kernel->deadline = (struct loop_deadline){
        .node = kernel->deadline.node, .run = on_retention, .context = kernel};
    loop_deadline_set(kernels->loop, &kernel->deadline, kernel_retention_ms(kernel));
    kernel_make_room(kernel);
}

bool kernel_post(struct kernel *kernel, enum kernel_event event) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].event != event || !(table[i].from & 1u << kernel->status.phase))
            continue;
        if (kernel->status.phase != table[i].to)
            enter(kernel, table[i].to);
        const char *state = state_of(kernel);
        if (state != kernel->status.execution_state) {
            kernel->status.execution_state = state;
            kernel_changed(kernel);
        }
        return true;
    }
    log_debug("kernel %s: event %d is nothing to phase %d", kernel->id, (int)event,
              (int)kernel->status.phase);
    return false;
}

/* What the launcher says. */

static bool is_activity_text(const char *text) { /* 2026-01-31T12:00:00.000000Z */
    static const char form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    for (size_t i = 0; i < sizeof form; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (form[i] == 'd' ? !digit : text[i] != form[i])
            return false;
    }
    return true;
}

static bool event_of(const char *phase, enum kernel_event *ret) {
    static const struct {
        const char *name;
        enum kernel_event event;
    } phases[] = {
        {"starting", KERNEL_EVENT_SAYS_STARTING},
        {"ready", KERNEL_EVENT_SAYS_READY},
        {"restarting", KERNEL_EVENT_SAYS_RESTARTING},
        {"stopping", KERNEL_EVENT_SAYS_STOPPING},
        {"dead", KERNEL_EVENT_SAYS_DEAD},
    };
    for (size_t i = 0; phase != NULL && i < sizeof phases / sizeof *phases; i++) {
        if (strcmp(phases[i].name, phase) != 0)
            continue;
        *ret = phases[i].event;
        return true;
    }
    return false;
}

static void take_status(struct kernel *kernel, const json_t *status) {
    const char *activity = json_string_value(json_object_get(status, "last_activity"));
    const char *state = known_state(json_string_value(json_object_get(status, "execution_state")));
    const char *stage = json_string_value(json_object_get(status, "stage"));
    const char *reason = json_string_value(json_object_get(status, "reason"));
    if (activity != NULL && is_activity_text(activity))
        memcpy(kernel->last_activity, activity, CLOCK_TEXT_SIZE);
    if (state != NULL)
        kernel->reported_state = state;
    const char *session = json_string_value(json_object_get(status, "message_session"));
    if (session != NULL) {
        text_replace(&kernel->message_session, session);
        kernel->status.message_session = kernel->message_session;
    }
    kernel_take_activity(kernel, json_object_get(status, "activity"), false);
    if (json_object_get(status, "shares") != NULL) /* a launcher of an earlier release has none */
        kernel_take_shares(kernel, json_object_get(status, "shares"));
    kernel_observe_status(kernel, status);
    enum kernel_event event = KERNEL_EVENT_SAYS_STARTING;
    if (!event_of(json_string_value(json_object_get(status, "phase")), &event) && status != NULL)
        log_warning("kernel %s: its launcher is in a phase nobody knows", kernel->id);
    if (event == KERNEL_EVENT_SAYS_DEAD && kernel->status.phase != KERNEL_DEAD)
        kernel_set_reason(kernel, reason ? reason : "the kernel died", kernel->last_words);
    if (event == KERNEL_EVENT_SAYS_STOPPING && reason != NULL && !kernel->is_stopping)
        text_replace(&kernel->stop_reason, reason); /* another gateway's, before its record */
    if (kernel_post(kernel, event) && stage != NULL && *stage != '\0' &&
        kernel->status.phase != KERNEL_DEAD)
        kernel_set_stage(kernel, stage);
}

static void on_welcomed(void *context, const json_t *record, const json_t *status) {
    struct kernel *kernel = context;
    if (kernel->status.phase == KERNEL_LAUNCHING || kernel->status.phase == KERNEL_RESTARTING)
        loop_deadline_clear(kernel->kernels->loop, &kernel->deadline);
    const struct provisioner_ops *ops = kernel->kernels->provisioner->ops;
    if (ops->heard != NULL && kernel->provision != NULL)
        ops->heard(kernel->provision);
    bool was_unrecorded = kernel->is_unrecorded;
    kernel_take_record(kernel, record);
    take_status(kernel, status);
    kernel_say_session(kernel);
    if (was_unrecorded && !kernel->is_unrecorded)
        kernel_mend_record(kernel);
    if (kernel->start_wanted && kernel->status.phase == KERNEL_DEAD)
        kernel_restart(kernel, NULL, NULL);
    kernel->start_wanted = false;
    kernel_adoption_settled(kernel);
    kernel_changed(kernel); /* the link is up: those who wait for it look */
}

static void on_lost(void *context) {
    struct kernel *kernel = context;
    kernel_set_stage(kernel, "the kernel's launcher does not answer; connecting again");
}

static void on_status(void *context, const json_t *status) {
    take_status(context, status);
}

/* A kernel that is started again by itself is no more than a phase; the launcher tells the
 * notebook. */
static void on_exited(void *context, const json_t *report) {
    struct kernel *kernel = context;
    const char *reason = json_string_value(json_object_get(report, "reason"));
    const char *output = json_string_value(json_object_get(report, "output"));
    bool again = json_is_true(json_object_get(report, "restarting"));
    log_info("kernel %s: its process ended: %s%s", kernel->id, reason ? reason : "unknown",
             again ? " (starting it again)" : "");
    free(steal(&kernel->last_words));
    if (!again && !exit_reason_has_output(reason != NULL ? reason : "", output))
        kernel->last_words = memory_printf("Last output of the kernel:\n%s",
                                           last_bytes(output, KERNEL_REASON_MAX / 2 - 64));
    if (again || kernel->status.phase == KERNEL_STOPPING || kernel->is_restarting)
        return;
    kernel_set_reason(kernel, reason ? reason : "the kernel ended", kernel->last_words);
    kernel_post(kernel, KERNEL_EVENT_SAYS_DEAD);
}

static const struct link_events link_events = {
    .welcomed = on_welcomed, .lost = on_lost, .status = on_status, .exited = on_exited};

void kernel_drop_link(struct kernel *kernel) {
    if (kernel->link == NULL)
        return;
    link_close(steal(&kernel->link));
    kernel_changed(kernel);
}

/* What the provisioner says. */

/* What the other gateways are to know of its end. */
static json_t *make_testament(const struct kernel *kernel) {
    json_t *testament = json_object();
    if (!kernel->is_stopping)
        json_object_set_new(testament, "by_witness", json_true());
    if (kernel->bequest != NULL)
        json_object_set(testament, "bequest", kernel->bequest);
    if (kernel_inherited_text(kernel) != NULL && kernel->was_ready) {
        struct kernel_heir heir = kernel_heir_of(kernel);
        json_object_set_new(testament, "told",
                            kernel_bequest(&heir, kernel_inherited_text(kernel)));
    }
    return testament;
}

int kernel_drop_provision(struct kernel *kernel, const char *why) {
    const struct provisioner_ops *ops = kernel->kernels->provisioner->ops;
    if (kernel->provision != NULL && why != NULL && ops->testify != NULL)
        ops->testify(kernel->provision, make_testament(kernel));
    kernel->has_ended = false;
    kernel_drop_sharing(kernel);
    return kernel->provision != NULL ? ops->remove(steal(&kernel->provision), why) : 0;
}

static void on_noted(void *context) {
    struct kernel *kernel = context;
    kernel->is_held_on_record = true;
    kernel_changed(kernel);
}

static void on_shared(void *context, const struct error *err) {
    struct kernel *kernel = context;
    kernel_answer_all(kernel->kernels, &kernel->share_waiters, err);
}

static void on_stage(void *context, const char *text) {
    struct kernel *kernel = context;
    if (kernel->status.phase == KERNEL_LAUNCHING)
        kernel_set_stage(kernel, text);
}

static void on_doubted(void *context, const char *doubt) {
    struct kernel *kernel = context;
    if (doubt != NULL)
        log_warning("kernel %s: %s", kernel->id, doubt);
    else if (kernel->doubt != NULL)
        log_info("kernel %s: its node is well again", kernel->id);
    set_doubt(kernel, doubt);
}

static void on_reached(void *context, enum provision_step step) {
    kernel_observe_pod(context, step);
}

/* For the admin: the launcher's own log goes with the kernel, and its successor's grows behind. */
static void log_last_words(const struct kernel *kernel) {
    if (kernel->provision == NULL)
        return;
    cleanup_free char *words =
        kernel->kernels->provisioner->ops->describe_failure(kernel->provision);
    if (*words != '\0')
        log_warning("kernel %s: last lines of its launcher:\n%s", kernel->id, words);
}

static void fail(struct kernel *kernel, const struct error *cause) {
    log_last_words(kernel);
    kernel_drop_link(kernel);
    kernel_set_cause(kernel, cause);
    kernel_post(kernel, KERNEL_EVENT_FAILED);
    kernel_keep_dead(kernel);
    kernel_adoption_settled(kernel);
    kernel->start_wanted = false;
    if (kernel->is_restarting) {
        struct error err;
        error_set(&err, ERROR_SYSTEM, "%s", cause->text); /* trying again alone does not help */
        err.cause = cause->cause;
        kernel->is_restarting = false;
        kernel_answer_all(kernel->kernels, &kernel->restart_waiters, &err);
    }
}

static void on_unwelcome(void *context) {
    struct kernel *kernel = context;
    struct error cause;
    error_set(&cause, ERROR_TIMEOUT,
              "The kernel's launcher was started but did not answer in time. The "
              "gateway's log and the launcher's log say more; restart the kernel to try again.");
    fail(kernel, &cause);
}

/* The order was refused, and its notebook is to show it. Where the refusal may pass, whoever asked
 * is told to ask again. */
static bool is_to_be_shown(const struct kernel *kernel, const struct error *err) {
    return err != NULL && kernel->opening_until_ms != 0 && err->code != ERROR_UNAVAILABLE &&
           err->code != ERROR_TIMEOUT && kernel_may_stand_in(kernel, err);
}

/* One that nobody was told of is as if it had never been. */
static void on_accepted(void *context, const struct error *err) {
    struct kernel *kernel = context;
    struct kernels *kernels = kernel->kernels;
    bool is_shown = !kernel->is_unaccepted || is_to_be_shown(kernel, err);
    kernel->is_unaccepted = false;
    kernel_answer_all(kernels, &kernel->accept_waiters, is_shown ? NULL : err);
    if (err == NULL)
        return;
    kernel_drop_link(kernel); /* to another gateway's launcher, which was seen meanwhile */
    kernels->provisioner->ops->release(steal(&kernel->provision));
    if (is_shown) {
        fail(kernel, err);
        return;
    }
    kernel_post(kernel, KERNEL_EVENT_REMOVED);
    kernel_return_notice(kernel);
    kernel_forget(kernel, err->text, true);
}

static void on_reachable(void *context, const struct provision_address *address) {
    struct kernel *kernel = context;
    struct kernels *kernels = kernel->kernels;
    struct error err;
    enum kernel_phase phase = kernel->status.phase;
    bool is_awaited = phase == KERNEL_LAUNCHING || phase == KERNEL_RESTARTING;
    if (phase == KERNEL_STOPPING || phase == KERNEL_GONE)
        return; /* one that is to end gets no link */
    if (kernel->link != NULL && strcmp(kernel->endpoint, address->endpoint) != 0)
        kernel_drop_link(kernel); /* another gateway has made it another place */
    text_replace(&kernel->endpoint, address->endpoint);
    if (kernel->link != NULL) {
        link_renew(kernel->link);
    } else if (link_open(kernels->links, kernel->id, address, &link_events, kernel, &kernel->link,
                         &err) < 0) {
        fail(kernel, &err);
        return;
    }
    kernel->reachable_ms = clock_monotonic_ms();
    hold_requests(kernel);
    kernel_changed(kernel);
    if (!is_awaited)
        return; /* dead: its launcher keeps its output; else it is somewhere else than it was */
    /* It lives, and may only be slow: a busy disk, a frozen machine. Elsewhere other gateways may
     * reach it, and the provisioner knows how long to wait. */
    if (!kernel->is_spawned || kernels->provisioner->ops->is_elsewhere) {
        kernel_set_stage(kernel, "waiting for the kernel's launcher, which does not answer yet");
        return;
    }
    kernel->deadline = (struct loop_deadline){
        .node = kernel->deadline.node, .run = on_unwelcome, .context = kernel};
    loop_deadline_set(kernels->loop, &kernel->deadline,
                      kernels->settings.launch_timeout_ms + KERNEL_ANSWER_MARGIN_MS);
}

static void on_remade(void *context, const char *why, const char *id) {
    struct kernel *kernel = context;
    log_warning("kernel %s: its launcher was started again in its place: %s", kernel->id, why);
    kernel_explain(kernel, why, id);
}

static void on_ended(void *context, const struct error *cause) {
    struct kernel *kernel = context;
    bool is_gone;
    kernel->has_ended = true;
    set_doubt(kernel, NULL);
    if (kernel->activity.is_end_ordered)
        return; /* whether that is why it ended is about to be known: kernel_end_if */
    if (kernel->status.phase == KERNEL_STOPPING) {
        kernel_finish_stop(kernel);
    } else if (kernel->is_replacing) {
        kernel_start_again(kernel);
    } else if (kernel->is_restarting) { /* it ended before it could do it; that is no news now */
        kernel->is_restarting = false;
        kernel_drop_link(kernel); /* with the order */
        kernel_start_again(kernel);
    } else if (kernel->start_wanted && (cause == NULL || cause->code != ERROR_TIMEOUT)) {
        kernel->start_wanted = false;
        kernel_start_again(kernel);
    } else if (kernel->status.phase == KERNEL_DEAD) {
        if (kernel_resume_dead(kernel))
            return;
        kernel_drop_link(kernel); /* its reason is known already */
        if (kernel->kernels->provisioner->ops->is_elsewhere)
            kernel_keep_dead(kernel); /* but not on record while its pod was there */
        kernel_adoption_settled(kernel);
    } else if (kernel_resume(kernel, cause, &is_gone)) {
        log_last_words(kernel);
    } else if (is_gone) {
        kernel_drop_provision(kernel, KERNEL_SHUT_DOWN); /* that one may not live to do it */
        kernel_forget_gone(kernel, NULL);
    } else {
        struct error unknown;
        error_set(&unknown, ERROR_SYSTEM, "The kernel's launcher ended; nobody knows why.");
        fail(kernel, cause != NULL ? cause : &unknown);
    }
}

const struct provision_events kernel_provision_events = {.accepted = on_accepted,
                                                         .noted = on_noted,
                                                         .shared = on_shared,
                                                         .stage = on_stage,
                                                         .reached = on_reached,
                                                         .reachable = on_reachable,
                                                         .doubted = on_doubted,
                                                         .remade = on_remade,
                                                         .ended = on_ended};
