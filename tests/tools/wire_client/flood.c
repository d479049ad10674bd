/* Many small outputs, or few large ones, until the cell's reply and all outputs are there. */
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number at the end of the stub kernel's line, in either format. No other message ends like it,
 * and to look for the type as well would cost more than all of the gateway's work. */
long wire_output_number(const uint8_t *message, size_t length) {
    enum { DIGITS = 10, TAIL = 4 };
    const uint8_t *tail = memrchr(message, '\\', length);
    if (tail == NULL || tail - message < DIGITS || message + length - tail < TAIL ||
        memcmp(tail, "\\n\"}", TAIL) != 0)
        return -1;
    long number = 0;
    for (const uint8_t *digit = tail - DIGITS; digit < tail; digit++) {
        if (*digit < '0' || *digit > '9')
            return -1;
        number = number * 10 + (*digit - '0');
    }
    return number;
}

void wire_flood_content(char *content, size_t size, long count, size_t bytes) {
    snprintf(content, size,
             "{\"code\":\"flood %ld %zu\",\"silent\":false,\"store_history\":true,"
             "\"user_expressions\":{},\"allow_stdin\":false,\"stop_on_error\":true}",
             count, bytes);
}

bool wire_flood_note(struct wire_flood *found, const uint8_t *message, size_t length) {
    long number = wire_output_number(message, length);
    if (number < 0)
        return false;
    found->messages++;
    found->bytes += length;
    found->repeated += number < found->next;
    found->missing += number > found->next ? number - found->next : 0;
    found->next = number >= found->next ? number + 1 : found->next;
    return true;
}

bool wire_is_cell_status(const struct wire *wire, const uint8_t *message, size_t length,
                         bool *is_idle) {
    if (!wire_is_type(wire, message, length, "status") ||
        memmem(message, length, "execute_request", 15) == NULL)
        return false;
    *is_idle = memmem(message, length, "\"idle\"", 6) != NULL;
    return true;
}

struct wire_flood wire_flood(struct wire *wire, long count, size_t bytes) {
    char content[256];
    wire_flood_content(content, sizeof content, count, bytes);
    struct wire_flood found = {0};
    bool replied = false, is_idle = false;
    int64_t start = wire_now_ns();
    wire_request(wire, "execute_request", content);
    while (!replied || !is_idle) { /* that of this cell comes behind its last output */
        size_t length;
        const uint8_t *message = wire_receive(wire, &length);
        if (!wire_flood_note(&found, message, length) &&
            !wire_is_cell_status(wire, message, length, &is_idle))
            replied |= wire_is_type(wire, message, length, "execute_reply");
    }
    found.missing += count - found.next;
    found.seconds = (double)(wire_now_ns() - start) / 1e9;
    return found;
}

int bench_flood(int argc, char **argv) {
    if (argc < 6)
        wire_fail("flood HOST PORT PATH MESSAGES BYTES v1|legacy [CONNECTION_FILE]");
    long count = atol(argv[3]);
    size_t bytes = (size_t)atol(argv[4]);
    struct wire *wire =
        wire_connect(argv[0], argv[1], argv[2], strcmp(argv[5], "v1") == 0 ? WIRE_V1 : WIRE_LEGACY);
    double raw = bytes >= 65536 ? wire_raw_seconds(count, bytes, 0) : 0;
    double direct = argc > 6 ? wire_direct_flood(wire_direct_open(argv[6]), count, bytes) : 0;
    struct wire_flood found = wire_flood(wire, count, bytes);
    double all = (double)bytes * (double)count / 1e6;
    printf("{\"messages\": %ld, \"missing\": %ld, \"repeated\": %ld, \"seconds\": %.4f, "
           "\"messages_per_s\": %.0f, \"mb_per_s\": %.1f, \"raw_mb_per_s\": %.1f, "
           "\"direct_mb_per_s\": %.1f}\n",
           found.messages, found.missing, found.repeated, found.seconds,
           (double)found.messages / found.seconds, (double)found.bytes / found.seconds / 1e6,
           raw > 0 ? all / raw : 0, direct > 0 ? all / direct : 0);
    wire_close(wire);
    return 0;
}

/* The id in the answer to POST /api/kernels. */
static void post_kernel(const char *host, const char *port, const char *name, char id[64]) {
    char request[512], answer[8192];
    char body[256];
    size_t used = 0;
    snprintf(body, sizeof body, "{\"name\":\"%s\"}", name);
    int length = snprintf(request, sizeof request,
                          "POST /api/kernels HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n"
                          "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                          host, port, strlen(body), body);
    int fd = wire_dial(host, port);
    if (write(fd, request, (size_t)length) != length)
        wire_fail("POST");
    for (ssize_t got; (got = read(fd, answer + used, sizeof answer - 1 - used)) > 0;)
        used += (size_t)got;
    answer[used] = '\0';
    close(fd);
    char *found = strstr(answer, "\"id\"");
    if (strncmp(answer, "HTTP/1.1 201", 12) != 0 || found == NULL ||
        sscanf(found, "\"id\": \"%36[0-9a-f-]", id) + sscanf(found, "\"id\":\"%36[0-9a-f-]", id) <
            1)
        wire_fail(answer);
}

/* POST to the new kernel's first kernel_info_reply. */
int bench_start(int argc, char **argv) {
    if (argc < 3)
        wire_fail("start HOST PORT KERNELSPEC");
    char id[64] = "", path[160];
    size_t length;
    const uint8_t *message;
    int64_t start = wire_now_ns();
    post_kernel(argv[0], argv[1], argv[2], id);
    snprintf(path, sizeof path, "/api/kernels/%s/channels?session_id=start", id);
    struct wire *wire = wire_connect(argv[0], argv[1], path, WIRE_V1);
    wire_request(wire, "kernel_info_request", "{}");
    do
        message = wire_receive(wire, &length);
    while (!wire_is_type(wire, message, length, "kernel_info_reply"));
    printf("{\"kernel_id\": \"%s\", \"ms\": %.2f}\n", id, (double)(wire_now_ns() - start) / 1e6);
    wire_close(wire);
    return 0;
}
