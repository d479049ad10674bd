/* elara purge: what gateways that are gone have left in Kubernetes. Records tell what there is of a
 * kernel, and go last: whatever breaks, calling it again goes on. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "gateway/admin.h"
#include "gateway/admin_kube.h"
#include "gateway/settings.h"
#include "launcher/kube_names.h"
#include "launcher/kube_objects.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* As long as pods may take to end, and less than Helm waits for a hook (5 min). */
enum { PATIENCE_MS = 240000, PAUSE_US = 500000 };

#define GATEWAYS "app.kubernetes.io/name=elara,app.kubernetes.io/component=gateway"

struct purge {
    struct admin_kube kube;
    const char *install;
    int64_t until_ms;
};

/* *ret: a new reference; NULL when there is no such object, or, of a DELETE, when it is on its way
 * out. */
static int call(struct purge *purge, const char *method, const char *path, json_t **ret,
                struct error *err) {
    int status;
    int failed = admin_kube_call(&purge->kube, method, path, NULL, &status, ret, err);
    bool is_gone = status == 404 || (status == 409 && strcmp(method, "DELETE") == 0);
    return is_gone ? 0 : failed;
}

static int delete_object(struct purge *purge, const char *path, struct error *err) {
    cleanup_json json_t *answer = NULL;
    return call(purge, "DELETE", path, &answer, err);
}

static char *path_of(const char *namespace, const char *kind, const char *name) {
    return memory_printf("/api/v1/namespaces/%s%s%s%s%s", namespace, kind != NULL ? "/" : "",
                         kind != NULL ? kind : "", name != NULL ? "/" : "",
                         name != NULL ? name : "");
}

static int list(struct purge *purge, const char *namespace, const char *kind, const char *selector,
                json_t **ret, struct error *err) {
    cleanup_free char *path = path_of(namespace, kind, NULL);
    return admin_kube_list(&purge->kube, path, "labelSelector", selector, NULL, ret, err);
}

static int pause_for(struct purge *purge, const char *what, struct error *err) {
    struct timeval pause = {.tv_usec = PAUSE_US};
    if (clock_monotonic_ms() > purge->until_ms)
        return error_set(err, ERROR_TIMEOUT, "%s is still there; call it again when it is gone",
                         what);
    event_base_loopexit(purge->kube.loop, &pause);
    event_base_loop(purge->kube.loop, EVLOOP_NO_EXIT_ON_EMPTY);
    return 0;
}

/* Until no pod has these labels. */
static int wait_for_pods(struct purge *purge, const char *namespace, const char *selector,
                         struct error *err) {
    while (true) {
        cleanup_json json_t *pods = NULL;
        if (list(purge, namespace, "pods", selector, &pods, err) < 0)
            return -1;
        const char *name = kube_object_name(json_array_get(json_object_get(pods, "items"), 0));
        if (name == NULL)
            return 0;
        cleanup_free char *what = memory_printf("the pod %s in %s", name, namespace);
        if (pause_for(purge, what, err) < 0)
            return -1;
    }
}

static int wait_for_namespace(struct purge *purge, const char *name, struct error *err) {
    cleanup_free char *path = path_of(name, NULL, NULL);
    cleanup_free char *what = memory_printf("the namespace %s", name);
    while (true) {
        cleanup_json json_t *namespace = NULL;
        if (call(purge, "GET", path, &namespace, err) < 0)
            return -1;
        /* One that is not on its way out was never this kernel's. */
        const json_t *metadata = json_object_get(namespace, "metadata");
        if (json_object_get(metadata, "deletionTimestamp") == NULL)
            return 0;
        if (pause_for(purge, what, err) < 0)
            return -1;
    }
}

/* Only one that was made for this kernel goes with it. */
static int delete_namespace(struct purge *purge, const struct kube_record *record,
                            struct error *err) {
    char suffix[KUBE_SUFFIX_SIZE];
    cleanup_json json_t *namespace = NULL;
    cleanup_free char *path = path_of(record->kernel_namespace, NULL, NULL);
    kube_name_suffix(record->kernel_id, suffix);
    if (call(purge, "GET", path, &namespace, err) < 0)
        return -1;
    const char *kernel = namespace != NULL ? kube_object_label(namespace, KUBE_LABEL_KERNEL) : NULL;
    bool is_its_own = kernel != NULL && strcmp(kernel, suffix) == 0 &&
                      kube_namespace_is_ours(namespace, purge->install);
    return is_its_own ? delete_object(purge, path, err) : 0;
}

/* The key Secret owns the pods. */
static int delete_objects(struct purge *purge, const struct kube_record *record,
                          struct error *err) {
    char name[KUBE_NAME_SIZE];
    if (record->kernel_namespace == NULL)
        return 0;
    if (record->namespace_created && delete_namespace(purge, record, err) < 0)
        return -1;
    kube_name_key(purge->install, record->kernel_id, name);
    cleanup_free char *path = path_of(record->kernel_namespace, "secrets", name);
    return delete_object(purge, path, err);
}

static int delete_record(struct purge *purge, const struct kube_record *record, const char *name,
                         struct error *err) {
    char suffix[KUBE_SUFFIX_SIZE];
    kube_name_suffix(record->kernel_id, suffix);
    cleanup_free char *selector =
        memory_printf("elara.install=%s,elara.kernel=%s", purge->install, suffix);
    cleanup_free char *path = path_of(purge->kube.namespace, "secrets", name);
    const char *place = record->kernel_namespace;
    if (place != NULL && wait_for_pods(purge, place, selector, err) < 0)
        return -1;
    if (record->namespace_created && wait_for_namespace(purge, place, err) < 0)
        return -1;
    return delete_object(purge, path, err);
}

/* All ends are begun before the first is waited for. */
static int purge_kernels(struct purge *purge, size_t *ret, struct error *err) {
    cleanup_free char *selector = kube_selector(purge->install, "record");
    cleanup_json json_t *found = NULL;
    if (list(purge, purge->kube.namespace, "secrets", selector, &found, err) < 0)
        return -1;
    json_t *records = json_object_get(found, "items");
    int failed = 0;
    for (int is_last = 0; is_last <= 1 && failed == 0; is_last++)
        for (size_t i = 0; i < json_array_size(records) && failed == 0; i++) {
            const json_t *secret = json_array_get(records, i);
            struct kube_record *record = NULL;
            failed = kube_record_read(secret, &record, err);
            if (failed == 0)
                failed = is_last ? delete_record(purge, record, kube_object_name(secret), err)
                                 : delete_objects(purge, record, err);
            kube_record_free(record);
        }
    *ret = json_array_size(records);
    return failed;
}

static int purge_all(struct purge *purge, size_t *ret, struct error *err) {
    char name[KUBE_NAME_SIZE];
    kube_name_gateway(purge->install, name);
    cleanup_free char *path = path_of(purge->kube.namespace, "secrets", name);
    purge->until_ms = clock_monotonic_ms() + PATIENCE_MS;
    if (wait_for_pods(purge, purge->kube.namespace, GATEWAYS, err) < 0 ||
        purge_kernels(purge, ret, err) < 0)
        return -1;
    return delete_object(purge, path, err);
}

static int purge_install(const struct settings *settings, struct error *err) {
    struct purge purge = {.install = settings->kubernetes.install};
    size_t count = 0;
    int failed = admin_kube_open(&purge.kube, settings, err);
    purge.kube.is_of_purge = true;
    if (failed == 0)
        failed = purge_all(&purge, &count, err);
    if (failed == 0)
        printf("%zu kernel%s of the install %s in %s: nothing is left\n", count,
               count == 1 ? "" : "s", purge.install, purge.kube.namespace);
    admin_kube_close(&purge.kube);
    return failed;
}

int admin_purge(int argc, char **argv, struct error *err) {
    struct settings *settings = NULL;
    log_set_level(LOG_ERROR); /* what is done is printed */
    if (settings_create(argc, argv, environ, &settings, err) < 0)
        return -1;
    int failed = purge_install(settings, err);
    settings_destroy(settings);
    return failed;
}
