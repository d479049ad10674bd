#include "gateway/http_parse.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* RFC 9110, 5.6.2. */
static bool is_token_char(char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(const char *text) {
    size_t length = 0;
    while (is_token_char(text[length]))
        length++;
    return length > 0 && text[length] == '\0';
}

static int refuse(int *status, int with, struct error *err, const char *text) {
    *status = with;
    return error_set(err, ERROR_INVALID, "%s", text);
}

/* Cuts the line at *at off, NUL in place of its CR LF; NULL when that is not how it ends. */
static char *take_line(char **at, const char *end) {
    char *line = *at;
    char *feed = memchr(line, '\n', (size_t)(end - line));
    if (feed == NULL || feed == line || feed[-1] != '\r')
        return NULL;
    feed[-1] = '\0';
    *at = feed + 1;
    return line;
}

static int parse_version(const char *version, struct http_head *head, int *status,
                         struct error *err) {
    if (strcmp(version, "HTTP/1.1") == 0)
        return 0;
    head->is_http_1_0 = strcmp(version, "HTTP/1.0") == 0;
    if (head->is_http_1_0)
        return 0;
    if (text_starts_with(version, "HTTP/"))
        return refuse(status, 505, err, "request line: the version must be HTTP/1.1 or HTTP/1.0");
    return refuse(status, 400, err, "request line: must be method, target and HTTP/1.1");
}

static int parse_request_line(char *line, struct http_head *head, int *status, struct error *err) {
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;
    if (version == NULL || strchr(version + 1, ' ') != NULL)
        return refuse(status, 400, err, "request line: must be method, target and HTTP/1.1");
    *target++ = '\0';
    *version++ = '\0';
    if (!is_token(line) || strlen(line) > HTTP_METHOD_MAX)
        return refuse(status, 400, err, "request line: bad method");
    head->method = line;
    head->target = target;
    for (const char *at = target; *at; at++)
        if ((unsigned char)*at < 0x21 || *at == 0x7f || *at == '#')
            return refuse(status, 400, err, "request line: bad character in the target");
    return parse_version(version, head, status, err);
}

static char *trim(char *value) {
    value += strspn(value, " \t");
    size_t length = strlen(value);
    while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t'))
        value[--length] = '\0';
    return value;
}

static int check_field_name(char *name, size_t length, int *status, struct error *err) {
    *status = 400;
    if (length > 0 && (name[length - 1] == ' ' || name[length - 1] == '\t')) {
        const char *shown = trim(name);
        return error_set(err, ERROR_INVALID, "header %.64s: white space before the colon",
                         is_token(shown) ? shown : "line");
    }
    if (!is_token(name))
        return error_set(err, ERROR_INVALID,
                         "header line: the name has a character that is no token's");
    return 0;
}

static int parse_field(char *line, struct http_head *head, int *status, struct error *err) {
    if (*line == ' ' || *line == '\t')
        return refuse(status, 400, err, "header line: folded over two lines, which is obsolete");
    char *colon = strchr(line, ':');
    if (colon == NULL)
        return refuse(status, 400, err, "header line: has no colon");
    *colon = '\0';
    if (check_field_name(line, (size_t)(colon - line), status, err) < 0)
        return -1;
    char *value = trim(colon + 1);
    for (const char *at = value; *at; at++) {
        if (((unsigned char)*at < 0x20 && *at != '\t') || *at == 0x7f) {
            *status = 400;
            return error_set(err, ERROR_INVALID, "header %.64s: control character in the value",
                             line);
        }
    }
    if (head->field_count == HTTP_FIELDS_MAX) {
        *status = 431;
        return error_set(err, ERROR_LIMIT, "header: more than %d lines", HTTP_FIELDS_MAX);
    }
    head->fields[head->field_count++] = (struct http_field){line, value};
    return 0;
}

const char *http_head_field(const struct http_head *head, const char *name) {
    for (size_t i = 0; i < head->field_count; i++)
        if (strcasecmp(head->fields[i].name, name) == 0)
            return head->fields[i].value;
    return NULL;
}

static size_t count_fields(const struct http_head *head, const char *name) {
    size_t count = 0;
    for (size_t i = 0; i < head->field_count; i++)
        count += strcasecmp(head->fields[i].name, name) == 0;
    return count;
}

static bool list_has(const char *list, const char *token, bool exact) {
    size_t length = strlen(token);
    while (*list) {
        list += strspn(list, " \t,");
        size_t item = strcspn(list, ",");
        size_t rest = item;
        while (item > 0 && (list[item - 1] == ' ' || list[item - 1] == '\t'))
            item--;
        if (item == length &&
            (exact ? strncmp(list, token, length) : strncasecmp(list, token, length)) == 0)
            return true;
        list += rest;
    }
    return false;
}

bool http_head_lists(const struct http_head *head, const char *name, const char *token,
                     bool exact) {
    for (size_t i = 0; i < head->field_count; i++)
        if (strcasecmp(head->fields[i].name, name) == 0 &&
            list_has(head->fields[i].value, token, exact))
            return true;
    return false;
}

static int check_host(struct http_head *head, int *status, struct error *err) {
    size_t count = count_fields(head, "Host");
    if (count > 1)
        return refuse(status, 400, err, "header Host: is there more than once");
    const char *host = http_head_field(head, "Host");
    if (host == NULL)
        return head->is_http_1_0 ? 0 : refuse(status, 400, err, "header Host: is missing");
    for (const char *at = host; *at; at++)
        if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7f || strchr("/\\@?#,\"<>", *at))
            return refuse(status, 400, err, "header Host: bad character");
    head->host = host;
    return 0;
}

/* "http://host/path": the host in the target is the one that counts (RFC 9112, 3.2.2). */
static int check_target(struct http_head *head, int *status, struct error *err) {
    bool has_scheme = strncasecmp(head->target, "http://", 7) == 0 ||
                      strncasecmp(head->target, "https://", 8) == 0;
    if (has_scheme) {
        char *host = strstr(head->target, "//");
        size_t length = strcspn(host + 2, "/?");
        if (length == 0 || host[2 + length] != '/' || memchr(host + 2, '@', length))
            return refuse(status, 400, err, "request line: bad host in the target");
        head->target = host + 2 + length;
        memmove(host, host + 2, length); /* room for the NUL, the path keeps its '/' */
        host[length] = '\0';
        head->host = host;
    }
    bool is_star = strcmp(head->target, "*") == 0 && strcmp(head->method, "OPTIONS") == 0;
    if (*head->target != '/' && !is_star)
        return refuse(status, 400, err, "request line: the target must start with '/'");
    return 0;
}

static int check_length(struct http_head *head, int *status, struct error *err) {
    size_t count = count_fields(head, "Content-Length");
    if (count == 0)
        return 0;
    if (count > 1)
        return refuse(status, 400, err, "header Content-Length: is there more than once");
    const char *value = http_head_field(head, "Content-Length");
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > 18 || value[digits] != '\0')
        return refuse(status, 400, err, "header Content-Length: must be a decimal number");
    return text_parse_int(value, 0, INT64_MAX, "Content-Length", &head->content_length, err);
}

static int check_coding(struct http_head *head, int *status, struct error *err) {
    size_t count = count_fields(head, "Transfer-Encoding");
    if (count == 0)
        return 0;
    if (count > 1)
        return refuse(status, 400, err, "header Transfer-Encoding: is there more than once");
    if (head->is_http_1_0)
        return refuse(status, 400, err, "header Transfer-Encoding: needs HTTP/1.1");
    if (head->content_length >= 0)
        return refuse(status, 400, err, "header Content-Length: together with Transfer-Encoding");
    if (strcasecmp(http_head_field(head, "Transfer-Encoding"), "chunked") != 0)
        return refuse(status, 501, err, "header Transfer-Encoding: only chunked is understood");
    head->is_chunked = true;
    return 0;
}

static int check_expect(struct http_head *head, int *status, struct error *err) {
    const char *expect = http_head_field(head, "Expect");
    if (expect == NULL || head->is_http_1_0)
        return 0;
    if (strcasecmp(expect, "100-continue") != 0)
        return refuse(status, 417, err, "header Expect: only 100-continue is understood");
    head->expects_continue = true;
    return 0;
}

static int parse_lines(char *text, char *end, struct http_head *head, int *status,
                       struct error *err) {
    char *line = take_line(&text, end);
    if (line == NULL)
        return refuse(status, 400, err, "request line: must end with CR LF");
    if (parse_request_line(line, head, status, err) < 0)
        return -1;
    while (text < end) {
        line = take_line(&text, end);
        if (line == NULL)
            return refuse(status, 400, err, "header line: must end with CR LF");
        if (*line == '\0')
            return 0;
        if (parse_field(line, head, status, err) < 0)
            return -1;
    }
    return 0;
}

int http_head_parse(char *text, size_t length, struct http_head *ret, int *status,
                    struct error *err) {
    ret->method = ret->target = "-";
    ret->host = "";
    ret->field_count = 0;
    ret->content_length = -1;
    ret->is_chunked = ret->is_http_1_0 = ret->keeps_alive = ret->expects_continue = false;
    *status = 400;
    if (memchr(text, '\0', length))
        return refuse(status, 400, err, "header: has a NUL byte");
    if (parse_lines(text, text + length, ret, status, err) < 0 ||
        check_host(ret, status, err) < 0 || check_target(ret, status, err) < 0 ||
        check_length(ret, status, err) < 0 || check_coding(ret, status, err) < 0 ||
        check_expect(ret, status, err) < 0)
        return -1;
    ret->keeps_alive = ret->is_http_1_0 ? http_head_lists(ret, "Connection", "keep-alive", false)
                                        : !http_head_lists(ret, "Connection", "close", false);
    return 0;
}

/* Chunked bodies. */

enum { CHUNK_LINE_MAX = 256, TRAILER_MAX = 8192 };

static bool has_control(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return true;
    return false;
}

/* One line that ends with CR LF, or NULL: not there yet, or (err->code set) a bad one. A server in
 * front of us may take an LF alone for an end, so there must be none within. */
static char *read_line(struct evbuffer *in, size_t *length, struct error *err) {
    char *line = evbuffer_readln(in, length, EVBUFFER_EOL_CRLF_STRICT);
    if (line == NULL && evbuffer_get_length(in) <= CHUNK_LINE_MAX)
        return NULL;
    if (line == NULL || *length > CHUNK_LINE_MAX)
        error_set(err, ERROR_INVALID, "body: a chunk's line is too long");
    else if (has_control(line, *length))
        error_set(err, ERROR_INVALID, "body: control character in a chunk's line");
    else
        return line;
    free(line);
    return NULL;
}

static int parse_size(const char *line, size_t length, uint64_t *ret, struct error *err) {
    size_t digits = strspn(line, "0123456789abcdefABCDEF");
    size_t used = digits + strspn(line + digits, " \t");
    bool is_ended = digits == length || line[used] == ';';
    if (digits == 0 || digits > 15 || !is_ended)
        return error_set(err, ERROR_INVALID, "body: a chunk's size must be hexadecimal digits");
    *ret = strtoull(line, NULL, 16);
    return 0;
}

static int take_size(struct http_chunks *chunks, struct evbuffer *in, size_t room,
                     struct error *err) {
    size_t length;
    struct error why = {0};
    cleanup_free char *line = read_line(in, &length, &why);
    if (line == NULL && why.code == ERROR_NONE)
        return 0;
    if (line == NULL || parse_size(line, length, &chunks->left, &why) < 0)
        return error_set(err, why.code, "%s", why.text);
    if (chunks->left > room)
        return error_set(err, ERROR_LIMIT, "body: larger than the limit");
    chunks->state = chunks->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
    return 1;
}

static int take_data(struct http_chunks *chunks, struct evbuffer *in, struct evbuffer *body) {
    size_t ready = evbuffer_get_length(in);
    if (ready > chunks->left)
        ready = (size_t)chunks->left;
    evbuffer_remove_buffer(in, body, ready);
    chunks->left -= ready;
    if (chunks->left > 0)
        return 0;
    chunks->state = CHUNK_END;
    return 1;
}

static int take_end(struct http_chunks *chunks, struct evbuffer *in, struct error *err) {
    char end[2];
    if (evbuffer_copyout(in, end, sizeof end) < (ssize_t)sizeof end)
        return 0;
    if (memcmp(end, "\r\n", 2) != 0)
        return error_set(err, ERROR_INVALID, "body: a chunk is not followed by CR LF");
    evbuffer_drain(in, sizeof end);
    chunks->state = CHUNK_SIZE;
    return 1;
}

/* Trailers are read and forgotten. 2: that was the last line. */
static int take_trailer(struct http_chunks *chunks, struct evbuffer *in, struct error *err) {
    size_t length;
    struct error why = {0};
    cleanup_free char *line = read_line(in, &length, &why);
    if (line == NULL)
        return why.code == ERROR_NONE ? 0 : error_set(err, why.code, "%s", why.text);
    chunks->trailer_bytes += length;
    if (chunks->trailer_bytes > TRAILER_MAX)
        return error_set(err, ERROR_LIMIT, "body: trailers larger than %d bytes", TRAILER_MAX);
    return length == 0 ? 2 : 1;
}

int http_chunks_move(struct http_chunks *chunks, struct evbuffer *in, struct evbuffer *body,
                     size_t body_max, struct error *err) {
    int more = 1;
    while (more == 1) {
        switch (chunks->state) {
        case CHUNK_SIZE:
            more = take_size(chunks, in, body_max - evbuffer_get_length(body), err);
            break;
        case CHUNK_DATA:
            more = take_data(chunks, in, body);
            break;
        case CHUNK_END:
            more = take_end(chunks, in, err);
            break;
        case CHUNK_TRAILER:
            more = take_trailer(chunks, in, err);
            break;
        }
    }
    return more == 2 ? 1 : more;
}
