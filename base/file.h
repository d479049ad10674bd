/* Files and directories, with limits and private modes. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <sys/types.h>

/* Reads a whole file; more than `limit` bytes is ERROR_LIMIT, a missing one ERROR_NOT_FOUND. */
int file_read(const char *path, size_t limit, struct buffer *ret, struct error *err);

/* Replaces a file atomically: a temporary file beside it, then rename. */
int file_write(const char *path, const void *data, size_t length, mode_t mode, struct error *err);

/* To where the descriptor stands; -1 with errno. */
int file_write_all(int fd, const void *data, size_t length);

/* JSON of at most `limit` bytes; the error names line and column. *ret is a new reference. */
int file_read_json(const char *path, size_t limit, json_t **ret, struct error *err);
int file_write_json(const char *path, json_t *json, mode_t mode, struct error *err);

/* Makes a directory and its missing parents, 0700 for the last one. An existing last one must be
 * ours and closed to others (group and world bits clear), else ERROR_DENIED. */
int file_make_private_directory(const char *path, struct error *err);

/* The same, but others may pass through to what is open to them below it, and see nothing else:
 * 0711. */
int file_make_passage_directory(const char *path, struct error *err);

/* Removes a file or a whole directory tree, never following symlinks; a missing one is success. */
int file_remove_tree(const char *path, struct error *err);
