#include "link_peer.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TIMEOUT_MS = 10000 }; /* only a failing test waits that long */

/* --- the kernel's side --- */

static bool on_request(void *context, session_number session, const void *bytes, size_t length) {
    struct world *world = context;
    if (!world->is_ready) {
        world->refused_count++;
        return false;
    }
    assert_true(world->request_count < 4096);
    struct kernel_message message;
    assert_int_equal(kernel_message_parse(bytes, length, &message, NULL), 0);
    unsigned i = world->request_count++;
    size_t text = message.content.length < 63 ? message.content.length : 63;
    world->request_session[i] = session;
    memcpy(world->request_text[i], message.content.data, text);
    return true;
}

static void on_command(void *context, const char *name, const json_t *members,
                       struct link_command *command) {
    struct world *world = context;
    assert_non_null(json_object_get(members, "id"));
    assert_true(world->command_count < 64);
    unsigned i = world->command_count++;
    snprintf(world->command_name[i], sizeof world->command_name[i], "%s", name);
    world->command[i] = command;
    if (world->answers_at_once)
        link_server_result(command, json_pack("{s:i}", "n", (int)i), NULL);
}

static json_t *on_record(void *context) {
    (void)context;
    return json_pack("{s:s}", "name", "stub");
}

static json_t *on_status(void *context) {
    (void)context;
    return json_pack("{s:s}", "phase", "ready");
}

int world_create(void **state) {
    struct world *world = memory_alloc(sizeof *world);
    zsys_handler_set(NULL);
    world->loop = zloop_new();
    zloop_set_nonstop(world->loop, true);
    world->is_ready = world->answers_at_once = true;
    strcpy(world->directory, "/tmp/elara-link-XXXXXX");
    if (mkdtemp(world->directory) == NULL)
        return -1;
    snprintf(world->endpoint, sizeof world->endpoint, "ipc://%s/link", world->directory);
    *state = world;
    return 0;
}

static void on_disk_full(void *context, int disk_errno) {
    struct world *world = context;
    assert_true(disk_errno > 0);
    world->disks_full++;
}

static void on_lost(void *context, session_number session, struct bytes header) {
    struct world *world = context;
    world->lost++;
    world->lost_session = session;
    snprintf(world->lost_header, sizeof world->lost_header, "%.*s", (int)header.length,
             (const char *)header.data);
}

static void on_attended(void *context) {
    struct world *world = context;
    world->attendances++;
}

void world_start(struct world *world, const struct link_server_settings *overrides) {
    static const struct link_server_events events = {
        on_request, on_command, on_record, on_status, on_disk_full, on_lost, NULL, on_attended};
    cleanup_free char *journal = memory_printf("%s/journal", world->directory);
    cleanup_free char *sessions = memory_printf("%s/sessions", world->directory);
    struct link_server_settings settings = {
        .kernel_id = "kernel-1",
        .endpoint = world->endpoint,
        .journal_directory = journal,
        .session_path = sessions,
        .journal_bytes = 16 << 20,
        .session_retention_ms = 60000,
        .payload_max = 4 << 20,
    };
    if (overrides != NULL && overrides->journal_bytes > 0)
        settings.journal_bytes = overrides->journal_bytes;
    struct error err = {0};
    if (link_server_create(world->loop, &settings, &events, world, &world->server, &err) < 0)
        fail_msg("%s", err.text);
}

int world_destroy(void **state) {
    struct world *world = *state;
    link_server_destroy(&world->server);
    zloop_destroy(&world->loop);
    file_remove_tree(world->directory, NULL);
    free(world);
    return 0;
}

/* --- what comes --- */

static void keep_grant(struct peer *peer, const struct link_frame *frame) {
    assert_true(frame->attachment < PEER_GRANTS_MAX);
    uint64_t bytes;
    assert_int_equal(link_u64_read(frame, frame->payload, &bytes), 0);
    peer->grants[frame->attachment].taken = frame->seq;
    peer->grants[frame->attachment].bytes = bytes;
    peer->grants[frame->attachment].batch = peer->batches;
    peer->grants[frame->attachment].count++;
}

static void keep_frames(struct peer *peer, zmsg_t *message) {
    zframe_t *route = zmsg_pop(message);
    zframe_t *batch = zmsg_pop(message);
    assert_non_null(batch);
    struct link_frame frame;
    struct error err = {0};
    size_t at = 0;
    int more;
    while ((more = link_frame_next(zframe_data(batch), zframe_size(batch), &at, &frame, &err)) >
           0) {
        if (frame.type == LINK_GRANT) {
            keep_grant(peer, &frame);
            continue;
        }
        assert_true(peer->inbox_count < INBOX_MAX);
        struct inbox_frame *kept = &peer->inbox[peer->inbox_count++];
        kept->frame = frame;
        kept->batch = peer->batches;
        kept->external = frame.flags & LINK_FLAG_EXTERNAL;
        zframe_t *part = kept->external ? zmsg_pop(message) : NULL;
        if (kept->external) {
            assert_non_null(part);
            assert_int_equal(zframe_size(part), frame.length);
        }
        kept->payload = malloc(frame.length + 1);
        if (frame.length > 0)
            memcpy(kept->payload, part ? zframe_data(part) : frame.payload, frame.length);
        kept->payload[frame.length] = '\0';
        zframe_destroy(&part);
    }
    assert_int_equal(more, 0);
    assert_int_equal(zmsg_size(message), 0);
    peer->batches++;
    zframe_destroy(&route);
    zframe_destroy(&batch);
}

static int on_peer_readable(zloop_t *loop, zsock_t *socket, void *context) {
    (void)loop;
    struct peer *peer = context;
    zmsg_t *message = zmsg_recv(socket);
    keep_frames(peer, message);
    zmsg_destroy(&message);
    return peer->world->waiting == peer ? -1 : 0;
}

static int on_timeout(zloop_t *loop, int timer, void *context) {
    (void)loop, (void)timer;
    ((struct world *)context)->timed_out = true;
    return -1;
}

/* One turn of the loop that brings something, or fails the test. */
static void wait_for_message(struct peer *peer) {
    struct world *world = peer->world;
    int timer = zloop_timer(world->loop, TIMEOUT_MS, 1, on_timeout, world);
    zloop_reader(world->loop, peer->socket, on_peer_readable, peer);
    world->waiting = peer;
    unsigned before = peer->batches;
    while (peer->batches == before && !world->timed_out)
        zloop_start(world->loop);
    world->waiting = NULL;
    zloop_reader_end(world->loop, peer->socket);
    zloop_timer_end(world->loop, timer);
    if (world->timed_out)
        fail_msg("nothing came");
}

struct inbox_frame *peer_next(struct peer *peer) {
    while (peer->inbox_at == peer->inbox_count)
        wait_for_message(peer);
    return &peer->inbox[peer->inbox_at++];
}

void peer_wait_grant(struct peer *peer, uint16_t attachment, uint64_t taken, uint64_t bytes) {
    while (peer->grants[attachment].taken != taken || peer->grants[attachment].bytes != bytes)
        wait_for_message(peer);
}

struct inbox_frame *peer_expect(struct peer *peer, enum link_type type, uint16_t attachment) {
    struct inbox_frame *frame = peer_next(peer);
    if (frame->frame.type != type || frame->frame.attachment != attachment)
        fail_msg("%s for %u came instead of %s for %u: %.200s", link_type_name(frame->frame.type),
                 frame->frame.attachment, link_type_name((uint8_t)type), attachment,
                 frame_text(frame));
    return frame;
}

void peer_expect_nothing(struct peer *peer) {
    peer_frame(peer, LINK_PING, 0, ++peer->ping, NULL, 0);
    peer_send(peer);
    struct inbox_frame *frame = peer_expect(peer, LINK_PONG, 0);
    assert_true(frame->frame.seq == peer->ping);
}

const char *frame_text(const struct inbox_frame *frame) {
    return (const char *)frame->payload;
}

uint64_t frame_u64(const struct inbox_frame *frame) {
    uint64_t value = 0;
    assert_int_equal(link_u64_read(&frame->frame, frame->payload, &value), 0);
    return value;
}

json_t *frame_json(const struct inbox_frame *frame) {
    json_t *json = json_loads(frame_text(frame), 0, NULL);
    if (!json_is_object(json))
        fail_msg("no JSON object: %s", frame_text(frame));
    return json;
}

static int on_turn(zloop_t *loop, int timer, void *context) {
    (void)loop, (void)timer;
    const struct world *world = context;
    return world->request_count >= world->wanted_requests ? -1 : 0;
}

void world_run_until_request(struct world *world, unsigned count) {
    int timeout = zloop_timer(world->loop, TIMEOUT_MS, 1, on_timeout, world);
    int turn = zloop_timer(world->loop, 1, 0, on_turn, world);
    world->wanted_requests = count;
    zloop_start(world->loop);
    zloop_timer_end(world->loop, turn);
    zloop_timer_end(world->loop, timeout);
    if (world->timed_out)
        fail_msg("no request came");
}

/* --- what goes --- */

struct peer *peer_create(struct world *world) {
    struct peer *peer = memory_alloc(sizeof *peer);
    peer->world = world;
    peer->inbox = calloc(INBOX_MAX, sizeof *peer->inbox);
    peer->out.limit = 1 << 20;
    snprintf(peer->route, sizeof peer->route, "kernel-1.%u", ++world->peers);
    peer->socket = zsock_new(ZMQ_ROUTER);
    zsock_set_linger(peer->socket, 0);
    zsock_set_router_mandatory(peer->socket, 1);
    zsock_set_rcvhwm(peer->socket, 4);
    zmq_setsockopt(zsock_resolve(peer->socket), ZMQ_CONNECT_ROUTING_ID, peer->route,
                   strlen(peer->route));
    assert_int_equal(zmq_connect(zsock_resolve(peer->socket), world->endpoint), 0);
    return peer;
}

void peer_destroy(struct peer *peer) {
    for (size_t i = 0; i < peer->inbox_count; i++)
        free(peer->inbox[i].payload);
    free(peer->inbox);
    buffer_free(&peer->out);
    zsock_destroy(&peer->socket);
    free(peer);
}

void peer_frame(struct peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
                const void *payload, size_t length) {
    assert_int_equal(link_frame_write(&peer->out, type, attachment, seq, payload, length, false),
                     0);
}

void peer_json(struct peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
               const char *json) {
    peer_frame(peer, type, attachment, seq, json, strlen(json));
}

void peer_u64(struct peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
              uint64_t value) {
    uint8_t bytes[8];
    link_u64_write(bytes, value);
    peer_frame(peer, type, attachment, seq, bytes, sizeof bytes);
}

void peer_extra_part(struct peer *peer, const void *payload, size_t length) {
    assert_true(peer->part_count < OUT_PARTS_MAX);
    peer->parts[peer->part_count++] = (struct bytes){payload, length};
}

void peer_external(struct peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
                   const void *payload, size_t length, size_t said_length) {
    assert_int_equal(link_frame_write(&peer->out, type, attachment, seq, NULL, said_length, true),
                     0);
    peer_extra_part(peer, payload, length);
}

void peer_send(struct peer *peer) {
    void *socket = zsock_resolve(peer->socket);
    assert_true(zmq_send(socket, peer->route, strlen(peer->route), ZMQ_SNDMORE) >= 0);
    zmq_send(socket, peer->out.data, peer->out.length, peer->part_count > 0 ? ZMQ_SNDMORE : 0);
    for (unsigned i = 0; i < peer->part_count; i++)
        zmq_send(socket, peer->parts[i].data, peer->parts[i].length,
                 i + 1 < peer->part_count ? ZMQ_SNDMORE : 0);
    peer->part_count = 0;
    buffer_clear(&peer->out);
}

struct peer *peer_welcomed(struct world *world, const char *gateway) {
    struct peer *peer = peer_create(world);
    cleanup_free char *hello = memory_printf(
        "{\"version\":1,\"capabilities\":[],\"gateway\":\"%s\",\"kernel_id\":\"kernel-1\"}",
        gateway);
    peer_json(peer, LINK_HELLO, 0, 0, hello);
    peer_send(peer);
    peer_expect(peer, LINK_WELCOME, 0);
    return peer;
}

uint64_t peer_attach(struct peer *peer, uint16_t number, const char *session_id, uint64_t window,
                     const char *from, uint64_t *cursor, bool *resumed) {
    cleanup_json json_t *json = json_pack("{s:s?, s:I, s:s}", "session_id", session_id, "window",
                                          (json_int_t)window, "from", from);
    cleanup_free char *text = json_dumps(json, 0);
    peer_json(peer, LINK_ATTACH, number, 0, text);
    peer_send(peer);
    struct inbox_frame *frame = peer_expect(peer, LINK_ATTACHED, number);
    cleanup_json json_t *attached = frame_json(frame);
    const char *said = json_string_value(json_object_get(attached, "session_id"));
    if (session_id != NULL)
        assert_string_equal(said, session_id);
    else
        assert_null(said);
    if (cursor != NULL)
        *cursor = frame->frame.seq;
    if (resumed != NULL)
        *resumed = json_is_true(json_object_get(attached, "resumed"));
    return (uint64_t)json_integer_value(json_object_get(attached, "next_request"));
}

/* --- messages --- */

static struct bytes as_bytes(const char *text) {
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

void make_message(struct buffer *out, enum kernel_channel channel, const char *content,
                  size_t padding) {
    cleanup_free uint8_t *zeros = memory_alloc(padding);
    struct bytes buffer = {zeros, padding};
    assert_int_equal(kernel_message_write(out, channel, as_bytes("{\"msg_id\":\"1\"}"),
                                          as_bytes("{}"), as_bytes("{}"), as_bytes(content),
                                          &buffer, padding > 0),
                     0);
}

uint64_t publish(struct world *world, session_number session, const char *content, size_t padding) {
    cleanup_buffer struct buffer message = {0};
    make_message(&message, CHANNEL_IOPUB, content, padding);
    return link_server_publish(world->server, CHANNEL_IOPUB, session, message.data, message.length);
}

uint64_t publish_now(struct world *world, session_number session, const char *content,
                     size_t padding) {
    uint64_t seq = publish(world, session, content, padding);
    link_server_flush(world->server);
    return seq;
}

int world_setup(void **state) {
    int result = world_create(state);
    if (result == 0)
        world_start(*state, NULL);
    return result;
}

uint64_t peer_request(struct peer *peer, uint16_t attachment, uint64_t number, const char *content,
                      size_t padding) {
    cleanup_buffer struct buffer message = {0};
    make_message(&message, CHANNEL_SHELL, content, padding);
    if (message.length > LINK_INLINE_MAX)
        peer_external(peer, LINK_REQUEST, attachment, number, message.data, message.length,
                      message.length);
    else
        peer_frame(peer, LINK_REQUEST, attachment, number, message.data, message.length);
    peer_send(peer);
    return message.length;
}

void peer_expect_grant(struct peer *peer, uint16_t attachment, uint64_t taken, uint64_t bytes) {
    peer_expect_nothing(peer);
    assert_int_equal(peer->grants[attachment].taken, taken);
    assert_int_equal(peer->grants[attachment].bytes, LINK_GRANT_DEFAULT + bytes);
}

void peer_expect_detached(struct peer *peer, uint16_t attachment, const char *why) {
    struct inbox_frame *frame = peer_expect(peer, LINK_DETACHED, attachment);
    if (strstr(frame_text(frame), why) == NULL)
        fail_msg("%s does not say \"%s\"", frame_text(frame), why);
}
