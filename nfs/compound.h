/* Requests of NFS 4.0 (RFC 7530): a compound is a row of operations, done in order until one fails.
 * Paths are walked by LOOKUP, which follows no symbolic link. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nfsc/libnfs.h> /* the others need it */

#include <nfsc/libnfs-raw-nfs4.h>
#include <nfsc/libnfs-raw.h>

enum {
    COMPOUND_OPS_MAX = 40,    /* servers take 50 and more */
    COMPOUND_OWNER_SIZE = 64, /* of an owner's name; longer ones are cut */
    COMPOUND_ATTRIBUTES_SIZE = 128,
};

/* Texts that are added stay with the caller, until the request is answered. */
struct compound {
    size_t count;
    nfs_argop4 ops[COMPOUND_OPS_MAX];
    uint32_t created_mask[2], wanted_mask[2];
    char attributes[COMPOUND_ATTRIBUTES_SIZE];
};

struct compound_handle {
    size_t length;
    char bytes[NFS4_FHSIZE];
};

struct compound_attributes {
    uint32_t type; /* enum nfs_ftype4; 0: not said */
    uint32_t mode;
    char owner[COMPOUND_OWNER_SIZE], group[COMPOUND_OWNER_SIZE]; /* "1000", or a name */
};

/* What came back: answered operations, the last of which may have failed. */
struct compound_reply {
    size_t count;
    nfsstat4 status;                                         /* of the last one */
    struct compound_attributes attributes[COMPOUND_OPS_MAX]; /* of the operation at that index */
    struct compound_handle handle;                           /* of the only GETFH */
    uint32_t access;                                         /* of the only ACCESS */
};

void compound_begin(struct compound *compound); /* from the server's root */
void compound_begin_at(struct compound *compound, const struct compound_handle *handle);
/* Each component of a path without "." and ".."; with attributes of each, if they are wanted. */
void compound_add_walk(struct compound *compound, const char *path, bool with_attributes);
void compound_add_component(struct compound *compound, const char *name, size_t length);
void compound_add_attributes(struct compound *compound);
void compound_add_handle(struct compound *compound);
void compound_add_access(struct compound *compound, uint32_t wanted);
void compound_add_remove(struct compound *compound, const char *name);
/* At most one of these two in a compound. owner, group: NULL for the caller's own. */
void compound_add_mkdir(struct compound *compound, const char *name, size_t length, uint32_t mode,
                        const char *owner, const char *group);
void compound_add_chown(struct compound *compound, const char *owner, const char *group);

/* false: it is not what was asked for. */
bool compound_read(const struct compound *compound, const COMPOUND4res *answer,
                   struct compound_reply *ret);

size_t compound_components(const char *path);
