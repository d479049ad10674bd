/* metadata.elara of kernel.json: what a kernelspec says to this gateway alone. Its schema for
 * editors is docs/kernelspec.schema.json. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernelspecs/kernelspecs.h"
#include "kernelspecs/spec_check.h"

#include <stdio.h>
#include <string.h>

static void check_argv(struct spec_check *check, const json_t *value) {
    if (json_is_array(value) && json_array_size(value) == 0)
        spec_complain(check, "must name the program to run");
    else
        spec_check_command(check, value);
}

static void check_home(struct spec_check *check, const json_t *value) {
    if (!json_is_boolean(value))
        spec_complain(check, "must be true or false, without quotes");
}

static void check_image(struct spec_check *check, const json_t *value) {
    if (!json_is_string(value) || json_string_length(value) == 0)
        spec_complain(check, "must be an image's name in double quotes");
}

static void check_journal_bytes(struct spec_check *check, const json_t *value) {
    json_int_t bytes = json_integer_value(value);
    if (!json_is_integer(value) || bytes < KERNELSPEC_JOURNAL_MIN || bytes > KERNELSPEC_JOURNAL_MAX)
        spec_complain(check, "must be a whole number of bytes from 1048576 (1 MiB) to 68719476736 "
                             "(64 GiB), without quotes");
}

/* Which of its own values clients may replace; names of variables, or "image" for KERNEL_IMAGE. */
static void check_overridable(struct spec_check *check, const json_t *value) {
    bool is_good = json_is_array(value);
    for (size_t i = 0; is_good && i < json_array_size(value); i++)
        is_good = json_is_string(json_array_get(value, i));
    if (!is_good)
        spec_complain(check, "must be an array of texts: [\"image\", \"cpus\"]");
}

static void check_provisioner(struct spec_check *check, const json_t *value) {
    const char *name = json_string_value(value);
    if (name == NULL || (strcmp(name, "local") != 0 && strcmp(name, "kubernetes") != 0))
        spec_complain(check, "must be \"local\" or \"kubernetes\"");
}

static void check_resources(struct spec_check *check, const json_t *value);

static const struct member {
    const char *name;
    void (*check)(struct spec_check *check, const json_t *value); /* it is there */
    const char *variable; /* of env, which it is short for; or NULL */
} members[] = {
    {"argv", check_argv, NULL},
    {"home", check_home, NULL},
    {"image", check_image, "KERNEL_IMAGE"},
    {"journal_bytes", check_journal_bytes, NULL},
    {"overridable", check_overridable, NULL},
    {"provisioner", check_provisioner, NULL},
    {"resources", check_resources, NULL},
    {0},
};

static void check_amount(struct spec_check *check, const json_t *value) {
    if (!json_is_integer(value) && (!json_is_string(value) || json_string_length(value) == 0))
        spec_complain(check, "must be an amount such as 2, \"500m\" or \"4Gi\"");
}

static const struct member amounts[] = {
    {"cpus", check_amount, "KERNEL_CPUS"},
    {"cpus_limit", check_amount, "KERNEL_CPUS_LIMIT"},
    {"gpus", check_amount, "KERNEL_GPUS"},
    {"gpus_limit", check_amount, "KERNEL_GPUS_LIMIT"},
    {"memory", check_amount, "KERNEL_MEMORY"},
    {"memory_limit", check_amount, "KERNEL_MEMORY_LIMIT"},
    {0},
};

static const struct member *find(const struct member *list, const char *name) {
    while (list->name != NULL && strcmp(list->name, name) != 0)
        list++;
    return list->name != NULL ? list : NULL;
}

/* What others than the kernelspec's author decide. */
static const struct {
    const char *name, *where;
} elsewhere[] = {
    {"cull", "does nothing: metadata.cull_idle_timeout, beside elara, says when idle kernels end, "
             "and the setting cull-overrides all other limits (docs/culling.md)"},
    {"cull_idle_timeout", "does nothing here: take it out of elara, into metadata"},
    {"policy", "does nothing: the policy's rules say what clients may ask of which kernelspecs "
               "(docs/policy.md); what they may replace in this one is in overridable"},
};

static void warn_of(struct spec_check *check, const struct member *list, const char *name) {
    for (size_t i = 0; list == members && i < sizeof elsewhere / sizeof *elsewhere; i++) {
        if (strcmp(name, elsewhere[i].name) == 0) {
            spec_warn(check, elsewhere[i].where);
            return;
        }
    }
    cleanup_free char *names = memory_strdup("");
    for (const struct member *one = list; one->name != NULL; one++) {
        char *longer = memory_printf("%s%s%s", names, one != list ? ", " : "", one->name);
        free(names);
        names = longer;
    }
    cleanup_free char *text =
        memory_printf("does nothing: correct its name or take it out; known here are %s", names);
    spec_warn(check, text);
}

static void check_members(struct spec_check *check, const struct member *list,
                          const json_t *value) {
    const char *name;
    json_t *member;
    if (!json_is_object(value)) {
        spec_complain(check, "must be an object");
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, member) {
        const struct member *known = find(list, name);
        spec_check_push(check, name, 0);
        if (known != NULL)
            known->check(check, member);
        else
            warn_of(check, list, name);
        check->depth--;
    }
}

static void check_resources(struct spec_check *check, const json_t *value) {
    check_members(check, amounts, value);
}

void spec_elara_check(struct spec_check *check, const json_t *value) {
    spec_check_push(check, "elara", 0);
    if (value != NULL)
        check_members(check, members, value);
    check->depth--;
}

static void spread(const struct member *list, const json_t *values, json_t *env) {
    for (const struct member *one = list; one->name != NULL; one++) {
        const json_t *value = json_object_get(values, one->name);
        if (one->variable == NULL || value == NULL || json_object_get(env, one->variable) != NULL)
            continue;
        json_object_set_new(env, one->variable,
                            json_is_integer(value)
                                ? json_sprintf("%lld", (long long)json_integer_value(value))
                                : json_copy((json_t *)(uintptr_t)value));
    }
}

void spec_elara_spread(json_t *kernel_json) {
    const json_t *own = json_object_get(json_object_get(kernel_json, "metadata"), "elara");
    cleanup_json json_t *env = json_incref(json_object_get(kernel_json, "env"));
    if (env == NULL)
        env = json_object();
    spread(members, own, env);
    spread(amounts, json_object_get(own, "resources"), env);
    if (json_object_size(env) > 0)
        json_object_set(kernel_json, "env", env);
}
