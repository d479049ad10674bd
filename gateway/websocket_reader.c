#include "gateway/websocket_reader.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

enum { CONTROL_MAX = 125, KEEP_CAPACITY = 8 << 10 };

struct websocket_reader {
    wslay_frame_context_ptr frames;
    struct evbuffer *input;
    struct buffer message; /* the fragments so far */
    uint8_t control[CONTROL_MAX];
    size_t checked;         /* of a text: how far it is UTF-8 */
    uint8_t message_opcode; /* 0: none under way */
    bool is_delivered;      /* message was handed out: empty it before the next one */
    bool is_broken;
    /* The frame under way. */
    bool in_frame;
    bool fin;
    uint8_t opcode;
    uint64_t frame_length;
    uint64_t frame_got;
};

static ssize_t on_recv(uint8_t *buffer, size_t size, int flags, void *context) {
    (void)flags;
    struct websocket_reader *reader = context;
    int got = evbuffer_remove(reader->input, buffer, size);
    return got > 0 ? got : -1; /* wslay takes -1 for "nothing now" */
}

struct websocket_reader *websocket_reader_create(struct evbuffer *input, size_t message_max) {
    struct websocket_reader *reader = memory_alloc(sizeof *reader);
    reader->input = input;
    reader->message.limit = message_max;
    struct wslay_frame_callbacks callbacks = {.recv_callback = on_recv};
    if (wslay_frame_context_init(&reader->frames, &callbacks, reader) < 0)
        abort(); /* out of memory */
    return reader;
}

void websocket_reader_destroy(struct websocket_reader *reader) {
    if (reader == NULL)
        return;
    wslay_frame_context_free(reader->frames);
    buffer_free(&reader->message);
    free(reader);
}

static void broken(struct websocket_reader *reader, struct websocket_item *ret,
                   enum websocket_code code, const char *why) {
    reader->is_broken = true;
    *ret = (struct websocket_item){.kind = WEBSOCKET_BROKEN, .code = (uint16_t)code, .why = why};
}

static bool is_control(uint8_t opcode) {
    return opcode & 8;
}

/* What is wrong with a frame's header, or NULL. */
static const char *check_header(const struct websocket_reader *reader,
                                const struct wslay_frame_iocb *frame) {
    if (!frame->mask)
        return "a client's frame must be masked";
    if (frame->rsv)
        return "a reserved bit is set, and no extension was agreed on";
    switch (frame->opcode) {
    case WSLAY_CONTINUATION_FRAME:
        return reader->message_opcode ? NULL : "a continuation of nothing";
    case WSLAY_TEXT_FRAME:
    case WSLAY_BINARY_FRAME:
        return reader->message_opcode ? "a new message within a fragmented one" : NULL;
    case WSLAY_CONNECTION_CLOSE:
    case WSLAY_PING:
    case WSLAY_PONG:
        return frame->fin && frame->payload_length <= CONTROL_MAX
                   ? NULL
                   : "a control frame must be whole and of at most 125 bytes";
    default:
        return "an unknown opcode";
    }
}

static int start_frame(struct websocket_reader *reader, const struct wslay_frame_iocb *frame,
                       struct websocket_item *ret) {
    const char *wrong = check_header(reader, frame);
    if (wrong != NULL) {
        broken(reader, ret, WEBSOCKET_PROTOCOL_ERROR, wrong);
        return -1;
    }
    if (!is_control(frame->opcode) &&
        frame->payload_length > reader->message.limit - reader->message.length) {
        broken(reader, ret, WEBSOCKET_TOO_LARGE, "a message larger than the limit");
        return -1;
    }
    reader->in_frame = true;
    reader->fin = frame->fin;
    reader->opcode = frame->opcode;
    reader->frame_length = frame->payload_length;
    reader->frame_got = 0;
    if (frame->opcode == WSLAY_TEXT_FRAME || frame->opcode == WSLAY_BINARY_FRAME)
        reader->message_opcode = frame->opcode;
    return 0;
}

static void take_payload(struct websocket_reader *reader, const uint8_t *data, size_t length) {
    if (is_control(reader->opcode))
        memcpy(reader->control + reader->frame_got, data, length);
    else
        buffer_append(&reader->message, data, length); /* within the limit: start_frame looked */
    reader->frame_got += length;
}

/* What no rest makes UTF-8 is refused at once: a client may take a day for the rest. */
static bool is_good_so_far(struct websocket_reader *reader) {
    const struct buffer *message = &reader->message;
    /* jupyter_server's gateway client sends binary messages as text; those begin with NUL */
    bool is_text = reader->message_opcode == WSLAY_TEXT_FRAME && message->length > 0 &&
                   message->data[0] != '\0';
    return !is_text || utf8_may_become_valid(message->data, message->length, &reader->checked);
}

/* Codes that may stand in a close frame (RFC 6455, 7.4 and the IANA registry). */
static bool is_close_code(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static void finish_close(struct websocket_reader *reader, struct websocket_item *ret) {
    size_t length = (size_t)reader->frame_length;
    unsigned code = WEBSOCKET_NO_CODE;
    if (length >= 2)
        code = (unsigned)(reader->control[0] << 8 | reader->control[1]);
    if (length == 1 || (length >= 2 && !is_close_code(code)))
        broken(reader, ret, WEBSOCKET_PROTOCOL_ERROR, "a bad close code");
    else if (length > 2 && !utf8_is_valid(reader->control + 2, length - 2))
        broken(reader, ret, WEBSOCKET_BAD_TEXT, "a close reason that is not UTF-8");
    else
        *ret = (struct websocket_item){.kind = WEBSOCKET_CLOSE, .code = (uint16_t)code};
}

static void finish_message(struct websocket_reader *reader, struct websocket_item *ret) {
    struct buffer *message = &reader->message;
    bool binary = reader->message_opcode == WSLAY_BINARY_FRAME;
    reader->message_opcode = 0;
    bool is_disguised = message->length > 0 && message->data[0] == '\0';
    if (!binary && !is_disguised && reader->checked < message->length) {
        broken(reader, ret, WEBSOCKET_BAD_TEXT, "a text that is not UTF-8");
        return;
    }
    reader->is_delivered = true;
    *ret = (struct websocket_item){.kind = WEBSOCKET_MESSAGE,
                                   .binary = binary,
                                   .data = message->data,
                                   .length = message->length};
}

/* False: it was a fragment, go on. */
static bool finish_frame(struct websocket_reader *reader, struct websocket_item *ret) {
    reader->in_frame = false;
    if (!is_control(reader->opcode)) {
        if (!reader->fin)
            return false;
        finish_message(reader, ret);
    } else if (reader->opcode == WSLAY_CONNECTION_CLOSE) {
        finish_close(reader, ret);
    } else {
        *ret = (struct websocket_item){.kind = reader->opcode == WSLAY_PING ? WEBSOCKET_PING
                                                                            : WEBSOCKET_PONG,
                                       .data = reader->control,
                                       .length = (size_t)reader->frame_length};
    }
    return true;
}

static void forget_message(struct websocket_reader *reader) {
    reader->is_delivered = false;
    reader->checked = 0;
    if (reader->message.capacity > KEEP_CAPACITY)
        buffer_free(&reader->message); /* one large paste must not be paid for all day */
    else
        buffer_clear(&reader->message);
}

size_t websocket_reader_held(const struct websocket_reader *reader) {
    return reader->is_delivered ? 0 : reader->message.length;
}

void websocket_reader_next(struct websocket_reader *reader, struct websocket_item *ret) {
    *ret = (struct websocket_item){.kind = WEBSOCKET_NONE};
    if (reader->is_delivered)
        forget_message(reader);
    while (!reader->is_broken) {
        struct wslay_frame_iocb frame = {0};
        ssize_t got = wslay_frame_recv(reader->frames, &frame);
        if (got == WSLAY_ERR_WANT_READ)
            return;
        if (got < 0) {
            broken(reader, ret, WEBSOCKET_PROTOCOL_ERROR, "a malformed frame");
            return;
        }
        if (!reader->in_frame && start_frame(reader, &frame, ret) < 0)
            return;
        take_payload(reader, frame.data, frame.data_length);
        if (!is_good_so_far(reader)) {
            broken(reader, ret, WEBSOCKET_BAD_TEXT, "a text that is not UTF-8");
            return;
        }
        if (reader->frame_got == reader->frame_length && finish_frame(reader, ret))
            return;
    }
}
