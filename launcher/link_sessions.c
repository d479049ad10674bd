#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "launcher/link_server_internal.h"
#include "launcher/message_make.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "launcher/link_sessions"

/* More than were ever sent behind the journal's end is damage, not loss. */
#define NUMBERS_LOST_MAX (UINT64_C(1) << 40)

/* For the kernel's last message: what is behind it is gone. */
enum { LOOKED_BACK_MAX = 1000 };

/* --- attachments of a peer, by number --- */

/* Where the number is, or where it would be. */
static size_t place_of(const struct link_peer *peer, uint16_t number) {
    size_t low = 0, high = peer->attachment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (peer->attachments[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct link_attachment *link_attachment_of(const struct link_peer *peer, uint16_t number) {
    size_t place = place_of(peer, number);
    if (place == peer->attachment_count || peer->attachments[place]->number != number)
        return NULL;
    return peer->attachments[place];
}

static void add_to_peer(struct link_peer *peer, struct link_attachment *attachment) {
    if (peer->attachment_count == peer->attachment_capacity) {
        peer->attachment_capacity = peer->attachment_capacity ? 2 * peer->attachment_capacity : 4;
        peer->attachments = memory_resize(peer->attachments, peer->attachment_capacity *
                                                                 sizeof(struct link_attachment *));
    }
    size_t place = place_of(peer, attachment->number);
    struct link_attachment **at = peer->attachments + place;
    memmove(at + 1, at, (peer->attachment_count - place) * sizeof *at);
    *at = attachment;
    peer->attachment_count++;
}

static void remove_from_peer(struct link_peer *peer, const struct link_attachment *attachment) {
    size_t place = place_of(peer, attachment->number);
    struct link_attachment **at = peer->attachments + place;
    peer->attachment_count--;
    memmove(at, at + 1, (peer->attachment_count - place) * sizeof *at);
}

/* --- sessions --- */

/* Its slot stays in the file. */
static void release_session(struct link_session *session) {
    link_server_clear_deadline(session->server, &session->forget);
    list_remove(&session->idle);
    if (session->id != NULL)
        map_remove(session->server->sessions, session->id);
    free(session->id);
    free(session);
}

static void free_session(struct link_session *session) {
    session_file_drop(session->server->session_file, session->slot);
    release_session(session);
}

static void on_forget(void *owner, int64_t now_ms) {
    struct link_session *session = owner;
    if (session->queued > 0) { /* the kernel has yet to take what it sent */
        link_server_set_deadline(session->server, &session->forget,
                                 now_ms + session->server->session_retention_ms);
        return;
    }
    log_info("session %u was not seen for %" PRId64 " s and is forgotten", session->number,
             session->server->session_retention_ms / 1000);
    free_session(session);
}

/* Makes room for one more; false when all are in use. */
static bool forget_oldest_idle(struct link_server *server) {
    list_each (&server->idle_sessions, struct link_session, idle, session) {
        if (session->queued > 0)
            continue;
        if (server->crowded_out++ == 0)
            log_warning("more than %d sessions: those that are away longest are forgotten, the "
                        "first is number %u (said once)",
                        SERVER_SESSIONS_MAX, session->number);
        free_session(session);
        return true;
    }
    return false;
}

static void name_session(struct link_session *session, const char *id) {
    session->forget = (struct server_deadline){.due = on_forget, .owner = session};
    list_init(&session->attachments);
    if (id == NULL)
        return;
    session->id = memory_strdup(id);
    map_put(session->server->sessions, id, session);
}

/* id NULL: a session of its own, which nothing can come back to. NULL: there are too many. */
static struct link_session *create_session(struct link_server *server, const char *id) {
    if (id != NULL && map_count(server->sessions) >= SERVER_SESSIONS_MAX &&
        !forget_oldest_idle(server))
        return NULL;
    struct link_session *session = memory_alloc(sizeof *session);
    session->server = server;
    session->number = ++server->last_session;
    session->slot = session_file_take(server->session_file, session->number, id);
    session->slot->cursor = session->slot->sent_max = session->slot->sure =
        journal_last(server->journal); /* live */
    link_rebuild_init(session);
    name_session(session, id);
    return session;
}

static void restore_session(struct link_server *server, struct session_slot *slot) {
    uint64_t last = journal_last(server->journal);
    struct link_session *session = memory_alloc(sizeof *session);
    session->server = server;
    session->number = slot->number;
    session->slot = slot;
    name_session(session, slot->id);
    if (slot->sent_max > last)
        slot->sent_max = last;
    if (slot->cursor > slot->sent_max)
        slot->cursor = slot->sent_max;
    if (slot->sure > slot->cursor)
        slot->sure = slot->cursor;
    link_rebuild_init(session);
    for (size_t i = 0; i < SESSION_GATEWAYS_MAX; i++)
        slot->gateways[i].accepted = slot->gateways[i].received; /* what waited is answered */
    int64_t now_us = clock_wall_us();
    if (slot->left_us <= 0 || slot->left_us > now_us)
        slot->left_us = now_us; /* it was attached, or the clock was set back */
    int64_t away_ms = (now_us - slot->left_us) / 1000;
    list_append(&server->idle_sessions, &session->idle);
    link_server_set_deadline(server, &session->forget,
                             clock_monotonic_ms() + server->session_retention_ms - away_ms);
    if (slot->number > server->last_session)
        server->last_session = slot->number;
}

void link_sessions_restore(struct link_server *server) {
    uint64_t last = journal_last(server->journal), used = last;
    size_t at = 0;
    struct session_slot *slot;
    while ((slot = session_file_next(server->session_file, &at)) != NULL)
        if (slot->sent_max > used && slot->sent_max - last < NUMBERS_LOST_MAX)
            used = slot->sent_max;
    journal_skip(server->journal, used);
    at = 0;
    while ((slot = session_file_next(server->session_file, &at)) != NULL) {
        bool is_text = utf8_is_valid(slot->id, strlen(slot->id));
        if (is_text && map_get(server->sessions, slot->id) == NULL)
            restore_session(server, slot);
        else
            session_file_drop(server->session_file, slot);
    }
    if (map_count(server->sessions) > 0)
        log_info("%zu sessions of an earlier launcher are known", map_count(server->sessions));
}

/* --- requests' numbering --- */

static bool is_numbering(const struct link_session *session, const struct session_gateway *entry) {
    list_each (&session->attachments, struct link_attachment, node, each)
        if (each->numbers == entry)
            return true;
    return false;
}

/* The gateway's own, or the place of the one that is away the longest; NULL when all are at
 * work. */
static struct session_gateway *find_numbers(struct link_session *session, uint64_t gateway) {
    struct session_gateway *found = session_gateway_find(session->slot, gateway), *oldest = NULL;
    uint64_t turn = 0;
    for (size_t i = 0; i < SESSION_GATEWAYS_MAX; i++) {
        struct session_gateway *entry = &session->slot->gateways[i];
        if (entry->turn > turn)
            turn = entry->turn;
        if (!is_numbering(session, entry) && (oldest == NULL || entry->turn < oldest->turn))
            oldest = entry;
    }
    if (found == NULL && oldest != NULL) {
        *oldest = (struct session_gateway){.gateway = gateway};
        found = oldest;
    }
    if (found != NULL)
        found->turn = turn + 1;
    return found;
}

/* --- ATTACH --- */

struct attach_wish {
    const char *session_id; /* in json */
    bool from_cursor, rebuild, may_name;
    uint64_t window;
    int64_t unsure_ms;
    uint64_t sure;
};

static int check_session_id(const json_t *id, const char **ret, struct error *err) {
    *ret = NULL;
    if (json_is_null(id))
        return 0;
    size_t length = json_string_length(id);
    const char *text = json_string_value(id);
    if (text == NULL)
        return error_set(err, ERROR_INVALID, "session_id: must be a text or null");
    if (length == 0 || length > LINK_SESSION_ID_MAX)
        return error_set(err, ERROR_LIMIT, "session_id: %zu bytes are not within 1 to %d", length,
                         LINK_SESSION_ID_MAX);
    if (memchr(text, '\0', length) != NULL)
        return error_set(err, ERROR_INVALID, "session_id: must not hold a NUL");
    *ret = text;
    return 0;
}

static int check_attach(const json_t *json, struct attach_wish *ret, struct error *err) {
    const json_t *window = json_object_get(json, "window");
    const char *from = json_string_value(json_object_get(json, "from"));
    const json_t *id = json_object_get(json, "session_id");
    if (id == NULL)
        return error_set(err, ERROR_INVALID, "session_id: is missing; null is for none");
    if (check_session_id(id, &ret->session_id, err) < 0)
        return -1;
    if (!json_is_integer(window) || json_integer_value(window) < 1)
        return error_set(err, ERROR_INVALID, "window: must be a number of bytes from 1 on");
    if (from == NULL || (strcmp(from, "cursor") != 0 && strcmp(from, "live") != 0))
        return error_set(err, ERROR_INVALID, "from: must be \"cursor\" or \"live\"");
    json_int_t bytes = json_integer_value(window);
    ret->window = bytes < SERVER_WINDOW_MAX ? (uint64_t)bytes : SERVER_WINDOW_MAX;
    ret->from_cursor = ret->session_id != NULL && strcmp(from, "cursor") == 0;
    ret->may_name = ret->session_id != NULL && !json_is_false(json_object_get(json, "named"));
    ret->rebuild = ret->from_cursor && json_is_true(json_object_get(json, "rebuild"));
    const json_t *unsure_ms = json_object_get(json, "unsure_ms");
    if (unsure_ms != NULL && (!json_is_integer(unsure_ms) || json_integer_value(unsure_ms) < 0))
        return error_set(err, ERROR_INVALID, "unsure_ms: must be a number of milliseconds");
    ret->unsure_ms = json_integer_value(unsure_ms);
    const json_t *sure = json_object_get(json, "sure");
    if (sure != NULL && (!json_is_integer(sure) || json_integer_value(sure) < 0))
        return error_set(err, ERROR_INVALID, "sure: must be the number of a message");
    ret->sure = sure != NULL ? (uint64_t)json_integer_value(sure) : UINT64_MAX;
    return 0;
}

static void emit_detached(struct link_peer *peer, uint16_t number, const char *reason) {
    cleanup_free char *clean = utf8_repair(reason);
    cleanup_json json_t *json = json_pack("{s:s}", "reason", clean);
    link_peer_emit_json(peer, LINK_DETACHED, number, 0, json);
}

static void emit_attached(const struct link_attachment *attachment, bool resumed) {
    const struct link_session *session = attachment->session;
    cleanup_json json_t *json =
        json_pack("{s:s?, s:b, s:I}", "session_id", session->id, "resumed", resumed, "next_request",
                  (json_int_t)(attachment->numbers->received + 1));
    link_peer_emit_json(attachment->peer, LINK_ATTACHED, attachment->number, attachment->position,
                        json);
}

static void count_attachments(struct link_server *server, size_t count) {
    bool was_attended = server->attachment_count > 0, is_attended = count > 0;
    server->attachment_count = count;
    if (was_attended == is_attended)
        return;
    server->unattached_ms = clock_monotonic_ms();
    if (server->events.attended != NULL)
        server->events.attended(server->context);
}

static void attach(struct link_peer *peer, uint16_t number, const struct attach_wish *wish) {
    struct link_server *server = peer->server;
    if (server->attachment_count >= SERVER_ATTACHMENTS_MAX) {
        emit_detached(peer, number, "too many clients are attached to this kernel");
        return;
    }
    struct link_session *session =
        wish->session_id ? map_get(server->sessions, wish->session_id) : NULL;
    bool is_known = session != NULL, resumed = is_known && wish->from_cursor;
    if (session == NULL)
        session = create_session(server, wish->session_id);
    if (session == NULL) {
        emit_detached(peer, number, "too many sessions are attached to this kernel");
        return;
    }
    struct session_gateway *numbers = find_numbers(session, peer->gateway_hash);
    if (numbers == NULL) {
        emit_detached(peer, number, "too many gateways serve this session");
        return;
    }
    struct link_attachment *attachment = memory_alloc(sizeof *attachment);
    attachment->peer = peer;
    attachment->session = session;
    attachment->numbers = numbers;
    attachment->number = number;
    attachment->owns_session = session->id == NULL;
    attachment->window = wish->window;
    attachment->may_name = wish->may_name && wish->window <= journal_newest_bytes(server->journal);
    attachment->unsure_ms = wish->unsure_ms;
    attachment->sure = UINT64_MAX;
    attachment->rebuilt_from = UINT64_MAX;
    attachment->left = UINT64_MAX;
    attachment->position = attachment->last_sent = attachment->start =
        resumed ? session->slot->cursor : journal_last(server->journal);
    if (list_is_empty(&session->attachments) || wish->unsure_ms > session->unsure_ms)
        session->unsure_ms = wish->unsure_ms;
    add_to_peer(peer, attachment);
    list_append(&session->attachments, &attachment->node);
    count_attachments(server, server->attachment_count + 1);
    list_remove(&session->idle);
    link_server_clear_deadline(server, &session->forget);
    session->slot->left_us = 0;
    emit_attached(attachment, resumed);
    link_announce_attached(attachment);
    if (wish->rebuild && link_peer_has_capability(peer, "rebuild"))
        link_rebuild_start(attachment, is_known, wish->sure);
}

void link_session_attach(struct link_peer *peer, const struct link_frame *frame,
                         const uint8_t *payload) {
    struct link_attachment *old = link_attachment_of(peer, frame->attachment);
    if (old != NULL) {
        log_warning("gateway %.36s: attachment %u was attached again", peer->gateway,
                    frame->attachment);
        link_session_detach(old, NULL);
    }
    struct error err;
    struct attach_wish wish = {0};
    cleanup_json json_t *json =
        link_server_parse(payload, frame->length, SERVER_SMALL_JSON_MAX, &err);
    int refused = json == NULL ? -1 : check_attach(json, &wish, &err);
    if (refused == 0 && frame->attachment == 0)
        refused = error_set(&err, ERROR_INVALID, "attachment: 0 is the kernel itself");
    if (refused < 0) {
        error_wrap(&err, "ATTACH");
        log_warning("gateway %.36s: %s", peer->gateway, err.text);
        emit_detached(peer, frame->attachment, err.text);
        return;
    }
    attach(peer, frame->attachment, &wish);
}

/* --- the end of an attachment --- */

static void leave_session(struct link_attachment *attachment) {
    struct link_session *session = attachment->session;
    struct link_server *server = session->server;
    list_remove(&attachment->node);
    if (!list_is_empty(&session->attachments) || session->id == NULL)
        return;
    session->slot->left_us = clock_wall_us();
    list_append(&server->idle_sessions, &session->idle);
    link_server_set_deadline(server, &session->forget,
                             clock_monotonic_ms() + server->session_retention_ms);
}

void link_session_detach(struct link_attachment *attachment, const char *reason) {
    if (attachment->is_gone)
        return;
    struct link_peer *peer = attachment->peer;
    attachment->is_gone = true;
    link_rebuild_end(attachment);
    link_requests_orphan(attachment);
    remove_from_peer(peer, attachment);
    leave_session(attachment);
    count_attachments(peer->server, peer->server->attachment_count - 1);
    list_append(&peer->server->attachments_gone, &attachment->node);
    if (reason != NULL && !peer->is_gone) /* its gateway logs why */
        emit_detached(peer, attachment->number, reason);
}

void link_sessions_reap(struct link_server *server) {
    list_each (&server->attachments_gone, struct link_attachment, node, attachment) {
        list_remove(&attachment->node);
        if (attachment->owns_session)
            free_session(attachment->session);
        free(attachment);
    }
}

void link_sessions_free(struct link_server *server) {
    size_t at = 0;
    void *session;
    while (server->sessions != NULL && map_next(server->sessions, &at, NULL, &session))
        release_session(session);
    map_destroy(server->sessions);
}

/* --- ACK --- */

void link_session_ack(struct link_peer *peer, const struct link_frame *frame,
                      const uint8_t *payload) {
    struct link_attachment *attachment = link_attachment_of(peer, frame->attachment);
    uint64_t consumed, sure;
    if (attachment == NULL)
        return; /* detached meanwhile, or 0: a probe of the connection */
    struct link_session *session = attachment->session;
    bool readable = link_ack_read(frame, payload, &consumed, &sure) == 0;
    if (!readable || frame->seq > session->slot->sent_max || consumed > attachment->sent) {
        if (!attachment->ack_refused)
            log_warning("gateway %.36s: attachment %u: an ACK of message %" PRIu64
                        " is refused: %s",
                        peer->gateway, attachment->number, frame->seq,
                        readable ? "more than was sent" : "its payload is no u64, nor two");
        attachment->ack_refused = true;
        return;
    }
    if (consumed > attachment->consumed)
        attachment->consumed = consumed;
    if (frame->seq > session->slot->cursor)
        session->slot->cursor = frame->seq;
    if (sure != UINT64_MAX)
        attachment->sure = sure;
    link_rebuild_advance(attachment, frame->seq);
}

/* --- sending --- */

static bool read_session(const struct journal_record *record, char *ret, size_t size) {
    struct kernel_message message;
    return !record->is_folded && record->session != JOURNAL_NOBODY &&
           kernel_message_parse(record->data, record->length, &message, NULL) == 0 &&
           json_scan_text(message.header, "session", ret, size) >= 0;
}

/* JupyterLab drops what it has not yet handled when a message of another session comes, so ours
 * bear that of the next one, or else of the last. */
static void find_kernel_session(const struct journal *journal, uint64_t seq, char *ret,
                                size_t size) {
    struct journal_record record;
    for (uint64_t at = seq; journal_next(journal, at, &record) > 0; at = record.seq)
        if (read_session(&record, ret, size))
            return;
    for (uint64_t at = seq; at > 0 && seq - at < LOOKED_BACK_MAX; at--)
        if (journal_next(journal, at - 1, &record) > 0 && read_session(&record, ret, size))
            return;
    text_uuid4(ret);
}

int link_session_write_line(struct link_server *server, struct bytes parent_header, uint64_t seq,
                            const char *line) {
    char session[256];
    cleanup_free char *text = memory_printf("\n%s\n", line);
    find_kernel_session(server->journal, seq, session, sizeof session);
    return message_make_stderr(&server->scratch, session, parent_header, text);
}

int link_session_write_lost(struct link_server *server, struct bytes parent_header, uint64_t seq,
                            struct journal_lost lost) {
    cleanup_free char *line = memory_printf(
        "[elara] The kernel sent more than is kept for a client that is away or slow: %" PRIu64
        " messages (%" PRIu64 " bytes) were left out here.",
        lost.messages, lost.bytes);
    return link_session_write_line(server, parent_header, seq, line);
}

bool link_session_concerns(const struct link_session *session,
                           const struct journal_record *record) {
    return record->session == 0 || record->session == session->number;
}

enum link_step link_session_emit(struct link_attachment *attachment, uint8_t flags, uint64_t seq,
                                 const void *payload, size_t length,
                                 const struct journal_record *record) {
    struct link_frame head = {.type = LINK_MESSAGE,
                              .flags = flags,
                              .attachment = attachment->number,
                              .length = (uint32_t)length,
                              .seq = seq};
    uint64_t under_way = attachment->sent - attachment->consumed;
    if (under_way > 0 && under_way + length > attachment->window)
        return LINK_STEP_NO_CREDIT;
    if (!link_peer_emit_message(attachment->peer, &head, payload, record, attachment->may_name))
        return LINK_STEP_BLOCKED;
    attachment->sent += length;
    return LINK_STEP_DONE;
}

/* The same in the order of the numbers: the attachment's place is behind it then. */
static enum link_step send_numbered(struct link_attachment *attachment, uint64_t seq,
                                    const void *payload, size_t length,
                                    const struct journal_record *record) {
    struct session_slot *slot = attachment->session->slot;
    enum link_step step = link_session_emit(attachment, 0, seq, payload, length, record);
    if (step != LINK_STEP_DONE)
        return step;
    attachment->position = attachment->last_sent = seq;
    if (seq > slot->sent_max)
        slot->sent_max = seq;
    return LINK_STEP_DONE;
}

/* The notice takes the number of the last message that is missing. */
static enum link_step send_notice(struct link_attachment *attachment, uint64_t seq,
                                  struct bytes parent, struct journal_lost lost) {
    struct link_server *server = attachment->session->server;
    lost.messages += attachment->folded.messages;
    lost.bytes += attachment->folded.bytes;
    if (link_session_write_lost(server, parent, seq, lost) < 0)
        return LINK_STEP_DONE; /* unreachable: it is small */
    enum link_step step =
        send_numbered(attachment, seq, server->scratch.data, server->scratch.length, NULL);
    if (step != LINK_STEP_DONE)
        return step;
    if (server->cap_notices++ == 0)
        log_info("session %u: %" PRIu64 " messages (%" PRIu64
                 " bytes) were lost to the journal's cap (said once, and each time to the client)",
                 attachment->session->number, lost.messages, lost.bytes);
    attachment->folded = (struct journal_lost){0, 0};
    return LINK_STEP_DONE;
}

/* Rows that belong together are told in one, with the last of them. */
static enum link_step send_folded(struct link_attachment *attachment,
                                  const struct journal_record *record) {
    if (record->folded.messages > 0 && !record->goes_on)
        return send_notice(attachment, record->seq, record->parent_header, record->folded);
    attachment->folded.messages += record->folded.messages;
    attachment->folded.bytes += record->folded.bytes;
    attachment->position = record->seq;
    return LINK_STEP_DONE;
}

static bool is_wanted(const struct link_session *session, const struct journal_record *record) {
    if (record->mark.class == MESSAGE_PROMPT &&
        cells_is_over(session->server->cells, record->mark.cell, record->seq))
        return false; /* nobody waits for its answer any more */
    return link_session_concerns(session, record);
}

static enum link_step send_record(struct link_attachment *attachment,
                                  const struct journal_record *record) {
    struct link_session *session = attachment->session;
    struct link_server *server = session->server;
    if (record->first > attachment->position + 1) {
        enum link_step step =
            send_notice(attachment, record->first - 1, (struct bytes){NULL, 0},
                        journal_lost_since(server->journal, attachment->position));
        if (step != LINK_STEP_DONE)
            return step;
    }
    if (!is_wanted(session, record)) {
        attachment->position = record->seq;
        return LINK_STEP_DONE;
    }
    if (record->is_folded)
        return send_folded(attachment, record);
    if (link_rebuild_is_skipped(session, record->seq) &&
        link_rebuild_write_skipped(server, record) == 0)
        return send_numbered(attachment, record->seq, server->scratch.data, server->scratch.length,
                             NULL);
    return send_numbered(attachment, record->seq, record->data, record->length, record);
}

/* false: the pipe is full or the peer (and this attachment with it) gone. */
static bool pump(struct link_attachment *attachment) {
    struct link_session *session = attachment->session;
    const struct journal *journal = session->server->journal;
    struct journal_record record;
    enum link_step step =
        attachment->rebuild != NULL ? link_rebuild_step(attachment) : LINK_STEP_DONE;
    while (step == LINK_STEP_DONE && journal_next(journal, attachment->position, &record) > 0)
        step = send_record(attachment, &record);
    if (step != LINK_STEP_DONE)
        return step == LINK_STEP_NO_CREDIT;
    /* Nothing is under way: what was passed over was for others, and is not missed when it is gone
     * from the journal. */
    if (!attachment->is_unproved && session->slot->cursor >= attachment->last_sent &&
        attachment->position > session->slot->cursor) {
        session->slot->cursor = attachment->position;
        link_rebuild_advance(attachment, attachment->position);
    }
    return true;
}

bool link_sessions_pump(struct link_peer *peer) {
    for (size_t i = 0; i < peer->attachment_count; i++)
        if (!pump(peer->attachments[i]))
            return false;
    return true;
}
