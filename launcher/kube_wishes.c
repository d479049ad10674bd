#include "launcher/kube_wishes.h"

#include "base/buffer.h"
#include "base/text.h"

#include <string.h>

static const struct kube_wish_row rows[KUBE_WISHES] = {
    [KUBE_WISH_IMAGE] = {"KERNEL_IMAGE", "spec.containers[kernel].image", false},
    [KUBE_WISH_CPUS] = {"KERNEL_CPUS", "spec.containers[kernel].resources.requests.cpu", true},
    [KUBE_WISH_CPUS_LIMIT] = {"KERNEL_CPUS_LIMIT", "spec.containers[kernel].resources.limits.cpu",
                              true},
    [KUBE_WISH_MEMORY] = {"KERNEL_MEMORY", "spec.containers[kernel].resources.requests.memory",
                          true},
    [KUBE_WISH_MEMORY_LIMIT] = {"KERNEL_MEMORY_LIMIT",
                                "spec.containers[kernel].resources.limits.memory", true},
    [KUBE_WISH_GPUS] = {"KERNEL_GPUS", "spec.containers[kernel].resources.requests and limits",
                        true},
    [KUBE_WISH_GPUS_LIMIT] = {"KERNEL_GPUS_LIMIT",
                              "spec.containers[kernel].resources.requests and limits", true},
    [KUBE_WISH_UID] = {"KERNEL_UID", "spec.securityContext.runAsUser", false},
    [KUBE_WISH_GID] = {"KERNEL_GID", "spec.securityContext.runAsGroup and fsGroup", false},
    [KUBE_WISH_WORKING_DIR] = {"KERNEL_WORKING_DIR", "spec.containers[kernel].workingDir", true},
    [KUBE_WISH_POD_NAME] = {"KERNEL_POD_NAME", "metadata.name", true},
    [KUBE_WISH_NAMESPACE] = {"KERNEL_NAMESPACE", "metadata.namespace", false},
    [KUBE_WISH_SERVICE_ACCOUNT] = {"KERNEL_SERVICE_ACCOUNT_NAME", "spec.serviceAccountName", false},
    [KUBE_WISH_VOLUMES] = {"KERNEL_VOLUMES", "spec.volumes", false},
    [KUBE_WISH_VOLUME_MOUNTS] = {"KERNEL_VOLUME_MOUNTS", "spec.containers[kernel].volumeMounts",
                                 false},
};

const struct kube_wish_row *kube_wish_row(enum kube_wish wish) {
    return &rows[wish];
}

uint32_t kube_wishes_free(void) {
    uint32_t set = 0;
    for (unsigned i = 0; i < KUBE_WISHES; i++)
        set |= rows[i].is_free ? 1u << i : 0;
    return set;
}

static int find(const char *name, uint32_t *ret, struct error *err) {
    cleanup_buffer struct buffer known = {.limit = 4096};
    for (unsigned i = 0; i < KUBE_WISHES; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *ret = 1u << i;
            return 0;
        }
        buffer_printf(&known, "%s%s", i > 0 ? ", " : "", rows[i].name);
    }
    *ret = 0;
    if (text_starts_with(name, "KERNEL_")) /* a kernelspec's own */
        return 0;
    return error_set(err, ERROR_INVALID,
                     "\"%.64s\" must be *, a variable that kernelspecs refer to (KERNEL_...), "
                     "or one of %s",
                     name, buffer_text(&known));
}

int kube_wishes_parse(char *const *names, uint32_t *ret, struct error *err) {
    uint32_t set = kube_wishes_free();
    for (; names != NULL && *names != NULL; names++) {
        uint32_t one = (1u << KUBE_WISHES) - 1;
        if (strcmp(*names, "*") != 0 && find(*names, &one, err) < 0)
            return -1;
        set |= one;
    }
    *ret = set;
    return 0;
}

static const char *wished(const json_t *values, const char *name) {
    const char *text = json_string_value(json_object_get(values, name));
    return text != NULL && *text != '\0' ? text : NULL;
}

int kube_wishes_take(const json_t *client, const json_t *spec, uint32_t allowed,
                     struct kube_wishes *ret, struct error *err) {
    *ret = (struct kube_wishes){0};
    for (unsigned i = 0; i < KUBE_WISHES; i++) {
        const char *theirs = wished(client, rows[i].name), *ours = wished(spec, rows[i].name);
        bool may = (allowed & 1u << i) != 0;
        if (theirs != NULL && ours == NULL && !may)
            return error_set(err, ERROR_DENIED,
                             "%s: this gateway does not let requests choose it; leave it out, or "
                             "ask the administrator to add it to the setting "
                             "kubernetes-allow or to the kernelspec's env",
                             rows[i].name);
        ret->is_clients[i] = theirs != NULL && may;
        ret->value[i] = ret->is_clients[i] ? theirs : ours;
    }
    return 0;
}
