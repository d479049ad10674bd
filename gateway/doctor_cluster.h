/* What the checks of doctor_cluster.c, doctor_pods.c and doctor_homes.c share. */
#pragma once

#include "gateway/admin_kube.h"
#include "gateway/doctor.h"
#include "launcher/provisioner_kubernetes.h"

#include <stdbool.h>

struct cluster {
    struct doctor *doctor;
    struct admin_kube kube;
    struct provisioner_kubernetes_settings settings;
    const char *kernel_namespace; /* NULL: the gateway makes them */
    char *account;                /* the user whose rights are looked at; NULL: ours */
    char *self;                   /* as the API server knows us */
    bool needs_token_review;
    bool is_answered; /* the API server has said anything */
};

/* The pods of gateways and kernels: why they do not run, and whether launchers can be reached. */
void doctor_check_pods(struct cluster *cluster);
/* The NFS server; user: whose home is made ready, NULL: nobody's. */
void doctor_check_homes(struct cluster *cluster, const char *user);
