/* What the files of the Kubernetes provisioner share. provisioner_kubernetes.c: the operations.
 * kubernetes_start.c: from an order to a pod, step by step. kubernetes_template.c: the first of
 * them. kubernetes_key.c: the step of the key Secret. kubernetes_world.c: what the watches
 * tell of records and pods. kubernetes_judge.c: what a pod's state means for its kernel.
 * kubernetes_end.c: taking away, tombstones, what belongs to nobody. kubernetes_pair.c: the
 * gateways' own CURVE keys. kubernetes_note.c: requests that wait for a launcher.
 * kubernetes_change.c: how a record is changed. kubernetes_doubt.c: a record or pod that is gone.
 * kubernetes_namespace.c: that of a kernel. kubernetes_home.c: its user's home.
 * kubernetes_rooms.c: further ones that are watched. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "launcher/background.h"
#include "launcher/kube_merge.h"
#include "launcher/kube_names.h"
#include "launcher/kube_objects.h"
#include "launcher/kube_status.h"
#include "launcher/kube_trouble.h"
#include "launcher/kube_watch.h"
#include "launcher/kube_wishes.h"
#include "launcher/provisioner_kubernetes.h"
#include "nfs/homes.h"

#define KUBE_ANNOTATION_SERVER_KEY  "elara.server-key"  /* of pods: the launcher's public key */
#define KUBE_ANNOTATION_GATEWAY_KEY "elara.gateway-key" /* and the gateways', which it accepts */

enum {
    KUBERNETES_EVENTS_MAX = 32, /* kept of one pod */
};

struct kubernetes {
    struct provisioner base;
    struct event_base *loop;
    struct provisioner_kubernetes_settings settings;
    struct kube_config *config;
    struct kube_client *client;
    struct kube_watch *records, *pods;
    struct kube_watch *events; /* only while pods are on their way */
    struct list rooms;         /* kubernetes_rooms.c */
    struct kube_watch *namespaces;
    struct list made;
    bool has_records, has_pods; /* the first lists were told */
    bool is_records_blind;      /* for now */
    struct map *places;         /* by kernel id */
    struct list all;            /* the same, in the order they were met */
    struct map *by_pod;         /* "namespace/name" of a current pod: its place */
    struct list strays;         /* pods without a record; kubernetes_end.c */
    size_t on_their_way;        /* places whose pod is awaited */
    struct event *tick;         /* runs while something ages */
    struct event *later;        /* what a call may not do itself */
    uint64_t swept;             /* objects and ends that were left by nobody we know */
    int64_t quiet_since_ms;     /* no pod is on its way; 0: one is */

    const char *public_key, *secret_key; /* ours, one of the pairs; NULL: not read yet */
    struct list pairs;                   /* and earlier ones; kubernetes_pair.c */
    struct kube_trouble pair_trouble, records_trouble, pods_trouble, events_trouble;
    struct kube_trouble namespaces_trouble;
    struct kube_request *pair_call;
    struct event *pair_again;

    struct provisioner_watch watcher;
    void *watcher_context;
    provisioner_found *found; /* of a find() that waits for the watches */
    void *found_context;
    struct list looks, errands, changes;
    struct homes *homes;
};

/* The steps of a start; each is one answer of the API server. */
enum kubernetes_step {
    STEP_NONE,     /* there is nothing to wait for */
    STEP_TEMPLATE, /* of its pod, a file that may be on another machine */
    STEP_RECORD,
    STEP_NOTICE, /* of the kernel before it, which one of all gateways' tells */
    STEP_PAIR,   /* our own keys are not there yet */
    STEP_NAMESPACE,
    STEP_FURNISH, /* what is to be in a namespace that we make */
    STEP_KEY,
    STEP_KEY_READ,   /* somebody was faster: its key counts */
    STEP_HOME,       /* its user's directory is made ready */
    STEP_HOME_CLAIM, /* for it is there */
    STEP_POD,
    STEP_WATCH, /* the pod is made; the watch tells */
};

/* One kernel's place: what the cluster has of it, and what its kernel here wants. */
struct provision {
    struct list_node node;
    struct kubernetes *cluster;
    char *id;

    /* As the API server has it. */
    bool has_record;
    enum kube_record_state state;
    json_t *record;  /* record.json */
    char *namespace; /* of the kernel; NULL: not chosen yet */
    bool namespace_created;
    char *namespace_uid;      /* NULL: not known, or all kernels are in one */
    struct kube_record *seen; /* the record Secret as it was told last; NULL: it is not there */
    int64_t attempt;          /* of the pod that counts; 0: there was none */
    char *pods;               /* kube_name_pods; NULL: its record does not say */
    char *pod_name;           /* NULL: none */
    char *pod_key;            /* of cluster.by_pod, with it */
    int64_t pod_attempt;      /* whose that is */
    char *pod_uid;            /* NULL: the watch has not seen it */
    char *server_key;         /* NULL: not known */
    char *gateway_key;        /* which of our pairs it accepts; NULL: the current one */
    bool is_locked;           /* none that we know; that is told */
    bool is_running;          /* the kernel's container; ip is known */
    json_t *pod;              /* while it does not */
    json_t *pod_events;       /* the same: what was told of it */
    char ip[KUBE_IP_SIZE];

    /* What its kernel here wants. */
    bool is_held; /* by a kernel, which is told */
    struct provision_events events;
    void *context;
    enum kubernetes_step step;
    struct kube_request *call;
    int64_t called_ms;                /* monotonic, when a step made it */
    struct kubernetes_change *change; /* of the record, which a start waits for */
    struct background_job *reading;   /* its pod's template */
    struct home_wait *home_wait;
    size_t homes_ready; /* the user's own, then so many of home-extra */
    int64_t began_ms;   /* of the start, monotonic; 0: it is not ours, or it is over */
    json_t *launch, *spec, *template;
    char *spec_directory;
    struct kube_intent *intent; /* to put it on record, when the template was read */
    json_t *owner;              /* reference to the key Secret */
    char *nonce;                /* of the record that we make: tells our own from a foreign one */
    bool is_on_its_way;         /* counted in cluster.on_their_way */
    int64_t hello_by_ms; /* monotonic: its launcher has to have spoken to some gateway; 0: it has */
    bool is_reachable;   /* told */
    bool is_heard;       /* its launcher has spoken to us */
    bool is_ended;       /* told */
    bool is_removed;     /* only waits for the API server */
    bool is_doubtful;    /* kubernetes_doubt */
    bool is_pod_doubtful;          /* kubernetes_doubt_pod */
    struct kube_request *pod_call; /* about that */
    json_t *testament;             /* members of its tombstone; NULL: none */
    json_t *ending;                /* what its tombstone is to say; NULL: that is there */
    bool is_end_awaited;           /* whoever ended it is to be told when that is there */
    bool is_free;                  /* nobody's, though its record lives: it is started anew */
    bool is_unreadable;            /* its record, which is somebody's all the same */
    struct kubernetes_change *note_change;
    json_t *held, *noted; /* requests that wait: those that are to be on record, and that are */
    json_t *noting;       /* on their way there; NULL: none */
    bool is_note_due;     /* held is newer than that */
    struct kubernetes_change *share_change;
    json_t *shares_due;  /* behind that one; NULL: nothing */
    int removals;        /* answers that are awaited */
    int64_t judge_at_ms; /* monotonic; 0: never */
    int64_t
        start_by_ms;  /* monotonic: its pod has to run by then; 0: it does, or may take for ever */
    int64_t swept_ms; /* the last try to delete its tombstone */
    char *doubt;      /* of the node it runs on, kube_status.h; NULL: none */
    char stage[KUBE_STAGE_SIZE];
    enum provision_step next_step; /* of the pod's, that was not told of yet */
    bool is_asked_again;           /* its step had no answer; that is logged */
    char end_at[KUBE_TIME_SIZE];   /* of its container's last end that was told, or is no news */
};

/* provisioner_kubernetes.c */
struct provision *kubernetes_place(struct kubernetes *cluster, const char *id); /* made if new */
struct provision *kubernetes_find_place(const struct kubernetes *cluster, const char *id);
/* It bears our install's label: installs may share their gateways' namespace, too. */
bool kubernetes_is_of_install(const struct kubernetes *cluster, const json_t *object);
/* Drops the answer that a step waits for; what was made by it is there all the same. */
void kubernetes_cancel(struct provision *place);
void kubernetes_forget(struct provision *place); /* frees it */
void kubernetes_call_ended(struct provision *place, const struct error *cause);
/* The tick runs from now on, as long as anything ages. */
void kubernetes_wake(struct kubernetes *cluster);
/* "/api/v1/namespaces/<namespace>/<kind>[/<name>]", malloc'ed; namespace NULL: of all. */
char *kubernetes_path(const char *namespace, const char *kind, const char *name);
/* Of a kernel's record Secret and of its key Secret; malloc'ed. */
char *kubernetes_record_path(const struct kubernetes *cluster, const char *kernel_id);
char *kubernetes_key_path(const struct provision *place);
/* What its record Secret is to hold; kube_record_free. */
struct kube_record *kubernetes_make_record(const struct provision *place,
                                           enum kube_record_state state, const json_t *record);

/* kubernetes_start.c */
int kubernetes_start(struct provisioner *self, const struct provision_order *order,
                     const struct provision_events *events, void *context, struct provision **ret,
                     struct error *err);
/* The start was refused before anything was made; the place is as it was. May free it. */
void kubernetes_tell_rejected(struct provision *place, const struct error *cause);
void kubernetes_go_on(struct provision *place); /* the next step, if it can be done */
void kubernetes_note_way(struct provision *place, bool is_on_its_way);
/* From when its start began, as its record says. */
void kubernetes_set_deadline(struct provision *place);

/* Of a step: asks the API server; ends the start with what it refuses; goes on with the next. */
void kubernetes_call_step(struct provision *place, const char *method, const char *path,
                          const json_t *body, kube_done *done);
void kubernetes_post_step(struct provision *place, const char *namespace, const char *kind,
                          const json_t *object, kube_done *done);
/* Changes (a JSON patch, stolen; it may be empty) an object only if its labels say that it is this
 * kernel's and of this install; else the answer is 422. */
void kubernetes_patch_own(struct provision *place, const char *path, json_t *changes,
                          kube_done *done);
void kubernetes_end_start(struct provision *place, const struct error *cause);
void kubernetes_refuse_step(struct provision *place, int status, const json_t *answer,
                            const char *what, const struct error *err);
void kubernetes_advance(struct provision *place, enum kubernetes_step step);
struct kube_identity kubernetes_identity_of(const struct provision *place);
/* home: whose directory it has; its path is the caller's. */
int kubernetes_make_pod(const struct provision *place, json_t **ret, struct kube_home *home,
                        struct error *err);
/* NULL: none, or one that is not followed. */
const char *kubernetes_wish_of(const struct provision *place, enum kube_wish wish);

/* kubernetes_template.c */
void kubernetes_begin_template(struct provision *place);

/* kubernetes_key.c: two steps */
void kubernetes_begin_key(struct provision *place);
void kubernetes_renew_key(struct provision *place); /* one that was there already */

/* kubernetes_namespace.c */
void kubernetes_begin_namespace(struct provision *place);
void kubernetes_furnish_namespace(struct provision *place);

/* kubernetes_home.c */
void kubernetes_begin_home(struct provision *place);
void kubernetes_begin_home_claim(struct provision *place);

/* kubernetes_world.c */
int kubernetes_watch(struct kubernetes *cluster, struct error *err);
/* What a watch tells of it; err NULL: it is over. */
void kubernetes_log_trouble(struct kube_trouble *trouble, const char *what,
                            const struct error *err);
void kubernetes_take_record(struct kubernetes *cluster, const json_t *secret, bool is_deleted);
void kubernetes_set_pod(struct provision *place, const char *name, int64_t attempt);
/* It is over with the current one: pod says how, NULL: it is not there. May free the place. */
void kubernetes_lose_pod(struct provision *place, const json_t *pod);
/* Whose current pod that is; NULL: nobody's. */
struct provision *kubernetes_place_of_pod(const struct kubernetes *cluster, const char *namespace,
                                          const char *name);
void kubernetes_take_pod(struct kubernetes *cluster, enum kube_change change, json_t *pod);
void kubernetes_take_event(struct kubernetes *cluster, enum kube_change change, json_t *event);
void kubernetes_watch_events(struct kubernetes *cluster, bool wanted);
/* The watch's found(), if it is a kernel and not one that is started here. */
void kubernetes_tell_place(struct provision *place);
void kubernetes_tell_found(struct kubernetes *cluster); /* when both watches are there */

/* kubernetes_rooms.c */
/* Pods of this namespace are seen from now on; nothing to do where they are. */
int kubernetes_open_room(struct kubernetes *cluster, const char *namespace, struct error *err);
/* Each further namespace has told of its pods, or cannot. */
bool kubernetes_rooms_settled(const struct kubernetes *cluster);
/* A pod of its namespace that was not told of is not there. */
bool kubernetes_sees_pods(const struct provision *place);
void kubernetes_watch_room_events(struct kubernetes *cluster, bool wanted);
int kubernetes_watch_made(struct kubernetes *cluster, struct error *err);
bool kubernetes_has_spare(const struct kubernetes *cluster);
void kubernetes_sweep_rooms(struct kubernetes *cluster);
void kubernetes_drop_rooms(struct kubernetes *cluster);

/* kubernetes_judge.c */
/* pod: what it is now; NULL: the API server has none any more. */
void kubernetes_judge_pod(struct provision *place, const json_t *pod);
void kubernetes_heard(struct provision *place);
/* What is going on with it, if that is news. */
void kubernetes_tell_stage(struct provision *place, const char *stage);
/* That it waits for the API server: status is what that said last, 0 if nothing. */
void kubernetes_tell_waiting(struct provision *place, int status);
/* Its pod has come so far, and through all steps before. */
void kubernetes_tell_reached(struct provision *place, enum provision_step step);
/* The same of what is known; for one that is not on its way and has no pod, what that means. */
void kubernetes_judge(struct provision *place);
void kubernetes_age(struct provision *place, int64_t now_ms); /* what time alone brings about */

/* kubernetes_end.c */
int kubernetes_remove(struct provision *place, const char *why);
/* Its kernel here wants nothing of it any more; what there is of it stays. */
void kubernetes_let_go(struct provision *place);
int kubernetes_keep(struct provisioner *self, const char *kernel_id, json_t *record,
                    const struct provision_events *events, void *context, struct provision **ret,
                    struct error *err);
/* The pod of its current attempt goes; grace_s -1: as the pod says. */
void kubernetes_delete_pod(struct provision *place, int64_t grace_s);
/* The one of its uid and no other; context is the place. */
struct kube_request *kubernetes_delete_certain(struct provision *place, kube_done *done);
void kubernetes_delete_namespace(struct kubernetes *cluster, const char *name, const char *uid);
/* The kernel is there, or what is left of it is somebody's to remove. */
bool kubernetes_belongs(const struct kubernetes *cluster, const char *kernel_id);
/* The object bears the label of this kernel. */
bool kubernetes_is_of_kernel(const json_t *object, const char *kernel_id);
void kubernetes_delete_named(struct kubernetes *cluster, const char *namespace, const char *name,
                             int64_t grace_s);
/* kernel_id: whose pod it is; NULL: nobody's that we know. */
void kubernetes_note_stray(struct kubernetes *cluster, const json_t *pod, const char *kernel_id,
                           bool is_deleted);
void kubernetes_sweep(struct kubernetes *cluster);
/* Its gateway may have been killed before it could delete what the kernel had, and nobody has tried
 * since. */
bool kubernetes_is_left(const struct provision *place);
void kubernetes_drop_strays(struct kubernetes *cluster); /* and errands */
/* Its record was deleted under it by hand. */
void kubernetes_restore_record(struct provision *place);
/* Goes on with a removal that did not succeed. */
void kubernetes_remove_again(struct provision *place);

/* kubernetes_doubt.c */
/* Its record was deleted: by hand, under it, or as the tombstone that it became while nobody here
 * saw. The key Secret tells: it goes with its kernel. Until it has, an end of the pod is no
 * news. */
void kubernetes_doubt(struct provision *place);
/* Another gateway has ended it, and nothing is left of it. May free it. */
void kubernetes_vanish(struct provision *place);
/* Its current pod is not among those that bear our labels, and nobody said that it ended: it is
 * asked for by name. If it lives, its labels are put back; where that is refused it is deleted, and
 * only then counts as lost: no other pod is made beside it. */
void kubernetes_doubt_pod(struct provision *place);
/* The same of one that no watch has told of. False: no pod was made for it yet. */
bool kubernetes_doubt_missing(struct provision *place);
bool kubernetes_pod_is_over(const json_t *pod); /* it has ended, or is about to */
/* The pod was made for this kernel, whatever became of its labels and annotations. */
bool kubernetes_owns_pod(const struct kubernetes *cluster, const char *kernel_id,
                         const json_t *pod);

/* kubernetes_change.c */
struct kubernetes_change;
/* err NULL: outcome is what kube_merge.h says but KUBE_MERGE_WRITE, and answer the Secret as it is
 * now. Else what came of it is not known (status 404: there is none, and none was made); status and
 * answer are kube_client.h's. The change is gone when it runs. */
typedef void kubernetes_changed(void *context, enum kube_merge outcome, int status,
                                const json_t *answer, const struct error *err);
/* Takes the intent. Never calls back from inside. It goes on when the place is forgotten, unless it
 * is cancelled. */
struct kubernetes_change *kubernetes_change(struct provision *place, struct kube_intent *intent,
                                            kubernetes_changed *done, void *context);
void kubernetes_change_cancel(struct kubernetes_change *change); /* NULL is fine */
void kubernetes_drop_changes(struct kubernetes *cluster);
/* As it is decided now; changes is taken. */
struct kube_intent *kubernetes_intend(const struct provision *place, enum kube_intent_kind kind,
                                      json_t *changes);

/* kubernetes_note.c */
void kubernetes_note(struct provision *place, json_t *requests);
/* It is taken over: what waits by its record is what its kernel here knows of. */
void kubernetes_adopt_note(struct provision *place);

/* kubernetes_share.c */
void kubernetes_share(struct provision *place, json_t *changes);

/* kubernetes_pair.c */
void kubernetes_read_pair(struct kubernetes *cluster);
/* A Secret of ours was told of. False: it is not that one. */
bool kubernetes_take_pair(struct kubernetes *cluster, const json_t *secret, bool is_deleted);
/* The pair that its launcher accepts. False: we do not have it. */
bool kubernetes_choose_pair(const struct provision *place, struct provision_address *ret);
void kubernetes_drop_pairs(struct kubernetes *cluster);
