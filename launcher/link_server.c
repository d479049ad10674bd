#include "launcher/link_server.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/journal_segment.h"
#include "launcher/link_server_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "launcher/link_server"

enum {
    TURN_MESSAGES = 256, /* then the kernel's sockets have their turn */
    TURN_BYTES = 16 << 20,
    SCRATCH_MAX = 1 << 20,
    FLUSH_BYTES = 1 << 20, /* a turn that publishes more sends in between */
};

/* Optional features of this side, each a line. */
static const char *const capabilities[] = {"rebuild", "announce", "sure", SEGMENT_CAPABILITY, NULL};

/* --- deadlines: one heap, one timer --- */

static int on_timer(zloop_t *loop, int timer, void *context);

static void arm_timer(struct link_server *server) {
    const struct heap_node *first = heap_first(&server->deadlines);
    if (first == NULL || (server->timer != 0 && server->timer_when_ms <= first->when_ms))
        return; /* one that fires too early looks again */
    if (server->timer != 0)
        zloop_timer_end(server->loop, server->timer);
    int64_t delay_ms = first->when_ms - clock_monotonic_ms();
    server->timer =
        zloop_timer(server->loop, delay_ms > 0 ? (size_t)delay_ms : 0, 1, on_timer, server);
    server->timer_when_ms = first->when_ms;
}

void link_server_set_deadline(struct link_server *server, struct server_deadline *deadline,
                              int64_t when_ms) {
    heap_set(&server->deadlines, &deadline->node, when_ms);
    arm_timer(server);
}

void link_server_clear_deadline(struct link_server *server, struct server_deadline *deadline) {
    heap_remove(&server->deadlines, &deadline->node);
}

void link_server_run_deadlines(struct link_server *server, int64_t now_ms) {
    struct heap_node *node;
    server->depth++;
    while ((node = heap_first(&server->deadlines)) != NULL && node->when_ms <= now_ms) {
        heap_remove(&server->deadlines, node);
        struct server_deadline *deadline = list_entry(node, struct server_deadline, node);
        deadline->due(deadline->owner, now_ms);
    }
    server->depth--;
    link_server_flush(server);
}

static int on_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct link_server *server = context;
    if (timer != server->timer)
        return 0; /* one that was ended: see launcher_timer_fired */
    server->timer = 0;
    link_server_run_deadlines(server, clock_monotonic_ms());
    arm_timer(server);
    return 0;
}

/* The flush that follows does the work. */
static void on_retry(void *owner, int64_t now_ms) {
    (void)owner, (void)now_ms;
}

static void on_grants(void *owner, int64_t now_ms) {
    (void)now_ms;
    struct link_server *server = owner;
    list_each (&server->peers, struct link_peer, node, peer)
        peer->grants_urgent = peer->grants_due;
}

static void on_rest(void *owner, int64_t now_ms) {
    struct link_server *server = owner;
    if (server->rest_seen == journal_last(server->journal))
        journal_rest(server->journal);
    if (server->rest_seen == journal_last(server->journal) &&
        journal_disk_errno(server->journal) == 0)
        return;
    server->rest_seen = journal_last(server->journal);
    link_server_set_deadline(server, &server->rest, now_ms + SERVER_REST_MS);
}

/* --- frames --- */

json_t *link_server_parse(const uint8_t *payload, size_t length, size_t max, struct error *err) {
    json_error_t problem;
    if (length > max) {
        error_set(err, ERROR_LIMIT, "%zu bytes of JSON are more than %zu", length, max);
        return NULL;
    }
    json_t *json = json_loadb((const char *)payload, length, JSON_ALLOW_NUL, &problem);
    if (json_is_object(json))
        return json;
    if (json == NULL)
        error_set(err, ERROR_INVALID, "no valid JSON at byte %d: %s", problem.position,
                  problem.text);
    else
        error_set(err, ERROR_INVALID, "the JSON is no object");
    json_decref(json);
    return NULL;
}

static int check_hello(const struct link_server *server, const json_t *hello,
                       struct link_terms *terms, struct error *err) {
    const char *kernel_id = json_string_value(json_object_get(hello, "kernel_id"));
    if (link_terms_settle(hello, server->capabilities, terms, err) < 0)
        return -1;
    if (kernel_id == NULL || strcmp(kernel_id, server->kernel_id) != 0)
        return error_set(err, ERROR_NOT_FOUND, "kernel_id: \"%.64s\" was asked for, this is %s",
                         kernel_id ? kernel_id : "", server->kernel_id);
    const json_t *gateway = json_object_get(hello, "gateway");
    if (!json_is_string(gateway) || json_string_length(gateway) == 0 ||
        json_string_length(gateway) > SERVER_NONCE_MAX)
        return error_set(err, ERROR_INVALID, "gateway: must be a text of 1 to %d bytes",
                         SERVER_NONCE_MAX);
    return 0;
}

static void emit_welcome(struct link_peer *peer) {
    struct link_server *server = peer->server;
    json_t *record = server->events.record(server->context);
    json_t *status = server->events.status(server->context);
    cleanup_json json_t *welcome = link_terms_offer(server->capabilities);
    json_object_set_new(welcome, "launcher", json_string(server->nonce));
    json_object_set_new(welcome, "kernel_id", json_string(server->kernel_id));
    json_object_set_new(welcome, "record", record ? record : json_object());
    json_object_set_new(welcome, "status", status ? status : json_object());
    link_peer_emit_json(peer, LINK_WELCOME, 0, journal_last(server->journal), welcome);
}

/* A gateway has one connection to us: an earlier one of the same process is what libzmq or the
 * gateway gave up. */
static void forget_earlier(struct link_server *server, const struct link_peer *peer) {
    list_each (&server->peers, struct link_peer, node, other)
        if (other != peer && strcmp(other->gateway, peer->gateway) == 0)
            link_peer_forget(other, "its gateway connected again");
}

static uint64_t hash_nonce(const char *nonce) {
    uint64_t value = text_hash(nonce);
    return value != 0 ? value : 1;
}

struct incoming {
    uint8_t route[SERVER_ROUTE_MAX];
    size_t route_length;
    zmq_msg_t parts[LINK_EXTERNAL_MAX + 1];
    unsigned count; /* of parts that came; those beyond the array were dropped */
};

static void on_hello(struct link_server *server, struct link_peer **peer, const struct incoming *in,
                     const struct link_frame *frame, const uint8_t *payload) {
    struct error err;
    struct link_terms terms;
    cleanup_json json_t *hello =
        link_server_parse(payload, frame->length, SERVER_SMALL_JSON_MAX, &err);
    if (hello == NULL || check_hello(server, hello, &terms, &err) < 0) {
        log_warning("a HELLO is refused: %s", err.text);
        if (*peer != NULL)
            link_peer_forget(*peer, "its HELLO is refused");
        *peer = NULL;
        link_peer_send_stray(server, in->route, in->route_length, LINK_RESET, 0);
        return;
    }
    if (*peer == NULL)
        *peer = link_peer_add(server, in->route, in->route_length);
    while ((*peer)->attachment_count > 0)
        link_session_detach((*peer)->attachments[0], NULL);
    (*peer)->terms = terms;
    const char *gateway = json_string_value(json_object_get(hello, "gateway"));
    memset((*peer)->gateway, 0, sizeof(*peer)->gateway);
    memcpy((*peer)->gateway, gateway, strnlen(gateway, SERVER_NONCE_MAX));
    (*peer)->gateway_hash = hash_nonce((*peer)->gateway);
    forget_earlier(server, *peer);
    link_announce_gateway_back(server, (*peer)->gateway_hash);
    emit_welcome(*peer);
}

static void on_request(struct link_peer *peer, const struct link_frame *frame,
                       const uint8_t *payload) {
    struct link_attachment *attachment = link_attachment_of(peer, frame->attachment);
    if (attachment != NULL) /* else it was detached meanwhile: its gateway knows or is told */
        link_request_take(attachment, frame, payload);
}

/* A frame from a connection that said HELLO. */
static void on_peer_frame(struct link_peer *peer, const struct link_frame *frame,
                          const uint8_t *payload) {
    struct link_attachment *attachment;
    switch (frame->type) {
    case LINK_ATTACH:
        link_session_attach(peer, frame, payload);
        break;
    case LINK_DETACH:
        attachment = link_attachment_of(peer, frame->attachment);
        if (attachment != NULL) {
            link_rebuild_take_ending(attachment, frame, payload);
            link_session_detach(attachment, NULL);
        }
        break;
    case LINK_ACK:
        link_session_ack(peer, frame, payload);
        break;
    case LINK_REQUEST:
        on_request(peer, frame, payload);
        break;
    case LINK_ANNOUNCE:
        attachment = link_attachment_of(peer, frame->attachment);
        if (attachment != NULL)
            link_announce_take(attachment, frame, payload);
        break;
    case LINK_COMMAND:
        link_command_take(peer, frame, payload);
        break;
    case LINK_RESET:
        link_peer_forget(peer, "its gateway does not know us any more");
        break;
    default: /* a later version's, or one that only a launcher sends */
        break;
    }
}

/* Returns false when the sender has to be told that we do not know it. */
static bool on_frame(struct link_server *server, struct link_peer **peer, const struct incoming *in,
                     const struct link_frame *frame, const uint8_t *payload) {
    if (*peer != NULL && (*peer)->is_gone)
        *peer = NULL; /* an earlier frame of the batch ended it */
    switch (frame->type) {
    case LINK_HELLO:
        on_hello(server, peer, in, frame, payload);
        return true;
    case LINK_PING:
        if (server->events.asked != NULL)
            server->events.asked(server->context);
        if (*peer != NULL)
            link_peer_emit(*peer, LINK_PONG, 0, frame->seq, NULL, 0);
        else
            link_peer_send_stray(server, in->route, in->route_length, LINK_PONG, frame->seq);
        return true;
    case LINK_PONG:
        return true;
    default:
        if (*peer != NULL)
            on_peer_frame(*peer, frame, payload);
        return *peer != NULL || frame->type == LINK_RESET; /* two who reset each other never end */
    }
}

/* --- batches --- */

static int check_batch(struct incoming *in, struct error *err) {
    if (in->count == 0)
        return error_set(err, ERROR_INVALID, "a message without a batch");
    if (in->count > LINK_EXTERNAL_MAX + 1)
        return error_set(err, ERROR_LIMIT, "%u further parts are more than %d", in->count - 1,
                         LINK_EXTERNAL_MAX);
    const uint8_t *batch = zmq_msg_data(&in->parts[0]);
    size_t length = zmq_msg_size(&in->parts[0]), at = 0;
    struct link_frame frame;
    unsigned part = 1;
    int more;
    while ((more = link_frame_next(batch, length, &at, &frame, err)) > 0) {
        if (!(frame.flags & LINK_FLAG_EXTERNAL))
            continue;
        if (part >= in->count)
            return error_set(err, ERROR_INVALID, "the further part of a %s is missing",
                             link_type_name(frame.type));
        size_t size = zmq_msg_size(&in->parts[part++]);
        if (size != frame.length)
            return error_set(err, ERROR_INVALID, "a further part has %zu bytes, its %s says %u",
                             size, link_type_name(frame.type), frame.length);
    }
    if (more == 0 && part < in->count)
        return error_set(err, ERROR_INVALID, "%u further parts belong to no frame",
                         in->count - part);
    return more;
}

static void on_malformed(struct link_server *server, const struct incoming *in,
                         const struct error *err) {
    if (server->malformed++ == 0)
        log_warning("a malformed batch is dropped, later ones silently: %s", err->text);
    struct link_peer *peer = link_peer_find(server, in->route, in->route_length);
    if (peer != NULL)
        link_peer_forget(peer, "it sent a malformed batch");
    link_peer_send_stray(server, in->route, in->route_length, LINK_RESET, 0);
}

static void dispatch(struct link_server *server, struct incoming *in) {
    struct error err;
    if (check_batch(in, &err) < 0) {
        on_malformed(server, in, &err);
        return;
    }
    struct link_peer *peer = link_peer_find(server, in->route, in->route_length);
    if (peer != NULL)
        peer->heard_ms = clock_monotonic_ms();
    const uint8_t *batch = zmq_msg_data(&in->parts[0]);
    size_t length = zmq_msg_size(&in->parts[0]), at = 0;
    struct link_frame frame;
    unsigned part = 1;
    bool is_known = true;
    while (link_frame_next(batch, length, &at, &frame, NULL) > 0) {
        const uint8_t *payload = frame.payload;
        if (frame.flags & LINK_FLAG_EXTERNAL)
            payload = zmq_msg_data(&in->parts[part++]);
        is_known &= on_frame(server, &peer, in, &frame, payload);
    }
    if (!is_known && (peer == NULL || peer->is_gone))
        link_peer_send_stray(server, in->route, in->route_length, LINK_RESET, 0);
}

/* Takes one message off the socket; the bytes of it, or 0 when there is none. */
static size_t receive(struct link_server *server) {
    struct incoming in = {.count = 0};
    zmq_msg_t route;
    zmq_msg_init(&route);
    if (zmq_msg_recv(&route, server->router, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&route);
        return 0;
    }
    size_t bytes = 1;
    in.route_length =
        zmq_msg_size(&route) < sizeof in.route ? zmq_msg_size(&route) : sizeof in.route;
    memcpy(in.route, zmq_msg_data(&route), in.route_length);
    bool more = zmq_msg_more(&route);
    zmq_msg_close(&route);
    while (more) {
        zmq_msg_t surplus;
        bool keep = in.count < LINK_EXTERNAL_MAX + 1;
        zmq_msg_t *part = keep ? &in.parts[in.count] : &surplus;
        zmq_msg_init(part);
        if (zmq_msg_recv(part, server->router, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(part);
            break; /* cannot be: libzmq hands out whole messages */
        }
        bytes += zmq_msg_size(part);
        more = zmq_msg_more(part);
        if (!keep)
            zmq_msg_close(part);
        in.count++;
    }
    if (server->curve != NULL && in.count > 0)
        link_curve_heard(server->curve, &in.parts[0]);
    dispatch(server, &in);
    for (unsigned i = 0; i < in.count && i < LINK_EXTERNAL_MAX + 1; i++)
        zmq_msg_close(&in.parts[i]);
    return bytes;
}

static int on_readable(zloop_t *loop, zsock_t *socket, void *context) {
    (void)loop, (void)socket;
    struct link_server *server = context;
    size_t bytes = 0;
    server->depth++;
    for (int i = 0; i < TURN_MESSAGES && bytes < TURN_BYTES; i++) {
        size_t got = receive(server);
        if (got == 0)
            break;
        bytes += got;
    }
    server->depth--;
    link_server_flush(server);
    /* what is left is seen again: zloop asks ZMQ_EVENTS before it sleeps, also after our sends */
    return 0;
}

/* --- creation --- */

static void init_state(struct link_server *server) {
    list_init(&server->peers);
    list_init(&server->peers_gone);
    list_init(&server->attachments_gone);
    list_init(&server->idle_sessions);
    list_init(&server->queue);
    list_init(&server->announced);
    list_init(&server->commands);
    server->sessions = map_create();
    server->retry = (struct server_deadline){.due = on_retry, .owner = server};
    server->grants = (struct server_deadline){.due = on_grants, .owner = server};
    server->rest = (struct server_deadline){.due = on_rest, .owner = server};
    server->cells = cells_create();
    server->scratch.limit = SCRATCH_MAX;
    text_uuid4(server->nonce);
    server->capabilities = capabilities;
}

/* What an earlier launcher left. */
static void note_cells(struct link_server *server) {
    struct journal_record record = {.seq = 0};
    while (journal_next(server->journal, record.seq, &record) > 0)
        cells_note(server->cells, record.seq, record.session, &record.mark);
}

int link_server_create(zloop_t *loop, const struct link_server_settings *settings,
                       const struct link_server_events *events, void *context,
                       struct link_server **ret, struct error *err) {
    struct link_server *server = memory_alloc(sizeof *server);
    init_state(server);
    server->loop = loop;
    server->events = *events;
    server->context = context;
    server->kernel_id = memory_strdup(settings->kernel_id);
    server->session_retention_ms = settings->session_retention_ms;
    server->payload_max = settings->payload_max > 0 && settings->payload_max < LINK_PAYLOAD_MAX
                              ? (uint64_t)settings->payload_max
                              : LINK_PAYLOAD_MAX;
    server->unattached_ms = clock_monotonic_ms();
    server->unflushed_max = FLUSH_BYTES;
    if (settings->journal_bytes / 4 < FLUSH_BYTES)
        server->unflushed_max =
            (size_t)(settings->journal_bytes > 0 ? settings->journal_bytes / 4 : 0);
    if (journal_create(settings->journal_directory, settings->journal_bytes, &server->journal,
                       err) < 0 ||
        link_server_bind(server, settings->endpoint, settings->keys, err) < 0) {
        link_server_destroy(&server);
        return -1;
    }
    server->last_session = journal_max_session(server->journal);
    note_cells(server);
    server->session_file = session_file_open(settings->session_path, SERVER_SESSIONS_MAX);
    link_sessions_restore(server);
    if (zloop_reader(loop, server->socket, on_readable, server) < 0) {
        link_server_destroy(&server);
        return error_set(err, ERROR_SYSTEM, "link: the loop does not take the socket");
    }
    zloop_reader_set_tolerant(loop, server->socket);
    *ret = server;
    return 0;
}

static void reap(struct link_server *server) {
    link_sessions_reap(server);
    link_peers_reap(server);
}

void link_server_destroy(struct link_server **server_pointer) {
    struct link_server *server = *server_pointer;
    if (server == NULL)
        return;
    *server_pointer = NULL;
    link_server_flush(server);
    if (server->timer != 0)
        zloop_timer_end(server->loop, server->timer);
    if (server->socket != NULL)
        zloop_reader_end(server->loop, server->socket);
    list_each (&server->peers, struct link_peer, node, peer)
        link_peer_forget(peer, "the launcher ends");
    link_commands_free(server);
    link_requests_free(server);
    link_announce_free(server);
    reap(server);
    link_sessions_free(server);
    link_curve_unwatch(server->curve);
    zsock_destroy(&server->socket);
    link_curve_destroy(&server->curve);
    session_file_close(server->session_file);
    journal_destroy(server->journal);
    cells_destroy(server->cells);
    heap_free(&server->deadlines);
    buffer_free(&server->scratch);
    free(server->kernel_id);
    free(server);
}

/* --- what the kernel's side calls --- */

uint64_t link_server_publish(struct link_server *server, enum kernel_channel channel,
                             session_number session, const void *message, size_t length) {
    struct kernel_message parsed;
    struct journal_entry entry = {.channel = channel, .session = session};
    if (kernel_message_parse(message, length, &parsed, NULL) == 0)
        entry.mark = message_mark(&parsed);
    uint64_t seq = journal_append(server->journal, &entry, message, length);
    cells_note(server->cells, seq, session, &entry.mark);
    if (server->rest.node.place == 0)
        link_server_set_deadline(server, &server->rest, clock_monotonic_ms() + SERVER_REST_MS);
    server->unflushed += length;
    if (server->unflushed > server->unflushed_max)
        link_server_flush(server);
    int disk_errno = journal_disk_errno(server->journal);
    if (disk_errno != 0 && !server->told_disk) {
        server->told_disk = true;
        if (server->events.disk_full != NULL)
            server->events.disk_full(server->context, disk_errno);
    }
    return seq;
}

void link_server_walk_notes(const struct link_server *server, request_note_waiting *waiting,
                            request_note_waiting *last, void *context) {
    request_notes_walk(server->journal, waiting, last, context);
}

void link_server_resume(struct link_server *server) {
    server->depth++;
    link_requests_drain(server);
    server->depth--;
}

static void tell_all(struct link_server *server, enum link_type type, const json_t *json) {
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    if (text == NULL) {
        log_error("a %s could not be written as JSON", link_type_name((uint8_t)type));
        return;
    }
    server->depth++;
    list_each (&server->peers, struct link_peer, node, peer) {
        link_sessions_pump(peer); /* what was published before it goes before it */
        link_peer_emit(peer, type, 0, journal_last(server->journal), text, strlen(text));
    }
    server->depth--;
}

void link_server_status(struct link_server *server, json_t *status) {
    tell_all(server, LINK_STATUS, status);
}

void link_server_exit(struct link_server *server, json_t *report) {
    tell_all(server, LINK_EXIT, report);
}

void link_server_flush(struct link_server *server) {
    server->unflushed = 0;
    server->depth++;
    list_each (&server->peers, struct link_peer, node, peer)
        link_peer_flush(peer);
    server->depth--;
    if (server->depth == 0)
        reap(server);
}

bool link_server_was_attached(const struct link_server *server) {
    return server->last_session > 0 || map_count(server->sessions) > 0;
}

int64_t link_server_unattached_since(const struct link_server *server) {
    return server->attachment_count > 0 ? -1 : server->unattached_ms;
}

uint64_t link_server_last(const struct link_server *server) {
    return journal_last(server->journal);
}

struct journal_size link_server_journal_size(const struct link_server *server) {
    return journal_measure(server->journal);
}
