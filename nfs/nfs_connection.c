#include "nfs/nfs_connection.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "base/memory.h"

#include <event2/dns.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { IDLE_S = 30, NEXT_ADDRESS_MS = 500 };

enum state { IDLE, RESOLVING, CONNECTING, READY };

/* Its answer may come when the connection is gone. */
struct resolution {
    struct nfs_connection *connection; /* NULL: nobody wants it */
    struct evdns_getaddrinfo_request *request;
};

struct nfs_connection {
    struct event_base *loop;
    char *server;
    int port;
    enum state state;
    struct evdns_base *names;
    struct resolution *resolution;
    struct evutil_addrinfo *addresses, *address; /* of the name; the one that is tried next */
    struct event *slow;                          /* the one that is tried keeps us waiting */
    struct rpc_context *rpc;
    struct event *io;
    int io_fd;
    short io_events;
    struct event *later, *idle; /* calls in done are told; there was no call for a while */
    bool is_broken, is_closing;
    char trouble[256];
    struct list waiting, sent, done; /* struct nfs_call */
    bool is_unprivileged;
};

struct nfs_call {
    struct list_node node;
    struct nfs_connection *connection;
    struct nfs_credential credential;
    const struct compound *compound; /* NULL: cancelled */
    nfs_done *tell;                  /* NULL: cancelled */
    void *context;
    bool is_sent, is_answered;
    struct compound_reply reply;
    struct error err;
};

static void tell_later(struct nfs_connection *connection) {
    event_active(connection->later, EV_TIMEOUT, 0);
}

static void note_idle(struct nfs_connection *connection) {
    const struct timeval idle = {.tv_sec = IDLE_S};
    if (list_is_empty(&connection->waiting) && list_is_empty(&connection->sent))
        event_add(connection->idle, &idle);
    else
        event_del(connection->idle);
}

static void finish(struct nfs_call *call) {
    list_remove(&call->node);
    list_append(&call->connection->done, &call->node);
    call->is_sent = false;
    tell_later(call->connection);
}

static void fail(struct nfs_call *call, enum error_code code, const char *why) {
    error_set(&call->err, code, "%s", why);
    finish(call);
}

/* libnfs closes its descriptor where it likes, so the event goes first. */
static void close_rpc(struct nfs_connection *connection) {
    connection->is_closing = true; /* what libnfs cancels is told by us */
    if (connection->io != NULL)
        event_free(steal(&connection->io));
    if (connection->rpc != NULL)
        rpc_destroy_context(steal(&connection->rpc));
    event_del(connection->slow);
    connection->is_closing = connection->is_broken = false;
    connection->state = IDLE;
}

static void forget_addresses(struct nfs_connection *connection) {
    connection->address = NULL;
    if (connection->addresses != NULL)
        evutil_freeaddrinfo(steal(&connection->addresses));
}

static void disconnect(struct nfs_connection *connection) {
    close_rpc(connection);
    forget_addresses(connection);
    if (connection->resolution == NULL)
        return;
    connection->resolution->connection = NULL;
    struct evdns_getaddrinfo_request *request = steal(&connection->resolution)->request;
    if (request != NULL)
        evdns_getaddrinfo_cancel(request);
}

void nfs_connection_reset(struct nfs_connection *connection, const char *why) {
    disconnect(connection);
    list_each (&connection->done, struct nfs_call, node, call) {
        if (!call->is_answered) /* its connection broke: no refusal */
            call->err.code = ERROR_UNAVAILABLE;
    }
    list_each (&connection->sent, struct nfs_call, node, call) {
        fail(call, ERROR_UNAVAILABLE, why);
    }
    list_each (&connection->waiting, struct nfs_call, node, call) {
        fail(call, ERROR_UNAVAILABLE, why);
    }
}

static void on_answer(struct rpc_context *rpc, int status, void *data, void *context) {
    struct nfs_call *call = context;
    if (call->connection->is_closing)
        return;
    if (status == RPC_STATUS_SUCCESS) {
        call->is_answered =
            call->compound == NULL || compound_read(call->compound, data, &call->reply);
        if (call->is_answered)
            finish(call);
        else
            fail(call, ERROR_SYSTEM, "its answer is not what was asked for");
    } else {
        const char *why = status == RPC_STATUS_ERROR && data != NULL ? data : rpc_get_error(rpc);
        fail(call, ERROR_DENIED, why != NULL && *why != '\0' ? why : "no reason given");
    }
}

static void send_call(struct nfs_call *call) {
    struct nfs_connection *connection = call->connection;
    const struct nfs_credential *credential = &call->credential;
    struct AUTH *auth = libnfs_authunix_create("elara", credential->uid, credential->gid,
                                               (uint32_t)credential->groups,
                                               (uint32_t *)(uintptr_t)credential->group);
    COMPOUND4args args = {
        .argarray = {.argarray_len = (u_int)call->compound->count,
                     .argarray_val = (nfs_argop4 *)(uintptr_t)call->compound->ops}};
    if (auth != NULL)
        rpc_set_auth(connection->rpc, auth);
    if (auth == NULL || rpc_nfs4_compound_async(connection->rpc, on_answer, &args, call) != 0) {
        fail(call, ERROR_SYSTEM, "the request cannot be made: its path is too long");
        return;
    }
    list_remove(&call->node);
    list_append(&connection->sent, &call->node);
    call->is_sent = true;
}

static void send_waiting(struct nfs_connection *connection) {
    list_each (&connection->waiting, struct nfs_call, node, call) {
        send_call(call);
    }
}

static void note_port(struct nfs_connection *connection) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(rpc_get_fd(connection->rpc), (struct sockaddr *)&address, &length) < 0)
        return;
    in_port_t port = address.ss_family == AF_INET6
                         ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                         : ((struct sockaddr_in *)(void *)&address)->sin_port;
    connection->is_unprivileged = ntohs(port) >= IPPORT_RESERVED;
}

static void on_connected(struct rpc_context *rpc, int status, void *data, void *context) {
    struct nfs_connection *connection = context;
    if (connection->is_closing)
        return;
    if (status == RPC_STATUS_SUCCESS && connection->state == CONNECTING) {
        connection->state = READY;
        event_del(connection->slow);
        forget_addresses(connection);
        note_port(connection);
        send_waiting(connection);
        return;
    }
    const char *why = status == RPC_STATUS_ERROR && data != NULL ? data : rpc_get_error(rpc);
    snprintf(connection->trouble, sizeof connection->trouble, "%s", why != NULL ? why : "");
    connection->is_broken = true;
}

static void arm(struct nfs_connection *connection);

/* A name may have another address that is alive. */
static void break_off(struct nfs_connection *connection) {
    char why[sizeof connection->trouble];
    const char *error = connection->rpc != NULL ? rpc_get_error(connection->rpc) : NULL;
    if (*connection->trouble == '\0' && error != NULL)
        snprintf(connection->trouble, sizeof connection->trouble, "%s", error);
    memcpy(why, connection->trouble, sizeof why);
    *connection->trouble = '\0';
    if (connection->state == CONNECTING && connection->address != NULL) {
        close_rpc(connection);
        tell_later(connection); /* connects */
    } else
        nfs_connection_reset(connection, *why != '\0' ? why : "the connection broke");
}

static void on_io(evutil_socket_t fd, short what, void *context) {
    struct nfs_connection *connection = context;
    (void)fd;
    int events = ((what & EV_READ) != 0 ? POLLIN : 0) | ((what & EV_WRITE) != 0 ? POLLOUT : 0);
    int failed = rpc_service(connection->rpc, events);
    if (failed < 0 || connection->is_broken || rpc_get_fd(connection->rpc) < 0)
        break_off(connection);
    else
        arm(connection);
    note_idle(connection);
}

/* What libnfs waits for changes with each call. */
static void arm(struct nfs_connection *connection) {
    int fd = rpc_get_fd(connection->rpc), wanted = rpc_which_events(connection->rpc);
    short events = (short)(((wanted & POLLIN) != 0 ? EV_READ : 0) |
                           ((wanted & POLLOUT) != 0 ? EV_WRITE : 0) | EV_PERSIST);
    if (connection->io != NULL && fd == connection->io_fd && events == connection->io_events)
        return;
    if (connection->io != NULL)
        event_free(connection->io);
    connection->io = event_new(connection->loop, fd, events, on_io, connection);
    connection->io_fd = fd;
    connection->io_events = events;
    event_add(connection->io, NULL);
}

static void on_slow(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    break_off(context);
}

static void connect_to(struct nfs_connection *connection, const char *address) {
    const struct timeval slow = {.tv_usec = NEXT_ADDRESS_MS * 1000};
    if (connection->address != NULL)
        event_add(connection->slow, &slow);
    connection->state = CONNECTING;
    connection->rpc = rpc_init_context();
    if (connection->rpc == NULL) {
        nfs_connection_reset(connection, "out of memory");
        return;
    }
    if (rpc_connect_port_async(connection->rpc, address, connection->port, NFS4_PROGRAM, NFS_V4,
                               on_connected, connection) != 0 ||
        connection->is_broken)
        break_off(connection);
    else
        arm(connection);
}

static void connect_to_next(struct nfs_connection *connection) {
    char text[INET6_ADDRSTRLEN] = "";
    const struct evutil_addrinfo *at = connection->address;
    connection->address = at->ai_next;
    getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    connect_to(connection, text);
}

static void on_resolved(int failure, struct evutil_addrinfo *found, void *context) {
    struct resolution *resolution = context;
    struct nfs_connection *connection = resolution->connection;
    free(resolution);
    if (connection == NULL) {
        if (found != NULL)
            evutil_freeaddrinfo(found);
        return;
    }
    connection->resolution = NULL;
    connection->addresses = connection->address = found;
    if (found != NULL) {
        connect_to_next(connection);
        return;
    }
    char why[128];
    snprintf(why, sizeof why, "its name (home-server) cannot be resolved: %s",
             failure != 0 ? evutil_gai_strerror(failure) : "no address");
    nfs_connection_reset(connection, why);
}

static bool is_address(const char *server) {
    unsigned char bytes[sizeof(struct in6_addr)];
    return evutil_inet_pton(AF_INET, server, bytes) == 1 ||
           evutil_inet_pton(AF_INET6, server, bytes) == 1;
}

/* getaddrinfo() of the C library would wait for name servers. */
static void resolve(struct nfs_connection *connection) {
    const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (connection->names == NULL)
        connection->names = evdns_base_new(connection->loop, EVDNS_BASE_INITIALIZE_NAMESERVERS |
                                                                 EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (connection->names == NULL) {
        nfs_connection_reset(connection,
                             "its name (home-server) cannot be resolved: no name server is known");
        return;
    }
    struct resolution *resolution = memory_alloc(sizeof *resolution);
    resolution->connection = connection;
    connection->state = RESOLVING;
    connection->resolution = resolution;
    struct evdns_getaddrinfo_request *request = evdns_getaddrinfo(
        connection->names, connection->server, NULL, &hints, on_resolved, resolution);
    if (connection->resolution == resolution && request != NULL)
        resolution->request = request;
}

static void on_later(evutil_socket_t fd, short what, void *context) {
    struct nfs_connection *connection = context;
    (void)fd;
    (void)what;
    while (!list_is_empty(&connection->done)) {
        struct nfs_call *call = list_entry(connection->done.head.next, struct nfs_call, node);
        list_remove(&call->node);
        if (call->tell != NULL)
            call->tell(call->context, call->is_answered ? &call->reply : NULL,
                       call->is_answered ? NULL : &call->err);
        free(call);
    }
    if (connection->state == IDLE && !list_is_empty(&connection->waiting)) {
        if (connection->address != NULL)
            connect_to_next(connection);
        else if (is_address(connection->server))
            connect_to(connection, connection->server);
        else
            resolve(connection);
    }
    note_idle(connection);
}

static void on_idle(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    disconnect(context);
}

struct nfs_connection *nfs_connection_create(struct event_base *loop, const char *server,
                                             int port) {
    struct nfs_connection *connection = memory_alloc(sizeof *connection);
    connection->loop = loop;
    connection->server = memory_strdup(server);
    connection->port = port;
    connection->later = evtimer_new(loop, on_later, connection);
    connection->idle = evtimer_new(loop, on_idle, connection);
    connection->slow = evtimer_new(loop, on_slow, connection);
    list_init(&connection->waiting);
    list_init(&connection->sent);
    list_init(&connection->done);
    return connection;
}

static void free_calls(struct list *list) {
    list_each (list, struct nfs_call, node, call) {
        free(call);
    }
}

void nfs_connection_destroy(struct nfs_connection *connection) {
    if (connection == NULL)
        return;
    disconnect(connection);
    event_free(connection->later);
    event_free(connection->idle);
    event_free(connection->slow);
    if (connection->names != NULL)
        evdns_base_free(connection->names, 1);
    free_calls(&connection->waiting);
    free_calls(&connection->sent);
    free_calls(&connection->done);
    free(connection->server);
    free(connection);
}

struct nfs_call *nfs_connection_call(struct nfs_connection *connection,
                                     const struct nfs_credential *credential,
                                     const struct compound *compound, nfs_done *done,
                                     void *context) {
    struct nfs_call *call = memory_alloc(sizeof *call);
    call->connection = connection;
    call->credential = *credential;
    call->compound = compound;
    call->tell = done;
    call->context = context;
    list_append(&connection->waiting, &call->node);
    if (connection->state == READY) {
        send_waiting(connection);
        arm(connection);
    } else if (connection->state == IDLE)
        tell_later(connection); /* connects */
    return call;
}

/* libnfs knows it when it was sent, so it stays until it is answered. */
void nfs_call_cancel(struct nfs_call *call) {
    if (call == NULL)
        return;
    call->tell = NULL;
    call->compound = NULL;
    if (!call->is_sent) {
        list_remove(&call->node);
        free(call);
    }
}

bool nfs_connection_is_resolving(const struct nfs_connection *connection) {
    return connection->state == RESOLVING;
}

bool nfs_connection_is_unprivileged(const struct nfs_connection *connection) {
    return connection->is_unprivileged;
}
