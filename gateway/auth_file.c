/* The token file: a name, a role and the hash of a token a line.
 *
 *     # comment
 *     anna:user:blake2b:<64 hex digits>
 *     ops:admin:sha256:<64 hex digits>
 *     wall:viewer:sha256:<64 hex digits>
 *     prometheus:metrics:sha256:<64 hex digits>
 *
 * The hash is BLAKE2b with 32 bytes (`printf %s TOKEN | b2sum -l 256`) or SHA-256 of the token.
 * Unsalted and fast on purpose: tokens are made by machines, not remembered by people
 * (docs/security.md says how to make one). */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/auth_method.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_AREA "gateway/auth_file"

enum { FILE_MAX = 4 << 20, ENTRIES_MAX = 20000 };

struct entry {
    const struct auth_identity *identity;
    bool is_sha256;
    uint8_t hash[AUTH_HASH_SIZE];
};

struct entries {
    struct entry *list;
    size_t count, capacity;
};

struct token_file {
    struct auth_method method;
    struct auth *auth;
    char *path;
    struct entries entries;
};

static enum auth_found token_file_find(struct auth_method *self,
                                       const struct auth_evidence *evidence,
                                       const struct auth_presented *presented,
                                       struct auth_waiter *waiter, const struct auth_identity **ret,
                                       struct error *err) {
    (void)evidence, (void)waiter, (void)err;
    const struct token_file *file = (const struct token_file *)self;
    const struct auth_identity *found = NULL;
    for (size_t i = 0; i < file->entries.count; i++) { /* to the end, for the same time */
        const struct entry *entry = &file->entries.list[i];
        const uint8_t *hash = entry->is_sha256 ? presented->sha256 : presented->blake2b;
        if (sodium_memcmp(entry->hash, hash, AUTH_HASH_SIZE) == 0)
            found = entry->identity;
    }
    *ret = found;
    return found != NULL ? AUTH_FOUND : AUTH_UNKNOWN;
}

static int check_mode(int fd, const char *path, struct error *err) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_system(err, errno, "token file %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(err, ERROR_INVALID, "token file %s: is not a regular file", path);
    if ((status.st_mode & 022) != 0)
        return error_set(
            err, ERROR_DENIED,
            "token file %s: others may write it (mode %04o), so anybody could let himself in; "
            "chmod 600 it",
            path, (unsigned)(status.st_mode & 07777));
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return error_set(err, ERROR_DENIED, "token file %s: belongs to user %u, not to us or root",
                         path, (unsigned)status.st_uid);
    if ((status.st_mode & 04) != 0)
        log_warning("token file %s can be read by everybody (mode %04o): chmod 600 it", path,
                    (unsigned)(status.st_mode & 07777));
    return 0;
}

/* Like file_read, but looks at the very file it reads, and does not hang on a pipe. */
static int read_file(const char *path, struct buffer *text, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_system(err, errno, "token file %s", path);
    if (check_mode(fd, path, err) < 0)
        return -1;
    for (;;) {
        char chunk[16384];
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_system(err, errno, "token file %s", path);
        if (got == 0)
            return 0;
        if (buffer_append(text, chunk, (size_t)got) < 0)
            return error_set(err, ERROR_LIMIT, "token file %s: is larger than %d bytes", path,
                             FILE_MAX);
    }
}

static int parse_name(char *name, struct error *err) {
    size_t length = strlen(name);
    if (length == 0 || length > AUTH_NAME_MAX)
        return error_set(err, ERROR_INVALID, "the name must have 1 to %d characters",
                         AUTH_NAME_MAX);
    for (size_t i = 0; i < length; i++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@+-",
                   name[i]) == NULL)
            return error_set(err, ERROR_INVALID,
                             "the name may have letters, digits and . _ @ + - only");
    if (strcmp(name, AUTH_DEFAULT_NAME) == 0)
        return error_set(err, ERROR_INVALID,
                         "the name '" AUTH_DEFAULT_NAME "' is taken: it is who has no named token");
    return 0;
}

static int parse_role(const char *role, enum auth_role *ret, struct error *err) {
    if (!auth_role_parse(role, ret))
        return error_set(err, ERROR_INVALID,
                         "the role must be 'user', 'admin', 'viewer' or 'metrics'");
    return 0;
}

/* The text is not repeated in the error: somebody may have put the token itself there. */
static int parse_hash(const char *text, struct entry *entry, struct error *err) {
    const char *digits = text;
    if (text_starts_with(text, "blake2b:"))
        digits += strlen("blake2b:");
    else if (text_starts_with(text, "sha256:")) {
        digits += strlen("sha256:");
        entry->is_sha256 = true;
    } else
        return error_set(err, ERROR_INVALID,
                         "the token must be hashed: 'blake2b:' or 'sha256:' and 64 hex digits");
    size_t length = 0;
    const char *end = NULL;
    if (sodium_hex2bin(entry->hash, sizeof entry->hash, digits, strlen(digits), NULL, &length,
                       &end) != 0 ||
        length != AUTH_HASH_SIZE || *end != '\0')
        return error_set(err, ERROR_INVALID, "the hash must be exactly 64 hex digits");
    return 0;
}

/* Two roles for one name, or two names for one token, are a mistake that must not be decided by the
 * order of the lines. */
static int check_against(const struct map *seen, const struct entry *entry, const char *hash,
                         struct error *err) {
    const struct auth_identity *same_name = map_get(seen, entry->identity->name);
    if (same_name != NULL && same_name->role != entry->identity->role)
        return error_set(err, ERROR_INVALID, "'%s' has another role further up",
                         entry->identity->name);
    if (map_get(seen, hash) != NULL)
        return error_set(err, ERROR_INVALID, "the same token stands further up");
    return 0;
}

static int parse_line(struct auth *auth, char *line, struct entries *entries, struct map *seen,
                      struct error *err) {
    char *hash = line;
    char *name = strsep(&hash, ":");
    char *role = strsep(&hash, ":");
    if (hash == NULL)
        return error_set(err, ERROR_INVALID, "must be name:role:blake2b:HASH");
    struct entry entry = {0};
    enum auth_role parsed_role = AUTH_USER;
    if (parse_name(name, err) < 0 || parse_role(role, &parsed_role, err) < 0 ||
        parse_hash(hash, &entry, err) < 0)
        return -1;
    entry.identity = auth_identity_get(auth, name, parsed_role, true);
    text_lower(hash); /* "sha256:..." has a colon, which no name has: one map serves both */
    if (check_against(seen, &entry, hash, err) < 0)
        return -1;
    if (entries->count == ENTRIES_MAX)
        return error_set(err, ERROR_LIMIT, "more than %d tokens", ENTRIES_MAX);
    if (entries->count == entries->capacity) {
        entries->capacity = entries->capacity == 0 ? 16 : entries->capacity * 2;
        entries->list = memory_resize(entries->list, entries->capacity * sizeof *entries->list);
    }
    entries->list[entries->count++] = entry;
    void *identity = (void *)(uintptr_t)entry.identity; /* comes back as const only */
    map_put(seen, entry.identity->name, identity);
    map_put(seen, hash, identity);
    return 0;
}

static int parse(const struct token_file *file, char *text, struct entries *ret,
                 struct error *err) {
    struct map *seen = map_create();
    char *line;
    int failed = 0;
    for (unsigned number = 1; failed == 0 && (line = strsep(&text, "\n")) != NULL; number++) {
        line += strspn(line, " \t");
        size_t length = strlen(line);
        while (length > 0 && strchr(" \t\r", line[length - 1]) != NULL)
            line[--length] = '\0';
        if (length == 0 || line[0] == '#')
            continue;
        failed = parse_line(file->auth, line, ret, seen, err);
        if (failed < 0)
            error_wrap(err, "token file %s:%u", file->path, number);
    }
    map_destroy(seen);
    return failed;
}

static int load(const struct token_file *file, struct entries *ret, struct error *err) {
    cleanup_buffer struct buffer text = {.limit = FILE_MAX};
    if (read_file(file->path, &text, err) < 0)
        return -1;
    const char *whole = buffer_text(&text);
    if (strlen(whole) != text.length)
        return error_set(err, ERROR_INVALID, "token file %s: holds a NUL byte", file->path);
    cleanup_free char *copy = memory_strdup(whole);
    if (parse(file, copy, ret, err) == 0)
        return 0;
    free(ret->list);
    *ret = (struct entries){0};
    return -1;
}

static int token_file_reload(struct auth_method *self, struct error *err) {
    struct token_file *file = (struct token_file *)self;
    struct entries fresh = {0};
    if (load(file, &fresh, err) < 0)
        return -1;
    free(file->entries.list);
    file->entries = fresh;
    log_info("%s: %zu token%s", file->path, fresh.count, fresh.count == 1 ? "" : "s");
    if (fresh.count == 0)
        log_warning("%s names nobody: with it alone no client can come in", file->path);
    return 0;
}

static void token_file_destroy(struct auth_method *self) {
    struct token_file *file = (struct token_file *)self;
    free(file->entries.list);
    free(file->path);
    free(file);
}

static const struct auth_method_ops token_file_ops = {
    .name = "the token file",
    .needs_token = true,
    .find = token_file_find,
    .reload = token_file_reload,
    .destroy = token_file_destroy,
};

int auth_file_create(struct auth *auth, const char *path, struct auth_method **ret,
                     struct error *err) {
    struct token_file *file = memory_alloc(sizeof *file);
    file->method.ops = &token_file_ops;
    file->auth = auth;
    file->path = memory_strdup(path);
    if (token_file_reload(&file->method, err) < 0) {
        token_file_destroy(&file->method);
        return -1;
    }
    *ret = &file->method;
    return 0;
}
