/* elara-gateway: reads its settings, builds the gateway and runs it. */
#include "base/log.h"
#include "base/option.h"
#include "gateway/gateway.h"
#include "launcher/spawner.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

static int fail(const struct error *err) {
    if (log_get_format() == LOG_JSON)
        log_write(LOG_ERROR, "gateway", "%s", err->text);
    else
        fprintf(stderr, "elara-gateway: %s\n", err->text);
    return 1;
}

/* Large outputs come one after the other: giving their memory back and faulting it in again for
 * each was 40 % of what a gateway spent on them. What is kept is bounded, whatever the number of
 * clients. */
static void keep_some_memory(void) {
#ifdef M_TRIM_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
#endif
}

static int show_config(int argc, char **argv) {
    struct error err = {0};
    struct settings *settings;
    if (settings_create(argc, argv, environ, &settings, &err) < 0)
        return fail(&err);
    settings_print_config(settings, stdout);
    settings_destroy(settings);
    return 0;
}

static int serve(int argc, char **argv) {
    struct error err = {0};
    struct spawner *spawner;
    struct settings *settings;
    struct gateway *gateway;
    /* First: with limits and signals as we were given them, and without any token of a file. */
    if (spawner_create(&spawner, &err) < 0)
        return fail(&err);
    if (settings_create(argc, argv, environ, &settings, &err) < 0) {
        spawner_destroy(spawner);
        return fail(&err);
    }
    int failed = gateway_create(settings, spawner, &gateway, &err);
    bool hangs = false;
    keep_some_memory();
    if (failed == 0) {
        gateway_run(gateway);
        hangs = gateway_destroy(gateway);
    }
    settings_destroy(settings);
    if (hangs)
        _exit(0); /* what exit() calls may want all threads to stop, and one cannot */
    return failed < 0 ? fail(&err) : 0;
}

int main(int argc, char **argv) {
    prctl(PR_SET_DUMPABLE, 0); /* nobody of our user looks into our memory, and no core has it */
    if (option_take_flag(&argc, argv, "help", NULL)) {
        settings_print_help(stdout);
        return 0;
    }
    if (option_take_flag(&argc, argv, "version", NULL)) {
        puts("elara-gateway " ELARA_VERSION);
        return 0;
    }
    if (option_take_flag(&argc, argv, "print-configuration-reference", NULL)) {
        settings_print_reference(stdout);
        return 0;
    }
    if (option_take_flag(&argc, argv, "show-config", NULL))
        return show_config(argc, argv);
    return serve(argc, argv);
}
