/* Kernels that run as the accounts of their owners. Whether there is such an account, their
 * launchers find out: to ask may take long. */
#include "launcher/provisioner_local_internal.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/policy.h"
#include "launcher/user_place.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 255 };

static char *place_of(const struct local *local, const char *id) {
    return memory_printf("%s/%s", local->users, id);
}

/* --- where --- */

/* path: without links. */
static int check_passage(const char *path, struct error *err) {
    cleanup_free char *partial = memory_strdup(path);
    for (char *slash = strrchr(partial, '/'); slash != NULL && slash != partial;
         slash = strrchr(partial, '/')) {
        struct stat found;
        *slash = '\0';
        if (stat(partial, &found) < 0)
            return error_system(err, errno, "%s", partial);
        if ((found.st_mode & S_IXOTH) == 0)
            return error_set(err, ERROR_DENIED,
                             "runtime-dir: %s is closed to other users, whose kernels have to come "
                             "through it (run-as-owner): choose another place, such as /run/elara",
                             partial);
    }
    return 0;
}

int local_account_prepare(struct local *local, const char *runtime, struct error *err) {
    local->users = memory_printf("%s/users", runtime);
    if (!local->accounts.is_on)
        return 0;
    return check_passage(runtime, err) < 0 || file_make_passage_directory(local->users, err) < 0
               ? -1
               : 0;
}

void local_account_kill(const struct local *local, const char *id, pid_t pid,
                        const char *directory) {
    cleanup_free char *place = place_of(local, id);
    local_process_kill_group(pid, directory);
    local_process_kill_group(pid, place); /* there its connection file is */
}

bool local_account_remove(const struct local *local, const char *id) {
    cleanup_free char *place = place_of(local, id);
    return user_place_remove(place);
}

void local_account_sweep(const struct local *local) {
    DIR *places = opendir(local->users);
    const struct dirent *item;
    bool is_done = true;
    while (is_done && places != NULL && (item = readdir(places)) != NULL) {
        cleanup_free char *directory = memory_printf("%s/%s", local->directory, item->d_name);
        if (text_is_kernel_id(item->d_name) && access(directory, F_OK) < 0 && errno == ENOENT)
            is_done = local_account_remove(local, item->d_name);
    }
    if (places != NULL)
        closedir(places);
}

/* --- who --- */

static const char *text_of(const json_t *object, const char *member) {
    return text_or_null(json_string_value(json_object_get(object, member)));
}

static bool can_be_account(const char *name) {
    if (strlen(name) > NAME_MAX_BYTES || *name == '-' || strpbrk(name, "/:") != NULL)
        return false;
    for (; *name != '\0'; name++)
        if ((unsigned char)*name < ' ' || *name == 0x7F)
            return false;
    return true;
}

static int find_owner(const struct local *local, const json_t *request, const char **ret,
                      struct error *err) {
    const char *name = text_of(request, "verified");
    if (name == NULL && local->home.trusts_claimed)
        name = text_of(json_object_get(request, "env"), "KERNEL_USERNAME");
    if (name == NULL)
        return error_set(err, ERROR_DENIED,
                         "KERNEL_USERNAME: kernels run as the accounts of their owners here "
                         "(run-as-owner), and nobody knows whose this one would be: ask with a "
                         "token of your own. Or the administrator lets KERNEL_USERNAME say it "
                         "(home-trust-claimed-names); then whoever has the token is everybody");
    if (!can_be_account(name))
        return error_set(err, ERROR_DENIED,
                         "KERNEL_USERNAME %.100s: no account that a kernel could run as has such "
                         "a name (run-as-owner)",
                         name);
    *ret = name;
    return 0;
}

static json_t *listed(char *const *ids, const char *setting, struct error *err) {
    cleanup_json json_t *numbers = json_array();
    for (; ids != NULL && *ids != NULL; ids++) {
        int64_t number;
        if (text_parse_int(*ids, 0, UINT32_MAX, setting, &number, err) < 0)
            return NULL;
        json_array_append_new(numbers, json_integer(number));
    }
    return json_pack("{s:O}", "prohibited", numbers);
}

static int list_ids(const struct local_accounts *accounts, const struct provision_order *order,
                    json_t *account, struct error *err) {
    const json_t *request = json_object_get(order->record, "request");
    json_t *uids, *gids;
    if (accounts->policy != NULL) {
        const struct policy_request asked =
            policy_request_of(text_of(order->launch, "kernel_name"), order->spec,
                              text_of(order->record, "owner"), json_object_get(request, "env"));
        uids = policy_ids(accounts->policy, &asked, "uid");
        gids = policy_ids(accounts->policy, &asked, "gid");
    } else {
        uids = listed(accounts->prohibited_uids, "prohibited-uids", err);
        gids = uids != NULL ? listed(accounts->prohibited_gids, "prohibited-gids", err) : NULL;
    }
    json_object_set_new(account, "uid", uids);
    json_object_set_new(account, "gid", gids);
    return gids != NULL ? 0 : -1;
}

int local_account_add(const struct local *local, const struct provision_order *order,
                      struct error *err) {
    const char *name = NULL;
    if (!local->accounts.is_on)
        return 0;
    if (find_owner(local, json_object_get(order->record, "request"), &name, err) < 0)
        return -1;
    cleanup_free char *place = place_of(local, order->kernel_id);
    cleanup_json json_t *account = json_pack("{s:s, s:s, s:I}", "name", name, "place", place,
                                             "min_uid", (json_int_t)local->accounts.min_uid);
    if (list_ids(&local->accounts, order, account, err) < 0)
        return -1;
    json_object_set(order->launch, "account", account);
    return 0;
}
