/* OpenSSL 3.0 calls the HMAC_* functions deprecated: they work with every version. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "wire.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum {
    HEX_SIZE = 65,
    PARTS_MAX = 16,
    JSON_PARTS = 4,
    DELIMITER_SIZE = 9,
    SUBSCRIBE_WAIT_MS = 50,
};

static const char delimiter[] = "<IDS|MSG>";

struct wire_direct {
    void *shell, *iopub;
    char *key;
};

/* Of one message: valid until the next. */
struct direct_message {
    zmq_msg_t parts[PARTS_MAX];
    int count;
};

static void *connect_to(void *context, int type, json_t *file, const char *port) {
    char endpoint[256];
    void *socket = zmq_socket(context, type);
    zmq_setsockopt(socket, ZMQ_LINGER, &(int){0}, sizeof(int));
    zmq_setsockopt(socket, ZMQ_RCVHWM, &(int){0}, sizeof(int));
    snprintf(endpoint, sizeof endpoint, "tcp://%s:%d",
             json_string_value(json_object_get(file, "ip")),
             (int)json_integer_value(json_object_get(file, port)));
    if (zmq_connect(socket, endpoint) < 0)
        wire_fail(endpoint);
    return socket;
}

struct wire_direct *wire_direct_open(const char *connection_file) {
    struct error err;
    cleanup_json json_t *file = NULL;
    if (file_read_json(connection_file, 65536, &file, &err) < 0) {
        fprintf(stderr, "wire_client: %s\n", err.text);
        exit(1);
    }
    struct wire_direct *direct = memory_alloc(sizeof *direct);
    void *context = zmq_ctx_new();
    direct->key = memory_strdup(json_string_value(json_object_get(file, "key")));
    direct->shell = connect_to(context, ZMQ_DEALER, file, "shell_port");
    direct->iopub = connect_to(context, ZMQ_SUB, file, "iopub_port");
    return direct;
}

static void sign(const struct wire_direct *direct, const void *data, size_t length,
                 char hex[HEX_SIZE]) {
    uint8_t digest[32];
    unsigned size = sizeof digest;
    HMAC(EVP_sha256(), direct->key, (int)strlen(direct->key), data, length, digest, &size);
    text_hex(digest, sizeof digest, hex);
}

/* Returns when it was sent. */
static int64_t request(const struct wire_direct *direct, const char *type, const char *content) {
    char id[37], header[512], hex[HEX_SIZE], text[1024];
    text_uuid4(id);
    snprintf(header, sizeof header,
             "{\"msg_id\":\"%s\",\"session\":\"direct\",\"username\":\"wire\","
             "\"date\":\"2026-01-01T00:00:00.000000Z\",\"msg_type\":\"%s\",\"version\":\"5.3\"}",
             id, type);
    int length = snprintf(text, sizeof text, "%s{}{}%s", header, content);
    int64_t start = wire_now_ns();
    sign(direct, text, (size_t)length, hex);
    const char *frames[] = {delimiter, hex, header, "{}", "{}", content};
    for (int i = 0; i < 6; i++)
        zmq_send(direct->shell, frames[i], strlen(frames[i]), i < 5 ? ZMQ_SNDMORE : 0);
    return start;
}

static void receive(void *socket, struct direct_message *message) {
    message->count = 0;
    bool more = true;
    while (more) {
        zmq_msg_t *part = &message->parts[message->count++];
        if (message->count > PARTS_MAX)
            wire_fail("a message of the kernel has too many parts");
        zmq_msg_init(part);
        if (zmq_msg_recv(part, socket, 0) < 0)
            wire_fail("a message of the kernel");
        more = zmq_msg_more(part);
    }
}

static void drop(struct direct_message *message) {
    for (int i = 0; i < message->count; i++)
        zmq_msg_close(&message->parts[i]);
}

/* The index of the header, behind the delimiter and the signature, which is checked. */
static int check(const struct wire_direct *direct, struct direct_message *message) {
    int at = 0;
    while (at < message->count &&
           (zmq_msg_size(&message->parts[at]) != DELIMITER_SIZE ||
            memcmp(zmq_msg_data(&message->parts[at]), delimiter, DELIMITER_SIZE) != 0))
        at++;
    if (at + 2 + JSON_PARTS > message->count)
        wire_fail("a message of the kernel is malformed");
    HMAC_CTX *mac = HMAC_CTX_new();
    uint8_t digest[32];
    unsigned size = sizeof digest;
    char hex[HEX_SIZE];
    HMAC_Init_ex(mac, direct->key, (int)strlen(direct->key), EVP_sha256(), NULL);
    for (int i = at + 2; i < at + 2 + JSON_PARTS; i++)
        HMAC_Update(mac, zmq_msg_data(&message->parts[i]), zmq_msg_size(&message->parts[i]));
    HMAC_Final(mac, digest, &size);
    HMAC_CTX_free(mac);
    text_hex(digest, sizeof digest, hex);
    if (memcmp(zmq_msg_data(&message->parts[at + 1]), hex, HEX_SIZE - 1) != 0)
        wire_fail("a message of the kernel has a wrong signature");
    return at + 2;
}

int64_t wire_direct_time_kernel_info(const struct wire_direct *direct) {
    struct direct_message reply;
    int64_t start = request(direct, "kernel_info_request", "{}");
    receive(direct->shell, &reply);
    int64_t end = wire_now_ns();
    drop(&reply);
    return end - start;
}

/* A subscription takes a moment: until something is heard, the kernel is asked for what makes it
 * speak. */
static void wait_for_iopub(const struct wire_direct *direct) {
    zmq_pollitem_t item = {.socket = direct->iopub, .events = ZMQ_POLLIN};
    zmq_setsockopt(direct->iopub, ZMQ_SUBSCRIBE, "", 0);
    do
        wire_direct_time_kernel_info(direct);
    while (zmq_poll(&item, 1, SUBSCRIBE_WAIT_MS) == 0);
}

double wire_direct_flood(struct wire_direct *direct, long count, size_t bytes) {
    char content[256];
    wire_flood_content(content, sizeof content, count, bytes);
    wait_for_iopub(direct);
    int64_t start = request(direct, "execute_request", content);
    for (long streams = 0; streams < count;) {
        struct direct_message message;
        receive(direct->iopub, &message);
        zmq_msg_t *header = &message.parts[check(direct, &message)];
        streams += wire_is_type(NULL, zmq_msg_data(header), zmq_msg_size(header), "stream");
        drop(&message);
    }
    return (double)(wire_now_ns() - start) / 1e9;
}
