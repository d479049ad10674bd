/* The kernels this gateway serves: start, find, interrupt, restart, end, and what they are doing. A
 * kernel's life is one table of {event, from, to} (kernels.c); the launcher beside it is the
 * record. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "base/list.h"
#include "gateway/auth.h"
#include "gateway/links.h"
#include "gateway/loop.h"
#include "kernelspecs/kernelspecs.h"
#include "launcher/provisioner.h"

#include <jansson.h>
#include <stdbool.h>

struct culling;
struct events;
struct kernels;
struct kernel;
struct metrics;

enum kernel_phase {
    KERNEL_LAUNCHING, /* the provisioner is at work; there is no link */
    KERNEL_STARTING,  /* the launcher answers, the kernel does not yet */
    KERNEL_READY,
    KERNEL_RESTARTING,
    KERNEL_STOPPING,
    /* could not start, or died for good: stays, with its reason, until DELETE, restart or
     * retention */
    KERNEL_DEAD,
    KERNEL_GONE, /* about to be freed: let go of it */
};

struct kernel_status {
    enum kernel_phase phase;
    const char *stage;           /* what is going on, for a person: "starting the process" */
    const char *execution_state; /* starting, idle, busy, restarting, dead */
    const char *reason;          /* why it is dead; NULL otherwise */
    const char *doubt;           /* why it may be lost soon, with its node; NULL: nothing to say */
    const char *lost;            /* why what its last launcher had is lost; NULL: nothing to say */
    const char
        *message_session; /* header.session of its messages; NULL or "" until it has spoken */
};

struct kernels_settings {
    const char *python; /* for argv[0] python, python3, python3.N; NULL: found on PATH */
    /* base of a POST's `path`; NULL: the gateway's working directory */
    const char *root_directory;
    char *const *client_envs; /* names a client may set besides KERNEL_*; "*" = all */
    /* names kernels get from the gateway's environment; "*" = all but our own and secrets */
    char *const *inherited_envs;
    int64_t max_kernels, max_kernels_per_user, max_kernels_per_spec; /* -1 = unlimited */
    int64_t max_starts_per_user; /* that are under way, of a user known by name; 0: unlimited */
    /* runtime directory: why kernels ended is kept there; NULL: nowhere */
    const char *state_directory;
    int64_t max_failed;          /* dead kernels kept, shared fairly; beyond it a refusal is HTTP */
    int64_t failed_retention_ms; /* how long a dead kernel stays */
    int64_t tombstone_retention_ms;
    int64_t launch_timeout_ms; /* KERNEL_LAUNCH_TIMEOUT of a request overrides */
    int64_t start_deadline_ms; /* instead of both, for kernels elsewhere; 0: none */
    int64_t shutdown_wait_ms, restart_limit, stable_after_ms;
    int64_t journal_bytes, output_bytes, session_retention_ms;
    const char *transport; /* tcp | ipc */
    bool is_run_as_owner;  /* variables that are about the gateway's user are not for kernels */
    const char *log_level, *log_format;
    struct metrics *metrics; /* NULL: starts and deaths are counted nowhere */
    struct events *events;   /* NULL: nobody is told of them */
    struct kernelspec_users users;
    const struct policy *policy; /* what requests may say; NULL: none */
};

int kernels_create(struct loop *loop, const struct kernels_settings *settings, struct links *links,
                   struct provisioner *provisioner, struct kernelspecs *specs, struct kernels **ret,
                   struct error *err);
/* From now on; kernels that run keep what they were started with. The lists and texts must outlive
 * the kernels or the next call. */
void kernels_configure(struct kernels *kernels, const struct kernels_settings *settings);
/* Leaves all kernels running. */
void kernels_destroy(struct kernels *kernels);
/* Adopts what the provisioner finds. is_adopting is true until the first pass is complete: reads
 * answer 503 till then. */
void kernels_adopt(struct kernels *kernels);
bool kernels_is_adopting(const struct kernels *kernels);

struct kernel_request {
    const char *name;      /* kernelspec; NULL or "": the default */
    const json_t *env;     /* object or NULL; checked here */
    const char *path;      /* working directory below root_directory, or NULL */
    const char *kernel_id; /* the client's wish, or NULL */
    const struct auth_identity *identity;
    const json_t *session; /* {path, name, type} or NULL */
    /* refusal_style: limits and refusals become a dead kernel with a reason */
    bool refuse_in_notebook;
};
/* The kernel is there (phase LAUNCHING) when this returns 0; what goes wrong later is its status.
 * Its start may be told once it is on record: kernel_await_record. */
int kernels_start(struct kernels *kernels, const struct kernel_request *request,
                  struct kernel **ret, struct error *err);

struct kernel *kernels_find(const struct kernels *kernels, const char *id); /* NULL: none */
/* The same, and looks whether another gateway has just started one of that id. *is_pending: that
 * takes a while; call kernels_await_look. */
struct kernel *kernels_look_for(struct kernels *kernels, const char *id, bool *is_pending);
/* done is told when it is known, from the loop; inside it the answer of kernels_look_for stands. */
void kernels_await_look(struct kernels *kernels, const char *id, void (*done)(void *context),
                        void *context);
/* Tells of each kernel that another gateway has started, from the end of the adoption on. */
void kernels_on_found(struct kernels *kernels, void (*found)(void *context, struct kernel *kernel),
                      void *context);
/* Why the id is no more ("culled after 3 h idle"), for who may know; else NULL. */
const char *kernels_tombstone(const struct kernels *kernels, const char *id,
                              const struct auth_identity *identity);
/* array of models */
json_t *kernels_list(const struct kernels *kernels, const struct auth_identity *identity);
size_t kernels_count(const struct kernels *kernels);
/* Walks all kernels in the order of their start: struct kernel *at = NULL; while ((at =
 * kernels_next(kernels, at))) ... */
struct kernel *kernels_next(const struct kernels *kernels, const struct kernel *previous);

/* {"id","name","last_activity","execution_state","connections"[,"owner"][,"reason"]}; the owner is
 * for admins, and for those with whom it is shared. */
json_t *kernel_model(const struct kernel *kernel, const struct auth_identity *identity);
const char *kernel_id(const struct kernel *kernel);
/* From 1 on, in the order of kernels_next; another gateway counts otherwise. */
uint64_t kernel_number(const struct kernel *kernel);
const char *kernel_owner(const struct kernel *kernel);
const char *
kernel_user(const struct kernel *kernel); /* whose limit it counts in; "" for nobody's */
const char *kernel_spec_name(const struct kernel *kernel);
const char *kernel_display_name(const struct kernel *kernel);
unsigned kernel_connections(const struct kernel *kernel); /* of our own clients */
/* What it does (gateway/kernel_activity.h); never NULL. */
struct kernel_activity *kernel_activity(struct kernel *kernel);
/* How long it wants to be idle, from its request's KERNEL_CULL_IDLE_TIMEOUT, else its kernelspec;
 * 0: for ever, -1: it does not say. */
int64_t kernel_own_idle_ms(const struct kernel *kernel);
/* KERNEL_LAUNCH_TIMEOUT of its request, or default_ms. */
int64_t kernel_launch_timeout_ms(const struct kernel *kernel, int64_t default_ms);
/* Tells the event log whom it warns and ends. */
void kernels_observe_culling(struct culling *culling);
/* Room that its journal takes, as its launcher said last. */
uint64_t kernel_journal_bytes(const struct kernel *kernel);
const struct kernel_status *kernel_status(const struct kernel *kernel);
struct link *kernel_link(const struct kernel *kernel); /* NULL while there is none */
/* Its launcher's files are where it runs, and end with that place. */
bool kernel_is_elsewhere(const struct kernel *kernel);
/* The notebook it belongs to, as its launcher's record has it: {"path", "name", "type", ...} or
 * NULL. Borrowed, until the next turn. */
const json_t *kernel_session(const struct kernel *kernel);
/* Stolen; NULL for none. Also written to the record, as soon as the launcher is there. */
void kernel_set_session(struct kernel *kernel, json_t *session);

/* err NULL: done; never from inside the call */
typedef void kernel_done(void *context, const struct error *err);
/* False: it is on record. Else done follows; with an error the kernel is gone. */
bool kernel_await_record(struct kernel *kernel, kernel_done *done, void *context);
void kernel_interrupt(struct kernel *kernel, kernel_done *done, void *context);
/* a dead one is started again, from its request */
void kernel_restart(struct kernel *kernel, kernel_done *done, void *context);
/* No rule ends it for so long (0: no longer), because `by` wishes so. */
void kernel_keep(struct kernel *kernel, int64_t for_ms, const char *by, kernel_done *done,
                 void *context);
/* Ends it and forgets it; reason (or NULL) goes to the tombstone and the notebook. Calls that come
 * while it ends share the outcome. */
void kernel_shutdown(struct kernel *kernel, const char *reason, kernel_done *done, void *context);

/* It is about to be ended: what its owner's next kernel of that kernelspec and working directory
 * says in front of its first output. */
void kernel_leave_notice(struct kernel *kernel, const char *text);
/* Into the cell that runs or ran last; nothing when its launcher is not there. id: a text of at
 * most 128 bytes, unique to the act: several gateways may want to say the same. */
void kernel_say(struct kernel *kernel, const char *text, const char *id);

/* Told of each change of the kernel's status, and of links that come and go. KERNEL_GONE is the
 * last. */
struct kernel_watcher {
    struct list_node node;
    void (*changed)(void *context, struct kernel *kernel);
    void *context;
};
void kernel_watch(struct kernel *kernel, struct kernel_watcher *watcher);
void kernel_unwatch(struct kernel_watcher *watcher);

/* kernel_held.c: while the kernel's launcher is on its way, where that takes long. */
bool kernel_may_hold(const struct kernel *kernel); /* a client may be read: */
/* Its execute_request, in the link's layout, goes on record. */
void kernel_hold(struct kernel *kernel, const char *session_id, const void *message, size_t length);
bool kernel_is_held_on_record(const struct kernel *kernel); /* all of them are there */
/* One that a gateway held that is gone: its header. False: none of that session. */
bool kernel_take_orphan(struct kernel *kernel, const char *session_id, struct buffer *header);

void kernel_connected(struct kernel *kernel);    /* a client's WebSocket opened */
void kernel_disconnected(struct kernel *kernel); /* and closed */
