#include "launcher/spawner.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "launcher/spawner_request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

enum { ABOVE_FDS = 64, COMMAND_LINE_MAX = 64 << 10 };

struct spawner {
    int socket;
    pid_t pid;
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
    struct spawner_head head;
    const char *program;
    char *body;
    char **texts; /* arguments, NULL, environment, NULL */
    int fds[SPAWNER_FDS_MAX];
    size_t fd_count;
};

static struct sigaction dispositions[NSIG]; /* as the gateway was started with */
static char *launcher, *gateway;            /* the only programs there are for us */

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
    if (got != (ssize_t)sizeof order->head || (message.msg_flags & MSG_CTRUNC) != 0 ||
        order->head.body_size > SPAWNER_BODY_MAX)
        return -1;
    const struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights != NULL && rights->cmsg_type == SCM_RIGHTS) {
        order->fd_count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(order->fds, CMSG_DATA(rights), order->fd_count * sizeof(int));
    }
    return 0;
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

static int place_output(int output) {
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ? -1 : 0;
}

/* Out of the way of those that are to come. */
static int lift(int *fd) {
    *fd = fcntl(*fd, F_DUPFD_CLOEXEC, ABOVE_FDS);
    return *fd < 0 ? -1 : 0;
}

/* report stays open until the exec, behind the program's own. */
static int place_descriptors(struct order *order, int *report) {
    size_t outputs = order->head.has_output ? 1 : 0, count = order->fd_count - outputs;
    int first_free = SPAWNER_FIRST_FD + (int)count;
    for (size_t i = 0; i < order->fd_count; i++)
        if (lift(&order->fds[i]) < 0)
            return -1;
    if (lift(report) < 0 || (outputs > 0 && place_output(order->fds[0]) < 0))
        return -1;
    for (size_t i = 0; i < count; i++)
        if (dup2(order->fds[outputs + i], SPAWNER_FIRST_FD + (int)i) < 0)
            return -1;
    if (dup3(*report, first_free, O_CLOEXEC) < 0)
        return -1;
    *report = first_free;
    return (int)syscall(SYS_close_range, first_free + 1, ~0u, 0);
}

static void become(struct order *order, int report) {
    char *const *environment = order->texts + order->head.argument_count + 1;
    set_signals(order->head.is_apart);
    if ((!order->head.is_apart || (setsid() >= 0 && chdir("/") == 0)) &&
        place_descriptors(order, &report) == 0)
        execve(order->program, order->texts, environment);
    int problem = errno;
    (void)!write(report, &problem, sizeof problem);
    _exit(127);
}

/* As fork, but the new process is a child of our own parent. */
static pid_t fork_for_parent(void) {
    return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
}

static struct answer start(struct order *order) {
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

/* For good: who got the gateway into his hands later cannot name another one. */
static int name_launcher(const char *path) {
    if (launcher == NULL)
        launcher = memory_strdup(path);
    return strcmp(launcher, path) == 0 ? 0 : EPERM;
}

static struct answer carry_out(struct order *order) {
    const struct spawner_head *head = &order->head;
    order->texts = spawner_request_texts(head, order->body);
    if (order->texts == NULL || order->fd_count < (head->has_output ? 1 : 0))
        return (struct answer){.problem = EBADMSG};
    if (head->wish == SPAWNER_NAME_LAUNCHER)
        return (struct answer){.problem = name_launcher(order->texts[0])};
    order->program = head->wish == SPAWNER_START_GATEWAY ? gateway : launcher;
    return order->program != NULL ? start(order) : (struct answer){.problem = EPERM};
}

static bool serve(int socket) {
    struct order order = {0};
    if (receive_head(socket, &order) < 0)
        return false;
    order.body = memory_alloc(order.head.body_size + 1u);
    bool is_there = read_all(socket, order.body, order.head.body_size) == 0;
    struct answer answer = {0};
    if (is_there)
        answer = carry_out(&order);
    for (size_t i = 0; i < order.fd_count; i++)
        close(order.fds[i]); /* before the answer: one of them is a lock */
    free(order.texts);
    explicit_bzero(order.body, order.head.body_size); /* the gateway's environment has its token */
    free(order.body);
    return is_there && write(socket, &answer, sizeof answer) == (ssize_t)sizeof answer;
}

/* Where our program lies: a package manager may put a new one into its place. */
static char *program_path(void) {
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return NULL;
    path[length] = '\0';
    return memory_strdup(path);
}

/* The tokens that the gateway was given are not for us; neither are they for those who look into
 * /proc, root or not. */
static void forget_secrets(void) {
    prctl(PR_SET_DUMPABLE, 0);
    for (char **variable = environ; *variable != NULL; variable++)
        explicit_bzero(*variable, strlen(*variable));
    *environ = NULL;
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
    gateway = program_path();
    forget_secrets();
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

static int send_head(int socket, const struct spawner_head *head, const int *fds, size_t count) {
    union control control = {0};
    struct iovec data = {(void *)(uintptr_t)head, sizeof *head};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (count > 0) {
        struct cmsghdr *rights = &control.align;
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
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

/* answer->problem is an errno, ESRCH: the helper was killed. */
static void ask(struct spawner *spawner, struct spawner_head *head, const struct spawner_plan *plan,
                struct answer *answer) {
    cleanup_buffer struct buffer body = {.limit = SPAWNER_BODY_MAX};
    int fds[SPAWNER_FDS_MAX];
    size_t fd_count = 0;
    *answer = (struct answer){.problem = E2BIG};
    if (plan->fd_count > SPAWNER_FDS_MAX - 1)
        return;
    if ((head->has_output = plan->output_fd >= 0))
        fds[fd_count++] = plan->output_fd;
    for (size_t i = 0; i < plan->fd_count; i++)
        fds[fd_count++] = plan->fds[i];
    head->argument_count = add_texts(&body, plan->argv);
    head->environment_count = add_texts(&body, plan->environment);
    head->body_size = (uint32_t)body.length;
    if (body.length >= SPAWNER_BODY_MAX)
        return;
    answer->problem = ESRCH;
    if (send_head(spawner->socket, head, fds, fd_count) < 0 ||
        send_all(spawner->socket, body.data, body.length) < 0 ||
        read_all(spawner->socket, answer, sizeof *answer) < 0)
        answer->problem = ESRCH;
}

int spawner_name_launcher(struct spawner *spawner, const char *path) {
    cleanup_free char *copy = memory_strdup(path);
    char *const argv[] = {copy, NULL}, *const environment[] = {NULL};
    const struct spawner_plan plan = {.argv = argv, .environment = environment, .output_fd = -1};
    struct spawner_head head = {.wish = SPAWNER_NAME_LAUNCHER};
    struct answer answer;
    ask(spawner, &head, &plan, &answer);
    return answer.problem;
}

int spawner_spawn(struct spawner *spawner, const struct spawner_plan *plan, pid_t *ret) {
    struct spawner_head head = {.wish = plan->is_gateway ? SPAWNER_START_GATEWAY
                                                         : SPAWNER_START_LAUNCHER,
                                .is_apart = plan->is_apart};
    struct answer answer;
    ask(spawner, &head, plan, &answer);
    if (answer.problem != 0 && answer.pid > 0)
        waitpid(answer.pid, NULL, 0);
    *ret = answer.pid;
    return answer.problem;
}
