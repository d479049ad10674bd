/* A new gateway on the sockets of the old one, so that no connection is refused in between: SIGUSR2
 * starts the program that now lies where ours did, with the same arguments, and hands it our
 * listening sockets. It takes the kernels over, begins to accept, says so, and then we go; should
 * it fail, we stay. Sockets of systemd's socket activation (sd_listen_fds(3): LISTEN_PID,
 * LISTEN_FDS, from descriptor 3 on) are taken in the same way. */
#pragma once

#include "base/error.h"
#include "gateway/loop.h"
#include "launcher/spawner.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HANDOVER_SOCKETS_MAX = 8 };

/* What a process was handed when it was started. */
struct handover {
    int sockets[HANDOVER_SOCKETS_MAX]; /* listening; ours to close */
    size_t count;
    int ready_fd;       /* of the gateway that waits for us; -1: none */
    int64_t open_files; /* the soft limit it was started with itself; 0: not said */
};

/* Reads the environment, takes its variables out of it, and checks the sockets: they must be
 * listening TCP sockets. */
int handover_take(struct handover *ret, struct error *err);
/* Tells the old gateway that it may go. Does nothing when there is none. */
void handover_ready(struct handover *handover);
void handover_close_sockets(struct handover *handover);
void handover_close(struct handover *handover); /* all of it */
/* The address it listens on, as text. */
void handover_address(int socket, char *ret, size_t size);

struct successor; /* the new program */
struct successor_events {
    void (*done)(void *context); /* the new one serves */
};

/* Starts the new program; the outcome comes as done(), or in the log when it fails. NULL with the
 * reason when it could not even be started. */
int successor_start(struct loop *loop, struct spawner *spawner, const int *sockets, size_t count,
                    int64_t open_files, const struct successor_events *events, void *context,
                    struct successor **ret, struct error *err);
bool successor_is_over(const struct successor *successor);
void successor_destroy(struct successor *successor); /* the new program is left to itself */
