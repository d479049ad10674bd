#include "launcher/kube_pod_parts.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_quantity.h"
#include "launcher/kube_template.h"
#include "launcher/kube_volumes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UID_MAX INT32_MAX /* the API's limit (IsValidUserID) */

json_t *kube_object_in(json_t *object, const char *member) {
    json_t *value = json_object_get(object, member);
    if (value == NULL || json_is_null(value)) {
        value = json_object();
        json_object_set_new(object, member, value);
    }
    return value;
}

json_t *kube_array_in(json_t *object, const char *member) {
    json_t *value = json_object_get(object, member);
    if (value == NULL || json_is_null(value)) {
        value = json_array();
        json_object_set_new(object, member, value);
    }
    return value;
}

static bool has(const json_t *object, const char *member) {
    const json_t *value = json_object_get(object, member);
    return value != NULL && !json_is_null(value);
}

void kube_set_default(json_t *object, const char *member, json_t *value) {
    if (has(object, member))
        json_decref(value);
    else
        json_object_set_new(object, member, value);
}

static int set_amount(json_t *resources, const char *side, const char *resource, const char *name,
                      const char *text, double least, struct error *err) {
    double amount;
    if (kube_quantity_parse(text, name, &amount, err) < 0)
        return -1;
    if (amount > 0 && amount < least)
        return error_set(err, ERROR_INVALID,
                         "%s: \"%.64s\" is less than a kernel can live on (m is a thousandth; Mi "
                         "and Gi are meant for memory)",
                         name, text);
    json_object_set_new(kube_object_in(resources, side), resource, json_string(text));
    return 0;
}

/* GPUs cannot be shared: the API wants requests and limits to be the same whole number. */
static int set_gpus(json_t *resources, const struct kube_wishes *wishes, const char *resource,
                    struct error *err) {
    const char *gpus = wishes->value[KUBE_WISH_GPUS], *limit = wishes->value[KUBE_WISH_GPUS_LIMIT];
    int64_t number, other;
    if (gpus == NULL && limit == NULL)
        return 0;
    if (text_parse_int(gpus != NULL ? gpus : limit, 0, 1024,
                       gpus != NULL ? "KERNEL_GPUS" : "KERNEL_GPUS_LIMIT", &number, err) < 0 ||
        text_parse_int(limit != NULL ? limit : gpus, 0, 1024,
                       limit != NULL ? "KERNEL_GPUS_LIMIT" : "KERNEL_GPUS", &other, err) < 0)
        return -1;
    if (number != other)
        return error_set(err, ERROR_INVALID,
                         "KERNEL_GPUS (%d) and KERNEL_GPUS_LIMIT (%d) must be equal: GPUs cannot "
                         "be shared; leave one of them out",
                         (int)number, (int)other);
    static const char *const sides[] = {"requests", "limits"};
    for (size_t i = 0; i < 2; i++) {
        json_t *side = kube_object_in(resources, sides[i]);
        if (number > 0)
            json_object_set_new(side, resource, json_integer(number));
        else
            json_object_del(side, resource);
    }
    return 0;
}

static double amount_of(const json_t *value) {
    double amount = 0;
    if (json_is_number(value))
        return json_number_value(value);
    return json_is_string(value) &&
                   kube_quantity_parse(json_string_value(value), "", &amount, NULL) == 0
               ? amount
               : 0;
}

/* The API server would say the same, but not where the two numbers come from. */
static int check_resources(const json_t *resources, struct error *err) {
    const json_t *limits = json_object_get(resources, "limits");
    const char *resource;
    json_t *value;
    json_object_foreach(json_object_get(resources, "requests"), resource, value) {
        const json_t *limit = json_object_get(limits, resource);
        if (limit == NULL || amount_of(value) <= amount_of(limit))
            continue;
        cleanup_free char *more = json_dumps(value, JSON_ENCODE_ANY),
                          *less = json_dumps(limit, JSON_ENCODE_ANY);
        return error_set(err, ERROR_INVALID,
                         "the kernel asks for %.64s of %.100s and its limit is %.64s: ask for less "
                         "or raise the limit (KERNEL_CPUS, KERNEL_MEMORY and their _LIMIT, or "
                         "resources of the kernelspec's pod)",
                         more, resource, less);
    }
    return 0;
}

int kube_pod_set_resources(json_t *container, const struct kube_wishes *wishes,
                           const char *gpu_resource, struct error *err) {
    static const struct {
        enum kube_wish wish;
        const char *side, *resource;
        double least;
    } rows[] = {
        {KUBE_WISH_CPUS, "requests", "cpu", 0.001},
        {KUBE_WISH_CPUS_LIMIT, "limits", "cpu", 0.001},
        {KUBE_WISH_MEMORY, "requests", "memory", 1 << 20},
        {KUBE_WISH_MEMORY_LIMIT, "limits", "memory", 1 << 20},
    };
    json_t *resources = kube_object_in(container, "resources");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *text = wishes->value[rows[i].wish];
        if (text != NULL &&
            set_amount(resources, rows[i].side, rows[i].resource, kube_wish_row(rows[i].wish)->name,
                       text, rows[i].least, err) < 0)
            return -1;
    }
    return set_gpus(resources, wishes, gpu_resource, err) < 0 ? -1
                                                              : check_resources(resources, err);
}

/* A user's or group's number; -1: not wished. Root is the administrator's to choose. */
static int wished_number(const struct kube_wishes *wishes, enum kube_wish wish,
                         char *const *prohibited, int64_t *ret, struct error *err) {
    const char *name = kube_wish_row(wish)->name, *text = wishes->value[wish];
    *ret = -1;
    if (text == NULL)
        return 0;
    if (text_parse_int(text, 0, UID_MAX, name, ret, err) < 0)
        return -1;
    if (*ret == 0 && wishes->is_clients[wish])
        return error_set(err, ERROR_DENIED,
                         "%s: 0 is root, which a request may not choose; leave it out or take "
                         "another number",
                         name);
    for (; wishes->is_clients[wish] && prohibited != NULL && *prohibited != NULL; prohibited++) {
        int64_t number;
        if (text_parse_int(*prohibited, 0, UID_MAX, "prohibited-uids or prohibited-gids", &number,
                           err) < 0)
            return -1;
        if (number == *ret)
            return error_set(err, ERROR_DENIED, "%s: %lld is one of the setting prohibited-%ss",
                             name, (long long)number, wish == KUBE_WISH_UID ? "uid" : "gid");
    }
    return 0;
}

static json_t *security_of(json_t *object) {
    return kube_object_in(object, "securityContext");
}

/* A wish beats the template, the template beats the setting. */
static void set_identity(json_t *pod, json_t *container, const char *member, int64_t wish,
                         int64_t fallback) {
    if (wish >= 0) {
        json_object_set_new(pod, member, json_integer(wish));
        if (has(container, member))
            json_object_set_new(container, member, json_integer(wish));
    } else if (fallback >= 0 && !has(pod, member) && !has(container, member)) {
        json_object_set_new(pod, member, json_integer(fallback));
    }
}

/* containerd makes no sandbox for a group without a user. */
static int check_group(const json_t *pod, const json_t *container, bool is_wish,
                       struct error *err) {
    static const char remedy[] = "needs a runAsUser beside it: set KERNEL_UID, kubernetes-uid or "
                                 "runAsUser in the kernelspec's pod.yaml";
    const char *name = is_wish ? "KERNEL_GID" : "spec.securityContext.runAsGroup";
    if (has(pod, "runAsGroup") && !has(pod, "runAsUser"))
        return error_set(err, ERROR_INVALID, "%s %s", name, remedy);
    if (has(container, "runAsGroup") && !has(container, "runAsUser") && !has(pod, "runAsUser"))
        return error_set(err, ERROR_INVALID, "%s %s",
                         is_wish ? name : "securityContext.runAsGroup of the kernel's container",
                         remedy);
    return 0;
}

static bool is_zero(const json_t *value) {
    return json_is_integer(value) && json_integer_value(value) == 0;
}

/* Those that the API lets nobody have without privilege escalation. */
static bool needs_escalation(const json_t *security) {
    const json_t *added = json_object_get(json_object_get(security, "capabilities"), "add");
    bool needs = json_is_true(json_object_get(security, "privileged"));
    for (size_t i = 0; i < json_array_size(added); i++)
        needs |= text_ends_with(json_string_value(json_array_get(added, i)), "SYS_ADMIN");
    return needs;
}

/* What "restricted" wants of a container; a privileged one was meant to be that. */
static void harden(json_t *security) {
    if (!needs_escalation(security))
        kube_set_default(security, "allowPrivilegeEscalation", json_false());
    if (!json_is_true(json_object_get(security, "privileged")))
        kube_set_default(kube_object_in(security, "capabilities"), "drop", json_pack("[s]", "ALL"));
}

/* runAsNonRoot: false says that the image's own user is wanted, root or not. */
static bool may_be_root(const json_t *pod, const json_t *container) {
    return json_is_false(json_object_get(pod, "runAsNonRoot")) ||
           json_is_false(json_object_get(container, "runAsNonRoot"));
}

int kube_pod_set_user(json_t *spec, json_t *container, const struct kube_wishes *wishes,
                      const struct kube_pod_settings *settings, struct error *err) {
    json_t *pod = security_of(spec), *own = security_of(container);
    int64_t uid, gid;
    if (wished_number(wishes, KUBE_WISH_UID, settings->prohibited_uids, &uid, err) < 0 ||
        wished_number(wishes, KUBE_WISH_GID, settings->prohibited_gids, &gid, err) < 0)
        return -1;
    bool is_images = may_be_root(pod, own);
    set_identity(pod, own, "runAsUser", uid, is_images ? -1 : settings->uid);
    /* A group goes where the user is. */
    bool is_inner = !has(pod, "runAsUser") && has(own, "runAsUser");
    bool has_user = is_inner || has(pod, "runAsUser");
    set_identity(is_inner ? own : pod, own, "runAsGroup", gid,
                 is_images || !has_user || has(pod, "runAsGroup") ? -1 : settings->gid);
    if (check_group(pod, own, gid >= 0, err) < 0)
        return -1;
    if (gid >= 0) /* a client's group, so that volumes are the group's too */
        json_object_set_new(pod, "fsGroup", json_integer(gid));
    const json_t *group = json_object_get(own, "runAsGroup");
    if (group == NULL)
        group = json_object_get(pod, "runAsGroup");
    if (json_is_integer(group) && !is_zero(group))
        kube_set_default(pod, "fsGroup", json_copy((json_t *)(uintptr_t)group));
    return 0;
}

void kube_pod_harden(json_t *spec, json_t *container) {
    json_t *pod = security_of(spec), *own = security_of(container);
    if (!may_be_root(pod, own) && !is_zero(json_object_get(pod, "runAsUser")) &&
        !is_zero(json_object_get(own, "runAsUser")))
        kube_set_default(pod, "runAsNonRoot", json_true());
    kube_set_default(pod, "seccompProfile", json_pack("{s:s}", "type", "RuntimeDefault"));
    harden(own);
}

void kube_pod_add_temporary(json_t *spec, json_t *container) {
    const json_t *security = json_object_get(container, "securityContext");
    json_t *mounts = kube_array_in(container, "volumeMounts");
    if (!json_is_true(json_object_get(security, "readOnlyRootFilesystem")))
        return;
    for (size_t i = 0; i < json_array_size(mounts); i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(mounts, i), "mountPath")),
                   "/tmp") == 0)
            return;
    json_array_append_new(kube_array_in(spec, "volumes"),
                          json_pack("{s:s, s:{}}", "name", KUBE_TMP_VOLUME, "emptyDir"));
    json_array_append_new(mounts,
                          json_pack("{s:s, s:s}", "name", KUBE_TMP_VOLUME, "mountPath", "/tmp"));
}

static bool holds(const json_t *list, const char *member, const json_t *value) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_object_get(json_array_get(list, i), member), value))
            return true;
    return false;
}

/* Appends what was wished; `member` must differ in all of a list. */
static int append(json_t *list, const json_t *wished, const char *what, const char *member,
                  struct error *err) {
    for (size_t i = 0; i < json_array_size(wished); i++) {
        json_t *element = json_array_get(wished, i);
        json_t *value = json_object_get(element, member);
        if (holds(list, member, value))
            return error_set(err, ERROR_INVALID,
                             "%s: [%zu].%s: \"%.100s\" is there twice, or is one of the "
                             "kernelspec's pod; choose another",
                             what, i, member, json_string_value(value));
        json_array_append(list, element);
    }
    return 0;
}

/* A client's list is the client's as a whole. */
static int parse_list(const struct kube_wishes *wishes, enum kube_wish wish, const json_t *values,
                      const struct kube_flow *flow, json_t **ret, struct kube_flow **ret_flow,
                      struct error *err) {
    const char *text = wishes->value[wish];
    const json_t *known = wishes->is_clients[wish] ? NULL : values;
    bool are_volumes = wish == KUBE_WISH_VOLUMES;
    if (text == NULL)
        return 0;
    if (flow != NULL) {
        *ret_flow = kube_flow_create();
        kube_flow_copy_names(*ret_flow, flow);
    }
    if ((are_volumes ? kube_volumes_parse(text, known, *ret_flow, ret, err)
                     : kube_mounts_parse(text, known, *ret_flow, ret, err)) < 0)
        return -1;
    for (size_t i = 0; wishes->is_clients[wish] && i < json_array_size(*ret); i++) {
        char place[32];
        snprintf(place, sizeof place, "[%zu]", i);
        kube_flow_note(*ret_flow, place, kube_wish_row(wish)->name);
    }
    return 0;
}

int kube_pod_parse_lists(const struct kube_wishes *wishes, const json_t *values,
                         const struct kube_flow *flow, struct kube_pod_lists *ret,
                         struct error *err) {
    return parse_list(wishes, KUBE_WISH_VOLUMES, values, flow, &ret->volumes, &ret->volume_flow,
                      err) < 0 ||
                   parse_list(wishes, KUBE_WISH_VOLUME_MOUNTS, values, flow, &ret->mounts,
                              &ret->mount_flow, err) < 0
               ? -1
               : 0;
}

void kube_pod_free_lists(struct kube_pod_lists *lists) {
    json_decref(lists->volumes);
    json_decref(lists->mounts);
    kube_flow_destroy(lists->volume_flow);
    kube_flow_destroy(lists->mount_flow);
}

/* What is noted of a list holds for its elements where they are now. */
static void note_places(const json_t *places, const char *list, size_t first,
                        struct kube_flow *flow) {
    const char *place;
    json_t *name;
    json_object_foreach((json_t *)(uintptr_t)places, place, name) {
        char *rest;
        size_t index = strtoul(place + 1, &rest, 10); /* "[0].nfs.path" */
        cleanup_free char *path = memory_printf("%s[%zu%s", list, first + index, rest);
        kube_flow_note(flow, path, json_string_value(name));
    }
}

static void note_list(const struct kube_flow *from, const char *list, size_t first,
                      struct kube_flow *flow) {
    if (from == NULL || flow == NULL)
        return;
    note_places(from->places, list, first, flow);
    note_places(from->trusted_places, list, first, flow);
}

int kube_pod_add_lists(json_t *spec, size_t kernel, const struct kube_pod_lists *lists,
                       struct kube_flow *flow, struct error *err) {
    json_t *container = json_array_get(json_object_get(spec, "containers"), kernel);
    json_t *all = kube_array_in(spec, "volumes"),
           *mounted = kube_array_in(container, "volumeMounts");
    cleanup_free char *place = memory_printf("spec.containers[%zu].volumeMounts", kernel);
    note_list(lists->volume_flow, "spec.volumes", json_array_size(all), flow);
    note_list(lists->mount_flow, place, json_array_size(mounted), flow);
    return append(all, lists->volumes, "KERNEL_VOLUMES", "name", err) < 0 ||
                   append(mounted, lists->mounts, "KERNEL_VOLUME_MOUNTS", "mountPath", err) < 0
               ? -1
               : 0;
}

static int check_uses(const json_t *volumes, const char *list, const json_t *uses,
                      const struct kube_flow *flow, struct error *err) {
    for (size_t i = 0; i < json_array_size(uses); i++) {
        const json_t *name = json_object_get(json_array_get(uses, i), "name");
        cleanup_free char *place = memory_printf("%s[%zu].name", list, i);
        const char *variable = kube_flow_said(flow, place);
        if (!holds(volumes, "name", name))
            return error_set(err, ERROR_INVALID,
                             "%s: %s: \"%.100s\" is no volume of KERNEL_VOLUMES or of the "
                             "kernelspec's pod",
                             variable != NULL ? variable : "the pod", place,
                             name != NULL ? json_string_value(name) : "");
    }
    return 0;
}

int kube_pod_check_mounts(const json_t *spec, const struct kube_flow *flow, struct error *err) {
    static const char *const lists[] = {"containers", "initContainers"};
    static const char *const members[] = {"volumeMounts", "volumeDevices"};
    const json_t *volumes = json_object_get(spec, "volumes");
    for (size_t n = 0; n < 4; n++) {
        const char *list = lists[n / 2], *member = members[n % 2];
        const json_t *containers = json_object_get(spec, list);
        for (size_t i = 0; i < json_array_size(containers); i++) {
            const json_t *uses = json_object_get(json_array_get(containers, i), member);
            cleanup_free char *place = memory_printf("spec.%s[%zu].%s", list, i, member);
            if (check_uses(volumes, place, uses, flow, err) < 0)
                return -1;
        }
    }
    return 0;
}

void kube_pod_note_wishes(const struct kube_wishes *wishes, const char *gpu_resource, size_t kernel,
                          struct kube_flow *flow) {
    static const struct {
        enum kube_wish wish;
        const char *place; /* of the pod */
    } of_pod[] = {{KUBE_WISH_UID, "spec.securityContext.runAsUser"},
                  {KUBE_WISH_GID, "spec.securityContext.runAsGroup"},
                  {KUBE_WISH_GID, "spec.securityContext.fsGroup"},
                  {KUBE_WISH_SERVICE_ACCOUNT, "spec.serviceAccountName"}};
    const struct {
        enum kube_wish wish;
        const char *place, *resource; /* of the container */
    } rows[] = {{KUBE_WISH_UID, "securityContext.runAsUser", ""},
                {KUBE_WISH_GID, "securityContext.runAsGroup", ""},
                {KUBE_WISH_CPUS, "resources.requests.", "cpu"},
                {KUBE_WISH_CPUS_LIMIT, "resources.limits.", "cpu"},
                {KUBE_WISH_MEMORY, "resources.requests.", "memory"},
                {KUBE_WISH_MEMORY_LIMIT, "resources.limits.", "memory"},
                {KUBE_WISH_GPUS, "resources.requests.", gpu_resource},
                {KUBE_WISH_GPUS_LIMIT, "resources.requests.", gpu_resource},
                {KUBE_WISH_GPUS, "resources.limits.", gpu_resource},
                {KUBE_WISH_GPUS_LIMIT, "resources.limits.", gpu_resource},
                {KUBE_WISH_WORKING_DIR, "workingDir", ""}};
    for (size_t i = 0; i < sizeof of_pod / sizeof *of_pod; i++) {
        const char *name = kube_wish_row(of_pod[i].wish)->name;
        if (wishes->value[of_pod[i].wish] != NULL && kube_flow_has_name(flow, name))
            kube_flow_note(flow, of_pod[i].place, name);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *name = kube_wish_row(rows[i].wish)->name;
        cleanup_free char *place =
            memory_printf("spec.containers[%zu].%s%s", kernel, rows[i].place, rows[i].resource);
        if (wishes->value[rows[i].wish] != NULL && kube_flow_has_name(flow, name))
            kube_flow_note(flow, place, name);
    }
}
