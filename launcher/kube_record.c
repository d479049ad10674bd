/* The record Secret, the key Secret and the gateway's own pair. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_names.h"
#include "launcher/kube_objects.h"
#include "launcher/kube_secrets.h"

#include <string.h>

static const char *const state_names[] = {
    [KUBE_RECORD_LIVE] = "live", [KUBE_RECORD_DEAD] = "dead", [KUBE_RECORD_ENDED] = "ended"};

enum { STATES = sizeof state_names / sizeof *state_names };

const char *kube_record_state_name(enum kube_record_state state) {
    return state_names[state];
}

struct kube_record *kube_record_new(const char *kernel_id, const json_t *record) {
    struct kube_record *new = memory_alloc(sizeof *new);
    new->kernel_id = memory_strdup(kernel_id);
    new->record = record != NULL ? json_deep_copy(record) : json_object();
    return new;
}

void kube_record_free(struct kube_record *record) {
    if (record == NULL)
        return;
    free(record->kernel_id);
    json_decref(record->record);
    free(record->kernel_namespace);
    free(record->pods);
    free(record->server_key);
    free(record->version);
    free(record->uid);
    free(record);
}

static json_t *place_tree(const struct kube_record *record) {
    return json_pack("{s:s*, s:b, s:I, s:s*, s:s*, s:I}", "namespace", record->kernel_namespace,
                     "namespace_created", (int)record->namespace_created, "attempt",
                     (json_int_t)record->attempt, "pods", record->pods, "server_key",
                     record->server_key, "port", (json_int_t)record->port);
}

static int fill_data(const struct kube_record *record, const char *name, json_t *data,
                     struct error *err) {
    cleanup_json json_t *place = place_tree(record);
    kube_secret_add_json(data, "record.json", record->record);
    kube_secret_add_json(data, "place.json", place);
    return kube_secret_check(data, name, err);
}

int kube_record_tree(const struct kube_record *record, const char *install, const char *namespace,
                     json_t **ret, struct error *err) {
    const char *owner = json_string_value(json_object_get(record->record, "owner"));
    struct kube_identity identity = {install, record->kernel_id, owner};
    char name[KUBE_NAME_SIZE];
    kube_name_record(install, record->kernel_id, name);
    json_t *labels = kube_labels(&identity, "record");
    json_object_set_new(labels, KUBE_LABEL_STATE, json_string(state_names[record->state]));
    cleanup_json json_t *secret =
        kube_secret_tree(name, namespace, labels, kube_annotations(&identity));
    if (fill_data(record, name, json_object_get(secret, "data"), err) < 0)
        return -1;
    *ret = steal(&secret);
    return 0;
}

int kube_record_patch(const struct kube_record *record, json_t **ret, struct error *err) {
    cleanup_json json_t *patch =
        json_pack("{s:{s:s*, s:{s:s}}, s:{}}", "metadata", "resourceVersion", record->version,
                  "labels", KUBE_LABEL_STATE, state_names[record->state], "data");
    if (fill_data(record, record->kernel_id, json_object_get(patch, "data"), err) < 0)
        return -1;
    *ret = steal(&patch);
    return 0;
}

/* A missing place is one that is not known yet; a broken one is an error, since a namespace that we
 * made would be forgotten. */
static int read_place(const json_t *secret, struct kube_record *record, struct error *err) {
    cleanup_json json_t *place = NULL;
    struct error problem = {0};
    if (kube_secret_get_json(secret, "place.json", &place, &problem) < 0) {
        if (problem.code == ERROR_NOT_FOUND)
            return 0;
        return error_set(err, problem.code, "%s", problem.text);
    }
    const char *namespace = json_string_value(json_object_get(place, "namespace"));
    const char *key = json_string_value(json_object_get(place, "server_key"));
    const char *pods = json_string_value(json_object_get(place, "pods"));
    const char *wrong = NULL;
    if (namespace != NULL && !kube_is_dns_label(namespace))
        wrong = "namespace must be the name of a namespace";
    else if (key != NULL && !kube_is_z85_key(key))
        wrong = "server_key must be a key of 40 Z85 characters";
    else if (pods != NULL && !kube_is_dns_label(pods))
        wrong = "pods must be what names of pods begin with";
    if (wrong != NULL)
        return error_set(err, ERROR_INVALID, "Secret %.253s: data[\"place.json\"]: %s",
                         kube_object_name(secret) ? kube_object_name(secret) : "", wrong);
    record->kernel_namespace = namespace != NULL ? memory_strdup(namespace) : NULL;
    record->server_key = key != NULL ? memory_strdup(key) : NULL;
    record->pods = pods != NULL ? memory_strdup(pods) : NULL;
    record->namespace_created = json_is_true(json_object_get(place, "namespace_created"));
    json_int_t attempt = json_integer_value(json_object_get(place, "attempt"));
    json_int_t port = json_integer_value(json_object_get(place, "port"));
    record->attempt = attempt > 0 && attempt <= KUBE_ATTEMPT_MAX ? attempt : 0;
    record->port = port > 0 && port <= 65535 ? port : 0;
    return 0;
}

static enum kube_record_state read_state(const json_t *secret) {
    const char *name = kube_object_label(secret, KUBE_LABEL_STATE);
    for (size_t i = 0; name != NULL && i < STATES; i++)
        if (strcmp(state_names[i], name) == 0)
            return (enum kube_record_state)i;
    return KUBE_RECORD_LIVE;
}

/* The id that the Secret is named by: names cannot be edited, annotations can. */
static const char *find_id(const json_t *secret, const json_t *record) {
    const char *ids[] = {kube_object_kernel_id(secret),
                         json_string_value(json_object_get(record, "kernel_id"))};
    const char *name = kube_object_name(secret);
    const char *install = kube_object_label(secret, KUBE_LABEL_INSTALL);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char expected[KUBE_NAME_SIZE];
        if (ids[i] == NULL || !text_is_kernel_id(ids[i]))
            continue;
        kube_name_record(install != NULL ? install : KUBE_INSTALL_DEFAULT, ids[i], expected);
        if (name == NULL || strcmp(name, expected) == 0)
            return ids[i];
    }
    return NULL;
}

static char *copy(const char *text) {
    return text != NULL ? memory_strdup(text) : NULL;
}

int kube_record_read(const json_t *secret, struct kube_record **ret, struct error *err) {
    struct kube_record *record = memory_alloc(sizeof *record);
    if (kube_secret_get_json(secret, "record.json", &record->record, err) < 0) {
        if (err != NULL)
            err->code = ERROR_INVALID;
        goto fail;
    }
    const char *id = find_id(secret, record->record);
    if (id == NULL) {
        error_set(err, ERROR_INVALID,
                  "Secret %.253s: neither metadata.annotations[\"%s\"] nor kernel_id in "
                  "data[\"record.json\"] is the kernel's id that the Secret is named by",
                  kube_object_name(secret) ? kube_object_name(secret) : "", KUBE_ANNOTATION_ID);
        goto fail;
    }
    record->kernel_id = memory_strdup(id);
    if (read_place(secret, record, err) < 0)
        goto fail;
    record->state = read_state(secret);
    record->version = copy(kube_object_version(secret));
    record->uid = copy(kube_object_uid(secret));
    *ret = record;
    return 0;
fail:
    kube_record_free(record);
    return -1;
}

int kube_key_tree(const struct kube_key *key, const struct kube_identity *identity,
                  const char *namespace, json_t **ret, struct error *err) {
    char name[KUBE_NAME_SIZE];
    kube_name_key(identity->install, identity->kernel_id, name);
    cleanup_json json_t *secret =
        kube_secret_tree(name, namespace, kube_labels(identity, "key"), kube_annotations(identity));
    json_t *data = json_object_get(secret, "data");
    kube_secret_add_json(data, "launch.json", key->launch);
    if (key->record != NULL)
        kube_secret_add_json(data, "record.json", key->record);
    kube_secret_add(data, "link.key", key->secret_key, strlen(key->secret_key));
    kube_secret_add(data, "link.pub", key->public_key, strlen(key->public_key));
    kube_secret_add(data, "gateway.pub", key->gateway_key, strlen(key->gateway_key));
    if (kube_secret_check(data, name, err) < 0)
        return -1;
    *ret = steal(&secret);
    return 0;
}

int kube_key_read(const json_t *secret, char **ret_public_key, struct error *err) {
    return kube_secret_get_key(secret, "link.pub", ret_public_key, err);
}

json_t *kube_gateway_tree(const char *install, const char *namespace, const char *public_key,
                          const char *secret_key) {
    struct kube_identity identity = {install, NULL, NULL};
    char name[KUBE_NAME_SIZE];
    kube_name_gateway(install, name);
    json_t *labels = kube_labels(&identity, "gateway");
    json_object_set_new(labels, "component", json_string("gateway"));
    json_object_set_new(labels, "app.kubernetes.io/component", json_string("gateway"));
    json_t *secret = kube_secret_tree(name, namespace, labels, kube_annotations(&identity));
    json_t *data = json_object_get(secret, "data");
    kube_secret_add(data, "link.pub", public_key, strlen(public_key));
    kube_secret_add(data, "link.key", secret_key, strlen(secret_key));
    return secret;
}

int kube_gateway_read(const json_t *secret, char **ret_public_key, char **ret_secret_key,
                      struct error *err) {
    char *public_key = NULL;
    if (kube_secret_get_key(secret, "link.pub", &public_key, err) < 0)
        return -1;
    if (kube_secret_get_key(secret, "link.key", ret_secret_key, err) < 0) {
        free(public_key);
        return -1;
    }
    *ret_public_key = public_key;
    return 0;
}
