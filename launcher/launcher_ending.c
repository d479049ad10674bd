/* The steps in which a kernel is ended (as jupyter_client does it): interrupt and shutdown_request,
 * half of the wait, SIGTERM, the other half, SIGKILL. A kernel that does not answer yet begins at
 * SIGTERM: it would read a request only once it is up. */
#include "launcher/launcher_state.h"

#include "launcher/process_tree.h"

#define LOG_AREA "launcher/ending"
#include "base/log.h"

#include <signal.h>

enum { STEP_ASK, STEP_TERM, STEP_KILL, STEP_STUCK };
enum { KILL_WAIT_MS = 5000, SWEEP_MS = 20, SWEEP_ROUNDS_MAX = 100 };

static zloop_timer_fn on_step_timer, on_sweep_timer;

bool launcher_wait(struct waiters *waiters, struct link_command *command) {
    if (waiters->count == WAITERS_MAX)
        return false;
    waiters->commands[waiters->count++] = command;
    return true;
}

void launcher_answer(struct waiters *waiters, const struct error *err) {
    for (size_t i = 0; i < waiters->count; i++)
        link_server_result(waiters->commands[i], NULL, err);
    waiters->count = 0;
}

static void signal_process(struct launcher *launcher, int signum) {
    struct error err;
    if (kernel_process_signal(launcher->process, signum, &err) < 0)
        log_debug("%s", err.text);
}

static void ask(struct launcher *launcher) {
    struct error err;
    if (launcher_interrupt(launcher, &err) < 0)
        log_debug("%s", err.text);
    json_t *content = json_pack("{s:b}", "restart", launcher->ending == ENDING_RESTART);
    launcher_ask(launcher, CHANNEL_CONTROL, "shutdown_request", content);
}

/* Not even SIGKILL helped: it hangs in the system (a dead NFS server, a driver). */
static void stuck(struct launcher *launcher) {
    struct error err;
    error_set(&err, ERROR_TIMEOUT,
              "The kernel process %d cannot be ended: it hangs inside the system (often a file "
              "server that does not answer).",
              (int)kernel_process_pid(launcher->process));
    log_error("%s", err.text);
    if (launcher->ending == ENDING_RESTART) {
        launcher_answer(&launcher->restart_waiters, &err);
        return; /* goes on should it ever end */
    }
    launcher_answer(&launcher->shutdown_waiters, &err);
    if (launcher->ending == ENDING_TOLD)
        launcher_phase(launcher, EVENT_FAILED, "dead", launcher_told_reason(launcher));
    launcher_finish(launcher);
}

static void take_step(struct launcher *launcher) {
    int64_t half_ms = launcher->launch->shutdown_wait_ms / 2;
    int64_t wait_ms = KILL_WAIT_MS;
    switch (launcher->ending_step) {
    case STEP_ASK:
        ask(launcher);
        wait_ms = half_ms;
        break;
    case STEP_TERM:
        signal_process(launcher, SIGTERM);
        wait_ms = half_ms;
        break;
    case STEP_KILL:
        signal_process(launcher, SIGKILL);
        break;
    default:
        stuck(launcher);
        return;
    }
    launcher_timer_set(launcher, &launcher->ending_timer, wait_ms, on_step_timer);
}

static int on_step_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->ending_timer, timer))
        return 0;
    if (launcher->process == NULL || launcher->has_exited)
        return 0;
    launcher->ending_step++;
    take_step(launcher);
    link_server_flush(launcher->link);
    return 0;
}

static void stop(struct launcher *launcher, const char *reason) {
    struct error err;
    error_set(&err, ERROR_UNAVAILABLE, "The kernel was shut down meanwhile.");
    launcher_answer(&launcher->restart_waiters, &err);
    launcher_phase(launcher, EVENT_STOP, "shutting down", reason);
}

void launcher_end(struct launcher *launcher, enum ending ending, bool now, const char *reason) {
    launcher_resume_explain(launcher, NULL);
    bool was_ready = launcher_is_ready(launcher);
    bool is_under_way = launcher->ending != ENDING_NONE;
    if (ending == ENDING_SHUTDOWN && launcher->phase != PHASE_STOPPING)
        stop(launcher, reason);
    else if (ending == ENDING_RESTART && launcher->ending != ENDING_RESTART)
        launcher_phase(launcher, EVENT_RESTART, "restarting", NULL);
    launcher->ending = ending;
    link_server_resume(launcher->link); /* what waited was meant for this process */
    if (launcher->process == NULL) {
        launcher_ended(launcher);
        return;
    }
    if (launcher->has_exited)
        return; /* launcher_ended comes once its last messages are in */
    if (now && launcher->ending_step < STEP_KILL)
        launcher->ending_step = STEP_KILL;
    else if (is_under_way && (launcher->ending_step != STEP_STUCK || ending == ENDING_RESTART))
        return;
    else if (!was_ready && launcher->ending_step < STEP_TERM)
        launcher->ending_step = STEP_TERM;
    take_step(launcher);
}

/* Whatever the kernel has started and left behind has come to us, since we are the subreaper: it
 * ends with the kernel. */
static void sweep(struct launcher *launcher) {
    if (process_tree_signal(SIGKILL) > 0 && launcher->sweep_rounds++ < SWEEP_ROUNDS_MAX) {
        launcher_timer_set(launcher, &launcher->ending_timer, SWEEP_MS, on_sweep_timer);
        return;
    }
    if (launcher->ending == ENDING_SHUTDOWN) /* else it is dead, with the reason */
        launcher_phase(launcher, EVENT_STOPPED, "shut down", NULL);
    launcher_answer(&launcher->shutdown_waiters, NULL);
    launcher_finish(launcher);
}

static int on_sweep_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->ending_timer, timer))
        return 0;
    sweep(launcher);
    link_server_flush(launcher->link);
    return 0;
}

void launcher_ended(struct launcher *launcher) {
    enum ending ending = launcher->ending;
    launcher_timer_clear(launcher, &launcher->ending_timer);
    launcher->ending_step = STEP_ASK;
    if (ending == ENDING_SHUTDOWN || ending == ENDING_TOLD) {
        sweep(launcher);
        return;
    }
    launcher->ending = ENDING_NONE;
    launcher->restarts++;
    restart_policy_begin(&launcher->policy);
    launcher_kernel_start(launcher);
}
