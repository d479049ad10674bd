#include "gateway/session_adoption.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"

#define LOG_AREA "gateway/session_adoption"

enum { POLL_MS = 20, RECORD_TIMEOUT_MS = 5000 };

struct session_adoption {
    struct loop *loop;
    struct kernels *kernels;
    struct sessions *sessions;
    struct loop_deadline poll;
    struct list questions; /* record_get under way */
    struct list waiters;
    size_t found;
    bool asked, done;
};

struct question {
    struct list_node node;
    struct session_adoption *adoption;
    char *kernel_id;
};

static void question_destroy(struct question *question) {
    list_remove(&question->node);
    free(question->kernel_id);
    free(question);
}

static void finish_if_answered(struct session_adoption *adoption) {
    if (adoption->done || !adoption->asked || !list_is_empty(&adoption->questions))
        return;
    adoption->done = true;
    if (adoption->found > 0)
        log_info("sessions taken over from an earlier gateway: %zu", adoption->found);
    while (!list_is_empty(&adoption->waiters)) {
        struct session_waiter *waiter =
            list_entry(adoption->waiters.head.next, struct session_waiter, node);
        list_remove(&waiter->node);
        waiter->ready(waiter->context);
    }
}

static void take_over(struct session_adoption *adoption, const struct kernel *kernel,
                      const json_t *record) {
    const json_t *kept = json_object_get(record, "session");
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

static void on_record(void *context, const json_t *result, const struct error *err) {
    struct question *question = context;
    struct session_adoption *adoption = question->adoption;
    const struct kernel *kernel = kernels_find(adoption->kernels, question->kernel_id);
    if (err != NULL)
        log_warning("the session of kernel %s is not known: %s", question->kernel_id, err->text);
    else if (kernel != NULL)
        take_over(adoption, kernel, json_object_get(result, "record"));
    question_destroy(question);
    finish_if_answered(adoption);
}

static void ask_launchers(struct session_adoption *adoption) {
    static const struct auth_identity everybody = {.name = "", .role = AUTH_ADMIN};
    cleanup_json json_t *models = kernels_list(adoption->kernels, &everybody);
    size_t index;
    json_t *model;
    json_array_foreach(models, index, model) {
        const char *id = json_string_value(json_object_get(model, "id"));
        const struct kernel *kernel = id != NULL ? kernels_find(adoption->kernels, id) : NULL;
        struct link *link = kernel != NULL ? kernel_link(kernel) : NULL;
        if (link == NULL)
            continue;
        struct question *question = memory_alloc(sizeof *question);
        question->adoption = adoption;
        question->kernel_id = memory_strdup(id);
        list_append(&adoption->questions, &question->node);
        link_command(link, "record_get", NULL, RECORD_TIMEOUT_MS, on_record, question);
    }
    adoption->asked = true;
    finish_if_answered(adoption);
}

static void on_poll(void *context) {
    struct session_adoption *adoption = context;
    if (kernels_is_adopting(adoption->kernels))
        loop_deadline_set(adoption->loop, &adoption->poll, POLL_MS);
    else
        ask_launchers(adoption);
}

struct session_adoption *session_adoption_start(struct loop *loop, struct kernels *kernels,
                                                struct sessions *sessions) {
    struct session_adoption *adoption = memory_alloc(sizeof *adoption);
    adoption->loop = loop;
    adoption->kernels = kernels;
    adoption->sessions = sessions;
    adoption->poll = (struct loop_deadline){.run = on_poll, .context = adoption};
    list_init(&adoption->questions);
    list_init(&adoption->waiters);
    on_poll(adoption);
    return adoption;
}

void session_adoption_destroy(struct session_adoption *adoption) {
    if (adoption == NULL)
        return;
    loop_deadline_clear(adoption->loop, &adoption->poll);
    list_each (&adoption->questions, struct question, node, question)
        question_destroy(question);
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
