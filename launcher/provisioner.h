/* A provisioner brings a launcher to life somewhere and says how to reach it. The local one runs it
 * as a process on this machine; Kubernetes will run it in a pod. It never talks to the kernel: that
 * is the link's.
 *
 * All calls return at once; results come through the callbacks, always from the event loop, never
 * from inside the call. */
#pragma once

#include "base/error.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct provisioner;
struct provision; /* one kernel's place */

struct provision_events {
    /* What is going on, for the person who waits ("starting the process"). */
    void (*stage)(void *context, const char *text);
    /* The launcher is listening: connect the link. endpoint is a ZeroMQ address; server_key a Z85
     * CURVE key or NULL. */
    void (*reachable)(void *context, const char *endpoint, const char *server_key);
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
    void (*gone)(void *context, const char *kernel_id);
};

enum provision_resume {
    PROVISION_RESUME_BY_POLICY, /* the kernel is started again as after a death of its own; one that
                                   was dead stays so */
    PROVISION_RESUME_START,     /* somebody wants it started, even if it was dead */
    PROVISION_RESUME_DEAD,      /* it stays dead, its output is there to be read */
};

struct provisioner_ops {
    const char *name; /* "local" */
    /* launch and record: trees as launch.h describes; copied. The record is on disk before start
     * returns 0. -1: refused, with the cause; nothing was left behind. ERROR_UNAVAILABLE: an
     * earlier kernel of this id is still being removed. */
    int (*start)(struct provisioner *self, const char *kernel_id, json_t *launch, json_t *record,
                 const struct provision_events *events, void *context, struct provision **ret,
                 struct error *err);
    /* Calls found() for each kernel of the place, dead ones with a reason too. What ended in good
     * order and what never came to be is removed; nothing that lives is ended. */
    int (*find)(struct provisioner *self, provisioner_found *found, void *context,
                struct error *err);
    /* Tells of kernels that come and go from now on; begin before find. A failure only means that
     * others' kernels are found when somebody asks for them. */
    int (*watch)(struct provisioner *self, const struct provisioner_watch *watch, void *context,
                 struct error *err);
    /* Somebody asks for a kernel we do not know: calls watch's found() at once if there is one with
     * a living launcher, or a dead one. */
    void (*look)(struct provisioner *self, const char *kernel_id);
    /* Takes over one that find() named: reachable or ended follows. */
    int (*adopt)(struct provisioner *self, const char *kernel_id,
                 const struct provision_events *events, void *context, struct provision **ret,
                 struct error *err);
    /* After ended: starts a launcher in the same place, which goes on with the journal of the one
     * that was killed; reachable or ended follows. 1: the same, but it is somebody else's launcher,
     * who may have wanted something else. -1: not done, the place is as it was; ERROR_UNSUPPORTED:
     * there never was anything to go on with. May be NULL. */
    int (*resume)(struct provision *provision, enum provision_resume how, struct error *err);
    /* Keeps what is known of a dead kernel that has no launcher, so that find() names it: record's
     * members replace those that are there. *ret is NULL (a place is made; as after ended), or the
     * kernel's own after ended. May be NULL. */
    int (*keep)(struct provisioner *self, const char *kernel_id, json_t *record,
                const struct provision_events *events, void *context, struct provision **ret,
                struct error *err);
    /* Sends a signal to the launcher (its process, its pod): the way out when the link is gone. */
    int (*signal)(struct provision *provision, int signum, struct error *err);
    /* Ends what is left of it (launcher and kernel killed if need be) and removes its files, now or
     * soon: until then start refuses the id. Idempotent. No callback comes after it. */
    void (*remove)(struct provision *provision);
    /* Lets go of it without touching it (the gateway stops, the kernel stays). No callback comes
     * after it. */
    void (*release)(struct provision *provision);
    /* The launcher's last words, for the admin (no cause for the person who waits); malloc'ed text,
     * never NULL. */
    char *(*describe_failure)(struct provision *provision);
    void (*destroy)(struct provisioner *self);
};

struct provisioner {
    const struct provisioner_ops *ops;
};

struct provisioner_local_settings {
    const char *runtime_directory; /* made 0700 if missing */
    const char *launcher_path;     /* of elara-launcher */
    int64_t open_files; /* soft limit of open files for launcher and kernel; 0: as here */
};

int provisioner_local_create(struct event_base *loop,
                             const struct provisioner_local_settings *settings,
                             struct provisioner **ret, struct error *err);
