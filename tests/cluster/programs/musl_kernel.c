/*
 * musl_kernel CONNECTION_FILE: a small Jupyter kernel for an image without glibc. It answers
 * kernel_info_request and execute_request, whose code it prints, and ends on shutdown_request.
 * JSON is only looked at where this needs it: headers are passed on as they came.
 */
#include <sodium.h>
#include <zmq.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SHELL, CONTROL, STDIN, HEARTBEAT, IOPUB, SOCKETS };
enum { IDENTITIES_MAX = 4, TEXT_SIZE = 64 << 10 };

static const char *const port_names[SOCKETS] = {"shell_port", "control_port", "stdin_port",
                                                "hb_port", "iopub_port"};
static const int types[SOCKETS] = {ZMQ_ROUTER, ZMQ_ROUTER, ZMQ_ROUTER, ZMQ_REP, ZMQ_PUB};

static void *sockets[SOCKETS];
static char key[256];
static unsigned executed;

struct request {
    zmq_msg_t identities[IDENTITIES_MAX];
    int identity_count;
    char header[TEXT_SIZE], content[TEXT_SIZE];
};

/* The value of a member in JSON text, quotes included; empty when there is none. */
static void find_member(const char *json, const char *name, char *value, size_t size) {
    char quoted[64];
    snprintf(quoted, sizeof(quoted), "\"%s\"", name);
    const char *at = strstr(json, quoted);
    value[0] = '\0';
    if (!at)
        return;
    at += strlen(quoted);
    at += strspn(at, " :\n");
    const char *end = at;
    if (*end == '"')
        for (end++; *end && *end != '"'; end++)
            end += *end == '\\' && end[1];
    else
        end += strcspn(end, ",}\n");
    size_t length = (size_t)(end - at) + (*at == '"');
    if (length < size) {
        memcpy(value, at, length);
        value[length] = '\0';
    }
}

static void sign(const char *const parts[4], char hex[65]) {
    unsigned char digest[32];
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)key, strlen(key));
    for (int i = 0; i < 4; i++)
        crypto_auth_hmacsha256_update(&state, (const unsigned char *)parts[i], strlen(parts[i]));
    crypto_auth_hmacsha256_final(&state, digest);
    sodium_bin2hex(hex, 65, digest, sizeof(digest));
}

/* Sends a message that answers `request`: to who asked, or with its type as the topic. */
static void send_message(int socket, struct request *request, const char *type,
                         const char *content) {
    static unsigned count;
    char header[512], date[32], hex[65];
    time_t now = time(NULL);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    snprintf(header, sizeof(header),
             "{\"msg_id\":\"musl-%d-%u\",\"msg_type\":\"%s\",\"session\":\"musl-%d\","
             "\"username\":\"kernel\",\"date\":\"%s\",\"version\":\"5.3\"}",
             (int)getpid(), ++count, type, (int)getpid(), date);
    const char *const parts[4] = {header, request->header, "{}", content};
    sign(parts, hex);
    if (socket == IOPUB)
        zmq_send(sockets[socket], type, strlen(type), ZMQ_SNDMORE);
    else
        for (int i = 0; i < request->identity_count; i++)
            zmq_send(sockets[socket], zmq_msg_data(&request->identities[i]),
                     zmq_msg_size(&request->identities[i]), ZMQ_SNDMORE);
    zmq_send(sockets[socket], "<IDS|MSG>", 9, ZMQ_SNDMORE);
    zmq_send(sockets[socket], hex, strlen(hex), ZMQ_SNDMORE);
    for (int i = 0; i < 4; i++)
        zmq_send(sockets[socket], parts[i], strlen(parts[i]), i < 3 ? ZMQ_SNDMORE : 0);
}

static void send_status(struct request *request, const char *state) {
    char content[64];
    snprintf(content, sizeof(content), "{\"execution_state\":\"%s\"}", state);
    send_message(IOPUB, request, "status", content);
}

static void execute(struct request *request) {
    static char code[TEXT_SIZE], content[TEXT_SIZE + 256];
    find_member(request->content, "code", code, sizeof(code));
    executed++;
    snprintf(content, sizeof(content), "{\"code\":%s,\"execution_count\":%u}", code, executed);
    send_message(IOPUB, request, "execute_input", content);
    snprintf(content, sizeof(content), "{\"name\":\"stdout\",\"text\":%s}", code);
    send_message(IOPUB, request, "stream", content);
    snprintf(content, sizeof(content),
             "{\"status\":\"ok\",\"execution_count\":%u,\"user_expressions\":{},\"payload\":[]}",
             executed);
    send_message(SHELL, request, "execute_reply", content);
}

static void answer(int socket, struct request *request) {
    char type[128];
    find_member(request->header, "msg_type", type, sizeof(type));
    send_status(request, "busy");
    if (strcmp(type, "\"kernel_info_request\"") == 0)
        send_message(socket, request, "kernel_info_reply",
                     "{\"status\":\"ok\",\"protocol_version\":\"5.3\",\"implementation\":\"musl\","
                     "\"implementation_version\":\"1\",\"banner\":\"musl\",\"help_links\":[],"
                     "\"language_info\":{\"name\":\"echo\",\"version\":\"1\",\"mimetype\":"
                     "\"text/plain\",\"file_extension\":\".txt\"}}");
    else if (strcmp(type, "\"execute_request\"") == 0)
        execute(request);
    else if (strcmp(type, "\"interrupt_request\"") == 0)
        send_message(socket, request, "interrupt_reply", "{\"status\":\"ok\"}");
    else if (strcmp(type, "\"shutdown_request\"") == 0)
        send_message(socket, request, "shutdown_reply", "{\"status\":\"ok\",\"restart\":false}");
    send_status(request, "idle");
    if (strcmp(type, "\"shutdown_request\"") == 0) {
        for (int i = 0; i < SOCKETS; i++)
            zmq_close(sockets[i]);
        exit(0);
    }
}

/* Takes a message apart; returns how many frames came after the delimiter. */
static int receive(int socket, struct request *request) {
    int after = -1, more = 1;
    request->identity_count = 0;
    request->header[0] = request->content[0] = '\0';
    while (more) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        zmq_msg_recv(&frame, sockets[socket], 0);
        more = zmq_msg_more(&frame);
        size_t size = zmq_msg_size(&frame);
        if (after >= 0) {
            after++;
            char *text = after == 2 ? request->header : after == 5 ? request->content : NULL;
            if (text && size < TEXT_SIZE) {
                memcpy(text, zmq_msg_data(&frame), size);
                text[size] = '\0';
            }
        } else if (size == 9 && memcmp(zmq_msg_data(&frame), "<IDS|MSG>", 9) == 0) {
            after = 0;
        } else if (request->identity_count < IDENTITIES_MAX) {
            request->identities[request->identity_count++] = frame;
            continue;
        }
        zmq_msg_close(&frame);
    }
    return after;
}

static void open_sockets(const char *json) {
    char transport[16], ip[256], port[16], address[512];
    find_member(json, "transport", transport, sizeof(transport));
    find_member(json, "ip", ip, sizeof(ip));
    find_member(json, "key", key, sizeof(key));
    memmove(key, key + 1, strlen(key)); /* without its quotes */
    key[strlen(key) - 1] = '\0';
    void *context = zmq_ctx_new();
    for (int i = 0; i < SOCKETS; i++) {
        find_member(json, port_names[i], port, sizeof(port));
        int is_ipc = strcmp(transport, "\"ipc\"") == 0;
        snprintf(address, sizeof(address), "%s://%.*s%c%s", is_ipc ? "ipc" : "tcp",
                 (int)strlen(ip) - 2, ip + 1, is_ipc ? '-' : ':', port);
        sockets[i] = zmq_socket(context, types[i]);
        if (zmq_bind(sockets[i], address) != 0) {
            fprintf(stderr, "musl_kernel: %s: %s\n", address, zmq_strerror(zmq_errno()));
            exit(1);
        }
    }
}

int main(int count, char **words) {
    static char json[TEXT_SIZE];
    static struct request request;
    FILE *file = count > 1 ? fopen(words[count - 1], "r") : NULL;
    if (!file || fread(json, 1, sizeof(json) - 1, file) == 0) {
        fprintf(stderr, "usage: musl_kernel CONNECTION_FILE\n");
        return 2;
    }
    fclose(file);
    open_sockets(json);
    strcpy(request.header, "{}");
    send_status(&request, "starting");
    for (;;) {
        zmq_pollitem_t items[IOPUB];
        for (int i = 0; i < IOPUB; i++)
            items[i] = (zmq_pollitem_t){.socket = sockets[i], .events = ZMQ_POLLIN};
        zmq_poll(items, IOPUB, -1);
        if (items[HEARTBEAT].revents) {
            char beat[256];
            int size = zmq_recv(sockets[HEARTBEAT], beat, sizeof(beat), 0);
            zmq_send(sockets[HEARTBEAT], beat, size > 0 ? (size_t)size : 0, 0);
        }
        for (int i = SHELL; i <= CONTROL; i++) {
            if (!items[i].revents)
                continue;
            if (receive(i, &request) >= 5)
                answer(i, &request);
            for (int j = 0; j < request.identity_count; j++)
                zmq_msg_close(&request.identities[j]);
        }
    }
}
