#include "gateway/message_make.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

static struct bytes text_bytes(const char *text) {
    return (struct bytes){.data = (const uint8_t *)text, .length = strlen(text)};
}

void message_make(struct buffer *out, const struct message_recipe *recipe) {
    char id[37], date[CLOCK_TEXT_SIZE];
    text_uuid4(id);
    clock_format(clock_wall_us(), date);
    cleanup_json json_t *header =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "msg_id", id, "session", recipe->session,
                  "username", "elara", "date", date, "msg_type", recipe->type, "version", "5.4");
    cleanup_free char *header_text = json_dumps(header, JSON_COMPACT);
    cleanup_free char *content_text = json_dumps(recipe->content, JSON_COMPACT);
    json_decref(recipe->content);
    assert(header_text != NULL && content_text != NULL); /* made by us from checked UTF-8 */
    buffer_clear(out);
    int written = kernel_message_write(out, recipe->channel, text_bytes(header_text),
                                       recipe->parent_header.length > 0 ? recipe->parent_header
                                                                        : text_bytes("{}"),
                                       text_bytes("{}"), text_bytes(content_text), NULL, 0);
    assert(written == 0);
    (void)written;
}
