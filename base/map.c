#include "base/map.h"

#include "base/memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Open addressing with linear probing. A removed entry leaves a tombstone (key NULL, used true)
 * that a put reuses. */
struct entry {
    char *key;
    void *value;
    bool used;
};

struct map {
    struct entry *entries;
    size_t capacity; /* a power of two */
    size_t count;
    size_t filled; /* entries and tombstones */
    uint64_t seed; /* keys come from clients: they must not be able to aim at one bucket */
};

enum { FIRST_CAPACITY = 16 };

static uint64_t hash(const struct map *map, const char *key) {
    uint64_t value = map->seed;
    for (; *key; key++) {
        value = (value ^ (uint8_t)*key) * UINT64_C(0x9E3779B97F4A7C15);
        value ^= value >> 29;
    }
    return value ^ (value >> 32);
}

struct map *map_create(void) {
    struct map *map = memory_alloc(sizeof *map);
    map->capacity = FIRST_CAPACITY;
    map->entries = memory_alloc(map->capacity * sizeof *map->entries);
    if (getrandom(&map->seed, sizeof map->seed, 0) != sizeof map->seed)
        abort();
    return map;
}

void map_destroy(struct map *map) {
    if (map == NULL)
        return;
    for (size_t i = 0; i < map->capacity; i++)
        free(map->entries[i].key);
    free(map->entries);
    free(map);
}

static struct entry *find(const struct map *map, const char *key) {
    size_t mask = map->capacity - 1;
    for (size_t i = hash(map, key) & mask; map->entries[i].used; i = (i + 1) & mask)
        if (map->entries[i].key != NULL && strcmp(map->entries[i].key, key) == 0)
            return &map->entries[i];
    return NULL;
}

static void insert(struct map *map, char *key, void *value) {
    size_t mask = map->capacity - 1;
    size_t i = hash(map, key) & mask;
    while (map->entries[i].key != NULL)
        i = (i + 1) & mask;
    if (!map->entries[i].used)
        map->filled++;
    map->entries[i] = (struct entry){.key = key, .value = value, .used = true};
    map->count++;
}

static void rehash(struct map *map) {
    struct entry *old = map->entries;
    size_t old_capacity = map->capacity;
    while (map->capacity < map->count * 4)
        map->capacity *= 2;
    map->entries = memory_alloc(map->capacity * sizeof *map->entries);
    map->count = map->filled = 0;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].key != NULL)
            insert(map, old[i].key, old[i].value);
    free(old);
}

void *map_get(const struct map *map, const char *key) {
    struct entry *entry = find(map, key);
    return entry ? entry->value : NULL;
}

void *map_put(struct map *map, const char *key, void *value) {
    assert(value != NULL);
    struct entry *entry = find(map, key);
    if (entry != NULL) {
        void *old = entry->value;
        entry->value = value;
        return old;
    }
    if ((map->filled + 1) * 4 > map->capacity * 3)
        rehash(map);
    insert(map, memory_strdup(key), value);
    return NULL;
}

void *map_remove(struct map *map, const char *key) {
    struct entry *entry = find(map, key);
    if (entry == NULL)
        return NULL;
    void *value = entry->value;
    free(entry->key);
    *entry = (struct entry){.used = true};
    map->count--;
    return value;
}

size_t map_count(const struct map *map) {
    return map->count;
}

bool map_next(const struct map *map, size_t *at, const char **key, void **value) {
    for (; *at < map->capacity; (*at)++) {
        struct entry *entry = &map->entries[*at];
        if (entry->key == NULL)
            continue;
        if (key != NULL)
            *key = entry->key;
        if (value != NULL)
            *value = entry->value;
        (*at)++;
        return true;
    }
    return false;
}
