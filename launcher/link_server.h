/* The launcher's side of the kernel link (docs/link-protocol.md): the ROUTER socket, who is
 * connected, sessions with their cursors, credit both ways, the journal behind it. It knows nothing
 * of processes or Jupyter sockets: launcher.c joins the two. */
#pragma once

#include "base/error.h"
#include "launcher/journal.h"
#include "launcher/kernel_message.h"
#include "launcher/link_curve.h"
#include "launcher/request_notes.h"

#include <czmq.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link_server;
struct link_command; /* one COMMAND that waits for its RESULT */

/* A session by number: stable for the launcher's life, never reused. 0 = nobody in particular. An
 * attachment without a session_id has a number of its own. */
typedef uint32_t session_number;

struct link_server_events {
    /* A client message in kernel_message.h's layout, taken exactly once. Return false to leave it
     * and all later ones queued (the kernel is not ready): they come again, in order, after
     * link_server_resume. */
    bool (*request)(void *context, session_number session, const void *message, size_t length);
    /* interrupt, restart, shutdown, signal, record_get, record_set, logs, resources, activity,
     * keep: answer with
     * link_server_result, now or later. journal, inject and repeated ids are answered before they
     * get here. */
    void (*command)(void *context, const char *name, const json_t *members,
                    struct link_command *command);
    json_t *(*record)(void *context); /* for WELCOME; a new reference */
    json_t *(*status)(void *context); /* for WELCOME; a new reference */
    /* Messages are only in memory from now on, and why (an errno). Said once in the server's life,
     * behind what was published last. May be NULL. */
    void (*disk_full)(void *context, int disk_errno);
    /* An execute_request of this header was lost with the gateway that had it: it is to be
     * answered. May be NULL. */
    void (*lost)(void *context, session_number session, struct bytes header);
    /* A gateway asks whether anybody is there: in quiet times that is now and then. May be NULL. */
    void (*asked)(void *context);
    /* The first attachment has come, or the last one gone. May be NULL; may not call back. */
    void (*attended)(void *context);
};

struct link_server_settings {
    const char *kernel_id;
    const char *endpoint;               /* ipc:///..., or tcp:// for a pod */
    const struct link_curve_keys *keys; /* NULL: in the clear, which only ipc may be */
    const char *journal_directory;      /* made if missing */
    const char *session_path; /* launcher/session_file.h; NULL: sessions end with the server */
    int64_t journal_bytes;
    int64_t session_retention_ms;
    int64_t payload_max; /* largest message taken from a gateway */
};

int link_server_create(zloop_t *loop, const struct link_server_settings *settings,
                       const struct link_server_events *events, void *context,
                       struct link_server **ret, struct error *err);
void link_server_destroy(struct link_server **server);

/* Journals one message and sends it on: session 0 = to all, else only to that one. Returns its seq.
 * message is in kernel_message.h's layout. */
uint64_t link_server_publish(struct link_server *server, enum kernel_channel channel,
                             session_number session, const void *message, size_t length);
/* The requests that an earlier launcher took and did not answer; see request_notes.h. The calls
 * must not publish. */
void link_server_walk_notes(const struct link_server *server, request_note_waiting *waiting,
                            request_note_waiting *last, void *context);
/* Takes requests again after request() returned false. */
void link_server_resume(struct link_server *server);
/* To every connected gateway, in order with the messages published before. Trees are borrowed. */
void link_server_status(struct link_server *server, json_t *status);
void link_server_exit(struct link_server *server, json_t *report);
/* result: stolen tree without "ok", or NULL for none; err not NULL: failed. */
void link_server_result(struct link_command *command, json_t *result, const struct error *err);
/* Sends what is queued in batches; call once at the end of each turn that published. Automatic for
 * what the server itself received. */
void link_server_flush(struct link_server *server);
/* Since when nobody is attached, on clock_monotonic_ms; -1 while somebody is. */
int64_t link_server_unattached_since(const struct link_server *server);
/* Some client has been attached, ever. */
bool link_server_was_attached(const struct link_server *server);
uint64_t
link_server_last(const struct link_server *server); /* 0: nothing is known of earlier messages */
struct journal_size link_server_journal_size(const struct link_server *server);
