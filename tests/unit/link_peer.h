/* A gateway written by hand, for tests of the link server: one ROUTER, batches made frame by frame,
 * an inbox of what came. */
#pragma once

#include "base/buffer.h"
#include "launcher/link.h"
#include "launcher/link_server_internal.h"

#include <czmq.h>

enum { INBOX_MAX = 1 << 17, OUT_PARTS_MAX = 70, PEER_GRANTS_MAX = 16 };

struct inbox_frame {
    struct link_frame frame;
    uint8_t *payload; /* with a NUL behind it */
    bool external;
    unsigned batch; /* the how-manieth message it came in */
};

/* The server and the kernel's side of it. */
struct world {
    zloop_t *loop;
    char directory[64];
    char endpoint[128];
    struct link_server *server;
    bool is_ready;       /* request() takes */
    unsigned disks_full; /* how often that was said */
    unsigned attendances;
    unsigned request_count, wanted_requests, refused_count;
    session_number request_session[4096];
    char request_text[4096][64]; /* content */
    unsigned lost;
    session_number lost_session;
    char lost_header[128];
    bool answers_at_once;
    unsigned command_count;
    char command_name[64][32];
    struct link_command *command[64];
    bool timed_out;
    struct peer *waiting;
    unsigned peers;
};

struct peer {
    struct world *world;
    zsock_t *socket;
    char route[32];
    struct buffer out;
    struct bytes parts[OUT_PARTS_MAX];
    unsigned part_count;
    struct inbox_frame *inbox;
    size_t inbox_count, inbox_at;
    unsigned batches;
    uint64_t ping;
    /* GRANTs are set aside: they ride with whatever is sent. The last one of each attachment. */
    struct {
        uint64_t taken, bytes;
        unsigned batch, count;
    } grants[PEER_GRANTS_MAX];
};

int world_create(void **state);
int world_destroy(void **state);
void world_start(struct world *world, const struct link_server_settings *overrides);
int world_setup(void **state); /* both, with the settings as they are */

void world_run_until_request(struct world *world, unsigned count);

struct peer *peer_create(struct world *world);                        /* connected, silent */
struct peer *peer_welcomed(struct world *world, const char *gateway); /* has said HELLO */
void peer_destroy(struct peer *peer);

void peer_frame(struct peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
                const void *payload, size_t length);
void peer_json(struct peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
               const char *json);
void peer_u64(struct peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
              uint64_t value);
void peer_external(struct peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
                   const void *payload, size_t length, size_t said_length);
void peer_extra_part(struct peer *peer, const void *payload, size_t length);
void peer_send(struct peer *peer); /* what was written as one batch */

/* The next frame; fails the test when none comes in time. */
struct inbox_frame *peer_next(struct peer *peer);
struct inbox_frame *peer_expect(struct peer *peer, enum link_type type, uint16_t attachment);
/* Nothing but what was read has come: a PING overtakes nothing. */
void peer_expect_nothing(struct peer *peer);
/* The last GRANT says so: it rides with the PONG. Bytes: beyond what is granted from the start. */
void peer_expect_grant(struct peer *peer, uint16_t attachment, uint64_t taken, uint64_t bytes);
void peer_expect_detached(struct peer *peer, uint16_t attachment, const char *why);
/* The next GRANT that says so; the test fails when none comes in time. */
void peer_wait_grant(struct peer *peer, uint16_t attachment, uint64_t taken, uint64_t bytes);
const char *frame_text(const struct inbox_frame *frame);
uint64_t frame_u64(const struct inbox_frame *frame);
json_t *frame_json(const struct inbox_frame *frame);

/* ATTACH and its ATTACHED. Returns next_request. */
uint64_t peer_attach(struct peer *peer, uint16_t number, const char *session_id, uint64_t window,
                     const char *from, uint64_t *cursor, bool *resumed);

/* Sends one client message under this number; returns its length. */
uint64_t peer_request(struct peer *peer, uint16_t attachment, uint64_t number, const char *content,
                      size_t padding);

/* A kernel message with this content. */
void make_message(struct buffer *out, enum kernel_channel channel, const char *content,
                  size_t padding);
uint64_t publish(struct world *world, session_number session, const char *content, size_t padding);
uint64_t publish_now(struct world *world, session_number session, const char *content,
                     size_t padding); /* and flushes */
