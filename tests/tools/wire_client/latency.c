/* kernel_info through the gateway against its floor: a WebSocket echo plus a direct DEALER/ROUTER round trip to the same kernel,
 * interleaved run by run, so that a slow moment of the machine hits all three. */
#include "wire.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { RUNS = 9, ECHO_BYTES = 400, WARM_UP = 50 };

static int compare(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

double wire_percentile_us(int64_t *samples, size_t count, unsigned percent) {
    qsort(samples, count, sizeof *samples, compare);
    size_t place = (count - 1) * percent / 100;
    return (double)samples[place] / 1000;
}

static double median_us(int64_t *samples, size_t count) {
    return wire_percentile_us(samples, count, 50);
}

/* ---- the three round trips ---- */

int64_t wire_time_kernel_info(struct wire *wire) {
    size_t length;
    const uint8_t *message;
    int64_t start = wire_now_ns();
    int64_t end = 0;
    bool idle = false;
    wire_request(wire, "kernel_info_request", "{}");
    while (end == 0 || !idle) { /* reply and idle come in any order */
        message = wire_receive(wire, &length);
        if (wire_is_type(wire, message, length, "kernel_info_reply"))
            end = wire_now_ns();
        else if (memmem(message, length, "idle", 4) != NULL)
            idle = true;
    }
    return end - start;
}

static void *echo(void *context) {
    struct wire *server = context;
    for (;;) {
        size_t length;
        const uint8_t *message = wire_receive(server, &length);
        wire_send(server, true, message, length);
        if (length == 1)
            return NULL;
    }
}

static int64_t time_echo(struct wire *client) {
    uint8_t message[ECHO_BYTES] = {0};
    size_t length;
    int64_t start = wire_now_ns();
    wire_send(client, true, message, sizeof message);
    wire_receive(client, &length);
    return wire_now_ns() - start;
}

struct direct {
    void *context, *socket;
    char *key;
    char *endpoint;
};

static void direct_open(struct direct *direct, const char *connection_file) {
    struct error err;
    cleanup_json json_t *file = NULL;
    if (file_read_json(connection_file, 65536, &file, &err) < 0) {
        fprintf(stderr, "wire_client: %s\n", err.text);
        exit(1);
    }
    char endpoint[256];
    snprintf(endpoint, sizeof endpoint, "tcp://%s:%d",
             json_string_value(json_object_get(file, "ip")),
             (int)json_integer_value(json_object_get(file, "shell_port")));
    direct->key = strdup(json_string_value(json_object_get(file, "key")));
    direct->context = zmq_ctx_new();
    direct->socket = zmq_socket(direct->context, ZMQ_DEALER);
    zmq_setsockopt(direct->socket, ZMQ_LINGER, &(int){0}, sizeof(int));
    if (zmq_connect(direct->socket, endpoint) < 0)
        wire_fail(endpoint);
}

static int64_t time_direct(const struct direct *direct) {
    char id[37], header[512], hex[65];
    text_uuid4(id);
    snprintf(header, sizeof header,
             "{\"msg_id\":\"%s\",\"session\":\"direct\",\"username\":\"wire\","
             "\"date\":\"2026-01-01T00:00:00.000000Z\",\"msg_type\":\"kernel_info_request\","
             "\"version\":\"5.3\"}",
             id);
    char signed_text[600];
    int length = snprintf(signed_text, sizeof signed_text, "%s{}{}{}", header);
    int64_t start = wire_now_ns();
    uint8_t digest[32];
    unsigned size = sizeof digest;
    HMAC(EVP_sha256(), direct->key, (int)strlen(direct->key), (const uint8_t *)signed_text,
         (size_t)length, digest, &size);
    text_hex(digest, sizeof digest, hex);
    const char *frames[] = {"<IDS|MSG>", hex, header, "{}", "{}", "{}"};
    for (int i = 0; i < 6; i++)
        zmq_send(direct->socket, frames[i], strlen(frames[i]), i < 5 ? ZMQ_SNDMORE : 0);
    int more = 1;
    size_t more_size = sizeof more;
    while (more) {
        char part[4096];
        if (zmq_recv(direct->socket, part, sizeof part, 0) < 0)
            wire_fail("direct round trip");
        zmq_getsockopt(direct->socket, ZMQ_RCVMORE, &more, &more_size);
    }
    return wire_now_ns() - start;
}

/* ---- the bench ---- */

int bench_latency(int argc, char **argv) {
    if (argc < 4)
        wire_fail("latency HOST PORT PATH ROUNDS [CONNECTION_FILE]");
    size_t rounds = (size_t)atoi(argv[3]);
    bool with_floor = argc > 4;
    struct wire *gateway = wire_connect(argv[0], argv[1], argv[2], WIRE_V1);
    struct wire client, server;
    pthread_t thread;
    struct direct direct = {0};
    if (with_floor) {
        wire_pair(&client, &server);
        pthread_create(&thread, NULL, echo, &server);
        direct_open(&direct, argv[4]);
    }
    double gateway_us[RUNS], floor_us[RUNS], ratio[RUNS];
    int64_t *samples = calloc(rounds, sizeof *samples);
    for (int i = 0; i < WARM_UP; i++)
        wire_time_kernel_info(gateway);
    for (int run = 0; run < RUNS; run++) {
        for (size_t i = 0; i < rounds; i++)
            samples[i] = wire_time_kernel_info(gateway);
        gateway_us[run] = median_us(samples, rounds);
        floor_us[run] = ratio[run] = 0;
        if (!with_floor)
            continue;
        for (size_t i = 0; i < rounds; i++)
            samples[i] = time_echo(&client);
        floor_us[run] = median_us(samples, rounds);
        for (size_t i = 0; i < rounds; i++)
            samples[i] = time_direct(&direct);
        floor_us[run] += median_us(samples, rounds);
        ratio[run] = gateway_us[run] / floor_us[run];
    }
    int64_t sorted[3][RUNS];
    for (int run = 0; run < RUNS; run++) {
        sorted[0][run] = (int64_t)(gateway_us[run] * 1000);
        sorted[1][run] = (int64_t)(floor_us[run] * 1000);
        sorted[2][run] = (int64_t)(ratio[run] * 1000000);
    }
    double us = median_us(sorted[0], RUNS), floor = median_us(sorted[1], RUNS);
    double middle =
        median_us(sorted[2], RUNS) / 1000; /* sorts them: the first and the last are the extremes */
    printf("{\"runs\": %d, \"gateway_us\": %.1f, \"floor_us\": %.1f, \"ratio\": %.3f, "
           "\"ratio_min\": %.3f, \"ratio_max\": %.3f}\n",
           RUNS, us, floor, middle, (double)sorted[2][0] / 1e6, (double)sorted[2][RUNS - 1] / 1e6);
    return 0;
}
