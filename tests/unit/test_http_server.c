/* The HTTP server's life and surroundings: ports, time-outs, tokens, files, stopping. */
#include "base/file.h"
#include "http_fixture.h"
#include "log_capture.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

static void hello(struct http_request *request, void *context) {
    (void)context;
    const struct auth_identity *identity = http_request_identity(request);
    http_reply_json(request, 200,
                    json_pack("{s:s, s:s}", "who", identity ? identity->name : "nobody", "base",
                              http_base_url(request)));
}

static void take(struct http_request *request, void *context) {
    (void)context;
    http_reply_empty(request, 204);
}

static void file(struct http_request *request, void *context) {
    const struct http_file file = {.root = "files", .path = http_request_param(request, "path")};
    http_reply_file(request, ((struct server *)context)->background, &file);
}

static void large(struct http_request *request, void *context) {
    (void)context;
    size_t size = 32 << 20;
    char *data = calloc(1, size);
    http_reply_bytes(request, 200, "application/octet-stream", data, size);
    free(data);
}

static void stop_accepting(struct http_request *request, void *context) {
    http_stop_accepting(((struct server *)context)->http);
    http_reply_empty(request, 204);
}

static struct http_request *held;

/* The client or the server went away: the answer goes nowhere. */
static void on_gone(void *context) {
    (void)context;
    http_reply_empty(held, 204);
}

static void hold(struct http_request *request, void *context) {
    held = request;
    http_request_on_gone(request, on_gone, context);
    server_tell(context, 'h');
}

static const struct http_route routes[] = {
    {"GET", "/hello", hello, 0},
    {"POST", "/things", take, 0},
    {"GET", "/public", hello, HTTP_PUBLIC},
    {"GET", "/files/{path...}", file, 0},
    {"GET", "/large", large, 0},
    {"GET", "/hold", hold, 0},
    {"POST", "/stop", stop_accepting, 0},
    {0},
};

static void start(struct server *server) {
    server_start(server, routes);
}

static struct server fresh(void) {
    return (struct server){.settings = server_settings()};
}

static void expect(const struct server *server, const char *request, int status, const char *part) {
    char *answer = ask(server, request);
    assert_answer(answer, status, part);
    free(answer);
}

static void test_base_url(void **state) {
    (void)state;
    static const char *const forms[] = {"/Pre/fix/", "/Pre/fix", "Pre/fix"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct server server = fresh();
        server.settings.base_url = forms[i];
        start(&server);
        expect(&server, GET("/Pre/fix/hello"), 200, "\"base\":\"/Pre/fix/\"");
        expect(&server, GET("/hello"), 404, "Not Found");
        expect(&server, GET("/Pre/fix"), 404, "Not Found");
        expect(&server, GET("/pre/fix/hello"), 404, "Not Found");
        /* jupyter_server derives the WebSocket's URL in lower case */
        expect(&server,
               "GET /pre/fix/hello HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: close\r\n\r\n",
               200, "");
        server_stop(&server);
    }
}

static void test_tokens(void **state) {
    (void)state;
    struct server server = fresh();
    struct error err = {0};
    assert_int_equal(
        auth_create(NULL, &(struct auth_settings){.token = "s3cret"}, &server.auth, &err), 0);
    start(&server);
    expect(&server, GET("/hello"), 401, "{\"reason\":\"Unauthorized\",\"message\":\"");
    expect(&server, GET("/hello?token=wrong"), 401, "");
    expect(&server, GET("/hello?token=s3cret"), 200, "");
    expect(&server, GET("/public"), 200, "nobody");
    expect(&server, GET("/none"), 404, "");
    expect(&server, "OPTIONS /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, "");
    expect(&server,
           "GET /hello HTTP/1.1\r\nHost: a\r\nAuthorization: token s3cret\r\nConnection: "
           "close\r\n\r\n",
           200, "");
    /* Whoever may not ask need not send the body. */
    expect(&server, "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 401, "");
    server_stop(&server);
}

static void test_the_log_names_no_token(void **state) {
    (void)state;
    struct server server = fresh();
    start(&server);
    struct log_capture capture = log_capture_begin(LOG_DEBUG);
    free(ask(&server, GET("/hello?a=1&%74oken=s3cret&token=s3cret&b=%0aforged")));
    char *text = log_capture_end(&capture);
    server_stop(&server);
    assert_null(strstr(text, "s3cret"));
    assert_null(strstr(text, "\nforged"));
    assert_non_null(strstr(text, "GET /hello?a=1&token=***&token=***&b="));
    assert_non_null(strstr(text, "-> 200 in "));
    free(text);
}

static void ask_via(const struct server *server, const char *header, const char *address) {
    char request[256], part[64];
    sprintf(request, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n\r\n", header);
    sprintf(part, ", from %s\n", address);
    struct log_capture capture = log_capture_begin(LOG_DEBUG);
    free(ask(server, request));
    char *log = log_capture_end(&capture);
    assert_int_equal(log_count(log, part), 1);
    free(log);
}

static void test_proxy_addresses(void **state) {
    (void)state;
    struct server server = fresh();
    start(&server);
    ask_via(&server, "X-Real-Ip: 1.2.3.4", "127.0.0.1");
    server_stop(&server);
    server = fresh();
    server.settings.trust_xheaders = true;
    start(&server);
    ask_via(&server, "X-Real-Ip: 1.2.3.4", "1.2.3.4");
    ask_via(&server, "X-Forwarded-For: 9.9.9.9, 2001:db8::1", "2001:db8::1");
    ask_via(&server, "X-Real-Ip: <script>", "127.0.0.1");
    ask_via(&server, "X-Forwarded-For:", "127.0.0.1");
    server_stop(&server);
}

static void write_file(const char *path, const char *text) {
    struct error err = {0};
    if (file_write(path, text, strlen(text), 0644, &err) < 0)
        fail_msg("%s", err.text);
}

static void test_files(void **state) {
    (void)state;
    struct server server = fresh();
    mkdir("files", 0700);
    mkdir("files/sub", 0700);
    write_file("outside", "secret");
    write_file("files/logo.svg", "<svg/>");
    write_file("files/sub/kernel.js", "0123456789");
    write_file("files/..data", "dots");
    start(&server);
    expect(&server, GET("/files/logo.svg"), 200, "\r\nContent-Type: image/svg+xml\r\n");
    expect(&server, GET("/files/sub/kernel.js"), 200, "\r\n\r\n0123456789");
    expect(&server, GET("/files/..data"), 200, "application/octet-stream");
    expect(&server, GET("/files/none"), 404, "none does not exist");
    expect(&server, GET("/files/sub"), 403, "is not a file");
    expect(&server, GET("/files/../outside"), 403, "not in root");
    expect(&server, GET("/files/sub/..%2f..%2foutside"), 403, "not in root");
    expect(&server, GET("/files/%2fetc%2fpasswd"), 403, "not in root");
    char *answer =
        ask(&server, "HEAD /files/logo.svg HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_answer(answer, 200, "\r\nContent-Length: 6\r\n");
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    free(answer);
    server_stop(&server);
}

static void ask_range(const struct server *server, const char *range, int status,
                      const char *part) {
    char request[256];
    sprintf(
        request,
        "GET /files/sub/kernel.js HTTP/1.1\r\nHost: a\r\nConnection: close\r\nRange: %s\r\n\r\n",
        range);
    expect(server, request, status, part);
}

static void test_ranges_and_validators(void **state) {
    (void)state;
    struct server server = fresh();
    start(&server);
    ask_range(&server, "bytes=2-4", 206, "\r\nContent-Range: bytes 2-4/10\r\n");
    ask_range(&server, "bytes=2-4", 206, "\r\n\r\n234");
    ask_range(&server, "bytes=7-", 206, "\r\n\r\n789");
    ask_range(&server, "bytes=7-99", 206, "\r\n\r\n789");
    ask_range(&server, "bytes=-3", 206, "\r\n\r\n789");
    ask_range(&server, "bytes=-99", 206, "\r\n\r\n0123456789");
    ask_range(&server, "bytes=10-", 416, "\r\nContent-Range: bytes */10\r\n");
    ask_range(&server, "bytes=-0", 416, "");
    ask_range(&server, "bytes=4-2", 200, "\r\n\r\n0123456789");
    ask_range(&server, "bytes=0-1,3-4", 200, "\r\n\r\n0123456789");
    ask_range(&server, "lines=1-2", 200, "\r\n\r\n0123456789");
    ask_range(&server, "bytes=99999999999999999999-", 200, "");
    char *answer = ask(&server, GET("/files/sub/kernel.js")), request[512], value[128];
    sscanf(strstr(answer, "\r\nEtag: ") + 8, "%127s", value);
    sprintf(request,
            "GET /files/sub/kernel.js HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            "If-None-Match: %s\r\n\r\n",
            value);
    expect(&server, request, 304, "");
    sscanf(strstr(answer, "\r\nLast-Modified: ") + 17, "%127[^\r]", value);
    sprintf(request,
            "GET /files/sub/kernel.js HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            "If-Modified-Since: %s\r\n\r\n",
            value);
    expect(&server, request, 304, "");
    expect(&server,
           "GET /files/sub/kernel.js HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
           "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n\r\n",
           200, "");
    free(answer);
    server_stop(&server);
}

static void test_slow_clients_run_out_of_time(void **state) {
    (void)state;
    struct server server = fresh();
    server.settings.header_timeout_ms = server.settings.body_timeout_ms =
        server.settings.idle_timeout_ms = 50;
    start(&server);
    expect(&server, "GET /hello HT", 408, "header: did not arrive in time");
    expect(&server, "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", 408,
           "body: did not arrive in time");
    expect(&server, "POST /things HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nx",
           408, "body: did not arrive in time");
    char *answer = ask(&server, ""); /* nothing was asked: nothing is said */
    assert_string_equal(answer, "");
    free(answer);
    answer = ask(&server, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"); /* idle after the answer */
    assert_answer(answer, 200, "");
    free(answer);
    server_stop(&server);
}

/* The deadline is the head's, not each read's: a byte now and then does not push it out. */
static void test_a_trickled_head_runs_out_of_time(void **state) {
    (void)state;
    struct server server = fresh();
    server.settings.header_timeout_ms = 200;
    start(&server);
    int fd = dial(&server);
    struct timeval patience = {.tv_usec = 20000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    say(fd, "GET /hello HTTP/1.1\r\nX: ");
    char first = 0;
    for (int i = 0; i < 500 && recv(fd, &first, 1, 0) < 0; i++)
        say(fd, "x");
    assert_int_equal(first, 'H'); /* the 408 came while we were still writing */
    close(fd);
    server_stop(&server);
}

static void test_a_client_that_does_not_read_is_let_go(void **state) {
    (void)state;
    struct server server = fresh();
    server.settings.body_timeout_ms = server.settings.header_timeout_ms = 50;
    start(&server);
    /* With its usual receive buffer: what our system took reaches a small one a few KiB at a time,
     * for a minute. */
    int fd = dial(&server);
    say(fd, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    char first;
    assert_int_equal(recv(fd, &first, 1, 0), 1);
    /* Whoever asks next sees that the deadlines have passed: its own answer takes as long. */
    for (int i = 0; i < 6; i++)
        free(ask(&server, "GET /hello HT"));
    size_t total = 0;
    char part[65536];
    ssize_t got;
    while ((got = recv(fd, part, sizeof part, 0)) > 0)
        total += (size_t)got;
    assert_true(total < 32 << 20);
    close(fd);
    server_stop(&server);
}

static void test_stopping(void **state) {
    (void)state;
    struct server server = fresh();
    start(&server);
    int idle = dial(&server), busy = dial(&server);
    say(idle, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(hear_one(idle), 200, "");
    say(busy, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(server_told(&server), 'h');
    int port = http_port(server.http);
    expect(&server, "POST /stop HTTP/1.1\r\nHost: a\r\n\r\n", 204, "\r\nConnection: close\r\n");
    char byte;
    assert_int_equal(recv(idle, &byte, 1, 0), 0);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof address), -1);
    close(late);
    server_stop(&server); /* with a request that nobody has answered */
    close(idle);
    close(busy);
}

static void test_the_next_port_is_taken(void **state) {
    (void)state;
    struct server first = fresh(), second = fresh();
    start(&first);
    int port = http_port(first.http);
    struct error err = {0};
    struct loop *loop = loop_create();
    struct http *http;
    second.settings.port = port;
    assert_int_equal(http_create(loop, &second.settings, NULL, &http, &err), 0);
    assert_int_equal(http_listen(http, &err), -1);
    assert_int_equal(err.code, ERROR_EXISTS);
    http_destroy(http);
    second.settings.port_retries = 40;
    assert_int_equal(http_create(loop, &second.settings, NULL, &http, &err), 0);
    assert_int_equal(http_listen(http, &err), 0);
    assert_int_not_equal(http_port(http), port);
    assert_true(abs(http_port(http) - port) <= 2 * 41);
    http_destroy(http);
    loop_destroy(loop);
    server_stop(&first);
}

static void test_addresses(void **state) {
    (void)state;
    static const char *const good[] = {"", "*", "0.0.0.0", "localhost", "127.0.0.1"};
    struct loop *loop = loop_create();
    struct http *http;
    struct error err = {0};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct http_settings settings = server_settings();
        settings.ip = good[i];
        assert_int_equal(http_create(loop, &settings, NULL, &http, &err), 0);
        if (http_listen(http, &err) < 0)
            fail_msg("\"%s\": %s", good[i], err.text);
        assert_true(http_port(http) > 0);
        http_destroy(http);
    }
    struct http_settings settings = server_settings();
    settings.ip = "no such host";
    assert_int_equal(http_create(loop, &settings, NULL, &http, &err), 0);
    assert_int_equal(http_listen(http, &err), -1);
    assert_non_null(strstr(err.text, "ip: \"no such host\""));
    http_destroy(http);
    loop_destroy(loop);
}

static int enter_directory(void **state) {
    static char path[] = "/tmp/test_http_server.XXXXXX";
    *state = mkdtemp(path);
    return *state && chdir(path) == 0 ? 0 : -1;
}

static int leave_directory(void **state) {
    return chdir("/") == 0 ? file_remove_tree(*state, NULL) : -1;
}

int main(void) {
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_url),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_the_log_names_no_token),
        cmocka_unit_test(test_proxy_addresses),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_ranges_and_validators),
        cmocka_unit_test(test_slow_clients_run_out_of_time),
        cmocka_unit_test(test_a_trickled_head_runs_out_of_time),
        cmocka_unit_test(test_a_client_that_does_not_read_is_let_go),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_the_next_port_is_taken),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
