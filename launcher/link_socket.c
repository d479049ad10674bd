/* The socket of the link server: where it listens, and with what limits. */
#include "launcher/link_server_internal.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    SEND_QUEUE = 256, /* batches; the windows bound their bytes */
    RECEIVE_QUEUE = 256,
    BACKLOG = 64,
    LINGER_MS = 1000,
};

static int check_endpoint(const char *endpoint, bool has_keys, struct error *err) {
    enum { PATH_MAX_UNIX = sizeof((struct sockaddr_un *)NULL)->sun_path - 1 };
    if (!text_starts_with(endpoint, "ipc://"))
        return has_keys
                   ? 0
                   : error_set(err, ERROR_DENIED,
                               "endpoint: %s without keys would be open to everybody", endpoint);
    size_t length = strlen(endpoint + strlen("ipc://"));
    if (length > PATH_MAX_UNIX)
        return error_set(
            err, ERROR_LIMIT,
            "endpoint: the socket's path has %zu bytes, %d are possible; use a shorter "
            "runtime directory: %s",
            length, PATH_MAX_UNIX, endpoint);
    return 0;
}

int link_server_bind(struct link_server *server, const char *endpoint,
                     const struct link_curve_keys *keys, struct error *err) {
    if (check_endpoint(endpoint, keys != NULL, err) < 0)
        return -1;
    server->socket = zsock_new(ZMQ_ROUTER);
    if (server->socket == NULL)
        return error_set(err, ERROR_SYSTEM, "link: no socket");
    server->router = zsock_resolve(server->socket);
    /* The last words on a network are still under way when the launcher ends. */
    zsock_set_linger(server->socket, keys != NULL ? LINGER_MS : 0);
    zsock_set_router_mandatory(server->socket, 1);
    zsock_set_sndhwm(server->socket, SEND_QUEUE);
    zsock_set_rcvhwm(server->socket, RECEIVE_QUEUE);
    zsock_set_backlog(server->socket, BACKLOG);
    /* One byte above what is refused politely, libzmq cuts the connection. */
    int64_t largest = (int64_t)server->payload_max * 2 + LINK_BATCH_MAX;
    zmq_setsockopt(server->router, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    if (text_starts_with(endpoint, "ipc://")) { /* the system says who connects (SO_PEERCRED) */
        uid_t uid = geteuid();
        zmq_setsockopt(server->router, ZMQ_IPC_FILTER_UID, &uid, sizeof uid);
    }
    if (keys != NULL &&
        link_curve_create(server->loop, server->socket, keys, &server->curve, err) < 0)
        return -1;
    mode_t old_mask = umask(0077); /* the socket is ours alone from its first moment */
    int bound = zmq_bind(server->router, endpoint);
    umask(old_mask);
    if (bound < 0)
        return error_set(err, ERROR_SYSTEM, "link: cannot bind %s: %s", endpoint,
                         zmq_strerror(zmq_errno()));
    if (text_starts_with(endpoint, "ipc:///") && chmod(endpoint + strlen("ipc://"), 0600) < 0)
        return error_system(err, errno, "link: %s", endpoint);
    return 0;
}
