#include "kernelspecs/spec_file.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "kernelspecs/kernelspecs.h"
#include "kernelspecs/spec_check.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static void check_text(struct spec_check *check, json_t *value) {
    if (value != NULL && !json_is_string(value))
        spec_complain(check, "must be a text in double quotes");
}

static void check_argv(struct spec_check *check, json_t *value) {
    bool is_there = value != NULL && (!json_is_array(value) || json_array_size(value) > 0);
    if (is_there)
        spec_check_command(check, value);
    else if (!check->has_foreign_starter)
        spec_complain(
            check, "must be there: the command as an array of texts, such as "
                   "[\"python3\", \"-m\", \"ipykernel_launcher\", \"-f\", \"{connection_file}\"]");
}

static void check_env(struct spec_check *check, json_t *value) {
    if (value != NULL && !json_is_object(value)) {
        spec_complain(check, "must be an object of texts: {\"NAME\": \"value\"}");
        return;
    }
    const char *name;
    json_t *text;
    json_object_foreach(value, name, text) {
        spec_check_push(check, name, 0);
        if (!json_is_string(text))
            spec_complain(check, "must be a text in double quotes (numbers and true/false too)");
        else if (*name == '\0' || strchr(name, '=') != NULL)
            spec_complain(
                check, "cannot be the name of an environment variable: it is empty or has a '='");
        check->depth--;
    }
}

static void check_interrupt_mode(struct spec_check *check, json_t *value) {
    const char *mode = json_string_value(value);
    if (value == NULL ||
        (mode != NULL && (strcasecmp(mode, "signal") == 0 || strcasecmp(mode, "message") == 0)))
        return;
    spec_complain(check, "must be \"signal\" or \"message\"");
}

static void check_cull_idle(struct spec_check *check, const json_t *value) {
    double seconds = json_number_value(value);
    spec_check_push(check, "cull_idle_timeout", 0);
    if (value != NULL && (!json_is_number(value) || seconds < 0 || seconds > KERNELSPEC_IDLE_MAX_S))
        spec_complain(check,
                      "must be a number of seconds from 0 (never) to 31536000, without quotes");
    check->depth--;
}

static void check_metadata(struct spec_check *check, json_t *value) {
    static const struct {
        const char *object, *text;
    } starters[] = {{"kernel_provisioner", "provisioner_name"}, {"process_proxy", "class_name"}};
    if (value != NULL && !json_is_object(value)) {
        spec_complain(check, "must be an object");
        return;
    }
    for (size_t i = 0; i < sizeof starters / sizeof *starters; i++) {
        const json_t *starter = json_object_get(value, starters[i].object);
        spec_check_push(check, starters[i].object, 0);
        if (starter != NULL && !json_is_object(starter)) {
            spec_complain(check, "must be an object");
        } else {
            spec_check_push(check, starters[i].text, 0);
            check_text(check, json_object_get(starter, starters[i].text));
            check->depth--;
        }
        check->depth--;
    }
    check_cull_idle(check, json_object_get(value, "cull_idle_timeout"));
    spec_elara_check(check, json_object_get(value, "elara"));
}

static const struct {
    const char *name;
    void (*check)(struct spec_check *check, json_t *value); /* value NULL: the field is not there */
} fields[] = {
    {"argv", check_argv},
    {"display_name", check_text},
    {"language", check_text},
    {"env", check_env},
    {"interrupt_mode", check_interrupt_mode},
    {"metadata", check_metadata},
    {"kernel_protocol_version", check_text},
    {"mimetype", check_text},
};

static bool is_usable(struct spec_check *check, const json_t *json) {
    if (!json_is_object(json)) {
        spec_complain(check, "must be a JSON object: {\"argv\": [...], \"display_name\": ...}");
        return false;
    }
    const json_t *metadata = json_object_get(json, "metadata");
    check->has_foreign_starter = json_object_get(metadata, "kernel_provisioner") != NULL ||
                                 json_object_get(metadata, "process_proxy") != NULL;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        spec_check_push(check, fields[i].name, 0);
        fields[i].check(check, json_object_get(json, fields[i].name));
        check->depth--;
    }
    return check->count == 0;
}

static void lower_interrupt_mode(json_t *json) {
    const char *mode = json_string_value(json_object_get(json, "interrupt_mode"));
    if (mode == NULL)
        return;
    cleanup_free char *lower = memory_strdup(mode);
    text_lower(lower);
    json_object_set_new(json, "interrupt_mode", json_string(lower));
}

json_t *spec_file_parse(const char *text, size_t length, const char *file, json_t *problems) {
    json_error_t where;
    json_t *json = json_loadb(text, length, JSON_DECODE_ANY, &where);
    if (json == NULL) {
        spec_problem_add(problems, file, where.line > 0 ? where.line : 1, "",
                         "not valid JSON: %s (column %d)", where.text, where.column);
        return NULL;
    }
    struct spec_check check = {.file = file, .text = text, .length = length, .problems = problems};
    if (!is_usable(&check, json)) {
        json_decref(json);
        return NULL;
    }
    lower_interrupt_mode(json);
    spec_elara_spread(json);
    return json;
}

json_t *spec_file_load(const char *directory, json_t *problems) {
    cleanup_free char *file = memory_printf("%s/kernel.json", directory);
    cleanup_buffer struct buffer text = {.limit = SPEC_FILE_MAX + 1};
    struct error err = {0};
    if (file_read(file, SPEC_FILE_MAX, &text, &err) < 0) {
        const char *reason = text_starts_with(err.text, file) ? err.text + strlen(file) : err.text;
        spec_problem_add(problems, file, 0, "", "cannot be read: %s",
                         reason + strspn(reason, ": "));
        return NULL;
    }
    return spec_file_parse(buffer_text(&text), text.length, file, problems);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_resource(const struct dirent *entry) {
    const char *name = entry->d_name;
    return strcmp(name, "kernel.js") == 0 || strcmp(name, "kernel.css") == 0 ||
           text_starts_with(name, "logo-");
}

static bool is_file(const char *directory, const char *name) {
    cleanup_free char *path = memory_printf("%s/%s", directory, name);
    struct stat found;
    errno = 0;
    return stat(path, &found) == 0 && S_ISREG(found.st_mode);
}

json_t *spec_file_resources(const char *directory) {
    json_t *resources = json_object();
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, is_resource, by_name);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        const char *dot = strrchr(name, '.');
        bool is_logo = text_starts_with(name, "logo-");
        cleanup_free char *key = is_logo && dot != NULL ? memory_strndup(name, (size_t)(dot - name))
                                                        : memory_strdup(name);
        /* Two logos of one key (.png and .svg): the first by name, whatever order the directory
         * has. */
        if (json_object_size(resources) < SPEC_RESOURCES_MAX && utf8_is_valid(name, strlen(name)) &&
            json_object_get(resources, key) == NULL && is_file(directory, name))
            json_object_set_new(resources, key, json_string(name));
        free(entries[i]);
    }
    free(entries);
    return resources;
}

bool spec_file_is_directory_of_one(const char *directory) {
    return is_file(directory, "kernel.json") || errno == EACCES; /* loading it says what is wrong */
}

bool spec_name_is_valid(const char *name) {
    static const char valid[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return *name != '\0' && name[strspn(name, valid)] == '\0';
}
