#include "launcher/link_strangers.h"

#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define LOG_AREA "launcher/link_strangers"
#include "base/log.h"

enum { LOOK_MS = 20 };

struct stranger {
    int fd;          /* libzmq's, who may close it at any time */
    uint64_t cookie; /* of the socket; tells another one of the same number */
};

struct link_strangers {
    zloop_t *loop;
    zsock_t *monitor;
    void *watched;
    struct stranger strangers[LINK_STRANGERS_MAX]; /* the longest there first */
    size_t count;
    int timer;
    uint64_t sent_away;
};

static uint64_t cookie_of(int fd) {
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) < 0 ? 0 : cookie;
}

/* The system's struct goes on where the C library's ends (linux/tcp.h, which cannot be included
 * beside it). */
struct tcp_info_more {
    struct tcp_info start;
    uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
};
static_assert(sizeof(struct tcp_info) == 104, "the C library's struct tcp_info has grown");

static uint64_t bytes_from(int fd) {
    struct tcp_info_more info = {.bytes_received = 0};
    socklen_t size = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ? 0 : info.bytes_received;
}

static void forget(struct link_strangers *strangers, size_t at) {
    strangers->count--;
    memmove(&strangers->strangers[at], &strangers->strangers[at + 1],
            (strangers->count - at) * sizeof strangers->strangers[0]);
}

static void forget_fd(struct link_strangers *strangers, int fd) {
    for (size_t i = strangers->count; i > 0; i--)
        if (strangers->strangers[i - 1].fd == fd)
            forget(strangers, i - 1);
}

/* libzmq sees the end of the connection and lets go of what it had for it. */
static void send_away(struct link_strangers *strangers, size_t at, const char *why) {
    const struct stranger *stranger = &strangers->strangers[at];
    if (cookie_of(stranger->fd) == stranger->cookie)
        shutdown(stranger->fd, SHUT_RDWR);
    if (strangers->sent_away++ == 0)
        log_warning("a connection that did not say who it is was ended, later ones silently: %s",
                    why);
    forget(strangers, at);
}

static int on_look(zloop_t *loop, int timer, void *context) {
    struct link_strangers *strangers = context;
    if (timer != strangers->timer)
        return 0;
    for (size_t i = strangers->count; i > 0; i--)
        if (bytes_from(strangers->strangers[i - 1].fd) > LINK_STRANGER_BYTES_MAX)
            send_away(strangers, i - 1, "it sent more than a handshake has");
    if (strangers->count == 0) {
        zloop_timer_end(loop, strangers->timer);
        strangers->timer = 0;
    }
    return 0;
}

static void add(struct link_strangers *strangers, int fd) {
    uint64_t cookie = cookie_of(fd);
    if (cookie == 0)
        return; /* it is gone again */
    forget_fd(strangers, fd);
    if (strangers->count == LINK_STRANGERS_MAX)
        send_away(strangers, 0, "there are too many of them");
    strangers->strangers[strangers->count++] = (struct stranger){.fd = fd, .cookie = cookie};
    if (strangers->timer == 0)
        strangers->timer = zloop_timer(strangers->loop, LOOK_MS, 0, on_look, strangers);
}

/* zmq_socket_monitor(3): a u16 event and a u32 value, which is a descriptor here, then the
 * address. */
static int on_event(zloop_t *loop, zsock_t *monitor, void *context) {
    (void)loop;
    struct link_strangers *strangers = context;
    void *socket = zsock_resolve(monitor);
    uint8_t frame[6];
    uint16_t event;
    int32_t fd;
    while (zmq_recv(socket, frame, sizeof frame, ZMQ_DONTWAIT) == sizeof frame) {
        memcpy(&event, frame, sizeof event);
        memcpy(&fd, frame + sizeof event, sizeof fd);
        zmq_recv(socket, frame, sizeof frame, ZMQ_DONTWAIT); /* cut off: it says nothing new */
        if (event == ZMQ_EVENT_ACCEPTED)
            add(strangers, fd);
        else
            forget_fd(strangers, fd);
    }
    return 0;
}

int link_strangers_create(zloop_t *loop, zsock_t *socket, struct link_strangers **ret,
                          struct error *err) {
    struct link_strangers *strangers = memory_alloc(sizeof *strangers);
    strangers->loop = loop;
    strangers->watched = zsock_resolve(socket);
    strangers->monitor = zsock_new(ZMQ_PAIR);
    char id[37], endpoint[64]; /* libzmq lets go of a name only some time after its socket */
    text_uuid4(id);
    snprintf(endpoint, sizeof endpoint, "inproc://%s", id);
    if (strangers->monitor == NULL ||
        zmq_socket_monitor(strangers->watched, endpoint,
                           ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) < 0 ||
        zmq_connect(zsock_resolve(strangers->monitor), endpoint) < 0 ||
        zloop_reader(loop, strangers->monitor, on_event, strangers) < 0) {
        error_set(err, ERROR_SYSTEM, "link: its connections cannot be watched: %s",
                  zmq_strerror(zmq_errno()));
        link_strangers_destroy(&strangers);
        return -1;
    }
    zloop_reader_set_tolerant(loop, strangers->monitor);
    *ret = strangers;
    return 0;
}

void link_strangers_destroy(struct link_strangers **place) {
    struct link_strangers *strangers = *place;
    *place = NULL;
    if (strangers == NULL)
        return;
    zmq_socket_monitor(strangers->watched, NULL, 0);
    if (strangers->timer != 0)
        zloop_timer_end(strangers->loop, strangers->timer);
    if (strangers->monitor != NULL)
        zloop_reader_end(strangers->loop, strangers->monitor);
    zsock_destroy(&strangers->monitor);
    free(strangers);
}

void link_strangers_heard(struct link_strangers *strangers, zmq_msg_t *message) {
    if (strangers->count > 0)
        forget_fd(strangers, zmq_msg_get(message, ZMQ_SRCFD));
}

size_t link_strangers_count(const struct link_strangers *strangers) {
    return strangers->count;
}
