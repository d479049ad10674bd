#include "gateway/events.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_AREA "gateway/events"

enum { METADATA_VERSION = 1 }; /* of the members that jupyter_events itself gives an event */

/* An event that takes another form gets another version, and its schema with it. */
static const struct {
    const char *schema, *version;
} kinds[] = {
    [EVENT_KERNEL_ACTION] = {"urn:elara:events:kernel_action:v1", "1"},
    [EVENT_KERNEL_CULLING] = {"urn:elara:events:kernel_culling:v1", "1"},
};

struct events {
    char *path;
    int fd;
    bool has_failed; /* and it was logged */
    bool is_torn;    /* the file ends with half a line */
};

/* O_NONBLOCK: should it be a pipe, nobody waits for its reader. */
static int open_file(const char *path, struct error *err) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
    if (fd < 0)
        return error_set(err, ERROR_INVALID, "event-log: %s: %s", path, strerror(errno));
    return fd;
}

int events_create(const char *path, struct events **ret, struct error *err) {
    *ret = NULL;
    if (path == NULL || *path == '\0')
        return 0;
    int fd = open_file(path, err);
    if (fd < 0)
        return -1;
    struct events *events = memory_alloc(sizeof *events);
    events->path = memory_strdup(path);
    events->fd = fd;
    *ret = events;
    return 0;
}

void events_destroy(struct events *events) {
    if (events == NULL)
        return;
    close(events->fd);
    free(events->path);
    free(events);
}

void events_reopen(struct events *events) {
    struct error err;
    if (events == NULL)
        return;
    int fd = open_file(events->path, &err);
    if (fd < 0) {
        log_error("events go on in the file that is open: %s", err.text);
        return;
    }
    close(events->fd);
    events->fd = fd;
    events->has_failed = events->is_torn = false;
}

/* Half a line would spoil the next one, too. Whoever else has written behind it keeps his own. */
static void take_back(struct events *events, ssize_t written) {
    struct stat status;
    bool is_last = fstat(events->fd, &status) == 0 && S_ISREG(status.st_mode) &&
                   lseek(events->fd, 0, SEEK_CUR) == status.st_size;
    events->is_torn = !is_last || ftruncate(events->fd, status.st_size - written) < 0;
}

static void put_line(struct events *events, const char *text) {
    cleanup_free char *line = memory_printf("%s%s\n", events->is_torn ? "\n" : "", text);
    size_t length = strlen(line);
    ssize_t written = write(events->fd, line, length);
    if (written == (ssize_t)length) {
        events->is_torn = false;
        return;
    }
    if (written > 0)
        take_back(events, written);
    if (!events->has_failed)
        log_error("%s: events are lost, which is logged once: %s", events->path,
                  written < 0 ? strerror(errno) : "not all of one could be written");
    events->has_failed = true;
}

void events_emit(struct events *events, enum event_kind kind, json_t *data) {
    cleanup_json json_t *own = data;
    if (events == NULL || own == NULL)
        return;
    char when[CLOCK_TEXT_SIZE];
    clock_format(clock_wall_us(), when);
    cleanup_json json_t *event = json_pack(
        "{s:s, s:s, s:s, s:i}", "__timestamp__", when, "__schema__", kinds[kind].schema,
        "__schema_version__", kinds[kind].version, "__metadata_version__", METADATA_VERSION);
    json_object_update(event, own);
    cleanup_free char *line = json_dumps(event, JSON_COMPACT);
    if (line != NULL)
        put_line(events, line);
}
