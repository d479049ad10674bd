/* elara kernelspecs check */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin.h"
#include "gateway/settings.h"
#include "kernelspecs/kernelspecs.h"
#include "launcher/program_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *text_at(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "?";
}

static void print_directories(const json_t *report) {
    size_t i;
    json_t *directory;
    struct admin_table *table = admin_table_create(3);
    puts("Searched, the first that has a name wins:");
    json_array_foreach(json_object_get(report, "directories"), i, directory) {
        const char *state = text_at(directory, "state");
        json_int_t count = json_integer_value(json_object_get(directory, "count"));
        cleanup_free char *found = strcmp(state, "read") == 0
                                       ? memory_printf("%lld used", (long long)count)
                                       : memory_strdup(state);
        admin_table_add(table, (const char *[]){"", text_at(directory, "path"), found});
    }
    admin_table_print(table);
}

static void print_unused(const json_t *report) {
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(report, "shadowed"), i, entry) {
        printf("%s: not used, %s has the name already\n", text_at(entry, "directory"),
               text_at(entry, "by"));
    }
    json_array_foreach(json_object_get(report, "hidden"), i, entry) {
        printf("%s: not offered, by the allowed and denied kernelspecs\n",
               text_at(entry, "directory"));
    }
}

char *admin_missing_program(const struct kernelspec *spec, const char *python) {
    const char *program = json_string_value(json_array_get(json_object_get(spec->json, "argv"), 0));
    const char *path = getenv("PATH");
    if (program == NULL || strpbrk(program, "{$") != NULL)
        return NULL;
    if (path == NULL)
        path = "/usr/local/bin:/usr/bin:/bin";
    bool is_python = program_is_python(program);
    if (is_python && python != NULL && *python != '\0')
        program = python;
    if (strchr(program, '/') != NULL)
        return access(program, X_OK) == 0 ? NULL : memory_strdup(program);
    cleanup_free char *found =
        is_python ? program_find_python(path, program) : program_find(path, program);
    return found != NULL ? NULL : memory_strdup(program);
}

/* What is no mistake in the file, but will keep the kernel from starting on this machine. */
static void print_notes(const struct kernelspecs *specs, const char *python) {
    const struct kernelspec *spec;
    for (size_t i = 0; (spec = kernelspecs_at(specs, i)) != NULL; i++) {
        cleanup_free char *unsupported = kernelspec_unsupported(spec);
        cleanup_free char *missing = admin_missing_program(spec, python);
        if (unsupported != NULL)
            printf("%s: note: %s\n", spec->directory, unsupported);
        else if (missing != NULL)
            printf("%s: note: argv[0]: there is no program %s for this user here\n",
                   spec->directory, missing);
    }
}

static void print_problems(const json_t *problems) {
    size_t i;
    json_t *problem;
    json_array_foreach(problems, i, problem) {
        json_int_t line = json_integer_value(json_object_get(problem, "line"));
        const char *field = text_at(problem, "field");
        printf("%s:", text_at(problem, "file"));
        if (line > 0)
            printf("%lld:", (long long)line);
        printf(" %s%s%s\n", field, *field != '\0' ? ": " : "", text_at(problem, "problem"));
    }
}

static void print_check(const struct kernelspecs *specs, const char *python, bool lacks_default,
                        size_t problems) {
    size_t count = 0;
    while (kernelspecs_at(specs, count) != NULL)
        count++;
    print_directories(kernelspecs_report(specs));
    print_unused(kernelspecs_report(specs));
    print_notes(specs, python);
    print_problems(kernelspecs_problems(specs));
    if (lacks_default)
        printf("default-kernel-name: there is no kernelspec %s\n", kernelspecs_default(specs));
    printf("%zu kernelspec%s, %zu problem%s\n", count, count == 1 ? "" : "s", problems,
           problems == 1 ? "" : "s");
}

/* What is searched and found, with the problems beside it. */
static void print_json(const struct kernelspecs *specs, bool lacks_default) {
    json_t *all = json_copy((json_t *)(uintptr_t)kernelspecs_report(specs));
    json_object_set(all, "problems", (json_t *)(uintptr_t)kernelspecs_problems(specs));
    json_object_set_new(all, "default", json_string(kernelspecs_default(specs)));
    json_object_set_new(all, "default_is_there", json_boolean(!lacks_default));
    admin_print_json(all);
}

int admin_kernelspecs_check(int argc, char **argv, struct error *err) {
    struct settings *settings = NULL;
    struct kernelspecs *specs = NULL;
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    if (settings_create(argc, argv, environ, &settings, err) < 0 ||
        admin_load_kernelspecs(settings, &specs, err) < 0) {
        settings_destroy(settings);
        return -1;
    }
    const char *fallback = kernelspecs_default(specs);
    bool lacks_default = *fallback != '\0' && kernelspecs_find(specs, fallback) == NULL;
    size_t problems = json_array_size(kernelspecs_problems(specs)) + (lacks_default ? 1 : 0);
    if (wants_json)
        print_json(specs, lacks_default);
    else
        print_check(specs, settings->python, lacks_default, problems);
    kernelspecs_destroy(specs);
    settings_destroy(settings);
    return problems > 0 ? 1 : 0;
}
