/* All homes of a gateway: kernels of one user that start together share one preparation, and what
 * was ready a moment ago is not asked for again. */
#pragma once

#include "base/error.h"
#include "nfs/home.h"

#include <event2/event.h>
#include <stdint.h>

struct homes;
struct home_wait;

enum {
    HOMES_FRESH_MS = 30000,  /* so long a home that was ready is */
    HOMES_KNOWN_MAX = 10000, /* those that are fresh beyond are forgotten, all at once */
};

struct homes *homes_create(struct event_base *loop);
void homes_destroy(struct homes *homes); /* with its waits; NULL is fine */

/* As home_prepare; who comes later may be told earlier than deadline_ms. */
struct home_wait *homes_prepare(struct homes *homes, const struct home_target *target,
                                int64_t deadline_ms, home_done *done, void *context);
void home_wait_cancel(struct home_wait *wait); /* done is not called; NULL is fine */
