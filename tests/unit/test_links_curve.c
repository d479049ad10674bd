/* The gateway's link client and the launcher's link server, joined by a port: the server runs in a
 * process of its own, as in life. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "gateway/links.h"
#include "launcher/link_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KERNEL "11111111-2222-4333-8444-555555555555"

enum { PATIENCE_MS = 20000, SERVERS = 3 };

struct server {
    pid_t pid;
    char *endpoint;
    char public_key[41], secret_key[41];
};

struct fixture {
    char directory[64];
    struct server servers[SERVERS];
    char public_key[41], secret_key[41]; /* the gateways' */
    struct loop *loop;
    struct links *links;
    struct link *link[SERVERS];
    struct loop_deadline patience;
    int welcomed, wanted;
};

/* --- the launcher's side --- */

static json_t *give_nothing(void *context) {
    (void)context;
    return json_object();
}

static bool take_request(void *context, session_number session, const void *message,
                         size_t length) {
    (void)context, (void)session, (void)message, (void)length;
    return true;
}

static void take_command(void *context, const char *name, const json_t *members,
                         struct link_command *command) {
    (void)context, (void)name, (void)members;
    link_server_result(command, NULL, NULL);
}

static int free_port(void) {
    void *zmq = zmq_ctx_new(), *probe = zmq_socket(zmq, ZMQ_REP);
    char endpoint[64];
    size_t size = sizeof endpoint;
    assert_int_equal(zmq_bind(probe, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(probe, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    zmq_close(probe);
    zmq_ctx_term(zmq);
    return atoi(strrchr(endpoint, ':') + 1);
}

__attribute__((noreturn)) static void serve(const struct fixture *f, int which) {
    const struct server *server = &f->servers[which];
    struct link_curve_keys keys;
    struct link_server *link;
    struct error err;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    zsys_handler_set(NULL);
    zmq_z85_decode(keys.secret, server->secret_key);
    zmq_z85_decode(keys.gateway, f->public_key);
    cleanup_free char *journal = memory_printf("%s/journal-%d", f->directory, which);
    const struct link_server_events events = {.request = take_request,
                                              .command = take_command,
                                              .record = give_nothing,
                                              .status = give_nothing};
    const struct link_server_settings settings = {
        .kernel_id = KERNEL,
        .endpoint = server->endpoint,
        .keys = strncmp(server->endpoint, "tcp:", 4) == 0 ? &keys : NULL,
        .journal_directory = journal,
        .journal_bytes = 1 << 20,
        .session_retention_ms = 60000,
        .payload_max = 64 << 20,
    };
    zloop_t *loop = zloop_new();
    if (link_server_create(loop, &settings, &events, NULL, &link, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    for (;;)
        zloop_start(loop);
}

static void start_server(struct fixture *f, int which, bool is_port) {
    struct server *server = &f->servers[which];
    assert_int_equal(zmq_curve_keypair(server->public_key, server->secret_key), 0);
    server->endpoint = is_port ? memory_printf("tcp://127.0.0.1:%d", free_port())
                               : memory_printf("ipc://%s/link", f->directory);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0)
        serve(f, which);
}

/* --- the gateway's side --- */

static void on_welcomed(void *context, const json_t *record, const json_t *status) {
    (void)record, (void)status;
    struct fixture *f = context;
    if (++f->welcomed == f->wanted)
        loop_stop(f->loop);
}

static void on_patience(void *context) {
    struct fixture *f = context;
    loop_stop(f->loop);
}

static const struct link_events link_events = {.welcomed = on_welcomed};

static int setup(void **state) {
    struct fixture *f = memory_alloc(sizeof *f);
    strcpy(f->directory, "/tmp/test-links-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    assert_int_equal(zmq_curve_keypair(f->public_key, f->secret_key), 0);
    start_server(f, 0, true);
    start_server(f, 1, true);
    start_server(f, 2, false);
    f->loop = loop_create();
    assert_int_equal(links_create(f->loop, &f->links, NULL), 0);
    f->patience = (struct loop_deadline){.run = on_patience, .context = f};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    loop_deadline_clear(f->loop, &f->patience);
    links_destroy(f->links);
    loop_destroy(f->loop);
    for (int i = 0; i < SERVERS; i++) {
        kill(f->servers[i].pid, SIGKILL);
        waitpid(f->servers[i].pid, NULL, 0);
        free(f->servers[i].endpoint);
    }
    file_remove_tree(f->directory, NULL);
    free(f);
    return 0;
}

static struct provision_address address_of(const struct fixture *f, int which) {
    const struct server *server = &f->servers[which];
    if (strncmp(server->endpoint, "tcp:", 4) != 0)
        return (struct provision_address){.endpoint = server->endpoint};
    return (struct provision_address){.endpoint = server->endpoint,
                                      .server_key = server->public_key,
                                      .public_key = f->public_key,
                                      .secret_key = f->secret_key};
}

static void open_link(struct fixture *f, int which, const struct provision_address *address) {
    struct error err;
    if (link_open(f->links, KERNEL, address, &link_events, f, &f->link[which], &err) < 0)
        fail_msg("%s", err.text);
}

static bool run_until_welcomed(struct fixture *f, int wanted) {
    f->wanted = wanted;
    loop_deadline_set(f->loop, &f->patience, PATIENCE_MS);
    if (f->welcomed < wanted)
        loop_run(f->loop);
    return f->welcomed >= wanted;
}

/* One socket for all: each connection has the keys of its own launcher, or none. */
static void test_ports_and_local_sockets_beside_each_other(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < SERVERS; i++) {
        struct provision_address address = address_of(f, i);
        open_link(f, i, &address);
    }
    assert_true(run_until_welcomed(f, SERVERS));
    link_renew(f->link[1]); /* after a link without keys was the last that was made */
    link_renew(f->link[2]);
    link_renew(f->link[0]);
    assert_true(run_until_welcomed(f, 2 * SERVERS));
}

static void test_a_link_without_the_right_key_stays_down(void **state) {
    struct fixture *f = *state;
    char public_key[41], secret_key[41];
    assert_int_equal(zmq_curve_keypair(public_key, secret_key), 0);
    struct provision_address stranger = address_of(f, 0);
    stranger.public_key = public_key;
    stranger.secret_key = secret_key;
    open_link(f, 0, &stranger);
    struct provision_address misled = address_of(f, 1);
    misled.server_key = f->servers[0].public_key; /* somebody else sits there */
    open_link(f, 1, &misled);
    struct provision_address good = address_of(f, 2);
    open_link(f, 2, &good);
    assert_true(run_until_welcomed(f, 1));
    link_renew(f->link[2]);
    assert_true(run_until_welcomed(f, 2)); /* time for the others, too */
    assert_false(link_is_up(f->link[0]));
    assert_false(link_is_up(f->link[1]));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ports_and_local_sockets_beside_each_other),
        TEST(test_a_link_without_the_right_key_stays_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
