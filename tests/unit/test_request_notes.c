#include "base/buffer.h"
#include "base/file.h"
#include "launcher/message_make.h"
#include "launcher/request_notes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char directory[32];

static int setup(void **state) {
    struct error err;
    struct journal *journal;
    strcpy(directory, "/tmp/elara-notes-XXXXXX");
    if (mkdtemp(directory) == NULL || journal_create(directory, 1 << 20, &journal, &err) < 0)
        return -1;
    *state = journal;
    return 0;
}

static int teardown(void **state) {
    journal_destroy(*state);
    return file_remove_tree(directory, NULL);
}

static struct bytes text(const char *value) {
    return bytes_of_text(value);
}

static struct bytes header_of(const char *id, const char *type) {
    static char headers[8][128];
    static unsigned next;
    char *header = headers[next++ % 8];
    snprintf(header, sizeof headers[0], "{\"msg_id\":\"%s\",\"msg_type\":\"%s\"}", id, type);
    return text(header);
}

static void note(struct journal *journal, uint32_t session, const char *id, const char *type) {
    struct kernel_message message = {.channel = CHANNEL_SHELL, .header = header_of(id, type)};
    request_note_append(journal, session, &message);
}

/* What a kernel says of the request. */
static void say(struct journal *journal, const char *id, enum kernel_channel channel,
                const char *type, const char *content) {
    struct buffer out = {0};
    struct kernel_message parsed;
    assert_int_equal(kernel_message_write(&out, channel, header_of("answer", type),
                                          header_of(id, "execute_request"), text("{}"),
                                          text(content), NULL, 0),
                     0);
    assert_int_equal(kernel_message_parse(out.data, out.length, &parsed, NULL), 0);
    struct journal_entry entry = {.channel = channel, .mark = message_mark(&parsed)};
    journal_append(journal, &entry, out.data, out.length);
    buffer_free(&out);
}

static char found[1024];

static void on_waiting(void *context, const struct request_note *it) {
    char id[32];
    assert_true(json_scan_text(it->header, "msg_id", id, sizeof id) > 0);
    snprintf(found + strlen(found), sizeof found - strlen(found), "%s%u%s ",
             it->is_running ? "*" : "", it->session, id);
    assert_ptr_equal(context, directory);
}

static void on_last(void *context, const struct request_note *it) {
    strcat(found, "last ");
    on_waiting(context, it);
}

static const char *walk(const struct journal *journal) {
    found[0] = '\0';
    request_notes_walk(journal, on_waiting, on_last, directory);
    return found;
}

static void test_what_has_no_reply_waits(void **state) {
    struct journal *journal = *state;
    assert_string_equal(walk(journal), "");
    note(journal, 1, "a", "execute_request");
    note(journal, 2, "b", "execute_request");
    note(journal, 3, "c", "execute_request");
    note(journal, 3, "k", "kernel_info_request"); /* nobody can answer it in the kernel's place */
    assert_string_equal(walk(journal), "last 3c 1a 2b 3c ");
    say(journal, "a", CHANNEL_IOPUB, "status", "{\"execution_state\":\"busy\"}");
    say(journal, "a", CHANNEL_IOPUB, "stream", "{}");
    assert_string_equal(walk(journal), "last 3c *1a 2b 3c ");
    say(journal, "a", CHANNEL_SHELL, "execute_reply", "{}");
    say(journal, "a", CHANNEL_IOPUB, "status", "{\"execution_state\":\"idle\"}");
    say(journal, "b", CHANNEL_IOPUB, "execute_input", "{}");
    assert_string_equal(walk(journal), "last 3c *2b 3c ");
    say(journal, "b", CHANNEL_SHELL, "execute_reply", "{}");
    say(journal, "c", CHANNEL_SHELL, "execute_reply", "{}");
    assert_string_equal(walk(journal), "last 3c ");
}

static void test_notes_survive_the_launcher(void **state) {
    struct error err;
    note(*state, 7, "a", "execute_request");
    journal_destroy(*state);
    *state = NULL;
    struct journal *journal;
    assert_int_equal(journal_create(directory, 1 << 20, &journal, &err), 0);
    *state = journal;
    assert_string_equal(walk(journal), "last 7a 7a ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_has_no_reply_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notes_survive_the_launcher, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
