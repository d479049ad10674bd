/* Messages from and to the kernel, and what the launcher says itself. */
#include "launcher/launcher_state.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/absence.h"
#include "launcher/message_make.h"

#define LOG_AREA "launcher/traffic"
#include "base/log.h"

#include <string.h>

/* --- what goes to the clients --- */

/* The kernel is quiet when nothing came in so many rounds. */
enum { LOST_ROUND_MS = 700, LOST_ROUNDS = 2 };

/* In front of each held message. */
struct held_header {
    uint32_t channel;
    session_number session;
    uint64_t length;
};

static void say_status(struct launcher *launcher, struct bytes parent, const char *state);
static void say_opening(struct launcher *launcher, struct bytes parent);

static void release_scratch(struct launcher *launcher) {
    if (launcher->scratch.capacity > SCRATCH_KEEP_BYTES)
        buffer_free(&launcher->scratch);
}

static void publish_message(struct launcher *launcher, enum kernel_channel channel,
                            session_number session, const struct wire_message *message) {
    bool is_held = launcher->phase == PHASE_STARTING || launcher->phase == PHASE_RESTARTING;
    buffer_clear(&launcher->scratch);
    if (kernel_message_write(&launcher->scratch, channel, message->header, message->parent_header,
                             message->metadata, message->content, message->buffers,
                             message->buffer_count) < 0) {
        log_warning("dropped a message from the kernel on %s: it is too large",
                    kernel_channel_name(channel));
        return;
    }
    struct held_header held = {
        .channel = channel, .session = session, .length = launcher->scratch.length};
    /* Gateways are promised that `ready` comes before the first message of a process. */
    if (is_held && launcher->held.length + launcher->scratch.length < HELD_MAX_BYTES) {
        buffer_append(&launcher->held, &held, sizeof held);
        buffer_append(&launcher->held, launcher->scratch.data, launcher->scratch.length);
    } else {
        launcher_publish_held(
            launcher); /* a flood before it is ready: nothing is lost, but it comes early */
        link_server_publish(launcher->link, channel, session, launcher->scratch.data,
                            launcher->scratch.length);
    }
    release_scratch(launcher);
}

void launcher_publish_held(struct launcher *launcher) {
    for (size_t at = 0; at < launcher->held.length;) {
        struct held_header held;
        memcpy(&held, launcher->held.data + at, sizeof held);
        at += sizeof held;
        link_server_publish(launcher->link, held.channel, held.session, launcher->held.data + at,
                            held.length);
        at += held.length;
    }
    if (launcher->held.capacity > 0)
        buffer_free(&launcher->held);
}

/* --- states --- */

/* 0 when there is no msg_id. */
static uint64_t hash_of_parent(struct bytes parent_header) {
    char id[REQUEST_ID_MAX + 1];
    return json_scan_text(parent_header, "msg_id", id, sizeof id) > 0 ? text_hash(id) : 0;
}

static bool is_comm(struct bytes header) {
    char type[32];
    return json_scan_text(header, "msg_type", type, sizeof type) > 0 &&
           strncmp(type, "comm_", 5) == 0 && strcmp(type, "comm_info_request") != 0;
}

static void became_busy(struct launcher *launcher, struct bytes parent_header, uint64_t id,
                        const struct request_facts *facts, bool is_heard) {
    busy_begin(launcher->busy,
               &(struct busy_request){.id = id,
                                      .header = parent_header,
                                      .is_in_row = facts->is_in_row,
                                      .is_heard = is_heard,
                                      .is_replied = facts->is_replied,
                                      .has_no_reply = is_comm(parent_header),
                                      .is_noise = activity_is_noise(parent_header)});
    launcher_activity_update(launcher);
    struct cell *cell = &launcher->cell;
    if (cell->is_running || !kernel_message_is(parent_header, "execute_request"))
        return;
    buffer_clear(&cell->header);
    if (buffer_append(&cell->header, parent_header.data, parent_header.length) == 0) {
        cell->id = id;
        cell->is_running = true;
    }
}

static void became_idle(struct launcher *launcher, uint64_t id) {
    if (busy_count(launcher->busy) == 0 || id == launcher->cell.id)
        launcher->cell.is_running = false;
    launcher->idle_since_ms = clock_monotonic_ms();
    activity_ended(&launcher->activity, id);
    launcher_activity_update(launcher);
}

/* --- idles that the kernel's iopub has lost (busy.h) --- */

static void end_lost(struct launcher *launcher, bool is_quiet) {
    uint64_t id;
    for (;;) {
        cleanup_buffer struct buffer header = {0};
        if (!busy_take_lost(launcher->busy, is_quiet, &id, &header))
            return;
        if (launcher->lost_idles++ == 0)
            log_warning("the kernel answered a request, but its idle never came: its iopub socket "
                        "drops messages. It is said in its place (said once)");
        became_idle(launcher, id);
        launcher->is_status_dirty = true;
        if (header.length > 0)
            say_status(launcher, (struct bytes){header.data, header.length}, "idle");
    }
}

/* Several rounds: a launcher that was kept from running has unread messages in front of it. */
static int on_lost_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->lost_timer, timer))
        return 0;
    /* Set again by the next reply. While a cell waits for its turn or runs, the kernel may be too
     * busy to publish. */
    if (!launcher_is_ready(launcher) || launcher->has_exited || !busy_is_answered(launcher->busy) ||
        request_table_is_waiting(launcher->requests))
        return 0;
    launcher->quiet_rounds = launcher->had_messages ? 0 : launcher->quiet_rounds + 1;
    launcher->had_messages = false;
    if (launcher->quiet_rounds < LOST_ROUNDS) {
        launcher_timer_set(launcher, &launcher->lost_timer, LOST_ROUND_MS, on_lost_timer);
        return 0;
    }
    end_lost(launcher, true);
    launcher_push_status(launcher);
    link_server_flush(launcher->link);
    return 0;
}

static void look_for_lost(struct launcher *launcher) {
    end_lost(launcher, false);
    if (launcher->lost_timer == 0 && busy_is_answered(launcher->busy))
        launcher_timer_set(launcher, &launcher->lost_timer, LOST_ROUND_MS, on_lost_timer);
}

/* Its idle comes before or after it, or never: then its busy may have been lost, too. */
static void take_reply(struct launcher *launcher, struct bytes parent_header) {
    uint64_t id = hash_of_parent(parent_header);
    struct request_facts facts;
    if (!busy_replied(launcher->busy, id) && kernel_message_is(parent_header, "execute_request") &&
        request_table_look(launcher->requests, parent_header, &facts) && !facts.was_idle)
        became_busy(launcher, parent_header, id, &facts, false);
    look_for_lost(launcher);
    launcher_activity_update(launcher);
}

/* What a kernel can say of itself. restarting and dead are the launcher's words, at which clients
 * connect again or give the kernel up; any other makes JupyterLab's check of messages throw
 * (@jupyterlab/services, validateMessage). */
static bool is_kernels_state(const char *state) {
    return strcmp(state, "busy") == 0 || strcmp(state, "idle") == 0 ||
           strcmp(state, "starting") == 0;
}

/* False: it is not for clients. They lose nothing: busy stays busy until idle is said. */
static bool take_status(struct launcher *launcher, const struct wire_message *message) {
    char state[32];
    if (json_scan_text(message->content, "execution_state", state, sizeof state) < 0)
        strcpy(state, "(no short text)");
    if (!is_kernels_state(state)) {
        if (launcher->odd_states++ == 0)
            log_warning(
                "the kernel says execution_state \"%s\", which is none of starting, busy and "
                "idle: such messages are dropped (said once)",
                state);
        return false;
    }
    struct bytes parent = message->parent_header;
    bool was_busy = busy_count(launcher->busy) > 0, is_idle = strcmp(state, "idle") == 0;
    bool is_news = true;
    uint64_t id = hash_of_parent(parent);
    struct request_facts facts;
    bool is_known = is_idle ? request_table_idle(launcher->requests, parent, &facts)
                            : request_table_look(launcher->requests, parent, &facts);
    if (facts.is_in_row)
        busy_overtake(launcher->busy, id);
    if (strcmp(state, "busy") == 0) {
        became_busy(launcher, parent, id, &facts, true);
    } else if (is_idle) {
        is_news = busy_end(launcher->busy, id, !is_known);
        became_idle(launcher, id);
    }
    look_for_lost(launcher);
    if (was_busy != (busy_count(launcher->busy) > 0))
        launcher->is_status_dirty = true;
    return is_news;
}

void launcher_forget_cells(struct launcher *launcher) {
    busy_clear(launcher->busy);
    launcher_timer_clear(launcher, &launcher->lost_timer);
    launcher->cell.is_running = false;
    buffer_clear(&launcher->cell.header);
}

void launcher_point_at_cell(struct launcher *launcher, struct bytes header, bool is_running) {
    struct cell *cell = &launcher->cell;
    buffer_clear(&cell->header);
    if (buffer_append(&cell->header, header.data, header.length) < 0)
        return;
    cell->id = hash_of_parent(header);
    cell->is_running = is_running;
}

/* --- from the kernel --- */

static bool is_ours(const struct launcher *launcher, const struct wire_message *message) {
    return memmem(message->parent_header.data, message->parent_header.length, launcher->own_session,
                  TOKEN_SIZE - 1) != NULL;
}

/* What answers our own requests is not for clients, but for a shutdown_reply on iopub, from which
 * consoles learn that the kernel ends. */
static void take_own(struct launcher *launcher, enum kernel_channel channel,
                     const struct wire_message *message) {
    char type[64];
    if (json_scan_text(message->header, "msg_type", type, sizeof type) < 0)
        return;
    if (channel == CHANNEL_IOPUB) {
        launcher->readiness.has_iopub = true;
        if (strcmp(type, "shutdown_reply") == 0)
            publish_message(launcher, channel, 0, message);
        return;
    }
    if (strcmp(type, "kernel_info_reply") != 0)
        return;
    launcher->readiness.has_reply = true;
    if (json_scan_text(message->header, "session", launcher->kernel_session,
                       sizeof launcher->kernel_session) < 0)
        launcher->kernel_session[0] = '\0';
}

/* False: not for clients. */
static bool take_iopub(struct launcher *launcher, const struct wire_message *message) {
    char type[64];
    launcher->readiness.has_iopub = true;
    if (json_scan_text(message->header, "msg_type", type, sizeof type) < 0)
        return true;
    if (strcmp(type, "status") == 0)
        return take_status(launcher, message);
    launcher_activity_heard(launcher, type, message->parent_header);
    return strcmp(type, "iopub_welcome") != 0; /* it greets our subscription */
}

static bool find_session(struct launcher *launcher, enum kernel_channel channel,
                         const struct wire_message *message, session_number *ret) {
    bool is_known = channel == CHANNEL_STDIN
                        ? request_table_find(launcher->requests, message->parent_header, ret)
                        : request_table_replied(launcher->requests, message->parent_header, ret);
    if (!is_known && launcher->unrouted++ == 0)
        log_info("an answer on %s to a request that nobody here made was dropped (said once)",
                 kernel_channel_name(channel));
    return is_known;
}

void launcher_take_message(void *context, enum kernel_channel channel,
                           const struct wire_message *message) {
    struct launcher *launcher = context;
    session_number session = 0;
    if (is_ours(launcher, message)) {
        take_own(launcher, channel, message);
        return;
    }
    if (channel == CHANNEL_IOPUB ? !take_iopub(launcher, message)
                                 : !find_session(launcher, channel, message, &session))
        return;
    launcher->last_activity_us = clock_wall_us();
    launcher->has_activity = true;
    publish_message(launcher, channel, session, message);
    if (channel == CHANNEL_IOPUB && kernel_message_is(message->header, "execute_input"))
        say_opening(launcher, message->parent_header);
    if (channel == CHANNEL_SHELL || channel == CHANNEL_CONTROL)
        take_reply(launcher, message->parent_header);
    else if (channel == CHANNEL_STDIN && kernel_message_is(message->header, "input_request"))
        activity_asked(&launcher->activity, hash_of_parent(message->parent_header));
}

/* --- what the launcher says --- */

/* JupyterLab drops what it has not yet handled when a message of another session comes, so ours
 * bear the kernel's. */
static const char *notice_session(const struct launcher *launcher) {
    return launcher->kernel_session[0] != '\0' ? launcher->kernel_session
                                               : launcher->notice_session;
}

static void publish_notice(struct launcher *launcher, enum kernel_channel channel,
                           session_number session, int written) {
    if (written == 0)
        link_server_publish(launcher->link, channel, session, launcher->scratch.data,
                            launcher->scratch.length);
    release_scratch(launcher);
}

void launcher_say(struct launcher *launcher, const char *text) {
    struct bytes parent = {launcher->cell.header.data, launcher->cell.header.length};
    publish_notice(launcher, CHANNEL_IOPUB, 0,
                   message_make_stderr(&launcher->scratch, notice_session(launcher), parent, text));
}

/* What became of the kernel before, in front of the first cell's output: said once. */
static void say_opening(struct launcher *launcher, struct bytes parent) {
    json_t *marks = json_object_get(launcher->record, "marks");
    const char *notice = json_string_value(json_object_get(marks, "notice"));
    if (notice == NULL || !launcher_is_ready(launcher))
        return;
    cleanup_free char *text = memory_printf("%s\n", notice);
    publish_notice(launcher, CHANNEL_IOPUB, 0,
                   message_make_stderr(&launcher->scratch, notice_session(launcher), parent, text));
    json_object_del(marks, "notice");
    launcher_save_record(launcher);
}

void launcher_say_disk(void *context, int disk_errno) {
    struct launcher *launcher = context;
    cleanup_free char *text = memory_printf(
        "\n[elara] The disk that keeps this kernel's messages takes no more (%s: %s). The kernel "
        "goes "
        "on and its messages are kept in memory; they would not survive the end of elara-launcher. "
        "Make room there.\n",
        launcher->directory, strerror(disk_errno));
    launcher_say(launcher, text);
}

static void say_status(struct launcher *launcher, struct bytes parent, const char *state) {
    publish_notice(
        launcher, CHANNEL_IOPUB, 0,
        message_make_status(&launcher->scratch, notice_session(launcher), parent, state));
}

void launcher_say_status(struct launcher *launcher, const char *execution_state) {
    say_status(launcher, (struct bytes){NULL, 0}, execution_state);
}

/* The kernel was given a request and ended before it could say that it is busy with it. */
void launcher_begin_unbegun(struct launcher *launcher) {
    struct bytes header = request_table_at_work(launcher->requests);
    if (launcher->cell.is_running || header.length == 0)
        return;
    say_status(launcher, header, "busy");
    launcher_point_at_cell(launcher, header, true);
}

struct ended_requests {
    struct launcher *launcher;
    const char *error_name, *text;
};

static void say_aborted(struct launcher *launcher, session_number session, struct bytes header) {
    publish_notice(
        launcher, CHANNEL_SHELL, session,
        message_make_aborted_reply(&launcher->scratch, notice_session(launcher), header));
    say_status(launcher, header, "idle");
}

static void say_failed(struct launcher *launcher, session_number session, struct bytes header,
                       const char *error_name, const char *text) {
    publish_notice(launcher, CHANNEL_SHELL, session,
                   message_make_error_reply(&launcher->scratch, notice_session(launcher), header,
                                            error_name, text));
    say_status(launcher, header, "idle");
}

/* The one that ran failed; those behind it were never begun, as when a cell before them fails. */
static void end_request(void *context, session_number session, struct bytes header) {
    const struct ended_requests *ended = context;
    struct launcher *launcher = ended->launcher;
    const struct cell *cell = &launcher->cell;
    if (cell->is_running && hash_of_parent(header) == cell->id)
        say_failed(launcher, session, header, ended->error_name, ended->text);
    else
        say_aborted(launcher, session, header);
}

void launcher_end_requests(struct launcher *launcher, const char *error_name, const char *text) {
    struct ended_requests ended = {launcher, error_name, text};
    request_table_end(launcher->requests, end_request, &ended);
}

/* --- to the kernel --- */

bool launcher_ask(struct launcher *launcher, enum kernel_channel channel, const char *type,
                  json_t *content) {
    struct kernel_message message;
    cleanup_buffer struct buffer out = {.limit = 4096};
    int made = message_make(&out, &(struct message_recipe){.channel = channel,
                                                           .type = type,
                                                           .session = launcher->own_session,
                                                           .content = content});
    return made == 0 && launcher->channels != NULL &&
           kernel_message_parse(out.data, out.length, &message, NULL) == 0 &&
           kernel_channels_send(launcher->channels, &message);
}

/* One request that is answered in the kernel's place. */
struct absent_request {
    struct launcher *launcher;
    session_number session;
};

static void say_absent(void *context, const struct message_recipe *recipe) {
    const struct absent_request *request = context;
    session_number session = recipe->channel == CHANNEL_IOPUB ? 0 : request->session;
    publish_notice(request->launcher, recipe->channel, session,
                   message_make(&request->launcher->scratch, recipe));
}

/* No kernel will see this request: it is dead for good, or the request was meant for the one that
 * is just being ended. So that nobody waits for ever, it is answered here. */
static void answer_for_absent(struct launcher *launcher, session_number session,
                              const struct kernel_message *message) {
    if (launcher->phase == PHASE_DEAD) {
        struct absent_request request = {launcher, session};
        struct absence absence = {
            .say = say_absent, .context = &request, .cells = launcher->absent_cells};
        absence_answer(&absence, message, notice_session(launcher), launcher->reason,
                       launcher->launch->kernel_name);
        launcher->absent_cells = absence.cells;
    } else if (kernel_message_is(message->header, "execute_request")) {
        say_status(launcher, message->header, "busy");
        say_aborted(launcher, session, message->header);
    }
}

void launcher_answer_lost(void *context, session_number session, struct bytes header) {
    static const char text[] =
        "This cell did not run: it was lost with the gateway that had read it. Run it again.";
    struct launcher *launcher = context;
    say_status(launcher, header, "busy");
    publish_notice(launcher, CHANNEL_IOPUB, 0, /* the gateway may have shown the start's stages */
                   message_make(&launcher->scratch, &(struct message_recipe){
                                                        .channel = CHANNEL_IOPUB,
                                                        .type = "clear_output",
                                                        .session = notice_session(launcher),
                                                        .parent_header = header,
                                                        .content = json_pack("{s:b}", "wait", 0)}));
    publish_notice(launcher, CHANNEL_IOPUB, 0,
                   message_make_stderr(&launcher->scratch, notice_session(launcher), header, text));
    say_failed(launcher, session, header, "RequestLost", text);
}

static void refuse(struct launcher *launcher, const char *why) {
    if (launcher->refused++ == 0)
        log_warning("a message from a client was dropped: %s (said once)", why);
}

bool launcher_take_request(void *context, session_number session, const void *data, size_t length) {
    struct launcher *launcher = context;
    struct kernel_message message;
    struct error err;
    bool is_absent = launcher->phase == PHASE_DEAD || launcher->ending == ENDING_SHUTDOWN ||
                     launcher->ending == ENDING_RESTART;
    if (!is_absent && (launcher->phase != PHASE_READY || launcher->channels == NULL ||
                       launcher->ending == ENDING_TOLD)) /* answered with the reason, soon */
        return false;
    if (kernel_message_parse(data, length, &message, &err) < 0) {
        refuse(launcher, err.text);
        return true;
    }
    if (message.channel == CHANNEL_IOPUB) {
        refuse(launcher, "it came on iopub, where only kernels speak");
        return true;
    }
    if (is_absent) {
        answer_for_absent(launcher, session, &message);
        return true;
    }
    if (!kernel_channels_send(launcher->channels, &message))
        return false;
    if (message.channel != CHANNEL_STDIN)
        request_table_add(launcher->requests, message.channel, message.header, session);
    launcher_activity_sent(launcher, &message);
    return true;
}
