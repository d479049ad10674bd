/* Which notebook, console or file uses which kernel: the store behind /api/sessions. Notebook
 * servers keep their own; this one is for clients that talk to the gateway directly. Only data:
 * what happens to kernels is api_sessions.c's business. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct sessions;

enum {
    SESSIONS_MAX = 20000,
    SESSION_PATH_MAX = 4096,
    SESSION_NAME_MAX = 1024,
    SESSION_TYPE_MAX = 64
};

/* In a change, NULL leaves the member as it is. */
struct session {
    const char *id; /* UUID */
    const char *path, *name, *type;
    const char *kernel_id;
    const char *owner; /* who asked for it */
};

/* is_alive: false makes the sessions of that kernel disappear with the next look at the store. */
struct sessions *sessions_create(bool (*is_alive)(void *context, const char *kernel_id),
                                 void *context);
void sessions_destroy(struct sessions *sessions);
size_t sessions_count(struct sessions *sessions);
size_t sessions_count_of(struct sessions *sessions, const char *owner);

/* id NULL: a new one. A path belongs to one session of an owner (ERROR_EXISTS); SESSIONS_MAX in all
 * (ERROR_UNAVAILABLE). What is returned lives until the session is changed or removed. */
int sessions_add(struct sessions *sessions, const struct session *session,
                 const struct session **ret, struct error *err);
int sessions_change(struct sessions *sessions, const char *id, const struct session *change,
                    const struct session **ret, struct error *err);
void sessions_remove(struct sessions *sessions, const char *id);

const struct session *sessions_find(struct sessions *sessions, const char *id);
const struct session *sessions_find_path(struct sessions *sessions, const char *owner,
                                         const char *path);
/* The one after `previous` (NULL: the first), oldest first; nothing may be changed on the way. */
const struct session *sessions_next(struct sessions *sessions, const struct session *previous);
/* True for a session that disappeared with its kernel not long ago. */
bool sessions_lost_kernel(struct sessions *sessions, const char *id);

/* {"id", "path", "name", "type", "kernel"[, "notebook"]}; kernel_model is stolen. */
json_t *session_model(const struct session *session, json_t *kernel_model);
/* {"id", "path", "name", "type"}: what the kernel's record keeps. */
json_t *session_record(const struct session *session);
