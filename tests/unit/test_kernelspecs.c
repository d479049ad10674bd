/* Loading, validating, publishing: on directories made for each test. */
#include "kernelspecs/kernelspecs.h"

#include "base/file.h"
#include "base/log.h"
#include "log_capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct kernelspec_users no_users = {0};

#define GOOD "{\"argv\": [\"python3\"], \"display_name\": \"Good\", \"language\": \"python\"}"

struct place {
    char root[64];
    char first[96];
    char second[96];
    char *directories[3];
    struct kernelspecs *specs;
};

static int set_up(void **state) {
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->root, "/tmp/elara-specs-XXXXXX");
    if (mkdtemp(place->root) == NULL)
        return -1;
    snprintf(place->first, sizeof place->first, "%s/first", place->root);
    snprintf(place->second, sizeof place->second, "%s/second", place->root);
    place->directories[0] = place->first;
    place->directories[1] = place->second;
    log_set_level(LOG_ERROR);
    *state = place;
    return mkdir(place->first, 0755) < 0 || mkdir(place->second, 0755) < 0 ? -1 : 0;
}

static int tear_down(void **state) {
    struct place *place = *state;
    kernelspecs_destroy(place->specs);
    file_remove_tree(place->root, NULL);
    free(place);
    return 0;
}

static void put(const char *root, const char *name, const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/%s", root, name, file);
    assert_int_equal(file_write(path, text, strlen(text), 0644, NULL), 0);
}

static struct kernelspecs *load_with(struct place *place, struct kernelspecs_settings settings) {
    struct error err = {0};
    settings.directories = place->directories;
    kernelspecs_destroy(place->specs);
    place->specs = NULL;
    assert_int_equal(kernelspecs_create(&settings, &place->specs, &err), 0);
    return place->specs;
}

static struct kernelspecs *load(struct place *place) {
    return load_with(place, (struct kernelspecs_settings){0});
}

static const char *text_at(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

static size_t count(const struct kernelspecs *specs) {
    size_t found = 0;
    while (kernelspecs_at(specs, found) != NULL)
        found++;
    return found;
}

static void first_directory_wins(void **state) {
    struct place *place = *state;
    put(place->second, "Python3", "kernel.json", "{\"argv\": [\"b\"], \"display_name\": \"B\"}");
    put(place->first, "python3", "kernel.json", "{\"argv\": [\"a\"], \"display_name\": \"A\"}");
    put(place->second, "ir", "kernel.json", GOOD);
    struct kernelspecs *specs = load(place);
    assert_int_equal(count(specs), 2);
    const struct kernelspec *spec = kernelspecs_find(specs, "PYTHON3");
    assert_non_null(spec);
    assert_string_equal(spec->name, "python3");
    assert_string_equal(spec->display_name, "A");
    assert_string_equal(spec->language, "");
    assert_memory_equal(spec->directory, place->first, strlen(place->first));
    assert_string_equal(kernelspecs_at(specs, 0)->name, "ir");
    const json_t *report = kernelspecs_report(specs);
    const json_t *shadowed = json_object_get(report, "shadowed");
    assert_int_equal(json_array_size(shadowed), 1);
    assert_string_equal(text_at(json_array_get(shadowed, 0), "name"), "python3");
    assert_memory_equal(text_at(json_array_get(shadowed, 0), "by"), place->first,
                        strlen(place->first));
    assert_int_equal(json_array_size(kernelspecs_problems(specs)), 0);
}

static void what_is_no_kernelspec(void **state) {
    struct place *place = *state;
    char path[256];
    put(place->first, "has space", "kernel.json", GOOD);
    put(place->first, "empty", "readme", "no kernel.json");
    put(place->first, "..2024_01_31", "kernel.json", GOOD);
    snprintf(path, sizeof path, "%s/file", place->first);
    assert_int_equal(file_write(path, "x", 1, 0644, NULL), 0);
    snprintf(path, sizeof path, "%s/fifo", place->first);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/fifo/kernel.json", place->first);
    assert_int_equal(mkfifo(path, 0644), 0);
    struct kernelspecs *specs = load(place);
    assert_int_equal(count(specs), 0);
    assert_string_equal(kernelspecs_default(specs), "");
    const json_t *problems = kernelspecs_problems(specs);
    assert_int_equal(json_array_size(problems), 1);
    assert_non_null(strstr(text_at(json_array_get(problems, 0), "file"), "has space"));
    assert_null(kernelspecs_find(specs, NULL));
    assert_null(kernelspecs_find(specs, ""));
    assert_null(kernelspecs_find(specs, "../first/empty"));
    char huge[10001];
    memset(huge, 'a', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    assert_null(kernelspecs_find(specs, huge));
}

static const struct {
    const char *text;
    int line;
    const char *field;
    const char *problem; /* a part of it */
} broken[] = {
    {"", 1, "", "not valid JSON"},
    {"{\n\"argv\": [\"a\"],\n}", 3, "", "not valid JSON"},
    {"{\"argv\": [\"a\"]} x", 1, "", "not valid JSON"},
    {"{\"argv\": [\"a\\u0000\"]}", 1, "", "not valid JSON"},
    {"\n[]", 2, "", "object"},
    {"7", 1, "", "object"},
    {"{}", 0, "argv", "must be there"},
    {"{\"argv\": []}", 1, "argv", "must be there"},
    {"{\n \"argv\": \"python3\"}", 2, "argv", "array of texts"},
    {"{\"argv\": [\"a\",\n \"b\",\n 8888]}", 3, "argv[2]", "double quotes"},
    {"{\"argv\": [\"\"]}", 1, "argv[0]", "program"},
    {"{\"argv\": [\"a\"],\n\"display_name\": {}}", 2, "display_name", "double quotes"},
    {"{\"argv\": [\"a\"],\n\n\"language\": null}", 3, "language", "double quotes"},
    {"{\"argv\": [\"a\"],\n\"env\": [\"A=b\"]}", 2, "env", "object of texts"},
    {"{\"argv\": [\"a\"],\n\"env\": {\"A\": \"b\",\n\"B\": 1}}", 3, "env.B", "double quotes"},
    {"{\"argv\": [\"a\"],\n\"env\": {\n\"A=B\": \"b\"}}", 3, "env.A=B", "environment variable"},
    {"{\"argv\": [\"a\"], \"env\": {\"\": \"b\"}}", 1, "env.", "environment variable"},
    {"{\"argv\": [\"a\"],\n\"interrupt_mode\": \"sigint\"}", 2, "interrupt_mode", "signal"},
    {"{\"argv\": [\"a\"],\n\"interrupt_mode\": 2}", 2, "interrupt_mode", "signal"},
    {"{\"argv\": [\"a\"],\n\"metadata\": []}", 2, "metadata", "object"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\"elara\": 1}}", 2, "metadata.elara", "object"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\n\"elara\": {\n\"argv\": \"run\"}}}", 4,
     "metadata.elara.argv", "array of texts"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\"elara\": {\"argv\": [\n]}}}", 2, "metadata.elara.argv",
     "must name the program"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\"elara\": {\"argv\": [\"a\", 5]}}}", 2,
     "metadata.elara.argv[1]", "must be a text"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\n\"elara\": {\n\"overridable\": [3]}}}", 4,
     "metadata.elara.overridable", "must be an array of texts"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\n\"elara\": {\n\"journal_bytes\": \"64M\"}}}", 4,
     "metadata.elara.journal_bytes", "whole number of bytes"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\"elara\": {\"journal_bytes\": 1048575}}}", 2,
     "metadata.elara.journal_bytes", "from 1048576 (1 MiB)"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\"elara\": {\"journal_bytes\": 68719476737}}}", 2,
     "metadata.elara.journal_bytes", "to 68719476736"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\"elara\": {\"provisioner\": \"docker\"}}}", 2,
     "metadata.elara.provisioner", "must be \"local\" or \"kubernetes\""},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\"elara\": {\"image\": \"\"}}}", 2,
     "metadata.elara.image", "image's name"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\"elara\": {\"home\": 1}}}", 2, "metadata.elara.home",
     "must be true or false"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\"elara\": {\"resources\": {\"cpus\": 0.5}}}}", 2,
     "metadata.elara.resources.cpus", "must be an amount"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\n\"process_proxy\": \"x\"}}", 3,
     "metadata.process_proxy", "object"},
    {"{\"argv\": [\"a\"],\n\"metadata\": {\n\"kernel_provisioner\": {\n\"provisioner_name\": 1}}}",
     4, "metadata.kernel_provisioner.provisioner_name", "double quotes"},
    {"{\"argv\": [\"a\"],\n\"kernel_protocol_version\": 5.5}", 2, "kernel_protocol_version",
     "double quotes"},
};

static void broken_ones_are_told_with_their_line(void **state) {
    struct place *place = *state;
    char file[256];
    snprintf(file, sizeof file, "%s/bad/kernel.json", place->first);
    put(place->first, "good", "kernel.json", GOOD);
    put(place->second, "bad", "kernel.json", GOOD); /* does not step in for the broken one */
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        put(place->first, "bad", "kernel.json", broken[i].text);
        struct kernelspecs *specs = load(place);
        const json_t *problem = json_array_get(kernelspecs_problems(specs), 0);
        if (json_array_size(kernelspecs_problems(specs)) != 1)
            print_error("row %zu\n", i);
        assert_int_equal(json_array_size(kernelspecs_problems(specs)), 1);
        assert_string_equal(text_at(problem, "file"), file);
        assert_string_equal(text_at(problem, "field"), broken[i].field);
        assert_int_equal(json_integer_value(json_object_get(problem, "line")), broken[i].line);
        if (strstr(text_at(problem, "problem"), broken[i].problem) == NULL)
            fail_msg("row %zu: %s", i, text_at(problem, "problem"));
        assert_null(kernelspecs_find(specs, "bad"));
        assert_non_null(kernelspecs_find(specs, "good"));
    }
}

static void members_that_do_nothing_are_told(void **state) {
    struct place *place = *state;
    put(place->first, "k", "kernel.json",
        "{\"argv\": [\"a\"], \"env\": {\"KERNEL_CPUS\": \"3\"},\n\"metadata\": {\"elara\": {\n"
        "\"imgae\": \"a\", \"image\": \"b\",\n"
        "\"resources\": {\"cpu\": 2, \"cpus\": 2, \"gpus\": 1, \"memory_limit\": \"4Gi\"}}}}");
    struct kernelspecs *specs = load(place);
    const json_t *problems = kernelspecs_problems(specs);
    assert_int_equal(json_array_size(problems), 2);
    const json_t *first = json_array_get(problems, 0), *second = json_array_get(problems, 1);
    assert_string_equal(text_at(first, "field"), "metadata.elara.imgae");
    assert_string_equal(text_at(first, "problem"),
                        "does nothing: correct its name or take it out; known here are argv, home, "
                        "image, journal_bytes, overridable, provisioner, resources");
    assert_string_equal(text_at(second, "field"), "metadata.elara.resources.cpu");
    assert_int_equal(json_integer_value(json_object_get(second, "line")), 4);
    const json_t *env = json_object_get(kernelspecs_find(specs, "k")->json, "env");
    assert_int_equal(json_object_size(env), 4); /* what the others are short for */
    assert_string_equal(text_at(env, "KERNEL_CPUS"), "3");
    assert_string_equal(text_at(env, "KERNEL_GPUS"), "1");
    assert_string_equal(text_at(env, "KERNEL_MEMORY_LIMIT"), "4Gi");
    assert_string_equal(text_at(env, "KERNEL_IMAGE"), "b");
}

static void what_is_said_elsewhere_is_told(void **state) {
    static const struct {
        const char *field, *told;
    } rows[] = {{"metadata.elara.policy", "the policy's rules say what clients may ask"},
                {"metadata.elara.cull", "the setting cull-overrides all other limits"},
                {"metadata.elara.cull_idle_timeout", "take it out of elara, into metadata"}};
    struct place *place = *state;
    put(place->first, "k", "kernel.json",
        "{\"argv\": [\"a\"], \"metadata\": {\"elara\": {\"policy\": {}, \"cull\": {}, "
        "\"cull_idle_timeout\": 5}}}");
    struct kernelspecs *specs = load(place);
    const json_t *problems = kernelspecs_problems(specs);
    assert_non_null(kernelspecs_find(specs, "k"));
    assert_int_equal(json_array_size(problems), sizeof rows / sizeof *rows);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const json_t *problem = json_array_get(problems, i);
        assert_string_equal(text_at(problem, "field"), rows[i].field);
        assert_non_null(strstr(text_at(problem, "problem"), rows[i].told));
    }
}

static void all_problems_of_a_file_are_told(void **state) {
    struct place *place = *state;
    put(place->first, "bad", "kernel.json", "{\"argv\": 1, \"env\": {\"A\": 1, \"B\": 2}}");
    assert_int_equal(json_array_size(kernelspecs_problems(load(place))), 3);
    put(place->first, "bad", "kernel.json",
        "{\"argv\": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,"
        "19,20,21,22,23,24,25,26,27,28]}");
    assert_int_equal(json_array_size(kernelspecs_problems(load(place))), 20);
}

static void too_large_is_refused(void **state) {
    struct place *place = *state;
    size_t size = (1 << 20) + 64;
    char *text = malloc(size);
    memset(text, ' ', size);
    memcpy(text, GOOD, strlen(GOOD));
    text[(1 << 20)] = '\0';
    put(place->first, "large", "kernel.json", text);
    assert_non_null(kernelspecs_find(load(place), "large"));
    text[(1 << 20)] = ' ';
    text[(1 << 20) + 1] = '\0';
    put(place->first, "large", "kernel.json", text);
    struct kernelspecs *specs = load(place);
    assert_null(kernelspecs_find(specs, "large"));
    const json_t *problem = json_array_get(kernelspecs_problems(specs), 0);
    assert_string_equal(text_at(problem, "problem"), "cannot be read: larger than 1048576 bytes");
    free(text);
}

static void model_is_complete_and_keeps_what_it_does_not_know(void **state) {
    struct place *place = *state;
    put(place->first, "k", "kernel.json",
        "{\"argv\": [\"run\", \"{connection_file}\"], \"env\": {\"PASSWORD\": \"s3cret\"}, "
        "\"interrupt_mode\": \"Message\", \"metadata\": {\"debugger\": true, \"parameters\": {}}, "
        "\"kernel_protocol_version\": \"5.5\", \"x\": [null, 1.5]}");
    put(place->first, "k", "logo-64x64.png", "png");
    put(place->first, "k", "logo-svg.svg", "svg");
    put(place->first, "k", "logo-a b.c.png", "odd");
    put(place->first, "k", "logo-svg.xml", "the second of its key");
    put(place->first, "k", "kernel.js", "js");
    put(place->first, "k", "script.py", "no resource");
    struct kernelspecs *specs = load(place);
    json_t *model = kernelspecs_model(specs, "/base/", NULL, &no_users);
    json_t *expected = json_pack(
        "{s:s, s:{s:{s:s, s:{s:[s,s], s:{s:s}, s:s, s:s, s:s, s:{s:b, s:{}}, s:s, s:[n,f]},"
        "s:{s:s, s:s, s:s, s:s}}}}",
        "default", "k", "kernelspecs", "k", "name", "k", "spec", "argv", "run", "{connection_file}",
        "env", "PASSWORD", "", "display_name", "k", "language", "", "interrupt_mode", "message",
        "metadata", "debugger", 1, "parameters", "kernel_protocol_version", "5.5", "x", 1.5,
        "resources", "kernel.js", "/base/kernelspecs/k/kernel.js", "logo-64x64",
        "/base/kernelspecs/k/logo-64x64.png", "logo-svg", "/base/kernelspecs/k/logo-svg.svg",
        "logo-a b.c", "/base/kernelspecs/k/logo-a%20b.c.png");
    assert_non_null(expected);
    assert_true(json_equal(model, expected));
    json_decref(expected);
    json_decref(model);
    assert_string_equal(
        text_at(json_object_get(kernelspecs_find(specs, "k")->json, "env"), "PASSWORD"), "s3cret");
    specs = load_with(place, (struct kernelspecs_settings){.publish_env = true});
    model = kernelspec_model(specs, kernelspecs_find(specs, "k"), "K", "/");
    assert_string_equal(text_at(model, "name"), "K");
    assert_string_equal(text_at(json_object_get(json_object_get(model, "spec"), "env"), "PASSWORD"),
                        "s3cret");
    json_decref(model);
}

static void smallest_model(void **state) {
    struct place *place = *state;
    put(place->first, "k", "kernel.json", "{\"argv\": [\"run\"]}");
    struct kernelspecs *specs = load(place);
    json_t *model = kernelspec_model(specs, kernelspecs_find(specs, "k"), "k", "/");
    json_t *expected = json_pack("{s:s, s:{s:[s], s:{}, s:s, s:s, s:s, s:{}}, s:{}}", "name", "k",
                                 "spec", "argv", "run", "env", "display_name", "k", "language", "",
                                 "interrupt_mode", "signal", "metadata", "resources");
    assert_true(json_equal(model, expected));
    json_decref(expected);
    json_decref(model);
}

static void defaults(void **state) {
    struct place *place = *state;
    char other[] = "Other";
    put(place->first, "b", "kernel.json", GOOD);
    put(place->first, "a", "kernel.json", GOOD);
    assert_string_equal(kernelspecs_default(load(place)), "a");
    put(place->first, "python3", "kernel.json", GOOD);
    assert_string_equal(kernelspecs_default(load(place)), "python3");
    struct kernelspecs_settings settings = {.default_name = other};
    assert_string_equal(kernelspecs_default(load_with(place, settings)), "other");
    settings.default_name = "";
    assert_string_equal(kernelspecs_default(load_with(place, settings)), "python3");
}

static void lists_of_names(void **state) {
    struct place *place = *state;
    char quoted[] = "'Python_*'";
    char plain[] = "ir";
    char denied[] = "*_old";
    char empty[] = " ";
    char *allow[] = {quoted, plain, NULL};
    char *deny[] = {denied, NULL};
    char *bad[] = {plain, empty, NULL};
    put(place->first, "python_kubernetes", "kernel.json", GOOD);
    put(place->first, "python_old", "kernel.json", GOOD);
    put(place->first, "IR", "kernel.json", GOOD);
    put(place->first, "scala", "kernel.json", "broken, but nobody wants it");
    struct kernelspecs *specs =
        load_with(place, (struct kernelspecs_settings){.allowed = allow, .denied = deny});
    assert_int_equal(count(specs), 2);
    assert_non_null(kernelspecs_find(specs, "python_kubernetes"));
    assert_non_null(kernelspecs_find(specs, "ir"));
    assert_int_equal(json_array_size(kernelspecs_problems(specs)), 0);
    assert_int_equal(json_array_size(json_object_get(kernelspecs_report(specs), "hidden")), 2);

    struct error err = {0};
    struct kernelspecs_settings settings = {.directories = place->directories, .allowed = bad};
    assert_int_equal(kernelspecs_configure(specs, &settings, &err), -1);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_non_null(strstr(err.text, "allowed kernelspecs: entry 2"));
    assert_int_equal(count(specs), 2);
    settings.allowed = NULL;
    settings.default_name = "no/name";
    assert_int_equal(kernelspecs_configure(specs, &settings, &err), -1);
    settings.default_name = NULL;
    settings.denied = deny;
    assert_int_equal(kernelspecs_configure(specs, &settings, &err), 0);
    kernelspecs_reload(specs);
    assert_int_equal(count(specs), 2);
    assert_int_equal(json_array_size(kernelspecs_problems(specs)), 1);
}

static void what_is_allowed_and_not_there_is_told_once(void **state) {
    struct place *place = *state;
    char r[] = "'R_*'";
    char python[] = "python3";
    char gone[] = "spark";
    char *allow[] = {r, python, gone, NULL};
    char *changed[] = {python, gone, NULL};
    struct kernelspecs_settings settings = {.allowed = allow};
    struct error err = {0};
    put(place->first, "python3", "kernel.json", GOOD);
    struct log_capture capture = log_capture_begin(LOG_WARNING);
    struct kernelspecs *specs = load_with(place, settings);
    kernelspecs_reload(specs);
    put(place->first, "r_4", "kernel.json", GOOD);
    kernelspecs_reload(specs);
    settings = (struct kernelspecs_settings){.directories = place->directories, .allowed = changed};
    assert_int_equal(kernelspecs_configure(specs, &settings, &err), 0);
    kernelspecs_reload(specs);
    char *log = log_capture_end(&capture);
    assert_int_equal(log_count(log, "allowed-kernelspecs: there is no kernelspec r_*, spark\n"), 1);
    assert_int_equal(log_count(log, "allowed-kernelspecs: there is no kernelspec spark\n"), 1);
    assert_int_equal(log_count(log, "allowed-kernelspecs"), 2);
    free(log);
}

static void who_starts_it(void **state) {
    static const struct {
        const char *metadata;
        const char *unsupported; /* a part of the sentence, NULL: supported */
    } rows[] = {
        {"{}", NULL},
        {"{\"debugger\": true}", NULL},
        {"{\"kernel_provisioner\": {\"provisioner_name\": \"local-provisioner\"}}", NULL},
        {"{\"kernel_provisioner\": {\"provisioner_name\": \"\"}}", NULL},
        {"{\"kernel_provisioner\": {\"config\": {}}}", NULL},
        {"{\"kernel_provisioner\": {\"provisioner_name\": \"yarn-provisioner\"}}",
         "\"yarn-provisioner\""},
        {"{\"process_proxy\": {\"class_name\": "
         "\"enterprise_gateway.services.processproxies.processproxy.LocalProcessProxy\"}}",
         NULL},
        {"{\"process_proxy\": {\"class_name\": \"a.KubernetesProcessProxy\"}}",
         "metadata.process_proxy.class_name \"a.KubernetesProcessProxy\""},
        {"{\"elara\": {\"provisioner\": \"kubernetes\"}}",
         "is for metadata.elara.provisioner \"kubernetes\""},
        {"{\"elara\": {\"provisioner\": \"local\"}, \"process_proxy\": {\"class_name\": \"a\"}}",
         NULL},
    };
    struct place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"argv\": [\"a\"], \"metadata\": %s}", rows[i].metadata);
        put(place->first, "k", "kernel.json", text);
        char *sentence = kernelspec_unsupported(kernelspecs_find(load(place), "k"));
        if (rows[i].unsupported == NULL) {
            assert_null(sentence);
        } else {
            assert_non_null(sentence);
            assert_non_null(strstr(sentence, rows[i].unsupported));
        }
        free(sentence);
    }
    put(place->first, "k", "kernel.json",
        "{\"argv\": [], \"metadata\": {\"kernel_provisioner\": {\"provisioner_name\": \"x\"}}}");
    assert_non_null(kernelspecs_find(load(place), "k"));
}

static void what_runs_it(void **state) {
    static const struct {
        const char *json, *here, *in_an_image; /* argv or a part of the error */
    } rows[] = {
        {"{'argv': ['a', 'b']}", "[\"a\", \"b\"]", "[\"a\", \"b\"]"},
        {"{'argv': ['a'], 'metadata': {'elara': {'argv': ['own', 'b']}}}", "[\"own\", \"b\"]",
         "[\"own\", \"b\"]"},
        {"{'argv': ['python', '/k/scripts/launch_kubernetes.py', '{kernel_id}'], 'language': "
         "'python'}",
         "[\"python\", \"/k/scripts/launch_kubernetes.py\", \"{kernel_id}\"]",
         "[\"python3\", \"-m\", \"ipykernel_launcher\", \"-f\", \"{connection_file}\"]"},
        {"{'argv': ['python', 'launch_kubernetes.py'], 'language': 'R'}",
         "[\"python\", \"launch_kubernetes.py\"]",
         "[\"R\", \"--slave\", \"-e\", \"IRkernel::main()\", \"--args\", \"{connection_file}\"]"},
        {"{'argv': ['python', '/k/launch_kubernetes.py'], 'language': 'scala'}",
         "[\"python\", \"/k/launch_kubernetes.py\"]",
         "the command of a kernel for the language \"scala\" is not known here; write it to "
         "metadata.elara.argv"},
        {"{'argv': ['/k/spark_python_kubernetes/bin/run.sh', '--x'], 'language': 'python'}",
         "[\"/k/spark_python_kubernetes/bin/run.sh\", \"--x\"]",
         "its argv starts Spark (/k/spark_python_kubernetes/bin/run.sh), which this gateway does "
         "not"},
        {"{'argv': ['a'], 'metadata': {'elara': {'provisioner': 'local'}}}", "[\"a\"]",
         "is for metadata.elara.provisioner \"local\"; this gateway starts kernels as pods only"},
        {"{'argv': ['launch_ipykernel.py'], 'metadata': {'process_proxy': {'class_name': "
         "'e.distributed.DistributedProcessProxy'}}}",
         "[\"launch_ipykernel.py\"]",
         "its metadata.process_proxy starts kernels on other hosts by ssh, which this gateway does "
         "not do"},
        {"{'argv': ['x'], 'metadata': {'process_proxy': {'class_name': 'YarnClusterProcessProxy'}, "
         "'elara': {'argv': ['python3']}}}",
         "[\"python3\"]", "[\"python3\"]"},
        {"{'metadata': {'kernel_provisioner': {}}}", "argv must name a program",
         "argv must name a program"},
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        bool elsewhere = i % 2 == 1;
        const char *expected = elsewhere ? rows[i / 2].in_an_image : rows[i / 2].here;
        json_t *argv = NULL;
        struct error err = {0};
        char text[256];
        snprintf(text, sizeof text, "%s", rows[i / 2].json);
        for (char *quote = text; (quote = strchr(quote, '\'')) != NULL;)
            *quote = '"';
        json_t *json = json_loads(text, 0, NULL);
        const char *language = text_at(json, "language");
        const struct kernelspec spec = {
            .name = "k", .language = language != NULL ? language : "", .json = json};
        char *made = kernelspec_argv(&spec, elsewhere, &argv, &err) < 0
                         ? strdup(strstr(err.text, expected) != NULL ? expected : err.text)
                         : json_dumps(argv, 0);
        assert_string_equal(made, expected);
        free(made);
        json_decref(argv);
        json_decref(json);
    }
}

static void who_may_use_it(void **state) {
    static const struct {
        const char *config;
        const char *user;
        bool may;
    } rows[] = {
        {"{}", "bo", true},
        {"{\"authorized_users\": \"\"}", "bo", true},
        {"{\"authorized_users\": \"ann, bob\"}", "bob", true},
        {"{\"authorized_users\": \"ann, bob \"}", "bob", true},
        {"{\"authorized_users\": \"ann,bob\"}", "bo", false},
        {"{\"authorized_users\": \"ann,bob\"}", "Bob", false},
        {"{\"authorized_users\": \"ann,bob\"}", "ann,bob", false},
        {"{\"authorized_users\": \"ann,bob\"}", "", false},
        {"{\"authorized_users\": [\"ann\", \"bob\"]}", "bob", true},
        {"{\"authorized_users\": [\"ann\"]}", "bob", false},
        {"{\"unauthorized_users\": \"bobby, root\"}", "bob", true},
        {"{\"unauthorized_users\": \"bobby, root\"}", "root", false},
        {"{\"unauthorized_users\": \"bob\", \"authorized_users\": \"bob\"}", "bob", false},
    };
    struct place *place = *state;
    static const char *const stanzas[] = {"process_proxy", "kernel_provisioner"};
    for (size_t i = 0; i < 2 * (sizeof rows / sizeof *rows); i++) {
        char text[512];
        size_t row = i / 2;
        snprintf(text, sizeof text, "{\"argv\": [\"a\"], \"metadata\": {\"%s\": {\"config\": %s}}}",
                 stanzas[i % 2], rows[row].config);
        put(place->first, "k", "kernel.json", text);
        struct kernelspecs *specs = load(place);
        const struct kernelspec *spec = kernelspecs_find(specs, "k");
        if ((kernelspec_refusal(spec, rows[row].user, &no_users) == NULL) != rows[row].may)
            fail_msg("row %zu", row);
        json_t *model = kernelspecs_model(specs, "/", rows[row].user, &no_users);
        json_t *offered = json_object_get(model, "kernelspecs");
        assert_int_equal(json_object_size(offered), rows[row].may ? 1 : 0);
        json_decref(model);
    }
}

/* The examples that come with Elara. */
static void shipped_ones_are_sound(void **state) {
    struct place *place = *state;
    char path[] = ELARA_SOURCE_DIR "/kernelspecs/specs";
    char *directories[] = {path, NULL};
    struct kernelspecs_settings settings = {.directories = directories};
    assert_int_equal(kernelspecs_create(&settings, &place->specs, NULL), 0);
    assert_int_equal(json_array_size(kernelspecs_problems(place->specs)), 0);
    assert_non_null(kernelspecs_find(place->specs, "python3"));
    const struct kernelspec *spec;
    for (size_t i = 0; (spec = kernelspecs_at(place->specs, i)) != NULL; i++) {
        assert_string_not_equal(spec->language, "");
        assert_non_null(json_object_get(spec->resources, "logo-64x64"));
        assert_non_null(json_object_get(spec->resources, "logo-svg"));
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(first_directory_wins),
        TEST(what_is_no_kernelspec),
        TEST(broken_ones_are_told_with_their_line),
        TEST(members_that_do_nothing_are_told),
        TEST(what_is_said_elsewhere_is_told),
        TEST(all_problems_of_a_file_are_told),
        TEST(too_large_is_refused),
        TEST(model_is_complete_and_keeps_what_it_does_not_know),
        TEST(smallest_model),
        TEST(defaults),
        TEST(lists_of_names),
        TEST(what_is_allowed_and_not_there_is_told_once),
        TEST(who_starts_it),
        TEST(what_runs_it),
        TEST(who_may_use_it),
        TEST(shipped_ones_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
