/* What the files of the link server share. link_socket.c: where it listens. link_server.c: what
 * comes in, deadlines.
 * link_peers.c: connections and what goes out. link_sessions.c: sessions, attachments, cursors and
 * windows. link_rebuild.c: what is unsure after a break, and the cells shown anew for it.
 * link_requests.c: client messages and their credit. link_commands.c: commands and their results.
 *
 * Messages are never queued: an attachment is a place in the journal, and sending goes on from
 * there when there is credit and the pipe takes it. Only control frames wait in memory, up to a
 * limit. What is gone is freed at the end of the turn, so that a callback may end anything. */
#pragma once

#include "base/buffer.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "launcher/cells.h"
#include "launcher/cursor_trail.h"
#include "launcher/journal.h"
#include "launcher/link.h"
#include "launcher/link_server.h"
#include "launcher/link_terms.h"
#include "launcher/session_file.h"

#include <zmq.h>

enum {
    SERVER_PEERS_MAX = 64,
    SERVER_ROUTE_MAX = 255,
    SERVER_NONCE_MAX = 128,
    SERVER_CONTROL_QUEUE_MAX = 32 << 20, /* control frames that wait for one full pipe */
    SERVER_CONTROL_JSON_MAX = 64 << 20,  /* payload of a COMMAND */
    SERVER_SMALL_JSON_MAX = 64 << 10,    /* of HELLO and ATTACH */
    SERVER_ATTACHMENTS_MAX = 16384,
    SERVER_SESSIONS_MAX = 1000,
    SERVER_WINDOW_MAX = 64 << 20,
    SERVER_QUEUE_MAX =
        64 << 20, /* bytes of client messages that wait for the kernel, of all clients */
    SERVER_COMMANDS_MAX = 64,
    SERVER_RESULTS_BYTES_MAX = 1 << 20, /* remembered */
    SERVER_COMMAND_ID_MAX = 128,
    SERVER_WAITERS_MAX = 8,
    SERVER_JOURNAL_BYTES_MAX = 16 << 20, /* of one answer to `journal` */
    SERVER_RETRY_MS = 10,
    SERVER_GRANT_DELAY_MS = 20,
    SERVER_ANNOUNCED_MAX = 1000,
    SERVER_ANNOUNCED_BYTES_MAX = 1 << 20,
    SERVER_ANNOUNCED_GRACE_MS = 15000, /* a gateway may be connecting again */
    SERVER_ANNOUNCED_ASKED_MS = 3000,  /* to answer, while another one has the session */
    SERVER_REST_MS = 5000,
    SESSION_SKIPPED_MAX = 8,
};

struct server_deadline {
    struct heap_node node;
    void (*due)(void *owner, int64_t now_ms);
    void *owner;
};

struct link_attachment;

/* A connection that has said HELLO. */
struct link_peer {
    struct list_node node; /* server.peers, later server.peers_gone */
    struct link_server *server;
    uint8_t route[SERVER_ROUTE_MAX];
    size_t route_length;
    char gateway[SERVER_NONCE_MAX + 1];
    uint64_t gateway_hash; /* never 0 */
    struct link_terms terms;
    bool is_gone;
    bool is_blocked; /* batch and parts wait until the pipe takes them */
    bool grants_due; /* an attachment has a GRANT to send, with the next batch or soon */
    bool grants_urgent;
    int64_t heard_ms;
    struct server_deadline silence;
    struct buffer batch;
    zmq_msg_t parts[LINK_EXTERNAL_MAX];
    unsigned part_count;
    size_t named;        /* bytes of the messages that the batch names in the journal's files */
    struct list control; /* struct control_frame, behind a blocked batch */
    size_t control_bytes;
    struct link_attachment **attachments; /* by number */
    size_t attachment_count, attachment_capacity;
};

struct link_session {
    session_number number;
    char *id;                  /* NULL: one attachment's own */
    struct session_slot *slot; /* cursor and the like: what survives us */
    unsigned queued;           /* requests that wait for the kernel */
    struct link_server *server;
    struct cursor_trail trail; /* how far it surely was: never beyond the cursor */
    uint64_t unsure_to;        /* behind the trail, up to here, it may have arrived or not */
    int64_t unsure_ms;         /* the longest of those who were attached since somebody was */
    uint64_t suspect;          /* the message that was under way at the last broken end; 0: none */
    unsigned suspect_ends;     /* and at how many before it, in a row */
    uint64_t skipped[SESSION_SKIPPED_MAX]; /* messages that are not sent to it any more; a ring */
    unsigned skipped_count;
    struct list attachments;
    struct list_node idle; /* server.idle_sessions while nobody is attached, longest first */
    struct server_deadline forget;
};

struct link_attachment {
    struct list_node node; /* session.attachments, later server.attachments_gone */
    struct link_peer *peer;
    struct link_session *session;    /* may be freed before it when gone, unless it is its own */
    struct session_gateway *numbers; /* of the session's slot */
    bool owns_session;
    uint16_t number;
    bool is_gone, grant_due, ack_refused;
    bool may_name;     /* large messages; SEGMENT_CAPABILITY */
    uint64_t position; /* everything in the journal up to it was sent or is not for it */
    uint64_t last_sent;
    uint64_t start;               /* its first position */
    struct link_rebuild *rebuild; /* goes before everything else; NULL: nothing does */
    /* A rebuild was sent, and nothing behind it is acknowledged: it may not have arrived. */
    bool is_unproved;
    uint64_t rebuilt_from; /* what that was unsure behind; UINT64_MAX: none was sent */
    int64_t unsure_ms;     /* what was acknowledged so lately may not have arrived */
    uint64_t sure;         /* up to here the client was there to read; UINT64_MAX: not known */
    uint64_t left;         /* highest seq that may have reached the client; UINT64_MAX: not known */
    struct journal_lost folded;      /* of rows that are told with a later one */
    uint64_t sent, consumed, window; /* payload bytes */
    uint64_t received, accepted;     /* payload bytes of requests */
    uint64_t granted;                /* last GRANT, without the initial one */
};

struct link_server {
    zloop_t *loop;
    zsock_t *socket;
    void *router;             /* the same for zmq_* calls */
    struct link_curve *curve; /* NULL: the link is a socket of this machine */
    struct link_server_events events;
    void *context;
    char *kernel_id;
    char nonce[37];
    const char *const *capabilities; /* that we offer */
    int64_t session_retention_ms;
    uint64_t payload_max;
    struct journal *journal;
    bool told_disk; /* that it is only in memory */
    struct cells *cells;
    unsigned depth; /* of entries from the loop: what is gone is freed when it is 0 again */

    struct list peers, peers_gone;
    size_t peer_count;
    struct list attachments_gone;
    size_t attachment_count;
    int64_t unattached_ms; /* since when it is 0 */
    struct map *sessions;  /* by id */
    struct session_file *session_file;
    struct list idle_sessions;
    session_number last_session;

    struct list queue; /* requests that the kernel does not take yet */
    size_t queue_bytes;
    bool is_draining;

    struct list announced; /* link_announce.c */
    size_t announced_count, announced_bytes;
    bool announced_told;
    struct server_deadline announced_due;

    struct list commands; /* oldest first */
    unsigned command_count;
    size_t result_bytes;

    struct heap deadlines;
    int timer;
    int64_t timer_when_ms;
    struct server_deadline retry, grants, rest;
    uint64_t rest_seen; /* journal_last when rest was set */
    size_t unflushed;
    size_t unflushed_max;
    /* What others can cause at full speed is logged once and counted. */
    uint64_t malformed;     /* batches */
    uint64_t crowded_out;   /* sessions that gave way to others */
    uint64_t requests_lost; /* with a gateway, or given up by it */
    uint64_t requests_late; /* that came after they were answered as lost */
    uint64_t cap_notices;   /* of what the journal's cap took */
    struct buffer scratch;  /* notices */
};

/* link_server.c */
void link_server_set_deadline(struct link_server *server, struct server_deadline *deadline,
                              int64_t when_ms);
void link_server_clear_deadline(struct link_server *server, struct server_deadline *deadline);
/* Carries out what is due at now_ms; the timer's work, and the tests' way through time. */
void link_server_run_deadlines(struct link_server *server, int64_t now_ms);
/* A payload as a JSON object (NUL bytes in texts allowed), a new reference; NULL with the
 * reason. */
json_t *link_server_parse(const uint8_t *payload, size_t length, size_t max, struct error *err);

/* link_socket.c */
int link_server_bind(struct link_server *server, const char *endpoint,
                     const struct link_curve_keys *keys, struct error *err);

/* link_peers.c */
struct link_peer *link_peer_find(struct link_server *server, const void *route, size_t length);
struct link_peer *link_peer_add(struct link_server *server, const void *route, size_t length);
void link_peer_forget(struct link_peer *peer, const char *why);
void link_peers_reap(struct link_server *server);
/* Whether both sides named it in HELLO and WELCOME; name: one of server.capabilities. */
bool link_peer_has_capability(const struct link_peer *peer, const char *name);
/* A frame to a connection without HELLO; lost when its pipe is full. */
void link_peer_send_stray(struct link_server *server, const void *route, size_t length,
                          enum link_type type, uint64_t seq);
/* A control frame: copied, in order, waits if it must. */
void link_peer_emit(struct link_peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
                    const void *payload, size_t length);
void link_peer_emit_json(struct link_peer *peer, enum link_type type, uint16_t attachment,
                         uint64_t seq, const json_t *json);
/* A MESSAGE, if it can go now; false when it has to wait or the peer is gone. record NULL: the
 * bytes are copied, else large ones are lent by the journal, or named if they may be. */
bool link_peer_emit_message(struct link_peer *peer, const struct link_frame *head,
                            const void *payload, const struct journal_record *record,
                            bool may_name);
void link_peer_flush(struct link_peer *peer);

/* link_sessions.c */
struct link_attachment *link_attachment_of(const struct link_peer *peer, uint16_t number);
void link_session_attach(struct link_peer *peer, const struct link_frame *frame,
                         const uint8_t *payload);
void link_session_ack(struct link_peer *peer, const struct link_frame *frame,
                      const uint8_t *payload);
/* reason NULL: the gateway wanted it, else it is told. */
void link_session_detach(struct link_attachment *attachment, const char *reason);
void link_sessions_reap(struct link_server *server);
/* Sends what the journal has for the peer's attachments; false when the pipe is full or the peer
 * gone. */
bool link_sessions_pump(struct link_peer *peer);
void link_sessions_free(struct link_server *server);
/* Those of an earlier launcher, from its file. */
void link_sessions_restore(struct link_server *server);
enum link_step { LINK_STEP_DONE, LINK_STEP_NO_CREDIT, LINK_STEP_BLOCKED };
/* One message, if it can go now; flags: of its frame. record as in link_peer_emit_message. Moves no
 * position. */
enum link_step link_session_emit(struct link_attachment *attachment, uint8_t flags, uint64_t seq,
                                 const void *payload, size_t length,
                                 const struct journal_record *record);
bool link_session_concerns(const struct link_session *session, const struct journal_record *record);
/* A line on stderr in the cell of parent_header (empty: in none), which goes in front of what comes
 * behind seq; into server->scratch. */
int link_session_write_line(struct link_server *server, struct bytes parent_header, uint64_t seq,
                            const char *line);
/* The same in the place of what the cap took. */
int link_session_write_lost(struct link_server *server, struct bytes parent_header, uint64_t seq,
                            struct journal_lost lost);

/* link_rebuild.c */
/* A session begins, or goes on after another launcher's death: up to its slot's `sure` nothing is
 * unsure, what was sent behind it is. */
void link_rebuild_init(struct link_session *session);
/* Of a new client connection, behind ATTACHED. is_known: the session was here before. sure: up to
 * where its other clients at this gateway were there to read; UINT64_MAX: that is not known. */
void link_rebuild_start(struct link_attachment *attachment, bool is_known, uint64_t sure);
/* Goes on with what goes before everything else. */
enum link_step link_rebuild_step(struct link_attachment *attachment);
/* This one's client has acknowledged everything up to seq (0: nothing), or is told to have been
 * there to read; the cursor and `sure` have moved already. */
void link_rebuild_advance(struct link_attachment *attachment, uint64_t seq);
/* DETACH: what the gateway knows of its client's end. */
void link_rebuild_take_ending(struct link_attachment *attachment, const struct link_frame *frame,
                              const uint8_t *payload);
/* The attachment ends: what is unsure from now on. */
void link_rebuild_end(struct link_attachment *attachment);
/* The message ended its connection too often: a notice goes in its place. */
bool link_rebuild_is_skipped(const struct link_session *session, uint64_t seq);
int link_rebuild_write_skipped(struct link_server *server, const struct journal_record *record);

/* link_requests.c */
void link_request_take(struct link_attachment *attachment, const struct link_frame *frame,
                       const uint8_t *payload);
void link_requests_drain(struct link_server *server);
void link_requests_orphan(struct link_attachment *attachment); /* it goes, its requests stay */
void link_requests_emit_grants(struct link_peer *peer);
void link_requests_free(struct link_server *server);

/* link_announce.c */
void link_announce_take(struct link_attachment *attachment, const struct link_frame *frame,
                        const uint8_t *payload);
/* A request has come. False: it was given up for lost and answered, so it must not run. */
bool link_announce_came(const struct link_attachment *attachment,
                        const struct kernel_message *message);
void link_announce_gateway_gone(struct link_server *server, uint64_t gateway);
void link_announce_gateway_back(struct link_server *server, uint64_t gateway);
/* The session's client may have gone over to this gateway. */
void link_announce_attached(const struct link_attachment *attachment);
void link_announce_free(struct link_server *server);

/* link_commands.c */
void link_command_take(struct link_peer *peer, const struct link_frame *frame,
                       const uint8_t *payload);
void link_commands_forget_peer(struct link_server *server, const struct link_peer *peer);
void link_commands_free(struct link_server *server);
