#include "gateway/links.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/secret.h"
#include "base/text.h"
#include "gateway/links_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/links"

enum {
    IO_THREADS = 2, /* one reads while the other writes: a tenth of the round trip */
    PIPE_HIGH_WATER = 512,
    RECONNECT_MIN_MS = 5, /* each time doubled: a pod's launcher listens a moment after it runs */
    RECONNECT_MAX_MS = 5000, /* without it a thousand dead peers cost a tenth of a core */
    TURN_MESSAGES = 64,      /* read in one turn of the loop, then the others have theirs */
    TURN_BYTES = 1 << 20,
    RETRY_MS = 10,       /* POLLOUT says nothing about one peer: full pipes are tried again */
    CHECK_GRID_MS = 500, /* checks of many links share a wake-up */
    UNREACHABLE_WAIT_MS = 100,
    RELAXED_PING_MS = 20000,
};

static void on_check(void *context);

struct link_batch *link_batch_take(zmq_msg_t *message) {
    struct link_batch *batch = memory_alloc(sizeof *batch);
    batch->references = 1;
    zmq_msg_init(&batch->message);
    zmq_msg_move(&batch->message, message);
    return batch;
}

void link_payload_retain(const struct link_payload *payload) {
    payload->owner->references++;
}

void link_payload_release(void *owner) {
    struct link_batch *batch = owner;
    if (--batch->references > 0)
        return;
    zmq_msg_close(&batch->message);
    free(batch);
}

/* What comes in. */

/* The link a message is from; NULL for one that was given up meanwhile. */
static struct link *find_sender(const struct links *links, zmq_msg_t *id) {
    char route[256];
    size_t length = zmq_msg_size(id);
    if (length == 0 || length >= sizeof route)
        return NULL;
    memcpy(route, zmq_msg_data(id), length);
    route[length] = '\0';
    return map_get(links->by_route, route);
}

/* Takes one message off the socket. Returns -1 when there is none. Parts beyond the protocol's
 * limit are dropped, so that *count says LINK_EXTERNAL_MAX + 2 for a message with too many. */
static int receive_message(struct links *links, struct link **sender, zmq_msg_t *parts,
                           unsigned *count, size_t *bytes) {
    zmq_msg_t part;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, links->router, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&part);
        return -1;
    }
    *sender = find_sender(links, &part);
    *count = 0;
    bool more = zmq_msg_more(&part);
    zmq_msg_close(&part);
    while (more) {
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, links->router, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            break; /* libzmq delivers messages whole: not reached */
        }
        more = zmq_msg_more(&part);
        *bytes += zmq_msg_size(&part);
        if (*sender != NULL && *count < LINK_EXTERNAL_MAX + 1) {
            zmq_msg_init(&parts[*count]);
            zmq_msg_move(&parts[*count], &part);
        }
        if (*count < LINK_EXTERNAL_MAX + 2)
            (*count)++;
        zmq_msg_close(&part);
    }
    return 0;
}

/* The descriptor signals edges, and any call on the socket may take one: so it is read until it is
 * empty, or the turn's share is used up and the event is made active by hand. */
static void on_readable(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct links *links = context;
    zmq_msg_t parts[LINK_EXTERNAL_MAX + 1];
    int64_t now = clock_monotonic_ms();
    size_t bytes = 0;
    for (int i = 0; i < TURN_MESSAGES && bytes < TURN_BYTES; i++) {
        struct link *sender;
        unsigned count;
        if (receive_message(links, &sender, parts, &count, &bytes) < 0)
            return;
        if (sender == NULL)
            continue;
        sender->heard_ms = now;
        sender->unanswered = 0;
        bytes += link_dispatch(sender, parts, count);
    }
    event_active(links->readable, EV_READ, 0);
}

/* What goes out, at the end of the turn. */

void link_wake(struct link *link) {
    if (link->state == LINK_STATE_CLOSED || list_node_is_linked(&link->flush))
        return;
    list_append(&link->links->flushing, &link->flush);
    loop_post(link->links->loop, &link->links->turn);
}

static void disconnect(struct link *link) {
    if (link->route == NULL)
        return;
    zmq_disconnect(link->links->router, link->endpoint);
    map_remove(link->links->by_route, link->route);
    free(steal(&link->route));
}

static void schedule_check(struct link *link, int64_t in_ms) {
    int64_t now = clock_monotonic_ms();
    int64_t at = now + in_ms + CHECK_GRID_MS - 1;
    loop_deadline_set(link->links->loop, &link->check, at - at % CHECK_GRID_MS - now);
}

static void flush_one(struct links *links, struct link *link) {
    switch (link_flush(link)) {
    case LINK_SENT:
        break;
    case LINK_FULL:
        list_remove(&link->flush); /* the flush itself may have woken it */
        list_append(&links->stalled, &link->flush);
        if (links->retry.node.place == 0)
            loop_deadline_set(links->loop, &links->retry, RETRY_MS);
        break;
    case LINK_UNREACHABLE:
        disconnect(link);
        loop_deadline_set(links->loop, &link->check, UNREACHABLE_WAIT_MS);
        break;
    }
}

static void on_turn(void *context) {
    struct links *links = context;
    while (!list_is_empty(&links->flushing)) {
        struct link *link = list_entry(links->flushing.head.next, struct link, flush);
        list_remove(&link->flush);
        flush_one(links, link);
    }
    int events = 0;
    size_t size = sizeof events;
    if (zmq_getsockopt(links->router, ZMQ_EVENTS, &events, &size) == 0 && events & ZMQ_POLLIN)
        event_active(links->readable, EV_READ, 0); /* a send took the descriptor's edge */
}

static void on_retry(void *context) {
    struct links *links = context;
    list_each (&links->stalled, struct link, flush, link) {
        list_remove(&link->flush);
        link_wake(link);
    }
}

/* Connections. */

/* CURVE is chosen by the options that stand when connect is called. */
static int set_security(struct links *links, const struct link_keys *keys, struct error *err) {
    if (keys == NULL) {
        zmq_setsockopt(links->router, ZMQ_PLAIN_USERNAME, NULL, 0); /* back to no mechanism */
        return 0;
    }
    if (zmq_setsockopt(links->router, ZMQ_CURVE_SERVERKEY, keys->server, 32) < 0 ||
        zmq_setsockopt(links->router, ZMQ_CURVE_PUBLICKEY, keys->own_public, 32) < 0 ||
        zmq_setsockopt(links->router, ZMQ_CURVE_SECRETKEY, keys->own_secret, 32) < 0)
        return error_system(err, zmq_errno(), "CURVE keys");
    return 0;
}

static int take_key(const char *text, const char *what, uint8_t ret[32], struct error *err) {
    if (text == NULL || strlen(text) != 40 || zmq_z85_decode(ret, text) == NULL)
        return error_set(err, ERROR_INVALID, "%s is no CURVE key in Z85", what);
    return 0;
}

static int take_keys(struct link *link, const struct provision_address *address,
                     struct error *err) {
    if (address->server_key == NULL)
        return 0;
    link->keys = secret_alloc(sizeof *link->keys);
    if (take_key(address->server_key, "the launcher's key", link->keys->server, err) < 0 ||
        take_key(address->public_key, "the gateway's public key", link->keys->own_public, err) <
            0 ||
        take_key(address->secret_key, "the gateway's secret key", link->keys->own_secret, err) < 0)
        return -1;
    return 0;
}

/* libzmq aborts when a routing id is taken twice, even shortly after a disconnect: the generation
 * is never used again. */
static int connect_link(struct link *link, struct error *err) {
    struct links *links = link->links;
    if (set_security(links, link->keys, err) < 0)
        return -1;
    char *route = memory_printf("%s.%" PRIu64, link->kernel_id, ++links->generation);
    if (zmq_setsockopt(links->router, ZMQ_CONNECT_ROUTING_ID, route, strlen(route)) < 0 ||
        zmq_connect(links->router, link->endpoint) < 0) {
        int errnum = zmq_errno();
        free(route);
        return error_set(err, ERROR_SYSTEM, "connect to %s: %s", link->endpoint,
                         zmq_strerror(errnum));
    }
    link->route = route;
    map_put(links->by_route, route, link);
    link->heard_ms = clock_monotonic_ms();
    link->unanswered = 0;
    link_say_hello(link);
    return 0;
}

/* Everything is to be said again: the launcher knows nothing of this connection. */
void link_say_hello(struct link *link) {
    link->state = LINK_STATE_HELLO;
    link->hello_due = true;
    link->ping_due = link->pong_due = link->reset_due = false;
    if (link->stash != NULL) {
        link_outgoing_clear(link->stash);
        free(steal(&link->stash));
    }
    link_attachments_forget(link);
    link_commands_forget(link);
    link_wake(link);
    schedule_check(link, LINK_PING_INTERVAL_MS);
}

void link_reconnect(struct link *link) {
    struct error err;
    disconnect(link);
    list_remove(&link->flush);
    if (connect_link(link, &err) == 0)
        return;
    log_warning("kernel %s: %s", link->kernel_id, err.text);
    schedule_check(link, LINK_PING_INTERVAL_MS);
}

/* Somebody else's launcher answered: not a word more to it. Later, perhaps the right one does. */
void link_refuse(struct link *link) {
    disconnect(link);
    link->state = LINK_STATE_REFUSED;
    list_remove(&link->flush);
    link_attachments_forget(link);
    link_commands_forget(link);
    schedule_check(link, LINK_DEAD_AFTER_MS);
}

/* A question every 5 s on 5,000 links is 1.6 % of a core, nearly all there is to do when nobody
 * works. On this machine the provisioner sees a launcher die, so that an idle link may be asked a
 * quarter as often. */
static int64_t ping_after_ms(const struct link *link) {
    bool idle = list_is_empty(&link->commands) && list_is_empty(&link->work);
    list_each (&link->sessions, struct link_session, node, session)
        idle &= list_is_empty(&session->sent);
    bool local = strncmp(link->endpoint, "ipc:", 4) == 0;
    return idle && local && link->state == LINK_STATE_UP && link->unanswered == 0
               ? RELAXED_PING_MS
               : LINK_PING_INTERVAL_MS;
}

/* Silence: first a question, then a new connection. A gateway that was itself stopped for a while
 * asks first too: no link is given up before two questions went unanswered. */
static void on_check(void *context) {
    struct link *link = context;
    int64_t silent = clock_monotonic_ms() - link->heard_ms;
    int64_t ping_after = ping_after_ms(link);
    if (link->route == NULL) {
        link_reconnect(link);
    } else if (silent >= LINK_DEAD_AFTER_MS && link->unanswered >= 2) {
        bool was_up = link->state == LINK_STATE_UP;
        log_warning("kernel %s: its launcher was silent for %" PRId64 " s, connecting again",
                    link->kernel_id, silent / 1000);
        link_reconnect(link);
        if (was_up && link->events.lost != NULL)
            link->events.lost(link->context);
    } else if (silent < ping_after) {
        int64_t in_ms = ping_after - silent;
        schedule_check(link, in_ms < LINK_PING_INTERVAL_MS ? in_ms : LINK_PING_INTERVAL_MS);
    } else {
        link->unanswered++;
        if (link->state == LINK_STATE_UP)
            link->ping_due = true;
        else if (link->state == LINK_STATE_HELLO)
            link->hello_due = true;
        link_wake(link);
        schedule_check(link, LINK_PING_INTERVAL_MS);
    }
}

/* A local launcher has it beside its socket. */
static char *find_journal(const char *endpoint) {
    if (!text_starts_with(endpoint, "ipc:///"))
        return NULL;
    const char *path = endpoint + strlen("ipc://"), *name = strrchr(endpoint, '/');
    return memory_printf("%.*s/journal", (int)(name - path), path);
}

int link_open(struct links *links, const char *kernel_id, const struct provision_address *address,
              const struct link_events *events, void *context, struct link **ret,
              struct error *err) {
    if (!text_is_kernel_id(kernel_id))
        return error_set(err, ERROR_INVALID, "kernel_id \"%.130s\" is no kernel id", kernel_id);
    struct link *link = memory_alloc(sizeof *link);
    link->links = links;
    link->kernel_id = memory_strdup(kernel_id);
    link->endpoint = memory_strdup(address->endpoint);
    link->journal = find_journal(link->endpoint);
    link->events = *events;
    link->context = context;
    link->check = (struct loop_deadline){.run = on_check, .context = link};
    list_init(&link->commands);
    list_init(&link->sessions);
    list_init(&link->work);
    list_append(&links->all, &link->node);
    if (take_keys(link, address, err) < 0 || connect_link(link, err) < 0) {
        link_close(link);
        return -1;
    }
    *ret = link;
    return 0;
}

bool link_is_up(const struct link *link) {
    return link->state == LINK_STATE_UP;
}

void link_renew(struct link *link) {
    if (link->state != LINK_STATE_CLOSED)
        link_reconnect(link);
}

void link_close(struct link *link) {
    if (link == NULL || link->state == LINK_STATE_CLOSED)
        return;
    struct links *links = link->links;
    disconnect(link);
    link->state = LINK_STATE_CLOSED;
    list_remove(&link->flush);
    loop_deadline_clear(links->loop, &link->check);
    list_remove(&link->node);
    list_append(&links->ended, &link->node);
    loop_post(links->loop, &links->reap);
    link_commands_end(link);
    link_attachments_end(link, "the kernel is gone");
}

static void free_link(struct link *link) {
    if (link->stash != NULL) {
        link_outgoing_clear(link->stash);
        free(link->stash);
    }
    free(link->slots);
    free(link->kernel_id);
    free(link->endpoint);
    free(link->journal);
    secret_free(link->keys);
    free(link->launcher_nonce);
    free(link->numbering);
    free(link);
}

/* Runs after the turn: nothing on the stack can still hold what is freed here. */
static void on_reap(void *context) {
    struct links *links = context;
    link_commands_reap(links);
    link_attachments_reap(links);
    list_each (&links->ended, struct link, node, link) {
        list_remove(&link->node);
        free_link(link);
    }
}

/* The socket itself. */

static int set_number(void *socket, int option, int value, struct error *err) {
    if (zmq_setsockopt(socket, option, &value, sizeof value) < 0)
        return error_set(err, ERROR_SYSTEM, "ZeroMQ option %d: %s", option,
                         zmq_strerror(zmq_errno()));
    return 0;
}

static int open_router(struct links *links, struct error *err) {
    links->zmq = zmq_ctx_new();
    if (links->zmq == NULL || zmq_ctx_set(links->zmq, ZMQ_IO_THREADS, IO_THREADS) < 0)
        return error_set(err, ERROR_SYSTEM, "ZeroMQ context: %s", zmq_strerror(zmq_errno()));
    links->router = zmq_socket(links->zmq, ZMQ_ROUTER);
    if (links->router == NULL)
        return error_set(err, ERROR_SYSTEM, "ZeroMQ socket: %s", zmq_strerror(zmq_errno()));
    static const int options[][2] = {
        {ZMQ_ROUTER_MANDATORY, 1},
        {ZMQ_LINGER, 0},
        {ZMQ_SNDHWM, PIPE_HIGH_WATER},
        {ZMQ_RCVHWM, PIPE_HIGH_WATER},
        {ZMQ_RECONNECT_IVL, RECONNECT_MIN_MS},
        {ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_IPV6, 1},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (set_number(links->router, options[i][0], options[i][1], err) < 0)
            return -1;
    int64_t largest = LINK_PAYLOAD_MAX;
    zmq_setsockopt(links->router, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    int fd;
    size_t size = sizeof fd;
    if (zmq_getsockopt(links->router, ZMQ_FD, &fd, &size) < 0)
        return error_set(err, ERROR_SYSTEM, "ZeroMQ descriptor: %s", zmq_strerror(zmq_errno()));
    links->readable =
        event_new(loop_base(links->loop), fd, EV_READ | EV_PERSIST, on_readable, links);
    if (links->readable == NULL || event_add(links->readable, NULL) < 0)
        return error_set(err, ERROR_SYSTEM, "ZeroMQ descriptor: it cannot be watched");
    return 0;
}

int links_create(struct loop *loop, struct links **ret, struct error *err) {
    struct links *links = memory_alloc(sizeof *links);
    links->loop = loop;
    links->by_route = map_create();
    list_init(&links->all);
    list_init(&links->flushing);
    list_init(&links->stalled);
    list_init(&links->ended);
    list_init(&links->attachments_ended);
    list_init(&links->commands_ended);
    links->turn = (struct loop_task){.run = on_turn, .context = links};
    links->reap = (struct loop_task){.run = on_reap, .context = links};
    links->retry = (struct loop_deadline){.run = on_retry, .context = links};
    links->out.batch.limit = LINK_BATCH_MAX + 1;
    text_uuid4(links->nonce);
    links->capabilities = link_capabilities;
    if (open_router(links, err) < 0) {
        links_destroy(links);
        return -1;
    }
    *ret = links;
    return 0;
}

void links_give_up_requests(struct links *links) {
    list_each (&links->all, struct link, node, link)
        link_attachments_give_up(link);
}

void links_destroy(struct links *links) {
    if (links == NULL)
        return;
    list_each (&links->all, struct link, node, link)
        link_close(link);
    loop_cancel(&links->turn);
    loop_cancel(&links->reap);
    loop_deadline_clear(links->loop, &links->retry);
    on_reap(links);
    loop_cancel(&links->reap);
    if (links->readable != NULL)
        event_free(links->readable); /* before the socket: the descriptor is libzmq's */
    if (links->router != NULL)
        zmq_close(links->router);
    if (links->zmq != NULL)
        zmq_ctx_term(links->zmq);
    link_outgoing_clear(&links->out);
    map_destroy(links->by_route);
    free(links);
}
