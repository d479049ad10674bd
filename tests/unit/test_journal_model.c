/* What a client shows who reads from the journal, whatever the cap took meanwhile, is what the
 * whole stream shows, but for cells in which a notice stands. Random streams of all classes, random
 * caps, readers that come and go; a restart now and then. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    CELLS = 12,
    AREAS = 2, /* the cell's own, and an Output widget's */
    OUTPUTS_MAX = 2000,
    TEXT_MAX = 96,
    MESSAGES = 4000,
    READERS = 6,
    ROUNDS = 24,
};

/* --- a client --- */

struct output {
    char stream; /* 'o', 'e', or 0 for a display */
    char text[2 * TEXT_MAX];
    int display;
};

struct area {
    struct output outputs[OUTPUTS_MAX];
    size_t count;
    bool is_clearing; /* with the next output */
};

struct cell {
    struct area areas[AREAS];
    int current;
    bool is_noticed; /* what it shows is not all there was */
    bool has_reply, has_idle;
};

struct client {
    struct cell cells[CELLS];
    uint64_t position;
};

static void clear(struct area *area) {
    area->count = 0;
    area->is_clearing = false;
}

/* A terminal's line: what stands behind a carriage return writes over what was there. */
static void write_over(char *line, size_t *column, const char *text) {
    for (; *text != '\0'; text++) {
        size_t length = strlen(line);
        char *start = strrchr(line, '\n');
        size_t begin = start != NULL ? (size_t)(start - line) + 1 : 0;
        if (*text == '\r') {
            *column = begin;
        } else if (*text == '\n') {
            line[length] = '\n', line[length + 1] = '\0';
            *column = length + 1;
        } else {
            if (*column >= length)
                line[length + 1] = '\0';
            line[(*column)++] = *text;
        }
    }
}

/* Streams that follow each other are one output, cut into lines so that it stays small: only the
 * last line can change. */
static void show(struct cell *cell, char stream, const char *text, int display) {
    struct area *area = &cell->areas[cell->current];
    if (area->is_clearing)
        clear(area);
    assert_true(area->count < OUTPUTS_MAX);
    struct output *output = &area->outputs[area->count++];
    *output = (struct output){.stream = stream, .display = display};
    snprintf(output->text, sizeof output->text, "%s", text);
}

static void update(struct client *client, int display, const char *text) {
    for (size_t i = 0; i < CELLS; i++)
        for (size_t a = 0; a < AREAS; a++)
            for (size_t o = 0; o < client->cells[i].areas[a].count; o++) {
                struct output *output = &client->cells[i].areas[a].outputs[o];
                if (output->stream == 0 && output->display == display)
                    snprintf(output->text, sizeof output->text, "%s", text);
            }
}

/* All that an area shows, as text. */
static char *render(const struct area *area) {
    char *out = memory_alloc(area->count * 2 * TEXT_MAX + 64), *end = out;
    char line[4 * TEXT_MAX * 100];
    for (size_t o = 0; o < area->count;) {
        const struct output *output = &area->outputs[o];
        if (output->stream == 0) {
            end += sprintf(end, "[%d:%s]", output->display, output->text);
            o++;
            continue;
        }
        size_t column = 0, used = 0;
        line[0] = '\0';
        end += sprintf(end, "{%c:", output->stream);
        for (; o < area->count && area->outputs[o].stream == output->stream; o++) {
            write_over(line, &column, area->outputs[o].text);
            char *last = strrchr(line, '\n'); /* finished lines go */
            if (last == NULL)
                continue;
            used = (size_t)(last + 1 - line);
            memcpy(end, line, used);
            end += used;
            memmove(line, last + 1, strlen(last + 1) + 1);
            column -= used;
        }
        end += sprintf(end, "%s}", line);
    }
    *end = '\0';
    return out;
}

/* --- messages --- */

/* What a message says, readable from its content again. */
struct act {
    enum message_class class;
    unsigned cell;
    int display;
    char stream;
    bool wait;
    char text[TEXT_MAX];
};

static void apply(struct client *client, const struct act *act) {
    struct cell *cell = &client->cells[act->cell];
    struct area *area = &cell->areas[cell->current];
    switch (act->class) {
    case MESSAGE_STREAM:
        show(cell, act->stream, act->text, 0);
        break;
    case MESSAGE_OUTPUT:
        show(cell, 0, act->text, act->display);
        break;
    case MESSAGE_UPDATE:
        update(client, act->display, act->text);
        break;
    case MESSAGE_CLEAR:
        if (act->wait)
            area->is_clearing = true;
        else
            clear(area);
        break;
    case MESSAGE_OTHER:
        /* the comm message with which an Output widget begins or ends to take what is shown */
        cell->current = 1 - cell->current;
        break;
    case MESSAGE_REPLY:
        cell->has_reply = true;
        break;
    case MESSAGE_IDLE:
        cell->has_idle = true;
        break;
    default:
        break;
    }
}

static const char *const type_names[MESSAGE_CLASS_COUNT] = {
    [MESSAGE_OTHER] = "comm_msg",       [MESSAGE_STREAM] = "stream",
    [MESSAGE_OUTPUT] = "display_data",  [MESSAGE_UPDATE] = "update_display_data",
    [MESSAGE_CLEAR] = "clear_output",   [MESSAGE_BUSY] = "status",
    [MESSAGE_IDLE] = "status",          [MESSAGE_STATE] = "status",
    [MESSAGE_INPUT] = "execute_input",  [MESSAGE_REPLY] = "execute_reply",
    [MESSAGE_PROMPT] = "input_request", [MESSAGE_REQUEST] = "execute_request",
};

static json_t *content_of(const struct act *act) {
    static const char *const states[] = {"busy", "idle", "restarting"};
    cleanup_free char *display = memory_printf("d%d", act->display);
    switch (act->class) {
    case MESSAGE_STREAM:
        return json_pack("{s:s, s:s}", "name", act->stream == 'o' ? "stdout" : "stderr", "text",
                         act->text);
    case MESSAGE_OUTPUT:
    case MESSAGE_UPDATE:
        return json_pack("{s:{s:s}, s:{}, s:{s:s}}", "data", "text/plain", act->text, "metadata",
                         "transient", "display_id", display);
    case MESSAGE_CLEAR:
        return json_pack("{s:b}", "wait", act->wait);
    case MESSAGE_BUSY:
    case MESSAGE_IDLE:
    case MESSAGE_STATE:
        return json_pack("{s:s}", "execution_state", states[act->class - MESSAGE_BUSY]);
    default:
        return json_pack("{s:s}", "code", act->text);
    }
}

static void append(struct journal *journal, const struct act *act) {
    cleanup_buffer struct buffer bytes = {0};
    cleanup_free char *own = memory_printf(
        "{\"msg_id\":\"%s%u\",\"msg_type\":\"%s\",\"session\":\"k\"}",
        act->class == MESSAGE_REQUEST ? "cell" : "m", act->cell, type_names[act->class]);
    cleanup_free char *parent =
        act->class == MESSAGE_REQUEST
            ? memory_strdup("{}")
            : memory_printf("{\"msg_id\":\"cell%u\",\"msg_type\":\"execute_request\"}", act->cell);
    cleanup_json json_t *content = content_of(act);
    cleanup_free char *text = json_dumps(content, JSON_COMPACT);
    /* The whole act, so that a reader need not parse. */
    cleanup_free char *hex = memory_alloc(2 * sizeof *act + 3);
    struct bytes raw = {(const uint8_t *)act, sizeof *act};
    enum kernel_channel channel = act->class == MESSAGE_REPLY ? CHANNEL_SHELL : CHANNEL_IOPUB;
    assert_int_equal(kernel_message_write(&bytes, channel, bytes_of_text(own),
                                          bytes_of_text(parent), bytes_of_text("{}"),
                                          bytes_of_text(text), &raw, 1),
                     0);
    struct kernel_message message;
    assert_int_equal(kernel_message_parse(bytes.data, bytes.length, &message, NULL), 0);
    struct journal_entry entry = {.channel = channel, .mark = message_mark(&message)};
    if (act->class == MESSAGE_REQUEST)
        entry.session = JOURNAL_NOBODY;
    assert_int_equal(entry.mark.class, act->class);
    journal_append(journal, &entry, bytes.data, bytes.length);
}

/* --- reading --- */

static unsigned cell_of(struct bytes parent) {
    char id[32];
    assert_true(json_scan_text(parent, "msg_id", id, sizeof id) > 4);
    return (unsigned)atoi(id + 4);
}

static void read_row(struct client *client, const struct journal_record *record) {
    uint64_t numbers = record->seq - record->first + 1;
    assert_true(record->folded.messages <= numbers);
    if (record->folded.messages == 0)
        return;
    struct cell *cell = &client->cells[cell_of(record->parent_header)];
    cell->is_noticed = true;
}

/* Up to `count` records. False: there are no more. */
static bool read_some(const struct journal *journal, struct client *client, unsigned count) {
    struct journal_record record;
    for (unsigned i = 0; i < count; i++) {
        if (journal_next(journal, client->position, &record) == 0)
            return false;
        if (record.first > client->position + 1) /* gone completely: told without a cell */
            for (size_t c = 0; c < CELLS; c++)
                client->cells[c].is_noticed = true;
        client->position = record.seq;
        if (record.is_folded) {
            read_row(client, &record);
            continue;
        }
        struct kernel_message message;
        struct act act;
        assert_int_equal(kernel_message_parse(record.data, record.length, &message, NULL), 0);
        memcpy(&act, kernel_message_buffer(&message, 0).data, sizeof act);
        apply(client, &act);
    }
    return true;
}

static void compare(const struct client *whole, const struct client *client, unsigned *same) {
    for (size_t c = 0; c < CELLS; c++) {
        const struct cell *all = &whole->cells[c], *seen = &client->cells[c];
        if (seen->is_noticed)
            continue;
        (*same)++;
        assert_int_equal(seen->has_reply, all->has_reply);
        assert_int_equal(seen->has_idle, all->has_idle);
        for (size_t a = 0; a < AREAS; a++) {
            cleanup_free char *expected = render(&all->areas[a]);
            cleanup_free char *found = render(&seen->areas[a]);
            if (strcmp(expected, found) != 0)
                fail_msg("cell %zu, area %zu shows\n%s\ninstead of\n%s", c, a, found, expected);
        }
    }
}

/* --- random streams --- */

static unsigned below(unsigned *seed, unsigned limit) {
    return (unsigned)rand_r(seed) / 7 % limit;
}

static void make_text(unsigned *seed, struct act *act, unsigned style) {
    static const char *const forms[][2] = {{"line ", "\n"},   {"\rstep ", ""}, {"step ", "\r"},
                                           {"\rdone ", "\n"}, {"no end ", ""}, {"\r", ""},
                                           {"\x1b[A\r", ""}};
    unsigned form = style < 4 ? style : below(seed, 7);
    snprintf(act->text, sizeof act->text, "%s%u%s", forms[form][0], below(seed, 9000),
             forms[form][1]);
    unsigned more = below(seed, 30);
    if (form == 0)
        memmove(act->text + more, act->text, strlen(act->text) + 1), memset(act->text, 'x', more);
}

/* Each cell has a habit: prints, a bar of one kind or the other, figures, updates, or
 * everything. */
static struct act make_act(unsigned *seed, unsigned *cell) {
    static const enum message_class any[] = {
        MESSAGE_STREAM, MESSAGE_STREAM, MESSAGE_OUTPUT, MESSAGE_UPDATE, MESSAGE_CLEAR,
        MESSAGE_BUSY,   MESSAGE_STATE,  MESSAGE_INPUT,  MESSAGE_OTHER,  MESSAGE_REQUEST};
    if (below(seed, 60) == 0)
        *cell = below(seed, CELLS);
    struct act act = {.cell = *cell, .class = MESSAGE_STREAM};
    unsigned habit = act.cell % 6;
    unsigned dice = below(seed, 100);
    act.stream = (habit == 0 || habit == 5) && dice % 20 == 0 ? 'e' : 'o';
    act.wait = below(seed, 2) == 0;
    act.display = (int)(act.cell * 4 + below(seed, 3));
    if (dice == 99)
        act.class = below(seed, 2) == 0 ? MESSAGE_REPLY : MESSAGE_IDLE;
    else if (habit == 0 && dice < 5)
        act.class = MESSAGE_OUTPUT;
    else if (habit == 3)
        act.class = dice < 60 ? MESSAGE_UPDATE : dice < 63 ? MESSAGE_OUTPUT : MESSAGE_BUSY;
    else if (habit == 4)
        act.class = dice < 20 ? MESSAGE_CLEAR : dice < 60 ? MESSAGE_OUTPUT : MESSAGE_STREAM;
    else if (habit == 5)
        act.class = any[below(seed, sizeof any / sizeof any[0])];
    make_text(seed, &act, habit < 3 ? habit : 9);
    return act;
}

static struct journal *open_journal(const char *directory, int64_t cap) {
    struct journal *journal = NULL;
    struct error err = {0};
    if (journal_create(directory, cap, &journal, &err) < 0)
        fail_msg("%s", err.text);
    return journal;
}

static void play(unsigned round, unsigned *same) {
    unsigned seed = 7919 * round + 1, cell = 0;
    char directory[] = "/tmp/elara-journal-XXXXXX";
    assert_non_null(mkdtemp(directory));
    int64_t cap = (64 + below(&seed, 6) * below(&seed, 300)) * 1024;
    struct journal *journal = open_journal(directory, cap);
    struct client *whole = memory_alloc(sizeof *whole);
    struct client *clients = memory_alloc(READERS * sizeof *clients);
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct act act = make_act(&seed, &cell);
        append(journal, &act);
        if (act.class != MESSAGE_REQUEST)
            apply(whole, &act);
        if (below(&seed, 200) ==
            0) /* the first one never reads before the end, the last one keeps up */
            read_some(journal, &clients[1 + below(&seed, READERS - 2)], below(&seed, 1000));
        read_some(journal, &clients[READERS - 1], UINT32_MAX);
        if (below(&seed, 1500) == 0) {
            journal_destroy(journal);
            journal = open_journal(directory, cap);
        }
    }
    for (size_t i = 0; i < READERS; i++) {
        assert_false(read_some(journal, &clients[i], UINT32_MAX));
        compare(whole, &clients[i], same);
    }
    journal_destroy(journal);
    file_remove_tree(directory, NULL);
    free(clients);
    free(whole);
}

static void test_clients_show_the_same(void **state) {
    (void)state;
    unsigned same = 0;
    for (unsigned round = 0; round < ROUNDS; round++)
        play(round, &same);
    print_message("%u of %d cells without a notice\n", same, ROUNDS * READERS * CELLS);
    assert_true(same > ROUNDS * READERS * CELLS / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clients_show_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
