/* kernel_info of one user while another one sends requests that are refused, as many as he can up
 * to a rate, in turns with quiet runs. */
#include "wire.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RUNS = 9, WARM_UP = 50, CONNECTIONS = 32, STEP_MS = 5, REQUEST_SIZE = 256 };

struct flooder {
    const char *host, *port;
    long rate;
    int fds[CONNECTIONS];
    atomic_bool is_on, is_over;
    long tried, refused;  /* while it was on */
    long answered, other; /* in all; other: that were no refusal */
    double seconds;       /* in which it was on */
};

static void sleep_ms(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Whole requests only: what does not fit is not sent at all. */
static void send_some(int fd, const char *requests, size_t size, long count) {
    ssize_t sent = send(fd, requests, size * (size_t)count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        wire_fail("the flooder's connection was closed");
    for (size_t rest = sent > 0 ? (size_t)sent % size : 0; rest > 0 && rest < size;) {
        ssize_t more = send(fd, requests + rest, size - rest, MSG_NOSIGNAL);
        if (more <= 0)
            wire_fail("the flooder's connection was closed");
        rest += (size_t)more;
    }
}

static void count_answers(struct flooder *flooder, int fd) {
    char text[64 << 10];
    ssize_t got;
    while ((got = recv(fd, text, sizeof text, MSG_DONTWAIT)) > 0) {
        const char *at = text, *end = text + got;
        while ((at = memmem(at, (size_t)(end - at), "HTTP/1.1 ", 9)) != NULL) {
            at += 9;
            flooder->answered++;
            flooder->refused += flooder->is_on;
            flooder->other += at < end && *at != '4';
        }
    }
}

static void *flood(void *context) {
    struct flooder *flooder = context;
    long burst = flooder->rate * STEP_MS / 1000 / CONNECTIONS + 1;
    char *requests = malloc((size_t)burst * REQUEST_SIZE);
    int size =
        snprintf(requests, REQUEST_SIZE,
                 "GET /api/kernels HTTP/1.1\r\nHost: %s\r\nAuthorization: token wrong\r\n\r\n",
                 flooder->host);
    for (long i = 1; i < burst; i++)
        memcpy(requests + i * size, requests, (size_t)size);
    while (!flooder->is_over) {
        int64_t start = wire_now_ns();
        for (int i = 0; i < CONNECTIONS; i++) {
            if (flooder->is_on) {
                flooder->tried += burst;
                send_some(flooder->fds[i], requests, (size_t)size, burst);
            }
            count_answers(flooder, flooder->fds[i]);
        }
        long left_ms = STEP_MS - (long)((wire_now_ns() - start) / 1000000);
        if (left_ms > 0)
            sleep_ms(left_ms);
        if (flooder->is_on)
            flooder->seconds += (double)(wire_now_ns() - start) / 1e9;
    }
    free(requests);
    return NULL;
}

static double time_run(struct wire *wire, int64_t *samples, size_t rounds, unsigned percent) {
    for (int i = 0; i < WARM_UP; i++)
        wire_time_kernel_info(wire);
    for (size_t i = 0; i < rounds; i++)
        samples[i] = wire_time_kernel_info(wire);
    return wire_percentile_us(samples, rounds, percent);
}

static double middle(const double values[RUNS]) {
    int64_t sorted[RUNS];
    for (int run = 0; run < RUNS; run++)
        sorted[run] = (int64_t)(values[run] * 1e6);
    return wire_percentile_us(sorted, RUNS, 50) / 1000;
}

int bench_refused(int argc, char **argv) {
    if (argc != 5)
        wire_fail("refused HOST PORT PATH ROUNDS RATE");
    size_t rounds = (size_t)atoi(argv[3]);
    struct flooder flooder = {.host = argv[0], .port = argv[1], .rate = atol(argv[4])};
    struct wire *wire = wire_connect(argv[0], argv[1], argv[2], WIRE_V1);
    for (int i = 0; i < CONNECTIONS; i++)
        flooder.fds[i] = wire_dial(argv[0], argv[1]);
    pthread_t thread;
    pthread_create(&thread, NULL, flood, &flooder);
    int64_t *samples = calloc(rounds, sizeof *samples);
    double quiet[RUNS], flooded[RUNS], ratio[RUNS];
    for (int run = 0; run < RUNS; run++) {
        quiet[run] = time_run(wire, samples, rounds, 99);
        flooder.is_on = true;
        flooded[run] = time_run(wire, samples, rounds, 99);
        flooder.is_on = false;
        long answered = -1; /* what it has sent is answered before the next quiet run */
        while (answered != flooder.answered) {
            answered = flooder.answered;
            sleep_ms(50);
        }
        ratio[run] = flooded[run] / quiet[run];
    }
    flooder.is_over = true;
    pthread_join(thread, NULL);
    free(samples);
    printf("{\"quiet_p99_us\": %.1f, \"flooded_p99_us\": %.1f, \"ratio\": %.2f, \"tried_per_s\": "
           "%.0f, \"refused_per_s\": %.0f, \"not_refused\": %ld}\n",
           middle(quiet), middle(flooded), middle(ratio), (double)flooder.tried / flooder.seconds,
           (double)flooder.refused / flooder.seconds, flooder.other);
    return 0;
}
