#include "launcher/launch.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/pod_start.h"
#include "nfs/home_path.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

size_t launch_record_size(const json_t *record) {
    return json_dumpb(record, NULL, 0, JSON_INDENT(2));
}

enum { ARGV_MAX = 1024, ENVIRONMENT_MAX = 8192, DIRECTORIES_MAX = 16 };

/* "" is a text too: absent and empty differ only for members that need a value. */
static int take_text(const json_t *json, const char *member, bool needed, char **ret,
                     struct error *err) {
    const json_t *value = json_object_get(json, member);
    if (value == NULL || json_is_null(value)) {
        if (needed)
            return error_set(err, ERROR_INVALID, "launch.json: %s is missing", member);
        return 0;
    }
    if (!json_is_string(value))
        return error_set(err, ERROR_INVALID, "launch.json: %s must be a text", member);
    const char *text = json_string_value(value);
    if (strlen(text) != json_string_length(value))
        return error_set(err, ERROR_INVALID, "launch.json: %s holds a NUL", member);
    if (needed && text[0] == '\0')
        return error_set(err, ERROR_INVALID, "launch.json: %s is empty", member);
    free(*ret);
    *ret = memory_strdup(text);
    return 0;
}

static int take_number(const json_t *json, const char *member, int64_t min, int64_t max,
                       int64_t *ret, struct error *err) {
    const json_t *value = json_object_get(json, member);
    if (value == NULL)
        return 0; /* the default stands */
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max)
        return error_set(err, ERROR_INVALID,
                         "launch.json: %s must be a whole number from %lld to %lld", member,
                         (long long)min, (long long)max);
    *ret = json_integer_value(value);
    return 0;
}

static int take_argv(const json_t *json, struct launch *launch, struct error *err) {
    const json_t *argv = json_object_get(json, "argv");
    size_t count = json_array_size(argv);
    if (!json_is_array(argv) || count == 0 || count > ARGV_MAX)
        return error_set(err, ERROR_INVALID, "launch.json: argv must be an array of 1 to %d texts",
                         ARGV_MAX);
    launch->argv = memory_alloc((count + 1) * sizeof *launch->argv);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(argv, i);
        if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
            return error_set(err, ERROR_INVALID,
                             "launch.json: argv[%zu] must be a text without NUL", i);
        launch->argv[i] = memory_strdup(json_string_value(item));
    }
    if (launch->argv[0][0] == '\0')
        return error_set(err, ERROR_INVALID, "launch.json: argv[0] is empty; it names the program");
    return 0;
}

static int take_environment(const json_t *json, struct launch *launch, struct error *err) {
    json_t *env = json_object_get(json, "env");
    size_t count = json_object_size(env);
    if (env != NULL && (!json_is_object(env) || count > ENVIRONMENT_MAX))
        return error_set(err, ERROR_INVALID,
                         "launch.json: env must be an object of at most %d texts", ENVIRONMENT_MAX);
    launch->environment = memory_alloc((count + 1) * sizeof *launch->environment);
    size_t at = 0;
    const char *name;
    json_t *value;
    json_object_foreach(env, name, value) {
        if (name[0] == '\0' || strchr(name, '=') != NULL)
            return error_set(err, ERROR_INVALID,
                             "launch.json: env: '%.100s' is no name of a variable", name);
        if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
            return error_set(err, ERROR_INVALID,
                             "launch.json: env.%.100s must be a text without NUL", name);
        launch->environment[at++] = memory_printf("%s=%s", name, json_string_value(value));
    }
    return 0;
}

static int take_environment_base(const json_t *json, struct launch *launch, struct error *err) {
    const json_t *base = json_object_get(json, "environment_base");
    const char *text = base == NULL ? "none" : json_string_value(base);
    if (text == NULL || (strcmp(text, "none") != 0 && strcmp(text, "launcher") != 0))
        return error_set(err, ERROR_INVALID,
                         "launch.json: environment_base must be \"none\" or \"launcher\"");
    launch->is_on_launcher_environment = strcmp(text, "launcher") == 0;
    return 0;
}

static int take_directory(const json_t *json, struct launch *launch, struct error *err) {
    const json_t *cwd = json_object_get(json, "cwd");
    if (!json_is_array(cwd))
        return take_text(json, "cwd", false, &launch->cwd, err);
    size_t count = json_array_size(cwd);
    if (count == 0 || count > DIRECTORIES_MAX)
        return error_set(err, ERROR_INVALID, "launch.json: cwd must be a text or 1 to %d of them",
                         DIRECTORIES_MAX);
    launch->cwds = memory_alloc((count + 1) * sizeof *launch->cwds);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(cwd, i);
        if (!json_is_string(item) || json_string_length(item) == 0 ||
            strlen(json_string_value(item)) != json_string_length(item))
            return error_set(err, ERROR_INVALID,
                             "launch.json: cwd[%zu] must be a text without NUL, and not empty", i);
        launch->cwds[i] = memory_strdup(json_string_value(item));
    }
    return 0;
}

static int take_home(const json_t *json, struct launch *launch, struct error *err) {
    const json_t *home = json_object_get(json, "home");
    const int64_t day_ms = INT64_C(86400000);
    if (home == NULL)
        return 0;
    if (!json_is_object(home))
        return error_set(err, ERROR_INVALID, "launch.json: home must be an object");
    if (take_text(home, "directory", true, &launch->home_directory, err) < 0 ||
        take_text(home, "path", true, &launch->home_path, err) < 0 ||
        take_number(home, "given", 0, INT32_MAX, &launch->home_given, err) < 0 ||
        take_number(home, "uid", -1, UINT32_MAX, &launch->home_uid, err) < 0 ||
        take_number(home, "gid", -1, UINT32_MAX, &launch->home_gid, err) < 0 ||
        take_number(home, "deadline_ms", 1, day_ms, &launch->home_deadline_ms, err) < 0)
        return -1;
    return home_path_check(launch->home_directory, 1, "launch.json: home.directory", err) < 0 ||
                   home_path_check(launch->home_path, 0, "launch.json: home.path", err) < 0
               ? -1
               : 0;
}

static int take_range(const json_t *account, const char *member, json_t **ret, struct error *err) {
    json_t *range = json_object_get(account, member);
    if (range != NULL && !json_is_object(range))
        return error_set(err, ERROR_INVALID, "launch.json: account.%s must be an object", member);
    *ret = json_incref(range);
    return 0;
}

static int take_account(const json_t *json, struct launch *launch, struct error *err) {
    const json_t *account = json_object_get(json, "account");
    if (account == NULL)
        return 0;
    if (!json_is_object(account))
        return error_set(err, ERROR_INVALID, "launch.json: account must be an object");
    if (take_text(account, "name", true, &launch->account_name, err) < 0 ||
        take_text(account, "place", true, &launch->account_place, err) < 0 ||
        take_number(account, "min_uid", 1, UINT32_MAX, &launch->account_min_uid, err) < 0 ||
        take_range(account, "uid", &launch->account_uid, err) < 0 ||
        take_range(account, "gid", &launch->account_gid, err) < 0)
        return -1;
    return home_path_check(launch->account_place, 1, "launch.json: account.place", err);
}

static int take_interrupt(const json_t *json, struct launch *launch, struct error *err) {
    const json_t *mode = json_object_get(json, "interrupt_mode");
    const char *text = mode == NULL ? "signal" : json_string_value(mode);
    if (text == NULL || (strcmp(text, "signal") != 0 && strcmp(text, "message") != 0))
        return error_set(err, ERROR_INVALID,
                         "launch.json: interrupt_mode must be \"signal\" or \"message\"");
    int64_t signum = 2;
    if (take_number(json, "interrupt_signal", 0, 64, &signum, err) < 0)
        return -1;
    if (strcmp(text, "message") == 0)
        signum = 0;
    else if (signum == 0)
        return error_set(
            err, ERROR_INVALID,
            "launch.json: interrupt_signal must be 1 to 64 with interrupt_mode signal");
    launch->interrupt_signal = (int)signum;
    return 0;
}

static int take_numbers(const json_t *json, struct launch *launch, struct error *err) {
    const int64_t day_ms = INT64_C(86400000);
    const int64_t terabyte = INT64_C(1) << 40;
    const struct {
        const char *member;
        int64_t min, max;
        int64_t *ret;
    } rows[] = {
        {"shutdown_wait_ms", 0, day_ms, &launch->shutdown_wait_ms},
        {"launch_timeout_ms", 1, day_ms, &launch->launch_timeout_ms},
        {"restart_limit", 0, 1000000, &launch->restart_limit},
        {"stable_after_ms", 0, day_ms, &launch->stable_after_ms},
        {"journal_bytes", 1, terabyte, &launch->journal_bytes},
        {"output_bytes", 1, terabyte, &launch->output_bytes},
        {"session_retention_ms", 0, 366 * day_ms, &launch->session_retention_ms},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (take_number(json, rows[i].member, rows[i].min, rows[i].max, rows[i].ret, err) < 0)
            return -1;
    return 0;
}

static int take_all(const json_t *json, struct launch *launch, struct error *err) {
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID, "launch.json: must be an object");
    launch->transport = memory_strdup("tcp");
    if (take_text(json, "kernel_id", true, &launch->kernel_id, err) < 0 ||
        take_text(json, "kernel_name", true, &launch->kernel_name, err) < 0 ||
        take_argv(json, launch, err) < 0 || take_environment(json, launch, err) < 0 ||
        take_environment_base(json, launch, err) < 0 || take_directory(json, launch, err) < 0 ||
        take_home(json, launch, err) < 0 || take_account(json, launch, err) < 0 ||
        take_text(json, "resource_dir", false, &launch->resource_dir, err) < 0 ||
        take_text(json, "prefix", false, &launch->prefix, err) < 0 ||
        take_text(json, "transport", false, &launch->transport, err) < 0 ||
        take_text(json, "log_level", false, &launch->log_level, err) < 0 ||
        take_text(json, "log_format", false, &launch->log_format, err) < 0 ||
        take_interrupt(json, launch, err) < 0 || take_numbers(json, launch, err) < 0)
        return -1;
    if (strcmp(launch->transport, "tcp") != 0 && strcmp(launch->transport, "ipc") != 0)
        return error_set(err, ERROR_INVALID,
                         "launch.json: transport must be \"tcp\" or \"ipc\", not \"%.40s\"",
                         launch->transport);
    return 0;
}

int launch_create(const json_t *json, struct launch **ret, struct error *err) {
    struct launch *launch = memory_alloc(sizeof *launch);
    launch->interrupt_signal = 2;
    launch->shutdown_wait_ms = 5000;
    launch->launch_timeout_ms = 60000;
    launch->restart_limit = 5;
    launch->stable_after_ms = 10000;
    launch->journal_bytes = 64 << 20;
    launch->output_bytes = 1 << 20;
    launch->session_retention_ms = 24 * 3600 * 1000;
    launch->home_uid = launch->home_gid = -1;
    launch->home_deadline_ms = 10000;
    launch->account_min_uid = 1;
    if (take_all(json, launch, err) < 0) {
        launch_destroy(launch);
        return -1;
    }
    *ret = launch;
    return 0;
}

/* The place of the variable that begins like this, "NAME="; else that of the NULL behind all. */
static size_t find_variable(const struct launch *launch, const char *variable, size_t name) {
    size_t at = 0;
    while (launch->environment[at] != NULL && strncmp(launch->environment[at], variable, name) != 0)
        at++;
    return at;
}

/* Settings of ours, and what Kubernetes tells every pod about our Service. */
static bool is_about_us(const char *variable) {
    static const char *const prefixes[] = {"ELARA_", "ENTERPRISE_GATEWAY_SERVICE_",
                                           "ENTERPRISE_GATEWAY_PORT"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (text_starts_with(variable, prefixes[i]))
            return true;
    return false;
}

void launch_add_base_environment(struct launch *launch, char *const *base) {
    for (; *base != NULL; base++) {
        const char *variable = *base;
        if (text_starts_with(variable, POD_START_PREFIX))
            variable += strlen(POD_START_PREFIX); /* it was hidden from our own loader */
        size_t name = strcspn(variable, "=");
        if (name == 0 || variable[name] != '=' || is_about_us(variable))
            continue;
        if (launch->environment[find_variable(launch, variable, name + 1)] == NULL)
            launch_add_environment(launch, variable);
    }
}

const char *launch_variable(const struct launch *launch, const char *name) {
    cleanup_free char *start = memory_printf("%s=", name);
    const char *found = launch->environment[find_variable(launch, start, strlen(start))];
    return found != NULL ? found + strlen(start) : NULL;
}

void launch_add_environment(struct launch *launch, const char *variable) {
    size_t count = find_variable(launch, variable, strcspn(variable, "=") + 1);
    if (launch->environment[count] != NULL) {
        free(launch->environment[count]);
        launch->environment[count] = memory_strdup(variable);
        return;
    }
    launch->environment =
        memory_resize(launch->environment, (count + 2) * sizeof *launch->environment);
    launch->environment[count] = memory_strdup(variable);
    launch->environment[count + 1] = NULL;
}

static void free_texts(char **texts) {
    for (char **text = texts; text != NULL && *text != NULL; text++)
        free(*text);
    free(texts);
}

void launch_destroy(struct launch *launch) {
    if (launch == NULL)
        return;
    free(launch->kernel_id);
    free(launch->kernel_name);
    free_texts(launch->argv);
    free_texts(launch->environment);
    free(launch->cwd);
    free_texts(launch->cwds);
    free(launch->home_directory);
    free(launch->home_path);
    free(launch->account_name);
    free(launch->account_place);
    json_decref(launch->account_uid);
    json_decref(launch->account_gid);
    free(launch->user.groups);
    free(launch->resource_dir);
    free(launch->prefix);
    free(launch->transport);
    free(launch->log_level);
    free(launch->log_format);
    free(launch);
}
