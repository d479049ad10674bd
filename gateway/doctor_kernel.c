/* A kernel's whole way: started by a gateway, asked over a WebSocket, ended. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "gateway/admin.h"
#include "gateway/admin_websocket.h"
#include "gateway/doctor.h"
#include "gateway/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SOCKET_FD = 3,       /* where socket activation hands it over (sd_listen_fds(3)) */
    LOOK_MS = 500,       /* between two looks at a kernel that has not answered */
    PATIENCE_MS = 10000, /* beyond the launch time-out, and for the gateway to end */
    LOG_MAX = 1 << 20,
    TOKEN_BYTES = 24,
    ARGS_OF_OURS = 12,
};

/* ---- a kernel's way ---- */

static const char kernel_check[] = "kernel";
static const char kernel_fix[] =
    "correct what it says; `elara kernelspecs check` and the gateway's "
    "log may say more";

static char *info_request(const char *id) {
    cleanup_json json_t *message =
        json_pack("{s:{s:s, s:s, s:s, s:s, s:s, s:s}, s:{}, s:{}, s:{}, s:s}", "header", "msg_id",
                  id, "msg_type", "kernel_info_request", "session", id, "username", "", "date", "",
                  "version", "5.3", "parent_header", "metadata", "content", "channel", "shell");
    return json_dumps(message, JSON_COMPACT);
}

/* The reply's content, a new reference; NULL: it is another message. */
static json_t *info_reply(struct buffer *message, const char *id) {
    cleanup_json json_t *whole = json_loadb(buffer_text(message), message->length, 0, NULL);
    bool is_it =
        strcmp(admin_text_at(json_object_get(whole, "parent_header"), "msg_id"), id) == 0 &&
        strcmp(admin_text_at(json_object_get(whole, "header"), "msg_type"), "kernel_info_reply") ==
            0;
    return is_it ? json_incref(json_object_get(whole, "content")) : NULL;
}

static void pause_ms(int64_t ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Until the kernel itself is there: while it starts, others answer in its place. */
static int wait_for_start(struct admin_gateway *gateway, const char *path, int64_t deadline_ms,
                          struct error *err) {
    for (; clock_monotonic_ms() < deadline_ms; pause_ms(LOOK_MS)) {
        cleanup_json json_t *model = NULL;
        if (admin_gateway_call(gateway, "GET", path, NULL, &model, err) < 0)
            return -1;
        const char *state = admin_text_at(model, "execution_state");
        if (strcmp(state, "dead") == 0)
            return error_set(err, ERROR_UNAVAILABLE, "it did not start: %s",
                             admin_text_at(model, "message"));
        if (strcmp(state, "idle") == 0 || strcmp(state, "busy") == 0)
            return 0;
    }
    return error_set(err, ERROR_TIMEOUT, "it was not there within --launch-timeout");
}

static int ask(struct admin_gateway *gateway, const char *path, int64_t deadline_ms, json_t **ret,
               struct error *err) {
    cleanup_free char *channels = memory_printf("%s/channels", path);
    cleanup_buffer struct buffer message = {.limit = 64 << 20};
    struct admin_websocket *ws = NULL;
    char id[37];
    text_uuid4(id);
    cleanup_free char *request = info_request(id);
    int failed = admin_websocket_open(gateway, channels, deadline_ms, &ws, err);
    if (failed == 0)
        failed = admin_websocket_send(ws, request, strlen(request), deadline_ms, err);
    while (failed == 0 && *ret == NULL) {
        failed = admin_websocket_receive(ws, deadline_ms, &message, err);
        if (failed == 0)
            *ret = info_reply(&message, id);
    }
    admin_websocket_destroy(ws);
    return failed;
}

static void check_websocket(struct doctor *doctor, struct admin_gateway *gateway,
                            const char *path) {
    struct error err = {0};
    cleanup_json json_t *reply = NULL;
    int64_t asked_ms = clock_monotonic_ms();
    if (ask(gateway, path, asked_ms + PATIENCE_MS, &reply, &err) < 0)
        doctor_tell(doctor, "websocket", DOCTOR_FAIL,
                    "let the proxy in between pass upgrades to WebSocket; the gateway's log may "
                    "say more",
                    memory_printf("kernel_info: %s", err.text));
    else
        doctor_tell(
            doctor, "websocket", DOCTOR_OK, "",
            memory_printf("kernel_info there and back in %" PRId64 " ms (%s %s, protocol %s)",
                          clock_monotonic_ms() - asked_ms, admin_text_at(reply, "implementation"),
                          admin_text_at(reply, "implementation_version"),
                          admin_text_at(reply, "protocol_version")));
}

static void try_kernel(struct doctor *doctor, struct admin_gateway *gateway,
                       const struct doctor_start *start) {
    struct error err = {0};
    cleanup_json json_t *model = NULL;
    cleanup_json json_t *body = json_object();
    if (start->kernel != NULL)
        json_object_set_new(body, "name", json_string(start->kernel));
    int64_t started_ms = clock_monotonic_ms();
    if (admin_gateway_call(gateway, "POST", "api/kernels", body, &model, &err) < 0) {
        doctor_tell(doctor, kernel_check, DOCTOR_FAIL, kernel_fix, memory_strdup(err.text));
        return;
    }
    const char *id = admin_text_at(model, "id"), *name = admin_text_at(model, "name");
    if (!text_is_kernel_id(id)) {
        doctor_tell(doctor, kernel_check, DOCTOR_FAIL, "correct --url",
                    memory_strdup("the answer is no kernel: no gateway is there"));
        return;
    }
    int64_t deadline_ms = started_ms + start->settings->launch_timeout_ms + PATIENCE_MS;
    cleanup_free char *path = memory_printf("api/kernels/%s", id);
    if (wait_for_start(gateway, path, deadline_ms, &err) < 0) {
        doctor_tell(doctor, kernel_check, DOCTOR_FAIL, kernel_fix,
                    memory_printf("%s: %s", name, err.text));
    } else {
        doctor_tell(doctor, kernel_check, DOCTOR_OK, "",
                    memory_printf("%s was there %.1f s after its start was asked for", name,
                                  (double)(clock_monotonic_ms() - started_ms) / 1000));
        check_websocket(doctor, gateway, path);
    }
    if (admin_gateway_call(gateway, "DELETE", path, NULL, NULL, &err) < 0)
        doctor_tell(doctor, kernel_check, DOCTOR_WARN, "`elara delete` it",
                    memory_printf("%s cannot be ended: %s", id, err.text));
}

void doctor_check_running(struct doctor *doctor, const struct doctor_start *start) {
    struct admin_gateway *gateway = NULL;
    cleanup_json json_t *answer = NULL;
    struct error err = {0};
    if (admin_gateway_create(start->argc, start->argv, &gateway, &err) < 0 ||
        admin_gateway_call(gateway, "GET", "api", NULL, &answer, &err) < 0) {
        doctor_tell(doctor, "gateway", DOCTOR_FAIL, "start it, or correct --url and the token",
                    memory_strdup(err.text));
    } else {
        doctor_tell(doctor, "gateway", DOCTOR_OK, "",
                    memory_printf("version %s answers", admin_text_at(answer, "gateway_version")));
        try_kernel(doctor, gateway, start);
    }
    admin_gateway_destroy(gateway);
}

/* ---- a gateway of our own ---- */

struct own {
    char directory[PATH_MAX]; /* its runtime directory, with its log */
    char url[64];
    char token[2 * TOKEN_BYTES + 1];
    pid_t pid;
};

static int listen_somewhere(struct own *own, struct error *err) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return error_system(err, errno, "no port on 127.0.0.1 can be listened on");
    snprintf(own->url, sizeof own->url, "http://127.0.0.1:%u/", ntohs(address.sin_port));
    return steal_fd(&fd);
}

/* In the runtime directory when it is there and short enough, for the sake of its file system. */
static int make_directory(struct own *own, const struct settings *settings, struct error *err) {
    snprintf(own->directory, sizeof own->directory, "%s/doctor-XXXXXX", settings->runtime_dir);
    struct settings copy = {.runtime_dir = own->directory};
    if (settings_check_runtime_dir(&copy, NULL) == 0 && mkdtemp(own->directory) != NULL)
        return 0;
    strcpy(own->directory, "/tmp/elara-doctor-XXXXXX");
    if (mkdtemp(own->directory) != NULL)
        return 0;
    return error_system(err, errno, "%s", own->directory);
}

static void make_token(struct own *own) {
    uint8_t random[TOKEN_BYTES];
    randombytes_buf(random, sizeof random);
    text_hex(random, sizeof random, own->token);
}

/* The child: becomes a gateway with the admin's settings, but for where it is and who may come. */
static _Noreturn void become_gateway(const struct own *own, const struct doctor_start *start,
                                     int socket_fd) {
    char program[PATH_MAX], pid[16];
    char **argv = memory_alloc(((size_t)start->argc + ARGS_OF_OURS) * sizeof *argv);
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 32);
    char *slash = length > 0 ? memrchr(program, '/', (size_t)length) : NULL;
    strcpy(slash != NULL ? slash : program, "/elara-gateway");
    memcpy(argv, start->argv, (size_t)start->argc * sizeof *argv);
    const char *const ours[] = {
        "--ip=127.0.0.1", "--base-url=/",       "--certfile=",        "--keyfile=",
        "--client-ca=",   "--auth-token-file=", "--on-exit=shutdown", "--max-kernels=-1"};
    int argc = start->argc;
    argv[0] = program;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        argv[argc++] = memory_strdup(ours[i]);
    argv[argc++] = memory_printf("--runtime-dir=%s", own->directory);
    cleanup_free char *log = memory_printf("%s/gateway.log", own->directory);
    int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("ELARA_AUTH_TOKEN", own->token, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    if (socket_fd == SOCKET_FD)
        fcntl(SOCKET_FD, F_SETFD, 0);
    else
        dup2(socket_fd, SOCKET_FD);
    execv(program, argv);
    dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
    _exit(127);
}

/* The log's last line. */
static char *last_words(const struct own *own) {
    cleanup_free char *path = memory_printf("%s/gateway.log", own->directory);
    cleanup_buffer struct buffer log = {.limit = LOG_MAX + 1};
    if (file_read(path, LOG_MAX, &log, NULL) < 0)
        return memory_strdup("it left no log");
    cleanup_free char *text = memory_strdup(buffer_text(&log));
    for (size_t end = strlen(text); end > 0 && text[end - 1] == '\n';)
        text[--end] = '\0';
    const char *line = strrchr(text, '\n');
    return utf8_repair(line != NULL ? line + 1 : text);
}

static void end_gateway(const struct own *own, const struct settings *settings) {
    int64_t deadline_ms = clock_monotonic_ms() + settings->shutdown_wait_ms + PATIENCE_MS;
    kill(own->pid, SIGTERM);
    while (waitpid(own->pid, NULL, WNOHANG) == 0) {
        if (clock_monotonic_ms() > deadline_ms)
            kill(own->pid, SIGKILL);
        pause_ms(LOOK_MS);
    }
}

static void try_own(struct doctor *doctor, const struct own *own,
                    const struct doctor_start *start) {
    char program[] = "elara";
    cleanup_free char *url = memory_printf("--url=%s", own->url);
    char *argv[] = {program, url, NULL};
    struct admin_gateway *gateway = NULL;
    cleanup_json json_t *answer = NULL;
    struct error err = {0};
    /* Of the admin's own, none concerns this gateway. */
    setenv("ELARA_TOKEN", own->token, 1);
    setenv("no_proxy", "*", 1);
    unsetenv("ELARA_TOKEN_FILE");
    if (admin_gateway_create(2, argv, &gateway, &err) < 0 ||
        admin_gateway_call(gateway, "GET", "api", NULL, &answer, &err) < 0) {
        cleanup_free char *words = last_words(own);
        doctor_tell(doctor, "gateway", DOCTOR_FAIL, "correct what its log says",
                    memory_printf("one with these settings does not start: %s", words));
    } else {
        doctor_tell(doctor, "gateway", DOCTOR_OK, "",
                    memory_printf("version %s starts with these settings",
                                  admin_text_at(answer, "gateway_version")));
        try_kernel(doctor, gateway, start);
    }
    admin_gateway_destroy(gateway);
}

void doctor_check_own(struct doctor *doctor, const struct doctor_start *start) {
    struct own own = {.pid = -1};
    struct error err = {0};
    int fd = sodium_init() < 0 || make_directory(&own, start->settings, &err) < 0
                 ? -1
                 : listen_somewhere(&own, &err);
    if (fd < 0) {
        doctor_tell(doctor, "gateway", DOCTOR_FAIL, "correct what it says",
                    memory_strdup(err.text));
        return;
    }
    make_token(&own);
    fflush(NULL);
    own.pid = fork();
    if (own.pid == 0)
        become_gateway(&own, start, fd);
    close(fd); /* when the gateway dies, whoever asks it is refused */
    try_own(doctor, &own, start);
    end_gateway(&own, start->settings);
    file_remove_tree(own.directory, NULL);
}
