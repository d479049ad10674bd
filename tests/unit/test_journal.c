#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "launcher/journal.h"
#include "launcher/journal_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

struct place {
    char directory[64];
    struct journal *journal;
};

static int setup(void **state) {
    struct place *place = memory_alloc(sizeof *place);
    strcpy(place->directory, "/tmp/elara-journal-XXXXXX");
    if (mkdtemp(place->directory) == NULL)
        return -1;
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

static struct journal *open_journal(struct place *place, int64_t cap) {
    struct error err = {0};
    journal_destroy(place->journal);
    place->journal = NULL;
    if (journal_create(place->directory, cap, &place->journal, &err) < 0)
        fail_msg("%s", err.text);
    return place->journal;
}

static const struct journal_entry iopub = {.channel = CHANNEL_IOPUB};

/* Content that tells its number, of a length that depends on it. */
static size_t make_message(uint64_t number, uint8_t *out, size_t size) {
    size_t length = (size_t)(number * 7919 % size);
    for (size_t i = 0; i < length; i++)
        out[i] = (uint8_t)(number * 31 + i);
    return length;
}

static void append_numbered(struct journal *journal, uint64_t count, size_t size) {
    cleanup_free uint8_t *message = malloc(size);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = journal_last(journal) + 1;
        size_t length = make_message(number, message, size);
        struct journal_entry entry = {
            .channel = (enum kernel_channel)(number % CHANNEL_COUNT),
            .session = (uint32_t)(number / 50 % 3),
            .mark = {(enum message_class)(number % MESSAGE_CLASS_COUNT), (uint32_t)number / 50 + 1},
        };
        uint64_t seq = journal_append(journal, &entry, message, length);
        assert_true(seq == number);
    }
}

static void expect_record(const struct journal_record *record, uint8_t *scratch, size_t size) {
    size_t length = make_message(record->seq, scratch, size);
    assert_int_equal(record->length, length);
    assert_memory_equal(record->data, scratch, length);
    assert_int_equal(record->channel, record->seq % CHANNEL_COUNT);
    assert_int_equal(record->session, record->seq / 50 % 3);
    assert_int_equal(record->mark.class, record->seq % MESSAGE_CLASS_COUNT);
    assert_int_equal(record->mark.cell, (uint32_t)record->seq / 50 + 1);
}

struct tally {
    uint64_t kept;
    uint64_t folded; /* numbers that rows stand for */
    uint64_t told;   /* messages of them */
    uint64_t bytes;  /* of what is kept and what is told */
};

/* All that there is, from the first message on; without a gap when strict. */
static struct tally read_all(const struct journal *journal, size_t size, bool strict) {
    cleanup_free uint8_t *scratch = malloc(size);
    struct journal_record record;
    struct tally tally = {0};
    uint64_t seq = journal_oldest(journal) - 1;
    while (journal_next(journal, seq, &record) > 0) {
        assert_true(strict ? record.first == seq + 1 : record.first > seq);
        assert_true(record.seq >= record.first);
        seq = record.seq;
        if (record.is_folded) {
            uint64_t numbers = record.seq - record.first + 1;
            assert_true(record.folded.messages <= numbers);
            tally.folded += numbers;
            tally.told += record.folded.messages;
            tally.bytes += record.folded.bytes;
            continue;
        }
        assert_true(record.first == record.seq);
        expect_record(&record, scratch, size);
        tally.kept++;
        tally.bytes += record.length;
    }
    return tally;
}

static uint64_t read_numbered(const struct journal *journal, size_t size, bool strict) {
    return read_all(journal, size, strict).kept;
}

static void test_numbers_and_reading(void **state) {
    struct journal *journal = open_journal(*state, 8 << 20);
    struct journal_record record;
    assert_int_equal(journal_last(journal), 0);
    assert_int_equal(journal_oldest(journal), 1);
    assert_int_equal(journal_next(journal, 0, &record), 0);
    append_numbered(journal, 5000, 700);
    assert_int_equal(journal_last(journal), 5000);
    assert_int_equal(journal_oldest(journal), 1);
    assert_int_equal(read_numbered(journal, 700, true), 5000);
    assert_int_equal(journal_next(journal, 5000, &record), 0);
    assert_int_equal(journal_next(journal, UINT64_MAX, &record), 0);
    assert_int_equal(journal_lost_since(journal, 0).messages, 0);
    /* Anywhere, in any order. */
    cleanup_free uint8_t *scratch = malloc(700);
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t seq = i * 2903 % 5000;
        assert_int_equal(journal_next(journal, seq, &record), 1);
        assert_true(record.seq == seq + 1);
        expect_record(&record, scratch, 700);
    }
    /* A reader at the end sees what is appended afterwards, over segments. */
    for (uint64_t seq = 5000; seq < 9000; seq++) {
        assert_int_equal(journal_next(journal, seq, &record), 0);
        append_numbered(journal, 1, 700);
        assert_int_equal(journal_next(journal, seq, &record), 1);
        assert_true(record.seq == seq + 1);
    }
}

/* Bytes of all files, which are private. */
static uint64_t bytes_on_disk(const char *path) {
    uint64_t total = 0;
    DIR *directory = opendir(path);
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        struct stat status;
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(fstatat(dirfd(directory), entry->d_name, &status, 0), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        total += (uint64_t)status.st_size;
    }
    closedir(directory);
    return total;
}

static void test_the_cap_folds_the_oldest(void **state) {
    enum { CAP = 256 << 10 };
    struct place *place = *state;
    struct journal *journal = open_journal(place, CAP);
    append_numbered(journal, 20000, 500);
    assert_true(bytes_on_disk(place->directory) <= CAP);
    struct tally tally = read_all(journal, 500, false);
    uint64_t oldest = journal_oldest(journal);
    assert_true(tally.kept + tally.folded == 20000 - oldest + 1);
    assert_true(tally.kept > 500 && tally.folded > 0);
    /* What lies before the oldest is gone completely, and counted. */
    struct journal_lost lost = journal_lost_since(journal, 0);
    assert_true(lost.messages == oldest - 1);
    assert_int_equal(journal_lost_since(journal, oldest - 1).messages, 0);
    /* The same after a restart. */
    journal = open_journal(place, CAP);
    struct tally again = read_all(journal, 500, false);
    assert_memory_equal(&again, &tally, sizeof tally);
    assert_true(journal_oldest(journal) == oldest);
}

static void expect_folded(const struct journal *journal, uint64_t seq, uint64_t bytes) {
    struct journal_record record;
    assert_int_equal(journal_next(journal, seq - 1, &record), 1);
    assert_true(record.is_folded && record.first == seq && record.seq == seq);
    assert_int_equal(record.folded.messages, 1);
    assert_int_equal(record.folded.bytes, bytes);
    assert_int_equal(journal_lost_since(journal, seq - 1).messages, 0);
}

static void test_a_message_larger_than_the_cap_is_folded(void **state) {
    enum { CAP = 64 << 10, SIZE = 100 };
    struct journal *journal = open_journal(*state, CAP);
    cleanup_free uint8_t *large = memory_alloc(CAP + 1);
    append_numbered(journal, 10, SIZE);
    assert_int_equal(journal_append(journal, &iopub, large, CAP), 11);
    append_numbered(journal, 10, SIZE);
    expect_folded(journal, 11, CAP);
    assert_int_equal(read_numbered(journal, SIZE, true), 20);
    assert_int_equal(journal_append(journal, &iopub, large, CAP + 1), 22);
    journal = open_journal(*state, CAP);
    assert_int_equal(journal_last(journal), 22);
    expect_folded(journal, 22, CAP + 1);
    /* A large one that fits takes the place of the others. */
    struct journal_record record;
    assert_int_equal(journal_append(journal, &iopub, large, CAP - 8192), 23);
    assert_int_equal(journal_next(journal, 22, &record), 1);
    assert_int_equal(record.length, CAP - 8192);
    assert_int_equal(journal_append(journal, &iopub, large, CAP - 4096), 24);
    assert_int_equal(journal_oldest(journal), 24); /* what was folded before had to go, too */
    assert_int_equal(journal_next(journal, 0, &record), 1);
    assert_int_equal(record.length, CAP - 4096);
    assert_int_equal(journal_lost_since(journal, 0).messages, 23);
}

static void test_numbering_goes_on_after_a_restart(void **state) {
    struct journal *journal = open_journal(*state, 4 << 20);
    append_numbered(journal, 3000, 300);
    for (int round = 1; round <= 3; round++) {
        journal = open_journal(*state, 4 << 20);
        assert_int_equal(journal_last(journal), 3000 + 10 * (round - 1));
        assert_int_equal(journal_oldest(journal), 1);
        assert_int_equal(journal_max_session(journal), 2);
        append_numbered(journal, 10, 300);
        assert_int_equal(read_numbered(journal, 300, true), 3000 + 10 * round);
    }
    journal = open_journal(*state, 128 << 10); /* a smaller cap takes effect at once */
    assert_int_equal(journal_last(journal), 3030);
    struct tally tally = read_all(journal, 300, true);

    assert_true(tally.kept > 10 && tally.kept < 3030);
    assert_true(tally.kept + tally.folded == 3030 - journal_oldest(journal) + 1);
}

static void test_held_bytes_outlive_the_cap(void **state) {
    enum { CAP = 128 << 10 };
    struct journal *journal = open_journal(*state, CAP);
    append_numbered(journal, 5, 600);
    struct journal_record record;
    assert_int_equal(journal_next(journal, 3, &record), 1);
    void *hold = journal_hold(journal, &record);
    append_numbered(journal, 10000, 600);
    struct journal_record again;
    assert_int_equal(journal_next(journal, 3, &again), 1);
    assert_true(again.is_folded || again.first > 4);
    uint8_t scratch[600];
    expect_record(&record, scratch, sizeof scratch);
    struct place *place = *state;
    journal_destroy(place->journal);
    place->journal = NULL;
    expect_record(&record, scratch, sizeof scratch);
    journal_hold_release(NULL, hold);
}

static void test_rest_changes_nothing(void **state) {
    struct journal *journal = open_journal(*state, 1 << 20);
    for (int i = 0; i < 30; i++) {
        append_numbered(journal, 100, 900);
        journal_rest(journal);
    }
    struct tally tally = read_all(journal, 900, true);
    assert_int_equal(tally.kept + tally.folded,
                     journal_last(journal) - journal_oldest(journal) + 1);
}

/* No file may grow any more: what a full disk does to posix_fallocate. */
static void test_a_full_disk_turns_into_memory_and_back(void **state) {
    struct journal *journal = open_journal(*state, 1 << 20);
    append_numbered(journal, 50, 300);
    assert_int_equal(journal_disk_errno(journal), 0);
    struct rlimit old, none = {.rlim_cur = 0};
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    none.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &none);
    append_numbered(journal, 2000, 300);
    journal_rest(journal); /* still none */
    setrlimit(RLIMIT_FSIZE, &old);
    assert_true(journal_disk_errno(journal) == EFBIG);
    assert_int_equal(read_numbered(journal, 300, true), 2050);
    journal_rest(journal);
    assert_int_equal(journal_disk_errno(journal), 0);
    assert_int_equal(read_numbered(journal, 300, true), 2050);
    append_numbered(journal, 10, 300);
    journal = open_journal(*state, 1 << 20);
    assert_int_equal(read_numbered(journal, 300, true), 2060);
    /* At the cap, folding goes on in memory, and what was only there is gone with the process; its
     * numbers are not used again. */
    setrlimit(RLIMIT_FSIZE, &none);
    append_numbered(journal, 40000, 300);
    setrlimit(RLIMIT_FSIZE, &old);
    struct tally tally = read_all(journal, 300, true);
    assert_int_equal(tally.kept + tally.folded, 42060 - journal_oldest(journal) + 1);
    append_numbered(journal, 4000, 300);
    journal = open_journal(*state, 1 << 20);
    assert_int_equal(journal_last(journal), 46060);
    (void)read_all(journal, 300, false);
}

/* --- what a crash or a bad disk leaves --- */

static void list_segments(const char *directory, char names[][300], size_t *count) {
    struct dirent **entries;
    int found = scandir(directory, &entries, NULL, alphasort);
    *count = 0;
    for (int i = 0; i < found; i++) {
        if (entries[i]->d_name[0] != '.')
            snprintf(names[(*count)++], 300, "%s/%s", directory, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

enum { DAMAGE_SIZE = 40, DAMAGE_COUNT = 40 };

/* Restores the file, damages it at `offset`, opens the journal, and checks that what it holds is
 * true. Returns the valid prefix. */
static uint64_t try_damage(struct place *place, const char *path, const struct buffer *whole,
                           size_t offset, bool cut) {
    file_remove_tree(place->directory, NULL);
    assert_int_equal(mkdir(place->directory, 0700), 0);
    assert_int_equal(file_write(path, whole->data, cut ? offset : whole->length, 0600, NULL), 0);
    if (!cut) {
        int fd = open(path, O_RDWR);
        uint8_t byte = (uint8_t)(whole->data[offset] ^ 0x10);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
        close(fd);
    }
    struct journal *journal = open_journal(place, 1 << 20);
    uint64_t kept = read_numbered(journal, DAMAGE_SIZE, true);
    assert_true(kept == journal_last(journal));
    append_numbered(journal, 3,
                    DAMAGE_SIZE); /* numbers go on, and what lies behind does not come back */
    assert_int_equal(read_numbered(journal, DAMAGE_SIZE, true), kept + 3);
    journal = open_journal(place, 1 << 20);
    assert_int_equal(read_numbered(journal, DAMAGE_SIZE, true), kept + 3);
    return kept;
}

static void test_damage_at_any_byte_keeps_the_prefix(void **state) {
    struct place *place = *state;
    append_numbered(open_journal(place, 1 << 20), DAMAGE_COUNT, DAMAGE_SIZE);
    journal_destroy(place->journal);
    place->journal = NULL;
    char names[4][300];
    size_t count;
    list_segments(place->directory, names, &count);
    assert_int_equal(count, 1);
    struct buffer whole = {0};
    assert_int_equal(file_read(names[0], 1 << 20, &whole, NULL), 0);
    /* Where each record's bytes and its padding end, as the format says. */
    uint8_t scratch[DAMAGE_SIZE];
    size_t bytes_end[DAMAGE_COUNT + 1], ends[DAMAGE_COUNT + 1] = {64};
    for (size_t i = 1; i <= DAMAGE_COUNT; i++) {
        bytes_end[i] =
            ends[i - 1] + SEGMENT_RECORD_HEADER_SIZE + make_message(i, scratch, sizeof scratch);
        ends[i] = (bytes_end[i] + 7) / 8 * 8;
    }
    for (size_t offset = 0; offset < ends[DAMAGE_COUNT] + 16; offset++) {
        size_t before = 0; /* records that end before the damage */
        while (before < DAMAGE_COUNT && ends[before + 1] <= offset)
            before++;
        if (offset < 64)
            before = 0;
        assert_int_equal(try_damage(place, names[0], &whole, offset, true), before);
        if (offset >= 8 && offset < 12)
            continue; /* another version */
        bool harmless = offset >= 64 && (before == DAMAGE_COUNT || offset >= bytes_end[before + 1]);
        assert_int_equal(try_damage(place, names[0], &whole, offset, false),
                         harmless ? DAMAGE_COUNT : before);
    }
    buffer_free(&whole);
}

static void test_a_damaged_segment_does_not_hide_later_ones(void **state) {
    struct place *place = *state;
    append_numbered(open_journal(place, 8 << 20), 2000, 1000);
    journal_destroy(place->journal);
    place->journal = NULL;
    char names[16][300];
    size_t count;
    list_segments(place->directory, names, &count);
    assert_true(count >= 3);
    int fd = open(names[1], O_RDWR);
    assert_int_equal(pwrite(fd, "rotten", 6, 40000), 6);
    close(fd);
    struct journal *journal = open_journal(place, 8 << 20);
    assert_int_equal(journal_last(journal), 2000);
    uint64_t kept = read_numbered(journal, 1000, false);
    assert_true(kept > 1000 && kept < 2000);
    /* The gap is counted like what the cap takes. */
    struct journal_record record;
    uint64_t seq = 0, lost = 0;
    while (journal_next(journal, seq, &record) > 0) {
        lost += journal_lost_since(journal, seq).messages;
        seq = record.seq;
    }
    assert_true(kept + lost == 2000);
}

static void close_journal(struct place *place) {
    journal_destroy(place->journal);
    place->journal = NULL;
}

static void set_version(const char *path, uint32_t version) {
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, &version, sizeof version, 8), sizeof version);
    close(fd);
}

static uint64_t first_number(const char *path) {
    return strtoull(strrchr(path, '/') + 1, NULL, 10);
}

/* What all readers of the journal are told is gone. */
static uint64_t count_lost(const struct journal *journal) {
    struct journal_record record;
    uint64_t seq = 0, lost = 0;
    for (; journal_next(journal, seq, &record) > 0; seq = record.seq)
        lost += journal_lost_since(journal, seq).messages;
    return lost;
}

/* Kernels outlive upgrades: a launcher of another version may have written before. */
static void test_segments_of_another_version_are_set_aside(void **state) {
    struct place *place = *state;
    append_numbered(open_journal(place, 8 << 20), 2000, 1000);
    close_journal(place);
    char names[16][300];
    size_t count, left;
    list_segments(place->directory, names, &count);
    assert_true(count >= 4);
    uint64_t inside = first_number(names[2]) - first_number(names[1]);
    cleanup_buffer struct buffer whole = {0}, kept = {0};
    set_version(names[1], 4);
    assert_int_equal(file_read(names[1], 8 << 20, &whole, NULL), 0);

    struct journal *journal = open_journal(place, 8 << 20);
    assert_int_equal(journal_last(journal), 2000);
    assert_int_equal(read_numbered(journal, 1000, false), 2000 - inside);
    assert_int_equal(count_lost(journal), inside);
    cleanup_free char *path = memory_printf("%s.unreadable", names[1]);
    assert_int_equal(file_read(path, 8 << 20, &kept, NULL), 0);
    assert_int_equal(kept.length, whole.length);
    assert_memory_equal(kept.data, whole.data, whole.length);

    /* All the rest: how many numbers the last one has used is not known, and none comes twice. */
    close_journal(place);
    for (size_t i = 0; i < count; i++)
        if (i != 1)
            set_version(names[i], 2);
    journal = open_journal(place, 8 << 20);
    uint64_t last = journal_last(journal);
    assert_true(last >= 2000 && last < 1 << 20);
    assert_int_equal(journal_lost_since(journal, 0).messages, last);
    append_numbered(journal, 10, 1000);
    journal = open_journal(place, 8 << 20);
    assert_int_equal(read_numbered(journal, 1000, true), 10);
    assert_int_equal(journal_last(journal), last + 10);
    char others[16][300];
    list_segments(place->directory, others, &left);
    assert_int_equal(left, count + 1);
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *aside = memory_printf("%s.unreadable", names[i]);
        assert_int_equal(access(aside, F_OK), 0);
    }
}

static void expect_refused(struct place *place, const char *text) {
    struct error err = {0};
    assert_int_equal(journal_create(place->directory, 8 << 20, &place->journal, &err), -1);
    assert_non_null(strstr(err.text, text));
    assert_null(place->journal);
}

/* It may be possible another time: the journal must not go on without it. */
static void test_a_segment_that_cannot_be_opened_now(void **state) {
    struct place *place = *state;
    append_numbered(open_journal(place, 8 << 20), 2000, 1000);
    close_journal(place);
    char names[16][300];
    size_t count;
    list_segments(place->directory, names, &count);
    assert_true(count >= 3);
    cleanup_free char *away = memory_printf("%s.away", names[1]);
    assert_int_equal(rename(names[1], away), 0);
    assert_int_equal(symlink(away, names[1]), 0); /* never followed: ELOOP */
    expect_refused(place, strrchr(names[1], '/'));
    expect_refused(place, strerror(ELOOP));
    assert_int_equal(rename(away, names[1]), 0);
    assert_int_equal(read_numbered(open_journal(place, 8 << 20), 1000, true), 2000);
    close_journal(place);

    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    close(next);
    few = (struct rlimit){(rlim_t)next, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    expect_refused(place, strerror(EMFILE));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(read_numbered(open_journal(place, 8 << 20), 1000, true), 2000);
}

static void test_a_directory_in_a_segments_place(void **state) {
    struct place *place = *state;
    cleanup_free char *path = memory_printf("%s/%020d.segment", place->directory, 7);
    cleanup_free char *inside = memory_printf("%s/file", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(file_write(inside, "x", 1, 0600, NULL), 0);
    uint64_t last = journal_last(open_journal(place, 1 << 20));
    assert_true(last >= 6);
    append_numbered(place->journal, 10, 100);
    assert_int_equal(read_numbered(open_journal(place, 1 << 20), 100, true), 10);
    cleanup_free char *aside = memory_printf("%s.unreadable/file", path);
    assert_int_equal(access(aside, F_OK), 0);
}

static void test_foreign_files(void **state) {
    struct place *place = *state;
    static const char *const names[] = {"00000000000000000001.segment", "x.segment", "README",
                                        "99999999999999999999.segment"};
    for (size_t i = 0; i < 4; i++) {
        cleanup_free char *path = memory_printf("%s/%s", place->directory, names[i]);
        assert_int_equal(file_write(path,
                                    "something that is no segment, longer than a header is: "
                                    "more than sixty-four bytes",
                                    80, 0600, NULL),
                         0);
    }
    struct journal *journal = open_journal(place, 1 << 20);
    assert_int_equal(journal_last(journal), 0);
    append_numbered(journal, 10, 100);
    assert_int_equal(read_numbered(journal, 100, true), 10);
    cleanup_free char *path = memory_printf("%s/README", place->directory);
    assert_int_equal(access(path, F_OK), 0); /* not ours */
}

static void test_a_directory_that_cannot_be(void **state) {
    (void)state;
    struct error err = {0};
    struct journal *journal = NULL;
    assert_int_equal(journal_create("/proc/nowhere/journal", 1 << 20, &journal, &err), -1);
    assert_non_null(strstr(err.text, "journal"));
    assert_null(journal);
    journal_destroy(NULL);
}

#define test_in_directory(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test_in_directory(test_numbers_and_reading),
        test_in_directory(test_the_cap_folds_the_oldest),
        test_in_directory(test_a_message_larger_than_the_cap_is_folded),
        test_in_directory(test_numbering_goes_on_after_a_restart),
        test_in_directory(test_held_bytes_outlive_the_cap),
        test_in_directory(test_rest_changes_nothing),
        test_in_directory(test_a_full_disk_turns_into_memory_and_back),
        test_in_directory(test_damage_at_any_byte_keeps_the_prefix),
        test_in_directory(test_a_damaged_segment_does_not_hide_later_ones),
        test_in_directory(test_segments_of_another_version_are_set_aside),
        test_in_directory(test_a_segment_that_cannot_be_opened_now),
        test_in_directory(test_a_directory_in_a_segments_place),
        test_in_directory(test_foreign_files),
        cmocka_unit_test(test_a_directory_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
