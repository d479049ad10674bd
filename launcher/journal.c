#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "launcher/journal_internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_AREA "launcher/journal"
#include "base/log.h"

enum {
    CAP_MIN = 16 << 10,
    FIRST_SIZE = 64 << 10, /* an idle kernel touches no more */
    SIZE_LIMIT = 4 << 20,  /* folding one must not be felt */
    RECORD_MAX = 1 << 30,
};

static size_t round_up(uint64_t size, size_t page) {
    return (size_t)((size + page - 1) / page * page);
}

void journal_discard(struct journal *journal, struct segment *segment) {
    if (segment == NULL)
        return;
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

/* Names of digits sort like their numbers. */
static int list_segments(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return length > 8 && strcmp(entry->d_name + length - 8, ".segment") == 0;
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

static void follow(struct journal *journal, const struct segment *segment,
                   const struct segment_record *record) {
    struct view_part parts[VIEW_PARTS_MAX];
    size_t count = view_note(journal->view, record, segment->first_seq, parts);
    for (size_t i = 0; i < count; i++) {
        ssize_t at = find_segment(journal, parts[i].first_seq);
        if (at >= 0)
            journal->segments[at]->hidden_bytes += parts[i].bytes;
    }
}

/* Joins a file of an earlier life to what was read before it. */
static void adopt_segment(struct journal *journal, struct segment *segment) {
    struct segment *before = journal->count > 0 ? journal->segments[journal->count - 1] : NULL;
    bool is_covered =
        before != NULL && before->fold_level >= 0 && journal_end_seq(before) > segment->first_seq;
    /* The later file was begun when the earlier one was known to end there: what looks valid behind
     * that end is older. */
    if (before != NULL && !is_covered)
        segment_shorten(before, segment->first_seq);
    if (journal_end_seq(segment) >= journal->next_seq)
        journal->next_seq = journal_end_seq(segment);
    if (journal_end_bytes(segment) > journal->next_bytes)
        journal->next_bytes = journal_end_bytes(segment);
    if (segment->count == 0 || is_covered) {
        journal_discard(journal, segment); /* its name may be needed again */
        return;
    }
    add_segment(journal, segment);
}

static void follow_all(struct journal *journal) {
    for (size_t i = 0; i < journal->count; i++) {
        struct segment *segment = journal->segments[i];
        for (size_t at = SEGMENT_HEADER_SIZE; at < segment->used;) {
            const struct segment_record *record = segment_at(segment, at);
            follow(journal, segment, record);
            at += segment_record_size(record->length);
        }
        segment_cool(segment);
    }
}

/* Of a damaged file the name still tells that the numbers before it were used. */
static void skip_damaged(struct journal *journal, const char *name) {
    char *end;
    uint64_t first = strtoull(name, &end, 10);
    if (end == name + 20 && first < UINT64_MAX / 2 && first > journal->next_seq)
        journal->next_seq = first;
}

/* Files that somebody else can still read: another version of the launcher, or a person. */
struct aside {
    size_t count;
    uint64_t end; /* the last of them may have used the numbers below; 0: a later file tells */
};

static int set_aside(struct journal *journal, const char *name, const struct error *why,
                     struct aside *aside, struct error *err) {
    cleanup_free char *path = memory_printf("%s/%s", journal->directory, name);
    cleanup_free char *kept = memory_printf("%s.unreadable", path);
    struct stat status;
    if (lstat(path, &status) < 0 || rename(path, kept) < 0)
        return error_system(err, errno, "journal: %s cannot be set aside", path);
    uint64_t size = status.st_size < RECORD_MAX ? (uint64_t)status.st_size : RECORD_MAX;
    skip_damaged(journal, name);
    aside->end = journal->next_seq + size / SEGMENT_RECORD_HEADER_SIZE;
    if (aside->count++ == 0)
        log_warning("%s; it is kept as %s, its messages count as lost (said once)", why->text,
                    kept);
    return 0;
}

/* A file that cannot be opened now may be another time: without it the journal would be another
 * one, so there is none. */
static int recover_segment(struct journal *journal, const char *name, struct aside *aside,
                           struct error *err) {
    struct error why;
    struct segment *segment = segment_open(journal->directory, name, &journal->max_session, &why);
    if (segment == NULL && why.code == ERROR_UNSUPPORTED)
        return set_aside(journal, name, &why, aside, err);
    if (segment == NULL && why.code != ERROR_INVALID)
        return error_set(err, why.code,
                         "journal: %s/%s. The file is left as it is: restart the kernel when that "
                         "is mended, or move the file away to do without its messages.",
                         journal->directory, why.text);
    aside->end = 0;
    if (segment != NULL) {
        adopt_segment(journal, segment);
        return 0;
    }
    cleanup_free char *path = memory_printf("%s/%s", journal->directory, name);
    skip_damaged(journal, name);
    log_warning("%s; it is removed", why.text);
    (void)unlink(path);
    return 0;
}

static int recover(struct journal *journal, struct error *err) {
    struct dirent **names = NULL;
    segment_tidy_directory(journal->directory);
    int count = scandir(journal->directory, &names, list_segments, alphasort);
    if (count < 0)
        return error_system(err, errno, "journal: cannot read %s", journal->directory);
    struct aside aside = {0};
    int result = 0;
    for (int i = 0; i < count; i++) {
        if (result == 0)
            result = recover_segment(journal, names[i]->d_name, &aside, err);
        free(names[i]);
    }
    free(names);
    if (result < 0)
        return -1;
    if (aside.end > journal->next_seq)
        journal->next_seq = aside.end;
    follow_all(journal);
    journal_discard(journal, journal_make_room(journal, 0));
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
    journal->view = view_create();
    journal->places = memory_alloc(JOURNAL_PLACES * sizeof *journal->places);
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
    view_destroy(journal->view);
    free(journal->segments);
    free(journal->places);
    free(journal->directory);
    free(journal);
}

/* How large the next segment is, which has room for a payload of `length`. */
static size_t next_segment_size(struct journal *journal, size_t length) {
    uint64_t largest = journal->cap / JOURNAL_SIZE_SHARE;
    if (largest > SIZE_LIMIT)
        largest = SIZE_LIMIT;
    if (journal->next_size > largest)
        journal->next_size = round_up(largest, journal->page);
    size_t size = round_up(SEGMENT_HEADER_SIZE + segment_record_size(length), journal->page);
    if (size < journal->next_size)
        size = journal->next_size;
    if (journal->next_size < largest)
        journal->next_size *= 2;
    return size;
}

/* A new segment in which a payload of `length` has room. NULL: not even memory. */
static struct segment *roll(struct journal *journal, size_t length) {
    size_t size = next_segment_size(journal, length);
    struct segment_start start = {journal->next_seq, journal->next_bytes, -1};
    struct segment *segment = journal_make_room(journal, size);
    if (segment != NULL && segment_recycle(segment, journal->directory, &start) < 0) {
        journal_discard(journal, segment);
        segment = NULL;
    }
    if (segment == NULL) {
        int disk_errno;
        segment = segment_create(journal->directory, &start, size, &disk_errno);
        journal_note_disk(journal, disk_errno, size);
        if (disk_errno == 0 && journal->disk_errno != 0)
            (void)journal_persist_one(journal);
    }
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
    if (last != NULL && journal_end_seq(last) == journal->next_seq &&
        segment_has_room(last, length))
        return last;
    return roll(journal, length);
}

static void append_record(struct journal *journal, const struct segment_record *head,
                          const void *payload) {
    struct segment *segment = room_for(journal, head->length);
    if (segment == NULL)
        return; /* the number is a gap, and its bytes are known by the next segment */
    const struct segment_record *record = segment_at(segment, segment->used);
    segment_append(segment, head, payload);
    follow(journal, segment, record);
}

/* A message that no cap could hold. */
static void append_folded(struct journal *journal, struct segment_record *head, const void *data,
                          size_t length) {
    struct {
        struct segment_folded sums;
        uint8_t parent[SEGMENT_PARENT_MAX];
    } payload = {.sums = {1, length, 1, length}};
    struct kernel_message message;
    size_t parent_length = 0;
    if (kernel_message_parse(data, length, &message, NULL) == 0 &&
        message.parent_header.length <= SEGMENT_PARENT_MAX)
        parent_length = message.parent_header.length;
    if (parent_length > 0)
        memcpy(payload.parent, message.parent_header.data, parent_length);
    head->kind = SEGMENT_FOLDED;
    head->class = MESSAGE_STREAM;
    head->length = (uint32_t)(sizeof payload.sums + parent_length);
    journal->folded_bytes += length;
    append_record(journal, head, &payload);
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
        .display = entry->mark.display,
    };
    if (length > RECORD_MAX || SEGMENT_HEADER_SIZE + segment_record_size(length) > journal->cap)
        append_folded(journal, &head, data, length);
    else
        append_record(journal, &head, data);
    journal->next_bytes += length;
    return journal->next_seq++;
}

/* The place of the record that stands for `seq`, or else of the first one behind it; false when
 * there is none. */
static bool find_place(const struct journal *journal, uint64_t seq, struct place *ret) {
    const struct place *known = &journal->places[seq % JOURNAL_PLACES];
    if (known->seq == seq && known->segment != NULL && seq < journal_end_seq(known->segment)) {
        *ret =
            *known; /* else it was stored at the segment's end, and the next one went elsewhere */
        return true;
    }
    ssize_t at = find_segment(journal, seq);
    if (at >= 0 && seq < journal_end_seq(journal->segments[at])) {
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

static uint64_t scale(uint64_t value, uint64_t part, uint64_t whole) {
    return part == whole ? value : (uint64_t)((double)value / (double)whole * (double)part);
}

/* seq: the first number that the reader does not have; of a row it had a part of, what is left in
 * proportion. */
static void read_folded(const struct segment_record *record, uint64_t seq,
                        struct journal_record *ret) {
    struct segment_folded sums = segment_folded(record);
    uint64_t left = record->seq + sums.numbers - seq;
    ret->seq = record->seq + sums.numbers - 1;
    ret->is_folded = true;
    ret->folded.messages = sums.told_messages < left ? sums.told_messages : left;
    ret->folded.bytes = scale(sums.told_bytes, left, sums.numbers);
    ret->goes_on = (record->flags & SEGMENT_GOES_ON) != 0;
    ret->parent_header =
        (struct bytes){(const uint8_t *)(record + 1) + sizeof sums, record->length - sizeof sums};
}

int journal_next(const struct journal *journal, uint64_t seq, struct journal_record *ret) {
    struct place place;
    if (seq >= journal->next_seq - 1 || !find_place(journal, seq + 1, &place))
        return 0;
    const struct segment_record *record = segment_at(place.segment, place.offset);
    *ret = (struct journal_record){
        .seq = record->seq,
        .first = place.seq,
        .session = record->session,
        .channel = (enum kernel_channel)record->channel,
        .mark = {(enum message_class)record->class, record->cell, record->display},
    };
    if (record->kind == SEGMENT_FOLDED) {
        read_folded(record, place.seq, ret);
    } else {
        ret->data = (const uint8_t *)(record + 1);
        ret->length = record->length;
    }
    place.offset += segment_record_size(record->length);
    place.seq = ret->seq + 1;
    journal->places[place.seq % JOURNAL_PLACES] = place; /* only a hint */
    return 1;
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
    return journal_next(journal, 0, &record) ? record.first : journal->next_seq;
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
        if (seq < journal_end_seq(segment)) {
            uint64_t bytes;
            (void)segment_find(segment, seq, &bytes);
            return segment->bytes_before + bytes;
        }
        low = (struct point){journal_end_seq(segment), journal_end_bytes(segment)};
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
    uint64_t next = journal_next(journal, seq, &record) ? record.first : journal->next_seq;
    if (next <= seq + 1)
        return (struct journal_lost){0, 0};
    uint64_t from = bytes_before(journal, seq + 1);
    uint64_t to = bytes_before(journal, next);
    return (struct journal_lost){next - seq - 1, to > from ? to - from : 0};
}

int journal_disk_errno(const struct journal *journal) {
    return journal->disk_errno;
}

void journal_rest(struct journal *journal) {
    while (journal->disk_errno != 0 && journal_persist_one(journal))
        ;
    for (size_t i = 0; i < journal->count; i++)
        segment_cool(journal->segments[i]);
}

bool journal_locate(const struct journal *journal, const struct journal_record *record,
                    uint64_t *first_seq, uint64_t *offset) {
    ssize_t at = find_segment(journal, record->seq);
    if (at < 0 || record->is_folded || journal_may_fold(journal, (size_t)at))
        return false;
    const struct segment *segment = journal->segments[at];
    size_t place = (size_t)(record->data - segment->map) - SEGMENT_RECORD_HEADER_SIZE;
    if (segment->anonymous || !segment_is_cached(segment, place))
        return false;
    *first_seq = segment->first_seq;
    *offset = place;
    return true;
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
