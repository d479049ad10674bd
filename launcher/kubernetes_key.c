/* The Secret that a kernel's pods have their CURVE keys and what is to be launched from, and that
 * owns them: made once, renewed for another start. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "launcher/kube_reasons.h"
#include "launcher/kube_secrets.h"

#include <sodium.h>
#include <string.h>
#include <zmq.h>

enum { KEY_SIZE = 41 };

static void take_key(struct provision *place, const json_t *secret) {
    struct error err;
    char *public_key = NULL;
    json_decref(place->owner);
    place->owner = json_deep_copy(json_object_get(secret, "metadata"));
    if (kube_key_read(secret, &public_key, &err) < 0) {
        kubernetes_end_start(place, &err);
        return;
    }
    free(place->server_key);
    place->server_key = public_key;
    kubernetes_advance(place, STEP_HOME);
}

static void on_key_read(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    struct error foreign;
    if (status == 422) { /* the tests of the patch */
        error_set(&foreign, ERROR_EXISTS,
                  "The key Secret of a kernel %s is there in namespace %s, and is not of this "
                  "installation: choose another kernel id",
                  place->id, place->namespace);
        foreign.cause = kube_reason_word("AlreadyExists");
        kubernetes_end_start(place, &foreign);
    } else if (err != NULL)
        kubernetes_refuse_step(place, status, answer, "the kernel's key Secret", err);
    else
        take_key(place, answer);
}

static json_t *set_data(const char *path, const json_t *data, const char *name) {
    return json_pack("{s:s, s:s, s:O}", "op", "add", "path", path, "value",
                     json_object_get(data, name));
}

/* Unless it is another installation's. The keys that are there stay, for a pod that may have them;
 * what is to be launched may be another thing by now, and others may use it. */
void kubernetes_renew_key(struct provision *place) {
    cleanup_free char *path = kubernetes_key_path(place);
    cleanup_json json_t *data = json_object();
    kube_secret_add_json(data, "launch.json", place->launch);
    kube_secret_add_json(data, "record.json", place->record);
    kube_secret_add(data, "gateway.pub", place->cluster->public_key,
                    strlen(place->cluster->public_key));
    json_t *changes = json_pack("[o, o, o]", set_data("/data/launch.json", data, "launch.json"),
                                set_data("/data/record.json", data, "record.json"),
                                set_data("/data/gateway.pub", data, "gateway.pub"));
    kubernetes_patch_own(place, path, changes, on_key_read);
}

static void on_key(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    if (err != NULL && status == 409)
        kubernetes_advance(place, STEP_KEY_READ);
    else if (err != NULL)
        kubernetes_refuse_step(place, status, answer, "the kernel's key Secret", err);
    else
        take_key(place, answer);
}

void kubernetes_begin_key(struct provision *place) {
    char public_key[KEY_SIZE], secret_key[KEY_SIZE];
    struct error err;
    cleanup_json json_t *object = NULL;
    struct kube_identity identity = kubernetes_identity_of(place);
    int failed = zmq_curve_keypair(public_key, secret_key) < 0
                     ? error_system(&err, zmq_errno(), "CURVE keys")
                     : 0;
    const struct kube_key key = {.launch = place->launch,
                                 .record = place->record,
                                 .secret_key = secret_key,
                                 .public_key = public_key,
                                 .gateway_key = place->cluster->public_key};
    if (failed == 0)
        failed = kube_key_tree(&key, &identity, place->namespace, &object, &err);
    sodium_memzero(secret_key, sizeof secret_key);
    if (failed < 0) {
        kubernetes_end_start(place, &err);
        return;
    }
    kubernetes_post_step(place, place->namespace, "secrets", object, on_key);
}
