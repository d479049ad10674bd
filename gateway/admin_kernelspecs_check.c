/* elara kernelspecs check */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin.h"
#include "gateway/settings.h"
#include "kernelspecs/kernelspecs.h"
#include "kernelspecs/substitute.h"
#include "launcher/kube_jinja.h"
#include "launcher/kube_template.h"
#include "launcher/kube_volumes.h"
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
    cleanup_json json_t *argv = NULL;
    const char *path = getenv("PATH");
    if (kernelspec_argv(spec, false, &argv, NULL) < 0)
        return NULL;
    const char *program = json_string_value(json_array_get(argv, 0));
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

/* The same for gateways whose kernels are pods. */
static void print_pod_notes(const struct kernelspecs *specs) {
    const struct kernelspec *spec;
    for (size_t i = 0; (spec = kernelspecs_at(specs, i)) != NULL; i++) {
        cleanup_json json_t *argv = NULL;
        struct error err = {0};
        if (kernelspec_argv(spec, true, &argv, &err) < 0)
            printf("%s: note: %s\n", spec->directory, err.text);
    }
}

bool admin_has_pods(const struct settings *settings) {
    return strcmp(settings->provisioner, "kubernetes") == 0;
}

static void add_problem(json_t *problems, const char *file, long line, const char *field,
                        const char *problem) {
    json_array_append_new(problems,
                          json_pack("{s:s, s:I, s:s, s:s}", "file", file, "line", (json_int_t)line,
                                    "field", field, "problem", problem));
}

/* text: "pod.yaml: spec.containers[0].image: must be a text", "scripts/kernel-pod.yaml.j2:3: ...",
 * or of a file that cannot be read. */
static void add_template_problem(json_t *problems, const struct kernelspec *spec,
                                 const char *text) {
    size_t length = strcspn(text, ":");
    bool has_name = (text_starts_with(text, "pod.") || text_starts_with(text, KUBE_JINJA_FILE)) &&
                    text[length] == ':';
    cleanup_free char *file = has_name
                                  ? memory_printf("%s/%.*s", spec->directory, (int)length, text)
                                  : memory_strdup(spec->directory);
    char *rest = (char *)(uintptr_t)text;
    long line = has_name ? strtol(text + length + 1, &rest, 10) : 0;
    if (has_name)
        rest = line > 0 ? rest + 1 : (char *)(uintptr_t)text + length + 1;
    add_problem(problems, file, line, "", rest + strspn(rest, " "));
}

typedef int parse_list(const char *text, const json_t *values, struct kube_flow *flow, json_t **ret,
                       struct error *err);

/* Each reference has some value when a kernel starts: here all have the same. */
static int try_list(parse_list *parse, const char *text, const char *value, struct error *err) {
    cleanup_json json_t *values = json_object(), *list = NULL;
    for (char *name; (name = substitute_find_unknown(text, "", values)) != NULL; free(name))
        json_object_set_new(values, name, json_string(value));
    return parse(text, values, NULL, &list, err);
}

static void check_lists(json_t *problems, const struct kernelspec *spec) {
    static const struct {
        const char *name;
        parse_list *parse;
    } rows[] = {{"KERNEL_VOLUMES", kube_volumes_parse},
                {"KERNEL_VOLUME_MOUNTS", kube_mounts_parse}};
    cleanup_free char *file = memory_printf("%s/kernel.json", spec->directory);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const json_t *env = json_object_get(spec->json, "env");
        const char *text = json_string_value(json_object_get(env, rows[i].name));
        struct error err = {0};
        if (text == NULL || *text == '\0' || try_list(rows[i].parse, text, "/1", NULL) == 0 ||
            try_list(rows[i].parse, text, "1", &err) == 0)
            continue;
        const char *rest = err.text + strlen(rows[i].name); /* it begins with the name */
        cleanup_free char *field = memory_printf("env.%s", rows[i].name);
        add_problem(problems, file, 0, field, rest + strspn(rest, ": "));
    }
}

json_t *admin_kernelspecs_problems(const struct settings *settings,
                                   const struct kernelspecs *specs) {
    json_t *all = json_copy((json_t *)(uintptr_t)kernelspecs_problems(specs));
    const struct kernelspec *spec;
    for (size_t i = 0; admin_has_pods(settings) && (spec = kernelspecs_at(specs, i)) != NULL; i++) {
        struct error err = {0};
        cleanup_json json_t *template = NULL;
        if (kube_template_load(spec->directory, &template, &err) < 0)
            add_template_problem(all, spec, err.text);
        check_lists(all, spec);
    }
    return all;
}

char *admin_problem_text(const json_t *problem) {
    json_int_t line = json_integer_value(json_object_get(problem, "line"));
    const char *file = text_at(problem, "file"), *field = text_at(problem, "field");
    cleanup_free char *place =
        line > 0 ? memory_printf("%s:%lld", file, (long long)line) : memory_strdup(file);
    return memory_printf("%s: %s%s%s", place, field, *field != '\0' ? ": " : "",
                         text_at(problem, "problem"));
}

static void print_problems(const json_t *problems) {
    size_t i;
    json_t *problem;
    json_array_foreach(problems, i, problem) {
        cleanup_free char *text = admin_problem_text(problem);
        puts(text);
    }
}

static void print_check(const struct settings *settings, const struct kernelspecs *specs,
                        bool lacks_default, const json_t *problems) {
    size_t wrong = json_array_size(problems) + (lacks_default ? 1 : 0);
    size_t count = 0;
    while (kernelspecs_at(specs, count) != NULL)
        count++;
    print_directories(kernelspecs_report(specs));
    print_unused(kernelspecs_report(specs));
    if (admin_has_pods(settings))
        print_pod_notes(specs);
    else
        print_notes(specs, settings->python);
    print_problems(problems);
    if (lacks_default)
        printf("default-kernel-name: there is no kernelspec %s\n", kernelspecs_default(specs));
    printf("%zu kernelspec%s, %zu problem%s\n", count, count == 1 ? "" : "s", wrong,
           wrong == 1 ? "" : "s");
}

/* What is searched and found, with the problems beside it. */
static void print_json(const struct kernelspecs *specs, bool lacks_default, json_t *problems) {
    json_t *all = json_copy((json_t *)(uintptr_t)kernelspecs_report(specs));
    json_object_set(all, "problems", problems);
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
    cleanup_json json_t *problems = admin_kernelspecs_problems(settings, specs);
    if (wants_json)
        print_json(specs, lacks_default, problems);
    else
        print_check(settings, specs, lacks_default, problems);
    kernelspecs_destroy(specs);
    settings_destroy(settings);
    return json_array_size(problems) > 0 || lacks_default ? 1 : 0;
}
