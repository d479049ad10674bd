#include "launcher/local_watch.h"

#include "base/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

struct local_watch {
    int fd;
    struct event *readable;
    struct local_watch_events events;
    void *context;
};

static void take(struct local_watch *watch, const struct inotify_event *event) {
    if (event->mask & IN_Q_OVERFLOW)
        watch->events.missed(watch->context);
    else if (event->len == 0 || !(event->mask & IN_ISDIR))
        return;
    else if (event->mask & (IN_MOVED_TO | IN_ATTRIB))
        watch->events.appeared(watch->context, event->name);
    else if (event->mask & IN_DELETE)
        watch->events.vanished(watch->context, event->name);
}

static void on_readable(evutil_socket_t fd, short what, void *context) {
    _Alignas(struct inotify_event) char events[16384];
    (void)what;
    struct local_watch *watch = context;
    ssize_t length = read(fd, events, sizeof events);
    for (ssize_t at = 0; at < length;) {
        const struct inotify_event *event = (const void *)(events + at);
        take(watch, event);
        at += (ssize_t)(sizeof *event + event->len);
    }
}

int local_watch_create(struct event_base *loop, const char *directory,
                       const struct local_watch_events *events, void *context,
                       struct local_watch **ret, struct error *err) {
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0 ||
        inotify_add_watch(fd, directory, IN_MOVED_TO | IN_ATTRIB | IN_DELETE | IN_ONLYDIR) < 0) {
        error_system(err, errno, "inotify: %s", directory);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    struct local_watch *watch = memory_alloc(sizeof *watch);
    watch->fd = fd;
    watch->events = *events;
    watch->context = context;
    watch->readable = event_new(loop, fd, EV_READ | EV_PERSIST, on_readable, watch);
    event_add(watch->readable, NULL);
    *ret = watch;
    return 0;
}

void local_watch_destroy(struct local_watch *watch) {
    if (watch == NULL)
        return;
    event_free(watch->readable);
    close(watch->fd);
    free(watch);
}
