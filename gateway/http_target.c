#include "gateway/http_parse.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum decode_mode { DECODE_PATH, DECODE_QUERY };

/* Percent-decodes in place. A query keeps a '%' that encodes nothing, as browsers and Python do; a
 * path does not get away with it. -1: bad. */
static int decode(char *text, enum decode_mode mode) {
    char *to = text;
    for (const char *from = text; *from; from++) {
        char c = *from;
        if (c == '+' && mode == DECODE_QUERY)
            c = ' ';
        if (c == '%') {
            int high = hex_digit(from[1]);
            int low = high >= 0 ? hex_digit(from[2]) : -1;
            if (low >= 0) {
                c = (char)(high << 4 | low);
                from += 2;
            } else if (mode == DECODE_PATH) {
                return -1;
            }
            if (c == '\0')
                return -1;
        }
        *to++ = c;
    }
    *to = '\0';
    return 0;
}

static int bad_path(struct error *err) {
    return error_set(err, ERROR_INVALID, "path: bad percent-encoding");
}

static int split_path(char *path, struct http_target *ret, struct error *err) {
    char *at = path;
    while (at != NULL) {
        if (ret->segment_count == HTTP_SEGMENTS_MAX)
            return error_set(err, ERROR_INVALID, "path: more than %d parts", HTTP_SEGMENTS_MAX);
        char *segment = at + 1; /* behind the '/' */
        at = strchr(segment, '/');
        if (at != NULL)
            *at = '\0';
        if (decode(segment, DECODE_PATH) < 0)
            return bad_path(err);
        ret->segments[ret->segment_count++] = segment;
    }
    return 0;
}

static int split_query(char *query, struct http_target *ret, struct error *err) {
    for (char *rest = query, *pair; (pair = strsep(&rest, "&")) != NULL;) {
        if (*pair == '\0')
            continue;
        if (ret->query_count == HTTP_QUERY_MAX)
            return error_set(err, ERROR_INVALID, "query: more than %d parameters", HTTP_QUERY_MAX);
        char *value = strchr(pair, '=');
        if (value != NULL)
            *value++ = '\0';
        if (decode(pair, DECODE_QUERY) < 0)
            return error_set(err, ERROR_INVALID, "query: a NUL byte in a parameter's name");
        if (value != NULL && decode(value, DECODE_QUERY) < 0)
            return error_set(err, ERROR_INVALID, "query %.64s: a NUL byte in the value", pair);
        ret->query[ret->query_count++] = (struct http_field){pair, value ? value : ""};
    }
    return 0;
}

int http_target_parse(const char *target, struct http_target *ret, struct error *err) {
    *ret = (struct http_target){0};
    size_t length = strlen(target);
    ret->memory = memory_alloc(2 * (length + 1)); /* the path for people, and what is cut up */
    char *cut = ret->memory + length + 1;
    memcpy(cut, target, length + 1);
    char *query = strchr(cut, '?');
    if (query != NULL)
        *query++ = '\0';
    ret->path = strcpy(ret->memory, cut);
    if (decode(ret->path, DECODE_PATH) < 0)
        return bad_path(err);
    if (!utf8_is_valid(ret->path, strlen(ret->path)))
        return error_set(err, ERROR_INVALID, "path: is not UTF-8");
    if (*cut == '/' && split_path(cut, ret, err) < 0) /* not for "*" */
        return -1;
    return query ? split_query(query, ret, err) : 0;
}

void http_target_free(struct http_target *target) {
    free(target->memory);
    *target = (struct http_target){0};
}
