/* The gateway's one event loop: libevent, plus what it lacks: work to be done at the end of a turn,
 * and deadlines by the thousand on one timer. Objects are freed from a task, never under a
 * callback. */
#pragma once

#include "base/heap.h"
#include "base/list.h"

#include "gateway/histogram.h"

#include <event2/event.h>
#include <stdint.h>

struct loop;

/* Runs once, at the end of the turn it was posted in. Embed it; posting a posted task does
 * nothing. */
struct loop_task {
    struct list_node node;
    void (*run)(void *context);
    void *context;
};

/* Runs once, at or after its time. Embed it; setting again moves it. */
struct loop_deadline {
    struct heap_node node;
    void (*run)(void *context);
    void *context;
};

struct loop *loop_create(void);
void loop_destroy(struct loop *loop);
struct event_base *loop_base(struct loop *loop);
/* How late deadlines ran, by histogram_lag. */
const struct histogram *loop_lag(const struct loop *loop);

void loop_run(struct loop *loop); /* until loop_stop */
void loop_stop(struct loop *loop);

void loop_post(struct loop *loop, struct loop_task *task);
/* Runs what is posted, without a turn: for the way out, where objects end by tasks of their own. */
void loop_finish(struct loop *loop);
void loop_cancel(struct loop_task *task);

void loop_deadline_set(struct loop *loop, struct loop_deadline *deadline, int64_t in_ms);
void loop_deadline_clear(struct loop *loop, struct loop_deadline *deadline);
