/* WebSocket connections over real sockets: the handshake, frames, closing, floods, and peers that
 * misbehave. */
#include "websocket_fixture.h"

#include <dirent.h>
#include <linux/tcp.h>

enum { BIG = 20 << 20, FLOOD = 5000 };

static bool is(const struct peer *peer, const char *behaviour) {
    return strcmp(peer->behaviour, behaviour) == 0;
}

static void on_release(void *argument) {
    server_tell(argument, 'r'); /* it may outlive the peer */
}

static void send_flood(struct peer *peer) {
    for (int i = 0; i < FLOOD; i++) {
        char text[32];
        size_t length = (size_t)snprintf(text, sizeof text, "message %d", i);
        websocket_send(peer->ws, false, text, length);
    }
}

static uint8_t big[BIG];

static void on_message(void *context, bool binary, const uint8_t *data, size_t length) {
    struct peer *peer = context;
    if (is(peer, "flood")) {
        send_flood(peer);
    } else if (is(peer, "big")) {
        websocket_send_reference(peer->ws, true, big, BIG, on_release, peer->server);
    } else if (is(peer, "close")) {
        websocket_close(peer->ws, 1012, "come back");
        websocket_send(peer->ws, false, "too late", 8);
    } else if (is(peer, "drop")) {
        server_tell(peer->server, 'd');
        websocket_drop(peer->ws);
        websocket_drop(peer->ws);
    } else if (is(peer, "pause")) {
        server_tell(peer->server, (char)data[0]);
        websocket_pause(peer->ws);
    } else if (is(peer, "full")) {
        for (int i = 0; i < 100; i++)
            websocket_send_reference(peer->ws, true, big, 1 << 20, on_release, peer->server);
    } else {
        websocket_send(peer->ws, binary, data, length);
    }
}

static void on_drained(void *context) {
    struct peer *peer = context;
    if (is(peer, "big") && websocket_queued(peer->ws) == 0)
        server_tell(peer->server, 'e');
}

static void on_ponged(void *context) {
    struct peer *peer = context;
    if (is(peer, "proof")) {
        uint64_t proved = websocket_acknowledged(peer->ws);
        server_tell(peer->server, proved == 0 ? '0' : 'p');
    }
}

static void on_closed(void *context, const char *why) {
    struct peer *peer = context;
    snprintf(last_why, sizeof last_why, "%s", why);
    if (last_peer == peer)
        last_peer = NULL;
    server_tell(peer->server, 'c');
    free(peer);
}

static void open_peer(struct http_request *request, void *context) {
    static const struct websocket_events events = {
        .message = on_message, .drained = on_drained, .ponged = on_ponged, .closed = on_closed};
    struct server *server = context;
    struct peer *peer = memory_alloc(sizeof *peer);
    peer->server = server;
    snprintf(peer->behaviour, sizeof peer->behaviour, "%s",
             http_request_param(request, "behaviour"));
    const char *protocol = websocket_is_offered(request, "v1") ? "v1" : NULL;
    if (websocket_accept(server->loop, request, protocol, &peer_settings, &events, peer,
                         &peer->ws) < 0) {
        free(peer);
        return;
    }
    last_peer = peer;
    if (is(peer, "greet"))
        websocket_send(peer->ws, false, "hello", 5); /* before the 101 has left */
    if (is(peer, "drop-at-once"))
        websocket_drop(peer->ws);
}

static void resume(struct http_request *request, void *context) {
    (void)context;
    websocket_resume(last_peer->ws);
    http_reply_empty(request, 204);
}

static void counters(struct http_request *request, void *context) {
    (void)context;
    struct websocket *ws = last_peer->ws;
    http_reply_json(request, 200,
                    json_pack("{s:I, s:I, s:I}", "accepted", (json_int_t)websocket_accepted(ws),
                              "queued", (json_int_t)websocket_queued(ws), "acknowledged",
                              (json_int_t)websocket_acknowledged(ws)));
}

static const struct http_route routes[] = {
    {"GET", "/ws/{behaviour}", open_peer, 0},
    {"POST", "/ws/{behaviour}", open_peer, 0},
    {"GET", "/resume", resume, 0},
    {"GET", "/counters", counters, 0},
    {0},
};

static int setup(void **state) {
    static struct server server;
    server = (struct server){.settings = server_settings()};
    server.settings.allow_origin = "http://friend";
    peer_settings = (struct websocket_settings){.message_max = 24 << 20};
    last_why[0] = '\0';
    server_start(&server, routes);
    *state = &server;
    return 0;
}

static int teardown(void **state) {
    server_stop(*state);
    return 0;
}

static void expect_closed(struct server *server, const char *why) {
    assert_int_equal(server_told(server), 'c');
    if (strstr(last_why, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", last_why, why);
}

static void ask_upgrade(const struct server *server, const char *lines, int status,
                        const char *part) {
    char request[512];
    sprintf(request, "%s\r\n\r\n", lines);
    char *answer = ask(server, request);
    assert_answer(answer, status, part);
    free(answer);
}

static void test_handshake(void **state) {
    struct server *server = *state;
    int fd = dial(server);
    say(fd, "GET /ws/echo HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket\r\n"
            "Connection: keep-alive, upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Protocol: other, v1\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n");
    char *answer = hear_one(fd);
    assert_answer(answer, 101, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    assert_non_null(strstr(answer, "\r\nSec-WebSocket-Protocol: v1\r\n"));
    assert_non_null(strstr(answer, "\r\nUpgrade: websocket\r\n"));
    assert_non_null(strstr(answer, "\r\nAccess-Control-Allow-Origin: http://friend\r\n"));
    assert_null(strstr(answer, "Sec-WebSocket-Extensions"));
    close(fd);
    expect_closed(server, "went away");
}

static void test_refused_handshakes(void **state) {
    struct server *server = *state;
#define GET_WS "GET /ws/x HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\n"
#define KEY    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    ask_upgrade(server, "GET /ws/x HTTP/1.1\r\nHost: a\r\nConnection: close", 400,
                "\r\n\r\nCan \"Upgrade\" only to \"WebSocket\".");
    ask_upgrade(server, GET_WS KEY "Upgrade: h2c\r\nSec-WebSocket-Version: 13", 400, "Can \"");
    ask_upgrade(server, GET_WS KEY "Upgrade: websocket\r\nSec-WebSocket-Version: 8", 426,
                "\r\nSec-WebSocket-Version: 13\r\n");
    ask_upgrade(server, GET_WS KEY "Upgrade: websocket", 426, "header Sec-WebSocket-Version");
    ask_upgrade(server, GET_WS "Upgrade: websocket\r\nSec-WebSocket-Version: 13", 400,
                "header Sec-WebSocket-Key");
    ask_upgrade(server,
                GET_WS
                "Sec-WebSocket-Key: short\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
                400, "header Sec-WebSocket-Key");
    ask_upgrade(server,
                GET_WS KEY "Origin: http://evil\r\nUpgrade: websocket\r\n"
                           "Sec-WebSocket-Version: 13",
                403, "Origin");
}

static void test_messages_of_all_sizes(void **state) {
    struct client client = client_open(*state, NULL, "/ws/echo");
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(big, 'a' + (int)i, sizes[i]);
        send_frame(&client, i % 2 ? 0x82 : 0x81, big, sizes[i]);
        struct frame frame = hear_frame(&client);
        assert_int_equal(frame.first, i % 2 ? 0x82 : 0x81);
        assert_int_equal(frame.length, sizes[i]);
        assert_memory_equal(frame.data, big, sizes[i]);
        free(frame.data);
    }
    client_close(&client);
    expect_closed(*state, "");
}

static void test_fragments_with_pings_between(void **state) {
    struct client client = client_open(*state, NULL, "/ws/echo");
    send_frame(&client, 0x01, "caf\xc3", 4); /* cut within a character */
    send_frame(&client, 0x89, "are you there", 13);
    send_frame(&client, 0x00, "", 0);
    send_frame(&client, 0x8a, "", 0);
    send_frame(&client, 0x80, "\xa9", 1);
    expect_frame(&client, 0x8a, "are you there");
    expect_frame(&client, 0x81, "caf\xc3\xa9");
    client_close(&client);
    expect_closed(*state, "");
}

static void test_frames_right_behind_the_request(void **state) {
    struct client client = client_dial(*state, NULL);
    char request[1024];
    size_t length = (size_t)sprintf(request, "GET /ws/greet HTTP/1.1\r\n%s\r\n", upgrade_lines);
    length += frame_write((uint8_t *)request + length, 0x81, "early", 5);
    client_say(&client, request, length);
    char head[1024];
    for (size_t at = 0; at < 4 || memcmp(head + at - 4, "\r\n\r\n", 4) != 0; at++)
        assert_true(client_hear(&client, head + at, 1));
    expect_frame(&client, 0x81, "hello");
    expect_frame(&client, 0x81, "early");
    client_close(&client);
    expect_closed(*state, "");
}

static void test_text_that_begins_with_nul(void **state) {
    struct client client = client_open(*state, NULL, "/ws/echo");
    send_frame(&client, 0x81, "\0\0\0\x01\xff\xfe", 6);
    struct frame frame = hear_frame(&client);
    assert_int_equal(frame.length, 6);
    free(frame.data);
    client_close(&client);
    expect_closed(*state, "");
}

static void test_breaches_of_the_protocol(void **state) {
    static const struct {
        const char *bytes;
        size_t length;
        unsigned code;
    } cases[] = {
        {"\x81\x02hi", 4, 1002},                           /* no mask */
        {"\xc1\x81\0\0\0\0a", 7, 1002},                    /* a reserved bit */
        {"\x83\x81\0\0\0\0a", 7, 1002},                    /* unknown opcodes */
        {"\x8b\x80\0\0\0\0", 6, 1002},                     /**/
        {"\x09\x80\0\0\0\0", 6, 1002},                     /* a ping in fragments */
        {"\x89\xfe\0\x7e\0\0\0\0", 8, 1002},               /* a ping of 126 bytes */
        {"\x80\x81\0\0\0\0a", 7, 1002},                    /* continues nothing */
        {"\x01\x81\0\0\0\0a\x81\x81\0\0\0\0a", 14, 1002},  /* a message in a message */
        {"\x81\xfe\0\x05\0\0\0\0hello", 13, 1002},         /* a longer length than needed */
        {"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0a", 15, 1002}, /* 2^63 */
        {"\x82\xff\0\0\0\0\x7f\0\0\0\0\0\0\0a", 15, 1009}, /* 2 GiB */
        {"\x81\x81\0\0\0\0\xff", 7, 1007},                 /* not UTF-8 */
        {"\x81\x82\0\0\0\0\xc3\xa9\x81\x81\0\0\0\0\xc3", 15, 1007},
        {"\x88\x81\0\0\0\0a", 7, 1002},            /* half a close code */
        {"\x88\x82\0\0\0\0\x03\xed", 8, 1002},     /* 1005 is not for the wire */
        {"\x88\x82\0\0\0\0\0\x07", 8, 1002},       /**/
        {"\x88\x83\0\0\0\0\x03\xe8\xff", 9, 1007}, /* a reason that is no text */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client client = client_open(*state, NULL, "/ws/echo");
        client_say(&client, cases[i].bytes, cases[i].length);
        unsigned code = hear_close(&client);
        if (code != cases[i].code)
            fail_msg("case %zu: closed with %u, not %u", i, code, cases[i].code);
        send_text(&client, "more of it"); /* not looked at any more */
        assert_true(has_ended(&client));
        client_close(&client);
        expect_closed(*state, "broke the WebSocket protocol");
    }
}

static void test_message_larger_than_the_limit_in_fragments(void **state) {
    peer_settings.message_max = 1000;
    struct client client = client_open(*state, NULL, "/ws/echo");
    send_frame(&client, 0x02, big, 600);
    send_frame(&client, 0x80, big, 400);
    struct frame frame = hear_frame(&client);
    assert_int_equal(frame.length, 1000);
    free(frame.data);
    send_frame(&client, 0x02, big, 600);
    send_frame(&client, 0x80, big, 401);
    assert_int_equal(hear_close(&client), 1009);
    client_close(&client);
    expect_closed(*state, "larger than the limit");
}

static void test_client_closes(void **state) {
    static const unsigned codes[] = {1000, 1001, 4001, 1005};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct client client = client_open(*state, NULL, "/ws/echo");
        if (codes[i] == 1005)
            send_frame(&client, 0x88, "", 0);
        else
            send_close(&client, (uint16_t)codes[i]);
        assert_int_equal(hear_close(&client), codes[i]);
        assert_true(has_ended(&client));
        client_close(&client);
        expect_closed(*state, "closed by the client with");
    }
}

static void test_server_closes(void **state) {
    struct client client = client_open(*state, NULL, "/ws/close");
    send_text(&client, "please");
    send_text(&client, "no message event for this");
    struct frame frame = hear_frame(&client);
    assert_int_equal(frame.first, 0x88);
    assert_string_equal((char *)frame.data + 2, "come back");
    free(frame.data);
    send_close(&client, 1012);
    assert_true(has_ended(&client));
    client_close(&client);
    expect_closed(*state, "closed by the gateway with 1012: come back");
}

/* It takes five seconds, which is what a peer has to answer a close frame. */
static void test_a_peer_that_does_not_close_is_let_go(void **state) {
    struct client client = client_open(*state, NULL, "/ws/close");
    send_text(&client, "please");
    assert_int_equal(hear_close(&client), 1012);
    assert_true(has_ended(&client));
    client_close(&client);
    expect_closed(*state, "closed by the gateway with 1012: come back");
}

static void test_drop_from_within_a_callback(void **state) {
    struct client client = client_open(*state, NULL, "/ws/drop");
    struct peer *peer = last_peer;
    uint8_t two[64];
    size_t length = frame_write(two, 0x81, "one", 3);
    length += frame_write(two + length, 0x81, "two", 3);
    client_say(&client, two, length);
    assert_int_equal(server_told(*state), 'd'); /* once, and no closed() */
    assert_true(has_ended(&client));
    client_close(&client);
    client = client_open(*state, NULL, "/ws/echo");
    client_close(&client);
    expect_closed(*state, "");
    free(peer);
}

static void test_flood_leaves_in_few_writes(void **state) {
    struct client client = client_open(*state, NULL, "/ws/flood");
    send_text(&client, "go");
    for (int i = 0; i < FLOOD; i++) {
        char text[32];
        snprintf(text, sizeof text, "message %d", i);
        expect_frame(&client, 0x81, text);
    }
    struct tcp_info info;
    socklen_t size = sizeof info;
    assert_int_equal(getsockopt(client.fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    assert_true(info.tcpi_data_segs_in < 30);
    client_close(&client);
    expect_closed(*state, "");
}

static void test_large_messages_by_reference(void **state) {
    for (size_t i = 0; i < BIG; i += 4096)
        big[i] = (uint8_t)(i >> 12);
    struct client client = client_open(*state, NULL, "/ws/big");
    send_text(&client, "go");
    struct frame frame = hear_frame(&client);
    assert_int_equal(frame.length, BIG);
    assert_memory_equal(frame.data, big, BIG);
    free(frame.data);
    assert_int_equal(server_told(*state), 'r'); /* released once it was sent */
    assert_int_equal(server_told(*state), 'e'); /* and drained */
    client_close(&client);
    expect_closed(*state, "");
}

struct sender {
    struct client *client;
    size_t length;
};

static void *send_big(void *context) {
    struct sender *sender = context;
    send_frame(sender->client, 0x82, big, sender->length);
    return NULL;
}

static void test_large_messages_both_ways(void **state) {
    struct client client = client_open(*state, NULL, "/ws/echo");
    struct sender sender = {&client, BIG};
    pthread_t thread;
    pthread_create(&thread, NULL, send_big, &sender);
    struct frame frame = hear_frame(&client);
    pthread_join(thread, NULL);
    assert_int_equal(frame.length, BIG);
    assert_memory_equal(frame.data, big, BIG);
    free(frame.data);
    client_close(&client);
    expect_closed(*state, "");
}

static void test_pause_and_resume(void **state) {
    struct client client = client_open(*state, NULL, "/ws/pause");
    send_text(&client, "1");
    send_text(&client, "2");
    assert_int_equal(server_told(*state), '1');
    free(ask(*state, GET("/resume")));
    assert_int_equal(server_told(*state), '2');
    free(ask(*state, GET("/resume")));
    client_close(&client);
    expect_closed(*state, "");
}

static void test_pings(void **state) {
    peer_settings.ping_interval_ms = 20;
    struct client client = client_open(*state, NULL, "/ws/echo");
    for (int i = 0; i < 3; i++) {
        expect_frame(&client, 0x89, "");
        send_frame(&client, 0x8a, "", 0);
    }
    client_close(&client);
    expect_closed(*state, "");
}

static void test_a_silent_peer_is_dropped(void **state) {
    peer_settings.ping_interval_ms = 20;
    peer_settings.silence_max_ms = 60;
    struct client client = client_open(*state, NULL, "/ws/echo");
    assert_int_equal(hear_close(&client), 0); /* pings, then the end */
    client_close(&client);
    expect_closed(*state, "it answers no ping");
}

static void test_a_peer_that_never_reads_is_dropped(void **state) {
    peer_settings.queue_max = 10 << 20;
    struct client client = client_open(*state, NULL, "/ws/full");
    send_text(&client, "go");
    char told;
    int released = 0;
    while ((told = server_told(*state)) == 'r')
        released++;
    assert_int_equal(told, 'c');
    assert_non_null(strstr(last_why, "it does not read"));
    while (released < 100) { /* what was never sent is released as well */
        assert_int_equal(server_told(*state), 'r');
        released++;
    }
    client_close(&client);
}

static json_int_t counter(const struct server *server, const char *name) {
    char *answer = ask(server, GET("/counters"));
    json_t *json = json_loads(strstr(answer, "\r\n\r\n") + 4, 0, NULL);
    json_int_t value = json_integer_value(json_object_get(json, name));
    json_decref(json);
    free(answer);
    return value;
}

static void test_counters(void **state) {
    struct client client = client_open(*state, NULL, "/ws/echo");
    json_int_t before = counter(*state, "accepted");
    send_frame(&client, 0x82, big, 1000);
    free(hear_frame(&client).data);
    assert_int_equal(counter(*state, "accepted"), before + 1004);
    assert_int_equal(counter(*state, "queued"), 0);
    json_int_t acknowledged = 0;
    while (acknowledged < before + 1004) { /* loopback acknowledges at once or after 40 ms */
        acknowledged = counter(*state, "acknowledged");
        assert_true(acknowledged <= before + 1004);
    }
    client_close(&client);
    expect_closed(*state, "");
}

static int open_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void test_hundreds_of_abrupt_ends(void **state) {
    enum { CLIENTS = 300 };
    struct client clients[CLIENTS];
    int before = open_descriptors();
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_open(*state, NULL, i % 2 ? "/ws/flood" : "/ws/echo");
        send_frame(&clients[i], i % 3 ? 0x82 : 0x02, big, 100000);
    }
    for (int i = 0; i < CLIENTS; i++) {
        struct linger hard = {.l_onoff = i % 4 < 2};
        setsockopt(clients[i].fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        client_close(&clients[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        expect_closed(*state, "");
    free(ask(*state, GET("/none"))); /* a turn later the descriptors are closed */
    assert_int_equal(open_descriptors(), before);
}

static void test_dropped_at_once(void **state) {
    for (int i = 0; i < 20; i++) {
        struct client client = client_dial(*state, NULL);
        char request[512];
        int length = sprintf(request, "GET /ws/drop-at-once HTTP/1.1\r\n%s\r\n", upgrade_lines);
        client_say(&client, request, (size_t)length);
        while (!has_ended(&client))
            ;
        client_close(&client);
        free(last_peer);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(test_handshake),
        TEST(test_refused_handshakes),
        TEST(test_messages_of_all_sizes),
        TEST(test_fragments_with_pings_between),
        TEST(test_frames_right_behind_the_request),
        TEST(test_text_that_begins_with_nul),
        TEST(test_breaches_of_the_protocol),
        TEST(test_message_larger_than_the_limit_in_fragments),
        TEST(test_client_closes),
        TEST(test_server_closes),
        TEST(test_a_peer_that_does_not_close_is_let_go),
        TEST(test_drop_from_within_a_callback),
        TEST(test_flood_leaves_in_few_writes),
        TEST(test_large_messages_by_reference),
        TEST(test_large_messages_both_ways),
        TEST(test_pause_and_resume),
        TEST(test_pings),
        TEST(test_a_silent_peer_is_dropped),
        TEST(test_a_peer_that_never_reads_is_dropped),
        TEST(test_counters),
        TEST(test_hundreds_of_abrupt_ends),
        TEST(test_dropped_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
