/* Requests that a gateway has read and cannot hand in yet. Should it be lost with them, their cells
 * would wait for ever: nobody else knows of them. So it announces their headers, and those that
 * never came are answered once the gateway was gone for a while, or as soon as their client is at
 * another one and it does not answer a question. One that comes after all (the gateway had only
 * been asleep) is not run: it was answered. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "launcher/link_server_internal.h"

#include <stdlib.h>
#include <string.h>

#define LOG_AREA "launcher/link_announce"

struct announced {
    struct list_node node; /* server.announced, oldest first */
    uint64_t gateway;      /* hash of its nonce */
    session_number session;
    uint32_t cell;
    int64_t due_ms; /* when it is answered; 0: the gateway is there */
    bool is_asked;  /* the gateway was sent a PING: what it says before due_ms proves it alive */
    bool is_answered;
    size_t length;
    uint8_t header[];
};

static void drop(struct link_server *server, struct announced *announced) {
    list_remove(&announced->node);
    server->announced_count--;
    server->announced_bytes -= announced->length;
    free(announced);
}

static struct announced *find(const struct link_server *server, uint64_t gateway,
                              session_number session, uint32_t cell) {
    list_each (&server->announced, struct announced, node, announced)
        if (announced->cell == cell && announced->session == session &&
            announced->gateway == gateway)
            return announced;
    return NULL;
}

/* Those that were answered give way; false when the others fill it. */
static bool make_room(struct link_server *server, size_t length) {
    list_each (&server->announced, struct announced, node, announced) {
        if (server->announced_count < SERVER_ANNOUNCED_MAX &&
            server->announced_bytes + length <= SERVER_ANNOUNCED_BYTES_MAX)
            break;
        if (announced->is_answered)
            drop(server, announced);
    }
    return server->announced_count < SERVER_ANNOUNCED_MAX &&
           server->announced_bytes + length <= SERVER_ANNOUNCED_BYTES_MAX;
}

static void answer(struct link_server *server, session_number session, struct bytes header) {
    if (server->requests_lost++ == 0)
        log_info("session %u: a request was lost with its gateway and is answered (said once)",
                 session);
    if (server->events.lost != NULL)
        server->events.lost(server->context, session, header);
}

static void answer_announced(struct link_server *server, struct announced *announced) {
    if (announced->is_answered)
        return;
    announced->is_answered = true; /* first: it must not come in meanwhile */
    answer(server, announced->session, (struct bytes){announced->header, announced->length});
}

static void keep(struct link_attachment *attachment, struct bytes header, uint32_t cell) {
    struct link_server *server = attachment->session->server;
    if (!make_room(server, header.length)) {
        if (!server->announced_told)
            log_warning("gateway %.36s announces more requests than can be remembered",
                        attachment->peer->gateway);
        server->announced_told = true;
        return;
    }
    struct announced *announced = memory_alloc(sizeof *announced + header.length);
    announced->gateway = attachment->peer->gateway_hash;
    announced->session = attachment->session->number;
    announced->cell = cell;
    announced->length = header.length;
    memcpy(announced->header, header.data, header.length);
    list_append(&server->announced, &announced->node);
    server->announced_count++;
    server->announced_bytes += header.length;
}

void link_announce_take(struct link_attachment *attachment, const struct link_frame *frame,
                        const uint8_t *payload) {
    const struct link_session *session = attachment->session;
    struct link_server *server = session->server;
    struct bytes header = {payload, frame->length};
    uint32_t cell = message_cell(header);
    if (cell == 0 || session->id == NULL)
        return;
    struct announced *announced =
        find(server, attachment->peer->gateway_hash, session->number, cell);
    if (frame->seq == LINK_ANNOUNCE_GIVEN_UP) {
        if (announced == NULL) {
            answer(server, session->number, header);
            return;
        }
        answer_announced(server, announced);
        drop(server, announced);
    } else if (announced == NULL) {
        keep(attachment, header, cell);
    } else {
        announced->due_ms = 0; /* said again after a break: it is still to come */
    }
}

bool link_announce_came(const struct link_attachment *attachment,
                        const struct kernel_message *message) {
    struct link_server *server = attachment->session->server;
    if (list_is_empty(&server->announced))
        return true;
    struct announced *announced = find(server, attachment->peer->gateway_hash,
                                       attachment->session->number, message_cell(message->header));
    if (announced == NULL)
        return true;
    bool may_run = !announced->is_answered;
    drop(server, announced);
    return may_run;
}

static bool was_heard(const struct link_server *server, uint64_t gateway, int64_t since_ms) {
    list_each (&server->peers, struct link_peer, node, peer)
        if (peer->gateway_hash == gateway && peer->heard_ms >= since_ms)
            return true;
    return false;
}

static void on_due(void *owner, int64_t now_ms);

static void schedule(struct link_server *server) {
    int64_t next_ms = INT64_MAX;
    list_each (&server->announced, struct announced, node, announced)
        if (!announced->is_answered && announced->due_ms != 0 && announced->due_ms < next_ms)
            next_ms = announced->due_ms;
    server->announced_due.due = on_due;
    server->announced_due.owner = server;
    if (next_ms != INT64_MAX)
        link_server_set_deadline(server, &server->announced_due, next_ms);
    else
        link_server_clear_deadline(server, &server->announced_due);
}

static void on_due(void *owner, int64_t now_ms) {
    struct link_server *server = owner;
    list_each (&server->announced, struct announced, node, announced) {
        if (announced->due_ms == 0 || announced->due_ms > now_ms)
            continue;
        if (announced->is_asked &&
            was_heard(server, announced->gateway, announced->due_ms - SERVER_ANNOUNCED_ASKED_MS)) {
            announced->is_asked = false;
            announced->due_ms = 0;
        } else {
            answer_announced(server, announced);
        }
    }
    schedule(server);
}

void link_announce_gateway_gone(struct link_server *server, uint64_t gateway) {
    int64_t due_ms = clock_monotonic_ms() + SERVER_ANNOUNCED_GRACE_MS;
    list_each (&server->announced, struct announced, node, announced)
        if (announced->gateway == gateway && (announced->due_ms == 0 || announced->due_ms > due_ms))
            announced->due_ms = due_ms;
    schedule(server);
}

void link_announce_gateway_back(struct link_server *server, uint64_t gateway) {
    int64_t due_ms = clock_monotonic_ms() + SERVER_ANNOUNCED_GRACE_MS;
    list_each (&server->announced, struct announced, node, announced) {
        if (announced->gateway != gateway)
            continue;
        announced->is_asked = false;
        announced->due_ms = due_ms;
    }
    schedule(server);
}

/* One connection of a gateway may be forgotten by this. */
static void ask(struct link_server *server, uint64_t gateway) {
    list_each (&server->peers, struct link_peer, node, peer) {
        if (peer->gateway_hash == gateway) {
            link_peer_emit(peer, LINK_PING, 0, 0, NULL, 0);
            return;
        }
    }
}

void link_announce_attached(const struct link_attachment *attachment) {
    struct link_server *server = attachment->session->server;
    uint64_t own = attachment->peer->gateway_hash, asked = own;
    int64_t due_ms = clock_monotonic_ms() + SERVER_ANNOUNCED_ASKED_MS;
    list_each (&server->announced, struct announced, node, announced) {
        if (announced->session != attachment->session->number || announced->gateway == own ||
            announced->is_asked || (announced->due_ms != 0 && announced->due_ms <= due_ms))
            continue;
        announced->is_asked = true;
        announced->due_ms = due_ms;
        if (announced->gateway != asked)
            ask(server, asked = announced->gateway);
    }
    if (asked != own)
        schedule(server);
}

void link_announce_free(struct link_server *server) {
    link_server_clear_deadline(server, &server->announced_due);
    list_each (&server->announced, struct announced, node, announced)
        drop(server, announced);
}
