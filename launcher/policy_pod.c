/* What a client's values went into: images, users, amounts, accounts and all other places of the
 * pod; and the amounts that nobody said. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_quantity.h"
#include "launcher/policy_internal.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 200 };

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

static int check_image(const struct policy_case *self, const char *variable, const char *place,
                       const char *image) {
    struct policy_rule rule = policy_rule(self, "images");
    if (image == NULL || policy_list_has(self, rule.value, image)) {
        policy_allow(self, variable, place, &rule, NULL);
        return 0;
    }
    return policy_refuse(self, variable, &rule, NULL, "image %.*s", SHOWN_MAX, image);
}

static int check_id(const struct policy_case *self, const char *variable, const char *place,
                    const char *member, const json_t *value) {
    struct policy_rule rule = policy_rule(self, member);
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
    policy_allow(self, variable, place, &rule, NULL);
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

/* Devices have a / in their names: each is held to what GPUs are. NULL: the policy has no rule. */
static const char *kind_of_amount(const char *resource, const char *gpu_resource) {
    if (strcmp(resource, "cpu") == 0)
        return "cpus";
    if (strcmp(resource, "memory") == 0 || text_starts_with(resource, "hugepages-"))
        return "memory";
    return strcmp(resource, gpu_resource) == 0 || strchr(resource, '/') != NULL ? "gpus" : NULL;
}

static int check_amount(const struct policy_case *self, const char *variable, const char *place,
                        const char *kind, const json_t *value) {
    struct policy_rule rule = policy_rule(self, "resources");
    const json_t *max = json_object_get(json_object_get(rule.value, kind), "max");
    char part[32];
    snprintf(part, sizeof part, "%s.max", kind);
    if (max == NULL || amount_of(value) <= amount_of(max)) {
        policy_allow(self, variable, place, &rule, part);
        return 0;
    }
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
                memory_printf("%s.resources.%s.%s", path, sides[i], resource);
            const char *variable = kube_flow_at(self->flow, place),
                       *kind = kind_of_amount(resource, gpu_resource);
            if (variable != NULL && kind != NULL &&
                check_amount(self, variable, place, kind, value) < 0)
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
            check_id(self, variable, place, rows[i].member, value) < 0)
            return -1;
    }
    const json_t *groups = json_object_get(security, "supplementalGroups");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        cleanup_free char *place =
            memory_printf("%s.securityContext.supplementalGroups[%zu]", path, i);
        const char *variable = kube_flow_at(self->flow, place);
        if (variable != NULL &&
            check_id(self, variable, place, "gid", json_array_get(groups, i)) < 0)
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
        if (variable != NULL && check_image(self, variable, image, text_of(container, "image")) < 0)
            return -1;
        if (check_security(self, path, json_object_get(container, "securityContext")) < 0 ||
            check_resources(self, path, container, gpu_resource) < 0)
            return -1;
    }
    return 0;
}

static int check_account(const struct policy_case *self, const json_t *spec) {
    static const char *const members[] = {"serviceAccountName", "serviceAccount"};
    struct policy_rule rule = policy_rule(self, "service_accounts");
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *name = text_of(spec, members[i]);
        cleanup_free char *place = memory_printf("spec.%s", members[i]);
        const char *variable = kube_flow_at(self->flow, place);
        if (variable == NULL || name == NULL)
            continue;
        if (!policy_list_has(self, rule.value, name))
            return policy_refuse(self, variable, &rule, NULL, "service account %.100s", name);
        policy_allow(self, variable, place, &rule, NULL);
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
                                                    "ports.containerPort",
                                                    "ports.name",
                                                    "ports.protocol",
                                                    "image",
                                                    "resources.requests",
                                                    "resources.limits",
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
    struct policy_rule rule = policy_rule(&self, "namespaces");
    if (policy_list_has(&self, rule.value, name)) {
        policy_allow(&self, "KERNEL_NAMESPACE", "metadata.namespace", &rule, NULL);
        return 0;
    }
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

/* What is to be added to a container, of one kind of amount. */
struct adding {
    const struct policy_case *policy;
    const struct policy_rule *rule;
    const char *member, *resource; /* "cpus", "cpu" */
    const char *place;             /* the container's */
    bool is_shared;                /* may be used beyond what is asked for */
};

static void add_to(const struct adding *self, json_t *amounts, const char *side, const char *part,
                   const json_t *amount) {
    cleanup_free char *place =
        memory_printf("%s.resources.%s.%s", self->place, side, self->resource);
    cleanup_free char *path = memory_printf("%s.%s", self->member, part);
    json_object_set_new(amounts, self->resource, as_amount(amount));
    policy_allow(self->policy, "", place, self->rule, path);
}

static void add_amount(const struct adding *self, json_t *container) {
    const json_t *rule = json_object_get(self->rule->value, self->member);
    const json_t *max = json_object_get(rule, "max"), *usual = json_object_get(rule, "default");
    json_t *requests = side_of(container, "requests"), *limits = side_of(container, "limits");
    const json_t *limit = json_object_get(limits, self->resource),
                 *wanted = json_object_get(requests, self->resource);
    bool is_said = limit != NULL || wanted != NULL;
    if (!is_said && usual != NULL && amount_of(usual) > 0) {
        add_to(self, requests, "requests", "default", usual);
        if (!self->is_shared)
            add_to(self, limits, "limits", "default", usual);
    }
    wanted = json_object_get(requests, self->resource);
    if (self->is_shared && max != NULL && limit == NULL &&
        (wanted == NULL || amount_of(wanted) <= amount_of(max)))
        add_to(self, limits, "limits", "max", max);
}

void policy_add_resources(const struct policy *policy, const struct policy_request *request,
                          const char *gpu_resource, const char *place, json_t *container) {
    const struct policy_case self = {.policy = policy, .request = request};
    const struct policy_rule rule = policy_rule(&self, "resources");
    const struct adding rows[] = {{&self, &rule, "cpus", "cpu", place, true},
                                  {&self, &rule, "memory", "memory", place, true},
                                  {&self, &rule, "gpus", gpu_resource, place, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (json_object_get(rule.value, rows[i].member) != NULL)
            add_amount(&rows[i], container);
}
