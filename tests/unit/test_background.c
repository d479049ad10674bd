/* Jobs on threads: results, places that do not answer, and the way out while one hangs. A job hangs
 * in reading a pipe until the test writes to it. */
#include "base/memory.h"
#include "base/text.h"
#include "gateway/loop.h"
#include "launcher/background.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEADLINE_MS = 100, LONG_MS = 60000 };

struct fixture {
    struct loop *loop;
    struct background *background;
    int told, awaited; /* answers since the loop was run */
};

/* One job: what its thread gets, and what came of it. */
struct task {
    struct fixture *fixture;
    int gate; /* the job reads a byte there; -1: it need not */
    char answer;
    struct error err;
};

struct work {
    int gate;
    char answer;
};

static void run(void *context) {
    struct work *work = context;
    char byte;
    if (work->gate < 0 || read(work->gate, &byte, 1) == 1)
        work->answer = 'y';
}

static void done(void *context, void *result, const struct error *err) {
    struct task *task = context;
    task->answer = err != NULL ? 'n' : ((struct work *)result)->answer;
    if (err != NULL)
        task->err = *err;
    if (++task->fixture->told == task->fixture->awaited)
        loop_stop(task->fixture->loop);
}

static struct background_job *start(struct fixture *f, struct task *task, const char *place,
                                    int gate, int64_t deadline_ms) {
    struct work *work = memory_alloc(sizeof *work);
    *task = (struct task){.fixture = f};
    work->gate = gate;
    const struct background_work what = {.place = place,
                                         .deadline_ms = deadline_ms,
                                         .run = run,
                                         .free = free,
                                         .work = work,
                                         .done = done,
                                         .context = task};
    return background_start(f->background, &what);
}

static void await(struct fixture *f, int count) {
    f->awaited = count;
    if (f->told < count)
        loop_run(f->loop);
    assert_int_equal(f->told, count);
    f->told = 0;
}

static void open_gate(const int gate[2]) {
    assert_int_equal(write(gate[1], "x", 1), 1);
}

static int setup(void **state) {
    struct fixture *f = memory_alloc(sizeof *f);
    f->loop = loop_create();
    f->background = background_create(loop_base(f->loop));
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    background_destroy(f->background);
    loop_destroy(f->loop);
    free(f);
    return 0;
}

static void many_have_answers(void **state) {
    enum { JOBS = 300 };
    static struct task tasks[JOBS];
    static const char *const places[] = {"/a", "/b", "/c", "/d", "/e", "/f", "/g"};
    struct fixture *f = *state;
    for (size_t i = 0; i < JOBS; i++)
        start(f, &tasks[i], places[i % 7], -1, LONG_MS);
    await(f, JOBS);
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(tasks[i].answer, 'y');
}

static void what_hangs_holds_up_its_own_place(void **state) {
    struct fixture *f = *state;
    struct task stuck, behind, elsewhere, later;
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    start(f, &stuck, "/hangs", gate[0], DEADLINE_MS);
    start(f, &behind, "/hangs", -1, LONG_MS); /* ends with the one before it, not after a minute */
    start(f, &elsewhere, "/well", -1, LONG_MS);
    await(f, 3);
    assert_int_equal(elsewhere.answer, 'y');
    assert_int_equal(stuck.answer, 'n');
    assert_int_equal(behind.answer, 'n');
    assert_int_equal(behind.err.code, ERROR_UNAVAILABLE);
    assert_string_equal(behind.err.text, "The directory /hangs does not answer");

    start(f, &later, "/hangs", -1, LONG_MS);
    await(f, 1);
    assert_int_equal(later.answer, 'n');
    open_gate(gate);
    do { /* its answer is on its way */
        start(f, &later, "/hangs", -1, LONG_MS);
        await(f, 1);
    } while (later.answer != 'y');
    close(gate[0]);
    close(gate[1]);
}

static void places_beyond_the_threads_wait_for_their_deadlines(void **state) {
    struct fixture *f = *state;
    struct task stuck[BACKGROUND_THREADS], waits, patient;
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < BACKGROUND_THREADS; i++) {
        char place[16];
        snprintf(place, sizeof place, "/%d", i);
        start(f, &stuck[i], place, gate[0], 0);
    }
    start(f, &waits, "/well", -1, DEADLINE_MS);
    await(f, 1);
    assert_int_equal(waits.answer, 'n');
    start(f, &patient, "/well", -1, LONG_MS);
    open_gate(gate);
    await(f, 2);
    assert_int_equal(patient.answer, 'y');
    for (int i = 1; i < BACKGROUND_THREADS; i++)
        open_gate(gate);
    await(f, BACKGROUND_THREADS - 1);
    close(gate[0]);
    close(gate[1]);
}

static void what_is_cancelled_is_not_told(void **state) {
    struct fixture *f = *state;
    struct task running, waiting, last;
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    struct background_job *runs = start(f, &running, "/a", gate[0], LONG_MS);
    struct background_job *waits = start(f, &waiting, "/a", -1, LONG_MS);
    start(f, &last, "/b", -1, LONG_MS);
    await(f, 1); /* by now the first one is under way */
    background_cancel(waits);
    background_cancel(runs);
    background_cancel(NULL);
    start(f, &last, "/a", -1, LONG_MS);
    open_gate(gate);
    await(f, 1);
    assert_int_equal(last.answer, 'y');
    assert_int_equal(running.answer, 0);
    assert_int_equal(waiting.answer, 0);
    close(gate[0]);
    close(gate[1]);
}

static void the_way_out_does_not_wait(void **state) {
    struct fixture *f = *state;
    struct task stuck, behind, other;
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    start(f, &stuck, "/a", gate[0], LONG_MS);
    start(f, &behind, "/a", -1, LONG_MS);
    start(f, &other, "/b", -1, LONG_MS);
    await(f, 1);
    assert_true(background_destroy(f->background));
    f->background = NULL;
    assert_int_equal(f->told, 2);
    assert_string_equal(stuck.err.text, "The gateway is ending");
    assert_int_equal(behind.answer, 'n');
    /* The thread keeps waiting, with what is its own. */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_have_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(what_hangs_holds_up_its_own_place, setup, teardown),
        cmocka_unit_test_setup_teardown(places_beyond_the_threads_wait_for_their_deadlines, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_cancelled_is_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(the_way_out_does_not_wait, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
