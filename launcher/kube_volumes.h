/* KERNEL_VOLUMES and KERNEL_VOLUME_MOUNTS: lists of volumes and mounts as YAML (also in its flow
 * form) or JSON text. Shapes are checked here; who may mount what is not decided here. */
#pragma once

#include "base/error.h"
#include "launcher/kube_flow.h"

#include <jansson.h>

enum { KUBE_VOLUMES_MAX = 64, KUBE_VOLUMES_TEXT_MAX = 64 << 10 };

/* An array of {"name", one source: {...}} / {"name", "mountPath", ...}; a new reference. values
 * (object of texts): references in the text are replaced inside the scalars after it was parsed,
 * in both forms ($NAME, ${NAME}); one that is not there is an error that names it. NULL: the
 * text is a client's, nothing is replaced. flow: as for kube_template_fill ("[0].nfs.path"). */
int kube_volumes_parse(const char *text, const json_t *values, struct kube_flow *flow, json_t **ret,
                       struct error *err);
int kube_mounts_parse(const char *text, const json_t *values, struct kube_flow *flow, json_t **ret,
                      struct error *err);

/* A path in a volume or mount must not climb: no "..", ".", empty or missing last part where a
 * value was put in. path: for the error. */
int kube_path_check(const char *value, const char *path, struct error *err);
