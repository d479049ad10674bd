/* The Kubernetes API server of the settings, asked by a verb that waits for each answer. */
#pragma once

#include "base/error.h"
#include "launcher/kube_client.h"
#include "launcher/kube_config.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct settings;

struct admin_kube {
    struct event_base *loop;
    struct kube_config *config;
    struct kube_client *client;
    const char *namespace; /* the gateway's own; borrowed of settings or config */
    int64_t deadline_ms;   /* of each call; 0: the client's */
    bool is_once;          /* a call that fails is not tried again */
    bool is_of_purge;      /* of kube_rights.h */
};

/* ret is closed by its owner, also when this has failed. */
int admin_kube_open(struct admin_kube *ret, const struct settings *settings, struct error *err);
void admin_kube_close(struct admin_kube *kube);

/* body, status: may be NULL. *ret: a new reference; NULL where that failed. */
int admin_kube_call(struct admin_kube *kube, const char *method, const char *path,
                    const json_t *body, int *status, json_t **ret, struct error *err);
/* The objects below path that the selector ("labelSelector=...", by name and value) fits. */
int admin_kube_list(struct admin_kube *kube, const char *path, const char *selector,
                    const char *value, int *status, json_t **ret, struct error *err);
