#include "launcher/spawner.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BODY_MAX = 8 << 20, ABOVE_FDS = 64, COMMAND_LINE_MAX = 64 << 10 };

struct spawner {
    int socket;
    pid_t pid;
};

/* A request: the head with the descriptors, then its texts, each with its NUL: program, log path
 * ("": none), arguments, environment. The answer is struct answer. */
struct head {
    uint32_t body_size, argument_count, environment_count, is_apart;
};

struct answer {
    int32_t problem; /* errno */
    int32_t pid;
};

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * SPAWNER_FDS_MAX)];
};

/* ---- in the helper ---- */

struct order {
    struct head head;
    char *body;
    char **texts; /* program, log path, arguments, NULL, environment, NULL */
    int fds[SPAWNER_FDS_MAX];
    size_t fd_count;
};

static struct sigaction dispositions[NSIG]; /* as the gateway was started with */

static int read_all(int fd, void *into, size_t size) {
    char *at = into;
    while (size > 0) {
        ssize_t got = read(fd, at, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        at += got;
        size -= (size_t)got;
    }
    return 0;
}

static int receive_head(int socket, struct order *order) {
    union control control;
    struct iovec data = {&order->head, sizeof order->head};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof order->head || order->head.body_size > BODY_MAX)
        return -1;
    const struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights != NULL && rights->cmsg_type == SCM_RIGHTS) {
        order->fd_count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(order->fds, CMSG_DATA(rights), order->fd_count * sizeof(int));
    }
    return 0;
}

static void cut_texts(struct order *order) {
    size_t arguments = order->head.argument_count, variables = order->head.environment_count;
    char **text = order->texts = memory_alloc((arguments + variables + 4) * sizeof *text);
    char *at = order->body;
    for (size_t i = 0; i < 2 + arguments + variables; i++, at += strlen(at) + 1) {
        if (i == 2 + arguments)
            text++; /* the NULL behind the arguments */
        *text++ = at;
    }
}

static void set_signals(bool is_apart) {
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++) {
        const struct sigaction standard = {.sa_handler = SIG_DFL};
        sigaction(number, is_apart ? &standard : &dispositions[number], NULL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int place_output(const char *path) {
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 ? -1
                                                                                            : 0;
}

/* report stays open until the exec, behind the program's own. */
static int place_descriptors(const struct order *order, int *report) {
    int high[SPAWNER_FDS_MAX], first_free = SPAWNER_FIRST_FD + (int)order->fd_count;
    for (size_t i = 0; i < order->fd_count; i++)
        if ((high[i] = fcntl(order->fds[i], F_DUPFD_CLOEXEC, ABOVE_FDS)) < 0)
            return -1;
    int high_report = fcntl(*report, F_DUPFD_CLOEXEC, ABOVE_FDS);
    if (high_report < 0)
        return -1;
    for (size_t i = 0; i < order->fd_count; i++)
        if (dup2(high[i], SPAWNER_FIRST_FD + (int)i) < 0)
            return -1;
    if (dup3(high_report, first_free, O_CLOEXEC) < 0)
        return -1;
    *report = first_free;
    return (int)syscall(SYS_close_range, first_free + 1, ~0u, 0);
}

static void become(const struct order *order, int report) {
    char *const *argv = order->texts + 2;
    char *const *environment = argv + order->head.argument_count + 1;
    const char *log_path = order->texts[1];
    set_signals(order->head.is_apart);
    if ((!order->head.is_apart || (setsid() >= 0 && chdir("/") == 0)) &&
        (*log_path == '\0' || place_output(log_path) == 0) &&
        place_descriptors(order, &report) == 0)
        execve(order->texts[0], argv, environment);
    int problem = errno;
    (void)!write(report, &problem, sizeof problem);
    _exit(127);
}

/* As fork, but the new process is a child of our own parent. */
static pid_t fork_for_parent(void) {
    return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
}

static struct answer carry_out(const struct order *order) {
    int report[2];
    struct answer answer = {0};
    if (pipe2(report, O_CLOEXEC) < 0)
        return (struct answer){.problem = errno};
    answer.pid = fork_for_parent();
    if (answer.pid == 0)
        become(order, report[1]);
    int problem = answer.pid < 0 ? errno : 0;
    close(report[1]);
    if (answer.pid > 0 && read_all(report[0], &problem, sizeof problem) < 0)
        problem = 0; /* the end of the pipe: it runs */
    close(report[0]);
    answer.problem = problem;
    return answer;
}

static bool serve(int socket) {
    struct order order = {0};
    if (receive_head(socket, &order) < 0)
        return false;
    order.body = memory_alloc(order.head.body_size + 1u);
    bool is_there = read_all(socket, order.body, order.head.body_size) == 0;
    struct answer answer = {0};
    if (is_there) {
        cut_texts(&order);
        answer = carry_out(&order);
    }
    for (size_t i = 0; i < order.fd_count; i++)
        close(order.fds[i]); /* before the answer: one of them is a lock */
    free(order.texts);
    free(order.body);
    return is_there && write(socket, &answer, sizeof answer) == (ssize_t)sizeof answer;
}

/* For whoever looks for gateways among the processes: its arguments begin there (glibc). */
static void take_name(void) {
    static const char name[] = "elara-spawner";
    char line[COMMAND_LINE_MAX];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, line, sizeof line) : -1;
    if (length >= (ssize_t)sizeof name) {
        memset(program_invocation_name, 0, (size_t)length);
        memcpy(program_invocation_name, name, sizeof name);
    }
    if (fd >= 0)
        close(fd);
    prctl(PR_SET_NAME, name);
}

/* Signals to the gateway's group or session are not for us: we end with it. */
static void run_helper(int socket) {
    take_name();
    for (int number = 1; number < NSIG; number++) {
        const struct sigaction ignored = {.sa_handler = SIG_IGN};
        sigaction(number, NULL, &dispositions[number]);
        if (number != SIGCHLD)
            sigaction(number, &ignored, NULL);
    }
    int kept = SPAWNER_FIRST_FD;
    if (dup3(socket, kept, O_CLOEXEC) >= 0 || socket == kept) {
        syscall(SYS_close_range, kept + 1, ~0u, 0);
        while (serve(kept))
            ;
    }
    _exit(0);
}

/* ---- in the gateway ---- */

int spawner_create(struct spawner **ret, struct error *err) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_system(err, errno, "a socket for the helper that starts launchers");
    pid_t pid = fork();
    if (pid == 0)
        run_helper(ends[1]);
    int problem = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return error_system(err, problem, "the helper that starts launchers");
    }
    struct spawner *spawner = memory_alloc(sizeof *spawner);
    *spawner = (struct spawner){.socket = ends[0], .pid = pid};
    *ret = spawner;
    return 0;
}

void spawner_destroy(struct spawner *spawner) {
    if (spawner == NULL)
        return;
    close(spawner->socket); /* it ends by that */
    waitpid(spawner->pid, NULL, 0);
    free(spawner);
}

static uint32_t add_texts(struct buffer *body, char *const *texts) {
    uint32_t count = 0;
    for (; texts[count] != NULL; count++)
        buffer_append(body, texts[count], strlen(texts[count]) + 1);
    return count;
}

static int send_head(int socket, const struct head *head, const struct spawner_plan *plan) {
    union control control = {0};
    struct iovec data = {(void *)(uintptr_t)head, sizeof *head};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (plan->fd_count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(plan->fd_count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(plan->fd_count * sizeof(int));
        memcpy(CMSG_DATA(rights), plan->fds, plan->fd_count * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof *head ? 0 : -1;
}

static int send_all(int socket, const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(socket, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -1;
        at += sent;
        size -= (size_t)sent;
    }
    return 0;
}

int spawner_spawn(struct spawner *spawner, const struct spawner_plan *plan, pid_t *ret) {
    cleanup_buffer struct buffer body = {.limit = BODY_MAX};
    const char *log_path = plan->log_path != NULL ? plan->log_path : "";
    struct head head = {.is_apart = plan->is_apart};
    struct answer answer;
    buffer_append(&body, plan->program, strlen(plan->program) + 1);
    buffer_append(&body, log_path, strlen(log_path) + 1);
    head.argument_count = add_texts(&body, plan->argv);
    head.environment_count = add_texts(&body, plan->environment);
    head.body_size = (uint32_t)body.length;
    if (plan->fd_count > SPAWNER_FDS_MAX || body.length >= BODY_MAX)
        return E2BIG;
    if (send_head(spawner->socket, &head, plan) < 0 ||
        send_all(spawner->socket, body.data, body.length) < 0 ||
        read_all(spawner->socket, &answer, sizeof answer) < 0)
        return ESRCH; /* it was killed */
    if (answer.problem != 0 && answer.pid > 0)
        waitpid(answer.pid, NULL, 0);
    *ret = answer.pid;
    return answer.problem;
}
