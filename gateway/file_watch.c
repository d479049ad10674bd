#include "gateway/file_watch.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

enum { SETTLE_MS = 200 };

struct file_watch {
    struct loop *loop;
    struct event *readable;
    struct loop_deadline settle;
    int fd;
    char *path;
    struct stat seen; /* all zero: there was none */
    void (*changed)(void *context);
    void *context;
};

static void watch_directory(const struct file_watch *watch, const char *path) {
    cleanup_free char *directory = memory_strdup(path);
    char *slash = strrchr(directory, '/');
    if (slash != NULL)
        slash[slash == directory] = '\0'; /* "/" keeps its slash */
    inotify_add_watch(watch->fd, slash != NULL ? directory : ".",
                      IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_TO | IN_DELETE |
                          IN_ONLYDIR);
}

/* Where the path leads to changes with each symlink swap, so this is done again after each event. A
 * watch that is there already stays one; those of directories that went away go with them. */
static void watch_places(const struct file_watch *watch) {
    watch_directory(watch, watch->path);
    char target[PATH_MAX];
    if (realpath(watch->path, target) != NULL && strcmp(target, watch->path) != 0)
        watch_directory(watch, target);
}

static struct stat look(const struct file_watch *watch) {
    struct stat status;
    if (stat(watch->path, &status) < 0)
        memset(&status, 0, sizeof status);
    return status;
}

static bool is_same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mode == b->st_mode && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void on_settled(void *context) {
    struct file_watch *watch = context;
    watch_places(watch);
    struct stat now = look(watch);
    if (is_same(&now, &watch->seen) || now.st_ino == 0)
        /* nothing of ours, or gone for the moment: the old content counts until a new file is
         * there */
        return;
    watch->seen = now;
    watch->changed(watch->context);
}

static void on_readable(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct file_watch *watch = context;
    char events[4096];
    while (read(fd, events, sizeof events) > 0)
        ; /* which file it was does not matter: on_settled looks */
    loop_deadline_set(watch->loop, &watch->settle, SETTLE_MS);
}

int file_watch_create(struct loop *loop, const char *path, void (*changed)(void *context),
                      void *context, struct file_watch **ret, struct error *err) {
    struct file_watch *watch = memory_alloc(sizeof *watch);
    watch->loop = loop;
    watch->path = memory_strdup(path);
    watch->changed = changed;
    watch->context = context;
    watch->settle = (struct loop_deadline){.run = on_settled, .context = watch};
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd < 0) {
        error_system(err, errno, "changes of %s are not seen, send SIGHUP after one: inotify",
                     path);
        file_watch_destroy(watch);
        return -1;
    }
    watch_places(watch);
    watch->seen = look(watch);
    watch->readable =
        event_new(loop_base(loop), watch->fd, EV_READ | EV_PERSIST, on_readable, watch);
    event_add(watch->readable, NULL);
    *ret = watch;
    return 0;
}

void file_watch_destroy(struct file_watch *watch) {
    if (watch == NULL)
        return;
    loop_deadline_clear(watch->loop, &watch->settle);
    if (watch->readable != NULL)
        event_free(watch->readable);
    if (watch->fd >= 0)
        close(watch->fd);
    free(watch->path);
    free(watch);
}
