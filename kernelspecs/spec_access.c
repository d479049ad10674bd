/* Who may use a kernelspec, and whether this gateway can start it. */
#include "kernelspecs/kernelspecs.h"

#include "base/memory.h"
#include "base/text.h"

#include <string.h>

/* The stanzas that name who starts the kernel: jupyter_client's, and Jupyter Enterprise
 * Gateway's. */
static const struct starter {
    const char *object;
    const char *name;
    const char *local; /* the one that is ours to be */
} starters[] = {
    {"kernel_provisioner", "provisioner_name", "local-provisioner"},
    {"process_proxy", "class_name", "LocalProcessProxy"},
};

enum { STARTERS = sizeof starters / sizeof *starters };

static const json_t *starter_stanza(const struct kernelspec *spec, size_t which) {
    return json_object_get(json_object_get(spec->json, "metadata"), starters[which].object);
}

char *kernelspec_unsupported(const struct kernelspec *spec) {
    const json_t *own = json_object_get(json_object_get(spec->json, "metadata"), "elara");
    const char *provisioner = json_string_value(json_object_get(own, "provisioner"));
    if (provisioner != NULL && strcmp(provisioner, "local") != 0)
        return memory_printf("kernelspec %s is for metadata.elara.provisioner \"%s\"; this gateway "
                             "starts kernels as local processes only",
                             spec->name, provisioner);
    if (provisioner != NULL)
        return NULL; /* whatever it says to others */
    for (size_t i = 0; i < STARTERS; i++) {
        const char *name =
            json_string_value(json_object_get(starter_stanza(spec, i), starters[i].name));
        const char *dot = name != NULL ? strrchr(name, '.') : NULL; /* a class's module */
        const char *last = dot != NULL && i == 1 ? dot + 1 : name;
        if (name != NULL && *name != '\0' && strcmp(last, starters[i].local) != 0)
            return memory_printf(
                "kernelspec %s wants metadata.%s.%s \"%.128s\"; this gateway starts "
                "kernels as local processes only",
                spec->name, starters[i].object, starters[i].name, name);
    }
    return NULL;
}

/* "ann, bob" */
static bool is_in_text(const char *names, const char *user) {
    while (*names != '\0') {
        names += strspn(names, ", \t");
        size_t length = strcspn(names, ",");
        size_t trimmed = length;
        while (trimmed > 0 && strchr(" \t", names[trimmed - 1]) != NULL)
            trimmed--;
        if (trimmed > 0 && text_equal_n(names, trimmed, user))
            return true;
        names += length;
    }
    return false;
}

static bool is_empty(const json_t *list) {
    const char *names = json_string_value(list);
    return names != NULL ? names[strspn(names, ", \t")] == '\0' : json_array_size(list) == 0;
}

static bool is_in(const json_t *list, const char *user) {
    if (json_is_string(list))
        return is_in_text(json_string_value(list), user);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name != NULL && strcmp(name, user) == 0)
            return true;
    }
    return false;
}

static bool is_named(char *const *names, const char *user) {
    for (; names != NULL && *names != NULL; names++)
        if (strcmp(*names, user) == 0)
            return true;
    return false;
}

const char *kernelspec_refusal(const struct kernelspec *spec, const char *user,
                               const struct kernelspec_users *gateway) {
    static const char by_spec[] = "its own list of users says so";
    bool has_own = false;
    if (user == NULL)
        return NULL;
    if (is_named(gateway->unauthorized, user))
        return "the administrator lists the name as unauthorized (unauthorized-users)";
    for (size_t i = 0; i < STARTERS; i++) {
        const json_t *config = json_object_get(starter_stanza(spec, i), "config");
        const json_t *authorized = json_object_get(config, "authorized_users");
        bool is_open = is_empty(authorized);
        if (is_in(json_object_get(config, "unauthorized_users"), user) ||
            (!is_open && !is_in(authorized, user)))
            return by_spec;
        has_own |= !is_open;
    }
    bool is_open = gateway->authorized == NULL || *gateway->authorized == NULL;
    return has_own || is_open || is_named(gateway->authorized, user)
               ? NULL
               : "the administrator lists other users as authorized (authorized-users)";
}

int64_t kernelspec_journal_bytes(const struct kernelspec *spec) {
    const json_t *settings = json_object_get(json_object_get(spec->json, "metadata"), "elara");
    return json_integer_value(json_object_get(settings, "journal_bytes"));
}

int64_t kernelspec_cull_idle_ms(const struct kernelspec *spec) {
    const json_t *value =
        json_object_get(json_object_get(spec->json, "metadata"), "cull_idle_timeout");
    double seconds = json_number_value(value);
    if (!json_is_number(value) || seconds < 0 || seconds > KERNELSPEC_IDLE_MAX_S)
        return -1;
    return seconds > 0 && seconds < 0.001 ? 1 : (int64_t)(seconds * 1000);
}
