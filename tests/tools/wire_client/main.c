#include "wire.h"

#include <string.h>

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } benches[] = {{"latency", bench_latency}, {"flood", bench_flood}, {"start", bench_start},
                   {"replay", bench_replay},   {"stuck", bench_stuck}, {"crowd", bench_crowd},
                   {"refused", bench_refused}};
    for (size_t i = 0; argc > 1 && i < sizeof benches / sizeof benches[0]; i++)
        if (strcmp(argv[1], benches[i].name) == 0)
            return benches[i].run(argc - 2, argv + 2);
    wire_fail("usage: wire_client latency|flood|start|replay|stuck|crowd|refused ...");
}
