#include "launcher/user_account.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "launcher/helper_process.h"
#include "nfs/home_path.h"

#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { GROUPS_MAX = 4096 };

/* --- in the helper --- */

static bool is_prohibited(const json_t *range, json_int_t number) {
    size_t at;
    const json_t *item;
    json_array_foreach(json_object_get(range, "prohibited"), at, item) {
        if (json_integer_value(item) == number)
            return true;
    }
    return number == 0;
}

static const char *problem_of(const struct launch *launch, const json_t *range, bool is_uid,
                              json_int_t number) {
    const json_t *from = json_object_get(range, "from"), *to = json_object_get(range, "to");
    if (number == 0)
        return "root's";
    if (is_prohibited(range, number))
        return "prohibited";
    if (is_uid && number < launch->account_min_uid)
        return "below run-as-min-uid";
    if (from != NULL && number < json_integer_value(from))
        return "below the policy's";
    return to != NULL && number > json_integer_value(to) ? "above the policy's" : NULL;
}

static int check_id(const struct launch *launch, const json_t *range, bool is_uid,
                    json_int_t number, struct error *err) {
    const char *why = problem_of(launch, range, is_uid, number), *kind = is_uid ? "uid" : "gid";
    if (why == NULL)
        return 0;
    return error_set(err, ERROR_DENIED,
                     "KERNEL_USERNAME %.100s: the kernel may not run as the account of that name, "
                     "whose %s %lld is %s: the administrator has to give the user another account, "
                     "or change run-as-min-uid, prohibited-%ss or the policy",
                     launch->account_name, kind, (long long)number, why, kind);
}

static int explain_missing(const struct launch *launch, int problem, struct error *err) {
    if (problem != 0 && problem != ENOENT && problem != ESRCH)
        return error_set(err, ERROR_UNAVAILABLE,
                         "KERNEL_USERNAME %.100s: accounts cannot be looked up now: %s",
                         launch->account_name, strerror(problem));
    return error_set(err, ERROR_DENIED,
                     "KERNEL_USERNAME %.100s: this machine has no account of that name, which the "
                     "kernel would run as (run-as-owner): the administrator has to make one, here "
                     "or in the directory service that nsswitch.conf names",
                     launch->account_name);
}

static int check(const struct launch *launch, const struct passwd *account, struct error *err) {
    /* Else those who differ in case, or by a domain, could be one account and two users. */
    if (strcmp(account->pw_name, launch->account_name) != 0)
        return error_set(err, ERROR_DENIED,
                         "KERNEL_USERNAME %.100s: the account is called %.100s: the user has to "
                         "have the same name, to the letter",
                         launch->account_name, account->pw_name);
    return check_id(launch, launch->account_uid, true, account->pw_uid, err) < 0 ||
                   check_id(launch, launch->account_gid, false, account->pw_gid, err) < 0
               ? -1
               : 0;
}

static int list_groups(const struct launch *launch, const struct passwd *account, json_t *ret,
                       struct error *err) {
    cleanup_free gid_t *groups = memory_alloc(GROUPS_MAX * sizeof *groups);
    int count = GROUPS_MAX;
    if (getgrouplist(account->pw_name, account->pw_gid, groups, &count) < 0)
        return error_set(err, ERROR_LIMIT,
                         "KERNEL_USERNAME %.100s: the account is in more than %d groups",
                         launch->account_name, GROUPS_MAX);
    for (int i = 0; i < count; i++)
        if (!is_prohibited(launch->account_gid, groups[i]))
            json_array_append_new(ret, json_integer(groups[i]));
    return 0;
}

static int look_up(const void *context, char *reply, struct error *err) {
    const struct launch *launch = context;
    errno = 0;
    const struct passwd *account = getpwnam(launch->account_name);
    if (account == NULL)
        return explain_missing(launch, errno, err);
    if (check(launch, account, err) < 0)
        return -1;
    json_t *groups = json_array();
    cleanup_json json_t *found =
        json_pack("{s:I, s:I, s:s, s:s, s:o}", "uid", (json_int_t)account->pw_uid, "gid",
                  (json_int_t)account->pw_gid, "home", account->pw_dir, "shell", account->pw_shell,
                  "groups", groups);
    if (found == NULL)
        return error_set(err, ERROR_INVALID, "KERNEL_USERNAME %.100s: its home is not UTF-8",
                         launch->account_name);
    if (list_groups(launch, account, groups, err) < 0)
        return -1;
    size_t length = json_dumpb(found, reply, HELPER_REPLY_SIZE - 1, JSON_COMPACT);
    if (length >= HELPER_REPLY_SIZE)
        return error_set(err, ERROR_LIMIT, "KERNEL_USERNAME %.100s: an account too large",
                         launch->account_name);
    reply[length] = '\0';
    return 0;
}

/* --- in the launcher --- */

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

static void set_variable(struct launch *launch, const char *name, const char *value) {
    cleanup_free char *variable = memory_printf("%s=%s", name, value);
    launch_add_environment(launch, variable);
}

/* The home, or a working directory below it that the notebook server means. */
static void set_home(struct launch *launch, const char *home) {
    const char *wish = launch_variable(launch, "KERNEL_WORKING_DIR");
    size_t count = 0;
    launch->cwds = memory_alloc(3 * sizeof *launch->cwds);
    if (wish != NULL && *wish == '/' && home_path_is_below(wish, home))
        launch->cwds[count++] = memory_strdup(wish);
    launch->cwds[count++] = memory_strdup(home);
    set_variable(launch, "HOME", home);
}

static void take(struct launch *launch, const json_t *found) {
    const json_t *groups = json_object_get(found, "groups");
    struct launch_user *user = &launch->user;
    user->uid = (uid_t)json_integer_value(json_object_get(found, "uid"));
    user->gid = (gid_t)json_integer_value(json_object_get(found, "gid"));
    user->group_count = json_array_size(groups);
    user->groups = memory_alloc((user->group_count + 1) * sizeof *user->groups);
    for (size_t i = 0; i < user->group_count; i++)
        user->groups[i] = (gid_t)json_integer_value(json_array_get(groups, i));
    user->is_known = true;
    if (launch->home_directory == NULL)
        set_home(launch, text_of(found, "home"));
    launch->home_uid = user->uid;
    launch->home_gid = user->gid;
    set_variable(launch, "USER", launch->account_name);
    set_variable(launch, "LOGNAME", launch->account_name);
    set_variable(launch, "SHELL", text_of(found, "shell"));
}

int user_account_apply(struct launch *launch, struct error *err) {
    struct error problem;
    if (launch->account_name == NULL || launch->user.is_known)
        return 0;
    cleanup_free char *reply = memory_alloc(HELPER_REPLY_SIZE);
    if (helper_process_run(look_up, launch, USER_ACCOUNT_WAIT_MS, reply, &problem) < 0)
        return problem.code == ERROR_TIMEOUT
                   ? error_set(err, ERROR_TIMEOUT,
                               "KERNEL_USERNAME %.100s: the account was not found within %d s: see "
                               "whether the directory service that nsswitch.conf names can be "
                               "reached",
                               launch->account_name, USER_ACCOUNT_WAIT_MS / 1000)
                   : error_set(err, problem.code, "%s", problem.text);
    cleanup_json json_t *found = json_loads(reply, 0, NULL);
    if (found == NULL || text_of(found, "home") == NULL || text_of(found, "shell") == NULL)
        return error_set(err, ERROR_SYSTEM, "KERNEL_USERNAME %.100s: its account cannot be read",
                         launch->account_name);
    take(launch, found);
    return 0;
}

/* These are a thread's own in Linux, whatever the C library makes of them. setfsuid and setfsgid
 * tell no failure, but what was before: asked again for one that nobody has, what is. */
static bool become_user(const struct launch_user *user) {
    if (syscall(SYS_setgroups, user->group_count, user->groups) < 0)
        return false;
    setfsgid(user->gid);
    setfsuid(user->uid);
    return (gid_t)setfsgid((gid_t)-1) == user->gid && (uid_t)setfsuid((uid_t)-1) == user->uid;
}

int user_account_enter(const struct launch_user *user, struct error *err) {
    if (!user->is_known || become_user(user))
        return 0;
    user_account_leave(user);
    return error_set(
        err, ERROR_SYSTEM,
        "The kernel's launcher cannot have the rights of uid %u, gid %u (run-as-owner): "
        "the gateway has to be root with SETUID and SETGID, in a user namespace that "
        "has these ids",
        (unsigned)user->uid, (unsigned)user->gid);
}

void user_account_leave(const struct launch_user *user) {
    if (!user->is_known)
        return;
    setfsuid(geteuid());
    setfsgid(getegid());
    syscall(SYS_setgroups, 0, NULL); /* root needs none */
}
