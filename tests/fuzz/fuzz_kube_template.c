/* The first byte chooses: any bytes as a pod's template, or as a request's volumes or mounts, or as
 * a template in Jinja.
 * Refused with a message, or one that can be filled with values and made into a pod that keeps
 * what is ours. */
#include "launcher/kube_jinja.h"
#include "launcher/kube_pod.h"
#include "launcher/kube_template.h"
#include "launcher/kube_volumes.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *values(const char *value) {
    return json_pack("{s:s, s:s?}", "KERNEL_ID", "a-b-c-d-e", "KERNEL_X", value);
}

static void make_pod(const json_t *template, const json_t *known) {
    struct kube_pod_settings settings = {
        .image = "image", .launcher_image = "elara", .uid = 1000, .gid = 100};
    json_t *secret = json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "Secret",
                               "metadata", "name", "key", "uid", "u");
    struct kube_pod_plan plan = {.identity = {"elara", "a-b-c-d-e", NULL},
                                 .settings = &settings,
                                 .namespace = "n",
                                 .attempt = 1,
                                 .template = template,
                                 .values = known,
                                 .key_secret = secret};
    json_t *pod = NULL;
    struct error err = {0};
    if (kube_pod_create(&plan, &pod, &err) < 0) {
        assert(pod == NULL && err.text[0] != '\0');
    } else {
        const json_t *spec = json_object_get(pod, "spec");
        const json_t *kernel =
            json_array_get(json_object_get(spec, "containers"), kube_template_kernel(pod));
        assert(json_array_size(json_object_get(kernel, "command")) == 7);
        assert(json_array_size(json_object_get(spec, "volumes")) >= 2);
        json_decref(pod);
    }
    json_decref(secret);
}

/* Neither volumes nor mounts come out that are ours, and no more than there may be. */
static void check_list(const json_t *list) {
    assert(json_is_array(list) && json_array_size(list) <= KUBE_VOLUMES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));
        assert(name != NULL && strcmp(name, KUBE_VOLUME) != 0 &&
               strcmp(name, KUBE_KEY_VOLUME) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    struct error err = {0};
    char *text = calloc(size, 1);
    memcpy(text, data + 1, size - 1);
    json_t *known = values(text), *tree = NULL;
    if (data[0] % 4 == 3) {
        tree = json_string(text);
        json_object_set_new(known, "KERNEL_X",
                            json_string("x}},{\"a\":b}\n- c: {{ kernel_id }} #"));
        if (tree != NULL && kube_jinja_check(text, "pod.j2", &err) == 0)
            make_pod(tree, known);
    } else if (data[0] % 4 == 0) {
        if (kube_template_parse(text, size - 1, "pod.yaml", &tree, &err) == 0)
            make_pod(tree, known);
    } else {
        int rc = data[0] % 4 == 1
                     ? kube_volumes_parse(text, data[0] & 4 ? known : NULL, NULL, &tree, &err)
                     : kube_mounts_parse(text, data[0] & 4 ? known : NULL, NULL, &tree, &err);
        if (rc == 0)
            check_list(tree);
    }
    assert(tree != NULL || err.text[0] != '\0' || data[0] % 4 == 3);
    json_decref(tree);
    json_decref(known);
    free(text);
    return 0;
}
