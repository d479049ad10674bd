/* elara logs ID */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/utf8.h"
#include "gateway/admin.h"

#include <errno.h>
#include <stdio.h>

int admin_logs(int argc, char **argv, struct error *err) {
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    const char *start = admin_take_argument(&argc, argv);
    struct admin_gateway *gateway = NULL;
    cleanup_free char *id = NULL;
    if (admin_open_kernel(argc, argv, start, &gateway, &id, err) < 0)
        return -1;
    cleanup_free char *path = memory_printf("api/kernels/%s/logs", id);
    const char *text;
    size_t length;
    int failed = admin_gateway_read(gateway, path, &text, &length, err);
    if (failed == 0 && wants_json) {
        cleanup_free char *readable = utf8_repair(text);
        admin_print_json(json_pack("{s:s, s:s}", "id", id, "text", readable));
    } else if (failed == 0 && length > 0) {
        bool has_end = text[length - 1] == '\n';
        if (fwrite(text, 1, length, stdout) != length || (!has_end && putchar('\n') == EOF))
            failed = error_system(err, errno, "the output cannot be written");
    }
    admin_gateway_destroy(gateway);
    return failed;
}
