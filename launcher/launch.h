/* launch.json and record.json: what passes between a provisioner and elara-launcher in the kernel
 * directory (docs/link-protocol.md, "The kernel directory").
 *
 * launch.json
 *   kernel_id, kernel_name      texts
 *   argv                        array of texts; the launcher substitutes {connection_file},
 *                               {resource_dir}, {prefix}, {kernel_id}
 *   env                         object of texts: the kernel's environment, already substituted
 *   environment_base            "none": env is all | "launcher": it goes on top of the launcher's
 *                               own variables, which in a pod are the image's
 *   cwd                         directory the kernel starts in; its nearest parent that is there
 *                               does. Or an array: the first one that can be entered, where "~"
 *                               is HOME of the kernel's environment and "." where the launcher is
 *   home                        a directory that is made ready before the first start:
 *                               {directory, path (below it), given (components of it that have to
 *                               be there), uid, gid (-1: the launcher's own), deadline_ms}
 *   account                     of the machine, whom the kernel runs as (launcher/user_account.h):
 *                               {name, place: the directory of its connection file and sockets,
 *                               min_uid, uid and gid: {from, to, prohibited: [numbers]}}
 *   resource_dir, prefix        values for argv
 *   interrupt_mode              "signal" | "message"
 *   interrupt_signal            signal number for "signal" (2, or what EG_ALTERNATE_SIGINT names)
 *   transport                   "tcp" | "ipc"
 *   shutdown_wait_ms, launch_timeout_ms
 *   restart_limit, stable_after_ms     autorestart: limit of consecutive deaths (0 = off), age
 *                                      that resets the count
 *   journal_bytes               cap of the journal
 *   output_bytes                cap of kernel.log
 *   session_retention_ms        how long an unseen session's cursor is kept
 *   log_level                   "DEBUG" ...
 *   log_format                  "text" | "json"
 * record.json
 *   kernel_id, name, owner, created (ISO), session {path, name, type} or null,
 *   marks {notice: a line for the first cell}, inherited (the same line, also when it was told),
 *   was_attached (somebody was, to an earlier start),
 *   shares {user: "use" | "view"}: what others than the owner may - and,
 *   by the launcher: launcher_pid, kernel_pid, phase, reason,
 *   numbering (an id; new when the numbers of messages begin again),
 *   and for its successor: boot_id, kernel_started (clock ticks), oom_kills, restarts,
 *   message_session, activity {clock_ms (monotonic, when it was written), age_ms,
 *   state_for_ms}, marks.keep {left_ms, by}
 *   while it is dead: died_ms (since 1970; retention is counted from it). phase, reason and
 *   died_ms are a gateway's where there is no launcher. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    /* Of record.json, as it is written. What a client's request makes of it stays below the first,
     * so that there is room for the rest. */
    LAUNCH_RECORD_REQUEST_MAX = 512 << 10,
    LAUNCH_RECORD_SET_MAX = 768 << 10,
    LAUNCH_RECORD_MAX = 1 << 20,
    LAUNCH_SHARES_MAX = 64,
    LAUNCH_SHARE_NAME_MAX = 128, /* bytes */
};

/* Bytes of a record as file_write_json writes it. */
size_t launch_record_size(const json_t *record);

/* Whom a process runs as. */
struct launch_user {
    bool is_known;
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    size_t group_count;
};

struct launch {
    char *kernel_id;
    char *kernel_name;
    char **argv;
    char **environment; /* "NAME=value" */
    bool is_on_launcher_environment;
    char *cwd;
    char **cwds;                      /* candidates, instead of cwd; NULL */
    char *home_directory, *home_path; /* NULL: none is made ready */
    int64_t home_given, home_uid, home_gid, home_deadline_ms;
    char *account_name, *account_place; /* NULL: it runs as its launcher does */
    int64_t account_min_uid;
    json_t *account_uid, *account_gid; /* objects, or NULL */
    struct launch_user user;           /* the account's, once it was looked up */
    char *resource_dir;
    char *prefix;
    char *transport;
    int interrupt_signal; /* 0: interrupt by message */
    int64_t shutdown_wait_ms;
    int64_t launch_timeout_ms;
    int64_t restart_limit;
    int64_t stable_after_ms;
    int64_t journal_bytes;
    int64_t output_bytes;
    int64_t session_retention_ms;
    char *log_level;
    char *log_format; /* NULL: text */
};

/* Reads launch.json's tree; an error names the member. Free with launch_destroy. */
int launch_create(const json_t *json, struct launch **ret, struct error *err);
/* Puts what launch.json says on top of these variables, but for those that are only about us. */
void launch_add_base_environment(struct launch *launch, char *const *base);
/* The value of a variable of the kernel's; NULL. */
const char *launch_variable(const struct launch *launch, const char *name);
/* "NAME=value", which replaces a variable of that name. */
void launch_add_environment(struct launch *launch, const char *variable);
void launch_destroy(struct launch *launch);
