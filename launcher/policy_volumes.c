/* What is mounted: volumes, and mounts of volumes, that a client's value went into. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "launcher/kube_template.h"
#include "launcher/policy_internal.h"

#include <stdio.h>
#include <string.h>

enum { PATH_MAX_BYTES = 1024, PART_MAX = 255 };

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

/* --- paths --- */

/* One character of valid UTF-8. */
static unsigned next_character(const char **text) {
    const unsigned char *at = (const unsigned char *)*text;
    unsigned size = at[0] < 0x80 ? 1 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    unsigned code = size == 1 ? at[0] : at[0] & (0x7FU >> size);
    for (unsigned i = 1; i < size; i++)
        code = code << 6 | (at[i] & 0x3FU);
    *text += size;
    return code;
}

/* Characters that nobody sees, or that look like a / or a dot, so that who reads the path reads
 * another one. */
static bool is_deceptive(unsigned code) {
    static const struct {
        unsigned from, to;
    } ranges[] = {{0x00, 0x1F},     {0x7F, 0xA0},     {0xAD, 0xAD},       {0x034F, 0x034F},
                  {0x061C, 0x061C}, {0x0702, 0x0702}, {0x0660, 0x0660},   {0x115F, 0x1160},
                  {0x1680, 0x1680}, {0x17B4, 0x17B5}, {0x180B, 0x180F},   {0x2000, 0x200F},
                  {0x2024, 0x2026}, {0x2028, 0x202F}, {0x2044, 0x2044},   {0x205F, 0x206F},
                  {0x2215, 0x2216}, {0x2571, 0x2571}, {0x27CB, 0x27CB},   {0x29F5, 0x29F9},
                  {0x3000, 0x3002}, {0x3033, 0x3033}, {0x3164, 0x3164},   {0xA4F8, 0xA4F9},
                  {0xE000, 0xF8FF}, {0xFE00, 0xFE0F}, {0xFE52, 0xFE52},   {0xFE68, 0xFE68},
                  {0xFEFF, 0xFEFF}, {0xFF0E, 0xFF0F}, {0xFF3C, 0xFF3C},   {0xFF61, 0xFF61},
                  {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFF}, {0x1D16D, 0x1D16D}, {0xE0000, 0x10FFFF}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i].from && code <= ranges[i].to)
            return true;
    return false;
}

const char *policy_path_problem(const char *path, bool is_absolute) {
    if (strlen(path) > PATH_MAX_BYTES)
        return "is too long";
    if (!utf8_is_valid(path, strlen(path)))
        return "is not UTF-8";
    for (const char *at = path; *at != '\0';)
        if (is_deceptive(next_character(&at)))
            return "has a character that cannot be seen or looks like another one";
    if (strchr(path, '\\') != NULL)
        return "has a backslash";
    if (is_absolute != (*path == '/'))
        return is_absolute ? "must begin with /" : "must not begin with /";
    if (strcmp(path, "/") == 0)
        return NULL;
    for (const char *at = path + is_absolute;; at++) {
        size_t length = strcspn(at, "/");
        if (length == 0)
            return "has an empty part, or ends with /";
        if ((length == 1 && at[0] == '.') || (length == 2 && at[0] == '.' && at[1] == '.'))
            return "has a part that is . or ..";
        if (length > PART_MAX)
            return "has a part that is too long";
        at += length;
        if (*at == '\0')
            return NULL;
    }
}

const char *policy_pattern_problem(const char *pattern, bool is_absolute) {
    size_t length = strlen(pattern);
    cleanup_free char *path = memory_strdup(pattern);
    if (strcmp(path, "/**") == 0)
        path[1] = '\0';
    else if (strcmp(path, "**") == 0)
        return NULL;
    else if (length > 3 && text_ends_with(path, "/**"))
        path[length - 3] = '\0';
    if (strpbrk(path, "*?") != NULL)
        return "may have no * or ?, but may end with /** for all that is below";
    return policy_path_problem(path, is_absolute);
}

/* Whole parts are compared; two stars as the last part are the path and all that is below. */
static bool path_matches(const char *pattern, const char *path) {
    size_t length = strlen(pattern);
    if (strcmp(pattern, "**") == 0 || strcmp(pattern, "/**") == 0)
        return true;
    if (!text_ends_with(pattern, "/**"))
        return strcmp(pattern, path) == 0;
    length -= 3;
    return strncmp(pattern, path, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool paths_have(const struct policy_case *self, const json_t *patterns, const char *path) {
    for (size_t i = 0; i < json_array_size(patterns); i++) {
        cleanup_free char *pattern =
            policy_expand(self, json_string_value(json_array_get(patterns, i)));
        if (pattern != NULL && path_matches(pattern, path))
            return true;
    }
    return false;
}

/* --- volumes --- */

/* One thing that is to be mounted: a volume, and for a mount what is below it. */
struct wanted {
    const char *variable;
    const char *place; /* of the volume or mount in the pod */
    const json_t *volume;
    const char *sub_path; /* NULL: all of the volume */
    bool is_volume;       /* not mounted here; a claim may be allowed in part */
};

static bool lists_type(const json_t *rule, const char *type) {
    const json_t *types = json_object_get(rule, "types");
    static const struct {
        const char *type, *member;
    } lists[] = {{"nfs", "nfs"}, {"persistentVolumeClaim", "claims"}, {"hostPath", "host_paths"}};
    for (size_t i = 0; i < json_array_size(types); i++)
        if (strcmp(json_string_value(json_array_get(types, i)), type) == 0)
            return true;
    if (types != NULL)
        return false;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (strcmp(lists[i].type, type) == 0)
            return json_object_get(rule, lists[i].member) != NULL;
    return strcmp(type, "emptyDir") == 0;
}

static char *whole_path(const char *path, const char *sub_path) {
    if (sub_path == NULL)
        return memory_strdup(path);
    return memory_printf("%s%s%s", path, strcmp(path, "/") == 0 ? "" : "/", sub_path);
}

static int check_path(const struct policy_case *self, const struct wanted *wanted,
                      const struct policy_rule *rule, const char *part, const char *path) {
    const char *problem = policy_path_problem(path, true);
    return problem == NULL ? 0
                           : policy_refuse(self, wanted->variable, rule, part,
                                           "\"%.200s\", which %s,", path, problem);
}

static int check_nfs(const struct policy_case *self, const struct wanted *wanted,
                     const struct policy_rule *rule, const json_t *nfs) {
    const char *server = text_of(nfs, "server"), *path = text_of(nfs, "path");
    const json_t *entries = json_object_get(rule->value, "nfs");
    if (server == NULL || path == NULL)
        return policy_refuse(self, wanted->variable, rule, "nfs", "nfs without server and path");
    cleanup_free char *whole = whole_path(path, wanted->sub_path);
    bool wants_writing = false;
    if (check_path(self, wanted, rule, "nfs", whole) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        if (strcmp(text_of(entry, "server"), server) != 0 ||
            !paths_have(self, json_object_get(entry, "paths"), whole))
            continue;
        if (!json_is_true(json_object_get(entry, "read_only")) ||
            json_is_true(json_object_get(nfs, "readOnly"))) {
            char part[32];
            snprintf(part, sizeof part, "nfs[%zu]", i);
            policy_allow(self, wanted->variable, wanted->place, rule, part);
            return 0;
        }
        wants_writing = true;
    }
    return policy_refuse(self, wanted->variable, rule, "nfs", "nfs %.100s:%.200s%s", server, whole,
                         wants_writing ? " without readOnly: true" : "");
}

/* "claim", or "claim/directory" for subPath. */
static bool claim_matches(const struct policy_case *self, const char *pattern, const char *claim,
                          const struct wanted *wanted) {
    cleanup_free char *expanded = policy_expand(self, pattern);
    if (expanded == NULL)
        return false;
    char *below = strchr(expanded, '/');
    if (below != NULL)
        *below++ = '\0';
    if (!text_glob(expanded, claim))
        return false;
    return below == NULL || wanted->is_volume ||
           (wanted->sub_path != NULL && path_matches(below, wanted->sub_path));
}

static int check_claim(const struct policy_case *self, const struct wanted *wanted,
                       const struct policy_rule *rule, const json_t *source) {
    const char *claim = text_of(source, "claimName");
    const json_t *claims = json_object_get(rule->value, "claims");
    bool is_ours = claim != NULL && kube_template_is_ours(claim); /* its root is all homes */
    for (size_t i = 0; claim != NULL && !is_ours && i < json_array_size(claims); i++)
        if (claim_matches(self, json_string_value(json_array_get(claims, i)), claim, wanted)) {
            policy_allow(self, wanted->variable, wanted->place, rule, "claims");
            return 0;
        }
    return policy_refuse(self, wanted->variable, rule, "claims",
                         "persistentVolumeClaim %.100s%s%.200s", claim != NULL ? claim : "",
                         wanted->sub_path != NULL ? "/" : "",
                         wanted->sub_path != NULL ? wanted->sub_path : "");
}

static int check_host_path(const struct policy_case *self, const struct wanted *wanted,
                           const struct policy_rule *rule, const json_t *source) {
    const char *path = text_of(source, "path");
    cleanup_free char *whole = whole_path(path != NULL ? path : "", wanted->sub_path);
    if (check_path(self, wanted, rule, "host_paths", whole) < 0)
        return -1;
    if (!paths_have(self, json_object_get(rule->value, "host_paths"), whole))
        return policy_refuse(self, wanted->variable, rule, "host_paths", "hostPath %.200s", whole);
    policy_allow(self, wanted->variable, wanted->place, rule, "host_paths");
    return 0;
}

static const char *type_of(const json_t *volume, const json_t **source) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)volume, key, value) {
        if (strcmp(key, "name") != 0) {
            *source = value;
            return key;
        }
    }
    *source = NULL;
    return "emptyDir"; /* as the API takes it */
}

static int check_wanted(const struct policy_case *self, const struct wanted *wanted) {
    struct policy_rule rule = policy_rule(self, "volumes");
    const json_t *source;
    const char *type = type_of(wanted->volume, &source);
    const char *path = text_of(source, "path"), *server = text_of(source, "server");
    if (!lists_type(rule.value, type))
        return policy_refuse(self, wanted->variable, &rule, "types", "%.64s%s%.100s%s%.200s", type,
                             server != NULL || path != NULL ? " " : "",
                             server != NULL ? server : "", server != NULL ? ":" : "",
                             path != NULL ? path : "");
    if (strcmp(type, "nfs") == 0)
        return check_nfs(self, wanted, &rule, source);
    if (strcmp(type, "persistentVolumeClaim") == 0)
        return check_claim(self, wanted, &rule, source);
    if (strcmp(type, "hostPath") == 0)
        return check_host_path(self, wanted, &rule, source);
    policy_allow(self, wanted->variable, wanted->place, &rule, "types");
    return 0;
}

/* --- mounts --- */

static const json_t *volume_named(const json_t *spec, const char *name, size_t *index) {
    const json_t *volumes = json_object_get(spec, "volumes");
    for (*index = 0; name != NULL && *index < json_array_size(volumes); ++*index) {
        const json_t *volume = json_array_get(volumes, *index);
        if (strcmp(text_of(volume, "name"), name) == 0)
            return volume;
    }
    return NULL;
}

/* The variable that had a say in what is mounted, not only in where. */
static const char *chosen_by(const struct policy_case *self, const char *path) {
    static const char *const members[] = {"name", "subPath", "subPathExpr", "mountPropagation"};
    const char *variable = NULL;
    for (size_t i = 0; variable == NULL && i < sizeof members / sizeof *members; i++) {
        cleanup_free char *place = memory_printf("%s.%s", path, members[i]);
        variable = kube_flow_at(self->flow, place);
    }
    return variable;
}

/* A container that is looked at. */
struct room {
    const json_t *spec, *container;
    const char *place; /* "spec.containers[0]" */
};

/* The variable that had a say in what `text` is when the first `count` variables of the
 * container's environment are put into it, which the node does for subPathExpr. */
static const char *chosen_by_environment(const struct policy_case *self, const struct room *room,
                                         const char *text, size_t count) {
    const json_t *env = json_object_get(room->container, "env");
    const char *variable = NULL;
    for (size_t i = 0; text != NULL && variable == NULL && i < count; i++) {
        const json_t *element = json_array_get(env, i);
        const char *name = text_of(element, "name");
        cleanup_free char *reference = memory_printf("$(%s)", name);
        cleanup_free char *place = memory_printf("%s.env[%zu]", room->place, i);
        if (strstr(text, reference) == NULL)
            continue;
        variable = kube_flow_at(self->flow, place);
        if (variable == NULL && json_object_get(self->flow->names, name) != NULL)
            variable = name; /* a Jinja template's pod has it without being asked */
        if (variable == NULL && json_object_get(element, "valueFrom") != NULL)
            variable = kube_flow_at(self->flow, "metadata");
        if (variable == NULL) /* of those before it */
            variable = chosen_by_environment(self, room, text_of(element, "value"), i);
    }
    return variable;
}

static int check_mount(const struct policy_case *self, const struct room *room, const char *path,
                       const json_t *mount) {
    size_t index;
    const json_t *volume = volume_named(room->spec, text_of(mount, "name"), &index);
    const char *chosen = chosen_by(self, path), *propagation = text_of(mount, "mountPropagation");
    if (chosen == NULL)
        chosen = chosen_by_environment(self, room, text_of(mount, "subPathExpr"),
                                       json_array_size(json_object_get(room->container, "env")));
    cleanup_free char *place = memory_printf("spec.volumes[%zu]", index);
    const char *made = volume != NULL ? kube_flow_at(self->flow, place) : NULL;
    struct wanted wanted = {.variable = chosen != NULL ? chosen : made,
                            .place = path,
                            .volume = volume,
                            .sub_path = text_of(mount, "subPath")};
    struct policy_rule rule = policy_rule(self, "volumes");
    if (wanted.variable == NULL)
        return 0;
    if (chosen != NULL && text_of(mount, "subPathExpr") != NULL)
        return policy_refuse(self, chosen, &rule, NULL, "subPathExpr");
    if (chosen != NULL && propagation != NULL && strcmp(propagation, "None") != 0)
        return policy_refuse(self, chosen, &rule, NULL, "mountPropagation %.64s", propagation);
    const char *problem =
        wanted.sub_path != NULL ? policy_path_problem(wanted.sub_path, false) : NULL;
    if (problem != NULL)
        return policy_refuse(self, wanted.variable, &rule, NULL, "subPath \"%.200s\", which %s,",
                             wanted.sub_path, problem);
    const json_t *source;
    if (volume == NULL) /* one that comes later is not a client's to choose */
        return policy_refuse(self, wanted.variable, &rule, NULL, "a volume that is not there");
    /* The volume itself was looked at, all but which part of a claim is meant. */
    if (chosen == NULL && strcmp(type_of(volume, &source), "persistentVolumeClaim") != 0)
        return 0;
    return check_wanted(self, &wanted);
}

static int check_mounts(const struct policy_case *self, const json_t *spec, const char *list) {
    const json_t *containers = json_object_get(spec, list);
    for (size_t i = 0; i < json_array_size(containers); i++) {
        cleanup_free char *place = memory_printf("spec.%s[%zu]", list, i);
        const struct room room = {spec, json_array_get(containers, i), place};
        const json_t *mounts = json_object_get(room.container, "volumeMounts");
        for (size_t j = 0; j < json_array_size(mounts); j++) {
            cleanup_free char *path = memory_printf("%s.volumeMounts[%zu]", place, j);
            if (check_mount(self, &room, path, json_array_get(mounts, j)) < 0)
                return -1;
        }
    }
    return 0;
}

int policy_check_volumes(const struct policy_case *self, const json_t *spec) {
    const json_t *volumes = json_object_get(spec, "volumes");
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        cleanup_free char *place = memory_printf("spec.volumes[%zu]", i);
        struct wanted wanted = {.variable = kube_flow_at(self->flow, place),
                                .place = place,
                                .volume = json_array_get(volumes, i),
                                .is_volume = true};
        if (wanted.variable != NULL && check_wanted(self, &wanted) < 0)
            return -1;
    }
    return check_mounts(self, spec, "containers") < 0 ||
                   check_mounts(self, spec, "initContainers") < 0
               ? -1
               : 0;
}
