#include "launcher/kube_objects.h"

#include "base/buffer.h"
#include "launcher/base64.h"
#include "launcher/kube_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID   "0f8fad5b-d9cb-469f-a165-70867728950e"
#define KEY  "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define KEY2 "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"

static const char *text_at(const json_t *object, const char *path) {
    char *copy = strdup(path), *save = NULL;
    for (char *step = strtok_r(copy, "/", &save); step != NULL; step = strtok_r(NULL, "/", &save))
        object = step[0] == '#' ? json_array_get(object, (size_t)atoi(step + 1))
                                : json_object_get(object, step);
    free(copy);
    return json_string_value(object);
}

static json_t *data_of(const json_t *secret, const char *member) {
    const json_t *value = json_object_get(json_object_get(secret, "data"), member);
    struct buffer text = {.limit = 2 << 20};
    assert_int_equal(base64_decode(json_string_value(value), json_string_length(value), &text), 0);
    json_t *json = json_loads(buffer_text(&text), JSON_DECODE_ANY, NULL);
    buffer_free(&text);
    return json;
}

static struct kube_record *sample(void) {
    json_t *tree = json_pack("{s:s, s:s, s:s, s:[s]}", "kernel_id", ID, "name", "python3", "owner",
                             "ann@example.com", "request", "x");
    struct kube_record *record = kube_record_new(ID, tree);
    json_decref(tree);
    record->kernel_namespace = strdup("team-a");
    record->namespace_created = true;
    record->attempt = 3;
    record->pods = strdup("kernel-" ID);
    record->server_key = strdup(KEY);
    record->port = 8877;
    record->state = KUBE_RECORD_DEAD;
    return record;
}

static void record_comes_back(void **state) {
    struct error err = {0};
    struct kube_record *record = sample(), *again = NULL;
    json_t *secret = NULL;
    (void)state;
    assert_int_equal(kube_record_tree(record, "elara", "gateways", &secret, &err), 0);
    assert_string_equal(text_at(secret, "apiVersion"), "v1");
    assert_string_equal(text_at(secret, "kind"), "Secret");
    assert_string_equal(text_at(secret, "metadata/name"), "elara-record-" ID);
    assert_string_equal(text_at(secret, "metadata/namespace"), "gateways");
    json_t *labels = json_object_get(json_object_get(secret, "metadata"), "labels");
    assert_string_equal(text_at(labels, "elara.install"), "elara");
    assert_string_equal(text_at(labels, "elara.kernel"), ID);
    assert_string_equal(text_at(labels, "elara.kind"), "record");
    assert_string_equal(text_at(labels, "elara.state"), "dead");
    assert_string_equal(text_at(labels, "kernel_id"), ID);
    assert_string_equal(text_at(labels, "component"), "kernel");
    assert_true(kube_is_label_value(text_at(labels, "elara.owner")));
    assert_string_equal(text_at(secret, "metadata/annotations/elara.owner"), "ann@example.com");
    json_t *metadata = json_object_get(secret, "metadata");
    json_object_set_new(metadata, "resourceVersion", json_string("41"));
    json_object_set_new(metadata, "uid", json_string("u-1"));
    assert_int_equal(kube_record_read(secret, &again, &err), 0);
    assert_string_equal(again->kernel_id, ID);
    assert_true(json_equal(again->record, record->record));
    assert_int_equal(again->state, KUBE_RECORD_DEAD);
    assert_string_equal(again->kernel_namespace, "team-a");
    assert_true(again->namespace_created);
    assert_int_equal(again->attempt, 3);
    assert_string_equal(again->pods, "kernel-" ID);
    assert_string_equal(again->server_key, KEY);
    assert_int_equal(again->port, 8877);
    assert_string_equal(again->version, "41");
    assert_string_equal(again->uid, "u-1");
    again->state = KUBE_RECORD_ENDED;
    json_t *patch = NULL;
    assert_int_equal(kube_record_patch(again, &patch, &err), 0);
    assert_string_equal(text_at(patch, "metadata/resourceVersion"), "41");
    assert_string_equal(text_at(patch, "metadata/labels/elara.state"), "ended");
    json_t *place = data_of(patch, "place.json");
    assert_string_equal(text_at(place, "namespace"), "team-a");
    json_decref(place);
    json_decref(patch);
    json_decref(secret);
    kube_record_free(record);
    kube_record_free(again);
    kube_record_free(NULL);
}

struct damage {
    const char *path, *value; /* value NULL: removed; JSON otherwise */
    const char *expected;     /* error, or NULL: it is read */
};

static void damage_apply(json_t *secret, const struct damage *damage) {
    char *copy = strdup(damage->path), *last = strrchr(copy, '/');
    json_t *parent = secret;
    if (last != NULL) {
        *last = '\0';
        char *save = NULL;
        for (char *step = strtok_r(copy, "/", &save); step; step = strtok_r(NULL, "/", &save))
            parent = json_object_get(parent, step);
    }
    const char *member = last != NULL ? last + 1 : copy;
    if (damage->value == NULL)
        json_object_del(parent, member);
    else
        json_object_set_new(parent, member, json_loads(damage->value, JSON_DECODE_ANY, NULL));
    free(copy);
}

static void damaged_records(void **state) {
    static const struct damage rows[] = {
        {"metadata/labels", NULL, NULL},
        {"metadata/labels", "{\"elara.state\": \"nonsense\"}", NULL},
        {"metadata/labels", "7", NULL},
        {"metadata/annotations", NULL, NULL},
        {"metadata/annotations/elara.kernel-id", "\"11111111-d9cb-469f-a165-70867728950e\"", NULL},
        {"data/place.json", NULL, NULL},
        {"metadata/name", "\"elara-record-other\"", "the kernel's id that the Secret is named by"},
        {"data", NULL, "data is missing"},
        {"data", "null", "data is missing"},
        {"data/record.json", NULL, "data[\"record.json\"] is missing"},
        {"data/record.json", "\"%%%\"", "data[\"record.json\"] must be base64"},
        {"data/record.json", "5", "data[\"record.json\"] must be base64"},
        {"data/record.json", "\"W10=\"", "data[\"record.json\"]: must be a JSON object"},
        {"data/record.json", "\"ezo=\"", "data[\"record.json\"]: "},
        {"data/place.json", "\"%%%\"", "data[\"place.json\"] must be base64"},
        /* {"namespace":"../x"} */
        {"data/place.json", "\"eyJuYW1lc3BhY2UiOiIuLi94In0=\"", "namespace must be the name"},
        /* {"server_key":"x"} */
        {"data/place.json", "\"eyJzZXJ2ZXJfa2V5IjoieCJ9\"", "server_key must be a key"},
        /* {"pods":"../x"} */
        {"data/place.json", "\"eyJwb2RzIjoiLi4veCJ9\"", "pods must be what names of pods"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {0};
        struct kube_record *record = sample(), *again = NULL;
        json_t *secret = NULL;
        assert_int_equal(kube_record_tree(record, "elara", "g", &secret, &err), 0);
        damage_apply(secret, &rows[i]);
        int rc = kube_record_read(secret, &again, &err);
        if (rows[i].expected == NULL) {
            assert_int_equal(rc, 0);
            assert_string_equal(again->kernel_id, ID);
        } else {
            assert_int_equal(rc, -1);
            assert_null(again);
            assert_int_equal(err.code, ERROR_INVALID);
            assert_non_null(strstr(err.text, "Secret elara-record-"));
            if (strstr(err.text, rows[i].expected) == NULL)
                fail_msg("%s lacks %s", err.text, rows[i].expected);
        }
        kube_record_free(again);
        kube_record_free(record);
        json_decref(secret);
    }
    struct kube_record *none = NULL;
    struct error err = {0};
    assert_int_equal(kube_record_read(NULL, &none, &err), -1);
}

static void too_large(void **state) {
    struct error err = {0};
    json_t *secret = NULL;
    (void)state;
    struct kube_record *record = sample();
    char *long_text = malloc((1 << 20) + 1);
    memset(long_text, 'x', 1 << 20);
    long_text[1 << 20] = '\0';
    json_object_set_new(record->record, "request", json_string(long_text));
    assert_int_equal(kube_record_tree(record, "elara", "g", &secret, &err), -1);
    assert_int_equal(err.code, ERROR_LIMIT);
    assert_non_null(strstr(err.text, "record.json"));
    assert_int_equal(kube_record_patch(record, &secret, &err), -1);
    free(long_text);
    kube_record_free(record);
}

static void keys(void **state) {
    struct error err = {0};
    struct kube_identity identity = {"elara", ID, NULL};
    (void)state;
    json_t *launch = json_pack("{s:[s]}", "argv", "python3");
    struct kube_key key = {launch, NULL, KEY2, KEY, KEY};
    json_t *secret = NULL, *back;
    assert_int_equal(kube_key_tree(&key, &identity, "team-a", &secret, &err), 0);
    assert_string_equal(text_at(secret, "metadata/name"), "elara-kernel-" ID);
    assert_null(text_at(secret, "metadata/labels/elara.owner"));
    back = data_of(secret, "launch.json");
    assert_true(json_equal(back, launch));
    json_decref(back);
    assert_null(json_object_get(json_object_get(secret, "data"), "record.json"));
    char *public_key = NULL;
    assert_int_equal(kube_key_read(secret, &public_key, &err), 0);
    assert_string_equal(public_key, KEY);
    free(public_key);
    json_object_set_new(json_object_get(secret, "data"), "link.pub", json_string("eA=="));
    assert_int_equal(kube_key_read(secret, &public_key, &err), -1);
    assert_non_null(strstr(err.text, "data[\"link.pub\"] must be a key of 40 Z85 characters"));
    json_decref(secret);
    json_decref(launch);

    secret = kube_gateway_tree("elara", "gateways", KEY, KEY2);
    assert_string_equal(text_at(secret, "metadata/name"), "elara-link-elara");
    assert_string_equal(text_at(secret, "metadata/labels/component"), "gateway");
    char *secret_key = NULL;
    assert_int_equal(kube_gateway_read(secret, &public_key, &secret_key, &err), 0);
    assert_string_equal(public_key, KEY);
    assert_string_equal(secret_key, KEY2);
    free(public_key);
    free(secret_key);
    json_object_del(json_object_get(secret, "data"), "link.key");
    assert_int_equal(kube_gateway_read(secret, &public_key, &secret_key, &err), -1);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    json_decref(secret);
}

static void namespaces(void **state) {
    struct kube_identity identity = {"elara", ID, "ann"};
    (void)state;
    json_t *more = json_pack("{s:s, s:s}", "pod-security.kubernetes.io/enforce", "restricted",
                             "elara.install", "stolen");
    json_t *namespace = kube_namespace_tree("ann-" ID, &identity, more);
    json_t *labels = json_object_get(json_object_get(namespace, "metadata"), "labels");
    assert_string_equal(
        json_string_value(json_object_get(labels, "pod-security.kubernetes.io/enforce")),
        "restricted");
    assert_string_equal(text_at(labels, "app"), "enterprise-gateway");
    assert_string_equal(text_at(labels, "component"), "kernel");
    assert_string_equal(text_at(labels, "kernel_id"), ID);
    assert_true(kube_namespace_is_ours(namespace, "elara"));
    assert_false(kube_namespace_is_ours(namespace, "other"));
    json_object_set_new(labels, "elara.kind", json_string("pod"));
    assert_false(kube_namespace_is_ours(namespace, "elara"));
    assert_false(kube_namespace_is_ours(NULL, "elara"));
    json_decref(namespace);
    json_decref(more);

    json_t *binding = kube_role_binding_tree("ann-ns", "kernel-controller", "default", &identity);
    assert_string_equal(text_at(binding, "metadata/name"), "kernel-controller");
    assert_string_equal(text_at(binding, "metadata/namespace"), "ann-ns");
    assert_string_equal(text_at(binding, "roleRef/kind"), "ClusterRole");
    assert_string_equal(text_at(binding, "roleRef/name"), "kernel-controller");
    assert_string_equal(text_at(binding, "subjects/#0/kind"), "ServiceAccount");
    assert_string_equal(text_at(binding, "subjects/#0/name"), "default");
    assert_string_equal(text_at(binding, "subjects/#0/namespace"), "ann-ns");
    json_decref(binding);
    json_t *spec = json_pack("{s:{}}", "podSelector");
    json_t *policy = kube_network_policy_tree("ann-ns", &identity, spec);
    assert_string_equal(text_at(policy, "metadata/name"), "elara-kernels");
    assert_string_equal(text_at(policy, "metadata/namespace"), "ann-ns");
    assert_true(json_equal(json_object_get(policy, "spec"), spec));
    json_decref(policy);
    json_decref(spec);
    char *selector = kube_selector("elara", "pod");
    assert_string_equal(selector, "elara.install=elara,elara.kind=pod");
    free(selector);
}

static void owners(void **state) {
    struct error err = {0};
    (void)state;
    json_t *object = json_pack("{s:{s:s}}", "metadata", "name", "pod");
    json_t *owner = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "Secret",
                              "metadata", "name", "key");
    assert_int_equal(kube_owner_add(object, owner, &err), -1);
    json_object_set_new(json_object_get(owner, "metadata"), "uid", json_string("u-2"));
    assert_int_equal(kube_owner_add(object, owner, &err), 0);
    assert_string_equal(text_at(object, "metadata/ownerReferences/#0/uid"), "u-2");
    assert_string_equal(text_at(object, "metadata/ownerReferences/#0/kind"), "Secret");
    assert_int_equal(
        json_object_size(json_array_get(
            json_object_get(json_object_get(object, "metadata"), "ownerReferences"), 0)),
        4);
    json_decref(object);
    json_decref(owner);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_comes_back), cmocka_unit_test(damaged_records),
        cmocka_unit_test(too_large),         cmocka_unit_test(keys),
        cmocka_unit_test(namespaces),        cmocka_unit_test(owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
