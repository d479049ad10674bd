/* HTTPS and WebSockets over TLS, with certificates made on the spot. */
#include "base/file.h"
#include "websocket_fixture.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

enum { BIG = 20 << 20, FLOOD = 5000 };

static SSL_CTX *client_tls;
static uint8_t big[BIG];

/* A self-signed certificate and its key, as <name>.pem and <name>.key. */
static void make_certificate(const char *name, long serial) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    X509_sign(certificate, key, EVP_sha256());
    char path[64];
    snprintf(path, sizeof path, "%s.pem", name);
    FILE *out = fopen(path, "w");
    PEM_write_X509(out, certificate);
    fclose(out);
    snprintf(path, sizeof path, "%s.key", name);
    out = fopen(path, "w");
    PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
    fclose(out);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void hello(struct http_request *request, void *context) {
    (void)context;
    http_reply_json(request, 200, json_string("hello"));
}

static void large(struct http_request *request, void *context) {
    (void)context;
    http_reply_bytes(request, 200, "application/octet-stream", big, BIG);
}

static void reload(struct http_request *request, void *context) {
    struct error err = {0};
    if (http_reload_tls(((struct server *)context)->http, &err) < 0)
        http_reply_failure(request, &err);
    else
        http_reply_empty(request, 204);
}

static void on_message(void *context, bool binary, const uint8_t *data, size_t length) {
    struct peer *peer = context;
    if (strcmp(peer->behaviour, "flood") == 0)
        for (int i = 0; i < FLOOD; i++)
            websocket_send(peer->ws, binary, data, length);
    else
        websocket_send(peer->ws, binary, data, length);
    if (strcmp(peer->behaviour, "proof") == 0)
        assert_true(websocket_acknowledged(peer->ws) < websocket_accepted(peer->ws));
}

static void on_ponged(void *context) {
    struct peer *peer = context;
    uint64_t proved = websocket_acknowledged(peer->ws);
    server_tell(peer->server, proved > 1000 && proved < websocket_accepted(peer->ws) ? 'p' : '?');
}

static void on_closed(void *context, const char *why) {
    struct peer *peer = context;
    snprintf(last_why, sizeof last_why, "%s", why);
    server_tell(peer->server, 'c');
    free(peer);
}

static void open_peer(struct http_request *request, void *context) {
    static const struct websocket_events events = {
        .message = on_message, .ponged = on_ponged, .closed = on_closed};
    struct peer *peer = memory_alloc(sizeof *peer);
    peer->server = context;
    snprintf(peer->behaviour, sizeof peer->behaviour, "%s",
             http_request_param(request, "behaviour"));
    if (websocket_accept(peer->server->loop, request, NULL, &peer_settings, &events, peer,
                         &peer->ws) < 0)
        free(peer);
    last_peer = peer;
}

static const struct http_route routes[] = {
    {"GET", "/hello", hello, 0},
    {"GET", "/large", large, 0},
    {"GET", "/reload", reload, 0},
    {"GET", "/ws/{behaviour}", open_peer, 0},
    {0},
};

static struct server fresh(void) {
    struct server server = {.settings = server_settings()};
    server.settings.tls_certificate = "server.pem";
    server.settings.tls_key = "server.key";
    server.settings.hsts_ms = INT64_C(86400) * 1000;
    return server;
}

static int setup(void **state) {
    static struct server server;
    make_certificate("server", 1);
    server = fresh();
    peer_settings = (struct websocket_settings){.message_max = 24 << 20};
    server_start(&server, routes);
    *state = &server;
    return 0;
}

static int teardown(void **state) {
    server_stop(*state);
    return 0;
}

static void ask_tls(struct client *client, const char *path, const char *part) {
    char text[2048];
    size_t length =
        (size_t)sprintf(text, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path);
    client_say(client, text, length);
    for (length = 0; length < sizeof text - 1 && client_hear(client, text + length, 1); length++)
        ;
    text[length] = '\0';
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in %s", part, text);
}

static long serial_of(struct client *client) {
    X509 *certificate = SSL_get1_peer_certificate(client->ssl);
    long serial = ASN1_INTEGER_get(X509_get0_serialNumber(certificate));
    X509_free(certificate);
    return serial;
}

static void test_request(void **state) {
    struct client client = client_dial(*state, client_tls);
    assert_true(SSL_version(client.ssl) >= TLS1_2_VERSION);
    ask_tls(&client, "/hello", "\r\n\r\n\"hello\"");
    client_close(&client);
}

static void test_browsers_are_told_to_come_by_tls(void **state) {
    struct client client = client_dial(*state, client_tls);
    ask_tls(&client, "/hello", "\r\nStrict-Transport-Security: max-age=86400\r\n");
    client_close(&client);
}

static void test_large_answer(void **state) {
    struct client client = client_dial(*state, client_tls);
    const char *request = GET("/large");
    client_say(&client, request, strlen(request));
    static uint8_t part[65536];
    size_t total = 0;
    int got;
    while ((got = SSL_read(client.ssl, part, sizeof part)) > 0)
        total += (size_t)got;
    assert_true(total > BIG && total < BIG + 1000);
    client_close(&client);
}

static void test_old_versions_and_plain_text_get_nothing(void **state) {
    SSL_CTX *old = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
    struct client client = {.fd = dial(*state), .ssl = SSL_new(old)};
    SSL_set_fd(client.ssl, client.fd);
    assert_int_not_equal(SSL_connect(client.ssl), 1);
    client_close(&client);
    SSL_CTX_free(old);
    int fd = dial(*state);
    say(fd, GET("/hello"));
    char byte[512];
    while (recv(fd, byte, sizeof byte, 0) > 0) /* an alert, then the end */
        assert_null(memmem(byte, sizeof byte, "HTTP/", 5));
    close(fd);
}

static void test_reload(void **state) {
    struct client early = client_open(*state, client_tls, "/ws/echo");
    assert_int_equal(serial_of(&early), 1);
    make_certificate("server", 2);
    struct client client = client_dial(*state, client_tls);
    ask_tls(&client, "/reload", "204");
    client_close(&client);
    client = client_dial(*state, client_tls);
    assert_int_equal(serial_of(&client), 2);
    unlink("server.key"); /* broken: the good ones stay */
    ask_tls(&client, "/reload", "keyfile: \\\"server.key\\\"");
    client_close(&client);
    client = client_dial(*state, client_tls);
    assert_int_equal(serial_of(&client), 2);
    client_close(&client);
    send_text(&early, "still here");
    expect_frame(&early, 0x81, "still here");
    client_close(&early);
    assert_int_equal(server_told(*state), 'c');
}

static void test_bad_files_are_named(void **state) {
    (void)state;
    struct loop *loop = loop_create();
    struct http *http;
    struct error err = {0};
    struct http_settings settings = server_settings();
    settings.tls_certificate = "nowhere.pem";
    assert_int_equal(http_create(loop, &settings, NULL, &http, &err), -1);
    assert_non_null(strstr(err.text, "certfile: \"nowhere.pem\""));
    make_certificate("other", 3);
    settings.tls_certificate = "server.pem";
    settings.tls_key = "other.key";
    assert_int_equal(http_create(loop, &settings, NULL, &http, &err), -1);
    assert_non_null(strstr(err.text, "keyfile"));
    settings.tls_key = "server.key";
    settings.tls_client_ca = "nowhere.pem";
    assert_int_equal(http_create(loop, &settings, NULL, &http, &err), -1);
    assert_non_null(strstr(err.text, "client_ca: \"nowhere.pem\""));
    loop_destroy(loop);
}

static void test_client_certificates(void **state) {
    (void)state;
    struct server server = fresh();
    make_certificate("friend", 4);
    make_certificate("stranger", 5);
    server.settings.tls_client_ca = "friend.pem";
    server_start(&server, routes);
    static const char *const names[] = {"friend", "stranger", NULL};
    for (size_t i = 0; i < 3; i++) {
        SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
        char path[64];
        if (names[i] != NULL) {
            snprintf(path, sizeof path, "%s.pem", names[i]);
            SSL_CTX_use_certificate_chain_file(tls, path);
            snprintf(path, sizeof path, "%s.key", names[i]);
            SSL_CTX_use_PrivateKey_file(tls, path, SSL_FILETYPE_PEM);
        }
        struct client client = {.fd = dial(&server), .ssl = SSL_new(tls)};
        SSL_set_fd(client.ssl, client.fd);
        SSL_connect(client.ssl); /* with TLS 1.3 the refusal comes afterwards */
        char byte;
        const char *request = GET("/hello");
        client_say(&client, request, strlen(request));
        assert_int_equal(client_hear(&client, &byte, 1), i == 0);
        client_close(&client);
        SSL_CTX_free(tls);
    }
    server_stop(&server);
}

static void send_big(struct client *client) {
    send_frame(client, 0x82, big, BIG / 4);
}

static void test_websocket(void **state) {
    struct client client = client_open(*state, client_tls, "/ws/echo");
    for (size_t i = 0; i < BIG; i += 1000)
        big[i] = (uint8_t)(i / 1000);
    send_text(&client, "small");
    expect_frame(&client, 0x81, "small");
    send_big(&client); /* the server reads it whole before it answers */
    struct frame frame = hear_frame(&client);
    assert_int_equal(frame.length, BIG / 4);
    assert_memory_equal(frame.data, big, BIG / 4);
    free(frame.data);
    send_close(&client, 1000);
    assert_int_equal(hear_close(&client), 1000);
    assert_true(has_ended(&client));
    client_close(&client);
    assert_int_equal(server_told(*state), 'c');
}

static void test_flood(void **state) {
    struct client client = client_open(*state, client_tls, "/ws/flood");
    send_text(&client, "one of many");
    for (int i = 0; i < FLOOD; i++)
        expect_frame(&client, 0x81, "one of many");
    client_close(&client);
    assert_int_equal(server_told(*state), 'c');
}

static void test_breach_of_the_protocol(void **state) {
    struct client client = client_open(*state, client_tls, "/ws/echo");
    client_say(&client, "\x81\x02hi", 4);
    assert_int_equal(hear_close(&client), 1002);
    send_close(&client, 1002);
    client_close(&client);
    assert_int_equal(server_told(*state), 'c');
}

/* What a peer has read is proved by its pong to a ping sent behind it. */
static void test_acknowledged_by_pong(void **state) {
    struct client client = client_open(*state, client_tls, "/ws/proof");
    send_frame(&client, 0x82, big, 1000);
    free(hear_frame(&client).data);
    struct frame ping = hear_frame(&client);
    assert_int_equal(ping.first, 0x89);
    assert_int_equal(ping.length, 8);
    send_frame(&client, 0x8a, ping.data, ping.length);
    assert_int_equal(server_told(*state), 'p');
    free(ping.data);
    client_close(&client);
    assert_int_equal(server_told(*state), 'c');
}

static void test_abrupt_ends(void **state) {
    enum { CLIENTS = 60 };
    struct client clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_open(*state, client_tls, i % 2 ? "/ws/flood" : "/ws/echo");
        send_frame(&clients[i], i % 3 ? 0x82 : 0x02, big, 20000);
    }
    for (int i = 0; i < CLIENTS; i++) {
        struct linger hard = {.l_onoff = i % 4 < 2};
        setsockopt(clients[i].fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        client_close(&clients[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(server_told(*state), 'c');
}

static int enter_directory(void **state) {
    static char path[] = "/tmp/test_http_tls.XXXXXX";
    *state = mkdtemp(path);
    client_tls = SSL_CTX_new(TLS_client_method());
    return *state && chdir(path) == 0 ? 0 : -1;
}

static int leave_directory(void **state) {
    SSL_CTX_free(client_tls);
    return chdir("/") == 0 ? file_remove_tree(*state, NULL) : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(test_request),
        TEST(test_browsers_are_told_to_come_by_tls),
        TEST(test_large_answer),
        TEST(test_old_versions_and_plain_text_get_nothing),
        TEST(test_reload),
        TEST(test_bad_files_are_named),
        TEST(test_client_certificates),
        TEST(test_websocket),
        TEST(test_flood),
        TEST(test_breach_of_the_protocol),
        TEST(test_acknowledged_by_pong),
        TEST(test_abrupt_ends),
    };
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
