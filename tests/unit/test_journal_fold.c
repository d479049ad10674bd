/* What the cap takes first, what it tells, and what a crash in between leaves. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "launcher/journal.h"
#include "launcher/journal_progress.h"
#include "launcher/journal_segment.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CAP = 512 << 10, FLOOD = 4000 };

struct place {
    char directory[64];
    struct journal *journal;
};

static struct journal *open_at(const char *directory, int64_t cap) {
    struct error err = {0};
    struct journal *journal = NULL;
    if (journal_create(directory, cap, &journal, &err) < 0)
        fail_msg("%s", err.text);
    return journal;
}

static int setup(void **state) {
    struct place *place = memory_alloc(sizeof *place);
    strcpy(place->directory, "/tmp/elara-journal-XXXXXX");
    if (mkdtemp(place->directory) == NULL)
        return -1;
    place->journal = open_at(place->directory, CAP);
    *state = place;
    return 0;
}

static int teardown(void **state) {
    struct place *place = *state;
    journal_destroy(place->journal);
    file_remove_tree(place->directory, NULL);
    free(place);
    return 0;
}

static uint64_t add_for(struct journal *journal, uint32_t session, enum kernel_channel channel,
                        const char *type, const char *cell, const char *content) {
    cleanup_buffer struct buffer bytes = {0};
    cleanup_free char *header =
        memory_printf("{\"msg_id\":\"%s\",\"msg_type\":\"%s\"}", cell, type);
    cleanup_free char *parent =
        memory_printf("{\"msg_id\":\"%s\",\"msg_type\":\"execute_request\"}", cell);
    assert_int_equal(kernel_message_write(&bytes, channel, bytes_of_text(header),
                                          bytes_of_text(parent), bytes_of_text("{}"),
                                          bytes_of_text(content), NULL, 0),
                     0);
    struct kernel_message message;
    assert_int_equal(kernel_message_parse(bytes.data, bytes.length, &message, NULL), 0);
    struct journal_entry entry = {channel, session, message_mark(&message)};
    return journal_append(journal, &entry, bytes.data, bytes.length);
}

static uint64_t add(struct journal *journal, const char *type, const char *cell,
                    const char *content) {
    return add_for(journal, 0, CHANNEL_IOPUB, type, cell, content);
}

static void print_lines(struct journal *journal, const char *cell, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        add(journal, "stream", cell,
            "{\"name\":\"stdout\",\"text\":\"one line of what it says\\n\"}");
}

struct seen {
    unsigned classes[MESSAGE_CLASS_COUNT]; /* messages of the cell */
    unsigned rows;                         /* that tell something */
    uint64_t told, bytes;
};

static struct seen look(const struct journal *journal, const char *cell) {
    struct seen seen = {0};
    struct journal_record record;
    struct kernel_message message;
    char id[64];
    for (uint64_t seq = 0; journal_next(journal, seq, &record) > 0; seq = record.seq) {
        assert_true(record.first == seq + 1);
        struct bytes header = record.parent_header;
        if (!record.is_folded) {
            assert_int_equal(kernel_message_parse(record.data, record.length, &message, NULL), 0);
            header = message.parent_header;
        }
        if (json_scan_text(header, "msg_id", id, sizeof id) < 0 || strcmp(id, cell) != 0)
            continue;
        if (!record.is_folded) {
            seen.classes[record.mark.class]++;
        } else if (record.folded.messages > 0) {
            seen.rows += record.goes_on ? 0 : 1;
            seen.told += record.folded.messages;
            seen.bytes += record.folded.bytes;
        }
    }
    return seen;
}

static bool has(const struct journal *journal, uint64_t seq) {
    struct journal_record record;
    return journal_next(journal, seq - 1, &record) > 0 && record.seq == seq && !record.is_folded;
}

static void test_streams_go_first_and_are_told_in_their_cell(void **state) {
    struct journal *journal = ((struct place *)*state)->journal;
    add(journal, "status", "a", "{\"execution_state\":\"busy\"}");
    for (int i = 0; i < 20; i++) { /* a print and a figure in turns: one notice */
        print_lines(journal, "a", FLOOD / 20);
        add(journal, "display_data", "a", "{\"data\":{}}");
    }
    add(journal, "comm_msg", "a", "{}");
    add_for(journal, 1, CHANNEL_SHELL, "execute_reply", "a", "{\"status\":\"ok\"}");
    add(journal, "status", "a", "{\"execution_state\":\"idle\"}");
    print_lines(journal, "b", FLOOD);
    add(journal, "error", "b", "{\"ename\":\"E\"}");
    struct seen a = look(journal, "a"), b = look(journal, "b");
    assert_int_equal(a.classes[MESSAGE_STREAM], 0);
    assert_int_equal(a.told, FLOOD);
    assert_int_equal(a.classes[MESSAGE_OUTPUT], 20);
    assert_int_equal(a.classes[MESSAGE_BUSY] + a.classes[MESSAGE_IDLE], 2);
    assert_int_equal(a.classes[MESSAGE_OTHER], 1);
    assert_int_equal(a.classes[MESSAGE_REPLY], 1);
    assert_true(a.rows <= 2);
    assert_true(a.bytes > FLOOD * 100 && a.bytes < FLOOD * 300);
    assert_int_equal(b.classes[MESSAGE_STREAM] + b.told, FLOOD);
    assert_true(b.classes[MESSAGE_STREAM] > 100 && b.told > 1000); /* the last part is there */
    assert_int_equal(b.classes[MESSAGE_OUTPUT], 1);
}

static void test_answers_go_last(void **state) {
    struct journal *journal = ((struct place *)*state)->journal;
    char cell[16];
    enum { CELLS = 150 };
    cleanup_free char *figure = memory_alloc(8 << 10);
    memset(figure, ' ', (8 << 10) - 1);
    memcpy(figure, "{}", 2);
    for (int i = 0; i < CELLS; i++) {
        snprintf(cell, sizeof cell, "c%d", i);
        for (int j = 0; j < 5; j++) {
            add(journal, "comm_msg", cell, "{}");
            add(journal, "display_data", cell, figure);
        }
        add_for(journal, 1, CHANNEL_SHELL, "execute_reply", cell, "{\"status\":\"ok\"}");
        add(journal, "status", cell, "{\"execution_state\":\"idle\"}");
    }
    unsigned outputs = 0, told = 0;
    for (int i = 0; i < CELLS; i++) {
        snprintf(cell, sizeof cell, "c%d", i);
        struct seen seen = look(journal, cell);
        assert_int_equal(seen.classes[MESSAGE_REPLY], 1);
        assert_int_equal(seen.classes[MESSAGE_IDLE], 1);
        assert_int_equal(seen.told + seen.classes[MESSAGE_OUTPUT] + seen.classes[MESSAGE_OTHER],
                         10);
        assert_true(seen.rows <= 2); /* it may lie in two segments */
        outputs += seen.classes[MESSAGE_OUTPUT];
        told += (unsigned)seen.told;
    }
    assert_true(outputs > 30 && told > 5 * CELLS);
}

static void test_cleared_outputs_go_without_a_word(void **state) {
    struct journal *journal = ((struct place *)*state)->journal;
    uint64_t before = add(journal, "display_data", "a", "{}");
    for (int i = 0; i < 3000; i++) {
        add(journal, "display_data", "a", "{\"data\":{\"text/plain\":\"a figure\"}}");
        add(journal, "stream", "a", "{\"name\":\"stdout\",\"text\":\"x\\n\"}");
        add(journal, "clear_output", "a", "{\"wait\":true}");
    }
    uint64_t clear = journal_last(journal);
    print_lines(journal, "b", FLOOD);
    assert_false(has(journal, before));
    assert_true(has(journal, clear - 2) && has(journal, clear)); /* it waits for an output */
    assert_int_equal(look(journal, "a").told, 1); /* the last print, which is still to be seen */
    print_lines(journal, "a", 1);
    print_lines(journal, "b", FLOOD);
    struct seen a = look(journal, "a");
    assert_int_equal(a.classes[MESSAGE_OUTPUT], 0);
}

static void test_an_output_widget_keeps_what_stands_before_it(void **state) {
    struct journal *journal = ((struct place *)*state)->journal;
    uint64_t shown = add(journal, "display_data", "a", "{}");
    uint64_t one =
        add(journal, "update_display_data", "a", "{\"transient\":{\"display_id\":\"d\"}}");
    add(journal, "comm_msg", "a", "{}");
    add(journal, "clear_output", "a", "{}");
    uint64_t two =
        add(journal, "update_display_data", "a", "{\"transient\":{\"display_id\":\"d\"}}");
    uint64_t three =
        add(journal, "update_display_data", "a", "{\"transient\":{\"display_id\":\"e\"}}");
    uint64_t four =
        add(journal, "update_display_data", "b", "{\"transient\":{\"display_id\":\"d\"}}");
    add(journal, "display_data", "a", "{}");
    print_lines(journal, "b", FLOOD);
    assert_true(has(journal, shown) && has(journal, one) && has(journal, two));
    assert_true(has(journal, three) && has(journal, four));
}

static void test_updates_that_were_replaced_go_without_a_word(void **state) {
    struct journal *journal = ((struct place *)*state)->journal;
    uint64_t shown =
        add(journal, "display_data", "a", "{\"data\":{},\"transient\":{\"display_id\":\"d\"}}");
    for (int i = 0; i < FLOOD; i++)
        add(journal, "update_display_data", "a",
            "{\"data\":{\"text/plain\":\"1 of "
            "2\"},\"metadata\":{},\"transient\":{\"display_id\":\"d\"}}");
    uint64_t last = journal_last(journal);
    assert_true(has(journal, shown) && has(journal, last));
    struct seen a = look(journal, "a");
    assert_int_equal(a.told, 0);
    assert_true(a.classes[MESSAGE_UPDATE] < FLOOD);
}

static void test_a_progress_bar_goes_without_a_word(void **state) {
    static const char *const forms[][2] = {
        {"{\"name\":\"stderr\",\"text\":\"\\r ", "%|\\u2588\\u2588  |\"}"},
        {"{\"name\":\"stdout\",\"text\":\"step ", "\\r\"}"}};
    for (size_t form = 0; form < 2; form++) {
        struct place *place = *state;
        struct journal *journal = place->journal;
        const char *cell = form == 0 ? "a" : "b";
        uint64_t first = journal_last(journal) + 1;
        char text[100];
        for (int i = 0; i < FLOOD; i++) {
            snprintf(text, sizeof text, "%s%3d%s", forms[form][0], i * 100 / FLOOD, forms[form][1]);
            add(journal, "stream", cell, text);
        }
        uint64_t last = journal_last(journal);
        print_lines(journal, "other", FLOOD);
        struct seen seen = look(journal, cell);
        assert_int_equal(seen.told, 0);
        assert_true(seen.classes[MESSAGE_STREAM] > 0 && seen.classes[MESSAGE_STREAM] < 20);
        assert_true(has(journal, last));
        assert_true(form == 1 || !has(journal, first));
    }
}

static void test_notes_of_requests_stay_until_the_reply(void **state) {
    struct journal *journal = ((struct place *)*state)->journal;
    uint64_t open = add_for(journal, JOURNAL_NOBODY, CHANNEL_SHELL, "execute_request", "a", "{}");
    uint64_t done = add_for(journal, JOURNAL_NOBODY, CHANNEL_SHELL, "execute_request", "b", "{}");
    add_for(journal, 1, CHANNEL_SHELL, "execute_reply", "b", "{}");
    print_lines(journal, "c", FLOOD);
    assert_true(has(journal, open));
    assert_false(has(journal, done));
    assert_int_equal(look(journal, "a").told + look(journal, "b").told, 0);
}

/* --- what a bar hides --- */

static void overlay(char *line, size_t *column, const char *text) {
    for (; *text != '\0'; text++) {
        size_t length = strlen(line);
        const char *start = strrchr(line, '\n');
        if (*text == '\r') {
            *column = start != NULL ? (size_t)(start - line) + 1 : 0;
        } else if (*text == '\n') {
            line[length] = '\n';
            line[length + 1] = '\0';
            *column = length + 1;
        } else {
            line[length + 1] = *column >= length ? '\0' : line[length + 1];
            line[(*column)++] = *text;
        }
    }
}

static struct progress_text parse(const char *text) {
    cleanup_json json_t *content = json_pack("{s:s, s:s}", "name", "stdout", "text", text);
    cleanup_free char *json = json_dumps(content, JSON_COMPACT);
    cleanup_buffer struct buffer bytes = {0};
    struct bytes empty = bytes_of_text("{}");
    kernel_message_write(&bytes, CHANNEL_IOPUB, empty, empty, empty, bytes_of_text(json), NULL, 0);
    return progress_read(bytes.data, bytes.length);
}

static void test_what_is_held_for_overwritten_is(void **state) {
    (void)state;
    static const char letters[] = "\r\r\nabc";
    static const char *const starts[] = {"", "long before", "one\n", "long before\r"};
    unsigned seed = 1, hidden = 0;
    for (int round = 0; round < 200000; round++) {
        char parts[2][8] = {"", ""};
        for (int i = 0; i < 2; i++)
            for (int j = 0, length = rand_r(&seed) % 7; j < length; j++)
                parts[i][j] = letters[(size_t)rand_r(&seed) / 8 % (sizeof letters - 1)];
        struct progress_text earlier = parse(parts[0]), later = parse(parts[1]);
        if (!progress_overwrites(&later, &earlier))
            continue;
        const char *before = starts[(size_t)round % 4];
        bool at_start = round % 2 == 1 ? round % 4 == 3 : round % 4 != 1;
        if (!at_start && !(earlier.starts_over && later.starts_over))
            continue;
        hidden++;
        char with[64] = "", without[64] = "";
        size_t column = 0;
        overlay(with, &column, before);
        overlay(with, &column, parts[0]);
        overlay(with, &column, parts[1]);
        column = 0;
        overlay(without, &column, before);
        overlay(without, &column, parts[1]);
        assert_string_equal(with, without);
    }
    assert_true(hidden > 1000);
}

/* --- crashes --- */

static void copy_file(const char *from, const char *to, size_t limit) {
    cleanup_buffer struct buffer bytes = {.limit = 64 << 20};
    assert_int_equal(file_read(from, 64 << 20, &bytes, NULL), 0);
    size_t length = bytes.length < limit ? bytes.length : limit;
    assert_int_equal(file_write(to, bytes.data, length, 0600, NULL), 0);
}

static void copy_directory(const char *from, const char *to) {
    assert_int_equal(file_remove_tree(to, NULL), 0);
    assert_int_equal(mkdir(to, 0700), 0);
    DIR *directory = opendir(from);
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        cleanup_free char *source = memory_printf("%s/%s", from, entry->d_name);
        cleanup_free char *target = memory_printf("%s/%s", to, entry->d_name);
        copy_file(source, target, SIZE_MAX);
    }
    closedir(directory);
}

static bool same_reading(const struct journal *a, const struct journal *b) {
    struct journal_record x, y;
    for (uint64_t seq = 0;; seq = x.seq) {
        int found = journal_next(a, seq, &x);
        if (found != journal_next(b, seq, &y))
            return false;
        if (found == 0)
            return journal_last(a) == journal_last(b);
        if (x.seq != y.seq || x.first != y.first || x.is_folded != y.is_folded ||
            x.length != y.length || x.folded.messages != y.folded.messages ||
            x.folded.bytes != y.folded.bytes || (x.length > 0 && memcmp(x.data, y.data, x.length)))
            return false;
    }
}

/* The directory as it is, opened in a copy, must read as one of the two. */
static void expect_either(const char *directory, const struct journal *a, const struct journal *b) {
    cleanup_free char *copy = memory_printf("%s.copy", directory);
    copy_directory(directory, copy);
    struct journal *journal = open_at(copy, CAP);
    assert_true(same_reading(journal, a) || same_reading(journal, b));
    assert_int_equal(look(journal, "a").classes[MESSAGE_REPLY], 1);
    print_lines(journal, "b", 100); /* and it goes on */
    assert_true(look(journal, "b").classes[MESSAGE_STREAM] >= 100);
    journal_destroy(journal);
    file_remove_tree(copy, NULL);
}

/* Brings back the files of the segments that begin before `end`, but for the first. */
static void copy_covered(const char *from, const char *to, uint64_t end) {
    DIR *directory = opendir(from);
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        uint64_t first = strtoull(entry->d_name, NULL, 10);
        cleanup_free char *source = memory_printf("%s/%s", from, entry->d_name);
        cleanup_free char *target = memory_printf("%s/%s", to, entry->d_name);
        if (first > 1 && first < end)
            copy_file(source, target, SIZE_MAX);
    }
    closedir(directory);
}

/* Each step of putting a folded segment in its place, as a killed launcher leaves it. */
static void test_a_fold_that_was_interrupted(void **state) {
    struct place *place = *state;
    cleanup_free char *before = memory_printf("%s.before", place->directory);
    cleanup_free char *work = memory_printf("%s.work", place->directory);
    cleanup_free char *first_new = memory_printf("%s/%020d.new", work, 1);
    cleanup_free char *spare = memory_printf("%s/spare.new", work);
    add_for(place->journal, 1, CHANNEL_SHELL, "execute_reply", "a", "{}");
    struct journal_record record;
    unsigned folds = 0;
    for (unsigned i = 0; i < FLOOD && folds < 12; i++) {
        copy_directory(place->directory, before);
        struct journal *old = NULL;
        print_lines(place->journal, "b", 20);
        (void)journal_next(place->journal, 1, &record);
        /* Only the steps at which something was folded are of interest: then the files have
         * changed. */
        old = open_at(before, CAP);
        struct journal_record was;
        bool changed =
            journal_next(old, 1, &was) > 0 && (was.seq != record.seq) && record.is_folded;
        if (changed) {
            folds++;
            cleanup_free char *now = memory_printf("%s.now", place->directory);
            copy_directory(place->directory, now);
            struct journal *after = open_at(now, CAP);
            cleanup_free char *old_first = memory_printf("%s/%020d.segment", before, 1);
            cleanup_free char *now_first = memory_printf("%s/%020d.segment", now, 1);
            for (size_t length = 0; length <= 4096; length += 512) { /* being written */
                copy_directory(before, work);
                copy_file(now_first, first_new, length);
                expect_either(work, old, after);
            }
            /* In its place, with the files that it covers still there, and one kept to be used
             * again. */
            copy_directory(now, work);
            copy_file(old_first, first_new, SIZE_MAX);
            copy_file(old_first, spare, SIZE_MAX);
            copy_covered(before, work, record.seq);
            expect_either(work, after, after);
            journal_destroy(after);
            file_remove_tree(now, NULL);
        }
        journal_destroy(old);
    }
    assert_int_equal(folds, 12);
    file_remove_tree(before, NULL);
    file_remove_tree(work, NULL);
}

/* Cut or flipped at any byte: what lies before the damage in its segment is there, and what the
 * other segments hold. */
static void test_damage_in_a_folded_segment(void **state) {
    struct place *place = *state;
    cleanup_free char *copy = memory_printf("%s.copy", place->directory);
    cleanup_free char *first = memory_printf("%s/%020d.segment", place->directory, 1);
    cleanup_free char *damaged = memory_printf("%s/%020d.segment", copy, 1);
    for (int i = 0; i < 3 * FLOOD; i++)
        add(place->journal, i % 150 == 0 ? "execute_input" : "stream", "a", "{\"text\":\"x\"}");
    cleanup_buffer struct buffer bytes = {0};
    assert_int_equal(file_read(first, 1 << 20, &bytes, NULL), 0);
    struct segment_record record;
    memcpy(&record, bytes.data + SEGMENT_HEADER_SIZE, sizeof record);
    uint64_t last = journal_last(place->journal);
    size_t offset = SEGMENT_HEADER_SIZE, end = bytes.length < 3000 ? bytes.length : 3000;
    for (size_t at = SEGMENT_HEADER_SIZE; at < end; at += 3) {
        while (at >= offset + segment_record_size(record.length)) { /* the record that is hit */
            offset += segment_record_size(record.length);
            memcpy(&record, bytes.data + offset, sizeof record);
        }
        copy_directory(place->directory, copy);
        bytes.data[at] ^= 0x40;
        size_t length = at % 2 == 0 ? bytes.length : at;
        assert_int_equal(file_write(damaged, bytes.data, length, 0600, NULL), 0);
        bytes.data[at] ^= 0x40;
        struct journal *journal = open_at(copy, CAP);
        assert_true(journal_last(journal) == last);
        struct journal_record was, is;
        uint64_t seq = 0;
        for (; journal_next(place->journal, seq, &was) > 0 && was.seq < record.seq; seq = was.seq) {
            assert_int_equal(journal_next(journal, seq, &is), 1);
            assert_true(is.seq == was.seq && is.folded.messages == was.folded.messages);
        }
        struct journal_lost lost = journal_lost_since(journal, seq);
        for (uint64_t at_seq = seq + lost.messages; at_seq < last; at_seq = is.seq) {
            assert_int_equal(journal_next(journal, at_seq, &is), 1);
            assert_true(is.first == at_seq + 1);
        }
        journal_destroy(journal);
    }
    file_remove_tree(copy, NULL);
}

/* A child appends until it is killed; whatever moment that was, all that was numbered is there or
 * told. */
static void test_killed_at_any_moment(void **state) {
    struct place *place = *state;
    journal_destroy(place->journal);
    place->journal = NULL;
    uint64_t last = 0;
    unsigned seed = 5;
    for (int round = 0; round < 25; round++) {
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0) {
            struct journal *journal = open_at(place->directory, CAP);
            for (uint64_t i = 0;; i++) {
                add(journal, i % 9 == 0 ? "display_data" : "stream", i % 2 == 0 ? "a" : "b",
                    "{\"name\":\"stdout\",\"text\":\"some text\\n\"}");
                if (i % 64 == 0 && write(ready[1], "x", 1) != 1)
                    _exit(1);
            }
        }
        close(ready[1]);
        char byte;
        for (int turns = 1 + rand_r(&seed) % 200; turns > 0; turns--)
            assert_int_equal(read(ready[0], &byte, 1), 1);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(ready[0]);
        struct journal *journal = open_at(place->directory, CAP);
        assert_true(journal_last(journal) > last);
        last = journal_last(journal);
        struct journal_record record;
        uint64_t seq = 0;
        while (journal_next(journal, seq, &record) > 0) {
            assert_true(seq == 0 || record.first == seq + 1); /* only the oldest go completely */
            seq = record.seq;
        }
        assert_true(seq == last);
        journal_destroy(journal);
    }
}

#define test_in_directory(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* Room and what was given up are measured: nothing before the cap, never more than what came. */
static void test_size_is_measured(void **state) {
    struct place *place = *state;
    print_lines(place->journal, "a", 100);
    struct journal_size before = journal_measure(place->journal);
    assert_in_range(before.bytes, 1, CAP);
    assert_int_equal(before.folded_bytes, 0);
    uint64_t last = 0;
    for (int round = 0; round < 4; round++) {
        print_lines(place->journal, "b", FLOOD);
        struct journal_size size = journal_measure(place->journal);
        assert_in_range(size.bytes, 1, CAP);
        assert_true(size.folded_bytes >= last);
        last = size.folded_bytes;
    }
    assert_in_range(last, CAP, 4 * (uint64_t)FLOOD * 512);
    cleanup_buffer struct buffer huge = {0};
    buffer_reserve(&huge, CAP + 1);
    memset(huge.data, 'x', CAP + 1);
    struct journal_entry entry = {.channel = CHANNEL_IOPUB};
    journal_append(place->journal, &entry, huge.data, CAP + 1); /* folded at once */
    assert_true(journal_measure(place->journal).folded_bytes >= last + CAP + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        test_in_directory(test_streams_go_first_and_are_told_in_their_cell),
        test_in_directory(test_answers_go_last),
        test_in_directory(test_cleared_outputs_go_without_a_word),
        test_in_directory(test_an_output_widget_keeps_what_stands_before_it),
        test_in_directory(test_updates_that_were_replaced_go_without_a_word),
        test_in_directory(test_a_progress_bar_goes_without_a_word),
        test_in_directory(test_notes_of_requests_stay_until_the_reply),
        cmocka_unit_test(test_what_is_held_for_overwritten_is),
        test_in_directory(test_a_fold_that_was_interrupted),
        test_in_directory(test_damage_in_a_folded_segment),
        test_in_directory(test_killed_at_any_moment),
        cmocka_unit_test_setup_teardown(test_size_is_measured, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
