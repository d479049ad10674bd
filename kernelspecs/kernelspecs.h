/* The kernelspecs on this machine: found, validated, served and reloaded (Jupyter documentation,
 * "Making kernels for Jupyter", kernel specs; search path as jupyter_core's jupyter_path). */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct kernelspecs;

struct kernelspec {
    const char *name;         /* directory name, lower case */
    const char *directory;    /* resource_dir, absolute */
    const char *display_name; /* never NULL */
    const char *language;     /* "" when kernel.json has none */
    /* kernel.json as it stands, unknown fields included; env has what metadata.elara's image and
     * resources are short for */
    json_t *json;
    /* {"logo-64x64": "logo-64x64.png", "kernel.js": "kernel.js"}: key to file name */
    json_t *resources;
};

struct kernelspecs_settings {
    /* replaces the search path when not empty; NULL-terminated; each holds kernel directories */
    char *const *directories;
    char *const *allowed;     /* globs; empty: all */
    char *const *denied;      /* globs */
    const char *default_name; /* NULL: python3 when there, else the first by name */
    bool publish_env; /* show env values in the model; else only the names with empty values */
};

/* Loads what is there. A broken kernel.json hides only itself. Fails only for bad settings. */
int kernelspecs_create(const struct kernelspecs_settings *settings, struct kernelspecs **ret,
                       struct error *err);
void kernelspecs_destroy(struct kernelspecs *specs);
/* Other settings, for the next load. On failure everything stays as it was. */
int kernelspecs_configure(struct kernelspecs *specs, const struct kernelspecs_settings *settings,
                          struct error *err);

/* Case-insensitive. NULL when there is none. Valid until the next reload: do not keep it over a
 * turn. */
const struct kernelspec *kernelspecs_find(const struct kernelspecs *specs, const char *name);
/* A name, or "" when there are none. One that the settings name counts even while it is not
 * there. */
const char *kernelspecs_default(const struct kernelspecs *specs);
/* The index-th by name; NULL behind the last. As short-lived as kernelspecs_find's. */
const struct kernelspec *kernelspecs_at(const struct kernelspecs *specs, size_t index);

/* Why a gateway whose kernels are processes cannot start it (a provisioner or process proxy it does
 * not have), or NULL. A malloc'ed sentence. */
char *kernelspec_unsupported(const struct kernelspec *spec);

/* The gateway's own lists of users: NULL-terminated, NULL or empty for none. */
struct kernelspec_users {
    char *const *authorized, *const *unauthorized;
};
/* Why `user` may not use it, the end of a sentence; NULL when the user may, or is NULL. Beside the
 * gateway's lists counts what the spec itself carries (config.unauthorized_users and
 * authorized_users of its process_proxy or kernel_provisioner): whole names, case counts. Who is in
 * one unauthorized list is out; a spec's authorized_users stand in for the gateway's. */
const char *kernelspec_refusal(const struct kernelspec *spec, const char *user,
                               const struct kernelspec_users *gateway);

/* metadata.elara.journal_bytes, the cap of its kernels' journals; 0 when it has none. Its limits
 * are those of the gateway's --journal-size. */
#define KERNELSPEC_JOURNAL_MIN (INT64_C(1) << 20)
#define KERNELSPEC_JOURNAL_MAX (INT64_C(64) << 30)
int64_t kernelspec_journal_bytes(const struct kernelspec *spec);

/* What its kernels are run by: metadata.elara.argv, else argv. Elsewhere (in an image) an argv that
 * names Jupyter Enterprise Gateway's launch_kubernetes.py means the language's own kernel, Python's
 * or R's; ERROR_UNSUPPORTED for other languages, for Spark's run.sh, for process proxies that need
 * scripts of their own and for metadata.elara.provisioner "local", ERROR_INVALID without any.
 * A new reference to an array that is not empty. */
int kernelspec_argv(const struct kernelspec *spec, bool is_elsewhere, json_t **ret,
                    struct error *err);

/* metadata.cull_idle_timeout (as jupyter_server reads it, in seconds): how long its kernels want to
 * be idle, in ms; 0: for ever, -1: it has none. */
#define KERNELSPEC_IDLE_MAX_S 31536000
int64_t kernelspec_cull_idle_ms(const struct kernelspec *spec);

/* What GET /api/kernelspecs answers: {"default", "kernelspecs": {name: model}}; a new reference.
 * base_url ends with '/'. Only those that `user` may use; NULL: all. */
json_t *kernelspecs_model(const struct kernelspecs *specs, const char *base_url, const char *user,
                          const struct kernelspec_users *gateway);
/* One {"name", "spec", "resources"}; name as the client typed it. argv, env, display_name,
 * language, interrupt_mode and metadata are always there, since clients drop a spec without
 * them. */
json_t *kernelspec_model(const struct kernelspecs *specs, const struct kernelspec *spec,
                         const char *name, const char *base_url);
bool kernelspecs_publish_env(
    const struct kernelspecs *specs); /* the setting: env values may be shown */

/* Descriptor (or -1: no inotify here) to watch for reading (inotify on the search path, the kernel
 * directories and their symlink targets); call kernelspecs_changed when it is readable. A burst of
 * changes is one reload: it returns how many ms to wait before kernelspecs_reload (each answer
 * replaces the one before), or -1 when nothing came. */
int kernelspecs_watch_fd(const struct kernelspecs *specs);
int kernelspecs_changed(struct kernelspecs *specs);
void kernelspecs_reload(struct kernelspecs *specs); /* logs what appeared, went, changed, broke */

/* The same in three parts. All files are read in the second one, which touches nothing but the load
 * and does not log: it may be done on a thread, and be waited for. */
struct kernelspecs_load;
struct kernelspecs_load *kernelspecs_load_create(struct kernelspecs *specs);
void kernelspecs_load_run(struct kernelspecs_load *load);
/* The watch's descriptor is another one. */
void kernelspecs_take(struct kernelspecs *specs, struct kernelspecs_load *load);
void kernelspecs_load_destroy(struct kernelspecs_load *load); /* taken or not */

/* Problems of the last load, for `elara kernelspecs check`: array of {"file", "line", "field",
 * "problem"}; line 0 = whole file. */
const json_t *kernelspecs_problems(const struct kernelspecs *specs);

/* What the last load saw: {"directories": [{"path", "state": read|missing|unreadable, "count"}],
 * "shadowed": [{"name", "directory", "by"}], "hidden" (by the allow and deny lists): [{"name",
 * "directory"}]}. */
const json_t *kernelspecs_report(const struct kernelspecs *specs);
