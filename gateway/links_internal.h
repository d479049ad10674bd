/* What the files of the link client share. links.c: socket, connections, what comes in.
 * link_send.c: what goes out. link_dispatch.c: frames. link_attachments.c: client streams, their
 * sessions and requests. link_announce.c: requests that may be lost. link_commands.c: commands.
 *
 * Sending is driven by state, not by queues of bytes: every object knows what the launcher has yet
 * to hear of it, the end of the turn writes that into batches. A break then only means that more is
 * unsaid. */
#pragma once

#include "base/buffer.h"
#include "base/list.h"
#include "base/map.h"
#include "gateway/links.h"
#include "launcher/link.h"
#include "launcher/link_terms.h"

#include <zmq.h>

struct link_batch {
    unsigned references;
    zmq_msg_t message;
};

/* One message being built: the batch part and what travels beside it. */
struct link_outgoing {
    struct buffer batch;
    zmq_msg_t parts[LINK_EXTERNAL_MAX];
    unsigned part_count;
};

struct links {
    struct loop *loop;
    void *zmq;
    void *router;
    struct event *readable;
    struct map *by_route; /* routing id -> link */
    struct list all;
    struct list flushing; /* links that have something to say */
    struct list stalled;  /* links whose pipe is full */
    struct list ended;    /* closed links, freed after the turn */
    struct list attachments_ended;
    struct list commands_ended;
    struct loop_task turn;
    struct loop_task reap;
    struct loop_deadline retry;
    struct link_outgoing out; /* scratch, empty between links */
    uint64_t generation;
    uint64_t malformed;
    char nonce[37];
    const char *const *capabilities; /* that we offer */
};

enum link_state {
    LINK_STATE_HELLO, /* WELCOME is awaited */
    LINK_STATE_UP,
    LINK_STATE_REFUSED, /* somebody else's launcher: tried again later */
    LINK_STATE_CLOSED,
};

/* For CURVE, as libzmq takes them. */
struct link_keys {
    uint8_t server[32], own_public[32], own_secret[32];
};

struct link {
    struct links *links;
    struct list_node node;       /* links.all, later links.ended */
    struct list_node flush;      /* links.flushing or links.stalled */
    struct link_outgoing *stash; /* a message that the full pipe refused */
    char *kernel_id;
    char *endpoint;
    char *journal; /* directory of files that we read; NULL: they are elsewhere, or it failed */
    struct link_keys *keys; /* NULL: no CURVE */
    char *route;            /* NULL: not connected */
    char *launcher_nonce;
    char *numbering; /* which numbers of messages are meant; NULL: its launcher does not say */
    struct link_terms terms; /* of the last WELCOME */
    struct link_events events;
    void *context;
    enum link_state state;
    bool hello_due, ping_due, pong_due, reset_due;
    bool malformed_logged, unreadable_logged, refusal_logged;
    bool is_holding;     /* requests that come now wait until it ends */
    unsigned unanswered; /* HELLOs and PINGs since anything was heard */
    uint64_t pong_seq, ping_seq;
    uint64_t journal_last;
    int64_t heard_ms;
    struct loop_deadline check;

    struct list commands;
    unsigned command_count;
    uint64_t command_number;

    struct list sessions;
    struct list work;          /* attachments that have something to say */
    struct attachment **slots; /* by number & (slot_count - 1): no two share a slot */
    size_t slot_count, attachment_count, lingering;
    uint16_t next_number;
};

/* A client's session on this link. Its attachments share one numbering of requests. */
struct link_session {
    struct list_node node;
    char *id; /* NULL: one attachment's own */
    unsigned attachments;
    unsigned attaching; /* of those, how many wait for ATTACHED */
    uint64_t next_number;
    struct list sent; /* numbered, in order, until taken */
    bool resend;      /* some of `sent` have to go out again */
};

struct link_request {
    struct list_node node; /* attachment.queue, then session.sent */
    struct attachment *attachment;
    uint64_t number;
    bool in_flight;
    bool is_announced;
    bool is_held; /* came while the link was holding */
    size_t length;
    zmq_msg_t message;
};

enum attachment_state { ATTACHMENT_DUE, ATTACHMENT_ASKED, ATTACHMENT_ATTACHED, ATTACHMENT_ENDED };

struct attachment {
    struct link *link;
    struct link_session *session;
    struct list_node work; /* link.work, later links.attachments_ended */
    uint16_t number;
    enum attachment_state state;
    bool from_cursor, closing, ack_due, was_attached;
    bool is_given_up; /* nothing more of it goes to the kernel; the launcher answers it */
    bool rebuilding; /* a rebuild was asked for; it is complete when a message behind it has come */
    bool has_ending;
    bool renumbered; /* the journal began again, and ATTACHED did not come yet */
    bool is_unnamed; /* a message that was only named could not be read: none is from now on */
    size_t window;
    int64_t unsure_ms;
    uint64_t sure; /* for the first ATTACH */
    struct attachment_ending ending;
    struct attachment_events events;
    void *context;

    /* towards the client */
    uint64_t last_seq;      /* handed on */
    uint64_t seen_seq;      /* received since ATTACH, repeated ones too */
    uint64_t delivered;     /* cursor */
    uint64_t heard;         /* where that was when it was last heard; UINT64_MAX: not known */
    uint64_t received;      /* payload bytes handed on, ever */
    uint64_t received_base; /* of those, before the latest ATTACH */
    uint64_t skipped;       /* repeated payload bytes since the latest ATTACH */
    uint64_t consumed;      /* as the owner counts: of `received` */

    /* towards the kernel, since the latest ATTACH */
    struct list queue;
    uint64_t queued_bytes, sent_bytes, granted_bytes;
    unsigned outstanding; /* in session.sent */
};

enum {
    LINK_COMMANDS_MAX = 256, /* on one link */
    LINK_LINGERING_MAX = 16, /* closed attachments whose requests were not taken yet */
    LINK_CONTROL_MAX = 64 << 20,
};

/* links.c */
void link_wake(struct link *link); /* it has something to say at the end of the turn */
void link_reconnect(struct link *link);
void link_say_hello(struct link *link);
void link_refuse(struct link *link);                    /* a launcher of another kernel */
struct link_batch *link_batch_take(zmq_msg_t *message); /* moves it */

/* link_send.c */
enum link_sent { LINK_SENT, LINK_FULL, LINK_UNREACHABLE };
/* Frames of what is due; LINK_FULL keeps the rest for later. */
enum link_sent link_flush(struct link *link);
enum link_sent link_emit(struct link *link, enum link_type type, uint16_t attachment, uint64_t seq,
                         const void *payload, size_t length);
/* The same with a payload that is shared, not copied, when it is large. */
enum link_sent link_emit_message(struct link *link, enum link_type type, uint16_t attachment,
                                 uint64_t seq, zmq_msg_t *message);
void link_outgoing_clear(struct link_outgoing *out);

/* Optional features of this side. */
extern const char *const link_capabilities[];
/* link_dispatch.c: one message's parts, already without the routing id. The parts' ownership
 * moves. */
/* Returns the bytes that were read from the journal's files. */
size_t link_dispatch(struct link *link, zmq_msg_t *parts, unsigned count);

/* link_attachments.c */
struct attachment *link_attachment_find(const struct link *link, uint16_t number);
/* ATTACHes it anew, from its cursor; nothing is only named to it any more. */
void link_attachment_again(struct attachment *attachment);
void link_attachments_forget(struct link *link);   /* the launcher knows of none any more */
void link_attachments_renumber(struct link *link); /* the journal began again */
void link_attachments_end(struct link *link, const char *reason);
void link_attachments_give_up(struct link *link);
enum link_sent link_attachments_flush(struct link *link);
void attachment_on_attached(struct attachment *attachment, const struct link_frame *frame,
                            const uint8_t *payload);
void attachment_on_detached(struct attachment *attachment, const uint8_t *payload, size_t length);
void attachment_on_message(struct attachment *attachment, const struct link_frame *frame,
                           const struct link_payload *payload);
void attachment_on_grant(struct attachment *attachment, const struct link_frame *frame,
                         const uint8_t *payload);
void link_attachments_reap(struct links *links);

/* link_announce.c */
void link_request_free(struct link_request *request);
/* What the launcher does not take yet: should we be lost with it, somebody has to tell its
 * cells. */
enum link_sent link_announce_queue(const struct attachment *attachment);
/* For one that is_given_up: its requests that did not go out are answered by the launcher. */
enum link_sent link_announce_given_up(struct attachment *attachment);

/* link_commands.c */
void link_commands_forget(struct link *link);
void link_commands_end(struct link *link);
enum link_sent link_commands_flush(struct link *link);
void link_on_result(struct link *link, uint64_t number, const uint8_t *payload, size_t length);
void link_commands_reap(struct links *links);
