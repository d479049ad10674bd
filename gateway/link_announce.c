/* What a gateway has read and may not hand in yet: its launcher is told of it, so that somebody
 * answers its cells should we be lost; and of what we give up ourselves. */
#include "gateway/links_internal.h"
#include "launcher/message_class.h"

#include <stdlib.h>

enum { HEADER_MAX = 4096 };

void link_request_free(struct link_request *request) {
    list_remove(&request->node);
    zmq_msg_close(&request->message);
    free(request);
}

static bool can_announce(const struct attachment *attachment) {
    return attachment->session->id != NULL && link_has_capability(attachment->link, "announce");
}

static enum link_sent announce(struct link_request *request, enum link_announcement what) {
    const struct attachment *attachment = request->attachment;
    struct kernel_message message;
    if (kernel_message_parse(zmq_msg_data(&request->message), request->length, &message, NULL) <
            0 ||
        message.header.length > HEADER_MAX || message_cell(message.header) == 0)
        return LINK_SENT;
    return link_emit(attachment->link, LINK_ANNOUNCE, attachment->number, what, message.header.data,
                     message.header.length);
}

enum link_sent link_announce_queue(const struct attachment *attachment) {
    if (!can_announce(attachment))
        return LINK_SENT;
    list_each (&attachment->queue, struct link_request, node, request) {
        enum link_sent sent =
            request->is_announced ? LINK_SENT : announce(request, LINK_ANNOUNCE_MAY_COME);
        if (sent != LINK_SENT)
            return sent;
        request->is_announced = true;
    }
    return LINK_SENT;
}

static enum link_sent give_up(struct link_request *request) {
    enum link_sent sent =
        can_announce(request->attachment) ? announce(request, LINK_ANNOUNCE_GIVEN_UP) : LINK_SENT;
    if (sent == LINK_SENT)
        link_request_free(request);
    return sent;
}

/* What is in flight goes its way; what was taken before a break is no longer in `sent` since
 * ATTACHED. */
enum link_sent link_announce_given_up(struct attachment *attachment) {
    enum link_sent sent = LINK_SENT;
    list_each (&attachment->session->sent, struct link_request, node, repeated)
        if (sent == LINK_SENT && repeated->attachment == attachment && !repeated->in_flight)
            sent = give_up(repeated);
    list_each (&attachment->queue, struct link_request, node, waiting) {
        size_t length = waiting->length;
        if (sent == LINK_SENT && (sent = give_up(waiting)) == LINK_SENT)
            attachment->queued_bytes -= length;
    }
    return sent;
}

bool attachment_is_recorded(const struct attachment *attachment) {
    if (attachment->state != ATTACHMENT_ATTACHED || attachment->session->resend)
        return false;
    if (!can_announce(attachment))
        return true; /* nobody ever will */
    list_each (&attachment->queue, struct link_request, node, request)
        if (!request->is_announced)
            return false;
    return true;
}
