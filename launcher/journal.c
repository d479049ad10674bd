#include "launcher/journal.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "launcher/journal_segment.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_AREA "launcher/journal"

enum {
    CAP_MIN = 16 << 10,
    FIRST_SIZE = 64 << 10, /* an idle kernel touches no more */
    SIZE_MAX_SHARE = 8, /* a segment is at most this part of the cap: that is what goes at once */
    SIZE_LIMIT = 8 << 20,
    RECORD_MAX = 1 << 30,
    PLACES = 16,
    PAST_MAX = 256,
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
    size_t next_size;
    uint64_t next_seq;
    uint64_t next_bytes; /* of all messages numbered so far, lost ones too */
    struct segment **segments;
    size_t count;
    size_t capacity;
    uint32_t max_session;
    bool told_disk, told_memory;
    struct point past[PAST_MAX]; /* starts of the segments that are gone, thinned out when full */
    size_t past_count;
    struct place *places; /* PLACES, by seq modulo: readers do not disturb each other */
};

static size_t round_up(uint64_t size, size_t page) {
    return (size_t)((size + page - 1) / page * page);
}

static void remember_point(struct journal *journal, const struct segment *segment) {
    if (journal->past_count == PAST_MAX) {
        for (size_t i = 0; i < PAST_MAX / 2; i++)
            journal->past[i] = journal->past[2 * i];
        journal->past_count = PAST_MAX / 2;
    }
    journal->past[journal->past_count++] =
        (struct point){segment->first_seq, segment->bytes_before};
}

/* The oldest one leaves the list; its file is still there. */
static struct segment *take_oldest(struct journal *journal) {
    struct segment *segment = journal->segments[0];
    remember_point(journal, segment);
    journal->total -= segment->size;
    journal->count--;
    memmove(journal->segments, journal->segments + 1, journal->count * sizeof(struct segment *));
    memset(journal->places, 0, PLACES * sizeof *journal->places);
    return segment;
}

static void remove_oldest(struct journal *journal) {
    struct segment *segment = take_oldest(journal);
    segment_unlink(segment, journal->directory);
    segment_release(segment);
}

static void add_segment(struct journal *journal, struct segment *segment) {
    if (journal->count == journal->capacity) {
        journal->capacity = journal->capacity ? 2 * journal->capacity : 16;
        journal->segments =
            memory_resize(journal->segments, journal->capacity * sizeof(struct segment *));
    }
    journal->segments[journal->count++] = segment;
    journal->total += segment->size;
}

static uint64_t end_seq(const struct segment *segment) {
    return segment->first_seq + segment->count;
}

static uint64_t end_bytes(const struct segment *segment) {
    return segment->bytes_before + segment->bytes;
}

/* Names of digits sort like their numbers. */
static int list_segments(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return length > 8 && strcmp(entry->d_name + length - 8, ".segment") == 0;
}

/* Joins a file of an earlier life to what was read before it. */
static void adopt_segment(struct journal *journal, struct segment *segment) {
    if (journal->count > 0) {
        /* The later file was begun when the earlier one was known to end there: what looks valid behind that end is older. */
        struct segment *before = journal->segments[journal->count - 1];
        if (end_seq(before) > segment->first_seq)
            segment_shorten(before, segment->first_seq - before->first_seq);
    }
    if (end_seq(segment) >= journal->next_seq)
        journal->next_seq = end_seq(segment);
    if (end_bytes(segment) > journal->next_bytes)
        journal->next_bytes = end_bytes(segment);
    if (segment->count == 0) {
        segment_unlink(segment, journal->directory); /* its name may be needed again */
        segment_release(segment);
        return;
    }
    segment_cool(segment);
    add_segment(journal, segment);
}

static int recover(struct journal *journal, struct error *err) {
    struct dirent **names = NULL;
    int count = scandir(journal->directory, &names, list_segments, alphasort);
    if (count < 0)
        return error_system(err, errno, "journal: cannot read %s", journal->directory);
    for (int i = 0; i < count; i++) {
        struct error why;
        struct segment *segment =
            segment_open(journal->directory, names[i]->d_name, &journal->max_session, &why);
        if (segment != NULL) {
            adopt_segment(journal, segment);
        } else {
            cleanup_free char *path = memory_printf("%s/%s", journal->directory, names[i]->d_name);
            log_warning("%s; it is removed", why.text);
            (void)unlink(path);
        }
        free(names[i]);
    }
    free(names);
    while (journal->count > 0 && journal->total > journal->cap)
        remove_oldest(journal);
    return 0;
}

int journal_create(const char *directory, int64_t cap_bytes, struct journal **ret,
                   struct error *err) {
    if (file_make_private_directory(directory, err) < 0)
        return error_wrap(err, "journal");
    struct journal *journal = memory_alloc(sizeof *journal);
    journal->directory = memory_strdup(directory);
    journal->page = (size_t)sysconf(_SC_PAGESIZE);
    journal->cap = round_up(cap_bytes > CAP_MIN ? (uint64_t)cap_bytes : CAP_MIN, journal->page);
    journal->next_size = FIRST_SIZE;
    journal->places = memory_alloc(PLACES * sizeof *journal->places);
    journal->next_seq = 1;
    journal->past[journal->past_count++] = (struct point){1, 0};
    if (recover(journal, err) < 0) {
        journal_destroy(journal);
        return -1;
    }
    *ret = journal;
    return 0;
}

void journal_destroy(struct journal *journal) {
    if (journal == NULL)
        return;
    for (size_t i = 0; i < journal->count; i++)
        segment_release(journal->segments[i]);
    free(journal->segments);
    free(journal->places);
    free(journal->directory);
    free(journal);
}

static void tell_disk(struct journal *journal, int disk_errno, size_t size) {
    if (disk_errno == 0 || journal->told_disk)
        return;
    journal->told_disk = true;
    log_error("no room for a segment of %zu bytes in %s: %s; messages are kept in memory, which "
              "does not survive the launcher",
              size, journal->directory, strerror(disk_errno));
}

/* Brings the total down so that `size` more fit the cap. Returns a segment when one of that size could be used again. */
static struct segment *make_room(struct journal *journal, size_t size) {
    while (journal->count > 0 && journal->total + size > journal->cap) {
        struct segment *segment = take_oldest(journal);
        if (segment->size == size && journal->total + size <= journal->cap &&
            segment_recycle(segment, journal->directory, journal->next_seq, journal->next_bytes) ==
                0) {
            add_segment(journal, segment);
            return segment;
        }
        segment_unlink(segment, journal->directory);
        segment_release(segment);
    }
    return NULL;
}

/* A new segment in which a payload of `length` has room. NULL: not even memory. */
static struct segment *roll(struct journal *journal, size_t length) {
    uint64_t largest = journal->cap / SIZE_MAX_SHARE;
    if (largest > SIZE_LIMIT)
        largest = SIZE_LIMIT;
    if (journal->next_size > largest)
        journal->next_size = round_up(largest, journal->page);
    size_t size = round_up(SEGMENT_HEADER_SIZE + segment_record_size(length), journal->page);
    if (size < journal->next_size)
        size = journal->next_size;
    if (journal->next_size < largest)
        journal->next_size *= 2;

    struct segment *segment = make_room(journal, size);
    if (segment != NULL)
        return segment;
    int disk_errno;
    segment = segment_create(journal->directory, journal->next_seq, journal->next_bytes, size,
                             &disk_errno);
    tell_disk(journal, disk_errno, size);
    if (segment != NULL) {
        add_segment(journal, segment);
    } else if (!journal->told_memory) {
        journal->told_memory = true;
        log_error("no memory for a segment of %zu bytes either: messages are lost", size);
    }
    return segment;
}

static struct segment *room_for(struct journal *journal, size_t length) {
    struct segment *last = journal->count > 0 ? journal->segments[journal->count - 1] : NULL;
    if (last != NULL && segment_has_room(last, length))
        return last;
    return roll(journal, length);
}

uint64_t journal_append(struct journal *journal, const struct journal_entry *entry,
                        const void *data, size_t length) {
    struct segment_record head = {
        .length = (uint32_t)length,
        .seq = journal->next_seq,
        .session = entry->session,
        .cell = entry->mark.cell,
        .channel = (uint8_t)entry->channel,
        .class = (uint8_t)entry->mark.class,
    };
    uint64_t lost = length;
    if (length > RECORD_MAX || SEGMENT_HEADER_SIZE + segment_record_size(length) > journal->cap) {
        head.kind = SEGMENT_LOST;
        head.length = sizeof lost;
        data = &lost;
    }
    struct segment *segment = room_for(journal, head.length);
    if (segment != NULL)
        segment_append(segment, &head, data, length);
    journal->next_bytes += length;
    return journal
        ->next_seq++; /* without a segment the number is a gap, and its bytes are known by the next segment */
}

/* Index of the last segment that begins at or before seq, -1 when all begin later. */
static ssize_t find_segment(const struct journal *journal, uint64_t seq) {
    size_t low = 0, high = journal->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (journal->segments[middle]->first_seq <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return (ssize_t)low - 1;
}

/* The first place at or behind `seq`, lost records included; false when there is none. */
static bool find_place(const struct journal *journal, uint64_t seq, struct place *ret) {
    const struct place *known = &journal->places[seq % PLACES];
    if (known->seq == seq && known->segment != NULL && seq < end_seq(known->segment)) {
        *ret =
            *known; /* else it was stored at the segment's end, and the next one went elsewhere */
        return true;
    }
    ssize_t at = find_segment(journal, seq);
    if (at >= 0 && seq < end_seq(journal->segments[at])) {
        struct segment *segment = journal->segments[at];
        *ret = (struct place){seq, segment, segment_find(segment, seq, NULL)};
        return true;
    }
    if ((size_t)(at + 1) >= journal->count)
        return false;
    struct segment *segment = journal->segments[at + 1];
    *ret = (struct place){segment->first_seq, segment, SEGMENT_HEADER_SIZE};
    return segment->count > 0;
}

int journal_next(const struct journal *journal, uint64_t seq, struct journal_record *ret) {
    if (seq >= journal->next_seq - 1)
        return 0;
    uint64_t wanted = seq + 1;
    struct place place;
    while (find_place(journal, wanted, &place)) {
        const struct segment_record *record = segment_at(place.segment, place.offset);
        place.offset += segment_record_size(record->length);
        place.seq++;
        journal->places[place.seq % PLACES] = place; /* only a hint */
        if (record->kind == SEGMENT_KEPT) {
            *ret = (struct journal_record){
                .seq = record->seq,
                .session = record->session,
                .channel = (enum kernel_channel)record->channel,
                .mark = {(enum message_class)record->class, record->cell},
                .data = (const uint8_t *)(record + 1),
                .length = record->length,
            };
            return 1;
        }
        wanted = place.seq;
    }
    return 0;
}

void journal_skip(struct journal *journal, uint64_t seq) {
    if (seq < journal->next_seq)
        return;
    log_warning("numbers %" PRIu64 " to %" PRIu64 " were used, but their messages are gone",
                journal->next_seq, seq);
    if (journal->count > 0) /* what follows does not join them */
        journal->segments[journal->count - 1]->sealed = true;
    journal->next_seq = seq + 1;
}

uint64_t journal_oldest(const struct journal *journal) {
    struct journal_record record;
    return journal_next(journal, 0, &record) ? record.seq : journal->next_seq;
}

uint64_t journal_last(const struct journal *journal) {
    return journal->next_seq - 1;
}

uint32_t journal_max_session(const struct journal *journal) {
    return journal->max_session;
}

/* Between two known points, in proportion. */
static uint64_t between(struct point low, struct point high, uint64_t seq) {
    if (high.seq <= low.seq || high.bytes <= low.bytes)
        return low.bytes;
    double share = (double)(seq - low.seq) / (double)(high.seq - low.seq);
    return low.bytes + (uint64_t)(share * (double)(high.bytes - low.bytes));
}

/* Bytes of all messages numbered before seq. */
static uint64_t bytes_before(const struct journal *journal, uint64_t seq) {
    if (seq >= journal->next_seq)
        return journal->next_bytes;
    ssize_t at = find_segment(journal, seq);
    struct point low = {1, 0};
    struct point high = {journal->next_seq, journal->next_bytes};
    if ((size_t)(at + 1) < journal->count)
        high = (struct point){journal->segments[at + 1]->first_seq,
                              journal->segments[at + 1]->bytes_before};
    if (at >= 0) {
        const struct segment *segment = journal->segments[at];
        if (seq < end_seq(segment)) {
            uint64_t bytes;
            (void)segment_find(segment, seq, &bytes);
            return segment->bytes_before + bytes;
        }
        low = (struct point){end_seq(segment), end_bytes(segment)};
        return between(low, high, seq);
    }
    for (size_t i = 0; i < journal->past_count; i++) {
        if (journal->past[i].seq > seq) {
            high = journal->past[i];
            break;
        }
        low = journal->past[i];
    }
    return between(low, high, seq);
}

struct journal_lost journal_lost_since(const struct journal *journal, uint64_t seq) {
    struct journal_record record;
    uint64_t next = journal_next(journal, seq, &record) ? record.seq : journal->next_seq;
    if (next <= seq + 1)
        return (struct journal_lost){0, 0};
    uint64_t from = bytes_before(journal, seq + 1);
    uint64_t to = bytes_before(journal, next);
    return (struct journal_lost){next - seq - 1, to > from ? to - from : 0};
}

void journal_rest(struct journal *journal) {
    for (size_t i = 0; i < journal->count; i++)
        segment_cool(journal->segments[i]);
}

void *journal_hold(const struct journal *journal, const struct journal_record *record) {
    ssize_t at = find_segment(journal, record->seq);
    if (at < 0)
        return NULL; /* unreachable for a fresh record */
    segment_retain(journal->segments[at]);
    return journal->segments[at];
}

void journal_hold_release(void *data, void *hold) {
    (void)data;
    segment_release(hold);
}
