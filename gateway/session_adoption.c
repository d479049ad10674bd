#include "gateway/session_adoption.h"

#include "base/log.h"
#include "base/memory.h"

#include <stdlib.h>

#define LOG_AREA "gateway/session_adoption"

enum { POLL_MS = 20 };

struct session_adoption {
    struct loop *loop;
    struct kernels *kernels;
    struct sessions *sessions;
    struct loop_deadline poll;
    struct list waiters;
    size_t found;
    bool done;
};

static void take_over(struct session_adoption *adoption, const struct kernel *kernel) {
    const json_t *kept = kernel_session(kernel);
    struct session session = {
        .id = json_string_value(json_object_get(kept, "id")),
        .path = json_string_value(json_object_get(kept, "path")),
        .name = json_string_value(json_object_get(kept, "name")),
        .type = json_string_value(json_object_get(kept, "type")),
        .kernel_id = kernel_id(kernel),
        .owner = kernel_owner(kernel),
    };
    if (session.path == NULL || session.owner == NULL)
        return; /* a kernel without a session: the usual case behind a notebook server */
    struct error err = {0};
    const struct session *added;
    if (sessions_add(adoption->sessions, &session, &added, &err) < 0)
        log_warning("the session of kernel %s is left out: %s", session.kernel_id, err.text);
    else
        adoption->found++;
}

static void on_found(void *context, struct kernel *kernel) {
    take_over(context, kernel);
}

static void on_poll(void *context) {
    struct session_adoption *adoption = context;
    if (kernels_is_adopting(adoption->kernels)) {
        loop_deadline_set(adoption->loop, &adoption->poll, POLL_MS);
        return;
    }
    struct kernel *kernel = NULL;
    while ((kernel = kernels_next(adoption->kernels, kernel)) != NULL)
        take_over(adoption, kernel);
    adoption->done = true;
    kernels_on_found(adoption->kernels, on_found, adoption);
    if (adoption->found > 0)
        log_info("sessions taken over from an earlier gateway: %zu", adoption->found);
    while (!list_is_empty(&adoption->waiters)) {
        struct session_waiter *waiter =
            list_entry(adoption->waiters.head.next, struct session_waiter, node);
        list_remove(&waiter->node);
        waiter->ready(waiter->context);
    }
}

struct session_adoption *session_adoption_start(struct loop *loop, struct kernels *kernels,
                                                struct sessions *sessions) {
    struct session_adoption *adoption = memory_alloc(sizeof *adoption);
    adoption->loop = loop;
    adoption->kernels = kernels;
    adoption->sessions = sessions;
    adoption->poll = (struct loop_deadline){.run = on_poll, .context = adoption};
    list_init(&adoption->waiters);
    on_poll(adoption);
    return adoption;
}

void session_adoption_destroy(struct session_adoption *adoption) {
    if (adoption == NULL)
        return;
    loop_deadline_clear(adoption->loop, &adoption->poll);
    list_each (&adoption->waiters, struct session_waiter, node, waiter)
        list_remove(&waiter->node);
    free(adoption);
}

bool session_adoption_is_done(const struct session_adoption *adoption) {
    return adoption->done;
}

void session_adoption_wait(struct session_adoption *adoption, struct session_waiter *waiter) {
    if (adoption->done)
        waiter->ready(waiter->context);
    else
        list_append(&adoption->waiters, &waiter->node);
}
