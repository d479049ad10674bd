/* Kernels as processes of this machine. Each has a directory (docs/link-protocol.md, "The kernel
 * directory") and an elara-launcher that is a session of its own and outlives the gateway.
 *
 * Whether a directory has a living launcher is told by a lock on it (flock): the gateway takes it
 * before anything is written and hands it over to the launcher, so that a gateway that looks at a
 * directory at any moment sees either a lock or something that is over. Process ids are only used
 * after a look at /proc showed whose they are. */
#include "launcher/provisioner_local_internal.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/log_tail.h"

#define LOG_AREA "launcher/provisioner_local"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum {
    READY_TEXT_MAX = 2048,
    SEARCH_MS = 50, /* a launcher that is just starting has not yet written its pid */
    SEARCH_ROUNDS_MAX = 200,
    SEARCH_THOROUGH = 40, /* every so many rounds */
    TAIL_BYTES = 4096,
    TAIL_LINES = 20,
};

static void drop_event(struct event **event) {
    if (*event != NULL)
        event_free(*event);
    *event = NULL;
}

static void free_provision(struct provision *provision) {
    drop_event(&provision->exit_event);
    drop_event(&provision->ready_event);
    drop_event(&provision->later);
    local_process_close(&provision->process);
    list_remove(&provision->node);
    buffer_free(&provision->ready_text);
    free(provision->id);
    free(provision->directory);
    free(provision);
}

static struct provision *new_provision(struct local *local, const char *id,
                                       const struct provision_events *events, void *context) {
    struct provision *provision = memory_alloc(sizeof *provision);
    provision->local = local;
    provision->id = memory_strdup(id);
    provision->directory = memory_printf("%s/%s", local->directory, id);
    provision->events = *events;
    provision->context = context;
    provision->process = LOCAL_PROCESS_NONE;
    provision->ready_text.limit = READY_TEXT_MAX;
    list_append(&local->provisions, &provision->node);
    return provision;
}

static char *path_in(const struct provision *provision, const char *name) {
    return memory_printf("%s/%s", provision->directory, name);
}

static void call_ended(struct provision *provision, const struct error *cause) {
    provision->is_ended = true;
    drop_event(&provision->ready_event);
    drop_event(&provision->later);
    provision->events.ended(provision->context, cause); /* may remove it: the last use */
}

static void call_reachable(struct provision *provision) {
    provision->was_reachable = true;
    cleanup_free char *endpoint = memory_printf("ipc://%s/link", provision->directory);
    const struct provision_address address = {.endpoint = endpoint};
    provision->events.reachable(provision->context, &address);
}

/* --- the launcher's end --- */

static ino_t inode_of(const char *path) {
    struct stat what;
    return stat(path, &what) == 0 ? what.st_ino : 0;
}

static void remove_files(const struct provision *provision) {
    struct error err;
    if (inode_of(provision->directory) != provision->inode)
        return;
    local_account_remove(provision->local, provision->id);
    if (file_remove_tree(provision->directory, &err) < 0)
        log_error("kernel %s: its directory could not be removed: %s", provision->id, err.text);
    local_account_sweep(provision->local);
}

/* What it said before it ended stands in the pipe, read or not. */
static void take_last_words(struct provision *provision) {
    struct buffer *text = &provision->ready_text;
    if (provision->ready_event == NULL || buffer_reserve(text, 1024) < 0)
        return;
    ssize_t got = read(provision->process.ready_fd, text->data + text->length, 1024);
    text->length += got > 0 ? (size_t)got : 0;
    drop_event(&provision->ready_event);
}

static void remove_place(evutil_socket_t fd, short what, void *context);

static void on_launcher_exit(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct provision *provision = context;
    struct error cause;
    take_last_words(provision);
    bool was_killed = local_process_reap(&provision->process, &cause);
    provision->has_failed = !provision->was_reachable && !was_killed;
    drop_event(&provision->exit_event);
    if (provision->is_removed) { /* another gateway may have been quick to start the next one */
        remove_place(-1, 0, provision);
        return;
    }
    local_explain_end(provision, &cause);
    if (!provision->is_ended)
        call_ended(provision, &cause);
}

static int watch_exit(struct provision *provision) {
    provision->exit_event = event_new(provision->local->loop, provision->process.pidfd, EV_READ,
                                      on_launcher_exit, provision);
    return provision->exit_event != NULL && event_add(provision->exit_event, NULL) == 0 ? 0 : -1;
}

/* --- start --- */

static void on_ready(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct provision *provision = context;
    struct buffer *text = &provision->ready_text;
    if (buffer_reserve(text, 512) < 0) {
        drop_event(&provision->ready_event); /* it talks nonsense; its exit tells more */
        return;
    }
    ssize_t got = read(fd, text->data + text->length, 512);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    text->length += got > 0 ? (size_t)got : 0;
    if (text_starts_with(buffer_text(text), "ready\n")) {
        local_process_close_ready(&provision->process);
        drop_event(&provision->ready_event);
        drop_event(&provision->later); /* it was quicker than the first stage could be told */
        call_reachable(provision);
    } else if (got <= 0 || memchr(text->data, '\n', text->length) != NULL) {
        event_del(provision->ready_event); /* on_launcher_exit reads what it said */
    }
}

static void on_started(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct provision *provision = context;
    drop_event(&provision->later);
    if (!provision->is_ended)
        provision->events.stage(provision->context, provision->has_home
                                                        ? "preparing the home directory"
                                                        : "starting the launcher");
}

static void run_later(struct provision *provision, event_callback_fn run, int in_ms) {
    struct timeval wait = {.tv_sec = in_ms / 1000, .tv_usec = in_ms % 1000 * 1000};
    drop_event(&provision->later);
    provision->later = event_new(provision->local->loop, -1, 0, run, provision);
    event_add(provision->later, &wait);
}

static int write_files(const char *directory, json_t *launch, json_t *record, struct error *err) {
    cleanup_free char *launch_path = memory_printf("%s/launch.json", directory);
    cleanup_free char *record_path = memory_printf("%s/record.json", directory);
    if (launch != NULL && file_write_json(launch_path, launch, 0600, err) < 0)
        return -1;
    return file_write_json(record_path, record, 0600, err);
}

/* With its files; returns the descriptor that holds its lock. */
static int make_directory(struct provision *provision, json_t *launch, json_t *record,
                          struct error *err) {
    cleanup_free char *path =
        memory_printf("%s/" NEW_PREFIX "%s", provision->local->directory, provision->id);
    (void)file_remove_tree(path, NULL); /* of a gateway that was killed right here */
    if (mkdir(path, 0700) < 0)
        return error_system(err, errno, "%s", path);
    cleanup_close int lock_fd = local_process_lock(path, err);
    if (lock_fd < 0 || write_files(path, launch, record, err) < 0) {
        (void)file_remove_tree(path, NULL);
        return -1;
    }
    if (rename(path, provision->directory) < 0) {
        int problem = errno;
        (void)file_remove_tree(path, NULL);
        if (problem == EEXIST || problem == ENOTEMPTY)
            return error_set(err, ERROR_EXISTS, "kernel %s exists already", provision->id);
        return error_system(err, problem, "%s", provision->directory);
    }
    provision->inode = inode_of(provision->directory);
    return steal_fd(&lock_fd);
}

/* resume: NULL for the first one of a kernel. */
static int start_launcher(struct provision *provision, int lock_fd, const char *resume,
                          struct error *err) {
    const struct local_process_plan plan = {
        .spawner = provision->local->spawner,
        .launcher_path = provision->local->launcher_path,
        .directory = provision->directory,
        .lock_fd = lock_fd,
        .open_files = provision->local->open_files,
        .resume = resume,
        .resume_reason =
            resume != NULL && provision->end.text[0] != '\0' ? provision->end.text : NULL};
    if (local_process_spawn(&plan, &provision->process, err) < 0)
        return -1;
    provision->ready_event = event_new(provision->local->loop, provision->process.ready_fd,
                                       EV_READ | EV_PERSIST, on_ready, provision);
    if (provision->ready_event == NULL || event_add(provision->ready_event, NULL) < 0 ||
        watch_exit(provision) < 0) {
        local_process_kill(&provision->process);
        return error_set(err, ERROR_SYSTEM, "the event loop did not take the launcher");
    }
    return 0;
}

/* A launcher that was killed may need a moment to be gone (a dead file server holds it), and its
 * directory goes last: a new one of the same name would go with it. */
static bool is_being_removed(const struct local *local, const char *id) {
    list_each (&local->provisions, struct provision, node, provision)
        if (provision->is_removed && strcmp(provision->id, id) == 0)
            return true;
    return false;
}

static int local_start(struct provisioner *self, const struct provision_order *order,
                       const struct provision_events *events, void *context, struct provision **ret,
                       struct error *err) {
    struct local *local = (struct local *)self;
    const char *kernel_id = order->kernel_id;
    if (!text_is_kernel_id(kernel_id))
        return error_set(err, ERROR_INVALID, "'%.100s' is no kernel id", kernel_id);
    if (is_being_removed(local, kernel_id))
        return error_set(err, ERROR_UNAVAILABLE,
                         "An earlier kernel %s is still being removed; try again in a moment.",
                         kernel_id);
    bool has_home;
    if (local_account_add(local, order, err) < 0 ||
        provisioner_local_add_home(&local->home, order->spec, order->record, order->launch,
                                   &has_home, err) < 0)
        return -1;
    struct provision *provision = new_provision(local, kernel_id, events, context);
    provision->has_home = has_home;
    cleanup_close int lock_fd = make_directory(provision, order->launch, order->record, err);
    if (lock_fd < 0) {
        free_provision(provision);
        return -1;
    }
    if (start_launcher(provision, lock_fd, NULL, err) < 0) {
        remove_files(provision);
        free_provision(provision);
        return -1;
    }
    run_later(provision, on_started, 0);
    *ret = provision;
    return 0;
}

/* --- adopt --- */

static int local_resume(struct provision *provision, enum provision_resume how, struct error *err);

/* Nobody is there. */
static void end_search(struct provision *provision) {
    struct error err;
    if (provision->is_resuming) { /* only somebody who looked had the lock */
        provision->is_ended = true;
        if (local_resume(provision, provision->resume_how, &err) >= 0)
            return;
        log_warning("kernel %s: %s", provision->id, err.text);
    } else {
        error_set(&provision->end, ERROR_UNAVAILABLE,
                  "The kernel's launcher ended while no gateway watched it, and the kernel with "
                  "it.");
    }
    provision->was_reachable = true; /* by an earlier gateway: its record tells */
    error_set(&err, ERROR_UNAVAILABLE,
              "The kernel's launcher ended, and the kernel with it: restart the kernel to go on; "
              "its variables are lost.");
    call_ended(provision, &err);
}

/* The launcher's process, watched from now on. Its record tells the pid; where that cannot be read,
 * or is an earlier one's since the disk is full, the command lines do (thorough: that takes a walk
 * over all processes). */
static bool find_process(struct provision *provision, bool is_thorough) {
    cleanup_json json_t *record = NULL;
    bool is_read = local_read_record(provision->directory, &record, NULL) == 0;
    pid_t pid = is_read ? local_record_pid(record, "launcher_pid") : 0;
    int failed = local_process_open(pid, provision->directory, &provision->process);
    if (failed < 0 && (is_thorough || !is_read)) {
        pid = local_process_find_launcher(provision->directory);
        failed = local_process_open(pid, provision->directory, &provision->process);
    }
    return failed == 0 && watch_exit(provision) == 0;
}

/* Looks for the process of the launcher that holds the lock: it writes its pid soon after it got
 * it. */
static void on_search(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct provision *provision = context;
    struct error err;
    drop_event(&provision->later);
    int lock_fd = local_process_lock(provision->directory, &err);
    if (lock_fd >= 0) {
        close(lock_fd); /* whoever goes on from here takes it */
        end_search(provision);
        return;
    }
    if (find_process(provision,
                     provision->search_rounds % SEARCH_THOROUGH == SEARCH_THOROUGH - 1)) {
        call_reachable(provision);
    } else if (provision->search_rounds++ < SEARCH_ROUNDS_MAX) {
        run_later(provision, on_search, SEARCH_MS);
    } else {
        error_set(&err, ERROR_TIMEOUT,
                  "The kernel's launcher holds its directory, but its process "
                  "was not found.");
        call_ended(provision, &err);
    }
}

static int local_adopt(struct provisioner *self, const char *kernel_id,
                       const struct provision_events *events, void *context, struct provision **ret,
                       struct error *err) {
    struct local *local = (struct local *)self;
    cleanup_free char *directory = memory_printf("%s/%s", local->directory, kernel_id);
    if (!text_is_kernel_id(kernel_id) || access(directory, F_OK) < 0)
        return error_set(err, ERROR_NOT_FOUND, "there is no kernel %.100s", kernel_id);
    struct provision *provision = new_provision(local, kernel_id, events, context);
    provision->inode = inode_of(provision->directory);
    run_later(provision, on_search, 0);
    *ret = provision;
    return 0;
}

/* --- resume --- */

static int check_resume(const struct provision *provision, const json_t *record,
                        enum provision_resume how, struct error *err) {
    if (!provision->is_ended)
        return error_set(err, ERROR_UNAVAILABLE, "its launcher is at work");
    if (!json_is_integer(json_object_get(record, "launcher_pid")))
        return error_set(err, ERROR_UNSUPPORTED, "it never had a launcher");
    if (how != PROVISION_RESUME_START && provision->has_failed)
        return error_set(err, ERROR_UNAVAILABLE, "its launcher did not come up the last time");
    /* By policy, too, a dead one has to be told of: its launcher may have ended before we heard. */
    if (how != PROVISION_RESUME_START && !local_record_is_resumable(record) &&
        !local_record_is_dead(record))
        return error_set(err, ERROR_CHANGED, "the kernel had ended before its launcher");
    return 0;
}

static int local_resume(struct provision *provision, enum provision_resume how, struct error *err) {
    static const char *const names[] = {[PROVISION_RESUME_BY_POLICY] = "policy",
                                        [PROVISION_RESUME_START] = "start",
                                        [PROVISION_RESUME_DEAD] = "dead"};
    cleanup_json json_t *record = NULL;
    if (local_read_record(provision->directory, &record, err) < 0) {
        if (err->code != ERROR_NOT_FOUND)
            err->code = ERROR_SYSTEM; /* no fault of who asks for a restart */
        return -1;
    }
    if (check_resume(provision, record, how, err) < 0)
        return -1;
    cleanup_close int lock_fd = local_process_lock(provision->directory, err);
    if (lock_fd < 0 && err->code == ERROR_EXISTS) {
        /* Another gateway was quicker, or looks whether there is a launcher. */
        provision->is_ended = false;
        provision->is_resuming = true;
        provision->resume_how = how;
        provision->search_rounds = 0;
        run_later(provision, on_search, SEARCH_MS);
        return 1;
    }
    provision->is_resuming = false;
    buffer_clear(&provision->ready_text);
    if (lock_fd < 0 || start_launcher(provision, lock_fd, names[how], err) < 0)
        return -1;
    provision->is_ended = provision->was_reachable = false;
    (void)utimensat(AT_FDCWD, provision->directory, NULL, 0); /* other gateways notice (inotify) */
    return 0;
}

/* --- dead ones without a launcher --- */

static int make_kept(struct provisioner *self, const char *kernel_id, json_t *record,
                     const struct provision_events *events, void *context, struct provision **ret,
                     struct error *err) {
    struct local *local = (struct local *)self;
    if (!text_is_kernel_id(kernel_id) || is_being_removed(local, kernel_id))
        return error_set(err, ERROR_UNAVAILABLE, "its place is not free");
    struct provision *provision = new_provision(local, kernel_id, events, context);
    cleanup_close int lock_fd = make_directory(provision, NULL, record, err);
    if (lock_fd < 0) {
        free_provision(provision);
        return -1;
    }
    provision->is_ended = true;
    *ret = provision;
    return 0;
}

/* What a launcher has written stays, but for the end of the story. */
static int update_kept(const struct provision *provision, json_t *record, struct error *err) {
    cleanup_free char *path = path_in(provision, "record.json");
    cleanup_json json_t *whole = NULL;
    struct error problem;
    cleanup_close int lock_fd = local_process_lock(provision->directory, err);
    if (lock_fd < 0)
        return -1;
    if (local_read_record(provision->directory, &whole, &problem) < 0) {
        if (problem.code != ERROR_NOT_FOUND)
            return error_set(err, problem.code, "%s", problem.text);
        whole = json_object();
    }
    json_object_update(whole, record);
    return file_write_json(path, whole, 0600, err);
}

static int local_keep(struct provisioner *self, const char *kernel_id, json_t *record,
                      const struct provision_events *events, void *context, struct provision **ret,
                      struct error *err) {
    if (*ret == NULL)
        return make_kept(self, kernel_id, record, events, context, ret, err);
    if (!(*ret)->is_ended || inode_of((*ret)->directory) != (*ret)->inode)
        return error_set(err, ERROR_UNAVAILABLE, "its launcher is at work");
    return update_kept(*ret, record, err);
}

/* --- the rest --- */

static int local_signal(struct provision *provision, int signum, struct error *err) {
    return local_process_signal(&provision->process, signum, err);
}

static void kill_kernel(const struct provision *provision) {
    cleanup_json json_t *record = NULL;
    if (local_read_record(provision->directory, &record, NULL) == 0)
        local_account_kill(provision->local, provision->id, local_record_pid(record, "kernel_pid"),
                           provision->directory);
}

/* Without its record no other gateway takes it for one that was killed and is to go on. */
static void kill_launcher(const struct provision *provision) {
    cleanup_free char *path = path_in(provision, "record.json");
    if (inode_of(provision->directory) == provision->inode)
        (void)unlink(path);
    local_process_kill(&provision->process); /* on_launcher_exit goes on */
}

/* The lock tells whether there is a launcher, whatever we know of one: nobody's files are removed
 * under them. Of a launcher that is just starting the process may be found only later. */
static void remove_place(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct provision *provision = context;
    struct error err;
    cleanup_close int lock_fd = -1;
    drop_event(&provision->later);
    if (inode_of(provision->directory) != provision->inode) {
        free_provision(provision);
        return;
    }
    kill_kernel(provision);
    lock_fd = local_process_lock(provision->directory, &err);
    if (lock_fd >= 0 || err.code != ERROR_EXISTS) {
        remove_files(provision);
        free_provision(provision);
    } else if (find_process(provision, provision->search_rounds % SEARCH_THOROUGH == 0)) {
        kill_launcher(provision);
    } else if (provision->search_rounds++ < SEARCH_ROUNDS_MAX) {
        run_later(provision, remove_place, SEARCH_MS);
    } else {
        log_error("kernel %s: somebody holds %s, it is left there", provision->id,
                  provision->directory);
        free_provision(provision);
    }
}

static int local_remove(struct provision *provision, const char *why) {
    (void)why; /* gateways of one machine share the notes of it */
    if (provision->is_removed)
        return 0;
    provision->is_removed = true;
    provision->search_rounds = 0;
    drop_event(&provision->ready_event);
    if (provision->exit_event == NULL) {
        remove_place(-1, 0, provision);
        return 0;
    }
    drop_event(&provision->later);
    if (inode_of(provision->directory) == provision->inode)
        kill_kernel(provision);
    kill_launcher(provision);
    return 0;
}

static void local_release(struct provision *provision) {
    free_provision(provision);
}

static char *local_describe_failure(struct provision *provision) {
    cleanup_free char *path = path_in(provision, "launcher.log");
    return log_tail_read(path, TAIL_BYTES, TAIL_LINES);
}

static void local_destroy(struct provisioner *self) {
    if (self == NULL)
        return;
    struct local *local = (struct local *)self;
    while (!list_is_empty(&local->provisions))
        free_provision(list_entry(local->provisions.head.next, struct provision, node));
    local_watch_destroy(local->watch);
    free(local->directory);
    free(local->users);
    free(local->launcher_path);
    free(local);
}

static const struct provisioner_ops local_ops = {
    .name = "local",
    .start = local_start,
    .find = local_find,
    .watch = local_watch,
    .look = local_look,
    .adopt = local_adopt,
    .resume = local_resume,
    .keep = local_keep,
    .signal = local_signal,
    .remove = local_remove,
    .release = local_release,
    .describe_failure = local_describe_failure,
    .destroy = local_destroy,
};

static int find_places(struct local *local, const struct provisioner_local_settings *settings,
                       struct error *err) {
    bool is_passage = settings->accounts.is_on;
    if ((is_passage ? file_make_passage_directory(settings->runtime_directory, err)
                    : file_make_private_directory(settings->runtime_directory, err)) < 0)
        return -1;
    cleanup_free char *runtime = realpath(settings->runtime_directory, NULL);
    if (runtime == NULL)
        return error_system(err, errno, "%s", settings->runtime_directory);
    local->directory = memory_printf("%s/kernels", runtime);
    if (file_make_private_directory(local->directory, err) < 0 ||
        local_account_prepare(local, runtime, err) < 0)
        return -1;
    /* A launcher starts in another directory. */
    local->launcher_path = realpath(settings->launcher_path, NULL);
    if (local->launcher_path == NULL || access(local->launcher_path, X_OK) < 0)
        return error_system(err, errno,
                            "the launcher %s (it belongs beside elara-gateway; see --launcher)",
                            settings->launcher_path);
    int problem = spawner_name_launcher(local->spawner, local->launcher_path);
    return problem == 0 ? 0 : error_system(err, problem, "the launcher %s", local->launcher_path);
}

int provisioner_local_create(struct event_base *loop,
                             const struct provisioner_local_settings *settings,
                             struct provisioner **ret, struct error *err) {
    struct local *local = memory_alloc(sizeof *local);
    local->base.ops = &local_ops;
    local->loop = loop;
    local->spawner = settings->spawner;
    local->open_files = settings->open_files;
    local->home = settings->home;
    local->accounts = settings->accounts;
    list_init(&local->provisions);
    if (find_places(local, settings, err) < 0) {
        local_destroy(&local->base);
        return -1;
    }
    *ret = &local->base;
    return 0;
}

void provisioner_local_configure(struct provisioner *provisioner, const struct home_settings *home,
                                 const struct local_accounts *accounts) {
    struct local *local = (struct local *)provisioner;
    local->home = *home;
    local->accounts = *accounts;
}
