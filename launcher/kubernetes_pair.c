/* The gateways' own CURVE keys: one Secret that all replicas share, made by the first of them. A
 * launcher lets in whoever has that pair. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/memory.h"

#define LOG_AREA "launcher/kubernetes_pair"
#include "base/log.h"

#include <sodium.h>
#include <string.h>
#include <zmq.h>

enum { AGAIN_S = 2, KEY_SIZE = 41 };

static void try_again(struct kubernetes *cluster, const struct error *err) {
    struct timeval wait = {.tv_sec = AGAIN_S};
    log_error("the gateways' keys cannot be read, no pod is started until they are: %s", err->text);
    event_add(cluster->pair_again, &wait);
}

static void on_again(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    kubernetes_read_pair(context);
}

static void take(struct kubernetes *cluster, const json_t *secret) {
    struct error err;
    if (kube_gateway_read(secret, &cluster->public_key, &cluster->secret_key, &err) < 0) {
        try_again(cluster, &err);
        return;
    }
    list_each (&cluster->all, struct provision, node, place)
        if (place->step == STEP_PAIR || place->step == STEP_NONE)
            kubernetes_go_on(place);
}

static void on_made(void *context, int status, json_t *answer, const struct error *err) {
    struct kubernetes *cluster = context;
    cluster->pair_call = NULL;
    if (err == NULL)
        take(cluster, answer);
    else if (status == 409) /* another replica was faster */
        kubernetes_read_pair(cluster);
    else
        try_again(cluster, err);
}

static void make(struct kubernetes *cluster) {
    char public_key[KEY_SIZE], secret_key[KEY_SIZE];
    struct error err;
    if (zmq_curve_keypair(public_key, secret_key) < 0) {
        error_system(&err, zmq_errno(), "CURVE keys");
        try_again(cluster, &err);
        return;
    }
    cleanup_json json_t *secret = kube_gateway_tree(
        cluster->settings.install, cluster->settings.gateway_namespace, public_key, secret_key);
    sodium_memzero(secret_key, sizeof secret_key);
    cleanup_free char *path = kubernetes_path(cluster->settings.gateway_namespace, "secrets", NULL);
    const struct kube_call call = {
        .method = "POST", .path = path, .body = secret, .may_repeat = true};
    log_info("this install has no keys yet, making them");
    cluster->pair_call = kube_client_call(cluster->client, &call, on_made, cluster);
}

static void on_read(void *context, int status, json_t *answer, const struct error *err) {
    struct kubernetes *cluster = context;
    cluster->pair_call = NULL;
    if (err == NULL)
        take(cluster, answer);
    else if (status == 404)
        make(cluster);
    else
        try_again(cluster, err);
}

void kubernetes_read_pair(struct kubernetes *cluster) {
    char name[KUBE_NAME_SIZE];
    if (cluster->pair_again == NULL)
        cluster->pair_again = event_new(cluster->loop, -1, 0, on_again, cluster);
    kube_name_gateway(cluster->settings.install, name);
    cleanup_free char *path = kubernetes_path(cluster->settings.gateway_namespace, "secrets", name);
    const struct kube_call call = {.method = "GET", .path = path};
    cluster->pair_call = kube_client_call(cluster->client, &call, on_read, cluster);
}
