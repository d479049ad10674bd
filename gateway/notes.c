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
#include <unistd.h>

#define LOG_AREA "gateway/notes"

struct notes {
    char *directory;
    size_t max;
    size_t count; /* about: other gateways write, too */
};

/* A key is any text; the file holds it, so that another one of the same hash is not mistaken for
 * it. */
static char *path_of(const struct notes *notes, const char *key) {
    return memory_printf("%s/%016" PRIx64 ".json", notes->directory, text_hash(key));
}

struct found {
    int64_t changed_ns;
    char name[64];
};

static int by_age(const void *a, const void *b) {
    const struct found *first = a, *second = b;
    return (first->changed_ns > second->changed_ns) - (first->changed_ns < second->changed_ns);
}

static size_t list_files(const struct notes *notes, struct found **ret) {
    DIR *directory = opendir(notes->directory);
    size_t count = 0, capacity = 0;
    const struct dirent *item;
    *ret = NULL;
    while (directory != NULL && (item = readdir(directory)) != NULL) {
        struct found found;
        struct stat status;
        size_t length = strlen(item->d_name);
        if (item->d_name[0] == '.' || length >= sizeof found.name ||
            fstatat(dirfd(directory), item->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        memcpy(found.name, item->d_name, length + 1);
        found.changed_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 256;
            *ret = memory_resize(*ret, capacity * sizeof **ret);
        }
        (*ret)[count++] = found;
    }
    if (directory != NULL)
        closedir(directory);
    return count;
}

static void sweep(struct notes *notes) {
    cleanup_free struct found *files = NULL;
    size_t count = list_files(notes, &files);
    if (count > notes->max)
        qsort(files, count, sizeof *files, by_age);
    for (size_t i = 0; count - i > notes->max; i++) {
        cleanup_free char *path = memory_printf("%s/%s", notes->directory, files[i].name);
        unlink(path);
    }
    notes->count = count < notes->max ? count : notes->max;
}

int notes_create(const char *directory, size_t max, struct notes **ret, struct error *err) {
    if (file_make_private_directory(directory, err) < 0)
        return -1;
    struct notes *notes = memory_alloc(sizeof *notes);
    notes->directory = memory_strdup(directory);
    notes->max = max;
    sweep(notes);
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
    if (++notes->count > notes->max + notes->max / 8)
        sweep(notes);
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
    if (notes->count > 0)
        notes->count--;
    return note;
}
