/* elara kernels */
#include "base/cleanup.h"
#include "base/memory.h"
#include "gateway/admin.h"

#include <stdio.h>

static const char *text_at(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

static void add_kernel(struct admin_table *table, const json_t *kernel) {
    json_int_t clients = json_integer_value(json_object_get(kernel, "connections"));
    cleanup_free char *connections = memory_printf("%lld", (long long)clients);
    admin_table_add(table,
                    (const char *[]){text_at(kernel, "id"), text_at(kernel, "name"),
                                     text_at(kernel, "owner"), text_at(kernel, "execution_state"),
                                     connections, text_at(kernel, "last_activity"),
                                     text_at(kernel, "reason")});
}

int admin_kernels(int argc, char **argv, struct error *err) {
    struct admin_gateway *gateway = NULL;
    cleanup_json json_t *kernels = NULL;
    if (admin_gateway_create(argc, argv, &gateway, err) < 0)
        return -1;
    int failed = admin_gateway_call(gateway, "GET", "api/kernels", NULL, &kernels, err);
    admin_gateway_destroy(gateway);
    if (failed < 0)
        return -1;
    if (!json_is_array(kernels))
        return error_set(err, ERROR_SYSTEM,
                         "the answer is no list of kernels; is --url a gateway's?");
    struct admin_table *table = admin_table_create(7);
    admin_table_add(table, (const char *[]){"ID", "KERNELSPEC", "OWNER", "STATE", "CLIENTS",
                                            "LAST ACTIVITY", "REASON"});
    size_t i;
    json_t *kernel;
    json_array_foreach(kernels, i, kernel) {
        add_kernel(table, kernel);
    }
    admin_table_print(table);
    return 0;
}
