#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/links_internal.h"
#include "launcher/journal_segment.h"

#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/link_dispatch"

/* Optional features of this side, each a line. */
const char *const link_capabilities[] = {"rebuild", "announce", "sure", NULL};

bool link_has_capability(const struct link *link, const char *name) {
    return link_terms_have(&link->terms, link->links->capabilities, name) && link_is_up(link);
}

/* A control frame's JSON object; NULL (and a log line) when it is none. A new reference. */
static json_t *parse_object(const struct link *link, const struct link_frame *frame,
                            const uint8_t *payload) {
    json_error_t problem;
    json_t *json = NULL;
    if (frame->length <= LINK_CONTROL_MAX)
        json = json_loadb((const char *)payload, frame->length, 0, &problem);
    if (!json_is_object(json)) {
        log_warning("kernel %s: a %s that is no JSON object was ignored", link->kernel_id,
                    link_type_name(frame->type));
        json_decref(json);
        return NULL;
    }
    return json;
}

/* It is asked again and again, but said once. */
static void refuse(struct link *link, const char *why) {
    if (!link->refusal_logged)
        log_error("kernel %s: the launcher at %s is not talked to: %s", link->kernel_id,
                  link->endpoint, why);
    link->refusal_logged = true;
    link_refuse(link);
}

static int check_welcome(const struct link *link, const json_t *welcome, struct link_terms *terms,
                         struct error *err) {
    const char *kernel_id = json_string_value(json_object_get(welcome, "kernel_id"));
    if (kernel_id == NULL || strcmp(kernel_id, link->kernel_id) != 0)
        return error_set(err, ERROR_NOT_FOUND, "it serves kernel %.130s",
                         kernel_id ? kernel_id : "(no kernel_id)");
    if (link_terms_settle(welcome, link->links->capabilities, terms, err) < 0)
        return error_wrap(err, "its WELCOME");
    return 0;
}

/* Whether the journal's numbers are other ones than those we know: it says so, or another launcher
 * has lower ones (of an earlier release, or it lost some). */
static bool has_begun_again(const struct link *link, const char *nonce, const char *numbering,
                            uint64_t last) {
    if (numbering != NULL && link->numbering != NULL && strcmp(numbering, link->numbering) != 0)
        return true;
    bool is_another =
        nonce == NULL || link->launcher_nonce == NULL || strcmp(nonce, link->launcher_nonce) != 0;
    return is_another && last < link->journal_last;
}

static void on_welcome(struct link *link, const struct link_frame *frame, const uint8_t *payload) {
    if (link->state != LINK_STATE_HELLO)
        return; /* the answer to a HELLO that was said twice */
    cleanup_json json_t *welcome = parse_object(link, frame, payload);
    if (welcome == NULL)
        return;
    struct error err;
    if (check_welcome(link, welcome, &link->terms, &err) < 0) {
        refuse(link, err.text);
        return;
    }
    link->refusal_logged = false;
    const char *nonce = json_string_value(json_object_get(welcome, "launcher"));
    const char *numbering =
        json_string_value(json_object_get(json_object_get(welcome, "record"), "numbering"));
    if (has_begun_again(link, nonce, numbering, frame->seq))
        link_attachments_renumber(link);
    link->journal_last = frame->seq;
    text_replace(&link->numbering, numbering);
    text_replace(&link->launcher_nonce, nonce);
    link->state = LINK_STATE_UP;
    link_wake(link);
    link->events.welcomed(link->context, json_object_get(welcome, "record"),
                          json_object_get(welcome, "status"));
}

/* To a RESET that answers what was said before HELLO, HELLO is on its way already. */
static void on_reset(struct link *link) {
    if (link->state == LINK_STATE_UP)
        link_say_hello(link);
}

static void on_report(struct link *link, const struct link_frame *frame, const uint8_t *payload) {
    cleanup_json json_t *report = parse_object(link, frame, payload);
    if (report == NULL)
        return;
    link->journal_last = frame->seq;
    if (frame->type == LINK_STATUS)
        link->events.status(link->context, report);
    else
        link->events.exited(link->context, report);
}

static void on_attachment_frame(struct link *link, const struct link_frame *frame,
                                const struct link_payload *payload) {
    struct attachment *attachment = link_attachment_find(link, frame->attachment);
    if (attachment == NULL)
        return; /* detached meanwhile */
    switch (frame->type) {
    case LINK_ATTACHED:
        attachment_on_attached(attachment, frame, payload->data);
        break;
    case LINK_DETACHED:
        attachment_on_detached(attachment, payload->data, payload->length);
        break;
    case LINK_MESSAGE:
        attachment_on_message(attachment, frame, payload);
        break;
    default:
        attachment_on_grant(attachment, frame, payload->data);
        break;
    }
}

static void on_frame(struct link *link, const struct link_frame *frame,
                     const struct link_payload *payload) {
    switch (frame->type) {
    case LINK_WELCOME:
        on_welcome(link, frame, payload->data);
        break;
    case LINK_RESET:
        on_reset(link);
        break;
    case LINK_PING:
        link->pong_due = true;
        link->pong_seq = frame->seq;
        link_wake(link);
        break;
    case LINK_RESULT:
        link_on_result(link, frame->seq, payload->data, payload->length);
        break;
    case LINK_STATUS:
    case LINK_EXIT:
        if (link->state == LINK_STATE_UP)
            on_report(link, frame, payload->data);
        break;
    case LINK_ATTACHED:
    case LINK_DETACHED:
    case LINK_MESSAGE:
    case LINK_GRANT:
        if (link->state == LINK_STATE_UP)
            on_attachment_frame(link, frame, payload);
        break;
    default: /* PONG was heard by arriving; a later version's frames are not for us */
        break;
    }
}

/* All frames and parts belong together, or nothing of the message is used. */
static int check_batch(zmq_msg_t *parts, unsigned count, struct error *err) {
    if (count == 0)
        return error_set(err, ERROR_INVALID, "an empty message");
    if (count > LINK_EXTERNAL_MAX + 1)
        return error_set(err, ERROR_LIMIT, "more than %d further parts", LINK_EXTERNAL_MAX);
    const uint8_t *batch = zmq_msg_data(&parts[0]);
    size_t length = zmq_msg_size(&parts[0]), at = 0;
    struct link_frame frame;
    unsigned part = 1;
    int more;
    while ((more = link_frame_next(batch, length, &at, &frame, err)) > 0) {
        if (!(frame.flags & LINK_FLAG_EXTERNAL))
            continue;
        if (part >= count)
            return error_set(err, ERROR_INVALID, "the payload of an EXTERNAL frame is missing");
        if (zmq_msg_size(&parts[part]) != frame.length)
            return error_set(err, ERROR_INVALID, "further part %u has %zu bytes, its frame says %u",
                             part, zmq_msg_size(&parts[part]), frame.length);
        part++;
    }
    if (more == 0 && part < count)
        return error_set(err, ERROR_INVALID, "%u further parts belong to no frame", count - part);
    return more;
}

static void on_malformed(struct link *link, const struct error *err) {
    link->links->malformed++;
    if (!link->malformed_logged)
        log_error("kernel %s: a malformed message from its launcher was dropped: %s",
                  link->kernel_id, err->text);
    link->malformed_logged = true;
    if (link->state == LINK_STATE_UP)
        link_say_hello(link); /* what was dropped comes again, from the cursors */
    link->reset_due = true;
    link_wake(link);
}

/* It is sent to this attachment then, from its cursor on; the others go on. */
static void on_unreadable(struct attachment *attachment) {
    struct link *link = attachment->link;
    if (!link->unreadable_logged)
        log_warning("kernel %s: a message was not where its launcher said in %s: a client's come "
                    "over the link from now on, which is slower for large ones",
                    link->kernel_id, link->journal != NULL ? link->journal : "a journal");
    link->unreadable_logged = true;
    link_attachment_again(attachment);
}

/* A message that is named reads like one that was sent. Returns its bytes. */
static size_t on_named(struct link *link, const struct link_frame *frame) {
    struct link_segment place;
    zmq_msg_t message;
    struct attachment *attachment = link_attachment_find(link, frame->attachment);
    if (link->state != LINK_STATE_UP || attachment == NULL ||
        attachment->state != ATTACHMENT_ATTACHED)
        return 0;
    if (link->journal == NULL || link_segment_read(frame, &place) < 0 ||
        zmq_msg_init_size(&message, place.length) < 0) {
        link->links->malformed++;
        on_unreadable(attachment);
        return 0;
    }
    if (segment_read(link->journal, place.first_seq, place.offset, frame->seq,
                     zmq_msg_data(&message), place.length) < 0) {
        zmq_msg_close(&message);
        on_unreadable(attachment);
        return 0;
    }
    struct link_batch *own = link_batch_take(&message);
    struct link_payload payload = {zmq_msg_data(&own->message), place.length, own};
    on_frame(link, frame, &payload);
    link_payload_release(own);
    return place.length;
}

static size_t dispatch_frames(struct link *link, struct link_batch *batch, zmq_msg_t *parts) {
    const uint8_t *data = zmq_msg_data(&batch->message);
    size_t length = zmq_msg_size(&batch->message), at = 0;
    struct link_frame frame;
    unsigned part = 1;
    size_t bytes = 0;
    while (link->state != LINK_STATE_CLOSED && link->state != LINK_STATE_REFUSED &&
           link_frame_next(data, length, &at, &frame, NULL) > 0) {
        if (frame.type == LINK_MESSAGE && frame.flags & LINK_FLAG_SEGMENT) {
            bytes += on_named(link, &frame);
            continue;
        }
        if (!(frame.flags & LINK_FLAG_EXTERNAL)) {
            struct link_payload payload = {frame.payload, frame.length, batch};
            on_frame(link, &frame, &payload);
            continue;
        }
        struct link_batch *own = link_batch_take(&parts[part++]);
        struct link_payload payload = {zmq_msg_data(&own->message), frame.length, own};
        on_frame(link, &frame, &payload);
        link_payload_release(own);
    }
    return bytes;
}

size_t link_dispatch(struct link *link, zmq_msg_t *parts, unsigned count) {
    struct error err;
    size_t bytes = 0;
    unsigned held = count <= LINK_EXTERNAL_MAX + 1 ? count : LINK_EXTERNAL_MAX + 1;
    if (check_batch(parts, count, &err) < 0) {
        on_malformed(link, &err);
    } else {
        struct link_batch *batch = link_batch_take(&parts[0]);
        bytes = dispatch_frames(link, batch, parts);
        link_payload_release(batch);
    }
    for (unsigned i = 0; i < held; i++)
        zmq_msg_close(&parts[i]);
    return bytes;
}
