/* What a session missed, when it comes back: a client is away while another one's cell prints. */
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PACKED_WRITE = 64 << 10 };

static void be_known(char **argv) {
    struct wire *wire = wire_connect(argv[0], argv[1], argv[2], WIRE_V1);
    wire_time_kernel_info(wire);
    wire_close(wire);
}

static void print_unseen(char **argv, long count, size_t bytes) {
    struct wire *wire = wire_connect(argv[0], argv[1], argv[3], WIRE_V1);
    wire_flood(wire, count, bytes);
    wire_close(wire);
}

/* From the connection's start to the cell's idle. */
static struct wire_flood come_back(char **argv, long count) {
    struct wire_flood found = {0};
    bool is_idle = false;
    int64_t start = wire_now_ns();
    struct wire *wire = wire_connect(argv[0], argv[1], argv[2], WIRE_V1);
    while (!is_idle) {
        size_t length;
        const uint8_t *message = wire_receive(wire, &length);
        if (!wire_flood_note(&found, message, length))
            wire_is_cell_status(wire, message, length, &is_idle);
    }
    found.seconds = (double)(wire_now_ns() - start) / 1e9;
    found.missing += count - found.next;
    wire_close(wire);
    return found;
}

int bench_replay(int argc, char **argv) {
    if (argc < 7)
        wire_fail("replay HOST PORT PATH OTHER_PATH MESSAGES BYTES REST_MS");
    long count = atol(argv[4]), rest_ms = atol(argv[6]);
    size_t bytes = (size_t)atol(argv[5]);
    be_known(argv);
    print_unseen(argv, count, bytes);
    nanosleep(&(struct timespec){rest_ms / 1000, rest_ms % 1000 * 1000000}, NULL);
    struct wire_flood found = come_back(argv, count);
    if (found.messages == 0)
        wire_fail("nothing came back");
    size_t size = found.bytes / (size_t)found.messages;
    double raw = wire_raw_seconds(count, size, 0);
    double packed = wire_raw_seconds(count, size, PACKED_WRITE);
    printf("{\"messages\": %ld, \"missing\": %ld, \"repeated\": %ld, \"seconds\": %.4f, "
           "\"mb\": %.1f, \"mb_per_s\": %.1f, \"raw_mb_per_s\": %.1f, \"packed_mb_per_s\": %.1f}\n",
           found.messages, found.missing, found.repeated, found.seconds, (double)found.bytes / 1e6,
           (double)found.bytes / found.seconds / 1e6, (double)found.bytes / raw / 1e6,
           (double)found.bytes / packed / 1e6);
    return 0;
}
