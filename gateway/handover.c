#include "gateway/handover.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_AREA "gateway/handover"

/* "<ready fd> <open files> <socket> <socket> ..." */
#define HANDOVER_VARIABLE "_ELARA_HANDOVER" /* no setting: those begin with ELARA_ */

enum {
    SYSTEMD_FIRST_FD = 3,
    PATIENCE_MS = 60000, /* for the new gateway to take the kernels over */
    HANDOVER_TEXT_MAX = 256,
    COMMAND_LINE_MAX = 1 << 20,
};

/* ---- what we were handed ---- */

static int check_socket(int fd, struct error *err) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address, size = sizeof(int);
    int listens = 0;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
        return error_system(err, errno, "socket %d", fd);
    if ((address.ss_family != AF_INET && address.ss_family != AF_INET6) || !listens)
        return error_set(err, ERROR_INVALID,
                         "socket %d: must be a listening TCP socket (ListenStream=PORT in the "
                         "systemd unit)",
                         fd);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return error_system(err, errno, "socket %d", fd);
    return 0;
}

static int add_socket(struct handover *handover, int64_t fd, struct error *err) {
    if (handover->count == HANDOVER_SOCKETS_MAX)
        return error_set(err, ERROR_LIMIT, "more than %d sockets were handed over",
                         HANDOVER_SOCKETS_MAX);
    if (fd < SYSTEMD_FIRST_FD || fd > INT_MAX)
        return error_set(err, ERROR_INVALID, "socket %" PRId64 ": is no descriptor to listen on",
                         fd);
    handover->sockets[handover->count++] = (int)fd;
    return check_socket((int)fd, err);
}

static int take_from_gateway(const char *text, struct handover *ret, struct error *err) {
    char *end;
    long ready = strtol(text, &end, 10);
    ret->open_files = strtoll(end, &end, 10);
    if (ready < SYSTEMD_FIRST_FD || ready > INT_MAX || fcntl((int)ready, F_SETFD, FD_CLOEXEC) < 0)
        return error_set(err, ERROR_INVALID, HANDOVER_VARIABLE " is not ours; unset it");
    ret->ready_fd = (int)ready;
    while (*end == ' ')
        if (add_socket(ret, strtol(end, &end, 10), err) < 0)
            return -1;
    return 0;
}

static int take_from_systemd(struct handover *ret, struct error *err) {
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != getpid())
        return 0;
    long sockets = strtol(count, NULL, 10);
    for (long i = 0; i < sockets; i++)
        if (add_socket(ret, SYSTEMD_FIRST_FD + i, err) < 0)
            return error_wrap(err, "systemd's LISTEN_FDS");
    return 0;
}

int handover_take(struct handover *ret, struct error *err) {
    *ret = (struct handover){.ready_fd = -1};
    const char *text = getenv(HANDOVER_VARIABLE);
    int failed = text != NULL ? take_from_gateway(text, ret, err) : take_from_systemd(ret, err);
    /* Not for kernels, nor for the gateway after us. */
    unsetenv(HANDOVER_VARIABLE);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (failed < 0)
        handover_close(ret);
    return failed;
}

void handover_ready(struct handover *handover) {
    if (handover->ready_fd < 0)
        return;
    if (write(handover->ready_fd, "!", 1) != 1)
        log_warning("the gateway before us has gone already");
    close(handover->ready_fd);
    handover->ready_fd = -1;
}

void handover_close_sockets(struct handover *handover) {
    for (size_t i = 0; i < handover->count; i++)
        close(handover->sockets[i]);
    handover->count = 0;
}

void handover_close(struct handover *handover) {
    handover_close_sockets(handover);
    if (handover->ready_fd >= 0)
        close(handover->ready_fd);
    handover->ready_fd = -1;
}

void handover_address(int socket, char *ret, size_t size) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(socket, (struct sockaddr *)&address, &length) < 0 ||
        getnameinfo((struct sockaddr *)&address, length, ret, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0)
        snprintf(ret, size, "?");
}

/* ---- handing over ---- */

struct successor {
    struct loop *loop;
    struct successor_events events;
    void *context;
    pid_t pid;
    int ready_fd;
    struct event *ready;
    struct loop_deadline patience;
    bool is_over;
};

/* Our own arguments as we got them: NUL-terminated texts, end to end. */
static char **own_arguments(struct buffer *text, struct error *err) {
    if (file_read("/proc/self/cmdline", COMMAND_LINE_MAX, text, err) < 0)
        return NULL;
    size_t count = 0;
    for (size_t i = 0; i < text->length; i++)
        count += text->data[i] == '\0';
    char **arguments = memory_alloc((count + 1) * sizeof *arguments);
    char *at = (char *)text->data;
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
        arguments[i] = at;
    return arguments;
}

/* Our environment and the one variable; the texts are borrowed. */
static char **new_environment(char *variable) {
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **environment = memory_alloc((count + 2) * sizeof *environment);
    memcpy(environment, environ, count * sizeof *environment);
    environment[count] = variable;
    return environment;
}

static int spawn(struct spawner *spawner, const int *sockets, size_t count, int ready_fd,
                 int64_t open_files, pid_t *ret, struct error *err) {
    char variable[HANDOVER_TEXT_MAX];
    int fds[HANDOVER_SOCKETS_MAX + 1] = {ready_fd};
    cleanup_buffer struct buffer text = {0};
    cleanup_free char **arguments = own_arguments(&text, err);
    if (arguments == NULL)
        return -1;
    int length = snprintf(variable, sizeof variable, HANDOVER_VARIABLE "=%d %" PRId64,
                          SPAWNER_FIRST_FD, open_files);
    for (size_t i = 0; i < count; i++) {
        fds[i + 1] = sockets[i];
        length += snprintf(variable + length, sizeof variable - (size_t)length, " %d",
                           SPAWNER_FIRST_FD + 1 + (int)i);
    }
    cleanup_free char **environment = new_environment(variable);
    const struct spawner_plan plan = {.is_gateway = true,
                                      .argv = arguments,
                                      .environment = environment,
                                      .fds = fds,
                                      .fd_count = count + 1,
                                      .output_fd = -1};
    int failed = spawner_spawn(spawner, &plan, ret);
    return failed == 0 ? 0 : error_system(err, failed, "the new gateway");
}

static void finish(struct successor *successor) {
    successor->is_over = true;
    loop_deadline_clear(successor->loop, &successor->patience);
    if (successor->ready != NULL)
        event_free(successor->ready);
    successor->ready = NULL;
    if (successor->ready_fd >= 0)
        close(successor->ready_fd);
    successor->ready_fd = -1;
}

static void fail(struct successor *successor) {
    int status = 0;
    kill(successor->pid, SIGKILL); /* it may only have closed the pipe */
    (void)waitpid(successor->pid, &status, 0);
    if (WIFEXITED(status))
        log_error("the new gateway ended with status %d before it was ready; this one goes on",
                  WEXITSTATUS(status));
    else
        log_error("the new gateway ended by signal %d before it was ready; this one goes on",
                  WTERMSIG(status));
    finish(successor);
}

static void on_ready(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct successor *successor = context;
    char byte;
    ssize_t got = read(fd, &byte, 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got != 1) {
        fail(successor);
        return;
    }
    log_info("the new gateway, process %d, serves; this one ends", (int)successor->pid);
    finish(successor);
    successor->events.done(successor->context);
}

static void on_patience(void *context) {
    struct successor *successor = context;
    log_error("the new gateway, process %d, was not ready within %d s", (int)successor->pid,
              PATIENCE_MS / 1000);
    fail(successor);
}

int successor_start(struct loop *loop, struct spawner *spawner, const int *sockets, size_t count,
                    int64_t open_files, const struct successor_events *events, void *context,
                    struct successor **ret, struct error *err) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_system(err, errno, "handover");
    struct successor *successor = memory_alloc(sizeof *successor);
    *successor = (struct successor){
        .loop = loop, .events = *events, .context = context, .ready_fd = ends[0]};
    int failed = spawn(spawner, sockets, count, ends[1], open_files, &successor->pid, err);
    close(ends[1]);
    if (failed < 0) {
        successor_destroy(successor);
        return -1;
    }
    successor->ready =
        event_new(loop_base(loop), ends[0], EV_READ | EV_PERSIST, on_ready, successor);
    event_add(successor->ready, NULL);
    successor->patience = (struct loop_deadline){.run = on_patience, .context = successor};
    loop_deadline_set(loop, &successor->patience, PATIENCE_MS);
    log_info("SIGUSR2: process %d is to take over", (int)successor->pid);
    *ret = successor;
    return 0;
}

bool successor_is_over(const struct successor *successor) {
    return successor == NULL || successor->is_over;
}

void successor_destroy(struct successor *successor) {
    if (successor == NULL)
        return;
    finish(successor);
    free(successor);
}
