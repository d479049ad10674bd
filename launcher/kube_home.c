#include "launcher/kube_home.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_pod_parts.h"
#include "launcher/kube_template.h"
#include "nfs/home_path.h"

#include <sodium.h>
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
    if (listed == 0 && (own_uid == NULL || json_integer_value(own_uid) <= 0))
        return error_set(err, ERROR_INVALID,
                         "the home directory of %.100s: no user id is known that it could belong "
                         "to: the administrator has to set kubernetes-uid, or home-uids for each "
                         "user",
                         user);
    if (listed == 0) {
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

/* --- claims that the gateway makes --- */

#define CAPACITY     "1Gi" /* NFS does not look at it, but the two have to agree */
#define LABEL_VOLUME "elara.volume"

enum { NAME_HASH_BYTES = 16 };

/* What cannot be changed in them any more, and whose they are. */
static void name_for(const struct home_settings *settings, const char *whose,
                     char name[KUBE_NAME_SIZE]) {
    crypto_hash_sha256_state state;
    unsigned char hash[crypto_hash_sha256_BYTES];
    const char *const texts[] = {settings->server != NULL ? settings->server : "",
                                 settings->export_path, whose};
    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        crypto_hash_sha256_update(&state, (const unsigned char *)texts[i], strlen(texts[i]) + 1);
    for (char *const *text = settings->options; text != NULL && *text != NULL; text++)
        crypto_hash_sha256_update(&state, (const unsigned char *)*text, strlen(*text) + 1);
    crypto_hash_sha256_final(&state, hash);
    size_t length = strlen(KUBE_HOME_VOLUME "-");
    memcpy(name, KUBE_HOME_VOLUME "-", length);
    text_hex(hash, NAME_HASH_BYTES, name + length);
}

void kube_home_name_claim(const struct home_settings *settings, char name[KUBE_NAME_SIZE]) {
    name_for(settings, "", name);
}

static json_t *tree(const char *kind, const char *name, const struct kube_identity *identity) {
    json_t *labels = kube_labels(identity, "home");
    json_object_set_new(labels, LABEL_VOLUME, json_string(name));
    return json_pack("{s:s, s:s, s:{s:s, s:o}}", "apiVersion", "v1", "kind", kind, "metadata",
                     "name", name, "labels", labels);
}

json_t *kube_home_volume_tree(const struct home_settings *settings,
                              const struct kube_identity *identity,
                              const struct kube_home_claim *claim) {
    char name[KUBE_NAME_SIZE], claim_name[KUBE_NAME_SIZE];
    json_t *options = json_array();
    name_for(settings, claim->namespace_uid, name);
    kube_home_name_claim(settings, claim_name);
    for (char *const *text = settings->options; text != NULL && *text != NULL; text++)
        json_array_append_new(options, json_string(*text));
    json_t *volume = tree("PersistentVolume", name, identity);
    json_object_set_new(json_object_get(volume, "metadata"), "ownerReferences",
                        json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", "v1", "kind", "Namespace",
                                  "name", claim->namespace, "uid", claim->namespace_uid));
    json_object_set_new(
        volume, "spec",
        json_pack("{s:{s:s}, s:[s], s:s, s:s, s:o, s:{s:s, s:s, s:s, s:s, s:s}, s:{s:s, s:s}}",
                  "capacity", "storage", CAPACITY, "accessModes", "ReadWriteMany",
                  "storageClassName", "", "persistentVolumeReclaimPolicy", "Retain", "mountOptions",
                  options, "claimRef", "apiVersion", "v1", "kind", "PersistentVolumeClaim",
                  "namespace", claim->namespace, "name", claim_name, "uid", claim->uid, "nfs",
                  "server", settings->server, "path", settings->export_path));
    return volume;
}

/* By the label no other volume will do. volumeName would say the same, but a claim that names a
 * volume which is still to come is not looked at when it does. */
json_t *kube_home_claim_tree(const struct home_settings *settings,
                             const struct kube_identity *identity,
                             const struct kube_home_claim *claim) {
    char name[KUBE_NAME_SIZE], volume[KUBE_NAME_SIZE];
    kube_home_name_claim(settings, name);
    name_for(settings, claim->namespace_uid, volume);
    json_t *object = tree("PersistentVolumeClaim", name, identity);
    json_object_set_new(object, "spec",
                        json_pack("{s:[s], s:s, s:{s:{s:s}}, s:{s:{s:s}}}", "accessModes",
                                  "ReadWriteMany", "storageClassName", "", "selector",
                                  "matchLabels", LABEL_VOLUME, volume, "resources", "requests",
                                  "storage", CAPACITY));
    return object;
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
    char made[KUBE_NAME_SIZE];
    json_t *volumes = kube_array_in(spec, "volumes");
    const char *claim = settings->makes_claims ? made : settings->pvc;
    const char *volume = claim != NULL ? KUBE_HOME_VOLUME : name;
    kube_home_name_claim(settings, made);
    bool is_first = !has_volume(volumes, volume);
    if (check_mounts(container, mount, err) < 0)
        return -1;
    if (!is_first && (claim == NULL || strcmp(name, KUBE_HOME_VOLUME) == 0))
        return error_set(err, ERROR_INVALID,
                         "the pod's template has a volume %s, which is the home directory's: give "
                         "it another name",
                         volume);
    if (is_first && claim != NULL) {
        json_array_append_new(volumes, json_pack("{s:s, s:{s:s}}", "name", volume,
                                                 "persistentVolumeClaim", "claimName", claim));
    } else if (is_first) {
        const char *root = strcmp(settings->export_path, "/") == 0 ? "" : settings->export_path;
        cleanup_free char *whole = memory_printf("%s/%s", root, path);
        json_array_append_new(volumes,
                              json_pack("{s:s, s:{s:s, s:s, s:b}}", "name", volume, "nfs", "server",
                                        settings->server, "path", whole, "readOnly", !is_writable));
    }
    json_t *place =
        json_pack("{s:s, s:s, s:b}", "name", volume, "mountPath", mount, "readOnly", !is_writable);
    if (claim != NULL)
        json_object_set_new(place, "subPath", json_string(path));
    json_array_append_new(kube_array_in(container, "volumeMounts"), place);
    return 0;
}

static int add_extra(const struct home_settings *settings, const struct home_extra *extra,
                     const char *name, const char *home, json_t *spec, json_t *container,
                     struct error *err) {
    if (home_path_is_below(extra->path, home)) /* a user called as it is */
        return error_set(
            err, ERROR_DENIED,
            "the home directory %.200s would be that of home-extra's %.200s, which all "
            "users share: the administrator has to move one of them",
            home, extra->path);
    return add_place(settings, name, extra->path, extra->mount, extra->is_writable, spec, container,
                     err);
}

/* home: the path of the user's own. */
static int add_extras(const struct home_settings *settings, const char *home, json_t *spec,
                      json_t *container, struct error *err) {
    size_t count = 0;
    for (char *const *text = settings->extra; text != NULL && *text != NULL; text++) {
        struct home_extra extra;
        if (home_extra_parse(*text, &extra, err) < 0)
            return -1;
        cleanup_free char *name = memory_printf(KUBE_HOME_VOLUME "-%zu", ++count);
        int failed = add_extra(settings, &extra, name, home, spec, container, err);
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
        add_extras(settings, path, pod_spec, container, err) < 0)
        return -1;
    ret->path = steal(&path);
    ret->target = target;
    ret->target.path = ret->path;
    return 0;
}

static bool is_of_mount(const char *place, const char *mount) {
    cleanup_free char *part = memory_printf(".volumeMounts[%s].", mount);
    return strstr(place, part) != NULL;
}

const char *kube_home_decider(const struct home_settings *settings, const char *user,
                              const char *place) {
    bool is_mount = strstr(place, ".volumeMounts[") != NULL;
    bool is_own = is_mount ? is_of_mount(place, settings->mount)
                           : strstr(place, "[" KUBE_HOME_VOLUME "]") != NULL;
    if (text_ends_with(place, ".name"))
        return NULL;
    if (strstr(place, ".securityContext.") != NULL)
        return json_object_get(settings->named, user) != NULL  ? "setting home-uids"
               : json_object_get(settings->uids, user) != NULL ? "setting home-passwd"
                                                               : NULL;
    if (text_ends_with(place, ".nfs.server"))
        return "setting home-server";
    if (text_ends_with(place, ".nfs.path"))
        return is_own ? "settings home-export, home-path" : "settings home-export, home-extra";
    if (text_ends_with(place, ".claimName"))
        return settings->makes_claims ? "setting home-volume" : "setting home-pvc";
    if (!is_own)
        return "setting home-extra";
    return text_ends_with(place, ".mountPath") ? "setting home-mount"
           : text_ends_with(place, ".subPath") ? "setting home-path"
                                               : NULL;
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
