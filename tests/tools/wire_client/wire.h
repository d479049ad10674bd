/* A WebSocket client for the benches that costs next to nothing itself: blocking sockets, one
 * thread.
 *
 *     wire_client latency HOST PORT PATH ROUNDS [CONNECTION_FILE]
 *     wire_client flood   HOST PORT PATH MESSAGES BYTES FORMAT [CONNECTION_FILE]
 *     wire_client start   HOST PORT KERNELSPEC
 *     wire_client replay  HOST PORT PATH OTHER_PATH MESSAGES BYTES REST_MS
 *     wire_client stuck   HOST PORT PATH MESSAGES BYTES
 *     wire_client refused HOST PORT PATH ROUNDS RATE
 *     wire_client crowd   HOST PORT [LONE_PORT LONE_PATH]
 *
 * FORMAT is v1 or legacy. Each prints one JSON object, crowd and stuck one for each line that they
 * are told. The kernel behind PATH is a stub_kernel, as is that of CONNECTION_FILE. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_format { WIRE_LEGACY, WIRE_V1 };

struct wire {
    int fd;
    enum wire_format format;
    uint8_t *buffer; /* what was read: [start, end) is not yet consumed */
    size_t start, end, capacity;
};

/* websocket.c: everything ends the program with a message when it fails. */
int wire_dial(const char *host, const char *port);
struct wire *wire_connect(const char *host, const char *port, const char *path,
                          enum wire_format format);
/* Both ends over one socket pair of TCP on loopback, without HTTP: the baseline. */
void wire_pair(struct wire *client, struct wire *server);
void wire_close(struct wire *wire);
void wire_send(struct wire *wire, bool binary, const void *data, size_t length);
enum { WIRE_HEAD_MAX = 14 };
/* The head of a frame with a zero mask; returns its size. */
size_t wire_write_head(uint8_t head[WIRE_HEAD_MAX], bool binary, size_t length);
/* A whole message; the bytes are valid until the next call. Answers pings. */
const uint8_t *wire_receive(struct wire *wire, size_t *length);
/* Takes what has come, of no interest. Answers pings. */
void wire_discard(struct wire *wire);

/* jupyter.c */
/* Sends a request of the type with the content, in the connection's format. */
void wire_request(struct wire *wire, const char *type, const char *content);
/* True when the message, in the connection's format, is of the type. */
bool wire_is_type(const struct wire *wire, const uint8_t *message, size_t length, const char *type);
/* A stream message, or the reply that ends the cell. */
bool wire_is_stream(const struct wire *wire, const uint8_t *message, size_t length);

/* latency.c */
/* kernel_info up to the reply, in ns; returns when the kernel is idle. */
int64_t wire_time_kernel_info(struct wire *wire);
double wire_percentile_us(int64_t *samples_ns, size_t count, unsigned percent); /* sorts them */

/* raw.c */
/* As many messages of the size over a bare WebSocket on loopback: the floor of everything that goes
 * one way. Each is written alone, or as many at once as write_size takes. */
double wire_raw_seconds(long count, size_t bytes, size_t write_size);

/* flood.c */
struct wire_flood {
    long messages, missing, repeated; /* numbered outputs */
    long next;                        /* the number that should come now */
    size_t bytes;
    double seconds;
};
void wire_flood_content(char *content, size_t size, long count, size_t bytes);
/* A cell of the stub kernel with `count` numbered outputs, up to its reply and idle. */
struct wire_flood wire_flood(struct wire *wire, long count, size_t bytes);

/* -1 when it is none of a flood's outputs. */
long wire_output_number(const uint8_t *message, size_t length);
/* Counts one of its outputs; false when it is none. */
bool wire_flood_note(struct wire_flood *found, const uint8_t *message, size_t length);
/* A status of a cell; false when it is none. */
bool wire_is_cell_status(const struct wire *wire, const uint8_t *message, size_t length,
                         bool *is_idle);

/* direct.c: a client at the kernel itself, which signs and checks as every Jupyter client has
 * to. */
struct wire_direct;
struct wire_direct *wire_direct_open(const char *connection_file);
int64_t wire_direct_time_kernel_info(const struct wire_direct *direct);
/* The same cell as wire_flood; the seconds from the request to its last output. */
double wire_direct_flood(struct wire_direct *direct, long count, size_t bytes);

/* Each bench takes the words behind its own. */
int bench_latency(int argc, char **argv);
int bench_flood(int argc, char **argv);
int bench_start(int argc, char **argv);
int bench_replay(int argc, char **argv);
int bench_stuck(int argc, char **argv);
int bench_crowd(int argc, char **argv);
int bench_refused(int argc, char **argv);

int64_t wire_now_ns(void);
void wire_fail(const char *what) __attribute__((noreturn));
