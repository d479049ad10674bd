/* What the files of the journal share. journal.c: appending, reading, and the files of an earlier
 * life. journal_room.c: the cap and the full disk. */
#pragma once

#include "launcher/journal.h"
#include "launcher/journal_fold.h"

enum {
    JOURNAL_SIZE_SHARE = 8, /* a segment is at most this part of the cap: it is folded at once */
    JOURNAL_PLACES = 16,
    JOURNAL_PAST_MAX = 256,
};

/* Where a number that was just read is found again. */
struct place {
    uint64_t seq;
    struct segment *segment;
    size_t offset;
};

/* A known point of the past: bytes of all messages numbered before seq. */
struct point {
    uint64_t seq;
    uint64_t bytes;
};

struct journal {
    char *directory;
    size_t page;
    uint64_t cap;
    uint64_t total; /* bytes of all segments */
    uint64_t folded_bytes;
    int64_t room_made_ms; /* when the cap took something last */
    size_t next_size;
    uint64_t next_seq;
    uint64_t next_bytes; /* of all messages numbered so far, lost ones too */
    struct segment **segments;
    size_t count;
    size_t capacity;
    uint32_t max_session;
    int disk_errno; /* why the last segment is only in memory */
    bool told_memory;
    struct journal_view *view;
    struct point
        past[JOURNAL_PAST_MAX]; /* starts of segments that are gone, thinned out when full */
    size_t past_count;
    struct place *places; /* JOURNAL_PLACES, by seq modulo: readers do not disturb each other */
};

static inline uint64_t journal_end_seq(const struct segment *segment) {
    return segment->first_seq + segment->count;
}

static inline uint64_t journal_end_bytes(const struct segment *segment) {
    return segment->bytes_before + segment->bytes;
}

/* journal.c */
/* With its file. NULL: nothing. */
void journal_discard(struct journal *journal, struct segment *segment);

/* journal_room.c */
/* Brings the total down so that `size` more fit the cap. Returns a segment when one of that size
 * could be used again. */
struct segment *journal_make_room(struct journal *journal, size_t size);
/* Whether the cap is at work and may take something of the segment soon. */
bool journal_may_fold(const struct journal *journal, size_t at);
/* What became of the attempt to make a file of `size`. */
void journal_note_disk(struct journal *journal, int disk_errno, size_t size);
/* Gives one segment that is only in memory to the disk. False: there is none, or no room. */
bool journal_persist_one(struct journal *journal);
