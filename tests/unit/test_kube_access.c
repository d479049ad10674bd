/* Who may what at an API server, and whether it is the right one: rights, tokens, certificates. */
#include "launcher/kube_rights.h"

#include "kube_script.h"

/* Rights */

static void on_forbidden(void *context, struct kube_connection *connection,
                         const struct kube_incoming *request) {
    (void)request;
    kube_answer_status(connection, 403, "Forbidden", *(const char **)context);
}

#define FORBIDDEN_TO(verb, resource, namespace)                                                    \
    resource " is forbidden: User \"system:serviceaccount:elara:gw\" cannot " verb                 \
             " resource \"" resource "\" in API group \"\" in the namespace \"" namespace "\""

static void names_the_right_that_is_missing(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {"pods is forbidden: User \"system:serviceaccount:elara:gw\" cannot create resource "
         "\"pods\" "
         "in API group \"\" in the namespace \"kernels\"",
         "system:serviceaccount:elara:gw may not create pods in namespace \"kernels\" at the "
         "Kubernetes API server "},
        {"pods is forbidden: User \"system:serviceaccount:elara:gw\" cannot create resource "
         "\"pods\" "
         "in API group \"\" in the namespace \"kernels\"",
         ": the Role elara-kernels in that namespace (the ClusterRole elara-kernels where the "
         "gateway makes the namespaces) has to grant it (apiGroups: [\"\"], resources: [\"pods\"], "
         "verbs: [\"create\"]), bound to it by a RoleBinding"},
        {FORBIDDEN_TO("list", "secrets", "elara"),
         ": the Role elara-records in that namespace has to grant it (apiGroups: [\"\"], "
         "resources: "
         "[\"secrets\"], verbs: [\"list\"]), bound to it by a RoleBinding"},
        {FORBIDDEN_TO("get", "secrets", "elsewhere"), ": the Role elara-records in that namespace"},
        {FORBIDDEN_TO("create", "secrets", "elara"), ": the Role elara-records in that namespace"},
        {FORBIDDEN_TO("create", "secrets", "elara2"), ": the Role elara-kernels in that namespace"},
        {FORBIDDEN_TO("create", "networkpolicies", "anna"),
         "in namespace \"anna\" at the Kubernetes API server "},
        {FORBIDDEN_TO("create", "networkpolicies", "anna"), ": the ClusterRole elara-kernels has "},
        {FORBIDDEN_TO("get", "persistentvolumeclaims", "anna"),
         ": the ClusterRole elara-home-claims has to grant it "},
        {FORBIDDEN_TO("create", "rolebindings", "anna"), ": the ClusterRole elara-kernel-role has"},
        {FORBIDDEN_TO("list", "configmaps", "anna"), ": a Role in that namespace has to grant it "},
        {"rolebindings.rbac.authorization.k8s.io is forbidden: User \"u\" cannot list resource "
         "\"rolebindings\" in API group \"rbac.authorization.k8s.io\" at the cluster scope",
         "u may not list rolebindings in the whole cluster at the Kubernetes API server "},
        {"namespaces is forbidden: User \"u\" cannot create resource \"namespaces\" in API group "
         "\"\" at the cluster scope",
         "the ClusterRole elara-kernels has to grant it (apiGroups: [\"\"], resources: "
         "[\"namespaces\"], verbs: "
         "[\"create\"]), bound to it by a ClusterRoleBinding"},
        {"pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
         "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": privileged"},
        {"forbidden: User \"u\" cannot get path \"/metrics\"",
         "forbidden: User \"u\" cannot get path \"/metrics\""},
    };
    const char *text = NULL;
    struct kube_fixture fixture = {0};
    struct kube_result result = {0};
    kube_fixture_begin(&fixture, on_forbidden, &text);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        text = texts[i][0];
        kube_post(&fixture, &result, true);
        assert_text(&result, texts[i][1]);
        assert_int_equal(result.code, ERROR_DENIED);
        assert_string_equal(kube_status_reason(result.answer), "Forbidden");
    }
    text =
        "pods \"p\" is forbidden: exceeded quota: q, requested: cpu=1, used: cpu=1, limited: cpu=1";
    kube_post(&fixture, &result, true);
    assert_string_equal(result.text, text);
    assert_int_equal(result.code, ERROR_LIMIT);
    kube_clear(&result);
    kube_fixture_end(&fixture);
}

static void names_the_roles_of_a_purge(void **state) {
    (void)state;
    static const char *const texts[][3] = {
        {"list", "secrets", ": the Role elara-uninstall in that namespace has to grant it "},
        {"delete", "secrets", ": the ClusterRole elara-uninstall has to grant it "},
        {"list", "pods", ": the ClusterRole elara-uninstall has to grant it "},
        {"get", "namespaces", ": the ClusterRole elara-uninstall has to grant it "},
        {"create", "pods", ": a Role in that namespace has to grant it "},
    };
    struct kube_missing_right missing = {
        .user = "u", .group = "", .namespace = "elara", .server = "s", .is_of_purge = true};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct error err = {0};
        missing.verb = texts[i][0];
        missing.resource = texts[i][1];
        assert_int_equal(kube_right_explain(&missing, &err), -1);
        assert_non_null(strstr(err.text, texts[i][2]));
    }
}

/* Credentials */

struct gate {
    const char *token; /* that is accepted */
};

static void on_gate(void *context, struct kube_connection *connection,
                    const struct kube_incoming *request) {
    const struct gate *gate = context;
    char *header = memory_printf("\r\nAuthorization: Bearer %s\r\n", gate->token);
    if (strstr(request->head, header) != NULL)
        kube_tell_back(connection, request);
    else
        kube_refuse(connection, 401, "Unauthorized");
    free(header);
}

static void reads_its_token_again_when_it_is_refused(void **state) {
    (void)state;
    struct gate gate = {"one"};
    struct kube_fixture fixture = {0};
    struct kube_result results[3] = {{0}};
    kube_fixture_begin(&fixture, on_gate, &gate);
    kube_client_destroy(fixture.client);
    kube_config_destroy(fixture.config);
    free(kube_write_file("token", "one\n"));
    fixture.config = kube_fixture_config(fixture.url, "", "    tokenFile: token\n");
    kube_fixture_client(&fixture);
    kube_get(&fixture, &results[0], 0);
    assert_int_equal(results[0].status, 200);
    gate.token = "two"; /* the first has expired; the file has the next one already */
    free(kube_write_file("token", "two\n"));
    for (int i = 0; i < 3; i++) {
        kube_clear(&results[i]);
        kube_client_call(fixture.client, &(struct kube_call){.method = "GET", .path = "/x"},
                         kube_on_done, &results[i]);
    }
    for (int i = 0; i < 3; i++) {
        kube_run_until(fixture.loop, &results[i].is_done);
        assert_int_equal(results[i].status, 200);
    }
    gate.token = "three";
    fixture.requests = 0;
    kube_get(&fixture, &results[0], 0);
    assert_int_equal(results[0].status, 401);
    assert_int_equal(fixture.requests, 1); /* nothing new to try */
    assert_null(strstr(results[0].text, "two"));
    for (int i = 0; i < 3; i++)
        kube_clear(&results[i]);
    kube_fixture_end(&fixture);
}

/* TLS */

struct tls_fixture {
    struct kube_fixture fixture;
    struct kube_pems authority, certificate;
    struct kube_script script;
    struct kube_result result;
};

static void begin_tls(struct tls_fixture *tls, const char *names, long lifetime_s,
                      const char *more) {
    static const enum kube_action answers[] = {ANSWER};
    struct kube_fixture *fixture = &tls->fixture;
    signal(SIGPIPE, SIG_IGN);
    tls->script = (struct kube_script){.actions = answers, .count = 1};
    tls->authority = kube_pems_make(NULL, NULL, 3600);
    tls->certificate = kube_pems_make(names, &tls->authority, lifetime_s);
    free(kube_write_file("ca.pem", tls->authority.certificate_pem));
    *fixture = (struct kube_fixture){.loop = event_base_new(),
                                     .handler = kube_script_handle,
                                     .context = &tls->script,
                                     .limits = {.pause_ms = 2}};
    fixture->server =
        kube_server_start(fixture->loop, 0, &tls->certificate, kube_fixture_handle, fixture);
    fixture->url = memory_printf("https://127.0.0.1:%d", kube_server_port(fixture->server));
    fixture->config = kube_fixture_config(fixture->url, more, "    token: s3cret\n");
    kube_fixture_client(fixture);
}

static void end_tls(struct tls_fixture *tls) {
    kube_clear(&tls->result);
    kube_fixture_end(&tls->fixture);
    kube_pems_free(&tls->authority);
    kube_pems_free(&tls->certificate);
}

#define TRUST "    certificate-authority: ca.pem\n"

static void speaks_tls(void **state) {
    (void)state;
    static const struct {
        const char *names, *more;
    } good[] = {
        {"IP:127.0.0.1", TRUST},
        {"DNS:api.test", TRUST "    tls-server-name: api.test\n"},
        {"DNS:other", "    insecure-skip-tls-verify: true\n"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct tls_fixture tls = {0};
        begin_tls(&tls, good[i].names, 3600, good[i].more);
        kube_get(&tls.fixture, &tls.result, 20000);
        if (tls.result.status != 200)
            fail_msg("%s", tls.result.text);
        assert_non_null(strstr(tls.script.last_head, "Authorization: Bearer s3cret\r\n"));
        end_tls(&tls);
    }
}

static void says_what_is_wrong_with_the_certificate(void **state) {
    (void)state;
    struct kube_pems other = kube_pems_make(NULL, NULL, 3600);
    free(kube_write_file("other.pem", other.certificate_pem));
    static const struct {
        const char *names;
        long lifetime_s;
        const char *more, *words;
    } bad[] = {
        {"IP:127.0.0.1", 3600, "    certificate-authority: other.pem\n",
         "is not signed by the certificate authority of context \"test\" of "},
        {"IP:127.0.0.1", 3600, "", "is not signed by the certificate authority of"},
        {"IP:127.0.0.1", -60, TRUST, "has expired"},
        {"DNS:other.test", 3600, TRUST, "does not fit ("},
        {"DNS:other.test", 3600, TRUST "    tls-server-name: api.test\n", "does not fit ("},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tls_fixture tls = {0};
        begin_tls(&tls, bad[i].names, bad[i].lifetime_s, bad[i].more);
        kube_get(&tls.fixture, &tls.result, 20000);
        assert_int_equal(tls.result.code, ERROR_DENIED);
        assert_text(&tls.result, bad[i].words);
        assert_text(&tls.result, tls.fixture.url);
        assert_null(strstr(tls.result.text, "s3cret"));
        assert_int_equal(tls.fixture.requests, 0); /* the token was not sent */
        end_tls(&tls);
    }
    kube_pems_free(&other);
}

/* The file that holds the authority is exchanged along with the server's certificate. */
static void trusts_a_new_authority(void **state) {
    (void)state;
    struct tls_fixture tls = {0};
    begin_tls(&tls, "IP:127.0.0.1", 3600, TRUST);
    struct kube_pems authority = kube_pems_make(NULL, NULL, 3600);
    struct kube_pems certificate = kube_pems_make("IP:127.0.0.1", &authority, 3600);
    int port = kube_server_port(tls.fixture.server);
    kube_server_stop(tls.fixture.server);
    tls.fixture.server =
        kube_server_start(tls.fixture.loop, port, &certificate, kube_fixture_handle, &tls.fixture);
    kube_get(&tls.fixture, &tls.result, 20000);
    assert_int_equal(tls.result.code, ERROR_DENIED);
    free(kube_write_file("ca.pem", authority.certificate_pem));
    kube_get(&tls.fixture, &tls.result, 20000);
    assert_int_equal(tls.result.status, 200);
    end_tls(&tls);
    kube_pems_free(&authority);
    kube_pems_free(&certificate);
}

static void says_that_it_is_no_tls(void **state) {
    (void)state;
    struct kube_script script = SCRIPT(ANSWER);
    struct kube_fixture fixture = {0};
    struct kube_result result = {0};
    kube_fixture_begin(&fixture, kube_script_handle, &script);
    kube_client_destroy(fixture.client);
    kube_config_destroy(fixture.config);
    char *url = memory_printf("https://127.0.0.1:%d", kube_server_port(fixture.server));
    fixture.config = kube_fixture_config(url, "", NULL);
    kube_fixture_client(&fixture);
    kube_call_and_wait(
        &fixture, &result,
        &(struct kube_call){.method = "GET", .path = "/x", .once = true, .deadline_ms = 300});
    assert_true(result.code == ERROR_UNAVAILABLE || result.code == ERROR_TIMEOUT);
    assert_text(&result, url);
    free(url);
    kube_fixture_end(&fixture);
}

static int tear_down(void **state) {
    (void)state;
    kube_remove_directory();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_the_right_that_is_missing),
        cmocka_unit_test(names_the_roles_of_a_purge),
        cmocka_unit_test(reads_its_token_again_when_it_is_refused),
        cmocka_unit_test(speaks_tls),
        cmocka_unit_test(says_what_is_wrong_with_the_certificate),
        cmocka_unit_test(trusts_a_new_authority),
        cmocka_unit_test(says_that_it_is_no_tls),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
