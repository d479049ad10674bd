#include "launcher/connection_file.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

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

enum { PORT_LOWEST = 20000, PORT_HIGHEST = 65535, BLOCKS_ENOUGH = 400, PICK_TRIES = 100 };

static struct port_range read_range(void) {
    struct port_range range;
    cleanup_buffer struct buffer text = {.limit = 256};
    if (file_read("/proc/sys/net/ipv4/ip_local_port_range", 255, &text, NULL) == 0 &&
        sscanf(buffer_text(&text), "%d %d", &range.low, &range.high) == 2)
        return range;
    return (struct port_range){.low = 32768, .high = 60999};
}

/* A kernel binds its ports seconds after they were picked, and until then nothing shows that they
 * are not free: of hundreds that start together some would get the same. So each launcher claims a
 * block of five by a name in the abstract namespace (unix(7)), which the system keeps for each
 * network namespace, as it does ports, and gives up when the launcher ends. */
static int claim_block(int first_port) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int length =
        snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "elara-kernel-ports-%d", first_port);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    return fd < 0 || bind(fd, (struct sockaddr *)&name, size) < 0 ? -1 : steal_fd(&fd);
}

static bool is_listened_on(int port) {
    int bound;
    cleanup_close int fd = bind_port(port, &bound);
    return fd < 0 && errno == EADDRINUSE;
}

/* The first port of a block that is free and now claimed. */
static int pick_block(int *claim) {
    struct port_range range = read_range();
    int below = range.low > PORT_LOWEST ? (range.low - PORT_LOWEST) / PORT_COUNT : 0;
    int above = range.high < PORT_HIGHEST ? (PORT_HIGHEST - range.high) / PORT_COUNT : 0;
    for (int i = 0; below + above >= BLOCKS_ENOUGH && i < PICK_TRIES; i++) {
        uint32_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            break;
        int nth = (int)(random % (uint32_t)(below + above));
        int first = nth < below ? PORT_LOWEST + nth * PORT_COUNT
                                : range.high + 1 + (nth - below) * PORT_COUNT;
        cleanup_close int fd = claim_block(first);
        int free_ports = 0;
        while (fd >= 0 && free_ports < PORT_COUNT && !is_listened_on(first + free_ports))
            free_ports++;
        if (free_ports < PORT_COUNT)
            continue;
        *claim = steal_fd(&fd);
        return first;
    }
    return -1;
}

/* Few ports, or all in use: the system's choice is better than none. All five are held until the
 * last one is picked, so that none is picked twice. */
static int take_any_ports(int ports[PORT_COUNT], struct error *err) {
    int fds[PORT_COUNT];
    int count = 0;
    while (count < PORT_COUNT && (fds[count] = bind_port(0, &ports[count])) >= 0)
        count++;
    int problem = errno;
    for (int i = 0; i < count; i++)
        close(fds[i]);
    if (count < PORT_COUNT)
        return error_system(err, problem, "no free port on 127.0.0.1 for the kernel");
    return 0;
}

static void give_up_claim(struct connection *connection) {
    if (connection->claim > 0)
        close(connection->claim);
    connection->claim = 0;
}

int connection_renew_ports(struct connection *connection, struct error *err) {
    int claim = 0; /* before the old one is given up: other ports are wanted */
    int first = connection->is_ipc ? 1 : pick_block(&claim);
    give_up_claim(connection);
    connection->claim = claim;
    for (int i = 0; i < PORT_COUNT; i++)
        connection->ports[i] = first + i;
    return first < 0 ? take_any_ports(connection->ports, err) : 0;
}

bool connection_is_taken(const struct connection *connection) {
    for (int i = 0; i < PORT_COUNT && !connection->is_ipc; i++)
        if (is_listened_on(connection->ports[i]))
            return true;
    return false;
}

bool connection_is_named(const struct connection *connection, const char *text) {
    for (int i = 0; i < PORT_COUNT && !connection->is_ipc; i++) {
        char port[8];
        int length = snprintf(port, sizeof port, ":%d", connection->ports[i]);
        const char *found = strstr(text, port);
        if (found != NULL && !isdigit((unsigned char)found[length]))
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
    give_up_claim(connection);
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
