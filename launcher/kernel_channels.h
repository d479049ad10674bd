/* The five ZeroMQ sockets to one kernel process, on the launcher's loop: shell, control and stdin
 * are DEALERs with one common identity (a kernel finds the stdin socket of whoever asked on shell
 * by it), iopub a SUB to everything, heartbeat a REQ. What comes in is checked (kernel_wire.h) and
 * handed on; what is wrong is dropped, counted and logged once. */
#pragma once

#include "base/error.h"
#include "launcher/connection_file.h"
#include "launcher/kernel_message.h"
#include "launcher/kernel_wire.h"

#include <czmq.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel_channels;

struct kernel_channels_events {
    /* One message, valid during the call. The channels may not be closed from here. */
    void (*message)(void *context, enum kernel_channel channel, const struct wire_message *message);
    /* A batch of messages was handed over: send on what they led to. */
    void (*drained)(void *context);
    /* kernel_channels_send returned false and may work now. */
    void (*writable)(void *context);
};

struct kernel_channels_settings {
    const struct connection *connection;
    const struct kernel_wire *wire;
    int reconnect_ms;   /* how soon a refused connection is tried again */
    size_t payload_max; /* a larger message is dropped */
};

int kernel_channels_open(zloop_t *loop, const struct kernel_channels_settings *settings,
                         const struct kernel_channels_events *events, void *context,
                         struct kernel_channels **ret, struct error *err);
void kernel_channels_close(struct kernel_channels **channels); /* NULL inside is fine */

/* Signs and sends on the message's channel, which is not iopub: there only kernels speak. Never
 * waits: false when the queue to the kernel is full; writable() follows. */
bool kernel_channels_send(struct kernel_channels *channels, const struct kernel_message *message);

/* Whether the stdin connection stands. */
bool kernel_channels_has_stdin(const struct kernel_channels *channels);

/* Whether the kernel answered the one heartbeat that is sent on opening: it tells a kernel that
 * never opened its ports from one that did and is silent. Not a sign of life: most kernels answer
 * from a thread that runs on whatever the kernel does. */
bool kernel_channels_saw_heartbeat(const struct kernel_channels *channels);
