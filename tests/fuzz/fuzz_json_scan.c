/* Any bytes as a JSON object: where a real parser takes the whole of it, the scan finds the same
 * text or none at all. */
#include "launcher/kernel_message.h"

#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

enum { DEEP = 150 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The scan has a limit of depth; brackets in texts are counted too, which only makes this
 * careful. */
static bool is_deep(const uint8_t *data, size_t size) {
    size_t brackets = 0;
    for (size_t i = 0; i < size; i++)
        brackets += data[i] == '[' || data[i] == '{';
    return brackets > DEEP;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[32];
    memset(text, '#', sizeof text);
    int length = json_scan_text((struct bytes){data, size}, "msg_type", text, sizeof text);
    assert(length < (int)sizeof text);
    assert(length < 0 || strlen(text) == (size_t)length);

    /* jansson takes a NUL byte behind a number for nothing; RFC 8259 does not. */
    bool comparable = size == 0 || memchr(data, '\0', size) == NULL;
    json_t *json =
        comparable ? json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (json_is_object(json)) {
        const json_t *member = json_object_get(json, "msg_type");
        if (length >= 0)
            assert(json_is_string(member) && strcmp(json_string_value(member), text) == 0);
        else
            assert(!json_is_string(member) || json_string_length(member) >= sizeof text ||
                   is_deep(data, size));
    }
    json_decref(json);
    return 0;
}
