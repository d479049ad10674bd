/* From an order to a pod. Each step is one object; an object that is there already is either what
 * an earlier try of ours has made or another replica's, and both will do. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_order.h"
#include "launcher/kube_reasons.h"
#include "launcher/kube_wishes.h"

#define LOG_AREA "launcher/kubernetes_start"
#include "base/log.h"

#include <string.h>

enum { STEP_DEADLINE_MS = 30000, AGAIN_MS = 2000 };

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

struct kube_identity kubernetes_identity_of(const struct provision *place) {
    return (struct kube_identity){.install = place->cluster->settings.install,
                                  .kernel_id = place->id,
                                  .owner = text_of(place->record, "owner")};
}

static struct kube_order order_of(const struct provision *place) {
    return (struct kube_order){.settings = &place->cluster->settings,
                               .kernel_id = place->id,
                               .record = place->record,
                               .launch = place->launch,
                               .spec = place->spec};
}

/* NULL: none, or one that is not followed. */
const char *kubernetes_wish_of(const struct provision *place, enum kube_wish wish) {
    const struct kube_order order = order_of(place);
    struct kube_wishes wishes;
    if (kube_order_take_wishes(&order, &wishes, NULL) < 0)
        return NULL;
    return wishes.value[wish];
}

/* --- calls --- */

void kubernetes_call_step(struct provision *place, const char *method, const char *path,
                          const json_t *body, kube_done *done) {
    const struct kube_call what = {.method = method,
                                   .path = path,
                                   .body = body,
                                   .may_repeat = true,
                                   .deadline_ms = STEP_DEADLINE_MS};
    place->called_ms = clock_monotonic_ms();
    place->call = kube_client_call(place->cluster->client, &what, done, place);
}

void kubernetes_post_step(struct provision *place, const char *namespace, const char *kind,
                          const json_t *object, kube_done *done) {
    cleanup_free char *path = kubernetes_path(namespace, kind, NULL);
    kubernetes_call_step(place, "POST", path, object, done);
}

void kubernetes_patch_own(struct provision *place, const char *path, json_t *changes,
                          kube_done *done) {
    cleanup_json json_t *added = changes;
    char suffix[KUBE_SUFFIX_SIZE];
    kube_name_suffix(place->id, suffix);
    cleanup_json json_t *patch =
        json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:s}]", "op", "test", "path",
                  "/metadata/labels/" KUBE_LABEL_INSTALL, "value", place->cluster->settings.install,
                  "op", "test", "path", "/metadata/labels/" KUBE_LABEL_KERNEL, "value", suffix);
    json_array_extend(patch, added);
    const struct kube_call what = {.method = "PATCH",
                                   .path = path,
                                   .body = patch,
                                   .content_type = "application/json-patch+json",
                                   .may_repeat = true,
                                   .deadline_ms = STEP_DEADLINE_MS};
    place->called_ms = clock_monotonic_ms();
    place->call = kube_client_call(place->cluster->client, &what, done, place);
}

void kubernetes_end_start(struct provision *place, const struct error *cause) {
    place->step = STEP_NONE;
    kubernetes_call_ended(place, cause);
}

/* It has not said no: it is silent, busy, not there behind its balancer, or between two leaders of
 * etcd. What it says of itself is InternalError, as of a webhook that cannot be asked. */
static bool may_pass(int status, const json_t *answer, const struct error *err) {
    if (status == 0)
        return err->code == ERROR_UNAVAILABLE || err->code == ERROR_TIMEOUT;
    return status == 429 || (status > 500 && status <= 504) ||
           (status == 500 && strcmp(kube_status_reason(answer), "InternalError") != 0);
}

/* An accepted start has until its deadline, and its steps may be done twice. */
static bool try_again(struct provision *place, int status, const json_t *answer, const char *what,
                      const struct error *err) {
    if (!may_pass(status, answer, err))
        return false;
    if (!place->is_asked_again)
        log_warning("kernel %s: %s is asked for again: %s", place->id, what, err->text);
    place->is_asked_again = true;
    place->judge_at_ms = clock_monotonic_ms() + AGAIN_MS;
    kubernetes_wake(place->cluster);
    kubernetes_tell_waiting(place, status);
    return true;
}

/* A step that the API server refuses ends the start with what it says. */
void kubernetes_refuse_step(struct provision *place, int status, const json_t *answer,
                            const char *what, const struct error *err) {
    struct error cause;
    if (try_again(place, status, answer, what, err))
        return;
    kube_refusal_error(status, answer, err, what, &cause);
    kubernetes_end_start(place, &cause);
}

void kubernetes_advance(struct provision *place, enum kubernetes_step step) {
    place->step = step;
    kubernetes_go_on(place);
}

/* --- the record --- */

static void tell_accepted(struct provision *place, const json_t *secret) {
    kubernetes_take_record(place->cluster, secret, false);
    place->events.accepted(place->context, NULL); /* may end it at once */
    if (place->is_held)
        kubernetes_advance(place, STEP_NOTICE);
}

/* What was there before is there again. */
void kubernetes_tell_rejected(struct provision *place, const struct error *cause) {
    place->step = STEP_NONE;
    if (place->seen != NULL) {
        json_decref(place->record);
        place->record = json_incref(place->seen->record);
        place->state = place->seen->state;
    }
    place->events.accepted(place->context, cause);
}

/* Another gateway has started it at the same time: we do what is left of that start. */
static void join(struct provision *place, const json_t *secret) {
    struct kube_record *record;
    struct error err;
    if (kube_record_read(secret, &record, &err) < 0) {
        kubernetes_tell_rejected(place, &err);
        return;
    }
    json_decref(place->record);
    place->record = json_incref(record->record);
    place->attempt = record->attempt;
    kube_record_free(record);
    tell_accepted(place, secret);
}

static void on_taken(struct provision *place, const json_t *secret) {
    struct kubernetes *cluster = place->cluster;
    struct error cause;
    error_set(&cause, ERROR_EXISTS,
              place->seen == NULL ? "there is a kernel %s already"
                                  : "kernel %s was ended or started anew by another gateway",
              place->id);
    cleanup_free char *id = memory_strdup(place->id);
    kubernetes_tell_rejected(place, &cause);
    kubernetes_take_record(cluster, secret, false); /* whose it is then */
    place = kubernetes_find_place(cluster, id);
    if (place != NULL) /* it may have been seen while it was taken for ours */
        kubernetes_tell_place(place);
}

/* Nobody knows whether it was made. */
static void undo(struct provision *place, const struct error *cause) {
    place->is_removed = true; /* it is not forgotten meanwhile */
    kubernetes_tell_rejected(place, cause);
    place->is_removed = false;
    kubernetes_remove(place, "it could not be put on record in time");
}

static void on_record(void *context, enum kube_merge outcome, int status, const json_t *answer,
                      const struct error *err) {
    struct provision *place = context;
    place->change = NULL;
    if (err == NULL && outcome == KUBE_MERGE_DONE) {
        tell_accepted(place, answer);
    } else if (err == NULL && outcome == KUBE_MERGE_JOINED) {
        join(place, answer);
    } else if (err == NULL && outcome == KUBE_MERGE_GONE) {
        kubernetes_vanish(place);
    } else if (err == NULL) {
        on_taken(place, answer);
    } else {
        struct error cause;
        kube_refusal_error(status, answer, err, "the kernel's record", &cause);
        if (place->seen == NULL && (status == 0 || status >= 500))
            undo(place, &cause);
        else
            kubernetes_tell_rejected(place, &cause);
    }
}

/* From what is seen of it when it is ordered: what others do meanwhile is theirs. */
static struct kube_intent *intend_start(const struct provision *place) {
    const struct kube_record *seen = place->seen;
    struct kube_intent *intent = kubernetes_intend(place, KUBE_INTENT_START, NULL);
    intent->record = kubernetes_make_record(place, KUBE_RECORD_LIVE, place->record);
    intent->is_new = seen == NULL;
    intent->state = seen != NULL ? seen->state : KUBE_RECORD_LIVE;
    text_replace(&intent->start, seen != NULL ? text_of(seen->record, "start") : NULL);
    text_replace(&intent->created, seen != NULL ? text_of(seen->record, "created") : NULL);
    return intent;
}

static void begin_record(struct provision *place) {
    place->change = kubernetes_change(place, steal(&place->intent), on_record, place);
}

/* --- why the kernel before it was ended --- */

static void drop_notice(struct provision *place) {
    json_t *record = json_deep_copy(place->record);
    json_object_del(json_object_get(record, "marks"), "notice");
    json_decref(place->record);
    place->record = record;
}

static void on_notice(void *context, enum kube_merge outcome, int status, const json_t *answer,
                      const struct error *err) {
    struct provision *place = context;
    (void)status, (void)answer;
    place->change = NULL;
    if (err == NULL && outcome == KUBE_MERGE_LOST) /* another kernel tells it */
        drop_notice(place);
    kubernetes_advance(place, STEP_PAIR);
}

/* Another gateway may start a kernel of the same user at this moment: the tombstone of the kernel
 * before them says which one tells. */
static void begin_notice(struct provision *place) {
    const json_t *inherited = json_object_get(place->record, "inherited");
    const char *from = text_of(inherited, "from");
    bool is_due = text_of(json_object_get(place->record, "marks"), "notice") != NULL;
    struct provision *before =
        is_due && from != NULL ? kubernetes_find_place(place->cluster, from) : NULL;
    if (before == NULL || before == place || !before->has_record) {
        kubernetes_advance(place, STEP_PAIR);
        return;
    }
    json_t *changes = json_pack("{s:s, s:O*}", "by", place->id, "instead_of",
                                json_object_get(inherited, "instead_of"));
    place->change = kubernetes_change(before, kubernetes_intend(before, KUBE_INTENT_TELL, changes),
                                      on_notice, place);
}

/* --- the pod --- */

int kubernetes_make_pod(const struct provision *place, json_t **ret, struct kube_home *home,
                        struct error *err) {
    const struct kube_order order = order_of(place);
    const struct kube_attempt attempt = {.number = place->attempt,
                                         .namespace = place->namespace,
                                         .template = place->template,
                                         .owner = place->owner};
    if (kube_order_pod(&order, &attempt, ret, home, err) < 0)
        return -1;
    /* Whoever adopts the pod need not read the Secret. */
    json_t *annotations = json_object_get(json_object_get(*ret, "metadata"), "annotations");
    json_object_set_new(annotations, KUBE_ANNOTATION_SERVER_KEY, json_string(place->server_key));
    if (place->cluster->public_key != NULL)
        json_object_set_new(annotations, KUBE_ANNOTATION_GATEWAY_KEY,
                            json_string(place->cluster->public_key));
    return 0;
}

static void await_pod(struct provision *place) {
    place->step = STEP_WATCH;
    kubernetes_tell_reached(place, PROVISION_CREATED);
    kubernetes_judge(place); /* the watch may have told of it before */
}

static void on_pod_there(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    if (err == NULL) {
        await_pod(place);
    } else if (status == 404) { /* it has gone meanwhile */
        kubernetes_advance(place, STEP_POD);
    } else if (status == 422) { /* the tests of the patch */
        struct error foreign;
        error_set(
            &foreign, ERROR_EXISTS,
            "A pod %s is there in namespace %s, and is not this kernel's: delete it, or choose "
            "another kernel id",
            place->pod_name, place->namespace);
        foreign.cause = kube_reason_word("AlreadyExists");
        kubernetes_set_pod(place, NULL, 0); /* nor does it go with the kernel */
        kubernetes_end_start(place, &foreign);
    } else {
        kubernetes_refuse_step(place, status, answer, "the kernel's pod", err);
    }
}

/* One of that name is there: ours, of an earlier try or another replica's, or anybody's? */
static void check_pod_there(struct provision *place) {
    cleanup_free char *path = kubernetes_path(place->namespace, "pods", place->pod_name);
    kubernetes_patch_own(place, path, json_array(), on_pod_there);
}

static void on_pod(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    bool is_there = place->pod_uid != NULL; /* the watch may know better */
    if (status == 409 && !is_there) {
        check_pod_there(place);
        return;
    }
    if (err != NULL && !is_there) {
        if (try_again(place, status, answer, "its pod", err))
            return;
        if (status < 400 || status >= 500)
            kubernetes_delete_pod(place, 0); /* nobody knows whether it was made */
        kubernetes_note_way(place, false);
        kubernetes_refuse_step(place, status, answer, "the kernel's pod", err);
        return;
    }
    await_pod(place);
}

static void begin_pod(struct provision *place) {
    cleanup_json json_t *pod = NULL;
    struct kube_home home = {0};
    struct error err;
    int failed = kubernetes_make_pod(place, &pod, &home, &err);
    free(home.path);
    if (failed < 0 || kubernetes_open_room(place->cluster, place->namespace, &err) < 0) {
        kubernetes_end_start(place, &err);
        return;
    }
    kubernetes_set_pod(place, kube_object_name(pod), place->attempt);
    kubernetes_note_way(place, true);
    kubernetes_tell_stage(place, "asking Kubernetes for a pod");
    if (!place->is_held)
        return;
    cleanup_free char *pods = kubernetes_path(place->namespace, "pods", NULL);
    cleanup_free char *path = memory_printf("%s?fieldValidation=Strict", pods);
    kubernetes_call_step(place, "POST", path, pod, on_pod);
}

/* --- the order of it --- */

void kubernetes_note_way(struct provision *place, bool is_on_its_way) {
    struct kubernetes *cluster = place->cluster;
    if (place->is_on_its_way == is_on_its_way)
        return;
    place->is_on_its_way = is_on_its_way;
    cluster->on_their_way += is_on_its_way ? 1 : (size_t)-1;
    cluster->quiet_since_ms = cluster->on_their_way == 0 ? clock_monotonic_ms() : 0;
    if (is_on_its_way)
        kubernetes_watch_events(cluster, true);
    kubernetes_wake(cluster);
}

void kubernetes_go_on(struct provision *place) {
    if (place->is_removed || !place->is_held || place->call != NULL || place->change != NULL ||
        place->reading != NULL || place->home_wait != NULL)
        return;
    if (place->is_doubtful) {
        kubernetes_doubt(place);
        return;
    }
    switch (place->step) {
    case STEP_TEMPLATE:
        kubernetes_begin_template(place);
        break;
    case STEP_RECORD:
        begin_record(place);
        break;
    case STEP_NOTICE:
        begin_notice(place);
        break;
    case STEP_PAIR:
        if (place->cluster->public_key != NULL)
            kubernetes_advance(place, STEP_NAMESPACE);
        break;
    case STEP_NAMESPACE:
        kubernetes_begin_namespace(place);
        break;
    case STEP_FURNISH:
        kubernetes_furnish_namespace(place);
        break;
    case STEP_KEY:
        kubernetes_begin_key(place);
        break;
    case STEP_KEY_READ:
        kubernetes_renew_key(place);
        break;
    case STEP_HOME:
        kubernetes_begin_home(place);
        break;
    case STEP_HOME_CLAIM:
        kubernetes_begin_home_claim(place);
        break;
    case STEP_POD:
        begin_pod(place);
        break;
    case STEP_NONE:
    case STEP_WATCH:
        kubernetes_judge(place);
        break;
    }
}

/* What is wrong with the request or the kernelspec is told before anything is made. */
static int check_order(const struct kubernetes *cluster, const struct provision_order *order,
                       struct error *err) {
    const struct kube_order wanted = {.settings = &cluster->settings,
                                      .kernel_id = order->kernel_id,
                                      .record = order->record,
                                      .launch = order->launch,
                                      .spec = order->spec};
    return kube_order_check(&wanted, err);
}

/* Whoever had the id before may have been somebody else. */
static void forget_owner(struct provision *place) {
    kubernetes_set_pod(place, NULL, 0);
    free(steal(&place->namespace));
    place->namespace_created = false;
}

static void choose_namespace(struct provision *place) {
    const struct kube_order order = order_of(place);
    if (place->namespace == NULL)
        place->namespace = kube_order_namespace(&order, &place->namespace_created);
}

static void replace_tree(json_t **tree, const json_t *other) {
    json_decref(*tree);
    *tree = json_deep_copy(other);
}

void kubernetes_set_deadline(struct provision *place) {
    int64_t limit_ms = place->cluster->settings.start_deadline_ms;
    int64_t age_ms = kube_client_wall_ms(place->cluster->client) -
                     json_integer_value(json_object_get(place->record, "start_ms"));
    if (age_ms < 0)
        age_ms = 0;
    place->start_by_ms =
        limit_ms > 0 ? clock_monotonic_ms() + (age_ms < limit_ms ? limit_ms - age_ms : 1) : 0;
    kubernetes_wake(place->cluster);
}

static struct provision *take_place(struct kubernetes *cluster, const struct provision_order *order,
                                    const struct provision_events *events, void *context) {
    struct provision *place = kubernetes_place(cluster, order->kernel_id);
    char nonce[37], pods[KUBE_NAME_SIZE];
    text_uuid4(nonce);
    replace_tree(&place->record, order->record);
    replace_tree(&place->launch, order->launch);
    replace_tree(&place->spec, order->spec);
    kube_home_set_launch(&cluster->settings.home, place->spec, place->launch);
    json_object_set_new(place->record, "start", json_string(nonce));
    json_object_set_new(place->record, "start_ms",
                        json_integer(kube_client_wall_ms(cluster->client)));
    free(place->nonce);
    place->nonce = memory_strdup(nonce);
    place->events = *events;
    place->context = context;
    place->is_held = true;
    place->is_ended = place->is_reachable = place->is_free = place->is_asked_again = false;
    place->stage[0] = '\0';
    kube_name_pods(cluster->settings.install, place->id, json_object_get(place->launch, "env"),
                   pods);
    text_replace(&place->pods, pods);
    place->next_step = PROVISION_CREATED;
    place->state = KUBE_RECORD_LIVE;
    kubernetes_set_pod(place, NULL, 0);
    place->attempt++;
    place->began_ms = clock_monotonic_ms();
    return place;
}

int kubernetes_start(struct provisioner *self, const struct provision_order *order,
                     const struct provision_events *events, void *context, struct provision **ret,
                     struct error *err) {
    struct kubernetes *cluster = (struct kubernetes *)self;
    struct provision *known = kubernetes_find_place(cluster, order->kernel_id);
    if (!text_is_kernel_id(order->kernel_id))
        return error_set(err, ERROR_INVALID, "'%.100s' is no kernel id", order->kernel_id);
    bool is_unfinished = known != NULL && known->state == KUBE_RECORD_ENDED &&
                         json_object_get(known->record, KUBE_RECORD_UNFINISHED) != NULL;
    if (known != NULL && (known->is_removed || is_unfinished))
        return error_set(err, ERROR_UNAVAILABLE,
                         "An earlier kernel %s is still being removed; try again in a moment.",
                         order->kernel_id);
    bool is_taken =
        known != NULL && known->has_record && known->state != KUBE_RECORD_ENDED && !known->is_free;
    if (known != NULL && (known->is_held || known->is_unreadable || is_taken))
        return error_set(err, ERROR_EXISTS, "kernel %s exists already", order->kernel_id);
    if (check_order(cluster, order, err) < 0)
        return -1;
    if (known != NULL && known->state == KUBE_RECORD_ENDED)
        forget_owner(known);
    struct provision *place = take_place(cluster, order, events, context);
    choose_namespace(place);
    place->intent = intend_start(place);
    text_replace(&place->spec_directory, order->spec_directory);
    place->step = STEP_TEMPLATE;
    kubernetes_go_on(place);
    *ret = place;
    return 1;
}
