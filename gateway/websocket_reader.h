/* What a WebSocket client sends, frame by frame out of an evbuffer (wslay's frame API): whole
 * messages and control frames. Knows the rules of RFC 6455 for a server: masks, reserved bits,
 * fragments, control frames, close codes, UTF-8. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <event2/buffer.h>
#include <stdbool.h>
#include <stdint.h>

enum websocket_code {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_NO_CODE = 1005, /* never on the wire */
    WEBSOCKET_BAD_TEXT = 1007,
    WEBSOCKET_TOO_LARGE = 1009,
    WEBSOCKET_TRY_LATER = 1013,
};

enum websocket_item_kind {
    WEBSOCKET_NONE, /* more bytes are needed */
    WEBSOCKET_MESSAGE,
    WEBSOCKET_PING,
    WEBSOCKET_PONG,
    WEBSOCKET_CLOSE,  /* code: the peer's, or WEBSOCKET_NO_CODE */
    WEBSOCKET_BROKEN, /* code: to close with; why says what was wrong. Nothing more can be read */
};

struct websocket_item {
    enum websocket_item_kind kind;
    bool binary;
    uint16_t code;
    const uint8_t *data; /* until the next call */
    size_t length;
    const char *why;
};

struct websocket_reader;
/* message_max: bytes of one message. input is borrowed. */
struct websocket_reader *websocket_reader_create(struct evbuffer *input, size_t message_max);
void websocket_reader_destroy(struct websocket_reader *reader);
size_t websocket_reader_held(const struct websocket_reader *reader); /* of an unfinished message */
void websocket_reader_next(struct websocket_reader *reader, struct websocket_item *ret);
