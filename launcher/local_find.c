/* The kernels of the runtime directory: those that are there when a gateway starts, and those that
 * another gateway starts and ends. */
#include "launcher/provisioner_local_internal.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/launch.h"

#define LOG_AREA "launcher/local_find"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { NEW_KEPT_S = 60 }; /* a directory that is being made is somebody's for so long */

int local_read_record(const char *directory, json_t **ret, struct error *err) {
    cleanup_free char *path = memory_printf("%s/record.json", directory);
    json_t *record = NULL;
    if (file_read_json(path, LAUNCH_RECORD_MAX, &record, err) < 0)
        return -1;
    if (json_is_object(record)) {
        *ret = record;
        return 0;
    }
    json_decref(record);
    return error_set(err, ERROR_INVALID, "%s: must be an object", path);
}

pid_t local_record_pid(const json_t *record, const char *member) {
    json_int_t pid = json_integer_value(json_object_get(record, member));
    return pid > 1 && pid < INT32_MAX ? (pid_t)pid : 0;
}

bool local_record_is_dead(const json_t *record) {
    const char *phase = json_string_value(json_object_get(record, "phase"));
    return phase != NULL && strcmp(phase, "dead") == 0 &&
           json_is_string(json_object_get(record, "reason"));
}

bool local_record_is_resumable(const json_t *record) {
    const char *phase = json_string_value(json_object_get(record, "phase"));
    return json_is_integer(json_object_get(record, "launcher_pid")) && phase != NULL &&
           strcmp(phase, "dead") != 0 && strcmp(phase, "stopping") != 0;
}

/* Nobody holds the lock: the launcher is gone, and its kernel ended with it unless the system is
 * slow about it. */
static void clean_up(const struct local *local, const char *id, const char *directory,
                     const char *why) {
    cleanup_json json_t *record = NULL;
    struct error err;
    log_warning("kernel %s: %s; what is left of it is removed", id, why);
    if (local_read_record(directory, &record, &err) == 0)
        local_account_kill(local, id, local_record_pid(record, "kernel_pid"), directory);
    local_account_remove(local, id);
    if (file_remove_tree(directory, &err) < 0)
        log_error("kernel %s: %s", id, err.text);
}

/* Nobody serves it, but somebody is to go on with it, or to be told what became of it. A directory
 * without a record is what a removal has left. */
static bool is_wanted(const char *id, const char *directory, json_t **record) {
    struct error err;
    if (local_read_record(directory, record, &err) == 0)
        return local_record_is_resumable(*record) || local_record_is_dead(*record);
    if (err.code == ERROR_NOT_FOUND)
        return false;
    log_error("kernel %s: %s; only administrators see it", id, err.text);
    return true;
}

static void look_at(struct local *local, const char *id, provisioner_found *found, void *context) {
    cleanup_free char *directory = memory_printf("%s/%s", local->directory, id);
    cleanup_json json_t *record = NULL;
    struct error err;
    struct stat what;
    if (!text_is_kernel_id(id) || lstat(directory, &what) < 0 || !S_ISDIR(what.st_mode)) {
        log_warning("%s: not a kernel's directory; left alone", directory);
        return;
    }
    cleanup_close int lock_fd = local_process_lock(directory, &err);
    if (lock_fd >= 0 && !is_wanted(id, directory, &record)) {
        clean_up(local, id, directory, "its launcher has ended");
        return;
    }
    if (lock_fd < 0 && local_read_record(directory, &record, &err) < 0)
        log_warning("kernel %s: %s; its launcher knows", id, err.text);
    found(context, id, record, lock_fd < 0 && err.code == ERROR_EXISTS);
}

/* A gateway was killed while it made this one. */
static void look_at_new(const struct local *local, const char *name) {
    cleanup_free char *directory = memory_printf("%s/%s", local->directory, name);
    struct stat what;
    if (!text_starts_with(name, NEW_PREFIX) || lstat(directory, &what) < 0 ||
        what.st_ctim.tv_sec + NEW_KEPT_S > time(NULL))
        return;
    log_warning("%s: a kernel that never came to be; removed", directory);
    (void)file_remove_tree(directory, NULL);
}

int local_find(struct provisioner *self, provisioner_found *found, void *context,
               struct error *err) {
    struct local *local = (struct local *)self;
    DIR *directory = opendir(local->directory);
    if (directory == NULL)
        return error_system(err, errno, "%s", local->directory);
    const struct dirent *item;
    while ((item = readdir(directory)) != NULL)
        if (item->d_name[0] == '.')
            look_at_new(local, item->d_name);
        else
            look_at(local, item->d_name, found, context);
    closedir(directory);
    local_account_sweep(local);
    return 0;
}

static char *directory_of(const struct local *local, const char *id) {
    return memory_printf("%s/%s", local->directory, id);
}

/* One without a living launcher is whoever's who started it, unless it is dead. */
static void look_for(struct local *local, const char *id) {
    cleanup_free char *directory = directory_of(local, id);
    cleanup_json json_t *record = NULL;
    struct error err;
    if (!text_is_kernel_id(id) || access(directory, F_OK) < 0)
        return;
    cleanup_close int lock_fd = local_process_lock(directory, &err);
    bool is_served = lock_fd < 0 && err.code == ERROR_EXISTS;
    bool is_read = local_read_record(directory, &record, NULL) == 0;
    if (is_served || (lock_fd >= 0 && is_read && local_record_is_dead(record)))
        local->watcher.found(local->watcher_context, id, record, is_served);
}

static void on_appeared(void *context, const char *name) {
    look_for(context, name);
}

static void on_vanished(void *context, const char *name) {
    const struct local *local = context;
    cleanup_free char *directory = directory_of(local, name);
    if (access(directory, F_OK) < 0) /* else it is there again */
        local->watcher.gone(local->watcher_context, name, NULL, NULL);
}

/* gone() may end any provision, so their names are taken first. */
static void on_missed(void *context) {
    struct local *local = context;
    cleanup_json json_t *names = json_array();
    size_t i;
    const json_t *name;
    list_each (&local->provisions, struct provision, node, provision)
        json_array_append_new(names, json_string(provision->id));
    json_array_foreach(names, i, name) {
        on_vanished(local, json_string_value(name));
    }
    struct error err;
    if (local_find(&local->base, local->watcher.found, local->watcher_context, &err) < 0)
        log_error("kernels of other gateways cannot be looked for: %s", err.text);
}

int local_watch(struct provisioner *self, const struct provisioner_watch *watch, void *context,
                struct error *err) {
    static const struct local_watch_events events = {
        .appeared = on_appeared, .vanished = on_vanished, .missed = on_missed};
    struct local *local = (struct local *)self;
    local->watcher = *watch;
    local->watcher_context = context;
    if (local->watch != NULL)
        return 0;
    return local_watch_create(local->loop, local->directory, &events, local, &local->watch, err);
}

int local_look(struct provisioner *self, const char *kernel_id) {
    struct local *local = (struct local *)self;
    if (local->watcher.found != NULL)
        look_for(local, kernel_id);
    return 0;
}
