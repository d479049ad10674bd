/* Messages that a launcher only names, as a gateway takes them. */
#include "launcher/journal_segment.h"
#include "links_fixture.h"

#include <sys/stat.h>

enum { LARGE = 200 << 10 };

#define NAMES "\"" SEGMENT_CAPABILITY "\""

/* A journal like a launcher's, beside the socket, with one message of 'm'. */
static struct segment *make_journal(struct fixture *f, struct link_segment *ret) {
    cleanup_free char *directory = memory_printf("%s/journal", f->directory);
    cleanup_free uint8_t *data = memory_alloc(LARGE);
    memset(data, 'm', LARGE);
    int disk_errno;
    assert_int_equal(mkdir(directory, 0700), 0);
    struct segment *segment = segment_create(
        directory, &(struct segment_start){.first_seq = 4, .fold_level = -1}, 1 << 20, &disk_errno);
    assert_non_null(segment);
    *ret = (struct link_segment){4, segment->used, LARGE};
    segment_append(segment, &(struct segment_record){.length = LARGE, .seq = 4}, data);
    return segment;
}

static void peer_name(struct fixture *f, uint16_t attachment, uint64_t seq,
                      const struct link_segment *place) {
    cleanup_buffer struct buffer batch = {0};
    uint8_t payload[LINK_SEGMENT_SIZE];
    link_segment_write(payload, place);
    assert_int_equal(link_frame_write(&batch, LINK_MESSAGE, attachment, seq, payload,
                                      sizeof payload, LINK_FLAG_SEGMENT),
                     0);
    peer_send_parts(f, &batch, NULL, 0);
}

static bool one_message(struct fixture *f) {
    return f->a.messages == 1;
}

static void test_what_is_named_is_read(void **state) {
    struct fixture *f = *state;
    struct link_segment place;
    struct segment *segment = make_journal(f, &place);
    assert_non_null(strstr(expect(f, LINK_HELLO)->payload, NAMES));
    peer_welcome(f, KERNEL, 3);
    run_until(f, is_up);
    uint16_t a = attach(f, &f->a, "session a");
    peer_name(f, 77, 4, &place); /* detached meanwhile */
    settle(f);
    peer_name(f, a, 4, &place);
    run_until(f, one_message);
    assert_int_equal(f->a.last_seq, 4);
    assert_int_equal(f->a.bytes, LARGE);
    assert_memory_equal(f->a.text, "mmmmmmmm", 8);
    peer_name(f, a, 4, &place); /* it has it: what counts for the window is the message */
    assert_int_equal(number_of(expect(f, LINK_ACK)), LARGE);
    assert_int_equal(f->a.messages, 1);
    segment_release(segment);
}

/* The attachment is sent everything then; whoever else is there notices nothing. */
static void test_what_is_not_there_is_asked_for_otherwise(void **state) {
    struct fixture *f = *state;
    struct link_segment place;
    struct segment *segment = make_journal(f, &place);
    come_up(f);
    uint16_t a = attach(f, &f->a, "session a");
    uint16_t b = attach(f, &f->b, NULL);
    cleanup_free char *directory = memory_printf("%s/journal", f->directory);
    segment_unlink(segment, directory);
    segment_release(segment);
    link_command(f->link, "logs", NULL, 60000, on_result, f); /* is under way, and stays so */
    expect(f, LINK_COMMAND);
    peer_name(f, a, 4, &place);
    peer_say(f, LINK_MESSAGE, a, 5, "behind it");
    const struct heard *again = expect(f, LINK_ATTACH);
    assert_int_equal(again->attachment, a);
    assert_non_null(strstr(again->payload, "\"named\":false"));
    assert_int_equal(f->a.messages, 0); /* none is left out */
    peer_say(f, LINK_MESSAGE, b, 5, "to the other");
    peer_say(f, LINK_ATTACHED, a, 3, "{\"resumed\": true, \"next_request\": 1}");
    peer_say(f, LINK_MESSAGE, a, 4, "at last");
    run_until(f, one_message);
    assert_string_equal(f->a.text, "at last");
    assert_string_equal(f->b.text, "to the other");
    assert_true(link_is_up(f->link));
}

static void test_names_of_nothing_are_not_followed(void **state) {
    struct fixture *f = *state;
    const struct link_segment wrong[] = {
        {4, 64, 0}, {4, 64, UINT64_MAX}, {4, 64, LINK_SEGMENT_MAX + 1}};
    come_up(f);
    uint16_t a = attach(f, &f->a, "session a");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        peer_name(f, a, 4, &wrong[i]);
        assert_int_equal(expect(f, LINK_ATTACH)->attachment, a);
        assert_int_equal(f->links->malformed, i + 1);
        peer_say(f, LINK_ATTACHED, a, 3, "{\"resumed\": true, \"next_request\": 1}");
        settle(f);
    }
}

static void test_only_local_journals_are_read(void **state) {
    struct fixture *f = *state;
    const struct provision_address address = {.endpoint = "tcp://127.0.0.1:1"};
    struct link *far = NULL;
    assert_int_equal(link_open(f->links, OTHER, &address, &link_events, f, &far, NULL), 0);
    assert_null(far->journal);
    assert_non_null(f->link->journal);
    link_close(far);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(test_what_is_named_is_read),
        test(test_what_is_not_there_is_asked_for_otherwise),
        test(test_names_of_nothing_are_not_followed),
        test(test_only_local_journals_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
