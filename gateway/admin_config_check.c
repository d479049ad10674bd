/* elara config check, elara config schema */
#include "gateway/admin.h"
#include "gateway/settings.h"

#include <stdio.h>
#include <unistd.h>

static void tell(void *context, bool is_problem, const char *text) {
    (void)context;
    printf("%s%s\n", is_problem ? "" : "note: ", text);
}

int admin_config_check(int argc, char **argv, struct error *err) {
    const char *path = admin_take_argument(&argc, argv);
    if (path == NULL || argc > 1)
        return error_set(err, ERROR_INVALID, "say which file: elara config check FILE");
    size_t problems = settings_check_file(path, environ, tell, NULL);
    printf("%s: %zu problem%s\n", path, problems, problems == 1 ? "" : "s");
    return problems > 0 ? 1 : 0;
}

int admin_config_schema(int argc, char **argv, struct error *err) {
    if (argc > 1)
        return error_set(err, ERROR_INVALID, "\"%.64s\": it takes no arguments", argv[1]);
    settings_print_schema(stdout);
    return 0;
}
