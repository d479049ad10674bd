/* The settings: sources, what JEG's variables mean here, and what is refused. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/settings.h"
#include "gateway/settings_legacy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS_MAX = 8 };

/* Arguments and variables: "--port=1" and "EG_PORT=2". They have to outlive the settings. */
struct sources {
    char *argv[WORDS_MAX + 2];
    char *environment[WORDS_MAX + 1];
    int argc, variables;
};

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct sources *sources_create(const char *const *words) {
    struct sources *sources = memory_alloc(sizeof *sources);
    sources->argv[sources->argc++] = memory_strdup("elara-gateway");
    for (; *words != NULL; words++)
        if ((*words)[0] == '-')
            sources->argv[sources->argc++] = memory_strdup(*words);
        else
            sources->environment[sources->variables++] = memory_strdup(*words);
    return sources;
}

static void sources_free(struct sources *sources) {
    for (int i = 0; i < sources->argc; i++)
        free(sources->argv[i]);
    for (int i = 0; i < sources->variables; i++)
        free(sources->environment[i]);
    free(sources);
}

struct fixture {
    struct sources *sources;
    struct settings *settings;
    char directory[64];
    char config[96];
};

static int setup(void **state) {
    struct fixture *fixture = memory_alloc(sizeof *fixture);
    strcpy(fixture->directory, "/tmp/elara-test-settings-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->config, sizeof fixture->config, "%s/elara.yaml", fixture->directory);
    log_set_level(LOG_ERROR);
    *state = fixture;
    return 0;
}

static void forget(struct fixture *fixture) {
    settings_destroy(fixture->settings);
    fixture->settings = NULL;
    if (fixture->sources != NULL)
        sources_free(fixture->sources);
    fixture->sources = NULL;
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    forget(fixture);
    file_remove_tree(fixture->directory, NULL);
    free(fixture);
    return 0;
}

static int try(struct fixture *fixture, const char *const *words, struct error *err) {
    forget(fixture);
    fixture->sources = sources_create(words);
    return settings_create(fixture->sources->argc, fixture->sources->argv,
                           fixture->sources->environment, &fixture->settings, err);
}

static const struct settings *load(struct fixture *fixture, const char *const *words) {
    struct error err = {0};
    if (try(fixture, words, &err) < 0)
        fail_msg("%s", err.text);
    return fixture->settings;
}

static void refuse(struct fixture *fixture, const char *const *words, const char *expected) {
    struct error err = {0};
    assert_int_equal(try(fixture, words, &err), -1);
    if (strstr(err.text, expected) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", expected, err.text);
}

static void put(const struct fixture *fixture, const char *text) {
    assert_int_equal(file_write(fixture->config, text, strlen(text), 0600, NULL), 0);
}

static void test_defaults(void **state) {
    const struct settings *settings = load(*state, WORDS("HOME=/"));
    assert_string_equal(settings->ip, "127.0.0.1");
    assert_int_equal(settings->port, 8888);
    assert_int_equal(settings->port_retries, 0);
    assert_string_equal(settings->base_url, "/");
    assert_true(settings->list_kernels);
    assert_false(settings->insecure);
    assert_int_equal(settings->max_kernels, -1);
    assert_int_equal(settings->launch_timeout_ms, 60000);
    assert_int_equal(settings->ws_ping_interval_ms, 30000);
    assert_string_equal(settings->refusal_style, "auto");
    assert_string_equal(settings->on_exit, "leave");
    assert_string_equal(settings->unauthorized_users[0], "root");
    assert_null(settings->authorized_users[0]);
    assert_null(settings->client_envs[0]);
    assert_true(text_ends_with(settings->launcher, "/elara-launcher"));
}

static void test_every_row_is_whole(void **state) {
    (void)state;
    for (const struct option_row *row = settings_table(); row->name != NULL; row++) {
        assert_non_null(row->help);
        assert_non_null(row->group);
        assert_true(text_starts_with(row->environment, "ELARA_"));
        for (const char *at = row->name; *at != '\0'; at++)
            assert_true(*at == '-' || (*at >= 'a' && *at <= 'z'));
    }
}

static void test_variables_of_enterprise_gateway(void **state) {
    const struct settings *settings = load(
        *state, WORDS("EG_IP=0.0.0.0", "KG_PORT=9000", "EG_LIST_KERNELS=False", "EG_MAX_KERNELS=7",
                      "EG_KERNEL_LAUNCH_TIMEOUT=40", "EG_WS_PING_INTERVAL_SECS=0",
                      "EG_ENV_WHITELIST=A,B", "EG_ALLOWED_KERNELS='r_docker','python_docker'"));
    assert_string_equal(settings->ip, "0.0.0.0");
    assert_int_equal(settings->port, 9000);
    assert_false(settings->list_kernels);
    assert_int_equal(settings->max_kernels, 7);
    assert_int_equal(settings->launch_timeout_ms, 40000);
    assert_int_equal(settings->ws_ping_interval_ms, 0);
    assert_string_equal(settings->client_envs[1], "B");
    assert_string_equal(settings->allowed_kernelspecs[0], "r_docker");
    assert_string_equal(settings->allowed_kernelspecs[1], "python_docker");
    settings = load(*state, WORDS("EG_ALLOWED_KERNELS=null"));
    assert_null(settings->allowed_kernelspecs[0]);
    settings = load(*state, WORDS("ELARA_PORT=1", "EG_PORT=2", "KG_PORT=3"));
    assert_int_equal(settings->port, 1);
    settings = load(*state, WORDS("--port=4", "ELARA_PORT=1"));
    assert_int_equal(settings->port, 4);
}

static void test_service_links_of_kubernetes_are_no_settings(void **state) {
    const struct settings *settings = load(*state, WORDS("ELARA_PORT=tcp://10.0.0.1:8888"));
    assert_int_equal(settings->port, 8888);
}

static void test_base_url(void **state) {
    assert_string_equal(load(*state, WORDS("--base-url=gateway"))->base_url, "/gateway/");
    assert_string_equal(load(*state, WORDS("--base-url=/a/b/"))->base_url, "/a/b/");
    assert_string_equal(load(*state, WORDS("EG_BASE_URL="))->base_url, "/");
    refuse(*state, WORDS("--base-url=/a?b"), "base-url");
    refuse(*state, WORDS("--base-url=/a//b"), "base-url");
    refuse(*state, WORDS("--base-url=/a/../b"), "base-url");
    refuse(*state, WORDS("--base-url=/a b"), "base-url");
    refuse(*state, WORDS("--base-url=http://x/"), "base-url");
}

static void test_file(void **state) {
    struct fixture *fixture = *state;
    char flag[128], variable[128];
    snprintf(flag, sizeof flag, "--config=%s", fixture->config);
    snprintf(variable, sizeof variable, "ELARA_CONFIG=%s", fixture->config);
    put(fixture, "port: 9999\nmax_kernels: 3\nclient_envs: [A, B]\nauth_token: s3cret\n");
    const struct settings *settings = load(fixture, WORDS(flag, "EG_MAX_KERNELS=4"));
    assert_int_equal(settings->port, 9999);
    assert_int_equal(settings->max_kernels, 4);
    assert_string_equal(settings->client_envs[0], "A");
    assert_string_equal(settings->auth_token, "s3cret");
    assert_int_equal(load(fixture, WORDS(variable))->port, 9999);
    put(fixture, "# nothing\n");
    assert_int_equal(load(fixture, WORDS(variable))->port, 8888);
    put(fixture, "prot: 1\n");
    refuse(fixture, WORDS(variable), "elara.yaml");
    put(fixture, "- 1\n");
    refuse(fixture, WORDS(variable), "elara.yaml");
    put(fixture, "port: 1\nport: 2\n");
    refuse(fixture, WORDS(variable), "elara.yaml");
    refuse(fixture, WORDS("--config=/nowhere.yaml"), "/nowhere.yaml");
    refuse(fixture, WORDS("--config"), "--config");
}

static void test_bad_values_name_their_place(void **state) {
    refuse(*state, WORDS("--port=70000"), "--port");
    refuse(*state, WORDS("EG_PORT=http"), "EG_PORT");
    refuse(*state, WORDS("--refusal-style=loud"), "--refusal-style");
    refuse(*state, WORDS("--auth-token=s3cret"), "auth-token");
    refuse(*state, WORDS("--log-level=LOUD"), "log-level");
    refuse(*state, WORDS("--keyfile=/k"), "certfile");
    refuse(*state, WORDS("--client-ca=/k"), "certfile");
    refuse(*state, WORDS("--nothing=1"), "--nothing");
}

static void test_runtime_directory(void **state) {
    assert_string_equal(load(*state, WORDS("XDG_RUNTIME_DIR=/run/user/1"))->runtime_dir,
                        "/run/user/1/elara");
    const char *without = load(*state, WORDS("HOME=/"))->runtime_dir;
    assert_true(strcmp(without, "/run/elara") == 0 || text_starts_with(without, "/tmp/elara-"));
    assert_true(load(*state, WORDS("--runtime-dir=x"))->runtime_dir[0] == '/');
    struct error err = {0};
    assert_int_equal(settings_check_runtime_dir(load(*state, WORDS("--runtime-dir=/run/x")), &err),
                     0);
    const struct settings *settings = load(
        *state, WORDS("--runtime-dir=/an/extremely/long/path/that/no/socket/can/ever/be/put/into"));
    assert_int_equal(settings_check_runtime_dir(settings, &err), -1);
    assert_non_null(strstr(err.text, "runtime-dir"));
}

static void test_loopback(void **state) {
    (void)state;
    static const char *const near[] = {"127.0.0.1", "127.1.2.3", "::1", "localhost",
                                       "::ffff:127.0.0.1"};
    static const char *const far[] = {"",
                                      "*",
                                      "0.0.0.0",
                                      "::",
                                      "10.0.0.1",
                                      "::ffff:10.0.0.1",
                                      "example.org",
                                      "127.0.0.1.example.org",
                                      "1270.0.0.1"};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++)
        assert_true(settings_ip_is_loopback(near[i]));
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++)
        assert_false(settings_ip_is_loopback(far[i]));
}

static void test_exposure(void **state) {
    struct error err = {0};
    static const char *const fine[] = {"--ip=127.0.0.1", "--insecure", "EG_AUTH_TOKEN=x",
                                       "--auth-token-file=/tokens"};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        assert_int_equal(
            settings_check_exposure(load(*state, WORDS("EG_IP=0.0.0.0", fine[i])), &err), 0);
    assert_int_equal(
        settings_check_exposure(load(*state, WORDS("EG_IP=0.0.0.0", "EG_AUTH_TOKEN=")), &err), -1);
    assert_int_equal(err.code, ERROR_DENIED);
    assert_non_null(strstr(err.text, "EG_AUTH_TOKEN"));
    assert_non_null(strstr(err.text, "--insecure"));
}

static void test_reload(void **state) {
    struct fixture *fixture = *state;
    char flag[128];
    snprintf(flag, sizeof flag, "--config=%s", fixture->config);
    put(fixture, "log_level: INFO\nport: 1\nallowed_kernelspecs: [a]\n");
    load(fixture, WORDS(flag));
    struct settings *settings = fixture->settings;
    put(fixture, "log_level: DEBUG\nport: 2\nallowed_kernelspecs: [a, b]\n");
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_string_equal(settings->log_level, "DEBUG");
    assert_string_equal(settings->allowed_kernelspecs[1], "b");
    assert_int_equal(settings->port, 1); /* not without a restart */
    put(fixture, "log_level: [\n");
    struct error err = {0};
    assert_int_equal(settings_reload(settings, &err), -1);
    assert_string_equal(settings->log_level, "DEBUG");
}

static void test_reload_says_what_waits(void **state) {
    struct fixture *fixture = *state;
    char flag[128];
    snprintf(flag, sizeof flag, "--config=%s", fixture->config);
    put(fixture, "port: 1\nbase_url: x\nmax_kernels: 5\n");
    load(fixture, WORDS(flag, "EG_IP=127.0.0.1"));
    struct settings *settings = fixture->settings;
    free(settings->ip);
    settings->ip = memory_strdup("127.0.0.2"); /* as handed over: no change of the setting */
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_null(settings_pending(settings));
    put(fixture, "port: 2\nbase_url: /x/\nmax_kernels: 4\n");
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_string_equal(settings_pending(settings), "port");
    assert_int_equal(settings->port, 1);
    assert_int_equal(settings->max_kernels, 4);
    put(fixture, "port: 2\nbase_url: y\n");
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_string_equal(settings_pending(settings), "port, base-url");
    assert_int_equal(settings->max_kernels, -1);
    put(fixture, "port: 1\nbase_url: /x\n");
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_null(settings_pending(settings));
}

static void test_a_broken_file_is_a_problem_until_it_is_repaired(void **state) {
    struct fixture *fixture = *state;
    char flag[128];
    snprintf(flag, sizeof flag, "--config=%s", fixture->config);
    put(fixture, "max_kernels: 5\n");
    load(fixture, WORDS(flag));
    struct settings *settings = fixture->settings;
    int64_t since_us = 0;
    assert_null(settings_problem(settings, &since_us));
    put(fixture, "max_kernels: 6\nmax_kernel: 7\n");
    log_set_level(LOG_ERROR + 1);
    assert_int_equal(settings_reload(settings, NULL), -1);
    assert_non_null(strstr(settings_problem(settings, &since_us), "elara.yaml:2"));
    assert_true(since_us > 0);
    assert_int_equal(settings->max_kernels, 5); /* nothing of it counts */
    int64_t later_us = 0;
    file_remove_tree(fixture->config, NULL);
    assert_int_equal(settings_reload(settings, NULL), -1);
    assert_non_null(strstr(settings_problem(settings, &later_us), "elara.yaml"));
    assert_int_equal(later_us, since_us); /* since when it is broken, whatever is wrong by now */
    put(fixture, "max_kernels: 6\n");
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_null(settings_problem(settings, NULL));
    assert_int_equal(settings->max_kernels, 6);
    settings_note_problem(settings, SETTINGS_TLS,
                          &(struct error){.code = ERROR_INVALID, .text = "no such key"});
    assert_non_null(strstr(settings_problem(settings, NULL), "no such key"));
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_non_null(settings_problem(settings, NULL)); /* of the certificates, still */
    settings_note_problem(settings, SETTINGS_TLS, NULL);
    assert_null(settings_problem(settings, NULL));
}

static void test_no_reload_opens_the_gateway_to_everybody(void **state) {
    struct fixture *fixture = *state;
    char flag[128];
    snprintf(flag, sizeof flag, "--config=%s", fixture->config);
    put(fixture, "ip: 0.0.0.0\nauth_token: s3cret\n");
    load(fixture, WORDS(flag));
    struct settings *settings = fixture->settings;
    log_set_level(LOG_ERROR + 1);
    put(fixture, "ip: 127.0.0.1\n");
    assert_int_equal(settings_reload(settings, NULL), -1);
    assert_string_equal(settings->auth_token, "s3cret");
    put(fixture, "ip: 0.0.0.0\nauth_token: another\n");
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_string_equal(settings->auth_token, "another");
}

static void test_tls_is_not_switched_by_a_reload(void **state) {
    struct fixture *fixture = *state;
    char flag[128];
    snprintf(flag, sizeof flag, "--config=%s", fixture->config);
    put(fixture, "certfile: /a.pem\n");
    load(fixture, WORDS(flag));
    struct settings *settings = fixture->settings;
    put(fixture, "certfile: /b.pem\nkeyfile: /b.key\n");
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_string_equal(settings->certfile, "/b.pem");
    assert_string_equal(settings->keyfile, "/b.key");
    put(fixture, "port: 8888\n");
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_string_equal(settings->certfile, "/b.pem");
    assert_string_equal(settings_pending(settings), "certfile, keyfile");
}

static void tell(void *context, bool is_problem, const char *text) {
    buffer_printf(context, "%s %s\n", is_problem ? "!" : "-", text);
}

static void checks(const struct fixture *fixture, const char *yaml, size_t problems,
                   const char *const *want) {
    put(fixture, yaml);
    cleanup_buffer struct buffer told = {0};
    size_t found = settings_check_file(fixture->config, NULL, tell, &told);
    for (; *want != NULL; want++)
        if (strstr(buffer_text(&told), *want) == NULL)
            fail_msg("\"%s\" is not in:\n%s", *want, buffer_text(&told));
    if (found != problems)
        fail_msg("%zu problems, not %zu:\n%s", found, problems, buffer_text(&told));
}

static void test_check_of_a_file(void **state) {
    const struct fixture *fixture = *state;
    checks(fixture, "port: 9999\n", 0, WORDS(""));
    checks(fixture, "", 0, WORDS(""));
    checks(fixture, "prot: 1\nlog_level: LOUD\nlaunch_timeout: -5\nbase_url: /a b\n", 4,
           WORDS("elara.yaml:1: unknown key \"prot\"; did you mean \"port\"?",
                 "elara.yaml:2: log_level: \"LOUD\" must be DEBUG",
                 "elara.yaml:3: launch_timeout: \"-5\" must be seconds, or a time such as",
                 "elara.yaml:4: base_url: must be a path such as"));
    checks(fixture, "port: 1\nport: 2\n", 1, WORDS("line 2", "\"port\" is there twice"));
    checks(fixture, "a:\n\tb: 1\n", 1, WORDS("line 2", "a tab indents"));
    checks(fixture, "a: &a [x]\nb: [*a, *a]\n", 1, WORDS("line 1", "anchors"));
    checks(fixture, "keyfile: /k\n", 1, WORDS("certfile"));
    checks(fixture, "ip: 0.0.0.0\ncertfile: /nowhere.pem\n", 0,
           WORDS("- will not listen on '0.0.0.0'", "- /nowhere.pem cannot be read here"));
    checks(fixture, "max_kernels: 99999999999999999999\n", 1, WORDS("line 1", "too large"));
    checks(fixture, "- 1\n", 1, WORDS("elara.yaml"));
    checks(fixture, "cull_overrides:\n  owners:\n    ann: {idle_timeout: }\n  specs:\n", 0,
           WORDS("- ", "elara.yaml:3: cull_overrides.owners.ann.idle_timeout has no value",
                 "elara.yaml:4: cull_overrides.specs has no value"));
    checks(fixture, "cull_overrides:\n", 0, WORDS("elara.yaml:1: cull_overrides has no value"));
    file_remove_tree(fixture->config, NULL);
    cleanup_buffer struct buffer told = {0};
    assert_int_equal(settings_check_file(fixture->config, NULL, tell, &told), 1);
}

/* What counts there, good or bad, is not the file's; what does nothing is told. */
static void test_check_of_a_file_among_variables(void **state) {
    const struct fixture *fixture = *state;
    char misspelt[] = "EG_PROT=1", old[] = "EG_YARN_ENDPOINT=x", bad[] = "EG_MAX_KERNELS=many",
         own[] = "ELARA_TOKEN=geheim", other[] = "PROT=1", wrong[] = "ELARA_PROT=geheim",
         config[] = "ELARA_CONFIG=/nowhere", port[] = "EG_PORT=1";
    char *environment[] = {misspelt, old, bad, own, other, wrong, config, port, NULL};
    cleanup_buffer struct buffer told = {0};
    put(fixture, "port: 5\n");
    assert_int_equal(settings_check_file(fixture->config, environment, tell, &told), 0);
    assert_string_equal(
        buffer_text(&told),
        "- EG_PROT is set, but no setting has that name; is EG_PORT meant?\n"
        "- EG_YARN_ENDPOINT is set, but does nothing: Hadoop YARN is not supported\n"
        "- ELARA_PROT is set, but no setting has that name; is ELARA_PORT meant?\n");
    buffer_clear(&told);
    put(fixture, "prot: 5\n");
    assert_int_equal(settings_check_file(fixture->config, environment, tell, &told), 1);
    assert_non_null(strstr(buffer_text(&told), "- EG_PROT is set"));
}

static void test_show_config_hides_the_token(void **state) {
    const struct settings *settings = load(*state, WORDS("EG_AUTH_TOKEN=s3cret", "EG_PORT=5"));
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    settings_print_config(settings, out);
    fclose(out);
    assert_null(strstr(text, "s3cret"));
    assert_non_null(strstr(text, "EG_AUTH_TOKEN"));
    assert_non_null(strstr(text, "EG_PORT"));
    free(text);
}

static void test_notes_on_what_is_not_acted_on(void **state) {
    (void)state;
    assert_non_null(strstr(settings_legacy_note("EG_KERNEL_HEADERS=x"), "not supported yet"));
    assert_non_null(settings_legacy_note("EG_POD_TEMPLATE_DIR"));
    assert_non_null(settings_legacy_note("EG_YARN_ENDPOINT=http://x"));
    assert_null(settings_legacy_note("EG_SOMETHING_ELSE=EG_POD_TEMPLATE_DIR"));
    assert_null(settings_legacy_note("EG_POD_TEMPLATE_DIRS=x"));
    /* What is a setting needs no note. */
    for (const struct option_row *row = settings_table(); row->name != NULL; row++)
        for (const char *at = strstr(row->environment, "EG_"); at != NULL;
             at = strstr(at + 1, "EG_")) {
            cleanup_free char *name = memory_strndup(at, strcspn(at, ","));
            assert_null(settings_legacy_note(name));
        }
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_every_row_is_whole),
        TEST(test_variables_of_enterprise_gateway),
        TEST(test_service_links_of_kubernetes_are_no_settings),
        TEST(test_base_url),
        TEST(test_file),
        TEST(test_bad_values_name_their_place),
        TEST(test_runtime_directory),
        TEST(test_loopback),
        TEST(test_exposure),
        TEST(test_reload),
        TEST(test_reload_says_what_waits),
        TEST(test_a_broken_file_is_a_problem_until_it_is_repaired),
        TEST(test_no_reload_opens_the_gateway_to_everybody),
        TEST(test_tls_is_not_switched_by_a_reload),
        TEST(test_check_of_a_file),
        TEST(test_check_of_a_file_among_variables),
        TEST(test_show_config_hides_the_token),
        TEST(test_notes_on_what_is_not_acted_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
