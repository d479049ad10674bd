#include "wire.h"

#include "base/buffer.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

static void append_u64(struct buffer *out, uint64_t value) {
    buffer_append(out, &value, sizeof value); /* little-endian machines only, like the layout */
}

static void append_v1(struct buffer *out, const char *header, const char *content) {
    const char *parts[] = {"shell", header, "{}", "{}", content};
    enum { PARTS = sizeof parts / sizeof parts[0] };
    uint64_t offset = 8 * (PARTS + 2);
    append_u64(out, PARTS + 1);
    for (size_t i = 0; i < PARTS; i++) {
        append_u64(out, offset);
        offset += strlen(parts[i]);
    }
    append_u64(out, offset);
    for (size_t i = 0; i < PARTS; i++)
        buffer_append_text(out, parts[i]);
}

void wire_request(struct wire *wire, const char *type, const char *content) {
    char id[37], header[512];
    text_uuid4(id);
    snprintf(header, sizeof header,
             "{\"msg_id\":\"%s\",\"session\":\"wire\",\"username\":\"wire\","
             "\"date\":\"2026-01-01T00:00:00.000000Z\",\"msg_type\":\"%s\",\"version\":\"5.3\"}",
             id, type);
    struct buffer frame = {0};
    if (wire->format == WIRE_V1)
        append_v1(&frame, header, content);
    else
        buffer_printf(&frame,
                      "{\"channel\":\"shell\",\"header\":%s,\"parent_header\":{},\"metadata\":{},"
                      "\"content\":%s,\"buffers\":[]}",
                      header, content);
    wire_send(wire, wire->format == WIRE_V1, frame.data, frame.length);
    buffer_free(&frame);
}

/* The header stands near the front in both formats, before anything the kernel printed. */
static bool head_has(const uint8_t *message, size_t length, const char *text) {
    size_t head = length < 700 ? length : 700;
    return memmem(message, head, text, strlen(text)) != NULL;
}

bool wire_is_type(const struct wire *wire, const uint8_t *message, size_t length,
                  const char *type) {
    (void)wire;
    char spaced[96], tight[96];
    snprintf(spaced, sizeof spaced, "\"msg_type\": \"%s\"", type);
    snprintf(tight, sizeof tight, "\"msg_type\":\"%s\"", type);
    return head_has(message, length, tight) || head_has(message, length, spaced);
}

bool wire_is_stream(const struct wire *wire, const uint8_t *message, size_t length) {
    return wire_is_type(wire, message, length, "stream");
}
