/* Any bytes as an HTTP request: the head up to the first empty line, its target, and the rest as a
 * chunked body. */
#include "base/utf8.h"
#include "gateway/http_parse.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_head(const struct http_head *head) {
    assert(head->field_count <= HTTP_FIELDS_MAX);
    assert(*head->target == '/' || strcmp(head->target, "*") == 0);
    assert(!(head->is_chunked && head->content_length >= 0));
    for (size_t i = 0; i < head->field_count; i++)
        assert(strpbrk(head->fields[i].name, " \t:\r\n") == NULL &&
               strpbrk(head->fields[i].value, "\r\n") == NULL);
    struct http_target target;
    struct error err = {0};
    if (http_target_parse(head->target, &target, &err) < 0) {
        assert(err.code == ERROR_INVALID && err.text[0] != '\0');
    } else {
        assert(utf8_is_valid(target.path, strlen(target.path)));
        assert(target.segment_count > 0 || strncmp(head->target, "*", 1) == 0);
        for (size_t i = 0; i < target.query_count; i++)
            assert(target.query[i].name != NULL && target.query[i].value != NULL);
    }
    http_target_free(&target);
}

static void check_body(const uint8_t *data, size_t size) {
    struct evbuffer *in = evbuffer_new(), *body = evbuffer_new();
    struct http_chunks chunks = {0};
    struct error err = {0};
    evbuffer_add(in, data, size);
    int done = http_chunks_move(&chunks, in, body, BODY_MAX, &err);
    assert(evbuffer_get_length(body) <= BODY_MAX);
    assert((done < 0) == (err.code != ERROR_NONE));
    evbuffer_free(in);
    evbuffer_free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    size_t length = end ? (size_t)(end - data) + 4 : size;
    char *text = malloc(length + 1);
    memcpy(text, data, length);
    text[length] = '\0';
    struct http_head *head = malloc(sizeof *head);
    struct error err = {0};
    int status = 0;
    if (http_head_parse(text, length, head, &status, &err) < 0)
        assert(status >= 400 && status < 600 && err.text[0] != '\0');
    else
        check_head(head);
    free(head);
    free(text);
    check_body(data + length, size - length);
    return 0;
}
