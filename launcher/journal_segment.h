/* One segment of the journal: a file (or anonymous memory when the disk is full) mapped into memory, with a header and
 * records end to end. All integers are in the machine's byte order: a journal never leaves its machine.
 *
 *   header  64 bytes: "ELRAJRNL" | u32 version | u32 zero | u64 size | u64 first seq | u64 bytes before | zero | u32 checksum
 *   record  u32 length | u32 checksum | u64 seq | u32 session | u32 cell | u8 channel | u8 kind | u8 class | 5 zero | payload, padded to 8
 *
 * cell and class: launcher/message_class.h.
 * "bytes before" is the payload bytes of all messages numbered before the first one, so that what a gap between two segments took is known.
 * A record of kind LOST stands for a message that was too large to keep: its payload is the u64 length of it.
 * The numbers of a segment's records follow each other; the first record that does not check ends it. */
#pragma once

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEGMENT_HEADER_SIZE = 64,
    SEGMENT_RECORD_HEADER_SIZE = 32,
    SEGMENT_INDEX_STEP = 128, /* records between two entries of the index */
};

enum segment_kind { SEGMENT_KEPT = 0, SEGMENT_LOST = 1 };

struct segment_record {
    uint32_t length; /* of the payload */
    uint32_t checksum;
    uint64_t seq;
    uint32_t session;
    uint32_t cell;
    uint8_t channel;
    uint8_t kind;
    uint8_t class; /* enum message_class */
    uint8_t zero[5];
};

struct segment_index {
    size_t offset;
    uint64_t bytes; /* of the messages before it in this segment */
};

struct segment {
    uint64_t first_seq;
    uint64_t count;        /* records */
    uint64_t bytes_before; /* as in the header */
    uint64_t bytes;        /* of the messages in here, lost ones too */
    size_t used;
    size_t populated; /* pages up to here were faulted in */
    size_t size;
    uint8_t *map;
    bool anonymous;
    /* of an earlier life: nothing is appended, what lies behind its end may look valid */
    bool sealed;
    struct segment_index *index;
    size_t index_capacity;
    atomic_int references; /* mappings go with the last one, also from ZeroMQ's thread */
};

/* A new file <directory>/<first seq>.segment of `size` bytes; when the disk says no, anonymous memory (*disk_errno tells why). NULL: no memory either. */
struct segment *segment_create(const char *directory, uint64_t first_seq, uint64_t bytes_before,
                               size_t size, int *disk_errno);
/* Gives the file and the mapping of the oldest segment to a new one, which saves the page faults. -1, and nothing changed, when somebody still holds it. */
int segment_recycle(struct segment *segment, const char *directory, uint64_t first_seq,
                    uint64_t bytes_before);
/* A file of an earlier life, with its valid records; sealed. NULL with the reason when the header is not valid. max_session grows to the largest session seen. */
struct segment *segment_open(const char *directory, const char *name, uint32_t *max_session,
                             struct error *err);
void segment_shorten(struct segment *segment, uint64_t count); /* keeps the first `count` records */
void segment_unlink(const struct segment *segment, const char *directory);
void segment_retain(struct segment *segment);
void segment_release(struct segment *segment);

size_t segment_record_size(size_t length); /* with header and padding */
bool segment_has_room(const struct segment *segment, size_t length);
/* There must be room. message_bytes: what counts for the message (its length, also when only a LOST record is kept). */
void segment_append(struct segment *segment, const struct segment_record *head, const void *payload,
                    uint64_t message_bytes);
const struct segment_record *segment_at(const struct segment *segment, size_t offset);
uint64_t segment_message_bytes(const struct segment_record *record);
/* Offset of record `seq`, which must be in it, and the bytes of the messages before it in this segment. */
size_t segment_find(const struct segment *segment, uint64_t seq, uint64_t *bytes);
/* Lets the pages go from our memory; the page cache keeps them. */
void segment_cool(struct segment *segment);
