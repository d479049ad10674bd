/* The gateway's parts, and who is who. One of these per process, made by main and passed down; API files get it as their context. */
#pragma once

#include "gateway/settings.h"

struct gateway {
    struct settings *settings;
    struct loop *loop;
    struct auth *auth;
    struct http *http;
    struct links *links;
    struct kernelspecs *specs;
    struct provisioner *provisioner;
    struct kernels *kernels;
    struct sessions *sessions;
    struct session_adoption *session_adoption;
    struct channels *channels;
    int64_t started_us; /* clock_wall_us */
};

int gateway_create(struct settings *settings, struct gateway **ret, struct error *err);
void gateway_run(struct gateway *gateway); /* until SIGTERM or SIGINT; SIGHUP reloads */
void gateway_destroy(struct gateway *gateway);
