#include "launcher/activity.h"

#include <string.h>

enum { TYPE_MAX = 64, COMMAND_MAX = 64 };

/* --- what counts --- */

static bool is_one_of(const char *type, const char *const *types) {
    while (*types != NULL && strcmp(*types, type) != 0)
        types++;
    return *types != NULL;
}

/* JupyterLab and the notebook send the first ones whenever they connect, and the subshell requests
 * for comms; usage_request comes from jupyter-resource-usage every few seconds. */
static bool is_noise(const char *type) {
    static const char *const types[] = {
        "kernel_info_request",     "connect_request",
        "history_request",         "usage_request",
        "create_subshell_request", "delete_subshell_request",
        "list_subshell_request",   NULL,
    };
    return strncmp(type, "comm_", 5) == 0 || is_one_of(type, types);
}

/* JupyterLab asks these of each kernel that it connects to, to know whether it can be debugged and
 * is; the others follow from what somebody does in the debugger. */
static bool is_debug_noise(struct bytes content) {
    static const char *const commands[] = {"debugInfo", "initialize", "attach", "disconnect", NULL};
    char command[COMMAND_MAX];
    return json_scan_text(content, "command", command, sizeof command) >= 0 &&
           is_one_of(command, commands);
}

bool activity_is_wish(const struct kernel_message *request) {
    char type[TYPE_MAX];
    if (json_scan_text(request->header, "msg_type", type, sizeof type) < 0)
        return false; /* no kernel knows what to do with it */
    if (strcmp(type, "debug_request") == 0)
        return !is_debug_noise(request->content);
    return !is_noise(type);
}

/* Of a debug_request the header does not tell: what it makes the kernel do is over at once, or
 * counts for its length. */
bool activity_is_noise(struct bytes header) {
    char type[TYPE_MAX];
    return json_scan_text(header, "msg_type", type, sizeof type) < 0 || is_noise(type) ||
           strcmp(type, "debug_request") == 0;
}

bool activity_is_output(const char *type) {
    static const char *const types[] = {
        "stream", "display_data", "update_display_data", "execute_result", "error", NULL,
    };
    return is_one_of(type, types);
}

/* --- when --- */

void activity_begin(struct activity *activity, int64_t now_ms, int64_t age_ms) {
    *activity = (struct activity){.born_ms = now_ms - age_ms, .touched_ms = now_ms};
    activity_restarted(activity, now_ms);
}

void activity_restarted(struct activity *activity, int64_t now_ms) {
    activity->state = ACTIVITY_STARTING;
    activity->since_ms = activity->output_ms = activity->worked_ms = now_ms;
    activity->is_noisy = false;
    for (int whose = 0; whose < ACTIVITY_CPUS; whose++)
        activity->samples[whose].is_taken = false;
    activity->input_count = 0;
    activity->changes++;
}

void activity_touched(struct activity *activity, int64_t now_ms) {
    activity->touched_ms = now_ms;
    activity->changes++;
}

void activity_said(struct activity *activity, int64_t now_ms) {
    activity->output_ms = now_ms;
    activity->changes++;
}

void activity_attended(struct activity *activity) {
    activity->changes++;
}

/* Noise that lasts is work, from its beginning. */
static void settle_noise(struct activity *activity, int64_t now_ms) {
    if (!activity->is_noisy || now_ms - activity->noise_ms < ACTIVITY_NOISE_MS)
        return;
    activity->is_noisy = false;
    activity->state = ACTIVITY_BUSY;
    activity->since_ms = activity->noise_ms;
    activity->changes++;
}

void activity_set_state(struct activity *activity, int64_t now_ms, enum activity_state state,
                        bool is_noise) {
    settle_noise(activity, now_ms);
    bool begins_noisy = state == ACTIVITY_BUSY && is_noise && activity->state != ACTIVITY_BUSY;
    if (begins_noisy) {
        if (!activity->is_noisy)
            activity->noise_ms = now_ms;
        state = ACTIVITY_IDLE;
    }
    activity->is_noisy = begins_noisy;
    if (state == activity->state)
        return;
    if (state == ACTIVITY_IDLE)
        activity->input_count = 0; /* nothing runs that could be waiting */
    activity->state = state;
    activity->since_ms = now_ms;
    activity->changes++;
}

/* --- CPU --- */

/* Less than before: a process ended whose time nobody counted. Nothing can be said. */
void activity_take_sample(struct activity *activity, int64_t now_ms, enum activity_cpu whose,
                          int64_t cpu_ms) {
    struct activity_sample *last = &activity->samples[whose];
    int64_t used_ms = cpu_ms - last->cpu_ms, between_ms = now_ms - last->at_ms;
    bool is_work =
        last->is_taken && used_ms >= ACTIVITY_WORK_MS && used_ms >= between_ms / ACTIVITY_WORK_PART;
    bool is_news = is_work || !last->is_taken;
    if (is_news) {
        activity->worked_ms = now_ms;
        activity->changes++;
    }
    /* Little in a short time may be the beginning of more. */
    if (!is_news && used_ms >= 0 && between_ms < ACTIVITY_WORK_MS * ACTIVITY_WORK_PART)
        return;
    *last = (struct activity_sample){true, now_ms, cpu_ms};
}

/* --- input --- */

static void forget_input(struct activity *activity, size_t at) {
    activity->input_count--;
    activity->changes++;
    memmove(activity->inputs + at, activity->inputs + at + 1,
            (activity->input_count - at) * sizeof *activity->inputs);
}

void activity_ended(struct activity *activity, uint64_t request) {
    for (size_t i = activity->input_count; i-- > 0;)
        if (activity->inputs[i] == request)
            forget_input(activity, i);
}

void activity_asked(struct activity *activity, uint64_t request) {
    activity_ended(activity, request); /* a request asks one thing at a time */
    if (activity->input_count == ACTIVITY_INPUTS_MAX)
        forget_input(activity, 0);
    activity->inputs[activity->input_count++] = request;
    activity->changes++;
}

/* Clients do not tell reliably what they answer; a kernel takes answers in turn. */
void activity_answered(struct activity *activity) {
    if (activity->input_count > 0)
        forget_input(activity, 0);
}

/* --- */

void activity_keep(struct activity *activity, int64_t now_ms, int64_t for_ms) {
    activity->keep_until_ms = now_ms + for_ms;
    activity->changes++;
}

struct activity_report activity_look(const struct activity *activity, int64_t now_ms) {
    struct activity now = *activity;
    settle_noise(&now, now_ms);
    int64_t keep_ms = now.keep_until_ms - now_ms;
    return (struct activity_report){
        .state = now.state,
        .age_ms = now_ms - now.born_ms,
        .state_for_ms = now_ms - now.since_ms,
        .untouched_for_ms = now_ms - now.touched_ms,
        .silent_for_ms = now_ms - now.output_ms,
        .at_rest_for_ms = now_ms - now.worked_ms,
        .keep_ms = keep_ms > 0 ? keep_ms : 0,
        .waits_for_input = now.input_count > 0,
        .changes = now.changes,
    };
}

const char *activity_state_name(enum activity_state state) {
    static const char *const names[] = {"starting", "idle", "busy", "dead"};
    return names[state];
}
