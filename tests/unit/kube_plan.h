/* A plan of a pod that tests change, and the pod that is made of it. */
#pragma once

#include "kube_trees.h"

#include "launcher/kube_names.h"
#include "launcher/kube_pod.h"

#define ID "0f8fad5b-d9cb-469f-a165-70867728950e"

struct fixture {
    struct kube_pod_settings settings;
    struct kube_pod_plan plan;
    json_t *values, *client, *spec_env, *template, *secret;
};

static inline int set_up(void **state) {
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->values = json_pack("{s:s, s:s, s:s}", "KERNEL_ID", ID, "KERNEL_USERNAME", "claimed",
                                "HOME", "/root");
    fixture->client = json_object();
    fixture->spec_env = json_object();
    fixture->secret = json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "Secret",
                                "metadata", "name", "elara-kernel-" ID, "uid", "u-1");
    fixture->settings = (struct kube_pod_settings){.image = "registry.example.com/py:3",
                                                   .launcher_image = "elara:1",
                                                   .uid = 1000,
                                                   .gid = 100,
                                                   .allowed = (1u << KUBE_WISHES) - 1,
                                                   .shutdown_wait_ms = 5500,
                                                   .journal_bytes = 256 << 20,
                                                   .output_bytes = 1 << 20};
    fixture->plan = (struct kube_pod_plan){.identity = {"elara", ID, "ann"},
                                           .settings = &fixture->settings,
                                           .namespace = "kernels",
                                           .attempt = 2,
                                           .values = fixture->values,
                                           .client = fixture->client,
                                           .spec_env = fixture->spec_env,
                                           .key_secret = fixture->secret};
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state) {
    struct fixture *fixture = *state;
    json_decref(fixture->values);
    json_decref(fixture->client);
    json_decref(fixture->spec_env);
    json_decref(fixture->template);
    json_decref(fixture->secret);
    free(fixture);
    return 0;
}

static inline void use_template(struct fixture *fixture, const char *yaml) {
    json_decref(fixture->template);
    fixture->template = tree_of(yaml);
    fixture->plan.template = fixture->template;
}

static inline void wish(struct fixture *fixture, const char *name, const char *value) {
    json_object_set_new(fixture->client, name, json_string(value));
    json_object_set_new(fixture->values, name, json_string(value));
}

static inline void spec_says(struct fixture *fixture, const char *name, const char *value) {
    json_object_set_new(fixture->spec_env, name, json_string(value));
}

static inline json_t *make(struct fixture *fixture) {
    struct error err = {0};
    json_t *pod = NULL;
    if (kube_pod_create(&fixture->plan, &pod, &err) < 0)
        fail_msg("%s", err.text);
    return pod;
}

static inline void refused(struct fixture *fixture, const char *expected) {
    struct error err = {0};
    json_t *pod = NULL;
    if (kube_pod_create(&fixture->plan, &pod, &err) == 0)
        fail_msg("made, without \"%s\"", expected);
    assert_null(pod);
    assert_has(err.text, expected);
}
