/* A user's home in the pod of a kernel (docs/homes.md): which directory it is, whose, and the
 * volume that brings it there. */
#pragma once

#include "base/error.h"
#include "nfs/home.h"
#include "nfs/user_name.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define KUBE_HOME_VOLUME "elara-home"

/* The settings home-*. Borrowed. */
struct kube_home_settings {
    const char *server;      /* NULL: nothing is prepared, and without pvc there are no homes */
    const char *export_path; /* what paths are below */
    const char *path;        /* "{user}" */
    const char *mount;       /* in the pod */
    const char *pvc;         /* a claim whose root is the export, instead of an nfs volume; NULL */
    enum user_name_scheme names;
    const json_t *uids;  /* user's name: "uid:gid"; NULL */
    int64_t parent_gid;  /* home.h */
    char *const *extra;  /* "path:mount" or "path:mount:rw", below the export; NULL */
    bool trusts_claimed; /* KERNEL_USERNAME says whose home it is where nobody is verified */
    int64_t deadline_ms;
};

/* What the settings say wrongly, by the setting's name. */
int kube_home_check(const struct kube_home_settings *settings, struct error *err);

/* Who has a home, and where. */
struct kube_home {
    char *path;                /* NULL: this kernel has no home */
    struct home_target target; /* its path is the same */
};

/* spec: kernel.json, whose metadata.elara.home may be false; record: with the request. pod: as
 * kube_pod_create made it; gets the volumes, the mounts and the user ids. path is the caller's. */
int kube_home_add(const struct kube_home_settings *settings, const json_t *spec,
                  const json_t *record, json_t *pod, struct kube_home *ret, struct error *err);
/* HOME, and a working directory in the home, in launch.json. */
void kube_home_set_launch(const struct kube_home_settings *settings, const json_t *spec,
                          json_t *launch);
