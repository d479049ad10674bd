/* The gateways' own CURVE keys: one Secret that all replicas share, made by the first of them. A
 * launcher lets in whoever has the pair that was the gateways' when it was started, and nobody
 * else. So a Secret that is deleted or changed under running kernels is written again by every
 * gateway that still has the pair: beside the one that is there by then, as an earlier one. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/secret.h"
#include "launcher/kube_secrets.h"

#define LOG_AREA "launcher/kubernetes_pair"
#include "base/log.h"

#include <sodium.h>
#include <string.h>
#include <zmq.h>

enum { AGAIN_S = 2, KEY_SIZE = 41, PAIRS_MAX = 16 };

/* The Secret's member: {public: secret, ...}. */
#define EARLIER "earlier.json"

struct kubernetes_pair {
    struct list_node node;
    char *public_key, *secret_key;
};

/* --- those we know --- */

static struct kubernetes_pair *find_pair(const struct kubernetes *cluster, const char *public_key) {
    list_each (&((struct kubernetes *)(uintptr_t)cluster)->pairs, struct kubernetes_pair, node,
               pair)
        if (strcmp(pair->public_key, public_key) == 0)
            return pair;
    return NULL;
}

static void free_pair(struct kubernetes_pair *pair) {
    list_remove(&pair->node);
    free(pair->public_key);
    secret_free(pair->secret_key);
    free(pair);
}

static struct kubernetes_pair *add_pair(struct kubernetes *cluster, const char *public_key,
                                        const char *secret_key) {
    struct kubernetes_pair *pair = find_pair(cluster, public_key);
    if (pair != NULL)
        return pair;
    pair = memory_alloc(sizeof *pair);
    pair->public_key = memory_strdup(public_key);
    pair->secret_key = secret_dup(secret_key);
    list_append(&cluster->pairs, &pair->node);
    return pair;
}

void kubernetes_drop_pairs(struct kubernetes *cluster) {
    list_each (&cluster->pairs, struct kubernetes_pair, node, pair)
        free_pair(pair);
}

bool kubernetes_choose_pair(const struct provision *place, struct provision_address *ret) {
    const struct kubernetes *cluster = place->cluster;
    ret->public_key = cluster->public_key;
    ret->secret_key = cluster->secret_key;
    if (place->gateway_key == NULL)
        return cluster->public_key != NULL;
    const struct kubernetes_pair *pair = find_pair(cluster, place->gateway_key);
    if (pair == NULL)
        return false;
    ret->public_key = pair->public_key;
    ret->secret_key = pair->secret_key;
    return true;
}

static void take_earlier(struct kubernetes *cluster, const json_t *earlier) {
    const char *public_key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)earlier, public_key, value) {
        const char *secret_key = json_string_value(value);
        if (secret_key != NULL && kube_is_z85_key(public_key) && kube_is_z85_key(secret_key))
            add_pair(cluster, public_key, secret_key);
    }
}

/* --- the Secret --- */

static void try_again(struct kubernetes *cluster, const struct error *err) {
    struct timeval wait = {.tv_sec = AGAIN_S};
    if (kube_trouble_begins(&cluster->pair_trouble, err->text, clock_monotonic_ms()))
        log_error("the gateways' keys cannot be read, no pod is started until they are: %s",
                  err->text);
    event_add(cluster->pair_again, &wait);
}

static void on_again(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    kubernetes_read_pair(context);
}

/* All that we know but the current one; not the first ones when there are too many. */
static json_t *earlier_pairs(const struct kubernetes *cluster) {
    json_t *object = json_object();
    list_each (&((struct kubernetes *)(uintptr_t)cluster)->pairs, struct kubernetes_pair, node,
               pair) {
        if (strcmp(pair->public_key, cluster->public_key) == 0)
            continue;
        if (json_object_size(object) == PAIRS_MAX)
            json_object_del(object, json_object_iter_key(json_object_iter(object)));
        json_object_set_new(object, pair->public_key, json_string(pair->secret_key));
    }
    return object;
}

static json_t *secret_tree(const struct kubernetes *cluster) {
    json_t *secret =
        kube_gateway_tree(cluster->settings.install, cluster->settings.gateway_namespace,
                          cluster->public_key, cluster->secret_key);
    cleanup_json json_t *earlier = earlier_pairs(cluster);
    if (json_object_size(earlier) > 0)
        kube_secret_add_json(json_object_get(secret, "data"), EARLIER, earlier);
    return secret;
}

static char *secret_path(const struct kubernetes *cluster) {
    char name[KUBE_NAME_SIZE];
    kube_name_gateway(cluster->settings.install, name);
    return kubernetes_path(cluster->settings.gateway_namespace, "secrets", name);
}

/* Where another gateway was faster, its Secret is told to us, and it is decided again. */
static void on_written(void *context, int status, json_t *answer, const struct error *err) {
    struct kubernetes *cluster = context;
    (void)answer;
    cluster->pair_call = NULL;
    if (err != NULL && status != 409)
        try_again(cluster, err); /* reads it, and finds out what is missing */
}

static void write_again(struct kubernetes *cluster, const char *version) {
    cleanup_json json_t *secret = secret_tree(cluster);
    cleanup_free char *path =
        version != NULL ? secret_path(cluster)
                        : kubernetes_path(cluster->settings.gateway_namespace, "secrets", NULL);
    cleanup_json json_t *patch = json_pack("{s:{s:s*}, s:O}", "metadata", "resourceVersion",
                                           version, "data", json_object_get(secret, "data"));
    const struct kube_call call = {.method = version != NULL ? "PATCH" : "POST",
                                   .path = path,
                                   .body = version != NULL ? patch : secret,
                                   .may_repeat = true};
    kube_request_cancel(cluster->pair_call);
    cluster->pair_call = kube_client_call(cluster->client, &call, on_written, cluster);
}

static void set_current(struct kubernetes *cluster, const struct kubernetes_pair *pair) {
    if (cluster->public_key != NULL && strcmp(cluster->public_key, pair->public_key) != 0)
        log_warning("the gateways' keys were changed: kernels that run accept only the earlier "
                    "ones, which are kept beside them");
    cluster->public_key = pair->public_key;
    cluster->secret_key = pair->secret_key;
    if (kube_trouble_ends(&cluster->pair_trouble))
        log_info("the gateways' keys can be read again");
    list_each (&cluster->all, struct provision, node, place)
        if (place->step == STEP_PAIR || place->step == STEP_NONE || place->step == STEP_WATCH)
            kubernetes_go_on(place);
}

static bool lacks_any(const struct kubernetes *cluster, const json_t *earlier) {
    cleanup_json json_t *ours = earlier_pairs(cluster);
    if (json_object_size(earlier) >= PAIRS_MAX)
        return false; /* nobody changed that many; who writes last would go on for ever */
    const char *public_key;
    json_t *value;
    json_object_foreach(
        ours, public_key,
        value) if (!json_equal(json_object_get(earlier, public_key), value)) return true;
    return false;
}

static void take(struct kubernetes *cluster, const json_t *secret) {
    cleanup_free char *public_key = NULL, *secret_key = NULL;
    cleanup_json json_t *earlier = NULL;
    struct error err;
    if (kube_gateway_read(secret, &public_key, &secret_key, &err) < 0) {
        if (cluster->public_key == NULL) {
            try_again(cluster, &err);
            return;
        }
        log_warning("the gateways' keys were damaged and are written again: %s", err.text);
        write_again(cluster, kube_object_version(secret));
        return;
    }
    if (kube_secret_get_json(secret, EARLIER, &earlier, NULL) == 0)
        take_earlier(cluster, earlier);
    set_current(cluster, add_pair(cluster, public_key, secret_key));
    sodium_memzero(secret_key, strlen(secret_key));
    if (lacks_any(cluster, earlier))
        write_again(cluster, kube_object_version(secret));
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
    else if (status == 404 && cluster->public_key != NULL)
        write_again(cluster, NULL);
    else if (status == 404)
        make(cluster);
    else
        try_again(cluster, err);
}

void kubernetes_read_pair(struct kubernetes *cluster) {
    if (cluster->pair_again == NULL)
        cluster->pair_again = event_new(cluster->loop, -1, 0, on_again, cluster);
    cleanup_free char *path = secret_path(cluster);
    const struct kube_call call = {.method = "GET", .path = path};
    kube_request_cancel(cluster->pair_call);
    cluster->pair_call = kube_client_call(cluster->client, &call, on_read, cluster);
}

bool kubernetes_take_pair(struct kubernetes *cluster, const json_t *secret, bool is_deleted) {
    char name[KUBE_NAME_SIZE];
    kube_name_gateway(cluster->settings.install, name);
    if (kube_object_name(secret) == NULL || strcmp(kube_object_name(secret), name) != 0)
        return false;
    if (cluster->public_key == NULL)
        return true; /* it is being read */
    if (is_deleted) {
        log_warning("the gateways' keys (Secret %s) were deleted and are written again: kernels "
                    "that run accept no others",
                    name);
        write_again(cluster, NULL);
    } else {
        take(cluster, secret);
    }
    return true;
}
