#include "launcher/kube_secrets.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/base64.h"
#include "launcher/kube_objects.h"

#include <assert.h>
#include <string.h>

enum { KEY_LENGTH = 40 };

json_t *kube_secret_tree(const char *name, const char *namespace, json_t *labels,
                         json_t *annotations) {
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:o}, s:s, s:{}}", "apiVersion", "v1", "kind",
                     "Secret", "metadata", "name", name, "namespace", namespace, "labels", labels,
                     "annotations", annotations, "type", "Opaque", "data");
}

void kube_secret_add(json_t *data, const char *member, const void *bytes, size_t length) {
    cleanup_buffer struct buffer text = {.limit = 2 * length + 8};
    base64_encode(bytes, length, &text);
    json_object_set_new(data, member, json_string(buffer_text(&text)));
}

void kube_secret_add_json(json_t *data, const char *member, const json_t *value) {
    cleanup_free char *text = json_dumps(value, JSON_COMPACT);
    assert(text != NULL);
    kube_secret_add(data, member, text, strlen(text));
}

int kube_secret_check(const json_t *data, const char *name, struct error *err) {
    const char *member, *largest = "";
    json_t *value;
    size_t sum = 0, most = 0;
    json_object_foreach((json_t *)(uintptr_t)data, member, value) {
        size_t length = json_string_length(value) / 4 * 3;
        sum += length;
        if (length > most) {
            most = length;
            largest = member;
        }
    }
    if (sum <= KUBE_SECRET_MAX)
        return 0;
    return error_set(err, ERROR_LIMIT,
                     "the Secret %s would be %zu KiB large and Kubernetes takes 1024 KiB: %s has "
                     "%zu KiB; make the environment of the kernel or its request smaller",
                     name, sum >> 10, largest, most >> 10);
}

static const char *name_of(const json_t *secret) {
    const char *name = kube_object_name(secret);
    return name != NULL ? name : "without a name";
}

int kube_secret_get(const json_t *secret, const char *member, struct buffer *ret,
                    struct error *err) {
    const json_t *data = json_object_get(secret, "data");
    if (data == NULL || json_is_null(data))
        return error_set(err, ERROR_NOT_FOUND, "Secret %.253s: data is missing", name_of(secret));
    const json_t *value = json_object_get(data, member);
    if (value == NULL)
        return error_set(err, ERROR_NOT_FOUND, "Secret %.253s: data[\"%s\"] is missing",
                         name_of(secret), member);
    if (!json_is_string(value) ||
        base64_decode(json_string_value(value), json_string_length(value), ret) < 0)
        return error_set(err, ERROR_INVALID, "Secret %.253s: data[\"%s\"] must be base64",
                         name_of(secret), member);
    return 0;
}

int kube_secret_get_json(const json_t *secret, const char *member, json_t **ret,
                         struct error *err) {
    cleanup_buffer struct buffer text = {.limit = KUBE_SECRET_MAX + 1};
    if (kube_secret_get(secret, member, &text, err) < 0)
        return -1;
    json_error_t where;
    json_t *value = json_loadb(buffer_text(&text), text.length, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(value)) {
        const char *what = value != NULL ? "must be a JSON object" : where.text;
        error_set(err, ERROR_INVALID, "Secret %.253s: data[\"%s\"]: %.200s", name_of(secret),
                  member, what);
        json_decref(value);
        return -1;
    }
    *ret = value;
    return 0;
}

bool kube_is_z85_key(const char *text) {
    return strlen(text) == KEY_LENGTH &&
           strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        ".-:+=^!/*?&<>()[]{}@%$#") == KEY_LENGTH;
}

int kube_secret_get_key(const json_t *secret, const char *member, char **ret, struct error *err) {
    struct buffer text = {.limit = KUBE_SECRET_MAX};
    int rc = kube_secret_get(secret, member, &text, err);
    if (rc == 0 && (text.length != KEY_LENGTH || !kube_is_z85_key(buffer_text(&text))))
        rc = error_set(err, ERROR_INVALID,
                       "Secret %.253s: data[\"%s\"] must be a key of 40 Z85 characters",
                       name_of(secret), member);
    if (rc == 0)
        *ret = memory_strdup(buffer_text(&text));
    if (text.data != NULL)
        explicit_bzero(text.data, text.length);
    buffer_free(&text);
    return rc;
}
