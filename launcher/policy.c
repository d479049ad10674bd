#include "launcher/policy.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_quantity.h"
#include "launcher/kube_wishes.h"
#include "launcher/policy_internal.h"
#include "nfs/user_name.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 192, SHOWN_MAX = 200 };

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

static struct policy_rule find(const struct policy_case *self, const char *member) {
    struct policy_rule rule;
    policy_find(self->policy, self->request, member, &rule);
    return rule;
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

int policy_refuse(const struct policy_case *self, const char *variable,
                  const struct policy_rule *rule, const char *part, const char *format, ...) {
    char what[640], path[PATH_SIZE * 2];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(path, sizeof path, "%s%s%s", rule->path, part != NULL ? "." : "",
             part != NULL ? part : "");
    const json_t *lines = self->policy->lines;
    const json_t *line = json_object_get(lines, path);
    if (line == NULL)
        line = json_object_get(lines, rule->path);
    cleanup_free char *clean = text_repair(what); /* cut off, perhaps in a character */
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
    struct policy_rule rule = find(self, "users");
    const char *user = policy_user(self->policy, self->request);
    const json_t *authorized = json_object_get(rule.value, "authorized");
    if (matches(json_object_get(rule.value, "unauthorized"), user))
        return policy_refuse(self, "KERNEL_USERNAME", &rule, "unauthorized", "the user %.100s",
                             user);
    if (authorized != NULL && !matches(authorized, user))
        return policy_refuse(self, "KERNEL_USERNAME", &rule, "authorized", "the user %.100s", user);
    return 0;
}

static int check_variable(const struct policy_case *self, const char *name) {
    struct policy_rule allowed = find(self, "variables"), env = find(self, "env");
    if (!text_starts_with(name, "KERNEL_")) {
        const json_t *names = json_object_get(env.value, "names");
        return names == NULL || matches(names, name)
                   ? 0
                   : policy_refuse(self, name, &env, "names", "the variable");
    }
    const json_t *names = json_object_get(allowed.value, "allow");
    if (names == NULL || is_of_notebooks(name) || matches(names, name) ||
        policy_spec_wins(self->request, name))
        return 0;
    return policy_refuse(self, name, &allowed, "allow", "the variable");
}

int policy_check_request(const struct policy *policy, const struct policy_request *request,
                         struct error *err) {
    struct policy_case self = {policy, request, NULL, err};
    struct policy_rule env = find(&self, "env");
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

/* --- the pod --- */

static int check_image(const struct policy_case *self, const char *variable, const char *image) {
    struct policy_rule rule = find(self, "images");
    if (image == NULL || policy_list_has(self, rule.value, image))
        return 0;
    return policy_refuse(self, variable, &rule, NULL, "image %.*s", SHOWN_MAX, image);
}

static int check_id(const struct policy_case *self, const char *variable, const char *member,
                    const json_t *value) {
    struct policy_rule rule = find(self, member);
    json_int_t number = json_integer_value(value);
    const json_t *from = json_object_get(rule.value, "from"),
                 *to = json_object_get(rule.value, "to"),
                 *prohibited = json_object_get(rule.value, "prohibited");
    bool is_own = prohibited != NULL;
    if (!json_is_integer(value))
        return policy_refuse(self, variable, &rule, NULL, "what is no number as %s", member);
    if (self->policy == policy_builtin())
        return policy_refuse(self, variable, &rule, NULL, "%s %lld", member, (long long)number);
    if (!is_own)
        prohibited = json_object_get(json_object_get(self->policy->fallback, member), "prohibited");
    for (size_t i = 0; i < json_array_size(prohibited); i++) {
        if (json_integer_value(json_array_get(prohibited, i)) != number)
            continue;
        if (is_own)
            return policy_refuse(self, variable, &rule, "prohibited", "%s %lld", member,
                                 (long long)number);
        return error_set(self->err, ERROR_DENIED,
                         "%s: %s %lld is not allowed: it is one of the setting prohibited-%ss",
                         variable, member, (long long)number, member);
    }
    if (from != NULL && number < json_integer_value(from))
        return policy_refuse(self, variable, &rule, "from", "%s %lld", member, (long long)number);
    if (to != NULL && number > json_integer_value(to))
        return policy_refuse(self, variable, &rule, "to", "%s %lld", member, (long long)number);
    return 0;
}

static double amount_of(const json_t *value) {
    double amount = 0;
    if (json_is_number(value))
        return json_number_value(value);
    if (json_is_string(value))
        kube_quantity_parse(json_string_value(value), "", &amount, NULL);
    return amount;
}

static const char *kind_of_amount(const char *resource, const char *gpu_resource) {
    if (strcmp(resource, "cpu") == 0)
        return "cpus";
    return strcmp(resource, "memory") == 0       ? "memory"
           : strcmp(resource, gpu_resource) == 0 ? "gpus"
                                                 : NULL;
}

static int check_amount(const struct policy_case *self, const char *variable, const char *kind,
                        const json_t *value) {
    struct policy_rule rule = find(self, "resources");
    const json_t *max = json_object_get(json_object_get(rule.value, kind), "max");
    char part[32];
    if (max == NULL || amount_of(value) <= amount_of(max))
        return 0;
    snprintf(part, sizeof part, "%s.max", kind);
    cleanup_free char *text = json_dumps(value, JSON_ENCODE_ANY);
    return policy_refuse(self, variable, &rule, part, "%.64s of %s", text, kind);
}

static int check_resources(const struct policy_case *self, const char *path,
                           const json_t *container, const char *gpu_resource) {
    static const char *const sides[] = {"requests", "limits"};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        const char *resource;
        json_t *value;
        json_object_foreach(json_object_get(json_object_get(container, "resources"), sides[i]),
                            resource, value) {
            cleanup_free char *place =
                memory_printf("%s.resources.%s.%.100s", path, sides[i], resource);
            const char *variable = kube_flow_at(self->flow, place),
                       *kind = kind_of_amount(resource, gpu_resource);
            if (variable != NULL && kind != NULL && check_amount(self, variable, kind, value) < 0)
                return -1;
        }
    }
    return 0;
}

/* runAsUser and its kin, of a pod or a container. */
static int check_security(const struct policy_case *self, const char *path,
                          const json_t *security) {
    static const struct {
        const char *field, *member;
    } rows[] = {{"runAsUser", "uid"}, {"runAsGroup", "gid"}, {"fsGroup", "gid"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const json_t *value = json_object_get(security, rows[i].field);
        cleanup_free char *place = memory_printf("%s.securityContext.%s", path, rows[i].field);
        const char *variable = kube_flow_at(self->flow, place);
        if (variable != NULL && value != NULL &&
            check_id(self, variable, rows[i].member, value) < 0)
            return -1;
    }
    const json_t *groups = json_object_get(security, "supplementalGroups");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        cleanup_free char *place =
            memory_printf("%s.securityContext.supplementalGroups[%zu]", path, i);
        const char *variable = kube_flow_at(self->flow, place);
        if (variable != NULL && check_id(self, variable, "gid", json_array_get(groups, i)) < 0)
            return -1;
    }
    return 0;
}

static int check_containers(const struct policy_case *self, const json_t *spec, const char *list,
                            const char *gpu_resource) {
    const json_t *containers = json_object_get(spec, list);
    for (size_t i = 0; i < json_array_size(containers); i++) {
        const json_t *container = json_array_get(containers, i);
        cleanup_free char *path = memory_printf("spec.%s[%zu]", list, i);
        cleanup_free char *image = memory_printf("%s.image", path);
        const char *variable = kube_flow_at(self->flow, image);
        if (variable != NULL && check_image(self, variable, text_of(container, "image")) < 0)
            return -1;
        if (check_security(self, path, json_object_get(container, "securityContext")) < 0 ||
            check_resources(self, path, container, gpu_resource) < 0)
            return -1;
    }
    return 0;
}

static int check_account(const struct policy_case *self, const json_t *spec) {
    static const char *const members[] = {"serviceAccountName", "serviceAccount"};
    struct policy_rule rule = find(self, "service_accounts");
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *name = text_of(spec, members[i]);
        cleanup_free char *place = memory_printf("spec.%s", members[i]);
        const char *variable = kube_flow_at(self->flow, place);
        if (variable != NULL && name != NULL && !policy_list_has(self, rule.value, name))
            return policy_refuse(self, variable, &rule, NULL, "service account %.100s", name);
    }
    return 0;
}

/* "spec.containers[0].env[1].value": "spec.containers.env.value" */
static char *without_indices(const char *place) {
    char *text = memory_strdup(place), *to = text;
    for (const char *from = place; *from != '\0'; from++) {
        if (*from == '[')
            from += strcspn(from, "]");
        if (*from != '\0' && *from != ']')
            *to++ = *from;
        if (*from == '\0')
            break;
    }
    *to = '\0';
    return text;
}

/* Where a value of the client's may stand as an administrator's template has put it: it is looked
 * at, or gives nothing away. All else (Secrets' names, other security, host...) is refused. */
static bool is_open(const char *place) {
    static const char *const open[] = {
        "metadata", "spec.nodeSelector", "spec.tolerations", "spec.affinity",
        "spec.topologySpreadConstraints", "spec.priorityClassName", "spec.schedulerName",
        "spec.hostname", "spec.subdomain", "spec.activeDeadlineSeconds",
        "spec.terminationGracePeriodSeconds",
        /* these are looked at */
        "spec.volumes", "spec.serviceAccountName", "spec.serviceAccount",
        "spec.securityContext.runAsUser", "spec.securityContext.runAsGroup",
        "spec.securityContext.fsGroup", "spec.securityContext.supplementalGroups"};
    static const char *const open_of_container[] = {"name",
                                                    "env.name",
                                                    "env.value",
                                                    "args",
                                                    "command",
                                                    "workingDir",
                                                    "ports",
                                                    "image",
                                                    "resources",
                                                    "volumeMounts",
                                                    "securityContext.runAsUser",
                                                    "securityContext.runAsGroup"};
    cleanup_free char *plain = without_indices(place);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        size_t length = strlen(open[i]);
        if (text_starts_with(plain, open[i]) && (plain[length] == '\0' || plain[length] == '.'))
            return true;
    }
    static const char *const lists[] = {"spec.containers.", "spec.initContainers."};
    for (size_t j = 0; j < sizeof lists / sizeof *lists; j++) {
        const char *rest = plain + strlen(lists[j]);
        for (size_t i = 0; text_starts_with(plain, lists[j]) &&
                           i < sizeof open_of_container / sizeof *open_of_container;
             i++) {
            size_t length = strlen(open_of_container[i]);
            if (text_starts_with(rest, open_of_container[i]) &&
                (rest[length] == '\0' || rest[length] == '.'))
                return true;
        }
    }
    return false;
}

static int check_places(const struct policy_case *self) {
    const char *place;
    json_t *variable;
    json_object_foreach(self->flow->places, place, variable) {
        if (!is_open(place))
            return error_set(self->err, ERROR_DENIED,
                             "%s: its value must not stand in the pod's %.300s: that is the "
                             "administrator's alone",
                             json_string_value(variable), place);
    }
    return 0;
}

int policy_check_pod(const struct policy *policy, const struct policy_request *request,
                     const struct kube_flow *flow, const json_t *pod, const char *gpu_resource,
                     struct error *err) {
    struct policy_case self = {policy, request, flow, err};
    const json_t *spec = json_object_get(pod, "spec");
    return policy_check_volumes(&self, spec) < 0 ||
                   check_containers(&self, spec, "containers", gpu_resource) < 0 ||
                   check_containers(&self, spec, "initContainers", gpu_resource) < 0 ||
                   check_security(&self, "spec", json_object_get(spec, "securityContext")) < 0 ||
                   check_account(&self, spec) < 0 || check_places(&self) < 0
               ? -1
               : 0;
}

int policy_check_namespace(const struct policy *policy, const struct policy_request *request,
                           const char *name, struct error *err) {
    struct policy_case self = {policy, request, NULL, err};
    struct policy_rule rule = find(&self, "namespaces");
    if (policy_list_has(&self, rule.value, name))
        return 0;
    return policy_refuse(&self, "KERNEL_NAMESPACE", &rule, NULL, "namespace %.100s", name);
}

/* --- amounts that nobody said --- */

static json_t *side_of(json_t *container, const char *side) {
    json_t *resources = json_object_get(container, "resources");
    if (!json_is_object(resources)) {
        resources = json_object();
        json_object_set_new(container, "resources", resources);
    }
    json_t *amounts = json_object_get(resources, side);
    if (!json_is_object(amounts)) {
        amounts = json_object();
        json_object_set_new(resources, side, amounts);
    }
    return amounts;
}

static json_t *as_amount(const json_t *value) {
    cleanup_free char *text = json_dumps(value, JSON_ENCODE_ANY);
    return json_is_string(value) ? json_copy((json_t *)(uintptr_t)value) : json_string(text);
}

static void add_amount(const json_t *rule, const char *resource, bool is_shared,
                       json_t *container) {
    const json_t *max = json_object_get(rule, "max"), *usual = json_object_get(rule, "default");
    json_t *requests = side_of(container, "requests"), *limits = side_of(container, "limits");
    const json_t *limit = json_object_get(limits, resource),
                 *wanted = json_object_get(requests, resource);
    bool is_said = limit != NULL || wanted != NULL;
    if (!is_said && usual != NULL && amount_of(usual) > 0) {
        json_object_set_new(requests, resource, as_amount(usual));
        if (!is_shared)
            json_object_set_new(limits, resource, as_amount(usual));
    }
    wanted = json_object_get(requests, resource);
    if (is_shared && max != NULL && limit == NULL &&
        (wanted == NULL || amount_of(wanted) <= amount_of(max)))
        json_object_set_new(limits, resource, as_amount(max));
}

void policy_add_resources(const struct policy *policy, const struct policy_request *request,
                          const char *gpu_resource, json_t *container) {
    struct policy_rule rule;
    policy_find(policy, request, "resources", &rule);
    const struct {
        const char *member, *resource;
        bool is_shared; /* may be used beyond what is asked for */
    } rows[] = {{"cpus", "cpu", true}, {"memory", "memory", true}, {"gpus", gpu_resource, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const json_t *amounts = json_object_get(rule.value, rows[i].member);
        if (amounts != NULL)
            add_amount(amounts, rows[i].resource, rows[i].is_shared, container);
    }
}
