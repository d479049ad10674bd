#include "launcher/launcher.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "launcher/launcher_state.h"
#include "launcher/local_home.h"

#define LOG_AREA "launcher"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

enum { LAUNCH_FILE_MAX = 16 << 20, ACTIVITY_PUSH_MS = 1000, REST_MS = 3000 };
enum { LINGER_MS = 1000 }; /* for what the link still has to say once the kernel is gone */

static const char *const phase_names[] = {"starting", "ready", "restarting", "stopping", "dead"};

enum { ANY_PHASE = -1 };

static const struct {
    enum phase_event event;
    int from;
    enum phase to;
} phase_rows[] = {
    {EVENT_READY, PHASE_STARTING, PHASE_READY},
    {EVENT_READY, PHASE_RESTARTING, PHASE_READY},
    {EVENT_RESTART, PHASE_STARTING, PHASE_RESTARTING},
    {EVENT_RESTART, PHASE_READY, PHASE_RESTARTING},
    {EVENT_RESTART, PHASE_RESTARTING, PHASE_RESTARTING},
    {EVENT_RESTART, PHASE_DEAD, PHASE_RESTARTING},
    {EVENT_FAILED, PHASE_STARTING, PHASE_DEAD},
    {EVENT_FAILED, PHASE_READY, PHASE_DEAD},
    {EVENT_FAILED, PHASE_RESTARTING, PHASE_DEAD},
    {EVENT_STOP, ANY_PHASE, PHASE_STOPPING},
    {EVENT_STOPPED, PHASE_STOPPING, PHASE_DEAD},
};

/* --- timers: 0 is "not set" --- */

void launcher_timer_clear(struct launcher *launcher, int *timer) {
    if (*timer != 0)
        zloop_timer_end(launcher->loop, *timer);
    *timer = 0;
}

void launcher_timer_set(struct launcher *launcher, int *timer, int64_t in_ms, zloop_timer_fn *run) {
    launcher_timer_clear(launcher, timer);
    *timer = zloop_timer(launcher->loop, (size_t)(in_ms > 0 ? in_ms : 1), 1, run, launcher);
}

/* zloop drops ended timers at the end of its turn, but leaves the turn early when a timer's
 * function changed the pollers: then what is due in the next turn is still called. So the SIGTERM
 * for a process that had ended in time hit the one that was started after it. */
bool launcher_timer_fired(int *timer, int fired) {
    if (*timer != fired)
        return false;
    *timer = 0;
    return true;
}

/* --- status --- */

bool launcher_is_ready(const struct launcher *launcher) {
    return launcher->phase == PHASE_READY;
}

const char *launcher_execution_state(const struct launcher *launcher) {
    switch (launcher->phase) {
    case PHASE_STARTING:
        return "starting";
    case PHASE_RESTARTING:
        return "restarting";
    case PHASE_DEAD:
        return "dead";
    case PHASE_READY:
    case PHASE_STOPPING:
        break;
    }
    return busy_count(launcher->busy) > 0 ? "busy" : "idle";
}

static json_t *make_status(void *context) {
    struct launcher *launcher = context;
    char activity[CLOCK_TEXT_SIZE];
    clock_format(launcher->last_activity_us, activity);
    json_int_t idle_ms =
        busy_count(launcher->busy) > 0 ? 0 : clock_monotonic_ms() - launcher->idle_since_ms;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:s?, s:b, s:s, s:o, s:O?}", "phase",
        phase_names[launcher->phase], "stage", launcher->stage, "execution_state",
        launcher_execution_state(launcher), "last_activity", activity, "idle_ms", idle_ms,
        "restarts", (json_int_t)launcher->restarts, "reason", launcher->reason, "kernel_info",
        launcher_is_ready(launcher), "message_session", launcher->kernel_session, "activity",
        launcher_activity_status(launcher), "shares", json_object_get(launcher->record, "shares"));
}

/* What the journal takes is there for the admin's numbers. */
static json_t *give_status(void *context) {
    const struct launcher *launcher = context;
    struct journal_size size = link_server_journal_size(launcher->link);
    json_t *status = make_status(context);
    if (status != NULL)
        json_object_set_new(status, "journal",
                            json_pack("{s:I, s:I}", "bytes", (json_int_t)size.bytes, "folded_bytes",
                                      (json_int_t)size.folded_bytes));
    return status;
}

static json_t *give_record(void *context) {
    struct launcher *launcher = context;
    return json_incref(launcher->record);
}

/* What has to be seen while it happens, and is not told to us. */
static void look_around(void *context) {
    struct launcher *launcher = context;
    launcher_activity_glance(launcher);
    int64_t now_ms = clock_monotonic_ms();
    if (oom_watch_is_due(&launcher->oom, now_ms))
        oom_watch_note(&launcher->oom, oom_watch_count(), now_ms);
}

/* After a flood, libzmq's queues are empty but the heap keeps their memory. */
static int on_rest_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->rest_timer, timer))
        return 0;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    launcher_activity_sample(launcher); /* what a run has used is not what came after it */
    return 0;
}

static int on_activity_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->activity_timer, timer))
        return 0;
    look_around(launcher); /* a busy link is not asked */
    launcher->is_status_dirty |= launcher->has_activity;
    launcher_timer_set(launcher, &launcher->rest_timer, REST_MS, on_rest_timer);
    launcher_push_status(launcher);
    link_server_flush(launcher->link);
    return 0;
}

/* With the next status that activity makes, so that a client which comes and asks costs one. */
static void note_attendance(void *context) {
    struct launcher *launcher = context;
    activity_attended(&launcher->activity);
    launcher->has_activity = true;
    if (launcher->activity_timer == 0)
        launcher_timer_set(launcher, &launcher->activity_timer, ACTIVITY_PUSH_MS,
                           on_activity_timer);
}

void launcher_push_status(struct launcher *launcher) {
    if (!launcher->is_status_dirty) {
        /* Activity alone goes out once a second; the timer runs only while there is some. */
        if (launcher->has_activity && launcher->activity_timer == 0)
            launcher_timer_set(launcher, &launcher->activity_timer, ACTIVITY_PUSH_MS,
                               on_activity_timer);
        return;
    }
    launcher->is_status_dirty = launcher->has_activity = false;
    cleanup_json json_t *status = give_status(launcher);
    if (status != NULL)
        link_server_status(launcher->link, status);
}

void launcher_save_record(struct launcher *launcher) {
    struct error err;
    json_t *record = launcher->record;
    json_object_set_new(record, "launcher_pid", json_integer(getpid()));
    json_object_set_new(record, "kernel_pid",
                        launcher->process != NULL && !launcher->has_exited
                            ? json_integer(kernel_process_pid(launcher->process))
                            : json_null());
    json_object_set_new(record, "phase", json_string(phase_names[launcher->phase]));
    json_object_set_new(record, "reason",
                        launcher->reason != NULL ? json_string(launcher->reason) : json_null());
    launcher_resume_note(launcher);
    if (file_write_json(launcher->record_path, record, 0600, &err) < 0)
        log_error("the record could not be written: %s", err.text);
}

/* A death is told again by each launcher that only keeps the kernel's output: the first time
 * counts. */
static void note_death(struct launcher *launcher) {
    if (launcher->phase != PHASE_DEAD)
        json_object_del(launcher->record, "died_ms");
    else if (!json_is_integer(json_object_get(launcher->record, "died_ms")))
        json_object_set_new(launcher->record, "died_ms", json_integer(clock_wall_us() / 1000));
}

void launcher_phase(struct launcher *launcher, enum phase_event event, const char *stage,
                    const char *reason) {
    for (size_t i = 0; i < sizeof phase_rows / sizeof phase_rows[0]; i++) {
        if (phase_rows[i].event != event ||
            (phase_rows[i].from != ANY_PHASE && phase_rows[i].from != (int)launcher->phase))
            continue;
        log_info("%s -> %s (%s)%s%.*s", phase_names[launcher->phase], phase_names[phase_rows[i].to],
                 stage, reason != NULL ? ": " : "", reason != NULL ? (int)strcspn(reason, "\n") : 0,
                 reason != NULL ? reason : "");
        launcher->phase = phase_rows[i].to;
        launcher->stage = stage;
        note_death(launcher);
        char *clean = reason != NULL ? utf8_repair(reason) : NULL;
        free(launcher->reason);
        launcher->reason = clean;
        launcher_activity_update(launcher);
        launcher->is_status_dirty = true;
        launcher_push_status(launcher);
        launcher_save_record(launcher);
        return;
    }
    assert(!"an event that its phase does not know");
}

void launcher_stage(struct launcher *launcher, const char *stage) {
    launcher->stage = stage;
    launcher->is_status_dirty = true;
    launcher_push_status(launcher);
}

static int on_finish_timer(zloop_t *loop, int timer, void *context) {
    (void)loop, (void)timer, (void)context;
    return -1; /* ends the loop */
}

void launcher_finish(struct launcher *launcher) {
    if (!launcher->is_finished)
        zloop_timer(launcher->loop, 1, 1, on_finish_timer, launcher);
    launcher->is_finished = true;
}

/* --- signals --- */

/* An image may name another signal than SIGTERM for its end (STOPSIGNAL); these are in use. The
 * first process of a container is not ended by one that it does not take: it would get its grace
 * period in vain, and then SIGKILL. */
static sigset_t taken_signals(bool is_container) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (is_container) {
        sigaddset(&set, SIGQUIT);
        sigaddset(&set, SIGRTMIN + 3);
    }
    return set;
}

/* The gateway raised its own limit for its clients. A kernel gets what it would have had without:
 * whoever calls select() must not meet descriptors above 1023. The hard limit stays, so that a
 * kernel may raise its own. */
static void lower_open_files(int64_t open_files) {
    struct rlimit limit;
    if (open_files < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
        limit.rlim_cur <= (rlim_t)open_files)
        return;
    limit.rlim_cur = (rlim_t)open_files;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("the limit of open files could not be set back");
}

void launcher_become(int64_t open_files, bool is_container) {
    lower_open_files(open_files);
    zsys_handler_set(NULL); /* first: czmq's signal handlers would take our signals */
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1); /* libzmq's thread shares the heap: a launcher has to be small */
    mallopt(M_MMAP_THRESHOLD, 4 << 20);  /* large messages come again and again: */
    mallopt(M_TRIM_THRESHOLD, 32 << 20); /* do not give their memory back each time */
#endif
    int fd;
    do { /* so that 0 to 2 are open */
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd < 3);
    if (fd >= 0)
        close(fd);
    setsid();                         /* fails when it leads a session already, which is as good */
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans of the kernel come to us and are reaped */
    sigset_t set = taken_signals(is_container);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* the terminal of the gateway's admin is no business of a kernel */
    zsys_set_linger(LINGER_MS);
}

static void reap(struct launcher *launcher) {
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        bool is_kernel = launcher->process != NULL && !launcher->has_exited &&
                         info.si_pid == kernel_process_pid(launcher->process);
        /* What the kernel started in its own process group ends with it, as after a shutdown: left
         * alone it would hold memory and devices that the next process needs. Before the reaping,
         * since afterwards the number may be somebody else's. */
        if (is_kernel)
            kill(-info.si_pid, SIGKILL);
        int status;
        struct rusage usage;
        if (wait4(info.si_pid, &status, WNOHANG, &usage) <= 0)
            return;
        launcher->reaped_cpu_ms += (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                                   (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
        if (is_kernel)
            launcher_kernel_exited(launcher, status);
    }
}

/* SIGINT is a gateway's on this machine, which cannot reach us by the link: as the command. SIGTERM
 * is anybody's: a machine or a container that shuts down sends it to everything. Nobody wanted the
 * kernel's output to go, unless a shutdown is under way already. The second one hastens. Why a
 * container has to end stands in its pod's status, and the gateways read that at this moment: they
 * say it in the running cell, if that is not ended before. */
enum { TOLD_WAIT_MS = 1000 };

static void end_told(struct launcher *launcher, enum ending ending) {
    launcher_timer_clear(launcher, &launcher->told_timer);
    if (ending == ENDING_TOLD && launcher->ending != ending && launcher->policy.was_ready &&
        launcher->process != NULL)
        launcher_say_death(launcher, launcher_told_reason(launcher), false);
    launcher_end(launcher, ending, launcher->ending == ending, NULL);
}

static int on_told_timer(zloop_t *loop, int timer, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    if (!launcher_timer_fired(&launcher->told_timer, timer))
        return 0;
    end_told(launcher, launcher->ending == ENDING_SHUTDOWN ? ENDING_SHUTDOWN : ENDING_TOLD);
    link_server_flush(launcher->link);
    return 0;
}

static void take_end_signal(struct launcher *launcher, const struct signalfd_siginfo *info) {
    bool is_command = info->ssi_signo == SIGINT && !launcher->is_container;
    enum ending ending =
        is_command || launcher->ending == ENDING_SHUTDOWN ? ENDING_SHUTDOWN : ENDING_TOLD;
    bool is_explained = launcher->is_container && launcher->told_timer == 0;
    log_info("signal %u from process %u: %s", info->ssi_signo, info->ssi_pid,
             ending == ENDING_SHUTDOWN ? "shutting down" : "ending, what the kernel said is kept");
    if (is_explained && ending == ENDING_TOLD && launcher->ending == ENDING_NONE)
        launcher_timer_set(launcher, &launcher->told_timer, TOLD_WAIT_MS, on_told_timer);
    else
        end_told(launcher, ending);
}

static int on_signal(zloop_t *loop, zmq_pollitem_t *item, void *context) {
    (void)loop;
    struct launcher *launcher = context;
    struct signalfd_siginfo info;
    while (read(item->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
            reap(launcher);
            continue;
        }
        take_end_signal(launcher, &info);
    }
    link_server_flush(launcher->link);
    return 0;
}

/* --- creation --- */

/* A lock that was handed over is already held: asking for it again changes nothing. */
static int lock_directory(struct launcher *launcher, const char *directory, int lock_fd,
                          struct error *err) {
    launcher->directory = realpath(directory, NULL);
    if (launcher->directory == NULL)
        return error_system(err, errno, "%s", directory);
    if (file_make_private_directory(launcher->directory, err) < 0)
        return -1;
    if (lock_fd >= 0)
        fcntl(lock_fd, F_SETFD, FD_CLOEXEC);
    launcher->directory_fd =
        lock_fd >= 0 ? lock_fd : open(launcher->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (launcher->directory_fd < 0)
        return error_system(err, errno, "%s", directory);
    if (flock(launcher->directory_fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, ERROR_EXISTS, "%s: another launcher is at work here", directory);
    launcher->output_path = memory_printf("%s/kernel.log", launcher->directory);
    launcher->record_path = memory_printf("%s/record.json", launcher->directory);
    return 0;
}

static int read_record(struct launcher *launcher, struct error *err) {
    struct error problem;
    if (file_read_json(launcher->record_path, LAUNCH_RECORD_MAX, &launcher->record, &problem) < 0) {
        if (problem.code != ERROR_NOT_FOUND)
            return error_set(err, problem.code,
                             "the kernel's record cannot be read, and is left as it is: %s",
                             problem.text);
        launcher->record = json_pack("{s:s, s:s}", "kernel_id", launcher->launch->kernel_id, "name",
                                     launcher->launch->kernel_name);
    }
    if (!json_is_object(launcher->record))
        return error_set(err, ERROR_INVALID, "%s: must be an object", launcher->record_path);
    return 0;
}

static void set_log(const struct launch *launch) {
    enum log_level level;
    enum log_format format;
    if (launch->log_level != NULL && log_level_parse(launch->log_level, &level) == 0)
        log_set_level(level);
    if (launch->log_format != NULL && log_format_parse(launch->log_format, &format) == 0)
        log_set_format(format);
    log_set_kernel(launch->kernel_id);
}

static int read_files(struct launcher *launcher, struct error *err) {
    cleanup_free char *launch_path = memory_printf("%s/launch.json", launcher->directory);
    cleanup_json json_t *json = NULL;
    if (file_read_json(launch_path, LAUNCH_FILE_MAX, &json, err) < 0 ||
        launch_create(json, &launcher->launch, err) < 0)
        return -1;
    set_log(launcher->launch);
    if (launcher->launch->is_on_launcher_environment)
        launch_add_base_environment(launcher->launch, environ);
    if (read_record(launcher, err) < 0)
        return -1;
    launcher_resume_mark(launcher);
    launcher_resume_look(launcher);
    return 0;
}

/* A successor has the kernel's output to keep, whatever became of the home. */
static int make_home(const struct launcher *launcher, struct error *err) {
    return launcher->resume.is_due ? 0 : local_home_prepare(launcher->launch, err);
}

/* By it gateways tell numbers that they know from those of a journal that began again. */
static void note_numbering(struct launcher *launcher) {
    if (link_server_last(launcher->link) > 0 &&
        json_is_string(json_object_get(launcher->record, "numbering")))
        return;
    char id[37];
    text_uuid4(id);
    json_object_set_new(launcher->record, "numbering", json_string(id));
}

static int bind_link(struct launcher *launcher, const struct launcher_settings *wanted,
                     struct error *err) {
    static const struct link_server_events events = {.request = launcher_take_request,
                                                     .command = launcher_take_command,
                                                     .lost = launcher_answer_lost,
                                                     .record = give_record,
                                                     .status = give_status,
                                                     .disk_full = launcher_say_disk,
                                                     .asked = look_around,
                                                     .attended = note_attendance};
    cleanup_free char *endpoint = memory_printf("ipc://%s/link", launcher->directory);
    cleanup_free char *journal = memory_printf("%s/journal", launcher->directory);
    cleanup_free char *sessions = memory_printf("%s/sessions", launcher->directory);
    if (wanted->endpoint == NULL && strlen(endpoint) - strlen("ipc://") > 107)
        return error_set(err, ERROR_LIMIT,
                         "%s is too long: the path of the link's socket may have 107 bytes; use a "
                         "shorter runtime directory",
                         launcher->directory);
    const struct link_server_settings settings = {
        .kernel_id = launcher->launch->kernel_id,
        .endpoint = wanted->endpoint != NULL ? wanted->endpoint : endpoint,
        .keys = wanted->keys,
        .journal_directory = journal,
        .session_path = sessions,
        .journal_bytes = launcher->launch->journal_bytes,
        .session_retention_ms = launcher->launch->session_retention_ms,
        .payload_max = PAYLOAD_MAX,
    };
    if (link_server_create(launcher->loop, &settings, &events, launcher, &launcher->link, err) < 0)
        return -1;
    note_numbering(launcher);
    return 0;
}

static int watch_signals(struct launcher *launcher, struct error *err) {
    sigset_t set = taken_signals(launcher->is_container);
    launcher->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (launcher->signal_fd < 0)
        return error_system(err, errno, "signalfd");
    zmq_pollitem_t item = {.fd = launcher->signal_fd, .events = ZMQ_POLLIN};
    zloop_poller(launcher->loop, &item, on_signal, launcher);
    return 0;
}

static void make_token(char token[TOKEN_SIZE]) {
    uint8_t random[(TOKEN_SIZE - 1) / 2];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        abort(); /* cannot happen for so few bytes */
    text_hex(random, sizeof random, token);
}

int launcher_create(const struct launcher_settings *settings, struct launcher **ret,
                    struct error *err) {
    struct launcher *launcher = memory_alloc(sizeof *launcher);
    launcher->resume.wanted = settings->succession;
    launcher->is_container = settings->is_container;
    launcher->directory_fd = launcher->signal_fd = launcher->oom_score.fd = -1;
    if (settings->oom_score != NULL)
        launcher->oom_score = *settings->oom_score;
    launcher->stage = "starting the process";
    launcher->last_activity_us = clock_wall_us();
    launcher->idle_since_ms = clock_monotonic_ms();
    activity_begin(&launcher->activity, launcher->idle_since_ms, 0);
    launcher->activity.changes = (uint64_t)launcher->last_activity_us; /* no earlier launcher's */
    launcher->scratch.limit = launcher->held.limit = PAYLOAD_MAX + (1 << 20);
    launcher->cell.header.limit = CELL_HEADER_MAX;
    make_token(launcher->own_session);
    make_token(launcher->notice_session);
    launcher->requests = request_table_create();
    launcher->busy = busy_create();
    launcher->loop = zloop_new();
    zloop_set_nonstop(launcher->loop, true); /* it ends when it is told to, not by a stray EINTR */
    if (lock_directory(launcher, settings->directory, settings->lock_fd, err) < 0 ||
        read_files(launcher, err) < 0 || launcher_kernel_prepare(launcher, err) < 0 ||
        make_home(launcher, err) < 0 || bind_link(launcher, settings, err) < 0 ||
        watch_signals(launcher, err) < 0) {
        launcher_destroy(launcher);
        return -1;
    }
    if (!launcher->resume.was_dead) /* else it stays so, whatever becomes of us */
        launcher_save_record(launcher);
    *ret = launcher;
    return 0;
}

void launcher_run(struct launcher *launcher) {
    if (launcher->resume.is_due)
        launcher_resume_run(launcher);
    else
        launcher_kernel_start(launcher);
    link_server_flush(launcher->link);
    while (!launcher->is_finished)
        zloop_start(launcher->loop);
}

/* libzmq leaves it; who finds none knows that nobody is there. Only ours: without the lock it may
 * be another launcher's. */
static void remove_socket(const struct launcher *launcher) {
    if (launcher->record_path == NULL)
        return;
    cleanup_free char *path = memory_printf("%s/link", launcher->directory);
    unlink(path);
}

void launcher_destroy(struct launcher *launcher) {
    if (launcher == NULL)
        return;
    launcher_kernel_release(launcher);
    link_server_destroy(&launcher->link);
    remove_socket(launcher);
    zloop_destroy(&launcher->loop);
    if (launcher->signal_fd >= 0)
        close(launcher->signal_fd);
    request_table_destroy(launcher->requests);
    busy_destroy(launcher->busy);
    kernel_output_destroy(launcher->output);
    launch_destroy(launcher->launch);
    json_decref(launcher->record);
    if (launcher->directory_fd >= 0)
        close(launcher->directory_fd);
    oom_score_close(&launcher->oom_score);
    buffer_free(&launcher->scratch);
    buffer_free(&launcher->held);
    buffer_free(&launcher->cell.header);
    free(launcher->reason);
    free(launcher->keep_by);
    free(launcher->resume.reason);
    free(launcher->connection_path);
    free(launcher->output_path);
    free(launcher->record_path);
    free(launcher->directory);
    free(launcher);
}
