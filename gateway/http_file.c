#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/http_internal.h"
#include "launcher/background.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

enum { FILE_MAX = 64 << 20 }; /* a whole answer is held in memory */

static const struct {
    const char *extension, *type;
} types[] = {
    {".css", "text/css; charset=UTF-8"},
    {".gif", "image/gif"},
    {".html", "text/html; charset=UTF-8"},
    {".ico", "image/vnd.microsoft.icon"},
    {".jpeg", "image/jpeg"},
    {".jpg", "image/jpeg"},
    {".js", "text/javascript; charset=UTF-8"},
    {".json", "application/json"},
    {".md", "text/markdown; charset=UTF-8"},
    {".mjs", "text/javascript; charset=UTF-8"},
    {".png", "image/png"},
    {".py", "text/x-python; charset=UTF-8"},
    {".svg", "image/svg+xml"},
    {".ttf", "font/ttf"},
    {".txt", "text/plain; charset=UTF-8"},
    {".wasm", "application/wasm"},
    {".webp", "image/webp"},
    {".woff", "font/woff"},
    {".woff2", "font/woff2"},
    {".yaml", "application/yaml"},
    {".yml", "application/yaml"},
};

static const char *type_of(const char *path) {
    const char *extension = strrchr(path, '.');
    for (size_t i = 0; extension && i < sizeof types / sizeof types[0]; i++)
        if (strcasecmp(types[i].extension, extension) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* Lexically: symbolic links inside are the admin's wish (ConfigMaps and package managers lay files
 * out so). */
static bool leaves_root(const char *path) {
    for (const char *at = path; *at; at += strspn(at, "/")) {
        size_t length = strcspn(at, "/");
        if (text_equal_n(at, length, ".."))
            return true;
        at += length;
    }
    return *path == '/';
}

struct range {
    off_t start, end; /* [start, end) */
    bool is_part;
};

static int64_t parse_position(const char **at) {
    int64_t value = 0;
    const char *first = *at;
    while (**at >= '0' && **at <= '9' && value < INT64_MAX / 20)
        value = value * 10 + (*(*at)++ - '0');
    return *at == first ? -1 : value;
}

/* One "bytes=" range; others are ignored (RFC 9110, 14.2). False: it is beyond the file. */
static bool parse_range(const char *text, off_t size, struct range *ret) {
    *ret = (struct range){0, size, false};
    if (text == NULL || strncasecmp(text, "bytes=", 6) != 0)
        return true;
    const char *at = text + 6;
    int64_t start = parse_position(&at);
    if (*at++ != '-')
        return true;
    int64_t last = parse_position(&at);
    if (*at != '\0' || (start < 0 && last < 0) || (start >= 0 && last >= 0 && last < start))
        return true;
    if (start < 0) { /* the last so many bytes */
        start = last < size ? size - last : 0;
        last = last > 0 ? size - 1 : -1;
    } else if (last < 0 || last >= size) {
        last = size - 1;
    }
    if (start > last)
        return false;
    *ret = (struct range){start, last + 1, true};
    return true;
}

static bool is_unmodified(const struct http_request *request, time_t modified) {
    const char *since = http_head_field(&request->head, "If-Modified-Since");
    struct tm utc = {0};
    if (since == NULL || http_head_field(&request->head, "If-None-Match") != NULL)
        return false;
    const char *end = strptime(since, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    return end != NULL && *end == '\0' && timegm(&utc) >= modified;
}

static void *read_part(int fd, const struct range *range) {
    size_t length = (size_t)(range->end - range->start);
    char *data = memory_alloc(length + 1);
    for (size_t at = 0; at < length;) {
        ssize_t got = pread(fd, data + at, length - at, range->start + (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) { /* it shrank or broke meanwhile */
            free(data);
            return NULL;
        }
        at += (size_t)got;
    }
    return data;
}

/* What a thread looks for, and what it has found. */
struct wanted_file {
    char *path;             /* as the client says it */
    char *whole, *except;   /* except: one that is not served; or NULL */
    char *range, *still_of; /* Range and If-Range, or NULL */

    int errnum; /* 0: it is there */
    struct stat info;
    bool is_except;
    char etag[64];
    bool has_part;
    struct range part;
    void *data; /* of the part; NULL: too much, or it cannot be read */
};

static void free_wanted(void *work) {
    struct wanted_file *wanted = work;
    free(wanted->path);
    free(wanted->whole);
    free(wanted->except);
    free(wanted->range);
    free(wanted->still_of);
    free(wanted->data);
    free(wanted);
}

static void write_etag(const struct stat *info, char etag[64]) {
    snprintf(etag, 64, "\"%jx-%jx-%jx\"", (uintmax_t)info->st_ino, (uintmax_t)info->st_size,
             (uintmax_t)info->st_mtim.tv_sec * 1000000000u + (uintmax_t)info->st_mtim.tv_nsec);
}

static bool is_same_file(const char *path, const struct stat *info) {
    struct stat other;
    return path != NULL && stat(path, &other) == 0 && info->st_dev == other.st_dev &&
           info->st_ino == other.st_ino;
}

/* On a thread. */
static void read_wanted(void *work) {
    struct wanted_file *wanted = work;
    cleanup_close int fd = open(wanted->whole, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &wanted->info) < 0) {
        wanted->errnum = errno;
        return;
    }
    wanted->is_except = is_same_file(wanted->except, &wanted->info);
    if (wanted->is_except || !S_ISREG(wanted->info.st_mode))
        return;
    write_etag(&wanted->info, wanted->etag);
    bool is_other = wanted->still_of != NULL && strcmp(wanted->still_of, wanted->etag) != 0;
    wanted->has_part =
        parse_range(is_other ? NULL : wanted->range, wanted->info.st_size, &wanted->part);
    if (wanted->has_part && wanted->part.end - wanted->part.start <= FILE_MAX)
        wanted->data = read_part(fd, &wanted->part);
}

static void send_part(struct http_request *request, struct wanted_file *wanted) {
    const struct range *part = &wanted->part;
    if (part->is_part) {
        char text[96];
        snprintf(text, sizeof text, "bytes %jd-%jd/%jd", (intmax_t)part->start,
                 (intmax_t)part->end - 1, (intmax_t)wanted->info.st_size);
        http_reply_header(request, "Content-Range", text);
    }
    if (wanted->data == NULL)
        http_reply_error(request, 500, NULL, "the file is larger than %d MiB or cannot be read",
                         FILE_MAX >> 20);
    else
        http_reply_memory(request, part->is_part ? 206 : 200, type_of(wanted->path),
                          steal(&wanted->data), (size_t)(part->end - part->start));
}

static void add_validators(struct http_request *request, const struct wanted_file *wanted) {
    struct tm utc;
    char date[64];
    gmtime_r(&wanted->info.st_mtime, &utc);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    http_reply_header(request, "Last-Modified", date);
    http_reply_header(request, "Etag", wanted->etag);
    http_reply_header(request, "Accept-Ranges", "bytes");
}

static void send_file(struct http_request *request, struct wanted_file *wanted) {
    const struct stat *info = &wanted->info;
    add_validators(request, wanted);
    if (http_etag_matches(request, wanted->etag) || is_unmodified(request, info->st_mtime)) {
        http_reply_empty(request, 304);
    } else if (!wanted->has_part) {
        char text[64];
        snprintf(text, sizeof text, "bytes */%jd", (intmax_t)info->st_size);
        http_reply_header(request, "Content-Range", text);
        http_reply_error(request, 416, NULL, "Range: the file has %jd bytes",
                         (intmax_t)info->st_size);
    } else {
        send_part(request, wanted);
    }
}

struct file_wait {
    struct http_request *request;
    struct background_job *job;
};

static void on_gone(void *context) {
    struct file_wait *wait = context;
    background_cancel(wait->job);
    http_reply_empty(wait->request, 503); /* to nobody */
    free(wait);
}

static void on_read(void *context, void *work, const struct error *err) {
    struct http_request *request = ((struct file_wait *)context)->request;
    struct wanted_file *wanted = work;
    free(context);
    if (err != NULL) {
        http_reply_failure(request, err);
    } else if (wanted->errnum != 0) {
        bool denied = wanted->errnum == EACCES;
        http_reply_error(request, denied ? 403 : 404, NULL, "%.512s %s", wanted->path,
                         denied ? "may not be read by the gateway" : "does not exist");
    } else if (wanted->is_except) {
        http_reply_error(request, 404, NULL, "%.512s is not served", wanted->path);
    } else if (!S_ISREG(wanted->info.st_mode)) {
        http_reply_error(request, 403, NULL, "%.512s is not a file", wanted->path);
    } else {
        send_file(request, wanted);
    }
}

static char *copy_field(const struct http_request *request, const char *name) {
    const char *value = http_head_field(&request->head, name);
    bool counts = value != NULL && strcmp(request->head.method, "GET") == 0;
    return counts ? memory_strdup(value) : NULL;
}

void http_reply_file(struct http_request *request, struct background *background,
                     const struct http_file *file) {
    if (leaves_root(file->path)) {
        http_reply_error(request, 403, NULL, "%.512s is not in root static directory", file->path);
        return;
    }
    struct file_wait *wait = memory_alloc(sizeof *wait);
    struct wanted_file *wanted = memory_alloc(sizeof *wanted);
    wanted->path = memory_strdup(file->path);
    wanted->whole = memory_printf("%s/%s", file->root, file->path);
    if (file->except != NULL)
        wanted->except = memory_printf("%s/%s", file->root, file->except);
    wanted->range = copy_field(request, "Range");
    wanted->still_of = copy_field(request, "If-Range");
    cleanup_free char *copy = memory_strdup(file->root);
    const struct background_work work = {.place = dirname(copy),
                                         .deadline_ms = BACKGROUND_DEADLINE_MS,
                                         .run = read_wanted,
                                         .free = free_wanted,
                                         .work = wanted,
                                         .done = on_read,
                                         .context = wait};
    wait->request = request;
    wait->job = background_start(background, &work);
    http_request_on_gone(request, on_gone, wait);
}
