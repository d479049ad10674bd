/* The connection file's contents, its mode, and ports that are free and distinct. */
#include "launcher/connection_file.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

static int make_directory(void **state) {
    char *directory = memory_strdup("/tmp/elara-test-XXXXXX");
    *state = mkdtemp(directory);
    return *state != NULL ? 0 : -1;
}

static int remove_directory(void **state) {
    int rc = file_remove_tree(*state, NULL);
    free(*state);
    return rc;
}

/* A port that any outgoing connection may get as its own. */
static bool is_given_out(int port) {
    int low, high;
    cleanup_fclose FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    if (file == NULL || fscanf(file, "%d %d", &low, &high) != 2 || low < 22000)
        return false; /* no room beside the range */
    return port >= low && port <= high;
}

static void test_tcp(void **state) {
    struct connection connection, other;
    struct error err;
    struct stat found;
    cleanup_json json_t *json = NULL;
    cleanup_free char *path = memory_printf("%s/connection.json", (char *)*state);
    assert_int_equal(connection_create("tcp", *state, "python3", &connection, &err), 0);
    assert_int_equal(connection_create("tcp", *state, "python3", &other, &err), 0);
    assert_string_not_equal(connection.key, other.key);
    assert_int_equal(strlen(connection.key), 64);
    assert_int_equal(connection_write(&connection, path, &err), 0);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    assert_int_equal(file_read_json(path, 4096, &json, &err), 0);
    static const char *const ports[] = {"shell_port", "iopub_port", "stdin_port", "control_port",
                                        "hb_port"};
    for (int i = 0; i < PORT_COUNT; i++) {
        assert_int_equal(json_integer_value(json_object_get(json, ports[i])), connection.ports[i]);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(connection.ports[i], connection.ports[j]);
        assert_false(is_given_out(connection.ports[i]));
    }
    assert_string_equal(json_string_value(json_object_get(json, "ip")), "127.0.0.1");
    assert_string_equal(json_string_value(json_object_get(json, "transport")), "tcp");
    assert_string_equal(json_string_value(json_object_get(json, "signature_scheme")),
                        "hmac-sha256");
    assert_string_equal(json_string_value(json_object_get(json, "key")), connection.key);
    assert_string_equal(json_string_value(json_object_get(json, "kernel_name")), "python3");
}

static void test_taken_ports(void **state) {
    struct connection connection;
    struct error err;
    assert_int_equal(connection_create("tcp", *state, "x", &connection, &err), 0);
    assert_false(connection_is_taken(&connection));
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)connection.ports[PORT_STDIN]),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_true(connection_is_taken(&connection));
    cleanup_free char *key = memory_strdup(connection.key);
    assert_int_equal(connection_renew_ports(&connection, &err), 0);
    assert_false(connection_is_taken(&connection));
    assert_string_equal(connection.key, key);
}

static void test_ports_of_many_that_are_not_bound_yet(void **state) {
    enum { COUNT = 300 }; /* picked at random, of some thousand blocks: two would be the same */
    static struct connection connections[COUNT];
    static bool is_known[65536];
    struct error err;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(connection_create("tcp", *state, "x", &connections[i], &err), 0);
        for (int j = 0; j < PORT_COUNT; j++) {
            assert_false(is_known[connections[i].ports[j]]);
            is_known[connections[i].ports[j]] = true;
        }
    }
    for (int i = 0; i < COUNT; i++)
        connection_end(&connections[i]);
}

static void test_port_in_a_text(void **state) {
    (void)state;
    const struct connection connection = {.ports = {21001, 21002, 21003, 21004, 21005}};
    assert_true(connection_is_named(&connection, "in use (addr='tcp://127.0.0.1:21002')"));
    assert_true(connection_is_named(&connection, "*:21005"));
    assert_false(connection_is_named(&connection, "127.0.0.1:21006, 21001, :210011"));
}

static void test_ipc(void **state) {
    struct connection connection;
    struct error err;
    char address[CONNECTION_ADDRESS_SIZE], long_directory[120];
    assert_int_equal(connection_create("ipc", *state, "x", &connection, &err), 0);
    connection_address(&connection, PORT_SHELL, address);
    cleanup_free char *expected = memory_printf("ipc://%s/k-1", (char *)*state);
    assert_string_equal(address, expected);
    cleanup_fclose FILE *file = fopen(address + strlen("ipc://"), "w");
    connection_remove_sockets(&connection);
    assert_int_equal(access(address + strlen("ipc://"), F_OK), -1);
    memset(long_directory, 'x', sizeof long_directory);
    long_directory[sizeof long_directory - 1] = '\0';
    assert_int_equal(connection_create("ipc", long_directory, "x", &connection, &err), -1);
    assert_int_equal(err.code, ERROR_LIMIT);
}

static void test_address(void **state) {
    (void)state;
    char address[CONNECTION_ADDRESS_SIZE];
    struct connection connection = {.ip = "127.0.0.1", .ports = {1, 2, 3, 4, 5}};
    connection_address(&connection, PORT_HB, address);
    assert_string_equal(address, "tcp://127.0.0.1:5");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_taken_ports),
        cmocka_unit_test(test_ports_of_many_that_are_not_bound_yet),
        cmocka_unit_test(test_port_in_a_text),
        cmocka_unit_test(test_ipc),
        cmocka_unit_test(test_address),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
