#include "kernelspecs/spec_watch.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

enum { WATCHES_MAX = 8192, NAMES_MAX = 32, LINKS_MAX = 40, READS_MAX = 64 };

/* What an event's name must be to count. */
enum interest {
    INTEREST_NAMES = 0,  /* one of `names` only */
    INTEREST_KERNEL = 1, /* and the files that make a kernelspec */
    INTEREST_ANY = 2,
};

struct watched {
    int descriptor;
    enum interest interest;
    char *names[NAMES_MAX]; /* entries on the way to a search directory, symlinks */
    size_t name_count;
};

struct spec_watch {
    int fd;
    struct watched *watched;
    size_t count;
    size_t capacity;
    char *problem; /* NULL: all are watched */
};

/* Entries that come, go or are replaced; enough for the way to a directory. */
static const uint32_t entry_events =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;
/* Closed, not modified: one event for a file, when all of it is there. ATTRIB: a chmod that makes
 * it readable. */
static const uint32_t content_events = IN_CLOSE_WRITE | IN_ATTRIB;

struct spec_watch *spec_watch_create(void) {
    struct spec_watch *watch = memory_alloc(sizeof *watch);
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd < 0)
        watch->problem =
            memory_printf("changes of kernelspecs are not seen, send SIGHUP after one: inotify: %s "
                          "(fs.inotify.max_user_instances)",
                          strerror(errno));
    return watch;
}

static void forget_names(struct watched *watched) {
    for (size_t i = 0; i < watched->name_count; i++)
        free(watched->names[i]);
    watched->name_count = 0;
}

void spec_watch_destroy(struct spec_watch *watch) {
    if (watch == NULL)
        return;
    for (size_t i = 0; i < watch->count; i++)
        forget_names(&watch->watched[i]);
    if (watch->fd >= 0)
        close(watch->fd);
    free(watch->watched);
    free(watch->problem);
    free(watch);
}

int spec_watch_fd(const struct spec_watch *watch) {
    return watch->fd;
}

const char *spec_watch_problem(const struct spec_watch *watch) {
    return watch->problem;
}

static struct watched *find(struct spec_watch *watch, int descriptor) {
    for (size_t i = 0; i < watch->count; i++)
        if (watch->watched[i].descriptor == descriptor)
            return &watch->watched[i];
    return NULL;
}

static void say_short(struct spec_watch *watch, const char *path, const char *why) {
    if (watch->problem == NULL)
        watch->problem = memory_printf(
            "%s: changes there, and perhaps elsewhere, are not seen, send SIGHUP after one: %s",
            path, why);
}

static struct watched *add(struct spec_watch *watch, const char *path, enum interest interest,
                           uint32_t events) {
    /* MASK_ADD: the same directory may be watched for several reasons. */
    int descriptor =
        watch->fd < 0 ? -1 : inotify_add_watch(watch->fd, path, events | IN_ONLYDIR | IN_MASK_ADD);
    if (descriptor < 0) {
        if (watch->fd >= 0 && errno == ENOSPC)
            say_short(watch, path, "no inotify watches left (fs.inotify.max_user_watches)");
        return NULL;
    }
    struct watched *watched = find(watch, descriptor);
    if (watched == NULL) {
        if (watch->count == WATCHES_MAX) {
            inotify_rm_watch(watch->fd, descriptor);
            say_short(watch, path, "too many directories");
            return NULL;
        }
        if (watch->count == watch->capacity) {
            watch->capacity = watch->capacity > 0 ? watch->capacity * 2 : 32;
            watch->watched =
                memory_resize(watch->watched, watch->capacity * sizeof *watch->watched);
        }
        watched = &watch->watched[watch->count++];
        *watched = (struct watched){.descriptor = descriptor};
    }
    if (watched->interest < interest)
        watched->interest = interest;
    return watched;
}

static void add_name(struct spec_watch *watch, const char *directory, const char *name,
                     uint32_t events) {
    struct watched *watched = add(watch, directory, INTEREST_NAMES, events);
    if (watched == NULL || watched->interest == INTEREST_ANY)
        return;
    for (size_t i = 0; i < watched->name_count; i++)
        if (strcmp(watched->names[i], name) == 0)
            return;
    if (watched->name_count == NAMES_MAX)
        watched->interest = INTEREST_ANY;
    else
        watched->names[watched->name_count++] = memory_strdup(name);
}

/* The text of a symlink, NULL when it is none. */
static char *read_link(const char *path) {
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof target - 1);
    return length > 0 ? memory_strndup(target, (size_t)length) : NULL;
}

static void cut_last(char *path) {
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        *slash = '\0'; /* "" stands for the root */
}

/* Resolves `path` as the kernel does, step by step, and watches each directory on the way for the
 * entry that leads on. What is not there yet is watched for where the way ends. only_links: just
 * the directories in which a symlink, or what it leads to, stands. */
static void follow(struct spec_watch *watch, const char *path, bool only_links) {
    char *here = memory_strdup("");
    char *rest = memory_strdup(path);
    int links = 0;
    while (*rest != '\0' && links < LINKS_MAX) {
        size_t skip = strspn(rest, "/");
        size_t length = strcspn(rest + skip, "/");
        cleanup_free char *name = memory_strndup(rest + skip, length);
        memmove(rest, rest + skip + length, strlen(rest + skip + length) + 1);
        if (length == 0 || strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            cut_last(here);
            continue;
        }
        const char *directory = *here != '\0' ? here : "/";
        if (!only_links)
            add_name(watch, directory, name, entry_events);
        cleanup_free char *next = memory_printf("%s/%s", here, name);
        cleanup_free char *target = read_link(next);
        if (target != NULL) {
            links++;
            add_name(watch, directory, name, entry_events);
            cleanup_free char *now =
                read_link(next); /* it may have been swapped before the watch */
            char *longer = memory_printf("%s/%s", now != NULL ? now : target, rest);
            free(rest);
            rest = longer;
            if (*(now != NULL ? now : target) == '/')
                *here = '\0';
            continue;
        }
        if (access(next, F_OK) < 0 && errno == ENOENT) {
            add_name(watch, directory, name, entry_events);
            break;
        }
        if (links > 0 &&
            rest[strspn(rest, "/")] == '\0') /* what the links led to, perhaps a file */
            add_name(watch, directory, name, entry_events | content_events);
        free(here);
        here = steal(&next);
    }
    free(here);
    free(rest);
}

void spec_watch_search_directory(struct spec_watch *watch, const char *path) {
    follow(watch, path, false);
    add(watch, path, INTEREST_ANY, entry_events | content_events);
}

void spec_watch_kernel_directory(struct spec_watch *watch, const char *path) {
    cleanup_free char *file = memory_printf("%s/kernel.json", path);
    add(watch, path, INTEREST_KERNEL, entry_events | content_events);
    follow(watch, file, true);
}

static void drop(struct spec_watch *watch, struct watched *watched) {
    forget_names(watched);
    *watched = watch->watched[--watch->count];
}

static bool is_kernel_file(const char *name) {
    return strcmp(name, "kernel.json") == 0 || strcmp(name, "kernel.js") == 0 ||
           strcmp(name, "kernel.css") == 0 || text_starts_with(name, "logo-") ||
           text_starts_with(name, "..data");
}

static bool counts(struct spec_watch *watch, const struct inotify_event *event) {
    if (event->mask & IN_Q_OVERFLOW)
        return true;
    struct watched *watched = find(watch, event->wd);
    if (watched == NULL)
        return false; /* the last events of one that was let go */
    if (event->mask & IN_IGNORED) {
        drop(watch, watched); /* the directory is gone; the next load watches what is there then */
        return true;
    }
    if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
        return true;
    if (event->len == 0)
        return watched->interest != INTEREST_NAMES; /* the directory's own mode changed */
    if (watched->interest == INTEREST_ANY)
        return true;
    if (watched->interest == INTEREST_KERNEL && is_kernel_file(event->name))
        return true;
    for (size_t i = 0; i < watched->name_count; i++)
        if (strcmp(watched->names[i], event->name) == 0)
            return true;
    return false;
}

bool spec_watch_read(struct spec_watch *watch) {
    _Alignas(struct inotify_event) char events[16384];
    bool changed = false;
    for (int i = 0; i < READS_MAX && watch->fd >= 0; i++) {
        ssize_t length = read(watch->fd, events, sizeof events);
        if (length <= 0)
            break; /* nothing left; a level-triggered loop comes back after a signal */
        for (ssize_t at = 0; at < length;) {
            const struct inotify_event *event = (const void *)(events + at);
            changed |= counts(watch, event);
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
    return changed;
}
