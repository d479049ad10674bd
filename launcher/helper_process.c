#include "launcher/helper_process.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Our descriptors hold the kernel directory's lock, and somebody waits for their end: a process
 * that hangs must not have them. */
__attribute__((noreturn)) static void run_helper(helper_work *work, const void *context,
                                                 char *reply, int report) {
    struct error err = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (report > 3)
        close_range(3, (unsigned)report - 1, 0);
    close_range((unsigned)report + 1, ~0U, 0);
    bool is_done = work(context, reply, &err) == 0;
    const char *said = is_done ? reply : err.text;
    (void)file_write_all(report, said, strlen(said)); /* nobody else to tell */
    _exit(is_done ? 0 : 1);
}

/* Reads to the end. ERROR_TIMEOUT: it did not come in time. */
static int take_reply(int fd, int64_t deadline_ms, char *reply, struct error *err) {
    int64_t end_ms = clock_monotonic_ms() + deadline_ms;
    size_t length = 0;
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int64_t left_ms = end_ms - clock_monotonic_ms();
        int ready = poll(&poll_fd, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            return error_set(err, ERROR_TIMEOUT, "no answer in time");
        ssize_t got = read(fd, reply + length, HELPER_REPLY_SIZE - 1 - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        length += (size_t)got;
        reply[length] = '\0';
    }
}

int helper_process_run(helper_work *work, const void *context, int64_t deadline_ms, char *reply,
                       struct error *err) {
    int ends[2], status = 0;
    reply[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_system(err, errno, "a helper's pipe");
    cleanup_close int in = ends[0], out = ends[1];
    pid_t pid = fork();
    if (pid < 0)
        return error_system(err, errno, "a helper process");
    if (pid == 0)
        run_helper(work, context, reply, out);
    close(steal_fd(&out));
    if (take_reply(in, deadline_ms, reply, err) < 0) {
        kill(pid, SIGKILL); /* it may end only when what it waits for answers: nobody waits */
        return -1;
    }
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return error_set(err, ERROR_SYSTEM, "%s",
                     reply[0] != '\0' ? reply : "a helper process was ended");
}
