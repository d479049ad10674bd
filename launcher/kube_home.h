/* A user's home in the pod of a kernel (docs/homes.md): which directory it is, whose, and the
 * volume that brings it there. */
#pragma once

#include "base/error.h"
#include "launcher/kube_names.h"
#include "launcher/kube_objects.h"
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

/* Which setting decided what kube_home_add has put to a place of the pod, as kube_trace.h writes it
 * ("spec.volumes[elara-home].nfs.path"), of the user's home: "setting home-path". NULL: none. */
const char *kube_home_decider(const struct home_settings *settings, const char *user,
                              const char *place);

/* Where the gateway makes claims: one in each namespace, and a PersistentVolume that belongs to the
 * namespace and goes with it. */
struct kube_home_claim {
    const char *namespace, *namespace_uid;
    const char *uid; /* as the API server has it */
};
void kube_home_name_claim(const struct home_settings *settings, char name[KUBE_NAME_SIZE]);
/* identity: without a kernel. New references. */
json_t *kube_home_claim_tree(const struct home_settings *settings,
                             const struct kube_identity *identity,
                             const struct kube_home_claim *claim);
json_t *kube_home_volume_tree(const struct home_settings *settings,
                              const struct kube_identity *identity,
                              const struct kube_home_claim *claim);

/* HOME, and a working directory in the home, in launch.json. */
void kube_home_set_launch(const struct home_settings *settings, const json_t *spec, json_t *launch);
