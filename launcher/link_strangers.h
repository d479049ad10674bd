/* Connections on a pod's port from which no message has come yet: anybody who reaches the port may
 * make some. libzmq itself takes any number of them, and of each, before it knows who it is, as
 * many bytes as the largest message may have: enough to have the kernel's container killed for its
 * memory. So this watches them: more than a handshake is not taken from a stranger, and when there
 * are too many, the one that has been there the longest gives way - a gateway needs milliseconds to
 * be none any more. */
#pragma once

#include "base/error.h"

#include <czmq.h>
#include <stddef.h>

enum {
    LINK_STRANGERS_MAX = 256,
    LINK_STRANGER_BYTES_MAX = 64 << 10, /* a handshake and a HELLO have less than one KiB */
};

struct link_strangers;

/* Of a socket that is not bound yet. */
int link_strangers_create(zloop_t *loop, zsock_t *socket, struct link_strangers **ret,
                          struct error *err);
/* Before the socket. NULL is fine. */
void link_strangers_destroy(struct link_strangers **strangers);
/* A message has come: whoever sent it has passed the handshake. */
void link_strangers_heard(struct link_strangers *strangers, zmq_msg_t *message);
size_t link_strangers_count(const struct link_strangers *strangers);
