/* The admin's program, as a person calls it: arguments in, exit status and text out. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "gateway/admin.h"
#include "gateway/admin_settings.h"
#include "gateway/auth.h"
#include "gateway/http.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ID "0a1b2c3d-0000-4000-8000-000000000001"

struct place {
    char root[64];
    struct buffer out, errors; /* of the last call */
    int status;
    pid_t server;
    char url[64];
};

static int set_up(void **state) {
    static const char *const strange[] = {"ELARA_URL",    "JUPYTER_GATEWAY_URL",
                                          "ELARA_TOKEN",  "EG_AUTH_TOKEN",
                                          "ELARA_CONFIG", "ELARA_TOKEN_FILE"};
    struct place *place = calloc(1, sizeof *place);
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
        unsetenv(strange[i]);
    strcpy(place->root, "/tmp/elara-admin-XXXXXX");
    log_set_level(LOG_ERROR);
    *state = place;
    return mkdtemp(place->root) != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    struct place *place = *state;
    if (place->server > 0) {
        kill(place->server, SIGKILL);
        waitpid(place->server, NULL, 0);
    }
    buffer_free(&place->out);
    buffer_free(&place->errors);
    file_remove_tree(place->root, NULL);
    free(place);
    return 0;
}

static void redirect(struct place *place, FILE *stream, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", place->root, name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    fflush(stream);
    assert_true(dup2(fd, fileno(stream)) >= 0);
    close(fd);
}

static void restore(struct place *place, FILE *stream, int saved, const char *name,
                    struct buffer *ret) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", place->root, name);
    fflush(stream);
    dup2(saved, fileno(stream));
    close(saved);
    buffer_clear(ret);
    assert_int_equal(file_read(path, 1 << 20, ret, NULL), 0);
}

/* words: separated by blanks. */
static int call(struct place *place, const char *words) {
    char copy[512];
    char *argv[16];
    char program[] = "elara";
    int argc = 0;
    char *rest = copy;
    snprintf(copy, sizeof copy, "%s", words);
    argv[argc++] = program;
    for (char *word; (word = strsep(&rest, " ")) != NULL && argc < 15;)
        if (*word != '\0')
            argv[argc++] = word;
    argv[argc] = NULL;
    int saved[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    redirect(place, stdout, "out");
    redirect(place, stderr, "err");
    place->status = admin_main(argc, argv);
    restore(place, stdout, saved[0], "out", &place->out);
    restore(place, stderr, saved[1], "err", &place->errors);
    return place->status;
}

static bool says(struct place *place, const char *text) {
    return strstr(buffer_text(&place->out), text) != NULL;
}

static bool complains(struct place *place, const char *text) {
    return strstr(buffer_text(&place->errors), text) != NULL;
}

static void help_comes_from_the_table(void **state) {
    struct place *place = *state;
    assert_int_equal(call(place, "help"), 0);
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++) {
        assert_true(says(place, verb->words));
        assert_true(says(place, verb->help));
    }
    for (const struct option_row *row = admin_settings_table(); row->name != NULL; row++) {
        assert_true(says(place, row->name));
        assert_true(says(place, row->help));
    }
    assert_int_equal(call(place, "--version"), 0);
    assert_true(says(place, "elara " ELARA_VERSION "\n"));
    assert_int_equal(call(place, "kernels --help"), 0);
    assert_int_equal(call(place, ""), 2);
}

static void half_a_verb_is_asked_for_its_rest(void **state) {
    struct place *place = *state;
    static const char *const rows[][2] = {
        {"kernelspecs", "elara kernelspecs: list or check?\n"},
        {"kernelspecs --url http://x/", "elara kernelspecs: list or check?\n"},
        {"kernelspecs cheque", "elara kernelspecs: list or check?\n"},
        {"token", "elara token: new?\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(call(place, rows[i][0]), 2);
        assert_string_equal(buffer_text(&place->errors), rows[i][1]);
    }
    assert_int_equal(call(place, "kern el"), 2);
    assert_true(complains(place, "there is no \"kern\"\n"));
    assert_true(complains(place, "elara restart ID")); /* the help */
}

static void put(struct place *place, const char *name, const char *text) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", place->root, name);
    mkdir(path, 0755);
    strcat(path, "/kernel.json");
    assert_int_equal(file_write(path, text, strlen(text), 0644, NULL), 0);
}

static void checking_kernelspecs(void **state) {
    struct place *place = *state;
    char words[256];
    char line[256];
    put(place, "good", "{\"argv\": [\"/bin/sh\"], \"display_name\": \"Good\\u001b[1m\"}");
    put(place, "far", "{\"argv\": [\"/no/such/program\"]}");
    snprintf(words, sizeof words, "kernelspecs check --kernelspec-dirs %s,/no/where", place->root);
    assert_int_equal(call(place, words), 0);
    assert_true(says(place, "2 kernelspecs, 0 problems"));
    assert_true(says(place, "/no/where"));
    assert_true(says(place, "missing"));
    assert_true(says(place, "note: argv[0]: there is no program /no/such/program"));
    put(place, "bad", "{\n\"argv\": [\"a\"],\n\"env\": {\"A\": 1}}");
    assert_int_equal(call(place, words), 1);
    snprintf(line, sizeof line, "%s/bad/kernel.json:3: env.A: must be a text", place->root);
    assert_true(says(place, line));
    assert_true(says(place, "2 kernelspecs, 1 problem\n"));

    snprintf(words, sizeof words, "kernelspecs list --kernelspec-dirs %s", place->root);
    assert_int_equal(call(place, words), 0);
    assert_true(says(place, "Good?[1m"));
    assert_false(says(place, "bad"));
    assert_true(complains(place, "1 problem"));
    assert_int_equal(call(place, "kernelspecs list --no-such-flag"), 2);
    assert_true(complains(place, "--no-such-flag"));
}

static void a_new_token_lets_its_owner_in(void **state) {
    struct place *place = *state;
    char path[128];
    char first[128];
    char header[160];
    const char *rows[][3] = {{"token new anna", "anna", "user"},
                             {"token new ops@x.org --role admin", "ops@x.org", "admin"},
                             {"token new --role=user bob", "bob", "user"}};
    snprintf(path, sizeof path, "%s/tokens", place->root);
    *first = '\0';
    for (size_t i = 0; i < 3; i++) {
        char token[128];
        char line[256];
        assert_int_equal(call(place, rows[i][0]), 0);
        assert_int_equal(sscanf(buffer_text(&place->out), "token: %127s line: %255s", token, line),
                         2);
        assert_string_not_equal(token, first);
        strcpy(first, token);
        assert_null(strstr(line, token));
        assert_int_equal(file_write(path, line, strlen(line), 0600, NULL), 0);
        struct auth_settings settings = {.token_file = path};
        struct auth *auth = NULL;
        const struct auth_identity *identity = NULL;
        assert_int_equal(auth_create(NULL, &settings, &auth, NULL), 0);
        snprintf(header, sizeof header, "token %s", token);
        assert_int_equal(auth_check(auth, &(struct auth_evidence){.authorization = header}, NULL,
                                    &identity, NULL),
                         AUTH_KNOWN);
        assert_string_equal(identity->name, rows[i][1]);
        assert_int_equal(identity->role == AUTH_ADMIN, strcmp(rows[i][2], "admin") == 0);
        auth_destroy(auth);
    }
    assert_int_equal(call(place, "token new anna --json"), 0);
    assert_true(says(place, "\"line\": \"anna:user:blake2b:"));
    static const char *const wrong[] = {"token new",          "token new a:b",
                                        "token new default",  "token new a --role=root",
                                        "token new anna bob", "token new a --what"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(call(place, wrong[i]), 2);
        assert_false(says(place, "token:"));
    }
}

/* One kernel a page. */
static void answer_page(struct http_request *request, void *context) {
    const char *after = http_request_query(request, "continue");
    (void)context;
    if (after == NULL) {
        http_reply_header(request, "Elara-Continue", "7");
        http_reply_json(request, 200,
                        json_pack("[{s:s, s:s, s:s, s:s, s:i, s:n}]", "id", ID, "name", "python3",
                                  "user", "anna", "execution_state", "busy", "age_ms", 7260000,
                                  "cull_in_ms"));
    } else if (strcmp(after, "7") == 0) {
        http_reply_json(request, 200,
                        json_pack("[{s:s, s:s, s:s, s:s}]", "id", "x", "name", "ir",
                                  "execution_state", "dead", "message", "no\x1b[31m memory"));
    }
}

static void answer_done(struct http_request *request, void *context) {
    json_t *body = NULL;
    (void)context;
    if (http_request_json(request, &body, NULL) < 0 || !json_is_object(body))
        http_reply_error(request, 400, NULL, "no body");
    else
        http_reply_empty(request, 204);
}

static void answer_gone(struct http_request *request, void *context) {
    (void)context;
    http_reply_error(request, 404, NULL, "Kernel does not exist: %s",
                     http_request_param(request, "id"));
}

static const struct http_route routes[] = {
    {"GET", "/api/elara/kernels", answer_page, 0},
    {"POST", "/api/kernels/{id}/interrupt", answer_done, 0},
    {"DELETE", "/api/kernels/{id}", answer_gone, 0},
    {0},
};

/* A gateway's stand-in in a process of its own, with the token "t0ken". */
static void serve(struct place *place) {
    int pipe_fds[2];
    int port = 0;
    assert_int_equal(pipe(pipe_fds), 0);
    fflush(NULL);
    place->server = fork();
    if (place->server == 0) {
        struct loop *loop = loop_create();
        struct auth_settings tokens = {.token = "t0ken"};
        struct http_settings settings = {.ip = "127.0.0.1",
                                         .base_url = "/base/",
                                         .body_max = 4096,
                                         .header_max = 8192,
                                         .header_timeout_ms = 60000,
                                         .body_timeout_ms = 60000,
                                         .idle_timeout_ms = 60000};
        struct auth *auth = NULL;
        struct http *http = NULL;
        if (auth_create(NULL, &tokens, &auth, NULL) < 0 ||
            http_create(loop, &settings, auth, &http, NULL) < 0)
            _exit(1);
        http_add_routes(http, routes, NULL);
        if (http_listen(http, NULL) < 0)
            _exit(1);
        port = http_port(http);
        if (write(pipe_fds[1], &port, sizeof port) == sizeof port)
            loop_run(loop);
        _exit(1);
    }
    assert_int_equal(read(pipe_fds[0], &port, sizeof port), sizeof port);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    snprintf(place->url, sizeof place->url, "http://127.0.0.1:%d/base", port);
    setenv("ELARA_URL", place->url, 1);
}

static void kernels_of_a_gateway(void **state) {
    struct place *place = *state;
    char path[128];
    char words[512];
    snprintf(path, sizeof path, "%s/token", place->root);
    serve(place);
    assert_int_equal(call(place, "kernels"), 1);
    assert_true(complains(place, "--token-file"));
    assert_int_equal(file_write(path, "t0ken\n", 6, 0600, NULL), 0);
    snprintf(words, sizeof words, "kernels --token-file %s", path);
    assert_int_equal(call(place, words), 0);
    assert_true(says(place, "0a1b2c3d  anna  python3     busy   2 h 1 min        never"));
    assert_true(says(place, "no?[31m memory"));
    setenv("ELARA_TOKEN", "t0ken", 1);
    snprintf(words, sizeof words, "interrupt " ID " --url %s/", place->url);
    assert_int_equal(call(place, words), 0);
    assert_true(says(place, ID " interrupted"));
    assert_int_equal(call(place, "delete " ID), 1);
    assert_true(complains(place, "404: Kernel does not exist: " ID "\n"));
    assert_int_equal(call(place, "restart " ID), 1); /* 404: it has no such route */
    assert_int_equal(call(place, "restart ../../x"), 2);
    assert_int_equal(call(place, "restart"), 2);
    assert_int_equal(call(place, "kernels --url ftp://127.0.0.1/"), 1);
    assert_int_equal(file_write(path, "one two\n", 8, 0600, NULL), 0);
    snprintf(words, sizeof words, "kernels --token-file %s", path);
    assert_int_equal(call(place, words), 2);
    assert_true(complains(place, "the token and nothing else"));
    assert_int_equal(call(place, "kernels --token-file /no/such/file"), 1);
    assert_int_equal(call(place, "kernels --url http://127.0.0.1:1/"), 1);
    assert_true(complains(place, "is the gateway running"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(help_comes_from_the_table), TEST(half_a_verb_is_asked_for_its_rest),
        TEST(checking_kernelspecs),      TEST(a_new_token_lets_its_owner_in),
        TEST(kernels_of_a_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
