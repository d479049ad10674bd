/* Work that may hang, on threads of its own: whoever touches a file of a network file system waits
 * for as long as its server does not answer, and the event loop may not.
 *
 * A job is alone with what it works on until its result is handed back, so that nothing needs a
 * lock. It may not log. One job at a time touches a place, and only some places are touched at
 * once: what hangs holds up its own place, and few threads. */
#pragma once

#include "base/error.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

enum { BACKGROUND_THREADS = 4, BACKGROUND_JOBS = 4096, BACKGROUND_DEADLINE_MS = 10000 };

struct background;
struct background_job;

struct background_work {
    const char *place;        /* the directory whose server may hang; copied */
    int64_t deadline_ms;      /* for the result; 0: whenever it comes */
    void (*run)(void *work);  /* on a thread */
    void (*free)(void *work); /* on the loop, after done, or later where it hangs */
    void *work;               /* taken over */
    /* On the loop, once, never from inside background_start. err: there is no result, and work is
     * not to be touched; ERROR_UNAVAILABLE: "The directory ... does not answer". */
    void (*done)(void *context, void *work, const struct error *err);
    void *context;
};

struct background *background_create(struct event_base *loop);
/* What is still waited for is told that there is no result. True: a job hangs. Its thread stays,
 * with what it works on: the process must go by _exit. */
bool background_destroy(struct background *background);

/* Where the place has not answered a job within its deadline, further ones for it end at once until
 * it does. */
struct background_job *background_start(struct background *background,
                                        const struct background_work *what);
/* done is not called any more. NULL: nothing to do. */
void background_cancel(struct background_job *job);
