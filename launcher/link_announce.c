/* Requests that a gateway has read and cannot hand in yet. Should it be lost with them, their cells would wait for ever: nobody else
 * knows of them. So it announces their headers, and those that never came are answered once the gateway was gone for a while. One that comes
 * after all (the gateway had only been asleep) is not run: it was answered. */
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

void link_announce_take(struct link_attachment *attachment, const struct link_frame *frame,
                        const uint8_t *payload) {
    const struct link_session *session = attachment->session;
    struct link_server *server = session->server;
    uint64_t gateway = attachment->peer->gateway_hash;
    uint32_t cell = message_cell((struct bytes){payload, frame->length});
    if (cell == 0 || session->id == NULL || find(server, gateway, session->number, cell) != NULL)
        return;
    if (!make_room(server, frame->length)) {
        if (!server->announced_told)
            log_warning("gateway %.36s announces more requests than can be remembered",
                        attachment->peer->gateway);
        server->announced_told = true;
        return;
    }
    struct announced *announced = memory_alloc(sizeof *announced + frame->length);
    announced->gateway = gateway;
    announced->session = session->number;
    announced->cell = cell;
    announced->length = frame->length;
    memcpy(announced->header, payload, frame->length);
    list_append(&server->announced, &announced->node);
    server->announced_count++;
    server->announced_bytes += frame->length;
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

static void answer_due(struct link_server *server, int64_t now_ms) {
    int64_t next_ms = INT64_MAX;
    list_each (&server->announced, struct announced, node, announced) {
        if (announced->is_answered || announced->due_ms == 0)
            continue;
        if (announced->due_ms > now_ms) {
            next_ms = announced->due_ms < next_ms ? announced->due_ms : next_ms;
            continue;
        }
        announced->is_answered = true;
        log_info("session %u: a request was lost with its gateway", announced->session);
        if (server->events.lost != NULL)
            server->events.lost(server->context, announced->session,
                                (struct bytes){announced->header, announced->length});
    }
    if (next_ms != INT64_MAX)
        link_server_set_deadline(server, &server->announced_due, next_ms);
}

static void on_due(void *owner, int64_t now_ms) {
    answer_due(owner, now_ms);
}

static void set_due(struct link_server *server, uint64_t gateway, int64_t due_ms) {
    bool is_any = false;
    list_each (&server->announced, struct announced, node, announced) {
        if (announced->gateway != gateway)
            continue;
        announced->due_ms = due_ms;
        is_any = true;
    }
    server->announced_due = (struct server_deadline){
        .node = server->announced_due.node, .due = on_due, .owner = server};
    if (is_any && due_ms != 0 && server->announced_due.node.place == 0)
        link_server_set_deadline(server, &server->announced_due, due_ms);
}

void link_announce_gateway_gone(struct link_server *server, uint64_t gateway) {
    set_due(server, gateway, clock_monotonic_ms() + SERVER_ANNOUNCED_GRACE_MS);
}

void link_announce_gateway_back(struct link_server *server, uint64_t gateway) {
    set_due(server, gateway, 0);
}

void link_announce_free(struct link_server *server) {
    link_server_clear_deadline(server, &server->announced_due);
    list_each (&server->announced, struct announced, node, announced)
        drop(server, announced);
}
