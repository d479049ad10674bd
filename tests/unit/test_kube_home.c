/* What a home makes of a pod, and whose it is. */
#include "launcher/kube_home.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define POD                                                                                        \
    "{'spec': {'securityContext': {'runAsUser': 1000, 'runAsGroup': 100}, 'containers': "          \
    "[{'name': "                                                                                   \
    "'kernel'}]}}"
#define VERIFIED                                                                                   \
    "{'request': {'verified': 'ann', 'username': 'ann', 'env': {'KERNEL_USERNAME': 'bob'}}}"
#define CLAIMED "{'request': {'username': 'gateway', 'env': {'KERNEL_USERNAME': '../bob'}}}"

static json_t *tree(const char *text) {
    char *json = strdup(text);
    for (char *at = json; *at != '\0'; at++)
        *at = *at == '\'' ? '"' : *at;
    json_t *ret = json_loads(json, 0, NULL);
    free(json);
    assert_non_null(ret);
    return ret;
}

static struct home_settings settings_with(const char *const *extra) {
    return (struct home_settings){.server = "10.0.0.5",
                                  .export_path = "/export/home",
                                  .path = "staff/{user}",
                                  .mount = "/home/jovyan",
                                  .parent_gid = -1,
                                  .extra = (char *const *)(uintptr_t)extra};
}

/* The pod that comes of it; NULL: refused. path: the home's, "" for none. */
static json_t *add(const struct home_settings *settings, const char *spec, const char *record,
                   const char *pod, char path[256], struct kube_home *home, struct error *err) {
    cleanup_json json_t *spec_tree = tree(spec), *record_tree = tree(record);
    json_t *ret = tree(pod);
    if (kube_home_add(settings, spec_tree, record_tree, ret, home, err) < 0) {
        json_decref(ret);
        return NULL;
    }
    snprintf(path, 256, "%s", home->path != NULL ? home->path : "");
    free(home->path);
    return ret;
}

static void expect(const char *pod, const char *expected) {
    cleanup_json json_t *wanted = tree(expected);
    char *text = json_dumps(wanted, JSON_SORT_KEYS);
    assert_string_equal(pod, text);
    free(text);
}

static void check_pod(const json_t *pod, const char *volumes, const char *mounts) {
    const json_t *spec = json_object_get(pod, "spec");
    char *found = json_dumps(json_object_get(spec, "volumes"), JSON_SORT_KEYS);
    expect(found, volumes);
    free(found);
    found = json_dumps(
        json_object_get(json_array_get(json_object_get(spec, "containers"), 0), "volumeMounts"),
        JSON_SORT_KEYS);
    expect(found, mounts);
    free(found);
}

static void an_nfs_volume_is_the_users_directory_alone(void **state) {
    static const char *const extra[] = {"data:/data", "projects/x:/projects/x:rw", NULL};
    const struct home_settings settings = settings_with(extra);
    struct kube_home home;
    char path[256];
    (void)state;
    cleanup_json json_t *pod = add(&settings, "{}", VERIFIED, POD, path, &home, NULL);
    check_pod(pod,
              "[{'name': 'elara-home', 'nfs': {'server': '10.0.0.5', 'path': "
              "'/export/home/staff/ann', 'readOnly': false}},"
              "{'name': 'elara-home-1', 'nfs': {'server': '10.0.0.5', 'path': '/export/home/data', "
              "'readOnly': true}},"
              "{'name': 'elara-home-2', 'nfs': {'server': '10.0.0.5', 'path': "
              "'/export/home/projects/x', 'readOnly': false}}]",
              "[{'name': 'elara-home', 'mountPath': '/home/jovyan', 'readOnly': false},"
              "{'name': 'elara-home-1', 'mountPath': '/data', 'readOnly': true},"
              "{'name': 'elara-home-2', 'mountPath': '/projects/x', 'readOnly': false}]");
    assert_string_equal(path, "staff/ann");
    assert_int_equal(home.target.given, 1);
    assert_int_equal(home.target.uid, 1000);
    assert_int_equal(home.target.gid, 100);
}

static void a_claim_is_mounted_once_by_its_parts(void **state) {
    static const char *const extra[] = {"data:/data", NULL};
    struct home_settings settings = settings_with(extra);
    struct kube_home home;
    char path[256];
    (void)state;
    settings.pvc = "homes";
    cleanup_json json_t *pod = add(&settings, "{}", VERIFIED, POD, path, &home, NULL);
    check_pod(pod, "[{'name': 'elara-home', 'persistentVolumeClaim': {'claimName': 'homes'}}]",
              "[{'name': 'elara-home', 'mountPath': '/home/jovyan', 'readOnly': false, 'subPath': "
              "'staff/ann'},"
              "{'name': 'elara-home', 'mountPath': '/data', 'readOnly': true, 'subPath': 'data'}]");
}

static void whose_it_is(void **state) {
    struct home_settings settings = settings_with(NULL);
    struct kube_home home;
    char path[256];
    (void)state;
    cleanup_json json_t *own = add(&settings, "{}", CLAIMED, POD, path, &home, NULL);
    assert_string_equal(path, "staff/gateway");
    settings.trusts_claimed = true;
    cleanup_json json_t *claimed = add(&settings, "{}", CLAIMED, POD, path, &home, NULL);
    assert_string_equal(path, "staff/-2e-2e-2fbob");
    cleanup_json json_t *verified = add(&settings, "{}", VERIFIED, POD, path, &home, NULL);
    assert_string_equal(path, "staff/ann");
    cleanup_json json_t *none = add(&settings, "{'metadata': {'elara': {'home': false}}}", VERIFIED,
                                    POD, path, &home, NULL);
    assert_string_equal(path, "");
    assert_null(json_object_get(json_object_get(none, "spec"), "volumes"));
}

static void the_pod_runs_as_its_owner(void **state) {
    struct home_settings settings = settings_with(NULL);
    struct kube_home home;
    struct error err;
    char path[256];
    (void)state;
    cleanup_json json_t *uids = tree("{'ann': '1001:2000'}");
    settings.uids = uids;
    cleanup_json json_t *pod = add(&settings, "{}", VERIFIED, POD, path, &home, NULL);
    const json_t *security = json_object_get(
        json_array_get(json_object_get(json_object_get(pod, "spec"), "containers"), 0),
        "securityContext");
    assert_int_equal(json_integer_value(json_object_get(security, "runAsUser")), 1001);
    assert_int_equal(json_integer_value(json_object_get(security, "runAsGroup")), 2000);
    assert_int_equal(home.target.uid, 1001);
    settings.uids = NULL;
    assert_null(add(&settings, "{}", VERIFIED, "{'spec': {'containers': [{'name': 'kernel'}]}}",
                    path, &home, &err));
    assert_non_null(strstr(err.text, "kubernetes-uid"));
}

static void what_does_not_go_together_is_refused(void **state) {
    const struct home_settings settings = settings_with(NULL);
    struct kube_home home;
    struct error err;
    char path[256];
    (void)state;
    assert_null(add(&settings, "{}", VERIFIED,
                    "{'spec': {'securityContext': {'runAsUser': 1000}, 'containers': [{'name': "
                    "'kernel', 'volumeMounts': [{'name': 'x', 'mountPath': '/home/jovyan'}]}]}}",
                    path, &home, &err));
    assert_non_null(strstr(err.text, "metadata.elara.home"));
    assert_null(add(&settings, "{}", VERIFIED,
                    "{'spec': {'securityContext': {'runAsUser': 1000}, 'containers': [{'name': "
                    "'kernel'}], 'volumes': [{'name': 'elara-home', 'emptyDir': {}}]}}",
                    path, &home, &err));
    assert_non_null(strstr(err.text, "elara-home"));
}

static void nobodys_home_is_what_all_share(void **state) {
    static const struct {
        const char *extra, *path;
        bool is_good;
    } rows[] = {
        {"ann:/data", "{user}", false},   {"ann/data:/data", "{user}", false},
        {"anna:/data", "{user}", true},   {"staff:/staff", "staff/{user}", true},
        {"ann:/x", "staff/{user}", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const extra[] = {rows[i].extra, NULL};
        struct home_settings settings = settings_with(extra);
        struct kube_home home;
        struct error err = {0};
        char path[256];
        settings.path = rows[i].path;
        cleanup_json json_t *pod = add(&settings, "{}", VERIFIED, POD, path, &home, &err);
        assert_int_equal(pod != NULL, rows[i].is_good);
        if (!rows[i].is_good)
            assert_non_null(strstr(err.text, "which all users share"));
    }
}

static void settings_are_checked(void **state) {
    static const char *const wrong[] = {
        "data", "data:data", "/data:/data", "../x:/data", "data:/data:rx", "data:/data:rw:x", ""};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *extra[] = {wrong[i], NULL};
        const struct home_settings settings = settings_with(extra);
        struct error err;
        assert_int_equal(home_settings_check(&settings, &err), -1);
        assert_non_null(strstr(err.text, "home-extra"));
    }
    struct home_settings settings = settings_with(NULL);
    assert_int_equal(home_settings_check(&settings, NULL), 0);
    static const char *const ids[] = {"{'ann': 1001}", "{'ann': '0'}", "{'ann': '1:0'}",
                                      "{'ann': 'x'}", "{'ann': ''}"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        cleanup_json json_t *uids = tree(ids[i]);
        settings.uids = uids;
        assert_int_equal(home_settings_check(&settings, NULL), -1);
    }
    settings.uids = NULL;
    settings.path = "everybody";
    assert_int_equal(home_settings_check(&settings, NULL), -1);
    settings.server = NULL; /* no homes: nothing to check */
    assert_int_equal(home_settings_check(&settings, NULL), 0);
}

static void kernels_start_in_it(void **state) {
    static const struct {
        const char *cwd, *expected;
    } rows[] = {
        {"['/home/jovyan/a', '~', '.']", "['/home/jovyan/a', '~', '.']"},
        {"['/srv/notebooks', '~', '.']", "['~', '.']"},
        {"['/home/jovyan/../bob', '~', '.']", "['~', '.']"},
        {"['~', '.']", "['~', '.']"},
    };
    const struct home_settings settings = settings_with(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cleanup_json json_t *cwd = tree(rows[i].cwd), *expected = tree(rows[i].expected),
                            *spec = json_object();
        cleanup_json json_t *launch = json_pack("{s:O, s:{s:s}}", "cwd", cwd, "env", "HOME", "/x");
        kube_home_set_launch(&settings, spec, launch);
        assert_true(json_equal(json_object_get(launch, "cwd"), expected));
        assert_string_equal(
            json_string_value(json_object_get(json_object_get(launch, "env"), "HOME")),
            "/home/jovyan");
    }
}

static void a_claim_of_the_gateways_own_is_its_namespaces(void **state) {
    char *const options[] = {(char[]){"nfsvers=4.2"}, (char[]){"hard"}, NULL};
    struct home_settings settings = settings_with(NULL);
    const struct kube_identity identity = {.install = "elara"};
    const struct kube_home_claim ours = {"team-ann", "uid-1", "claim-1"};
    const struct kube_home_claim theirs = {"team-ann", "uid-2", "claim-2"};
    char name[KUBE_NAME_SIZE], other[KUBE_NAME_SIZE], path[256];
    struct kube_home home;
    (void)state;
    settings.makes_claims = settings.makes_namespaces = true;
    kube_home_name_claim(&settings, other);
    settings.options = options;
    kube_home_name_claim(&settings, name);
    assert_string_not_equal(name, other);
    cleanup_json json_t *pod = add(&settings, "{}", VERIFIED, POD, path, &home, NULL);
    const json_t *volume =
        json_array_get(json_object_get(json_object_get(pod, "spec"), "volumes"), 0);
    const json_t *used = json_object_get(volume, "persistentVolumeClaim");
    assert_string_equal(json_string_value(json_object_get(used, "claimName")), name);
    cleanup_json json_t *made = kube_home_volume_tree(&settings, &identity, &ours);
    cleanup_json json_t *again = kube_home_volume_tree(&settings, &identity, &ours);
    cleanup_json json_t *later = kube_home_volume_tree(&settings, &identity, &theirs);
    cleanup_json json_t *claim = kube_home_claim_tree(&settings, &identity, &ours);
    assert_true(json_equal(made, again));
    assert_string_equal(kube_object_name(claim), name);
    assert_string_not_equal(kube_object_name(made), kube_object_name(later));
    json_t *spec = json_object_get(made, "spec"), *reference = json_object_get(spec, "claimRef");
    assert_string_equal(json_string_value(json_object_get(reference, "name")), name);
    assert_string_equal(json_string_value(json_object_get(reference, "uid")), "claim-1");
    assert_int_equal(json_array_size(json_object_get(spec, "mountOptions")), 2);
    const char *wanted = json_string_value(json_object_get(
        json_object_get(json_object_get(json_object_get(claim, "spec"), "selector"), "matchLabels"),
        "elara.volume"));
    assert_string_equal(wanted, kube_object_name(made));
    assert_string_equal(kube_object_label(made, "elara.volume"), wanted);
}

static void volumes_that_cannot_be_are_refused(void **state) {
    char *const options[] = {(char[]){"hard"}, NULL};
    char *const bad[] = {(char[]){"hard,exec"}, NULL};
    const struct {
        bool makes_claims, makes_namespaces;
        char *const *options;
        const char *server, *pvc, *words;
    } rows[] = {
        {false, true, options, "s", NULL, "home-options: nfs volumes of pods have none"},
        {true, true, NULL, "s", "homes", "home-pvc: with home-volume: claim"},
        {true, true, NULL, NULL, NULL, "home-volume: claim is of the server"},
        {true, false, NULL, "s", NULL, "kubernetes-namespaces: user or kernel"},
        {true, true, bad, "s", NULL, "home-options: \"hard,exec\" must be one option"},
        {true, true, options, "s", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct home_settings settings = settings_with(NULL);
        struct error err = {0};
        settings.makes_claims = rows[i].makes_claims;
        settings.makes_namespaces = rows[i].makes_namespaces;
        settings.options = rows[i].options;
        settings.server = rows[i].server;
        settings.pvc = rows[i].pvc;
        int failed = home_settings_check(&settings, &err);
        assert_int_equal(failed, rows[i].words != NULL ? -1 : 0);
        if (rows[i].words != NULL && strstr(err.text, rows[i].words) == NULL)
            fail_msg("'%s' does not say '%s'", err.text, rows[i].words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_nfs_volume_is_the_users_directory_alone),
        cmocka_unit_test(a_claim_is_mounted_once_by_its_parts),
        cmocka_unit_test(whose_it_is),
        cmocka_unit_test(the_pod_runs_as_its_owner),
        cmocka_unit_test(what_does_not_go_together_is_refused),
        cmocka_unit_test(nobodys_home_is_what_all_share),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(kernels_start_in_it),
        cmocka_unit_test(a_claim_of_the_gateways_own_is_its_namespaces),
        cmocka_unit_test(volumes_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
