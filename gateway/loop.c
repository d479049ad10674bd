#include "gateway/loop.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdbool.h>
#include <stdlib.h>

/* An event may make itself active again (a ZeroMQ socket that still has messages). libevent would
 * then never come back from its queue: after so many callbacks it has to look at the descriptors
 * and timers. */
enum { CALLBACKS_MAX = 32 };

/* How late it runs is told by deadlines; where nobody waits for one, by this. */
enum { LAG_PROBE_MS = 2000 };

struct loop {
    struct event_base *base;
    struct event *timer; /* for the first deadline */
    struct event *turn;  /* runs the tasks, behind the callbacks that are due already */
    struct heap deadlines;
    struct list tasks;
    struct histogram lag;
    struct loop_deadline lag_probe;
    bool stopping;
};

static void arm_timer(struct loop *loop) {
    struct heap_node *first = heap_first(&loop->deadlines);
    if (first == NULL) {
        event_del(loop->timer);
        return;
    }
    int64_t wait = first->when_ms - clock_monotonic_ms();
    if (wait < 0)
        wait = 0;
    struct timeval after = {.tv_sec = wait / 1000, .tv_usec = (wait % 1000) * 1000};
    event_add(loop->timer, &after);
}

static void on_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct loop *loop = context;
    int64_t now = clock_monotonic_ms();
    struct heap_node *first;
    while ((first = heap_first(&loop->deadlines)) != NULL && first->when_ms <= now) {
        struct loop_deadline *deadline = list_entry(first, struct loop_deadline, node);
        histogram_add(&loop->lag, &histogram_lag, (now - first->when_ms) * 1000);
        heap_remove(&loop->deadlines, first);
        deadline->run(deadline->context);
    }
    arm_timer(loop);
}

static void run_tasks(evutil_socket_t fd, short what, void *context);

static void on_lag_probe(void *context) {
    struct loop *loop = context;
    loop_deadline_set(loop, &loop->lag_probe, LAG_PROBE_MS);
}

static struct event_base *create_base(void) {
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL &&
        event_config_set_max_dispatch_interval(config, NULL, CALLBACKS_MAX, 0) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    return base;
}

struct loop *loop_create(void) {
    struct loop *loop = memory_alloc(sizeof *loop);
    list_init(&loop->tasks);
    loop->lag_probe = (struct loop_deadline){.run = on_lag_probe, .context = loop};
    loop->base = create_base();
    if (loop->base != NULL) {
        loop->timer = evtimer_new(loop->base, on_timer, loop);
        loop->turn = event_new(loop->base, -1, EV_PERSIST, run_tasks, loop);
    }
    if (loop->timer == NULL || loop->turn == NULL)
        abort(); /* no epoll descriptor: nothing can run */
    return loop;
}

void loop_destroy(struct loop *loop) {
    if (loop == NULL)
        return;
    event_free(loop->timer);
    event_free(loop->turn);
    event_base_free(loop->base);
    heap_free(&loop->deadlines);
    free(loop);
}

struct event_base *loop_base(struct loop *loop) {
    return loop->base;
}

const struct histogram *loop_lag(const struct loop *loop) {
    return &loop->lag;
}

/* Tasks that tasks post run in the same sweep: the queue is empty when the loop sleeps. */
static void run_tasks(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct loop *loop = context;
    while (!list_is_empty(&loop->tasks)) {
        struct loop_task *task = list_entry(loop->tasks.head.next, struct loop_task, node);
        list_remove(&task->node);
        task->run(task->context);
    }
}

void loop_run(struct loop *loop) {
    loop_deadline_set(loop, &loop->lag_probe, LAG_PROBE_MS);
    run_tasks(-1, 0, loop);
    if (!loop->stopping)
        event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
    run_tasks(-1, 0, loop);
    loop->stopping = false; /* it may be run again */
}

void loop_stop(struct loop *loop) {
    loop->stopping = true;
    event_base_loopbreak(loop->base);
}

void loop_post(struct loop *loop, struct loop_task *task) {
    if (list_node_is_linked(&task->node))
        return;
    if (list_is_empty(&loop->tasks))
        event_active(loop->turn, EV_TIMEOUT, 0);
    list_append(&loop->tasks, &task->node);
}

void loop_finish(struct loop *loop) {
    run_tasks(-1, 0, loop);
}

void loop_cancel(struct loop_task *task) {
    list_remove(&task->node);
}

void loop_deadline_set(struct loop *loop, struct loop_deadline *deadline, int64_t in_ms) {
    heap_set(&loop->deadlines, &deadline->node, clock_monotonic_ms() + in_ms);
    if (heap_first(&loop->deadlines) == &deadline->node)
        arm_timer(loop);
}

void loop_deadline_clear(struct loop *loop, struct loop_deadline *deadline) {
    heap_remove(&loop->deadlines, &deadline->node); /* the timer may fire once for nothing */
}
