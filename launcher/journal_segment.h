/* One segment of the journal: a file (or anonymous memory when the disk is full) mapped into
 * memory, with a header and records end to end. All integers are in the machine's byte order: a
 * journal never leaves its machine.
 *
 *   header  64 bytes: "ELRAJRNL" | u32 version | u32 fold level + 1, or 0 | u64 size | u64 first
 *           seq | u64 bytes before | zero | u32 checksum
 *   record  u32 length | u32 checksum | u64 seq | u32 session | u32 cell | u8 channel | u8 kind
 *           | u8 class | u8 flags | u32 display
 *           | payload, padded to 8
 *   payload of a FOLDED record  u64 numbers | u64 bytes | u64 messages told | u64 bytes told |
 *                               parent header of the first one told
 *
 * cell, class and display: launcher/message_class.h.
 * "bytes before" is the payload bytes of all messages numbered before the first one, so that what a
 * gap between two segments took is known. A FOLDED record stands for as many numbers as it says,
 * from its seq on: messages that the cap took. Those of them that a client could miss are told;
 * they are all of its cell and session. The others' cell and session are forgotten. The numbers of
 * a segment's records follow each other; the first record that does not check ends it.
 *
 * A launcher reads only its own version. Magic and version stay where they are in any of them.
 *
 * A segment with a fold level was written by journal_fold.c in the place of one or more others
 * (what it covers is gone, though their files may still be there). It is made under the name <first
 * seq>.new. */
#pragma once

#include "base/error.h"
#include "launcher/kernel_message.h"
#include "launcher/message_class.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEGMENT_HEADER_SIZE = 64,
    SEGMENT_RECORD_HEADER_SIZE = 32,
    SEGMENT_INDEX_STEP = 128, /* records between two entries of the index */
    SEGMENT_PARENT_MAX =
        4096, /* bytes of a parent header that a FOLDED record keeps; a larger one is left out */
};

/* A capability of the link: who reads our files must know this version of them. */
#define SEGMENT_CAPABILITY "segments-3"

enum segment_kind { SEGMENT_KEPT = 0, SEGMENT_FOLDED = 1 };

enum segment_flag {
    /* FOLDED: what comes behind it up to the next FOLDED record of its cell is of the same output,
     * and the two are told together */
    SEGMENT_GOES_ON = 1,
    /* KEPT: a stream that stands for what it overwrote, kept as outputs are */
    SEGMENT_PROGRESS = 2,
};

struct segment_record {
    uint32_t length; /* of the payload */
    uint32_t checksum;
    uint64_t seq;
    uint32_t session;
    uint32_t cell;
    uint8_t channel;
    uint8_t kind;
    uint8_t class; /* enum message_class */
    uint8_t flags; /* enum segment_flag */
    uint32_t display;
};

struct segment_folded {
    uint64_t numbers;
    uint64_t bytes;
    uint64_t told_messages;
    uint64_t told_bytes;
};

/* What its file is called: <first seq>.segment, <first seq>.new, spare.new. */
enum segment_place { SEGMENT_PLACED, SEGMENT_NEW, SEGMENT_SPARE };

struct segment_index {
    uint64_t seq;
    size_t offset;
    uint64_t bytes; /* of the messages before it in this segment */
};

struct segment {
    uint64_t first_seq;
    uint64_t count; /* numbers that its records stand for */
    uint64_t records;
    uint64_t bytes_before; /* as in the header */
    uint64_t bytes;        /* of the messages in here, folded ones too */
    uint64_t
        class_bytes[MESSAGE_CLASS_COUNT]; /* room that kept records take, with header and padding */
    uint64_t hidden_bytes;                /* of these: about what later messages made invisible */
    int fold_level;                       /* what was folded already; -1: nothing */
    size_t used;
    size_t populated; /* pages up to here were faulted in */
    size_t size;
    uint8_t *map;
    bool anonymous;
    /* nothing is appended: of an earlier life (what lies behind its end may look valid), or
     * folded */
    bool sealed;
    enum segment_place place;
    struct segment_index *index;
    size_t index_capacity;
    atomic_int references; /* mappings go with the last one, also from ZeroMQ's thread */
};

/* Where a segment's numbers begin, what was before, and what is known of its level (-1: not
 * folded). */
struct segment_start {
    uint64_t first_seq;
    uint64_t bytes_before;
    int fold_level;
};

/* A new file <directory>/<first seq>.segment (.new with a level) of `size` bytes; when the disk
 * says no, anonymous memory (*disk_errno tells why). NULL: no memory either. */
struct segment *segment_create(const char *directory, const struct segment_start *start,
                               size_t size, int *disk_errno);
/* Gives the file and the mapping of a segment that is not needed to a new one, which saves the page
 * faults. -1, and nothing changed, when somebody still holds it. */
int segment_recycle(struct segment *segment, const char *directory,
                    const struct segment_start *start);
/* A file of an earlier life, with its valid records; sealed. NULL: ERROR_INVALID, it is damaged so
 * that nothing can be read; ERROR_UNSUPPORTED, it is of another version, or no file; any other, it
 * cannot be opened now. max_session grows to the largest session seen. */
struct segment *segment_open(const char *directory, const char *name, uint32_t *max_session,
                             struct error *err);
/* Gives a folded segment its place: its file gets the name of `old` (NULL or anonymous: it has none
 * yet), and old's file the name <first seq>.new if the file system can exchange names, else it is
 * gone. -1: nothing changed. */
int segment_replace(struct segment *segment, struct segment *old, const char *directory);
/* Keeps the file of one that is not needed any more for segment_recycle; there is one spare in a
 * directory. -1: it cannot be used again. */
int segment_park(struct segment *segment, const char *directory);
/* At start: removes what an interrupted segment_replace or segment_park left. */
void segment_tidy_directory(const char *directory);
void segment_shorten(struct segment *segment,
                     uint64_t seq); /* drops the record that holds seq, and all behind it */
void segment_unlink(struct segment *segment, const char *directory);
void segment_retain(struct segment *segment);
void segment_release(struct segment *segment);

size_t segment_record_size(size_t length); /* with header and padding */
bool segment_has_room(const struct segment *segment, size_t length);
/* There must be room; head->seq is the next number. */
void segment_append(struct segment *segment, const struct segment_record *head,
                    const void *payload);
/* The same for a record of another segment. */
void segment_append_copy(struct segment *segment, const struct segment_record *record);
/* Sets a flag of the record at an offset, in a segment that is not in its place yet. */
void segment_mark(struct segment *segment, size_t offset, enum segment_flag flag);
const struct segment_record *segment_at(const struct segment *segment, size_t offset);
/* How many numbers a record stands for, and their messages' bytes. */
uint64_t segment_numbers(const struct segment_record *record);
uint64_t segment_message_bytes(const struct segment_record *record);
/* The parent header is what follows the struct. */
struct segment_folded segment_folded(const struct segment_record *record);
/* Offset of the record that stands for `seq`, which must be in the segment, and the bytes of the
 * messages before that record in this segment. */
size_t segment_find(const struct segment *segment, uint64_t seq, uint64_t *bytes);
/* Whether the record can be read without waiting for the disk. */
bool segment_is_cached(const struct segment *segment, size_t offset);
/* For another process: the payload of the message `seq` from the file of the segment that begins
 * with first_seq, where the record is at an offset. -1: it is not there (any more), and data holds
 * anything. */
int segment_read(const char *directory, uint64_t first_seq, uint64_t offset, uint64_t seq,
                 void *data, size_t length);
/* Lets the pages go from our memory; the page cache keeps them. */
void segment_cool(struct segment *segment);
