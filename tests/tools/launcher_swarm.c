/* Simulated launchers, hundreds in one process: what a gateway has to adopt and serve when it has
 * thousands of kernels, without thousands of processes on the machine that measures it.
 *
 *     launcher_swarm RUNTIME_DIRECTORY COUNT [OWNER ...]
 *     launcher_swarm --pods
 *
 * The first one makes COUNT kernel directories as docs/link-protocol.md describes them
 * (record.json, a held lock, the ipc socket), owned by the OWNERs in turn, prints "ready" and
 * serves them until its standard input ends or it is killed. The work is done by children with the
 * directories in their command lines, where a gateway looks for a launcher's.
 *
 * The second one is for a hollow node (tests/cluster/hollow): a line "add ENDPOINT DIRECTORY" on
 * its standard input makes a launcher with the record.json and link.key of that directory, as a pod
 * has them, and "remove ENDPOINT" ends it; each is answered by a line. Gateways are let in with any
 * key.
 *
 * A simulated launcher speaks the link for one gateway at a time. It answers every request on shell
 * and control as a kernel would, between busy and idle; it keeps a session's request numbers but no
 * journal, so that a session starts live. Its process is that of many kernels: do not DELETE one,
 * the gateway would end them all. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kernel_message.h"
#include "launcher/link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zmq.h>

enum {
    KERNELS_A_PROCESS =
        400, /* their directories fit the 64 KiB of a command line that a gateway reads */
    WORKERS_MAX = 256,
    ROUTE_MAX = 32,
    SESSIONS_MAX = 64, /* of one kernel; more end the program */
    ATTACHMENTS_MAX = 64,
    TYPE_MAX = 128,
    BACKLOG = 64,
    SECRET_MAX = 1 << 20,
    LINE_SIZE = 1024,
};

static const char *const kernel_info =
    "{\"status\":\"ok\",\"protocol_version\":\"5.3\",\"implementation\":\"swarm\","
    "\"implementation_version\":\"1\",\"language_info\":{\"name\":\"swarm\",\"version\":\"1\","
    "\"mimetype\":\"text/plain\",\"file_extension\":\".txt\"},\"banner\":\"\",\"help_links\":[]}";

struct session {
    char *id;
    uint64_t received; /* highest number of its requests */
};

struct attachment {
    uint16_t number;
    struct session *session; /* NULL: it came without a session_id */
    uint64_t accepted;       /* bytes of its requests */
};

struct kernel {
    char *id;
    json_t *record;
    char nonce[37], kernel_session[37];
    uint64_t seq, messages;
    bool is_busy;
    int64_t born_ms;
    char *endpoint;           /* of a pod */
    uint8_t route[ROUTE_MAX]; /* of the gateway that said HELLO last */
    size_t route_length;
    struct session sessions[SESSIONS_MAX];
    unsigned session_count;
    struct attachment attachments[ATTACHMENTS_MAX];
    unsigned attachment_count;
};

struct worker {
    void *router;
    struct map *by_id, *by_route;
    struct map *by_endpoint; /* of pods */
    struct buffer out;       /* the batch for the sender of what is being read */
};

static void fail(const char *what) __attribute__((noreturn));

static void fail(const char *what) {
    fprintf(stderr, "launcher_swarm: %s%s%s\n", what, errno ? ": " : "",
            errno ? strerror(errno) : "");
    exit(1);
}

static void raise_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- frames ---- */

static void emit(struct worker *worker, enum link_type type, uint16_t attachment, uint64_t seq,
                 const void *payload, size_t length) {
    if (link_frame_write(&worker->out, type, attachment, seq, payload, length, false) < 0)
        fail("a batch is full");
}

static void emit_json(struct worker *worker, enum link_type type, uint16_t attachment, uint64_t seq,
                      json_t *json) {
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL)
        fail("JSON");
    emit(worker, type, attachment, seq, text, strlen(text));
}

/* Idle since its beginning: what a pass of the culling looks at. */
static json_t *activity_of(const struct kernel *kernel) {
    json_int_t ms = clock_monotonic_ms() - kernel->born_ms;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:i, s:i, s:b, s:I, s:i, s:i, s:i}",
                     "state", kernel->is_busy ? "busy" : "idle", "age_ms", ms, "state_for_ms", ms,
                     "untouched_for_ms", ms, "silent_for_ms", ms, "unattached_for_ms",
                     kernel->attachment_count > 0 ? (json_int_t)0 : ms, "waits_for_input", 0,
                     "busy_subshells", 0, "keep_ms", 0, "ok", 1, "at_rest_for_ms", ms, "cpu_ms", 0,
                     "rss_bytes", 0, "processes", 1);
}

static json_t *status_of(const struct kernel *kernel) {
    char now[CLOCK_TEXT_SIZE];
    clock_format(clock_wall_us(), now);
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:n, s:b, s:s, s:o}", "phase", "ready",
                     "stage", "ready", "execution_state", kernel->is_busy ? "busy" : "idle",
                     "last_activity", now, "idle_ms", 0, "restarts", 0, "reason", "kernel_info", 1,
                     "message_session", kernel->kernel_session, "activity", activity_of(kernel));
}

/* ---- what the kernel says ---- */

static struct bytes bytes_of(const char *text) {
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

/* To all attachments, or to those of one session. */
static void say(struct worker *worker, struct kernel *kernel, enum kernel_channel channel,
                const struct attachment *to, const char *type, struct bytes parent,
                const char *content) {
    char header[512], now[CLOCK_TEXT_SIZE];
    clock_format(clock_wall_us(), now);
    snprintf(
        header, sizeof header,
        "{\"msg_id\":\"%s_%llu\",\"msg_type\":\"%s\",\"username\":\"swarm\",\"session\":\"%s\","
        "\"date\":\"%s\",\"version\":\"5.3\"}",
        kernel->kernel_session, (unsigned long long)++kernel->messages, type,
        kernel->kernel_session, now);
    cleanup_buffer struct buffer message = {0};
    kernel_message_write(&message, channel, bytes_of(header), parent, bytes_of("{}"),
                         bytes_of(content), NULL, 0);
    kernel->seq++;
    for (unsigned i = 0; i < kernel->attachment_count; i++) {
        const struct attachment *each = &kernel->attachments[i];
        if (to == NULL || each == to || (to->session != NULL && each->session == to->session))
            emit(worker, LINK_MESSAGE, each->number, kernel->seq, message.data, message.length);
    }
}

static void set_busy(struct worker *worker, struct kernel *kernel, bool is_busy,
                     struct bytes parent) {
    kernel->is_busy = is_busy;
    say(worker, kernel, CHANNEL_IOPUB, NULL, "status", parent,
        is_busy ? "{\"execution_state\":\"busy\"}" : "{\"execution_state\":\"idle\"}");
    emit_json(worker, LINK_STATUS, 0, kernel->seq, status_of(kernel));
}

static void answer(struct worker *worker, struct kernel *kernel, const struct attachment *asker,
                   const void *payload, size_t length) {
    struct kernel_message request;
    char type[TYPE_MAX], reply[TYPE_MAX];
    if (kernel_message_parse(payload, length, &request, NULL) < 0 ||
        json_scan_text(request.header, "msg_type", type, sizeof type) < 0 ||
        !text_ends_with(type, "_request"))
        return; /* comm messages and answers to input have no reply */
    snprintf(reply, sizeof reply, "%.*sreply", (int)(strlen(type) - strlen("request")), type);
    set_busy(worker, kernel, true, request.header);
    say(worker, kernel, request.channel, asker, reply, request.header,
        strcmp(type, "kernel_info_request") == 0
            ? kernel_info
            : "{\"status\":\"ok\",\"execution_count\":1,\"user_expressions\":{},\"payload\":[]}");
    set_busy(worker, kernel, false, request.header);
}

/* ---- what the gateway says ---- */

static struct session *session_of(struct kernel *kernel, const char *id, bool *is_known) {
    for (unsigned i = 0; i < kernel->session_count; i++) {
        *is_known = strcmp(kernel->sessions[i].id, id) == 0;
        if (*is_known)
            return &kernel->sessions[i];
    }
    *is_known = false;
    if (kernel->session_count == SESSIONS_MAX)
        fail("too many sessions on one kernel");
    kernel->sessions[kernel->session_count].id = memory_strdup(id);
    return &kernel->sessions[kernel->session_count++];
}

static struct attachment *attachment_of(struct kernel *kernel, uint16_t number) {
    for (unsigned i = 0; i < kernel->attachment_count; i++)
        if (kernel->attachments[i].number == number)
            return &kernel->attachments[i];
    return NULL;
}

static void detach(struct kernel *kernel, uint16_t number) {
    struct attachment *attachment = attachment_of(kernel, number);
    if (attachment != NULL)
        *attachment = kernel->attachments[--kernel->attachment_count];
}

static void on_attach(struct worker *worker, struct kernel *kernel, const struct link_frame *frame,
                      const uint8_t *payload) {
    cleanup_json json_t *attach = json_loadb((const char *)payload, frame->length, 0, NULL);
    const char *id = json_string_value(json_object_get(attach, "session_id"));
    bool is_known = false;
    detach(kernel, frame->attachment);
    if (kernel->attachment_count == ATTACHMENTS_MAX)
        fail("too many attachments on one kernel");
    struct attachment *attachment = &kernel->attachments[kernel->attachment_count++];
    *attachment = (struct attachment){
        .number = frame->attachment,
        .session = id != NULL ? session_of(kernel, id, &is_known) : NULL,
    };
    json_int_t next = attachment->session ? (json_int_t)attachment->session->received + 1 : 1;
    emit_json(
        worker, LINK_ATTACHED, frame->attachment, kernel->seq,
        json_pack("{s:s?, s:b, s:I}", "session_id", id, "resumed", is_known, "next_request", next));
}

static void on_request(struct worker *worker, struct kernel *kernel, const struct link_frame *frame,
                       const uint8_t *payload) {
    struct attachment *attachment = attachment_of(kernel, frame->attachment);
    uint8_t total[8];
    if (attachment == NULL)
        return;
    attachment->accepted += frame->length;
    link_u64_write(total, attachment->accepted + LINK_GRANT_DEFAULT);
    emit(worker, LINK_GRANT, frame->attachment, frame->seq, total, sizeof total);
    if (attachment->session != NULL && frame->seq <= attachment->session->received)
        return; /* said again after a break */
    if (attachment->session != NULL)
        attachment->session->received = frame->seq;
    answer(worker, kernel, attachment, payload, frame->length);
}

static void on_command(struct worker *worker, struct kernel *kernel, const struct link_frame *frame,
                       const uint8_t *payload) {
    cleanup_json json_t *command = json_loadb((const char *)payload, frame->length, 0, NULL);
    const char *name = json_string_value(json_object_get(command, "command"));
    bool sets = name != NULL && strcmp(name, "record_set") == 0;
    if (sets)
        json_object_update(kernel->record, json_object_get(command, "set"));
    if (name != NULL && strcmp(name, "activity") == 0) {
        emit_json(worker, LINK_RESULT, 0, frame->seq, activity_of(kernel));
        return;
    }
    emit_json(worker, LINK_RESULT, 0, frame->seq,
              sets ? json_pack("{s:b, s:O}", "ok", 1, "record", kernel->record)
                   : json_pack("{s:b, s:s, s:s}", "ok", 0, "code", "unsupported", "message",
                               "a simulated launcher cannot do this"));
}

static void route_text(const void *route, size_t length, char text[2 * ROUTE_MAX + 1]) {
    if (length > ROUTE_MAX)
        fail("a routing id is too long");
    text_hex(route, length, text);
}

static struct kernel *on_hello(struct worker *worker, const char *route, zmq_msg_t *route_part,
                               const struct link_frame *frame, const uint8_t *payload) {
    cleanup_json json_t *hello = json_loadb((const char *)payload, frame->length, 0, NULL);
    const char *id = json_string_value(json_object_get(hello, "kernel_id"));
    struct kernel *kernel = id != NULL ? map_get(worker->by_id, id) : NULL;
    if (kernel == NULL) {
        emit(worker, LINK_RESET, 0, 0, NULL, 0);
        return NULL;
    }
    char earlier[2 * ROUTE_MAX + 1];
    route_text(kernel->route, kernel->route_length, earlier);
    map_remove(worker->by_route, earlier);
    kernel->route_length = zmq_msg_size(route_part);
    memcpy(kernel->route, zmq_msg_data(route_part), kernel->route_length);
    kernel->attachment_count = 0;
    map_put(worker->by_route, route, kernel);
    emit_json(worker, LINK_WELCOME, 0, kernel->seq,
              json_pack("{s:i, s:[], s:s, s:s, s:O, s:o}", "version", LINK_VERSION, "capabilities",
                        "launcher", kernel->nonce, "kernel_id", kernel->id, "record",
                        kernel->record, "status", status_of(kernel)));
    return kernel;
}

static void on_frame(struct worker *worker, struct kernel *kernel, const struct link_frame *frame,
                     const uint8_t *payload) {
    switch (frame->type) {
    case LINK_ATTACH:
        on_attach(worker, kernel, frame, payload);
        break;
    case LINK_DETACH:
        detach(kernel, frame->attachment);
        break;
    case LINK_REQUEST:
        on_request(worker, kernel, frame, payload);
        break;
    case LINK_COMMAND:
        on_command(worker, kernel, frame, payload);
        break;
    default: /* ACK: without a journal there is no cursor */
        break;
    }
}

static void on_batch(struct worker *worker, zmq_msg_t *route_part, zmq_msg_t *parts) {
    char route[2 * ROUTE_MAX + 1];
    route_text(zmq_msg_data(route_part), zmq_msg_size(route_part), route);
    struct kernel *kernel = map_get(worker->by_route, route);
    const uint8_t *batch = zmq_msg_data(&parts[0]);
    struct link_frame frame;
    unsigned part = 1;
    buffer_clear(&worker->out);
    for (size_t at = 0; link_frame_next(batch, zmq_msg_size(&parts[0]), &at, &frame, NULL) > 0;) {
        const uint8_t *payload = frame.payload;
        if (frame.flags & LINK_FLAG_EXTERNAL)
            payload = zmq_msg_data(&parts[part++]);
        if (frame.type == LINK_PING)
            emit(worker, LINK_PONG, 0, frame.seq, NULL, 0);
        else if (frame.type == LINK_HELLO)
            kernel = on_hello(worker, route, route_part, &frame, payload);
        else if (kernel != NULL)
            on_frame(worker, kernel, &frame, payload);
        else if (frame.type != LINK_RESET && frame.type != LINK_PONG)
            emit(worker, LINK_RESET, 0, 0, NULL, 0);
    }
    if (worker->out.length == 0)
        return;
    if (zmq_msg_send(route_part, worker->router, ZMQ_SNDMORE) >= 0)
        zmq_send(worker->router, worker->out.data, worker->out.length, 0);
}

/* Until there is nothing more to receive; never with flags 0. */
static void serve(struct worker *worker, int flags) {
    zmq_msg_t route, parts[LINK_EXTERNAL_MAX + 1];
    for (;;) {
        unsigned count = 0;
        zmq_msg_init(&route);
        if (zmq_msg_recv(&route, worker->router, flags) < 0) {
            if (zmq_errno() == EAGAIN)
                return;
            continue; /* EINTR */
        }
        for (bool more = zmq_msg_more(&route); more; more = zmq_msg_more(&parts[count++])) {
            if (count > LINK_EXTERNAL_MAX)
                fail("a message has too many parts");
            zmq_msg_init(&parts[count]);
            zmq_msg_recv(&parts[count], worker->router, 0);
        }
        if (count > 0)
            on_batch(worker, &route, parts);
        zmq_msg_close(&route);
        for (unsigned i = 0; i < count; i++)
            zmq_msg_close(&parts[i]);
    }
}

/* ---- workers ---- */

static struct kernel *make_kernel(struct worker *worker, const char *id) {
    struct kernel *kernel = memory_alloc(sizeof *kernel);
    kernel->id = memory_strdup(id);
    text_uuid4(kernel->nonce);
    kernel->born_ms = clock_monotonic_ms();
    text_uuid4(kernel->kernel_session);
    map_put(worker->by_id, kernel->id, kernel);
    return kernel;
}

/* As elara-launcher leaves it when its kernel is ready. The lock is held until this process
 * ends. */
static void add_kernel(struct worker *worker, const char *directory, const char *owner) {
    struct error err;
    struct kernel *kernel = make_kernel(worker, strrchr(directory, '/') + 1);
    char created[CLOCK_TEXT_SIZE];
    clock_format(clock_wall_us(), created);
    kernel->record =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:n, s:{}, s:i, s:n, s:s, s:n}", "kernel_id",
                  kernel->id, "name", "swarm", "display_name", "Swarm", "owner", owner, "user",
                  owner, "created", created, "session", "marks", "launcher_pid", (int)getpid(),
                  "kernel_pid", "phase", "ready", "reason");
    int lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
        fail(directory);
    cleanup_free char *endpoint = memory_printf("ipc://%s/link", directory);
    cleanup_free char *record_path = memory_printf("%s/record.json", directory);
    if (zmq_bind(worker->router, endpoint) < 0)
        fail(endpoint);
    if (file_write_json(record_path, kernel->record, 0600, &err) < 0)
        fail(err.text);
}

static void open_router(struct worker *worker) {
    worker->by_id = map_create();
    worker->by_route = map_create();
    worker->by_endpoint = map_create();
    worker->router = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    zmq_setsockopt(worker->router, ZMQ_LINGER, &(int){0}, sizeof(int));
    zmq_setsockopt(worker->router, ZMQ_BACKLOG, &(int){BACKLOG}, sizeof(int));
    zmq_setsockopt(worker->router, ZMQ_ROUTER_MANDATORY, &(int){1}, sizeof(int));
}

/* argv: OWNER DIRECTORY, again and again. */
static void run_worker(char **argv, int count) {
    struct worker worker = {.out = {.limit = LINK_BATCH_MAX}};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    umask(0077);
    open_router(&worker);
    for (int i = 0; i + 1 < count; i += 2)
        add_kernel(&worker, argv[i + 1], argv[i]);
    if (write(STDOUT_FILENO, "+", 1) != 1)
        fail("the parent has gone");
    serve(&worker, 0);
}

/* ---- pods ---- */

static void add_pod(struct worker *worker, const char *endpoint, const char *directory) {
    struct error err;
    cleanup_free char *record_path = memory_printf("%s/record.json", directory);
    cleanup_free char *key_path = memory_printf("%s/link.key", directory);
    cleanup_buffer struct buffer key = {.limit = SECRET_MAX};
    json_t *record;
    if (file_read_json(record_path, SECRET_MAX, &record, &err) < 0 ||
        file_read(key_path, SECRET_MAX, &key, &err) < 0)
        fail(err.text);
    struct kernel *kernel =
        make_kernel(worker, json_string_value(json_object_get(record, "kernel_id")));
    kernel->record = record;
    kernel->endpoint = memory_strdup(endpoint);
    json_object_set_new(record, "phase", json_string("ready"));
    /* They hold for what is bound from now on. */
    if (zmq_setsockopt(worker->router, ZMQ_CURVE_SERVER, &(int){1}, sizeof(int)) < 0 ||
        zmq_setsockopt(worker->router, ZMQ_CURVE_SECRETKEY, buffer_text(&key), 41) < 0 ||
        zmq_bind(worker->router, endpoint) < 0)
        fail(endpoint);
    map_put(worker->by_endpoint, kernel->endpoint, kernel);
}

/* Its connections stay, and are told that nobody is there. */
static void remove_pod(struct worker *worker, const char *endpoint) {
    struct kernel *kernel = map_get(worker->by_endpoint, endpoint);
    char route[2 * ROUTE_MAX + 1];
    if (kernel == NULL)
        return;
    zmq_unbind(worker->router, endpoint);
    route_text(kernel->route, kernel->route_length, route);
    map_remove(worker->by_endpoint, endpoint);
    map_remove(worker->by_route, route);
    if (map_get(worker->by_id, kernel->id) == kernel)
        map_remove(worker->by_id, kernel->id);
    for (unsigned i = 0; i < kernel->session_count; i++)
        free(kernel->sessions[i].id);
    json_decref(kernel->record);
    free(kernel->endpoint);
    free(kernel->id);
    free(kernel);
}

static void run_pods(void) {
    struct worker worker = {.out = {.limit = LINK_BATCH_MAX}};
    char line[LINE_SIZE], endpoint[LINE_SIZE], directory[LINE_SIZE];
    setvbuf(stdin, NULL, _IONBF, 0); /* what is buffered would not be polled */
    open_router(&worker);
    for (;;) {
        zmq_pollitem_t items[] = {{.socket = worker.router, .events = ZMQ_POLLIN},
                                  {.fd = STDIN_FILENO, .events = ZMQ_POLLIN}};
        if (zmq_poll(items, 2, -1) < 0)
            continue;
        if (items[0].revents != 0)
            serve(&worker, ZMQ_DONTWAIT);
        if (items[1].revents == 0)
            continue;
        if (fgets(line, sizeof line, stdin) == NULL)
            return;
        if (sscanf(line, "add %s %s", endpoint, directory) == 2)
            add_pod(&worker, endpoint, directory);
        else if (sscanf(line, "remove %s", endpoint) == 1)
            remove_pod(&worker, endpoint);
        puts("done");
        fflush(stdout);
    }
}

/* Makes the directories and runs this program on them. */
static pid_t spawn_worker(const char *kernels, int count, char **owners, int owner_count,
                          int ready_fd) {
    char **argv = memory_alloc(sizeof *argv * (size_t)(2 * count + 3));
    argv[0] = memory_strdup("launcher_swarm");
    argv[1] = memory_strdup("--worker");
    for (int i = 0; i < count; i++) {
        char id[37];
        text_uuid4(id);
        argv[2 * i + 2] = memory_strdup(owner_count > 0 ? owners[i % owner_count] : "");
        argv[2 * i + 3] = memory_printf("%s/%s", kernels, id);
        if (mkdir(argv[2 * i + 3], 0700) < 0)
            fail(argv[2 * i + 3]);
    }
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ready_fd, STDOUT_FILENO);
        execv("/proc/self/exe", argv);
        fail("exec");
    }
    for (int i = 0; argv[i] != NULL; i++)
        free(argv[i]);
    free(argv);
    return pid;
}

static void run_parent(const char *runtime, int count, char **owners, int owner_count) {
    struct error err;
    pid_t workers[WORKERS_MAX];
    int started = 0, ready[2];
    char byte;
    if (file_make_private_directory(runtime, &err) < 0)
        fail(err.text);
    cleanup_free char *real = realpath(runtime, NULL);
    cleanup_free char *kernels = memory_printf("%s/kernels", real);
    if (file_make_private_directory(kernels, &err) < 0)
        fail(err.text);
    if (count < 1 || count > WORKERS_MAX * KERNELS_A_PROCESS || pipe2(ready, O_CLOEXEC) < 0)
        fail("COUNT");
    for (int left = count; left > 0; left -= KERNELS_A_PROCESS)
        workers[started++] =
            spawn_worker(kernels, left < KERNELS_A_PROCESS ? left : KERNELS_A_PROCESS, owners,
                         owner_count, ready[1]);
    close(ready[1]);
    for (int i = 0; i < started; i++)
        if (read(ready[0], &byte, 1) != 1)
            fail("a worker ended");
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    for (int i = 0; i < started; i++) {
        kill(workers[i], SIGKILL);
        waitpid(workers[i], NULL, 0);
    }
}

int main(int argc, char **argv) {
    raise_limit();
    if (argc > 2 && strcmp(argv[1], "--worker") == 0)
        run_worker(argv + 2, argc - 2);
    else if (argc == 2 && strcmp(argv[1], "--pods") == 0)
        run_pods();
    else if (argc > 2)
        run_parent(argv[1], atoi(argv[2]), argv + 3, argc - 3);
    else
        fail("usage: launcher_swarm RUNTIME_DIRECTORY COUNT [OWNER ...], or launcher_swarm --pods");
    return 0;
}
