/* A plan of a pod with a policy, and requests that are refused. */
#pragma once

#include "kube_plan.h"

#include "launcher/policy_file.h"

#include <stdio.h>

static const char lab[] =
    "# what the lab's requests may do\n"
    "variables: {allow: ['KERNEL_*']}\n"
    "images: [registry.example.com/lab/*, 'pinned.example.com/py@sha256:*']\n"
    "volumes:\n"
    "  types: [nfs, persistentVolumeClaim, emptyDir]\n"
    "  nfs:\n"
    "  - {server: nfs.example.com, paths: ['/export/home/{user}', /export/shared/**]}\n"
    "  - {server: nfs.example.com, paths: [/export/data], read_only: true}\n"
    "  claims: ['scratch-*', 'homes/{user}']\n"
    "uid: {from: 1000, to: 1999, prohibited: [0, 1234]}\n"
    "gid: {from: 100, to: 100}\n"
    "namespaces: ['team-{user}']\n"
    "service_accounts: [spark]\n"
    "resources: {cpus: {max: 4, default: 500m}, memory: {max: 8Gi}, gpus: {max: 1}}\n"
    "env: {bytes: 20000, count: 20, names: ['MY_*']}\n";

static inline struct policy *policy_of(const char *yaml) {
    struct error err = {0};
    struct policy *policy = NULL;
    if (policy_file_parse(yaml, strlen(yaml), "policy.yaml", NULL, &policy, &err) < 0)
        fail_msg("%s", err.text);
    return policy;
}

/* The lab's kernelspec: what the notebook server says is its home. */
static inline void use_lab_spec(struct fixture *fixture) {
    spec_says(fixture, "KERNEL_VOLUMES",
              "[{name: home, nfs: {server: nfs.example.com, path: $KERNEL_PATH}}]");
    spec_says(fixture, "KERNEL_VOLUME_MOUNTS", "[{name: home, mountPath: /home/jovyan}]");
}

static inline void forget(struct fixture *fixture) {
    json_object_clear(fixture->client);
    json_object_clear(fixture->spec_env);
    json_object_clear(fixture->values);
    json_decref(fixture->template);
    fixture->template = NULL;
    fixture->plan.template = NULL;
}

static inline void denied(struct fixture *fixture, const char *variable, const char *expected) {
    struct error err = {0};
    json_t *pod = NULL;
    if (kube_pod_create(&fixture->plan, &pod, &err) == 0)
        fail_msg("made, though %s: %s", variable, expected);
    assert_null(pod);
    if (strstr(err.text, variable) == NULL || strstr(err.text, expected) == NULL)
        fail_msg("\"%s\" without \"%s\" and \"%s\"", err.text, variable, expected);
    assert_true(err.code == ERROR_DENIED || err.code == ERROR_INVALID || err.code == ERROR_LIMIT);
}

static inline int set_up_lab(void **state) {
    set_up(state);
    ((struct fixture *)*state)->settings.policy = policy_of(lab);
    return 0;
}

static inline int tear_down_lab(void **state) {
    struct fixture *fixture = *state;
    policy_destroy((struct policy *)(uintptr_t)fixture->settings.policy);
    return tear_down(state);
}
