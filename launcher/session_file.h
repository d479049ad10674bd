/* What the launcher has to know of a client's session after its own death: up to where it has
 * received, and was there to read, and which requests it has handed in. One mapped file (0600)
 * beside the journal, so that moving a cursor is a store in memory and yet survives SIGKILL.
 * Without room on the disk, or with a file that cannot be used, slots are plain memory: told once
 * in the log, and the sessions work until the launcher ends.
 *
 *   header  64 bytes: "ELRASESS" | u32 version | u32 size of a slot | zero
 *   slots   struct session_slot end to end; one whose checksum is wrong is free
 *
 * In the machine's byte order: the file never leaves its machine. It grows by pages, whose blocks
 * are allocated before they are written. A file of version 1, whose slots end behind their id, is
 * replaced by one of this version: nothing in it is sure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct session_file;

enum { SESSION_GATEWAYS_MAX = 4, SESSION_ID_SIZE = 256 };

/* The numbering of requests between one gateway process and the session. */
struct session_gateway {
    uint64_t gateway;            /* hash of its nonce; 0: free */
    uint64_t received, accepted; /* numbers: that came, that the kernel has taken */
    uint64_t turn; /* grows with each use: the smallest is the one unused the longest */
};

struct session_slot {
    uint64_t cursor;   /* a journal seq: everything up to it has reached the client */
    uint64_t sent_max; /* highest seq that was sent to it */
    int64_t left_us;   /* wall clock; when its last attachment went, 0 while it has one */
    uint32_t number;   /* as in the journal's records; never 0 */
    uint32_t checksum; /* of number and id, which never change */
    struct session_gateway gateways[SESSION_GATEWAYS_MAX];
    char id[SESSION_ID_SIZE];
    uint64_t sure; /* never beyond cursor: up to it the client was certainly there to read */
};

/* Opens or makes the file; path NULL: plain memory. Never fails. slots_max: further ones are plain
 * memory. */
struct session_file *session_file_open(const char *path, size_t slots_max);
void session_file_close(
    struct session_file *file); /* NULL is fine; its slots are gone, but not from the disk */

/* The sessions of an earlier launcher: size_t at = 0; while ((slot = session_file_next(file, &at))
 * != NULL) ... */
struct session_slot *session_file_next(struct session_file *file, size_t *at);

/* A new slot. id NULL: a session that nothing can come back to, in plain memory. */
struct session_slot *session_file_take(struct session_file *file, uint32_t number, const char *id);
void session_file_drop(struct session_file *file, struct session_slot *slot);

/* The gateway's numbering; NULL when it has none. */
struct session_gateway *session_gateway_find(struct session_slot *slot, uint64_t gateway);
