/* Who gets through the handshake of a pod's link, seen from both ends. */
#include "base/memory.h"
#include "launcher/link_curve.h"
#include "launcher/link_strangers.h"
#include "log_capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, TICK_MS = 5, CLIENTS_MAX = 8, STRANGERS = LINK_STRANGERS_MAX + 20 };

struct fixture {
    zloop_t *loop;
    zsock_t *server;
    struct link_curve *curve;
    char endpoint[64];
    char server_public[41], gateway_public[41], gateway_secret[41];
    void *zmq; /* the clients' */
    void *client[CLIENTS_MAX], *monitor[CLIENTS_MAX];
    int clients;
    char got[64];
    size_t length;
    int stranger[STRANGERS]; /* plain sockets */
    int strangers;
    int messages;
    bool (*until)(struct fixture *fixture);
    int wanted_event, seen_event;
};

static int on_message(zloop_t *loop, zsock_t *socket, void *context) {
    (void)loop;
    struct fixture *f = context;
    char route[64];
    void *router = zsock_resolve(socket);
    while (zmq_recv(router, route, sizeof route, ZMQ_DONTWAIT) >= 0) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        assert_true(zmq_msg_recv(&message, router, ZMQ_DONTWAIT) >= 0);
        link_curve_heard(f->curve, &message);
        f->length = zmq_msg_size(&message);
        size_t shown = f->length < sizeof f->got ? f->length : sizeof f->got - 1;
        memcpy(f->got, zmq_msg_data(&message), shown);
        f->got[shown] = '\0';
        f->messages++;
        zmq_msg_close(&message);
    }
    return 0;
}

static int setup(void **state) {
    struct fixture *f = memory_alloc(sizeof *f);
    struct link_curve_keys keys;
    char secret[41];
    zsys_handler_set(NULL);
    assert_int_equal(zmq_curve_keypair(f->server_public, secret), 0);
    assert_int_equal(zmq_curve_keypair(f->gateway_public, f->gateway_secret), 0);
    assert_non_null(zmq_z85_decode(keys.secret, secret));
    assert_non_null(zmq_z85_decode(keys.gateway, f->gateway_public));
    f->loop = zloop_new();
    f->server = zsock_new(ZMQ_ROUTER);
    struct error err;
    if (link_curve_create(f->loop, f->server, &keys, &f->curve, &err) < 0)
        fail_msg("%s", err.text);
    void *router = zsock_resolve(f->server);
    assert_int_equal(zmq_bind(router, "tcp://127.0.0.1:*"), 0);
    size_t size = sizeof f->endpoint;
    assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, f->endpoint, &size), 0);
    zloop_reader(f->loop, f->server, on_message, f);
    f->zmq = zmq_ctx_new();
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < f->clients; i++) {
        zmq_close(f->monitor[i]);
        zmq_close(f->client[i]);
    }
    for (int i = 0; i < f->strangers; i++)
        close(f->stranger[i]);
    zmq_ctx_term(f->zmq);
    zloop_reader_end(f->loop, f->server);
    link_curve_unwatch(f->curve);
    zsock_destroy(&f->server);
    link_curve_destroy(&f->curve);
    zloop_destroy(&f->loop);
    free(f);
    return 0;
}

/* server NULL: without CURVE. */
static int connect_client(struct fixture *f, const char *server, const char *public_key,
                          const char *secret_key) {
    int i = f->clients++, zero = 0;
    assert_true(i < CLIENTS_MAX);
    f->client[i] = zmq_socket(f->zmq, ZMQ_DEALER);
    zmq_setsockopt(f->client[i], ZMQ_LINGER, &zero, sizeof zero);
    if (server != NULL) {
        assert_int_equal(zmq_setsockopt(f->client[i], ZMQ_CURVE_SERVERKEY, server, 41), 0);
        assert_int_equal(zmq_setsockopt(f->client[i], ZMQ_CURVE_PUBLICKEY, public_key, 41), 0);
        assert_int_equal(zmq_setsockopt(f->client[i], ZMQ_CURVE_SECRETKEY, secret_key, 41), 0);
    }
    char place[32];
    snprintf(place, sizeof place, "inproc://monitor-%d", i);
    assert_int_equal(zmq_socket_monitor(f->client[i], place, ZMQ_EVENT_ALL), 0);
    f->monitor[i] = zmq_socket(f->zmq, ZMQ_PAIR);
    zmq_setsockopt(f->monitor[i], ZMQ_LINGER, &zero, sizeof zero);
    assert_int_equal(zmq_connect(f->monitor[i], place), 0);
    assert_int_equal(zmq_connect(f->client[i], f->endpoint), 0);
    assert_int_equal(zmq_send(f->client[i], "hello", 5, 0), 5);
    return i;
}

static int on_tick(zloop_t *loop, int timer, void *context) {
    (void)loop, (void)timer;
    struct fixture *f = context;
    return f->until(f) ? -1 : 0;
}

static int on_patience(zloop_t *loop, int timer, void *context) {
    (void)loop, (void)timer, (void)context;
    return -1;
}

static bool run(struct fixture *f, bool (*until)(struct fixture *fixture)) {
    f->until = until;
    int tick = zloop_timer(f->loop, TICK_MS, 0, on_tick, f);
    int patience = zloop_timer(f->loop, PATIENCE_MS, 1, on_patience, f);
    zloop_start(f->loop);
    zloop_timer_end(f->loop, tick);
    zloop_timer_end(f->loop, patience);
    return until(f);
}

/* Whether the last client was told of this event; earlier ones are skipped. */
static bool saw_event(struct fixture *f) {
    uint16_t event;
    char frame[6], address[128];
    void *monitor = f->monitor[f->clients - 1];
    while (f->seen_event != f->wanted_event && zmq_recv(monitor, frame, 6, ZMQ_DONTWAIT) == 6) {
        memcpy(&event, frame, sizeof event);
        zmq_recv(monitor, address, sizeof address, ZMQ_DONTWAIT);
        f->seen_event = event;
    }
    return f->seen_event == f->wanted_event;
}

static void expect_event(struct fixture *f, int event) {
    f->wanted_event = event;
    f->seen_event = 0;
    assert_true(run(f, saw_event));
}

static bool has_message(struct fixture *f) {
    return f->messages > 0;
}

static bool has_two_messages(struct fixture *f) {
    return f->messages >= 2;
}

static void enter(struct fixture *f) {
    connect_client(f, f->server_public, f->gateway_public, f->gateway_secret);
}

static void enter_with_another_key(struct fixture *f) {
    char public_key[41], secret_key[41];
    assert_int_equal(zmq_curve_keypair(public_key, secret_key), 0);
    connect_client(f, f->server_public, public_key, secret_key);
}

static void test_the_gateway_enters(void **state) {
    struct fixture *f = *state;
    enter(f);
    assert_true(run(f, has_message));
    assert_string_equal(f->got, "hello");
    assert_int_equal(link_curve_refused(f->curve), 0);
}

static void test_replicas_share_the_key(void **state) {
    struct fixture *f = *state;
    enter(f);
    enter(f);
    assert_true(run(f, has_two_messages));
}

static void test_another_key_is_refused(void **state) {
    struct fixture *f = *state;
    enter_with_another_key(f);
    expect_event(f, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    assert_true(link_curve_refused(f->curve) >= 1);
    assert_int_equal(f->messages, 0);
    enter(f); /* the others go on */
    assert_true(run(f, has_message));
}

static void test_plaintext_is_refused(void **state) {
    struct fixture *f = *state;
    connect_client(f, NULL, NULL, NULL);
    expect_event(f, ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL);
    assert_int_equal(f->messages, 0);
    assert_int_equal(link_curve_refused(f->curve), 0); /* it did not even come to the question */
}

/* Somebody else sits at the address: the gateway's messages are not for him. */
static void test_another_server_is_not_talked_to(void **state) {
    struct fixture *f = *state;
    connect_client(f, f->gateway_public, f->gateway_public, f->gateway_secret);
    expect_event(f, ZMQ_EVENT_DISCONNECTED);
    assert_int_equal(f->messages, 0);
}

/* --- who says nothing, or too much --- */

/* As libzmq greets, with CURVE (RFC 23/ZMTP). */
static const char greeting[64] = "\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE";

static void connect_stranger(struct fixture *f) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(strrchr(f->endpoint, ':') + 1)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && f->strangers < STRANGERS);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, greeting, sizeof greeting, MSG_NOSIGNAL), sizeof greeting);
    f->stranger[f->strangers++] = fd;
}

static bool is_ended(int fd) {
    char bytes[256];
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        ;
    return got == 0 || errno == ECONNRESET;
}

static bool first_stranger_is_ended(struct fixture *f) {
    return is_ended(f->stranger[0]);
}

static bool pours_until_it_is_ended(struct fixture *f) {
    static const char zeros[64 << 10];
    for (int i = 0; i < 16; i++)
        if (send(f->stranger[0], zeros, sizeof zeros, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
            errno != EAGAIN)
            return true;
    return false;
}

static void test_a_stranger_says_no_more_than_a_handshake(void **state) {
    struct fixture *f = *state;
    connect_stranger(f);
    /* A command of 1 GB; what is announced is not taken. */
    assert_int_equal(send(f->stranger[0], "\6\0\0\0\0\x40\0\0\0", 9, MSG_NOSIGNAL), 9);
    assert_true(run(f, pours_until_it_is_ended));
    enter(f);
    assert_true(run(f, has_message));
}

static void test_the_longest_there_gives_way(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < STRANGERS; i++)
        connect_stranger(f);
    assert_true(run(f, first_stranger_is_ended));
    assert_true(link_curve_strangers(f->curve) <= LINK_STRANGERS_MAX);
    assert_false(is_ended(f->stranger[STRANGERS - 1]));
    enter(f);
    assert_true(run(f, has_message));
}

static bool has_large_message(struct fixture *f) {
    return f->length == 4 << 20;
}

static void test_the_gateway_is_no_stranger(void **state) {
    struct fixture *f = *state;
    enter(f);
    assert_true(run(f, has_message));
    assert_int_equal(link_curve_strangers(f->curve), 0);
    char *large = memory_alloc(4 << 20);
    assert_int_equal(zmq_send(f->client[0], large, 4 << 20, 0), 4 << 20);
    free(large);
    assert_true(run(f, has_large_message));
}

static bool has_no_stranger(struct fixture *f) {
    return link_curve_strangers(f->curve) == 0;
}

static bool has_stranger(struct fixture *f) {
    return link_curve_strangers(f->curve) > 0;
}

static void test_strangers_that_leave_are_forgotten(void **state) {
    struct fixture *f = *state;
    connect_stranger(f);
    assert_true(run(f, has_stranger));
    shutdown(f->stranger[0], SHUT_RDWR);
    assert_true(run(f, has_no_stranger));
}

static bool has_three_refusals(struct fixture *f) {
    return link_curve_refused(f->curve) >= 3;
}

static void test_refusals_are_told_at_a_limited_rate(void **state) {
    struct fixture *f = *state;
    struct log_capture log = log_capture_begin(LOG_WARNING);
    for (int i = 0; i < 3; i++)
        enter_with_another_key(f);
    bool came = run(f, has_three_refusals);
    char *text = log_capture_end(&log);
    assert_true(came);
    assert_int_equal(log_count(text, "a connection from 127.0.0.1 is refused"), 1);
    free(text);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_gateway_enters),
        TEST(test_replicas_share_the_key),
        TEST(test_another_key_is_refused),
        TEST(test_plaintext_is_refused),
        TEST(test_another_server_is_not_talked_to),
        TEST(test_a_stranger_says_no_more_than_a_handshake),
        TEST(test_the_longest_there_gives_way),
        TEST(test_the_gateway_is_no_stranger),
        TEST(test_strangers_that_leave_are_forgotten),
        TEST(test_refusals_are_told_at_a_limited_rate),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    zsys_shutdown();
    return failed;
}
