/* The bytes of an HTTP/1.1 request (RFC 9112), without sockets: the head, the target's path and
 * query, chunked bodies. Strict: what two servers might read in two ways is refused, and the error
 * names the field. */
#pragma once

#include "base/error.h"

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_FIELDS_MAX = 128,
    HTTP_SEGMENTS_MAX = 64,
    HTTP_QUERY_MAX = 64,
    HTTP_METHOD_MAX = 32,
};

struct http_field {
    const char *name;
    const char *value;
};

struct http_head {
    const char *method;
    const char *target; /* origin-form, or "*" */
    const char *host;   /* "" when there is none */
    struct http_field fields[HTTP_FIELDS_MAX];
    size_t field_count;
    int64_t content_length; /* -1: not given */
    bool is_chunked;
    bool is_http_1_0;
    bool keeps_alive;
    bool expects_continue;
};

/* `text` is the whole head with its empty line, NUL behind it; it is cut up in place and ret points
 * into it. On failure *status is what to answer: 400, 417, 431, 501 or 505. */
int http_head_parse(char *text, size_t length, struct http_head *ret, int *status,
                    struct error *err);
/* The first field of that name in any case, or NULL. */
const char *http_head_field(const struct http_head *head, const char *name);
/* True when one of the fields of that name has `token` in its comma-separated list; `exact`: case
 * matters. */
bool http_head_lists(const struct http_head *head, const char *name, const char *token, bool exact);

struct http_target {
    char *path;                        /* decoded, for people: a %2F is a '/' here */
    char *segments[HTTP_SEGMENTS_MAX]; /* decoded one by one: "/a%2Fb/c" is "a/b", "c" */
    size_t segment_count;
    struct http_field query[HTTP_QUERY_MAX];
    size_t query_count;
    char *memory;
};

/* Fails (400) on bad percent-encoding or bytes that are no UTF-8 in the path, NUL anywhere, too
 * many segments or parameters. Free with http_target_free, also after a failure. */
int http_target_parse(const char *target, struct http_target *ret, struct error *err);
void http_target_free(struct http_target *target);

/* A chunked body on its way from `in` to `body`. Zero-initialise. */
struct http_chunks {
    uint64_t left; /* of the chunk */
    size_t trailer_bytes;
    enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER } state;
};

/* 1: complete, 0: more bytes are needed, -1: broken (400) or beyond body_max (ERROR_LIMIT: 413). */
int http_chunks_move(struct http_chunks *chunks, struct evbuffer *in, struct evbuffer *body,
                     size_t body_max, struct error *err);
