/* A user's home in the pod of a kernel (docs/homes.md): which directory it is, whose, and the
 * volume that brings it there. */
#pragma once

#include "base/error.h"
#include "nfs/home.h"
#include "nfs/home_settings.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define KUBE_HOME_VOLUME "elara-home"

/* Who has a home, and where. */
struct kube_home {
    char *path;                /* NULL: this kernel has no home */
    struct home_target target; /* its path is the same */
};

/* spec: kernel.json, whose metadata.elara.home may be false; record: with the request. pod: as
 * kube_pod_create made it; gets the volumes, the mounts and the user ids. path is the caller's. */
int kube_home_add(const struct home_settings *settings, const json_t *spec, const json_t *record,
                  json_t *pod, struct kube_home *ret, struct error *err);
/* HOME, and a working directory in the home, in launch.json. */
void kube_home_set_launch(const struct home_settings *settings, const json_t *spec, json_t *launch);
