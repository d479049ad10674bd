#include "launcher/connection_file.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

static const char *const port_members[PORT_COUNT] = {"shell_port", "iopub_port", "stdin_port",
                                                     "control_port", "hb_port"};

/* A socket bound to a port of 127.0.0.1; 0 lets the system pick one. */
static int bind_port(int port, int *ret) {
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* As libzmq does, so that connections in TIME_WAIT do not look like a port in use. */
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, length) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return -1;
    *ret = ntohs(address.sin_port);
    return steal_fd(&fd);
}

/* Ports that the system gives to nobody by itself. From its own range (ip(7), ip_local_port_range)
 * any outgoing connection may take the port before the kernel binds it - even our own: a connect to
 * a port nobody listens on yet, tried again and again on loopback, once picks that very port as its
 * source, connects to itself, and the kernel finds its port in use. One slow start in five did. */
struct port_range {
    int low, high; /* what the system uses: ours are below or above */
};

enum { PORT_LOWEST = 20000, PORT_HIGHEST = 65535, PORTS_ENOUGH = 2000, PICK_TRIES = 100 };

static int count_ports(const struct port_range *range) {
    int below = range->low > PORT_LOWEST ? range->low - PORT_LOWEST : 0;
    int above = range->high < PORT_HIGHEST ? PORT_HIGHEST - range->high : 0;
    return below + above;
}

static struct port_range read_range(void) {
    struct port_range range;
    cleanup_buffer struct buffer text = {.limit = 256};
    if (file_read("/proc/sys/net/ipv4/ip_local_port_range", 255, &text, NULL) == 0 &&
        sscanf(buffer_text(&text), "%d %d", &range.low, &range.high) == 2)
        return range;
    return (struct port_range){.low = 32768, .high = 60999};
}

static int pick_port(const struct port_range *range, int *ret) {
    int count = count_ports(range);
    int below = range->low > PORT_LOWEST ? range->low - PORT_LOWEST : 0;
    for (int i = 0; count >= PORTS_ENOUGH && i < PICK_TRIES; i++) {
        uint32_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            break;
        int nth = (int)(random % (uint32_t)count);
        int port = nth < below ? PORT_LOWEST + nth : range->high + 1 + nth - below;
        int fd = bind_port(port, ret);
        if (fd >= 0)
            return fd;
    }
    return bind_port(0,
                     ret); /* few ports, or all in use: the system's choice is better than none */
}

int connection_renew_ports(struct connection *connection, struct error *err) {
    if (connection->is_ipc) {
        for (int i = 0; i < PORT_COUNT; i++)
            connection->ports[i] = i + 1;
        return 0;
    }
    struct port_range range = read_range();
    /* All five are held until the last one is picked, so that none is picked twice. */
    int fds[PORT_COUNT];
    int count = 0;
    while (count < PORT_COUNT) {
        int fd = pick_port(&range, &connection->ports[count]);
        if (fd < 0)
            break;
        fds[count++] = fd;
    }
    int problem = errno;
    for (int i = 0; i < count; i++)
        close(fds[i]);
    if (count < PORT_COUNT)
        return error_system(err, problem, "no free port on 127.0.0.1 for the kernel");
    return 0;
}

bool connection_is_taken(const struct connection *connection) {
    for (int i = 0; i < PORT_COUNT && !connection->is_ipc; i++) {
        int port;
        cleanup_close int fd = bind_port(connection->ports[i], &port);
        if (fd < 0 && errno == EADDRINUSE)
            return true;
    }
    return false;
}

int connection_create(const char *transport, const char *directory, const char *kernel_name,
                      struct connection *ret, struct error *err) {
    struct connection connection = {.is_ipc = strcmp(transport, "ipc") == 0,
                                    .kernel_name = kernel_name};
    /* A socket's path has at most 107 bytes; "-5" is put behind this one. */
    int length = connection.is_ipc
                     ? snprintf(connection.ip, sizeof connection.ip, "%s/k", directory)
                     : snprintf(connection.ip, sizeof connection.ip, "127.0.0.1");
    if (length < 0 || (size_t)length + 3 > sizeof connection.ip)
        return error_set(err, ERROR_LIMIT,
                         "%s is too long for transport ipc (socket paths end at 107 bytes); use a "
                         "shorter runtime directory or transport tcp",
                         directory);
    uint8_t random[32];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return error_system(err, errno, "no random bytes for the kernel's key");
    if (connection_renew_ports(&connection, err) < 0)
        return -1;
    connection.key = secret_alloc(2 * sizeof random + 1);
    text_hex(random, sizeof random, connection.key);
    explicit_bzero(random, sizeof random);
    *ret = connection;
    return 0;
}

void connection_end(struct connection *connection) {
    secret_free(connection->key);
    connection->key = NULL;
}

int connection_write(const struct connection *connection, const char *path, struct error *err) {
    cleanup_json json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s}", "ip", connection->ip, "key", connection->key,
                  "transport", connection->is_ipc ? "ipc" : "tcp", "signature_scheme",
                  "hmac-sha256", "kernel_name", connection->kernel_name);
    if (json == NULL)
        return error_set(err, ERROR_INVALID, "kernel_name is not UTF-8");
    for (int i = 0; i < PORT_COUNT; i++)
        json_object_set_new(json, port_members[i], json_integer(connection->ports[i]));
    int failed = file_write_json(path, json, 0600, err);
    const json_t *key = json_object_get(json, "key");
    explicit_bzero((void *)(uintptr_t)json_string_value(key), json_string_length(key));
    return failed;
}

void connection_address(const struct connection *connection, enum connection_port port,
                        char address[CONNECTION_ADDRESS_SIZE]) {
    snprintf(address, CONNECTION_ADDRESS_SIZE, "%s://%s%c%d", connection->is_ipc ? "ipc" : "tcp",
             connection->ip, connection->is_ipc ? '-' : ':', connection->ports[port]);
}

void connection_remove_sockets(const struct connection *connection) {
    for (int i = 0; i < PORT_COUNT && connection->is_ipc; i++) {
        char path[CONNECTION_ADDRESS_SIZE];
        snprintf(path, sizeof path, "%s-%d", connection->ip, connection->ports[i]);
        unlink(path);
    }
}
