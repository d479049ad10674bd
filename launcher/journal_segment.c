#include "launcher/journal_segment.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "launcher/message_class.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MADV_POPULATE_WRITE /* headers before Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

enum { SEGMENT_VERSION = 2, POPULATE_STRIDE = 64 << 10 };

static const char segment_magic[8] = {'E', 'L', 'R', 'A', 'J', 'R', 'N', 'L'};

struct segment_header {
    char magic[8];
    uint32_t version;
    uint32_t zero;
    uint64_t size;
    uint64_t first_seq;
    uint64_t bytes_before;
    uint8_t reserved[20];
    uint32_t checksum;
};
_Static_assert(sizeof(struct segment_header) == SEGMENT_HEADER_SIZE, "the format says 64");
_Static_assert(sizeof(struct segment_record) == SEGMENT_RECORD_HEADER_SIZE, "the format says 32");

static uint64_t mix(uint64_t state, uint64_t word) {
    state = (state ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return state << 29 | state >> 35;
}

/* Not against attackers: against torn and rotten records. Four lanes, eight bytes each, since a record of 1 MiB must not cost
 * what its HMAC costs; each step is a bijection, so one wrong word cannot get lost on the way. */
static uint64_t checksum_add(uint64_t state, const uint8_t *data, size_t length) {
    uint64_t lanes[4] = {state, ~state, state + 1, ~state - 1};
    uint64_t words[4];
    size_t at = 0;
    for (; length - at >= sizeof words; at += sizeof words) {
        memcpy(words, data + at, sizeof words);
        for (int i = 0; i < 4; i++)
            lanes[i] = mix(lanes[i], words[i]);
    }
    memset(words, 0, sizeof words);
    if (length > at)
        memcpy(words, data + at, length - at);
    state = mix(state, length);
    for (int i = 0; i < 4; i++)
        state = mix(state, mix(lanes[i], words[i]));
    return state;
}

static uint32_t record_checksum(const struct segment_record *head, const uint8_t *payload) {
    struct segment_record copy = *head;
    copy.checksum = 0;
    uint64_t state = checksum_add(1, (const uint8_t *)&copy, sizeof copy);
    state = checksum_add(state, payload, head->length);
    return (uint32_t)(state >> 32 ^ state);
}

static uint32_t header_checksum(const struct segment_header *header) {
    uint64_t state =
        checksum_add(2, (const uint8_t *)header, offsetof(struct segment_header, checksum));
    return (uint32_t)(state >> 32 ^ state);
}

static char *segment_path(const char *directory, uint64_t first_seq) {
    return memory_printf("%s/%020" PRIu64 ".segment", directory, first_seq);
}

/* A mapped new file, or NULL with errno. The blocks are allocated first: a write into a hole of a full disk is a SIGBUS. */
static uint8_t *map_new_file(const char *directory, uint64_t first_seq, size_t size) {
    cleanup_free char *path = segment_path(directory, first_seq);
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return NULL;
    int failed = posix_fallocate(fd, 0, (off_t)size);
    uint8_t *map = MAP_FAILED;
    if (failed == 0) {
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        failed = errno;
    }
    if (map == MAP_FAILED) {
        (void)unlink(path);
        errno = failed;
        return NULL;
    }
    return map;
}

static void write_first(struct segment *segment) {
    struct segment_header header = {
        .version = SEGMENT_VERSION,
        .size = segment->size,
        .first_seq = segment->first_seq,
        .bytes_before = segment->bytes_before,
    };
    memcpy(header.magic, segment_magic, sizeof header.magic);
    header.checksum = header_checksum(&header);
    memcpy(segment->map, &header, sizeof header);
    segment->used = SEGMENT_HEADER_SIZE;
}

struct segment *segment_create(const char *directory, uint64_t first_seq, uint64_t bytes_before,
                               size_t size, int *disk_errno) {
    bool anonymous = false;
    *disk_errno = 0;
    uint8_t *map = map_new_file(directory, first_seq, size);
    if (map == NULL) {
        *disk_errno = errno;
        anonymous = true;
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
        if (map == MAP_FAILED)
            return NULL;
    }
    struct segment *segment = memory_alloc(sizeof *segment);
    segment->first_seq = first_seq;
    segment->bytes_before = bytes_before;
    segment->size = size;
    segment->map = map;
    segment->anonymous = anonymous;
    atomic_init(&segment->references, 1);
    write_first(segment);
    return segment;
}

int segment_recycle(struct segment *segment, const char *directory, uint64_t first_seq,
                    uint64_t bytes_before) {
    if (segment->anonymous || segment->sealed || atomic_load(&segment->references) != 1)
        return -1;
    cleanup_free char *old_path = segment_path(directory, segment->first_seq);
    cleanup_free char *new_path = segment_path(directory, first_seq);
    if (rename(old_path, new_path) < 0)
        return -1;
    segment->first_seq = first_seq;
    segment->bytes_before = bytes_before;
    segment->count = segment->bytes = 0;
    segment->populated = 0;
    write_first(segment); /* its old records cannot come back: their numbers are smaller */
    return 0;
}

static void index_add(struct segment *segment) {
    if (segment->count % SEGMENT_INDEX_STEP != 0)
        return;
    size_t place = (size_t)(segment->count / SEGMENT_INDEX_STEP);
    if (place >= segment->index_capacity) {
        segment->index_capacity = segment->index_capacity ? 2 * segment->index_capacity : 4;
        segment->index =
            memory_resize(segment->index, segment->index_capacity * sizeof *segment->index);
    }
    segment->index[place] = (struct segment_index){segment->used, segment->bytes};
}

static void count_record(struct segment *segment, size_t length, uint64_t message_bytes) {
    index_add(segment);
    segment->count++;
    segment->bytes += message_bytes;
    segment->used += segment_record_size(length);
}

const struct segment_record *segment_at(const struct segment *segment, size_t offset) {
    return (const struct segment_record *)(const void *)(segment->map + offset);
}

/* The record at the segment's end, if it is whole and the one that is expected there. */
static const struct segment_record *check_record(const struct segment *segment) {
    size_t left = segment->size - segment->used;
    if (left < SEGMENT_RECORD_HEADER_SIZE)
        return NULL;
    const struct segment_record *record = segment_at(segment, segment->used);
    if (record->seq != segment->first_seq + segment->count ||
        record->length > left - SEGMENT_RECORD_HEADER_SIZE ||
        segment_record_size(record->length) > left || record->channel >= CHANNEL_COUNT ||
        record->kind > SEGMENT_LOST || record->class >= MESSAGE_CLASS_COUNT ||
        (record->kind == SEGMENT_LOST && record->length != sizeof(uint64_t)) ||
        record->checksum != record_checksum(record, (const uint8_t *)(record + 1)))
        return NULL;
    return record;
}

static int check_header(const struct segment_header *header, const char *name, struct error *err) {
    char expected[64];
    snprintf(expected, sizeof expected, "%020" PRIu64 ".segment", header->first_seq);
    if (memcmp(header->magic, segment_magic, sizeof header->magic) != 0)
        return error_set(err, ERROR_INVALID, "%s: this is no journal segment", name);
    if (header->version != SEGMENT_VERSION)
        return error_set(err, ERROR_UNSUPPORTED, "%s: version %" PRIu32 " is not %d", name,
                         header->version, SEGMENT_VERSION);
    if (header->checksum != header_checksum(header) || header->first_seq == 0 ||
        header->first_seq > UINT64_MAX / 2 || header->size < SEGMENT_HEADER_SIZE ||
        strcmp(name, expected) != 0)
        return error_set(err, ERROR_INVALID, "%s: the header is damaged", name);
    return 0; /* a file that was cut off may be shorter than its header says: its records tell */
}

static uint8_t *map_old_file(const char *directory, const char *name, size_t *size,
                             struct error *err) {
    cleanup_free char *path = memory_printf("%s/%s", directory, name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0) {
        error_system(err, errno, "%s", name);
        return NULL;
    }
    if (!S_ISREG(status.st_mode) || status.st_size < SEGMENT_HEADER_SIZE) {
        error_set(err, ERROR_INVALID, "%s: too short for a journal segment", name);
        return NULL;
    }
    *size = (size_t)status.st_size;
    uint8_t *map = mmap(NULL, *size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        error_system(err, errno, "%s: cannot be mapped", name);
        return NULL;
    }
    return map;
}

struct segment *segment_open(const char *directory, const char *name, uint32_t *max_session,
                             struct error *err) {
    size_t size;
    uint8_t *map = map_old_file(directory, name, &size, err);
    if (map == NULL)
        return NULL;
    struct segment_header header;
    memcpy(&header, map, sizeof header);
    if (check_header(&header, name, err) < 0) {
        munmap(map, size);
        return NULL;
    }
    struct segment *segment = memory_alloc(sizeof *segment);
    segment->first_seq = header.first_seq;
    segment->bytes_before = header.bytes_before;
    segment->used = SEGMENT_HEADER_SIZE;
    segment->size = size;
    segment->map = map;
    segment->sealed = true;
    atomic_init(&segment->references, 1);
    const struct segment_record *record;
    while ((record = check_record(segment)) != NULL) {
        if (record->session > *max_session && record->session != UINT32_MAX)
            *max_session = record->session;
        count_record(segment, record->length, segment_message_bytes(record));
    }
    return segment;
}

void segment_shorten(struct segment *segment, uint64_t count) {
    if (count >= segment->count)
        return;
    uint64_t bytes = 0;
    segment->used = segment_find(segment, segment->first_seq + count, &bytes);
    segment->bytes = bytes;
    segment->count = count;
}

void segment_unlink(const struct segment *segment, const char *directory) {
    if (segment->anonymous)
        return;
    cleanup_free char *path = segment_path(directory, segment->first_seq);
    (void)unlink(path);
}

void segment_retain(struct segment *segment) {
    atomic_fetch_add_explicit(&segment->references, 1, memory_order_relaxed);
}

void segment_release(struct segment *segment) {
    if (segment == NULL ||
        atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel) != 1)
        return;
    munmap(segment->map, segment->size);
    free(segment->index);
    free(segment);
}

size_t segment_record_size(size_t length) {
    return SEGMENT_RECORD_HEADER_SIZE + ((length + 7) & ~(size_t)7);
}

bool segment_has_room(const struct segment *segment, size_t length) {
    return !segment->sealed && segment_record_size(length) <= segment->size - segment->used;
}

/* Faults pages in by the stride, which costs a third of what one fault a page does. Not in the first small segment: an
 * idle kernel touches little. */
static void populate(struct segment *segment, size_t end) {
    if (end <= segment->populated || segment->size <= POPULATE_STRIDE)
        return;
    size_t from = segment->populated;
    size_t to = (end + POPULATE_STRIDE - 1) / POPULATE_STRIDE * POPULATE_STRIDE;
    if (to > segment->size)
        to = segment->size;
    (void)madvise(segment->map + from, to - from, MADV_POPULATE_WRITE); /* older kernels: EINVAL */
    segment->populated = to;
}

void segment_append(struct segment *segment, const struct segment_record *head, const void *payload,
                    uint64_t message_bytes) {
    uint8_t *at = segment->map + segment->used;
    populate(segment, segment->used + segment_record_size(head->length));
    if (head->length > 0)
        memcpy(at + SEGMENT_RECORD_HEADER_SIZE, payload, head->length);
    struct segment_record record = *head;
    record.checksum = record_checksum(head, at + SEGMENT_RECORD_HEADER_SIZE);
    memcpy(at, &record, sizeof record);
    count_record(segment, head->length, message_bytes);
}

uint64_t segment_message_bytes(const struct segment_record *record) {
    if (record->kind == SEGMENT_KEPT)
        return record->length;
    uint64_t lost;
    memcpy(&lost, record + 1, sizeof lost);
    return lost;
}

size_t segment_find(const struct segment *segment, uint64_t seq, uint64_t *bytes) {
    uint64_t wanted = seq - segment->first_seq;
    const struct segment_index *entry = &segment->index[wanted / SEGMENT_INDEX_STEP];
    size_t offset = entry->offset;
    uint64_t total = entry->bytes;
    for (uint64_t i = 0; i < wanted % SEGMENT_INDEX_STEP; i++) {
        const struct segment_record *record = segment_at(segment, offset);
        total += segment_message_bytes(record);
        offset += segment_record_size(record->length);
    }
    if (bytes != NULL)
        *bytes = total;
    return offset;
}

void segment_cool(struct segment *segment) {
    segment->populated = segment->used / POPULATE_STRIDE * POPULATE_STRIDE;
    if (!segment->anonymous)
        (void)madvise(segment->map, segment->size, MADV_DONTNEED);
}
