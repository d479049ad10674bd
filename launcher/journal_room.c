/* The cap, and the full disk. */
#include "launcher/journal_internal.h"

#define LOG_AREA "launcher/journal"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <string.h>

enum {
    GAIN_SHARE =
        16, /* folding must take this part of a segment at least, or it waits for the next level */
    MAKING_ROOM_MS = 2000, /* a kernel that prints beyond the cap goes on for so long, likely */
    JOIN_MAX = 256 << 10,  /* a folded segment smaller than this takes in the next one */
};

static void remember_point(struct journal *journal, const struct segment *segment) {
    if (journal->past_count == JOURNAL_PAST_MAX) {
        for (size_t i = 0; i < JOURNAL_PAST_MAX / 2; i++)
            journal->past[i] = journal->past[2 * i];
        journal->past_count = JOURNAL_PAST_MAX / 2;
    }
    journal->past[journal->past_count++] =
        (struct point){segment->first_seq, segment->bytes_before};
}

static uint64_t kept_bytes(const struct segment *segment) {
    uint64_t bytes = 0;
    for (int class = 0; class < MESSAGE_CLASS_COUNT; class ++)
        bytes += segment->class_bytes[class];
    return bytes;
}

struct journal_size journal_measure(const struct journal *journal) {
    return (struct journal_size){journal->total, journal->folded_bytes};
}

static void forget_places(struct journal *journal) {
    memset(journal->places, 0, JOURNAL_PLACES * sizeof *journal->places);
}

static struct segment *take_segment(struct journal *journal, size_t at) {
    struct segment *segment = journal->segments[at];
    journal->total -= segment->size;
    journal->count--;
    memmove(journal->segments + at, journal->segments + at + 1,
            (journal->count - at) * sizeof(struct segment *));
    forget_places(journal);
    return segment;
}

/* The oldest one leaves the list; its file is still there. */
static struct segment *take_oldest(struct journal *journal) {
    remember_point(journal, journal->segments[0]);
    journal->folded_bytes += kept_bytes(journal->segments[0]);
    return take_segment(journal, 0);
}

void journal_note_disk(struct journal *journal, int disk_errno, size_t size) {
    if (disk_errno != 0 && journal->disk_errno == 0)
        log_error("no room for a segment of %zu bytes in %s: %s; messages are kept in memory, "
                  "which does not survive the launcher",
                  size, journal->directory, strerror(disk_errno));
    if (disk_errno != 0)
        journal->disk_errno = disk_errno;
}

/* Puts the folded segment in the place of `count` from `at` on. Returns one that is not needed any
 * more, whose file may be used again. */
static struct segment *put_folded(struct journal *journal, struct segment *folded, size_t at,
                                  size_t count) {
    struct segment *freed = journal->segments[at];
    if (segment_replace(folded, freed, journal->directory) < 0) {
        journal_discard(journal, folded);
        return NULL;
    }
    journal->total += folded->size;
    for (size_t i = 0; i < count; i++) {
        journal->total -= journal->segments[at + i]->size;
        journal->folded_bytes += kept_bytes(journal->segments[at + i]);
    }
    journal->folded_bytes -= kept_bytes(folded);
    for (size_t i = at + 1; i < at + count; i++) { /* what it covers is gone for a reader */
        journal_discard(journal, freed);
        freed = journal->segments[i];
    }
    journal->segments[at] = folded;
    journal->count -= count - 1;
    memmove(journal->segments + at + 1, journal->segments + at + count,
            (journal->count - at - 1) * sizeof(struct segment *));
    forget_places(journal);
    return freed;
}

/* Whether the one before it is small, folded, and goes on where this one begins. */
static bool joins_before(const struct journal *journal, size_t at) {
    if (at == 0)
        return false;
    const struct segment *before = journal->segments[at - 1], *segment = journal->segments[at];
    uint64_t small = journal->cap / JOURNAL_SIZE_SHARE / 4;
    return before->fold_level >= 0 && before->used < (small < JOIN_MAX ? small : JOIN_MAX) &&
           journal_end_seq(before) == segment->first_seq &&
           journal_end_bytes(before) == segment->bytes_before;
}

/* NULL, and nothing changed but the segment's level, when it would be no smaller. */
static struct segment *fold_one(struct journal *journal, size_t at, enum fold_level level) {
    struct segment *segment = journal->segments[at];
    size_t count = 1;
    if (joins_before(journal, at)) {
        at--;
        count++;
    }
    struct fold fold = {journal->directory, journal->view, journal->segments + at, count, level,
                        journal->page};
    int disk_errno;
    struct segment *folded = fold_segments(&fold, &disk_errno);
    journal_note_disk(journal, disk_errno, segment->size);
    struct segment *freed = folded != NULL ? put_folded(journal, folded, at, count) : NULL;
    if (freed == NULL) {
        segment->hidden_bytes = 0;
        if (segment->fold_level < (int)level)
            segment->fold_level = (int)level;
    }
    return freed;
}

static bool is_worth_folding(const struct journal *journal, const struct segment *segment,
                             enum fold_level level) {
    uint64_t least = segment->size / GAIN_SHARE;
    return fold_gain(segment, level) >= (least > journal->page ? least : journal->page);
}

/* Rows tell of what is gone; what is still there is worth more than many of them. */
static bool is_oldest_of_many_rows(const struct journal *journal) {
    uint64_t rows = 0;
    for (size_t at = 0; at < journal->count; at++) {
        const struct segment *segment = journal->segments[at];
        bool has_messages = fold_gain(segment, FOLD_ALL) > 0;
        if (at == 0 && (has_messages || segment->fold_level < 0))
            return false;
        rows += has_messages ? 0 : segment->size;
    }
    return rows > journal->cap / JOURNAL_SIZE_SHARE;
}

/* How many segments are older than the part that clients which keep up are about to read. */
static size_t count_old(const struct journal *journal) {
    size_t count = journal->count;
    uint64_t recent = 0;
    while (count > 0 && recent < journal_newest_bytes(journal))
        recent += journal->segments[--count]->size;
    return count;
}

uint64_t journal_newest_bytes(const struct journal *journal) {
    return journal->cap / JOURNAL_SIZE_SHARE;
}

bool journal_may_fold(const struct journal *journal, size_t at) {
    return at < count_old(journal) && clock_monotonic_ms() - journal->room_made_ms < MAKING_ROOM_MS;
}

/* The oldest of the least needed among the first `count`. NULL: the oldest segment may go. */
static struct segment *fold_some(struct journal *journal, size_t count) {
    for (enum fold_level level = FOLD_STREAMS; level <= FOLD_ALL; level++) {
        if (level == FOLD_OUTPUTS && is_oldest_of_many_rows(journal))
            return NULL;
        for (size_t at = 0; at < count; at++) {
            if (!is_worth_folding(journal, journal->segments[at], level))
                continue;
            struct segment *freed = fold_one(journal, at, level);
            if (freed != NULL)
                return freed;
        }
    }
    return NULL;
}

struct segment *journal_make_room(struct journal *journal, size_t size) {
    struct segment *spare = NULL;
    while (journal->count > 0 && journal->total + size > journal->cap) {
        journal->room_made_ms = clock_monotonic_ms();
        struct segment *freed = fold_some(journal, count_old(journal));
        if (freed == NULL && !is_oldest_of_many_rows(journal))
            freed = fold_some(journal, journal->count);
        if (freed == NULL)
            freed = take_oldest(journal);
        if (spare == NULL && freed->size == size && segment_park(freed, journal->directory) == 0)
            spare = freed;
        else
            journal_discard(journal, freed);
    }
    return spare;
}

bool journal_persist_one(struct journal *journal) {
    size_t at = 0;
    while (at < journal->count && !journal->segments[at]->anonymous)
        at++;
    if (at == journal->count) {
        log_warning("there is room in %s again: messages are kept there", journal->directory);
        journal->disk_errno = 0;
        return false;
    }
    struct fold fold = {journal->directory, journal->view, journal->segments + at, 1,
                        FOLD_NOTHING,       journal->page};
    int disk_errno;
    struct segment *copy = fold_segments(&fold, &disk_errno);
    if (copy == NULL || copy->anonymous) {
        segment_release(copy);
        return false;
    }
    struct segment *freed = put_folded(journal, copy, at, 1);
    journal_discard(journal, freed);
    return freed != NULL;
}
