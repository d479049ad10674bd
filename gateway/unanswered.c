#include "gateway/unanswered.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { COUNT_MAX = 1000, BYTES_MAX = 1 << 20, ID_MAX = 255 };

struct request {
    struct list_node node;
    char id[ID_MAX + 1];
    size_t length;
    uint8_t header[];
};

void unanswered_init(struct unanswered *unanswered) {
    *unanswered = (struct unanswered){0};
    list_init(&unanswered->requests);
}

static void forget(struct unanswered *unanswered, struct request *request) {
    list_remove(&request->node);
    unanswered->count--;
    unanswered->bytes -= request->length;
    free(request);
}

void unanswered_clear(struct unanswered *unanswered) {
    list_each (&unanswered->requests, struct request, node, request)
        forget(unanswered, request);
}

static struct request *oldest(const struct unanswered *unanswered) {
    return list_entry(unanswered->requests.head.next, struct request, node);
}

void unanswered_note_request(struct unanswered *unanswered, const void *message, size_t length) {
    struct kernel_message parsed;
    char id[ID_MAX + 1];
    if (kernel_message_parse(message, length, &parsed, NULL) < 0 ||
        parsed.channel != CHANNEL_SHELL || parsed.header.length > BYTES_MAX ||
        !kernel_message_is(parsed.header, "execute_request") ||
        json_scan_text(parsed.header, "msg_id", id, sizeof id) < 0)
        return;
    struct request *request = memory_alloc(sizeof *request + parsed.header.length);
    strcpy(request->id, id);
    request->length = parsed.header.length;
    memcpy(request->header, parsed.header.data, request->length);
    list_append(&unanswered->requests, &request->node);
    unanswered->count++;
    unanswered->bytes += request->length;
    while (unanswered->count > COUNT_MAX || unanswered->bytes > BYTES_MAX)
        forget(unanswered, oldest(unanswered));
}

void unanswered_note_reply(struct unanswered *unanswered, const void *message, size_t length) {
    struct kernel_message parsed;
    char id[ID_MAX + 1];
    if (unanswered->count == 0 || kernel_message_parse(message, length, &parsed, NULL) < 0 ||
        parsed.channel != CHANNEL_SHELL ||
        json_scan_text(parsed.parent_header, "msg_id", id, sizeof id) < 0)
        return;
    list_each (&unanswered->requests, struct request, node, request) {
        if (strcmp(request->id, id) == 0) {
            forget(unanswered, request);
            return;
        }
    }
}

struct bytes unanswered_oldest(const struct unanswered *unanswered) {
    if (unanswered->count == 0)
        return (struct bytes){NULL, 0};
    const struct request *request = oldest(unanswered);
    return (struct bytes){request->header, request->length};
}

bool unanswered_take(struct unanswered *unanswered, struct buffer *header) {
    if (unanswered->count == 0)
        return false;
    struct request *request = oldest(unanswered);
    buffer_clear(header);
    bool kept = buffer_append(header, request->header, request->length) == 0;
    forget(unanswered, request);
    return kept;
}
