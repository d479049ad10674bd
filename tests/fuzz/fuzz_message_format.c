/* Client frames of any bytes; byte 0 chooses the format. What is taken is a message of the link,
 * and goes out again in every format as JSON that parses. */
#include "base/utf8.h"
#include "gateway/message_format.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct kernel_message *message) {
    struct buffer out = {0};
    struct error err = {0};
    if (message_to_legacy_text(message, &out, &err) < 0)
        abort(); /* from_client has checked it all */
    assert(strlen(buffer_text(&out)) == out.length);
    json_error_t why;
    json_t *json = json_loads(buffer_text(&out), 0, &why);
    /* jansson refuses what Python's json takes: NaN, huge numbers, lone surrogates, \u0000. */
    assert(json == NULL || json_is_string(json_object_get(json, "msg_id")));
    json_decref(json);
    buffer_free(&out);
}

/* Legacy binary must come back as the same message. */
static void check_round_trip(const struct kernel_message *message) {
    struct buffer frame = {0}, again = {0};
    struct kernel_message back;
    assert(message_to_legacy_binary(message, &frame, NULL) == 0);
    assert(message_from_client(FORMAT_LEGACY, true, frame.data, frame.length, &again, NULL) == 0);
    assert(kernel_message_parse(again.data, again.length, &back, NULL) == 0);
    assert(back.channel == message->channel && back.buffer_count == message->buffer_count);
    buffer_free(&frame);
    buffer_free(&again);
}

/* Of any bytes it makes UTF-8, and of UTF-8 the same. */
static void check_repair(struct bytes bytes) {
    struct buffer out = {0};
    struct kernel_message message = {.content = bytes}, repaired;
    assert(message_repair(&message, &out, &repaired) == 0);
    struct bytes content = repaired.content;
    assert(utf8_is_valid(content.data, content.length));
    if (utf8_is_valid(bytes.data, bytes.length))
        assert(content.length == bytes.length &&
               memcmp(content.data, bytes.data, bytes.length) == 0);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buffer out = {0};
    struct error err = {0};
    struct kernel_message message;
    if (size < 1)
        return 0;
    check_repair((struct bytes){data, size});
    enum message_format format = data[0] & 1 ? FORMAT_V1 : FORMAT_LEGACY;
    if (message_from_client(format, data[0] & 2, data + 1, size - 1, &out, &err) < 0) {
        assert(err.code != ERROR_NONE && err.text[0] != '\0' && out.length == 0);
    } else {
        if (kernel_message_parse(out.data, out.length, &message, &err) < 0)
            abort();
        check_text(&message);
        check_round_trip(&message);
    }
    buffer_free(&out);
    return 0;
}
