/* What the launcher sees of activity (activity.h), told to gateways, and carried over to the next
 * launcher of this directory. */
#include "launcher/launcher_state.h"

#include "base/clock.h"
#include "base/memory.h"
#include "launcher/process_stat.h"
#include "launcher/process_tree.h"

#include <string.h>

enum { KEEP_BY_MAX = 256 };
#define KEEP_MS_MAX (INT64_C(366) * 24 * 3600 * 1000)

/* --- what happens --- */

static enum activity_state state_of(const struct launcher *launcher) {
    switch (launcher->phase) {
    case PHASE_STARTING:
    case PHASE_RESTARTING:
        return ACTIVITY_STARTING;
    case PHASE_DEAD:
        return ACTIVITY_DEAD;
    case PHASE_READY:
    case PHASE_STOPPING:
        break;
    }
    /* A cell that was handed over and has not ended counts, also before its busy comes. */
    return busy_count(launcher->busy) > 0 || request_table_is_at_work(launcher->requests)
               ? ACTIVITY_BUSY
               : ACTIVITY_IDLE;
}

void launcher_activity_update(struct launcher *launcher) {
    bool is_noise = busy_is_noise(launcher->busy) && !request_table_is_at_work(launcher->requests);
    activity_set_state(&launcher->activity, clock_monotonic_ms(), state_of(launcher), is_noise);
}

void launcher_activity_sent(struct launcher *launcher, const struct kernel_message *request) {
    int64_t now_ms = clock_monotonic_ms();
    if (activity_is_wish(request))
        activity_touched(&launcher->activity, now_ms);
    if (request->channel == CHANNEL_STDIN && kernel_message_is(request->header, "input_reply"))
        activity_answered(&launcher->activity);
    launcher_activity_update(launcher);
}

/* comm messages of a cell that runs are its progress bar; behind an idle prompt they are nothing
 * that anybody waits for. */
void launcher_activity_heard(struct launcher *launcher, const char *type,
                             struct bytes parent_header) {
    bool is_progress = strncmp(type, "comm_", 5) == 0 && launcher->cell.is_running &&
                       kernel_message_is(parent_header, "execute_request");
    if (is_progress || activity_is_output(type))
        activity_said(&launcher->activity, clock_monotonic_ms());
}

/* --- CPU --- */

/* Unasked, looking at all processes of the machine takes at most a hundredth of the time. */
enum { KERNEL_SAMPLE_MS = 60000, OTHERS_SAMPLE_PART = 100 };

static int64_t sample_kernel(struct launcher *launcher, int64_t now_ms) {
    char name[16];
    struct process_stat stat;
    snprintf(name, sizeof name, "%d", kernel_process_pid(launcher->process));
    if (!process_stat_read(name, &stat))
        return 0;
    int64_t cpu_ms = process_stat_cpu_ms(stat.ticks);
    activity_take_sample(&launcher->activity, now_ms, ACTIVITY_CPU_KERNEL, cpu_ms);
    return cpu_ms;
}

static struct process_usage sample_all(struct launcher *launcher) {
    struct process_usage usage;
    int64_t now_ms = clock_monotonic_ms();
    process_tree_usage(&usage);
    usage.cpu_ms += launcher->reaped_cpu_ms;
    launcher->sampled_ms = clock_monotonic_ms();
    launcher->sample_cost_ms = launcher->sampled_ms - now_ms;
    if (launcher->process == NULL || launcher->has_exited)
        return usage;
    int64_t kernel_ms = sample_kernel(launcher, now_ms);
    activity_take_sample(&launcher->activity, now_ms, ACTIVITY_CPU_OTHERS,
                         usage.cpu_ms - kernel_ms);
    return usage;
}

void launcher_activity_sample(struct launcher *launcher) {
    int64_t now_ms = clock_monotonic_ms();
    if (launcher->process == NULL || launcher->has_exited)
        return;
    if (now_ms - launcher->sampled_ms >= launcher->sample_cost_ms * OTHERS_SAMPLE_PART)
        sample_all(launcher);
    else
        sample_kernel(launcher, now_ms);
}

void launcher_activity_glance(struct launcher *launcher) {
    const struct activity_sample *last = &launcher->activity.samples[ACTIVITY_CPU_KERNEL];
    int64_t now_ms = clock_monotonic_ms();
    if (launcher->process != NULL && !launcher->has_exited &&
        now_ms - last->at_ms >= KERNEL_SAMPLE_MS)
        sample_kernel(launcher, now_ms);
}

/* --- what is told --- */

/* unattached_for_ms 0 says that somebody is there: who has just left is gone for 1 ms. */
static json_t *tell(const struct launcher *launcher, const struct activity_report *report,
                    int64_t now_ms) {
    int64_t since_ms =
        launcher->link != NULL ? link_server_unattached_since(launcher->link) : now_ms;
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:i, s:I, s:I}", "state",
        activity_state_name(report->state), "age_ms", (json_int_t)report->age_ms, "state_for_ms",
        (json_int_t)report->state_for_ms, "untouched_for_ms", (json_int_t)report->untouched_for_ms,
        "silent_for_ms", (json_int_t)report->silent_for_ms, "unattached_for_ms",
        (json_int_t)(since_ms < 0 ? 0 : now_ms - since_ms + 1), "was_attached",
        launcher->link != NULL && link_server_was_attached(launcher->link), "waits_for_input",
        report->waits_for_input, "busy_subshells", (int)busy_subshells(launcher->busy), "keep_ms",
        (json_int_t)report->keep_ms, "changes", (json_int_t)report->changes);
}

json_t *launcher_activity_status(struct launcher *launcher) {
    launcher_activity_update(launcher);
    int64_t now_ms = clock_monotonic_ms();
    struct activity_report report = activity_look(&launcher->activity, now_ms);
    return tell(launcher, &report, now_ms);
}

void launcher_activity_run(struct launcher *launcher, const json_t *members,
                           struct link_command *command) {
    (void)members;
    struct process_usage usage = sample_all(launcher);
    launcher_activity_update(launcher);
    int64_t now_ms = clock_monotonic_ms();
    struct activity_report report = activity_look(&launcher->activity, now_ms);
    json_t *result = tell(launcher, &report, now_ms);
    json_object_set_new(result, "at_rest_for_ms", json_integer(report.at_rest_for_ms));
    json_object_set_new(result, "cpu_ms", json_integer(usage.cpu_ms));
    json_object_set_new(result, "rss_bytes", json_integer(usage.rss_bytes));
    json_object_set_new(result, "processes", json_integer(usage.processes));
    link_server_result(command, result, NULL);
}

static int check_keep(const json_t *members, struct error *err) {
    const json_t *for_json = json_object_get(members, "for_ms");
    const json_t *by_json = json_object_get(members, "by");
    json_int_t for_ms = json_integer_value(for_json);
    if (!json_is_integer(for_json) || for_ms < 0 || for_ms > KEEP_MS_MAX)
        return error_set(err, ERROR_INVALID,
                         "for_ms must be a whole number of ms from 0 to 366 days");
    if (by_json != NULL && !json_is_null(by_json) &&
        (!json_is_string(by_json) || json_string_length(by_json) > KEEP_BY_MAX))
        return error_set(err, ERROR_INVALID, "by must be a text of at most %d bytes", KEEP_BY_MAX);
    return 0;
}

void launcher_activity_keep(struct launcher *launcher, const json_t *members,
                            struct link_command *command) {
    struct error err;
    if (check_keep(members, &err) < 0) {
        link_server_result(command, NULL, &err);
        return;
    }
    json_int_t for_ms = json_integer_value(json_object_get(members, "for_ms"));
    const char *by = json_string_value(json_object_get(members, "by"));
    activity_keep(&launcher->activity, clock_monotonic_ms(), for_ms);
    free(launcher->keep_by);
    launcher->keep_by = memory_strdup(by != NULL ? by : "");
    launcher_save_record(launcher);
    launcher->is_status_dirty = true;
    launcher_push_status(launcher);
    link_server_result(command, json_pack("{s:I}", "keep_ms", for_ms), NULL);
}

/* --- what the next launcher has to know --- */

/* Durations beside the clock at which they were true, which goes on until the machine ends. */
void launcher_activity_note(struct launcher *launcher) {
    int64_t now_ms = clock_monotonic_ms();
    struct activity_report report = activity_look(&launcher->activity, now_ms);
    json_t *record = launcher->record;
    json_object_set_new(record, "activity",
                        json_pack("{s:I, s:I, s:I}", "clock_ms", (json_int_t)now_ms, "age_ms",
                                  (json_int_t)report.age_ms, "state_for_ms",
                                  (json_int_t)report.state_for_ms));
    json_t *marks = json_object_get(record, "marks");
    if (!json_is_object(marks)) {
        marks = json_object();
        json_object_set_new(record, "marks", marks);
    }
    if (report.keep_ms > 0)
        json_object_set_new(marks, "keep",
                            json_pack("{s:I, s:s}", "left_ms", (json_int_t)report.keep_ms, "by",
                                      launcher->keep_by != NULL ? launcher->keep_by : ""));
    else
        json_object_del(marks, "keep");
}

static int64_t number_of(const json_t *object, const char *member) {
    int64_t value = json_integer_value(json_object_get(object, member));
    return value > 0 ? value : 0;
}

static void begin_anew(struct launcher *launcher, int64_t now_ms, int64_t age_ms) {
    uint64_t changes = launcher->activity.changes;
    activity_begin(&launcher->activity, now_ms, age_ms);
    launcher->activity.changes = changes + 1;
}

void launcher_activity_renew(struct launcher *launcher) {
    int64_t now_ms = clock_monotonic_ms();
    int64_t keep_ms = launcher->activity.keep_until_ms - now_ms;
    begin_anew(launcher, now_ms, 0);
    activity_keep(&launcher->activity, now_ms, keep_ms > 0 ? keep_ms : 0);
}

void launcher_activity_resume(struct launcher *launcher, bool is_rebooted) {
    const json_t *noted = json_object_get(launcher->record, "activity");
    const json_t *keep = json_object_get(json_object_get(launcher->record, "marks"), "keep");
    struct activity *activity = &launcher->activity;
    int64_t now_ms = clock_monotonic_ms(), passed_ms = now_ms - number_of(noted, "clock_ms");
    if (is_rebooted || passed_ms < 0 || !json_is_object(noted))
        passed_ms = 0; /* a machine that is off makes no kernel older */
    int64_t left_ms = number_of(keep, "left_ms") - passed_ms;
    const char *by = json_string_value(json_object_get(keep, "by"));
    begin_anew(launcher, now_ms, number_of(noted, "age_ms") + passed_ms);
    activity_keep(activity, now_ms, left_ms > 0 ? left_ms : 0);
    launcher->keep_by = memory_strdup(by != NULL ? by : "");
    if (!launcher->resume.was_dead)
        return;
    if (launcher->resume.starts) {
        launcher_activity_renew(launcher);
        return;
    }
    activity->state = ACTIVITY_DEAD;
    activity->since_ms = now_ms - number_of(noted, "state_for_ms") - passed_ms;
}
