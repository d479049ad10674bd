#include "launcher/local_home.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "launcher/kube_reasons.h"
#include "nfs/home_mounted.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Our descriptors hold the kernel directory's lock, and somebody waits for their end: a process
 * that hangs must not have them. */
__attribute__((noreturn)) static void run_helper(const struct launch *launch, int report) {
    const struct home_mounted home = {.directory = launch->home_directory,
                                      .path = launch->home_path,
                                      .given = (size_t)launch->home_given,
                                      .uid = launch->home_uid,
                                      .gid = launch->home_gid};
    struct error err = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (report > 3)
        close_range(3, (unsigned)report - 1, 0);
    close_range((unsigned)report + 1, ~0U, 0);
    if (home_mounted_prepare(&home, &err) < 0) {
        ssize_t ignored = write(report, err.text, strlen(err.text)); /* below PIPE_BUF */
        (void)ignored;
    }
    _exit(err.code == ERROR_NONE ? 0 : 1);
}

/* 1: it has reported (or ended), 0: it has not in time. */
static int await(int report, int64_t deadline_ms) {
    int64_t end_ms = clock_monotonic_ms() + deadline_ms;
    for (;;) {
        struct pollfd poll_fd = {.fd = report, .events = POLLIN};
        int64_t left_ms = end_ms - clock_monotonic_ms();
        int ready = poll(&poll_fd, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready >= 0 || errno != EINTR)
            return ready;
    }
}

static int prepare(const struct launch *launch, struct error *err) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_system(err, errno, "the home directory's pipe");
    cleanup_close int in = ends[0], out = ends[1];
    pid_t pid = fork();
    if (pid < 0)
        return error_system(err, errno, "a process for the home directory");
    if (pid == 0)
        run_helper(launch, out);
    close(steal_fd(&out));
    if (await(in, launch->home_deadline_ms) == 0) {
        kill(pid, SIGKILL); /* it may end only when the server answers: nobody waits for it */
        return error_set(err, ERROR_TIMEOUT,
                         "%s/%s did not answer within %g s (home-deadline): see whether its file "
                         "server runs and can be reached",
                         launch->home_directory, launch->home_path,
                         (double)launch->home_deadline_ms / 1000);
    }
    char text[sizeof err->text] = "";
    int status = 0;
    ssize_t got = read(in, text, sizeof text - 1);
    waitpid(pid, &status, 0);
    if (got <= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return error_set(err, ERROR_SYSTEM, "%s",
                     got > 0 ? text : "the process that prepares the home directory was ended");
}

int local_home_prepare(const struct launch *launch, struct error *err) {
    struct error cause;
    char text[sizeof cause.text];
    if (launch->home_directory == NULL || prepare(launch, &cause) == 0)
        return 0;
    kube_reason_write("HomeFailed", cause.text, text, sizeof text);
    error_set(err, cause.code, "%s", text);
    if (err != NULL)
        err->cause = kube_reason_word("HomeFailed");
    return -1;
}
