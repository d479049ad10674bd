/* The journal: every message of one kernel, numbered from 1, in memory-mapped segment files of one directory (0600). Files survive the launcher's death without a write call a message; the
 * page cache is the memory tier. Bounded: at the cap whole segments go, oldest first, and what went is counted. */
#pragma once

#include "base/error.h"
#include "launcher/kernel_message.h"
#include "launcher/message_class.h"

#include <stddef.h>
#include <stdint.h>

struct journal;

enum { JOURNAL_NOBODY = UINT32_MAX }; /* a session that nobody has: for our own eyes */

struct journal_entry {
    enum kernel_channel channel;
    uint32_t session; /* 0: for all; else the one it is for */
    struct message_mark mark;
};

struct journal_record {
    uint64_t seq;
    uint32_t session;
    enum kernel_channel channel;
    struct message_mark mark;
    const uint8_t *data; /* valid until the next append */
    size_t length;
};

/* What the cap has taken so far. */
struct journal_lost {
    uint64_t messages;
    uint64_t bytes;
};

int journal_create(const char *directory, int64_t cap_bytes, struct journal **ret,
                   struct error *err);
void journal_destroy(struct journal *journal);

/* Returns the seq. Never fails: a message that cannot be kept (larger than the cap, disk full) still gets a number and counts as lost. */
uint64_t journal_append(struct journal *journal, const struct journal_entry *entry,
                        const void *data, size_t length);

/* The first record with a number > seq, or 0 when there is none yet. Fast for consecutive reads. */
int journal_next(const struct journal *journal, uint64_t seq, struct journal_record *ret);
/* No message gets a number up to seq: those are known to have been used, though their records are gone. */
void journal_skip(struct journal *journal, uint64_t seq);
uint64_t journal_oldest(const struct journal *journal); /* last + 1 when empty */
uint64_t journal_last(const struct journal *journal);   /* 0 when nothing was ever written */
/* What was lost of the numbers between seq and the next one that is kept. Messages are exact; bytes are in proportion
 * where seq lies inside a segment that is gone. */
struct journal_lost journal_lost_since(const struct journal *journal, uint64_t seq);
/* The largest session number in records of an earlier life: numbers of this one start above it. */
uint32_t journal_max_session(const struct journal *journal);

/* Gives the memory of what was written and read back to the page cache. For quiet times: coming back costs page faults. */
void journal_rest(struct journal *journal);

/* Keeps a record's bytes valid beyond the next append, also after the cap took it, until journal_hold_release(NULL, hold), which any thread
 * may call (its form fits zmq_msg_init_data). The record must be fresh from journal_next. */
void *journal_hold(const struct journal *journal, const struct journal_record *record);
void journal_hold_release(void *data, void *hold);
