/* scripts/kernel-pod.yaml.j2 of Jupyter Enterprise Gateway's kernelspecs: a Pod as a Jinja template
 * (kernelspecs/jinja.h). Its variables are the KERNEL_* in lower case, as that gateway's
 * launch_kubernetes.py makes them; kernel_volumes and kernel_volume_mounts are lists. */
#pragma once

#include "base/error.h"
#include "launcher/kube_flow.h"

#include <jansson.h>

#define KUBE_JINJA_FILE "scripts/kernel-pod.yaml.j2"

/* Are its tags well formed, and is a Pod all that it makes? The rest is seen when there are values.
 */
int kube_jinja_check(const char *text, const char *what, struct error *err);

/* The PodTemplateSpec that stands in it, checked. names: kernel_image, ... Of the Pod's own
 * metadata labels and annotations count; name and namespace, if it has them, have to be
 * kernel_pod_name and kernel_namespace. restartPolicy and the labels that are Elara's own are left
 * out. flow: as for kube_template_fill. */
int kube_jinja_pod(const char *text, const json_t *names, const char *what, struct kube_flow *flow,
                   json_t **ret, struct error *err);

/* What that gateway's script puts into the environment of the kernel's container, and what the
 * template has not said: KERNEL_ID and others of names, KERNEL_NAME, and PORT_RANGE,
 * RESPONSE_ADDRESS, PUBLIC_KEY and KERNEL_SPARK_CONTEXT_INIT_MODE, with values that ask for
 * nothing. pod: of kube_jinja_pod. */
void kube_jinja_add_environment(json_t *pod, const json_t *names, const char *kernelspec);
