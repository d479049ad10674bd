#include "launcher/policy_file.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/yaml.h"
#include "launcher/kube_quantity.h"
#include "launcher/policy_internal.h"
#include "nfs/user_name.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 256, TEXT_MAX = 1024 };

struct reading {
    const char *name;
    const json_t *lines;
    struct error *err;
};

static int refuse(const struct reading *reading, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const struct reading *reading, const char *path, const char *format, ...) {
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    int line = (int)json_integer_value(json_object_get(reading->lines, path));
    return line > 0 ? error_set(reading->err, ERROR_INVALID, "%s:%d: %s: %s", reading->name, line,
                                path, why)
                    : error_set(reading->err, ERROR_INVALID, "%s: %s%s%s", reading->name, path,
                                *path != '\0' ? ": " : "", why);
}

/* --- single values --- */

typedef int check_value(const struct reading *reading, const char *path, const json_t *value);

static int check_texts_with(const struct reading *reading, const char *path, const json_t *value,
                            const char *(*problem)(const char *text)) {
    if (!json_is_array(value))
        return refuse(reading, path, "must be a list of texts: [a, b]");
    for (size_t i = 0; i < json_array_size(value); i++) {
        cleanup_free char *item = memory_printf("%s[%zu]", path, i);
        const char *text = json_string_value(json_array_get(value, i));
        if (text == NULL || *text == '\0' || strlen(text) > TEXT_MAX)
            return refuse(reading, item, "must be a text (put it in quotes) of at most %d bytes",
                          TEXT_MAX);
        const char *why = problem != NULL ? problem(text) : NULL;
        if (why != NULL)
            return refuse(reading, item, "\"%.100s\" %s", text, why);
    }
    return 0;
}

static int check_texts(const struct reading *reading, const char *path, const json_t *value) {
    return check_texts_with(reading, path, value, NULL);
}

static const char *variable_problem(const char *text) {
    return text_starts_with(text, "KERNEL_") || strcmp(text, "*") == 0
               ? NULL
               : "must begin with KERNEL_ (* and ? allowed)";
}

static int check_variables(const struct reading *reading, const char *path, const json_t *value) {
    return check_texts_with(reading, path, value, variable_problem);
}

static const char *type_problem(const char *text) {
    static const char *const never[] = {"secret", "projected", "csi"};
    static const char *const known[] = {"emptyDir", "nfs",       "persistentVolumeClaim",
                                        "hostPath", "configMap", "downwardAPI",
                                        "ephemeral"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strcmp(text, never[i]) == 0)
            return "is not for requests: it can hold the keys of others' kernels. Put the volume "
                   "into the kernelspec's pod.yaml";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(text, known[i]) == 0)
            return NULL;
    return "must be emptyDir, nfs, persistentVolumeClaim, hostPath, configMap, downwardAPI or "
           "ephemeral";
}

static int check_types(const struct reading *reading, const char *path, const json_t *value) {
    return check_texts_with(reading, path, value, type_problem);
}

static const char *path_problem(const char *text) {
    return policy_pattern_problem(text, true);
}

static int check_paths(const struct reading *reading, const char *path, const json_t *value) {
    return check_texts_with(reading, path, value, path_problem);
}

/* "claim" or "claim/directory/{user}" */
static const char *claim_problem(const char *text) {
    const char *below = strchr(text, '/');
    return below == NULL ? NULL : policy_pattern_problem(below + 1, false);
}

static int check_claims(const struct reading *reading, const char *path, const json_t *value) {
    return check_texts_with(reading, path, value, claim_problem);
}

static int check_text(const struct reading *reading, const char *path, const json_t *value) {
    const char *text = json_string_value(value);
    return text != NULL && *text != '\0' && strlen(text) <= TEXT_MAX
               ? 0
               : refuse(reading, path, "must be a text");
}

static int check_scheme(const struct reading *reading, const char *path, const json_t *value) {
    enum user_name_scheme unused;
    const char *text = json_string_value(value);
    return text != NULL && user_name_scheme_parse(text, &unused, NULL) == 0
               ? 0
               : refuse(reading, path, "must be raw, hub or safe-slug");
}

static int check_whole(const struct reading *reading, const char *path, const json_t *value) {
    json_int_t number = json_integer_value(value);
    return json_is_integer(value) && number >= 0 && number <= INT32_MAX
               ? 0
               : refuse(reading, path, "must be a whole number from 0 to %d", INT32_MAX);
}

static int check_wholes(const struct reading *reading, const char *path, const json_t *value) {
    if (!json_is_array(value))
        return refuse(reading, path, "must be a list of whole numbers: [0, 65534]");
    for (size_t i = 0; i < json_array_size(value); i++) {
        cleanup_free char *item = memory_printf("%s[%zu]", path, i);
        if (check_whole(reading, item, json_array_get(value, i)) < 0)
            return -1;
    }
    return 0;
}

static int check_truth(const struct reading *reading, const char *path, const json_t *value) {
    return json_is_boolean(value) ? 0 : refuse(reading, path, "must be true or false");
}

static int check_amount(const struct reading *reading, const char *path, const json_t *value) {
    const char *text = json_string_value(value);
    if ((json_is_number(value) && json_number_value(value) >= 0) ||
        (text != NULL && kube_quantity_parse(text, "", NULL, NULL) == 0))
        return 0;
    return refuse(reading, path, "must be an amount such as 2, 500m or 8Gi");
}

static int check_groups(const struct reading *reading, const char *path, const json_t *value) {
    const char *name;
    json_t *users;
    if (!json_is_object(value))
        return refuse(reading, path, "must be names of groups, with lists of users");
    json_object_foreach((json_t *)(uintptr_t)value, name, users) {
        cleanup_free char *inner = memory_printf("%s.%.100s", path, name);
        if (check_texts(reading, inner, users) < 0)
            return -1;
    }
    return 0;
}

/* --- mappings --- */

struct field {
    const char *name;
    check_value *check;
    const struct field *members; /* instead of check: a mapping, or a list of such */
    bool is_list;
};

static const struct field variables[] = {{.name = "allow", .check = check_variables}, {0}};
static const struct field exports[] = {{.name = "server", .check = check_text},
                                       {.name = "paths", .check = check_paths},
                                       {.name = "read_only", .check = check_truth},
                                       {0}};
static const struct field volumes[] = {{.name = "types", .check = check_types},
                                       {.name = "nfs", .members = exports, .is_list = true},
                                       {.name = "claims", .check = check_claims},
                                       {.name = "host_paths", .check = check_paths},
                                       {0}};
static const struct field ids[] = {{.name = "from", .check = check_whole},
                                   {.name = "to", .check = check_whole},
                                   {.name = "prohibited", .check = check_wholes},
                                   {0}};
static const struct field users[] = {{.name = "authorized", .check = check_texts},
                                     {.name = "unauthorized", .check = check_texts},
                                     {.name = "trust_claimed_names", .check = check_truth},
                                     {0}};
static const struct field amounts[] = {
    {.name = "max", .check = check_amount}, {.name = "default", .check = check_amount}, {0}};
static const struct field resources[] = {{.name = "cpus", .members = amounts},
                                         {.name = "memory", .members = amounts},
                                         {.name = "gpus", .members = amounts},
                                         {0}};
static const struct field env[] = {{.name = "names", .check = check_texts},
                                   {.name = "bytes", .check = check_whole},
                                   {.name = "count", .check = check_whole},
                                   {0}};
static const struct field when[] = {{.name = "kernelspecs", .check = check_texts},
                                    {.name = "users", .check = check_texts},
                                    {.name = "groups", .check = check_texts},
                                    {0}};

#define MEMBERS                                                                                    \
    {.name = "variables", .members = variables}, {.name = "images", .check = check_texts},         \
        {.name = "volumes", .members = volumes}, {.name = "uid", .members = ids},                  \
        {.name = "gid", .members = ids}, {.name = "users", .members = users},                      \
        {.name = "namespaces", .check = check_texts},                                              \
        {.name = "service_accounts", .check = check_texts},                                        \
        {.name = "resources", .members = resources}, {                                             \
        .name = "env", .members = env                                                              \
    }

static const struct field rule[] = {MEMBERS, {.name = "when", .members = when}, {0}};
static const struct field whole[] = {MEMBERS,
                                     {.name = "groups", .check = check_groups},
                                     {.name = "user_names", .check = check_scheme},
                                     {.name = "rules", .members = rule, .is_list = true},
                                     {0}};

static int check_mapping(const struct reading *reading, const char *path, const json_t *value,
                         const struct field *fields);

static int check_field(const struct reading *reading, const char *path, const json_t *value,
                       const struct field *field) {
    if (field->check != NULL)
        return field->check(reading, path, value);
    if (!field->is_list)
        return check_mapping(reading, path, value, field->members);
    if (!json_is_array(value) || json_array_size(value) > POLICY_RULES_MAX)
        return refuse(reading, path, "must be a list of at most %d mappings", POLICY_RULES_MAX);
    for (size_t i = 0; i < json_array_size(value); i++) {
        cleanup_free char *item = memory_printf("%s[%zu]", path, i);
        if (check_mapping(reading, item, json_array_get(value, i), field->members) < 0)
            return -1;
    }
    return 0;
}

static int refuse_unknown(const struct reading *reading, const char *path,
                          const struct field *fields) {
    char known[256] = "";
    for (size_t used = 0; fields->name != NULL; fields++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "",
                                 fields->name);
    return refuse(reading, path, "is not known; it must be one of %s", known);
}

static int check_mapping(const struct reading *reading, const char *path, const json_t *value,
                         const struct field *fields) {
    const char *key;
    json_t *member;
    if (!json_is_object(value))
        return refuse(reading, path, "must be a mapping with %s, ...", fields->name);
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
        cleanup_free char *inner = memory_printf("%s%s%.100s", path, *path != '\0' ? "." : "", key);
        const struct field *field = fields;
        while (field->name != NULL && strcmp(field->name, key) != 0)
            field++;
        if (field->name == NULL)
            return refuse_unknown(reading, inner, fields);
        if (check_field(reading, inner, member, field) < 0)
            return -1;
    }
    return 0;
}

/* --- what single members cannot say --- */

static int check_rule(const struct reading *reading, const char *path, const json_t *members) {
    char inner[PATH_SIZE];
    const json_t *nfs = json_object_get(json_object_get(members, "volumes"), "nfs");
    for (size_t i = 0; i < json_array_size(nfs); i++) {
        const json_t *entry = json_array_get(nfs, i);
        snprintf(inner, sizeof inner, "%svolumes.nfs[%zu]", path, i);
        if (json_object_get(entry, "server") == NULL || json_object_get(entry, "paths") == NULL)
            return refuse(reading, inner, "must have a server and paths");
    }
    static const char *const numbers[] = {"uid", "gid"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *range = json_object_get(members, numbers[i]);
        const json_t *from = json_object_get(range, "from"), *to = json_object_get(range, "to");
        snprintf(inner, sizeof inner, "%s%s", path, numbers[i]);
        if (from != NULL && to != NULL && json_integer_value(from) > json_integer_value(to))
            return refuse(reading, inner, "from must not be larger than to");
    }
    return 0;
}

static int check_rules(const struct reading *reading, const json_t *tree) {
    const json_t *rules = json_object_get(tree, "rules"), *groups = json_object_get(tree, "groups");
    if (check_rule(reading, "", tree) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(rules); i++) {
        char path[PATH_SIZE];
        const json_t *members = json_array_get(rules, i), *condition;
        snprintf(path, sizeof path, "rules[%zu]", i);
        condition = json_object_get(members, "when");
        if (condition == NULL)
            return refuse(reading, path, "must have a \"when\": kernelspecs, users or groups");
        if (json_object_get(json_object_get(members, "users"), "trust_claimed_names") != NULL)
            return refuse(reading, path,
                          "users.trust_claimed_names belongs to the whole policy, not to a rule");
        const json_t *named = json_object_get(condition, "groups");
        for (size_t j = 0; j < json_array_size(named); j++) {
            const char *group = json_string_value(json_array_get(named, j));
            if (json_object_get(groups, group) == NULL)
                return refuse(reading, path, "when.groups: \"%.100s\" is no group of \"groups\"",
                              group);
        }
        snprintf(path, sizeof path, "rules[%zu].", i);
        if (check_rule(reading, path, members) < 0)
            return -1;
    }
    return 0;
}

/* --- the file --- */

static int add_prohibited(json_t *fallback, const char *member, const char *setting,
                          char *const *numbers, struct error *err) {
    json_t *list = json_array();
    json_object_set_new(fallback, member, json_pack("{s:o}", "prohibited", list));
    for (; numbers != NULL && *numbers != NULL; numbers++) {
        int64_t number;
        if (text_parse_int(*numbers, 0, INT32_MAX, setting, &number, err) < 0)
            return -1;
        json_array_append_new(list, json_integer(number));
    }
    return 0;
}

int policy_file_parse(const char *text, size_t length, const char *name,
                      const struct policy_defaults *defaults, struct policy **ret,
                      struct error *err) {
    cleanup_json json_t *tree = NULL, *lines = NULL, *fallback = json_object();
    if (length > POLICY_FILE_MAX)
        return error_set(err, ERROR_LIMIT, "%s: larger than %d KiB", name, POLICY_FILE_MAX >> 10);
    if (yaml_parse_lines(text, length, &tree, &lines, err) < 0)
        return error_wrap(err, "%s", name);
    if (json_is_null(tree)) { /* all of it is commented out */
        json_decref(tree);
        tree = json_object();
    }
    struct reading reading = {name, lines, err};
    if (check_mapping(&reading, "", tree, whole) < 0 || check_rules(&reading, tree) < 0 ||
        add_prohibited(fallback, "uid", "prohibited-uids",
                       defaults != NULL ? defaults->prohibited_uids : NULL, err) < 0 ||
        add_prohibited(fallback, "gid", "prohibited-gids",
                       defaults != NULL ? defaults->prohibited_gids : NULL, err) < 0)
        return -1;
    struct policy *policy = memory_alloc(sizeof *policy);
    *policy = (struct policy){memory_strdup(name), steal(&tree), steal(&lines), steal(&fallback)};
    *ret = policy;
    return 0;
}

int policy_file_load(const char *path, const struct policy_defaults *defaults, struct policy **ret,
                     struct error *err) {
    cleanup_buffer struct buffer text = {.limit = POLICY_FILE_MAX + 1};
    const char *slash = strrchr(path, '/');
    if (file_read(path, POLICY_FILE_MAX, &text, err) < 0)
        return error_wrap(err, "policy");
    return policy_file_parse(buffer_text(&text), text.length, slash != NULL ? slash + 1 : path,
                             defaults, ret, err);
}

static void doubt_rule(const struct policy *policy, const char *place, const json_t *members,
                       json_t *doubts) {
    const json_t *nfs = json_object_get(json_object_get(members, "volumes"), "nfs");
    for (size_t i = 0; i < json_array_size(nfs); i++) {
        const json_t *entry = json_array_get(nfs, i), *paths = json_object_get(entry, "paths");
        if (json_is_true(json_object_get(entry, "read_only")))
            continue;
        for (size_t j = 0; j < json_array_size(paths); j++) {
            const char *path = json_string_value(json_array_get(paths, j));
            if (!text_ends_with(path, "/**"))
                continue;
            cleanup_free char *item = memory_printf("%svolumes.nfs[%zu].paths[%zu]", place, i, j);
            cleanup_free char *doubt = memory_printf(
                "%s:%d: %s: who mounts what is below \"%s\" for writing can put a link there that "
                "leads to all of the export; end the path with {user}, or say read_only: true",
                policy->name, (int)json_integer_value(json_object_get(policy->lines, item)), item,
                path);
            json_array_append_new(doubts, json_string(doubt));
        }
    }
}

json_t *policy_file_doubts(const struct policy *policy) {
    json_t *doubts = json_array();
    const json_t *rules = json_object_get(policy->tree, "rules");
    doubt_rule(policy, "", policy->tree, doubts);
    for (size_t i = 0; i < json_array_size(rules); i++) {
        cleanup_free char *place = memory_printf("rules[%zu].", i);
        doubt_rule(policy, place, json_array_get(rules, i), doubts);
    }
    return doubts;
}

void policy_destroy(struct policy *policy) {
    if (policy == NULL)
        return;
    free(policy->name);
    json_decref(policy->tree);
    json_decref(policy->lines);
    json_decref(policy->fallback);
    free(policy);
}
