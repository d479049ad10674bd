/* A launcher in a directory where an earlier one ended without having been told to. Journal,
 * sessions and record are there, so the kernel keeps its id, its numbering and what it has said;
 * its process is gone, and what it knew. So this is a death of the kernel, told like one: what is
 * left of it is ended, its cells are answered, and it is started again or stays dead with the
 * reason. */
#include "launcher/launcher_state.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "launcher/oom_watch.h"
#include "launcher/process_remains.h"
#include "launcher/request_notes.h"

#define LOG_AREA "launcher/resume"
#include "base/log.h"

#include <string.h>

enum { REMAINS_WAIT_MS = 2000, BOOT_ID_MAX = 64, EXPLAIN_WAIT_MS = 3000 };

#define MARK_NAME "ELARA_KERNEL_DIRECTORY"

static const char *text_of(const json_t *record, const char *member) {
    const char *text = json_string_value(json_object_get(record, member));
    return text != NULL ? text : "";
}

/* Empty when the system does not tell. */
static char *read_boot_id(void) {
    cleanup_buffer struct buffer text = {0};
    if (file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &text, NULL) < 0)
        return memory_strdup("");
    char *id = memory_strdup(buffer_text(&text));
    id[strcspn(id, "\n")] = '\0';
    return id;
}

void launcher_resume_note(struct launcher *launcher) {
    json_t *record = launcher->record;
    cleanup_free char *boot_id = read_boot_id();
    pid_t pid = launcher->process != NULL && !launcher->has_exited
                    ? kernel_process_pid(launcher->process)
                    : 0;
    json_object_set_new(record, "boot_id", json_string(boot_id));
    json_object_set_new(record, "kernel_started",
                        pid > 0 ? json_integer((json_int_t)process_started(pid)) : json_null());
    json_object_set_new(record, "oom_kills", json_integer((json_int_t)oom_watch_count()));
    json_object_set_new(record, "restarts", json_integer((json_int_t)launcher->restarts));
    json_object_set_new(record, "message_session", json_string(launcher->kernel_session));
    launcher_activity_note(launcher);
}

void launcher_resume_mark(struct launcher *launcher) {
    cleanup_free char *mark = memory_printf(MARK_NAME "=%s", launcher->directory);
    launch_add_environment(launcher->launch, mark);
}

/* --- what is left --- */

static void end_remains(const struct launcher *launcher) {
    cleanup_free char *mark = memory_printf(MARK_NAME "=%s", launcher->directory);
    const json_t *pid = json_object_get(launcher->record, "kernel_pid");
    const json_t *started = json_object_get(launcher->record, "kernel_started");
    const struct process_remains what = {.kernel = (pid_t)json_integer_value(pid),
                                         .kernel_started = (uint64_t)json_integer_value(started),
                                         .variable = mark};
    int left = process_remains_kill(&what, REMAINS_WAIT_MS);
    if (left > 0)
        log_error("%d processes of the earlier kernel cannot be ended: they hang in the system",
                  left);
}

/* --- why --- */

static void explain(struct launcher *launcher, bool is_rebooted) {
    const json_t *record = launcher->record;
    if (launcher->resume.was_dead && *text_of(record, "reason") != '\0') {
        launcher->resume.reason = memory_strdup(text_of(record, "reason"));
        return;
    }
    const char *said = launcher->resume.wanted.reason;
    /* A container that is started again counts anew. */
    int oom = launcher->is_container
                  ? -1
                  : oom_watch_compare(json_integer_value(json_object_get(record, "oom_kills")),
                                      oom_watch_count());
    launcher->resume.reason = memory_printf(
        "%s%s",
        is_rebooted              ? "The machine was restarted, and the kernel ended with it."
        : said                   ? said
        : launcher->is_container ? "The kernel's container ended and was started again in its pod. "
                                   "Running out of memory is a common cause; the pod's status says "
                                   "more."
                                 : "The kernel's launcher ended unexpectedly, and the kernel with "
                                   "it.",
        !is_rebooted && oom == 1
            ? " The system ended a process here for want of memory at that time."
            : "");
}

/* A machine that comes up again would start everything at once: it stays dead until somebody wants
 * it. A container was started because its pod is to run. */
static bool is_to_start(const struct launcher *launcher, bool is_rebooted) {
    const struct resume *resume = &launcher->resume;
    if (resume->wanted.how != LAUNCHER_RESUME_BY_POLICY)
        return resume->wanted.how == LAUNCHER_RESUME_START;
    return !resume->was_dead && launcher->launch->restart_limit > 0 &&
           (!is_rebooted || launcher->is_container);
}

void launcher_resume_look(struct launcher *launcher) {
    const json_t *record = launcher->record;
    struct resume *resume = &launcher->resume;
    const char *phase = text_of(record, "phase");
    if (!json_is_integer(json_object_get(record, "launcher_pid")))
        return; /* it begins */
    cleanup_free char *boot_id = read_boot_id();
    const char *earlier = text_of(record, "boot_id");
    bool is_rebooted = *earlier != '\0' && *boot_id != '\0' && strcmp(earlier, boot_id) != 0;
    resume->is_due = true;
    resume->was_dead = strcmp(phase, "dead") == 0 || strcmp(phase, "stopping") == 0;
    resume->starts = is_to_start(launcher, is_rebooted);
    launcher->restarts = json_integer_value(json_object_get(record, "restarts"));
    snprintf(launcher->kernel_session, sizeof launcher->kernel_session, "%s",
             text_of(record, "message_session"));
    launcher_activity_resume(launcher, is_rebooted);
    explain(launcher, is_rebooted);
    log_warning("an earlier launcher was here (%s): %s", phase, launcher->resume.reason);
    if (!is_rebooted)
        end_remains(launcher);
}

/* --- telling it --- */

static void take_last(void *context, const struct request_note *note) {
    launcher_point_at_cell(context, note->header, false);
}

static void take_waiting(void *context, const struct request_note *note) {
    struct launcher *launcher = context;
    if (note->is_running && !launcher->cell.is_running)
        launcher_point_at_cell(launcher, note->header, true);
    request_table_add(launcher->requests, CHANNEL_SHELL, note->header, note->session);
}

static void stay_dead(struct launcher *launcher) {
    launcher_phase(launcher, EVENT_FAILED, "dead", launcher->resume.reason);
    link_server_resume(launcher->link);
}

static void go_on(struct launcher *launcher) {
    const struct resume *resume = &launcher->resume;
    link_server_walk_notes(launcher->link, take_waiting, take_last, launcher);
    if (!resume->was_dead)
        launcher_speak_for_dead(launcher, resume->reason, resume->starts);
    else
        launcher_end_requests(launcher, "KernelDied", resume->reason);
    launcher_forget_cells(launcher);
    launcher->kernel_session[0] = '\0';
    if (!resume->starts) {
        stay_dead(launcher);
        return;
    }
    launcher->restarts++;
    launcher_phase(launcher, EVENT_RESTART, "starting again after its launcher's death", NULL);
    launcher_kernel_start(launcher);
}

static int on_explain_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->resume.timer, timer))
        return 0;
    go_on(launcher);
    link_server_flush(launcher->link);
    return 0;
}

void launcher_resume_explain(struct launcher *launcher, const char *reason) {
    if (launcher->resume.timer == 0)
        return;
    launcher_timer_clear(launcher, &launcher->resume.timer);
    if (reason != NULL) {
        free(launcher->resume.reason);
        launcher->resume.reason = memory_strdup(reason);
    }
    go_on(launcher);
}

/* What a container has ended of stands in its pod's status, and the gateways read that within
 * moments: clients heed what their cell ends with, and little that comes later. */
void launcher_resume_run(struct launcher *launcher) {
    bool is_known = !launcher->is_container || launcher->resume.was_dead;
    if (is_known) {
        go_on(launcher);
        return;
    }
    launcher_stage(launcher, "the kernel's container was started again");
    launcher_timer_set(launcher, &launcher->resume.timer, EXPLAIN_WAIT_MS, on_explain_timer);
}
