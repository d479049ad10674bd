/* Kubeconfig files: merged, the context looked up, its cluster and user taken over. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/yaml.h"
#include "launcher/base64.h"
#include "launcher/kube_config_internal.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 4 << 20, FILES_MAX = 64, NAMES_LISTED = 8 };

/* What is merged into is a tree:
 * {"clusters"|"users"|"contexts": {name: {"entry": {...}, "file": path}},
 *  "current-context": name, "current-file": path, "files": [path], "trees": [file] } */
/* One entry while it is taken over; where: "user \"ann\" of /home/ann/.kube/config". */
struct entry {
    const json_t *tree;
    const char *file;
    char *where;
};

static const char *const lists[][2] = {
    {"clusters", "cluster"}, {"users", "user"}, {"contexts", "context"}};

/* Merging */

static int merge_entry(json_t *into, json_t *names, json_t *item, const char *const list[2],
                       const char *file, struct error *err) {
    const char *name = json_string_value(json_object_get(item, "name"));
    json_t *entry = json_object_get(item, list[1]);
    if (name == NULL)
        return error_set(err, ERROR_INVALID, "%s: %s: every entry needs a name, a text", file,
                         list[0]);
    if (entry != NULL && !json_is_object(entry) && !json_is_null(entry))
        return error_set(err, ERROR_INVALID, "%s: %s \"%.100s\": \"%s\" must be a mapping", file,
                         list[0], name, list[1]);
    if (json_object_get(names, name) != NULL)
        return error_set(err, ERROR_INVALID, "%s: %s: \"%.100s\" is there twice", file, list[0],
                         name);
    json_object_set_new(names, name, json_true());
    if (json_object_get(into, name) == NULL) /* the first file that has it wins, as a whole */
        json_object_set_new(into, name,
                            json_pack("{s:o, s:s}", "entry",
                                      json_is_object(entry) ? json_incref(entry) : json_object(),
                                      "file", file));
    return 0;
}

static int merge_list(json_t *merged, const json_t *tree, const char *const list[2],
                      const char *file, struct error *err) {
    json_t *items = json_object_get(tree, list[0]);
    if (items == NULL || json_is_null(items))
        return 0;
    if (!json_is_array(items))
        return error_set(err, ERROR_INVALID, "%s: %s: must be a list", file, list[0]);
    cleanup_json json_t *names = json_object();
    size_t at;
    json_t *item;
    json_array_foreach(items, at, item) {
        json_t *into = json_object_get(merged, list[0]);
        if (merge_entry(into, names, item, list, file, err) < 0)
            return -1;
    }
    return 0;
}

static int merge_tree(json_t *merged, const json_t *tree, const char *file, struct error *err) {
    if (json_is_null(tree)) /* an empty file */
        return 0;
    if (!json_is_object(tree))
        return error_set(err, ERROR_INVALID, "%s: is no kubeconfig, which is a mapping", file);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (merge_list(merged, tree, lists[i], file, err) < 0)
            return -1;
    const json_t *current = json_object_get(tree, "current-context");
    if (current != NULL && !json_is_string(current) && !json_is_null(current))
        return error_set(err, ERROR_INVALID, "%s: current-context: must be a text", file);
    if (json_string_length(current) > 0 && json_object_get(merged, "current-context") == NULL) {
        json_object_set_new(merged, "current-context", json_string(json_string_value(current)));
        json_object_set_new(merged, "current-file", json_string(file));
    }
    return 0;
}

/* What the parser left of secrets in the tree. */
static void wipe_tree(json_t *tree) {
    size_t at;
    const char *key;
    json_t *value;
    if (json_is_string(tree))
        explicit_bzero((void *)(uintptr_t)json_string_value(tree), json_string_length(tree));
    json_object_foreach(tree, key, value) {
        wipe_tree(value);
    }
    json_array_foreach(tree, at, value) {
        wipe_tree(value);
    }
}

/* 1: there is no such file. */
static int merge_file(json_t *merged, const char *file, struct error *err) {
    struct buffer text = {.limit = FILE_MAX + 65536};
    struct error failure = {0};
    json_t *tree = NULL;
    int result = file_read(file, FILE_MAX, &text, &failure);
    if (result < 0 && failure.code == ERROR_NOT_FOUND)
        return 1;
    if (result == 0 && yaml_parse(buffer_text(&text), text.length, &tree, &failure) < 0)
        result = error_wrap(&failure, "%s", file);
    if (text.data != NULL)
        explicit_bzero(text.data, text.length);
    buffer_free(&text);
    if (result < 0)
        return error_set(err, failure.code, "kubeconfig: %s", failure.text);
    /* kept to be wiped, the entries that lost as well */
    json_array_append_new(json_object_get(merged, "trees"), tree);
    if (merge_tree(merged, tree, file, err) < 0)
        return error_wrap(err, "kubeconfig");
    return 0;
}

static int merge_files(json_t *merged, const char *kubeconfig, struct error *err) {
    cleanup_free char *list = memory_strdup(kubeconfig);
    json_t *files = json_object_get(merged, "files");
    char *rest = list;
    int count = 0;
    for (char *file; (file = strsep(&rest, ":")) != NULL;) {
        if (*file == '\0')
            continue;
        if (++count > FILES_MAX)
            return error_set(err, ERROR_LIMIT, "kubeconfig: more than %d files", FILES_MAX);
        int found = merge_file(merged, file, err);
        if (found < 0)
            return -1;
        if (found == 0)
            json_array_append_new(files, json_string(file));
    }
    if (json_array_size(files) == 0)
        return error_set(err, ERROR_NOT_FOUND, "kubeconfig: there is no file %s",
                         *kubeconfig != '\0' ? kubeconfig : "to read");
    return 0;
}

/* Looking up */

static char *known_names(const json_t *entries) {
    cleanup_buffer struct buffer text = {.limit = 1024};
    const char *name;
    json_t *entry;
    int count = 0;
    json_object_foreach((json_t *)(uintptr_t)entries, name, entry) {
        if (count++ == NAMES_LISTED)
            break;
        buffer_printf(&text, "%s%.60s", text.length > 0 ? ", " : "", name);
    }
    return memory_strdup(text.length > 0 ? buffer_text(&text) : "none");
}

/* field names it for the message: "context \"dev\" of FILE: cluster". */
static int find_entry(const json_t *merged, size_t list, const char *name, const char *field,
                      struct entry *ret, struct error *err) {
    const json_t *entries = json_object_get(merged, lists[list][0]);
    const json_t *found = json_object_get(entries, name);
    if (found == NULL) {
        cleanup_free char *known = known_names(entries);
        return error_set(err, ERROR_NOT_FOUND, "%s: there is no %s \"%.100s\"; there is: %s", field,
                         lists[list][1], name, known);
    }
    ret->tree = json_object_get(found, "entry");
    ret->file = json_string_value(json_object_get(found, "file"));
    ret->where = memory_printf("%s \"%.100s\" of %s", lists[list][1], name, ret->file);
    return 0;
}

/* *ret: borrowed, NULL when it is not there or empty. */
static int get_text(const struct entry *entry, const char *name, const char **ret,
                    struct error *err) {
    const json_t *value = json_object_get(entry->tree, name);
    *ret = NULL;
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return error_set(err, ERROR_INVALID, "%s: %s: must be a text: put it in quotes",
                         entry->where, name);
    if (json_string_length(value) > 0)
        *ret = json_string_value(value);
    return 0;
}

static int copy_text(const struct entry *entry, const char *name, char **ret, struct error *err) {
    const char *text;
    if (get_text(entry, name, &text, err) < 0)
        return -1;
    if (text != NULL) {
        free(*ret);
        *ret = memory_strdup(text);
    }
    return 0;
}

static char *path_beside(const char *file, const char *path) {
    const char *slash = strrchr(file, '/');
    if (*path == '/' || slash == NULL)
        return memory_strdup(path);
    return memory_printf("%.*s/%s", (int)(slash - file), file, path);
}

static void set_source(struct kube_config *config, enum kube_secret_kind kind,
                       const struct entry *entry, const char *field, const char *path) {
    struct kube_source *source = &config->sources[kind];
    free(source->field);
    source->field = memory_printf("%s: %s", entry->where, field);
    if (path != NULL)
        source->path = path_beside(entry->file, path);
}

/* Base64 of any line length; the lines' ends are no part of it. */
static int decode_data(const char *text, struct kube_secret *ret) {
    size_t length = strlen(text), kept = 0;
    char *packed = memory_alloc(length + 1);
    for (size_t i = 0; i < length; i++)
        if (strchr(" \t\r\n", text[i]) == NULL)
            packed[kept++] = text[i];
    struct buffer data = {.limit = FILE_MAX};
    int result = buffer_reserve(&data, kept);
    if (result == 0)
        result = base64_decode(packed, kept, &data);
    if (result == 0)
        kube_secret_set(ret, data.data, data.length);
    explicit_bzero(packed, kept);
    free(packed);
    if (data.data != NULL)
        explicit_bzero(data.data, data.length);
    buffer_free(&data);
    return result;
}

/* "x-data" or, when there is none, the file that "x" names. */
static int take_pem(struct kube_config *config, enum kube_secret_kind kind,
                    const struct entry *entry, const char *name, struct error *err) {
    cleanup_free char *inline_name = memory_printf("%s-data", name);
    const char *data, *path;
    if (get_text(entry, inline_name, &data, err) < 0 || get_text(entry, name, &path, err) < 0)
        return -1;
    if (data == NULL && path == NULL)
        return 0;
    set_source(config, kind, entry, data != NULL ? inline_name : name, data != NULL ? NULL : path);
    if (data != NULL && decode_data(data, &config->secrets[kind]) < 0)
        return error_set(err, ERROR_INVALID, "%s: is no base64", config->sources[kind].field);
    return 0;
}

/* Taking over */

static int take_cluster(struct kube_config *config, const struct entry *cluster,
                        struct error *err) {
    const char *server;
    cleanup_free char *field = memory_printf("%s: server", cluster->where);
    if (get_text(cluster, "server", &server, err) < 0)
        return -1;
    if (server == NULL)
        return error_set(err, ERROR_INVALID, "%s: is missing", field);
    if (kube_config_set_server(config, field, server, err) < 0 ||
        copy_text(cluster, "tls-server-name", &config->tls_name, err) < 0 ||
        copy_text(cluster, "proxy-url", &config->proxy, err) < 0 ||
        take_pem(config, KUBE_AUTHORITY, cluster, "certificate-authority", err) < 0)
        return -1;
    const json_t *insecure = json_object_get(cluster->tree, "insecure-skip-tls-verify");
    if (insecure != NULL && !json_is_boolean(insecure) && !json_is_null(insecure))
        return error_set(err, ERROR_INVALID, "%s: insecure-skip-tls-verify: must be true or false",
                         cluster->where);
    config->insecure = json_is_true(insecure);
    if (config->insecure && config->sources[KUBE_AUTHORITY].field != NULL)
        return error_set(err, ERROR_INVALID,
                         "%s: insecure-skip-tls-verify and certificate-authority contradict each "
                         "other: remove one of them",
                         cluster->where);
    return 0;
}

static bool is_empty_text(const json_t *value) {
    return json_is_string(value) && json_string_length(value) == 0;
}

static int refuse_unsupported(const struct entry *user, struct error *err) {
    static const char *const names[] = {"exec", "auth-provider", "username",  "password",
                                        "as",   "as-uid",        "as-groups", "as-user-extra"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(user->tree, names[i]);
        if (value != NULL && !json_is_null(value) && !is_empty_text(value))
            return error_set(err, ERROR_UNSUPPORTED,
                             "%s: %s is not supported; supported are token, tokenFile, and "
                             "client-certificate(-data) with client-key(-data), such as those of a "
                             "service account",
                             user->where, names[i]);
    }
    return 0;
}

static int take_token(struct kube_config *config, const struct entry *user, struct error *err) {
    const char *token, *path;
    if (get_text(user, "token", &token, err) < 0 || get_text(user, "tokenFile", &path, err) < 0)
        return -1;
    if (token != NULL || path != NULL)
        set_source(config, KUBE_TOKEN, user, path != NULL ? "tokenFile" : "token", path);
    if (token != NULL && path == NULL)
        kube_secret_set(&config->secrets[KUBE_TOKEN], token, strlen(token));
    return 0;
}

static int take_user(struct kube_config *config, const struct entry *user, struct error *err) {
    if (refuse_unsupported(user, err) < 0 || take_token(config, user, err) < 0 ||
        take_pem(config, KUBE_CERTIFICATE, user, "client-certificate", err) < 0 ||
        take_pem(config, KUBE_KEY, user, "client-key", err) < 0)
        return -1;
    bool has_certificate = config->sources[KUBE_CERTIFICATE].field != NULL;
    if (has_certificate != (config->sources[KUBE_KEY].field != NULL))
        return error_set(err, ERROR_INVALID,
                         "%s: client-certificate and client-key need each other", user->where);
    return 0;
}

/* name: the user's entry, or the cluster's. */
static int take_entry(struct kube_config *config, const json_t *merged, size_t list,
                      const struct entry *context, const char *name,
                      int (*take)(struct kube_config *, const struct entry *, struct error *),
                      struct error *err) {
    cleanup_free char *field = memory_printf("%s: %s", context->where, lists[list][1]);
    struct entry entry = {0};
    int result = find_entry(merged, list, name, field, &entry, err);
    if (result == 0)
        result = take(config, &entry, err);
    free(entry.where);
    return result;
}

static int take_context(struct kube_config *config, const json_t *merged,
                        const struct entry *context, struct error *err) {
    const char *cluster, *user;
    config->origin = memory_strdup(context->where);
    config->namespace = memory_strdup("default");
    if (get_text(context, "cluster", &cluster, err) < 0 ||
        get_text(context, "user", &user, err) < 0 ||
        copy_text(context, "namespace", &config->namespace, err) < 0)
        return -1;
    if (cluster == NULL)
        return error_set(err, ERROR_INVALID, "%s: cluster: is missing", context->where);
    if (take_entry(config, merged, 0, context, cluster, take_cluster, err) < 0)
        return -1;
    return user == NULL ? 0 : take_entry(config, merged, 1, context, user, take_user, err);
}

static int find_context(const json_t *merged, const char *name, struct entry *ret,
                        struct error *err) {
    if (name != NULL && *name != '\0')
        return find_entry(merged, 2, name, "kubeconfig", ret, err);
    name = json_string_value(json_object_get(merged, "current-context"));
    if (name == NULL) {
        cleanup_free char *known = known_names(json_object_get(merged, "contexts"));
        return error_set(
            err, ERROR_INVALID,
            "kubeconfig: %s: current-context: is missing; name one of its contexts: %s",
            json_string_value(json_array_get(json_object_get(merged, "files"), 0)), known);
    }
    cleanup_free char *field =
        memory_printf("kubeconfig: %s: current-context",
                      json_string_value(json_object_get(merged, "current-file")));
    return find_entry(merged, 2, name, field, ret, err);
}

int kube_config_load(const char *kubeconfig, const char *context, struct kube_config **ret,
                     struct error *err) {
    json_t *merged = json_pack("{s:{}, s:{}, s:{}, s:[], s:[]}", "clusters", "users", "contexts",
                               "files", "trees");
    struct kube_config *config = kube_config_new();
    struct entry found = {0};
    int result = merge_files(merged, kubeconfig, err);
    if (result == 0)
        result = find_context(merged, context, &found, err);
    if (result == 0)
        result = take_context(config, merged, &found, err);
    if (result == 0)
        result = kube_config_complete(config, err);
    free(found.where);
    wipe_tree(merged);
    json_decref(merged);
    if (result < 0) {
        kube_config_destroy(config);
        return -1;
    }
    *ret = config;
    return 0;
}
