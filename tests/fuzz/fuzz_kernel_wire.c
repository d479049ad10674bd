/* Multipart messages of every shape: the input is a key's presence, then parts as u16 length and
 * bytes. */
#include "launcher/kernel_wire.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches each byte, so that a part that points outside is seen. */
static unsigned sum(struct bytes part) {
    unsigned total = 0;
    for (size_t i = 0; i < part.length; i++)
        total += part.data[i];
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct bytes parts[KERNEL_WIRE_PARTS_MAX + 16];
    char signature[KERNEL_WIRE_SIGNATURE_SIZE];
    size_t count = 0;
    size_t most = sizeof parts / sizeof parts[0];
    if (size == 0)
        return 0;
    struct kernel_wire *wire = kernel_wire_create(data[0] & 1 ? "key" : "");
    bool is_signed_right = data[0] & 2;
    for (size_t at = 1; at + 2 <= size && count < most;) {
        size_t length = (size_t)data[at] | (size_t)data[at + 1] << 8;
        at += 2;
        if (length > size - at)
            length = size - at;
        parts[count++] = (struct bytes){data + at, length};
        at += length;
    }
    /* The fuzzer cannot guess a signature: it may ask for one. */
    for (size_t i = 0; is_signed_right && i + 5 < count; i++) {
        if (parts[i].length != 9 || memcmp(parts[i].data, kernel_wire_delimiter, 9) != 0)
            continue;
        kernel_wire_sign(wire, parts[i + 2], parts[i + 3], parts[i + 4], parts[i + 5], signature);
        parts[i + 1] = (struct bytes){(const uint8_t *)signature, strlen(signature)};
        break;
    }
    struct wire_message message;
    if (kernel_wire_parse(wire, parts, count, &message) == WIRE_OK) {
        unsigned total = sum(message.header) + sum(message.parent_header) + sum(message.metadata) +
                         sum(message.content);
        for (size_t i = 0; i < message.buffer_count; i++)
            total += sum(message.buffers[i]);
        if (total == 0)
            abort(); /* four objects have braces */
    }
    kernel_wire_destroy(wire);
    return 0;
}
