/* The connection to an NFS server, on the loop: libnfs's RPC layer, without its mounts, whose paths
 * follow symbolic links and whose client ids two mounts of one second share. Made for the first
 * call, closed when there was none for a while, made again after it broke. Never blocks. */
#pragma once

#include "base/error.h"
#include "nfs/compound.h"

#include <event2/event.h>

struct nfs_connection;
struct nfs_call;

enum { NFS_PORT_DEFAULT = 2049, NFS_GROUPS_MAX = 1 };

/* AUTH_SYS: the server believes it. */
struct nfs_credential {
    uint32_t uid, gid;
    size_t groups; /* how many of: */
    uint32_t group[NFS_GROUPS_MAX];
};

/* reply NULL: err says why. ERROR_UNAVAILABLE: the server could not be reached, or the connection
 * broke: it may or may not have done it. ERROR_DENIED: it refuses to be asked. ERROR_SYSTEM: what
 * it said makes no sense. */
typedef void nfs_done(void *context, const struct compound_reply *reply, const struct error *err);

/* server: a name or an address, copied. A name's addresses are tried in turn. */
struct nfs_connection *nfs_connection_create(struct event_base *loop, const char *server, int port);
void nfs_connection_destroy(struct nfs_connection *connection); /* with its calls; NULL is fine */

/* Keep the compound as it is until then. done comes from the loop, never from inside this call. */
struct nfs_call *nfs_connection_call(struct nfs_connection *connection,
                                     const struct nfs_credential *credential,
                                     const struct compound *compound, nfs_done *done,
                                     void *context);
/* done is not called. NULL is fine. */
void nfs_call_cancel(struct nfs_call *call);
/* It hangs: whoever waits is told so, and the next call makes a new one. */
void nfs_connection_reset(struct nfs_connection *connection, const char *why);

/* No name server has answered yet. */
bool nfs_connection_is_resolving(const struct nfs_connection *connection);
/* It comes from a port that not only root may use, which servers may refuse. */
bool nfs_connection_is_unprivileged(const struct nfs_connection *connection);
