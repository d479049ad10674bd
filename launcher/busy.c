#include "launcher/busy.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { SUBSHELL_ID_MAX = 512 };
enum { LATE_MAX = 16 }; /* ended as lost: an idle that comes after all is not news */

struct entry {
    uint64_t id;
    struct buffer header;
    bool is_in_row, is_heard, is_replied, has_no_reply, is_noise, is_overtaken;
};

struct busy {
    struct entry entries[BUSY_MAX]; /* oldest first */
    size_t count;
    uint64_t late[LATE_MAX]; /* a ring; 0: free */
    size_t next_late;
};

struct busy *busy_create(void) {
    return memory_alloc(sizeof(struct busy));
}

void busy_clear(struct busy *busy) {
    for (size_t i = 0; i < busy->count; i++)
        buffer_free(&busy->entries[i].header);
    *busy = (struct busy){0};
}

void busy_destroy(struct busy *busy) {
    if (busy == NULL)
        return;
    busy_clear(busy);
    free(busy);
}

size_t busy_count(const struct busy *busy) {
    return busy->count;
}

bool busy_is_noise(const struct busy *busy) {
    for (size_t i = 0; i < busy->count; i++)
        if (!busy->entries[i].is_noise)
            return false;
    return true;
}

unsigned busy_subshells(const struct busy *busy) {
    uint64_t seen[BUSY_MAX];
    unsigned count = 0;
    for (size_t i = 0; i < busy->count; i++) {
        char id[SUBSHELL_ID_MAX];
        const struct buffer *header = &busy->entries[i].header;
        if (json_scan_text((struct bytes){header->data, header->length}, "subshell_id", id,
                           sizeof id) <= 0)
            continue;
        uint64_t hash = text_hash(id);
        unsigned at = 0;
        while (at < count && seen[at] != hash)
            at++;
        seen[at] = hash;
        count += at == count;
    }
    return count;
}

static struct entry *find(struct busy *busy, uint64_t id) {
    for (size_t i = 0; i < busy->count; i++)
        if (busy->entries[i].id == id)
            return &busy->entries[i];
    return NULL;
}

static void take_out(struct busy *busy, struct entry *entry) {
    size_t behind = busy->count - (size_t)(entry - busy->entries) - 1;
    buffer_free(&entry->header);
    memmove(entry, entry + 1, behind * sizeof *entry);
    busy->count--;
}

static bool forget_late(struct busy *busy, uint64_t id) {
    for (size_t i = 0; i < LATE_MAX; i++) {
        if (busy->late[i] == id && id != 0) {
            busy->late[i] = 0;
            return true;
        }
    }
    return false;
}

void busy_begin(struct busy *busy, const struct busy_request *request) {
    forget_late(busy, request->id);
    struct entry *entry = find(busy, request->id);
    if (entry != NULL) {
        entry->is_heard |= request->is_heard;
        return;
    }
    if (busy->count == BUSY_MAX)
        take_out(busy, &busy->entries[0]);
    entry = &busy->entries[busy->count++];
    *entry = (struct entry){.id = request->id,
                            .header.limit = BUSY_HEADER_MAX,
                            .is_in_row = request->is_in_row,
                            .is_heard = request->is_heard,
                            .is_replied = request->is_replied,
                            .has_no_reply = request->has_no_reply,
                            .is_noise = request->is_noise};
    buffer_append(&entry->header, request->header.data, request->header.length);
}

bool busy_end(struct busy *busy, uint64_t id, bool is_strange) {
    struct entry *entry = find(busy, id);
    if (entry != NULL)
        take_out(busy, entry);
    else if (forget_late(busy, id))
        return false;
    else if (is_strange)
        busy_clear(busy);
    return true;
}

bool busy_replied(struct busy *busy, uint64_t id) {
    struct entry *entry = find(busy, id);
    if (entry != NULL)
        entry->is_replied = true;
    return entry != NULL;
}

void busy_overtake(struct busy *busy, uint64_t id) {
    for (size_t i = 0; i < busy->count; i++)
        if (busy->entries[i].is_in_row && busy->entries[i].is_heard && busy->entries[i].id != id)
            busy->entries[i].is_overtaken = true;
}

bool busy_is_answered(const struct busy *busy) {
    for (size_t i = 0; i < busy->count; i++)
        if (!busy->entries[i].is_replied)
            return false;
    return busy->count > 0;
}

static bool is_lost(const struct entry *entry, bool is_quiet) {
    return (entry->is_replied && (is_quiet || entry->is_overtaken)) ||
           (entry->has_no_reply && entry->is_overtaken);
}

bool busy_take_lost(struct busy *busy, bool is_quiet, uint64_t *id, struct buffer *ret) {
    for (size_t i = 0; i < busy->count; i++) {
        struct entry *entry = &busy->entries[i];
        if (!is_lost(entry, is_quiet))
            continue;
        *id = entry->id;
        *ret = entry->header;
        entry->header = (struct buffer){0};
        take_out(busy, entry);
        busy->late[busy->next_late++ % LATE_MAX] = *id;
        return true;
    }
    return false;
}
