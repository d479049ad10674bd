#include "wire.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 20, OPCODE_TEXT = 1, OPCODE_BINARY = 2, OPCODE_CLOSE = 8, OPCODE_PING = 9 };

void wire_fail(const char *what) {
    fprintf(stderr, "wire_client: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

int64_t wire_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void set_up(struct wire *wire, int fd, enum wire_format format) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *wire = (struct wire){.fd = fd, .format = format, .capacity = READ_SIZE * 2};
    wire->buffer = memory_alloc(wire->capacity);
}

static void write_all(int fd, struct iovec *parts, int count) {
    while (count > 0) {
        ssize_t put = writev(fd, parts, count);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            wire_fail("write");
        size_t left = (size_t)put;
        while (count > 0 && left >= parts->iov_len) {
            left -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + left;
            parts->iov_len -= left;
        }
    }
}

/* At least `need` unconsumed bytes. */
static void fill(struct wire *wire, size_t need) {
    if (wire->capacity - wire->start < need + READ_SIZE && wire->start > 0) {
        memmove(wire->buffer, wire->buffer + wire->start, wire->end - wire->start);
        wire->end -= wire->start;
        wire->start = 0;
    }
    if (wire->capacity < need + READ_SIZE) {
        wire->capacity = (need + READ_SIZE) * 2;
        wire->buffer = memory_resize(wire->buffer, wire->capacity);
    }
    while (wire->end - wire->start < need) {
        ssize_t got = read(wire->fd, wire->buffer + wire->end, wire->capacity - wire->end);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            wire_fail("the server closed the connection");
        wire->end += (size_t)got;
    }
}

static void shake_hands(struct wire *wire, const char *host, const char *port, const char *path) {
    char request[2048];
    int length = snprintf(
        request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: Mozilla/5.0 wire\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
        path, host, port,
        wire->format == WIRE_V1 ? "Sec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org\r\n"
                                : "");
    write_all(wire->fd, &(struct iovec){.iov_base = request, .iov_len = (size_t)length}, 1);
    for (size_t need = 16;; need = wire->end - wire->start + 1) {
        fill(wire, need);
        char *text = (char *)wire->buffer + wire->start;
        char *end = memmem(text, wire->end - wire->start, "\r\n\r\n", 4);
        if (end == NULL)
            continue;
        if (strncmp(text, "HTTP/1.1 101", 12) != 0)
            wire_fail("the server refused the upgrade");
        wire->start += (size_t)(end + 4 - text);
        return;
    }
}

int wire_dial(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        wire_fail(host);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) < 0)
        wire_fail("connect");
    freeaddrinfo(found);
    return fd;
}

struct wire *wire_connect(const char *host, const char *port, const char *path,
                          enum wire_format format) {
    struct wire *wire = memory_alloc(sizeof *wire);
    set_up(wire, wire_dial(host, port), format);
    shake_hands(wire, host, port, path);
    return wire;
}

void wire_pair(struct wire *client, struct wire *server) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0 ||
        connect(fd, (struct sockaddr *)&address, length) < 0)
        wire_fail("loopback pair");
    set_up(client, fd, WIRE_V1);
    set_up(server, accept(listener, NULL, NULL), WIRE_V1);
    close(listener);
}

void wire_close(struct wire *wire) {
    close(wire->fd);
    free(wire->buffer);
}

/* The mask is zero: legal, and saves the XOR on this side. */
size_t wire_write_head(uint8_t head[WIRE_HEAD_MAX], bool binary, size_t length) {
    memset(head, 0, WIRE_HEAD_MAX);
    head[0] = (uint8_t)(0x80 | (binary ? OPCODE_BINARY : OPCODE_TEXT));
    size_t size = 2;
    if (length < 126) {
        head[1] = (uint8_t)(0x80 | length);
    } else if (length < 65536) {
        head[1] = 0x80 | 126;
        uint16_t big = htobe16((uint16_t)length);
        memcpy(head + 2, &big, sizeof big);
        size = 4;
    } else {
        head[1] = 0x80 | 127;
        uint64_t big = htobe64(length);
        memcpy(head + 2, &big, sizeof big);
        size = 10;
    }
    return size + 4;
}

void wire_send(struct wire *wire, bool binary, const void *data, size_t length) {
    uint8_t head[WIRE_HEAD_MAX];
    size_t size = wire_write_head(head, binary, length);
    union {
        const void *given;
        void *wanted; /* writev does not write to it */
    } payload = {.given = data};
    struct iovec parts[] = {{.iov_base = head, .iov_len = size},
                            {.iov_base = payload.wanted, .iov_len = length}};
    write_all(wire->fd, parts, 2);
}

/* One frame; masked ones (from the pair's client side) have a zero mask. */
static const uint8_t *receive_frame(struct wire *wire, size_t *length, int *opcode, bool *last) {
    fill(wire, 2);
    const uint8_t *at = wire->buffer + wire->start;
    size_t head = 2;
    size_t size = at[1] & 127;
    head += size == 126 ? 2 : size == 127 ? 8 : 0;
    head += at[1] & 0x80 ? 4 : 0;
    fill(wire, head);
    at = wire->buffer + wire->start;
    if (size == 126) {
        size = (size_t)at[2] << 8 | at[3];
    } else if (size == 127) {
        uint64_t big;
        memcpy(&big, at + 2, sizeof big);
        size = be64toh(big);
    }
    fill(wire, head + size);
    at = wire->buffer + wire->start;
    *last = (at[0] & 0x80) != 0;
    *opcode = at[0] & 15;
    *length = size;
    wire->start += head + size;
    return at + head;
}

/* A whole message, or NULL for a control frame, which is dealt with. */
static const uint8_t *receive_step(struct wire *wire, size_t *length) {
    int opcode;
    bool last;
    const uint8_t *payload = receive_frame(wire, length, &opcode, &last);
    if (opcode == OPCODE_CLOSE)
        wire_fail("the server sent a close frame");
    if (!last)
        wire_fail("fragmented messages are not expected");
    if (opcode == OPCODE_PING) { /* pings of our servers are empty */
        uint8_t pong[] = {0x8A, 0x80, 0, 0, 0, 0};
        write_all(wire->fd, &(struct iovec){.iov_base = pong, .iov_len = sizeof pong}, 1);
    }
    return opcode == OPCODE_TEXT || opcode == OPCODE_BINARY ? payload : NULL;
}

const uint8_t *wire_receive(struct wire *wire, size_t *length) {
    const uint8_t *payload;
    while ((payload = receive_step(wire, length)) == NULL)
        ;
    return payload;
}

void wire_discard(struct wire *wire) {
    size_t length;
    do
        receive_step(wire, &length);
    while (wire->end > wire->start);
}
