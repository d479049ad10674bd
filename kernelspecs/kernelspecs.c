#include "kernelspecs/kernelspecs.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernelspecs/search_path.h"
#include "kernelspecs/spec_file.h"
#include "kernelspecs/spec_load.h"
#include "kernelspecs/spec_watch.h"

#include <string.h>
#include <unistd.h>

#define LOG_AREA "kernelspecs"

enum { QUIET_MS = 100, BURST_MAX_MS = 1000, NAME_MAX_LENGTH = 255, GLOBS_MAX = 256 };

struct kernelspecs {
    char **directories;
    char **allowed;
    char **denied;
    char *default_name; /* NULL: chosen */
    char *missing;      /* what was told of `allowed` last; NULL: nothing */
    bool publish_env;
    struct spec_watch *watch;
    struct spec_list list;
    int64_t changed_ms; /* the first change that is not loaded yet; 0 = none */
};

struct kernelspecs_load {
    char **directories, **allowed, **denied;
    struct spec_list list;
    struct spec_watch *watch; /* NULL: it was not run, or it was taken */
};

/* Lower-cased, as the names are; without the quotes that JEG's EG_ALLOWED_KERNELS has around each.
 * NULL when one is bad. */
static char **copy_globs(char *const *globs, const char *setting, struct error *err) {
    size_t count = 0;
    while (globs != NULL && globs[count] != NULL)
        count++;
    if (count > GLOBS_MAX) {
        error_set(err, ERROR_INVALID, "%s: more than %d entries", setting, GLOBS_MAX);
        return NULL;
    }
    char **copy = memory_alloc((count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        const char *start = globs[i] + strspn(globs[i], " \t'\"");
        size_t length = strlen(start);
        while (length > 0 && strchr(" \t'\"", start[length - 1]) != NULL)
            length--;
        copy[i] = memory_strndup(start, length);
        text_lower(copy[i]);
        if (length == 0) {
            error_set(err, ERROR_INVALID,
                      "%s: entry %zu is empty; name a kernelspec, or a pattern such as python*",
                      setting, i + 1);
            search_path_free(copy);
            return NULL;
        }
    }
    return copy;
}

static int take_settings(struct kernelspecs *specs, const struct kernelspecs_settings *settings,
                         struct error *err) {
    const char *name = settings->default_name;
    specs->publish_env = settings->publish_env;
    if (name != NULL && *name != '\0') {
        if (!spec_name_is_valid(name) || strlen(name) > NAME_MAX_LENGTH)
            return error_set(
                err, ERROR_INVALID,
                "default kernel name: \"%.64s\" cannot be a kernelspec's name: letters, "
                "digits, '.', '_' and '-' only",
                name);
        specs->default_name = memory_strdup(name);
        text_lower(specs->default_name);
    }
    specs->allowed = copy_globs(settings->allowed, "allowed kernelspecs", err);
    if (specs->allowed == NULL)
        return -1;
    specs->denied = copy_globs(settings->denied, "denied kernelspecs", err);
    if (specs->denied == NULL)
        return -1;
    bool named = settings->directories != NULL && *settings->directories != NULL;
    specs->directories =
        named ? search_path_copy(settings->directories) : search_path_create(environ);
    if (*specs->directories == NULL)
        return error_set(err, ERROR_INVALID,
                         "kernelspec directories: none is named, all entries are empty");
    return 0;
}

static bool has_problem(const json_t *problems, const json_t *problem) {
    for (size_t i = 0; i < json_array_size(problems); i++)
        if (json_equal(json_array_get(problems, i), problem))
            return true;
    return false;
}

static const char *member(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static void log_problems(const struct spec_list *list, const struct spec_list *old) {
    for (size_t i = 0; i < json_array_size(list->problems); i++) {
        const json_t *problem = json_array_get(list->problems, i);
        const char *field = member(problem, "field");
        json_int_t line = json_integer_value(json_object_get(problem, "line"));
        if (has_problem(old->problems, problem))
            continue;
        log_warning("%s:%lld: %s%s%s", member(problem, "file"), (long long)line, field,
                    *field != '\0' ? ": " : "", member(problem, "problem"));
    }
}

static bool is_same(const struct kernelspec *spec, const struct kernelspec *other) {
    return strcmp(spec->directory, other->directory) == 0 && json_equal(spec->json, other->json) &&
           json_equal(spec->resources, other->resources);
}

static void log_changes(const struct spec_list *list, const struct spec_list *old) {
    for (size_t i = 0; i < list->count; i++) {
        const struct kernelspec *spec = &list->specs[i];
        const struct kernelspec *before = spec_list_find(old, spec->name);
        if (before == NULL)
            log_info("%s appeared (%s)", spec->name, spec->directory);
        else if (!is_same(spec, before))
            log_info("%s changed (%s)", spec->name, spec->directory);
    }
    for (size_t i = 0; i < old->count; i++)
        if (spec_list_find(list, old->specs[i].name) == NULL)
            log_info("%s is gone (%s)", old->specs[i].name, old->specs[i].directory);
}

static bool has_match(const struct spec_list *list, const char *glob) {
    for (size_t i = 0; i < list->count; i++)
        if (text_glob(glob, list->specs[i].name))
            return true;
    return false;
}

/* Once, until something else is missing. */
static void log_missing(struct kernelspecs *specs) {
    struct buffer names = {0};
    for (size_t i = 0; specs->allowed[i] != NULL; i++)
        if (!has_match(&specs->list, specs->allowed[i]))
            buffer_printf(&names, "%s%s", names.length > 0 ? ", " : "", specs->allowed[i]);
    const char *text = names.length > 0 ? buffer_text(&names) : NULL;
    if (text != NULL && (specs->missing == NULL || strcmp(text, specs->missing) != 0))
        log_warning("allowed-kernelspecs: there is no kernelspec %s", text);
    text_replace(&specs->missing, text);
    buffer_free(&names);
}

static void log_watch(const struct spec_watch *watch, const struct spec_watch *old) {
    const char *problem = spec_watch_problem(watch);
    const char *known = old != NULL ? spec_watch_problem(old) : NULL;
    if (problem != NULL && (known == NULL || strcmp(known, problem) != 0))
        log_warning("%s", problem);
}

struct kernelspecs_load *kernelspecs_load_create(struct kernelspecs *specs) {
    struct kernelspecs_load *load = memory_alloc(sizeof *load);
    specs->changed_ms = 0;
    load->directories = search_path_copy(specs->directories);
    load->allowed = copy_globs(specs->allowed, "", NULL);
    load->denied = copy_globs(specs->denied, "", NULL);
    return load;
}

void kernelspecs_load_run(struct kernelspecs_load *load) {
    struct spec_filter filter = {load->allowed, load->denied};
    load->watch = spec_watch_create();
    spec_list_load(&load->list, load->directories, &filter, load->watch);
}

void kernelspecs_load_destroy(struct kernelspecs_load *load) {
    search_path_free(load->directories);
    search_path_free(load->allowed);
    search_path_free(load->denied);
    spec_list_free(&load->list);
    spec_watch_destroy(load->watch);
    free(load);
}

void kernelspecs_take(struct kernelspecs *specs, struct kernelspecs_load *load) {
    struct spec_list old = specs->list;
    bool had_default = specs->default_name == NULL || spec_list_find(&old, specs->default_name);
    bool is_first = old.specs == NULL;
    log_watch(load->watch, specs->watch);
    spec_watch_destroy(specs->watch);
    specs->watch = steal(&load->watch);
    specs->list = load->list;
    load->list = (struct spec_list){0};
    log_problems(&specs->list, &old);
    log_changes(&specs->list, &old);
    log_missing(specs);
    if ((is_first || had_default) && specs->default_name != NULL &&
        spec_list_find(&specs->list, specs->default_name) == NULL)
        log_warning("the default kernelspec %s is not there: starting without a name will fail",
                    specs->default_name);
    if (specs->list.count == 0 && (is_first || old.count > 0))
        log_warning("no kernelspecs in %s and the rest of the search path; "
                    "`elara kernelspecs check` says where was looked",
                    specs->directories[0]);
    spec_list_free(&old);
}

void kernelspecs_reload(struct kernelspecs *specs) {
    struct kernelspecs_load *load = kernelspecs_load_create(specs);
    kernelspecs_load_run(load);
    kernelspecs_take(specs, load);
    kernelspecs_load_destroy(load);
}

int kernelspecs_create(const struct kernelspecs_settings *settings, struct kernelspecs **ret,
                       struct error *err) {
    struct kernelspecs *specs = memory_alloc(sizeof *specs);
    if (take_settings(specs, settings, err) < 0) {
        kernelspecs_destroy(specs);
        return -1;
    }
    kernelspecs_reload(specs);
    *ret = specs;
    return 0;
}

static void free_settings(struct kernelspecs *specs) {
    search_path_free(specs->directories);
    search_path_free(specs->allowed);
    search_path_free(specs->denied);
    free(specs->default_name);
}

void kernelspecs_destroy(struct kernelspecs *specs) {
    if (specs == NULL)
        return;
    spec_watch_destroy(specs->watch);
    spec_list_free(&specs->list);
    free_settings(specs);
    free(specs->missing);
    free(specs);
}

int kernelspecs_configure(struct kernelspecs *specs, const struct kernelspecs_settings *settings,
                          struct error *err) {
    struct kernelspecs next = {
        .watch = specs->watch,
        .list = specs->list,
        .missing = specs->missing,
        .changed_ms = specs->changed_ms,
    };
    if (take_settings(&next, settings, err) < 0) {
        free_settings(&next);
        return -1;
    }
    free_settings(specs);
    *specs = next;
    return 0;
}

const struct kernelspec *kernelspecs_find(const struct kernelspecs *specs, const char *name) {
    char lower[NAME_MAX_LENGTH + 1];
    if (name == NULL || strlen(name) > NAME_MAX_LENGTH)
        return NULL;
    strcpy(lower, name);
    text_lower(lower);
    return spec_list_find(&specs->list, lower);
}

const char *kernelspecs_default(const struct kernelspecs *specs) {
    if (specs->list.count == 0)
        return "";
    if (specs->default_name != NULL)
        return specs->default_name;
    const struct kernelspec *native = spec_list_find(&specs->list, "python3");
    return native != NULL ? native->name : specs->list.specs[0].name;
}

const struct kernelspec *kernelspecs_at(const struct kernelspecs *specs, size_t index) {
    return index < specs->list.count ? &specs->list.specs[index] : NULL;
}

bool kernelspecs_publish_env(const struct kernelspecs *specs) {
    return specs->publish_env;
}

int kernelspecs_watch_fd(const struct kernelspecs *specs) {
    return spec_watch_fd(specs->watch);
}

int kernelspecs_changed(struct kernelspecs *specs) {
    int64_t now_ms = clock_monotonic_ms();
    if (!spec_watch_read(specs->watch))
        return -1;
    if (specs->changed_ms == 0)
        specs->changed_ms = now_ms;
    /* Quiet for a moment is enough, but a directory that never gets quiet is loaded all the
     * same. */
    int64_t left_ms = specs->changed_ms + BURST_MAX_MS - now_ms;
    return left_ms < 0 ? 0 : left_ms < QUIET_MS ? (int)left_ms : QUIET_MS;
}

const json_t *kernelspecs_problems(const struct kernelspecs *specs) {
    return specs->list.problems;
}

const json_t *kernelspecs_report(const struct kernelspecs *specs) {
    return specs->list.report;
}
