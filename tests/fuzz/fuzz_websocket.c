/* Any bytes as what a WebSocket client sends. Byte 0: the size of the pieces they come in. Messages
 * obey the limit, texts are UTF-8, and after the first breach nothing more is read. */
#include "base/utf8.h"
#include "gateway/websocket_reader.h"

#include <assert.h>
#include <string.h>

enum { MESSAGE_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct websocket_item *item) {
    switch (item->kind) {
    case WEBSOCKET_MESSAGE:
        assert(item->length <= MESSAGE_MAX);
        assert(item->binary || (item->length > 0 && item->data[0] == '\0') ||
               utf8_is_valid(item->data, item->length));
        break;
    case WEBSOCKET_PING:
    case WEBSOCKET_PONG:
        assert(item->length <= 125);
        break;
    case WEBSOCKET_CLOSE:
        assert(item->code >= 1000 && item->code < 5000);
        break;
    case WEBSOCKET_BROKEN:
        assert(item->why != NULL && strlen(item->why) <= 123);
        assert(item->code == WEBSOCKET_PROTOCOL_ERROR || item->code == WEBSOCKET_BAD_TEXT ||
               item->code == WEBSOCKET_TOO_LARGE);
        break;
    case WEBSOCKET_NONE:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    size_t piece = (size_t)data[0] + 1;
    struct evbuffer *input = evbuffer_new();
    struct websocket_reader *reader = websocket_reader_create(input, MESSAGE_MAX);
    struct websocket_item item = {.kind = WEBSOCKET_NONE};
    for (size_t at = 1; at < size && item.kind != WEBSOCKET_BROKEN; at += piece) {
        evbuffer_add(input, data + at, size - at < piece ? size - at : piece);
        do {
            websocket_reader_next(reader, &item);
            check(&item);
        } while (item.kind != WEBSOCKET_NONE && item.kind != WEBSOCKET_BROKEN);
    }
    if (item.kind == WEBSOCKET_BROKEN) {
        websocket_reader_next(reader, &item);
        assert(item.kind == WEBSOCKET_NONE);
    }
    websocket_reader_destroy(reader);
    evbuffer_free(input);
    return 0;
}
