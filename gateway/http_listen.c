#include "base/cleanup.h"
#include "base/log.h"
#include "gateway/http_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/random.h>

#define LOG_AREA "gateway/http"

enum { BACKLOG = 4096, ACCEPTS_MAX = 32, ACCEPT_PAUSE_MS = 500, CONSECUTIVE_TRIES = 5 };

static void set_accepting(struct http *http, bool on) {
    for (size_t i = 0; i < http->listener_count; i++)
        (on ? evconnlistener_enable : evconnlistener_disable)(http->listeners[i]);
}

static void accept_again(void *context) {
    struct http *http = context;
    http->pauses = false;
    set_accepting(http, true);
}

void http_pause_accepting(struct http *http, int64_t for_ms) {
    http->pauses = true;
    set_accepting(http, false);
    loop_deadline_set(http->loop, &http->accept_again, for_ms);
}

static void end_turn(void *context) {
    struct http *http = context;
    if (http->accepted >= ACCEPTS_MAX && !http->pauses)
        set_accepting(http, true);
    http->accepted = 0;
}

/* libevent goes on accepting as long as somebody comes: those who are there have their turn,
 * too. */
static void count_accepted(struct http *http) {
    loop_post(http->loop, &http->accept_task);
    if (++http->accepted == ACCEPTS_MAX)
        set_accepting(http, false);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int length, void *context) {
    (void)listener, (void)length;
    struct http *http = context;
    if (http->lacks_files)
        log_info("connections are accepted again");
    http->lacks_files = false;
    int on = 1; /* without it Nagle and delayed ACKs hold small messages back for 40 ms */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    count_accepted(http);
    http_connection_open(http, fd, peer);
}

/* The waiting connection would wake us for ever: look away for a moment. */
static void on_accept_error(struct evconnlistener *listener, void *context) {
    (void)listener;
    struct http *http = context;
    if (!http->lacks_files)
        log_warning("cannot accept connections: %s; those that are there go on. Trying every %d "
                    "ms, and saying when it works again",
                    strerror(errno), ACCEPT_PAUSE_MS);
    http->lacks_files = true;
    http_pause_accepting(http, ACCEPT_PAUSE_MS);
}

static int bound_port(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

/* A bound socket, or -1 with errno. */
static int bind_address(const struct addrinfo *address, bool alone) {
    cleanup_close int fd =
        socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int only = !alone; /* "::" by itself takes IPv4 as well */
    if (address->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0)
        return -1;
    return steal_fd(&fd);
}

static int add_listener(struct http *http, int fd, struct error *err) {
    unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC;
    if (http->settings.accept_later)
        flags |= LEV_OPT_DISABLED;
    struct evconnlistener *listener =
        evconnlistener_new(loop_base(http->loop), on_accept, http, flags, BACKLOG, fd);
    if (listener == NULL) {
        error_system(err, errno, "listen");
        close(fd);
        return -1;
    }
    evconnlistener_set_error_cb(listener, on_accept_error);
    http->listeners[http->listener_count++] = listener;
    return 0;
}

static void set_port(struct sockaddr *address, int port) {
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)address)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)(void *)address)->sin_port = htons((uint16_t)port);
}

/* All addresses of the name on one port; a family this machine has not is skipped. -1 with
 * ERROR_EXISTS when the port is taken. */
static int listen_on_port(struct http *http, const struct addrinfo *all, int port,
                          struct error *err) {
    int failure = EADDRNOTAVAIL;
    for (const struct addrinfo *at = all; at && http->listener_count < HTTP_LISTENERS_MAX;
         at = at->ai_next) {
        set_port(at->ai_addr, port);
        int fd = bind_address(at, all->ai_next == NULL);
        if (fd < 0) {
            failure = errno;
            if (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)
                continue;
            break;
        }
        if (add_listener(http, fd, err) < 0)
            return -1;
        port = http->port = bound_port(fd);
        failure = 0;
    }
    if (http->listener_count > 0 &&
        (failure == 0 || failure == EAFNOSUPPORT || failure == EADDRNOTAVAIL))
        return 0;
    http_listen_close(http);
    error_system(err, failure, "cannot listen on %s port %d",
                 *http->settings.ip ? http->settings.ip : "all addresses,", port);
    if (err != NULL && (failure == EADDRINUSE || failure == EACCES))
        err->code = ERROR_EXISTS;
    return -1;
}

/* JEG's order: the port, four that follow it, then random ones near it. */
static int port_to_try(const struct http *http, int attempt) {
    int port = http->settings.port;
    if (attempt < CONSECUTIVE_TRIES)
        return port + attempt;
    int spread = 2 * (http->settings.port_retries + 1);
    unsigned random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (unsigned)attempt;
    return port - spread + (int)(random % (unsigned)(2 * spread + 1));
}

static int try_ports(struct http *http, const struct addrinfo *all, struct error *err) {
    struct error first = {0};
    for (int attempt = 0; attempt <= http->settings.port_retries; attempt++) {
        int port = port_to_try(http, attempt);
        struct error why = {0};
        if (port > 65535 || (port < 1 && attempt > 0))
            continue;
        if (listen_on_port(http, all, port, &why) == 0)
            return 0;
        if (attempt == 0)
            first = why;
        if (why.code != ERROR_EXISTS)
            return error_set(err, why.code, "%s", why.text);
        if (attempt < http->settings.port_retries)
            log_info("port %d is not to be had, trying another one", port);
    }
    return error_set(err, first.code ? first.code : ERROR_INVALID, "%s",
                     first.code ? first.text : "port: must be at most 65535");
}

static int listen_on_sockets(struct http *http, struct error *err) {
    for (size_t i = 0; i < http->settings.socket_count && i < HTTP_LISTENERS_MAX; i++) {
        int fd = fcntl(http->settings.sockets[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return error_system(err, errno, "listen");
        if (add_listener(http, fd, err) < 0)
            return -1;
        http->port = bound_port(fd);
    }
    return 0;
}

int http_listen(struct http *http, struct error *err) {
    http->accept_again = (struct loop_deadline){.run = accept_again, .context = http};
    http->accept_task = (struct loop_task){.run = end_turn, .context = http};
    if (http->settings.socket_count > 0)
        return listen_on_sockets(http, err);
    const char *ip = http->settings.ip;
    const char *name = *ip == '\0' || strcmp(ip, "*") == 0 ? NULL : ip;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *all = NULL;
    int failure = getaddrinfo(name, "0", &hints, &all);
    if (failure != 0)
        return error_set(err, ERROR_INVALID, "ip: \"%s\": %s", ip, gai_strerror(failure));
    int result = try_ports(http, all, err);
    freeaddrinfo(all);
    return result;
}

void http_start_accepting(struct http *http) {
    accept_again(http);
}

size_t http_sockets(const struct http *http, int *ret, size_t max) {
    size_t count = http->listener_count < max ? http->listener_count : max;
    for (size_t i = 0; i < count; i++)
        ret[i] = evconnlistener_get_fd(http->listeners[i]);
    return count;
}

void http_listen_close(struct http *http) {
    loop_deadline_clear(http->loop, &http->accept_again);
    loop_cancel(&http->accept_task);
    while (http->listener_count > 0)
        evconnlistener_free(http->listeners[--http->listener_count]);
}
