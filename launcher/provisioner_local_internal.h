/* What the files of the local provisioner share. provisioner_local.c: starting, resuming and ending
 * launchers. local_find.c: the kernels that are there, and those of other gateways.
 * provisioner_local_home.c: users' homes. provisioner_local_account.c: kernels that run as their
 * owners. provisioner_local_words.c: why a launcher ended. */
#pragma once

#include "base/buffer.h"
#include "base/list.h"
#include "launcher/local_process.h"
#include "launcher/local_watch.h"
#include "launcher/provisioner.h"

/* A kernel's directory is made under such a name, and renamed when it is complete and locked: who
 * looks never sees half of one. */
#define NEW_PREFIX ".new-"

struct local {
    struct provisioner base;
    struct event_base *loop;
    char *directory; /* <runtime>/kernels */
    char *users;     /* <runtime>/users: of kernels that run as other users (user_place.h) */
    struct spawner *spawner;
    char *launcher_path;
    int64_t open_files;
    struct home_settings home;
    struct local_accounts accounts;
    struct list provisions;
    struct local_watch *watch;
    struct provisioner_watch watcher; /* NULLs: nobody */
    void *watcher_context;
};

struct provision {
    struct list_node node;
    struct local *local;
    char *id;
    char *directory;
    /* of the directory: another gateway may have ended the kernel and started one of the same id */
    ino_t inode;
    struct provision_events events;
    void *context;
    struct local_process process;
    struct event *exit_event;  /* the launcher's pidfd */
    struct event *ready_event; /* the pipe on which it says "ready" */
    struct event *later; /* what a call may not do itself; the search for an adopted launcher */
    struct buffer ready_text;
    int search_rounds;
    bool is_ended;
    bool is_resuming; /* the lock was not free: whoever has it may have been quicker */
    enum provision_resume resume_how;
    struct error end; /* of the last launcher, as its successor tells it */
    bool was_reachable;
    bool has_failed; /* the last launcher did not come up, and nobody had killed it */
    bool is_removed; /* only waits for the launcher to be gone */
    bool has_home;   /* which its launcher makes ready first */
};

/* record.json of a kernel's directory; it is an object. */
int local_read_record(const char *directory, json_t **ret, struct error *err);
pid_t local_record_pid(const json_t *record, const char *member); /* 0: none */
/* Whether the kernel is dead and somebody is still to be told why: not shut down. */
bool local_record_is_dead(const json_t *record);
/* Whether a launcher had this kernel and ended in the midst of its life: another one may go on. */
bool local_record_is_resumable(const json_t *record);

/* local_find.c: of struct provisioner_ops */
int local_find(struct provisioner *self, provisioner_found *found, void *context,
               struct error *err);
int local_watch(struct provisioner *self, const struct provisioner_watch *watch, void *context,
                struct error *err);
int local_look(struct provisioner *self, const char *kernel_id);

/* provisioner_local_account.c */
/* Makes runtime and what is below it so that kernels of other users find their places. */
int local_account_prepare(struct local *local, const char *runtime, struct error *err);
/* Whom the kernel runs as, in launch.json. ERROR_DENIED: nobody knows who its owner is. */
int local_account_add(const struct local *local, const struct provision_order *order,
                      struct error *err);
/* The process group of a kernel, if it is the one of this directory. */
void local_account_kill(const struct local *local, const char *id, pid_t pid,
                        const char *directory);
/* What a launcher that was killed has left there: false if it is too much for once. */
bool local_account_remove(const struct local *local, const char *id);
/* Of kernels that are no more: all, or what can be done at once. */
void local_account_sweep(const struct local *local);

/* provisioner_local_words.c */
/* cause: what became of its process; gets what is told to the person who waits. */
void local_explain_end(struct provision *provision, struct error *cause);
