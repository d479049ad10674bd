/* A request that waits until another server has said who asks. The test's thread is that server, a
 * JupyterHub of few words, and the client. */
#include "http_fixture.h"

#include <errno.h>
#include <poll.h>

#define AS(token) "Host: here\r\nAuthorization: token " token "\r\n"

enum { PATIENCE_MS = 30000 };

struct place {
    struct server server;
    int hub; /* listens */
    int port;
    char url[64];
};

static struct place place; /* handlers need it */

static void hello(struct http_request *request, void *context) {
    (void)context;
    http_reply_json(request, 200, json_pack("{s:s}", "who", http_request_identity(request)->name));
}

static void echo(struct http_request *request, void *context) {
    (void)context;
    json_t *body = NULL;
    struct error err;
    if (http_request_json(request, &body, &err) < 0)
        http_reply_failure(request, &err);
    else
        http_reply_json(request, 200, json_incref(body));
}

static void on_sent(struct bufferevent *io, void *context) {
    (void)context;
    bufferevent_free(io);
}

/* Sends back what came behind the head. */
static void upgrade(struct http_request *request, void *context) {
    struct http_seat *seat;
    struct bufferevent *io = http_request_take(request, &seat);
    http_seat_free(seat);
    bufferevent_setcb(io, NULL, on_sent, NULL, context);
    bufferevent_write_buffer(io, bufferevent_get_input(io));
    bufferevent_enable(io, EV_WRITE);
}

static void ping(struct http_request *request, void *context) {
    (void)context;
    http_reply_empty(request, 204);
}

static void reload(struct http_request *request, void *context) {
    struct server *server = context;
    struct error err = {0};
    if (auth_configure(server->auth, &(struct auth_settings){.token = "s3cret"}, &err) < 0)
        abort();
    http_reply_empty(request, 204);
}

static const struct http_route routes[] = {
    {"GET", "/hello", hello, 0},
    {"POST", "/echo", echo, 0},
    {"GET", "/upgrade", upgrade, 0},
    {"GET", "/ping", ping, HTTP_PUBLIC},
    {"GET", "/reload", reload, HTTP_PUBLIC},
    {0},
};

static int setup_with(const struct auth_settings *wanted, int64_t patience_ms) {
    struct auth_settings settings = *wanted;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct error err = {0};
    place = (struct place){.server.settings = server_settings()};
    log_set_level(LOG_ERROR);
    place.hub = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(place.hub, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(place.hub, 16), 0);
    assert_int_equal(getsockname(place.hub, (struct sockaddr *)&address, &length), 0);
    place.port = ntohs(address.sin_port);
    snprintf(place.url, sizeof place.url, "http://127.0.0.1:%d/hub/api", place.port);
    place.server.settings.body_max = 64 << 20;
    place.server.settings.header_max = 4096;
    place.server.settings.header_timeout_ms = patience_ms;
    place.server.loop = loop_create();
    settings.hub_api_url = place.url;
    settings.keep_ms = 60000;
    if (auth_create(loop_base(place.server.loop), &settings, &place.server.auth, &err) < 0)
        fail_msg("%s", err.text);
    server_start(&place.server, routes);
    return 0;
}

static int setup(void **state) {
    (void)state;
    return setup_with(&(struct auth_settings){0}, PATIENCE_MS);
}

static int setup_scopes(void **state) {
    (void)state;
    static char access[] = "access:servers", own[] = "custom:x!user=alice",
                *scopes[] = {access, own, NULL};
    return setup_with(&(struct auth_settings){.hub_scopes = scopes}, PATIENCE_MS);
}

static int setup_impatient(void **state) {
    (void)state;
    return setup_with(&(struct auth_settings){0}, 1000);
}

static int teardown(void **state) {
    (void)state;
    server_stop(&place.server);
    close(place.hub);
    return 0;
}

/* What the gateway asks; returns the connection to answer on. */
static int hub_asked(const char *token) {
    struct timeval patience = {.tv_sec = 20};
    char text[4096], expected[256];
    size_t length = 0;
    setsockopt(place.hub, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int fd = accept(place.hub, NULL, NULL);
    assert_true(fd >= 0);
    do {
        ssize_t got = recv(fd, text + length, sizeof text - 1 - length, 0);
        assert_true(got > 0);
        length += (size_t)got;
        text[length] = '\0';
    } while (strstr(text, "\r\n\r\n") == NULL);
    assert_int_equal(strncmp(text, "GET /hub/api/user HTTP/1.1\r\n", 28), 0);
    snprintf(expected, sizeof expected, "\r\nAuthorization: token %s\r\n", token);
    assert_non_null(strstr(text, expected));
    return fd;
}

static void hub_says(int fd, const char *status, const char *body) {
    char text[512];
    snprintf(text, sizeof text, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
             status, strlen(body), body);
    say(fd, text);
    close(fd);
}

static void hub_knows_alice(int fd) {
    hub_says(fd, "200 OK", "{\"kind\":\"user\",\"name\":\"alice\"}");
}

/* Whatever the server was sent before, it has read. */
static void let_it_read(void) {
    free(ask(&place.server, GET("/ping")));
}

static void assert_silent(int fd) {
    char byte;
    let_it_read();
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_true(errno == EAGAIN);
}

static void test_a_request_waits_until_it_is_known_who_asks(void **state) {
    (void)state;
    int client = dial(&place.server), twin = dial(&place.server);
    say(client, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n");
    int hub = hub_asked("t");
    say(twin, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n");
    assert_silent(client);
    hub_knows_alice(hub);
    assert_answer(hear_one(client), 200, "{\"who\":\"alice\"}");
    assert_answer(hear_one(twin), 200, "{\"who\":\"alice\"}");
    say(client, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n"); /* now it is known */
    assert_answer(hear_one(client), 200, "{\"who\":\"alice\"}");
    struct pollfd asked = {.fd = place.hub, .events = POLLIN};
    assert_int_equal(poll(&asked, 1, 0), 0); /* once for all of them */
    close(client);
    close(twin);
}

static void test_who_is_not_known_is_refused(void **state) {
    (void)state;
    int client = dial(&place.server);
    say(client, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n");
    hub_says(hub_asked("t"), "403 Forbidden", "{\"status\":403}");
    assert_answer(hear_one(client), 401, "the token is not known");
    say(client, "POST /echo HTTP/1.1\r\nContent-Length: 2000000\r\n" AS("u") "\r\n");
    hub_says(hub_asked("u"), "403 Forbidden", "");
    char *answer = hear(client); /* whoever may not ask need not send the body */
    assert_answer(answer, 401, "Connection: close");
    free(answer);
    close(client);
}

static void test_what_the_hub_says_that_is_no_answer(void **state) {
    (void)state;
    static const struct {
        const char *token, *status, *body, *told;
    } cases[] = {
        {"a", "500 Oh", "{}", "/hub/api/user answers 500"},
        {"b", "302 Found", "{\"kind\":\"user\",\"name\":\"alice\"}", "answers 302"},
        {"c", "200 OK", "<html>", "does not answer with JSON"},
        {"d", "200 OK", "[]", "does not answer with JSON"},
        {"e", "200 OK", "", "does not answer with JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char request[256];
        int client = dial(&place.server);
        snprintf(request, sizeof request,
                 "GET /hello HTTP/1.1\r\nHost: h\r\nAuthorization: token %s\r\n\r\n",
                 cases[i].token);
        say(client, request);
        hub_says(hub_asked(cases[i].token), cases[i].status, cases[i].body);
        const char *answer = hear_one(client);
        assert_answer(answer, 503, "JupyterHub cannot be asked whose the token is: ");
        assert_answer(answer, 503, cases[i].told);
        assert_answer(answer, 503, "Retry-After: ");
        close(client);
    }
}

static void test_a_hub_that_says_too_much(void **state) {
    (void)state;
    int client = dial(&place.server);
    say(client, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n");
    int hub = hub_asked("t");
    size_t size = 2 << 20;
    char *body = malloc(size);
    memset(body, '[', size);
    say(hub, "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n");
    say_bytes(hub, body, size);
    assert_answer(hear_one(client), 503, "the answer is larger than 1048576 bytes");
    free(body);
    close(hub);
    close(client);
}

static int show_token(const char *token, const char *user) {
    char request[256];
    int client = dial(&place.server);
    snprintf(request, sizeof request,
             "GET /hello HTTP/1.1\r\nHost: h\r\nAuthorization: token %s\r\n\r\n", token);
    say(client, request);
    hub_says(hub_asked(token), "200 OK", user);
    int status = status_of(hear_one(client));
    close(client);
    return status;
}

static void test_whose_token_it_is(void **state) {
    (void)state;
    static const struct {
        const char *token, *user;
        int status;
    } cases[] = {
        {"a", "{\"name\":\"alice\"}", 200},
        {"b", "{\"kind\":\"service\",\"name\":\"alice\"}", 401},
        {"c", "{\"kind\":\"user\"}", 401},
        {"d", "{\"kind\":\"user\",\"name\":[\"alice\"]}", 401},
        {"e", "{\"kind\":\"user\",\"name\":\"default\"}", 401},
        {"f", "{\"kind\":\"user\",\"name\":\"a\\u0000b\"}", 503},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(show_token(cases[i].token, cases[i].user), cases[i].status);
}

/* A server that others may visit has tokens of its visitors, for that server alone. */
static void test_scopes(void **state) {
    (void)state;
    static const struct {
        const char *token, *scopes;
        int status;
    } cases[] = {
        {"a", "'access:servers'", 200},
        {"b", "'self','access:servers!server=alice/'", 200},
        {"c", "'access:servers!server=alice/lab'", 200},
        {"d", "'access:servers!user=alice'", 200},
        {"e", "'access:servers!server=bob/'", 401},
        {"f", "'access:servers!server=alicebob/'", 401},
        {"g", "'access:servers!server=alice'", 401},
        {"h", "'access:servers!user=bob'", 401},
        {"i", "'access:servers!group=alice'", 401},
        {"j", "'access:servers!'", 401},
        {"k", "'access:serversx','access','read:users:name!user=alice'", 401},
        {"l", "'custom:x!user=alice'", 200},
        {"m", "'custom:x!user=alice2'", 401},
        {"n", "'custom:x'", 401},
        {"o", "7,null,['access:servers']", 401},
        {"p", "", 401},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char user[256];
        snprintf(user, sizeof user, "{'kind':'user','name':'alice','scopes':[%s]}",
                 cases[i].scopes);
        for (char *quote; (quote = strchr(user, '\'')) != NULL;)
            *quote = '"';
        if (show_token(cases[i].token, user) != cases[i].status)
            fail_msg("%s is not %d", cases[i].scopes, cases[i].status);
    }
    assert_int_equal(show_token("q", "{\"kind\":\"user\",\"name\":\"alice\"}"), 401);
}

static void test_a_chunked_body_and_a_next_request_wait_too(void **state) {
    (void)state;
    int client = dial(&place.server);
    say(client, "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" AS(
                    "t") "\r\n"
                         "3\r\n[1]\r\n0\r\n\r\n"
                         "GET /hello HTTP/1.1\r\n" AS("t") "Connection: close\r\n\r\n");
    int hub = hub_asked("t");
    assert_silent(client);
    hub_knows_alice(hub);
    assert_answer(hear_one(client), 200, "\r\n\r\n[1]");
    assert_answer(hear_one(client), 200, "{\"who\":\"alice\"}");
    close(client);
}

static void test_a_body_that_arrives_while_it_waits(void **state) {
    (void)state;
    static const char *const heads[] = {
        "POST /echo HTTP/1.1\r\nContent-Length: 7\r\n" AS("t") "\r\n[1,",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" AS("u") "\r\n3\r\n[1,\r\n",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" AS("v") "\r\n3\r\n[1,\r\n",
    };
    static const char *const rests[] = {"2,3]", "4\r\n2,3]\r\n0\r\n\r\n", "4\r\n2,3]\r\n"};
    for (size_t i = 0; i < 3; i++) {
        char token[] = {"tuv"[i], '\0'};
        int client = dial(&place.server);
        say(client, heads[i]);
        int hub = hub_asked(token);
        say(client, rests[i]);
        assert_silent(client);
        hub_knows_alice(hub);
        if (i == 2)
            say(client, "0\r\n\r\n");
        assert_answer(hear_one(client), 200, "\r\n\r\n[1,2,3]");
        close(client);
    }
}

/* A client cannot fill our memory while nobody knows who it is. */
static void test_a_large_body_waits_at_the_clients(void **state) {
    (void)state;
    size_t size = 48 << 20, sent = 0;
    char *body = malloc(size), head[256];
    memset(body, ' ', size);
    body[size - 1] = '7';
    int client = dial(&place.server);
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nContent-Length: %zu\r\n" AS("t") "\r\n",
             size);
    say(client, head);
    int hub = hub_asked("t");
    struct pollfd room = {.fd = client, .events = POLLOUT};
    while (sent < size && poll(&room, 1, 300) == 1) { /* until nothing more goes out */
        ssize_t some = send(client, body + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        assert_true(some > 0);
        sent += (size_t)some;
    }
    assert_true(sent < size / 2);
    hub_knows_alice(hub);
    say_bytes(client, body + sent, size - sent);
    assert_answer(hear_one(client), 200, "\r\n\r\n7");
    free(body);
    close(client);
}

static void test_expect_continue_comes_after_the_waiting(void **state) {
    (void)state;
    int client = dial(&place.server);
    say(client,
        "POST /echo HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n" AS("t") "\r\n");
    int hub = hub_asked("t");
    assert_silent(client);
    hub_knows_alice(hub);
    assert_answer(hear_one(client), 100, "");
    say(client, "[1]");
    assert_answer(hear_one(client), 200, "\r\n\r\n[1]");
    close(client);
}

static void test_a_client_that_leaves_while_it_waits(void **state) {
    (void)state;
    int leaver = dial(&place.server), resetter = dial(&place.server), stayer = dial(&place.server);
    say(leaver, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n");
    int hub = hub_asked("t");
    say(resetter, "POST /echo HTTP/1.1\r\nContent-Length: 7\r\n" AS("t") "\r\n[1,");
    say(stayer, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n");
    let_it_read();
    struct linger at_once = {.l_onoff = 1};
    setsockopt(resetter, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(leaver);
    close(resetter);
    let_it_read();
    hub_knows_alice(hub);
    assert_answer(hear_one(stayer), 200, "{\"who\":\"alice\"}");
    close(stayer);
}

static void test_new_settings_while_it_waits(void **state) {
    (void)state;
    int client = dial(&place.server), stranger = dial(&place.server);
    say(client, "GET /hello HTTP/1.1\r\n" AS("s3cret") "\r\n");
    int hub = hub_asked("s3cret");
    say(stranger, "GET /hello HTTP/1.1\r\n" AS("other") "\r\n");
    int hub_too = hub_asked("other");
    free(ask(&place.server, GET("/reload")));
    assert_answer(hear_one(client), 200, "{\"who\":\"default\"}");
    assert_answer(hear_one(stranger), 401, "");
    char byte;
    assert_int_equal(recv(hub, &byte, 1, 0), 0); /* nobody waits for it any more */
    close(hub);
    close(hub_too);
    close(client);
    close(stranger);
}

static void test_an_upgrade_waits(void **state) {
    (void)state;
    int client = dial(&place.server);
    say(client, "GET /upgrade HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" AS(
                    "t") "\r\nearly");
    int hub = hub_asked("t");
    assert_silent(client);
    hub_knows_alice(hub);
    char *answer = hear(client);
    assert_answer(answer, 101, "\r\n\r\nearly");
    free(answer);
    close(client);
}

static void test_a_hub_that_hangs(void **state) {
    (void)state;
    int client = dial(&place.server);
    say(client, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n");
    int hub = hub_asked("t");
    const char *answer = hear_one(client);
    assert_answer(answer, 503, "(header-timeout)");
    assert_answer(answer, 503, "Retry-After: ");
    hub_knows_alice(hub); /* at last */
    say(client, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n");
    assert_answer(hear_one(client), 200, "{\"who\":\"alice\"}");
    close(client);
}

static void test_the_server_ends_while_a_request_waits(void **state) {
    (void)state;
    int client = dial(&place.server);
    say(client, "GET /hello HTTP/1.1\r\n" AS("t") "\r\n");
    int hub = hub_asked("t");
    teardown(NULL); /* under a sanitizer this is the whole test */
    char *answer = hear(client);
    assert_string_equal(answer, "");
    free(answer);
    close(client);
    close(hub);
    setup(NULL);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_waits_until_it_is_known_who_asks),
        TEST(test_who_is_not_known_is_refused),
        TEST(test_what_the_hub_says_that_is_no_answer),
        TEST(test_a_hub_that_says_too_much),
        TEST(test_whose_token_it_is),
        cmocka_unit_test_setup_teardown(test_scopes, setup_scopes, teardown),
        TEST(test_a_chunked_body_and_a_next_request_wait_too),
        TEST(test_a_body_that_arrives_while_it_waits),
        TEST(test_a_large_body_waits_at_the_clients),
        TEST(test_expect_continue_comes_after_the_waiting),
        TEST(test_a_client_that_leaves_while_it_waits),
        TEST(test_new_settings_while_it_waits),
        TEST(test_an_upgrade_waits),
        cmocka_unit_test_setup_teardown(test_a_hub_that_hangs, setup_impatient, teardown),
        TEST(test_the_server_ends_while_a_request_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
