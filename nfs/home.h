/* Makes one user's directory on an NFS server ready: it is there, is a directory, belongs to the
 * user and can be written by that uid; or sees that a shared one is there. Nothing is followed that
 * is a symbolic link. */
#pragma once

#include "base/error.h"
#include "nfs/nfs_connection.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

enum { HOME_PATH_MAX = 1024, HOME_COMPONENTS_MAX = 16 };

struct home_target {
    const char *server;
    int port;
    const char *export_path; /* "/export/home" */
    const char *path;        /* below it, checked by home_path.h */
    size_t given;            /* so many of its components have to be there; the others are made */
    bool is_shared; /* not a home but everybody's: it has to be there, and its owner does not matter
                     */
    uint32_t uid, gid;  /* the owner */
    int64_t parent_gid; /* a group that may write where directories are made: they are made as uid,
                           which an export with root_squash lets do; -1: as root */
};

struct home;

/* err NULL: it is ready. Else one sentence, which says what to do. */
typedef void home_done(void *context, const struct error *err);

/* Copies target. done comes once, from the loop, by deadline_ms (a duration) at the latest; until
 * then a server that cannot be reached is tried again. */
struct home *home_prepare(struct event_base *loop, struct nfs_connection *connection,
                          const struct home_target *target, int64_t deadline_ms, home_done *done,
                          void *context);
void home_cancel(struct home *home); /* done is not called; NULL is fine */
