/* What is done with a kernel, and since when: the bookkeeping, at given times. */
#include "launcher/activity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { S = 1000, MIN = 60 * S, H = 60 * MIN };
enum { BORN = 1000 * S, READY = BORN + 2 * S };

static void busy(struct activity *activity, int64_t now_ms) {
    activity_set_state(activity, now_ms, ACTIVITY_BUSY, false);
}

static void noise(struct activity *activity, int64_t now_ms) {
    activity_set_state(activity, now_ms, ACTIVITY_BUSY, true);
}

static void idle(struct activity *activity, int64_t now_ms) {
    activity_set_state(activity, now_ms, ACTIVITY_IDLE, true);
}

static struct activity ready(void) {
    struct activity activity;
    activity_begin(&activity, BORN, 0);
    idle(&activity, READY);
    return activity;
}

#define assert_state(activity, now, wanted_state, wanted_for)                                      \
    do {                                                                                           \
        struct activity_report report = activity_look((activity), (now));                          \
        assert_string_equal(activity_state_name(report.state), activity_state_name(wanted_state)); \
        assert_int_equal(report.state_for_ms, (wanted_for));                                       \
    } while (0)

static void test_a_kernel_begins(void **state) {
    (void)state;
    struct activity activity;
    activity_begin(&activity, BORN, 0);
    assert_state(&activity, BORN + 1, ACTIVITY_STARTING, 1);
    idle(&activity, READY);
    struct activity_report report = activity_look(&activity, READY + 5 * S);
    assert_int_equal(report.state, ACTIVITY_IDLE);
    assert_int_equal(report.age_ms, 7 * S);
    assert_int_equal(report.state_for_ms, 5 * S);
    assert_int_equal(report.untouched_for_ms, 7 * S);
    assert_int_equal(report.silent_for_ms, 7 * S);
    assert_int_equal(report.at_rest_for_ms, 7 * S);
    assert_int_equal(report.keep_ms, 0);
    assert_false(report.waits_for_input);
}

static void test_a_run_counts_from_its_ends(void **state) {
    (void)state;
    struct activity activity = ready();
    busy(&activity, READY + H);
    busy(&activity, READY + 2 * H); /* told again */
    assert_state(&activity, READY + 3 * H, ACTIVITY_BUSY, 2 * H);
    idle(&activity, READY + 4 * H);
    assert_state(&activity, READY + 4 * H, ACTIVITY_IDLE, 0);
}

static void test_short_noise_changes_nothing(void **state) {
    (void)state;
    struct activity activity = ready();
    for (int64_t at = READY + S; at < READY + H; at += S) {
        noise(&activity, at);
        assert_state(&activity, at + 999, ACTIVITY_IDLE, at + 999 - READY);
        idle(&activity, at + 999);
    }
    assert_state(&activity, READY + H, ACTIVITY_IDLE, H);
}

static void test_long_noise_is_work_from_its_beginning(void **state) {
    (void)state;
    struct activity activity = ready();
    noise(&activity, READY + H);
    noise(&activity, READY + H + 500); /* another one, before the first is over */
    assert_state(&activity, READY + H + 999, ACTIVITY_IDLE, H + 999);
    assert_state(&activity, READY + H + S, ACTIVITY_BUSY, S);
    noise(&activity, READY + H + 5 * S);
    assert_state(&activity, READY + H + 6 * S, ACTIVITY_BUSY, 6 * S);
    idle(&activity, READY + H + 7 * S);
    assert_state(&activity, READY + H + 8 * S, ACTIVITY_IDLE, S);
}

/* Nobody looked while it lasted. */
static void test_long_noise_is_noticed_at_its_end(void **state) {
    (void)state;
    struct activity activity = ready();
    noise(&activity, READY + H);
    idle(&activity, READY + H + S);
    assert_state(&activity, READY + 2 * H, ACTIVITY_IDLE, H - S);
}

static void test_a_wish_among_noise_is_a_run(void **state) {
    (void)state;
    struct activity activity = ready();
    noise(&activity, READY + H);
    busy(&activity, READY + H + 10);
    assert_state(&activity, READY + H + 10, ACTIVITY_BUSY, 0);
    noise(&activity, READY + H + 20); /* the run is over, the noise not yet */
    assert_state(&activity, READY + H + 30, ACTIVITY_BUSY, 20);
    idle(&activity, READY + H + 40);
    assert_state(&activity, READY + H + 50, ACTIVITY_IDLE, 10);
}

static void test_a_kernel_that_is_ready_amid_noise(void **state) {
    (void)state;
    struct activity activity;
    activity_begin(&activity, BORN, 0);
    noise(&activity, READY);
    assert_state(&activity, READY + 10, ACTIVITY_IDLE, 10);
    idle(&activity, READY + 20);
    assert_state(&activity, READY + 30, ACTIVITY_IDLE, 30);
}

static void test_death_and_a_new_process(void **state) {
    (void)state;
    struct activity activity = ready();
    activity_touched(&activity, READY + S);
    activity_keep(&activity, READY + S, H);
    noise(&activity, READY + MIN);
    activity_set_state(&activity, READY + MIN + 1, ACTIVITY_DEAD, true);
    assert_state(&activity, READY + 2 * MIN, ACTIVITY_DEAD, MIN - 1);
    activity_asked(&activity, 1);
    activity_restarted(&activity, READY + 3 * MIN);
    struct activity_report report = activity_look(&activity, READY + 4 * MIN);
    assert_int_equal(report.state, ACTIVITY_STARTING);
    assert_int_equal(report.state_for_ms, MIN);
    assert_int_equal(report.silent_for_ms, MIN);
    assert_int_equal(report.at_rest_for_ms, MIN);
    assert_false(report.waits_for_input);
    assert_int_equal(report.age_ms, 4 * MIN + 2 * S);
    assert_int_equal(report.untouched_for_ms, 4 * MIN - S);
    assert_int_equal(report.keep_ms, H - 4 * MIN + S);
}

static void test_age_goes_on_where_another_launcher_left_it(void **state) {
    (void)state;
    struct activity activity;
    activity_begin(&activity, 5, 100 * H); /* the machine has just begun to count */
    struct activity_report report = activity_look(&activity, 5 + S);
    assert_int_equal(report.age_ms, 100 * H + S);
    assert_int_equal(report.untouched_for_ms, S);
}

static void test_a_keep_alive_mark_runs_out(void **state) {
    (void)state;
    struct activity activity = ready();
    activity_keep(&activity, READY, 4 * H);
    assert_int_equal(activity_look(&activity, READY + H).keep_ms, 3 * H);
    assert_int_equal(activity_look(&activity, READY + 4 * H).keep_ms, 0);
    assert_int_equal(activity_look(&activity, READY + 5 * H).keep_ms, 0);
    activity_keep(&activity, READY + H, 0);
    assert_int_equal(activity_look(&activity, READY + H).keep_ms, 0);
}

/* --- CPU --- */

static int64_t rest(const struct activity *activity, int64_t now_ms) {
    return activity_look(activity, now_ms).at_rest_for_ms;
}

static void sample(struct activity *activity, int64_t now_ms, int64_t cpu_ms) {
    activity_take_sample(activity, now_ms, ACTIVITY_CPU_KERNEL, cpu_ms);
}

static void test_work_is_seen(void **state) {
    (void)state;
    struct activity activity = ready();
    sample(&activity, READY, 700); /* the start */
    assert_int_equal(rest(&activity, READY + S), S);
    sample(&activity, READY + 10 * S, 700 + 999);
    assert_int_equal(rest(&activity, READY + 10 * S), 10 * S);
    sample(&activity, READY + 11 * S, 700 + 1000); /* adds up */
    assert_int_equal(rest(&activity, READY + 12 * S), S);
    sample(&activity, READY + 12 * S, 700 + 1010);
    assert_int_equal(rest(&activity, READY + 12 * S), S);
}

static void test_an_idle_interpreter_is_at_rest(void **state) {
    (void)state;
    struct activity activity = ready();
    sample(&activity, READY, 700);
    for (int64_t minute = 1; minute < 600; minute++) /* a hundredth, looked at now and then */
        sample(&activity, READY + minute * MIN, 700 + minute * MIN / 100);
    assert_int_equal(rest(&activity, READY + 10 * H), 10 * H);
    sample(&activity, READY + 20 * H, 700 + 20 * H / 100); /* and nobody looked for long */
    assert_int_equal(rest(&activity, READY + 20 * H), 20 * H);
}

static void test_little_work_for_long_is_work(void **state) {
    (void)state;
    struct activity activity = ready();
    int64_t cpu_ms = 0, worst_ms = 0;
    for (int64_t at = READY; at < READY + H; at += S, cpu_ms += 30) { /* 3 percent */
        sample(&activity, at, cpu_ms);
        int64_t rest_ms = rest(&activity, at);
        worst_ms = rest_ms > worst_ms ? rest_ms : worst_ms;
    }
    assert_in_range(worst_ms, S, 50 * S);
}

/* Noise is answered by a little CPU in a short time. */
static void test_a_burst_below_a_second_is_no_work(void **state) {
    (void)state;
    struct activity activity = ready();
    sample(&activity, READY, 700);
    sample(&activity, READY + 3 * S, 700 + 300);
    sample(&activity, READY + MIN, 700 + 310);
    sample(&activity, READY + MIN + 3 * S, 700 + 900);
    sample(&activity, READY + 2 * MIN, 700 + 910);
    assert_int_equal(rest(&activity, READY + 2 * MIN), 2 * MIN);
}

/* A child whose time nobody counted has gone: what was used is not known, what comes is. */
static void test_time_that_is_lost(void **state) {
    (void)state;
    struct activity activity = ready();
    sample(&activity, READY, 700);
    sample(&activity, READY + MIN, 60 * S);
    sample(&activity, READY + 2 * MIN, 800);
    assert_int_equal(rest(&activity, READY + 2 * MIN), MIN);
    sample(&activity, READY + 2 * MIN + 2 * S, 2800);
    assert_int_equal(rest(&activity, READY + 2 * MIN + 2 * S), 0);
}

/* What a child has used becomes its parent's when that waits for it. */
static void test_others_work_apart(void **state) {
    (void)state;
    struct activity activity = ready();
    sample(&activity, READY, 700);
    activity_take_sample(&activity, READY, ACTIVITY_CPU_OTHERS, 0);
    activity_take_sample(&activity, READY + 10 * S, ACTIVITY_CPU_OTHERS, 900);
    sample(&activity, READY + 10 * S, 700 + 900);
    assert_int_equal(rest(&activity, READY + 10 * S), 10 * S);
    activity_take_sample(&activity, READY + 20 * S, ACTIVITY_CPU_OTHERS, 1100);
    assert_int_equal(rest(&activity, READY + 20 * S), 0);
    activity_take_sample(&activity, READY + 30 * S, ACTIVITY_CPU_OTHERS, 0);
    assert_int_equal(rest(&activity, READY + 30 * S), 10 * S);
    sample(&activity, READY + 30 * S, 700 + 2000);
    assert_int_equal(rest(&activity, READY + 30 * S), 0);
}

/* --- input --- */

static bool waits(const struct activity *activity) {
    return activity_look(activity, READY + S).waits_for_input;
}

static void test_input_is_answered_or_over(void **state) {
    (void)state;
    struct activity activity = ready();
    busy(&activity, READY);
    activity_asked(&activity, 7);
    assert_true(waits(&activity));
    activity_answered(&activity);
    assert_false(waits(&activity));
    activity_asked(&activity, 7);
    activity_ended(&activity, 8);
    assert_true(waits(&activity));
    activity_ended(&activity, 7); /* interrupted */
    assert_false(waits(&activity));
    activity_answered(&activity); /* too late */
    activity_asked(&activity, 7);
    activity_asked(&activity, 8);
    activity_asked(&activity, 7); /* once more */
    activity_answered(&activity);
    assert_true(waits(&activity));
    activity_answered(&activity);
    assert_false(waits(&activity));
}

static void test_questions_have_a_limit_and_go_with_the_run(void **state) {
    (void)state;
    struct activity activity = ready();
    busy(&activity, READY);
    for (uint64_t request = 1; request <= 3 * ACTIVITY_INPUTS_MAX; request++)
        activity_asked(&activity, request);
    activity_ended(&activity, 1); /* forgotten already */
    for (int i = 0; i < ACTIVITY_INPUTS_MAX; i++, activity_answered(&activity))
        assert_true(waits(&activity));
    assert_false(waits(&activity));
    activity_asked(&activity, 1);
    idle(&activity, READY);
    assert_false(waits(&activity));
}

/* --- decisions --- */

/* What was decided of a kernel holds while the count stays the same: whatever a decision is made
 * upon moves it, time and noise do not. */
static void test_changes_are_counted(void **state) {
    (void)state;
    struct activity activity = ready();
    uint64_t last = activity.changes;
#define EXPECT(is_change, statement)                                                               \
    do {                                                                                           \
        statement;                                                                                 \
        uint64_t now = activity_look(&activity, READY + H).changes;                                \
        if ((now > last) != (is_change))                                                           \
            fail_msg("line %d: %s", __LINE__, #statement);                                         \
        last = now;                                                                                \
    } while (0)
    EXPECT(true, activity_touched(&activity, READY));
    EXPECT(true, activity_said(&activity, READY));
    EXPECT(true, activity_attended(&activity));
    EXPECT(true, activity_keep(&activity, READY, H));
    EXPECT(true, sample(&activity, READY, 700)); /* at rest since then */
    EXPECT(false, sample(&activity, READY + S, 710));
    EXPECT(true, sample(&activity, READY + S, 2710));
    EXPECT(false, idle(&activity, READY + S)); /* told again */
    EXPECT(true, busy(&activity, READY + S));
    EXPECT(false, busy(&activity, READY + 2 * S));
    EXPECT(true, activity_asked(&activity, 1));
    EXPECT(true, activity_answered(&activity));
    EXPECT(false, activity_answered(&activity));
    EXPECT(true, activity_asked(&activity, 2));
    EXPECT(true, activity_ended(&activity, 2));
    EXPECT(false, activity_ended(&activity, 2));
    EXPECT(true, idle(&activity, READY + 3 * S));
    EXPECT(true, activity_restarted(&activity, READY + 4 * S));
    EXPECT(true, idle(&activity, READY + 5 * S));
    EXPECT(true, noise(&activity, READY + 6 * S));      /* an hour of it, at READY + H */
    EXPECT(false, idle(&activity, READY + 6 * S + 10)); /* it was none */
#undef EXPECT
}

static void test_noise_is_no_change_until_it_is_work(void **state) {
    (void)state;
    struct activity activity = ready();
    uint64_t before = activity.changes;
    noise(&activity, READY + S);
    assert_int_equal(activity_look(&activity, READY + S + 999).changes, before);
    uint64_t after = activity_look(&activity, READY + 2 * S).changes;
    assert_true(after > before);
    noise(&activity, READY + 3 * S); /* noticed only now */
    assert_int_equal(activity_look(&activity, READY + 4 * S).changes, after);
    assert_int_equal(activity.changes, after);
}

/* --- what counts --- */

static bool is_wish(const char *type, const char *content) {
    char header[128];
    snprintf(header, sizeof header, "{\"msg_id\": \"1\", \"msg_type\": \"%s\"}", type);
    struct kernel_message request = {.header = bytes_of_text(header),
                                     .content = bytes_of_text(content)};
    return activity_is_wish(&request);
}

static void test_what_somebody_wanted(void **state) {
    (void)state;
    static const char *const wishes[] = {
        "execute_request", "complete_request",   "inspect_request",  "is_complete_request",
        "input_reply",     "some_other_request", "interrupt_request"};
    static const char *const noises[] = {
        "kernel_info_request", "comm_info_request", "comm_open",     "comm_msg",
        "comm_close",          "history_request",   "usage_request", "create_subshell_request",
        "connect_request"};
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++)
        assert_true(is_wish(wishes[i], "{}"));
    for (size_t i = 0; i < sizeof noises / sizeof *noises; i++)
        assert_false(is_wish(noises[i], "{}"));
    assert_false(is_wish("debug_request", "{\"command\": \"debugInfo\"}"));
    assert_true(is_wish("debug_request", "{\"command\": \"setBreakpoints\"}"));
    assert_true(is_wish("debug_request", "{}"));
    struct kernel_message nothing = {.header = bytes_of_text("{}")};
    assert_false(activity_is_wish(&nothing));
    assert_true(activity_is_noise(bytes_of_text("{}")));
    assert_true(activity_is_noise(bytes_of_text("{\"msg_type\": \"debug_request\"}")));
    assert_false(activity_is_noise(bytes_of_text("{\"msg_type\": \"execute_request\"}")));
}

static void test_what_is_output(void **state) {
    (void)state;
    assert_true(activity_is_output("stream"));
    assert_true(activity_is_output("update_display_data"));
    assert_true(activity_is_output("error"));
    assert_false(activity_is_output("status"));
    assert_false(activity_is_output("execute_input"));
    assert_false(activity_is_output("comm_msg"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_kernel_begins),
        cmocka_unit_test(test_a_run_counts_from_its_ends),
        cmocka_unit_test(test_short_noise_changes_nothing),
        cmocka_unit_test(test_long_noise_is_work_from_its_beginning),
        cmocka_unit_test(test_long_noise_is_noticed_at_its_end),
        cmocka_unit_test(test_a_wish_among_noise_is_a_run),
        cmocka_unit_test(test_a_kernel_that_is_ready_amid_noise),
        cmocka_unit_test(test_death_and_a_new_process),
        cmocka_unit_test(test_age_goes_on_where_another_launcher_left_it),
        cmocka_unit_test(test_a_keep_alive_mark_runs_out),
        cmocka_unit_test(test_work_is_seen),
        cmocka_unit_test(test_an_idle_interpreter_is_at_rest),
        cmocka_unit_test(test_little_work_for_long_is_work),
        cmocka_unit_test(test_a_burst_below_a_second_is_no_work),
        cmocka_unit_test(test_time_that_is_lost),
        cmocka_unit_test(test_others_work_apart),
        cmocka_unit_test(test_input_is_answered_or_over),
        cmocka_unit_test(test_questions_have_a_limit_and_go_with_the_run),
        cmocka_unit_test(test_changes_are_counted),
        cmocka_unit_test(test_noise_is_no_change_until_it_is_work),
        cmocka_unit_test(test_what_somebody_wanted),
        cmocka_unit_test(test_what_is_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
