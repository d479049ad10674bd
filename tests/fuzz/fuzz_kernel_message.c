/* Any bytes as a kernel message: what is taken lies inside them, and its parts written again are
 * the same bytes. */
#include "launcher/kernel_message.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct bytes part, const uint8_t *data, size_t size) {
    assert(part.data >= data && part.data <= data + size);
    assert(part.length <= (size_t)(data + size - part.data));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct kernel_message message;
    struct error err = {0};
    if (kernel_message_parse(data, size, &message, &err) < 0) {
        assert(err.code == ERROR_INVALID && err.text[0] != '\0');
        return 0;
    }
    struct bytes buffers[KERNEL_MESSAGE_PARTS_MAX];
    for (size_t i = 0; i < message.buffer_count; i++) {
        buffers[i] = kernel_message_buffer(&message, i);
        check_inside(buffers[i], data, size);
    }
    check_inside(message.header, data, size);
    check_inside(message.parent_header, data, size);
    check_inside(message.metadata, data, size);
    check_inside(message.content, data, size);
    assert(kernel_message_buffer(&message, message.buffer_count).data == NULL);

    struct buffer again = {0};
    int written =
        kernel_message_write(&again, message.channel, message.header, message.parent_header,
                             message.metadata, message.content, buffers, message.buffer_count);
    assert(written == 0 && again.length == size && memcmp(again.data, data, size) == 0);
    buffer_free(&again);
    return 0;
}
