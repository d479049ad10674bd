#include "gateway/admin_websocket.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/admin_http_internal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>

enum {
    CONTINUED = 0,
    TEXT = 1,
    BINARY = 2,
    CLOSE = 8,
    PING = 9,
    PONG = 10,
    HEAD_MAX = 64 << 10,
    MESSAGE_MAX = 64 << 20,
    CHUNK = 16384,
    FRAME_HEAD_MAX = 14,
};

struct admin_websocket {
    CURL *curl; /* made the connection, TLS and all */
    struct buffer in;
    size_t used; /* of in */
};

static int64_t left_ms(int64_t deadline_ms) {
    int64_t left = deadline_ms - clock_monotonic_ms();
    return left > 0 ? left : 0;
}

static int wait_for(struct admin_websocket *ws, short events, int64_t deadline_ms,
                    struct error *err) {
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(ws->curl, CURLINFO_ACTIVESOCKET, &fd);
    if (fd == CURL_SOCKET_BAD)
        return error_set(err, ERROR_UNAVAILABLE, "the connection is gone");
    struct pollfd wanted = {.fd = fd, .events = events};
    int count = poll(&wanted, 1, (int)left_ms(deadline_ms));
    if (count < 0 && errno != EINTR)
        return error_system(err, errno, "poll");
    return count > 0 || left_ms(deadline_ms) > 0
               ? 0
               : error_set(err, ERROR_TIMEOUT, "nothing came in time");
}

static int send_all(struct admin_websocket *ws, const void *data, size_t length,
                    int64_t deadline_ms, struct error *err) {
    const char *at = data;
    while (length > 0) {
        size_t sent = 0;
        CURLcode code = curl_easy_send(ws->curl, at, length, &sent);
        at += sent;
        length -= sent;
        if (code == CURLE_AGAIN) {
            if (wait_for(ws, POLLOUT, deadline_ms, err) < 0)
                return -1;
        } else if (code != CURLE_OK) {
            return error_set(err, ERROR_UNAVAILABLE, "sending: %s", curl_easy_strerror(code));
        }
    }
    return 0;
}

/* Adds what comes next to `in`. */
static int fill(struct admin_websocket *ws, int64_t deadline_ms, struct error *err) {
    char chunk[CHUNK];
    for (;;) {
        size_t got = 0;
        CURLcode code = curl_easy_recv(ws->curl, chunk, sizeof chunk, &got);
        if (code == CURLE_OK && got > 0)
            return buffer_append(&ws->in, chunk, got) == 0
                       ? 0
                       : error_set(err, ERROR_LIMIT, "the gateway sends too large a message");
        if (code == CURLE_OK)
            return error_set(err, ERROR_UNAVAILABLE, "the gateway closed the connection");
        if (code != CURLE_AGAIN)
            return error_set(err, ERROR_UNAVAILABLE, "receiving: %s", curl_easy_strerror(code));
        if (wait_for(ws, POLLIN, deadline_ms, err) < 0)
            return -1;
    }
}

static void drop_used(struct admin_websocket *ws) {
    memmove(ws->in.data, ws->in.data + ws->used, ws->in.length - ws->used);
    ws->in.length -= ws->used;
    ws->used = 0;
}

/* "GET /base/api/... HTTP/1.1" with the headers of an upgrade. */
static char *make_request(const struct admin_gateway *gateway, const char *path) {
    uint8_t random[16];
    char key[25];
    randombytes_buf(random, sizeof random);
    EVP_EncodeBlock((uint8_t *)key, random, sizeof random);
    const char *base = gateway->settings.url;
    const char *host = strstr(base, "://") != NULL ? strstr(base, "://") + 3 : base;
    size_t length = strcspn(host, "/?#");
    const char *at = memchr(host, '@', length); /* user:password@ is no part of Host */
    const char *name = at != NULL ? at + 1 : host;
    const char *root = host[length] == '/' ? host + length : "/";
    const char *token = gateway->settings.token != NULL ? gateway->settings.token : "";
    return memory_printf("GET %s%s%s HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: %s\r\nUser-Agent: elara/" ELARA_VERSION "\r\n%s%s%s"
                         "\r\n",
                         root, text_ends_with(root, "/") ? "" : "/", path,
                         (int)(length - (size_t)(name - host)), name, key,
                         *token != '\0' ? "Authorization: token " : "", token,
                         *token != '\0' ? "\r\n" : "");
}

static int upgrade(struct admin_websocket *ws, const struct admin_gateway *gateway,
                   const char *path, int64_t deadline_ms, struct error *err) {
    cleanup_free char *request = make_request(gateway, path);
    if (send_all(ws, request, strlen(request), deadline_ms, err) < 0)
        return -1;
    const char *end;
    while ((end = strstr(buffer_text(&ws->in), "\r\n\r\n")) == NULL) {
        if (ws->in.length > HEAD_MAX)
            return error_set(err, ERROR_SYSTEM, "the answer to the upgrade is no HTTP");
        if (fill(ws, deadline_ms, err) < 0)
            return -1;
    }
    const char *head = buffer_text(&ws->in);
    if (!text_starts_with(head, "HTTP/1.1 101"))
        return error_set(err, ERROR_DENIED, "the answer to the upgrade is \"%.*s\", not 101",
                         (int)strcspn(head, "\r"), head);
    ws->used = (size_t)(end - head) + 4;
    drop_used(ws);
    return 0;
}

int admin_websocket_open(struct admin_gateway *gateway, const char *path, int64_t deadline_ms,
                         struct admin_websocket **ret, struct error *err) {
    struct admin_websocket *ws = memory_alloc(sizeof *ws);
    ws->in.limit = MESSAGE_MAX;
    ws->curl = curl_easy_init();
    CURLcode code = CURLE_FAILED_INIT;
    if (ws->curl != NULL && sodium_init() >= 0) {
        admin_gateway_configure(gateway, ws->curl);
        curl_easy_setopt(ws->curl, CURLOPT_URL, gateway->settings.url);
        curl_easy_setopt(ws->curl, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(ws->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(ws->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)left_ms(deadline_ms));
        code = curl_easy_perform(ws->curl);
    }
    int failed = code == CURLE_OK ? upgrade(ws, gateway, path, deadline_ms, err)
                                  : error_set(err, ERROR_UNAVAILABLE, "%s: %s",
                                              gateway->settings.url, curl_easy_strerror(code));
    if (failed < 0)
        admin_websocket_destroy(ws);
    else
        *ret = ws;
    return failed;
}

void admin_websocket_destroy(struct admin_websocket *ws) {
    if (ws == NULL)
        return;
    curl_easy_cleanup(ws->curl);
    buffer_free(&ws->in);
    free(ws);
}

static int send_frame(struct admin_websocket *ws, int opcode, const void *data, size_t length,
                      int64_t deadline_ms, struct error *err) {
    uint8_t head[FRAME_HEAD_MAX] = {(uint8_t)(0x80 | opcode)};
    size_t used = 2;
    uint8_t mask[4];
    randombytes_buf(mask, sizeof mask);
    int width = length < 126 ? 0 : length <= 0xffff ? 2 : 8;
    head[1] = (uint8_t)(0x80 | (width == 0 ? length : width == 2 ? 126 : 127));
    for (int i = width - 1; i >= 0; i--)
        head[used++] = (uint8_t)(length >> (8 * i));
    memcpy(head + used, mask, sizeof mask);
    used += sizeof mask;
    cleanup_free uint8_t *frame = memory_alloc(used + length);
    memcpy(frame, head, used);
    for (size_t i = 0; i < length; i++)
        frame[used + i] = ((const uint8_t *)data)[i] ^ mask[i % 4];
    return send_all(ws, frame, used + length, deadline_ms, err);
}

int admin_websocket_send(struct admin_websocket *ws, const char *text, size_t length,
                         int64_t deadline_ms, struct error *err) {
    return send_frame(ws, TEXT, text, length, deadline_ms, err);
}

struct frame {
    int opcode;
    bool is_last;
    const uint8_t *data; /* until the next fill */
    size_t length;
};

/* Fills until `length` unread bytes are there. */
static int need(struct admin_websocket *ws, size_t length, int64_t deadline_ms, struct error *err) {
    while (ws->in.length - ws->used < length)
        if (fill(ws, deadline_ms, err) < 0)
            return -1;
    return 0;
}

static int next_frame(struct admin_websocket *ws, int64_t deadline_ms, struct frame *ret,
                      struct error *err) {
    drop_used(ws);
    if (need(ws, 2, deadline_ms, err) < 0)
        return -1;
    uint8_t first = ws->in.data[0], second = ws->in.data[1];
    size_t width = (second & 0x7f) == 126 ? 2 : (second & 0x7f) == 127 ? 8 : 0;
    uint64_t length = second & 0x7f;
    if ((second & 0x80) != 0 || (first & 0x70) != 0)
        return error_set(err, ERROR_SYSTEM, "the gateway sends no proper WebSocket frames");
    if (need(ws, 2 + width, deadline_ms, err) < 0)
        return -1;
    for (size_t i = 0; i < width; i++)
        length = (i == 0 ? 0 : length << 8) | ws->in.data[2 + i];
    if (length > MESSAGE_MAX)
        return error_set(err, ERROR_LIMIT, "the gateway sends too large a message");
    if (need(ws, 2 + width + (size_t)length, deadline_ms, err) < 0)
        return -1;
    *ret = (struct frame){.opcode = first & 0x0f,
                          .is_last = (first & 0x80) != 0,
                          .data = ws->in.data + 2 + width,
                          .length = (size_t)length};
    ws->used = 2 + width + (size_t)length;
    return 0;
}

int admin_websocket_receive(struct admin_websocket *ws, int64_t deadline_ms, struct buffer *ret,
                            struct error *err) {
    struct frame frame = {0};
    buffer_clear(ret);
    for (;;) {
        if (next_frame(ws, deadline_ms, &frame, err) < 0)
            return -1;
        if (frame.opcode == CLOSE)
            return error_set(err, ERROR_UNAVAILABLE,
                             "the gateway closed the WebSocket with %d %.*s",
                             frame.length >= 2 ? frame.data[0] << 8 | frame.data[1] : 1005,
                             frame.length > 2 ? (int)frame.length - 2 : 0,
                             frame.length > 2 ? (const char *)frame.data + 2 : "");
        if (frame.opcode == PING &&
            send_frame(ws, PONG, frame.data, frame.length, deadline_ms, err) < 0)
            return -1;
        if (frame.opcode != CONTINUED && frame.opcode != TEXT && frame.opcode != BINARY)
            continue;
        if (buffer_append(ret, frame.data, frame.length) < 0)
            return error_set(err, ERROR_LIMIT, "the gateway sends too large a message");
        if (frame.is_last)
            return 0;
    }
}
