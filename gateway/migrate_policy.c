/* What kernelspecs of JEG mount that clients say, and the policy that goes on allowing it. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/migrate.h"
#include "kernelspecs/substitute.h"
#include "launcher/kube_volumes.h"

#include <string.h>

/* Stands for what a client says; nobody's directory is called so. */
static const char mark[] = "(client)";
/* A policy's word for whose kernel it is. */
static const char user[] = "{user}";

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

/* Values for all KERNEL_ variables that the list refers to, of the kernelspec's own ones too. */
static json_t *make_values(const json_t *env, const char *list) {
    json_t *values = json_pack("{s:s}", "KERNEL_USERNAME", user);
    char *name;
    while ((name = substitute_find_unknown(list, "KERNEL_", values)) != NULL) {
        const char *own = text_of(env, name);
        json_object_set_new(values, name, json_string(mark)); /* also for one made of itself */
        cleanup_json json_t *inner = own != NULL ? make_values(NULL, own) : NULL;
        if (own != NULL) {
            cleanup_free char *text = substitute_variables(own, inner);
            json_object_set_new(values, name, json_string(text));
        }
        free(name);
    }
    return values;
}

/* The pattern that has what the path may become: all below its last directory that is known. */
static char *pattern_of(const char *path) {
    const char *at = strstr(path, mark);
    if (at == NULL)
        return memory_strdup(path);
    while (at > path && at[-1] != '/')
        at--;
    return at > path ? memory_printf("%.*s/**", (int)(at - path - 1), path) : memory_strdup("/**");
}

static void add_volume(struct migration *migration, const char *name, const json_t *volume) {
    const json_t *nfs = json_object_get(volume, "nfs");
    const json_t *host = json_object_get(volume, "hostPath");
    const char *path = text_of(nfs != NULL ? nfs : host, "path"), *server = text_of(nfs, "server");
    cleanup_free char *text = json_dumps(volume, JSON_COMPACT);
    if (strstr(text, mark) == NULL && strstr(text, user) == NULL)
        return; /* the administrator's */
    bool is_known =
        path != NULL && (nfs == NULL || (server != NULL && strstr(server, mark) == NULL));
    cleanup_free char *pattern = is_known ? pattern_of(path) : NULL;
    cleanup_json json_t *mount =
        json_pack("{s:s, s:s?, s:s?, s:b, s:s}", "kernelspec", name, "server", server, "pattern",
                  pattern, "is_users", strstr(text, user) != NULL, "volume", text);
    migration_mount(migration, mount);
}

void migrate_volumes(struct migration *migration, const char *name, const json_t *spec) {
    const json_t *env = json_object_get(spec, "env");
    const char *list = text_of(env, "KERNEL_VOLUMES");
    struct error err = {0};
    cleanup_json json_t *volumes = NULL;
    if (list == NULL)
        return;
    cleanup_json json_t *values = make_values(env, list);
    if (kube_volumes_parse(list, values, NULL, &volumes, &err) < 0) {
        migration_trouble(migration, name, "env of kernel.json", err.text);
        return;
    }
    for (size_t i = 0; i < json_array_size(volumes); i++)
        add_volume(migration, name, json_array_get(volumes, i));
}

/* --- the file --- */

static void print_text(const char *text, FILE *out) {
    cleanup_json json_t *value = json_string(text);
    cleanup_free char *quoted = json_dumps(value, JSON_ENCODE_ANY);
    fputs(quoted, out);
}

static void print_mount(const json_t *mount, FILE *out) {
    const char *server = text_of(mount, "server"), *pattern = text_of(mount, "pattern");
    fputs("  - {server: ", out);
    print_text(server, out);
    fputs(", paths: [", out);
    print_text(pattern, out);
    fputs("]}\n", out);
}

/* One before it is the same. */
static bool is_repeated(const json_t *mounts, size_t index) {
    const json_t *mount = json_array_get(mounts, index);
    for (size_t i = 0; i < index; i++) {
        const json_t *other = json_array_get(mounts, i);
        if (json_equal(json_object_get(other, "server"), json_object_get(mount, "server")) &&
            json_equal(json_object_get(other, "pattern"), json_object_get(mount, "pattern")))
            return true;
    }
    return false;
}

static void print_nfs(const json_t *mounts, FILE *out) {
    bool is_first = true;
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *mount = json_array_get(mounts, i);
        const char *pattern = text_of(mount, "pattern");
        if (text_of(mount, "server") == NULL || pattern == NULL)
            continue;
        if (is_first)
            fputs("volumes:\n  types: [nfs, emptyDir]\n  nfs:\n", out);
        is_first = false;
        fprintf(out, "  # kernelspec %s%s\n", text_of(mount, "kernelspec"),
                text_ends_with(pattern, "/**") ? ": every user may mount everybody's, as it was"
                                               : "");
        if (!is_repeated(mounts, i))
            print_mount(mount, out);
    }
}

static void print_rest(const json_t *mounts, FILE *out) {
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *mount = json_array_get(mounts, i);
        if (text_of(mount, "server") == NULL || text_of(mount, "pattern") == NULL)
            fprintf(out, "# Not allowed here, please look: kernelspec %s mounts %s\n",
                    text_of(mount, "kernelspec"), text_of(mount, "volume"));
    }
}

static bool trusts_names(const json_t *mounts) {
    for (size_t i = 0; i < json_array_size(mounts); i++)
        if (json_is_true(json_object_get(json_array_get(mounts, i), "is_users")))
            return true;
    return false;
}

void migrate_print_policy(const json_t *mounts, const char *sources, FILE *out) {
    fprintf(out, "# What requests may make of their pods (docs/policy.md), from %s.\n", sources);
    fputs(
        "# Try it: elara policy explain --config FILE --kernelspec NAME --env KERNEL_PATH=...\n\n",
        out);
    if (trusts_names(mounts))
        fputs("# As it was: whoever reaches the gateway is whom KERNEL_USERNAME says.\n"
              "# Better: a token for each user (`elara token new`), and this line away.\n"
              "users: {trust_claimed_names: true}\n\n",
              out);
    fputs("# Better than /** below: a token for each user, and '/DIRECTORY/{user}'.\n", out);
    print_nfs(mounts, out);
    print_rest(mounts, out);
    fputs(
        "\n# Who may start kernels, and which KERNEL_UID and KERNEL_GID nobody gets, stays in the "
        "settings:\n"
        "# authorized_users, unauthorized_users, prohibited_uids, prohibited_gids.\n"
        "# Refuses all KERNEL_* but a notebook server's own and these:\n"
        "# variables: {allow: [KERNEL_PATH]}\n",
        out);
}
