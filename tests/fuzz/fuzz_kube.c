/* What a Kubernetes API server sends and what a kubeconfig holds, of any bytes. The first byte
 * chooses: a stream cut into pieces of that size, whose events go to what a watch knows; or, 255, a
 * kubeconfig. */
#include "base/error.h"
#include "launcher/kube_config.h"
#include "launcher/kube_lines.h"
#include "launcher/kube_seen.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINE_LIMIT = 4096, KUBECONFIG = 255 };

struct stream {
    struct kube_seen *seen;
    size_t bytes; /* in lines */
};

static bool take_line(void *context, const char *text, size_t length) {
    struct stream *stream = context;
    assert(length > 0 && length <= LINE_LIMIT && memchr(text, '\n', length) == NULL);
    stream->bytes += length;
    json_t *object = json_loadb(text, length, JSON_ALLOW_NUL, NULL), *replaced = NULL;
    size_t count = kube_seen_count(stream->seen);
    enum kube_novelty novelty = kube_seen_note(stream->seen, object, &replaced);
    assert((novelty == KUBE_SEEN_REPLACED) == (replaced != NULL));
    assert(kube_seen_count(stream->seen) == count + (novelty == KUBE_SEEN_NEW));
    if (novelty != KUBE_SEEN_NONSENSE) {
        json_t *none = NULL;
        assert(kube_seen_note(stream->seen, object, &none) == KUBE_SEEN_SAME);
    }
    if (length % 3 == 0)
        assert(kube_seen_forget(stream->seen, object) == (novelty != KUBE_SEEN_NONSENSE));
    json_decref(replaced);
    json_decref(object);
    return true;
}

static void try_stream(size_t piece, const char *data, size_t size) {
    struct stream stream = {.seen = kube_seen_create()};
    struct kube_lines lines = {.partial = {.limit = LINE_LIMIT}};
    enum kube_lines_result result = KUBE_LINES_DONE;
    for (size_t at = 0; at < size && result == KUBE_LINES_DONE; at += piece)
        result = kube_lines_feed(&lines, data + at, size - at < piece ? size - at : piece,
                                 take_line, &stream);
    assert(stream.bytes + lines.partial.length <= size && lines.partial.length <= LINE_LIMIT);
    kube_seen_begin(stream.seen);
    json_t *gone = kube_seen_sweep(stream.seen);
    assert(kube_seen_count(stream.seen) == 0);
    json_decref(gone);
    kube_lines_free(&lines);
    kube_seen_destroy(stream.seen);
}

static void try_kubeconfig(const uint8_t *data, size_t size) {
    int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (write(fd, data, size) != (ssize_t)size)
        abort();
    struct kube_config *config = NULL;
    struct error err = {0};
    if (kube_config_load(path, NULL, &config, &err) < 0) {
        assert(config == NULL && err.code != ERROR_NONE && err.text[0] != '\0');
    } else {
        assert(strncmp(kube_config_server(config), "http", 4) == 0);
        assert(kube_config_namespace(config)[0] != '\0');
        const char *token = kube_config_secret(config, KUBE_TOKEN)->data;
        assert(token == NULL || token[strcspn(token, "\r\n")] == '\0');
        kube_config_refresh(config, true);
    }
    kube_config_destroy(config);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    if (data[0] == KUBECONFIG)
        try_kubeconfig(data + 1, size - 1);
    else if (data[0] > 0)
        try_stream(data[0], (const char *)data + 1, size - 1);
    return 0;
}
