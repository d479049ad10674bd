/* kernel_info through the gateway against its floor: a WebSocket echo plus a direct DEALER/ROUTER
 * round trip to the same kernel, interleaved run by run, so that a slow moment of the machine hits
 * all three. */
#include "wire.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- the bench ---- */

int bench_latency(int argc, char **argv) {
    if (argc < 4)
        wire_fail("latency HOST PORT PATH ROUNDS [CONNECTION_FILE]");
    size_t rounds = (size_t)atoi(argv[3]);
    bool with_floor = argc > 4;
    struct wire *gateway = wire_connect(argv[0], argv[1], argv[2], WIRE_V1);
    struct wire client, server;
    pthread_t thread;
    struct wire_direct *direct = NULL;
    if (with_floor) {
        wire_pair(&client, &server);
        pthread_create(&thread, NULL, echo, &server);
        direct = wire_direct_open(argv[4]);
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
            samples[i] = wire_direct_time_kernel_info(direct);
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
