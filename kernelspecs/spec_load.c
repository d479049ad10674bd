#include "kernelspecs/spec_load.h"

#include "base/cleanup.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernelspecs/spec_file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct loading {
    struct spec_list *list;
    const struct spec_filter *filter;
    struct spec_watch *watch;
    struct map *taken; /* name to the directory that has it */
    json_t *shadowed;
    json_t *hidden;
};

static bool is_matched(char *const *globs, const char *name) {
    for (; globs != NULL && *globs != NULL; globs++)
        if (text_glob(*globs, name))
            return true;
    return false;
}

static bool is_permitted(const struct spec_filter *filter, const char *name) {
    bool has_allowed = filter->allowed != NULL && *filter->allowed != NULL;
    return !is_matched(filter->denied, name) && (!has_allowed || is_matched(filter->allowed, name));
}

static void append(struct spec_list *list, char *name, char *directory, json_t *json) {
    const char *display_name = json_string_value(json_object_get(json, "display_name"));
    const char *language = json_string_value(json_object_get(json, "language"));
    list->specs[list->count++] = (struct kernelspec){
        .name = name,
        .directory = directory,
        .display_name = display_name != NULL && *display_name != '\0' ? display_name : name,
        .language = language != NULL ? language : "",
        .json = json,
        .resources = spec_file_resources(directory),
    };
}

/* A directory that holds a kernel.json; directory is stolen. */
static void load_one(struct loading *loading, const char *entry, char *directory) {
    struct spec_list *list = loading->list;
    cleanup_free char *path = directory;
    cleanup_free char *name = memory_strdup(entry);
    text_lower(name);
    if (!spec_name_is_valid(name)) {
        spec_problem_add(
            list->problems, path, 0, "",
            "the directory's name cannot be a kernel's: letters, digits, '.', '_' and '-' only");
        return;
    }
    const char *winner = map_get(loading->taken, name);
    if (winner != NULL) {
        json_array_append_new(loading->shadowed, json_pack("{s:s, s:s*, s:s*}", "name", name,
                                                           "directory", path, "by", winner));
        return;
    }
    if (!is_permitted(loading->filter, name)) {
        json_array_append_new(loading->hidden,
                              json_pack("{s:s, s:s*}", "name", name, "directory", path));
        return;
    }
    if (list->count == SPECS_MAX) {
        spec_problem_add(list->problems, path, 0, "", "left out: there are %d kernelspecs already",
                         SPECS_MAX);
        return;
    }
    json_t *json = spec_file_load(path, list->problems);
    /* A broken one keeps its name, as in Jupyter: running another of that name in its place would
     * surprise more. */
    char *kept = memory_strdup(path);
    free(map_put(loading->taken, name, kept));
    if (json != NULL)
        append(list, steal(&name), steal(&path), json);
}

static int is_candidate(const struct dirent *entry) {
    /* Kubernetes' ..data and ..2024_01_31 hold the same files again. */
    return strcmp(entry->d_name, ".") != 0 && !text_starts_with(entry->d_name, "..");
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void load_entry(struct loading *loading, const char *root, const char *entry) {
    cleanup_free char *path = memory_printf("%s/%s", root, entry);
    struct stat found;
    if (stat(path, &found) < 0 || !S_ISDIR(found.st_mode))
        return;
    spec_watch_kernel_directory(loading->watch, path);
    if (spec_file_is_directory_of_one(path))
        load_one(loading, entry, steal(&path));
}

/* Answers what to call the directory in the report. */
static const char *load_directory(struct loading *loading, const char *root) {
    struct dirent **entries = NULL;
    spec_watch_search_directory(loading->watch, root);
    int count = scandir(root, &entries, is_candidate, by_name);
    if (count < 0 && errno == ENOENT)
        return "missing";
    if (count < 0) {
        spec_problem_add(loading->list->problems, root, 0, "", "cannot be searched: %s",
                         strerror(errno));
        return "unreadable";
    }
    for (int i = 0; i < count; i++) {
        load_entry(loading, root, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return "read";
}

static int compare_specs(const void *a, const void *b) {
    const struct kernelspec *one = a;
    const struct kernelspec *other = b;
    return strcmp(one->name, other->name);
}

void spec_list_load(struct spec_list *list, char *const *directories,
                    const struct spec_filter *filter, struct spec_watch *watch) {
    struct loading loading = {.list = list, .filter = filter, .watch = watch};
    json_t *searched = json_array();
    *list = (struct spec_list){.specs = memory_alloc(SPECS_MAX * sizeof *list->specs),
                               .problems = json_array()};
    loading.taken = map_create();
    loading.shadowed = json_array();
    loading.hidden = json_array();

    for (size_t i = 0; directories[i] != NULL; i++) {
        size_t before = list->count;
        const char *state = load_directory(&loading, directories[i]);
        json_array_append_new(searched,
                              json_pack("{s:s*, s:s, s:I}", "path", directories[i], "state", state,
                                        "count", (json_int_t)(list->count - before)));
    }

    qsort(list->specs, list->count, sizeof *list->specs, compare_specs);
    list->report = json_pack("{s:o, s:o, s:o}", "directories", searched, "shadowed",
                             loading.shadowed, "hidden", loading.hidden);
    void *directory = NULL;
    for (size_t at = 0; map_next(loading.taken, &at, NULL, &directory);)
        free(directory);
    map_destroy(loading.taken);
}

const struct kernelspec *spec_list_find(const struct spec_list *list, const char *lower_name) {
    struct kernelspec key = {.name = lower_name};
    if (list->count == 0)
        return NULL;
    return bsearch(&key, list->specs, list->count, sizeof key, compare_specs);
}

void spec_list_free(struct spec_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        struct kernelspec *spec = &list->specs[i];
        free((char *)(uintptr_t)spec->name);
        free((char *)(uintptr_t)spec->directory);
        json_decref(spec->json);
        json_decref(spec->resources);
    }
    free(list->specs);
    json_decref(list->problems);
    json_decref(list->report);
    *list = (struct spec_list){0};
}
