/* A provisioner brings a launcher to life somewhere and says how to reach it. The local one runs it
 * as a process on this machine, the other one in a Kubernetes pod. It never talks to the kernel:
 * that is the link's.
 *
 * All calls return at once; results come through the callbacks, always from the event loop, never
 * from inside the call. */
#pragma once

#include "base/error.h"
#include "nfs/home_settings.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct policy;
struct provisioner;
struct provision; /* one kernel's place */

/* Where a launcher listens. The keys are CURVE's, in Z85: all three, or all NULL (ipc, no CURVE).
 * Borrowed, as its texts are. */
struct provision_address {
    const char *endpoint;                /* a ZeroMQ address */
    const char *server_key;              /* the launcher's public key */
    const char *public_key, *secret_key; /* ours: the pair that this launcher accepts */
};

/* What a place goes through before its launcher speaks, where that is more than a process. */
enum provision_step {
    PROVISION_CREATED,   /* the pod is on record */
    PROVISION_SCHEDULED, /* it has a node */
    PROVISION_PULLED,    /* the node has its image */
    PROVISION_STARTED,   /* the kernel's container runs */
    PROVISION_STEPS
};

struct provision_events {
    /* Follows when start returned 1. err NULL: the kernel is on record, its start may be told.
     * Else it is not, and nothing was left behind; only release may be called after it. */
    void (*accepted)(void *context, const struct error *err);
    /* What note() was given last is on record. May be NULL. */
    void (*noted)(void *context);
    /* All that share() was given is on record (err NULL), or some of it is not. May be NULL. */
    void (*shared)(void *context, const struct error *err);
    /* What is going on, for the person who waits ("starting the process"). */
    void (*stage)(void *context, const char *text);
    /* It has come so far; each once in a start, in this order. What became known together is told
     * together. May be NULL. */
    void (*reached)(void *context, enum provision_step step);
    /* The launcher is listening: connect the link. Again when it listens somewhere else. */
    void (*reachable)(void *context, const struct provision_address *address);
    /* The node (the machine) that it is on may be lost, and the kernel with it: what is known, what
     * follows, for its people; it may work on meanwhile. NULL: the node is well again. Comes after
     * reachable. May be NULL. */
    void (*doubted)(void *context, const char *doubt);
    /* Its place has ended and was made anew with what the launcher keeps there: why. id: the same
     * for the same end, at every gateway. May be NULL. */
    void (*remade)(void *context, const char *why, const char *id);
    /* It is over: it could not start, or the launcher has ended. The text is the true cause and
     * what to do. Comes at most once; after it only describe_failure, remove and release may be
     * called, also from inside it. */
    void (*ended)(void *context, const struct error *cause);
};

/* A kernel that was there before this gateway. record is borrowed; NULL: it cannot be read, its
 * launcher may know more. is_served: a launcher has it now. */
typedef void provisioner_found(void *context, const char *kernel_id, json_t *record,
                               bool is_served);

/* Kernels that somebody else, such as a second gateway, starts, starts again and ends. record is
 * borrowed. */
struct provisioner_watch {
    provisioner_found *found; /* may be told of kernels that are known already */
    /* record: what is left of it; why: what whoever ended it said. NULL when that is not known.
     * May be told of kernels that nobody knew. */
    void (*gone)(void *context, const char *kernel_id, const json_t *record, const char *why);
    /* Of calls that returned 1. find: all were told (err NULL), or they cannot be. */
    void (*searched)(void *context, const struct error *err);
    void (*looked)(void *context, const char *kernel_id);
    /* Of calls that returned 1. remove: its end is on record (err NULL), or that has failed and is
     * tried again. Comes once. */
    void (*removed)(void *context, const char *kernel_id, const struct error *err);
};

/* What a kernel is started from. Trees are copied. */
struct provision_order {
    const char *kernel_id;
    json_t *launch, *record;    /* as launch.h describes them */
    const json_t *spec;         /* kernel.json */
    const char *spec_directory; /* where it was found */
};

enum provision_resume {
    PROVISION_RESUME_BY_POLICY, /* the kernel is started again as after a death of its own; one that
                                   was dead stays so */
    PROVISION_RESUME_START,     /* somebody wants it started, even if it was dead */
    PROVISION_RESUME_DEAD,      /* it stays dead, its output is there to be read */
};

struct provisioner_ops {
    const char *name; /* "local" */
    /* Kernels see another file system and other variables than we do. */
    bool is_elsewhere;
    /* 0: the record is on disk. 1: accepted() tells when it is kept. -1: refused, with the cause;
     * nothing was left behind. ERROR_UNAVAILABLE: an earlier kernel of this id is still being
     * removed. */
    int (*start)(struct provisioner *self, const struct provision_order *order,
                 const struct provision_events *events, void *context, struct provision **ret,
                 struct error *err);
    /* Calls found() for each kernel of the place, dead ones with a reason too. What ended in good
     * order and what never came to be is removed; nothing that lives is ended. 1: found() and then
     * the watch's searched() come later. */
    int (*find)(struct provisioner *self, provisioner_found *found, void *context,
                struct error *err);
    /* Tells of kernels that come and go from now on; begin before find. A failure only means that
     * others' kernels are found when somebody asks for them. */
    int (*watch)(struct provisioner *self, const struct provisioner_watch *watch, void *context,
                 struct error *err);
    /* Somebody asks for a kernel we do not know: calls watch's found() if there is one with a
     * living launcher, or a dead one. 0: done. 1: looked() follows. */
    int (*look)(struct provisioner *self, const char *kernel_id);
    /* Takes over one that find() named: reachable or ended follows. */
    int (*adopt)(struct provisioner *self, const char *kernel_id,
                 const struct provision_events *events, void *context, struct provision **ret,
                 struct error *err);
    /* After ended: starts a launcher in the same place, which goes on with the journal of the one
     * that was killed; reachable or ended follows. 1: the same, but it is somebody else's launcher,
     * who may have wanted something else. -1: not done, the place is as it was; ERROR_UNSUPPORTED:
     * there never was anything to go on with, ERROR_CHANGED: it had ended in good order, because
     * somebody had told it to. May be NULL. */
    int (*resume)(struct provision *provision, enum provision_resume how, struct error *err);
    /* Keeps what is known of a dead kernel that has no launcher, so that find() names it: record's
     * members replace those that are there. *ret is NULL (a place is made; as after ended), or the
     * kernel's own after ended. May be NULL. */
    int (*keep)(struct provisioner *self, const char *kernel_id, json_t *record,
                const struct provision_events *events, void *context, struct provision **ret,
                struct error *err);
    /* Puts requests that wait for the launcher on record, as its member "held", in place of those
     * that it was given before, or that were there when it was adopted; what other gateways have
     * put there stays. noted() follows unless that fails. NULL: starts are too quick for it. */
    void (*note)(struct provision *provision, json_t *requests);
    /* Puts on record what its launcher has been told already: changes of "shares", {user: right, or
     * null to take it away}. shared() follows. NULL: the launcher's record is all there is. */
    void (*share)(struct provision *provision, json_t *changes);
    /* Its launcher has spoken to us. May be NULL. */
    void (*heard)(struct provision *provision);
    /* Sends a signal to the launcher (its process, its pod): the way out when the link is gone. -1:
     * there is none, or it ends by remove() alone. */
    int (*signal)(struct provision *provision, int signum, struct error *err);
    /* Before remove(): members of what is left of the record, which gone() tells the others of.
     * Stolen. NULL: they read the same files. */
    void (*testify)(struct provision *provision, json_t *testament);
    /* Ends what is left of it (launcher and kernel killed if need be) and removes its files, now or
     * soon: until then start refuses the id. why: what is to be told to whoever asks for the
     * kernel; NULL: it is started anew. Idempotent. No event comes after it. 0: no other gateway
     * will take it up again. 1: the watch's removed() tells when that is so. */
    int (*remove)(struct provision *provision, const char *why);
    /* Lets go of it without touching it (the gateway stops, the kernel stays). No callback comes
     * after it. */
    void (*release)(struct provision *provision);
    /* A removal is under way that ends with the gateway. NULL: none ever is. */
    bool (*is_busy)(const struct provisioner *self);
    /* How much was finished or deleted that other gateways, or nobody, had left. NULL:
     * not known. */
    uint64_t (*count_swept)(const struct provisioner *self);
    /* The launcher's last words, for the admin (no cause for the person who waits); malloc'ed text,
     * never NULL. */
    char *(*describe_failure)(struct provision *provision);
    void (*destroy)(struct provisioner *self);
};

struct provisioner {
    const struct provisioner_ops *ops;
};

/* Kernels as the accounts of their owners (run-as-owner). Borrowed. */
struct local_accounts {
    bool is_on;
    int64_t min_uid;
    char *const *prohibited_uids, *const *prohibited_gids; /* NULL: none; 0 always is */
    const struct policy *policy; /* its uid and gid count, and the settings where it has none; or
                                    NULL */
};

struct provisioner_local_settings {
    struct spawner *spawner;       /* borrowed, outlives it */
    const char *runtime_directory; /* made 0700 if missing */
    const char *launcher_path;     /* of elara-launcher */
    int64_t open_files;        /* soft limit of open files for launcher and kernel; 0: as here */
    struct home_settings home; /* borrowed, until the next provisioner_local_configure */
    struct local_accounts accounts; /* the same */
};

int provisioner_local_create(struct event_base *loop,
                             const struct provisioner_local_settings *settings,
                             struct provisioner **ret, struct error *err);
/* What the launcher has to know of the kernel's home, in launch.json (docs/homes.md). spec:
 * kernel.json; record: with the request. *has_home: it has one. */
int provisioner_local_add_home(const struct home_settings *settings, const json_t *spec,
                               const json_t *record, json_t *launch, bool *has_home,
                               struct error *err);
/* Of kernels that are started from now on. */
void provisioner_local_configure(struct provisioner *provisioner, const struct home_settings *home,
                                 const struct local_accounts *accounts);
