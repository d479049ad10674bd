/* elara-gateway: reads its settings, builds the gateway and runs it. */
#include "base/log.h"
#include "base/option.h"
#include "gateway/gateway.h"

#include <malloc.h>
#include <stdio.h>
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

int main(int argc, char **argv) {
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
    bool show = option_take_flag(&argc, argv, "show-config", NULL);

    struct error err = {0};
    struct settings *settings;
    if (settings_create(argc, argv, environ, &settings, &err) < 0)
        return fail(&err);
    struct gateway *gateway = NULL;
    int failed = 0;
    if (show)
        settings_print_config(settings, stdout);
    else
        failed = gateway_create(settings, &gateway, &err);
    keep_some_memory();
    if (gateway != NULL)
        gateway_run(gateway);
    gateway_destroy(gateway);
    settings_destroy(settings);
    return failed < 0 ? fail(&err) : 0;
}
