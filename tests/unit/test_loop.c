/* The loop is fair: an event that makes itself active again and again keeps nobody else from a
 * turn. */
#include "gateway/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

enum { TURNS_MAX = 1000000 };

struct scene {
    struct loop *loop;
    struct event *greedy;
    struct event *quiet;
    struct loop_task task;
    struct loop_deadline deadline;
    int turns;
    int task_at, deadline_at, quiet_at; /* turns of the greedy one before theirs */
};

static void stop_when_all_had_a_turn(struct scene *scene) {
    if (scene->task_at && scene->deadline_at && scene->quiet_at)
        loop_stop(scene->loop);
}

static void on_greedy(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct scene *scene = context;
    if (scene->turns == 0)
        loop_post(scene->loop, &scene->task);
    if (++scene->turns < TURNS_MAX)
        event_active(scene->greedy, EV_READ, 0);
    else
        loop_stop(scene->loop);
}

static void on_quiet(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct scene *scene = context;
    char byte;
    if (read(fd, &byte, 1) == 1)
        scene->quiet_at = scene->turns;
    stop_when_all_had_a_turn(scene);
}

static void on_task(void *context) {
    struct scene *scene = context;
    scene->task_at = scene->turns;
    stop_when_all_had_a_turn(scene);
}

static void on_deadline(void *context) {
    struct scene *scene = context;
    scene->deadline_at = scene->turns;
    stop_when_all_had_a_turn(scene);
}

static void test_a_greedy_event_starves_nobody(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct scene scene = {.loop = loop_create()};
    scene.greedy = event_new(loop_base(scene.loop), -1, EV_PERSIST, on_greedy, &scene);
    scene.quiet = event_new(loop_base(scene.loop), ends[0], EV_READ, on_quiet, &scene);
    scene.task = (struct loop_task){.run = on_task, .context = &scene};
    scene.deadline = (struct loop_deadline){.run = on_deadline, .context = &scene};
    event_add(scene.quiet, NULL);
    loop_deadline_set(scene.loop, &scene.deadline, 1);
    assert_int_equal(write(ends[1], "x", 1), 1);
    event_active(scene.greedy, EV_READ, 0);
    loop_run(scene.loop);
    assert_in_range(scene.task_at, 1, 100);
    assert_in_range(scene.quiet_at, 1, 100);
    assert_in_range(scene.deadline_at, 1, TURNS_MAX - 1);
    event_free(scene.greedy);
    event_free(scene.quiet);
    loop_destroy(scene.loop);
    close(ends[0]);
    close(ends[1]);
}

static void add_one(void *context) {
    ++*(int *)context;
}

static void stop_loop(void *context) {
    loop_stop(context);
}

static void test_tasks_run_before_the_loop_sleeps_and_once(void **state) {
    (void)state;
    struct loop *loop = loop_create();
    int runs = 0;
    struct loop_task first = {.run = add_one, .context = &runs};
    struct loop_task cancelled = {.run = add_one, .context = &runs};
    struct loop_task last = {.run = stop_loop, .context = loop};
    loop_post(loop, &first);
    loop_post(loop, &first);
    loop_post(loop, &cancelled);
    loop_cancel(&cancelled);
    loop_post(loop, &last);
    loop_run(loop);
    assert_int_equal(runs, 1);
    loop_destroy(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_greedy_event_starves_nobody),
        cmocka_unit_test(test_tasks_run_before_the_loop_sleeps_and_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
