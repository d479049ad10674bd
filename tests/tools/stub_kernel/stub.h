/* A Jupyter kernel for tests and benches: fast, and wrong on demand (Jupyter documentation,
 * "Messaging in Jupyter").
 *
 *     stub_kernel -f CONNECTION_FILE [options]
 *
 * The code of an execute_request is lines of "command arguments"; see `commands` in commands.c. One
 * thread, like most real kernels: while a command runs the shell waits, control and heartbeat are
 * served in between. */
#pragma once

#include "base/cleanup.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { SHELL, CONTROL, STDIN, IOPUB, HEARTBEAT, SOCKET_COUNT };
enum { IDENTS_MAX = 4, IDENT_SIZE = 256, PARTS_MAX = 64, HEX_SIZE = 65 };

#define DELIMITER "<IDS|MSG>"

struct part {
    const void *data;
    size_t length;
};

/* What a message from a client was: enough to answer it. */
struct request {
    int channel;
    size_t ident_count;
    size_t ident_length[IDENTS_MAX];
    uint8_t ident[IDENTS_MAX][IDENT_SIZE];
    char *header; /* its bytes, echoed as parent_header */
    size_t header_length;
    char type[64];
    json_t *content;
    zmq_msg_t parts[PARTS_MAX]; /* all frames; buffers stand behind `first_buffer` */
    size_t part_count;
    size_t first_buffer;
};

struct stub {
    void *context;
    void *sockets[SOCKET_COUNT];
    int signals;
    EVP_MAC_CTX *mac; /* NULL: the key is empty, nothing is signed */
    char session[33];
    uint64_t message_count;
    time_t second; /* the one that second_text shows */
    char second_text[32];
    int execution_count;
    bool was_interrupted;
    long mute_requests;           /* this and the next ones: nothing of theirs goes out on iopub */
    const char *broken_signature; /* used instead of the true one, for one message */
    const char *broken_reply;     /* content of the running request's reply; NULL: a good one */
    struct request *running;
    struct {
        bool no_reply, xpub, ignore_sigint, ignore_sigterm, ignore_shutdown;
        long start_delay_ms;
        int iopub_hwm;
        const char *crash_text, *connection_file;
        const char *start_file; /* it starts when there is one */
    } options;
};

/* wire.c */
void stub_fail(const char *what);
void stub_send_part(void *socket, const void *data, size_t length, bool more);
void stub_send(struct stub *stub, int channel, const struct request *parent, const char *type,
               struct part content, const struct part *buffers, size_t buffer_count);
void stub_send_text(struct stub *stub, int channel, const struct request *parent, const char *type,
                    const char *content);
void stub_send_json(struct stub *stub, int channel, const struct request *parent, const char *type,
                    json_t *content);
void stub_send_status(struct stub *stub, const struct request *parent, const char *state);
void stub_request_free(struct request *request);
bool stub_receive(struct stub *stub, int channel, struct request *request);

/* serve.c */
bool stub_serve_channel(struct stub *stub, int channel);
void stub_serve_heartbeat(struct stub *stub);
void stub_serve_subscriptions(struct stub *stub);
void stub_serve_signals(struct stub *stub);
bool stub_wait(struct stub *stub, int64_t ms, bool for_stdin, struct request *input);

/* commands.c */
void stub_execute(struct stub *stub, struct request *request);
