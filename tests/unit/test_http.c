/* HTTP as clients speak it, and as they should not. */
#include "base/buffer.h"
#include "http_fixture.h"

#include <fcntl.h>
#include <jansson.h>

static struct http_request *pending;

static void echo(struct http_request *request, void *context) {
    (void)context;
    const char *query = http_request_query(request, "q");
    const char *bare = http_request_query(request, "1699999999");
    http_reply_header(request, "X-Given", "a\r\nX-Forged: b");
    http_reply_json(request, 200,
                    json_pack("{s:s, s:s?, s:s?, s:s?, s:s?}", "path", http_request_path(request),
                              "id", http_request_param(request, "id"), "rest",
                              http_request_param(request, "rest"), "query", query, "bare", bare));
}

static void take(struct http_request *request, void *context) {
    (void)context;
    json_t *body;
    struct error err;
    if (http_request_json(request, &body, &err) < 0)
        http_reply_failure(request, &err);
    else
        http_reply_json(request, 201, body ? json_incref(body) : json_string("nothing"));
}

static void nothing(struct http_request *request, void *context) {
    (void)context;
    http_reply_empty(request, 204);
}

static void failure(struct http_request *request, void *context) {
    (void)context;
    struct error err;
    error_set(&err, error_code_parse(http_request_param(request, "code")), "because \xff");
    http_reply_failure(request, &err);
}

static void on_gone(void *context) {
    server_tell(context, 'g');
}

/* Keeps the request; another one lets it go. */
static void hold(struct http_request *request, void *context) {
    pending = request;
    http_request_on_gone(request, on_gone, context);
    server_tell(context, 'h');
}

static void let_go(struct http_request *request, void *context) {
    (void)context;
    http_reply_json(pending, 200, json_string("at last"));
    http_reply_empty(request, 204);
}

static const struct http_route routes[] = {
    {"GET", "/echo/{id}", echo, 0},
    {"GET", "/echo/{id}/tail", echo, 0},
    {"GET", "/files/{rest...}", echo, 0},
    {"GET", "/public", echo, HTTP_PUBLIC},
    {"POST", "/things", take, 0},
    {"GET", "/things", echo, 0},
    {"DELETE", "/things", nothing, 0},
    {"GET", "/fail/{code}", failure, 0},
    {"GET", "/hold", hold, 0},
    {"GET", "/let-go", let_go, 0},
    {0},
};

static int setup(void **state) {
    static struct server server;
    server = (struct server){.settings = server_settings()};
    server.settings.allow_origin = "http://friend:1234";
    server.settings.allow_headers = "X-One";
    server.settings.allow_methods = "GET";
    server.settings.allow_credentials = "true";
    server.settings.expose_headers = "X-Two";
    server.settings.max_age = "60";
    server_start(&server, routes);
    *state = &server;
    return 0;
}

static int teardown(void **state) {
    server_stop(*state);
    return 0;
}

static void expect(const struct server *server, const char *request, int status, const char *part) {
    char *answer = ask(server, request);
    assert_answer(answer, status, part);
    free(answer);
}

static void test_malformed_requests_are_refused_by_name(void **state) {
    static const struct {
        const char *request;
        int status;
        const char *says;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400, "header Host: is missing"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "header Host: is there more"},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "header Host: bad character"},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400,
         "header Content-Length: is there more"},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400, "header Content-Length"},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400, "header Content-Length"},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, "header Content-Length"},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400,
         "header Content-Length"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
         400, "together with Transfer-Encoding"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501,
         "only chunked"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
         400, "header Transfer-Encoding: is there more"},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "needs HTTP/1.1"},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "header Host: white space before the colon"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX\t: a\r\n\r\n", 400, "white space before the colon"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, "folded"},
        {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "folded"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n", 400, "header X: control character"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n", 400, "header X: control character"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb: c\r\n\r\n", 400, "header X: control character"},
        {"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, "has no colon"},
        {"GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n", 400, "header line: the name"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX(y): a\r\n\r\n", 400, "header line: the name"},
        {"GET / HTTP/1.1\nHost: a\n\n", 400, "must end with CR LF"},
        {"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "must end with CR LF"},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", 417, "header Expect"},
        {"GET /\r\nHost: a\r\n\r\n", 400, "request line"},
        {"GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request line"},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "the version"},
        {"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "request line"},
        {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad method"},
        {"GET echo HTTP/1.1\r\nHost: a\r\n\r\n", 400, "must start with '/'"},
        {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "must start with '/'"},
        {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad character in the target"},
        {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "must start with '/'"},
        {"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad host"},
        {"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad host"},
        {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path: bad percent"},
        {"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path: bad percent"},
        {"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path: bad percent"},
        {"GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path: is not UTF-8"},
        {"GET /?a=%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "query a: a NUL byte"},
        {"GET /?%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "query: a NUL byte"},
        {"\x16\x03\x01\x02", 400, "plain HTTP/1.1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *answer = ask(*state, cases[i].request);
        assert_answer(answer, cases[i].status, cases[i].says);
        assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
        json_t *body = json_loads(strstr(answer, "\r\n\r\n") + 4, 0, NULL);
        assert_true(json_is_string(json_object_get(body, "reason")));
        json_decref(body);
        free(answer);
    }
}

static void test_nul_bytes_do_not_cut_a_header(void **state) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
    char *answer = ask_bytes(*state, request, sizeof request - 1);
    assert_answer(answer, 400, "header: has a NUL byte");
    free(answer);
}

static char *large_request(size_t value, size_t lines) {
    struct buffer request = {.limit = 4 << 20};
    buffer_append_text(&request, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 0; i < lines; i++) {
        buffer_append_text(&request, "X: ");
        for (size_t j = 0; j < value; j++)
            buffer_append_text(&request, "a");
        buffer_append_text(&request, "\r\n");
    }
    buffer_append_text(&request, "\r\n");
    char *copy = strdup(buffer_text(&request));
    buffer_free(&request);
    return copy;
}

static void test_large_headers_are_431(void **state) {
    static const size_t shapes[][2] = {{100000, 1}, {60000, 2}, {10, 5000}, {1, 200}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        char *request = large_request(shapes[i][0], shapes[i][1]);
        expect(*state, request, 431, "header");
        free(request);
    }
}

/* To the byte, and also for a head that never ends. */
static void test_the_heads_limit(void **state) {
    enum { LIMIT = 65536 };
    static char request[LIMIT + 2];
    const char *start = "GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ";
    for (size_t length = LIMIT; length <= LIMIT + 1; length++) {
        memset(request, 'a', length);
        memcpy(request, start, strlen(start));
        strcpy(request + length - 4, "\r\n\r\n");
        expect(*state, request, length == LIMIT ? 404 : 431, "");
    }
    memset(request + LIMIT - 10, 'a', 11);
    expect(*state, request, 431, "header: larger than the limit");
}

static void test_routes(void **state) {
    const struct server *server = *state;
    expect(server, GET("/echo/a%2Fb%20c"), 200, "\"id\":\"a/b c\"");
    expect(server, GET("/echo/a%2Fb/tail"), 200, "\"id\":\"a/b\"");
    expect(server, GET("/echo/gr\xc3\xbc\xc3\x9f"), 200, "gr\xc3\xbc\xc3\x9f");
    expect(server, GET("/files/a/b/../c%2Fd"), 200, "\"rest\":\"a/b/../c/d\"");
    expect(server, GET("/echo/1?1699999999"), 200, "\"bare\":\"\"");
    expect(server, GET("/echo/1?x=1&&q=a+b%26&q=second"), 200, "\"query\":\"a b&\"");
    expect(server, GET("/echo/1?q=100%"), 200, "\"query\":\"100%\"");
    expect(server, GET("/echo/1/"), 404, "\"reason\":\"Not Found\"");
    expect(server, GET("/echo/"), 404, "/echo/");
    expect(server, GET("/echo//tail"), 404, "Not Found");
    expect(server, GET("/Echo/1"), 404, "Not Found");
    expect(server, GET("/files/"), 404, "Not Found");
    expect(server, GET("/"), 404, "Not Found");
    expect(server, "GET http://there/echo/7?q=x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
           200, "\"id\":\"7\"");
}

static void test_methods(void **state) {
    const struct server *server = *state;
    expect(server, "PUT /things HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405,
           "\r\nAllow: POST, GET, HEAD, DELETE, OPTIONS\r\n");
    expect(server, "BREW /echo/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405,
           "\"reason\":\"Method Not Allowed\"");
    char *answer = ask(server, "HEAD /echo/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_answer(answer, 200, "\r\nContent-Length: ");
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    free(answer);
    answer = ask(server, "OPTIONS /things HTTP/1.1\r\nHost: a\r\nOrigin: http://x\r\n"
                         "Connection: close\r\n\r\n");
    assert_answer(answer, 200, "\r\nContent-Type: application/json");
    assert_non_null(strstr(answer, "\r\nAccess-Control-Allow-Methods: GET\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    free(answer);
    expect(server, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, "");
    expect(server, "OPTIONS /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404, "");
    expect(server, "DELETE /things HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 204, "");
}

#define POST "POST /things HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"

static void test_bodies(void **state) {
    const struct server *server = *state;
    expect(server, POST "Content-Length: 7\r\n\r\n{\"a\":1}", 201, "\r\n\r\n{\"a\":1}");
    expect(server, POST "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\n{\"a\":1,\"a\":2}",
           201, "\r\n\r\n{\"a\":2}");
    expect(server, POST "\r\n", 201, "nothing");
    expect(server, POST "Content-Length: 0\r\n\r\n", 201, "nothing");
    expect(server, POST "Content-Length: 3\r\n\r\n \r\n", 201, "nothing");
    expect(server,
           POST "Transfer-Encoding: Chunked\r\n\r\n3;ext=\"x\"\r\n{\"a\r\n04\r\n\":1}\r\n0\r\n"
                "Trailer: x\r\n\r\n",
           201, "\r\n\r\n{\"a\":1}");
    expect(server, POST "Content-Length: 4\r\n\r\n{\"a\"", 400,
           "Invalid JSON in body of request: line 1");
    expect(server, POST "Content-Length: 5\r\n\r\n{\"\xff\"}", 400, "not UTF-8");
    expect(server, POST "Content-Length: 100001\r\n\r\n", 413, "body: larger than the limit");
    expect(server, POST "Transfer-Encoding: chunked\r\n\r\n1000000\r\n", 413, "body: larger");
    expect(server, POST "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400,
           "hexadecimal");
    expect(server, POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400,
           "not followed by");
    expect(server, POST "Transfer-Encoding: chunked\r\n\r\n\r\n", 400, "hexadecimal");
}

/* Lines of a chunked body that nobody bounds are memory for the asking. */
static void test_long_chunk_lines_and_trailers(void **state) {
    struct buffer request = {.limit = 1 << 20};
    buffer_append_text(&request, POST "Transfer-Encoding: chunked\r\n\r\n2;");
    for (int i = 0; i < 300; i++)
        buffer_append_text(&request, "e");
    expect(*state, buffer_text(&request), 400, "body: a chunk's line is too long");
    buffer_clear(&request);
    buffer_append_text(&request, POST "Transfer-Encoding: chunked\r\n\r\n0\r\n");
    for (int i = 0; i < 2000; i++)
        buffer_append_text(&request, "X-T: 345\r\n");
    expect(*state, buffer_text(&request), 413, "body: trailers larger than 8192 bytes");
    buffer_free(&request);
}

static void test_deep_json_is_an_error_and_no_crash(void **state) {
    char request[60000];
    size_t head = (size_t)sprintf(request, POST "Content-Length: 50000\r\n\r\n");
    memset(request + head, '[', 50000);
    request[head + 50000] = '\0';
    expect(*state, request, 400, "Invalid JSON in body of request");
}

static void test_body_in_pieces_with_continue(void **state) {
    int fd = dial(*state);
    say(fd, POST "Expect: 100-continue\r\nContent-Length: 7\r\n\r\n");
    assert_answer(hear_one(fd), 100, "\r\n\r\n");
    const char *body = "{\"a\":1}";
    for (size_t i = 0; body[i]; i++)
        say_bytes(fd, body + i, 1);
    char *answer = hear(fd);
    assert_answer(answer, 201, "{\"a\":1}");
    free(answer);
    close(fd);
    /* A refusal comes before the body. */
    expect(*state,
           "POST /none HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n",
           404, "");
}

static void test_keep_alive_and_pipelining(void **state) {
    int fd = dial(*state);
    for (int i = 0; i < 3; i++) {
        say(fd, "\r\nGET /echo/kept HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_answer(hear_one(fd), 200, "kept");
    }
    say(fd,
        "POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"); /* refused, read whole */
    assert_answer(hear_one(fd), 404, "");
    say(fd, "GET /echo/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: a\r\n\r\n"
            "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n7" GET("/echo/3"));
    assert_answer(hear_one(fd), 200, "\"id\":\"1\"");
    assert_answer(hear_one(fd), 200, "\"id\":\"2\"");
    assert_answer(hear_one(fd), 201, "\r\n\r\n7");
    char *last = hear(fd);
    assert_answer(last, 200, "\"id\":\"3\"");
    free(last);
    close(fd);
}

static void test_http_1_0(void **state) {
    expect(*state, "GET /echo/1 HTTP/1.0\r\n\r\n", 200, "\r\nConnection: close\r\n");
    int fd = dial(*state);
    for (int i = 0; i < 2; i++) {
        say(fd, "GET /echo/1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        assert_answer(hear_one(fd), 200, "\r\nConnection: keep-alive\r\n");
    }
    close(fd);
}

static void test_request_byte_by_byte(void **state) {
    int fd = dial(*state);
    const char *request = GET("/echo/slow");
    for (size_t i = 0; request[i]; i++)
        say_bytes(fd, request + i, 1);
    char *answer = hear(fd);
    assert_answer(answer, 200, "slow");
    free(answer);
    close(fd);
}

static void test_headers_of_every_answer(void **state) {
    static const char *const wanted[] = {"Server: Elara/",
                                         "Date: ",
                                         "X-Content-Type-Options: nosniff\r\n",
                                         "Access-Control-Allow-Origin: http://friend:1234\r\n",
                                         "Access-Control-Allow-Headers: X-One\r\n",
                                         "Access-Control-Allow-Methods: GET\r\n",
                                         "Access-Control-Allow-Credentials: true\r\n",
                                         "Access-Control-Expose-Headers: X-Two\r\n",
                                         "Access-Control-Max-Age: 60\r\n"};
    static const char *const requests[] = {GET("/echo/1"), GET("/none"), "nonsense\r\n\r\n",
                                           GET("/fail/system")};
    for (size_t r = 0; r < sizeof requests / sizeof requests[0]; r++) {
        char *answer = ask(*state, requests[r]);
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
            if (strstr(answer, wanted[i]) == NULL)
                fail_msg("no %s in %s", wanted[i], answer);
        assert_null(strstr(answer, "\nX-Forged"));
        free(answer);
    }
}

static void test_etag(void **state) {
    char *answer = ask(*state, GET("/echo/1"));
    char *etag = strstr(answer, "\r\nEtag: ");
    assert_non_null(etag);
    char request[512], value[64];
    sscanf(etag + 8, "%63s", value);
    free(answer);
    const char *const lists[] = {"%s", "\"x\", %s", "W/%s", "*"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        size_t at =
            (size_t)sprintf(request, "GET /echo/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                                     "If-None-Match: ");
        const char *place = strstr(lists[i], "%s");
        sprintf(request + at, "%.*s%s\r\n\r\n", (int)(place ? place - lists[i] : 1), lists[i],
                place ? value : "");
        answer = ask(*state, request);
        assert_answer(answer, 304, value);
        assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
        free(answer);
    }
    expect(*state,
           "GET /echo/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nIf-None-Match: \"x\"\r\n\r\n",
           200, "");
}

static void test_failures(void **state) {
    const struct server *server = *state;
    expect(server, GET("/fail/invalid"), 400,
           "{\"reason\":\"Bad Request\",\"message\":\"because ?\"}");
    expect(server, GET("/fail/denied"), 403, "Forbidden");
    expect(server, GET("/fail/not_found"), 404, "Not Found");
    expect(server, GET("/fail/exists"), 409, "Conflict");
    expect(server, GET("/fail/limit"), 403, "Forbidden");
    expect(server, GET("/fail/timeout"), 504, "Gateway Timeout");
    expect(server, GET("/fail/unavailable"), 503, "\r\nRetry-After: 1\r\n");
    expect(server, GET("/fail/unsupported"), 501, "Not Implemented");
    expect(server, GET("/fail/system"), 500, "Internal Server Error");
}

static void ask_from(const struct server *server, const char *origin, const char *host,
                     const char *more, int status) {
    char request[512];
    sprintf(request,
            "GET /echo/1 HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nConnection: close\r\n%s\r\n", host,
            origin, more);
    expect(server, request, status, "");
}

static void test_origin(void **state) {
    const struct server *server = *state;
    ask_from(server, "http://here:8888", "here:8888", "", 200);
    ask_from(server, "https://HERE", "here:443", "", 200);
    ask_from(server, "http://friend:1234", "here", "", 200);
    ask_from(server, "http://evil", "here", "", 404);
    ask_from(server, "http://here:81", "here", "", 404);
    ask_from(server, "null", "here", "", 404);
    ask_from(server, "http://here", "here", "X-Forwarded-Proto: http\r\n", 200);
    ask_from(server, "https://here", "here", "X-Forwarded-Proto: https\r\n", 200);
    ask_from(server, "http://here", "here", "X-Forwarded-Proto: https\r\n", 404);
    ask_from(server, "http://here", "here", "X-Forwarded-Proto: wss\r\nUpgrade: websocket\r\n",
             403);
    ask_from(server, "http://friend:1234", "here", "X-Forwarded-Proto: https\r\n", 200);
    ask_from(server, "http://evil", "here", "Upgrade: websocket\r\n", 403);
    expect(server,
           "GET /public HTTP/1.1\r\nHost: a\r\nOrigin: http://evil\r\nConnection: close\r\n\r\n",
           200, "");
}

static void ask_as(const struct server *server, const char *host, int status) {
    char request[512];
    sprintf(request, "GET /public HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    expect(server, request, status, status == 403 ? "allow-hosts" : "");
}

static void test_host(void **state) {
    (void)state;
    static char hub[] = "Hub", inner[] = "*.inner", ipv6[] = "[2001:db8::1]";
    static char *const hosts[] = {hub, inner, ipv6, NULL};
    static const char *const ours[] = {"localhost", "LOCALHOST.:1", "a.localhost:80",
                                       "127.0.0.1", "127.9.9.9:80", "[::1]:80",
                                       "hub:80",    "HUB",          "a.inner",
                                       "friend",    "friend:99",    "[2001:db8::1]:80",
                                       ""};
    static const char *const foreign[] = {
        "evil",           "evil:80",  "xlocalhost", "localhost.evil",
        "127.0.0.1.evil", "10.0.0.1", "[::2]",      "hub2",
        "inner",          "xfriend",  "::1"};
    struct server server = {.settings = server_settings()};
    server.settings.check_host = true;
    server.settings.allow_hosts = hosts;
    server.settings.allow_origin = "http://Friend:1234";
    server_start(&server, routes);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        ask_as(&server, ours[i], 200);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        ask_as(&server, foreign[i], 403);
    server_stop(&server);
}

static void test_answer_in_a_later_turn(void **state) {
    int fd = dial(*state);
    say(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" GET("/echo/next"));
    assert_int_equal(server_told(*state), 'h');
    expect(*state, GET("/let-go"), 204, "");
    assert_answer(hear_one(fd), 200, "at last");
    char *next = hear(fd);
    assert_answer(next, 200, "next");
    free(next);
    close(fd);
}

static void test_client_leaves_before_the_answer(void **state) {
    for (int reset = 0; reset < 2; reset++) {
        int fd = dial(*state);
        struct linger hard = {.l_onoff = reset};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        say(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(server_told(*state), 'h');
        close(fd);
        assert_int_equal(server_told(*state), 'g');
        expect(*state, GET("/let-go"), 204, ""); /* goes nowhere, breaks nothing */
    }
}

static void test_flood_behind_a_held_request(void **state) {
    int fd = dial(*state);
    say(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(server_told(*state), 'h');
    enum { MANY = 4000 };
    fcntl(fd, F_SETFL, O_NONBLOCK); /* the server stops reading at some point */
    const char *request = "GET /echo/1 HTTP/1.1\r\nHost: a\r\n\r\n";
    for (int i = 0; i < MANY; i++)
        say(fd, request);
    fcntl(fd, F_SETFL, 0);
    expect(*state, GET("/let-go"), 204, "");
    assert_answer(hear_one(fd), 200, "at last");
    for (int i = 0; i < 1000; i++)
        assert_answer(hear_one(fd), 200, "\"id\":\"1\"");
    close(fd);
}

static void test_hundreds_of_clients(void **state) {
    enum { CLIENTS = 300 };
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = dial(*state);
        say(fds[i], i % 3 == 0 ? GET("/echo/1") : "GET /echo/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_answer(hear_one(fds[i]), 200, "\"id\":\"1\"");
        close(fds[i]);
    }
}

int main(void) {
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed_requests_are_refused_by_name),
        cmocka_unit_test(test_nul_bytes_do_not_cut_a_header),
        cmocka_unit_test(test_large_headers_are_431),
        cmocka_unit_test(test_the_heads_limit),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_long_chunk_lines_and_trailers),
        cmocka_unit_test(test_deep_json_is_an_error_and_no_crash),
        cmocka_unit_test(test_body_in_pieces_with_continue),
        cmocka_unit_test(test_keep_alive_and_pipelining),
        cmocka_unit_test(test_http_1_0),
        cmocka_unit_test(test_request_byte_by_byte),
        cmocka_unit_test(test_headers_of_every_answer),
        cmocka_unit_test(test_etag),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_origin),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_answer_in_a_later_turn),
        cmocka_unit_test(test_client_leaves_before_the_answer),
        cmocka_unit_test(test_flood_behind_a_held_request),
        cmocka_unit_test(test_hundreds_of_clients),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
