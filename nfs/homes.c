#include "nfs/homes.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "base/memory.h"

#include <string.h>

struct homes {
    struct event_base *loop;
    struct map *entries;     /* by key: struct entry */
    struct map *connections; /* by server: struct nfs_connection */
    struct list ready;       /* waits of fresh homes */
    struct event *later;     /* they are told */
};

struct entry {
    struct homes *all;
    char *key;
    struct home *home;      /* under way; NULL */
    int64_t fresh_until_ms; /* monotonic; 0: not */
    struct list waits;
};

struct home_wait {
    struct list_node node;
    struct entry *entry; /* NULL: it is ready */
    home_done *done;
    void *context;
};

static void drop(struct entry *entry) {
    map_remove(entry->all->entries, entry->key);
    home_cancel(entry->home);
    free(entry->key);
    free(entry);
}

/* The callbacks may cancel each other, and begin anew. */
static void tell(struct list *waits, const struct error *err) {
    while (!list_is_empty(waits)) {
        struct home_wait *wait = list_entry(waits->head.next, struct home_wait, node);
        list_remove(&wait->node);
        home_done *done = wait->done;
        void *context = wait->context;
        free(wait);
        done(context, err);
    }
}

static void on_prepared(void *context, const struct error *err) {
    struct entry *entry = context;
    struct list waits;
    struct error cause;
    list_init(&waits);
    entry->home = NULL;
    list_each (&entry->waits, struct home_wait, node, wait) {
        wait->entry = NULL;
        list_remove(&wait->node);
        list_append(&waits, &wait->node);
    }
    if (err != NULL) {
        cause = *err;
        drop(entry);
    } else
        entry->fresh_until_ms = clock_monotonic_ms() + HOMES_FRESH_MS;
    tell(&waits, err != NULL ? &cause : NULL);
}

static void on_later(evutil_socket_t fd, short what, void *context) {
    struct homes *homes = context;
    (void)fd;
    (void)what;
    tell(&homes->ready, NULL);
}

static void make_room(struct homes *homes) {
    void *value;
    for (size_t at = 0; map_next(homes->entries, &at, NULL, &value);) {
        struct entry *entry = value;
        if (entry->home == NULL)
            drop(entry);
    }
}

static struct entry *find(struct homes *homes, const struct home_target *target) {
    cleanup_free char *key =
        memory_printf("%s\n%d\n%s\n%s\n%d\n%u\n%u\n%lld", target->server, target->port,
                      target->export_path, target->path, (int)target->is_shared, target->uid,
                      target->gid, (long long)target->parent_gid);
    struct entry *entry = map_get(homes->entries, key);
    if (entry != NULL)
        return entry;
    if (map_count(homes->entries) >= HOMES_KNOWN_MAX)
        make_room(homes);
    entry = memory_alloc(sizeof *entry);
    entry->all = homes;
    entry->key = steal(&key);
    list_init(&entry->waits);
    map_put(homes->entries, entry->key, entry);
    return entry;
}

/* There are as many as the settings have named servers. */
static struct nfs_connection *connection_to(struct homes *homes, const char *server, int port) {
    cleanup_free char *key = memory_printf("%s\n%d", server, port);
    struct nfs_connection *connection = map_get(homes->connections, key);
    if (connection == NULL) {
        connection = nfs_connection_create(homes->loop, server, port);
        map_put(homes->connections, key, connection);
    }
    return connection;
}

struct home_wait *homes_prepare(struct homes *homes, const struct home_target *target,
                                int64_t deadline_ms, home_done *done, void *context) {
    struct entry *entry = find(homes, target);
    struct home_wait *wait = memory_alloc(sizeof *wait);
    wait->done = done;
    wait->context = context;
    if (entry->home == NULL && entry->fresh_until_ms > clock_monotonic_ms()) {
        list_append(&homes->ready, &wait->node);
        event_active(homes->later, EV_TIMEOUT, 0);
        return wait;
    }
    wait->entry = entry;
    list_append(&entry->waits, &wait->node);
    if (entry->home == NULL)
        entry->home = home_prepare(homes->loop, connection_to(homes, target->server, target->port),
                                   target, deadline_ms, on_prepared, entry);
    return wait;
}

void home_wait_cancel(struct home_wait *wait) {
    if (wait == NULL)
        return;
    struct entry *entry = wait->entry;
    list_remove(&wait->node);
    free(wait);
    if (entry != NULL && list_is_empty(&entry->waits))
        drop(entry);
}

struct homes *homes_create(struct event_base *loop) {
    struct homes *homes = memory_alloc(sizeof *homes);
    homes->loop = loop;
    homes->entries = map_create();
    homes->connections = map_create();
    homes->later = evtimer_new(loop, on_later, homes);
    list_init(&homes->ready);
    return homes;
}

static void free_waits(struct list *waits) {
    list_each (waits, struct home_wait, node, wait) {
        free(wait);
    }
}

void homes_destroy(struct homes *homes) {
    void *value;
    if (homes == NULL)
        return;
    for (size_t at = 0; map_next(homes->entries, &at, NULL, &value);) {
        struct entry *entry = value;
        free_waits(&entry->waits);
        drop(entry);
    }
    free_waits(&homes->ready);
    for (size_t at = 0; map_next(homes->connections, &at, NULL, &value);)
        nfs_connection_destroy(value);
    map_destroy(homes->entries);
    map_destroy(homes->connections);
    event_free(homes->later);
    free(homes);
}
