/* elara kernel interrupt|restart|delete ID */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/admin.h"

#include <stdio.h>

static int act(int argc, char **argv, const char *method, const char *action, const char *done,
               struct error *err) {
    const char *id = admin_take_argument(&argc, argv);
    if (id == NULL)
        return error_set(err, ERROR_INVALID, "which? The kernel's id comes before the flags");
    if (!text_is_kernel_id(id))
        return error_set(err, ERROR_INVALID,
                         "%.128s is not a kernel's id; `elara kernels` lists them", id);
    struct admin_gateway *gateway = NULL;
    if (admin_gateway_create(argc, argv, &gateway, err) < 0)
        return -1;
    cleanup_free char *path = memory_printf("api/kernels/%s%s", id, action);
    int failed = admin_gateway_call(gateway, method, path, NULL, NULL, err);
    admin_gateway_destroy(gateway);
    if (failed == 0)
        printf("%s %s\n", id, done);
    return failed;
}

int admin_kernel_interrupt(int argc, char **argv, struct error *err) {
    return act(argc, argv, "POST", "/interrupt", "interrupted", err);
}

int admin_kernel_restart(int argc, char **argv, struct error *err) {
    return act(argc, argv, "POST", "/restart", "restarted", err);
}

int admin_kernel_delete(int argc, char **argv, struct error *err) {
    return act(argc, argv, "DELETE", "", "deleted", err);
}
