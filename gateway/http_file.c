#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/http_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

/* One "bytes=" range; others are ignored (RFC 9110, 14.2). -1: it is beyond the file. */
static int parse_range(const char *text, off_t size, struct range *ret) {
    *ret = (struct range){0, size, false};
    if (text == NULL || strncasecmp(text, "bytes=", 6) != 0)
        return 0;
    const char *at = text + 6;
    int64_t start = parse_position(&at);
    if (*at++ != '-')
        return 0;
    int64_t last = parse_position(&at);
    if (*at != '\0' || (start < 0 && last < 0) || (start >= 0 && last >= 0 && last < start))
        return 0;
    if (start < 0) { /* the last so many bytes */
        start = last < size ? size - last : 0;
        last = last > 0 ? size - 1 : -1;
    } else if (last < 0 || last >= size) {
        last = size - 1;
    }
    if (start > last)
        return -1;
    *ret = (struct range){start, last + 1, true};
    return 0;
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

static void send_part(struct http_request *request, int fd, const struct stat *info,
                      const struct range *range, const char *type) {
    if (range->is_part) {
        char text[96];
        snprintf(text, sizeof text, "bytes %jd-%jd/%jd", (intmax_t)range->start,
                 (intmax_t)range->end - 1, (intmax_t)info->st_size);
        http_reply_header(request, "Content-Range", text);
    }
    void *data = range->end - range->start <= FILE_MAX ? read_part(fd, range) : NULL;
    if (data == NULL)
        http_reply_error(request, 500, NULL, "the file is larger than %d MiB or cannot be read",
                         FILE_MAX >> 20);
    else
        http_reply_memory(request, range->is_part ? 206 : 200, type, data,
                          (size_t)(range->end - range->start));
}

static void add_validators(struct http_request *request, const struct stat *info, char etag[64]) {
    struct tm utc;
    char date[64];
    gmtime_r(&info->st_mtime, &utc);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    snprintf(etag, 64, "\"%jx-%jx-%jx\"", (uintmax_t)info->st_ino, (uintmax_t)info->st_size,
             (uintmax_t)info->st_mtim.tv_sec * 1000000000u + (uintmax_t)info->st_mtim.tv_nsec);
    http_reply_header(request, "Last-Modified", date);
    http_reply_header(request, "Etag", etag);
    http_reply_header(request, "Accept-Ranges", "bytes");
}

static void send_file(struct http_request *request, int fd, const struct stat *info,
                      const char *path) {
    char etag[64];
    struct range range;
    add_validators(request, info, etag);
    if (http_etag_matches(request, etag) || is_unmodified(request, info->st_mtime)) {
        http_reply_empty(request, 304);
        return;
    }
    const char *wanted = http_head_field(&request->head, "Range");
    const char *still = http_head_field(&request->head, "If-Range");
    if (strcmp(request->head.method, "GET") != 0 || (still != NULL && strcmp(still, etag) != 0))
        wanted = NULL;
    if (parse_range(wanted, info->st_size, &range) < 0) {
        char text[64];
        snprintf(text, sizeof text, "bytes */%jd", (intmax_t)info->st_size);
        http_reply_header(request, "Content-Range", text);
        http_reply_error(request, 416, NULL, "Range: the file has %jd bytes",
                         (intmax_t)info->st_size);
        return;
    }
    send_part(request, fd, info, &range, type_of(path));
}

void http_reply_file(struct http_request *request, const char *root, const char *path) {
    if (leaves_root(path)) {
        http_reply_error(request, 403, NULL, "%.512s is not in root static directory", path);
        return;
    }
    cleanup_free char *whole = memory_printf("%s/%s", root, path);
    cleanup_close int fd = open(whole, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0) {
        bool denied = errno == EACCES;
        http_reply_error(request, denied ? 403 : 404, NULL, "%.512s %s", path,
                         denied ? "may not be read by the gateway" : "does not exist");
    } else if (!S_ISREG(info.st_mode)) {
        http_reply_error(request, 403, NULL, "%.512s is not a file", path);
    } else {
        send_file(request, fd, &info, path);
    }
}
