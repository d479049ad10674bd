#include "launcher/kernel_channels.h"

#include "base/memory.h"
#include "base/text.h"

#define LOG_AREA "launcher/kernel_channels"
#include "base/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    /* A PUB socket drops what its subscriber does not take, so iopub is emptied at full speed; the
     * rest is a turn's fairness. */
    BATCH_MESSAGES = 512,
    BATCH_BYTES = 4 << 20,
    QUEUE_MESSAGES = 1000,        /* to the kernel, each channel */
    IOPUB_QUEUE_MESSAGES = 50000, /* finite: what is not read must not become memory */
    PARTS_FIRST = 16,
};

enum { SOCKET_HEARTBEAT = CHANNEL_COUNT, SOCKET_COUNT };

struct kernel_channels {
    zloop_t *loop;
    const struct kernel_wire *wire;
    const struct kernel_channels_events *events;
    void *context;
    zsock_t *sockets[SOCKET_COUNT];
    zmq_pollitem_t writable[CHANNEL_COUNT]; /* in the loop while is_blocked */
    bool is_blocked[CHANNEL_COUNT];
    bool is_handing_over; /* messages point into `frames` */
    bool saw_heartbeat;
    size_t payload_max;
    zmq_msg_t *frames; /* of the message being received */
    struct bytes *parts;
    size_t capacity;
    uint64_t malformed, unsigned_, oversized; /* dropped */
};

static const struct {
    int type;
    enum connection_port port;
} socket_kinds[SOCKET_COUNT] = {
    [CHANNEL_SHELL] = {ZMQ_DEALER, PORT_SHELL}, [CHANNEL_CONTROL] = {ZMQ_DEALER, PORT_CONTROL},
    [CHANNEL_STDIN] = {ZMQ_DEALER, PORT_STDIN}, [CHANNEL_IOPUB] = {ZMQ_SUB, PORT_IOPUB},
    [SOCKET_HEARTBEAT] = {ZMQ_REQ, PORT_HB},
};

static void drop(uint64_t *counter, enum kernel_channel channel, const char *what) {
    if ((*counter)++ == 0)
        log_warning(
            "dropped a message from the kernel on %s: %s (said once; later ones are counted)",
            kernel_channel_name(channel), what);
}

static void grow_frames(struct kernel_channels *channels) {
    channels->capacity = channels->capacity ? channels->capacity * 2 : PARTS_FIRST;
    channels->frames =
        memory_resize(channels->frames, channels->capacity * sizeof *channels->frames);
    channels->parts = memory_resize(channels->parts, channels->capacity * sizeof *channels->parts);
}

/* Receives one message; parts beyond the limit are read and forgotten, and the count says that they
 * were there. -1: there is none. */
static int receive(struct kernel_channels *channels, void *socket, size_t *count, size_t *bytes) {
    *count = *bytes = 0;
    for (bool more = true; more;) {
        if (*count == channels->capacity)
            grow_frames(channels);
        zmq_msg_t *frame = &channels->frames[*count];
        zmq_msg_init(frame);
        int got;
        while ((got = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT)) < 0 && errno == EINTR) {
        }
        if (got < 0) {
            zmq_msg_close(frame);
            break; /* parts of a message come together: this is its start, and there is none */
        }
        more = zmq_msg_more(frame) != 0;
        *bytes += zmq_msg_size(frame);
        if (*count > KERNEL_WIRE_PARTS_MAX)
            zmq_msg_close(frame);
        else
            (*count)++;
    }
    if (*count == 0)
        return -1;
    /* Only now: growing moves the frames, and small ones carry their bytes inside. */
    for (size_t i = 0; i < *count; i++)
        channels->parts[i] =
            (struct bytes){zmq_msg_data(&channels->frames[i]), zmq_msg_size(&channels->frames[i])};
    return 0;
}

static void hand_over(struct kernel_channels *channels, enum kernel_channel channel, size_t count,
                      size_t bytes) {
    struct wire_message message;
    if (bytes > channels->payload_max) {
        drop(&channels->oversized, channel, "it is larger than the largest allowed");
        return;
    }
    switch (kernel_wire_parse(channels->wire, channels->parts, count, &message)) {
    case WIRE_OK:
        channels->is_handing_over = true;
        channels->events->message(channels->context, channel, &message);
        channels->is_handing_over = false;
        break;
    case WIRE_MALFORMED:
        drop(&channels->malformed, channel, "parts are missing, too many, or not JSON objects");
        break;
    case WIRE_BAD_SIGNATURE:
        drop(&channels->unsigned_, channel, "its signature is wrong");
        break;
    }
}

static void drain(struct kernel_channels *channels, enum kernel_channel channel) {
    void *socket = zsock_resolve(channels->sockets[channel]);
    size_t bytes_left = BATCH_BYTES;
    for (int i = 0; i < BATCH_MESSAGES && bytes_left > 0; i++) {
        size_t count, bytes;
        if (receive(channels, socket, &count, &bytes) < 0)
            break;
        hand_over(channels, channel, count, bytes);
        for (size_t at = 0; at < count; at++)
            zmq_msg_close(&channels->frames[at]);
        bytes_left -= bytes < bytes_left ? bytes : bytes_left;
    }
}

static int on_readable(zloop_t *loop, zsock_t *reader, void *context) {
    (void)loop;
    struct kernel_channels *channels = context;
    for (enum kernel_channel channel = 0; channel < CHANNEL_COUNT; channel++)
        if (channels->sockets[channel] == reader)
            drain(channels, channel);
    channels->events->drained(channels->context);
    return 0;
}

static int on_heartbeat(zloop_t *loop, zsock_t *reader, void *context) {
    (void)loop;
    struct kernel_channels *channels = context;
    char answer[8];
    if (zmq_recv(zsock_resolve(reader), answer, sizeof answer, ZMQ_DONTWAIT) >= 0)
        channels->saw_heartbeat = true;
    return 0;
}

static int on_writable(zloop_t *loop, zmq_pollitem_t *item, void *context) {
    struct kernel_channels *channels = context;
    for (size_t i = 0; i < CHANNEL_COUNT; i++) {
        if (channels->is_blocked[i] && channels->writable[i].socket == item->socket) {
            channels->is_blocked[i] = false;
            zloop_poller_end(loop, &channels->writable[i]);
        }
    }
    channels->events->writable(channels->context);
    return 0;
}

static void wait_writable(struct kernel_channels *channels, enum kernel_channel channel) {
    if (channels->is_blocked[channel])
        return;
    channels->is_blocked[channel] = true;
    channels->writable[channel] = (zmq_pollitem_t){
        .socket = zsock_resolve(channels->sockets[channel]), .events = ZMQ_POLLOUT};
    zloop_poller(channels->loop, &channels->writable[channel], on_writable, channels);
}

static int send_part(void *socket, const void *data, size_t length, int flags) {
    int rc;
    while ((rc = zmq_send(socket, data, length, ZMQ_DONTWAIT | flags)) < 0 && errno == EINTR) {
    }
    return rc;
}

bool kernel_channels_send(struct kernel_channels *channels, const struct kernel_message *message) {
    assert(message->channel != CHANNEL_IOPUB); /* a SUB socket */
    void *socket = zsock_resolve(channels->sockets[message->channel]);
    char signature[KERNEL_WIRE_SIGNATURE_SIZE];
    kernel_wire_sign(channels->wire, message->header, message->parent_header, message->metadata,
                     message->content, signature);
    const struct bytes parts[] = {{(const uint8_t *)signature, strlen(signature)},
                                  message->header,
                                  message->parent_header,
                                  message->metadata,
                                  message->content};
    /* Only the first part can find the queue full: a message is queued as a whole. */
    if (send_part(socket, kernel_wire_delimiter, sizeof kernel_wire_delimiter - 1, ZMQ_SNDMORE) <
        0) {
        wait_writable(channels, message->channel);
        return false;
    }
    size_t count = sizeof parts / sizeof parts[0];
    for (size_t i = 0; i < count; i++)
        send_part(socket, parts[i].data, parts[i].length,
                  i + 1 < count || message->buffer_count > 0 ? ZMQ_SNDMORE : 0);
    for (size_t i = 0; i < message->buffer_count; i++) {
        struct bytes buffer = kernel_message_buffer(message, i);
        send_part(socket, buffer.data, buffer.length,
                  i + 1 < message->buffer_count ? ZMQ_SNDMORE : 0);
    }
    return true;
}

bool kernel_channels_saw_heartbeat(const struct kernel_channels *channels) {
    return channels->saw_heartbeat;
}

bool kernel_channels_has_stdin(const struct kernel_channels *channels) {
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(zsock_resolve(channels->sockets[CHANNEL_STDIN]), ZMQ_EVENTS, &events,
                          &size) == 0 &&
           (events & ZMQ_POLLOUT) != 0;
}

static int open_socket(struct kernel_channels *channels, size_t index,
                       const struct kernel_channels_settings *settings, const char *identity,
                       struct error *err) {
    zsock_t *sock = channels->sockets[index] = zsock_new(socket_kinds[index].type);
    if (sock == NULL)
        return error_system(err, errno, "a ZeroMQ socket");
    void *socket = zsock_resolve(sock);
    int queue = QUEUE_MESSAGES;
    int iopub_queue = IOPUB_QUEUE_MESSAGES;
    int linger_ms = 0;
    /* libzmq waits this long plus a random part of it. */
    int reconnect_ms = settings->reconnect_ms;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &reconnect_ms, sizeof reconnect_ms);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &queue, sizeof queue);
    zmq_setsockopt(socket, ZMQ_RCVHWM, index == CHANNEL_IOPUB ? &iopub_queue : &queue,
                   sizeof queue);
    if (index == CHANNEL_IOPUB)
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    else if (index != SOCKET_HEARTBEAT)
        zmq_setsockopt(socket, ZMQ_ROUTING_ID, identity, strlen(identity));
    if (index == CHANNEL_STDIN) /* writable then means connected */
        zmq_setsockopt(socket, ZMQ_IMMEDIATE, &(int){1}, sizeof(int));
    char address[CONNECTION_ADDRESS_SIZE];
    connection_address(settings->connection, socket_kinds[index].port, address);
    if (zmq_connect(socket, address) < 0)
        return error_set(err, ERROR_SYSTEM, "%s: %s", address, zmq_strerror(errno));
    zloop_reader(channels->loop, sock, index == SOCKET_HEARTBEAT ? on_heartbeat : on_readable,
                 channels);
    zloop_reader_set_tolerant(channels->loop, sock);
    return 0;
}

int kernel_channels_open(zloop_t *loop, const struct kernel_channels_settings *settings,
                         const struct kernel_channels_events *events, void *context,
                         struct kernel_channels **ret, struct error *err) {
    struct kernel_channels *channels = memory_alloc(sizeof *channels);
    channels->loop = loop;
    channels->wire = settings->wire;
    channels->payload_max = settings->payload_max;
    channels->events = events;
    channels->context = context;
    /* A new identity each time: a kernel's ROUTER refuses one whose connection it has not yet seen
     * end. */
    uint8_t random[8];
    char identity[2 * sizeof random + 1];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        abort(); /* cannot happen for so few bytes */
    text_hex(random, sizeof random, identity);
    /* In the order of enum kernel_channel, which is the order they are served in: replies before
     * iopub measured faster. */
    for (size_t i = 0; i < SOCKET_COUNT; i++) {
        if (open_socket(channels, i, settings, identity, err) < 0) {
            kernel_channels_close(&channels);
            return -1;
        }
    }
    send_part(zsock_resolve(channels->sockets[SOCKET_HEARTBEAT]), "ping", 4, 0);
    *ret = channels;
    return 0;
}

void kernel_channels_close(struct kernel_channels **place) {
    struct kernel_channels *channels = *place;
    *place = NULL;
    if (channels == NULL)
        return;
    assert(!channels->is_handing_over);
    for (size_t i = 0; i < SOCKET_COUNT; i++) {
        if (i < CHANNEL_COUNT && channels->is_blocked[i])
            zloop_poller_end(channels->loop, &channels->writable[i]);
        if (channels->sockets[i] != NULL)
            zloop_reader_end(channels->loop, channels->sockets[i]);
        zsock_destroy(&channels->sockets[i]);
    }
    if (channels->malformed + channels->unsigned_ + channels->oversized > 0)
        log_warning("dropped from this kernel process: %llu malformed, %llu wrongly signed, %llu "
                    "too large",
                    (unsigned long long)channels->malformed,
                    (unsigned long long)channels->unsigned_,
                    (unsigned long long)channels->oversized);
    free(channels->frames);
    free(channels->parts);
    free(channels);
}
