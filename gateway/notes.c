#include "gateway/notes.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_AREA "gateway/notes"

/* Directories, by the last digit of the hash. A sweep looks at one of them, since it holds the loop
 * up: with 4096 notes about half a millisecond, once in 32 writes. A write takes a tenth of one: it
 * is not flushed. */
enum { SHARDS = 16, HASH_LENGTH = 16, TEMPORARY_MAX_S = 3600 };
static const char digits[] = "0123456789abcdef", ending[] = ".json";

struct notes {
    char *directory;
    size_t max;            /* of a shard */
    size_t counts[SHARDS]; /* about: other gateways write, too */
};

static size_t shard_of(const char *key) {
    return (size_t)(text_hash(key) % SHARDS);
}

/* A key is any text; the file holds it, so that another one of the same hash is not mistaken for
 * it. */
static char *path_of(const struct notes *notes, const char *key) {
    return memory_printf("%s/%c/%016" PRIx64 "%s", notes->directory, digits[shard_of(key)],
                         text_hash(key), ending);
}

struct found {
    int64_t changed_ns;
    char name[HASH_LENGTH + sizeof ending];
};

static int by_age(const void *a, const void *b) {
    const struct found *first = a, *second = b;
    return (first->changed_ns > second->changed_ns) - (first->changed_ns < second->changed_ns);
}

/* Another gateway may be about to rename it. One that is as old as this was left by one that
 * died. */
static void drop_temporary(int directory, const char *name, const struct stat *status) {
    if (time(NULL) - status->st_mtim.tv_sec > TEMPORARY_MAX_S)
        unlinkat(directory, name, 0);
}

/* True when it is a note. */
static bool look_at(int directory, const char *name, struct found *ret) {
    struct stat status;
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    if (strspn(name, digits) != HASH_LENGTH || strcmp(name + HASH_LENGTH, ending) != 0) {
        drop_temporary(directory, name, &status);
        return false;
    }
    memcpy(ret->name, name, sizeof ret->name);
    ret->changed_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    return true;
}

static size_t list_files(DIR *directory, struct found **ret) {
    size_t count = 0, capacity = 0;
    const struct dirent *item;
    struct found found;
    *ret = NULL;
    while ((item = readdir(directory)) != NULL) {
        if (item->d_name[0] == '.' || !look_at(dirfd(directory), item->d_name, &found))
            continue;
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            *ret = memory_resize(*ret, capacity * sizeof **ret);
        }
        (*ret)[count++] = found;
    }
    return count;
}

static void sweep(struct notes *notes, size_t shard) {
    cleanup_free struct found *files = NULL;
    cleanup_free char *path = memory_printf("%s/%c", notes->directory, digits[shard]);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return;
    size_t count = list_files(directory, &files);
    if (count > notes->max)
        qsort(files, count, sizeof *files, by_age);
    for (size_t i = 0; count - i > notes->max; i++)
        unlinkat(dirfd(directory), files[i].name, 0);
    closedir(directory);
    notes->counts[shard] = count < notes->max ? count : notes->max;
}

int notes_create(const char *directory, size_t max, struct notes **ret, struct error *err) {
    if (file_make_private_directory(directory, err) < 0)
        return -1;
    struct notes *notes = memory_alloc(sizeof *notes);
    notes->directory = memory_strdup(directory);
    notes->max = max / SHARDS;
    for (size_t shard = 0; shard < SHARDS; shard++) {
        cleanup_free char *path = memory_printf("%s/%c", directory, digits[shard]);
        if (file_make_private_directory(path, err) < 0) {
            notes_destroy(notes);
            return -1;
        }
        sweep(notes, shard);
    }
    *ret = notes;
    return 0;
}

void notes_destroy(struct notes *notes) {
    if (notes == NULL)
        return;
    free(notes->directory);
    free(notes);
}

int notes_put(struct notes *notes, const char *key, json_t *note, struct error *err) {
    cleanup_json json_t *whole = json_pack("{s:s, s:o}", "key", key, "note", note);
    cleanup_free char *path = path_of(notes, key);
    if (whole == NULL)
        return error_set(err, ERROR_INVALID, "%s: the note is not UTF-8", path);
    if (file_write_json(path, whole, 0600, err) < 0)
        return -1;
    size_t shard = shard_of(key);
    if (++notes->counts[shard] > notes->max + notes->max / 8)
        sweep(notes, shard);
    return 0;
}

/* A file that cannot be read, or of another key, is as none. */
static json_t *read_note(const char *path, const char *key) {
    cleanup_json json_t *whole = NULL;
    struct error err;
    if (file_read_json(path, NOTE_MAX_BYTES, &whole, &err) < 0) {
        if (err.code != ERROR_NOT_FOUND)
            log_warning("%s", err.text);
        return NULL;
    }
    const char *owner = json_string_value(json_object_get(whole, "key"));
    json_t *note = json_object_get(whole, "note");
    return owner != NULL && strcmp(owner, key) == 0 ? json_incref(note) : NULL;
}

json_t *notes_get(const struct notes *notes, const char *key) {
    cleanup_free char *path = path_of(notes, key);
    return read_note(path, key);
}

json_t *notes_take(struct notes *notes, const char *key) {
    cleanup_free char *path = path_of(notes, key);
    cleanup_free char *taken = memory_printf("%s.%d", path, (int)getpid());
    json_t *note = read_note(path, key);
    if (note == NULL)
        return NULL;
    if (rename(path, taken) < 0) { /* somebody was faster */
        json_decref(note);
        return NULL;
    }
    unlink(taken);
    size_t *count = &notes->counts[shard_of(key)];
    *count -= *count > 0;
    return note;
}
