/* What the launcher knows of sessions and requests beyond a gateway's or its own life. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "link_peer.h"
#include "log_capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WINDOW = 1 << 20 };

static void test_two_gateways_number_on_their_own(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    struct peer *other = peer_welcomed(world, "another");
    assert_int_equal(peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL), 1);
    assert_int_equal(peer_attach(other, 1, "s", WINDOW, "cursor", NULL, NULL), 1);
    uint64_t bytes = peer_request(peer, 1, 1, "1", 0);
    bytes += peer_request(peer, 1, 2, "2", 0);
    uint64_t others = peer_request(other, 1, 1, "other 1", 0);
    peer_expect_grant(peer, 1, 2, bytes);
    peer_expect_grant(other, 1, 1, others);
    assert_int_equal(world->request_count, 3);
    world->is_ready = false; /* what waits is counted where it came from */
    peer_request(peer, 1, 3, "3", 0);
    others += peer_request(other, 1, 2, "other 2", 0);
    peer_expect_nothing(peer);
    peer_expect_nothing(other);
    peer_destroy(peer);
    peer = peer_welcomed(world, "g");
    assert_int_equal(peer_attach(peer, 7, "s", WINDOW, "cursor", NULL, NULL), 4);
    world->is_ready = true;
    link_server_resume(world->server);
    link_server_flush(world->server);
    peer_expect_grant(peer, 7, 3, 0);
    peer_expect_grant(other, 1, 2, others);
    assert_int_equal(world->request_count, 5);
    peer_destroy(other);
    peer_destroy(peer);
}

/* The gateway that was not seen the longest makes room, but none that is at work. */
static void test_few_gateways_serve_a_session(void **state) {
    struct world *world = *state;
    struct peer *peers[SESSION_GATEWAYS_MAX];
    for (int i = 0; i < SESSION_GATEWAYS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "g %d", i);
        peers[i] = peer_welcomed(world, name);
        peer_attach(peers[i], 1, "s", WINDOW, "cursor", NULL, NULL);
        peer_request(peers[i], 1, 1, "1", 0);
    }
    struct peer *late = peer_welcomed(world, "late");
    peer_json(late, LINK_ATTACH, 1, 0,
              "{\"session_id\": \"s\", \"window\": 1000, \"from\": \"cursor\"}");
    peer_send(late);
    peer_expect_detached(late, 1, "too many gateways");
    peer_frame(peers[1], LINK_DETACH, 1, 0, NULL, 0);
    peer_send(peers[1]);
    peer_expect_nothing(peers[1]);
    assert_int_equal(peer_attach(late, 1, "s", WINDOW, "cursor", NULL, NULL), 1);
    assert_int_equal(peer_attach(peers[2], 2, "s", WINDOW, "cursor", NULL, NULL), 2);
    for (int i = 0; i < SESSION_GATEWAYS_MAX; i++)
        peer_destroy(peers[i]);
    peer_destroy(late);
}

static void test_sessions_outlive_the_server(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    peer_request(peer, 1, 1, "1", 0);
    peer_expect_nothing(peer);
    session_number number = world->request_session[0];
    for (int i = 0; i < 3; i++)
        publish_now(world, number, "{}", 0);
    for (int i = 0; i < 3; i++)
        peer_expect(peer, LINK_MESSAGE, 1);
    peer_u64(peer, LINK_ACK, 1, 2, 0); /* the third one did not arrive */
    peer_send(peer);
    world->is_ready = false;
    peer_request(peer, 1, 2, "2", 0);
    peer_expect_nothing(peer);
    peer_destroy(peer);
    link_server_destroy(&world->server);

    world->is_ready = true;
    world_start(world, NULL);
    peer = peer_welcomed(world, "g");
    bool resumed = false;
    uint64_t cursor = 0;
    assert_int_equal(peer_attach(peer, 3, "s", WINDOW, "cursor", &cursor, &resumed), 3);
    assert_true(resumed);
    assert_int_equal(cursor, 2);
    assert_int_equal(peer_expect(peer, LINK_MESSAGE, 3)->frame.seq, 3); /* for it alone */
    peer_request(peer, 3, 2, "2", 0); /* came already, whatever became of it */
    peer_request(peer, 3, 3, "3", 0);
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 2);
    assert_int_equal(world->request_session[1], number);
    peer_attach(peer, 4, "new", WINDOW, "cursor", NULL, NULL);
    peer_request(peer, 4, 1, "new", 0);
    peer_expect_nothing(peer);
    assert_true(world->request_session[2] > number);
    peer_destroy(peer);
}

/* What was sent under a number never comes again under it: a gateway would take it for a
 * repetition. */
static void test_numbers_go_on_without_the_journal(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    for (int i = 0; i < 3; i++)
        publish_now(world, 0, "{}", 0);
    for (int i = 0; i < 3; i++)
        peer_expect(peer, LINK_MESSAGE, 1);
    peer_u64(peer, LINK_ACK, 1, 3, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    peer_destroy(peer);
    link_server_destroy(&world->server);
    cleanup_free char *journal = memory_printf("%s/journal", world->directory);
    assert_int_equal(file_remove_tree(journal, NULL), 0);
    world_start(world, NULL);
    peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    publish_now(world, 0, "{}", 0);
    assert_int_equal(peer_expect(peer, LINK_MESSAGE, 1)->frame.seq, 4);
    peer_expect_nothing(peer); /* no notice either: it has all there was */
    peer_destroy(peer);
}

#define HEADER(id) "{\"msg_id\":\"" id "\",\"msg_type\":\"execute_request\"}"

static void announce(struct peer *peer, uint16_t attachment, const char *header) {
    peer_frame(peer, LINK_ANNOUNCE, attachment, LINK_ANNOUNCE_MAY_COME, header, strlen(header));
    peer_send(peer);
}

static void give_up(struct peer *peer, uint16_t attachment, const char *header) {
    peer_frame(peer, LINK_ANNOUNCE, attachment, LINK_ANNOUNCE_GIVEN_UP, header, strlen(header));
    peer_send(peer);
    peer_expect_nothing(peer);
}

static void execute(struct peer *peer, uint16_t attachment, uint64_t number, const char *header) {
    cleanup_buffer struct buffer message = {0};
    struct bytes none = bytes_of_text("{}");
    assert_int_equal(kernel_message_write(&message, CHANNEL_SHELL, bytes_of_text(header), none,
                                          none, bytes_of_text(header), NULL, 0),
                     0);
    peer_frame(peer, LINK_REQUEST, attachment, number, message.data, message.length);
    peer_send(peer);
}

/* The connection ends, as after its silence. */
static void forget(struct peer *peer) {
    peer_frame(peer, LINK_RESET, 0, 0, NULL, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
}

static void test_what_was_announced_and_lost_is_answered(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    execute(peer, 1, 1, HEADER("first"));
    announce(peer, 1, HEADER("came"));
    announce(peer, 1, HEADER("lost"));
    announce(peer, 1, HEADER("lost")); /* after a break: still one */
    announce(peer, 1, "{\"msg_id\":\"k\",\"msg_type\":\"kernel_info_request\"}");
    announce(peer, 1, "no header at all");
    execute(peer, 1, 2, HEADER("came"));
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 2);

    forget(peer);
    link_server_run_deadlines(world->server, clock_monotonic_ms() + 1000); /* it may come back */
    assert_int_equal(world->lost, 0);
    link_server_run_deadlines(world->server, clock_monotonic_ms() + SERVER_ANNOUNCED_GRACE_MS + 1);
    assert_int_equal(world->lost, 1);
    assert_string_equal(world->lost_header, HEADER("lost"));
    assert_int_equal(world->lost_session, world->request_session[0]);
    link_server_run_deadlines(world->server, clock_monotonic_ms() + 2 * SERVER_ANNOUNCED_GRACE_MS);
    assert_int_equal(world->lost, 1);
    peer_destroy(peer);

    peer = peer_welcomed(world, "g"); /* it had only been asleep */
    assert_int_equal(peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL), 3);
    execute(peer, 1, 3, HEADER("lost"));
    execute(peer, 1, 4, HEADER("next"));
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 3);
    assert_non_null(strstr(world->request_text[2], "next"));
    assert_int_equal(peer->grants[1].taken, 4);
    peer_destroy(peer);
}

static void test_a_gateway_that_comes_back_says_what_it_still_has(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    announce(peer, 1, HEADER("waits"));
    announce(peer, 1, HEADER("dropped"));
    peer_expect_nothing(peer);
    forget(peer);
    peer_destroy(peer);
    peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    announce(peer, 1, HEADER("waits"));
    peer_expect_nothing(peer);
    link_server_run_deadlines(world->server, clock_monotonic_ms() + SERVER_ANNOUNCED_GRACE_MS + 1);
    assert_int_equal(world->lost, 1);
    assert_string_equal(world->lost_header, HEADER("dropped"));
    execute(peer, 1, 1, HEADER("waits"));
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 1);
    peer_destroy(peer);
}

static void test_what_is_given_up_is_answered_at_once(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    announce(peer, 1, HEADER("announced"));
    give_up(peer, 1, HEADER("announced"));
    assert_int_equal(world->lost, 1);
    assert_string_equal(world->lost_header, HEADER("announced"));
    give_up(peer, 1, HEADER("never said before"));
    assert_int_equal(world->lost, 2);
    assert_string_equal(world->lost_header, HEADER("never said before"));
    assert_int_equal(world->server->announced_count, 0);
    forget(peer);
    link_server_run_deadlines(world->server, clock_monotonic_ms() + 2 * SERVER_ANNOUNCED_GRACE_MS);
    assert_int_equal(world->lost, 2);
    peer_destroy(peer);
}

/* Clients decide how many there are, and the log has no cap. */
static void test_what_was_lost_is_logged_once(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    struct log_capture capture = log_capture_begin(LOG_INFO);
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    announce(peer, 1, HEADER("one"));
    announce(peer, 1, HEADER("two"));
    peer_expect_nothing(peer);
    forget(peer);
    link_server_run_deadlines(world->server, clock_monotonic_ms() + SERVER_ANNOUNCED_GRACE_MS + 1);
    assert_int_equal(world->lost, 2);
    peer_destroy(peer);
    peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    execute(peer, 1, 1, HEADER("one"));
    execute(peer, 1, 2, HEADER("two"));
    peer_expect_nothing(peer);
    assert_int_equal(world->request_count, 0);
    cleanup_free char *log = log_capture_end(&capture);
    assert_int_equal(world->server->requests_lost, 2);
    assert_int_equal(world->server->requests_late, 2);
    assert_int_equal(log_count(log, "a request was lost with its gateway"), 1);
    assert_int_equal(log_count(log, "comes too late"), 1);
    peer_destroy(peer);
}

/* The client is at another gateway: the one that has its request is asked whether it lives. */
static void test_a_gateway_is_asked_when_its_client_is_elsewhere(void **state) {
    struct world *world = *state;
    struct peer *first = peer_welcomed(world, "g"), *second = peer_welcomed(world, "h");
    peer_attach(first, 1, "s", WINDOW, "cursor", NULL, NULL);
    announce(first, 1, HEADER("waits"));
    peer_expect_nothing(first);
    peer_attach(second, 1, "s", WINDOW, "cursor", NULL, NULL);
    peer_expect(first, LINK_PING, 0);
    peer_frame(first, LINK_PONG, 0, 0, NULL, 0);
    peer_send(first);
    peer_expect_nothing(first);
    link_server_run_deadlines(world->server, clock_monotonic_ms() + SERVER_ANNOUNCED_ASKED_MS + 1);
    assert_int_equal(world->lost, 0);

    usleep(2000); /* whatever it said is older than the next question */
    peer_attach(second, 2, "s", WINDOW, "cursor", NULL, NULL);
    peer_expect(first, LINK_PING, 0);
    link_server_run_deadlines(world->server,
                              clock_monotonic_ms() + SERVER_ANNOUNCED_ASKED_MS - 100);
    assert_int_equal(world->lost, 0);
    link_server_run_deadlines(world->server, clock_monotonic_ms() + SERVER_ANNOUNCED_ASKED_MS + 1);
    assert_int_equal(world->lost, 1);
    execute(first, 1, 1, HEADER("waits")); /* it had only been asleep */
    peer_expect_nothing(first);
    assert_int_equal(world->request_count, 0);
    peer_destroy(first);
    peer_destroy(second);
}

static void test_announcements_are_limited(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    for (int i = 0; i < SERVER_ANNOUNCED_MAX + 10; i++) {
        char header[96];
        snprintf(header, sizeof header, "{\"msg_id\":\"%d\",\"msg_type\":\"execute_request\"}", i);
        announce(peer, 1, header);
    }
    peer_expect_nothing(peer);
    assert_int_equal(world->server->announced_count, SERVER_ANNOUNCED_MAX);
    peer_destroy(peer);
}

#define test_server(test) cmocka_unit_test_setup_teardown(test, world_setup, world_destroy)

int main(void) {
    const struct CMUnitTest tests[] = {
        test_server(test_two_gateways_number_on_their_own),
        test_server(test_few_gateways_serve_a_session),
        test_server(test_sessions_outlive_the_server),
        test_server(test_numbers_go_on_without_the_journal),
        test_server(test_what_was_announced_and_lost_is_answered),
        test_server(test_a_gateway_that_comes_back_says_what_it_still_has),
        test_server(test_what_is_given_up_is_answered_at_once),
        test_server(test_what_was_lost_is_logged_once),
        test_server(test_a_gateway_is_asked_when_its_client_is_elsewhere),
        test_server(test_announcements_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
