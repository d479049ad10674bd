#include "launcher/kube_home.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_pod_parts.h"
#include "launcher/kube_template.h"
#include "nfs/home_path.h"

#include <string.h>

enum { ID_MAX = INT32_MAX }; /* as Kubernetes has it */

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

static bool is_wanted(const struct kube_home_settings *settings, const json_t *spec) {
    const json_t *own =
        json_object_get(json_object_get(json_object_get(spec, "metadata"), "elara"), "home");
    return (settings->server != NULL || settings->pvc != NULL) && !json_is_false(own);
}

/* --- settings --- */

struct extra {
    char *path, *mount;
    bool is_writable;
};

static void free_extra(struct extra *extra) {
    free(extra->path);
    free(extra->mount);
}

static int parse_extra(const char *text, struct extra *ret, struct error *err) {
    const char *colon = strchr(text, ':');
    const char *second = colon != NULL ? strchr(colon + 1, ':') : NULL;
    if (colon == NULL ||
        (second != NULL && strcmp(second, ":rw") != 0 && strcmp(second, ":ro") != 0))
        return error_set(err, ERROR_INVALID,
                         "home-extra: \"%.200s\" must be PATH:MOUNT, PATH:MOUNT:ro or "
                         "PATH:MOUNT:rw",
                         text);
    *ret = (struct extra){.path = memory_strndup(text, (size_t)(colon - text)),
                          .mount = memory_strndup(colon + 1, second != NULL
                                                                 ? (size_t)(second - colon - 1)
                                                                 : strlen(colon + 1)),
                          .is_writable = second != NULL && second[2] == 'w'};
    if (home_path_check(ret->path, 0, "home-extra", err) == 0 &&
        home_path_check(ret->mount, 1, "home-extra", err) == 0)
        return 0;
    free_extra(ret);
    return -1;
}

static int parse_ids(const char *user, const char *text, int64_t *uid, int64_t *gid,
                     struct error *err) {
    const char *colon = text != NULL ? strchr(text, ':') : NULL;
    cleanup_free char *first =
        text == NULL ? memory_strdup("")
                     : memory_strndup(text, colon != NULL ? (size_t)(colon - text) : strlen(text));
    if (text_parse_int(first, 1, ID_MAX, "uid", uid, err) < 0 ||
        text_parse_int(colon != NULL ? colon + 1 : first, 1, ID_MAX, "gid", gid, err) < 0)
        return error_wrap(err, "home-uids: %.100s: must be \"UID:GID\" or \"UID\"", user);
    return 0;
}

int kube_home_check(const struct kube_home_settings *settings, struct error *err) {
    const char *user;
    const json_t *ids;
    int64_t uid, gid;
    if (settings->server == NULL && settings->pvc == NULL)
        return 0;
    if (home_path_check(settings->export_path != NULL ? settings->export_path : "", 1,
                        "home-export", err) < 0 ||
        home_template_check(settings->path, "home-path", err) < 0 ||
        home_path_check(settings->mount, 1, "home-mount", err) < 0)
        return -1;
    json_object_foreach((json_t *)(uintptr_t)settings->uids, user, ids) {
        if (parse_ids(user, json_string_value(ids), &uid, &gid, err) < 0)
            return -1;
    }
    for (char *const *text = settings->extra; text != NULL && *text != NULL; text++) {
        struct extra extra;
        if (parse_extra(*text, &extra, err) < 0)
            return -1;
        free_extra(&extra);
    }
    return 0;
}

/* --- whose --- */

/* Without a verified name all kernels are the gateway's own user's: anybody can claim a name. */
static const char *user_of(const struct kube_home_settings *settings, const json_t *record) {
    const json_t *request = json_object_get(record, "request");
    const char *verified = text_or_null(text_of(request, "verified"));
    const char *claimed = text_or_null(text_of(json_object_get(request, "env"), "KERNEL_USERNAME"));
    if (verified != NULL)
        return verified;
    return settings->trusts_claimed && claimed != NULL ? claimed : text_of(request, "username");
}

static const json_t *id_in(const json_t *container, const json_t *spec, const char *member) {
    const json_t *own = json_object_get(json_object_get(container, "securityContext"), member);
    return own != NULL ? own : json_object_get(json_object_get(spec, "securityContext"), member);
}

/* The pod runs as the home's owner. */
static int set_ids(const struct kube_home_settings *settings, const char *user, json_t *spec,
                   json_t *container, struct home_target *ret, struct error *err) {
    int64_t uid, gid;
    const json_t *own_uid = id_in(container, spec, "runAsUser"),
                 *own_gid = id_in(container, spec, "runAsGroup");
    const json_t *listed = json_object_get(settings->uids, user);
    if (listed != NULL) {
        if (parse_ids(user, json_string_value(listed), &uid, &gid, err) < 0)
            return -1;
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
static int add_place(const struct kube_home_settings *settings, const char *name, const char *path,
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

static int add_extras(const struct kube_home_settings *settings, json_t *spec, json_t *container,
                      struct error *err) {
    size_t count = 0;
    for (char *const *text = settings->extra; text != NULL && *text != NULL; text++) {
        struct extra extra;
        if (parse_extra(*text, &extra, err) < 0)
            return -1;
        cleanup_free char *name = memory_printf(KUBE_HOME_VOLUME "-%zu", ++count);
        int failed = add_place(settings, name, extra.path, extra.mount, extra.is_writable, spec,
                               container, err);
        free_extra(&extra);
        if (failed < 0)
            return -1;
    }
    return 0;
}

int kube_home_add(const struct kube_home_settings *settings, const json_t *spec,
                  const json_t *record, json_t *pod, struct kube_home *ret, struct error *err) {
    *ret = (struct kube_home){0};
    if (!is_wanted(settings, spec))
        return 0;
    if (kube_home_check(settings, err) < 0)
        return -1;
    const char *user = user_of(settings, record);
    cleanup_free char *name = NULL, *path = NULL;
    json_t *pod_spec = json_object_get(pod, "spec");
    json_t *container =
        json_array_get(json_object_get(pod_spec, "containers"), kube_template_kernel(pod));
    struct home_target target = {.server = settings->server,
                                 .port = NFS_PORT_DEFAULT,
                                 .export_path = settings->export_path,
                                 .parent_gid = settings->parent_gid};
    if (user_name_escape(settings->names, user != NULL ? user : "", &name, err) < 0 ||
        home_template_fill(settings->path, name, &path, &target.given, err) < 0 ||
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

void kube_home_set_launch(const struct kube_home_settings *settings, const json_t *spec,
                          json_t *launch) {
    json_t *directories = json_object_get(launch, "cwd");
    const char *first = json_string_value(json_array_get(directories, 0));
    if (!is_wanted(settings, spec))
        return;
    json_object_set_new(json_object_get(launch, "env"), "HOME", json_string(settings->mount));
    if (first != NULL && *first == '/' && !home_path_is_below(first, settings->mount))
        json_array_remove(directories, 0); /* the image's own directories are not the user's */
}
