/* Large messages that a launcher only names: where they are in the journal's files, and what a
 * gateway finds there. The launcher's side here, the gateway's in test_links_named.c. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "launcher/journal_segment.h"
#include "link_cells.h"
#include "link_peer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { WINDOW = 8 << 20, LARGE = 300 << 10 };

/* The newest eighth of the journal, which the cap leaves alone, is a window. */
static const struct link_server_settings settings = {.journal_bytes = 8 * WINDOW};

#define NAMES "\"" SEGMENT_CAPABILITY "\""

static struct peer *reader(struct world *world, const char *capabilities) {
    struct peer *peer = gateway(world, "g", capabilities);
    size_t window = (size_t)journal_newest_bytes(world->server->journal);
    peer_attach(peer, 1, "s", window, "cursor", NULL, NULL);
    return peer;
}

static bool is_named(const struct inbox_frame *frame) {
    return frame->frame.flags & LINK_FLAG_SEGMENT;
}

static struct link_segment place_of(const struct inbox_frame *frame) {
    struct link_segment place;
    struct link_frame copy = frame->frame;
    copy.payload = frame->payload;
    assert_true(is_named(frame));
    assert_false(frame->external);
    assert_int_equal(link_segment_read(&copy, &place), 0);
    return place;
}

/* The content of what is named; NULL: it is not there. */
static char *read_named(const struct world *world, const struct inbox_frame *frame) {
    struct link_segment place = place_of(frame);
    cleanup_free char *directory = memory_printf("%s/journal", world->directory);
    cleanup_free uint8_t *data = memory_alloc(place.length);
    struct kernel_message message;
    if (segment_read(directory, place.first_seq, place.offset, frame->frame.seq, data,
                     place.length) < 0)
        return NULL;
    assert_int_equal(kernel_message_parse(data, place.length, &message, NULL), 0);
    return memory_printf("%.*s", (int)message.content.length, (const char *)message.content.data);
}

static void expect_named(const struct world *world, struct peer *peer, const char *content) {
    cleanup_free char *found = read_named(world, peer_expect(peer, LINK_MESSAGE, 1));
    assert_non_null(found);
    assert_string_equal(found, content);
}

static void test_large_messages_are_named(void **state) {
    struct world *world = *state;
    world_start(world, &settings);
    struct peer *peer = reader(world, NAMES);
    publish(world, 0, "\"one\"", LARGE);
    publish(world, 0, "\"small\"", LINK_SEGMENT_MIN / 2);
    publish(world, 0, "\"two\"", LARGE);
    publish(world, 0, "\"huge\"", LINK_SEGMENT_MAX);
    link_server_flush(world->server);
    expect_named(world, peer, "\"one\"");
    assert_true(peer_expect(peer, LINK_MESSAGE, 1)->external);
    expect_named(world, peer, "\"two\"");
    assert_true(peer_expect(peer, LINK_MESSAGE, 1)->external);
    peer_destroy(peer);
}

static void test_nothing_is_named_to_who_does_not_read(void **state) {
    struct world *world = *state;
    world_start(world, &settings);
    struct peer *peer = reader(world, "\"segments-2\"");
    publish_now(world, 0, "\"one\"", LARGE);
    struct inbox_frame *frame = peer_expect(peer, LINK_MESSAGE, 1);
    assert_true(frame->external);
    assert_false(is_named(frame));
    peer_destroy(peer);
}

/* What is under way could be taken by the cap, or the attachment does not want it, or could not be
 * sent it again. */
static void test_nothing_is_named_where_that_is_not_safe(void **state) {
    struct world *world = *state;
    world_start(world, &settings);
    struct peer *peer = gateway(world, "g", NAMES);
    peer_attach(peer, 1, "wide", WINDOW + 1, "cursor", NULL, NULL);
    peer_attach(peer, 2, NULL, WINDOW, "live", NULL, NULL);
    peer_json(peer, LINK_ATTACH, 3, 0,
              "{\"session_id\": \"s\", \"window\": 1000000, \"from\": \"live\", \"named\": false}");
    peer_send(peer);
    peer_expect(peer, LINK_ATTACHED, 3);
    publish_now(world, 0, "\"one\"", LARGE);
    for (uint16_t attachment = 1; attachment <= 3; attachment++)
        assert_false(is_named(peer_expect(peer, LINK_MESSAGE, attachment)));
    peer_destroy(peer);
}

/* What counts for the window is the message, not its name. */
static void test_the_window_holds(void **state) {
    struct world *world = *state;
    world_start(world, &settings);
    struct peer *peer = gateway(world, "g", NAMES);
    peer_attach(peer, 1, "s", 2 * LARGE, "cursor", NULL, NULL);
    publish(world, 0, "\"one\"", LARGE);
    publish(world, 0, "\"two\"", LARGE);
    link_server_flush(world->server);
    struct link_segment place = place_of(peer_expect(peer, LINK_MESSAGE, 1));
    peer_expect_nothing(peer);
    peer_u64(peer, LINK_ACK, 1, 1, place.length);
    peer_send(peer);
    assert_int_equal(peer_expect(peer, LINK_MESSAGE, 1)->frame.seq, 2);
    peer_destroy(peer);
}

/* A gateway reads a batch at one go: it is not to be away from its loop for long. */
static void test_a_batch_names_little(void **state) {
    struct world *world = *state;
    world_start(world, &settings);
    struct peer *peer = reader(world, NAMES);
    world->server->unflushed_max = SIZE_MAX;
    for (int i = 0; i < 24; i++)
        publish(world, 0, "\"one\"", LARGE);
    link_server_flush(world->server);
    size_t in_batch[64] = {0};
    unsigned first = 0;
    for (int i = 0; i < 24; i++) {
        struct inbox_frame *frame = peer_expect(peer, LINK_MESSAGE, 1);
        first = i == 0 ? frame->batch : first;
        assert_true(frame->batch - first < 64);
        assert_true(in_batch[frame->batch - first] < 1 << 20);
        in_batch[frame->batch - first] += place_of(frame).length;
    }
    peer_destroy(peer);
}

/* The cap takes what was named before anybody has read it: it is not found, neither as something
 * else, nor in what was written in its place. What is about to be taken is not named. */
static void test_the_cap_takes_what_was_named(void **state) {
    struct world *world = *state;
    world_start(world, &(struct link_server_settings){.journal_bytes = 8 << 20});
    struct peer *peer = reader(world, NAMES);
    publish(world, 0, "\"first\"", LARGE);
    link_server_flush(world->server);
    struct inbox_frame *first = peer_expect(peer, LINK_MESSAGE, 1);
    cleanup_free char *found = read_named(world, first);
    assert_string_equal(found, "\"first\"");
    struct inbox_frame kept = *first;
    uint8_t payload[LINK_SEGMENT_SIZE];
    memcpy(payload, first->payload, sizeof payload);
    kept.payload = payload;
    for (int i = 0; i < 60; i++)
        publish(world, 0, "\"later\"", LARGE);
    link_server_flush(world->server);
    assert_null(read_named(world, &kept));
    uint64_t last = link_server_last(world->server);

    struct journal_record record;
    uint64_t segment, offset;
    uint64_t oldest = journal_oldest(world->server->journal) - 1;
    assert_int_equal(journal_next(world->server->journal, oldest, &record), 1);
    while (record.is_folded)
        assert_int_equal(journal_next(world->server->journal, record.seq, &record), 1);
    assert_false(journal_locate(world->server->journal, &record, &segment, &offset));
    assert_int_equal(journal_next(world->server->journal, last - 1, &record), 1);
    assert_true(journal_locate(world->server->journal, &record, &segment, &offset));
    peer_destroy(peer);
}

static void test_what_does_not_fit_is_not_read(void **state) {
    struct world *world = *state;
    world_start(world, &settings);
    struct peer *peer = reader(world, NAMES);
    publish_now(world, 0, "\"one\"", LARGE);
    struct link_segment place = place_of(peer_expect(peer, LINK_MESSAGE, 1));
    cleanup_free char *directory = memory_printf("%s/journal", world->directory);
    cleanup_free uint8_t *data = memory_alloc(place.length + 8);
    uint64_t first = place.first_seq, offset = place.offset;
    size_t length = place.length;
    assert_int_equal(segment_read(directory, first, offset, 1, data, length), 0);
    assert_int_equal(segment_read(directory, first, offset, 2, data, length), -1);
    assert_int_equal(segment_read(directory, first, offset + 8, 1, data, length), -1);
    assert_int_equal(segment_read(directory, first, offset, 1, data, length + 8), -1);
    assert_int_equal(segment_read(directory, first, offset, 1, data, length - 8), -1);
    assert_int_equal(segment_read(directory, first, UINT64_MAX, 1, data, length), -1);
    assert_int_equal(segment_read(directory, first + 1, offset, 1, data, length), -1);
    assert_int_equal(segment_read("/nowhere", first, offset, 1, data, length), -1);

    /* a file that is cut off is no reason to die */
    cleanup_free char *path =
        memory_printf("%s/%020llu.segment", directory, (unsigned long long)first);
    cleanup_free char *copy = memory_printf("%s/%020d.segment", directory, 77);
    cleanup_free char *command = memory_printf("cp %s %s", path, copy);
    assert_int_equal(system(command), 0);
    assert_int_equal(segment_read(directory, 77, offset, 1, data, length), 0);
    assert_int_equal(truncate(copy, (off_t)(offset + 4096)), 0);
    assert_int_equal(segment_read(directory, 77, offset, 1, data, length), -1);
    peer_destroy(peer);
}

#define test_world(test) cmocka_unit_test_setup_teardown(test, world_create, world_destroy)

int main(void) {
    const struct CMUnitTest tests[] = {
        test_world(test_large_messages_are_named),
        test_world(test_nothing_is_named_to_who_does_not_read),
        test_world(test_nothing_is_named_where_that_is_not_safe),
        test_world(test_the_window_holds),
        test_world(test_a_batch_names_little),
        test_world(test_the_cap_takes_what_was_named),
        test_world(test_what_does_not_fit_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
