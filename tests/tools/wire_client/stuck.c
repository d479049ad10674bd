/* A client that runs a cell and does not read, until it is told to by a line on standard input. */
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct caught_up {
    long outputs, last; /* the number of the last one */
    long newest;        /* outputs without a gap up to the last */
    long notices, told; /* how many there are, and how many messages they say were left out */
    bool replied;       /* the own cell */
    bool is_idle;       /* the last cell */
};

/* N of a notice's "N messages (M bytes) were left out"; 0 when it is none. */
static long messages_told(const uint8_t *message, size_t length) {
    static const char text[] = " messages (";
    const uint8_t *end = memmem(message, length, "[elara]", 7);
    if (end != NULL)
        end = memmem(end, length - (size_t)(end - message), text, sizeof text - 1);
    if (end == NULL)
        return 0;
    const uint8_t *start = end;
    while (start[-1] >= '0' && start[-1] <= '9')
        start--;
    return atol((const char *)start);
}

static void note(struct caught_up *seen, const struct wire *wire, const uint8_t *message,
                 size_t length) {
    long number = wire_output_number(message, length);
    if (number >= 0) {
        seen->outputs++;
        seen->newest = number > 0 && number == seen->last + 1 ? seen->newest + 1 : 1;
        seen->last = number;
        return;
    }
    if (wire_is_cell_status(wire, message, length, &seen->is_idle))
        return;
    if (wire_is_stream(wire, message, length)) {
        long told = messages_told(message, length);
        seen->notices += told > 0;
        seen->told += told;
    }
    seen->replied |= wire_is_type(wire, message, length, "execute_reply");
}

int bench_stuck(int argc, char **argv) {
    if (argc < 5)
        wire_fail("stuck HOST PORT PATH MESSAGES BYTES");
    char content[256], line[16];
    struct wire *wire = wire_connect(argv[0], argv[1], argv[2], WIRE_V1);
    struct caught_up seen = {0};
    wire_time_kernel_info(wire);
    wire_flood_content(content, sizeof content, atol(argv[3]), (size_t)atol(argv[4]));
    wire_request(wire, "execute_request", content);
    puts("{}");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        return 0;
    int64_t start = wire_now_ns();
    wire_request(wire, "kernel_info_request", "{}"); /* its answer is behind everything */
    for (bool at_end = false; !at_end;) {
        size_t length;
        const uint8_t *message = wire_receive(wire, &length);
        note(&seen, wire, message, length);
        at_end = wire_is_type(wire, message, length, "kernel_info_reply");
    }
    printf("{\"outputs\": %ld, \"newest\": %ld, \"last\": %ld, \"notices\": %ld, \"told\": %ld, "
           "\"replied\": %s, \"idle\": %s, \"seconds\": %.2f}\n",
           seen.outputs, seen.newest, seen.last, seen.notices, seen.told,
           seen.replied ? "true" : "false", seen.is_idle ? "true" : "false",
           (double)(wire_now_ns() - start) / 1e9);
    wire_close(wire);
    return 0;
}
