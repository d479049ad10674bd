#include "kernelspecs/spec_file.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernelspecs/json_place.h"
#include "kernelspecs/kernelspecs.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { PROBLEMS_MAX_PER_FILE = 20, STEPS_MAX = 4 };

struct check {
    const char *file;
    const char *text;
    size_t length;
    json_t *problems;
    size_t count;
    bool has_foreign_starter; /* somebody else's provisioner, which may do without argv */
    struct json_step steps[STEPS_MAX];
    size_t depth;
};

static json_t *text_of_bytes(const char *bytes) {
    json_t *text = json_string(bytes);
    if (text != NULL)
        return text;
    cleanup_free char *copy = memory_strdup(bytes); /* a file name need not be UTF-8 */
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(copy);
}

void spec_problem_add(json_t *problems, const char *file, int line, const char *field,
                      const char *format, ...) {
    char problem[512];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    problem[text_utf8_floor(problem, strlen(problem), sizeof problem - 1)] = '\0';
    json_array_append_new(problems, json_pack("{s:o, s:i, s:o, s:o}", "file", text_of_bytes(file),
                                              "line", line, "field", text_of_bytes(field),
                                              "problem", text_of_bytes(problem)));
}

/* The steps as a person writes them: metadata.process_proxy, argv[2]. */
static char *field_name(const struct check *check) {
    char *name = memory_strdup("");
    for (size_t i = 0; i < check->depth; i++) {
        const struct json_step *step = &check->steps[i];
        char *longer = step->key != NULL
                           ? memory_printf("%s%s%s", name, i > 0 ? "." : "", step->key)
                           : memory_printf("%s[%zu]", name, step->index);
        free(name);
        name = longer;
    }
    return name;
}

static void complain(struct check *check, const char *problem) {
    if (++check->count > PROBLEMS_MAX_PER_FILE)
        return;
    cleanup_free char *field = field_name(check);
    size_t line = json_place_line(check->text, check->length, check->steps, check->depth);
    spec_problem_add(check->problems, check->file, (int)line, field, "%s", problem);
}

static void push(struct check *check, const char *key, size_t index) {
    check->steps[check->depth++] = (struct json_step){key, index};
}

static void check_text(struct check *check, json_t *value) {
    if (value != NULL && !json_is_string(value))
        complain(check, "must be a text in double quotes");
}

static void check_command(struct check *check, json_t *value) {
    if (!json_is_array(value)) {
        complain(check, "must be an array of texts: the program, then one text for each argument");
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *argument = json_array_get(value, i);
        push(check, NULL, i);
        if (!json_is_string(argument))
            complain(check, "must be a text in double quotes (numbers too)");
        else if (i == 0 && json_string_length(argument) == 0)
            complain(check, "must name the program to run");
        check->depth--;
    }
}

static void check_argv(struct check *check, json_t *value) {
    bool is_there = value != NULL && (!json_is_array(value) || json_array_size(value) > 0);
    if (is_there)
        check_command(check, value);
    else if (!check->has_foreign_starter)
        complain(check,
                 "must be there: the command as an array of texts, such as "
                 "[\"python3\", \"-m\", \"ipykernel_launcher\", \"-f\", \"{connection_file}\"]");
}

static void check_env(struct check *check, json_t *value) {
    if (value != NULL && !json_is_object(value)) {
        complain(check, "must be an object of texts: {\"NAME\": \"value\"}");
        return;
    }
    const char *name;
    json_t *text;
    json_object_foreach(value, name, text) {
        push(check, name, 0);
        if (!json_is_string(text))
            complain(check, "must be a text in double quotes (numbers and true/false too)");
        else if (*name == '\0' || strchr(name, '=') != NULL)
            complain(check,
                     "cannot be the name of an environment variable: it is empty or has a '='");
        check->depth--;
    }
}

static void check_interrupt_mode(struct check *check, json_t *value) {
    const char *mode = json_string_value(value);
    if (value == NULL ||
        (mode != NULL && (strcasecmp(mode, "signal") == 0 || strcasecmp(mode, "message") == 0)))
        return;
    complain(check, "must be \"signal\" or \"message\"");
}

static void check_journal_bytes(struct check *check, const json_t *value) {
    json_int_t bytes = json_integer_value(value);
    push(check, "journal_bytes", 0);
    if (value != NULL && (!json_is_integer(value) || bytes < KERNELSPEC_JOURNAL_MIN ||
                          bytes > KERNELSPEC_JOURNAL_MAX))
        complain(check, "must be a whole number of bytes from 1048576 (1 MiB) to 68719476736 "
                        "(64 GiB), without quotes");
    check->depth--;
}

static void check_cull_idle(struct check *check, const json_t *value) {
    double seconds = json_number_value(value);
    push(check, "cull_idle_timeout", 0);
    if (value != NULL && (!json_is_number(value) || seconds < 0 || seconds > KERNELSPEC_IDLE_MAX_S))
        complain(check, "must be a number of seconds from 0 (never) to 31536000, without quotes");
    check->depth--;
}

static void check_own_argv(struct check *check, json_t *value) {
    push(check, "argv", 0);
    if (json_is_array(value) && json_array_size(value) == 0)
        complain(check, "must name the program to run");
    else if (value != NULL)
        check_command(check, value);
    check->depth--;
}

static void check_home(struct check *check, const json_t *value) {
    push(check, "home", 0);
    if (value != NULL && !json_is_boolean(value))
        complain(check, "must be true or false, without quotes");
    check->depth--;
}

/* Which of its own values clients may replace; names of variables, or "image" for KERNEL_IMAGE. */
static void check_overridable(struct check *check, const json_t *value) {
    push(check, "overridable", 0);
    bool is_good = value == NULL || json_is_array(value);
    for (size_t i = 0; is_good && i < json_array_size(value); i++)
        is_good = json_is_string(json_array_get(value, i));
    if (!is_good)
        complain(check, "must be an array of texts: [\"image\", \"cpus\"]");
    check->depth--;
}

/* What a kernelspec says to this gateway alone. */
static void check_elara(struct check *check, const json_t *value) {
    push(check, "elara", 0);
    if (value != NULL && !json_is_object(value)) {
        complain(check, "must be an object");
    } else {
        check_journal_bytes(check, json_object_get(value, "journal_bytes"));
        check_own_argv(check, json_object_get(value, "argv"));
        check_home(check, json_object_get(value, "home"));
        check_overridable(check, json_object_get(value, "overridable"));
    }
    check->depth--;
}

static void check_metadata(struct check *check, json_t *value) {
    static const struct {
        const char *object, *text;
    } starters[] = {{"kernel_provisioner", "provisioner_name"}, {"process_proxy", "class_name"}};
    if (value != NULL && !json_is_object(value)) {
        complain(check, "must be an object");
        return;
    }
    for (size_t i = 0; i < sizeof starters / sizeof *starters; i++) {
        const json_t *starter = json_object_get(value, starters[i].object);
        push(check, starters[i].object, 0);
        if (starter != NULL && !json_is_object(starter)) {
            complain(check, "must be an object");
        } else {
            push(check, starters[i].text, 0);
            check_text(check, json_object_get(starter, starters[i].text));
            check->depth--;
        }
        check->depth--;
    }
    check_cull_idle(check, json_object_get(value, "cull_idle_timeout"));
    check_elara(check, json_object_get(value, "elara"));
}

static const struct {
    const char *name;
    void (*check)(struct check *check, json_t *value); /* value NULL: the field is not there */
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

static bool is_usable(struct check *check, const json_t *json) {
    if (!json_is_object(json)) {
        complain(check, "must be a JSON object: {\"argv\": [...], \"display_name\": ...}");
        return false;
    }
    const json_t *metadata = json_object_get(json, "metadata");
    check->has_foreign_starter = json_object_get(metadata, "kernel_provisioner") != NULL ||
                                 json_object_get(metadata, "process_proxy") != NULL;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        push(check, fields[i].name, 0);
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
    json_error_t where;
    json_t *json = json_loadb(buffer_text(&text), text.length, JSON_DECODE_ANY, &where);
    if (json == NULL) {
        spec_problem_add(problems, file, where.line > 0 ? where.line : 1, "",
                         "not valid JSON: %s (column %d)", where.text, where.column);
        return NULL;
    }
    struct check check = {
        .file = file, .text = buffer_text(&text), .length = text.length, .problems = problems};
    if (!is_usable(&check, json)) {
        json_decref(json);
        return NULL;
    }
    lower_interrupt_mode(json);
    return json;
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
        if (json_object_size(resources) < SPEC_RESOURCES_MAX && text_is_utf8(name, strlen(name)) &&
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
