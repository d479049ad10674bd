/* A journal whose file was damaged: bytes of the input say how long its records are and what happens to the file. Whatever it is, the journal opens, what it
 * holds is true and in order, and numbering goes on without using a kept number again.
 *
 *   u8 records, u8 length of each / 8, then until the end: u16 offset, u8 mask to xor (0: the file is cut there) */
#include "base/file.h"
#include "launcher/journal.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CAP = 16 << 10, RECORDS_MAX = 24, LENGTH_MAX = 8 * 255 };

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

/* The content tells its number. */
static void append(struct journal *journal, size_t length) {
    uint8_t bytes[LENGTH_MAX];
    memset(bytes, (int)(journal_last(journal) + 1) & 0xFF, length);
    journal_append(journal, &(struct journal_entry){.channel = CHANNEL_IOPUB, .session = 1}, bytes,
                   length);
}

static uint64_t check_all(const struct journal *journal) {
    struct journal_record record;
    uint64_t seq = 0, kept = 0, lost = 0;
    while (journal_next(journal, seq, &record) > 0) {
        assert(record.seq > seq && record.seq <= journal_last(journal));
        assert(record.length <= LENGTH_MAX && record.channel < CHANNEL_COUNT);
        for (size_t i = 0; i < record.length; i++)
            assert(record.data[i] == (uint8_t)record.seq);
        lost += journal_lost_since(journal, seq).messages;
        seq = record.seq;
        kept++;
    }
    lost += journal_lost_since(journal, seq).messages;
    assert(kept + lost == journal_last(journal));
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
    if (size < 2)
        return 0;
    make_directory();
    size_t length = 8 * (size_t)data[1];
    struct journal *journal = open_journal();
    for (int i = 0; i < data[0] % RECORDS_MAX + 1; i++)
        append(journal, length);
    uint64_t before = check_all(journal);
    journal_destroy(journal);
    damage(data + 2, size - 2);

    journal = open_journal();
    uint64_t kept = check_all(journal);
    assert(kept <= before);
    for (int i = 0; i < 3; i++) {
        append(journal, length);
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
