/* What one WebSocket client can take, and messages made to fit it. jupyter_server's gateway client
 * and jupyter_client's WebSocket client read every frame as UTF-8 text, so a binary frame ends
 * their reader for good; jupyter_server drops the connection at frames above 10 MiB and would come
 * back for ever. */
#pragma once

#include "base/buffer.h"
#include "gateway/http.h"
#include "gateway/message_format.h"
#include "launcher/kernel_message.h"

#include <stdbool.h>
#include <stddef.h>

struct client_dialect {
    enum message_format format;
    bool text_only;   /* no binary frames: buffers are left out */
    size_t frame_max; /* 0 = no limit */
    char told[64];    /* msg_id of the last cell that was told that buffers are missing */
    struct buffer frame;
};

/* By what the upgrade request offers and who it says it is. */
void client_dialect_init(struct client_dialect *dialect, const struct http_request *request,
                         size_t gateway_client_max);
void client_dialect_free(struct client_dialect *dialect);

/* Hands the message on as frames this client can take, one or several; v1 carries it as it is. A
 * legacy client is given U+FFFD for what is no UTF-8. What cannot be JSON all the same, or is
 * nested too deep, is replaced: a reply by an error, a status by its state alone, any other by a
 * notice on stderr in its cell. -1 in both cases, with err naming the part: for a log line. */
typedef void client_frame(void *context, bool binary, const void *data, size_t length);
int client_dialect_write(struct client_dialect *dialect, const struct kernel_message *message,
                         client_frame *send, void *context, struct error *err);
