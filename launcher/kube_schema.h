/* The part of the Kubernetes API's schema that a pod's template is held against (core/v1
 * PodTemplateSpec): types of the fields that people write. What is not in it is the API server's to
 * judge. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* Where a value stands, as a chain up to the root. */
struct kube_place {
    const struct kube_place *up; /* NULL: the root */
    const char *key;             /* NULL: an array's element */
    size_t index;
};

struct kube_check {
    const char *what; /* "pod.yaml": in front of the path */
    /* Values were put in: whole references to numbers become numbers, amounts and labels are
     * looked at. Before, a reference may stand wherever a text or a whole number may. */
    bool is_filled;
};

/* "spec.containers[0].image", malloc'ed; "" for the root. */
char *kube_place_text(const struct kube_place *place);
/* The same with each key as it is, "limits.nvidia.com/gpu": as kube_flow.h has places. */
char *kube_place_exact(const struct kube_place *place);
/* ERROR_INVALID "pod.yaml: spec.volumes[1].name: ..." */
int kube_place_error(const struct kube_check *check, const struct kube_place *place,
                     struct error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The value at `place` as spec, volume or mount of a pod. */
int kube_schema_spec(const struct kube_check *check, const struct kube_place *place, json_t *value,
                     struct error *err);
int kube_schema_volume(const struct kube_check *check, const struct kube_place *place,
                       json_t *value, struct error *err);
int kube_schema_mount(const struct kube_check *check, const struct kube_place *place, json_t *value,
                      struct error *err);

/* kube_template_check.c: do they leave ours alone? */
int kube_template_check_volume(const struct kube_check *check, const struct kube_place *place,
                               const json_t *volume, struct error *err);
int kube_template_check_mount(const struct kube_check *check, const struct kube_place *place,
                              const json_t *mount, struct error *err);
/* A whole template with its values in: numbers are made of texts where they are wanted. */
int kube_template_check_filled(json_t *tree, const char *what, struct error *err);
