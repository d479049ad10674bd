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
/* Notes what wishes have made of the kernel's container and of the pod; kernel: its number. */
void kube_pod_note_wishes(const struct kube_wishes *wishes, const char *gpu_resource, size_t kernel,
                          struct kube_flow *flow);
/* User and group of the pod or the kernel's container. */
int kube_pod_set_user(json_t *spec, json_t *container, const struct kube_wishes *wishes,
                      const struct kube_pod_settings *settings, struct error *err);
/* What else "restricted" wants of both. */
void kube_pod_harden(json_t *spec, json_t *container);
/* A place for temporary files where the root is read-only: most kernels do not start without. */
void kube_pod_add_temporary(json_t *spec, json_t *container);
/* KERNEL_VOLUMES and KERNEL_VOLUME_MOUNTS; the lists may be NULL. Of each, what is the client's. */
struct kube_pod_lists {
    json_t *volumes, *mounts;
    struct kube_flow *volume_flow, *mount_flow; /* "[0].nfs.path"; NULL without a flow */
};
/* values: for the kernelspec's references. flow: what is the client's in them, or NULL. */
int kube_pod_parse_lists(const struct kube_wishes *wishes, const json_t *values,
                         const struct kube_flow *flow, struct kube_pod_lists *ret,
                         struct error *err);
void kube_pod_free_lists(struct kube_pod_lists *lists);
/* Notes in the flow what it adds. */
int kube_pod_add_lists(json_t *spec, size_t kernel, const struct kube_pod_lists *lists,
                       struct kube_flow *flow, struct error *err);
/* Do all mounts name volumes that are there? What Elara adds later must not be meant. */
int kube_pod_check_mounts(const json_t *spec, const struct kube_flow *flow, struct error *err);
