/* The decision as a table, and what holds of it whatever the numbers are. */
#include "culler/culler.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S     INT64_C(1000)
#define MIN   (60 * S)
#define H     (60 * MIN)
#define D     (24 * H)

#define NEVER CULLER_NEVER

/* A row says what is different from the usual. */
#pragma GCC diagnostic ignored "-Woverride-init"

/* Idle in every way and since ever, with nobody there. */
#define QUIET                                                                                      \
    .state = CULLER_IDLE, .age_ms = 30 * D, .state_for_ms = 10 * D, .untouched_for_ms = 10 * D,    \
    .silent_for_ms = 10 * D, .at_rest_for_ms = 10 * D, .unheard_for_ms = 10 * D
#define BUSY            QUIET, .state = CULLER_BUSY
#define TOLD(rule, ago) .warned_rule = CULLER_RULE_##rule, .warned_for_ms = (ago)

/* JEG's defaults (start script, chart), and policies of ours. */
#define OFF                                                                                        \
    { 0 }
#define JEG                                                                                        \
    { .idle_ms = 12 * H }
#define CHART                                                                                      \
    { .idle_ms = 1 * H }
#define CONNECTED                                                                                  \
    { .idle_ms = 1 * H, .culls_connected = true }
#define SLOWER                                                                                     \
    { .idle_ms = 1 * H, .idle_connected_ms = 1 * D }
#define STALLED                                                                                    \
    { .idle_ms = 1 * H, .stalled_ms = 6 * H }
#define LEASE                                                                                      \
    { .detached_ms = 2 * H }
#define UNATTACHED                                                                                 \
    { .unattached_ms = 1 * H, .warn_ms = 10 * MIN }
#define AGE                                                                                        \
    { .age_ms = 7 * D }
#define WARNED                                                                                     \
    { .idle_ms = 1 * H, .warn_ms = 10 * MIN }
#define ALL                                                                                        \
    {                                                                                              \
        .idle_ms = 1 * H, .idle_connected_ms = 1 * D, .stalled_ms = 6 * H,                         \
        .detached_ms = 30 * MIN, .age_ms = 7 * D, .warn_ms = 5 * MIN                               \
    }

struct row {
    const char *what;
    struct culler_kernel kernel;
    struct culler_policy policy;
    enum culler_verdict verdict;
    enum culler_rule rule;
    int64_t in_ms;
};

/* clang-format off */
#define KEEP_FOREVER CULLER_KEEP, CULLER_NO_RULE, NEVER
#define KEEP(rule, in) CULLER_KEEP, CULLER_RULE_##rule, in
#define WARN(rule, in) CULLER_WARN, CULLER_RULE_##rule, in
#define CULL(rule) CULLER_CULL, CULLER_RULE_##rule, 0

static const struct row rows[] = {
    /* off */
    {"no policy, no culling", {QUIET}, OFF, KEEP_FOREVER},
    {"no policy, busy for days", {BUSY}, OFF, KEEP_FOREVER},
    {"a warning alone ends nothing", {QUIET}, {.warn_ms = 1 * H}, KEEP_FOREVER},
    {"culls_connected alone is no limit", {QUIET}, {.culls_connected = true}, KEEP_FOREVER},

    /* idle */
    {"idle beyond JEG's 12 hours", {QUIET}, JEG, CULL(IDLE)},
    {"idle for an hour of the script's 12", {QUIET, .state_for_ms = 1 * H}, JEG, KEEP(IDLE, 11 * H + 1)},
    {"idle beyond the chart's hour", {QUIET, .state_for_ms = 1 * H + 1}, CHART, CULL(IDLE)},
    {"exactly at the limit is not beyond it", {QUIET, .state_for_ms = 1 * H}, CHART, KEEP(IDLE, 1)},
    {"just started and idle, as after the one before was culled (kubeflow 6648)", {QUIET, .age_ms = 5 * S, .state_for_ms = 1 * S}, CHART, KEEP(IDLE, 1 * H - 1 * S + 1)},
    {"touched a minute ago (a cell that did nothing)", {QUIET, .untouched_for_ms = 1 * MIN}, CHART, KEEP(IDLE, 59 * MIN + 1)},
    {"a page that sleeps sends kernel_info: nobody touched it (jupyter_server 1360)", {QUIET}, CHART, CULL(IDLE)},
    {"a run of 10 hours has just ended (classic notebook 3896, 3932)", {QUIET, .state_for_ms = 0, .untouched_for_ms = 10 * H}, CHART, KEEP(IDLE, 1 * H + 1)},
    {"a run of 10 hours ended 59 minutes ago (2i2c 2586)", {QUIET, .state_for_ms = 59 * MIN, .untouched_for_ms = 11 * H}, CHART, KEEP(IDLE, 1 * MIN + 1)},
    {"papermill between two cells", {QUIET, .state_for_ms = 40, .untouched_for_ms = 40}, CHART, KEEP(IDLE, 1 * H - 40 + 1)},
    {"a thread prints behind an idle prompt", {QUIET, .silent_for_ms = 3 * S}, CHART, KEEP(IDLE, 1 * H - 3 * S + 1)},
    {"a child computes behind an idle prompt: work that is no cell (kubeflow 6920, 7186)", {QUIET, .at_rest_for_ms = 0}, CHART, KEEP(IDLE, 1 * H + 1)},
    {"a child that ended an hour ago", {QUIET, .at_rest_for_ms = 61 * MIN}, CHART, CULL(IDLE)},
    {"a subshell is busy", {QUIET, .busy_subshells = 1}, CHART, KEEP(IDLE, 1 * H + 1)},
    {"huge limits do not overflow", {QUIET}, {.idle_ms = INT64_MAX - 1}, KEEP(IDLE, INT64_MAX - 1 - 10 * D + 1)},

    /* busy */
    {"busy is never idle (jupyterhub 1498, idle-culler 10)", {BUSY}, CHART, KEEP_FOREVER},
    {"time.sleep(86400) (idle-culler 55)", {BUSY, .state_for_ms = 1 * D}, CHART, KEEP_FOREVER},
    {"a silent loop that uses the CPU (classic notebook 3932, 4634)", {BUSY, .at_rest_for_ms = 0}, STALLED, KEEP(STALLED, 6 * H + 1)},
    {"a run that prints and waits", {BUSY, .silent_for_ms = 10 * MIN}, STALLED, KEEP(STALLED, 5 * H + 50 * MIN + 1)},
    {"a run without output or CPU for 7 hours: a limit of its own (EG 665)", {BUSY, .state_for_ms = 7 * H}, STALLED, CULL(STALLED)},
    {"a run that began an hour ago, silent since", {BUSY, .state_for_ms = 1 * H}, STALLED, KEEP(STALLED, 5 * H + 1)},
    {"stalled, with its tab open", {BUSY, .unheard_for_ms = 0}, STALLED, CULL(STALLED)},
    {"busy and touched: queued cells change nothing", {BUSY, .untouched_for_ms = 0}, STALLED, CULL(STALLED)},
    {"input() waits, the tab is open", {BUSY, .waits_for_input = true, .unheard_for_ms = 0}, STALLED, KEEP_FOREVER},
    {"input() waits, nobody is there", {BUSY, .waits_for_input = true}, STALLED, KEEP_FOREVER},

    /* connected */
    {"a tab left open is kept by default (EG 931)", {QUIET, .unheard_for_ms = 0}, CHART, KEEP_FOREVER},
    {"cull_connected culls it", {QUIET, .unheard_for_ms = 0}, CONNECTED, CULL(IDLE_CONNECTED)},
    {"cull_connected, idle for 20 minutes", {QUIET, .unheard_for_ms = 0, .state_for_ms = 20 * MIN}, CONNECTED, KEEP(IDLE_CONNECTED, 40 * MIN + 1)},
    {"a longer limit for open tabs (2i2c 2586)", {QUIET, .unheard_for_ms = 0, .state_for_ms = 2 * H}, SLOWER, KEEP(IDLE_CONNECTED, 22 * H + 1)},
    {"an open tab for two days (2i2c 2232, classic notebook 7260)", {QUIET, .unheard_for_ms = 0}, SLOWER, CULL(IDLE_CONNECTED)},
    {"without its tab the shorter limit holds", {QUIET, .state_for_ms = 2 * H}, SLOWER, CULL(IDLE)},
    {"the connected limit is never the shorter one", {QUIET, .unheard_for_ms = 0, .state_for_ms = 30 * MIN}, {.idle_ms = 1 * H, .idle_connected_ms = 1 * MIN}, KEEP(IDLE_CONNECTED, 30 * MIN + 1)},
    {"whom no idle limit ends no open tab ends either", {QUIET, .unheard_for_ms = 0}, {.idle_connected_ms = 1 * D}, KEEP_FOREVER},
    {"one that asks for a limit of its own has it with a tab, too", {QUIET, .unheard_for_ms = 0, .has_own_idle_ms = true, .own_idle_ms = 1 * H}, {.idle_connected_ms = 1 * D}, CULL(IDLE_CONNECTED)},
    {"a socket whose laptop sleeps is nobody", {QUIET, .unheard_for_ms = 2 * H}, CHART, CULL(IDLE)},
    {"the laptop fell asleep a moment ago, the kernel idle before", {QUIET, .unheard_for_ms = 31 * S}, CHART, CULL(IDLE)},
    {"a run with its tab open is kept", {BUSY, .unheard_for_ms = 0}, CONNECTED, KEEP_FOREVER},
    {"a widget's heartbeat is nobody", {QUIET, .unheard_for_ms = 0}, CONNECTED, CULL(IDLE_CONNECTED)},
    {"somebody reads what a run has said: it has just ended", {QUIET, .unheard_for_ms = 0, .state_for_ms = 0}, CONNECTED, KEEP(IDLE_CONNECTED, 1 * H + 1)},

    /* unattached */
    {"nobody ever came", {QUIET, .is_new = true}, UNATTACHED, CULL(UNATTACHED)},
    {"nobody came in half an hour", {QUIET, .is_new = true, .state_for_ms = 30 * MIN}, UNATTACHED, KEEP(UNATTACHED, 30 * MIN + 1)},
    {"somebody was there once", {QUIET}, UNATTACHED, KEEP_FOREVER},
    {"somebody is there for the first time", {QUIET, .is_new = true, .unheard_for_ms = 0}, UNATTACHED, KEEP_FOREVER},
    {"nobody ever came, and it works", {BUSY, .is_new = true}, UNATTACHED, KEEP_FOREVER},

    /* detached */
    {"the notebook server is gone, the kernel idle", {QUIET, .unheard_for_ms = 3 * H}, LEASE, CULL(DETACHED)},
    {"gone for an hour", {QUIET, .unheard_for_ms = 1 * H}, LEASE, KEEP(DETACHED, 1 * H + 1)},
    {"gone, but a run goes on", {BUSY, .unheard_for_ms = 9 * H}, LEASE, KEEP_FOREVER},
    {"gone, and the run ended a minute ago", {QUIET, .unheard_for_ms = 9 * H, .state_for_ms = 1 * MIN}, LEASE, KEEP(DETACHED, 1 * H + 59 * MIN + 1)},
    {"gone while input() asks", {BUSY, .waits_for_input = true, .unheard_for_ms = 3 * H}, LEASE, CULL(DETACHED)},
    {"gone while input() asks, 5 minutes", {BUSY, .waits_for_input = true, .unheard_for_ms = 5 * MIN}, LEASE, KEEP(DETACHED, 1 * H + 55 * MIN + 1)},
    {"somebody is there: no lease runs", {QUIET, .unheard_for_ms = 0}, LEASE, KEEP_FOREVER},

    /* age */
    {"a week old and busy", {BUSY, .age_ms = 8 * D}, AGE, CULL(AGE)},
    {"a week old and connected", {QUIET, .age_ms = 8 * D, .unheard_for_ms = 0}, AGE, CULL(AGE)},
    {"six days old", {QUIET, .age_ms = 6 * D}, AGE, KEEP(AGE, 1 * D + 1)},
    {"age does not spare a start that hangs", {QUIET, .state = CULLER_STARTING, .age_ms = 8 * D}, AGE, CULL(AGE)},
    {"a keep-alive mark does not hold it off", {QUIET, .age_ms = 8 * D, .keep_ms = 1 * D}, AGE, CULL(AGE)},

    /* starting, dead */
    {"a start takes its time (EG 1261: one was culled, over and over)", {QUIET, .state = CULLER_STARTING}, STALLED, KEEP_FOREVER},
    {"a young start, under every rule", {QUIET, .state = CULLER_STARTING, .age_ms = 1 * H}, ALL, KEEP(AGE, 7 * D - 1 * H + 1)},
    {"a dead one explains itself, until its retention ends (kubeflow 5931)", {QUIET, .state = CULLER_DEAD}, ALL, KEEP_FOREVER},

    /* marks, own limits */
    {"elara keep for four hours", {QUIET, .keep_ms = 4 * H}, CHART, KEEP(IDLE, 4 * H)},
    {"a mark that ends before the limit changes nothing", {QUIET, .state_for_ms = 10 * MIN, .keep_ms = 5 * MIN}, CHART, KEEP(IDLE, 50 * MIN + 1)},
    {"a mark holds off the lease", {QUIET, .keep_ms = 1 * H}, LEASE, KEEP(DETACHED, 1 * H)},
    {"a kernelspec's own longer limit", {QUIET, .state_for_ms = 2 * H, .has_own_idle_ms = true, .own_idle_ms = 8 * H}, CHART, KEEP(IDLE, 6 * H + 1)},
    {"a kernelspec's own shorter limit", {QUIET, .state_for_ms = 11 * MIN, .has_own_idle_ms = true, .own_idle_ms = 10 * MIN}, CHART, CULL(IDLE)},
    {"its own limit without a general one", {QUIET, .has_own_idle_ms = true, .own_idle_ms = 1 * H}, OFF, CULL(IDLE)},
    {"its own 0: never", {QUIET, .has_own_idle_ms = true}, CHART, KEEP_FOREVER},
    {"its own 0, connected: never", {QUIET, .unheard_for_ms = 0, .has_own_idle_ms = true}, SLOWER, KEEP_FOREVER},
    {"its own longer limit holds with a tab as well", {QUIET, .unheard_for_ms = 0, .has_own_idle_ms = true, .own_idle_ms = 30 * D}, SLOWER, KEEP(IDLE_CONNECTED, 20 * D + 1)},

    /* warnings */
    {"ten minutes before, told a minute ago", {QUIET, .state_for_ms = 51 * MIN, TOLD(IDLE, 1 * MIN)}, WARNED, WARN(IDLE, 9 * MIN + 1)},
    {"exactly ten minutes before", {QUIET, .state_for_ms = 50 * MIN + 1}, WARNED, WARN(IDLE, 10 * MIN)},
    {"eleven minutes before", {QUIET, .state_for_ms = 49 * MIN}, WARNED, KEEP(IDLE, 11 * MIN + 1)},
    {"a warning during the last minute of a mark", {QUIET, .keep_ms = 1 * MIN, TOLD(IDLE, 9 * MIN)}, WARNED, WARN(IDLE, 1 * MIN)},
    {"looked at late: the warning has its length", {QUIET, .state_for_ms = 58 * MIN}, WARNED, WARN(IDLE, 10 * MIN)},
    {"idle for days behind a tab that has just closed", {QUIET, .unheard_for_ms = 1 * S}, WARNED, WARN(IDLE, 10 * MIN)},
    {"the same, told four minutes ago", {QUIET, .unheard_for_ms = 4 * MIN, TOLD(IDLE, 4 * MIN)}, WARNED, WARN(IDLE, 6 * MIN)},
    {"the same, told long enough ago", {QUIET, .unheard_for_ms = 10 * MIN, TOLD(IDLE, 10 * MIN)}, WARNED, CULL(IDLE)},
    {"the tab comes and goes: told is told", {QUIET, .unheard_for_ms = 1 * S, TOLD(IDLE, 10 * MIN)}, WARNED, CULL(IDLE)},
    {"told with its tab open, which then closes", {QUIET, .unheard_for_ms = 1 * S, TOLD(IDLE_CONNECTED, 10 * MIN)}, WARNED, CULL(IDLE)},
    {"told, then used, and idle again", {QUIET, .state_for_ms = 55 * MIN, .untouched_for_ms = 55 * MIN, TOLD(IDLE, 56 * MIN)}, WARNED, WARN(IDLE, 10 * MIN)},
    {"told, then used", {QUIET, .state_for_ms = 2 * MIN, TOLD(IDLE, 3 * MIN)}, WARNED, KEEP(IDLE, 58 * MIN + 1)},
    {"a limit was lowered, its tab is open", {QUIET, .unheard_for_ms = 0}, {.idle_ms = 1 * H, .culls_connected = true, .warn_ms = 5 * MIN}, WARN(IDLE_CONNECTED, 5 * MIN)},
    {"a limit was lowered under a cell that hangs", {BUSY, .state_for_ms = 7 * H}, {.stalled_ms = 6 * H, .warn_ms = 5 * MIN}, WARN(STALLED, 5 * MIN)},
    {"a limit was lowered, a mark is longer", {QUIET, .keep_ms = 1 * H}, WARNED, KEEP(IDLE, 1 * H)},
    {"the greatest age was lowered", {BUSY, .age_ms = 8 * D}, {.age_ms = 7 * D, .warn_ms = 5 * MIN}, WARN(AGE, 5 * MIN)},
    {"told that it is idle, which is not its age", {QUIET, .age_ms = 8 * D, TOLD(IDLE, 1 * H)}, {.age_ms = 7 * D, .warn_ms = 5 * MIN}, WARN(AGE, 5 * MIN)},
    {"told of its age", {QUIET, .age_ms = 8 * D, TOLD(AGE, 5 * MIN)}, {.age_ms = 7 * D, .warn_ms = 5 * MIN}, CULL(AGE)},
    {"no warning is wanted: at once", {QUIET, .unheard_for_ms = 1 * S, TOLD(AGE, 0)}, CHART, CULL(IDLE)},
    {"touched: the warning is off", {QUIET, .untouched_for_ms = 0}, WARNED, KEEP(IDLE, 1 * H + 1)},

    /* several */
    {"the first rule to end it is named", {QUIET, .age_ms = 1 * H, .state_for_ms = 20 * MIN}, ALL, KEEP(DETACHED, 10 * MIN + 1)},
    {"of those that wait for a warning, the one that was due first", {QUIET, .age_ms = 7 * D - 1 * MIN, .state_for_ms = 58 * MIN}, {.idle_ms = 1 * H, .age_ms = 7 * D, .warn_ms = 5 * MIN}, WARN(AGE, 5 * MIN)},
    {"busy: age comes before the stall", {BUSY, .age_ms = 7 * D - 1 * H, .state_for_ms = 1 * H}, ALL, KEEP(AGE, 1 * H + 1)},
};
/* clang-format on */

static void decides_as_the_table_says(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct culler_decision found = culler_decide(&row->kernel, &row->policy);
        if (found.verdict != row->verdict || found.rule != row->rule || found.in_ms != row->in_ms)
            fail_msg("%s: verdict %d by %s in %lld ms", row->what, (int)found.verdict,
                     culler_rule_name(found.rule), (long long)found.in_ms);
    }
}

/* --- whatever the numbers are --- */

static int64_t some(unsigned *seed, const int64_t *from, size_t count) {
    return from[(size_t)rand_r(seed) % count];
}

static const int64_t times[] = {0, 1, 999, S, MIN - 1, MIN, 10 * MIN, H - 1, H, H + 1, D, 400 * D};
static const int64_t limits[] = {0, 0, 1, S, MIN, H, D, 365 * D, INT64_MAX - 1};
#define SOME(list) some(seed, list, sizeof(list) / sizeof(list)[0])

static struct culler_kernel some_kernel(unsigned *seed) {
    return (struct culler_kernel){.state = (enum culler_state)(rand_r(seed) % 4),
                                  .age_ms = SOME(times),
                                  .state_for_ms = SOME(times),
                                  .untouched_for_ms = SOME(times),
                                  .silent_for_ms = SOME(times),
                                  .at_rest_for_ms = SOME(times),
                                  .unheard_for_ms = SOME(times),
                                  .waits_for_input = rand_r(seed) % 2 != 0,
                                  .busy_subshells = (unsigned)rand_r(seed) % 2,
                                  .keep_ms = rand_r(seed) % 4 != 0 ? 0 : SOME(times),
                                  .own_idle_ms = SOME(limits),
                                  .has_own_idle_ms = rand_r(seed) % 3 == 0,
                                  .warned_rule = (enum culler_rule)(rand_r(seed) % CULLER_RULES),
                                  .warned_for_ms = SOME(times)};
}

static struct culler_policy some_policy(unsigned *seed) {
    return (struct culler_policy){.idle_ms = SOME(limits),
                                  .culls_connected = rand_r(seed) % 2 != 0,
                                  .idle_connected_ms = SOME(limits),
                                  .stalled_ms = SOME(limits),
                                  .detached_ms = SOME(limits),
                                  .age_ms = SOME(limits),
                                  .warn_ms = SOME(limits)};
}

static bool is_same(struct culler_decision a, struct culler_decision b) {
    return a.verdict == b.verdict && a.rule == b.rule && a.in_ms == b.in_ms;
}

/* No rule alone allows what all together do. */
static int64_t earliest_alone(const struct culler_kernel *kernel, const struct culler_policy *all) {
    struct culler_policy alone[] = {
        {.idle_ms = all->idle_ms,
         .culls_connected = all->culls_connected,
         .idle_connected_ms = all->idle_connected_ms},
        {.stalled_ms = all->stalled_ms},
        {.detached_ms = all->detached_ms},
        {.age_ms = all->age_ms},
    };
    int64_t earliest = CULLER_NEVER;
    for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++) {
        alone[i].warn_ms = all->warn_ms;
        int64_t in_ms = culler_decide(kernel, &alone[i]).in_ms;
        earliest = in_ms < earliest ? in_ms : earliest;
    }
    return earliest;
}

static void holds_for_any_numbers(void **state) {
    (void)state;
    unsigned number = 1, *seed = &number;
    for (int i = 0; i < 200000; i++) {
        struct culler_kernel kernel = some_kernel(seed);
        struct culler_policy policy = some_policy(seed);
        struct culler_decision found = culler_decide(&kernel, &policy);
        assert_true(is_same(found, culler_decide(&kernel, &policy)));
        assert_int_equal(found.in_ms, earliest_alone(&kernel, &policy));
        assert_true(found.in_ms >= 0);
        assert_int_equal(found.verdict == CULLER_CULL, found.in_ms == 0);
        assert_int_equal(found.rule == CULLER_NO_RULE, found.in_ms == CULLER_NEVER);
        if (kernel.state == CULLER_DEAD)
            assert_int_equal(found.verdict, CULLER_KEEP);
        assert_true(found.in_ms >= found.due_in_ms);
        if (found.verdict == CULLER_CULL && policy.warn_ms > 0) /* nobody goes unwarned */
            assert_true(found.is_warned && kernel.warned_for_ms >= policy.warn_ms);
        if (policy.warn_ms == 0 && found.due_in_ms <= 0)
            assert_int_equal(found.verdict, CULLER_CULL);
        struct culler_kernel later = kernel; /* a moment later, nothing has happened */
        int64_t passed = SOME(times);
        later.age_ms += passed;
        later.state_for_ms += passed;
        later.untouched_for_ms += passed;
        later.silent_for_ms += passed;
        later.at_rest_for_ms += passed;
        later.unheard_for_ms += kernel.unheard_for_ms > 0 ? passed : 0;
        later.keep_ms = kernel.keep_ms > passed ? kernel.keep_ms - passed : 0;
        later.warned_for_ms += passed;
        struct culler_decision then = culler_decide(&later, &policy);
        assert_true(then.in_ms <= found.in_ms);
        if (then.rule == found.rule && found.rule != CULLER_NO_RULE && kernel.keep_ms == 0 &&
            kernel.busy_subshells == 0) /* when it was due stays the same */
            assert_int_equal(then.due_in_ms + passed, found.due_in_ms);
        if (found.verdict != CULLER_KEEP && !found.is_warned) { /* told now, it goes on time */
            later = kernel;
            later.warned_rule = found.rule;
            later.warned_for_ms = 0;
            assert_int_equal(culler_decide(&later, &policy).in_ms, found.in_ms);
        }
        if (kernel.unheard_for_ms > 0) { /* an open tab makes it go no sooner */
            later = kernel;
            later.unheard_for_ms = 0;
            assert_true(culler_decide(&later, &policy).in_ms >= found.in_ms);
        }
        struct culler_kernel used = kernel; /* somebody runs a cell that ends at once */
        used.state_for_ms = used.untouched_for_ms = 0;
        struct culler_policy without_age = policy;
        without_age.age_ms = 0;
        assert_true(culler_decide(&used, &without_age).in_ms >=
                    culler_decide(&kernel, &without_age).in_ms);
    }
}

static void explains(void **state) {
    (void)state;
    static const struct {
        struct culler_kernel kernel;
        struct culler_policy policy;
        enum culler_rule rule;
        const char *want;
    } cases[] = {
        {{QUIET, .state_for_ms = 65 * MIN},
         CHART,
         CULLER_RULE_IDLE,
         "it was idle for 1 h 5 min and nobody was connected; the limit is 1 h "
         "(cull-idle-timeout)"},
        {{QUIET, .state_for_ms = 90 * S, .has_own_idle_ms = true, .own_idle_ms = 61 * S},
         CHART,
         CULLER_RULE_IDLE,
         "it was idle for 1 min 30 s and nobody was connected; the limit is 1 min 1 s (its own "
         "cull_idle_timeout)"},
        {{QUIET, .unheard_for_ms = 0, .state_for_ms = 25 * H},
         SLOWER,
         CULLER_RULE_IDLE_CONNECTED,
         "it was idle for 1 d 1 h, though somebody was connected; the limit is 1 d "
         "(cull-idle-connected-timeout)"},
        {{QUIET, .unheard_for_ms = 0},
         CONNECTED,
         CULLER_RULE_IDLE_CONNECTED,
         "it was idle for 10 d, though somebody was connected; the limit is 1 h "
         "(cull-idle-timeout, cull-connected)"},
        {{BUSY, .state_for_ms = 7 * H},
         STALLED,
         CULLER_RULE_STALLED,
         "its cell ran for 7 h without output and without using the CPU; the limit is 6 h "
         "(cull-stalled-timeout)"},
        {{QUIET, .unheard_for_ms = 2 * H + 1},
         LEASE,
         CULLER_RULE_DETACHED,
         "for 2 h nobody was connected and nothing ran; the limit is 2 h "
         "(cull-detached-timeout)"},
        {{QUIET, .is_new = true, .state_for_ms = 2 * H},
         UNATTACHED,
         CULLER_RULE_UNATTACHED,
         "nobody connected to it in the 2 h since it was started; the limit is 1 h "
         "(cull-unattached-timeout)"},
        {{QUIET, .age_ms = 8 * D},
         AGE,
         CULLER_RULE_AGE,
         "it was 8 d old; the limit is 7 d (cull-max-age)"},
        {{QUIET, .state_for_ms = 12},
         {.idle_ms = 10},
         CULLER_RULE_IDLE,
         "it was idle for 12 ms and nobody was connected; the limit is 10 ms "
         "(cull-idle-timeout)"},
        {{QUIET}, OFF, CULLER_NO_RULE, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cleanup_buffer struct buffer out = {0};
        culler_explain(&cases[i].kernel, &cases[i].policy, cases[i].rule, &out);
        assert_string_equal(buffer_text(&out), cases[i].want);
    }
}

static void idle_time_is_what_rules_measure(void **state) {
    (void)state;
    static const struct {
        struct culler_kernel kernel;
        int64_t want;
    } cases[] = {
        {{QUIET, .state_for_ms = 5, .untouched_for_ms = 4, .silent_for_ms = 3, .at_rest_for_ms = 2},
         2},
        {{QUIET, .state_for_ms = 5, .untouched_for_ms = 4, .silent_for_ms = 3, .at_rest_for_ms = 9},
         3},
        {{QUIET, .state_for_ms = 5, .busy_subshells = 1}, 0},
        {{BUSY, .state_for_ms = 5}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(culler_idle_for(&cases[i].kernel), cases[i].want);
    for (enum culler_state at = 0; at < CULLER_STATES; at++)
        assert_true(strlen(culler_state_name(at)) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_as_the_table_says),
        cmocka_unit_test(holds_for_any_numbers),
        cmocka_unit_test(explains),
        cmocka_unit_test(idle_time_is_what_rules_measure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
