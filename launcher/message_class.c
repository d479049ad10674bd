#include "launcher/message_class.h"

#include "base/text.h"

#include <string.h>

enum { TYPE_MAX = 32, ID_MAX = 512, UPDATE_MAX = 1 << 20 };

static const struct {
    const char *type;
    enum message_class class;
} classes[] = {
    {"stream", MESSAGE_STREAM},
    {"display_data", MESSAGE_OUTPUT},
    {"execute_result", MESSAGE_OUTPUT},
    {"error", MESSAGE_OUTPUT},
    {"update_display_data", MESSAGE_UPDATE},
    {"clear_output", MESSAGE_CLEAR},
    {"execute_input", MESSAGE_INPUT},
    {"execute_reply", MESSAGE_REPLY},
    {"input_request", MESSAGE_PROMPT},
    {"execute_request", MESSAGE_REQUEST},
};

/* Folded: cells live for hours, not for ever, so 32 bits tell them apart. */
static uint32_t hash_text(const char *text) {
    uint64_t value = text_hash(text);
    uint32_t folded = (uint32_t)(value >> 32 ^ value);
    return folded != 0 ? folded : 1;
}

uint32_t message_cell(struct bytes header) {
    char id[ID_MAX];
    if (!kernel_message_is(header, "execute_request") ||
        json_scan_text(header, "msg_id", id, sizeof id) <= 0)
        return 0;
    return hash_text(id);
}

static enum message_class class_of_status(struct bytes content) {
    char state[TYPE_MAX];
    if (json_scan_text(content, "execution_state", state, sizeof state) < 0)
        return MESSAGE_STATE;
    if (strcmp(state, "busy") == 0)
        return MESSAGE_BUSY;
    return strcmp(state, "idle") == 0 ? MESSAGE_IDLE : MESSAGE_STATE;
}

/* 0 also for a large one, whose data would have to be walked. */
static uint32_t display_of(struct bytes content) {
    struct bytes transient;
    char id[ID_MAX];
    if (content.length > UPDATE_MAX || json_scan_object(content, "transient", &transient) < 0 ||
        json_scan_text(transient, "display_id", id, sizeof id) <= 0)
        return 0;
    return hash_text(id);
}

struct message_mark message_mark(const struct kernel_message *message) {
    struct message_mark mark = {MESSAGE_OTHER, message_cell(message->parent_header), 0};
    char type[TYPE_MAX];
    if (json_scan_text(message->header, "msg_type", type, sizeof type) < 0)
        return mark;
    if (strcmp(type, "status") == 0) {
        mark.class = class_of_status(message->content);
        return mark;
    }
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strcmp(classes[i].type, type) == 0)
            mark.class = classes[i].class;
    if (mark.class == MESSAGE_REQUEST)
        mark.cell = message_cell(message->header);
    if (mark.class == MESSAGE_UPDATE)
        mark.display = display_of(message->content);
    return mark;
}
