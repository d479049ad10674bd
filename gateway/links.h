/* The gateway's side of the kernel link (docs/link-protocol.md): one ROUTER socket for all
 * launchers, on the loop. */
#pragma once

#include "base/error.h"
#include "gateway/loop.h"
#include "launcher/provisioner.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct links;
struct link;       /* to one launcher; reconnects by itself until link_close */
struct attachment; /* one client connection on a link */

struct link_events {
    /* connected, or connected again */
    void (*welcomed)(void *context, const json_t *record, const json_t *status);
    void (*lost)(void *context); /* silent too long; it is being reconnected */
    void (*status)(void *context, const json_t *status);
    void (*exited)(void *context, const json_t *exit_report);
};

int links_create(struct loop *loop, struct links **ret, struct error *err);
void links_destroy(struct links *links);
/* This gateway ends: requests that the launchers have not got are answered by them, and do not
 * run. */
void links_give_up_requests(struct links *links);

/* address: copied. */
int link_open(struct links *links, const char *kernel_id, const struct provision_address *address,
              const struct link_events *events, void *context, struct link **ret,
              struct error *err);
void link_renew(
    struct link *link); /* another launcher is there now: connects and says HELLO at once */
void link_close(struct link *link); /* its attachments end with detached() first */
bool link_is_up(const struct link *link);
/* Whether the launcher offers an optional feature that we offer too (docs/link-protocol.md, HELLO
 * and WELCOME); false while the link is not up. name: one of our own list (link_dispatch.c). */
bool link_has_capability(const struct link *link, const char *name);

/* While it holds, requests that come are announced to the launcher and go out when it ends. Those
 * that came before go out. */
void link_hold_requests(struct link *link, bool is_holding);

/* result: the RESULT's tree with ok true; on failure NULL and err says why. Comes exactly once,
 * never from inside the call; ERROR_TIMEOUT after timeout_ms (the command was repeated over
 * reconnects until then). */
typedef void link_result(void *context, const json_t *result, const struct error *err);
/* members may hold an "id", which makes it the same act as another one with that id. */
void link_command(struct link *link, const char *command, json_t *members /* stolen, may be NULL */,
                  int64_t timeout_ms, link_result *done, void *context);

/* Bytes of one kernel message, shared with the batch they came in. */
struct link_payload {
    const uint8_t *data;
    size_t length;
    struct link_batch *owner;
};
void link_payload_retain(const struct link_payload *payload);
/* takes struct link_batch *: fits websocket_send_reference */
void link_payload_release(void *owner);

struct attachment_events {
    /* Again after each reconnect. anew: numbers begin again behind cursor, what was received or
     * delivered before has none any more. Totals of bytes go on. */
    void (*attached)(void *context, uint64_t cursor, bool anew);
    /* is_repeat: it rebuilds a cell and moves no cursor; seq may be 0 then */
    void (*message)(void *context, uint64_t seq, const struct link_payload *payload,
                    bool is_repeat);
    void (*granted)(void *context); /* attachment_may_send may be true again */
    /* by the launcher or link_close; gone after it */
    void (*detached)(void *context, const char *reason);
};
struct attachment_wish {
    const char *session_id; /* NULL: live only */
    size_t window;          /* bytes that may be under way to it */
    bool from_cursor;
    /* What was acknowledged so lately may not have arrived (docs/link-protocol.md, ATTACH). */
    int64_t unsure_ms;
    uint64_t sure; /* of the session's other connections; UINT64_MAX: there is none */
};
int attachment_open(struct link *link, const struct attachment_wish *wish,
                    const struct attachment_events *events, void *context, struct attachment **ret,
                    struct error *err);

/* What is known of a client's end (docs/link-protocol.md, DETACH). */
struct attachment_ending {
    uint64_t left;    /* highest seq of which any byte left our memory */
    uint64_t suspect; /* the message that was under way when the connection broke; 0: none */
    uint64_t sure;    /* up to here it was certainly there to read; UINT64_MAX: that is not known */
    bool is_broken;
};
/* No event after it. ending NULL: nothing is known. */
void attachment_close(struct attachment *attachment, const struct attachment_ending *ending);
/* delivered: cursor, or 0 to leave it. consumed: running total of payload bytes that left our
 * memory. sure: as in attachment_ending, which nobody may be left to tell. Sent with the turn's
 * batch. */
void attachment_ack(struct attachment *attachment, uint64_t delivered, uint64_t consumed,
                    uint64_t sure);
/* False: stop reading the client. Also while it is not attached: nobody else would know of what is
 * read. */
bool attachment_may_send(const struct attachment *attachment);
/* The launcher knows of all requests: should we be lost, it will answer them. */
bool attachment_is_recorded(const struct attachment *attachment);
/* One client message in the link's layout; kept until the launcher has taken it. */
void attachment_send(struct attachment *attachment, const void *message, size_t length);
