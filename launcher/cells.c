#include "launcher/cells.h"

#include "base/memory.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 16 };

struct cells {
    struct cells_entry *entries; /* a ring once it has CELLS_MAX */
    size_t first, count, capacity;
    size_t recent; /* where the last message's cell is: most belong to the same */
};

struct cells *cells_create(void) {
    return memory_alloc(sizeof(struct cells));
}

void cells_destroy(struct cells *cells) {
    if (cells == NULL)
        return;
    free(cells->entries);
    free(cells);
}

static struct cells_entry *add(struct cells *cells, uint32_t cell) {
    if (cells->count == CELLS_MAX) {
        cells->first = (cells->first + 1) % CELLS_MAX;
        cells->count--;
    } else if (cells->count == cells->capacity) {
        cells->capacity = cells->capacity ? 2 * cells->capacity : FIRST_CAPACITY;
        cells->entries =
            memory_resize(cells->entries, cells->capacity * sizeof(struct cells_entry));
    }
    cells->recent = (cells->first + cells->count++) % cells->capacity;
    cells->entries[cells->recent] = (struct cells_entry){.cell = cell};
    return &cells->entries[cells->recent];
}

/* Newest first: that is where what runs is. NULL: not known. */
static struct cells_entry *find(struct cells *cells, uint32_t cell) {
    if (cells->count > 0 && cells->entries[cells->recent].cell == cell)
        return &cells->entries[cells->recent];
    for (size_t i = cells->count; i-- > 0;) {
        size_t place = (cells->first + i) % cells->capacity;
        if (cells->entries[place].cell == cell) {
            cells->recent = place;
            return &cells->entries[place];
        }
    }
    return NULL;
}

/* starting, restarting, dead: nothing of the process before runs any more. */
static void end_all(struct cells *cells) {
    for (size_t i = 0; i < cells->count; i++) {
        struct cells_entry *entry = &cells->entries[(cells->first + i) % cells->capacity];
        entry->is_running = false;
        entry->prompt = 0;
    }
}

static void note_class(struct cells_entry *entry, uint64_t seq, uint32_t session,
                       enum message_class class) {
    switch (class) {
    case MESSAGE_BUSY:
        entry->is_running = true;
        break;
    case MESSAGE_IDLE:
        entry->is_running = false;
        entry->prompt = 0;
        break;
    case MESSAGE_REPLY:
        entry->prompt = 0;
        break;
    case MESSAGE_PROMPT:
        entry->prompt = seq;
        entry->prompt_session = session;
        break;
    default:
        break;
    }
}

/* The others come over sockets of their own and may overtake it: a question can be here before the
 * kernel's busy. */
static bool is_of_iopub(enum message_class class) {
    return class != MESSAGE_REPLY && class != MESSAGE_PROMPT;
}

void cells_note(struct cells *cells, uint64_t seq, uint32_t session,
                const struct message_mark *mark) {
    if (mark->class == MESSAGE_STATE)
        end_all(cells);
    if (mark->cell == 0 || mark->class == MESSAGE_REQUEST || mark->class == MESSAGE_STATE)
        return;
    struct cells_entry *entry = find(cells, mark->cell);
    if (entry == NULL) {
        entry = add(cells, mark->cell);
        entry->first = seq;
    }
    if (!entry->is_published && is_of_iopub(mark->class)) {
        entry->is_published = true;
        entry->is_whole = mark->class == MESSAGE_BUSY || mark->class == MESSAGE_INPUT;
    }
    entry->last = seq;
    note_class(entry, seq, session, mark->class);
}

void cells_answered(struct cells *cells, uint32_t session) {
    for (size_t i = 0; i < cells->count; i++) {
        struct cells_entry *entry = &cells->entries[(cells->first + i) % cells->capacity];
        if (entry->prompt_session == session)
            entry->prompt = 0;
    }
}

bool cells_is_over(struct cells *cells, uint32_t cell, uint64_t prompt) {
    const struct cells_entry *entry = cell != 0 ? find(cells, cell) : NULL;
    return entry != NULL && entry->prompt != prompt;
}

const struct cells_entry *cells_next(const struct cells *cells, size_t *at) {
    if (*at >= cells->count)
        return NULL;
    return &cells->entries[(cells->first + (*at)++) % cells->capacity];
}
