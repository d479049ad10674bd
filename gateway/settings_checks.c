/* What single settings may hold, beyond their type. Each is an option_row's check. */
#include "base/cleanup.h"
#include "base/log.h"
#include "gateway/settings_internal.h"
#include "launcher/kube_names.h"
#include "launcher/kube_template.h"
#include "launcher/policy_file.h"
#include "nfs/home_path.h"
#include "nfs/user_ids.h"

#include <string.h>

enum { BASE_URL_MAX = 1024 };

int settings_check_log_level(const void *value, struct error *err) {
    enum log_level level;
    return log_level_parse(value, &level) == 0
               ? 0
               : error_set(err, ERROR_INVALID, "\"%.64s\" must be DEBUG, INFO, WARNING or ERROR",
                           (const char *)value);
}

int settings_check_install(const void *value, struct error *err) {
    return kube_install_check(value, err);
}

int settings_check_prefix(const void *value, struct error *err) {
    return kube_prefix_check(value, err);
}

int settings_check_pod(const void *value, struct error *err) {
    return kube_template_check(value, "kubernetes-pod", err);
}

/* One that is not there may be on another machine; a gateway does not start without it. */
int settings_check_policy(const void *value, struct error *err) {
    struct policy *policy = NULL;
    struct error problem = {0};
    const char *path = value;
    int failed = *path != '\0' ? policy_file_load(path, NULL, &policy, &problem) : 0;
    policy_destroy(policy);
    return failed < 0 && problem.code != ERROR_NOT_FOUND
               ? error_set(err, problem.code, "%s", problem.text)
               : 0;
}

int settings_check_home_place(const void *value, struct error *err) {
    return home_path_check(value, 1, "the path", err);
}

/* As with a policy. */
int settings_check_home_passwd(const void *value, struct error *err) {
    cleanup_json json_t *uids = NULL;
    struct error problem = {0};
    return user_ids_read(value, &uids, &problem) < 0 && problem.code != ERROR_NOT_FOUND
               ? error_set(err, problem.code, "%s", problem.text)
               : 0;
}

int settings_check_home_path(const void *value, struct error *err) {
    return home_template_check(value, "the path", err);
}

int settings_check_labels(const void *value, struct error *err) {
    const char *name;
    const json_t *label;
    json_object_foreach((json_t *)(uintptr_t)value, name, label) {
        if (!json_is_string(label) || !kube_is_label_value(json_string_value(label)))
            return error_set(err, ERROR_INVALID, "%.100s: must be the text of a label", name);
    }
    return 0;
}

int settings_check_base_url(const void *value, struct error *err) {
    const char *url = value;
    size_t allowed = strspn(url, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                 "-._~/@:+");
    if (url[allowed] == '\0' && strlen(url) <= BASE_URL_MAX && strstr(url, "//") == NULL &&
        strstr(url, "..") == NULL)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "must be a path such as /gateway/ of letters, digits, - . _ ~ @ : + and /");
}
