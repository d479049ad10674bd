#include "launcher/journal_segment.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "launcher/message_class.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE /* headers before Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

enum { SEGMENT_VERSION = 3, POPULATE_STRIDE = 64 << 10 };

_Static_assert(SEGMENT_VERSION == 3, "the capability's name says it too");

static const char segment_magic[8] = {'E', 'L', 'R', 'A', 'J', 'R', 'N', 'L'};

struct segment_header {
    char magic[8];
    uint32_t version;
    uint32_t fold_level; /* + 1 */
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

/* Not against attackers: against torn and rotten records. Four lanes, eight bytes each, since a
 * record of 1 MiB must not cost what its HMAC costs; each step is a bijection, so one wrong word
 * cannot get lost on the way. */
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

static char *segment_path(const char *directory, uint64_t first_seq, enum segment_place place) {
    if (place == SEGMENT_SPARE)
        return memory_printf("%s/spare.new", directory);
    return memory_printf("%s/%020" PRIu64 ".%s", directory, first_seq,
                         place == SEGMENT_NEW ? "new" : "segment");
}

static char *path_of(const struct segment *segment, const char *directory) {
    return segment_path(directory, segment->first_seq, segment->place);
}

/* A mapped new file, or NULL with errno. The blocks are allocated first: a write into a hole of a
 * full disk is a SIGBUS. */
static uint8_t *map_new_file(const char *path, size_t size) {
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

/* Empties the segment and writes its header. */
static void begin(struct segment *segment, const struct segment_start *start) {
    segment->first_seq = start->first_seq;
    segment->bytes_before = start->bytes_before;
    segment->fold_level = start->fold_level;
    segment->count = segment->records = segment->bytes = segment->hidden_bytes = 0;
    memset(segment->class_bytes, 0, sizeof segment->class_bytes);
    segment->populated = 0;
    segment->used = SEGMENT_HEADER_SIZE;
    struct segment_header header = {
        .version = SEGMENT_VERSION,
        .fold_level = (uint32_t)(start->fold_level + 1),
        .size = segment->size,
        .first_seq = start->first_seq,
        .bytes_before = start->bytes_before,
    };
    memcpy(header.magic, segment_magic, sizeof header.magic);
    header.checksum = header_checksum(&header);
    memcpy(segment->map, &header, sizeof header);
}

struct segment *segment_create(const char *directory, const struct segment_start *start,
                               size_t size, int *disk_errno) {
    enum segment_place place = start->fold_level >= 0 ? SEGMENT_NEW : SEGMENT_PLACED;
    bool anonymous = false;
    cleanup_free char *path = segment_path(directory, start->first_seq, place);
    *disk_errno = 0;
    uint8_t *map = map_new_file(path, size);
    if (map == NULL) {
        *disk_errno = errno;
        anonymous = true;
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
        if (map == MAP_FAILED)
            return NULL;
    }
    struct segment *segment = memory_alloc(sizeof *segment);
    segment->size = size;
    segment->map = map;
    segment->anonymous = anonymous;
    segment->place = place;
    atomic_init(&segment->references, 1);
    begin(segment, start);
    return segment;
}

int segment_recycle(struct segment *segment, const char *directory,
                    const struct segment_start *start) {
    if (segment->anonymous || segment->sealed || atomic_load(&segment->references) != 1)
        return -1;
    cleanup_free char *old_path = path_of(segment, directory);
    cleanup_free char *new_path = segment_path(directory, start->first_seq, SEGMENT_PLACED);
    if (rename(old_path, new_path) < 0)
        return -1;
    segment->place = SEGMENT_PLACED;
    begin(segment, start); /* its old records cannot come back: their numbers are smaller */
    return 0;
}

int segment_replace(struct segment *segment, struct segment *old, const char *directory) {
    bool has_old = old != NULL && !old->anonymous;
    cleanup_free char *path = segment_path(directory, segment->first_seq, SEGMENT_PLACED);
    cleanup_free char *new_path = segment_path(directory, segment->first_seq, SEGMENT_NEW);
    if (segment->anonymous) {
        if (has_old) { /* what is kept of it is in memory now, and the disk needs the room */
            (void)unlink(path);
            old->anonymous = true;
        }
    } else if (has_old && renameat2(AT_FDCWD, new_path, AT_FDCWD, path, RENAME_EXCHANGE) == 0) {
        old->place = SEGMENT_NEW;
    } else {
        if (rename(new_path, path) < 0)
            return -1;
        if (has_old)
            old->anonymous = true;
    }
    segment->place = SEGMENT_PLACED;
    segment->sealed = true;
    return 0;
}

int segment_park(struct segment *segment, const char *directory) {
    cleanup_free char *path = path_of(segment, directory);
    cleanup_free char *spare = segment_path(directory, 0, SEGMENT_SPARE);
    if (segment->anonymous || segment->sealed || rename(path, spare) < 0)
        return -1;
    segment->place = SEGMENT_SPARE;
    return 0;
}

static int is_new_file(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return length > 4 && strcmp(entry->d_name + length - 4, ".new") == 0;
}

void segment_tidy_directory(const char *directory) {
    struct dirent **names = NULL;
    int count = scandir(directory, &names, is_new_file, NULL);
    for (int i = 0; i < count; i++) {
        cleanup_free char *path = memory_printf("%s/%s", directory, names[i]->d_name);
        (void)unlink(path);
        free(names[i]);
    }
    free(names);
}

static void index_add(struct segment *segment) {
    if (segment->records % SEGMENT_INDEX_STEP != 0)
        return;
    size_t place = (size_t)(segment->records / SEGMENT_INDEX_STEP);
    if (place >= segment->index_capacity) {
        segment->index_capacity = segment->index_capacity ? 2 * segment->index_capacity : 4;
        segment->index =
            memory_resize(segment->index, segment->index_capacity * sizeof *segment->index);
    }
    segment->index[place] =
        (struct segment_index){segment->first_seq + segment->count, segment->used, segment->bytes};
}

static void count_record(struct segment *segment, const struct segment_record *record) {
    size_t size = segment_record_size(record->length);
    index_add(segment);
    segment->records++;
    segment->count += segment_numbers(record);
    segment->bytes += segment_message_bytes(record);
    segment->used += size;
    if (record->kind == SEGMENT_KEPT)
        segment->class_bytes[record->class] += size;
}

const struct segment_record *segment_at(const struct segment *segment, size_t offset) {
    return (const struct segment_record *)(const void *)(segment->map + offset);
}

static bool check_folded(const struct segment_record *record) {
    if (record->length < sizeof(struct segment_folded))
        return false;
    struct segment_folded folded = segment_folded(record);
    return folded.numbers > 0 && folded.numbers <= UINT64_MAX / 2 - record->seq &&
           folded.told_messages <= folded.numbers && folded.told_bytes <= folded.bytes;
}

/* The record at the segment's end, if it is whole and the one that is expected there. */
static const struct segment_record *check_record(const struct segment *segment) {
    size_t left = segment->size - segment->used;
    if (left < SEGMENT_RECORD_HEADER_SIZE)
        return NULL;
    const struct segment_record *record = segment_at(segment, segment->used);
    if (record->seq != segment->first_seq + segment->count || record->seq > UINT64_MAX / 2 ||
        record->length > left - SEGMENT_RECORD_HEADER_SIZE ||
        segment_record_size(record->length) > left || record->channel >= CHANNEL_COUNT ||
        record->kind > SEGMENT_FOLDED || record->class >= MESSAGE_CLASS_COUNT ||
        record->checksum != record_checksum(record, (const uint8_t *)(record + 1)) ||
        (record->kind == SEGMENT_FOLDED && !check_folded(record)))
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
        header->fold_level > INT32_MAX || strcmp(name, expected) != 0)
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
    if (!S_ISREG(status.st_mode)) {
        error_set(err, ERROR_UNSUPPORTED, "%s: this is no file", name);
        return NULL;
    }
    if (status.st_size < SEGMENT_HEADER_SIZE) {
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
    segment->fold_level = (int)header.fold_level - 1;
    segment->used = SEGMENT_HEADER_SIZE;
    segment->size = size;
    segment->map = map;
    segment->sealed = true;
    atomic_init(&segment->references, 1);
    const struct segment_record *record;
    while ((record = check_record(segment)) != NULL) {
        if (record->session > *max_session && record->session != UINT32_MAX)
            *max_session = record->session;
        count_record(segment, record);
    }
    return segment;
}

void segment_shorten(struct segment *segment, uint64_t seq) {
    if (seq >= segment->first_seq + segment->count)
        return;
    uint64_t bytes = 0;
    size_t end = segment_find(segment, seq, &bytes);
    segment->count = segment_at(segment, end)->seq - segment->first_seq;
    segment->bytes = bytes;
    segment->used = end;
    segment->records = 0;
    for (size_t at = SEGMENT_HEADER_SIZE; at < end; segment->records++)
        at += segment_record_size(segment_at(segment, at)->length);
}

void segment_unlink(struct segment *segment, const char *directory) {
    if (segment->anonymous)
        return;
    cleanup_free char *path = path_of(segment, directory);
    (void)unlink(path);
    segment->anonymous = true;
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

/* Faults pages in by the stride, which costs a third of what one fault a page does. Not in the
 * first small segment: an idle kernel touches little. */
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

void segment_append(struct segment *segment, const struct segment_record *head,
                    const void *payload) {
    uint8_t *at = segment->map + segment->used;
    populate(segment, segment->used + segment_record_size(head->length));
    if (head->length > 0)
        memcpy(at + SEGMENT_RECORD_HEADER_SIZE, payload, head->length);
    struct segment_record record = *head;
    record.checksum = record_checksum(head, at + SEGMENT_RECORD_HEADER_SIZE);
    memcpy(at, &record, sizeof record);
    count_record(segment, segment_at(segment, segment->used));
}

void segment_append_copy(struct segment *segment, const struct segment_record *record) {
    size_t size = segment_record_size(record->length);
    populate(segment, segment->used + size);
    memcpy(segment->map + segment->used, record, size);
    count_record(segment, record);
}

void segment_mark(struct segment *segment, size_t offset, enum segment_flag flag) {
    struct segment_record record;
    uint8_t *at = segment->map + offset;
    memcpy(&record, at, sizeof record);
    record.flags |= (uint8_t)flag;
    record.checksum = record_checksum(&record, at + SEGMENT_RECORD_HEADER_SIZE);
    memcpy(at, &record, sizeof record);
}

struct segment_folded segment_folded(const struct segment_record *record) {
    struct segment_folded folded;
    memcpy(&folded, record + 1, sizeof folded);
    return folded;
}

uint64_t segment_numbers(const struct segment_record *record) {
    return record->kind == SEGMENT_KEPT ? 1 : segment_folded(record).numbers;
}

uint64_t segment_message_bytes(const struct segment_record *record) {
    return record->kind == SEGMENT_KEPT ? record->length : segment_folded(record).bytes;
}

/* The last entry of the index that is not behind seq. */
static const struct segment_index *find_entry(const struct segment *segment, uint64_t seq) {
    size_t low = 0;
    size_t high = (size_t)((segment->records + SEGMENT_INDEX_STEP - 1) / SEGMENT_INDEX_STEP);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (segment->index[middle].seq <= seq)
            low = middle;
        else
            high = middle;
    }
    return &segment->index[low];
}

size_t segment_find(const struct segment *segment, uint64_t seq, uint64_t *bytes) {
    const struct segment_index *entry = find_entry(segment, seq);
    size_t offset = entry->offset;
    uint64_t total = entry->bytes;
    const struct segment_record *record = segment_at(segment, offset);
    while (record->seq + segment_numbers(record) <= seq) {
        total += segment_message_bytes(record);
        offset += segment_record_size(record->length);
        record = segment_at(segment, offset);
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

bool segment_is_cached(const struct segment *segment, size_t offset) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = offset / page * page;
    size_t size = segment_record_size(segment_at(segment, offset)->length) + offset - from;
    unsigned char pages[1024 + 2];
    if ((size + page - 1) / page > sizeof pages || mincore(segment->map + from, size, pages) < 0)
        return false;
    for (size_t i = 0; i < (size + page - 1) / page; i++)
        if (!(pages[i] & 1))
            return false;
    return true;
}

/* Without waiting for a disk, where the file system knows how. */
static ssize_t read_now(int fd, const struct iovec parts[2], uint64_t offset) {
    ssize_t got = preadv2(fd, parts, 2, (off_t)offset, RWF_NOWAIT);
    return got < 0 && errno == EOPNOTSUPP ? preadv(fd, parts, 2, (off_t)offset) : got;
}

/* Files get another name before they are written anew (segment_recycle, segment_park,
 * segment_replace), and the records of one that has its name stay as they are: so what was read is
 * right if the file still has its name afterwards. */
int segment_read(const char *directory, uint64_t first_seq, uint64_t offset, uint64_t seq,
                 void *data, size_t length) {
    cleanup_free char *path = segment_path(directory, first_seq, SEGMENT_PLACED);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct segment_record record;
    struct iovec parts[] = {{&record, sizeof record}, {data, length}};
    struct stat read, named;
    if (fd < 0 || offset > INT64_MAX ||
        read_now(fd, parts, offset) != (ssize_t)(sizeof record + length) || record.seq != seq ||
        record.length != length || record.kind != SEGMENT_KEPT)
        return -1;
    if (fstat(fd, &read) < 0 || stat(path, &named) < 0)
        return -1;
    return read.st_dev == named.st_dev && read.st_ino == named.st_ino ? 0 : -1;
}
