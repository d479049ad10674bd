/* A hash map from C strings to pointers. The map copies keys and does not own values. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct map;

struct map *map_create(void);
void map_destroy(struct map *map); /* NULL is fine */

/* Each returns the value that was there, or NULL. map_put replaces it. */
void *map_get(const struct map *map, const char *key);
void *map_put(struct map *map, const char *key, void *value);
void *map_remove(struct map *map, const char *key);
size_t map_count(const struct map *map);

/* Walks all entries in no order: size_t at = 0; while (map_next(map, &at, &key, &value)) ...
 * The entry just handed out may be removed during the walk; nothing may be put. key and value may
 * be NULL. */
bool map_next(const struct map *map, size_t *at, const char **key, void **value);
