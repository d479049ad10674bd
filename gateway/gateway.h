/* The gateway's parts, and who is who. One of these per process, made by main and passed down; API
 * files get it as their context. */
#pragma once

#include "gateway/handover.h"
#include "gateway/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gateway {
    struct settings *settings;
    struct spawner *spawner;
    struct handover handover; /* from systemd or the gateway before us */
    struct loop *loop;
    struct background *background; /* for files whose server may hang */
    struct metrics *metrics;
    struct events *events; /* NULL: none are written */
    struct auth *auth;
    struct http *http;
    struct links *links;
    struct kernelspecs *specs;
    struct provisioner *provisioner;
    struct policy *policy; /* of provisioner and kernels; NULL: none */
    json_t *home_uids;     /* the same: home-uids and home-passwd */
    struct kernels *kernels;
    struct sessions *sessions;
    struct session_adoption *session_adoption;
    struct channels *channels;
    struct culling *culling;
    struct gateway_run *run; /* NULL until gateway_run */
    size_t answers_owed;     /* requests that wait for their kernel: the way out waits for them */
    int64_t started_us;      /* clock_wall_us */
    int64_t open_files;      /* soft limit the gateway was started with: that of its kernels */
};

struct auth_settings;
struct kernels_settings;
struct kernelspecs_settings;
struct kube_config;
struct home_settings;
struct provisioner_kubernetes_settings;

/* Takes the spawner over, also when it fails. */
int gateway_create(struct settings *settings, struct spawner *spawner, struct gateway **ret,
                   struct error *err);
void gateway_run(
    struct gateway *gateway); /* until SIGTERM or SIGINT; SIGHUP reloads, SIGUSR2 hands over */
/* True: something hangs on a thread (background_destroy). */
bool gateway_destroy(struct gateway *gateway);

/* Tells all parts of settings that have changed. What fails stays as it was and is noted as the
 * settings' problem. */
void gateway_configure(struct gateway *gateway);
/* The settings as auth takes them; borrowed, until the next reload. */
void gateway_auth_settings(const struct settings *settings, struct auth_settings *ret);
/* The settings as the kernelspecs take them; borrowed, until the next reload. */
void gateway_specs_settings(const struct gateway *gateway, struct kernelspecs_settings *ret);

/* The same for the kernels. */
void gateway_kernels_settings(const struct gateway *gateway, struct kernels_settings *ret);

/* gateway_provisioner.c */
/* And the users of home-passwd; there was none. */
int gateway_load_policy(struct gateway *gateway, struct error *err);
/* As the provisioner takes them. On failure ret is filled all the same, and starts say what is
 * wrong. */
int gateway_home_settings(const struct gateway *gateway, struct home_settings *ret,
                          struct error *err);
int gateway_kubernetes_settings(const struct gateway *gateway,
                                struct provisioner_kubernetes_settings *ret, struct error *err);
/* Where the cluster is. */
int gateway_kube_config(const struct settings *settings, struct kube_config **ret,
                        struct error *err);
int gateway_create_provisioner(struct gateway *gateway, struct error *err);
void gateway_configure_provisioner(struct gateway *gateway);
