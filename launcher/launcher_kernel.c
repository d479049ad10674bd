/* The life of the kernel process: start, ready, end, again. */
#include "launcher/launcher_state.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernelspecs/substitute.h"
#include "launcher/program_path.h"
#include "launcher/user_account.h"
#include "launcher/user_place.h"

#define LOG_AREA "launcher/kernel"
#include "base/log.h"

#include <assert.h>
#include <signal.h>
#include <string.h>

/* A process that ended may have left messages on the way: libzmq reads them from the closed
 * connections within a moment, but says nothing when it is through. So the end is dealt with once
 * the channels were quiet for this long. */
enum { SETTLE_MS = 20, SETTLE_ROUNDS_MAX = 50 };

enum { TAKEN_WAIT_MS = 2000 }; /* so long a kernel may take to end that has not got its ports */

const char *launcher_told_reason(const struct launcher *launcher) {
    return launcher->is_container
               ? "The kernel's pod was told to end, as when it is deleted, evicted or its node is "
                 "drained, and the kernel ended with it."
               : "The kernel's launcher was told to end (SIGTERM), as when the machine shuts down, "
                 "and the kernel ended with it.";
}

static zloop_timer_fn on_relax_timer, on_probe_timer, on_launch_timer, on_settle_timer;

/* As whom the kernel runs, so that it can read it, and no link of his leads elsewhere. */
static int write_connection(struct launcher *launcher, struct error *err) {
    struct launch *launch = launcher->launch;
    const struct launch_user *user = &launch->user;
    if (user_account_apply(launch, err) < 0 ||
        (user->is_known && user_place_make(launch->account_place, user->uid, user->gid, err) < 0) ||
        user_account_enter(user, err) < 0)
        return -1;
    int written = connection_write(&launcher->connection, launcher->connection_path, err);
    user_account_leave(user);
    return written;
}

/* libzmq's threads connect to the kernel's sockets: to no others than its user may. They are made
 * with the first socket. */
static int start_threads(const struct launch_user *user, struct error *err) {
    if (user_account_enter(user, err) < 0)
        return -1;
    zsock_t *first = zsock_new(ZMQ_PAIR);
    user_account_leave(user);
    zsock_destroy(&first);
    return 0;
}

int launcher_kernel_prepare(struct launcher *launcher, struct error *err) {
    const struct launch *launch = launcher->launch;
    const char *place = launch->account_place != NULL ? launch->account_place : launcher->directory;
    launcher->connection_path = memory_printf("%s/connection.json", place);
    launcher->policy = (struct restart_policy){.limit = launch->restart_limit,
                                               .stable_after_ms = launch->stable_after_ms};
    if (connection_create(launch->transport, place, launch->kernel_name, &launcher->connection,
                          err) < 0)
        return -1;
    launcher->is_connection_unwritten = write_connection(launcher, err) < 0;
    if (launch->user.is_known && start_threads(&launch->user, err) < 0)
        return -1;
    if (launcher->is_connection_unwritten && !launcher->resume.is_due)
        return -1; /* else there is an output to be kept, whatever becomes of the kernel */
    launcher->wire = kernel_wire_create(launcher->connection.key);
    launcher->output = kernel_output_create(launcher->output_path, launch->output_bytes);
    return 0;
}

/* --- starting --- */

/* Where only we see the image, the program that a gateway finds for a local kernel is left to
 * us. */
static char *resolve(const struct launch *launch, char *argument, bool is_program) {
    const char *home = launch_variable(launch, "HOME");
    char *resolved = NULL;
    if (is_program && launch->is_on_launcher_environment && program_is_python(argument))
        resolved = program_find_python(launch_variable(launch, "PATH"), argument);
    else if (!is_program && home != NULL && text_starts_with(argument, "~/"))
        resolved = memory_printf("%s%s", home, argument + 1);
    if (resolved == NULL)
        return argument;
    free(argument);
    return resolved;
}

static char **make_argv(const struct launcher *launcher) {
    const struct launch *launch = launcher->launch;
    cleanup_json json_t *values = json_pack(
        "{s:s, s:s}", "connection_file", launcher->connection_path, "kernel_id", launch->kernel_id);
    if (launch->resource_dir != NULL)
        json_object_set_new(values, "resource_dir", json_string(launch->resource_dir));
    if (launch->prefix != NULL)
        json_object_set_new(values, "prefix", json_string(launch->prefix));
    size_t count = 0;
    while (launch->argv[count] != NULL)
        count++;
    char **argv = memory_alloc((count + 1) * sizeof *argv);
    for (size_t i = 0; i < count; i++)
        argv[i] = resolve(launch, substitute_placeholders(launch->argv[i], values), i == 0);
    return argv;
}

static void free_argv(char **argv) {
    for (char **at = argv; *at != NULL; at++)
        free(*at);
    free(argv);
}

static int open_channels(struct launcher *launcher, int reconnect_ms, struct error *err) {
    const struct kernel_channels_settings settings = {.connection = &launcher->connection,
                                                      .wire = launcher->wire,
                                                      .reconnect_ms = reconnect_ms,
                                                      .payload_max = PAYLOAD_MAX};
    return kernel_channels_open(launcher->loop, &settings, &launcher_channel_events, launcher,
                                &launcher->channels, err);
}

static void probe(struct launcher *launcher) {
    int64_t now_ms = clock_monotonic_ms();
    launcher_ask(launcher, CHANNEL_SHELL, "kernel_info_request", json_object());
    launcher_ask(launcher, CHANNEL_CONTROL, "kernel_info_request", json_object());
    readiness_asked(&launcher->readiness, now_ms);
    launcher_timer_set(launcher, &launcher->probe_timer,
                       readiness_wait_ms(&launcher->readiness, now_ms), on_probe_timer);
}

static int on_probe_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->probe_timer, timer))
        return 0;
    if (launcher->channels != NULL && !readiness_is_complete(&launcher->readiness))
        probe(launcher);
    return 0;
}

/* A slow start: connections that are refused hundreds of times a second would take the CPU that the
 * kernel needs. */
static int on_relax_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    struct error err;
    if (!launcher_timer_fired(&launcher->relax_timer, timer))
        return 0;
    if (launcher->channels == NULL || launcher->readiness.has_reply)
        return 0;
    kernel_channels_close(&launcher->channels);
    if (open_channels(launcher, READINESS_RECONNECT_SLOW_MS, &err) < 0)
        log_error("%s", err.text); /* the launch timeout ends it */
    else
        probe(launcher);
    return 0;
}

static int on_launch_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->launch_timer, timer))
        return 0;
    if (launcher->ending == ENDING_NONE)
        launcher_end(launcher, ENDING_TIMEOUT, true, NULL);
    return 0;
}

static int on_taken_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    struct error err;
    if (!launcher_timer_fired(&launcher->taken_timer, timer) || launcher->has_exited ||
        launcher->ending != ENDING_NONE)
        return 0;
    log_info("the kernel does not end, though one of its ports is taken: it is killed");
    if (kernel_process_signal(launcher->process, SIGKILL, &err) < 0)
        log_error("%s", err.text);
    return 0;
}

/* ipykernel says that its iopub port is taken, and hangs instead of ending. */
static void check_output(struct launcher *launcher) {
    if (readiness_is_complete(&launcher->readiness) || launcher->taken_timer != 0)
        return;
    cleanup_free char *output = kernel_output_tail(launcher->output);
    if (exit_reason_is_port_race(output) && connection_is_named(&launcher->connection, output))
        launcher_timer_set(launcher, &launcher->taken_timer, TAKEN_WAIT_MS, on_taken_timer);
}

static int on_output(zloop_t *loop, zmq_pollitem_t *item, void *context) {
    struct launcher *launcher = context;
    if (kernel_output_read(launcher->output, item->fd) < 0) {
        zloop_poller_end(loop, &launcher->output_item);
        launcher->watches_output = false;
    }
    check_output(launcher);
    return 0;
}

/* The program runs, or could not be run: then its process ends at once and launcher_kernel_exited
 * goes on. */
static void check_report(struct launcher *launcher) {
    int state = kernel_process_check(launcher->process, &launcher->exec_error);
    if (state == 0)
        return;
    if (launcher->watches_report)
        zloop_poller_end(launcher->loop, &launcher->report_item);
    launcher->watches_report = false;
    if (state < 0)
        return;
    launcher_answer(&launcher->restart_waiters, NULL);
    launcher_stage(launcher, "waiting for the kernel to answer");
}

static int on_report(zloop_t *loop, zmq_pollitem_t *item, void *context) {
    (void)loop, (void)item;
    struct launcher *launcher = context;
    if (launcher->watches_report)
        check_report(launcher);
    link_server_flush(launcher->link);
    return 0;
}

static void watch_process(struct launcher *launcher) {
    launcher->output_item =
        (zmq_pollitem_t){.fd = kernel_process_output_fd(launcher->process), .events = ZMQ_POLLIN};
    launcher->report_item =
        (zmq_pollitem_t){.fd = kernel_process_report_fd(launcher->process), .events = ZMQ_POLLIN};
    zloop_poller(launcher->loop, &launcher->output_item, on_output, launcher);
    zloop_poller_set_tolerant(launcher->loop, &launcher->output_item);
    zloop_poller(launcher->loop, &launcher->report_item, on_report, launcher);
    zloop_poller_set_tolerant(launcher->loop, &launcher->report_item);
    launcher->watches_output = launcher->watches_report = true;
}

static int start_process(struct launcher *launcher, struct error *err) {
    kernel_output_begin(launcher->output);
    launcher->exec_error = (struct error){.code = ERROR_NONE};
    launcher->has_exited = false;
    oom_watch_begin(&launcher->oom, oom_watch_count(), clock_monotonic_ms());
    char **argv = make_argv(launcher);
    oom_score_raise(&launcher->oom_score);
    int started = kernel_process_start(launcher->launch, argv, &launcher->process, err);
    oom_score_restore(&launcher->oom_score);
    free_argv(argv);
    if (started < 0)
        return -1;
    int64_t now_ms = clock_monotonic_ms();
    launcher->process_started_ms = now_ms;
    activity_restarted(&launcher->activity, now_ms);
    launcher->last_activity_us = clock_wall_us();
    launcher->idle_since_ms = now_ms;
    restart_policy_started(&launcher->policy, now_ms);
    readiness_begin(&launcher->readiness, now_ms);
    watch_process(launcher);
    /* The sockets are made while the child executes its program. */
    if (open_channels(launcher, READINESS_RECONNECT_FAST_MS, err) < 0)
        log_error("%s", err->text);
    else
        probe(launcher);
    launcher_timer_set(launcher, &launcher->relax_timer, READINESS_PATIENCE_MS, on_relax_timer);
    launcher_timer_set(launcher, &launcher->launch_timer, launcher->launch->launch_timeout_ms,
                       on_launch_timer);
    launcher_save_record(launcher);
    return 0;
}

static void give_up(struct launcher *launcher, const char *reason) {
    struct error err;
    error_set(&err, ERROR_SYSTEM, "%.1000s", reason); /* trying again alone does not help */
    launcher_phase(launcher, EVENT_FAILED, "dead", reason);
    launcher_answer(&launcher->restart_waiters, &err);
}

void launcher_kernel_start(struct launcher *launcher) {
    struct error err;
    launcher_stage(launcher, "starting the process");
    if (launcher->is_connection_unwritten)
        launcher->is_connection_unwritten = write_connection(launcher, &err) < 0;
    if (launcher->is_connection_unwritten || start_process(launcher, &err) < 0) {
        give_up(launcher, err.text);
        link_server_resume(launcher->link); /* what waited is answered */
    }
}

/* --- ready --- */

/* The first answer may have come before the subscription arrived: then ask again soon, not when an
 * unanswered request would be. */
static void hasten_probe(struct launcher *launcher) {
    if (!launcher->readiness.has_reply || launcher->channels == NULL ||
        launcher->ending != ENDING_NONE)
        return;
    launcher->readiness.has_stdin = kernel_channels_has_stdin(launcher->channels);
    if (!readiness_is_complete(&launcher->readiness))
        launcher_timer_set(launcher, &launcher->probe_timer,
                           readiness_wait_ms(&launcher->readiness, clock_monotonic_ms()),
                           on_probe_timer);
}

static void clear_start_timers(struct launcher *launcher) {
    launcher_timer_clear(launcher, &launcher->probe_timer);
    launcher_timer_clear(launcher, &launcher->relax_timer);
    launcher_timer_clear(launcher, &launcher->taken_timer);
    launcher_timer_clear(launcher, &launcher->launch_timer);
}

void launcher_kernel_check_ready(struct launcher *launcher) {
    if (launcher->phase != PHASE_READY)
        hasten_probe(launcher);
    if (!readiness_is_complete(&launcher->readiness) || launcher->ending != ENDING_NONE ||
        launcher->has_exited ||
        (launcher->phase != PHASE_STARTING && launcher->phase != PHASE_RESTARTING))
        return;
    check_report(
        launcher); /* it answers, so it runs: whoever waits for that is told before it is ready */
    clear_start_timers(launcher);
    restart_policy_ready(&launcher->policy);
    kernel_output_begin(launcher->output); /* its banner explains no death */
    launcher->idle_since_ms = clock_monotonic_ms();
    log_info("the kernel answered after %lld ms",
             (long long)(launcher->idle_since_ms - launcher->process_started_ms));
    launcher_phase(launcher, EVENT_READY, "ready", NULL);
    launcher_activity_sample(launcher); /* what its start has used is no work */
    launcher_publish_held(launcher);
    link_server_resume(launcher->link);
}

/* --- the end --- */

static void let_process_go(struct launcher *launcher) {
    clear_start_timers(launcher);
    launcher_timer_clear(launcher, &launcher->settle_timer);
    launcher_timer_clear(launcher, &launcher->ending_timer);
    launcher->ending_step = 0;
    if (launcher->watches_output)
        zloop_poller_end(launcher->loop, &launcher->output_item);
    if (launcher->watches_report)
        zloop_poller_end(launcher->loop, &launcher->report_item);
    launcher->watches_output = launcher->watches_report = false;
    kernel_channels_close(&launcher->channels);
    kernel_process_destroy(&launcher->process);
    launcher->has_exited = false;
    launcher->kernel_session[0] = '\0';
    connection_remove_sockets(&launcher->connection);
}

void launcher_kernel_release(struct launcher *launcher) {
    if (launcher->loop != NULL)
        let_process_go(launcher);
    kernel_wire_destroy(launcher->wire);
    connection_end(&launcher->connection);
    if (launcher->connection_path != NULL)
        unlink(launcher->connection_path); /* it holds a key */
    if (launcher->launch != NULL && launcher->launch->account_place != NULL)
        user_place_remove(launcher->launch->account_place);
}

void launcher_kernel_exited(struct launcher *launcher, int wait_status) {
    launcher->has_exited = true;
    launcher->wait_status = wait_status;
    launcher->settle_rounds = 0;
    launcher->had_messages = false;
    launcher_timer_clear(launcher, &launcher->launch_timer);
    launcher_timer_set(launcher, &launcher->settle_timer, SETTLE_MS, on_settle_timer);
}

static void write_timeout(const struct launcher *launcher, char text[EXIT_REASON_SIZE]) {
    bool is_open = launcher->channels != NULL && kernel_channels_saw_heartbeat(launcher->channels);
    snprintf(text, EXIT_REASON_SIZE,
             "The kernel did not answer within %lld s and was ended: %s. If it only needs longer "
             "to start, raise the launch timeout.",
             (long long)(launcher->launch->launch_timeout_ms + 500) / 1000,
             is_open ? "its heartbeat came, but no answer to kernel_info_request"
                     : "it never opened its ports");
}

/* One sentence, and for the reason of a dead kernel its last lines below. */
static void write_reason(const struct launcher *launcher, const struct kernel_exit *exit,
                         const char *output, char text[EXIT_REASON_SIZE]) {
    if (launcher->exec_error.code != ERROR_NONE)
        snprintf(text, EXIT_REASON_SIZE, "%s", launcher->exec_error.text);
    else if (launcher->ending == ENDING_TIMEOUT)
        write_timeout(launcher, text);
    else if (exit->code == 0 && !launcher->policy.was_ready)
        snprintf(text, EXIT_REASON_SIZE,
                 "The kernel's program ended without an error before it was ready; check argv of "
                 "the kernelspec '%.100s'.",
                 launcher->launch->kernel_name);
    else
        exit_reason_write(exit, output, launcher->launch->argv[0], text);
}

static char *with_output(const char *reason, const char *output) {
    return exit_reason_has_output(reason, output)
               ? memory_strdup(reason)
               : memory_printf("%s\nIts last output was:\n%s", reason, output);
}

static void report_exit(struct launcher *launcher, const struct kernel_exit *exit,
                        const char *reason, const char *output, bool is_restarting) {
    cleanup_json json_t *report = exit_report_create(exit, reason, output, is_restarting);
    log_info("%s%s", reason, is_restarting ? " It is started again." : "");
    if (report != NULL)
        link_server_exit(launcher->link, report);
}

void launcher_say_death(struct launcher *launcher, const char *reason, bool is_restarting) {
    cleanup_free char *notice =
        memory_printf("\n%s%s\n", reason,
                      is_restarting ? " It is restarted: its variables are lost."
                                    : " It is not started again by itself; restart it to go "
                                      "on.");
    launcher_say(launcher, notice);
}

/* What is said in the kernel's place. Clients differ in what they heed, so it comes in this order:
 *   1. stderr in the running cell, or the one that was about to run, where the user looks.
 *      JupyterLab, VS Code and nbclient all show it.
 *   2. a reply and idle for each request that waits. nbclient and papermill know neither
 *      `restarting` nor a death that the server has already dealt with (for them the kernel is
 *      alive): without a reply they wait for ever. They raise the error of the reply.
 *   3. `restarting`, with which JupyterLab cancels what is left, tells the user and connects
 *      anew; or `dead`, with which it lets go.
 * 1 and 2 bear the session of the dead kernel: JupyterLab forgets what it has not yet drawn when a
 * message of another session comes. */
void launcher_speak_for_dead(struct launcher *launcher, const char *reason, bool is_restarting) {
    launcher_begin_unbegun(launcher);
    launcher_say_death(launcher, reason, is_restarting);
    launcher_end_requests(launcher, "KernelDied", reason);
    launcher_say_status(launcher, is_restarting ? "restarting" : "dead");
}

static void restart_after_death(struct launcher *launcher, const struct kernel_exit *exit,
                                const char *reason, const char *output) {
    launcher_speak_for_dead(launcher, reason, true);
    report_exit(launcher, exit, reason, output, true);
    let_process_go(launcher);
    launcher->restarts++;
    launcher_forget_cells(launcher);
    launcher_phase(launcher, EVENT_RESTART, "starting again after a death", NULL);
    launcher_kernel_start(launcher);
}

static void stay_dead(struct launcher *launcher, const struct kernel_exit *exit, const char *reason,
                      const char *output, bool was_ready) {
    /* A kernel that never worked has no cells; `dead` on iopub would make JupyterLab let go of it
     * for good, while the gateway still has the reason to show in the first cell and a restart to
     * offer. */
    if (was_ready)
        launcher_speak_for_dead(launcher, reason, false);
    report_exit(launcher, exit, reason, output, false);
    cleanup_free char *full = with_output(reason, output);
    let_process_go(launcher);
    launcher->ending = ENDING_NONE;
    launcher_forget_cells(launcher);
    give_up(launcher, full);
    link_server_resume(launcher->link); /* what waited for a ready kernel is answered */
}

static void start_with_new_ports(struct launcher *launcher) {
    struct error err;
    log_warning("another process took one of the kernel's ports: trying others");
    let_process_go(launcher);
    if (connection_renew_ports(&launcher->connection, &err) < 0 ||
        write_connection(launcher, &err) < 0)
        give_up(launcher, err.text);
    else
        launcher_kernel_start(launcher);
}

static bool is_port_race(const struct launcher *launcher, const char *output) {
    return launcher->exec_error.code == ERROR_NONE && launcher->ending == ENDING_NONE &&
           (exit_reason_is_port_race(output) || connection_is_taken(&launcher->connection));
}

static void died(struct launcher *launcher, const struct kernel_exit *exit, const char *reason,
                 const char *output) {
    bool was_ready = launcher->policy.was_ready;
    switch (restart_policy_died(&launcher->policy, clock_monotonic_ms(),
                                is_port_race(launcher, output))) {
    case RESTART_AGAIN:
        if (launcher->exec_error.code == ERROR_NONE && launcher->ending != ENDING_TIMEOUT) {
            restart_after_death(launcher, exit, reason, output);
            break;
        }
        stay_dead(launcher, exit, reason, output, was_ready); /* the same would come again */
        break;
    case RESTART_NEW_PORTS:
        start_with_new_ports(launcher);
        break;
    case RESTART_FAILED:
    case RESTART_GIVE_UP:
        stay_dead(launcher, exit, reason, output, was_ready);
        break;
    }
}

/* The running cell was told before it was interrupted: what comes after its reply is not shown. */
static void end_as_told(struct launcher *launcher, const struct kernel_exit *exit) {
    if (launcher->policy.was_ready) {
        launcher_end_requests(launcher, "KernelDied", launcher_told_reason(launcher));
        launcher_say_status(launcher, "dead");
    }
    stay_dead(launcher, exit, launcher_told_reason(launcher), "", false);
    launcher->ending = ENDING_TOLD;
    launcher_ended(launcher);
}

static void process_ended(struct launcher *launcher) {
    kernel_output_drain(launcher->output, kernel_process_output_fd(launcher->process));
    if (launcher->watches_report)
        check_report(launcher);
    launcher_publish_held(launcher);
    int oom = oom_watch_compare(launcher->oom.before, oom_watch_count());
    struct kernel_exit exit = kernel_exit_from_status(launcher->wait_status, oom);
    cleanup_free char *output = kernel_output_tail(launcher->output);
    char reason[EXIT_REASON_SIZE];
    write_reason(launcher, &exit, output, reason);
    if (launcher->ending == ENDING_TOLD) {
        end_as_told(launcher, &exit);
        return;
    }
    if (launcher->ending != ENDING_RESTART && launcher->ending != ENDING_SHUTDOWN) {
        died(launcher, &exit, reason, output);
        return;
    }
    bool is_restart = launcher->ending == ENDING_RESTART;
    const char *text = is_restart ? "The kernel was restarted." : "The kernel was shut down.";
    /* Other clients than the one that asked have cells that wait, too. */
    launcher_end_requests(launcher, is_restart ? "KernelRestarted" : "KernelShutDown", text);
    report_exit(launcher, &exit, text, output, is_restart);
    let_process_go(launcher);
    launcher_forget_cells(launcher);
    launcher_ended(launcher);
}

static int on_settle_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->settle_timer, timer))
        return 0;
    if (launcher->had_messages && ++launcher->settle_rounds < SETTLE_ROUNDS_MAX) {
        launcher->had_messages = false;
        launcher_timer_set(launcher, &launcher->settle_timer, SETTLE_MS, on_settle_timer);
        return 0;
    }
    process_ended(launcher);
    link_server_flush(launcher->link);
    return 0;
}

/* --- what the channels say --- */

static void on_drained(void *context) {
    struct launcher *launcher = context;
    launcher->had_messages = true;
    launcher_kernel_check_ready(launcher);
    launcher_push_status(launcher);
    link_server_flush(launcher->link);
}

static void on_writable(void *context) {
    struct launcher *launcher = context;
    link_server_resume(launcher->link);
    link_server_flush(launcher->link);
}

const struct kernel_channels_events launcher_channel_events = {
    .message = launcher_take_message, .drained = on_drained, .writable = on_writable};
