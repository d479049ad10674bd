/* The encrypted link of a kernel pod: CURVE (RFC 26/CurveZMQ) on the server's socket, and who is
 * let in: exactly one public key, the gateway's, asked for by libzmq through ZAP (RFC 27/ZAP)
 * before the first message of a connection. The handler lives in the loop of the server; zauth
 * would cost a thread. */
#pragma once

#include "base/error.h"

#include <czmq.h>
#include <stdint.h>

enum { LINK_CURVE_KEY_BYTES = 32 };

struct link_curve_keys {
    uint8_t secret[LINK_CURVE_KEY_BYTES];  /* the launcher's own */
    uint8_t gateway[LINK_CURVE_KEY_BYTES]; /* the public key of the only one who is let in */
};

struct link_curve; /* one in a process: libzmq knows one ZAP handler a context */

/* Makes the socket a CURVE server that only the gateway's key enters; before it is bound. libzmq
 * keeps a copy of the secret key; the caller wipes its own. */
int link_curve_create(zloop_t *loop, zsock_t *socket, const struct link_curve_keys *keys,
                      struct link_curve **ret, struct error *err);
/* A message has come in on the socket. */
void link_curve_heard(struct link_curve *curve, zmq_msg_t *message);
/* Before the socket is closed. NULL is fine. */
void link_curve_unwatch(struct link_curve *curve);
/* After the socket: libzmq lets everybody in while there is no handler. NULL is fine. */
void link_curve_destroy(struct link_curve **curve);
/* How many handshakes were refused so far. */
uint64_t link_curve_refused(const struct link_curve *curve);
/* From how many connections no message has come yet (link_strangers.h). */
size_t link_curve_strangers(const struct link_curve *curve);
