#include "launcher/journal_fold.h"

#include "base/memory.h"
#include "launcher/journal_progress.h"

#include <stdlib.h>
#include <string.h>

enum verdict { VERDICT_KEEP, VERDICT_KEEP_PROGRESS, VERDICT_HIDE, VERDICT_TELL };

/* The last stream of a cell, which the next one may write over. */
struct line {
    bool is_known;
    uint32_t cell;
    size_t record;
    bool at_start; /* it begins where a line does */
    struct progress_text text;
};

/* Messages that go, in one row. Those that are told are of one cell and session. */
struct run {
    uint64_t first_seq;
    struct segment_folded sums;
    uint32_t cell, session;
    struct bytes parent;
};

/* The last FOLDED record that told something. */
struct told {
    bool is_open; /* its cell's output goes on */
    uint32_t cell, session;
    size_t offset;
};

struct work {
    const struct fold *fold;
    uint8_t *verdicts; /* of each record of the inputs */
    struct line line;
    struct segment *out; /* NULL: only the size is wanted */
    size_t size;
    struct run run;
    struct told told;
};

static enum fold_level level_of(enum message_class class) {
    switch (class) {
    case MESSAGE_STREAM:
        return FOLD_STREAMS;
    case MESSAGE_OTHER:
    case MESSAGE_BUSY:
    case MESSAGE_STATE:
    case MESSAGE_INPUT:
        return FOLD_STATES;
    case MESSAGE_OUTPUT:
    case MESSAGE_UPDATE:
        return FOLD_OUTPUTS;
    default:
        return FOLD_ALL;
    }
}

uint64_t fold_gain(const struct segment *segment, enum fold_level level) {
    if ((int)level <= segment->fold_level)
        return segment->hidden_bytes;
    uint64_t gain = 0;
    for (enum message_class class = 0; class < MESSAGE_CLASS_COUNT; class ++)
        if (level_of(class) <= level)
            gain += segment->class_bytes[class];
    if (level < FOLD_OUTPUTS)
        gain += segment->hidden_bytes;
    return gain;
}

/* --- what goes --- */

static bool is_status(const struct segment_record *record) {
    return record->class == MESSAGE_BUSY || record->class == MESSAGE_STATE ||
           (record->class == MESSAGE_IDLE && record->cell == 0);
}

/* A stream that writes over the last one takes its place: of a progress bar the newest state is
 * kept. */
static enum verdict judge_stream(struct work *work, const struct segment_record *record,
                                 size_t index) {
    struct progress_text text = progress_read(record + 1, record->length);
    struct line *line = &work->line;
    bool follows =
        line->is_known && line->cell == record->cell && strcmp(line->text.stream, text.stream) == 0;
    bool is_bar = (record->flags & SEGMENT_PROGRESS) != 0;
    bool is_next = follows && progress_overwrites(&text, &line->text);
    uint8_t *before = &work->verdicts[line->record]; /* of no use when none is known */
    bool at_start = false;
    if (is_next && (line->at_start || (line->text.starts_over && text.starts_over))) {
        *before = VERDICT_HIDE;
        at_start = line->at_start;
    } else if (is_next && work->fold->level < FOLD_OUTPUTS) {
        *before = VERDICT_KEEP_PROGRESS; /* a bar's first: what is before it is not known */
    }
    if (follows && *before == VERDICT_KEEP_PROGRESS)
        at_start = line->text.ends_over;
    is_bar = is_bar || is_next;
    *line = (struct line){text.is_progress, record->cell, index, at_start, text};
    if (work->fold->level >= FOLD_OUTPUTS)
        return VERDICT_TELL;
    return is_bar ? VERDICT_KEEP_PROGRESS : VERDICT_TELL;
}

/* What else changes a cell's output ends the line that was there. */
static void leave_line(struct work *work, const struct segment_record *record) {
    bool shows = record->kind == SEGMENT_FOLDED
                     ? segment_folded(record).told_messages > 0
                     : record->class == MESSAGE_STREAM || record->class == MESSAGE_OUTPUT ||
                           record->class == MESSAGE_CLEAR || record->class == MESSAGE_OTHER;
    if (shows && record->cell == work->line.cell)
        work->line.is_known = false;
}

static enum verdict judge(struct work *work, const struct segment_record *record, size_t index) {
    enum fold_level level = work->fold->level;
    if (level == FOLD_NOTHING)
        return VERDICT_KEEP;
    bool is_hidden = record->kind == SEGMENT_KEPT && view_hides(work->fold->view, record);
    if (record->kind == SEGMENT_KEPT && record->class == MESSAGE_STREAM && !is_hidden)
        return judge_stream(work, record, index);
    leave_line(work, record);
    if (is_hidden)
        return VERDICT_HIDE;
    if (level >= FOLD_STATES && is_status(record) &&
        view_is_old_status(work->fold->view, record->seq))
        return VERDICT_HIDE;
    return level_of((enum message_class)record->class) <= level ? VERDICT_TELL : VERDICT_KEEP;
}

/* --- what is written in its place --- */

static void emit(struct work *work, const struct segment_record *head, const void *payload) {
    work->size += segment_record_size(head->length);
    if (work->out != NULL)
        segment_append(work->out, head, payload);
}

static void close_run(struct work *work) {
    struct run *run = &work->run;
    struct told *told = &work->told;
    if (run->sums.numbers == 0)
        return;
    uint8_t payload[sizeof run->sums + SEGMENT_PARENT_MAX];
    memcpy(payload, &run->sums, sizeof run->sums);
    if (run->parent.length > 0)
        memcpy(payload + sizeof run->sums, run->parent.data, run->parent.length);
    bool tells = run->sums.told_messages > 0;
    struct segment_record head = {
        .length = (uint32_t)(sizeof run->sums + run->parent.length),
        .seq = run->first_seq,
        .session = run->session,
        .cell = run->cell,
        .channel = CHANNEL_IOPUB,
        .kind = SEGMENT_FOLDED,
        .class = tells ? MESSAGE_STREAM : MESSAGE_OTHER,
    };
    if (tells) {
        if (told->is_open && told->cell == run->cell && told->session == run->session &&
            work->out != NULL)
            segment_mark(work->out, told->offset, SEGMENT_GOES_ON);
        *told = (struct told){run->cell != 0, run->cell, run->session, work->size};
    }
    emit(work, &head, payload);
    *run = (struct run){0};
}

/* Only outputs may stand between two records that are told together: behind the cell's end nobody
 * would see it. */
static void keep(struct work *work, const struct segment_record *record, bool as_progress) {
    close_run(work);
    enum fold_level level = level_of((enum message_class)record->class);
    bool is_output = level == FOLD_OUTPUTS || as_progress || record->class == MESSAGE_OTHER;
    if (record->cell == work->told.cell && !is_output)
        work->told.is_open = false;
    struct segment_record head = *record;
    if (as_progress) {
        head.flags |= SEGMENT_PROGRESS;
        emit(work, &head, record + 1);
        return;
    }
    work->size += segment_record_size(record->length);
    if (work->out != NULL)
        segment_append_copy(work->out, record);
}

static struct bytes parent_of(const struct segment_record *record) {
    const uint8_t *payload = (const uint8_t *)(record + 1);
    struct kernel_message message;
    struct bytes parent = {NULL, 0};
    if (record->kind == SEGMENT_FOLDED)
        parent = (struct bytes){payload + sizeof(struct segment_folded),
                                record->length - sizeof(struct segment_folded)};
    else if (kernel_message_parse(payload, record->length, &message, NULL) == 0)
        parent = message.parent_header;
    return parent.length <= SEGMENT_PARENT_MAX ? parent : (struct bytes){NULL, 0};
}

static struct segment_folded sums_of(const struct segment_record *record, bool tells) {
    if (record->kind == SEGMENT_FOLDED)
        return segment_folded(record);
    return (struct segment_folded){1, record->length, tells ? 1 : 0, tells ? record->length : 0};
}

static void take(struct work *work, const struct segment_record *record, bool tells) {
    struct run *run = &work->run;
    struct segment_folded sums = sums_of(record, tells);
    if (sums.told_messages > 0 && run->sums.told_messages > 0 &&
        (run->cell != record->cell || run->session != record->session))
        close_run(work);
    if (run->sums.numbers == 0)
        run->first_seq = record->seq;
    if (sums.told_messages > 0 && run->sums.told_messages == 0) {
        run->cell = record->cell;
        run->session = record->session;
        run->parent = parent_of(record);
    }
    run->sums.numbers += sums.numbers;
    run->sums.bytes += sums.bytes;
    run->sums.told_messages += sums.told_messages;
    run->sums.told_bytes += sums.told_bytes;
}

static void write_record(struct work *work, const struct segment_record *record, size_t index) {
    enum verdict verdict = (enum verdict)work->verdicts[index];
    if (record->kind == SEGMENT_KEPT && verdict <= VERDICT_KEEP_PROGRESS)
        keep(work, record, verdict == VERDICT_KEEP_PROGRESS);
    else
        take(work, record, verdict == VERDICT_TELL && record->session != UINT32_MAX);
}

/* --- the whole --- */

static void judge_all(struct work *work) {
    size_t index = 0;
    for (size_t i = 0; i < work->fold->count; i++) {
        const struct segment *segment = work->fold->inputs[i];
        for (size_t at = SEGMENT_HEADER_SIZE; at < segment->used; index++) {
            const struct segment_record *record = segment_at(segment, at);
            work->verdicts[index] = (uint8_t)judge(work, record, index);
            at += segment_record_size(record->length);
        }
    }
}

static void write_all(struct work *work) {
    size_t index = 0;
    work->size = SEGMENT_HEADER_SIZE;
    for (size_t i = 0; i < work->fold->count; i++) {
        const struct segment *segment = work->fold->inputs[i];
        for (size_t at = SEGMENT_HEADER_SIZE; at < segment->used; index++) {
            const struct segment_record *record = segment_at(segment, at);
            write_record(work, record, index);
            at += segment_record_size(record->length);
        }
    }
    close_run(work);
    work->told = (struct told){0};
}

struct segment *fold_segments(const struct fold *fold, int *disk_errno) {
    struct work work = {.fold = fold};
    size_t records = 0, size = 0;
    for (size_t i = 0; i < fold->count; i++) {
        records += (size_t)fold->inputs[i]->records;
        size += fold->inputs[i]->size;
    }
    *disk_errno = 0;
    work.verdicts = memory_alloc(records + 1);
    judge_all(&work);
    write_all(&work);
    size_t wanted = (work.size + fold->page - 1) / fold->page * fold->page;
    if (wanted < size || fold->level == FOLD_NOTHING) {
        struct segment_start start = {fold->inputs[0]->first_seq, fold->inputs[0]->bytes_before,
                                      (int)fold->level};
        work.out = segment_create(fold->directory, &start, wanted, disk_errno);
        if (work.out != NULL)
            write_all(&work);
    }
    free(work.verdicts);
    return work.out;
}
