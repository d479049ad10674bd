/* /api/kernelspecs and /kernelspecs over a real socket, client and server on one loop. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "gateway/api.h"
#include "gateway/auth_method.h"
#include "kernelspecs/kernelspecs.h"
#include "launcher/background.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char root[64];
    struct settings settings;
    struct gateway gateway;
    struct auth *auth;
    struct buffer answer; /* of the last request */
    int status;
    json_t *json; /* its body, or NULL */
};

static void put(struct place *place, const char *path, const char *text) {
    char whole[256];
    snprintf(whole, sizeof whole, "%s/%s", place->root, path);
    char *slash = strrchr(whole, '/');
    *slash = '\0';
    mkdir(whole, 0755);
    *slash = '/';
    assert_int_equal(file_write(whole, text, strlen(text), 0600, NULL), 0);
}

static void load(struct place *place, bool publish_env) {
    char *directories[] = {place->root, NULL};
    struct kernelspecs_settings settings = {.directories = directories, .publish_env = publish_env};
    kernelspecs_destroy(place->gateway.specs);
    assert_int_equal(kernelspecs_create(&settings, &place->gateway.specs, NULL), 0);
}

static int set_up(void **state) {
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->root, "/tmp/elara-api-XXXXXX");
    if (mkdtemp(place->root) == NULL)
        return -1;
    log_set_level(LOG_ERROR);
    put(place, "python3/kernel.json",
        "{\"argv\": [\"python3\"], \"env\": {\"KEY\": \"s3cret\"}, \"display_name\": \"P\"}");
    put(place, "python3/kernel.json.bak", "s3cret");
    put(place, "python3/.kernel.json.swp", "s3cret");
    put(place, "python3/..data/kernel.json", "s3cret");
    put(place, "python3/scripts/launch.py", "print()");
    put(place, "python3/logo-64x64.png", "png");
    put(place, "python3/logo-a b.svg", "svg");
    put(place, "forbidden/kernel.json",
        "{\"argv\": [\"a\"], \"metadata\": {\"process_proxy\": {\"config\": "
        "{\"authorized_users\": \"bob, ann\"}}}}");
    put(place, "forbidden/logo-64x64.png", "png");
    char link[256];
    snprintf(link, sizeof link, "%s/python3/alias.txt", place->root);
    place->gateway.settings = &place->settings;
    load(place, false);
    *state = place;
    return symlink("kernel.json", link);
}

static int tear_down(void **state) {
    struct place *place = *state;
    kernelspecs_destroy(place->gateway.specs);
    auth_destroy(place->auth);
    buffer_free(&place->answer);
    json_decref(place->json);
    file_remove_tree(place->root, NULL);
    free(place);
    return 0;
}

struct asking {
    struct loop *loop;
    struct buffer *answer;
};

static void on_answer(evutil_socket_t fd, short what, void *context) {
    struct asking *asking = context;
    char data[4096];
    (void)what;
    ssize_t got = read(fd, data, sizeof data);
    if (got > 0)
        buffer_append(asking->answer, data, (size_t)got);
    else
        loop_stop(asking->loop);
}

static int connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int ask_as(struct place *place, const char *method, const char *target, const char *token) {
    struct loop *loop = loop_create();
    struct http_settings settings = {.ip = "127.0.0.1",
                                     .base_url = "/base/",
                                     .body_max = 1 << 20,
                                     .header_max = 1 << 16,
                                     .header_timeout_ms = 10000,
                                     .body_timeout_ms = 10000,
                                     .idle_timeout_ms = 10000};
    struct http *http = NULL;
    struct asking asking = {loop, &place->answer};
    struct buffer request = {0};
    assert_int_equal(http_create(loop, &settings, place->auth, &http, NULL), 0);
    place->gateway.background = background_create(loop_base(loop));
    http_add_routes(http, api_kernelspecs_routes, &place->gateway);
    assert_int_equal(http_listen(http, NULL), 0);
    int fd = connect_to(http_port(http));
    buffer_printf(&request, "%s /base%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", method,
                  target);
    if (token != NULL)
        buffer_printf(&request, "Authorization: token %s\r\n", token);
    buffer_append_text(&request, "\r\n");
    assert_int_equal(write(fd, request.data, request.length), request.length);
    buffer_clear(&place->answer);
    struct event *readable =
        event_new(loop_base(loop), fd, EV_READ | EV_PERSIST, on_answer, &asking);
    event_add(readable, NULL);
    loop_run(loop);
    event_free(readable);
    close(fd);
    http_destroy(http);
    assert_false(background_destroy(place->gateway.background));
    loop_destroy(loop);
    buffer_free(&request);

    const char *text = buffer_text(&place->answer);
    const char *body = strstr(text, "\r\n\r\n");
    json_decref(place->json);
    place->json = body != NULL ? json_loads(body + 4, 0, NULL) : NULL;
    assert_true(text_starts_with(text, "HTTP/1.1 "));
    return place->status = atoi(text + strlen("HTTP/1.1 "));
}

static int ask(struct place *place, const char *target) {
    return ask_as(place, "GET", target, NULL);
}

static const char *text_at(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

static bool is_offered(const struct place *place, const char *name) {
    return json_object_get(json_object_get(place->json, "kernelspecs"), name) != NULL;
}

static bool leaks(struct place *place) {
    return memmem(place->answer.data, place->answer.length, "s3cret", 6) != NULL;
}

static void list(void **state) {
    struct place *place = *state;
    assert_int_equal(ask(place, "/api/kernelspecs"), 200);
    assert_string_equal(text_at(place->json, "default"), "python3");
    assert_true(is_offered(place, "python3"));
    assert_true(is_offered(place, "forbidden"));
    assert_false(leaks(place));
    const json_t *spec = json_object_get(json_object_get(place->json, "kernelspecs"), "python3");
    assert_string_equal(text_at(json_object_get(spec, "resources"), "logo-64x64"),
                        "/base/kernelspecs/python3/logo-64x64.png");
    assert_int_equal(ask(place, "/base/../kernelspecs"), 404);
}

static void list_for_a_user(void **state) {
    struct place *place = *state;
    char root[] = "root";
    char *denied[] = {root, NULL};
    char *allowed[] = {root, NULL};
    assert_int_equal(ask(place, "/api/kernelspecs?user=bob"), 200);
    assert_true(is_offered(place, "forbidden"));
    assert_int_equal(ask(place, "/api/kernelspecs?user=bo"), 200);
    assert_false(is_offered(place, "forbidden"));
    assert_true(is_offered(place, "python3"));
    assert_int_equal(ask(place, "/api/kernelspecs?user="), 200);
    assert_true(is_offered(place, "forbidden"));
    place->settings.unauthorized_users = denied;
    assert_int_equal(ask(place, "/api/kernelspecs?user=root"), 200);
    assert_false(is_offered(place, "python3"));
    place->settings.unauthorized_users = NULL;
    place->settings.authorized_users = allowed;
    ask(place, "/api/kernelspecs?user=bob");
    assert_false(is_offered(place, "python3"));
    ask(place, "/api/kernelspecs?user=root");
    assert_true(is_offered(place, "python3"));
    place->settings.authorized_users = NULL;
}

/* jupyter_server's slip: the kernelspec's name behind the user's. It takes the answer for the model
 * it asked for. */
static void name_in_the_query(void **state) {
    struct place *place = *state;
    assert_int_equal(ask(place, "/api/kernelspecs?user=bo/python3"), 200);
    assert_true(is_offered(place, "python3"));
    assert_false(is_offered(place, "forbidden"));
    assert_string_equal(text_at(place->json, "name"), "python3");
    assert_string_equal(text_at(json_object_get(place->json, "spec"), "display_name"), "P");
    assert_non_null(json_object_get(place->json, "resources"));
    assert_int_equal(ask(place, "/api/kernelspecs?user=bo/forbidden"), 200);
    assert_null(json_object_get(place->json, "name"));
    assert_int_equal(ask(place, "/api/kernelspecs?user=bo/nothing"), 200);
    assert_true(is_offered(place, "python3"));
    assert_int_equal(ask(place, "/api/kernelspecs?user=/"), 200);
    assert_int_equal(ask(place, "/api/kernelspecs?user=%c3%a9/%c3%a9"), 200);
}

static void one_model(void **state) {
    struct place *place = *state;
    assert_int_equal(ask(place, "/api/kernelspecs/Python3"), 200);
    assert_string_equal(text_at(place->json, "name"), "Python3");
    assert_false(leaks(place));
    assert_int_equal(ask(place, "/api/kernelspecs/nothing"), 404);
    assert_string_equal(text_at(place->json, "message"), "Kernel spec nothing not found");
    assert_non_null(text_at(place->json, "reason"));
    assert_int_equal(ask(place, "/api/kernelspecs/forbidden?user=bo"), 403);
    assert_string_equal(text_at(place->json, "message"),
                        "User bo is not authorized to use kernel spec forbidden");
    assert_int_equal(ask(place, "/api/kernelspecs/forbidden?user=ann"), 200);
    assert_int_equal(ask(place, "/api/kernelspecs/..%2fpython3"), 404);
    assert_int_equal(ask_as(place, "POST", "/api/kernelspecs/python3", NULL), 405);
    char target[10100] = "/api/kernelspecs/";
    memset(target + strlen(target), 'k', 10000);
    assert_int_equal(ask(place, target), 404);
    assert_in_range(place->answer.length, 1, 2000);
}

static void resources(void **state) {
    static const struct {
        const char *path;
        int status;
    } rows[] = {
        {"/kernelspecs/python3/logo-64x64.png", 200},
        {"/kernelspecs/PYTHON3/logo-64x64.png", 200},
        {"/kernelspecs/python3/logo-a%20b.svg", 200},
        {"/kernelspecs/python3/scripts/launch.py", 200},
        {"/kernelspecs/python3/logo-128x128.png", 404},
        {"/kernelspecs/nothing/logo-64x64.png", 404},
        {"/kernelspecs/python3/kernel.json", 404},
        {"/kernelspecs/python3/KERNEL.json/../kernel.json", 404},
        {"/kernelspecs/python3/./kernel.json", 404},
        {"/kernelspecs/python3//kernel.json", 404},
        {"/kernelspecs/python3/kernel%2ejson", 404},
        {"/kernelspecs/python3/alias.txt", 404},
        {"/kernelspecs/python3/kernel.json.bak", 404},
        {"/kernelspecs/python3/.kernel.json.swp", 404},
        {"/kernelspecs/python3/..data/kernel.json", 404},
        {"/kernelspecs/python3/%2e%2e/forbidden/logo-64x64.png", 403},
        {"/kernelspecs/python3/..%2f..%2f..%2fetc/passwd", 403},
        {"/kernelspecs/forbidden/logo-64x64.png?user=bo", 403},
        {"/kernelspecs/forbidden/logo-64x64.png?user=bob", 200},
    };
    struct place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int status = ask(place, rows[i].path);
        if (status != rows[i].status || leaks(place))
            fail_msg("%s: %d\n%s", rows[i].path, status, buffer_text(&place->answer));
    }
    assert_int_equal(ask_as(place, "HEAD", "/kernelspecs/python3/logo-64x64.png", NULL), 200);
    assert_non_null(strcasestr(buffer_text(&place->answer), "\r\netag:"));
    load(place, true);
    assert_int_equal(ask(place, "/kernelspecs/python3/kernel.json"), 200);
    assert_true(leaks(place));
    ask(place, "/api/kernelspecs");
    assert_true(leaks(place));
}

static void tokens(void **state) {
    struct place *place = *state;
    char path[128];
    char line[256];
    char hash[2 * AUTH_HASH_SIZE + 1];
    struct auth_presented presented;
    auth_present("t0ken", &presented);
    text_hex(presented.blake2b, sizeof presented.blake2b, hash);
    snprintf(line, sizeof line, "bo:user:blake2b:%s\n", hash);
    put(place, "tokens", line);
    snprintf(path, sizeof path, "%s/tokens", place->root);
    struct auth_settings settings = {.token_file = path};
    assert_int_equal(auth_create(NULL, &settings, &place->auth, NULL), 0);
    assert_int_equal(ask(place, "/api/kernelspecs"), 401);
    assert_int_equal(ask(place, "/kernelspecs/python3/logo-64x64.png"), 401);
    assert_int_equal(ask_as(place, "GET", "/api/kernelspecs", "t0ken"), 200);
    assert_true(is_offered(place, "python3"));
    assert_false(is_offered(place, "forbidden"));
    /* Whoever has a name cannot take another one. */
    assert_int_equal(ask_as(place, "GET", "/api/kernelspecs?user=bob", "t0ken"), 200);
    assert_false(is_offered(place, "forbidden"));
    assert_int_equal(ask_as(place, "GET", "/api/kernelspecs/forbidden?user=bob", "t0ken"), 403);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(list),      TEST(list_for_a_user), TEST(name_in_the_query),
        TEST(one_model), TEST(resources),       TEST(tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
