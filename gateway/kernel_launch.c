#include "gateway/kernel_launch.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernelspecs/substitute.h"
#include "launcher/program_path.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

bool kernel_variable_is_secret(const char *name) {
    static const char *const marks[] = {"TOKEN",      "SECRET",      "PASSWORD", "PASSWD",
                                        "CREDENTIAL", "PRIVATE_KEY", "API_KEY"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strcasestr(name, marks[i]) != NULL)
            return true;
    return false;
}

static bool is_one_of(const char *name, const char *const *names) {
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/* Never given on, whoever asks: our tokens, and what describes the gateway's own process. ipykernel
 * with a JPY_PARENT_PID ends when its parent changes, and kernels outlive gateways. */
static bool is_ours(const char *name) {
    static const char *const names[] = {"EG_AUTH_TOKEN",    "KG_AUTH_TOKEN",
                                        "ELARA_AUTH_TOKEN", "EG_REMOTE_PWD",
                                        "LS_COLORS",        "PYTHONEXECUTABLE",
                                        "JPY_PARENT_PID",   "NOTIFY_SOCKET",
                                        "LISTEN_PID",       "LISTEN_FDS",
                                        "LISTEN_FDNAMES",   "WATCHDOG_PID",
                                        "WATCHDOG_USEC",    NULL};
    return is_one_of(name, names);
}

/* What says where things are on the gateway's machine, and whose it is: an image has its own. */
static bool is_of_machine(const char *name) {
    static const char *const names[] = {
        "PATH",       "HOME",         "USER",         "LOGNAME",          "SHELL",
        "TMPDIR",     "PYTHONPATH",   "PYTHONHOME",   "VIRTUAL_ENV",      "LD_LIBRARY_PATH",
        "IPYTHONDIR", "CONDA_PREFIX", "JUPYTER_PATH", "JUPYTER_DATA_DIR", NULL};
    return is_one_of(name, names);
}

/* Places of the gateway's user. */
static bool is_of_person(const char *name) {
    static const char *const names[] = {"HOME",       "USER",   "LOGNAME",          "SHELL",
                                        "IPYTHONDIR", "TMPDIR", "JUPYTER_DATA_DIR", "MAIL",
                                        NULL};
    return is_one_of(name, names) || text_starts_with(name, "XDG_");
}

static bool is_inherited(const struct kernel_plan *plan, const char *name) {
    bool all = false;
    if (plan->is_elsewhere && is_of_machine(name))
        return false; /* the default names them too, and so does JEG's chart */
    if (plan->settings->is_run_as_owner && is_of_person(name))
        return false;
    for (char *const *at = plan->settings->inherited_envs; at != NULL && *at != NULL; at++) {
        if (strcmp(*at, name) == 0)
            return true; /* named: the administrator means it */
        all |= strcmp(*at, "*") == 0;
    }
    return all && !plan->is_elsewhere && !text_starts_with(name, "ELARA_") &&
           !text_starts_with(name, "EG_") && !text_starts_with(name, "KG_") &&
           strcmp(name, "JPY_SESSION_NAME") != 0 && /* of a notebook that it was started in */
           !kernel_variable_is_secret(name);
}

static void add_inherited(json_t *env, const struct kernel_plan *plan) {
    for (char *const *at = plan->environment; *at != NULL; at++) {
        size_t length = strcspn(*at, "=");
        if (length == 0 || (*at)[length] != '=')
            continue;
        cleanup_free char *name = memory_strndup(*at, length);
        if (is_inherited(plan, name) && !is_ours(name))
            json_object_set_new(env, name, json_string(*at + length + 1)); /* not UTF-8: left out */
    }
}

static void add_spec(json_t *env, const struct kernel_plan *plan) {
    cleanup_json json_t *values =
        json_copy(env); /* ${VAR} means what stood there before the spec */
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(plan->spec->json, "env"), name, value) {
        if (!json_is_string(value) || *name == '\0' || strchr(name, '=') != NULL)
            continue;
        cleanup_free char *text = substitute_variables(json_string_value(value), values);
        json_object_set_new(env, name, json_string(text));
    }
}

/* Client values beat the spec's; those that only a "*" let in do not. */
static void add_client_again(json_t *env, const struct kernel_plan *plan) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)plan->env, name, value) {
        bool named = text_starts_with(name, "KERNEL_");
        for (char *const *at = plan->settings->client_envs; !named && at != NULL && *at; at++)
            named = strcmp(*at, name) == 0;
        if (named)
            json_object_set(env, name, value);
    }
}

static void set_default(json_t *env, const char *name, const char *value) {
    if (json_object_get(env, name) == NULL && value != NULL)
        json_object_set_new(env, name, json_string(value));
}

static void force(json_t *env, const struct kernel_plan *plan) {
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(env, next, name, value) {
        if (is_ours(name))
            json_object_del(env, name);
    }
    json_object_set_new(env, "KERNEL_GATEWAY", json_string("1"));
    json_object_set_new(env, "KERNEL_ID", json_string(plan->kernel_id));
    cleanup_free char *language = memory_strdup(plan->spec->language);
    text_lower(language);
    set_default(env, "KERNEL_LANGUAGE", language);
    set_default(env, "KERNEL_USERNAME", plan->username);
}

json_t *kernel_launch_environment(const struct kernel_plan *plan) {
    json_t *env = json_object();
    add_inherited(env, plan);
    json_object_update(env, (json_t *)(uintptr_t)plan->env);
    add_spec(env, plan);
    add_client_again(env, plan);
    force(env, plan);
    return env;
}

/* The program of argv[0]. One that is not found stays as it is: the launcher says what is
 * missing. */
static char *resolve_program(const struct kernel_plan *plan, const json_t *env, const char *name) {
    if (!program_is_python(name))
        return memory_strdup(name);
    if (plan->settings->python != NULL && *plan->settings->python != '\0')
        return memory_strdup(plan->settings->python);
    const char *path = text_of(env, "PATH") ? text_of(env, "PATH") : getenv("PATH");
    char *found = program_find_python(path, name);
    return found ? found : memory_strdup(name);
}

static int make_argv(const struct kernel_plan *plan, const json_t *env, json_t **ret,
                     struct error *err) {
    cleanup_json json_t *source = NULL, *argv = json_array();
    if (kernelspec_argv(plan->spec, plan->is_elsewhere, &source, err) < 0)
        return -1;
    size_t at;
    json_t *value;
    json_array_foreach(source, at, value) {
        if (!json_is_string(value))
            return error_set(err, ERROR_INVALID, "kernel spec %.100s: argv[%zu] must be a text",
                             plan->spec->name, at);
        const char *text = json_string_value(value);
        cleanup_free char *argument =
            !plan->is_elsewhere && at == 0 ? resolve_program(plan, env, text) : memory_strdup(text);
        json_array_append_new(argv, json_string(argument));
    }
    *ret = steal(&argv);
    return 0;
}

/* The signal that EG_ALTERNATE_SIGINT names ("SIGUSR2", "USR2" or a number), else SIGINT. */
static int interrupt_signal(const json_t *env) {
    const char *name = text_of(env, "EG_ALTERNATE_SIGINT");
    if (name == NULL)
        return SIGINT;
    int64_t number;
    if (isdigit((unsigned char)*name) &&
        text_parse_int(name, 1, SIGRTMAX, "EG_ALTERNATE_SIGINT", &number, NULL) == 0)
        return (int)number;
    if (strncasecmp(name, "SIG", 3) == 0)
        name += 3;
    for (int signum = 1; signum < NSIG; signum++) {
        const char *short_name = sigabbrev_np(signum);
        if (short_name != NULL && strcasecmp(short_name, name) == 0)
            return signum;
    }
    return SIGINT;
}

/* The prefix a spec was installed below: <prefix>/share/jupyter/kernels/<name>. */
static char *find_prefix(const char *directory) {
    const char *share = strstr(directory, "/share/jupyter/kernels/");
    return share ? memory_strndup(directory, (size_t)(share - directory)) : memory_strdup("/usr");
}

/* The image's own variables with ours on top, and a directory that is there. */
static void set_elsewhere(json_t *launch, const char *directory) {
    json_t *directories = *directory != '\0' ? json_pack("[s, s, s]", directory, "~", ".")
                                             : json_pack("[s, s]", "~", ".");
    json_object_set_new(launch, "cwd", directories);
    json_object_set_new(launch, "environment_base", json_string("launcher"));
}

int kernel_launch_create(const struct kernel_plan *plan, json_t **ret, struct error *err) {
    const struct kernels_settings *settings = plan->settings;
    cleanup_json json_t *env = kernel_launch_environment(plan);
    cleanup_json json_t *argv = NULL;
    if (make_argv(plan, env, &argv, err) < 0)
        return -1;
    const char *mode = text_of(plan->spec->json, "interrupt_mode");
    bool by_message = mode != NULL && strcmp(mode, "message") == 0;
    cleanup_free char *prefix = find_prefix(plan->spec->directory);
    int64_t own_journal_bytes = kernelspec_journal_bytes(plan->spec);
    int64_t journal_bytes = own_journal_bytes > 0 ? own_journal_bytes : settings->journal_bytes;
    json_t *launch = json_pack(
        "{s:s, s:s, s:O, s:O, s:s, s:s, s:s, s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:s, s:s}",
        "kernel_id", plan->kernel_id, "kernel_name", plan->spec->name, "argv", argv, "env", env,
        "cwd", plan->directory, "resource_dir", plan->spec->directory, "prefix", prefix,
        "interrupt_mode", by_message ? "message" : "signal", "interrupt_signal",
        interrupt_signal(env), "transport", settings->transport ? settings->transport : "tcp",
        "shutdown_wait_ms", (json_int_t)settings->shutdown_wait_ms, "launch_timeout_ms",
        (json_int_t)plan->launch_timeout_ms, "restart_limit", (json_int_t)settings->restart_limit,
        "stable_after_ms", (json_int_t)settings->stable_after_ms, "journal_bytes",
        (json_int_t)journal_bytes, "output_bytes", (json_int_t)settings->output_bytes,
        "session_retention_ms", (json_int_t)settings->session_retention_ms, "log_level",
        settings->log_level ? settings->log_level : "INFO", "log_format",
        settings->log_format ? settings->log_format : "text");
    if (launch == NULL)
        return error_set(err, ERROR_INVALID,
                         "kernel spec %.100s: a path or text in it is not UTF-8", plan->spec->name);
    if (plan->is_elsewhere)
        set_elsewhere(launch, plan->directory);
    *ret = launch;
    return 0;
}
