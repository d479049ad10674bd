/* elara interrupt|restart|delete ID, and which kernel an ID means. */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SHOWN_MAX = 5, UUID_LENGTH = 36 };

/* The kernels whose id begins so, in one text for a message. */
static size_t find_matches(const json_t *kernels, const char *start, struct buffer *shown,
                           const char **ret) {
    size_t i, count = 0;
    json_t *kernel;
    json_array_foreach((json_t *)(uintptr_t)kernels, i, kernel) {
        const char *id = json_string_value(json_object_get(kernel, "id"));
        if (id == NULL || strncasecmp(id, start, strlen(start)) != 0)
            continue;
        if (strcasecmp(id, start) == 0) {
            *ret = id;
            return 1;
        }
        if (count++ < SHOWN_MAX)
            buffer_printf(shown, "%s%s", count > 1 ? ", " : "", id);
        *ret = id;
    }
    return count;
}

static int find_kernel(struct admin_gateway *gateway, const char *start, char **ret,
                       struct error *err) {
    if (strlen(start) == UUID_LENGTH && text_is_kernel_id(start)) {
        *ret = memory_strdup(start); /* also of one that is no more: the gateway knows why */
        return 0;
    }
    cleanup_json json_t *kernels = NULL;
    cleanup_buffer struct buffer shown = {.limit = 4096};
    const char *id = NULL;
    if (admin_gateway_call(gateway, "GET", "api/kernels", NULL, &kernels, err) < 0)
        return -1;
    size_t count = find_matches(kernels, start, &shown, &id);
    if (count == 0)
        return error_set(err, ERROR_NOT_FOUND,
                         "no kernel's id begins with %.128s; `elara kernels` lists them", start);
    if (count > 1)
        return error_set(err, ERROR_INVALID, "%.128s is not enough of an id, it fits %zu: %s%s",
                         start, count, buffer_text(&shown), count > SHOWN_MAX ? ", ..." : "");
    *ret = memory_strdup(id);
    return 0;
}

static bool may_be_id(const char *text) {
    static const char characters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    return *text != '\0' && strlen(text) <= 128 && text[strspn(text, characters)] == '\0';
}

int admin_open_kernel(int argc, char **argv, const char *start, struct admin_gateway **ret,
                      char **id, struct error *err) {
    if (start == NULL)
        return error_set(err, ERROR_INVALID,
                         "which kernel? Its id, or how it begins, comes before the flags; `elara "
                         "kernels` lists them");
    if (!may_be_id(start))
        return error_set(err, ERROR_INVALID,
                         "%.128s is not a kernel's id; `elara kernels` lists them", start);
    struct admin_gateway *gateway = NULL;
    if (admin_gateway_create(argc, argv, &gateway, err) < 0)
        return -1;
    if (find_kernel(gateway, start, id, err) < 0) {
        admin_gateway_destroy(gateway);
        return -1;
    }
    *ret = gateway;
    return 0;
}

int admin_ask_kernel(int argc, char **argv, const char *start, const char *method,
                     const char *action, const json_t *body, char **id, json_t **ret,
                     struct error *err) {
    struct admin_gateway *gateway = NULL;
    if (admin_open_kernel(argc, argv, start, &gateway, id, err) < 0)
        return -1;
    cleanup_free char *path = memory_printf("api/kernels/%s%s", *id, action);
    int failed = admin_gateway_call(gateway, method, path, body, ret, err);
    admin_gateway_destroy(gateway);
    return failed;
}

static int act(int argc, char **argv, const char *method, const char *action, const char *done,
               struct error *err) {
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    const char *start = admin_take_argument(&argc, argv);
    cleanup_free char *id = NULL;
    if (admin_ask_kernel(argc, argv, start, method, action, NULL, &id, NULL, err) < 0)
        return -1;
    if (wants_json)
        admin_print_json(json_pack("{s:s, s:s}", "id", id, "done", done));
    else
        printf("%s %s\n", id, done);
    return 0;
}

int admin_interrupt(int argc, char **argv, struct error *err) {
    return act(argc, argv, "POST", "/interrupt", "interrupted", err);
}

int admin_restart(int argc, char **argv, struct error *err) {
    return act(argc, argv, "POST", "/restart", "restarted", err);
}

int admin_delete(int argc, char **argv, struct error *err) {
    return act(argc, argv, "DELETE", "", "deleted", err);
}
