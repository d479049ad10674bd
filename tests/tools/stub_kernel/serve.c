/* Requests of all kinds but execution, and waiting. */
#include "stub.h"

static const char kernel_info[] =
    "{\"status\":\"ok\",\"protocol_version\":\"5.5\",\"implementation\":\"stub\",\"implementation_"
    "version\":\"1\","
    "\"language_info\":{\"name\":\"stub\",\"version\":\"1\",\"mimetype\":\"text/"
    "plain\",\"file_extension\":\".stub\"},"
    "\"banner\":\"stub kernel\",\"help_links\":[],\"debugger\":false,\"supported_features\":[]}";

static const struct {
    const char *request, *reply, *content;
} plain_replies[] = {
    {"kernel_info_request", "kernel_info_reply", kernel_info},
    {"history_request", "history_reply", "{\"status\":\"ok\",\"history\":[]}"},
    {"comm_info_request", "comm_info_reply", "{\"status\":\"ok\",\"comms\":{}}"},
    {"is_complete_request", "is_complete_reply", "{\"status\":\"complete\"}"},
    {"inspect_request", "inspect_reply",
     "{\"status\":\"ok\",\"found\":false,\"data\":{},\"metadata\":{}}"},
    {"complete_request", "complete_reply",
     "{\"status\":\"ok\",\"matches\":[],\"cursor_start\":0,\"cursor_end\":0,\"metadata\":{}}"},
    {"create_subshell_request", "create_subshell_reply",
     "{\"status\":\"error\",\"ename\":\"NotSupported\",\"evalue\":\"no "
     "subshells\",\"traceback\":[]}"},
};

static void answer_shutdown(struct stub *stub, const struct request *request) {
    if (stub->options.ignore_shutdown)
        return;
    bool restart = json_is_true(json_object_get(request->content, "restart"));
    const char *content =
        restart ? "{\"status\":\"ok\",\"restart\":true}" : "{\"status\":\"ok\",\"restart\":false}";
    stub_send_text(stub, request->channel, request, "shutdown_reply", content);
    stub_send_text(stub, IOPUB, request, "shutdown_reply", content);
    stub_send_status(stub, request, "idle");
    int linger = 1000;
    for (int i = 0; i < SOCKET_COUNT; i++) {
        zmq_setsockopt(stub->sockets[i], ZMQ_LINGER, &linger, sizeof(linger));
        zmq_close(stub->sockets[i]);
    }
    zmq_ctx_term(stub->context);
    _exit(0);
}

/* Comms are echoed, buffers included. */
static void answer_comm(struct stub *stub, struct request *request) {
    struct part buffers[PARTS_MAX];
    size_t count = 0;
    for (size_t i = request->first_buffer; i < request->part_count; i++)
        buffers[count++] =
            (struct part){zmq_msg_data(&request->parts[i]), zmq_msg_size(&request->parts[i])};
    if (strcmp(request->type, "comm_msg") != 0)
        return;
    char *text = json_dumps(request->content, JSON_COMPACT);
    stub_send(stub, IOPUB, request, "comm_msg", (struct part){text, strlen(text)}, buffers, count);
    free(text);
}

static void answer(struct stub *stub, struct request *request) {
    stub_send_status(stub, request, "busy");
    if (strcmp(request->type, "execute_request") == 0)
        stub_execute(stub, request);
    else if (strcmp(request->type, "shutdown_request") == 0)
        answer_shutdown(stub, request);
    else if (strncmp(request->type, "comm_", 5) == 0 &&
             strcmp(request->type, "comm_info_request") != 0)
        answer_comm(stub, request);
    else if (strcmp(request->type, "interrupt_request") == 0) {
        stub->was_interrupted = true;
        stub_send_text(stub, request->channel, request, "interrupt_reply", "{\"status\":\"ok\"}");
    }
    for (size_t i = 0; i < sizeof(plain_replies) / sizeof(*plain_replies); i++)
        if (strcmp(request->type, plain_replies[i].request) == 0)
            stub_send_text(stub, request->channel, request, plain_replies[i].reply,
                           plain_replies[i].content);
    stub_send_status(stub, request, "idle");
    if (stub->mute_requests > 0)
        stub->mute_requests--;
}

bool stub_serve_channel(struct stub *stub, int channel) {
    struct request request;
    if (!stub_receive(stub, channel, &request))
        return false;
    if (!stub->options.no_reply)
        answer(stub, &request);
    stub_request_free(&request);
    return true;
}

void stub_serve_heartbeat(struct stub *stub) {
    char ping[256];
    int length = zmq_recv(stub->sockets[HEARTBEAT], ping, sizeof(ping), ZMQ_DONTWAIT);
    if (length >= 0)
        zmq_send(stub->sockets[HEARTBEAT], ping,
                 (size_t)length < sizeof(ping) ? (size_t)length : sizeof(ping), 0);
}

/* A new subscriber of an XPUB is welcomed, with no topic frame, as ipykernel from 7.2 on does
 * it. */
void stub_serve_subscriptions(struct stub *stub) {
    char frame[256];
    int length;
    while (stub->options.xpub &&
           (length = zmq_recv(stub->sockets[IOPUB], frame, sizeof(frame), ZMQ_DONTWAIT)) > 0)
        if (frame[0] == 1)
            stub_send_text(stub, IOPUB, NULL, "iopub_welcome", "{\"subscription\":\"\"}");
}

void stub_serve_signals(struct stub *stub) {
    struct signalfd_siginfo info;
    while (read(stub->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        stub->was_interrupted = true;
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Serves everything but shell (and stdin, when it is waited for) until the time is up, an
 * interrupt, or an answer on stdin. */
bool stub_wait(struct stub *stub, int64_t ms, bool for_stdin, struct request *input) {
    int64_t end = now_ms() + ms;
    for (int64_t left = ms; !stub->was_interrupted && left >= 0; left = end - now_ms()) {
        zmq_pollitem_t items[] = {
            {.fd = stub->signals, .events = ZMQ_POLLIN},
            {.socket = stub->sockets[CONTROL], .events = ZMQ_POLLIN},
            {.socket = stub->sockets[HEARTBEAT], .events = ZMQ_POLLIN},
            {.socket = stub->sockets[STDIN], .events = for_stdin ? ZMQ_POLLIN : 0},
        };
        zmq_poll(items, 4, (long)left);
        stub_serve_signals(stub);
        stub_serve_heartbeat(stub);
        stub_serve_subscriptions(stub);
        while (stub_serve_channel(stub, CONTROL))
            ;
        if (for_stdin && stub_receive(stub, STDIN, input))
            return true;
        if (left == 0)
            break;
    }
    return false;
}
