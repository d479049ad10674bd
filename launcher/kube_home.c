#include "launcher/kube_home.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_pod_parts.h"
#include "launcher/kube_template.h"
#include "nfs/home_path.h"

#include <string.h>

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

static bool is_wanted(const struct home_settings *settings, const json_t *spec) {
    return (settings->server != NULL || settings->pvc != NULL) && !home_is_refused(spec);
}

/* --- whose --- */

static const json_t *id_in(const json_t *container, const json_t *spec, const char *member) {
    const json_t *own = json_object_get(json_object_get(container, "securityContext"), member);
    return own != NULL ? own : json_object_get(json_object_get(spec, "securityContext"), member);
}

/* The pod runs as the home's owner. */
static int set_ids(const struct home_settings *settings, const char *user, json_t *spec,
                   json_t *container, struct home_target *ret, struct error *err) {
    int64_t uid, gid;
    const json_t *own_uid = id_in(container, spec, "runAsUser"),
                 *own_gid = id_in(container, spec, "runAsGroup");
    int listed = home_ids(settings, user, &uid, &gid, err);
    if (listed < 0)
        return -1;
    if (listed == 1) {
        /* that is it */
    } else if (own_uid == NULL || json_integer_value(own_uid) <= 0) {
        return error_set(err, ERROR_INVALID,
                         "the home directory of %.100s: no user id is known that it could belong "
                         "to: the administrator has to set kubernetes-uid, or home-uids for each "
                         "user",
                         user);
    } else {
        uid = json_integer_value(own_uid);
        gid = own_gid != NULL ? json_integer_value(own_gid) : uid;
    }
    json_t *security = kube_object_in(container, "securityContext");
    json_object_set_new(security, "runAsUser", json_integer(uid));
    json_object_set_new(security, "runAsGroup", json_integer(gid));
    ret->uid = (uint32_t)uid;
    ret->gid = (uint32_t)gid;
    return 0;
}

/* --- where --- */

static int check_mounts(const json_t *container, const char *mount, struct error *err) {
    size_t at;
    json_t *other;
    json_array_foreach(json_object_get(container, "volumeMounts"), at, other) {
        const char *path = text_of(other, "mountPath");
        if (path != NULL && strcmp(path, mount) == 0)
            return error_set(err, ERROR_INVALID,
                             "%.200s is where the home directory goes, and the pod's template or "
                             "KERNEL_VOLUME_MOUNTS has something there already: leave that out, or "
                             "write metadata.elara.home: false to kernel.json",
                             mount);
    }
    return 0;
}

static bool has_volume(const json_t *volumes, const char *name) {
    size_t at;
    json_t *volume;
    json_array_foreach(volumes, at, volume) {
        const char *other = text_of(volume, "name");
        if (other != NULL && strcmp(other, name) == 0)
            return true;
    }
    return false;
}

/* A claim's root is the export. An nfs volume is each directory itself: the node mounts nothing
 * that is above it. */
static int add_place(const struct home_settings *settings, const char *name, const char *path,
                     const char *mount, bool is_writable, json_t *spec, json_t *container,
                     struct error *err) {
    json_t *volumes = kube_array_in(spec, "volumes");
    const char *volume = settings->pvc != NULL ? KUBE_HOME_VOLUME : name;
    bool is_first = !has_volume(volumes, volume);
    if (check_mounts(container, mount, err) < 0)
        return -1;
    if (!is_first && (settings->pvc == NULL || strcmp(name, KUBE_HOME_VOLUME) == 0))
        return error_set(err, ERROR_INVALID,
                         "the pod's template has a volume %s, which is the home directory's: give "
                         "it another name",
                         volume);
    if (is_first && settings->pvc != NULL) {
        json_array_append_new(volumes,
                              json_pack("{s:s, s:{s:s}}", "name", volume, "persistentVolumeClaim",
                                        "claimName", settings->pvc));
    } else if (is_first) {
        const char *root = strcmp(settings->export_path, "/") == 0 ? "" : settings->export_path;
        cleanup_free char *whole = memory_printf("%s/%s", root, path);
        json_array_append_new(volumes,
                              json_pack("{s:s, s:{s:s, s:s, s:b}}", "name", volume, "nfs", "server",
                                        settings->server, "path", whole, "readOnly", !is_writable));
    }
    json_t *place =
        json_pack("{s:s, s:s, s:b}", "name", volume, "mountPath", mount, "readOnly", !is_writable);
    if (settings->pvc != NULL)
        json_object_set_new(place, "subPath", json_string(path));
    json_array_append_new(kube_array_in(container, "volumeMounts"), place);
    return 0;
}

static int add_extras(const struct home_settings *settings, json_t *spec, json_t *container,
                      struct error *err) {
    size_t count = 0;
    for (char *const *text = settings->extra; text != NULL && *text != NULL; text++) {
        struct home_extra extra;
        if (home_extra_parse(*text, &extra, err) < 0)
            return -1;
        cleanup_free char *name = memory_printf(KUBE_HOME_VOLUME "-%zu", ++count);
        int failed = add_place(settings, name, extra.path, extra.mount, extra.is_writable, spec,
                               container, err);
        home_extra_free(&extra);
        if (failed < 0)
            return -1;
    }
    return 0;
}

int kube_home_add(const struct home_settings *settings, const json_t *spec, const json_t *record,
                  json_t *pod, struct kube_home *ret, struct error *err) {
    *ret = (struct kube_home){0};
    if (!is_wanted(settings, spec))
        return 0;
    if (home_settings_check(settings, err) < 0)
        return -1;
    const char *user = home_user(settings, record);
    cleanup_free char *path = NULL;
    json_t *pod_spec = json_object_get(pod, "spec");
    json_t *container =
        json_array_get(json_object_get(pod_spec, "containers"), kube_template_kernel(pod));
    struct home_target target = {.server = settings->server,
                                 .port = NFS_PORT_DEFAULT,
                                 .export_path = settings->export_path,
                                 .parent_gid = settings->parent_gid};
    if (home_place(settings, user, &path, &target.given, err) < 0 ||
        set_ids(settings, user, pod_spec, container, &target, err) < 0 ||
        add_place(settings, KUBE_HOME_VOLUME, path, settings->mount, true, pod_spec, container,
                  err) < 0 ||
        add_extras(settings, pod_spec, container, err) < 0)
        return -1;
    ret->path = steal(&path);
    ret->target = target;
    ret->target.path = ret->path;
    return 0;
}

void kube_home_set_launch(const struct home_settings *settings, const json_t *spec,
                          json_t *launch) {
    json_t *directories = json_object_get(launch, "cwd");
    const char *first = json_string_value(json_array_get(directories, 0));
    if (!is_wanted(settings, spec))
        return;
    json_object_set_new(json_object_get(launch, "env"), "HOME", json_string(settings->mount));
    if (first != NULL && *first == '/' && !home_path_is_below(first, settings->mount))
        json_array_remove(directories, 0); /* the image's own directories are not the user's */
}
