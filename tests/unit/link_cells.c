#include "link_cells.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WINDOW = 64 << 20 };

struct peer *gateway(struct world *world, const char *name, const char *capabilities) {
    struct peer *peer = peer_create(world);
    cleanup_free char *hello =
        memory_printf("{\"version\":1,\"capabilities\":[%s],\"gateway\":\"%s\","
                      "\"kernel_id\":\"kernel-1\"}",
                      capabilities, name);
    peer_json(peer, LINK_HELLO, 0, 0, hello);
    peer_send(peer);
    peer_expect(peer, LINK_WELCOME, 0);
    return peer;
}

uint64_t attach(struct peer *peer, uint16_t number, const char *session, int unsure_ms,
                bool rebuild) {
    cleanup_free char *text = memory_printf(
        "{\"session_id\": \"%s\", \"window\": %d, \"from\": \"cursor\", \"rebuild\": %s, "
        "\"unsure_ms\": %d}",
        session, WINDOW, rebuild ? "true" : "false", unsure_ms);
    peer_json(peer, LINK_ATTACH, number, 0, text);
    peer_send(peer);
    return peer_expect(peer, LINK_ATTACHED, number)->frame.seq;
}

void detach(struct peer *peer, uint16_t number, const char *ending) {
    peer_json(peer, LINK_DETACH, number, 0, ending);
    peer_send(peer);
    peer_expect_nothing(peer);
}

void ack(struct peer *peer, uint16_t number, uint64_t seq) {
    peer_u64(peer, LINK_ACK, number, seq, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
}

void ack_sure(struct peer *peer, uint16_t number, uint64_t seq, uint64_t sure) {
    uint8_t payload[LINK_ACK_SIZE];
    peer_frame(peer, LINK_ACK, number, seq, payload, link_ack_write(payload, 0, sure));
    peer_send(peer);
    peer_expect_nothing(peer);
}

void pass_over(struct peer *peer, unsigned count) {
    while (count-- > 0)
        peer_next(peer);
}

/* A message of cell `cell` ('a' ...) from the kernel. */
uint64_t say_to(struct world *world, session_number session, enum kernel_channel channel, char cell,
                const char *type, const char *content, size_t padding) {
    cleanup_buffer struct buffer message = {0};
    cleanup_free char *header =
        memory_printf("{\"msg_id\":\"m\",\"msg_type\":\"%s\",\"session\":\"kernel's\"}", type);
    cleanup_free char *parent =
        memory_printf("{\"msg_id\":\"cell %c\",\"msg_type\":\"execute_request\"}", cell);
    cleanup_free uint8_t *zeros = memory_alloc(padding + 1);
    struct bytes buffer = {zeros, padding};
    assert_int_equal(kernel_message_write(&message, channel, bytes_of_text(header),
                                          cell ? bytes_of_text(parent) : bytes_of_text("{}"),
                                          bytes_of_text("{}"), bytes_of_text(content), &buffer,
                                          padding > 0),
                     0);
    uint64_t seq =
        link_server_publish(world->server, channel, session, message.data, message.length);
    link_server_flush(world->server);
    return seq;
}

uint64_t say(struct world *world, char cell, const char *type, const char *content) {
    return say_to(world, 0, CHANNEL_IOPUB, cell, type, content, 0);
}

uint64_t status(struct world *world, char cell, const char *execution_state) {
    cleanup_free char *content = memory_printf("{\"execution_state\":\"%s\"}", execution_state);
    return say(world, cell, "status", content);
}

session_number number_of(struct world *world, const char *id) {
    const struct link_session *session = map_get(world->server->sessions, id);
    assert_non_null(session);
    return session->number;
}

/* The next message is this one: as a repeat or in its place in the stream. */
void expect(struct peer *peer, uint16_t number, bool is_repeat, uint64_t seq, char cell,
            const char *type) {
    char text[64], wanted[16];
    struct inbox_frame *frame = peer_expect(peer, LINK_MESSAGE, number);
    struct kernel_message message;
    assert_int_equal(kernel_message_parse(frame->payload, frame->frame.length, &message, NULL), 0);
    assert_true(json_scan_text(message.header, "msg_type", text, sizeof text) > 0);
    assert_string_equal(text, type);
    assert_int_equal(!!(frame->frame.flags & LINK_FLAG_REPEAT), is_repeat);
    assert_int_equal(frame->frame.seq, seq);
    assert_true(json_scan_text(message.header, "session", text, sizeof text) > 0);
    assert_string_equal(text, "kernel's");
    if (cell == 0)
        return;
    snprintf(wanted, sizeof wanted, "cell %c", cell);
    assert_true(json_scan_text(message.parent_header, "msg_id", text, sizeof text) > 0);
    assert_string_equal(text, wanted);
}

/* busy and two lines: 1, 2, 3 of cell a, all received. */
struct peer *begin(struct world *world, int unsure_ms) {
    struct peer *peer = gateway(world, "g", "\"rebuild\"");
    attach(peer, 1, "s", unsure_ms, true);
    status(world, 'a', "busy");
    say(world, 'a', "stream", "{}");
    say(world, 'a', "stream", "{}");
    for (int i = 0; i < 3; i++)
        peer_expect(peer, LINK_MESSAGE, 1);
    return peer;
}
