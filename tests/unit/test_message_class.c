#include "launcher/message_class.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct bytes text(const char *value) {
    return (struct bytes){(const uint8_t *)value, strlen(value)};
}

#define CELL_HEADER "{\"msg_id\": \"a_1\", \"msg_type\": \"execute_request\"}"

static struct message_mark mark_of(const char *header, const char *parent, const char *content) {
    const struct kernel_message message = {
        .header = text(header), .parent_header = text(parent), .content = text(content)};
    return message_mark(&message);
}

static void test_messages_of_a_cell_share_its_number(void **state) {
    (void)state;
    uint32_t cell = message_cell(text(CELL_HEADER));
    assert_int_not_equal(cell, 0);
    struct message_mark mark = mark_of("{\"msg_type\": \"stream\"}", CELL_HEADER, "{}");
    assert_int_equal(mark.class, MESSAGE_STREAM);
    assert_int_equal(mark.cell, cell);
    mark = mark_of(CELL_HEADER, "{}", "{}");
    assert_int_equal(mark.class, MESSAGE_REQUEST);
    assert_int_equal(mark.cell, cell);
    assert_int_not_equal(
        message_cell(text("{\"msg_id\": \"a_2\", \"msg_type\": \"execute_request\"}")), cell);
}

static void test_each_type_has_its_class(void **state) {
    (void)state;
    static const struct {
        const char *header, *content;
        enum message_class class;
    } cases[] = {
        {"{\"msg_type\": \"display_data\"}", "{}", MESSAGE_OUTPUT},
        {"{\"msg_type\": \"execute_result\"}", "{}", MESSAGE_OUTPUT},
        {"{\"msg_type\": \"error\"}", "{}", MESSAGE_OUTPUT},
        {"{\"msg_type\": \"update_display_data\"}", "{}", MESSAGE_UPDATE},
        {"{\"msg_type\": \"clear_output\"}", "{}", MESSAGE_CLEAR},
        {"{\"msg_type\": \"execute_input\"}", "{}", MESSAGE_INPUT},
        {"{\"msg_type\": \"execute_reply\"}", "{}", MESSAGE_REPLY},
        {"{\"msg_type\": \"input_request\"}", "{}", MESSAGE_PROMPT},
        {"{\"msg_type\": \"status\"}", "{\"execution_state\": \"busy\"}", MESSAGE_BUSY},
        {"{\"msg_type\": \"status\"}", "{\"execution_state\": \"idle\"}", MESSAGE_IDLE},
        {"{\"msg_type\": \"status\"}", "{\"execution_state\": \"restarting\"}", MESSAGE_STATE},
        {"{\"msg_type\": \"status\"}", "{}", MESSAGE_STATE},
        {"{\"msg_type\": \"comm_msg\"}", "{}", MESSAGE_OTHER},
        {"{\"msg_type\": \"a type that is longer than any that we know of\"}", "{}", MESSAGE_OTHER},
        {"{}", "{}", MESSAGE_OTHER},
        {"", "", MESSAGE_OTHER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(mark_of(cases[i].header, CELL_HEADER, cases[i].content).class,
                         cases[i].class);
}

static void test_other_requests_are_no_cells(void **state) {
    (void)state;
    assert_int_equal(
        message_cell(text("{\"msg_id\": \"a_1\", \"msg_type\": \"kernel_info_request\"}")), 0);
    assert_int_equal(message_cell(text("{\"msg_type\": \"execute_request\"}")), 0);
    assert_int_equal(message_cell(text("{\"msg_id\": \"\", \"msg_type\": \"execute_request\"}")),
                     0);
    assert_int_equal(message_cell(text("not JSON")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_of_a_cell_share_its_number),
        cmocka_unit_test(test_each_type_has_its_class),
        cmocka_unit_test(test_other_requests_are_no_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
