/* The parts of a pod that requests have a say in: kube_pod.c puts them together. */
#pragma once

#include "launcher/kube_pod.h"

/* The member, made an empty object (array) when it is missing or null. Borrowed. */
json_t *kube_object_in(json_t *object, const char *member);
json_t *kube_array_in(json_t *object, const char *member);
/* Takes the value over; it counts only where there is none yet. */
void kube_set_default(json_t *object, const char *member, json_t *value);

/* For each function: container is the kernel's, in a filled template; wishes have their references
 * replaced but in the volumes. */
int kube_pod_set_resources(json_t *container, const struct kube_wishes *wishes,
                           const char *gpu_resource, struct error *err);
/* Users, groups and what "restricted" wants, of the pod and of the kernel's container. */
int kube_pod_set_security(json_t *spec, json_t *container, const struct kube_wishes *wishes,
                          const struct kube_pod_settings *settings, struct error *err);
/* KERNEL_VOLUMES and KERNEL_VOLUME_MOUNTS as lists, new references or NULL. values: for the
 * kernelspec's references. */
int kube_pod_parse_volumes(const struct kube_wishes *wishes, const json_t *values, json_t **volumes,
                           json_t **mounts, struct error *err);
int kube_pod_add_volumes(json_t *spec, json_t *container, const json_t *volumes,
                         const json_t *mounts, struct error *err);
