#include "launcher/journal_view.h"

#include "base/memory.h"
#include "launcher/journal.h"

#include <stdlib.h>
#include <string.h>

enum { CELLS = 256, UPDATES = 256 };

struct parts {
    struct view_part list
        [VIEW_PARTS_MAX]; /* newest last; with more segments than that, the oldest is forgotten */
    size_t count;
};

struct view_cell {
    uint32_t cell;
    uint64_t floor;   /* what is not behind it may be seen elsewhere, or was not followed */
    uint64_t pending; /* a clear_output that waits for the next output, as one with wait does */
    /* hidden: what is behind `from` and before `clear` */
    uint64_t from, clear;
    uint64_t reply;
    struct parts shown;   /* since the last clear_output */
    struct parts leaving; /* before the pending one */
};

struct view_update {
    uint32_t cell, display;
    uint64_t from, seq; /* hidden: those behind `from` and before `seq` */
    struct view_part part;
};

/* Each in the one place that its hash says; another one there is forgotten. */
struct journal_view {
    struct view_cell cells[CELLS];
    struct view_update updates[UPDATES];
    uint64_t last_status;
};

struct journal_view *view_create(void) {
    return memory_alloc(sizeof(struct journal_view));
}

void view_destroy(struct journal_view *view) {
    free(view);
}

static void add_part(struct parts *parts, struct view_part part) {
    struct view_part *last = &parts->list[parts->count > 0 ? parts->count - 1 : 0];
    if (parts->count > 0 && last->first_seq == part.first_seq) {
        last->bytes += part.bytes;
        return;
    }
    if (parts->count == VIEW_PARTS_MAX)
        memmove(parts->list, parts->list + 1, --parts->count * sizeof parts->list[0]);
    parts->list[parts->count++] = part;
}

static size_t give_parts(struct parts *parts, struct view_part *ret) {
    size_t count = parts->count;
    memcpy(ret, parts->list, count * sizeof *ret);
    parts->count = 0;
    return count;
}

static struct view_cell *take_cell(struct journal_view *view, uint32_t cell, uint64_t seq) {
    struct view_cell *entry = &view->cells[cell % CELLS];
    if (entry->cell != cell)
        *entry = (struct view_cell){.cell = cell, .floor = seq - 1};
    return entry;
}

static size_t update_place(const struct segment_record *record) {
    return (record->cell ^ record->display) % UPDATES;
}

static void note_clear(struct view_cell *entry, uint64_t seq, struct view_part part) {
    for (size_t i = 0; i < entry->shown.count; i++)
        add_part(&entry->leaving, entry->shown.list[i]);
    entry->shown.count = 0;
    add_part(&entry->shown, part);
    entry->pending = seq;
}

/* A clear_output is over when something is shown in its place. */
static size_t note_output(struct view_cell *entry, struct view_part *ret) {
    if (entry->pending == 0)
        return 0;
    entry->from = entry->floor;
    entry->clear = entry->pending;
    entry->pending = 0;
    return give_parts(&entry->leaving, ret);
}

static size_t note_update(struct journal_view *view, const struct view_cell *entry,
                          const struct segment_record *record, struct view_part part,
                          struct view_part *ret) {
    struct view_update *update = &view->updates[update_place(record)];
    bool replaces = update->cell == record->cell && update->display == record->display &&
                    update->seq > entry->floor;
    if (replaces)
        *ret = update->part;
    *update = (struct view_update){record->cell, record->display, entry->floor, record->seq, part};
    return replaces ? 1 : 0;
}

static void note_comm(struct view_cell *entry, uint64_t seq) {
    entry->floor = seq;
    entry->pending = 0;
    entry->shown.count = entry->leaving.count = 0;
}

size_t view_note(struct journal_view *view, const struct segment_record *record, uint64_t first_seq,
                 struct view_part *ret) {
    enum message_class class = (enum message_class)record->class;
    if (class == MESSAGE_BUSY || class == MESSAGE_IDLE || class == MESSAGE_STATE)
        view->last_status = record->seq;
    if (record->cell == 0 || record->kind != SEGMENT_KEPT)
        return 0;
    struct view_part part = {first_seq, segment_record_size(record->length)};
    struct view_cell *entry = take_cell(view, record->cell, record->seq);
    size_t count = 0;
    switch (class) {
    case MESSAGE_OTHER:
        if (record->channel == CHANNEL_IOPUB)
            note_comm(entry, record->seq);
        break;
    case MESSAGE_STREAM:
        return note_output(entry, ret);
    case MESSAGE_OUTPUT:
        count = note_output(entry, ret);
        add_part(&entry->shown, part);
        break;
    case MESSAGE_CLEAR:
        note_clear(entry, record->seq, part);
        break;
    case MESSAGE_UPDATE:
        if (record->display != 0)
            count = note_update(view, entry, record, part, ret);
        break;
    case MESSAGE_REPLY:
        entry->reply = record->seq;
        break;
    default:
        break;
    }
    return count;
}

bool view_hides(const struct journal_view *view, const struct segment_record *record) {
    const struct view_cell *entry = &view->cells[record->cell % CELLS];
    const struct view_update *update = &view->updates[update_place(record)];
    bool is_known = record->cell != 0 && entry->cell == record->cell;
    switch ((enum message_class)record->class) {
    case MESSAGE_STREAM:
    case MESSAGE_OUTPUT:
    case MESSAGE_CLEAR:
        return is_known && record->seq > entry->from && record->seq < entry->clear;
    case MESSAGE_UPDATE:
        return record->cell != 0 && record->display != 0 && update->cell == record->cell &&
               update->display == record->display && record->seq > update->from &&
               record->seq < update->seq;
    case MESSAGE_REQUEST:
        return record->session == JOURNAL_NOBODY && is_known && record->seq < entry->reply;
    default:
        return false;
    }
}

bool view_is_old_status(const struct journal_view *view, uint64_t seq) {
    return seq < view->last_status;
}
