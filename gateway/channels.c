#include "gateway/channels.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "gateway/client_dialect.h"
#include "gateway/delivery.h"
#include "gateway/http_login.h"
#include "gateway/kernel_shares.h"
#include "gateway/message_format.h"
#include "gateway/metrics.h"
#include "gateway/standin.h"
#include "gateway/unanswered.h"
#include "gateway/websocket.h"

#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/channels"

enum {
    SESSION_ID_MAX = 255,
    KEEP_CAPACITY = 8 << 10, /* of a request, between two */
    CLOSE_NORMAL = 1000,
    CLOSE_COME_BACK = 1012,
    CLOSE_BAD_MESSAGE = 1007,
    CLOSE_NOT_ALLOWED = 1008,
};

struct channels {
    struct loop *loop;
    struct channels_settings settings;
    struct list clients;
    size_t count;
};

/* One WebSocket. A session may have several of them (a notebook server opens two within 30 ms);
 * each gets everything, and only those that have spoken move the session's cursor: an orphan's TCP
 * acknowledges bytes that nobody reads. */
struct client {
    struct list_node node;
    struct channels *channels;
    struct websocket *ws;
    struct kernel *kernel; /* NULL once it is gone */
    const struct auth_identity *identity;
    struct http_login *login;
    struct kernel_watcher watcher;
    struct attachment *attachment; /* NULL while the kernel has no link */
    struct standin *standin;
    char *session_id; /* NULL: live messages only */
    struct client_dialect dialect;
    struct delivery delivery;
    struct unanswered unanswered;
    struct buffer request;
    bool paused;
    bool unreadable_logged;
    bool channel_logged;
    struct loop_task free_task;
};

struct channels *channels_create(struct loop *loop, const struct channels_settings *settings) {
    struct channels *channels = memory_alloc(sizeof *channels);
    channels->loop = loop;
    channels->settings = *settings;
    list_init(&channels->clients);
    return channels;
}

void channels_configure(struct channels *channels, const struct channels_settings *settings) {
    channels->settings = *settings;
}

size_t channels_count(const struct channels *channels) {
    return channels->count;
}

/* ---- the end of a client ---- */

static void client_free(void *context) {
    struct client *client = context;
    http_login_free(client->login);
    standin_destroy(client->standin);
    client_dialect_free(&client->dialect);
    unanswered_clear(&client->unanswered);
    buffer_free(&client->request);
    free(client->session_id);
    free(client);
}

static void close_attachment(struct client *client) {
    if (client->attachment == NULL)
        return;
    struct attachment_ending ending = {.is_broken = websocket_is_broken(client->delivery.ws)};
    delivery_measure_end(&client->delivery, &ending);
    attachment_close(client->attachment, &ending);
    client->attachment = NULL;
}

static void client_leave_kernel(struct client *client) {
    if (client->kernel == NULL)
        return;
    delivery_flush(&client->delivery);
    close_attachment(client);
    delivery_stop(&client->delivery);
    kernel_unwatch(&client->watcher);
    kernel_disconnected(client->kernel);
    client->kernel = NULL;
}

/* The websocket is gone or about to be: nothing may reach it any more. */
static void client_end(struct client *client) {
    if (client->ws == NULL)
        return;
    client->ws = NULL;
    http_login_free(steal(&client->login));
    client_leave_kernel(client);
    list_remove(&client->node);
    client->channels->count--;
    loop_post(client->channels->loop, &client->free_task);
}

void channels_close_all(struct channels *channels) {
    list_each (&channels->clients, struct client, node, client)
        websocket_close(client->ws, CLOSE_COME_BACK, "the gateway is stopping");
}

void channels_destroy(struct channels *channels) {
    if (channels == NULL)
        return;
    list_each (&channels->clients, struct client, node, client) {
        client_leave_kernel(client);
        websocket_drop(client->ws);
        list_remove(&client->node);
        client_free(client);
    }
    free(channels);
}

/* ---- to the client ---- */

static void send_frame(void *context, bool binary, const void *data, size_t length) {
    struct client *client = context;
    if (client->ws != NULL)
        websocket_send(client->ws, binary, data, length);
}

static void write_message(struct client *client, const void *data, size_t length) {
    struct kernel_message message;
    struct error err;
    const char *id = client->kernel ? kernel_id(client->kernel) : "?";
    if (kernel_message_parse(data, length, &message, &err) < 0) {
        log_warning("kernel %s: a message is dropped: %s", id, err.text);
    } else if (client_dialect_write(&client->dialect, &message, send_frame, client, &err) < 0 &&
               !client->unreadable_logged) { /* a kernel may send many of them */
        client->unreadable_logged = true;
        log_warning("kernel %s: sent what is no JSON: a client is given it repaired, or a notice "
                    "in its place; this is logged once for each client: %s",
                    id, err.text);
    }
}

static void standin_say(void *context, const void *message, size_t length) {
    write_message(context, message, length);
}

static void count_message(const struct client *client, const struct link_payload *payload,
                          bool is_repeat) {
    struct metrics *metrics = client->channels->settings.metrics;
    metrics_add_message(metrics, METRICS_TO_CLIENT, payload->data, payload->length);
    if (metrics == NULL || !is_repeat)
        return;
    metrics->replayed.messages++;
    metrics->replayed.bytes += payload->length;
}

static void on_kernel_message(void *context, uint64_t seq, const struct link_payload *payload,
                              bool is_repeat) {
    struct client *client = context;
    if (client->ws == NULL)
        return;
    standin_before_kernel(client->standin);
    unanswered_note_reply(&client->unanswered, payload->data, payload->length);
    count_message(client, payload, is_repeat);
    if (client->dialect.format == FORMAT_V1) { /* the link carries just these bytes */
        link_payload_retain(payload);
        websocket_send_reference(client->ws, true, payload->data, payload->length,
                                 link_payload_release, payload->owner);
    } else {
        write_message(client, payload->data, payload->length);
    }
    delivery_note(&client->delivery, seq, payload->length, is_repeat);
}

/* ---- the attachment ---- */

static void client_update(struct client *client);

static void on_attached(void *context, uint64_t cursor, bool anew) {
    struct client *client = context;
    delivery_start(&client->delivery, client->attachment, cursor, anew);
    client_update(client);
}

static void on_detached(void *context, const char *reason) {
    struct client *client = context;
    client->attachment = NULL;
    delivery_stop(&client->delivery);
    if (client->ws != NULL && client->kernel != NULL && kernel_link(client->kernel) != NULL) {
        log_info("kernel %s: a client was detached: %s", kernel_id(client->kernel), reason);
        websocket_close(client->ws, CLOSE_COME_BACK, reason);
    }
}

static void on_granted(void *context) {
    client_update(context);
}

/* The session's other sockets: what they have already received is not to come again on this one.
 * Returns up to where all of them were certainly there to read: one may be dead, and only the
 * client knows it yet. */
static uint64_t flush_siblings(const struct client *client) {
    uint64_t sure = UINT64_MAX;
    list_each (&client->channels->clients, struct client, node, other) {
        if (client->session_id == NULL || other == client || other->kernel != client->kernel ||
            other->session_id == NULL || strcmp(other->session_id, client->session_id) != 0)
            continue;
        delivery_flush(&other->delivery);
        if (other->delivery.attachment != NULL && other->delivery.sure < sure)
            sure = other->delivery.sure;
    }
    return sure;
}

static void client_attach(struct client *client) {
    static const struct attachment_events events = {.attached = on_attached,
                                                    .message = on_kernel_message,
                                                    .granted = on_granted,
                                                    .detached = on_detached};
    struct link *link = client->kernel ? kernel_link(client->kernel) : NULL;
    struct error err;
    if (link == NULL || client->attachment != NULL)
        return;
    struct attachment_wish wish = {.session_id = client->session_id,
                                   .window = (size_t)client->channels->settings.window,
                                   .from_cursor = true,
                                   .sure = flush_siblings(client)};
    if (client->delivery.is_proxy)
        wish.unsure_ms = client->channels->settings.unsure_ms;
    if (attachment_open(link, &wish, &events, client, &client->attachment, &err) < 0) {
        log_warning("kernel %s: %s", kernel_id(client->kernel), err.text);
        websocket_close(client->ws, CLOSE_COME_BACK, err.text);
    }
}

/* ---- from the client ---- */

static bool forward_request(void *context, const void *message, size_t length) {
    struct client *client = context;
    if (client->attachment == NULL)
        return false;
    attachment_send(client->attachment, message, length);
    metrics_add_message(client->channels->settings.metrics, METRICS_TO_KERNEL, message, length);
    unanswered_note_request(&client->unanswered, message, length);
    standin_tell_doubt(client->standin, unanswered_oldest(&client->unanswered));
    return true;
}

static bool is_recorded(void *context) {
    const struct client *client = context;
    return client->attachment != NULL ? attachment_is_recorded(client->attachment)
                                      : kernel_is_held_on_record(client->kernel);
}

/* A dead kernel's requests are answered here. */
static bool may_read(const struct client *client) {
    if (client->kernel == NULL)
        return true;
    enum kernel_phase phase = kernel_status(client->kernel)->phase;
    if (phase == KERNEL_DEAD || phase == KERNEL_GONE)
        return true;
    if (standin_is_full(client->standin))
        return false;
    return client->attachment != NULL ? attachment_may_send(client->attachment)
                                      : kernel_may_hold(client->kernel);
}

/* Backpressure: what the launcher does not take waits in the client's own TCP window. So does what
 * comes before the launcher is there: should we die with what we have read, nobody would know of
 * it. */
static void client_throttle(struct client *client) {
    bool full = !may_read(client);
    if (full == client->paused)
        return;
    client->paused = full;
    if (full)
        websocket_pause(client->ws);
    else
        websocket_resume(client->ws);
}

/* The launcher is gone, and the requests it had with it: nobody else will answer them. */
static void end_lost_requests(struct client *client) {
    enum kernel_phase phase = kernel_status(client->kernel)->phase;
    if (client->unanswered.count == 0 || client->attachment != NULL || phase == KERNEL_STOPPING ||
        phase == KERNEL_GONE)
        return;
    cleanup_buffer struct buffer header = {0};
    while (unanswered_take(&client->unanswered, &header))
        standin_end_lost(client->standin, header.data, header.length, NULL);
}

/* What a gateway held that is gone was never sent to the kernel. */
static void end_orphans(struct client *client) {
    cleanup_buffer struct buffer header = {0};
    while (kernel_take_orphan(client->kernel, client->session_id, &header))
        standin_end_lost(client->standin, header.data, header.length,
                         "The gateway that had this cell ended while the kernel started, and the "
                         "cell was not run. Run it again.");
}

static void client_update(struct client *client) {
    if (client->ws == NULL || client->kernel == NULL)
        return;
    end_lost_requests(client);
    end_orphans(client);
    standin_tell_doubt(client->standin, unanswered_oldest(&client->unanswered));
    client_attach(client);
    if (client->attachment != NULL || kernel_status(client->kernel)->phase != KERNEL_READY)
        standin_update(client->standin);
    if (client->ws != NULL)
        client_throttle(client);
}

static void refuse_message(struct client *client, const struct error *err) {
    const char *id = kernel_id(client->kernel);
    if (err->code != ERROR_UNSUPPORTED) {
        log_info("kernel %s: a client's message is refused: %s", id, err->text);
        websocket_close(client->ws, CLOSE_BAD_MESSAGE, err->text);
    } else if (!client->channel_logged) { /* an unknown channel is ignored, as every server does */
        client->channel_logged = true;
        log_info("kernel %s: a client's message is ignored, which is logged once for each client: "
                 "%s",
                 id, err->text);
    }
}

static void on_client_message(void *context, bool binary, const uint8_t *data, size_t length) {
    struct client *client = context;
    struct error err;
    if (client->kernel ==
        NULL) { /* nobody will answer: better a closed socket than an eternal wait */
        websocket_close(client->ws, CLOSE_NORMAL, "the kernel was shut down");
        return;
    }
    buffer_clear(&client->request);
    if (message_from_client(client->dialect.format, binary, data, length, &client->request, &err) <
        0) {
        refuse_message(client, &err);
        return;
    }
    client->delivery.has_spoken = true;
    if (client->attachment == NULL)
        kernel_hold(client->kernel, client->session_id, client->request.data,
                    client->request.length);
    if (standin_is_needed(client->standin) || client->attachment == NULL)
        standin_take(client->standin, client->request.data, client->request.length);
    else
        forward_request(client, client->request.data, client->request.length);
    if (client->request.capacity > KEEP_CAPACITY)
        buffer_free(&client->request); /* the next ones are small again */
    if (client->ws != NULL)
        client_throttle(client);
}

static void on_drained(void *context) {
    struct client *client = context;
    delivery_update(&client->delivery);
}

/* An orphan answers no pings: this client reads what it is sent. */
static void on_ponged(void *context) {
    struct client *client = context;
    client->delivery.has_spoken = true;
    delivery_flush(&client->delivery);
}

static void on_heard(void *context) {
    struct client *client = context;
    delivery_heard(&client->delivery);
}

static void on_closed(void *context, const char *why) {
    struct client *client = context;
    if (client->kernel != NULL)
        log_debug("kernel %s: a client left: %s", kernel_id(client->kernel), why);
    client_end(client);
}

/* Nothing goes in or out any more, whatever the client answers. */
static void show_out(void *context, const char *why) {
    struct client *client = context;
    log_info("kernel %s: a WebSocket of %s is closed: %s",
             client->kernel != NULL ? kernel_id(client->kernel) : "?", client->identity->name, why);
    http_login_free(steal(&client->login));
    websocket_close(client->ws, CLOSE_NOT_ALLOWED, why);
    client_leave_kernel(client);
}

static bool may_stay(const struct client *client) {
    if (client->identity == NULL || client->kernel == NULL)
        return true;
    return client->identity->role != AUTH_VIEWER &&
           kernel_right(client->kernel, client->identity) >= KERNEL_RIGHT_USE;
}

static void on_identity(void *context, const struct auth_identity *identity) {
    struct client *client = context;
    client->identity = identity;
    if (!may_stay(client))
        show_out(client, "who came with this token may not use the kernel any more");
}

void channels_ask_again(struct channels *channels) {
    list_each (&channels->clients, struct client, node, client)
        http_login_ask(client->login);
}

static void on_kernel_changed(void *context, struct kernel *kernel) {
    struct client *client = context;
    if (client->ws != NULL && !may_stay(client)) { /* its owner shares it no longer */
        show_out(client, "the kernel is not shared with you any more");
        return;
    }
    client_update(client);
    /* The socket stays: a client that was cut off would come back for a kernel that is not
     * there. */
    if (kernel_status(kernel)->phase == KERNEL_GONE)
        client_leave_kernel(client);
}

/* ---- the beginning ---- */

static int check_session_id(struct http_request *request, const char **ret) {
    const char *id = http_request_query(request, "session_id");
    *ret = id != NULL && *id != '\0' ? id : NULL;
    if (id == NULL || (strlen(id) <= SESSION_ID_MAX && utf8_is_valid(id, strlen(id))))
        return 0;
    http_reply_error(request, 400, NULL, "session_id: must be UTF-8 of at most %d bytes",
                     SESSION_ID_MAX);
    return -1;
}

void channels_open(struct channels *channels, struct kernel *kernel, struct http_request *request) {
    static const struct websocket_events events = {.message = on_client_message,
                                                   .drained = on_drained,
                                                   .ponged = on_ponged,
                                                   .heard = on_heard,
                                                   .closed = on_closed};
    static const struct http_login_events login_events = {.changed = on_identity, .lost = show_out};
    const char *session_id;
    if (check_session_id(request, &session_id) < 0)
        return;
    struct client *client = memory_alloc(sizeof *client);
    client->channels = channels;
    client->session_id = session_id ? memory_strdup(session_id) : NULL;
    client->request.limit = (size_t)channels->settings.message_max * 2 + 4096;
    client->free_task = (struct loop_task){.run = client_free, .context = client};
    unanswered_init(&client->unanswered);
    bool is_proxy = http_request_is_gateway_client(request); /* it goes with websocket_accept */
    client->identity = http_request_identity(request);
    client->login =
        http_login_create(request, channels->settings.login_every_ms, &login_events, client);
    client_dialect_init(&client->dialect, request, (size_t)channels->settings.gateway_client_max);
    const char *subprotocol = client->dialect.format == FORMAT_V1 ? MESSAGE_V1_SUBPROTOCOL : NULL;
    struct websocket_settings settings = {.message_max = channels->settings.message_max,
                                          .ping_interval_ms = channels->settings.ping_interval_ms};
    if (websocket_accept(channels->loop, request, subprotocol, &settings, &events, client,
                         &client->ws) < 0) {
        client_free(client);
        return;
    }
    client->kernel = kernel;
    client->standin =
        standin_create(channels->loop, kernel, standin_say, forward_request, is_recorded, client);
    client->watcher = (struct kernel_watcher){.changed = on_kernel_changed, .context = client};
    delivery_init(&client->delivery, channels->loop, client->ws, (size_t)channels->settings.window);
    client->delivery.is_proxy = is_proxy;
    list_append(&channels->clients, &client->node);
    channels->count++;
    kernel_watch(kernel, &client->watcher);
    kernel_connected(kernel);
    standin_welcome(client->standin);
    client_update(client);
}
