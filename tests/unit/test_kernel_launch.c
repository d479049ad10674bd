/* What a client may say, and what the launcher is told to start. */
#include "gateway/kernel_launch.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "launcher/launch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ID "11111111-2222-4333-8444-555555555555"

static char *const nobody[] = {NULL};
static char *const foo_and_bar[] = {(char[]){"FOO"}, (char[]){"BAR"}, NULL};
static char *const star[] = {(char[]){"*"}, NULL};

static const struct kernels_settings defaults = {
    .client_envs = nobody,
    .inherited_envs = nobody,
    .users = {.authorized = nobody, .unauthorized = nobody},
    .launch_timeout_ms = 60000,
    .shutdown_wait_ms = 5000,
    .restart_limit = 5,
    .stable_after_ms = 10000,
    .journal_bytes = 1 << 20,
    .output_bytes = 1 << 20,
    .session_retention_ms = 60000,
    .transport = "tcp",
    .log_level = "INFO",
};

/* Requests. */

static void expect_refused(const struct kernels_settings *settings, const char *env,
                           const char *text) {
    struct error err = {0};
    cleanup_json json_t *json = json_loads(env, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_t *kept = NULL;
    assert_non_null(json);
    assert_int_equal(kernel_request_env(settings, json, &kept, &err), -1);
    assert_int_equal(err.code, ERROR_INVALID);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
}

static json_t *keep(const struct kernels_settings *settings, const char *env) {
    cleanup_json json_t *json = json_loads(env, 0, NULL);
    json_t *kept = NULL;
    assert_non_null(json);
    assert_int_equal(kernel_request_env(settings, json, &kept, NULL), 0);
    return kept;
}

static void test_env_is_checked(void **state) {
    (void)state;
    expect_refused(&defaults, "[]", "env must be an object");
    expect_refused(&defaults, "\"KERNEL_X=1\"", "env must be an object");
    expect_refused(&defaults, "{\"KERNEL_X\": 5}", "KERNEL_X");
    expect_refused(&defaults, "{\"KERNEL_X\": null}", "KERNEL_X");
    expect_refused(&defaults, "{\"FOO\": 7}", "FOO must be a text");
    expect_refused(&defaults, "{\"KERNEL_X\": \"x\", \"FOO\": null}", "FOO must be a text");
    expect_refused(&defaults, "{\"KERNEL_X\": \"a$b\"}", "KERNEL_X contains a $");
    expect_refused(&defaults, "{\"KERNEL_X\": \"`id`\"}", "KERNEL_X contains a backtick");
    expect_refused(&defaults, "{\"KERNEL_X\": \"a\\nb\"}", "KERNEL_X contains a line break");
    expect_refused(&defaults, "{\"KERNEL_X\": \"a\\rb\"}", "KERNEL_X contains a line break");
    expect_refused(&defaults, "{\"KERNEL_X\": \"a\\u0000b\"}", "KERNEL_X contains a NUL");
    expect_refused(&defaults, "{\"KERNEL_A=B\": \"\"}", "KERNEL_A=B");
    struct kernels_settings any = defaults;
    any.client_envs = star;
    expect_refused(&any, "{\"LS_COLORS\": \"a$b\"}", "LS_COLORS");
    expect_refused(&any, "{\"\": \"x\"}", "variable's name");
    char long_env[5000];
    memset(long_env, 'x', sizeof long_env);
    int used = snprintf(long_env, sizeof long_env, "{\"KERNEL_X\": \"");
    long_env[used] = 'x';
    memcpy(long_env + used + 4097, "\"}", 3);
    expect_refused(&defaults, long_env, "KERNEL_X is longer than 4096");
    memcpy(long_env + used + 4096, "\"}", 3);
    json_decref(keep(&defaults, long_env));
}

/* 4096 characters may be more bytes. */
static void test_env_counts_characters(void **state) {
    (void)state;
    cleanup_free char *text = memory_alloc(3 * 4096 + 1);
    for (int i = 0; i < 4096; i++)
        memcpy(text + 3 * i, "€", 3);
    cleanup_json json_t *env = json_pack("{s:s}", "KERNEL_X", text);
    cleanup_json json_t *kept = NULL;
    assert_int_equal(kernel_request_env(&defaults, env, &kept, NULL), 0);
    assert_int_equal(json_object_size(kept), 1);
}

/* Old notebook servers send all they have: no text that does not count is looked at. */
static void test_other_variables_are_dropped(void **state) {
    (void)state;
    cleanup_json json_t *kept =
        keep(&defaults, "{\"PATH\": \"$HOME\", \"=\": \"\", \"KERNEL_A\": \"1\","
                        " \"MY_KERNEL_B\": \"2\", \"FOO\": \"3\"}");
    assert_int_equal(json_object_size(kept), 1);
    struct kernels_settings some = defaults;
    some.client_envs = foo_and_bar;
    cleanup_json json_t *more = keep(&some, "{\"FOO\": \"3\", \"BAZ\": \"`\"}");
    assert_int_equal(json_object_size(more), 1);
    cleanup_json json_t *none = NULL;
    assert_int_equal(kernel_request_env(&defaults, NULL, &none, NULL), 0);
    assert_int_equal(json_object_size(none), 0);
}

static void test_launch_timeout(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* 0: refused */
    } cases[] = {{"40", 40000}, {"1.5", 1500}, {"", 60000}, {"0.01", 1000}, {"0", 0},
                 {"-1", 0},     {"nan", 0},    {"inf", 0},  {"40s", 0},     {"1e9", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = 0;
        struct error err;
        cleanup_json json_t *kept = json_pack("{s:s}", "KERNEL_LAUNCH_TIMEOUT", cases[i].text);
        int rc = kernel_request_timeout(&defaults, kept, &ms, &err);
        assert_int_equal(rc, cases[i].ms ? 0 : -1);
        if (cases[i].ms != 0)
            assert_int_equal(ms, cases[i].ms);
        else
            assert_non_null(strstr(err.text, "KERNEL_LAUNCH_TIMEOUT"));
    }
}

static void test_directory(void **state) {
    (void)state;
    char root[] = "/tmp/test-launch-XXXXXX";
    assert_non_null(mkdtemp(root));
    cleanup_free char *sub = memory_printf("%s/sub", root);
    cleanup_free char *book = memory_printf("%s/sub/book.ipynb", root);
    mkdir(sub, 0700);
    assert_int_equal(file_write(book, "x", 1, 0600, NULL), 0);
    struct kernels_settings settings = defaults;
    settings.root_directory = root;
    static const struct {
        const char *path, *below; /* below NULL: refused */
    } cases[] = {
        {NULL, ""},
        {"", ""},
        {"sub", "/sub"},
        {"/sub/", "/sub"},
        {"sub/book.ipynb", "/sub"},
        {"sub/no/such/thing", "/sub"},
        {"./sub//.", "/sub"},
        {"sub/../sub", "/sub"},
        {"no/..", ""},
        {"..", NULL},
        {"sub/../..", NULL},
        {"../../etc", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_free char *directory = NULL;
        struct error err;
        int rc = kernel_request_directory(&settings, cases[i].path, NULL, &directory, &err);
        if (cases[i].below == NULL) {
            assert_int_equal(rc, -1);
            assert_int_equal(err.code, ERROR_INVALID);
            assert_non_null(strstr(err.text, "path"));
            continue;
        }
        cleanup_free char *wanted = memory_printf("%s%s", root, cases[i].below);
        assert_int_equal(rc, 0);
        assert_string_equal(directory, wanted);
    }
    cleanup_json json_t *there = json_pack("{s:s}", "KERNEL_WORKING_DIR", sub);
    cleanup_json json_t *not_there = json_pack("{s:s}", "KERNEL_WORKING_DIR", "/no/such/place");
    cleanup_free char *a = NULL, *b = NULL, *c = NULL, *d = NULL;
    assert_int_equal(kernel_request_directory(&settings, NULL, there, &a, NULL), 0);
    assert_string_equal(a, sub);
    assert_int_equal(kernel_request_directory(&settings, NULL, not_there, &b, NULL), 0);
    assert_string_equal(b, root);
    assert_int_equal(kernel_request_directory(&settings, "no", there, &c, NULL), 0);
    assert_string_equal(c, root); /* a path that was named counts, also when it is not there */
    settings.root_directory = "/";
    assert_int_equal(kernel_request_directory(&settings, "tmp", NULL, &d, NULL), 0);
    assert_string_equal(d, "/tmp");
    file_remove_tree(root, NULL);
}

static struct kernelspec make_spec(const char *json) {
    struct kernelspec spec = {.name = "test",
                              .directory = "/opt/env/share/jupyter/kernels/test",
                              .display_name = "Test",
                              .language = "Python",
                              .json = json_loads(json, 0, NULL)};
    assert_non_null(spec.json);
    return spec;
}

static void test_users(void **state) {
    (void)state;
    char *const root_only[] = {(char[]){"root"}, NULL};
    char *const ann_only[] = {(char[]){"ann"}, NULL};
    struct kernelspec plain = make_spec("{}");
    struct kernelspec own = make_spec("{\"metadata\": {\"process_proxy\": {\"config\": "
                                      "{\"authorized_users\": \"bob, cy\","
                                      " \"unauthorized_users\": \"dan\"}}}}");
    struct kernelspec array = make_spec("{\"metadata\": {\"kernel_provisioner\": {\"config\": "
                                        "{\"authorized_users\": [\"bob\", \"cy\"]}}}}");
    struct kernels_settings settings = defaults;
    settings.users = (struct kernelspec_users){.authorized = ann_only, .unauthorized = root_only};
    const struct {
        const struct kernelspec *spec;
        const char *verified, *claimed;
        int rc;
    } cases[] = {
        {&plain, NULL, "root", -1}, {&plain, NULL, "ann", 0},  {&plain, NULL, "bob", -1},
        {&plain, NULL, NULL, 0},    {&own, NULL, "root", -1},  {&own, NULL, "ann", -1},
        {&own, NULL, "bob", 0},     {&own, NULL, "dan", -1},   {&own, NULL, "bo", -1},
        {&array, NULL, "bob", 0},   {&array, NULL, "ann", -1}, {&plain, "bob", NULL, -1},
        {&plain, "bob", "ann", -1}, {&plain, "ann", "bob", 0}, {&plain, "ann", "root", 0},
        {&own, "ann", "bob", -1},   {&own, "bob", "ann", 0},   {&plain, "root", "ann", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = {0};
        cleanup_json json_t *kept = json_object();
        const char *verified = cases[i].verified;
        if (cases[i].claimed != NULL)
            json_object_set_new(kept, "KERNEL_USERNAME", json_string(cases[i].claimed));
        int rc = kernel_request_user(&settings, cases[i].spec, verified, kept, &err);
        if (rc != cases[i].rc)
            fail_msg("case %zu: %d", i, rc);
        if (rc < 0) {
            assert_int_equal(err.code, ERROR_DENIED);
            assert_non_null(strstr(err.text, verified ? verified : cases[i].claimed));
            assert_true((strstr(err.text, "KERNEL_USERNAME") == NULL) == (verified != NULL));
        }
    }
    json_decref(array.json);
    json_decref(plain.json);
    json_decref(own.json);
}

/* The environment. */

static void expect_env(const json_t *env, const char *name, const char *value) {
    const char *is = json_string_value(json_object_get(env, name));
    if (value == NULL ? is != NULL : is == NULL || strcmp(is, value) != 0)
        fail_msg("%s is %s, not %s", name, is ? is : "unset", value ? value : "unset");
}

static void test_environment_order(void **state) {
    (void)state;
    char *const gateway[] = {(char[]){"PATH=/bin"},        (char[]){"FOO=gateway"},
                             (char[]){"SPEC=gateway"},     (char[]){"OTHER=gone"},
                             (char[]){"noequals"},         (char[]){"=odd"},
                             (char[]){"KERNEL_A=gateway"}, NULL};
    char *const inherited[] = {(char[]){"PATH"}, (char[]){"FOO"}, (char[]){"SPEC"}, (char[]){"BAR"},
                               NULL};
    struct kernels_settings settings = defaults;
    settings.inherited_envs = inherited;
    settings.client_envs = foo_and_bar;
    struct kernelspec spec = make_spec(
        "{\"env\": {\"PATH\": \"/opt/bin:${PATH}\", \"FOO\": \"spec\", \"SPEC\": \"${SPEC}+$FOO\","
        " \"WHO\": \"${KERNEL_USERNAME}\", \"LATER\": \"${WHO}\", \"NONE\": \"${NOBODY}\","
        " \"KERNEL_B\": \"spec\", \"PYTHONEXECUTABLE\": \"/bin/x\"}}");
    cleanup_json json_t *client =
        json_pack("{s:s, s:s, s:s, s:s}", "KERNEL_USERNAME", "ann", "KERNEL_B", "client", "FOO",
                  "client", "KERNEL_ID", "wish");
    struct kernel_plan plan = {.settings = &settings,
                               .spec = &spec,
                               .kernel_id = ID,
                               .env = client,
                               .directory = "/",
                               .username = "gateway-user",
                               .environment = gateway};
    cleanup_json json_t *env = kernel_launch_environment(&plan);
    expect_env(env, "PATH", "/opt/bin:/bin");
    expect_env(env, "FOO", "client");          /* named in client_envs: beats the spec */
    expect_env(env, "SPEC", "gateway+client"); /* ${FOO} as it stood before the spec */
    expect_env(env, "WHO", "ann");
    expect_env(env, "LATER", "${WHO}"); /* not from the spec itself */
    expect_env(env, "NONE", "${NOBODY}");
    expect_env(env, "OTHER", NULL);
    expect_env(env, "KERNEL_A", NULL);
    expect_env(env, "KERNEL_B", "client");
    expect_env(env, "KERNEL_ID", ID);
    expect_env(env, "KERNEL_GATEWAY", "1");
    expect_env(env, "KERNEL_LANGUAGE", "python");
    expect_env(env, "KERNEL_USERNAME", "ann");
    expect_env(env, "PYTHONEXECUTABLE", NULL);
    json_object_del(client, "KERNEL_USERNAME");
    json_object_set_new(client, "KERNEL_LANGUAGE", json_string("R"));
    settings.client_envs = star;
    cleanup_json json_t *other = kernel_launch_environment(&plan);
    expect_env(other, "FOO", "spec"); /* only a "*" let it in: the spec wins */
    expect_env(other, "KERNEL_USERNAME", "gateway-user");
    expect_env(other, "KERNEL_LANGUAGE", "R");
    json_decref(spec.json);
}

static void test_secrets_are_not_inherited(void **state) {
    (void)state;
    char *const gateway[] = {(char[]){"HOME=/home/x"},      (char[]){"ELARA_PORT=1"},
                             (char[]){"EG_PORT=1"},         (char[]){"KG_PORT=1"},
                             (char[]){"EG_AUTH_TOKEN=s"},   (char[]){"GITHUB_TOKEN=s"},
                             (char[]){"MY_SECRET_X=s"},     (char[]){"db_password=s"},
                             (char[]){"PGPASSWD=s"},        (char[]){"AWS_CREDENTIALS=s"},
                             (char[]){"TLS_PRIVATE_KEY=s"}, (char[]){"OPENAI_API_KEY=s"},
                             (char[]){"JPY_PARENT_PID=7"},  NULL};
    struct kernels_settings settings = defaults;
    settings.inherited_envs = star;
    struct kernelspec spec = make_spec("{}");
    cleanup_json json_t *client = json_object();
    struct kernel_plan plan = {.settings = &settings,
                               .spec = &spec,
                               .kernel_id = ID,
                               .env = client,
                               .directory = "/",
                               .username = "me",
                               .environment = gateway};
    cleanup_json json_t *env = kernel_launch_environment(&plan);
    assert_int_equal(json_object_size(env), 5); /* HOME and what is forced */
    expect_env(env, "HOME", "/home/x");
    char *const named[] = {(char[]){"GITHUB_TOKEN"}, (char[]){"EG_AUTH_TOKEN"}, NULL};
    settings.inherited_envs = named;
    cleanup_json json_t *meant = kernel_launch_environment(&plan);
    expect_env(meant, "GITHUB_TOKEN", "s"); /* the administrator named it */
    expect_env(meant, "EG_AUTH_TOKEN", NULL);
    json_decref(spec.json);
}

static void test_image_keeps_its_own_places(void **state) {
    (void)state;
    char *const gateway[] = {(char[]){"PATH=/usr/bin"}, (char[]){"HOME=/"}, (char[]){"TZ=UTC"},
                             (char[]){"SITE=here"}, NULL};
    char *const inherited[] = {(char[]){"PATH"}, (char[]){"HOME"}, (char[]){"TZ"}, (char[]){"*"},
                               NULL};
    struct kernels_settings settings = defaults;
    settings.inherited_envs = inherited;
    struct kernelspec spec = make_spec("{}");
    cleanup_json json_t *client = json_object();
    struct kernel_plan plan = {.settings = &settings,
                               .spec = &spec,
                               .kernel_id = ID,
                               .env = client,
                               .directory = "",
                               .username = "me",
                               .environment = gateway,
                               .is_elsewhere = true};
    cleanup_json json_t *env = kernel_launch_environment(&plan);
    expect_env(env, "PATH", NULL);
    expect_env(env, "HOME", NULL);
    expect_env(env, "TZ", "UTC");
    expect_env(env, "SITE", NULL);
    json_decref(spec.json);
    spec = make_spec("{\"env\": {\"PATH\": \"/opt/conda/bin:/usr/bin\"}}");
    cleanup_json json_t *said = kernel_launch_environment(&plan);
    expect_env(said, "PATH", "/opt/conda/bin:/usr/bin");
    json_decref(spec.json);
}

/* launch.json. */

static json_t *launch_of(const struct kernels_settings *settings, const char *json) {
    char *const gateway[] = {(char[]){"PATH=relative:/bin:/usr/bin"}, (char[]){"HOME=/home/x"},
                             NULL};
    char *const inherited[] = {(char[]){"PATH"}, (char[]){"HOME"}, NULL};
    struct kernels_settings changed = *settings;
    changed.inherited_envs = inherited;
    struct kernelspec spec = make_spec(json);
    cleanup_json json_t *client = json_object();
    struct kernel_plan plan = {.settings = &changed,
                               .spec = &spec,
                               .kernel_id = ID,
                               .env = client,
                               .directory = "/tmp",
                               .username = "me",
                               .environment = gateway,
                               .launch_timeout_ms = 40000};
    json_t *launch = NULL;
    struct error err = {0};
    if (kernel_launch_create(&plan, &launch, &err) < 0)
        assert_int_equal(err.code, ERROR_INVALID);
    json_decref(spec.json);
    return launch;
}

static const char *argument(const json_t *launch, size_t index) {
    return json_string_value(json_array_get(json_object_get(launch, "argv"), index));
}

static void test_argv(void **state) {
    (void)state;
    struct kernels_settings settings = defaults;
    settings.python = "/opt/python/bin/python3.12";
    static const struct {
        const char *name, *program;
    } cases[] = {
        {"python", "/opt/python/bin/python3.12"},
        {"python3", "/opt/python/bin/python3.12"},
        {"python3.11", "/opt/python/bin/python3.12"},
        {"python2", "python2"},
        {"python3.x", "python3.x"},
        {"pythonic", "pythonic"},
        {"/usr/bin/python3", "/usr/bin/python3"},
        {"R", "R"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_free char *json = memory_printf("{\"argv\": [\"%s\", \"~/x\", \"python\", "
                                                "\"{connection_file}\"]}",
                                                cases[i].name);
        cleanup_json json_t *launch = launch_of(&settings, json);
        assert_string_equal(argument(launch, 0), cases[i].program);
        assert_string_equal(argument(launch, 1), "~/x"); /* the launcher's */
        assert_string_equal(argument(launch, 2), "python");
        assert_string_equal(argument(launch, 3), "{connection_file}");
    }
    cleanup_json json_t *found = launch_of(&defaults, "{\"argv\": [\"python3\"]}");
    if (access("/bin/python3", X_OK) == 0 || access("/usr/bin/python3", X_OK) == 0)
        assert_int_equal(argument(found, 0)[0], '/');
    assert_null(launch_of(&defaults, "{\"argv\": []}"));
    assert_null(launch_of(&defaults, "{\"argv\": [1]}"));
    assert_null(launch_of(&defaults, "{}"));
}

/* What is made here is what the launcher reads. */
static void test_launch_tree_is_understood(void **state) {
    (void)state;
    cleanup_json json_t *json = launch_of(
        &defaults, "{\"argv\": [\"k\"], \"env\": {\"EG_ALTERNATE_SIGINT\": \"SIGUSR2\"}}");
    struct launch *launch = NULL;
    assert_int_equal(launch_create(json, &launch, NULL), 0);
    assert_string_equal(launch->kernel_id, ID);
    assert_string_equal(launch->kernel_name, "test");
    assert_string_equal(launch->prefix, "/opt/env");
    assert_string_equal(launch->cwd, "/tmp");
    assert_int_equal(launch->interrupt_signal, SIGUSR2);
    assert_int_equal(launch->launch_timeout_ms, 40000);
    launch_destroy(launch);
    cleanup_json json_t *message =
        launch_of(&defaults, "{\"argv\": [\"k\"], \"interrupt_mode\": \"message\"}");
    assert_int_equal(launch_create(message, &launch, NULL), 0);
    assert_int_equal(launch->interrupt_signal, 0);
    launch_destroy(launch);
    cleanup_json json_t *plain = launch_of(&defaults, "{\"argv\": [\"k\"]}");
    assert_int_equal(launch_create(plain, &launch, NULL), 0);
    assert_int_equal(launch->interrupt_signal, SIGINT);
    assert_int_equal(launch->journal_bytes, defaults.journal_bytes);
    launch_destroy(launch);
    cleanup_json json_t *own = launch_of(
        &defaults,
        "{\"argv\": [\"k\"], \"metadata\": {\"elara\": {\"journal_bytes\": 68719476736}}}");
    assert_int_equal(launch_create(own, &launch, NULL), 0);
    assert_int_equal(launch->journal_bytes, INT64_C(64) << 30);
    launch_destroy(launch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_env_is_checked),
        cmocka_unit_test(test_env_counts_characters),
        cmocka_unit_test(test_other_variables_are_dropped),
        cmocka_unit_test(test_launch_timeout),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_environment_order),
        cmocka_unit_test(test_secrets_are_not_inherited),
        cmocka_unit_test(test_image_keeps_its_own_places),
        cmocka_unit_test(test_argv),
        cmocka_unit_test(test_launch_tree_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
