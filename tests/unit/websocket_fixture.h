/* A WebSocket server whose paths say how it behaves, and a client that builds its frames by hand.
 * With TLS when the fixture has a certificate. */
#pragma once

#include "base/memory.h"
#include "gateway/websocket.h"
#include "http_fixture.h"

#include <endian.h>
#include <errno.h>
#include <openssl/ssl.h>

struct peer { /* the server's end of one connection */
    struct server *server;
    struct websocket *ws;
    char behaviour[32];
    char why[128];
};

static struct peer *last_peer; /* of the newest connection */
static char last_why[128];     /* what its closed() said */
static struct websocket_settings peer_settings;

static const char *const upgrade_lines = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                         "Sec-WebSocket-Version: 13\r\n"
                                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

struct client {
    int fd;
    SSL *ssl;
};

static inline struct client client_dial(const struct server *server, SSL_CTX *tls) {
    struct client client = {.fd = dial(server)};
    if (tls != NULL) {
        client.ssl = SSL_new(tls);
        SSL_set_fd(client.ssl, client.fd);
        if (SSL_connect(client.ssl) != 1)
            fail_msg("no TLS");
    }
    return client;
}

static inline void client_close(struct client *client) {
    SSL_free(client->ssl);
    close(client->fd);
}

static inline void client_say(struct client *client, const void *data, size_t length) {
    if (client->ssl == NULL)
        say_bytes(client->fd, data, length);
    else if (length > 0)
        SSL_write(client->ssl, data, (int)length);
}

/* Exactly so many bytes, or false when the connection ended before. */
static inline bool client_hear(struct client *client, void *data, size_t length) {
    for (size_t at = 0; at < length;) {
        errno = 0;
        ssize_t got = client->ssl ? SSL_read(client->ssl, (char *)data + at, (int)(length - at))
                                  : recv(client->fd, (char *)data + at, length - at, 0);
        if (got <= 0 && errno == EAGAIN)
            fail_msg("the server says nothing and does not end the connection");
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

static inline void client_upgrade(struct client *client, const char *path) {
    char text[1024] = "";
    int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n%s\r\n", path, upgrade_lines);
    client_say(client, text, (size_t)length);
    for (size_t at = 0; at < 4 || memcmp(text + at - 4, "\r\n\r\n", 4) != 0; at++)
        if (at == sizeof text - 1 || !client_hear(client, text + at, 1))
            fail_msg("no upgrade: %s", text);
    if (status_of(text) != 101)
        fail_msg("no upgrade: %s", text);
}

static inline struct client client_open(const struct server *server, SSL_CTX *tls,
                                        const char *path) {
    struct client client = client_dial(server, tls);
    client_upgrade(&client, path);
    return client;
}

/* A masked frame; first: fin, reserved bits and opcode. */
static inline size_t frame_write(uint8_t *out, unsigned first, const void *data, size_t length) {
    static const uint8_t mask[4] = {1, 2, 3, 4};
    size_t at = 2;
    out[0] = (uint8_t)first;
    if (length < 126) {
        out[1] = (uint8_t)(0x80 | length);
    } else if (length <= UINT16_MAX) {
        uint16_t big = htobe16((uint16_t)length);
        out[1] = 0x80 | 126;
        memcpy(out + 2, &big, 2);
        at += 2;
    } else {
        uint64_t big = htobe64(length);
        out[1] = 0x80 | 127;
        memcpy(out + 2, &big, 8);
        at += 8;
    }
    memcpy(out + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < length; i++)
        out[at + i] = ((const uint8_t *)data)[i] ^ mask[i % 4];
    return at + length;
}

static inline void send_frame(struct client *client, unsigned first, const void *data,
                              size_t length) {
    uint8_t *frame = malloc(length + 14);
    client_say(client, frame, frame_write(frame, first, data, length));
    free(frame);
}

static inline void send_text(struct client *client, const char *text) {
    send_frame(client, 0x81, text, strlen(text));
}

struct frame {
    unsigned first; /* 0: the connection ended */
    uint8_t *data;  /* malloc'ed, a NUL behind it */
    size_t length;
};

static inline struct frame hear_frame(struct client *client) {
    uint8_t head[2], more[8] = {0};
    struct frame frame = {0};
    if (!client_hear(client, head, 2))
        return frame;
    assert_false(head[1] & 0x80); /* a server does not mask */
    frame.length = head[1] & 0x7f;
    size_t size = frame.length == 126 ? 2 : frame.length == 127 ? 8 : 0;
    if (size > 0 && client_hear(client, more + 8 - size, size)) {
        uint64_t big;
        memcpy(&big, more, sizeof big);
        frame.length = be64toh(big);
    }
    frame.data = malloc(frame.length + 1);
    frame.data[frame.length] = '\0';
    if (client_hear(client, frame.data, frame.length))
        frame.first = head[0];
    return frame;
}

static inline void expect_frame(struct client *client, unsigned first, const char *text) {
    struct frame frame = hear_frame(client);
    if (frame.first != first || frame.length != strlen(text) ||
        memcmp(frame.data, text, frame.length) != 0)
        fail_msg("frame %#x \"%.200s\" is not %#x \"%s\"", frame.first, (char *)frame.data, first,
                 text);
    free(frame.data);
}

/* Frames up to the close frame are skipped; its code. 0: there was none. */
static inline unsigned hear_close(struct client *client) {
    for (;;) {
        struct frame frame = hear_frame(client);
        unsigned first = frame.first;
        unsigned code = frame.length >= 2 ? (unsigned)(frame.data[0] << 8 | frame.data[1]) : 1005;
        free(frame.data);
        if (first == 0x88)
            return code;
        if (first == 0)
            return 0;
    }
}

static inline void send_close(struct client *client, uint16_t code) {
    code = htobe16(code);
    send_frame(client, 0x88, &code, sizeof code);
}

static inline bool has_ended(struct client *client) {
    char byte;
    return !client_hear(client, &byte, 1);
}
