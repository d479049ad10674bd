/* COMMANDs of gateways (docs/link-protocol.md, "Commands"). */
#include "launcher/launcher_state.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "launcher/log_tail.h"
#include "launcher/process_tree.h"

#include <string.h>

enum { LOGS_MAX_BYTES = 1 << 20, SAY_MAX_BYTES = 4096 };

typedef void command_run(struct launcher *launcher, const json_t *members,
                         struct link_command *command);

static void refuse(struct link_command *command, enum error_code code, const char *text) {
    struct error err;
    error_set(&err, code, "%s", text);
    link_server_result(command, NULL, &err);
}

int launcher_interrupt(struct launcher *launcher, struct error *err) {
    if (launcher->process == NULL || launcher->has_exited)
        return error_set(err, ERROR_UNAVAILABLE,
                         "The kernel is not running; there is nothing to interrupt.");
    if (launcher->launch->interrupt_signal != 0)
        return kernel_process_signal(launcher->process, launcher->launch->interrupt_signal, err);
    if (launcher_ask(launcher, CHANNEL_CONTROL, "interrupt_request", json_object()))
        return 0;
    return error_set(err, ERROR_UNAVAILABLE,
                     "The kernel takes no messages on its control channel.");
}

static void run_interrupt(struct launcher *launcher, const json_t *members,
                          struct link_command *command) {
    (void)members;
    struct error err;
    activity_touched(&launcher->activity, clock_monotonic_ms());
    /* A signal would end an interpreter that is still loading. */
    if (launcher->phase == PHASE_STARTING || launcher->phase == PHASE_RESTARTING)
        refuse(command, ERROR_UNAVAILABLE,
               "The kernel is still starting; there is nothing to interrupt yet.");
    else if (launcher_interrupt(launcher, &err) < 0)
        link_server_result(command, NULL, &err);
    else
        link_server_result(command, NULL, NULL);
}

static void run_restart(struct launcher *launcher, const json_t *members,
                        struct link_command *command) {
    (void)members;
    if (launcher->phase == PHASE_STOPPING || launcher->ending == ENDING_TOLD) {
        refuse(command, ERROR_UNAVAILABLE, "The kernel is being shut down.");
        return;
    }
    if (!launcher_wait(&launcher->restart_waiters, command)) {
        refuse(command, ERROR_LIMIT, "Too many restarts wait for this kernel already.");
        return;
    }
    if (launcher->phase == PHASE_DEAD) /* the time it was dead makes nobody's kernel old */
        launcher_activity_renew(launcher);
    activity_touched(&launcher->activity, clock_monotonic_ms());
    /* One that is under way, or whose process is just being started, answers this one too. */
    if (launcher->ending != ENDING_RESTART && launcher->restart_waiters.count == 1)
        launcher_end(launcher, ENDING_RESTART, false, NULL);
}

static bool is_ending(const struct launcher *launcher) {
    return launcher->phase == PHASE_STOPPING ||
           (launcher->ending != ENDING_NONE && launcher->ending != ENDING_RESTART);
}

/* An order that was decided upon what the kernel was then holds for that kernel alone. */
static int check_condition(struct launcher *launcher, const json_t *members, bool *ret_has,
                           struct error *err) {
    const json_t *running = json_object_get(members, "if_running");
    const json_t *unchanged = json_object_get(members, "if_unchanged");
    if (running != NULL && !json_is_boolean(running))
        return error_set(err, ERROR_INVALID, "if_running must be true or false");
    if (unchanged != NULL && !json_is_integer(unchanged))
        return error_set(err, ERROR_INVALID,
                         "if_unchanged must be a whole number: changes of activity");
    *ret_has = json_is_true(running) || unchanged != NULL;
    if (!*ret_has)
        return 0;
    if (is_ending(launcher))
        return error_set(err, ERROR_CHANGED, "The kernel is being ended already.");
    if (launcher->phase == PHASE_DEAD || launcher->process == NULL || launcher->has_exited)
        return error_set(err, ERROR_CHANGED, "The kernel does not run any more.");
    launcher_activity_update(launcher);
    struct activity_report report = activity_look(&launcher->activity, clock_monotonic_ms());
    if (unchanged != NULL && json_integer_value(unchanged) != (json_int_t)report.changes)
        return error_set(err, ERROR_CHANGED,
                         "The kernel was used, or its clients came or went, in the meantime.");
    return 0;
}

static void run_shutdown(struct launcher *launcher, const json_t *members,
                         struct link_command *command) {
    const json_t *now = json_object_get(members, "now");
    const json_t *reason_json = json_object_get(members, "reason");
    const char *reason = json_string_value(reason_json);
    if (now != NULL && !json_is_boolean(now)) {
        refuse(command, ERROR_INVALID, "now must be true or false");
        return;
    }
    if (reason_json != NULL && !json_is_null(reason_json) && reason == NULL) {
        refuse(command, ERROR_INVALID, "reason must be a text or null");
        return;
    }
    struct error err;
    bool is_conditional = false;
    if (check_condition(launcher, members, &is_conditional, &err) < 0) {
        link_server_result(command, NULL, &err);
        return;
    }
    if (!is_conditional && !launcher_wait(&launcher->shutdown_waiters, command)) {
        refuse(command, ERROR_LIMIT, "Too many shutdowns wait for this kernel already.");
        return;
    }
    if (reason != NULL && reason[0] == '\0')
        reason = NULL;
    if (reason != NULL && launcher->phase != PHASE_STOPPING) {
        cleanup_free char *text = memory_printf("\n%s\n", reason);
        launcher_say(launcher, text);
    }
    launcher_end(launcher, ENDING_SHUTDOWN, json_is_true(now), reason);
    if (is_conditional) /* that it is this order's end may be known at once */
        link_server_result(command, NULL, NULL);
}

static void run_signal(struct launcher *launcher, const json_t *members,
                       struct link_command *command) {
    struct error err;
    activity_touched(&launcher->activity, clock_monotonic_ms());
    const json_t *signum = json_object_get(members, "signum");
    if (!json_is_integer(signum) || json_integer_value(signum) < 0 ||
        json_integer_value(signum) > 64)
        refuse(command, ERROR_INVALID, "signum must be a number from 0 to 64");
    else if (launcher->process == NULL || launcher->has_exited)
        refuse(command, ERROR_UNAVAILABLE, "The kernel is not running.");
    else if (kernel_process_signal(launcher->process, (int)json_integer_value(signum), &err) < 0)
        link_server_result(command, NULL, &err);
    else
        link_server_result(command, NULL, NULL);
}

static void run_record_get(struct launcher *launcher, const json_t *members,
                           struct link_command *command) {
    (void)members;
    link_server_result(command, json_pack("{s:O}", "record", launcher->record), NULL);
}

static void run_record_set(struct launcher *launcher, const json_t *members,
                           struct link_command *command) {
    json_t *set = json_object_get(members, "set");
    if (!json_is_object(set)) {
        refuse(command, ERROR_INVALID, "set must be an object of record members");
        return;
    }
    json_t *merged = json_copy(launcher->record);
    const char *name;
    json_t *value;
    json_object_foreach(set, name, value) {
        if (json_is_null(value))
            json_object_del(merged, name);
        else
            json_object_set(merged, name, value);
    }
    if (launch_record_size(merged) > LAUNCH_RECORD_SET_MAX) {
        json_decref(merged);
        refuse(command, ERROR_LIMIT, "the record would be larger than 768 KiB; nothing was set");
        return;
    }
    json_decref(launcher->record);
    launcher->record = merged;
    launcher_save_record(launcher);
    run_record_get(launcher, members, command);
}

/* Who else than the owner may use the kernel, or look at it: one name at a time, since two gateways
 * may change it at once. */
static int check_share(const json_t *members, const json_t *shares, struct error *err) {
    const json_t *user = json_object_get(members, "user"),
                 *right = json_object_get(members, "right");
    const char *text = json_string_value(right);
    size_t length = json_string_length(user);
    if (!json_is_string(user) || length == 0 || length > LAUNCH_SHARE_NAME_MAX)
        return error_set(err, ERROR_INVALID, "user must be a name of at most %d bytes",
                         LAUNCH_SHARE_NAME_MAX);
    if (json_is_null(right))
        return 0;
    if (text == NULL || (strcmp(text, "use") != 0 && strcmp(text, "view") != 0))
        return error_set(err, ERROR_INVALID, "right must be \"use\", \"view\" or null");
    if (json_object_get(shares, json_string_value(user)) == NULL &&
        json_object_size(shares) >= LAUNCH_SHARES_MAX)
        return error_set(err, ERROR_LIMIT,
                         "The kernel is shared with %d users already, which is the most; take it "
                         "back from one of them first.",
                         LAUNCH_SHARES_MAX);
    return 0;
}

static void run_share(struct launcher *launcher, const json_t *members,
                      struct link_command *command) {
    const json_t *known = json_object_get(launcher->record, "shares");
    cleanup_json json_t *shares =
        json_is_object(known) ? json_copy((json_t *)(uintptr_t)known) : json_object();
    struct error err;
    if (check_share(members, shares, &err) < 0) {
        link_server_result(command, NULL, &err);
        return;
    }
    const char *user = json_string_value(json_object_get(members, "user"));
    json_t *right = json_object_get(members, "right");
    if (json_is_null(right))
        json_object_del(shares, user);
    else
        json_object_set(shares, user, right);
    json_object_set(launcher->record, "shares", shares);
    launcher_save_record(launcher);
    launcher->is_status_dirty = true; /* all gateways are told */
    launcher_push_status(launcher);
    link_server_result(command, json_pack("{s:O}", "shares", shares), NULL);
}

/* The member as a text for a cell, or NULL: then the command was refused. */
static const char *text_to_say(const json_t *members, const char *member,
                               struct link_command *command) {
    const json_t *text = json_object_get(members, member);
    if (json_is_string(text) && json_string_length(text) <= SAY_MAX_BYTES)
        return json_string_value(text);
    cleanup_free char *problem = memory_printf("%s must be a text of at most 4096 bytes", member);
    refuse(command, ERROR_INVALID, problem);
    return NULL;
}

/* Into the cell that runs or ran last, where the user sees it. */
static void run_say(struct launcher *launcher, const json_t *members,
                    struct link_command *command) {
    const char *text = text_to_say(members, "text", command);
    if (text == NULL)
        return;
    launcher_say(launcher, text);
    link_server_result(command, NULL, NULL);
}

/* Into the cells that the container's end has ended. */
static void run_explain(struct launcher *launcher, const json_t *members,
                        struct link_command *command) {
    const char *reason = text_to_say(members, "reason", command);
    if (reason == NULL)
        return;
    launcher_resume_explain(launcher, reason);
    link_server_result(command, NULL, NULL);
}

static void run_logs(struct launcher *launcher, const json_t *members,
                     struct link_command *command) {
    const json_t *max_json = json_object_get(members, "max_bytes");
    if (max_json != NULL && (!json_is_integer(max_json) || json_integer_value(max_json) < 1)) {
        refuse(command, ERROR_INVALID, "max_bytes must be a whole number from 1 on");
        return;
    }
    json_int_t max_bytes = max_json != NULL ? json_integer_value(max_json) : LOGS_MAX_BYTES;
    if (max_bytes > LOGS_MAX_BYTES)
        max_bytes = LOGS_MAX_BYTES;
    cleanup_free char *text = log_tail_read(launcher->output_path, (size_t)max_bytes, 0);
    link_server_result(command, json_pack("{s:s}", "text", text), NULL);
}

static void run_resources(struct launcher *launcher, const json_t *members,
                          struct link_command *command) {
    (void)members;
    struct process_usage usage;
    process_tree_usage(&usage);
    json_int_t uptime_ms = launcher->process == NULL || launcher->has_exited
                               ? 0
                               : clock_monotonic_ms() - launcher->process_started_ms;
    link_server_result(command,
                       json_pack("{s:I, s:I, s:I, s:I}", "cpu_ms",
                                 (json_int_t)(usage.cpu_ms + launcher->reaped_cpu_ms), "rss_bytes",
                                 (json_int_t)usage.rss_bytes, "processes",
                                 (json_int_t)usage.processes, "uptime_ms", uptime_ms),
                       NULL);
}

static const struct {
    const char *name;
    command_run *run;
} rows[] = {
    {"interrupt", run_interrupt},
    {"restart", run_restart},
    {"shutdown", run_shutdown},
    {"signal", run_signal},
    {"record_get", run_record_get},
    {"record_set", run_record_set},
    {"logs", run_logs},
    {"resources", run_resources},
    {"activity", launcher_activity_run},
    {"keep", launcher_activity_keep},
    {"say", run_say},
    {"explain", run_explain},
    {"share", run_share},
};

void launcher_take_command(void *context, const char *name, const json_t *members,
                           struct link_command *command) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            rows[i].run(context, members, command);
            return;
        }
    }
    struct error err;
    error_set(&err, ERROR_UNSUPPORTED, "this launcher does not know the command '%.100s'", name);
    link_server_result(command, NULL, &err);
}
