#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "link_peer.h"
#include "log_capture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { WINDOW = 1 << 20 };

static void expect_content(const struct inbox_frame *frame, const char *content) {
    struct kernel_message message;
    assert_int_equal(kernel_message_parse(frame->payload, frame->frame.length, &message, NULL), 0);
    assert_int_equal(message.content.length, strlen(content));
    assert_memory_equal(message.content.data, content, message.content.length);
}

/* --- messages --- */

static void test_messages_go_out_at_flush_in_one_batch(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    peer_attach(peer, 2, NULL, WINDOW, "live", NULL, NULL);
    unsigned before = peer->batches;
    for (int i = 0; i < 20; i++) {
        char content[16];
        snprintf(content, sizeof content, "%d", i);
        assert_int_equal(publish(world, 0, content, 0), i + 1);
    }
    link_server_flush(world->server);
    for (uint16_t number = 1; number <= 2; number++) {
        for (unsigned i = 0; i < 20; i++) {
            struct inbox_frame *frame = peer_expect(peer, LINK_MESSAGE, number);
            char content[16];
            snprintf(content, sizeof content, "%u", i);
            assert_int_equal(frame->frame.seq, i + 1);
            expect_content(frame, content);
        }
    }
    assert_int_equal(peer->batches, before + 1);
    peer_destroy(peer);
}

static void test_large_messages_travel_beside_the_batch(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, NULL, 64 << 20, "live", NULL, NULL);
    enum { COUNT = 150 }; /* more than the further parts of one message */
    for (int i = 0; i < COUNT; i++) {
        publish(world, 0, "\"large\"", 10000);
        publish(world, 0, "\"small\"", 0);
    }
    publish(world, 0, "\"huge\"", 3 << 20);
    link_server_flush(world->server);
    for (int i = 0; i < COUNT; i++) {
        struct inbox_frame *frame = peer_expect(peer, LINK_MESSAGE, 1);
        assert_true(frame->external);
        expect_content(frame, "\"large\"");
        frame = peer_expect(peer, LINK_MESSAGE, 1);
        assert_false(frame->external);
        expect_content(frame, "\"small\"");
    }
    expect_content(peer_expect(peer, LINK_MESSAGE, 1), "\"huge\"");
    peer_destroy(peer);
}

static void test_replies_go_to_their_session(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "a", WINDOW, "cursor", NULL, NULL);
    peer_attach(peer, 2, "a", WINDOW, "cursor", NULL, NULL); /* a double connect */
    peer_attach(peer, 3, "b", WINDOW, "cursor", NULL, NULL);
    peer_attach(peer, 4, NULL, WINDOW, "live", NULL, NULL);
    struct peer *other = peer_welcomed(world, "h");
    peer_attach(other, 1, "a", WINDOW, "cursor", NULL, NULL);
    session_number a = ((struct link_session *)map_get(world->server->sessions, "a"))->number;
    publish(world, 0, "\"all\"", 0);
    publish(world, a, "\"a\"", 0);
    publish(world, a + 77, "\"gone\"", 0);
    link_server_flush(world->server);
    for (uint16_t number = 1; number <= 4; number++) {
        expect_content(peer_expect(peer, LINK_MESSAGE, number), "\"all\"");
        if (number <= 2)
            expect_content(peer_expect(peer, LINK_MESSAGE, number), "\"a\"");
    }
    peer_expect_nothing(peer);
    expect_content(peer_expect(other, LINK_MESSAGE, 1), "\"all\"");
    expect_content(peer_expect(other, LINK_MESSAGE, 1), "\"a\"");
    peer_expect_nothing(other);
    peer_destroy(peer);
    peer_destroy(other);
}

static void test_status_stands_in_the_order_of_messages(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    unsigned before = peer->batches;
    cleanup_json json_t *status = json_pack("{s:s}", "phase", "busy");
    cleanup_json json_t *report = json_pack("{s:i, s:s}", "code", 3, "output", "");
    cleanup_free char *output = memory_alloc(20001);
    memset(output, 'o', 20000);
    json_object_set_new(report, "output", json_string(output));
    publish(world, 0, "1", 0);
    link_server_status(world->server, status);
    publish(world, 0, "2", 0);
    link_server_exit(world->server, report);
    link_server_flush(world->server);
    expect_content(peer_expect(peer, LINK_MESSAGE, 1), "1");
    struct inbox_frame *frame = peer_expect(peer, LINK_STATUS, 0);
    assert_int_equal(frame->frame.seq, 1);
    assert_string_equal(frame_text(frame), "{\"phase\":\"busy\"}");
    expect_content(peer_expect(peer, LINK_MESSAGE, 1), "2");
    frame = peer_expect(peer, LINK_EXIT, 0);
    assert_int_equal(frame->frame.seq, 2);
    assert_true(frame->external);
    assert_int_equal(peer->batches, before + 1);
    peer_destroy(peer);
}

static void test_a_session_gets_what_it_missed(void **state) {
    struct world *world = *state;
    publish(world, 0, "\"before\"", 0);
    struct peer *peer = peer_welcomed(world, "g");
    uint64_t cursor;
    bool resumed;
    peer_attach(peer, 1, "s", WINDOW, "cursor", &cursor, &resumed);
    assert_int_equal(cursor, 1); /* a new one starts live */
    assert_false(resumed);
    for (int i = 0; i < 5; i++)
        publish(world, 0, "{}", 0);
    link_server_flush(world->server);
    for (int i = 0; i < 5; i++)
        peer_expect(peer, LINK_MESSAGE, 1);
    peer_u64(peer, LINK_ACK, 1, 3, 0);
    peer_u64(peer, LINK_ACK, 1, 2, 0); /* never back */
    peer_frame(peer, LINK_DETACH, 1, 0, NULL, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    publish_now(world, 0, "\"away\"", 0);

    peer_attach(peer, 2, "s", WINDOW, "live", &cursor, &resumed);
    assert_int_equal(cursor, 7);
    assert_false(resumed);
    peer_expect_nothing(peer);
    peer_attach(peer, 3, "s", WINDOW, "cursor", &cursor, &resumed);
    assert_int_equal(cursor, 3);
    assert_true(resumed);
    for (uint64_t seq = 4; seq <= 7; seq++)
        assert_true(peer_expect(peer, LINK_MESSAGE, 3)->frame.seq == seq);
    peer_u64(peer, LINK_ACK, 3, 7, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    peer_attach(peer, 4, "s", WINDOW, "cursor", &cursor, &resumed);
    assert_int_equal(cursor, 7);
    peer_destroy(peer);
}

static void test_messages_for_others_are_not_missed(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    uint64_t cursor;
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    publish_now(world, 0, "{}", 0);
    peer_expect(peer, LINK_MESSAGE, 1);
    peer_u64(peer, LINK_ACK, 1, 1, 0);
    peer_send(peer);
    peer_expect_nothing(peer);
    publish_now(world, 4000, "{}", 0);
    publish_now(world, 4000, "{}", 0);
    peer_attach(peer, 2, "s", WINDOW, "cursor", &cursor, NULL);
    assert_int_equal(cursor, 3);
    peer_destroy(peer);
}

static void test_acks_from_the_future_are_refused(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", 100, "cursor", NULL, NULL);
    publish(world, 0, "{}", 200);
    publish(world, 0, "{}", 200);
    link_server_flush(world->server);
    peer_expect(peer, LINK_MESSAGE, 1);
    peer_u64(peer, LINK_ACK, 1, 2, 0);        /* 2 was not sent */
    peer_u64(peer, LINK_ACK, 1, 1, 1u << 30); /* so much was not sent */
    peer_frame(peer, LINK_ACK, 1, 1, "short", 5);
    peer_frame(peer, LINK_ACK, 1, 1, NULL, 0);
    peer_u64(peer, LINK_ACK, 77, 1, 1);
    peer_u64(peer, LINK_ACK, 0, 0, 0); /* a probe */
    peer_send(peer);
    peer_expect_nothing(peer);
    uint64_t cursor;
    peer_attach(peer, 2, "s", WINDOW, "cursor", &cursor, NULL);
    assert_int_equal(cursor, 0);
    peer_destroy(peer);
}

static void test_the_window_holds_messages_back(void **state) {
    struct world *world = *state;
    struct peer *peer = peer_welcomed(world, "g");
    struct peer *other = peer_welcomed(world, "h");
    struct buffer sample = {0};
    make_message(&sample, CHANNEL_IOPUB, "{}", 1000);
    uint64_t size = sample.length;
    buffer_free(&sample);
    peer_attach(peer, 1, "slow", 3 * size, "cursor", NULL, NULL);
    peer_attach(other, 1, "fast", WINDOW, "cursor", NULL, NULL);
    for (int i = 0; i < 10; i++)
        publish(world, 0, "{}", 1000);
    publish(world, 0, "{}", 100000); /* larger than the window */
    publish(world, 0, "\"end\"", 0);
    link_server_flush(world->server);
    for (int i = 0; i < 12; i++) /* one slow client delays nobody */
        peer_expect(other, LINK_MESSAGE, 1);
    for (int i = 0; i < 3; i++)
        peer_expect(peer, LINK_MESSAGE, 1);
    peer_expect_nothing(peer);
    uint64_t consumed = 0;
    for (int i = 3; i < 10; i++) {
        peer_u64(peer, LINK_ACK, 1, 0, consumed += size);
        peer_send(peer);
        assert_int_equal(peer_expect(peer, LINK_MESSAGE, 1)->frame.seq, i + 1);
        peer_expect_nothing(peer);
    }
    peer_u64(peer, LINK_ACK, 1, 0, consumed += 2 * size);
    peer_send(peer);
    peer_expect_nothing(peer); /* the large one goes alone */
    peer_u64(peer, LINK_ACK, 1, 0, consumed += size);
    peer_send(peer);
    struct inbox_frame *large = peer_expect(peer, LINK_MESSAGE, 1);
    assert_int_equal(large->frame.seq, 11);
    peer_expect_nothing(peer);
    peer_u64(peer, LINK_ACK, 1, 0, consumed += large->frame.length);
    peer_send(peer);
    expect_content(peer_expect(peer, LINK_MESSAGE, 1), "\"end\"");
    peer_destroy(peer);
    peer_destroy(other);
}

/* A gateway that reads nothing for a while: its pipe fills, the rest waits in the journal. */
static void test_a_full_pipe_loses_nothing(void **state) {
    struct world *world = *state;
    enum { COUNT = 40000 };
    world_start(world, &(struct link_server_settings){.journal_bytes = 128 << 20});
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", 64 << 20, "cursor", NULL, NULL);
    cleanup_json json_t *status = json_pack("{s:s}", "phase", "x");
    struct link_peer *known = list_entry(world->server->peers.head.next, struct link_peer, node);
    for (int i = 0; i < COUNT; i++)
        publish(world, 0, "{}", i % 100 == 0 ? 20000 : 1000);
    link_server_flush(world->server);
    assert_true(known->is_blocked);
    link_server_status(world->server, status);
    publish_now(world, 0, "\"last\"", 0);
    assert_false(list_is_empty(&known->control));
    uint64_t seq = 0;
    unsigned others = 0;
    while (seq < COUNT + 1) {
        struct inbox_frame *frame = peer_next(peer);
        if (frame->frame.type == LINK_MESSAGE)
            assert_true(frame->frame.seq == ++seq);
        else
            others++;
    }
    assert_int_equal(others, 1);
    assert_false(known->is_blocked);
    assert_int_equal(known->control_bytes, 0);
    peer_destroy(peer);
}

static void test_a_gateway_that_never_reads_is_forgotten(void **state) {
    struct world *world = *state;
    world_start(world, &(struct link_server_settings){.journal_bytes = 128 << 20});
    struct peer *peer = peer_welcomed(world, "g");
    cleanup_free char *text = memory_alloc(1 << 20);
    memset(text, 'x', (1 << 20) - 1);
    cleanup_json json_t *status = json_pack("{s:s}", "text", text);
    for (int i = 0; i < 10000 && world->server->peer_count > 0; i++) {
        link_server_status(world->server, status);
        link_server_flush(world->server);
    }
    assert_int_equal(world->server->peer_count, 0);
    peer_destroy(peer);
}

static void test_what_the_cap_took_is_said(void **state) {
    struct world *world = *state;
    world_start(world, &(struct link_server_settings){.journal_bytes = 64 << 10});
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", 1200, "cursor", NULL, NULL);
    enum { COUNT = 500 };
    for (int i = 0; i < COUNT; i++)
        publish_now(world, 0, "{}", 800);
    struct inbox_frame *frame = peer_expect(peer, LINK_MESSAGE, 1);
    assert_int_equal(frame->frame.seq, 1);
    uint64_t size = frame->frame.length, consumed = size;
    struct journal_record row; /* of which the client has had the first message */
    assert_int_equal(journal_next(world->server->journal, 1, &row), 1);
    assert_true(row.is_folded && row.seq > 2);
    uint64_t oldest = row.seq + 1;
    peer_u64(peer, LINK_ACK, 1, 1, consumed);
    peer_send(peer);

    frame = peer_expect(peer, LINK_MESSAGE, 1);
    assert_true(frame->frame.seq == oldest - 1);
    struct kernel_message notice;
    assert_int_equal(kernel_message_parse(frame->payload, frame->frame.length, &notice, NULL), 0);
    assert_int_equal(notice.channel, CHANNEL_IOPUB);
    char text[300], expected[64];
    assert_true(json_scan_text(notice.header, "msg_type", text, sizeof text) > 0);
    assert_string_equal(text, "stream");
    assert_int_equal(notice.parent_header.length, 2);
    assert_true(json_scan_text(notice.content, "name", text, sizeof text) > 0);
    assert_string_equal(text, "stderr");
    assert_true(json_scan_text(notice.content, "text", text, sizeof text) > 0);
    snprintf(expected, sizeof expected, "%d messages (%d bytes)", (int)oldest - 2,
             (int)((oldest - 2) * size));
    assert_non_null(strstr(text, expected));
    consumed += frame->frame.length;

    for (uint64_t seq = oldest; seq <= COUNT; seq++) { /* then it goes on */
        peer_u64(peer, LINK_ACK, 1, seq - 1, consumed);
        peer_send(peer);
        frame = peer_expect(peer, LINK_MESSAGE, 1);
        assert_true(frame->frame.seq == seq);
        consumed += frame->frame.length;
    }
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

/* The kernel decides how often there is one. */
static void test_what_the_cap_took_is_logged_once(void **state) {
    struct world *world = *state;
    world_start(world, &(struct link_server_settings){.journal_bytes = 64 << 10});
    struct peer *peer = peer_welcomed(world, "g");
    struct log_capture capture = log_capture_begin(LOG_INFO);
    peer_attach(peer, 1, "s", 1200, "cursor", NULL, NULL);
    peer_attach(peer, 2, "t", 1200, "cursor", NULL, NULL);
    for (int i = 0; i < 500; i++)
        publish_now(world, 0, "{}", 800);
    uint64_t size = peer_expect(peer, LINK_MESSAGE, 1)->frame.length;
    peer_expect(peer, LINK_MESSAGE, 2);
    for (uint16_t number = 1; number <= 2; number++) {
        peer_u64(peer, LINK_ACK, number, 1, size);
        peer_send(peer);
        assert_true(peer_expect(peer, LINK_MESSAGE, number)->frame.seq > 2); /* the notice */
    }
    cleanup_free char *log = log_capture_end(&capture);
    assert_int_equal(world->server->cap_notices, 2);
    assert_int_equal(log_count(log, "were lost to the journal's cap"), 1);
    peer_destroy(peer);
}

static void test_a_message_larger_than_the_journal_is_said(void **state) {
    struct world *world = *state;
    world_start(world, &(struct link_server_settings){.journal_bytes = 64 << 10});
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    publish(world, 0, "1", 0);
    publish(world, 0, "2", 100000);
    publish_now(world, 0, "3", 0);
    expect_content(peer_expect(peer, LINK_MESSAGE, 1), "1");
    struct inbox_frame *frame = peer_expect(peer, LINK_MESSAGE, 1);
    assert_int_equal(frame->frame.seq, 2);
    assert_non_null(memmem(frame->payload, frame->frame.length, "1 messages (100", 15));
    expect_content(peer_expect(peer, LINK_MESSAGE, 1), "3");
    peer_expect_nothing(peer);
    peer_destroy(peer);
}

/* A kernel that prints while no file may grow: said once, and nobody misses a message. */
static void test_a_full_disk_is_said_once(void **state) {
    struct world *world = *state;
    world_start(world, &(struct link_server_settings){.journal_bytes = 4 << 20});
    struct peer *peer = peer_welcomed(world, "g");
    peer_attach(peer, 1, "s", WINDOW, "cursor", NULL, NULL);
    struct rlimit old, none = {.rlim_cur = 0};
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    none.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &none);
    enum { COUNT = 500 };
    for (int i = 0; i < COUNT; i++)
        publish_now(world, 0, "{}", 1000);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(world->disks_full, 1);
    for (uint64_t seq = 1; seq <= COUNT; seq++)
        assert_true(peer_expect(peer, LINK_MESSAGE, 1)->frame.seq == seq);
    /* When it is quiet, what is in memory finds its way back. */
    assert_true(journal_disk_errno(world->server->journal) != 0);
    int64_t later = clock_monotonic_ms() + 2 * SERVER_REST_MS;
    link_server_run_deadlines(world->server, later);
    link_server_run_deadlines(world->server, later + 2 * SERVER_REST_MS);
    assert_int_equal(journal_disk_errno(world->server->journal), 0);
    assert_int_equal(world->disks_full, 1);
    peer_destroy(peer);
}

#define test_server(test)   cmocka_unit_test_setup_teardown(test, world_setup, world_destroy)
#define test_settings(test) cmocka_unit_test_setup_teardown(test, world_create, world_destroy)

int main(void) {
    const struct CMUnitTest tests[] = {
        test_server(test_messages_go_out_at_flush_in_one_batch),
        test_server(test_large_messages_travel_beside_the_batch),
        test_server(test_replies_go_to_their_session),
        test_server(test_status_stands_in_the_order_of_messages),
        test_server(test_a_session_gets_what_it_missed),
        test_server(test_messages_for_others_are_not_missed),
        test_server(test_acks_from_the_future_are_refused),
        test_server(test_the_window_holds_messages_back),
        test_settings(test_a_full_pipe_loses_nothing),
        test_settings(test_a_gateway_that_never_reads_is_forgotten),
        test_settings(test_what_the_cap_took_is_said),
        test_settings(test_what_the_cap_took_is_logged_once),
        test_settings(test_a_message_larger_than_the_journal_is_said),
        test_settings(test_a_full_disk_is_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
