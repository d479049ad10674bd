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
#include <sys/stat.h>

#include <cmocka.h>

enum { WINDOW = 1 << 20 };

static void expect_member(const json_t *json, const char *name, const char *value) {
    const char *text = json_string_value(json_object_get(json, name));
    if (text == NULL || strcmp(text, value) != 0)
        fail_msg("%s is %s, not %s", name, text ? text : "(none)", value);
}

static void expect_content(const struct inbox_frame *frame, const char *content) {
    struct kernel_message message;
    assert_int_equal(kernel_message_parse(frame->payload, frame->frame.length, &message, NULL), 0);
    assert_int_equal(message.content.length, strlen(content));
    assert_memory_equal(message.content.data, content, message.content.length);
}

/* --- HELLO and who is known --- */

static void test_hello_is_answered_by_welcome(void **state) {
    struct world *world = *state;
    publish(world, 0, "{}", 0);
    struct peer *peer = peer_create(world);
    peer_json(peer, LINK_HELLO, 0, 0,
              "{\"version\":9,\"capabilities\":[\"later\"],\"gateway\":\"g\",\"kernel_id\":"
              "\"kernel-1\",\"unknown\":{}}");
    peer_send(peer);
    struct inbox_frame *frame = peer_expect(peer, LINK_WELCOME, 0);
    assert_int_equal(frame->frame.seq, 1);
    cleanup_json json_t *welcome = frame_json(frame);
    assert_int_equal(json_integer_value(json_object_get(welcome, "version")), 1);
    assert_true(json_is_array(json_object_get(welcome, "capabilities")));
    expect_member(welcome, "kernel_id", "kernel-1");
    assert_int_equal(strlen(json_string_value(json_object_get(welcome, "launcher"))), 36);
    expect_member(json_object_get(welcome, "record"), "name", "stub");
    expect_member(json_object_get(welcome, "status"), "phase", "ready");
    const struct link_peer *known =
        list_entry(world->server->peers.head.next, struct link_peer, node);
    assert_int_equal(known->terms.version, 1); /* the lower one */
    assert_int_equal(known->terms.capabilities, 0);
    peer_destroy(peer);
}

static const char *const two_capabilities[] = {"rebuild", "announce", NULL};

/* A later gateway and an earlier one meet the same launcher: each gets what both know. */
static void test_each_connection_has_its_own_terms(void **state) {
    struct world *world = *state;
    world->server->capabilities = two_capabilities;
    struct peer *later = peer_create(world);
    peer_json(later, LINK_HELLO, 0, 0,
              "{\"version\":9,\"capabilities\":[\"x\",{},\"announce\"],\"gateway\":\"later\","
              "\"kernel_id\":\"kernel-1\"}");
    peer_send(later);
    cleanup_json json_t *welcome = frame_json(peer_expect(later, LINK_WELCOME, 0));
    const json_t *offer = json_object_get(welcome, "capabilities");
    assert_int_equal(json_array_size(offer), 2); /* all of ours, whatever the gateway named */
    assert_string_equal(json_string_value(json_array_get(offer, 0)), "rebuild");
    struct peer *earlier = peer_welcomed(world, "earlier"); /* names none */
    const struct link_peer *first =
        list_entry(world->server->peers.head.next, struct link_peer, node);
    const struct link_peer *second = list_entry(first->node.next, struct link_peer, node);
    assert_string_equal(first->gateway, "later");
    assert_true(link_peer_has_capability(first, "announce"));
    assert_false(link_peer_has_capability(first, "rebuild"));
    assert_false(link_peer_has_capability(second, "announce"));
    peer_json(later, LINK_HELLO, 0, 0, /* again, and now it knows less */
              "{\"version\":1,\"gateway\":\"later\",\"kernel_id\":\"kernel-1\"}");
    peer_send(later);
    peer_expect(later, LINK_WELCOME, 0);
    assert_false(link_peer_has_capability(first, "announce"));
    peer_destroy(earlier);
    peer_destroy(later);
}

static void test_bad_hellos_are_reset(void **state) {
    static const char *const hellos[] = {
        "",
        "[]",
        "{\"version\":1,\"gateway\":\"g\",\"kernel_id\":\"another\"}",
        "{\"version\":1,\"gateway\":\"g\"}",
        "{\"version\":0,\"gateway\":\"g\",\"kernel_id\":\"kernel-1\"}",
        "{\"version\":\"1\",\"gateway\":\"g\",\"kernel_id\":\"kernel-1\"}",
        "{\"version\":-1,\"gateway\":\"g\",\"kernel_id\":\"kernel-1\"}",
        "{\"gateway\":\"g\",\"kernel_id\":\"kernel-1\"}",
        "{\"version\":1,\"capabilities\":{},\"gateway\":\"g\",\"kernel_id\":\"kernel-1\"}",
        "{\"version\":1,\"gateway\":\"\",\"kernel_id\":\"kernel-1\"}",
        "{\"version\":1,\"kernel_id\":\"kernel-1\"}",
    };
    struct world *world = *state;
    struct peer *peer = peer_create(world);
    for (size_t i = 0; i < sizeof hellos / sizeof hellos[0]; i++) {
        peer_json(peer, LINK_HELLO, 0, 0, hellos[i]);
        peer_send(peer);
        peer_expect(peer, LINK_RESET, 0);
        peer_expect_nothing(peer);
    }
    assert_int_equal(world->server->peer_count, 0);
    peer_destroy(peer);
}

static void test_strangers_are_reset(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_create(world);
    peer_expect_nothing(peer); /* PING is answered to anybody */
    peer_frame(peer, LINK_PONG, 0, 3, NULL, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    peer_u64(peer, LINK_ACK, 1, 5, 5);
    peer_json(peer, LINK_ATTACH, 1, 0, "{\"session_id\":null,\"window\":10,\"from\":\"live\"}");
    peer_json(peer, LINK_COMMAND, 0, 1, "{\"command\":\"interrupt\",\"id\":\"x\"}");
    peer_send(peer);
    peer_expect(peer, LINK_RESET, 0); /* once for the batch */
    peer_frame(peer, LINK_RESET, 0, 0, NULL, 0);
    peer_send(peer);
    peer_expect_nothing(peer); /* two who reset each other would never end */
    assert_int_equal(world->command_count, 0);
    assert_int_equal(world->server->attachment_count, 0);
    peer_destroy(peer);
}

static void test_a_second_hello_ends_attachments(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    peer_attach(peer, 2, NULL, WINDOW, "live", NULL, NULL);
    assert_int_equal(world->server->attachment_count, 2);
    peer_json(peer, LINK_HELLO, 0, 0,
              "{\"version\":1,\"gateway\":\"g\",\"kernel_id\":\"kernel-1\"}");
    peer_send(peer);
    peer_expect(peer, LINK_WELCOME, 0);
    assert_int_equal(world->server->attachment_count, 0);
    publish_now(world, 0, "{}", 0);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_a_gateway_that_connects_again_leaves_nothing_behind(void **state) {
    struct world *world = *state;
    struct peer *first = peer_welcomed(world, "g");
    struct peer *other = peer_welcomed(world, "another");
    peer_attach(first, 1, "s", WINDOW, "cursor", NULL, NULL);
    struct peer *second = peer_welcomed(world, "g");
    assert_int_equal(world->server->peer_count, 2);
    assert_int_equal(world->server->attachment_count, 0);
    peer_expect_nothing(other);
    peer_u64(first, LINK_ACK, 1, 0, 0);
    peer_send(first);
    peer_expect(first, LINK_RESET, 0);
    peer_destroy(first);
    peer_destroy(second);
    peer_destroy(other);
}

static void test_a_silent_connection_is_forgotten(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    int64_t now = clock_monotonic_ms();
    link_server_run_deadlines(world->server, now + LINK_FORGET_AFTER_MS - 5000);
    assert_int_equal(world->server->peer_count, 1);
    link_server_run_deadlines(world->server, now + LINK_FORGET_AFTER_MS + 1);
    assert_int_equal(world->server->peer_count, 0);
    assert_int_equal(world->server->attachment_count, 0);
    publish_now(world, 0, "\"missed\"", 0);
    peer_u64(peer, LINK_ACK, 1, 0, 0);
    peer_send(peer);
    peer_expect(peer, LINK_RESET, 0);
    peer_destroy(peer);
    peer = peer_welcomed(world, "g"); /* the session kept its cursor */
    bool resumed;
    peer_attach(peer, 9, "s", WINDOW, "cursor", NULL, &resumed);
    assert_true(resumed);
    expect_content(peer_expect(peer, LINK_MESSAGE, 9), "\"missed\"");
    peer_destroy(peer);
}

static void test_connections_have_a_limit(void **state) {
    struct world *world = *state;
    struct peer *peers[SERVER_PEERS_MAX + 3];
    for (unsigned i = 0; i < SERVER_PEERS_MAX + 3; i++) {
        char gateway[16];
        snprintf(gateway, sizeof gateway, "g%u", i);
        peers[i] = peer_welcomed(world, gateway);
    }
    assert_int_equal(world->server->peer_count, SERVER_PEERS_MAX);
    for (unsigned i = 0; i < SERVER_PEERS_MAX + 3; i++)
        peer_destroy(peers[i]);
}

/* --- ATTACH --- */

static void expect_refused(struct peer *peer, const void *json, size_t length, const char *why) {
    peer_frame(peer, LINK_ATTACH, 5, 0, json, length);
    peer_send(peer);
    cleanup_json json_t *reason = frame_json(peer_expect(peer, LINK_DETACHED, 5));
    const char *text = json_string_value(json_object_get(reason, "reason"));
    if (text == NULL || strstr(text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text ? text : "", why);
}

static void test_bad_attaches_get_the_reason(void **state) {
    static const struct {
        const char *json, *why;
    } rows[] = {
        {"{", "no valid JSON"},
        {"[]", "no object"},
        {"{\"window\":1,\"from\":\"live\"}", "session_id: is missing"},
        {"{\"session_id\":7,\"window\":1,\"from\":\"live\"}", "session_id: must be a text"},
        {"{\"session_id\":\"\",\"window\":1,\"from\":\"live\"}", "session_id: 0 bytes"},
        {"{\"session_id\":\"a\\u0000b\",\"window\":1,\"from\":\"live\"}", "session_id: must not"},
        {"{\"session_id\":\"\xC3\x28\",\"window\":1,\"from\":\"live\"}", "no valid JSON"},
        {"{\"session_id\":\"s\",\"window\":0,\"from\":\"live\"}", "window: must"},
        {"{\"session_id\":\"s\",\"window\":-1,\"from\":\"live\"}", "window: must"},
        {"{\"session_id\":\"s\",\"window\":\"1\",\"from\":\"live\"}", "window: must"},
        {"{\"session_id\":\"s\",\"from\":\"live\"}", "window: must"},
        {"{\"session_id\":\"s\",\"window\":1,\"from\":\"start\"}", "from: must"},
        {"{\"session_id\":\"s\",\"window\":1}", "from: must"},
        {"{\"session_id\":\"s\",\"window\":1,\"from\":\"cursor\",\"unsure_ms\":-1}",
         "unsure_ms: must"},
        {"{\"session_id\":\"s\",\"window\":1,\"from\":\"cursor\",\"unsure_ms\":\"1\"}",
         "unsure_ms: must"},
        {"{\"session_id\":\"s\",\"window\":1,\"from\":\"cursor\",\"sure\":-1}", "sure: must"},
        {"{\"session_id\":\"s\",\"window\":1,\"from\":\"cursor\",\"sure\":1.5}", "sure: must"},
    };
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_refused(peer, rows[i].json, strlen(rows[i].json), rows[i].why);
    char large[11000] = "{\"window\":1,\"from\":\"live\",\"session_id\":\"";
    size_t length = strlen(large);
    memset(large + length, 'x', 10240);
    strcpy(large + length + 10240, "\"}");
    expect_refused(peer, large, strlen(large), "session_id: 10240 bytes");
    large[length + 256] = '\0';
    strcpy(large + length + 256, "\"}");
    expect_refused(peer, large, strlen(large), "session_id: 256 bytes");
    peer_json(peer, LINK_ATTACH, 0, 0, "{\"session_id\":null,\"window\":1,\"from\":\"live\"}");
    peer_send(peer);
    assert_non_null(strstr(frame_text(peer_expect(peer, LINK_DETACHED, 0)), "attachment: 0"));
    assert_int_equal(world->server->attachment_count, 0);
    assert_int_equal(map_count(world->server->sessions), 0);
    large[length + 255] = '\0';
    memset(large + length, 'y', 255);
    peer_attach(peer, 5, large + length, 1, "live", NULL, NULL); /* the longest one */
    peer_destroy(peer);
}

static void test_the_same_number_again_replaces(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    for (uint16_t number = 40; number > 0; number--) /* in no order that helps */
        peer_attach(peer, (uint16_t)(number * 7 % 41), NULL, WINDOW, "live", NULL, NULL);
    assert_int_equal(world->server->attachment_count, 40);
    peer_attach(peer, 7, NULL, WINDOW, "live", NULL, NULL);
    assert_int_equal(world->server->attachment_count, 40);
    peer_frame(peer, LINK_DETACH, 7, 0, NULL, 0);
    peer_frame(peer, LINK_DETACH, 7, 0, NULL, 0);
    peer_frame(peer, LINK_DETACH, 999, 0, NULL, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    assert_int_equal(world->server->attachment_count, 39);
    publish_now(world, 0, "{}", 0);
    for (uint16_t number = 1; number <= 40; number++)
        if (number != 7)
            peer_expect(peer, LINK_MESSAGE, number);
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

static void test_it_is_known_since_when_nobody_is_attached(void **state) {
    struct world *world = *state;
    int64_t begun_ms = clock_monotonic_ms();
    struct peer *peer = peer_welcomed(world, "g"), *other = peer_welcomed(world, "h");
    assert_in_range(link_server_unattached_since(world->server), 1, begun_ms);
    peer_attach(peer, 1, "a", WINDOW, "cursor", NULL, NULL);
    peer_attach(peer, 2, NULL, WINDOW, "live", NULL, NULL);
    peer_attach(other, 1, "b", WINDOW, "cursor", NULL, NULL);
    assert_int_equal(world->attendances, 1);
    assert_int_equal(link_server_unattached_since(world->server), -1);
    peer_frame(peer, LINK_DETACH, 1, 0, NULL, 0);
    peer_frame(peer, LINK_DETACH, 2, 0, NULL, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    assert_int_equal(link_server_unattached_since(world->server), -1);
    assert_int_equal(world->attendances, 1);
    int64_t left_ms = clock_monotonic_ms();
    peer_frame(other, LINK_DETACH, 1, 0, NULL, 0);
    peer_send(other);
    peer_expect_nothing(other);
    assert_int_equal(world->attendances, 2);
    assert_in_range(link_server_unattached_since(world->server), left_ms, clock_monotonic_ms());
    peer_destroy(peer);
    peer_destroy(other);
}

static void test_sessions_are_forgotten_after_their_time(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    bool resumed;
    peer_attach(peer, 1, "away", WINDOW, "cursor", NULL, &resumed);
    assert_false(resumed);
    peer_attach(peer, 2, "here", WINDOW, "cursor", NULL, &resumed);
    peer_frame(peer, LINK_DETACH, 1, 0, NULL, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    link_server_run_deadlines(world->server, clock_monotonic_ms() + 50000);
    assert_int_equal(map_count(world->server->sessions), 2);
    peer_destroy(peer);
    peer = peer_welcomed(world, "g");
    peer_attach(peer, 2, "here", WINDOW, "cursor", NULL, &resumed);
    assert_true(resumed);
    /* Only the one that is away: 60 s are its time. The connection would be forgotten, too: it is
     * heard of before. */
    struct link_session *away = map_get(world->server->sessions, "away");
    assert_non_null(away);
    away->forget.due(away, clock_monotonic_ms() + 60001);
    assert_null(map_get(world->server->sessions, "away"));
    assert_non_null(map_get(world->server->sessions, "here"));
    peer_attach(peer, 3, "away", WINDOW, "cursor", NULL, &resumed);
    assert_false(resumed);
    peer_destroy(peer);
}

static void test_sessions_have_a_limit(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    char id[16];
    for (uint16_t i = 1; i <= SERVER_SESSIONS_MAX; i++) {
        snprintf(id, sizeof id, "s%u", i);
        peer_attach(peer, i, id, WINDOW, "cursor", NULL, NULL);
    }
    peer_json(peer, LINK_ATTACH, 2000, 0,
              "{\"session_id\":\"more\",\"window\":1,\"from\":\"live\"}");
    peer_send(peer);
    assert_non_null(
        strstr(frame_text(peer_expect(peer, LINK_DETACHED, 2000)), "too many sessions"));
    peer_attach(peer, 2001, NULL, WINDOW, "live", NULL, NULL); /* keeps nothing */
    bool resumed;
    struct log_capture capture = log_capture_begin(LOG_INFO);
    /* The first to go is the first to be forgotten. */
    static const uint16_t leaving[] = {20, 30, 10};
    for (size_t i = 0; i < sizeof leaving / sizeof *leaving; i++)
        peer_frame(peer, LINK_DETACH, leaving[i], 0, NULL, 0);
    peer_send(peer);
    peer_attach(peer, 2000, "more", WINDOW, "cursor", NULL, NULL);
    peer_attach(peer, 2002, "and more", WINDOW, "cursor", NULL, NULL);
    cleanup_free char *log = log_capture_end(&capture);
    assert_int_equal(world->server->crowded_out, 2);
    assert_int_equal(log_count(log, "sessions: those that are away longest are forgotten"), 1);
    assert_int_equal(map_count(world->server->sessions), SERVER_SESSIONS_MAX);
    peer_attach(peer, 10, "s10", WINDOW, "cursor", NULL, &resumed);
    assert_true(resumed);
    assert_null(map_get(world->server->sessions, "s20"));
    assert_null(map_get(world->server->sessions, "s30"));
    peer_destroy(peer);
}

/* --- malformed --- */

static void expect_reset(struct world *world, struct peer *peer, unsigned *malformed) {
    peer_send(peer);
    peer_expect(peer, LINK_RESET, 0);
    peer_expect_nothing(peer);
    assert_int_equal(world->server->malformed, ++*malformed);
    assert_int_equal(world->server->attachment_count, 0);
}

static void test_malformed_batches_are_dropped_whole(void **state) {
    struct world *world = *state;
    static const uint8_t large[LINK_BATCH_MAX + 1];
    unsigned malformed = 0;
    for (int kind = 0; kind < 7; kind++) {
        struct peer *peer = peer_welcomed(world, "g");
        peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
        /* Whole frames in front are not carried out either. */
        peer_json(peer, LINK_COMMAND, 0, 1, "{\"command\":\"interrupt\",\"id\":\"x\"}");
        switch (kind) {
        case 0: /* a header that ends too early */
            buffer_append(&peer->out, large, 15);
            break;
        case 1: /* a payload that ends too early */
            peer_json(peer, LINK_COMMAND, 0, 2, "{}");
            peer->out.length--;
            break;
        case 2: /* a part that is missing */
            peer_external(peer, LINK_REQUEST, 1, 1, large, 100, 100);
            peer->part_count--;
            break;
        case 3: /* a part of another size */
            peer_external(peer, LINK_REQUEST, 1, 1, large, 100, 101);
            break;
        case 4: /* a part too much */
            peer_extra_part(peer, large, 100);
            break;
        case 5: /* more parts than there may be */
            for (int i = 0; i <= LINK_EXTERNAL_MAX; i++)
                peer_external(peer, LINK_REQUEST, 1, 1, large, 10, 10);
            break;
        default: /* more batch than there may be */
            buffer_append(&peer->out, large, sizeof large);
            break;
        }
        expect_reset(world, peer, &malformed);
        peer_destroy(peer);
    }
    assert_int_equal(world->command_count, 0);
}

static void test_unknown_frames_are_skipped(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_json(peer, (enum link_type)99, 3, 3, "whatever");
    peer_external(peer, (enum link_type)200, 0, 0, "beside", 6, 6);
    peer_frame(peer, LINK_WELCOME, 0, 0, NULL, 0); /* not from a gateway */
    peer_frame(peer, LINK_MESSAGE, 1, 1, NULL, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    assert_int_equal(world->server->malformed, 0);
    peer_destroy(peer);
}

/* --- the socket --- */

static void test_the_socket_is_private(void **state) {
    struct world *world = *state;
    struct stat status;
    assert_int_equal(stat(world->endpoint + strlen("ipc://"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_a_path_that_is_too_long_is_an_error(void **state) {
    struct world *world = *state;
    char endpoint[200];
    memset(endpoint, 'x', sizeof endpoint);
    memcpy(endpoint, "ipc:///tmp/", 11);
    endpoint[199] = '\0';
    cleanup_free char *journal = memory_printf("%s/j", world->directory);
    struct link_server_settings settings = {
        .kernel_id = "k", .endpoint = endpoint, .journal_directory = journal, .journal_bytes = 1};
    struct link_server_events events = {0};
    struct link_server *server = NULL;
    struct error err = {0};
    assert_int_equal(link_server_create(world->loop, &settings, &events, NULL, &server, &err), -1);
    assert_non_null(strstr(err.text, "use a shorter runtime directory"));
    assert_null(server);
}

#define test_server(test)   cmocka_unit_test_setup_teardown(test, world_setup, world_destroy)
#define test_settings(test) cmocka_unit_test_setup_teardown(test, world_create, world_destroy)

int main(void) {
    const struct CMUnitTest tests[] = {
        test_server(test_hello_is_answered_by_welcome),
        test_server(test_each_connection_has_its_own_terms),
        test_server(test_bad_hellos_are_reset),
        test_server(test_strangers_are_reset),
        test_server(test_a_second_hello_ends_attachments),
        test_server(test_a_gateway_that_connects_again_leaves_nothing_behind),
        test_server(test_a_silent_connection_is_forgotten),
        test_server(test_connections_have_a_limit),
        test_server(test_bad_attaches_get_the_reason),
        test_server(test_the_same_number_again_replaces),
        test_server(test_it_is_known_since_when_nobody_is_attached),
        test_server(test_sessions_are_forgotten_after_their_time),
        test_server(test_sessions_have_a_limit),
        test_server(test_malformed_batches_are_dropped_whole),
        test_server(test_unknown_frames_are_skipped),
        test_server(test_the_socket_is_private),
        test_settings(test_a_path_that_is_too_long_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
