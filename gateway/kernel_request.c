#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/kernel_launch.h"
#include "launcher/policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_kept(const struct kernels_settings *settings, const char *name) {
    return text_starts_with(name, "KERNEL_") || text_list_has(settings->client_envs, "*") ||
           text_list_has(settings->client_envs, name);
}

/* Names are told back, so only what can be a name is. */
static int check_name(const char *name, struct error *err) {
    size_t length = strlen(name);
    if (length == 0 || length > REQUEST_ENV_NAME_MAX || strchr(name, '=') != NULL)
        return error_set(err, ERROR_INVALID,
                         "env: \"%.60s\" cannot be a variable's name: 1 to %d characters without "
                         "\"=\"",
                         name, REQUEST_ENV_NAME_MAX);
    return 0;
}

static size_t count_characters(const char *text) {
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

/* Shell syntax and lines: kernelspecs of JEG paste values into scripts and YAML, so such values
 * never get far enough to matter. */
static int check_value(const char *name, const json_t *value, struct error *err) {
    const char *text = json_string_value(value);
    if (strlen(text) != json_string_length(value))
        return error_set(err, ERROR_INVALID, "env: the value of %s contains a NUL", name);
    if (count_characters(text) > REQUEST_ENV_VALUE_MAX)
        return error_set(err, ERROR_INVALID, "env: the value of %s is longer than %d characters",
                         name, REQUEST_ENV_VALUE_MAX);
    const char *bad = strpbrk(text, "$`\n\r");
    if (bad == NULL)
        return 0;
    const char *what = *bad == '$' ? "a $" : *bad == '`' ? "a backtick" : "a line break";
    return error_set(err, ERROR_INVALID, "env: the value of %s contains %s, which is not allowed",
                     name, what);
}

int kernel_request_env(const struct kernels_settings *settings, const json_t *env, json_t **ret,
                       struct error *err) {
    cleanup_json json_t *kept = json_object();
    if (env != NULL && !json_is_null(env) && !json_is_object(env))
        return error_set(err, ERROR_INVALID,
                         "env must be an object of texts: {\"KERNEL_USERNAME\": \"...\"}");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)env, name, value) {
        if (!json_is_string(value))
            return error_set(err, ERROR_INVALID, "env: the value of %.255s must be a text", name);
        if (!is_kept(settings, name))
            continue;
        if (check_name(name, err) < 0 || check_value(name, value, err) < 0)
            return -1;
        json_object_set(kept, name, value);
    }
    *ret = steal(&kept);
    return 0;
}

int kernel_request_timeout(const struct kernels_settings *settings, const json_t *kept,
                           int64_t *ret_ms, struct error *err) {
    const char *text = json_string_value(json_object_get(kept, "KERNEL_LAUNCH_TIMEOUT"));
    *ret_ms = settings->launch_timeout_ms;
    if (text == NULL || *text == '\0')
        return 0;
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(seconds) || seconds <= 0 || seconds > 86400)
        return error_set(err, ERROR_INVALID,
                         "env: KERNEL_LAUNCH_TIMEOUT must be a number of seconds up to 86400, not "
                         "\"%.60s\"",
                         text);
    *ret_ms = (int64_t)(seconds * 1000);
    if (*ret_ms < 1000)
        *ret_ms = 1000;
    return 0;
}

int kernel_request_own_idle(const json_t *kept, int64_t *ret_ms, struct error *err) {
    const char *text = json_string_value(json_object_get(kept, "KERNEL_CULL_IDLE_TIMEOUT"));
    *ret_ms = -1;
    if (text == NULL || *text == '\0')
        return 0;
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(seconds) || seconds < 0 || seconds > 31536000)
        return error_set(err, ERROR_INVALID,
                         "env: KERNEL_CULL_IDLE_TIMEOUT must be a number of seconds up to 31536000 "
                         "(0: never), not \"%.60s\"",
                         text);
    *ret_ms = (int64_t)(seconds * 1000);
    if (*ret_ms == 0 && seconds > 0)
        *ret_ms = 1;
    return 0;
}

/* The path without empty and "." elements; ".." is refused where it leads out. The result begins
 * with '/' or is empty. */
static int normalise(const char *path, char **ret, struct error *err) {
    if (strlen(path) > REQUEST_PATH_MAX)
        return error_set(err, ERROR_INVALID, "path is longer than %d bytes", REQUEST_PATH_MAX);
    cleanup_free char *out = memory_alloc(strlen(path) + 2);
    size_t length = 0;
    for (const char *at = path; *at != '\0';) {
        size_t part = strcspn(at, "/");
        if (text_equal_n(at, part, "..")) {
            if (length == 0)
                return error_set(err, ERROR_INVALID,
                                 "path: \"%.200s\" leads out of the root directory", path);
            while (out[--length] != '/')
                ;
        } else if (part > 0 && !text_equal_n(at, part, ".")) {
            out[length++] = '/';
            memcpy(out + length, at, part);
            length += part;
        }
        at += part;
        at += *at == '/';
    }
    out[length] = '\0';
    *ret = steal(&out);
    return 0;
}

int kernel_request_path(const char *path, struct error *err) {
    cleanup_free char *below = NULL;
    return normalise(path, &below, err);
}

static bool is_directory(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* A path that is not there (a notebook's own path, or one of another file system) gives its nearest
 * parent that is. */
static char *nearest_directory(const char *root, char *below) {
    for (;;) {
        char *path = memory_printf("%s%s", strcmp(root, "/") == 0 && *below ? "" : root, below);
        if (*below == '\0' || is_directory(path))
            return path;
        free(path);
        *strrchr(below, '/') = '\0';
    }
}

static char *root_directory(const struct kernels_settings *settings) {
    if (settings->root_directory != NULL && *settings->root_directory == '/')
        return memory_strdup(settings->root_directory);
    cleanup_free char *here = getcwd(NULL, 0);
    const char *base = here ? here : "/";
    if (settings->root_directory == NULL || *settings->root_directory == '\0')
        return memory_strdup(base);
    return memory_printf("%s/%s", base, settings->root_directory);
}

int kernel_request_directory(const struct kernels_settings *settings, const char *path,
                             const json_t *kept, char **ret, struct error *err) {
    cleanup_free char *root = root_directory(settings);
    if (path != NULL && *path != '\0') {
        cleanup_free char *below = NULL;
        if (normalise(path, &below, err) < 0)
            return -1;
        *ret = nearest_directory(root, below);
        return 0;
    }
    const char *wanted = json_string_value(json_object_get(kept, "KERNEL_WORKING_DIR"));
    bool usable = wanted != NULL && *wanted == '/' && is_directory(wanted);
    *ret = usable ? memory_strdup(wanted) : steal(&root);
    return 0;
}

const char *kernel_request_directory_elsewhere(const json_t *kept) {
    const char *wanted = json_string_value(json_object_get(kept, "KERNEL_WORKING_DIR"));
    return wanted != NULL && *wanted == '/' ? wanted : "";
}

const char *kernel_request_name(const char *verified, const json_t *kept) {
    return verified ? verified : json_string_value(json_object_get(kept, "KERNEL_USERNAME"));
}

int kernel_request_user(const struct kernels_settings *settings, const struct kernelspec *spec,
                        const char *verified, const json_t *kept, struct error *err) {
    const char *user = kernel_request_name(verified, kept);
    const char *why = kernelspec_refusal(spec, user, &settings->users);
    if (why == NULL)
        return 0;
    return error_set(err, ERROR_DENIED, "User '%.100s'%s may not start kernel spec '%.100s': %s",
                     user, verified ? "" : " (KERNEL_USERNAME)", spec->name, why);
}

int kernel_request_policy(const struct kernels_settings *settings, const struct kernelspec *spec,
                          const char *owner, const json_t *kept, json_t **ret, struct error *err) {
    const struct policy_request request = policy_request_of(spec->name, spec->json, owner, kept);
    if (settings->policy == NULL) {
        *ret = json_copy((json_t *)(uintptr_t)kept);
        return 0;
    }
    if (policy_check_request(settings->policy, &request, err) < 0)
        return -1;
    *ret = policy_counting(&request);
    return 0;
}

int kernel_request_spec(const struct kernels_settings *settings, const struct kernelspecs *specs,
                        const char *name, const char *user, const struct kernelspec **ret,
                        struct error *err) {
    *ret = *name ? kernelspecs_find(specs, name) : NULL;
    if (*ret != NULL)
        return 0;
    if (*name == '\0')
        return error_set(err, ERROR_NOT_FOUND,
                         "Kernel spec not found: this gateway has no kernel specs at all");
    struct buffer known = {.limit = 512};
    const struct kernelspec *other;
    for (size_t i = 0; (other = kernelspecs_at(specs, i)) != NULL; i++)
        if (kernelspec_refusal(other, user, &settings->users) == NULL &&
            buffer_printf(&known, "%s%s", known.length > 0 ? ", " : "", other->name) < 0)
            break;
    error_set(err, ERROR_NOT_FOUND, "Kernel spec %.200s not found: known are %s", name,
              known.length > 0 ? buffer_text(&known) : "none");
    buffer_free(&known);
    return -1;
}

int kernel_request_provisioner(const struct kernelspec *spec, bool is_elsewhere,
                               struct error *err) {
    cleanup_free char *why = is_elsewhere ? NULL : kernelspec_unsupported(spec);
    return why ? error_set(err, ERROR_UNSUPPORTED, "%s", why) : 0;
}
