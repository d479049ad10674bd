/* A journal whose file was damaged: bytes of the input say how long its records are and what
 * happens to the file. Whatever it is, the journal opens, what it holds is true and in order, and
 * numbering goes on without using a kept number again.
 *
 * There are more messages than the cap keeps, of the classes and cells that the input says, so that
 * folded segments are among what is damaged.
 *
 *   u8 messages / 4, u8 length of each / 8, u8 seed of classes and cells, then until the end:
 *   u16 offset, u8 mask to xor (0: the file is cut
 *   there) */
#include "base/file.h"
#include "launcher/journal.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CAP = 64 << 10, LENGTH_MAX = 8 * 255 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One directory for the whole run, removed at its end: exit handlers know no context. */
static char directory[64];

static void remove_directory(void) {
    file_remove_tree(directory, NULL);
}

static void make_directory(void) {
    if (directory[0] != '\0')
        return;
    strcpy(directory,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/elara-fuzz-XXXXXX" : "/tmp/elara-fuzz-XXXXXX");
    if (mkdtemp(directory) == NULL)
        abort();
    atexit(remove_directory);
}

static void remove_files(void) {
    DIR *dir = opendir(directory);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

static struct journal *open_journal(void) {
    struct journal *journal = NULL;
    struct error err = {0};
    if (journal_create(directory, CAP, &journal, &err) < 0)
        abort();
    return journal;
}

/* The content tells its number; class and cell follow from the seed. */
static void append(struct journal *journal, size_t length, uint8_t seed) {
    uint8_t bytes[LENGTH_MAX];
    uint64_t number = journal_last(journal) + 1;
    memset(bytes, (int)number & 0xFF, length);
    unsigned mixed = (unsigned)(number * (2 * seed + 1) >> 2);
    struct journal_entry entry = {.channel = CHANNEL_IOPUB, .session = 1};
    entry.mark = (struct message_mark){.class = (enum message_class)(mixed % MESSAGE_CLASS_COUNT),
                                       .cell = (uint32_t)number / 32 % 4,
                                       .display = mixed % 3};
    journal_append(journal, &entry, bytes, length);
}

/* Every number is kept, folded, or lost. Returns how many are kept. */
static uint64_t check_all(const struct journal *journal) {
    struct journal_record record;
    uint64_t seq = 0, kept = 0, others = 0;
    for (; journal_next(journal, seq, &record) > 0; seq = record.seq) {
        assert(record.first > seq && record.seq >= record.first);
        assert(record.seq <= journal_last(journal) && record.channel < CHANNEL_COUNT);
        others += journal_lost_since(journal, seq).messages;
        if (record.is_folded) {
            uint64_t numbers = record.seq - record.first + 1;
            assert(record.folded.messages <= numbers);
            others += numbers;
            continue;
        }
        assert(record.first == record.seq && record.length <= LENGTH_MAX);
        for (size_t i = 0; i < record.length; i++)
            assert(record.data[i] == (uint8_t)record.seq);
        kept++;
    }
    others += journal_lost_since(journal, seq).messages;
    assert(kept + others == journal_last(journal));
    return kept;
}

static void damage(const uint8_t *data, size_t size) {
    struct dirent **names;
    int count = scandir(directory, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", directory, names[i]->d_name);
        int fd = names[i]->d_name[0] == '.' ? -1 : open(path, O_RDWR);
        for (; fd >= 0 && size >= 3; data += 3, size -= 3) {
            off_t offset = data[0] | data[1] << 8;
            uint8_t byte;
            if (data[2] == 0) {
                if (ftruncate(fd, offset) < 0)
                    abort();
                data += 3, size -= 3; /* what follows is for the next file */
                break;
            }
            if (pread(fd, &byte, 1, offset) == 1) {
                byte ^= data[2];
                if (pwrite(fd, &byte, 1, offset) != 1)
                    abort();
            }
        }
        if (fd >= 0)
            close(fd);
        free(names[i]);
    }
    free(names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return 0;
    make_directory();
    size_t length = 8 * (size_t)data[1];
    struct journal *journal = open_journal();
    for (int i = 0; i < 4 * data[0] + 1; i++)
        append(journal, length, data[2]);
    uint64_t before = check_all(journal);
    journal_destroy(journal);
    damage(data + 3, size - 3);

    journal = open_journal();
    assert(check_all(journal) <= before);
    for (int i = 0; i < 200; i++) { /* folding goes on with what was damaged */
        append(journal, length, data[2]);
        struct journal_record record;
        assert(journal_next(journal, journal_last(journal) - 1, &record) > 0);
    }
    check_all(journal);
    journal_destroy(journal);
    journal = open_journal();
    check_all(journal);
    journal_destroy(journal);
    remove_files();
    return 0;
}
