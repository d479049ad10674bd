#include "base/file.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int file_read(const char *path, size_t limit, struct buffer *ret, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, "%s: no such file", path);
    if (fd < 0)
        return error_system(err, errno, "%s", path);
    for (;;) {
        if (buffer_reserve(ret, 65536) < 0 && buffer_reserve(ret, 1) < 0)
            return error_set(err, ERROR_LIMIT, "%s: larger than %zu bytes", path, limit);
        ssize_t got = read(fd, ret->data + ret->length, ret->capacity - ret->length - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_system(err, errno, "%s", path);
        if (got == 0)
            return 0;
        ret->length += (size_t)got;
        if (ret->length > limit)
            return error_set(err, ERROR_LIMIT, "%s: larger than %zu bytes", path, limit);
    }
}

int file_write_all(int fd, const void *data, size_t length) {
    const char *rest = data;
    while (length > 0) {
        ssize_t put = write(fd, rest, length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        rest += put;
        length -= (size_t)put;
    }
    return 0;
}

int file_write(const char *path, const void *data, size_t length, mode_t mode, struct error *err) {
    cleanup_free char *temporary = memory_printf("%s.XXXXXX", path);
    cleanup_close int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return error_system(err, errno, "%s", temporary);
    if (fchmod(fd, mode) < 0 || file_write_all(fd, data, length) < 0 ||
        rename(temporary, path) < 0) {
        error_system(err, errno, "%s", path);
        unlink(temporary);
        return -1;
    }
    return 0;
}

int file_read_json(const char *path, size_t limit, json_t **ret, struct error *err) {
    cleanup_buffer struct buffer text = {.limit = limit + 1};
    if (file_read(path, limit, &text, err) < 0)
        return -1;
    json_error_t where;
    json_t *json = json_loadb(buffer_text(&text), text.length, JSON_REJECT_DUPLICATES, &where);
    if (json == NULL)
        return error_set(err, ERROR_INVALID, "%s:%d:%d: %s", path, where.line, where.column,
                         where.text);
    *ret = json;
    return 0;
}

int file_write_json(const char *path, json_t *json, mode_t mode, struct error *err) {
    enum { FLAGS = JSON_INDENT(2) | JSON_ENCODE_ANY };
    size_t length = json_dumpb(json, NULL, 0, FLAGS);
    if (length == 0)
        return error_set(err, ERROR_SYSTEM, "%s: the value cannot be written as JSON", path);
    char *text = memory_alloc(length);
    json_dumpb(json, text, length, FLAGS);
    int failed = file_write(path, text, length, mode, err);
    explicit_bzero(text, length); /* it may hold a key */
    free(text);
    return failed;
}

/* closed: the bits of others that must not be there. */
static int check_directory(const char *path, mode_t closed, struct error *err) {
    struct stat found;
    if (lstat(path, &found) < 0)
        return error_system(err, errno, "%s", path);
    if (!S_ISDIR(found.st_mode))
        return error_set(err, ERROR_DENIED, "%s: not a directory", path);
    if (found.st_uid != geteuid() || (found.st_mode & closed) != 0)
        return error_set(err, ERROR_DENIED,
                         "%s: must belong to uid %u and be closed to others (chmod 700)", path,
                         (unsigned)geteuid());
    return 0;
}

static int make_directory(const char *path, struct error *err) {
    cleanup_free char *partial = memory_strdup(path);
    for (char *slash = strchr(partial + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, 0755) < 0 && errno != EEXIST)
            return error_system(err, errno, "%s", partial);
        *slash = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_system(err, errno, "%s", path);
    return 0;
}

int file_make_private_directory(const char *path, struct error *err) {
    return make_directory(path, err) < 0 ? -1 : check_directory(path, 077, err);
}

int file_make_passage_directory(const char *path, struct error *err) {
    if (make_directory(path, err) < 0 || check_directory(path, 066, err) < 0)
        return -1;
    return chmod(path, 0711) < 0 ? error_system(err, errno, "%s", path) : 0;
}

static int remove_one(const char *path, const struct stat *found, int type, struct FTW *place) {
    (void)found, (void)type, (void)place;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int file_remove_tree(const char *path, struct error *err) {
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        return error_system(err, errno, "%s", path);
    return 0;
}
