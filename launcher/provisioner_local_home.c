/* Homes of local kernels: a directory of this machine, which the launcher makes ready before it
 * starts the kernel. It may be on a file server that hangs, so nothing here looks at it. */
#include "launcher/provisioner_local_internal.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "nfs/home_path.h"

#include <string.h>
#include <unistd.h>

/* HOME, and a working directory that the notebook server means: what lies elsewhere is not the
 * user's. */
static void set_places(json_t *launch, const json_t *record, const char *home) {
    const json_t *env = json_object_get(json_object_get(record, "request"), "env");
    const char *wish = json_string_value(json_object_get(env, "KERNEL_WORKING_DIR"));
    json_t *directories = json_array();
    if (wish != NULL && *wish == '/' && home_path_is_below(wish, home))
        json_array_append_new(directories, json_string(wish));
    json_array_append_new(directories, json_string(home));
    json_object_set_new(launch, "cwd", directories);
    json_object_set_new(json_object_get(launch, "env"), "HOME", json_string(home));
}

int provisioner_local_add_home(const struct home_settings *settings, const json_t *spec,
                               const json_t *record, json_t *launch, bool *has_home,
                               struct error *err) {
    cleanup_free char *path = NULL;
    size_t given;
    int64_t uid = -1, gid = -1;
    *has_home = false;
    if (settings->directory == NULL || home_is_refused(spec))
        return 0;
    const char *user = home_user(settings, record);
    if (home_settings_check(settings, err) < 0 ||
        home_place(settings, user, &path, &given, err) < 0 ||
        (geteuid() == 0 && home_ids(settings, user, &uid, &gid, err) < 0))
        return -1;
    const char *between = strcmp(settings->directory, "/") == 0 ? "" : "/";
    cleanup_free char *home = memory_printf("%s%s%s", settings->directory, between, path);
    json_object_set_new(launch, "home",
                        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "directory",
                                  settings->directory, "path", path, "given", (json_int_t)given,
                                  "uid", (json_int_t)uid, "gid", (json_int_t)gid, "deadline_ms",
                                  (json_int_t)settings->deadline_ms));
    set_places(launch, record, home);
    *has_home = true;
    return 0;
}
