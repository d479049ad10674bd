/* Directories that come and go in one directory, by inotify: kernels that another gateway on the
 * same runtime directory starts and ends. */
#pragma once

#include "base/error.h"

#include <event2/event.h>
#include <stdbool.h>

struct local_watch;

struct local_watch_events {
    void (*appeared)(void *context, const char *name); /* moved into place, complete; or touched */
    void (*vanished)(void *context, const char *name);
    void (*missed)(void *context); /* too much happened at once: look yourself */
};

int local_watch_create(struct event_base *loop, const char *directory,
                       const struct local_watch_events *events, void *context,
                       struct local_watch **ret, struct error *err);
void local_watch_destroy(struct local_watch *watch);
