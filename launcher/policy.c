#include "launcher/policy.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "launcher/kube_wishes.h"
#include "launcher/policy_internal.h"
#include "nfs/user_name.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 192 };

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

const struct policy *policy_builtin(void) {
    static const struct policy builtin;
    return &builtin;
}

struct policy_request policy_request_of(const char *kernelspec, const json_t *kernel_json,
                                        const char *owner, const json_t *client) {
    const json_t *elara = json_object_get(json_object_get(kernel_json, "metadata"), "elara");
    return (struct policy_request){.kernelspec = kernelspec,
                                   .owner = owner,
                                   .client = client,
                                   .spec_env = json_object_get(kernel_json, "env"),
                                   .overridable = json_object_get(elara, "overridable")};
}

/* --- who asks --- */

bool policy_trusts_names(const struct policy *policy) {
    const json_t *users = json_object_get(policy->tree, "users");
    return json_is_true(json_object_get(users, "trust_claimed_names"));
}

const char *policy_user(const struct policy *policy, const struct policy_request *request) {
    const char *claimed = text_of(request->client, "KERNEL_USERNAME");
    bool counts = policy_trusts_names(policy) && claimed != NULL && *claimed != '\0';
    const char *user = counts ? claimed : request->owner;
    return user != NULL ? user : "";
}

static bool matches(const json_t *patterns, const char *text) {
    for (size_t i = 0; i < json_array_size(patterns); i++)
        if (text_glob(json_string_value(json_array_get(patterns, i)), text))
            return true;
    return false;
}

static bool is_in_group(const struct policy *policy, const json_t *groups, const char *user) {
    const json_t *all = json_object_get(policy->tree, "groups");
    for (size_t i = 0; i < json_array_size(groups); i++)
        if (matches(json_object_get(all, json_string_value(json_array_get(groups, i))), user))
            return true;
    return false;
}

/* Kernelspec, and (user or group), each if it is named. */
static bool is_meant(const struct policy *policy, const struct policy_request *request,
                     const json_t *when) {
    const json_t *specs = json_object_get(when, "kernelspecs"),
                 *users = json_object_get(when, "users"), *groups = json_object_get(when, "groups");
    const char *user = policy_user(policy, request);
    bool names_somebody = users != NULL || groups != NULL;
    return (specs == NULL ||
            matches(specs, request->kernelspec != NULL ? request->kernelspec : "")) &&
           (!names_somebody || matches(users, user) || is_in_group(policy, groups, user));
}

void policy_find(const struct policy *policy, const struct policy_request *request,
                 const char *member, struct policy_rule *ret) {
    const json_t *rules = json_object_get(policy->tree, "rules");
    for (size_t i = json_array_size(rules); i > 0; i--) {
        const json_t *rule = json_array_get(rules, i - 1);
        ret->value = json_object_get(rule, member);
        if (ret->value == NULL || !is_meant(policy, request, json_object_get(rule, "when")))
            continue;
        snprintf(ret->path, sizeof ret->path, "rules[%zu].%s", i - 1, member);
        return;
    }
    ret->value = json_object_get(policy->tree, member);
    snprintf(ret->path, sizeof ret->path, "%s", member);
}

struct policy_rule policy_rule(const struct policy_case *self, const char *member) {
    struct policy_rule rule;
    policy_find(self->policy, self->request, member, &rule);
    return rule;
}

json_t *policy_ids(const struct policy *policy, const struct policy_request *request,
                   const char *member) {
    struct policy_rule rule;
    policy_find(policy, request, member, &rule);
    json_t *ids = json_object();
    json_object_update(ids, json_object_get(policy->fallback, member));
    json_object_update(ids, (json_t *)(uintptr_t)rule.value);
    return ids;
}

/* What to write where there is no policy yet. */
static const char *example_of(const char *member) {
    static const char *const rows[][2] = {
        {"volumes", "volumes: {nfs: [{server: NAME, paths: ['/DIRECTORY/{user}']}]}"},
        {"images", "images: [NAME]"},
        {"service_accounts", "service_accounts: [NAME]"},
        {"uid", "uid: {from: 1000, to: 59999}"},
        {"gid", "gid: {from: 100, to: 100}"}};
    size_t i = 0;
    while (i < sizeof rows / sizeof *rows - 1 && strcmp(rows[i][0], member) != 0)
        i++;
    return rows[i][1];
}

static int refuse_without_file(const struct policy_case *self, const char *variable,
                               const char *member, const char *what) {
    return error_set(self->err, ERROR_DENIED,
                     "%s: %s is not allowed: this gateway has no policy that lets requests choose "
                     "it. The administrator can give it one, the setting policy, a file with the "
                     "lines \"variables: {allow: [%s]}\" and \"%s\"; or name %s in "
                     "kubernetes-allow, which lets every client have what it asks for",
                     variable, what, variable, example_of(member), variable);
}

/* Where a part of a rule (NULL: all of it) is written: its path, and the line or NULL. */
static const json_t *find_line(const struct policy_case *self, const struct policy_rule *rule,
                               const char *part, char path[PATH_SIZE * 2]) {
    snprintf(path, (size_t)PATH_SIZE * 2, "%s%s%s", rule->path, part != NULL ? "." : "",
             part != NULL ? part : "");
    const json_t *lines = self->policy->lines, *line = json_object_get(lines, path);
    return line != NULL ? line : json_object_get(lines, rule->path);
}

void policy_allow(const struct policy_case *self, const char *variable, const char *place,
                  const struct policy_rule *rule, const char *part) {
    char path[PATH_SIZE * 2], text[PATH_SIZE * 3];
    if (self->request->decisions == NULL || self->policy->name == NULL)
        return;
    const json_t *line = find_line(self, rule, part, path);
    if (line != NULL)
        snprintf(text, sizeof text, "%.100s line %d (%s)", self->policy->name,
                 (int)json_integer_value(line), path);
    else
        snprintf(text, sizeof text, "%.100s has no %s", self->policy->name, path);
    json_array_append_new(self->request->decisions, json_pack("{s:s, s:s, s:s}", "place", place,
                                                              "variable", variable, "rule", text));
}

int policy_refuse(const struct policy_case *self, const char *variable,
                  const struct policy_rule *rule, const char *part, const char *format, ...) {
    char what[640], path[PATH_SIZE * 2];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const json_t *line = find_line(self, rule, part, path);
    cleanup_free char *clean = utf8_repair(what); /* cut off, perhaps in a character */
    const char *name = self->policy->name;
    if (name == NULL)
        return refuse_without_file(self, variable, rule->path, clean);
    if (line == NULL)
        return error_set(self->err, ERROR_DENIED, "%s: %s is not allowed: %s has no %s", variable,
                         clean, name, path);
    return error_set(self->err, ERROR_DENIED, "%s: %s is not allowed: %s line %d (%s)", variable,
                     clean, name, (int)json_integer_value(line), path);
}

/* --- patterns --- */

/* As the directory of the user is called; NULL: no directory can be. */
static char *user_part(const struct policy_case *self) {
    const char *words = text_of(self->policy->tree, "user_names");
    enum user_name_scheme scheme = USER_NAME_RAW;
    char *part = NULL;
    if ((words != NULL && user_name_scheme_parse(words, &scheme, NULL) < 0) ||
        user_name_escape(scheme, policy_user(self->policy, self->request), &part, NULL) < 0)
        return NULL;
    if (strchr(part, '/') == NULL && policy_path_problem(part, false) == NULL)
        return part;
    free(part);
    return NULL;
}

char *policy_expand(const struct policy_case *self, const char *pattern) {
    static const char mark[] = "{user}";
    if (strstr(pattern, mark) == NULL)
        return memory_strdup(pattern);
    cleanup_free char *user = user_part(self);
    if (user == NULL)
        return NULL;
    cleanup_buffer struct buffer out = {.limit = 1 << 16};
    const char *next;
    for (; (next = strstr(pattern, mark)) != NULL; pattern = next + strlen(mark)) {
        buffer_append(&out, pattern, (size_t)(next - pattern));
        buffer_append_text(&out, user);
    }
    buffer_append_text(&out, pattern);
    return memory_strdup(buffer_text(&out));
}

/* A name with * or ? in it must not become a pattern. */
static bool has_glob(const char *name) {
    return strpbrk(name, "*?") != NULL;
}

bool policy_list_has(const struct policy_case *self, const json_t *patterns, const char *text) {
    bool is_odd = has_glob(policy_user(self->policy, self->request));
    for (size_t i = 0; i < json_array_size(patterns); i++) {
        const char *pattern = json_string_value(json_array_get(patterns, i));
        cleanup_free char *expanded = policy_expand(self, pattern);
        if (expanded == NULL || (is_odd && strcmp(expanded, pattern) != 0))
            continue;
        if (text_glob(expanded, text))
            return true;
    }
    return false;
}

/* --- variables --- */

/* What a notebook server sets by itself; none of it shapes a pod but where its kernel begins. */
static bool is_of_notebooks(const char *name) {
    static const char *const names[] = {"KERNEL_ID", "KERNEL_USERNAME", "KERNEL_LAUNCH_TIMEOUT",
                                        "KERNEL_WORKING_DIR", "KERNEL_NAME"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool same_name(const char *variable, const char *name) {
    if (strcmp(variable, name) == 0)
        return true;
    return text_starts_with(variable, "KERNEL_") &&
           strcasecmp(variable + strlen("KERNEL_"), name) == 0;
}

bool policy_spec_wins(const struct policy_request *request, const char *variable) {
    const char *value = text_of(request->spec_env, variable);
    if (value == NULL || *value == '\0')
        return false;
    for (size_t i = 0; i < json_array_size(request->overridable); i++) {
        const char *name = json_string_value(json_array_get(request->overridable, i));
        if (name != NULL && same_name(variable, name))
            return false;
    }
    return true;
}

json_t *policy_counting(const struct policy_request *request) {
    json_t *counting = json_object();
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)request->client, name, value) {
        if (!policy_spec_wins(request, name))
            json_object_set(counting, name, value);
    }
    return counting;
}

static int check_users(const struct policy_case *self) {
    struct policy_rule rule = policy_rule(self, "users");
    const char *user = policy_user(self->policy, self->request);
    const json_t *authorized = json_object_get(rule.value, "authorized");
    if (matches(json_object_get(rule.value, "unauthorized"), user))
        return policy_refuse(self, "KERNEL_USERNAME", &rule, "unauthorized", "the user %.100s",
                             user);
    if (authorized != NULL && !matches(authorized, user))
        return policy_refuse(self, "KERNEL_USERNAME", &rule, "authorized", "the user %.100s", user);
    policy_allow(self, "KERNEL_USERNAME", "user", &rule, authorized != NULL ? "authorized" : NULL);
    return 0;
}

static int check_variable(const struct policy_case *self, const char *name) {
    struct policy_rule allowed = policy_rule(self, "variables"), env = policy_rule(self, "env");
    bool is_kernels = text_starts_with(name, "KERNEL_");
    const struct policy_rule *rule = is_kernels ? &allowed : &env;
    const char *part = is_kernels ? "allow" : "names";
    const json_t *names = json_object_get(rule->value, part);
    bool is_own = is_kernels && (is_of_notebooks(name) || policy_spec_wins(self->request, name));
    if (names != NULL && !is_own && !matches(names, name))
        return policy_refuse(self, name, rule, part, "the variable");
    cleanup_free char *place = memory_printf("env.%s", name);
    if (!is_own)
        policy_allow(self, name, place, rule, part);
    return 0;
}

int policy_check_request(const struct policy *policy, const struct policy_request *request,
                         struct error *err) {
    struct policy_case self = {policy, request, NULL, err};
    struct policy_rule env = policy_rule(&self, "env");
    const json_t *most_bytes = json_object_get(env.value, "bytes"),
                 *most = json_object_get(env.value, "count");
    const char *name;
    json_t *value;
    size_t bytes = 0;
    if (check_users(&self) < 0)
        return -1;
    if (most != NULL && (json_int_t)json_object_size(request->client) > json_integer_value(most))
        return policy_refuse(&self, "env", &env, "count", "%zu variables",
                             json_object_size(request->client));
    json_object_foreach((json_t *)(uintptr_t)request->client, name, value) {
        bytes += strlen(name) + json_string_length(value);
        if (check_variable(&self, name) < 0)
            return -1;
        if (most_bytes != NULL && (json_int_t)bytes > json_integer_value(most_bytes))
            return policy_refuse(&self, name, &env, "bytes", "more than %lld bytes of variables",
                                 (long long)json_integer_value(most_bytes));
    }
    return 0;
}

uint32_t policy_wishes(const struct policy *policy, const struct policy_request *request,
                       uint32_t fallback) {
    struct policy_rule rule;
    policy_find(policy, request, "variables", &rule);
    const json_t *names = json_object_get(rule.value, "allow");
    uint32_t set = 0;
    for (unsigned i = 0; i < KUBE_WISHES; i++) {
        const char *name = kube_wish_row(i)->name;
        bool may = names == NULL ? (fallback & 1u << i) != 0
                                 : is_of_notebooks(name) || matches(names, name);
        if (may && !policy_spec_wins(request, name))
            set |= 1u << i;
    }
    return set;
}
