/* Thousands of clients in one process. Standard input first names their paths, one a line up to an
 * empty one: each is connected and has had its kernel_info answered before the first JSON line is
 * printed. Then each line is a thing to do, answered by a JSON line; in between the clients are
 * quiet, but for the pings that they answer.
 *
 *     latency ROUNDS         kernel_info over members of the crowd, one a run, in turns with the
 *                            lone client of another gateway
 *     flood MESSAGES BYTES   over each client's socket, one after the other */
#include "wire.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { RUNS = 9, LINE_SIZE = 512, EVENTS = 64, WARM_UP = 50 };

struct crowd {
    struct wire **members;
    size_t count;
    struct wire *lone;
    int poll;
};

static void add(struct crowd *crowd, struct wire *wire) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = wire};
    wire_time_kernel_info(wire);
    if (epoll_ctl(crowd->poll, EPOLL_CTL_ADD, wire->fd, &event) < 0)
        wire_fail("epoll");
}

static void gather(struct crowd *crowd, const char *host, const char *port) {
    char line[LINE_SIZE];
    int64_t start = wire_now_ns();
    while (fgets(line, sizeof line, stdin) != NULL && line[0] != '\n') {
        line[strcspn(line, "\n")] = '\0';
        crowd->members = memory_resize(crowd->members, sizeof *crowd->members * (crowd->count + 1));
        crowd->members[crowd->count] = wire_connect(host, port, line, WIRE_V1);
        add(crowd, crowd->members[crowd->count++]);
    }
    if (crowd->count == 0)
        wire_fail("crowd: no paths");
    printf("{\"clients\": %zu, \"seconds\": %.3f}\n", crowd->count,
           (double)(wire_now_ns() - start) / 1e9);
    fflush(stdout);
}

/* Until there is a line to read. */
static void be_quiet(const struct crowd *crowd) {
    for (;;) {
        struct epoll_event events[EVENTS];
        bool is_told = false;
        int count = epoll_wait(crowd->poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                is_told = true;
            else
                wire_discard(events[i].data.ptr);
        }
        if (is_told)
            return;
    }
}

/* ---- the lines ---- */

static void time_run(struct wire *wire, int64_t *samples, size_t rounds, double us[2]) {
    for (int i = 0; i < WARM_UP; i++)
        wire_time_kernel_info(wire);
    for (size_t i = 0; i < rounds; i++)
        samples[i] = wire_time_kernel_info(wire);
    us[0] = wire_percentile_us(samples, rounds, 50);
    us[1] = wire_percentile_us(samples, rounds, 99);
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void sort(double values[RUNS]) {
    qsort(values, RUNS, sizeof *values, compare);
}

static void print_latency(const struct crowd *crowd, size_t rounds) {
    static const char *const names[] = {"p50", "p99"};
    double us[2][RUNS], lone_us[2][RUNS];
    if (crowd->lone == NULL || rounds == 0)
        wire_fail("latency: a lone client and ROUNDS are needed");
    int64_t *samples = memory_alloc(sizeof *samples * rounds);
    for (int run = 0; run < RUNS; run++) {
        double lone[2], member[2];
        time_run(crowd->lone, samples, rounds, lone);
        time_run(crowd->members[crowd->count * (size_t)run / RUNS], samples, rounds, member);
        for (int i = 0; i < 2; i++) {
            lone_us[i][run] = lone[i];
            us[i][run] = member[i];
        }
    }
    free(samples);
    for (int i = 0; i < 2; i++) {
        double ratio[RUNS];
        for (int run = 0; run < RUNS; run++)
            ratio[run] = us[i][run] / lone_us[i][run];
        sort(us[i]);
        sort(lone_us[i]);
        sort(ratio);
        printf("%s\"%s_us\": %.1f, \"lone_%s_us\": %.1f, \"%s_ratio\": %.3f, "
               "\"%s_ratio_min\": %.3f, \"%s_ratio_max\": %.3f",
               i == 0 ? "{" : ", ", names[i], us[i][RUNS / 2], names[i], lone_us[i][RUNS / 2],
               names[i], ratio[RUNS / 2], names[i], ratio[0], names[i], ratio[RUNS - 1]);
    }
    puts("}");
}

static void print_flood(const struct crowd *crowd, long messages, size_t bytes) {
    struct wire_flood all = {0};
    for (size_t i = 0; i < crowd->count; i++) {
        struct wire_flood one = wire_flood(crowd->members[i], messages, bytes);
        all.messages += one.messages;
        all.missing += one.missing;
        all.repeated += one.repeated;
    }
    printf("{\"messages\": %ld, \"missing\": %ld, \"repeated\": %ld}\n", all.messages, all.missing,
           all.repeated);
}

int bench_crowd(int argc, char **argv) {
    if (argc != 2 && argc != 4)
        wire_fail("crowd HOST PORT [LONE_PORT LONE_PATH] < PATHS");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    setvbuf(stdin, NULL, _IONBF, 0); /* what is read is what epoll said */
    struct crowd crowd = {.poll = epoll_create1(EPOLL_CLOEXEC)};
    struct epoll_event told = {.events = EPOLLIN, .data.ptr = NULL};
    char line[LINE_SIZE];
    if (argc == 4) {
        crowd.lone = wire_connect(argv[0], argv[2], argv[3], WIRE_V1);
        add(&crowd, crowd.lone);
    }
    gather(&crowd, argv[0], argv[1]);
    if (epoll_ctl(crowd.poll, EPOLL_CTL_ADD, STDIN_FILENO, &told) < 0)
        wire_fail("epoll: standard input must be a pipe");
    for (;;) {
        unsigned long first, second;
        be_quiet(&crowd);
        if (fgets(line, sizeof line, stdin) == NULL)
            return 0;
        if (sscanf(line, "latency %lu", &first) == 1)
            print_latency(&crowd, first);
        else if (sscanf(line, "flood %lu %lu", &first, &second) == 2)
            print_flood(&crowd, (long)first, second);
        else
            wire_fail("crowd: no such thing to do");
        fflush(stdout);
    }
}
