/* Kubeconfigs and service accounts: what is taken, what is refused and with which words. */
#include "base/clock.h"
#include "base/memory.h"
#include "launcher/base64.h"
#include "launcher/kube_config.h"

#include "kube_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct kube_pems authority, ours;

static int set_up(void **state) {
    (void)state;
    authority = kube_pems_make(NULL, NULL, 3600);
    ours = kube_pems_make("DNS:client", &authority, 3600);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    kube_pems_free(&authority);
    kube_pems_free(&ours);
    kube_remove_directory();
    return 0;
}

static char *base64(const char *text) {
    struct buffer out = {.limit = 65536};
    base64_encode(text, strlen(text), &out);
    char *encoded = memory_strdup(buffer_text(&out));
    buffer_free(&out);
    return encoded;
}

/* A kubeconfig of one context; the texts are lines of YAML below cluster and user. */
static char *kubeconfig(const char *name, const char *cluster, const char *user) {
    char *text = memory_printf("apiVersion: v1\n"
                               "kind: Config\n"
                               "current-context: dev\n"
                               "contexts:\n"
                               "- name: dev\n"
                               "  context: {cluster: here, user: ann, namespace: lab}\n"
                               "clusters:\n"
                               "- name: here\n"
                               "  cluster:\n%s"
                               "users:\n"
                               "- name: ann\n"
                               "  user:\n%s",
                               cluster, user);
    char *path = kube_write_file(name, text);
    free(text);
    return path;
}

static struct kube_config *load(const char *path, const char *context) {
    struct kube_config *config = NULL;
    struct error err;
    if (kube_config_load(path, context, &config, &err) < 0)
        fail_msg("%s", err.text);
    return config;
}

/* Every one of the words has to be in the message; %s: the path. */
static void expect_refusal(const char *paths, const char *context, enum error_code code,
                           const char *words) {
    struct kube_config *config = NULL;
    struct error err = {0};
    assert_int_equal(kube_config_load(paths, context, &config, &err), -1);
    assert_null(config);
    if (strstr(err.text, words) == NULL || err.code != code)
        fail_msg("%s: %s\n  and not: %s", error_code_name(err.code), err.text, words);
    assert_null(strstr(err.text, "s3cret"));
}

static const char *secret_of(const struct kube_config *config, enum kube_secret_kind kind) {
    return kube_config_secret(config, kind)->data;
}

static const char server_line[] = "    server: https://10.0.0.1:6443/\n";

static void takes_a_token_and_the_context(void **state) {
    (void)state;
    char *path = kubeconfig("token", server_line, "    token: s3cret\n");
    struct kube_config *config = load(path, NULL);
    assert_string_equal(kube_config_server(config), "https://10.0.0.1:6443");
    assert_string_equal(kube_config_namespace(config), "lab");
    assert_string_equal(secret_of(config, KUBE_TOKEN), "s3cret");
    assert_null(secret_of(config, KUBE_AUTHORITY));
    assert_null(kube_config_proxy(config));
    assert_non_null(strstr(kube_config_origin(config), "context \"dev\" of "));
    assert_non_null(strstr(kube_config_origin(config), path));
    kube_config_destroy(config);
    free(path);
}

static void takes_certificates_as_data_and_as_files_beside_it(void **state) {
    (void)state;
    char *certificate = base64(ours.certificate_pem), *key = base64(ours.key_pem);
    char *cluster = memory_printf("%s    certificate-authority: ca.pem\n"
                                  "    tls-server-name: api.test\n"
                                  "    proxy-url: http://proxy:3128\n",
                                  server_line);
    char *user = memory_printf("    client-certificate-data: %s\n    client-key-data: %s\n",
                               certificate, key);
    free(kube_write_file("ca.pem", authority.certificate_pem));
    char *path = kubeconfig("data", cluster, user);
    struct kube_config *config = load(path, "dev");
    assert_string_equal(secret_of(config, KUBE_CERTIFICATE), ours.certificate_pem);
    assert_string_equal(secret_of(config, KUBE_KEY), ours.key_pem);
    assert_string_equal(secret_of(config, KUBE_AUTHORITY), authority.certificate_pem);
    assert_string_equal(kube_config_tls_name(config), "api.test");
    assert_string_equal(kube_config_proxy(config), "http://proxy:3128");
    kube_config_destroy(config);
    free(path);
    free(user);
    free(cluster);
    free(certificate);
    free(key);
}

/* kubectl: the first file that has an entry wins as a whole; so does current-context. */
static void merges_files_as_kubectl_does(void **state) {
    (void)state;
    char *one = kube_write_file("one", "users:\n- {name: ann, user: {token: first}}\n"
                                       "current-context: \"\"\n");
    char *two =
        kube_write_file("two", "current-context: b\n"
                               "users:\n- {name: ann, user: {token: second, username: x}}\n"
                               "clusters:\n- {name: c, cluster: {server: \"https://c\"}}\n"
                               "contexts:\n- {name: b, context: {cluster: c, user: ann}}\n");
    char *three =
        kube_write_file("three", "current-context: other\n"
                                 "clusters:\n- {name: c, cluster: {server: \"https://not-this\"}}\n"
                                 "contexts:\n- {name: d, context: {cluster: c}}\n");
    char *list = memory_printf(":%s:%s/missing:%s:%s:", one, kube_directory(), two, three);
    struct kube_config *config = load(list, NULL);
    assert_string_equal(kube_config_server(config), "https://c");
    assert_string_equal(secret_of(config, KUBE_TOKEN), "first");
    assert_string_equal(kube_config_namespace(config), "default");
    kube_config_destroy(config);
    config = load(list, "d"); /* nobody: anonymous */
    assert_null(secret_of(config, KUBE_TOKEN));
    kube_config_destroy(config);
    expect_refusal(list, "e", ERROR_NOT_FOUND, "there is no context \"e\"; there is: b, d");
    free(list);
    free(one);
    free(two);
    free(three);
}

static void refuses_what_is_not_supported_and_names_the_user(void **state) {
    (void)state;
    static const char *const users[][2] = {
        {"    exec: {command: aws, args: [s3cret]}\n", "exec"},
        {"    auth-provider: {name: gcp}\n", "auth-provider"},
        {"    username: ann\n    password: s3cret\n", "username"},
        {"    token: s3cret\n    as: root\n", "as"},
        {"    token: s3cret\n    as-groups: [a]\n", "as-groups"},
    };
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        char *path = kubeconfig("unsupported", server_line, users[i][0]);
        char *words = memory_printf("user \"ann\" of %s: %s is not supported; supported are token, "
                                    "tokenFile, and client-certificate",
                                    path, users[i][1]);
        expect_refusal(path, NULL, ERROR_UNSUPPORTED, words);
        free(words);
        free(path);
    }
    char *path = kubeconfig("empty-username", server_line, "    token: t\n    username: \"\"\n");
    kube_config_destroy(load(path, NULL));
    free(path);
}

static void names_the_field_that_is_wrong(void **state) {
    (void)state;
    char *key = base64(authority.key_pem), *certificate = base64(ours.certificate_pem);
    char *wrong_pair = memory_printf("    client-certificate-data: %s\n    client-key-data: %s\n",
                                     certificate, key);
    char *alone = memory_printf("    client-certificate-data: %s\n", certificate);
    const struct {
        const char *cluster, *user, *words;
        enum error_code code;
    } rows[] = {
        {"    {}\n", "    {}\n", "cluster \"here\" of %s: server: is missing", ERROR_INVALID},
        {"    server: 10.0.0.1:6443\n", "    {}\n",
         "cluster \"here\" of %s: server: is no URL like", ERROR_INVALID},
        {"    server: ftp://10.0.0.1\n", "    {}\n", "server: must begin with https://",
         ERROR_INVALID},
        {"    server: http://127.example.com\n", "    {}\n", "http:// is taken for this machine",
         ERROR_INVALID},
        {"    server: http://10.0.0.1\n", "    {}\n", "server: must begin with https://: http://",
         ERROR_INVALID},
        {"    server: https://a:s3cret@10.0.0.1\n", "    {}\n", "server: must be a host and port",
         ERROR_INVALID},
        {server_line, "    token: 12345\n",
         "user \"ann\" of %s: token: must be a text: put it in quotes", ERROR_INVALID},
        {server_line, "    token: \"s3cret\\nX-Evil: 1\"\n", "token: must be one line",
         ERROR_INVALID},
        {server_line, "    tokenFile: gone\n", "user \"ann\" of %s: tokenFile: ", ERROR_NOT_FOUND},
        {server_line, "    tokenFile: .\n", "is no file", ERROR_INVALID},
        {server_line, alone, "client-certificate and client-key need each other", ERROR_INVALID},
        {server_line, wrong_pair,
         "user \"ann\" of %s: client-certificate-data: its key belongs to another certificate",
         ERROR_INVALID},
        {server_line, "    client-certificate-data: '***'\n    client-key-data: s3cret\n",
         "client-certificate-data: is no base64", ERROR_INVALID},
        {"    server: https://a\n    certificate-authority-data: aGVsbG8=\n", "    {}\n",
         "cluster \"here\" of %s: certificate-authority-data: holds no certificate", ERROR_INVALID},
        {"    server: https://a\n    insecure-skip-tls-verify: 1\n", "    {}\n",
         "insecure-skip-tls-verify: must be true or false", ERROR_INVALID},
        {"    server: https://a\n    insecure-skip-tls-verify: true\n"
         "    certificate-authority: ca.pem\n",
         "    {}\n", "contradict each other", ERROR_INVALID},
        {"    - server: https://a\n", "    {}\n",
         "kubeconfig: %s: clusters \"here\": \"cluster\" must be a mapping", ERROR_INVALID},
        {"    server: *x\n", "    {}\n", "kubeconfig: %s: line ", ERROR_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *path = kubeconfig("wrong", rows[i].cluster, rows[i].user);
        char words[512];
        const char *at = strstr(rows[i].words, "%s");
        if (at != NULL)
            snprintf(words, sizeof words, "%.*s%s%s", (int)(at - rows[i].words), rows[i].words,
                     path, at + 2);
        else
            snprintf(words, sizeof words, "%s", rows[i].words);
        expect_refusal(path, NULL, rows[i].code, words);
        free(path);
    }
    free(alone);
    free(wrong_pair);
    free(key);
    free(certificate);
}

static void names_the_entry_that_is_missing(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
        enum error_code code;
    } rows[] = {
        {"contexts: []\n", "current-context: is missing; name one of its contexts: none",
         ERROR_INVALID},
        {"contexts:\n- {name: a, context: {}}\n",
         "current-context: is missing; name one of its contexts: a", ERROR_INVALID},
        {"current-context: a\n", "current-context: there is no context \"a\"; there is: none",
         ERROR_NOT_FOUND},
        {"current-context: a\ncontexts:\n- {name: a, context: {}}\n", "cluster: is missing",
         ERROR_INVALID},
        {"current-context: a\ncontexts:\n- {name: a, context: {cluster: x}}\n"
         "clusters:\n- {name: y, cluster: {}}\n",
         "cluster: there is no cluster \"x\"; there is: y", ERROR_NOT_FOUND},
        {"current-context: a\ncontexts:\n- {name: a, context: {cluster: x, user: u}}\n"
         "clusters:\n- {name: x, cluster: {server: \"https://x\"}}\n",
         "user: there is no user \"u\"; there is: none", ERROR_NOT_FOUND},
        {"users:\n- {name: a}\n- {name: a}\n", "users: \"a\" is there twice", ERROR_INVALID},
        {"users:\n- {user: {}}\n", "users: every entry needs a name", ERROR_INVALID},
        {"users: ann\n", "users: must be a list", ERROR_INVALID},
        {"current-context: 3\n", "current-context: must be a text", ERROR_INVALID},
        {"- a\n", "is no kubeconfig", ERROR_INVALID},
        {"a: b: c\n", "line 1", ERROR_INVALID},
        {"", "current-context: is missing", ERROR_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *path = kube_write_file("missing-entry", rows[i].text);
        expect_refusal(path, NULL, rows[i].code, rows[i].words);
        free(path);
    }
    expect_refusal("/nonexistent/a:/nonexistent/b", NULL, ERROR_NOT_FOUND, "there is no file");
    expect_refusal("", NULL, ERROR_NOT_FOUND, "there is no file");
}

/* In a pod */

static struct kube_config *account(const char *host) {
    struct kube_config *config = NULL;
    struct error err;
    if (kube_config_in_cluster(kube_directory(), host, "443", &config, &err) < 0)
        fail_msg("%s", err.text);
    return config;
}

static void write_account(const char *token) {
    free(kube_write_file("token", token));
    free(kube_write_file("ca.crt", authority.certificate_pem));
    free(kube_write_file("namespace", "gateways\n"));
}

static void takes_a_pods_service_account(void **state) {
    (void)state;
    write_account("s3cret\n");
    struct kube_config *config = account("10.96.0.1");
    assert_string_equal(kube_config_server(config), "https://10.96.0.1:443");
    assert_string_equal(kube_config_namespace(config), "gateways");
    assert_string_equal(secret_of(config, KUBE_TOKEN), "s3cret");
    assert_string_equal(kube_config_proxy(config), "");
    kube_config_destroy(config);
    config = account("127.0.0.1");
    assert_string_equal(kube_config_proxy(config), "");
    kube_config_destroy(config);
    config = account("fd00:10:96::1");
    assert_string_equal(kube_config_server(config), "https://[fd00:10:96::1]:443");
    kube_config_destroy(config);
}

static void says_what_a_service_account_lacks(void **state) {
    (void)state;
    static const char *const files[] = {"token", "ca.crt", "namespace"};
    struct kube_config *config = NULL;
    struct error err;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        write_account("t");
        char *path = memory_printf("%s/%s", kube_directory(), files[i]);
        unlink(path);
        assert_int_equal(
            kube_config_in_cluster(kube_directory(), "10.96.0.1", "443", &config, &err), -1);
        assert_int_equal(err.code, ERROR_INVALID); /* it is a pod */
        assert_non_null(strstr(err.text, "the pod's service account"));
        assert_non_null(strstr(err.text, path));
        free(path);
    }
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(kube_config_in_cluster(NULL, NULL, NULL, &config, &err), -1);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(err.text, "KUBERNETES_SERVICE_HOST"));
}

static void reads_a_new_token(void **state) {
    (void)state;
    write_account("one");
    struct kube_config *config = account("10.96.0.1");
    assert_false(kube_config_refresh(config, true));
    free(kube_write_file("token", "two"));            /* replaced, as a kubelet swaps a link */
    assert_false(kube_config_refresh(config, false)); /* looked at a moment ago */
    assert_true(kube_config_refresh(config, true));
    assert_string_equal(secret_of(config, KUBE_TOKEN), "two");
    assert_false(kube_config_refresh(config, true));
    free(kube_write_file("token", "")); /* half written, or gone: what we have is kept */
    assert_false(kube_config_refresh(config, true));
    free(kube_write_file("ca.crt", "nonsense"));
    assert_false(kube_config_refresh(config, true));
    assert_string_equal(secret_of(config, KUBE_TOKEN), "two");
    char *path = memory_printf("%s/token", kube_directory());
    unlink(path);
    assert_false(kube_config_refresh(config, true));
    assert_string_equal(secret_of(config, KUBE_TOKEN), "two");
    write_account("three");
    assert_true(kube_config_refresh(config, true));
    assert_string_equal(secret_of(config, KUBE_TOKEN), "three");
    free(path);
    kube_config_destroy(config);
}

/* While a certificate and its key are exchanged, one of them is new first. */
static void exchanges_a_pair_as_a_whole(void **state) {
    (void)state;
    struct kube_pems next = kube_pems_make("DNS:next", &authority, 3600);
    free(kube_write_file("client.pem", ours.certificate_pem));
    free(kube_write_file("client.key", ours.key_pem));
    char *path = kubeconfig("pair", server_line,
                            "    client-certificate: client.pem\n    client-key: client.key\n");
    struct kube_config *config = load(path, NULL);
    free(kube_write_file("client.pem", next.certificate_pem));
    assert_false(kube_config_refresh(config, true));
    assert_string_equal(secret_of(config, KUBE_CERTIFICATE), ours.certificate_pem);
    free(kube_write_file("client.key", next.key_pem));
    assert_true(kube_config_refresh(config, true));
    assert_string_equal(secret_of(config, KUBE_CERTIFICATE), next.certificate_pem);
    assert_string_equal(secret_of(config, KUBE_KEY), next.key_pem);
    kube_config_destroy(config);
    kube_pems_free(&next);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_token_and_the_context),
        cmocka_unit_test(takes_certificates_as_data_and_as_files_beside_it),
        cmocka_unit_test(merges_files_as_kubectl_does),
        cmocka_unit_test(refuses_what_is_not_supported_and_names_the_user),
        cmocka_unit_test(names_the_field_that_is_wrong),
        cmocka_unit_test(names_the_entry_that_is_missing),
        cmocka_unit_test(takes_a_pods_service_account),
        cmocka_unit_test(says_what_a_service_account_lacks),
        cmocka_unit_test(reads_a_new_token),
        cmocka_unit_test(exchanges_a_pair_as_a_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
