/* fork and exec by hand, since posix_spawn has neither PR_SET_PDEATHSIG nor a way to tell which
 * step failed. libzmq has threads, so the child only makes async-signal-safe calls: everything is
 * prepared before the fork. What fails in the child is told through a pipe that exec closes; nobody
 * waits for it, because a working directory on a dead NFS server would hold up the whole
 * launcher. */
#include "launcher/kernel_process.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#define LOG_AREA "launcher/kernel_process"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PATH_ENTRIES_MAX = 256 };

enum report_what { REPORT_USER, REPORT_CWD, REPORT_CHDIR, REPORT_EXEC };

struct report {
    enum report_what what;
    int problem;
    size_t place; /* which of the directories was used instead */
};

struct kernel_process {
    pid_t pid;
    int output_fd;
    int report_fd;
    char *program; /* argv[0] */
    char *path;    /* PATH of the kernel's environment */
    char **places; /* working directories, the wanted one first */
    char *kernel_name;
    char *account; /* whom it runs as; NULL: as we do */
};

/* Everything the child needs. */
struct spawn {
    pid_t parent;
    const struct launch_user *user;
    int null_fd, output_fd, report_fd;
    char *const *argv;
    char *const *environment;
    char *const *places;     /* directories to try, in order; none: it stays where we are */
    char *const *candidates; /* paths to try, in order */
};

static const char *path_of(const struct launch *launch) {
    const char *path = launch_variable(launch, "PATH");
    return path != NULL ? path : "/usr/local/bin:/usr/bin:/bin";
}

/* The kernel's own PATH counts, not the launcher's. */
static char **list_candidates(const char *program, const char *path) {
    char **candidates = memory_alloc((PATH_ENTRIES_MAX + 1) * sizeof *candidates);
    if (strchr(program, '/') != NULL) {
        candidates[0] = memory_strdup(program);
        return candidates;
    }
    size_t count = 0;
    for (const char *at = path; count < PATH_ENTRIES_MAX;) {
        size_t length = strcspn(at, ":");
        candidates[count++] = length == 0 ? memory_strdup(program)
                                          : memory_printf("%.*s/%s", (int)length, at, program);
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    return candidates;
}

/* A notebook's directory may be gone: its nearest parent that is there does, as in Jupyter
 * Server. */
static char **list_parents(const char *cwd) {
    size_t count = 1;
    for (const char *at = cwd; *at != '\0'; at++)
        count += *at == '/';
    char **places = memory_alloc((count + 2) * sizeof *places);
    count = 0;
    places[count++] = memory_strdup(cwd);
    for (size_t length = strlen(cwd); length > 1;) {
        while (length > 0 && cwd[length - 1] != '/')
            length--;
        if (length == 0)
            break;
        length -= length > 1; /* the slash, when it is not the root's */
        places[count++] = memory_strndup(cwd, length);
    }
    return places;
}

static char **list_wishes(const struct launch *launch) {
    const char *home = launch_variable(launch, "HOME");
    size_t count = 0;
    while (launch->cwds[count] != NULL)
        count++;
    char **places = memory_alloc((count + 1) * sizeof *places);
    count = 0;
    for (char **wish = launch->cwds; *wish != NULL; wish++) {
        bool is_home = strcmp(*wish, "~") == 0;
        /* A user whom the image does not know has "/": nobody's choice. */
        if (is_home && (home == NULL || home[0] != '/' || home[1] == '\0'))
            continue;
        places[count++] = memory_strdup(is_home ? home : *wish);
    }
    return places;
}

static char **list_places(const struct launch *launch) {
    if (launch->cwds != NULL)
        return list_wishes(launch);
    if (launch->cwd != NULL && launch->cwd[0] != '\0')
        return list_parents(launch->cwd);
    return memory_alloc(sizeof(char *));
}

static void free_texts(char **texts) {
    for (char **at = texts; *at != NULL; at++)
        free(*at);
    free(texts);
}

/* --- in the child: async-signal-safe calls only --- */

static void child_report(const struct spawn *spawn, enum report_what what, int problem,
                         size_t place) {
    struct report report = {.what = what, .problem = problem, .place = place};
    ssize_t ignored = write(spawn->report_fd, &report, sizeof report);
    (void)ignored;
}

static void child_reset_signals(void) {
    for (int signum = 1; signum < NSIG; signum++)
        signal(signum, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Marked, not closed: the report pipe must live until exec. */
static void child_close_others(void) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) == 0)
        return;
#endif
    struct rlimit limit;
    int last = 65536;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)last)
        last = (int)limit.rlim_cur;
    for (int fd = 3; fd < last; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* By system calls: the C library's functions would look for our threads. Nothing of ours is left
 * for the kernel: no group, no capability, no key of our session's keyring. */
static int child_become_user(const struct launch_user *user) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (!user->is_known)
        return 0;
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    if (syscall(SYS_setgroups, user->group_count, user->groups) < 0 ||
        syscall(SYS_setresgid, user->gid, user->gid, user->gid) < 0 ||
        syscall(SYS_setresuid, user->uid, user->uid, user->uid) < 0 ||
        syscall(SYS_capset, &header, none) < 0)
        return -1;
    return 0;
}

static bool child_enter_directory(const struct spawn *spawn) {
    int problem = 0;
    size_t at = 0;
    while (spawn->places[at] != NULL && chdir(spawn->places[at]) < 0) {
        problem = problem == 0 ? errno : problem;
        at++;
    }
    if (problem == 0)
        return true;
    child_report(spawn, spawn->places[at] != NULL ? REPORT_CWD : REPORT_CHDIR, problem, at);
    return spawn->places[at] != NULL;
}

__attribute__((noreturn)) static void child_run(const struct spawn *spawn) {
    setsid();
    if (child_become_user(spawn->user) < 0) {
        child_report(spawn, REPORT_USER, errno, 0);
        _exit(127);
    }
    /* A kernel without its launcher is of no use to anybody: its output pipe and its parent are
     * gone and nobody can adopt it. So it ends with the launcher, even when that was killed,
     * instead of holding memory and a GPU for ever. (Another user's asks for it anew.) */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != spawn->parent)
        _exit(127);
    child_reset_signals();
    if (dup2(spawn->null_fd, 0) < 0 || dup2(spawn->output_fd, 1) < 0 ||
        dup2(spawn->output_fd, 2) < 0)
        _exit(127);
    child_close_others();
    if (!child_enter_directory(spawn))
        _exit(127);
    int problem = ENOENT;
    for (char *const *candidate = spawn->candidates; *candidate != NULL; candidate++) {
        execve(*candidate, spawn->argv, spawn->environment);
        if (errno == EACCES)
            problem = EACCES; /* a later one may do; else this is the news */
        else if (errno != ENOENT && errno != ENOTDIR) {
            problem = errno;
            break;
        }
    }
    child_report(spawn, REPORT_EXEC, problem, 0);
    _exit(127);
}

/* --- in the launcher --- */

static int start_error(int problem, struct error *err) {
    if (problem == EAGAIN || problem == ENOMEM)
        return error_set(err, ERROR_LIMIT,
                         "The kernel process could not be started: %s. The machine or container is "
                         "out of memory or at its limit of processes; end other kernels or raise "
                         "the limit.",
                         strerror(problem));
    return error_system(err, problem, "The kernel process could not be started");
}

int kernel_process_start(const struct launch *launch, char *const *argv,
                         struct kernel_process **ret, struct error *err) {
    int output[2] = {-1, -1}, report[2] = {-1, -1};
    cleanup_close int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || pipe2(output, O_CLOEXEC) < 0)
        return start_error(errno, err);
    cleanup_close int output_in = output[0], output_out = output[1];
    if (pipe2(report, O_CLOEXEC) < 0)
        return start_error(errno, err);
    cleanup_close int report_in = report[0], report_out = report[1];
    const char *path = path_of(launch);
    char **candidates = list_candidates(argv[0], path);
    char **places = list_places(launch);
    if (launch->user.is_known) /* so that it may open /dev/stderr */
        (void)!fchown(output_out, launch->user.uid, launch->user.gid);
    struct spawn spawn = {.parent = getpid(),
                          .user = &launch->user,
                          .null_fd = null_fd,
                          .output_fd = output_out,
                          .report_fd = report_out,
                          .argv = argv,
                          .environment = launch->environment,
                          .places = places,
                          .candidates = candidates};
    pid_t pid = fork();
    if (pid == 0)
        child_run(&spawn);
    int problem = errno;
    free_texts(candidates);
    if (pid < 0) {
        free_texts(places);
        return start_error(problem, err);
    }
    fcntl(output_in, F_SETFL, O_NONBLOCK);
    fcntl(report_in, F_SETFL, O_NONBLOCK);
    struct kernel_process *process = memory_alloc(sizeof *process);
    process->pid = pid;
    process->output_fd = steal_fd(&output_in);
    process->report_fd = steal_fd(&report_in);
    process->program = memory_strdup(argv[0]);
    process->path = memory_strdup(path);
    process->places = places;
    process->kernel_name = memory_strdup(launch->kernel_name);
    if (launch->account_name != NULL)
        process->account = memory_strdup(launch->account_name);
    *ret = process;
    return 0;
}

void kernel_process_destroy(struct kernel_process **place) {
    struct kernel_process *process = *place;
    *place = NULL;
    if (process == NULL)
        return;
    close(process->output_fd);
    if (process->report_fd >= 0)
        close(process->report_fd);
    free(process->program);
    free(process->path);
    free_texts(process->places);
    free(process->kernel_name);
    free(process->account);
    free(process);
}

pid_t kernel_process_pid(const struct kernel_process *process) {
    return process->pid;
}

int kernel_process_output_fd(const struct kernel_process *process) {
    return process->output_fd;
}

int kernel_process_report_fd(const struct kernel_process *process) {
    return process->report_fd;
}

static int explain_exec(const struct kernel_process *process, int problem, struct error *err) {
    const char *program = process->program;
    const char *spec = process->kernel_name;
    bool is_path = strchr(program, '/') != NULL;
    if (problem == ENOENT && !is_path)
        return error_set(err, ERROR_NOT_FOUND,
                         "The kernel's interpreter '%.200s' was not found on PATH=%.400s. Install "
                         "it, or correct argv or env of the kernelspec '%.100s'.",
                         program, process->path, spec);
    if (problem == ENOENT && access(program, F_OK) == 0)
        return error_set(err, ERROR_NOT_FOUND,
                         "The kernel's program '%.200s' is there, but not the interpreter or "
                         "loader that it names (its #! line, or another libc).",
                         program);
    if (problem == ENOENT || problem == ENOTDIR)
        return error_set(err, ERROR_NOT_FOUND,
                         "The kernel's interpreter '%.200s' does not exist. Install it, or correct "
                         "argv of the kernelspec '%.100s'.",
                         program, spec);
    if (problem == EACCES)
        return error_set(
            err, ERROR_DENIED,
            "The kernel's interpreter '%.200s' may not be executed%s%.100s (permission "
            "denied). Check its mode, %sand that its file system is not mounted noexec.",
            program, process->account != NULL ? " by " : "",
            process->account != NULL ? process->account : "",
            process->account != NULL ? "those of the directories above it, " : "");
    if (problem == ENOEXEC)
        return error_set(err, ERROR_INVALID,
                         "The kernel's program '%.200s' is no executable for this machine, or a "
                         "script without a #! line.",
                         program);
    if (problem == E2BIG)
        return error_set(err, ERROR_LIMIT,
                         "argv and env of the kernelspec '%.100s' are larger than this system "
                         "allows.",
                         spec);
    if (problem == ENOMEM || problem == EAGAIN)
        return start_error(problem, err);
    return error_system(err, problem, "The kernel's program '%.200s' could not be run", program);
}

static int take_report(const struct kernel_process *process, const struct report *report,
                       struct error *err) {
    switch (report->what) {
    case REPORT_CWD:
        log_warning("working directory %s: %s; the kernel starts in %s instead", process->places[0],
                    strerror(report->problem), process->places[report->place]);
        return 0;
    case REPORT_USER:
        return error_system(err, report->problem,
                            "The kernel's process may not become %.100s (run-as-owner): the "
                            "gateway needs the capabilities SETUID and SETGID",
                            process->account);
    case REPORT_CHDIR:
        if (process->account != NULL)
            return error_system(err, report->problem,
                                "The kernel's working directory %.300s cannot be entered by "
                                "%.100s: an administrator has to make the account's home, or set "
                                "home-directory",
                                process->places[0], process->account);
        return error_system(err, report->problem,
                            "The kernel's working directory %.300s cannot be entered",
                            process->places[0]);
    case REPORT_EXEC:
        break;
    }
    return explain_exec(process, report->problem, err);
}

int kernel_process_check(struct kernel_process *process, struct error *err) {
    if (process->report_fd < 0)
        return 1;
    for (;;) {
        struct report report; /* smaller than PIPE_BUF: comes whole or not at all */
        ssize_t got = read(process->report_fd, &report, sizeof report);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got == (ssize_t)sizeof report && take_report(process, &report, err) == 0)
            continue;
        close(process->report_fd);
        process->report_fd = -1;
        return got == (ssize_t)sizeof report ? -1 : 1;
    }
}

int kernel_process_signal(const struct kernel_process *process, int signum, struct error *err) {
    /* The child becomes a group leader only after the fork: until then the group does not exist. */
    if (kill(-process->pid, signum) == 0 || (errno == ESRCH && kill(process->pid, signum) == 0))
        return 0;
    if (errno == ESRCH)
        return error_set(err, ERROR_UNAVAILABLE, "The kernel process has ended.");
    return error_system(err, errno, "signal %d to the kernel", signum);
}
