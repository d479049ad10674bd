/* elara kernels */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "gateway/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHORT_ID = 8 };

/* They need not be sorted: the few thousand that there are at most are compared with each other
 * only in the prefix that was not enough. */
size_t admin_short_length(const json_t *kernels) {
    size_t length = SHORT_ID;
    cleanup_json json_t *seen = json_object();
    size_t i = 0;
    while (i < json_array_size(kernels)) {
        const char *id = admin_text_at(json_array_get(kernels, i), "id");
        cleanup_free char *start = memory_strndup(id, length);
        if (json_object_get(seen, start) == NULL || strlen(id) <= length) {
            json_object_set_new(seen, start, json_true());
            i++;
            continue;
        }
        length++; /* once more with longer ones */
        json_object_clear(seen);
        i = 0;
    }
    return length;
}

static char *cull_in(const json_t *kernel) {
    if (strcmp(admin_text_at(kernel, "execution_state"), "dead") == 0)
        return memory_strdup("");
    if (strcmp(admin_text_at(kernel, "verdict"), "cull") == 0)
        return memory_strdup("now");
    return admin_duration_at(kernel, "cull_in_ms", "never");
}

static void add_kernel(struct admin_table *table, const json_t *kernel, size_t length) {
    const char *user = admin_text_at(kernel, "user");
    cleanup_free char *id = memory_strndup(admin_text_at(kernel, "id"), length);
    cleanup_free char *age = admin_duration_at(kernel, "age_ms", "");
    cleanup_free char *idle = admin_duration_at(kernel, "idle_ms", "");
    cleanup_free char *in = cull_in(kernel);
    cleanup_free char *memory = admin_size_at(kernel, "rss_bytes");
    cleanup_free char *cpu = admin_duration_at(kernel, "cpu_ms", "");
    bool is_idle = strcmp(admin_text_at(kernel, "execution_state"), "idle") == 0;
    admin_table_add(
        table, (const char *[]){id, *user != '\0' ? user : admin_text_at(kernel, "owner"),
                                admin_text_at(kernel, "name"),
                                admin_text_at(kernel, "execution_state"), age, is_idle ? idle : "",
                                in, memory, cpu, admin_text_at(kernel, "message")});
}

static void print_kernels(const json_t *kernels) {
    size_t i, length = admin_short_length(kernels);
    json_t *kernel;
    struct admin_table *table = admin_table_create(10);
    admin_table_add(table, (const char *[]){"ID", "WHO", "KERNELSPEC", "STATE", "AGE", "IDLE",
                                            "CULL IN", "MEMORY", "CPU", "REASON"});
    json_array_foreach((json_t *)(uintptr_t)kernels, i, kernel) {
        add_kernel(table, kernel, length);
    }
    admin_table_print(table);
}

/* All pages of them. */
static int read_kernels(struct admin_gateway *gateway, json_t *ret, struct error *err) {
    cleanup_free char *path = memory_strdup("api/elara/kernels");
    for (;;) {
        cleanup_json json_t *page = NULL;
        if (admin_gateway_call(gateway, "GET", path, NULL, &page, err) < 0)
            return -1;
        if (json_array_extend(ret, page) < 0)
            return error_set(err, ERROR_SYSTEM,
                             "the answer is no list of kernels; is --url a gateway's?");
        const char *next = admin_gateway_header(gateway, "Elara-Continue");
        if (next == NULL)
            return 0;
        char *longer = memory_printf("api/elara/kernels?continue=%s", next);
        free(path);
        path = longer;
    }
}

int admin_kernels(int argc, char **argv, struct error *err) {
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    struct admin_gateway *gateway = NULL;
    cleanup_json json_t *kernels = json_array();
    if (admin_gateway_create(argc, argv, &gateway, err) < 0)
        return -1;
    int failed = read_kernels(gateway, kernels, err);
    admin_gateway_destroy(gateway);
    if (failed < 0)
        return -1;
    if (wants_json)
        admin_print_json(steal(&kernels));
    else
        print_kernels(kernels);
    return 0;
}
