#include "gateway/sessions.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { LOST_MAX = 256, ID_SIZE = 129 };

struct stored {
    struct list_node node;
    struct session session; /* its texts are ours */
};

struct sessions {
    struct list list; /* oldest first */
    size_t count;
    bool (*is_alive)(void *context, const char *kernel_id);
    void *context;
    char lost[LOST_MAX][ID_SIZE]; /* a ring: the last ones that went with their kernel */
    size_t lost_next;
};

struct sessions *sessions_create(bool (*is_alive)(void *context, const char *kernel_id),
                                 void *context) {
    struct sessions *sessions = memory_alloc(sizeof *sessions);
    list_init(&sessions->list);
    sessions->is_alive = is_alive;
    sessions->context = context;
    return sessions;
}

static void set_text(const char **member, const char *text) {
    if (text == NULL)
        return;
    char *copy = memory_strdup(text); /* first: text may be what stands there */
    free((void *)(uintptr_t)*member);
    *member = copy;
}

static void stored_destroy(struct sessions *sessions, struct stored *stored) {
    list_remove(&stored->node);
    sessions->count--;
    const char *const texts[] = {stored->session.id,        stored->session.path,
                                 stored->session.name,      stored->session.type,
                                 stored->session.kernel_id, stored->session.owner};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free((void *)(uintptr_t)texts[i]);
    free(stored);
}

void sessions_destroy(struct sessions *sessions) {
    if (sessions == NULL)
        return;
    list_each (&sessions->list, struct stored, node, stored)
        stored_destroy(sessions, stored);
    free(sessions);
}

static void forget_lost(struct sessions *sessions) {
    list_each (&sessions->list, struct stored, node, stored) {
        if (sessions->is_alive(sessions->context, stored->session.kernel_id))
            continue;
        snprintf(sessions->lost[sessions->lost_next], ID_SIZE, "%s", stored->session.id);
        sessions->lost_next = (sessions->lost_next + 1) % LOST_MAX;
        stored_destroy(sessions, stored);
    }
}

size_t sessions_count(struct sessions *sessions) {
    forget_lost(sessions);
    return sessions->count;
}

size_t sessions_count_of(struct sessions *sessions, const char *owner) {
    size_t count = 0;
    forget_lost(sessions);
    list_each (&sessions->list, struct stored, node, stored)
        count += strcmp(stored->session.owner, owner) == 0;
    return count;
}

static struct stored *find(struct sessions *sessions, const char *id) {
    forget_lost(sessions);
    list_each (&sessions->list, struct stored, node, stored) {
        if (strcmp(stored->session.id, id) == 0)
            return stored;
    }
    return NULL;
}

const struct session *sessions_find(struct sessions *sessions, const char *id) {
    struct stored *stored = find(sessions, id);
    return stored != NULL ? &stored->session : NULL;
}

const struct session *sessions_find_path(struct sessions *sessions, const char *owner,
                                         const char *path) {
    forget_lost(sessions);
    list_each (&sessions->list, struct stored, node, stored) {
        if (strcmp(stored->session.path, path) == 0 && strcmp(stored->session.owner, owner) == 0)
            return &stored->session;
    }
    return NULL;
}

const struct session *sessions_next(struct sessions *sessions, const struct session *previous) {
    struct list_node *node = &sessions->list.head;
    if (previous == NULL)
        forget_lost(sessions);
    else
        node = &list_entry((void *)(uintptr_t)previous, struct stored, session)->node;
    node = node->next;
    return node == &sessions->list.head ? NULL : &list_entry(node, struct stored, node)->session;
}

bool sessions_lost_kernel(struct sessions *sessions, const char *id) {
    forget_lost(sessions);
    for (size_t i = 0; i < LOST_MAX; i++)
        if (id[0] != '\0' && strcmp(sessions->lost[i], id) == 0)
            return true;
    return false;
}

static int check_path(struct sessions *sessions, const char *owner, const char *path,
                      const struct session *self, struct error *err) {
    const struct session *other = sessions_find_path(sessions, owner, path);
    if (other == NULL || other == self)
        return 0;
    return error_set(err, ERROR_EXISTS, "path: '%.200s' has a session already: %s", path,
                     other->id);
}

int sessions_add(struct sessions *sessions, const struct session *session,
                 const struct session **ret, struct error *err) {
    char uuid[37];
    const char *id = session->id;
    if (id == NULL) {
        text_uuid4(uuid);
        id = uuid;
    }
    if (sessions_find(sessions, id) != NULL)
        return error_set(err, ERROR_EXISTS, "session %s exists already", id);
    if (check_path(sessions, session->owner, session->path, NULL, err) < 0)
        return -1;
    if (sessions->count >= SESSIONS_MAX)
        return error_set(err, ERROR_UNAVAILABLE, "there are %d sessions already: delete some",
                         SESSIONS_MAX);
    struct stored *stored = memory_alloc(sizeof *stored);
    set_text(&stored->session.id, id);
    set_text(&stored->session.path, session->path);
    set_text(&stored->session.name, session->name != NULL ? session->name : "");
    set_text(&stored->session.type, session->type != NULL ? session->type : "");
    set_text(&stored->session.kernel_id, session->kernel_id);
    set_text(&stored->session.owner, session->owner);
    list_append(&sessions->list, &stored->node);
    sessions->count++;
    *ret = &stored->session;
    return 0;
}

int sessions_change(struct sessions *sessions, const char *id, const struct session *change,
                    const struct session **ret, struct error *err) {
    struct stored *stored = find(sessions, id);
    if (stored == NULL)
        return error_set(err, ERROR_NOT_FOUND, "Session not found: session_id=%.128s", id);
    if (change->path != NULL &&
        check_path(sessions, stored->session.owner, change->path, &stored->session, err) < 0)
        return -1;
    set_text(&stored->session.path, change->path);
    set_text(&stored->session.name, change->name);
    set_text(&stored->session.type, change->type);
    set_text(&stored->session.kernel_id, change->kernel_id);
    *ret = &stored->session;
    return 0;
}

void sessions_remove(struct sessions *sessions, const char *id) {
    list_each (&sessions->list, struct stored, node, stored) {
        if (strcmp(stored->session.id, id) != 0)
            continue;
        stored_destroy(sessions, stored);
        return;
    }
}

json_t *session_record(const struct session *session) {
    return json_pack("{s:s, s:s, s:s, s:s}", "id", session->id, "path", session->path, "name",
                     session->name, "type", session->type);
}

json_t *session_model(const struct session *session, json_t *kernel_model) {
    json_t *model = session_record(session);
    json_object_set_new(model, "kernel", kernel_model);
    /* What clients before Notebook 5 read; jupyter_server still sends it. */
    if (strcmp(session->type, "notebook") == 0)
        json_object_set_new(model, "notebook",
                            json_pack("{s:s, s:s}", "path", session->path, "name", session->name));
    return model;
}
