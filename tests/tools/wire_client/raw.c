/* A bare WebSocket on loopback. */
#include "wire.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct raw {
    int fd;
    long count;
    size_t bytes, write_size;
};

static void write_frames(int fd, const uint8_t *data, size_t length) {
    while (length > 0) {
        ssize_t put = write(fd, data, length);
        if (put < 0)
            wire_fail("write");
        data += put;
        length -= (size_t)put;
    }
}

static void *send_raw(void *context) {
    const struct raw *raw = context;
    uint8_t head[WIRE_HEAD_MAX];
    size_t head_size = wire_write_head(head, true, raw->bytes), size = head_size + raw->bytes;
    long at_once = raw->write_size > size ? (long)(raw->write_size / size) : 1;
    uint8_t *frames = memory_alloc((size_t)at_once * size);
    for (long i = 0; i < at_once; i++)
        memcpy(frames + (size_t)i * size, head, head_size);
    for (long left = raw->count; left > 0; left -= at_once)
        write_frames(raw->fd, frames, (size_t)(left < at_once ? left : at_once) * size);
    free(frames);
    return NULL;
}

double wire_raw_seconds(long count, size_t bytes, size_t write_size) {
    struct wire client, server;
    pthread_t thread;
    size_t length;
    wire_pair(&client, &server);
    struct raw raw = {.fd = server.fd, .count = count, .bytes = bytes, .write_size = write_size};
    int64_t start = wire_now_ns();
    pthread_create(&thread, NULL, send_raw, &raw);
    for (long i = 0; i < count; i++)
        wire_receive(&client, &length);
    int64_t end = wire_now_ns();
    pthread_join(thread, NULL);
    wire_close(&client);
    wire_close(&server);
    return (double)(end - start) / 1e9;
}
