/* Which cells nobody has answered yet. */
#include "gateway/unanswered.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "launcher/kernel_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *header_of(const char *type, int id, size_t padding) {
    cleanup_free char *filler = memory_alloc(padding + 1);
    memset(filler, 'x', padding);
    return memory_printf("{\"msg_id\":\"m%d\",\"msg_type\":\"%s\",\"x\":\"%s\"}", id, type, filler);
}

static void write_message(struct buffer *out, enum kernel_channel channel, const char *header,
                          const char *parent) {
    struct bytes nothing = bytes_of_text("{}");
    *out = (struct buffer){0};
    assert_int_equal(kernel_message_write(out, channel, bytes_of_text(header),
                                          bytes_of_text(parent), nothing, nothing, NULL, 0),
                     0);
}

static void request(struct unanswered *unanswered, enum kernel_channel channel, const char *type,
                    int id, size_t padding) {
    cleanup_free char *header = header_of(type, id, padding);
    cleanup_buffer struct buffer message;
    write_message(&message, channel, header, "{}");
    unanswered_note_request(unanswered, message.data, message.length);
}

static void reply(struct unanswered *unanswered, enum kernel_channel channel, int id) {
    cleanup_free char *parent = header_of("execute_request", id, 0);
    cleanup_buffer struct buffer message;
    write_message(&message, channel, "{\"msg_type\":\"execute_reply\"}", parent);
    unanswered_note_reply(unanswered, message.data, message.length);
}

static void expect(struct unanswered *unanswered, int id) {
    cleanup_buffer struct buffer header = {0};
    cleanup_free char *want = header_of("execute_request", id, 0);
    struct bytes oldest = unanswered_oldest(unanswered);
    assert_int_equal(oldest.length, strlen(want));
    assert_memory_equal(oldest.data, want, oldest.length);
    assert_true(unanswered_take(unanswered, &header));
    assert_string_equal(buffer_text(&header), want);
}

static void test_replies_cross_their_requests_out(void **state) {
    (void)state;
    struct unanswered unanswered;
    unanswered_init(&unanswered);
    for (int id = 1; id <= 4; id++)
        request(&unanswered, CHANNEL_SHELL, "execute_request", id, 0);
    request(&unanswered, CHANNEL_SHELL, "complete_request", 5, 0);
    request(&unanswered, CHANNEL_CONTROL, "execute_request", 6, 0);
    reply(&unanswered, CHANNEL_SHELL, 2);
    reply(&unanswered, CHANNEL_IOPUB, 3); /* an output, no reply */
    reply(&unanswered, CHANNEL_SHELL, 9);
    expect(&unanswered, 1);
    expect(&unanswered, 3);
    expect(&unanswered, 4);
    cleanup_buffer struct buffer header = {0};
    assert_false(unanswered_take(&unanswered, &header));
    assert_int_equal(unanswered_oldest(&unanswered).length, 0);
    assert_int_equal(unanswered.bytes, 0);
}

static void test_the_oldest_are_forgotten_at_the_limits(void **state) {
    (void)state;
    struct unanswered unanswered;
    unanswered_init(&unanswered);
    for (int id = 0; id < 1010; id++)
        request(&unanswered, CHANNEL_SHELL, "execute_request", id, 0);
    assert_int_equal(unanswered.count, 1000);
    expect(&unanswered, 10);
    request(&unanswered, CHANNEL_SHELL, "execute_request", 2000, (1 << 20) - 100);
    assert_int_equal(unanswered.count, 1);
    request(&unanswered, CHANNEL_SHELL, "execute_request", 2001, 2 << 20); /* not kept at all */
    assert_int_equal(unanswered.count, 1);
    unanswered_clear(&unanswered);
    assert_int_equal(unanswered.bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_cross_their_requests_out),
        cmocka_unit_test(test_the_oldest_are_forgotten_at_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
