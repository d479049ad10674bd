/* The journal: every message of one kernel, numbered from 1, in memory-mapped segment files of one
 * directory (0600). Files survive the launcher's death without a write call a message; the page
 * cache is the memory tier. Bounded: at the cap the oldest messages are folded, streams before
 * everything else and answers last (launcher/journal_fold.h); when that is not enough, whole
 * segments go, oldest first, and what went is counted. When the disk is full, messages are kept in
 * memory, under the same cap, until there is room again. */
#pragma once

#include "base/error.h"
#include "launcher/kernel_message.h"
#include "launcher/message_class.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;

enum { JOURNAL_NOBODY = UINT32_MAX }; /* a session that nobody has: for our own eyes */

struct journal_entry {
    enum kernel_channel channel;
    uint32_t session; /* 0: for all; else the one it is for */
    struct message_mark mark;
};

/* What the cap has taken. */
struct journal_lost {
    uint64_t messages;
    uint64_t bytes;
};

/* A message; or, when is_folded, what is left of a row of them. */
struct journal_record {
    uint64_t seq; /* of a row: the last number */
    uint64_t
        first; /* the same as seq for a message; of a row: the first number behind the reader's */
    uint32_t session;
    enum kernel_channel channel;
    struct message_mark mark;
    const uint8_t *data; /* of a message; valid until the next append */
    size_t length;
    bool is_folded;
    /* Of a row: what its cell's client misses, which is nothing when messages is 0. Exact unless
     * the reader had read a part of it. */
    struct journal_lost folded;
    bool goes_on; /* the cell's next row is of the same output: both can be told in one */
    /* of the first one that is missed; empty if it is not known. Valid as data is */
    struct bytes parent_header;
};

/* Goes on with what an earlier life left. A damaged segment is kept up to the damage, or removed
 * when nothing of it can be read; one of another version becomes <name>.unreadable: both are gaps,
 * and no number comes twice. A segment that cannot be opened (want of descriptors or memory, a disk
 * that fails) is an error, and left as it is: without it the journal would be another one. */
int journal_create(const char *directory, int64_t cap_bytes, struct journal **ret,
                   struct error *err);
void journal_destroy(struct journal *journal);

/* Returns the seq. Never fails: a message that is larger than the cap is folded at once; one for
 * which there is no memory still gets a number and counts as lost. */
uint64_t journal_append(struct journal *journal, const struct journal_entry *entry,
                        const void *data, size_t length);

/* The first record that stands for a number > seq, or 0 when there is none yet. Fast for
 * consecutive reads. */
int journal_next(const struct journal *journal, uint64_t seq, struct journal_record *ret);
/* No message gets a number up to seq: those are known to have been used, though their records are
 * gone. */
void journal_skip(struct journal *journal, uint64_t seq);
uint64_t journal_oldest(const struct journal *journal); /* last + 1 when empty */
uint64_t journal_last(const struct journal *journal);   /* 0 when nothing was ever written */
/* What was lost of the numbers between seq and the next one that is kept. Messages are exact; bytes
 * are in proportion where seq lies inside a segment that is gone. */
struct journal_lost journal_lost_since(const struct journal *journal, uint64_t seq);
/* The largest session number in records of an earlier life: numbers of this one start above it. */
uint32_t journal_max_session(const struct journal *journal);

struct journal_size {
    uint64_t bytes;        /* room that the segments take */
    uint64_t folded_bytes; /* room of messages that the cap took, since journal_create */
};
struct journal_size journal_measure(const struct journal *journal);

/* Why messages are only in memory (an errno), or 0. */
int journal_disk_errno(const struct journal *journal);
/* For quiet times. Gives the memory of what was written and read back to the page cache (coming
 * back costs page faults), and what is only in memory to the disk when there is room again. */
void journal_rest(struct journal *journal);

/* Where a message is in the files, for another process that reads it soon (segment_read). False: it
 * is only in memory, or would have to be read from the disk first, or the cap is about to take it.
 * The record must be fresh from journal_next. */
bool journal_locate(const struct journal *journal, const struct journal_record *record,
                    uint64_t *first_seq, uint64_t *offset);
/* So many of the newest bytes are left alone while anything older can be folded: what is under way
 * to a reader that keeps up is safe among them. */
uint64_t journal_newest_bytes(const struct journal *journal);
/* Keeps a record's bytes valid beyond the next append, also after the cap took it, until
 * journal_hold_release(NULL, hold), which any thread may call (its form fits zmq_msg_init_data).
 * The record must be fresh from journal_next. */
void *journal_hold(const struct journal *journal, const struct journal_record *record);
void journal_hold_release(void *data, void *hold);
