/* What the files of the kernels share. kernels.c: who is there, start, list, tombstones.
 * kernel_state.c: the one table a kernel's life follows, and what provisioner and link say.
 * kernel_orders.c: interrupt, restart, shutdown. kernel_dead.c: which dead ones are kept.
 * kernel_adoption.c: kernels of an earlier gateway. kernel_resume.c: launchers that were killed.
 * kernel_launch.c, kernel_request.c: from a request to launch.json. kernel_observe.c: what admins
 * are told. kernel_held.c: requests before there is a launcher. kernel_shares.c: who else may. */
#pragma once

#include "base/clock.h"
#include "base/map.h"
#include "gateway/kernel_activity.h"
#include "gateway/kernel_ends.h"
#include "gateway/kernel_launch.h"
#include "gateway/kernel_shares.h"
#include "gateway/kernels.h"
#include "gateway/metrics.h"

/* Why one is gone that somebody ended without a reason. */
#define KERNEL_SHUT_DOWN "it was shut down"

enum {
    KERNEL_REASON_MAX = 4096, /* bytes, last output included */
    KERNEL_STAGE_MAX = 256,
    KERNEL_OPENING_MS = 5000,
    KERNEL_ANSWER_MARGIN_MS = 10000, /* beyond what the launcher itself may take */
    KERNEL_INTERRUPT_TIMEOUT_MS = 15000,
    KERNEL_RECORD_TIMEOUT_MS = 30000,
    KERNEL_SAY_TIMEOUT_MS = 30000,
    KERNEL_AGREE_TIMEOUT_MS = 15000,
    KERNEL_END_WAIT_MS = 3000, /* for a launcher that was told to end */
    KERNELS_ADOPTION_MS = 5000,
    KERNELS_FIND_AGAIN_MS = 2000,
};

struct kernels {
    struct loop *loop;
    struct kernels_settings settings;
    struct links *links;
    struct provisioner *provisioner;
    struct kernelspecs *specs;
    struct map *by_id;
    struct list all;     /* in the order of their start */
    uint64_t count;      /* of all that there ever were */
    struct list ended;   /* freed after the turn */
    struct list answers; /* whose done is to be told */
    struct loop_task answer;
    struct loop_task reap;
    struct kernel_ends *ends;
    struct list removals; /* who waits for an end to be on record */
    struct list lookers;  /* who asked for a kernel that another gateway may have */
    const char *looked;   /* the one that is known not to be there, while they are told */
    char user[64];        /* the gateway's own, for KERNEL_USERNAME */
    size_t adopting;      /* kernels that were found and have not answered */
    bool searching;       /* the provisioner's places were not read yet */
    struct loop_deadline adoption;
    void (*found)(void *context, struct kernel *kernel);
    void *found_context;
};

enum kernel_event {
    KERNEL_EVENT_START,         /* the provisioner was told to start it */
    KERNEL_EVENT_SAYS_STARTING, /* the launcher's phases */
    KERNEL_EVENT_SAYS_READY,
    KERNEL_EVENT_SAYS_RESTARTING,
    KERNEL_EVENT_SAYS_STOPPING,
    KERNEL_EVENT_SAYS_DEAD,
    KERNEL_EVENT_RESTART, /* somebody wants it restarted */
    KERNEL_EVENT_STOP,    /* somebody wants it ended */
    KERNEL_EVENT_FAILED,  /* it could not start, or its launcher is gone */
    KERNEL_EVENT_REMOVED, /* nothing is left of it */
};

/* For metrics and events (kernel_observe.c). */
struct kernel_observed {
    int64_t began_us, stage_us; /* a start or restart that we follow, and its stage; 0: none */
    int64_t pod_us;             /* its pod was ordered, */
    int64_t pod_stages_us[METRICS_POD_STAGES]; /* and came so far; 0: not yet */
    bool is_restart;
    bool is_measured; /* the launcher told of its journal: */
    uint64_t journal_bytes, folded_bytes;
};

struct kernel {
    struct kernels *kernels;
    struct list_node node; /* kernels.all, later kernels.ended */
    uint64_t number;
    char id[129];
    char *owner;
    char *user; /* whose limit it counts in: the verified owner, else KERNEL_USERNAME */
    char *name; /* of the kernelspec */
    char *display_name;
    json_t *request; /* {"name", "env", "path"}: what it is started from again */
    json_t *session;
    json_t *shares;         /* what others may: {"bert": "use"}; NULL: nobody may anything */
    bool session_unsaid;    /* the record has an older one */
    bool is_unrecorded;     /* the record cannot be read: only its launcher knows whose it is */
    json_t *held, *orphans; /* kernel_held.c: [{session, header}] of ours, of a gateway before */
    bool is_held_on_record;
    bool is_unaccepted; /* it is not on record yet, so nobody is told of it */
    char created[CLOCK_TEXT_SIZE];
    char last_activity[CLOCK_TEXT_SIZE];
    unsigned connections;
    struct kernel_activity activity;
    bool was_heard;           /* its launcher, by some gateway: it is on record */
    int64_t own_idle_ms;      /* KERNEL_CULL_IDLE_TIMEOUT of its request; -1: none */
    int64_t opening_until_ms; /* monotonic: a notebook is opening its sockets; 0: none is */

    struct provision *provision;
    bool has_ended;       /* the provision: its place is free as soon as it is removed */
    bool start_wanted;    /* but somebody else's launcher was there, which may keep it dead */
    int64_t reachable_ms; /* since when its launcher could have spoken (monotonic) */
    bool is_spawned;    /* its launcher is one that we started just now: it has to speak in time */
    unsigned resumes;   /* of its launcher, in a row */
    int64_t resumed_ms; /* the first of them */
    struct link *link;
    char *endpoint; /* of the link */

    struct kernel_status status; /* texts below */
    struct kernel_observed observed;
    char *stage, *doubt, *reason, *lost, *message_session;
    char *reason_cause, *lost_cause; /* the word for each; NULL: it has none */
    const char *reported_state;      /* by the launcher, one of the five */
    char *last_words;                /* reason and output of the last EXIT */

    struct list watchers, told; /* told: those that know the latest change */
    struct loop_task notify;
    struct loop_deadline deadline; /* of the current phase */
    int64_t died_ms;               /* since 1970, when it is dead; else 0 */

    struct list orders; /* commands under way; they may outlive the kernel */
    struct list accept_waiters;
    struct list restart_waiters; /* share one restart */
    struct list stop_waiters;
    struct list share_waiters;
    bool is_restarting, is_stopping, is_adopting;
    bool is_replacing; /* its launcher hangs and was killed: another one follows */
    char *stop_reason;
    json_t *bequest;   /* for the owner's next kernel, at every gateway; NULL */
    char *notice;      /* for its first cell: why the kernel before it was ended; NULL */
    json_t *inherited; /* the same, also when it was told: kernel_ends.h; NULL */
    bool was_ready;
};

/* kernels.c */
struct kernel *kernel_create(struct kernels *kernels, const char *id);
/* No longer found; freed after the turn. by_another: another gateway has ended it. */
void kernel_forget(struct kernel *kernel, const char *reason, bool by_another);
struct kernel_heir kernel_heir_of(const struct kernel *kernel); /* whom its notice is for */
/* A tombstone's "bequest" or "told"; a new reference. */
json_t *kernel_bequest(const struct kernel_heir *heir, const char *text);
const char *kernel_inherited_text(const struct kernel *kernel); /* NULL: nothing */
/* It goes without having been there: its notice is for the next one, then. */
void kernel_return_notice(struct kernel *kernel);
/* Starts it from its request. 1: it is not on record yet. */
int kernel_provision(struct kernel *kernel, struct error *err);
/* A refusal that the notebook is to show, while there is room for such kernels. */
bool kernel_may_stand_in(const struct kernel *kernel, const struct error *err);
int kernel_check_limits(const struct kernel *kernel, struct error *err);

/* kernel_state.c */
extern const struct provision_events kernel_provision_events;
/* The one door: false when the table has no such row, and nothing changed. */
bool kernel_post(struct kernel *kernel, enum kernel_event event);
void kernel_set_stage(struct kernel *kernel, const char *text);
/* reason and details (last output) in one bounded text, before KERNEL_EVENT_FAILED or
 * _SAYS_DEAD. */
void kernel_set_reason(struct kernel *kernel, const char *reason, const char *details);
void kernel_set_cause(struct kernel *kernel, const struct error *cause); /* the same of an error */
void kernel_drop_link(struct kernel *kernel);
/* With its files. why: the tombstone's reason; NULL: it is started anew. */
int kernel_drop_provision(struct kernel *kernel, const char *why); /* as remove() does */
void kernel_changed(struct kernel *kernel); /* watchers are told after the turn */
void kernel_notify(void *context);          /* tells them: the task */

/* kernel_activity.c */
void kernel_take_own_idle(struct kernel *kernel); /* from its request */
void kernel_take_activity(struct kernel *kernel, const json_t *json, bool is_answer);
void kernel_forget_askers(struct kernel *kernel); /* the kernel goes: they are told */
void kernel_drop_askers(struct kernel *kernel);   /* the gateway goes: nobody is */

/* kernel_observe.c: counts, and tells the event log. */
void kernel_observe_start(struct kernel *kernel); /* its provisioner is about to be told */
void kernel_observe_phase(struct kernel *kernel, enum kernel_phase from, enum kernel_phase to);
void kernel_observe_pod(struct kernel *kernel, unsigned stage); /* METRICS_POD_STAGES */
void kernel_observe_status(struct kernel *kernel, const json_t *status);
/* action: of docs/events/kernel_action.yaml; msg may be NULL. */
void kernel_observe_action(const struct kernel *kernel, const char *action, const char *msg);

/* kernel_record.c */
json_t *kernel_record(const struct kernel *kernel); /* what the gateway writes; a new reference */
void kernel_take_record(struct kernel *kernel, const json_t *record);
void kernel_say_session(struct kernel *kernel); /* to the launcher, when it is there */
/* The launcher writes the record anew, from its memory. */
void kernel_mend_record(struct kernel *kernel);

/* kernel_shares.c */
void kernel_take_shares(struct kernel *kernel, const json_t *shares); /* NULL: none */
void kernel_drop_sharing(struct kernel *kernel); /* the place that was to record it is given up */

/* kernel_orders.c */
/* One command under way for a kernel that may be gone before it is answered. */
typedef void kernel_ordered(struct kernel *kernel, kernel_done *done, void *context,
                            const json_t *result, const struct error *err);
void kernel_order(struct kernel *kernel, const char *command, json_t *members /* stolen */,
                  int64_t timeout_ms, kernel_ordered *answered, kernel_done *done, void *context);
/* The kernel goes: its orders are answered without it, or (when the gateway goes) to nobody. */
void kernel_orders_orphan(struct kernel *kernel, bool silently);
void kernel_answer(struct kernels *kernels, kernel_done *done, void *context,
                   const struct error *err); /* after the turn; err may be NULL */
void kernel_answer_all(struct kernels *kernels, struct list *waiters, const struct error *err);
void kernel_wait_in(struct list *list, kernel_done *done, void *context);
void kernels_run_answers(void *context);
void kernel_stop(struct kernel *kernel, const char *reason); /* begins, or goes on with, its end */
void kernel_finish_stop(struct kernel *kernel);
/* Its end is on record (cause NULL), or cannot be for now: whoever waits for that is told. */
void kernels_removed(struct kernels *kernels, const char *id, const struct error *cause);
void kernels_drop_removals(struct kernels *kernels); /* the gateway goes: nobody is told */
/* Why its launcher's container ended, which the launcher cannot know. */
void kernel_explain(struct kernel *kernel, const char *why, const char *id);
void kernel_start_again(struct kernel *kernel); /* from its request; ends a restart */
void kernels_drop_waiters(struct list *waiters);

/* kernel_held.c */
void kernel_drop_held(struct kernel *kernel);
void kernel_drop_orphans(struct kernel *kernel);
void kernel_take_orphans(struct kernel *kernel, const json_t *record);

/* kernel_dead.c */
/* Room for one more dead kernel of this user (of kernel.user; NULL: of nobody). */
bool kernels_may_keep_dead(const struct kernels *kernels, const char *user);
void kernel_make_room(const struct kernel *newest); /* another dead one goes if they are too many */
int64_t kernel_retention_ms(const struct kernel *kernel); /* what is left of it */
/* One without a launcher is kept where the next gateway finds it. */
void kernel_keep_dead(struct kernel *kernel);

/* kernel_resume.c */
/* Its launcher has ended without having been told to: starts another one that goes on. False: there
 * is nothing to go on with, or it happened too often. *is_gone: somebody else had told it to. */
bool kernel_resume(struct kernel *kernel, const struct error *cause, bool *is_gone);
/* The same for one that is dead and stays so, for its output. */
bool kernel_resume_dead(struct kernel *kernel);
/* The same because somebody wants the kernel started. -1: not done; ERROR_UNSUPPORTED: there never
 * was anything to go on with. */
int kernel_resume_wanted(struct kernel *kernel, struct error *err);

/* kernel_adoption.c */
void kernel_adoption_settled(struct kernel *kernel); /* it answered or ended */
/* Another gateway has ended it, for that reason (NULL: it did not say). */
void kernel_forget_gone(struct kernel *kernel, const char *why);
/* A launcher that was there before us, or is another gateway's, has not spoken yet: whatever we
 * believe of the kernel may be old. */
bool kernel_is_unheard(const struct kernel *kernel);
void kernels_drop_lookers(struct kernels *kernels); /* the gateway goes: nobody is told */
/* True when one that was dead without a launcher has got one from another gateway meanwhile: it is
 * not ours to remove any more. */
bool kernel_is_taken_up(struct kernel *kernel);
