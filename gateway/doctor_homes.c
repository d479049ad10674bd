/* The NFS server of users' homes, asked as a start asks it. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/doctor_cluster.h"
#include "nfs/home.h"
#include "nfs/home_settings.h"

#include <inttypes.h>
#include <string.h>

static const char homes[] = "homes";

struct outcome {
    bool is_there;
    struct error err;
};

static void on_done(void *context, const struct error *err) {
    struct outcome *outcome = context;
    outcome->is_there = true;
    if (err != NULL)
        outcome->err = *err;
}

static int ask(struct cluster *cluster, struct home_target *target, struct error *err) {
    const struct home_settings *settings = &cluster->settings.home;
    struct event_base *loop = cluster->kube.loop;
    struct outcome outcome = {0};
    target->server = settings->server;
    target->port = NFS_PORT_DEFAULT;
    target->export_path = settings->export_path;
    target->parent_gid = settings->parent_gid;
    struct nfs_connection *connection =
        nfs_connection_create(loop, settings->server, NFS_PORT_DEFAULT);
    home_prepare(loop, connection, target, settings->deadline_ms, on_done, &outcome);
    while (!outcome.is_there)
        event_base_loop(loop, EVLOOP_ONCE);
    nfs_connection_destroy(connection);
    *err = outcome.err;
    return err->code == ERROR_NONE ? 0 : -1;
}

static void tell(struct cluster *cluster, const struct error *err, char *text) {
    if (err->code == ERROR_NONE)
        doctor_tell(cluster->doctor, homes, DOCTOR_OK, "", steal(&text));
    else
        doctor_tell(cluster->doctor, homes, DOCTOR_FAIL, "correct what it says (docs/homes.md)",
                    memory_strdup(err->text));
    free(text);
}

/* What is above all homes: it has to be there, and nothing is made. */
static void check_export(struct cluster *cluster) {
    const struct home_settings *settings = &cluster->settings.home;
    const char *user = strstr(settings->path, "{user}");
    size_t length = user != NULL ? (size_t)(user - settings->path) : 0;
    while (length > 0 && settings->path[length - 1] != '/')
        length--;
    cleanup_free char *above = memory_strndup(settings->path, length > 0 ? length - 1 : 0);
    struct home_target target = {.path = above, .given = HOME_COMPONENTS_MAX, .is_shared = true};
    struct error err;
    ask(cluster, &target, &err);
    tell(cluster, &err,
         memory_printf("%s exports %s to us; --user NAME tries the home of one", settings->server,
                       settings->export_path));
}

/* Made if it is missing, as by that user's first kernel. */
static void check_home(struct cluster *cluster, const char *user) {
    const struct home_settings *settings = &cluster->settings.home;
    int64_t uid = cluster->settings.pod.uid, gid = cluster->settings.pod.gid;
    cleanup_free char *path = NULL;
    struct home_target target = {0};
    struct error err = {0};
    int known = home_ids(settings, user, &uid, &gid, &err);
    if (known >= 0 && (uid < 0 || gid < 0))
        known = error_set(&err, ERROR_INVALID,
                          "the uid of %s's kernels is not known here: name it in home-uids, or in "
                          "kubernetes-uid and kubernetes-gid",
                          user);
    if (known >= 0 && home_place(settings, user, &path, &target.given, &err) == 0) {
        target.path = path;
        target.uid = (uint32_t)uid;
        target.gid = (uint32_t)gid;
        ask(cluster, &target, &err);
    }
    tell(cluster, &err,
         memory_printf("%s/%s on %s can be written by %" PRId64 ":%" PRId64, settings->export_path,
                       path != NULL ? path : user, settings->server, uid, gid));
}

void doctor_check_homes(struct cluster *cluster, const char *user) {
    const char *server = cluster->settings.home.server;
    if (server == NULL || !doctor_check_name(cluster->doctor, server, "home-server"))
        return;
    if (user != NULL)
        check_home(cluster, user);
    else
        check_export(cluster);
}
