/* The requests that the kernel is at work on, by what it says on iopub: each from its busy to its
 * idle. They overlap (control beside shell, subshells), so the kernel is idle when none is left.
 *
 * A kernel publishes on a PUB socket, which drops what does not fit into its queue (libzmq's
 * default: 1000 messages). An idle that is lost that way would leave the kernel busy, and its
 * client waiting, for ever. So a request whose reply has come ends without its idle when the next
 * one of the same row is at work, or when the kernel has nothing more to say. */
#pragma once

#include "base/buffer.h"
#include "launcher/kernel_message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BUSY_MAX = 64,              /* at once; beyond it the oldest is forgotten */
    BUSY_HEADER_MAX = 64 << 10, /* a larger header is not kept */
};

struct busy;

struct busy_request {
    uint64_t id;
    struct bytes header;
    /* one of those that the kernel does one after the other: on shell, of no subshell */
    bool is_in_row;
    /* its busy has come; a reply may be ahead of it, and of that of earlier requests */
    bool is_heard;
    bool is_replied;
    bool has_no_reply; /* none is to come (comm messages) */
    bool is_noise;     /* nobody wanted it (activity.h) */
};

struct busy *busy_create(void);
void busy_destroy(struct busy *busy);
size_t busy_count(const struct busy *busy);
bool busy_is_noise(const struct busy *busy);      /* there is nothing that somebody wanted */
unsigned busy_subshells(const struct busy *busy); /* how many are at work (JEP 91) */
void busy_clear(struct busy *busy);

/* Work on it has begun. Of one that is known only is_heard counts. */
void busy_begin(struct busy *busy, const struct busy_request *request);
/* It is idle. False: it was ended as lost before, so that this comes too late. is_strange: nobody
 * here made that request; when it was not at work either, this kernel does not pair its states, and
 * its last word counts for all. */
bool busy_end(struct busy *busy, uint64_t id, bool is_strange);
/* Its reply has come. False: it is not at work. */
bool busy_replied(struct busy *busy, uint64_t id);
/* The kernel speaks of `id`, which is in the row: what else was heard of in it must have ended. */
void busy_overtake(struct busy *busy, uint64_t id);

/* Whether some are left, and all have their replies: there is nothing to come but their idles. */
bool busy_is_answered(const struct busy *busy);
/* Takes out one whose idle is lost: one that was overtaken, or with is_quiet one that has its
 * reply. Its header is moved to ret. */
bool busy_take_lost(struct busy *busy, bool is_quiet, uint64_t *id, struct buffer *ret);
