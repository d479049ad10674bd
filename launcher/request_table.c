#include "launcher/request_table.h"

#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { FIRST_CAPACITY = 64, HEADER_LENGTH_MAX = (1 << 29) - 1 };
_Static_assert((int)REQUEST_HEADERS_MAX_BYTES <= (int)HEADER_LENGTH_MAX, "struct entry");

struct entry {
    uint64_t key;
    session_number session;
    uint32_t header_length : 29; /* bits: 10,000 entries in each launcher */
    uint32_t is_in_row : 1, is_replied : 1, was_idle : 1;
    uint8_t *header; /* of an execute_request that waits for its reply */
};

/* A ring of entries in order of arrival, and an open-addressed index of their places (place + 1; 0
 * = free) with twice as many slots. */
struct request_table {
    struct entry *entries;
    uint32_t *index;
    size_t capacity; /* a power of two */
    size_t start, count;
    size_t header_bytes;
    size_t unfinished; /* entries with a header of which no idle was seen */
    uint64_t seed[2];
};

struct request_table *request_table_create(void) {
    struct request_table *table = memory_alloc(sizeof *table);
    table->capacity = FIRST_CAPACITY;
    table->entries = memory_alloc(table->capacity * sizeof *table->entries);
    table->index = memory_alloc(2 * table->capacity * sizeof *table->index);
    if (getrandom(table->seed, sizeof table->seed, 0) != sizeof table->seed)
        abort();
    return table;
}

static void forget_header(struct request_table *table, struct entry *entry) {
    table->header_bytes -= entry->header_length;
    table->unfinished -= entry->header != NULL && !entry->was_idle;
    free(entry->header);
    entry->header = NULL;
    entry->header_length = 0;
}

static struct entry *entry_at(const struct request_table *table, size_t nth) {
    return &table->entries[(table->start + nth) & (table->capacity - 1)];
}

void request_table_destroy(struct request_table *table) {
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->count; i++)
        free(entry_at(table, i)->header);
    free(table->entries);
    free(table->index);
    free(table);
}

static uint64_t mix(uint64_t value, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        value = (value ^ (uint8_t)text[i]) * UINT64_C(0x9E3779B97F4A7C15);
        value ^= value >> 29;
    }
    return value;
}

/* False without a msg_id. A missing session counts as empty: the kernel will repeat it as it is. */
static bool key_of(const struct request_table *table, struct bytes header, uint64_t *ret) {
    char id[REQUEST_ID_MAX + 1], session[REQUEST_ID_MAX + 1];
    int id_length = json_scan_text(header, "msg_id", id, sizeof id);
    if (id_length <= 0)
        return false;
    int session_length = json_scan_text(header, "session", session, sizeof session);
    uint64_t value = mix(table->seed[0], id, (size_t)id_length + 1); /* with its NUL */
    value = mix(value ^ table->seed[1], session, session_length > 0 ? (size_t)session_length : 0);
    *ret = value ^ (value >> 32);
    return true;
}

static size_t slot_of(const struct request_table *table, uint64_t key) {
    size_t mask = 2 * table->capacity - 1;
    size_t slot = key & mask;
    while (table->index[slot] != 0 && table->entries[table->index[slot] - 1].key != key)
        slot = (slot + 1) & mask;
    return slot;
}

static struct entry *find(const struct request_table *table, uint64_t key) {
    size_t place = table->index[slot_of(table, key)];
    return place == 0 ? NULL : &table->entries[place - 1];
}

/* Takes a slot out; those behind it that were pushed on move up, so that no search ends too
 * early. */
static void clear_slot(struct request_table *table, size_t hole) {
    size_t mask = 2 * table->capacity - 1;
    table->index[hole] = 0;
    for (size_t at = (hole + 1) & mask; table->index[at] != 0; at = (at + 1) & mask) {
        size_t home = table->entries[table->index[at] - 1].key & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        table->index[hole] = table->index[at];
        table->index[at] = 0;
        hole = at;
    }
}

static void drop_oldest(struct request_table *table) {
    struct entry *entry = entry_at(table, 0);
    size_t slot = slot_of(table, entry->key);
    /* A key that came twice has its slot point at the later entry. */
    if (table->index[slot] != 0 && &table->entries[table->index[slot] - 1] == entry)
        clear_slot(table, slot);
    forget_header(table, entry);
    table->start = (table->start + 1) & (table->capacity - 1);
    table->count--;
}

static void put(struct request_table *table, const struct entry *entry) {
    size_t place = (table->start + table->count) & (table->capacity - 1);
    size_t slot = slot_of(table, entry->key);
    table->entries[place] = *entry;
    table->index[slot] = (uint32_t)place + 1;
    table->count++;
}

/* Room for one more. A request that still waits for its reply is not the one to go, however old: it
 * stands at the end again. */
static void make_room(struct request_table *table) {
    for (size_t turns = table->count; turns > 0; turns--) {
        struct entry oldest = *entry_at(table, 0);
        if (oldest.header == NULL)
            break;
        entry_at(table, 0)->header = NULL; /* moves with the entry */
        entry_at(table, 0)->header_length = 0;
        drop_oldest(table);
        put(table, &oldest);
    }
    drop_oldest(table);
}

static void grow(struct request_table *table) {
    struct request_table old = *table;
    table->capacity *= 2;
    table->entries = memory_alloc(table->capacity * sizeof *table->entries);
    table->index = memory_alloc(2 * table->capacity * sizeof *table->index);
    table->start = table->count = 0;
    for (size_t i = 0; i < old.count; i++)
        put(table, entry_at(&old, i));
    free(old.entries);
    free(old.index);
}

static bool is_in_row(enum kernel_channel channel, struct bytes header) {
    char subshell[REQUEST_ID_MAX + 1];
    return channel == CHANNEL_SHELL &&
           json_scan_text(header, "subshell_id", subshell, sizeof subshell) < 0;
}

bool request_table_add(struct request_table *table, enum kernel_channel channel,
                       struct bytes header, session_number session) {
    struct entry entry = {.session = session, .is_in_row = is_in_row(channel, header)};
    if (!key_of(table, header, &entry.key))
        return false;
    if (kernel_message_is(header, "execute_request") &&
        header.length <= REQUEST_HEADERS_MAX_BYTES &&
        table->header_bytes + header.length <= REQUEST_HEADERS_MAX_BYTES) {
        entry.header = memory_alloc(header.length);
        memcpy(entry.header, header.data, header.length);
        entry.header_length = (uint32_t)header.length & HEADER_LENGTH_MAX;
        table->header_bytes += header.length;
        table->unfinished++;
    }
    struct entry *earlier = find(table, entry.key);
    if (earlier != NULL)
        forget_header(table, earlier); /* one id, one answer */
    if (table->count == REQUEST_TABLE_MAX)
        make_room(table);
    if (table->count == table->capacity)
        grow(table);
    put(table, &entry);
    return true;
}

bool request_table_find(const struct request_table *table, struct bytes parent_header,
                        session_number *ret) {
    uint64_t key;
    if (!key_of(table, parent_header, &key))
        return false;
    const struct entry *entry = find(table, key);
    if (entry == NULL)
        return false;
    *ret = entry->session;
    return true;
}

bool request_table_replied(struct request_table *table, struct bytes parent_header,
                           session_number *ret) {
    uint64_t key;
    if (!key_of(table, parent_header, &key))
        return false;
    struct entry *entry = find(table, key);
    if (entry == NULL)
        return false;
    *ret = entry->session;
    entry->is_replied = true;
    forget_header(table, entry);
    return true;
}

static struct entry *look(const struct request_table *table, struct bytes parent_header,
                          struct request_facts *ret) {
    uint64_t key;
    *ret = (struct request_facts){0};
    struct entry *entry = key_of(table, parent_header, &key) ? find(table, key) : NULL;
    if (entry != NULL)
        *ret = (struct request_facts){entry->is_in_row, entry->is_replied, entry->was_idle};
    return entry;
}

bool request_table_look(const struct request_table *table, struct bytes parent_header,
                        struct request_facts *ret) {
    return look(table, parent_header, ret) != NULL;
}

bool request_table_idle(struct request_table *table, struct bytes parent_header,
                        struct request_facts *ret) {
    struct entry *entry = look(table, parent_header, ret);
    if (entry == NULL)
        return false;
    table->unfinished -= entry->header != NULL && !entry->was_idle;
    entry->was_idle = true;
    return true;
}

bool request_table_is_waiting(const struct request_table *table) {
    return table->header_bytes > 0;
}

bool request_table_is_at_work(const struct request_table *table) {
    return table->unfinished > 0;
}

struct bytes request_table_at_work(const struct request_table *table) {
    for (size_t i = 0; i < table->count; i++) {
        const struct entry *entry = entry_at(table, i);
        if (entry->header != NULL && !entry->was_idle)
            return (struct bytes){entry->header, entry->header_length};
    }
    return (struct bytes){NULL, 0};
}

void request_table_end(struct request_table *table, request_table_waiting *waiting, void *context) {
    for (size_t i = 0; i < table->count; i++) {
        struct entry *entry = entry_at(table, i);
        if (entry->header == NULL)
            continue;
        waiting(context, entry->session, (struct bytes){entry->header, entry->header_length});
        entry->is_replied = true;
        forget_header(table, entry);
    }
}
