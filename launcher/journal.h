/* The journal: every message of one kernel, numbered from 1, in memory-mapped segment files of one directory (0600). Files survive the launcher's death without a write call a message; the
 * page cache is the memory tier. Bounded: at the cap whole segments go, oldest first, and what went is counted. */
#pragma once

#include "base/error.h"
#include "launcher/kernel_message.h"

#include <stddef.h>
#include <stdint.h>

struct journal;

struct journal_record {
    uint64_t seq;
    uint32_t session; /* 0: for all; else the one it is for */
    enum kernel_channel channel;
    const uint8_t *data; /* valid until the next append */
    size_t length;
};

/* What the cap has taken so far. */
struct journal_lost {
    uint64_t messages;
    uint64_t bytes;
};

int journal_create(const char *directory, int64_t cap_bytes, struct journal **ret, struct error *err);
void journal_destroy(struct journal *journal);

/* Returns the seq. Never fails: a message that cannot be kept (larger than the cap, disk full) still gets a number and counts as lost. */
uint64_t journal_append(struct journal *journal, enum kernel_channel channel, uint32_t session,
                        const void *data, size_t length);

/* The first record with a number > seq, or 0 when there is none yet. Fast for consecutive reads. */
int journal_next(const struct journal *journal, uint64_t seq, struct journal_record *ret);
uint64_t journal_oldest(const struct journal *journal); /* last + 1 when empty */
uint64_t journal_last(const struct journal *journal);   /* 0 when nothing was ever written */
/* What was lost of the numbers in (seq, oldest). */
struct journal_lost journal_lost_since(const struct journal *journal, uint64_t seq);
