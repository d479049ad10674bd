#include "launcher/request_notes.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { PREFIX_SIZE = 8 };

void request_note_append(struct journal *journal, uint32_t session,
                         const struct kernel_message *message) {
    uint32_t cell = message->channel == CHANNEL_SHELL || message->channel == CHANNEL_CONTROL
                        ? message_cell(message->header)
                        : 0;
    size_t length = message->header.length;
    if (cell == 0 || length > REQUEST_NOTE_HEADER_MAX)
        return;
    uint8_t *note = memory_alloc(PREFIX_SIZE + length);
    memcpy(note, &session, sizeof session);
    memcpy(note + PREFIX_SIZE, message->header.data, length);
    const struct journal_entry entry = {.channel = message->channel,
                                        .session = JOURNAL_NOBODY,
                                        .mark = {.class = MESSAGE_REQUEST, .cell = cell}};
    journal_append(journal, &entry, note, PREFIX_SIZE + length);
    free(note);
}

/* A request that has no reply so far. */
struct open_note {
    uint64_t seq;
    uint32_t cell;
    bool is_running;
};

struct open_notes {
    struct open_note items[REQUEST_NOTES_MAX];
    size_t count;
};

static struct open_note *find(struct open_notes *notes, uint32_t cell) {
    for (size_t i = notes->count; i > 0; i--) /* mostly one of the latest */
        if (notes->items[i - 1].cell == cell)
            return &notes->items[i - 1];
    return NULL;
}

static void remove_note(struct open_notes *notes, struct open_note *note) {
    size_t behind = (size_t)(notes->items + notes->count - (note + 1));
    memmove(note, note + 1, behind * sizeof *note);
    notes->count--;
}

static void follow(struct open_notes *notes, const struct journal_record *record) {
    if (record->mark.cell == 0)
        return;
    if (record->mark.class == MESSAGE_REQUEST) {
        if (record->session != JOURNAL_NOBODY || record->length <= PREFIX_SIZE ||
            find(notes, record->mark.cell) != NULL)
            return;
        if (notes->count == REQUEST_NOTES_MAX)
            remove_note(notes, &notes->items[0]);
        notes->items[notes->count++] = (struct open_note){record->seq, record->mark.cell, false};
        return;
    }
    if (record->mark.class != MESSAGE_REPLY && record->mark.class != MESSAGE_BUSY &&
        record->mark.class != MESSAGE_INPUT)
        return;
    struct open_note *note = find(notes, record->mark.cell);
    if (note != NULL && record->mark.class == MESSAGE_REPLY)
        remove_note(notes, note);
    else if (note != NULL)
        note->is_running = true;
}

static void tell(const struct journal *journal, uint64_t seq, bool is_running,
                 request_note_waiting *waiting, void *context) {
    struct journal_record record;
    if (seq == 0 || waiting == NULL || journal_next(journal, seq - 1, &record) <= 0 ||
        record.seq != seq)
        return;
    struct request_note note = {.header = {record.data + PREFIX_SIZE, record.length - PREFIX_SIZE},
                                .is_running = is_running};
    memcpy(&note.session, record.data, sizeof note.session);
    waiting(context, &note);
}

void request_notes_walk(const struct journal *journal, request_note_waiting *waiting,
                        request_note_waiting *last, void *context) {
    struct open_notes *notes = memory_alloc(sizeof *notes);
    struct journal_record record;
    uint64_t seq = 0, last_seq = 0;
    while (journal_next(journal, seq, &record) > 0) {
        seq = record.seq;
        follow(notes, &record);
        if (record.mark.class == MESSAGE_REQUEST && record.session == JOURNAL_NOBODY &&
            record.length > PREFIX_SIZE)
            last_seq = seq;
    }
    tell(journal, last_seq, false, last, context);
    for (size_t i = 0; i < notes->count; i++)
        tell(journal, notes->items[i].seq, notes->items[i].is_running, waiting, context);
    free(notes);
}
