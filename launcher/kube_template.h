/* A pod's template: pod.yaml (or pod.json) beside a kernel.json, or the setting kubernetes-pod. It
 * is a PodTemplateSpec of the Kubernetes API, {"metadata": {labels, annotations}, "spec": {...}},
 * without apiVersion and kind.
 *
 * Values stand in its texts as in kernel.json's env (kernelspecs/substitute.h): ${NAME} or $NAME,
 * $$ for a $. They are replaced after the file was read, inside values only (no keys), so whatever
 * a value has in it, it stays one text. A text that is one reference and nothing else, where the
 * API wants a whole number (runAsUser, containerPort, ...), becomes that number. A reference to a
 * KERNEL_* that is not there is an error; other unknown references stay as they are. */
#pragma once

#include "base/error.h"
#include "launcher/kube_flow.h"

#include <jansson.h>
#include <stdbool.h>

enum { KUBE_TEMPLATE_MAX = 256 << 10, KUBE_TEMPLATE_CONTAINERS = 16 };

#define KUBE_VOLUME       "elara" /* what begins with "elara-" is ours, too */
#define KUBE_KEY_VOLUME   "elara-key"
#define KUBE_TMP_VOLUME   "elara-tmp"      /* at /tmp, where the root is read-only */
#define KUBE_INIT         "elara-launcher" /* our init container */
#define KUBE_MOUNT        "/opt/elara"
#define KUBE_KEY_MOUNT    "/etc/elara"
#define KUBE_PORT_NAME    "elara-link"
#define KUBE_PORT_DEFAULT 8877

/* pod.yaml, pod.yml or pod.json of a kernelspec's directory, read and checked, or else its Jinja
 * template (kube_jinja.h) as a text; the first that is there. *ret is NULL when there is none, else
 * a new reference. An error begins with the file's name. */
int kube_template_load(const char *directory, json_t **ret, struct error *err);
/* The same of a text; `what` begins the errors. */
int kube_template_parse(const char *text, size_t length, const char *what, json_t **ret,
                        struct error *err);
/* Is it a template, and one that leaves ours alone (volumes, mounts, labels, the command, the
 * restart policy)? The error names the path: "pod.yaml: spec.containers[0].image: must be a
 * text". Members of the spec that are not known here are left to the API server. */
int kube_template_check(const json_t *tree, const char *what, struct error *err);

/* Is a volume or a claim of that name the gateway's? No other part of a pod may use it: the names
 * are taken before ours are there. */
bool kube_template_is_ours(const char *name);

/* A copy with the values (object of texts) put in, checked again as what the API will see. flow
 * (may be NULL) notes the places of those that count for it. */
int kube_template_fill(const json_t *tree, const json_t *values, const char *what,
                       struct kube_flow *flow, json_t **ret, struct error *err);
/* The same for a tree that is no whole template: no check but of the values. */
int kube_template_fill_part(const json_t *tree, const json_t *values, const char *what,
                            struct kube_flow *flow, json_t **ret, struct error *err);

/* The same where marks stand for the values (kernelspecs/jinja.h); no check either. */
int kube_template_fill_marks(const json_t *tree, const json_t *marked, const char *what,
                             struct kube_flow *flow, json_t **ret, struct error *err);

/* Which of spec.containers is the kernel's: the one named "kernel", else the first. */
size_t kube_template_kernel(const json_t *tree);
