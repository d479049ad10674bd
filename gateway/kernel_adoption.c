#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/kernels_internal.h"

#include <signal.h>
#include <string.h>

#define LOG_AREA "gateway/kernel_adoption"

static void on_find_again(void *context);
static void on_searched(void *context, const struct error *err);
static void on_looked(void *context, const char *id);

static void finish_if_settled(struct kernels *kernels) {
    if (kernels->searching || kernels->adopting > 0)
        return;
    loop_deadline_clear(kernels->loop, &kernels->adoption);
}

void kernel_adoption_settled(struct kernel *kernel) {
    if (!kernel->is_adopting)
        return;
    kernel->is_adopting = false;
    kernel->kernels->adopting--;
    if (kernel->status.phase == KERNEL_DEAD) { /* it may have been dead for too long already */
        loop_deadline_set(kernel->kernels->loop, &kernel->deadline, kernel_retention_ms(kernel));
        kernel_make_room(kernel);
    }
    finish_if_settled(kernel->kernels);
}

/* Those that have not answered by now are shown as they are: starting, until their launcher speaks
 * or is found dead. */
static void on_patience_ended(void *context) {
    struct kernels *kernels = context;
    log_warning("%zu kernels of an earlier gateway have not answered yet", kernels->adopting);
    list_each (&kernels->all, struct kernel, node, kernel)
        kernel_adoption_settled(kernel);
}

static bool is_dead(const json_t *record) {
    const char *phase = json_string_value(json_object_get(record, "phase"));
    return phase != NULL && strcmp(phase, "dead") == 0;
}

/* Nothing of what a dead one has to tell waits for a launcher. */
static void take_death(struct kernel *kernel, const json_t *record) {
    const char *reason = json_string_value(json_object_get(record, "reason"));
    if (!is_dead(record) || reason == NULL)
        return;
    kernel_set_reason(kernel, reason, NULL);
    text_replace(&kernel->reason_cause, json_string_value(json_object_get(record, "cause")));
    kernel_post(kernel, KERNEL_EVENT_FAILED);
}

/* record NULL: nobody's until its launcher says whose it is. */
static struct kernel *make_found(struct kernels *kernels, const char *id, const json_t *record,
                                 bool is_adopting) {
    struct kernel *kernel = kernel_create(kernels, id);
    kernel->is_adopting = is_adopting;
    kernels->adopting += is_adopting;
    kernel->is_unrecorded = record == NULL;
    kernel_take_record(kernel, record);
    kernel_take_orphans(kernel, record);
    if (kernel->owner == NULL)
        text_replace(&kernel->owner, ""); /* nobody's: administrators see it */
    if (kernel->user == NULL)
        text_replace(&kernel->user, kernel->owner);
    if (kernel->name == NULL)
        text_replace(&kernel->name, "unknown");
    if (kernel->display_name == NULL)
        text_replace(&kernel->display_name, kernel->name);
    memcpy(kernel->last_activity, kernel->created, CLOCK_TEXT_SIZE);
    struct kernel_heir heir = kernel_heir_of(kernel);
    if (kernel_inherited_text(kernel) != NULL)
        kernel_ends_told(kernels->ends, &heir, kernel_inherited_text(kernel));
    kernel_set_stage(kernel, "finding the kernel again");
    take_death(kernel, record);
    return kernel;
}

static void on_found(void *context, const char *id, json_t *record, bool is_served) {
    struct kernels *kernels = context;
    (void)is_served; /* adopt() looks for itself */
    if (!text_is_kernel_id(id) || map_get(kernels->by_id, id) != NULL)
        return;
    make_found(kernels, id, record, true);
}

static void adopt(struct kernel *kernel) {
    struct kernels *kernels = kernel->kernels;
    struct error err;
    if (kernels->provisioner->ops->adopt(kernels->provisioner, kernel->id, &kernel_provision_events,
                                         kernel, &kernel->provision, &err) == 0)
        return;
    log_warning("kernel %s: %s", kernel->id, err.text);
    if (err.code == ERROR_NOT_FOUND) { /* another gateway was about to end it */
        kernel_forget_gone(kernel, NULL);
        return;
    }
    kernel_set_cause(kernel, &err);
    kernel_post(kernel, KERNEL_EVENT_FAILED);
    kernel_adoption_settled(kernel);
}

static bool is_unserved(const struct kernel *kernel) {
    return kernel->status.phase == KERNEL_DEAD &&
           (kernel->provision == NULL || kernel->has_ended) && !kernel->is_restarting &&
           !kernel->is_stopping;
}

/* One that was dead without a launcher, and to which another gateway has given one. If the record
 * does not say yet what becomes of it, the launcher will. */
static void follow(struct kernel *kernel, const json_t *record) {
    log_info("kernel %s: another gateway has started it again", kernel->id);
    if (kernel->provision != NULL)
        kernel->kernels->provisioner->ops->release(steal(&kernel->provision));
    kernel_drop_sharing(kernel);
    kernel->has_ended = kernel->is_spawned = kernel->start_wanted = false;
    kernel_take_orphans(kernel, record);
    if (record != NULL && !is_dead(record))
        kernel_post(kernel, KERNEL_EVENT_START);
    adopt(kernel);
}

/* Another gateway has started it, or our own has, which is known. */
static void on_other_found(void *context, const char *id, json_t *record, bool is_served) {
    struct kernels *kernels = context;
    struct kernel *known = map_get(kernels->by_id, id);
    if (known != NULL && is_served && is_unserved(known))
        follow(known, record);
    if (kernels->searching || known != NULL)
        return;
    log_info("kernel %s: another gateway has started it", id);
    struct kernel *kernel = make_found(kernels, id, record, false);
    adopt(kernel);
    if (kernels->found != NULL)
        kernels->found(kernels->found_context, kernel);
}

/* What a tombstone has for the owner's next kernel, or what its own kernel has told. */
static bool read_bequest(const json_t *bequest, struct kernel_heir *ret, const char **ret_text) {
    ret->user = json_string_value(json_object_get(bequest, "user"));
    ret->spec = json_string_value(json_object_get(bequest, "spec"));
    ret->directory = json_string_value(json_object_get(bequest, "directory"));
    *ret_text = json_string_value(json_object_get(bequest, "text"));
    return *ret_text != NULL && ret->user != NULL && ret->spec != NULL && ret->directory != NULL;
}

/* What the owner's next kernel is to say, whichever gateway starts it: once, though these
 * tombstones are read again, in any order, by each gateway that starts. */
static void take_bequests(struct kernels *kernels, const char *id, const json_t *record,
                          bool is_ours) {
    struct kernel_heir heir;
    const char *text;
    if (read_bequest(json_object_get(record, "told"), &heir, &text))
        kernel_ends_told(kernels->ends, &heir, text);
    if (!is_ours && json_object_get(record, "told_by") == NULL &&
        read_bequest(json_object_get(record, "bequest"), &heir, &text))
        kernel_ends_bequeath(kernels->ends, &heir, text, id);
}

/* Another gateway has ended it. What we end ourselves goes its own way. */
static void on_other_gone(void *context, const char *id, const json_t *record, const char *why) {
    struct kernels *kernels = context;
    struct kernel *kernel = map_get(kernels->by_id, id);
    const char *owner = json_string_value(json_object_get(record, "owner"));
    if (kernel == NULL && owner != NULL && why != NULL)
        kernel_ends_bury(kernels->ends, id, owner, why, true);
    take_bequests(kernels, id, record, kernel != NULL && kernel->bequest != NULL);
    if (kernel == NULL || kernel->provision == NULL || kernel->is_stopping || kernel->is_restarting)
        return;
    if (kernel->activity.is_end_ordered) /* it may be our doing, and is about to be known */
        kernel->activity.is_gone = true;
    else
        kernel_forget_gone(kernel, why);
}

void kernel_forget_gone(struct kernel *kernel, const char *why) {
    log_info("kernel %s: another gateway has ended it", kernel->id);
    cleanup_free char *reason = memory_strdup(why ? why : "it was ended through another gateway");
    const struct provisioner_ops *ops = kernel->kernels->provisioner->ops;
    struct error err; /* one that was started since then has no place and is to end */
    if (kernel->provision != NULL)
        (void)ops->signal(kernel->provision, SIGINT, &err);
    kernel_drop_link(kernel);
    if (kernel->provision != NULL)
        ops->release(steal(&kernel->provision));
    kernel_post(kernel, KERNEL_EVENT_REMOVED);
    kernel_forget(kernel, reason, true);
}

static void on_removed(void *context, const char *id, const struct error *err) {
    kernels_removed(context, id, err);
}

static void watch_others(struct kernels *kernels) {
    static const struct provisioner_watch watch = {.found = on_other_found,
                                                   .gone = on_other_gone,
                                                   .searched = on_searched,
                                                   .looked = on_looked,
                                                   .removed = on_removed};
    const struct provisioner_ops *ops = kernels->provisioner->ops;
    struct error err;
    if (ops->watch != NULL && ops->watch(kernels->provisioner, &watch, kernels, &err) < 0)
        log_warning("kernels of other gateways are found only when somebody asks for them: %s",
                    err.text);
}

void kernels_on_found(struct kernels *kernels, void (*found)(void *context, struct kernel *kernel),
                      void *context) {
    kernels->found = found;
    kernels->found_context = context;
}

bool kernel_is_unheard(const struct kernel *kernel) {
    return kernel->provision != NULL && !kernel->has_ended && !kernel->is_spawned &&
           (kernel->link == NULL || !link_is_up(kernel->link));
}

bool kernel_is_taken_up(struct kernel *kernel) {
    const struct kernels *kernels = kernel->kernels;
    if (!is_unserved(kernel) || kernels->provisioner->ops->look == NULL)
        return false;
    (void)kernels->provisioner->ops->look(kernels->provisioner, kernel->id);
    return !is_unserved(kernel);
}

/* Somebody who waits until it is known whether there is a kernel. */
struct looker {
    struct list_node node;
    char id[129];
    void (*done)(void *context);
    void *context;
};

struct kernel *kernels_look_for(struct kernels *kernels, const char *id, bool *is_pending) {
    const struct provisioner_ops *ops = kernels->provisioner->ops;
    struct kernel *kernel = kernels_find(kernels, id);
    bool is_known = kernels->looked != NULL && strcmp(kernels->looked, id) == 0;
    *is_pending = false;
    if (kernel != NULL)
        (void)kernel_is_taken_up(kernel);
    if (kernel != NULL || is_known || kernels->searching || ops->look == NULL ||
        !text_is_kernel_id(id))
        return kernel;
    *is_pending = ops->look(kernels->provisioner, id) > 0;
    return kernels_find(kernels, id);
}

void kernels_await_look(struct kernels *kernels, const char *id, void (*done)(void *context),
                        void *context) {
    struct looker *looker = memory_alloc(sizeof *looker);
    snprintf(looker->id, sizeof looker->id, "%s", id);
    looker->done = done;
    looker->context = context;
    list_append(&kernels->lookers, &looker->node);
}

static void on_looked(void *context, const char *id) {
    struct kernels *kernels = context;
    struct list theirs; /* who comes meanwhile looks again */
    list_init(&theirs);
    list_each (&kernels->lookers, struct looker, node, looker) {
        if (strcmp(looker->id, id) != 0)
            continue;
        list_remove(&looker->node);
        list_append(&theirs, &looker->node);
    }
    kernels->looked = id;
    list_each (&theirs, struct looker, node, looker) {
        list_remove(&looker->node);
        looker->done(looker->context);
        free(looker);
    }
    kernels->looked = NULL;
}

void kernels_drop_lookers(struct kernels *kernels) {
    list_each (&kernels->lookers, struct looker, node, looker) {
        list_remove(&looker->node);
        free(looker);
    }
}

/* Everything was found; now each is taken over. */
static void adopt_found(struct kernels *kernels) {
    kernels->searching = false;
    if (kernels->adopting == 0)
        return;
    log_info("%zu kernels of an earlier gateway were found", kernels->adopting);
    kernels->adoption = (struct loop_deadline){
        .node = kernels->adoption.node, .run = on_patience_ended, .context = kernels};
    loop_deadline_set(kernels->loop, &kernels->adoption, KERNELS_ADOPTION_MS);
    list_each (&kernels->all, struct kernel, node, kernel) {
        if (kernel->is_adopting && kernel->provision == NULL)
            adopt(kernel);
    }
}

/* An empty list would make clients forget their kernels: rather no answer than a wrong one. */
static void on_searched(void *context, const struct error *err) {
    struct kernels *kernels = context;
    if (err == NULL) {
        adopt_found(kernels);
        return;
    }
    log_error("the kernels of an earlier gateway cannot be looked for, trying again: %s",
              err->text);
    kernels->adoption = (struct loop_deadline){
        .node = kernels->adoption.node, .run = on_find_again, .context = kernels};
    loop_deadline_set(kernels->loop, &kernels->adoption, KERNELS_FIND_AGAIN_MS);
}

void kernels_adopt(struct kernels *kernels) {
    struct error err;
    kernels->searching = true;
    watch_others(kernels);
    int result = kernels->provisioner->ops->find(kernels->provisioner, on_found, kernels, &err);
    if (result <= 0)
        on_searched(kernels, result < 0 ? &err : NULL);
}

static void on_find_again(void *context) {
    kernels_adopt(context);
}

bool kernels_is_adopting(const struct kernels *kernels) {
    return kernels->searching || kernels->adopting > 0;
}
