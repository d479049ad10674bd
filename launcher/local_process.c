#include "launcher/local_process.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { ENVIRONMENT_MAX = 16, COMMAND_LINE_MAX = 64 << 10 };
enum { EXEC_ROUNDS = 100, EXEC_WAIT_NS = 100 * 1000 }; /* an exec takes less than a millisecond */

int local_process_lock(const char *directory, struct error *err) {
    cleanup_close int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_system(err, errno, "%s", directory);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return steal_fd(&fd);
    if (errno == EWOULDBLOCK)
        return error_set(err, ERROR_EXISTS, "%s: a launcher is at work there", directory);
    return error_system(err, errno, "%s: lock", directory);
}

/* A launcher needs no more than to find its libraries; the gateway's variables hold tokens. The
 * kernel's are in launch.json. */
static void pick_environment(char **ret) {
    static const char *const prefixes[] = {
        "PATH=", "LD_LIBRARY_PATH=", "TZ=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS="};
    size_t count = 0;
    for (char **item = environ; *item != NULL && count < ENVIRONMENT_MAX; item++)
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
            if (text_starts_with(*item, prefixes[i]) && count < ENVIRONMENT_MAX)
                ret[count++] = *item;
    ret[count] = NULL;
}

static int spawn(const struct local_process_plan *wanted, int ready_fd, pid_t *ret) {
    char *environment[ENVIRONMENT_MAX + 1];
    cleanup_free char *log_path = memory_printf("%s/launcher.log", wanted->directory);
    cleanup_free char *program = memory_strdup(wanted->launcher_path);
    cleanup_free char *place = memory_printf("--directory=%s", wanted->directory);
    char ready[] = "--ready-fd=3", lock[] = "--lock-fd=4";
    cleanup_free char *limit = memory_printf("--open-files=%lld", (long long)wanted->open_files);
    cleanup_free char *resume = memory_printf("--resume=%s", wanted->resume ? wanted->resume : "");
    cleanup_free char *reason =
        memory_printf("--resume-reason=%s", wanted->resume_reason ? wanted->resume_reason : "");
    char *argv[8] = {program, place, ready, lock};
    size_t count = 4;
    if (wanted->open_files > 0)
        argv[count++] = limit;
    if (wanted->resume != NULL)
        argv[count++] = resume;
    if (wanted->resume_reason != NULL)
        argv[count++] = reason;
    const int fds[] = {ready_fd, wanted->lock_fd}; /* 3 and 4 */
    cleanup_close int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return errno;
    pick_environment(environment);
    const struct spawner_plan plan = {.argv = argv,
                                      .environment = environment,
                                      .fds = fds,
                                      .fd_count = 2,
                                      .output_fd = log,
                                      .is_apart = true};
    return spawner_spawn(wanted->spawner, &plan, ret);
}

int local_process_spawn(const struct local_process_plan *plan, struct local_process *ret,
                        struct error *err) {
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return error_system(err, errno, "a pipe to the launcher");
    cleanup_close int ready_in = ready[0], ready_out = ready[1];
    struct local_process process = LOCAL_PROCESS_NONE;
    process.is_child = true;
    int problem = spawn(plan, ready_out, &process.pid);
    if (problem == EAGAIN || problem == ENOMEM)
        return error_set(err, ERROR_LIMIT,
                         "The kernel's launcher could not be started: %s. The machine is out of "
                         "memory or at its limit of processes.",
                         strerror(problem));
    if (problem == ESRCH)
        return error_set(err, ERROR_SYSTEM,
                         "elara-spawner, the gateway's process that starts launchers, was killed: "
                         "start the gateway again; running kernels go on");
    if (problem != 0)
        return error_system(err, problem, "%s", plan->launcher_path);
    process.pidfd = (int)syscall(SYS_pidfd_open, process.pid, 0);
    if (process.pidfd < 0) {
        error_system(err, errno, "pidfd_open (Linux 5.3 or later is needed)");
        kill(process.pid, SIGKILL);
        waitpid(process.pid, NULL, 0);
        return -1;
    }
    fcntl(ready_in, F_SETFL, O_NONBLOCK);
    process.ready_fd = steal_fd(&ready_in);
    *ret = process;
    return 0;
}

/* The path itself, or one below it: not one that only begins like it. */
static bool names_path(const char *line, size_t length, const char *path) {
    size_t size = strlen(path);
    const char *at = line, *end = line + length;
    while ((at = memmem(at, (size_t)(end - at), path, size)) != NULL) {
        at += size;
        if (at == end || *at == '\0' || *at == '/')
            return true;
    }
    return false;
}

static ssize_t read_command_line(pid_t pid, char *line, size_t size) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : read(fd, line, size);
}

/* A process in the middle of its exec has a program but no command line yet, though posix_spawn has
 * returned; zombies and the kernel's own threads have no program. */
static bool has_program(pid_t pid) {
    char path[32], target[1];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return readlink(path, target, sizeof target) > 0;
}

/* Whether the command line of a process names a path below the directory: kernels are told their
 * connection file, launchers their directory. */
static bool is_of_directory(pid_t pid, const char *directory) {
    char line[COMMAND_LINE_MAX]; /* on the stack: thousands of launchers are adopted in a row */
    ssize_t got = read_command_line(pid, line, sizeof line);
    for (int i = 0; got == 0 && i < EXEC_ROUNDS && has_program(pid); i++) {
        nanosleep(&(struct timespec){.tv_nsec = EXEC_WAIT_NS}, NULL);
        got = read_command_line(pid, line, sizeof line);
    }
    return got > 0 && names_path(line, (size_t)got, directory);
}

int local_process_open(pid_t pid, const char *directory, struct local_process *ret) {
    if (pid <= 0)
        return -1;
    cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    /* In this order: what the descriptor holds cannot become another process while we look. */
    if (pidfd < 0 || !is_of_directory(pid, directory))
        return -1;
    *ret = (struct local_process){.pid = pid, .pidfd = steal_fd(&pidfd), .ready_fd = -1};
    return 0;
}

void local_process_close_ready(struct local_process *process) {
    if (process->ready_fd >= 0)
        close(process->ready_fd);
    process->ready_fd = -1;
}

void local_process_close(struct local_process *process) {
    local_process_close_ready(process);
    if (process->pidfd >= 0)
        close(process->pidfd);
    *process = LOCAL_PROCESS_NONE;
}

int local_process_signal(const struct local_process *process, int signum, struct error *err) {
    if (process->pidfd < 0)
        return error_set(err, ERROR_UNAVAILABLE, "the kernel's launcher is not running");
    if (syscall(SYS_pidfd_send_signal, process->pidfd, signum, NULL, 0) == 0)
        return 0;
    return errno == ESRCH ? error_set(err, ERROR_UNAVAILABLE, "the kernel's launcher has ended")
                          : error_system(err, errno, "signal %d to the launcher", signum);
}

void local_process_kill(const struct local_process *process) {
    local_process_signal(process, SIGKILL, NULL);
}

bool local_process_reap(struct local_process *process, struct error *cause) {
    int status;
    bool is_known = process->is_child && waitpid(process->pid, &status, WNOHANG) == process->pid;
    int signum = is_known && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const char *name = signum != 0 ? sigabbrev_np(signum) : NULL;
    if (is_known && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        error_set(cause, ERROR_UNAVAILABLE, "The kernel has ended");
    else if (is_known && WIFEXITED(status))
        error_set(cause, ERROR_SYSTEM, "The kernel's launcher exited with code %d",
                  WEXITSTATUS(status));
    else if (signum != 0)
        error_set(cause, ERROR_SYSTEM, "The kernel's launcher was killed by signal %d (SIG%s%s)",
                  signum, name != NULL ? name : "?",
                  signum == SIGKILL ? ", as when memory runs out" : "");
    else /* a child of an earlier gateway: nobody can tell us */
        error_set(cause, ERROR_SYSTEM, "The kernel's launcher ended for an unknown cause");
    local_process_close(process);
    return signum == SIGKILL || signum == SIGTERM;
}

void local_process_kill_group(pid_t pid, const char *directory) {
    if (pid > 1 && is_of_directory(pid, directory) && getpgid(pid) == pid)
        kill(-pid, SIGKILL);
}

pid_t local_process_find_launcher(const char *directory) {
    DIR *proc = opendir("/proc");
    pid_t found = 0;
    const struct dirent *item;
    while (found == 0 && proc != NULL && (item = readdir(proc)) != NULL) {
        pid_t pid = isdigit((unsigned char)item->d_name[0]) ? (pid_t)atoi(item->d_name) : 0;
        cleanup_free char *argument = memory_printf("--directory=%s", directory);
        if (pid > 1 && is_of_directory(pid, argument))
            found = pid;
    }
    if (proc != NULL)
        closedir(proc);
    return found;
}
