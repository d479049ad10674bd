/* The launcher's timers on zloop, which may call one that was ended (launcher_timer_fired). */
#include "base/clock.h"
#include "base/memory.h"
#include "launcher/launcher_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { DUE_MS = 20 };

struct fixture {
    struct launcher *launcher; /* only its loop and two of its timers */
    zmq_pollitem_t item;       /* nothing comes on it */
    int pipe[2];
    bool sets_anew;
    int calls, fired;
};

static struct fixture fixture;

static int on_end(zloop_t *loop, int timer, void *context) {
    (void)loop, (void)timer, (void)context;
    return -1;
}

static int on_due(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    fixture.calls++;
    if (!launcher_timer_fired(&launcher->ending_timer, timer))
        return 0;
    assert_int_equal(launcher->ending_timer, 0);
    fixture.fired++;
    return -1;
}

static int on_nothing(zloop_t *loop, zmq_pollitem_t *item, void *context) {
    (void)loop, (void)item, (void)context;
    return -1;
}

/* Takes until the other one is due, as starting a process on a busy machine does, and ends it. */
static int on_slow(zloop_t *loop, int timer, void *context) {
    struct launcher *launcher = context;
    int64_t due_ms = clock_monotonic_ms() + 2 * DUE_MS;
    assert_true(launcher_timer_fired(&launcher->settle_timer, timer));
    while (clock_monotonic_ms() < due_ms)
        ;
    zloop_poller_end(loop, &fixture.item);
    launcher_timer_clear(launcher, &launcher->ending_timer);
    if (fixture.sets_anew)
        launcher_timer_set(launcher, &launcher->ending_timer, DUE_MS, on_due);
    else
        zloop_timer(loop, 2 * DUE_MS, 1, on_end, NULL);
    return 0;
}

static void run(void) {
    struct launcher *launcher = fixture.launcher;
    launcher_timer_set(launcher, &launcher->settle_timer, 1, on_slow);
    launcher_timer_set(launcher, &launcher->ending_timer, DUE_MS, on_due);
    zloop_poller(launcher->loop, &fixture.item, on_nothing, NULL);
    zloop_start(launcher->loop);
}

static void test_an_ended_timer_means_nothing(void **state) {
    (void)state;
    run();
    assert_int_equal(fixture.fired, 0);
}

static void test_a_timer_that_is_set_anew_fires_once(void **state) {
    (void)state;
    fixture.sets_anew = true;
    run();
    assert_int_equal(fixture.fired, 1);
    assert_in_range(fixture.calls, 1, 2);
}

static int setup(void **state) {
    (void)state;
    fixture = (struct fixture){.launcher = memory_alloc(sizeof *fixture.launcher)};
    if (pipe(fixture.pipe) < 0)
        return -1;
    fixture.item = (zmq_pollitem_t){.fd = fixture.pipe[0], .events = ZMQ_POLLIN};
    zsys_handler_set(NULL);
    fixture.launcher->loop = zloop_new();
    return fixture.launcher->loop != NULL ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    zloop_destroy(&fixture.launcher->loop);
    free(fixture.launcher);
    close(fixture.pipe[0]);
    close(fixture.pipe[1]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_ended_timer_means_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_timer_that_is_set_anew_fires_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
