/* What test_links.c and test_link_attachments.c run on: a link client on a loop, and a launcher
 * written by hand beside it. */
#pragma once

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "gateway/links.h"
#include "gateway/links_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define KERNEL "11111111-2222-4333-8444-555555555555"
#define OTHER  "99999999-2222-4333-8444-555555555555"

enum { FRAMES_MAX = 4096, PATIENCE_MS = 10000 };

struct heard {
    uint8_t type;
    uint16_t attachment;
    uint64_t seq;
    char *payload;
    size_t length;
    bool external;
};

struct client {
    struct attachment *attachment;
    int attached, granted, detached, messages, repeats;
    bool anew;
    uint64_t cursor, last_seq;
    size_t bytes;
    char text[64];
    struct link_payload kept;
};

struct fixture {
    char directory[64];
    char *endpoint;
    struct loop *loop;
    struct links *links;
    struct link *link;
    struct loop_deadline tick;
    int ticks;
    bool (*until)(struct fixture *fixture);
    bool deaf;             /* the peer does not read */
    bool rebuilds;         /* and offers to */
    const char *numbering; /* which its journal has */

    void *zmq, *peer;
    char route[16]; /* of the connection that spoke last */
    size_t route_length;
    struct heard heard[FRAMES_MAX];
    size_t heard_count, looked;

    int welcomed, lost, statuses, exits;
    char status_phase[32], record_name[32];

    int results;
    char result[1024];
    enum error_code result_code;
    bool in_call;
    struct client a, b;
};

/* The peer. */

static void peer_open(struct fixture *f) {
    f->peer = zmq_socket(f->zmq, ZMQ_ROUTER);
    int zero = 0, few = 4;
    zmq_setsockopt(f->peer, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(f->peer, ZMQ_RCVHWM, &few, sizeof few);
    assert_int_equal(zmq_bind(f->peer, f->endpoint), 0);
}

static void peer_hear(struct fixture *f) {
    for (;;) {
        zmq_msg_t parts[70];
        int count = 0, more = 1;
        while (more) {
            zmq_msg_init(&parts[count]);
            if (zmq_msg_recv(&parts[count], f->peer, ZMQ_DONTWAIT) < 0)
                return;
            more = zmq_msg_more(&parts[count++]);
        }
        f->route_length = zmq_msg_size(&parts[0]);
        assert_true(f->route_length < sizeof f->route);
        memcpy(f->route, zmq_msg_data(&parts[0]), f->route_length);
        size_t at = 0;
        int part = 2;
        struct link_frame frame;
        assert_true(zmq_msg_size(&parts[1]) <= LINK_BATCH_MAX);
        while (link_frame_next(zmq_msg_data(&parts[1]), zmq_msg_size(&parts[1]), &at, &frame,
                               NULL) > 0) {
            assert_true(f->heard_count < FRAMES_MAX);
            struct heard *heard = &f->heard[f->heard_count++];
            const void *payload = frame.payload;
            *heard = (struct heard){.type = frame.type,
                                    .attachment = frame.attachment,
                                    .seq = frame.seq,
                                    .length = frame.length,
                                    .external = frame.flags & LINK_FLAG_EXTERNAL};
            if (heard->external) {
                assert_true(part < count);
                assert_int_equal(zmq_msg_size(&parts[part]), frame.length);
                payload = zmq_msg_data(&parts[part++]);
            }
            heard->payload = memory_alloc(frame.length + 1);
            if (frame.length > 0)
                memcpy(heard->payload, payload, frame.length);
        }
        assert_int_equal(part, count);
        for (int i = 0; i < count; i++)
            zmq_msg_close(&parts[i]);
    }
}

static void peer_send_parts(struct fixture *f, const struct buffer *batch, const void *external,
                            size_t length) {
    assert_true(zmq_send(f->peer, f->route, f->route_length, ZMQ_SNDMORE) >= 0);
    assert_true(zmq_send(f->peer, batch->data, batch->length, external ? ZMQ_SNDMORE : 0) >= 0);
    if (external != NULL)
        assert_true(zmq_send(f->peer, external, length, 0) >= 0);
}

static void peer_say_bytes(struct fixture *f, enum link_type type, uint16_t attachment,
                           uint64_t seq, const void *payload, size_t length) {
    cleanup_buffer struct buffer batch = {0};
    bool external = length > LINK_INLINE_MAX;
    assert_int_equal(link_frame_write(&batch, type, attachment, seq, payload, length, external), 0);
    peer_send_parts(f, &batch, external ? payload : NULL, length);
}

static void peer_say(struct fixture *f, enum link_type type, uint16_t attachment, uint64_t seq,
                     const char *text) {
    peer_say_bytes(f, type, attachment, seq, text, strlen(text));
}

static void peer_welcome_as(struct fixture *f, const char *nonce, const char *kernel_id,
                            uint64_t seq) {
    cleanup_free char *text = memory_printf(
        "{\"version\": 1, \"capabilities\": [\"later\", \"announce\", \"sure\"%s], \"launcher\": "
        "\"%s\", "
        "\"kernel_id\": \"%s\", \"record\": {\"name\": \"python3\", \"numbering\": \"%s\"}, "
        "\"status\": {\"phase\": \"ready\"}}",
        f->rebuilds ? ", \"rebuild\"" : "", nonce, kernel_id, f->numbering);
    peer_say(f, LINK_WELCOME, 0, seq, text);
}

static void peer_welcome(struct fixture *f, const char *kernel_id, uint64_t seq) {
    peer_welcome_as(f, "n1", kernel_id, seq);
}

/* Running the loop until something is so. */

static void on_tick(void *context) {
    struct fixture *f = context;
    if (!f->deaf)
        peer_hear(f);
    if (f->until(f) || ++f->ticks > PATIENCE_MS) {
        loop_stop(f->loop);
        return;
    }
    loop_deadline_set(f->loop, &f->tick, 1);
}

static void run_until(struct fixture *f, bool (*until)(struct fixture *f)) {
    f->until = until;
    f->ticks = 0;
    f->tick = (struct loop_deadline){.run = on_tick, .context = f};
    loop_deadline_set(f->loop, &f->tick, 0);
    loop_run(f->loop);
    assert_true(f->ticks <= PATIENCE_MS);
}

static uint8_t wanted_type;
static const struct heard *found;

static bool heard_type(struct fixture *f) {
    for (; f->looked < f->heard_count; f->looked++) {
        if (f->heard[f->looked].type != wanted_type)
            continue;
        found = &f->heard[f->looked++];
        return true;
    }
    return false;
}

/* The next frame of that type; those before it are passed over. */
static const struct heard *expect(struct fixture *f, enum link_type type) {
    wanted_type = (uint8_t)type;
    run_until(f, heard_type);
    return found;
}

static bool never(struct fixture *f) {
    return f->ticks >= 30;
}

/* Lets what is under way arrive. A grace for what must not happen; nothing that has to happen
 * depends on it. */
static void settle(struct fixture *f) {
    run_until(f, never);
}

static bool has_member(const struct heard *heard, const char *member, const char *value) {
    cleanup_json json_t *json = json_loadb(heard->payload, heard->length, 0, NULL);
    assert_true(json_is_object(json));
    const json_t *found_value = json_object_get(json, member);
    if (value == NULL)
        return json_is_null(found_value);
    return json_is_string(found_value) && strcmp(json_string_value(found_value), value) == 0;
}

static uint64_t number_of(const struct heard *heard) {
    assert_int_equal(heard->length, 8);
    struct link_frame frame = {.length = 8};
    uint64_t value;
    assert_int_equal(link_u64_read(&frame, (const uint8_t *)heard->payload, &value), 0);
    return value;
}

/* What the link tells. */

static void on_welcomed(void *context, const json_t *record, const json_t *status) {
    struct fixture *f = context;
    f->welcomed++;
    snprintf(f->record_name, sizeof f->record_name, "%s",
             json_string_value(json_object_get(record, "name")));
    snprintf(f->status_phase, sizeof f->status_phase, "%s",
             json_string_value(json_object_get(status, "phase")));
}
static void on_lost(void *context) {
    ((struct fixture *)context)->lost++;
}
static void on_status(void *context, const json_t *status) {
    struct fixture *f = context;
    f->statuses++;
    snprintf(f->status_phase, sizeof f->status_phase, "%s",
             json_string_value(json_object_get(status, "phase")));
}
static void on_exited(void *context, const json_t *report) {
    assert_true(json_is_object(report));
    ((struct fixture *)context)->exits++;
}
static const struct link_events link_events = {on_welcomed, on_lost, on_status, on_exited};

static void on_attached(void *context, uint64_t cursor, bool anew) {
    struct client *client = context;
    client->attached++;
    client->cursor = cursor;
    client->anew = anew;
}
static void on_message(void *context, uint64_t seq, const struct link_payload *payload,
                       bool is_repeat) {
    struct client *client = context;
    client->messages++;
    client->repeats += is_repeat;
    client->last_seq = seq;
    client->bytes += payload->length;
    snprintf(client->text, sizeof client->text, "%.*s", (int)payload->length,
             (const char *)payload->data);
    if (strcmp(client->text, "hello") == 0) {
        client->kept = *payload;
        link_payload_retain(payload);
    }
}
static void on_granted(void *context) {
    ((struct client *)context)->granted++;
}
static void on_detached(void *context, const char *reason) {
    assert_non_null(reason);
    ((struct client *)context)->detached++;
}
static const struct attachment_events attachment_events = {on_attached, on_message, on_granted,
                                                           on_detached};

static void on_result(void *context, const json_t *result, const struct error *err) {
    struct fixture *f = context;
    assert_false(f->in_call);
    f->results++;
    f->result_code = err ? err->code : ERROR_NONE;
    const char *text = err ? err->text : json_string_value(json_object_get(result, "text"));
    snprintf(f->result, sizeof f->result, "%s", text ? text : "");
}

/* Set-up. */

static int setup(void **state) {
    struct fixture *f = memory_alloc(sizeof *f);
    snprintf(f->directory, sizeof f->directory, "/tmp/test-links-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->endpoint = memory_printf("ipc://%s/link", f->directory);
    f->numbering = "first";
    f->zmq = zmq_ctx_new();
    peer_open(f);
    f->loop = loop_create();
    assert_int_equal(links_create(f->loop, &f->links, NULL), 0);
    const struct provision_address address = {.endpoint = f->endpoint};
    assert_int_equal(link_open(f->links, KERNEL, &address, &link_events, f, &f->link, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    links_destroy(f->links);
    loop_destroy(f->loop);
    zmq_close(f->peer);
    zmq_ctx_term(f->zmq);
    for (size_t i = 0; i < f->heard_count; i++)
        free(f->heard[i].payload);
    file_remove_tree(f->directory, NULL);
    free(f->endpoint);
    free(f);
    return 0;
}

static bool is_up(struct fixture *f) {
    return link_is_up(f->link);
}

static void come_up(struct fixture *f) {
    expect(f, LINK_HELLO);
    peer_welcome(f, KERNEL, 3);
    run_until(f, is_up);
}

#define wish_of(id)                                                                                \
    ((struct attachment_wish){.session_id = (id),                                                  \
                              .window = 1 << 20,                                                   \
                              .from_cursor = true,                                                 \
                              .unsure_ms = 7,                                                      \
                              .sure = UINT64_MAX})

static bool both_attached(struct fixture *f) {
    return f->a.attached > 0 && (f->b.attachment == NULL || f->b.attached > 0);
}

static uint16_t attach(struct fixture *f, struct client *client, const char *session) {
    assert_int_equal(attachment_open(f->link, &wish_of(session), &attachment_events, client,
                                     &client->attachment, NULL),
                     0);
    const struct heard *heard = expect(f, LINK_ATTACH);
    assert_true(has_member(heard, "session_id", session));
    uint16_t number = heard->attachment;
    peer_say(f, LINK_ATTACHED, number, 3, "{\"resumed\": false, \"next_request\": 1}");
    run_until(f, both_attached);
    return number;
}
