#include "nfs/home_settings.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "nfs/home_path.h"

#include <string.h>

enum { ID_MAX = INT32_MAX }; /* as Kubernetes has it */

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

void home_extra_free(struct home_extra *extra) {
    free(extra->path);
    free(extra->mount);
}

int home_extra_parse(const char *text, struct home_extra *ret, struct error *err) {
    const char *colon = strchr(text, ':');
    const char *second = colon != NULL ? strchr(colon + 1, ':') : NULL;
    if (colon == NULL ||
        (second != NULL && strcmp(second, ":rw") != 0 && strcmp(second, ":ro") != 0))
        return error_set(err, ERROR_INVALID,
                         "home-extra: \"%.200s\" must be PATH:MOUNT, PATH:MOUNT:ro or "
                         "PATH:MOUNT:rw",
                         text);
    *ret = (struct home_extra){.path = memory_strndup(text, (size_t)(colon - text)),
                               .mount = memory_strndup(colon + 1, second != NULL
                                                                      ? (size_t)(second - colon - 1)
                                                                      : strlen(colon + 1)),
                               .is_writable = second != NULL && second[2] == 'w'};
    if (home_path_check(ret->path, 0, "home-extra", err) == 0 &&
        home_path_check(ret->mount, 1, "home-extra", err) == 0)
        return 0;
    home_extra_free(ret);
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

static int check_volumes(const struct home_settings *settings, struct error *err) {
    bool has_options = settings->options != NULL && *settings->options != NULL;
    if (has_options && !settings->makes_claims)
        return error_set(err, ERROR_INVALID,
                         "home-options: nfs volumes of pods have none: set home-volume: claim, or "
                         "write them to the PersistentVolume of home-pvc");
    if (settings->makes_claims && settings->pvc != NULL)
        return error_set(
            err, ERROR_INVALID,
            "home-pvc: with home-volume: claim the gateway makes the claims: leave one "
            "of the two out");
    if (settings->makes_claims && settings->server == NULL)
        return error_set(err, ERROR_INVALID,
                         "home-volume: claim is of the server that home-server names, and there "
                         "is none");
    if (settings->makes_claims && !settings->makes_namespaces)
        return error_set(err, ERROR_INVALID,
                         "home-volume: claim is for the namespaces that the gateway makes "
                         "(kubernetes-namespaces: user or kernel): for a namespace of yours make "
                         "the claim yourself and name it in home-pvc");
    for (char *const *text = settings->options; text != NULL && *text != NULL; text++)
        if (**text == '\0' || strpbrk(*text, ", \t\n") != NULL)
            return error_set(err, ERROR_INVALID,
                             "home-options: \"%.100s\" must be one option of mount, without "
                             "commas and spaces",
                             *text);
    return 0;
}

int home_settings_check(const struct home_settings *settings, struct error *err) {
    const char *user;
    const json_t *ids;
    int64_t uid, gid;
    if (check_volumes(settings, err) < 0)
        return -1;
    if (settings->server == NULL && settings->pvc == NULL && settings->directory == NULL)
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
        struct home_extra extra;
        if (home_extra_parse(*text, &extra, err) < 0)
            return -1;
        home_extra_free(&extra);
    }
    return 0;
}

bool home_is_refused(const json_t *spec) {
    const json_t *metadata = json_object_get(spec, "metadata");
    return json_is_false(json_object_get(json_object_get(metadata, "elara"), "home"));
}

const char *home_user(const struct home_settings *settings, const json_t *record) {
    const json_t *request = json_object_get(record, "request");
    const char *verified = text_or_null(text_of(request, "verified"));
    const char *claimed = text_or_null(text_of(json_object_get(request, "env"), "KERNEL_USERNAME"));
    const char *own = text_of(request, "username");
    if (verified != NULL)
        return verified;
    if (settings->trusts_claimed && claimed != NULL)
        return claimed;
    return own != NULL ? own : "";
}

int home_place(const struct home_settings *settings, const char *user, char **ret, size_t *given,
               struct error *err) {
    cleanup_free char *name = NULL;
    if (user_name_escape(settings->names, user, &name, err) < 0)
        return -1;
    return home_template_fill(settings->path, name, ret, given, err);
}

int home_ids(const struct home_settings *settings, const char *user, int64_t *uid, int64_t *gid,
             struct error *err) {
    const json_t *listed = json_object_get(settings->uids, user);
    if (listed == NULL)
        return 0;
    return parse_ids(user, json_string_value(listed), uid, gid, err) < 0 ? -1 : 1;
}
