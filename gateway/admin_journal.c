/* elara journal ID [--since SEQ] */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 4 << 20 };

/* Of the last line, with which each page but an empty one ends. */
static int last_seq(const char *lines, size_t length, uint64_t *ret, struct error *err) {
    static const char start[] = "{\"seq\":";
    const char *line = lines + length - 1;
    while (line > lines && line[-1] != '\n')
        line--;
    if (strncmp(line, start, sizeof start - 1) != 0)
        return error_set(err, ERROR_SYSTEM, "the answer is no journal; is --url a gateway's?");
    *ret = strtoull(line + sizeof start - 1, NULL, 10);
    return 0;
}

static int print_journal(struct admin_gateway *gateway, const char *id, const char *since,
                         struct error *err) {
    cleanup_free char *from = memory_strdup(since);
    for (;;) {
        cleanup_free char *path =
            memory_printf("api/kernels/%s/journal?since=%s&max_bytes=%d", id, from, PAGE_BYTES);
        const char *lines;
        size_t length;
        uint64_t seq = 0;
        if (admin_gateway_read(gateway, path, &lines, &length, err) < 0)
            return -1;
        if (length == 0)
            return 0;
        if (last_seq(lines, length, &seq, err) < 0)
            return -1;
        if (fwrite(lines, 1, length, stdout) != length)
            return error_system(err, errno, "the output cannot be written");
        free(from);
        from = memory_printf("%" PRIu64, seq);
    }
}

int admin_journal(int argc, char **argv, struct error *err) {
    const char *since = "0";
    option_take_flag(&argc, argv, "json", NULL); /* it always is: one message a line */
    bool has_since = option_take_flag(&argc, argv, "since", &since);
    const char *start = admin_take_argument(&argc, argv);
    struct admin_gateway *gateway = NULL;
    cleanup_free char *id = NULL;
    if (has_since &&
        (since == NULL || *since == '\0' || since[strspn(since, "0123456789")] != '\0'))
        return error_set(err, ERROR_INVALID, "--since: must be the number of a message");
    if (admin_open_kernel(argc, argv, start, &gateway, &id, err) < 0)
        return -1;
    int failed = print_journal(gateway, id, since, err);
    admin_gateway_destroy(gateway);
    return failed;
}
