/* Brings the sessions of an earlier gateway back: each kernel's record holds the session that it
 * belongs to. */
#pragma once

#include "base/list.h"
#include "gateway/kernels.h"
#include "gateway/loop.h"
#include "gateway/sessions.h"

#include <stdbool.h>

struct session_adoption;

/* Waits for the kernels' own adoption, then looks through them once. */
struct session_adoption *session_adoption_start(struct loop *loop, struct kernels *kernels,
                                                struct sessions *sessions);
/* Waiters are let go of without a call. */
void session_adoption_destroy(struct session_adoption *adoption);
bool session_adoption_is_done(const struct session_adoption *adoption);

struct session_waiter {
    struct list_node node;
    void (*ready)(void *context); /* the waiter may be freed in it */
    void *context;
};
/* ready() comes when it is done: at once if it is. */
void session_adoption_wait(struct session_adoption *adoption, struct session_waiter *waiter);
