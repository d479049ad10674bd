/* /api/kernelspecs and /kernelspecs: what there is to start, with its logos (jupyter_server's
 * kernel specs REST API).
 *
 * A user with a token of his own sees what he may use. Else "?user=" says who asks, as Jupyter
 * Enterprise Gateway's clients do; it is a filter for the eye then, not a lock. */
#include "base/memory.h"
#include "base/text.h"
#include "gateway/api.h"
#include "kernelspecs/kernelspecs.h"

#include <string.h>

/* Who the answer is filtered for. */
struct asker {
    char *user; /* NULL: everything is shown */
    char *name; /* of the kernelspec in "?user=bob/python3", else NULL */
};

/* jupyter_server 2.x with KERNEL_USERNAME set appends the kernelspec's name to the query instead of
 * the path. */
static void split_name(struct asker *asker) {
    char *slash = asker->user != NULL ? strrchr(asker->user, '/') : NULL;
    if (slash == NULL)
        return;
    *slash = '\0';
    asker->name = memory_strdup(slash + 1);
}

static struct asker asker_of(const struct http_request *request) {
    const struct auth_identity *identity = http_request_identity(request);
    const char *user = http_request_query(request, "user");
    struct asker asker = {.user = user != NULL && *user != '\0' ? memory_strdup(user) : NULL};
    split_name(&asker);
    if (identity != NULL && identity->verified && identity->role != AUTH_ADMIN) {
        free(asker.user);
        asker.user = memory_strdup(identity->name);
    }
    return asker;
}

static void asker_free(struct asker *asker) {
    free(asker->user);
    free(asker->name);
}

/* The gateway's own lists. */
static struct kernelspec_users users_of(const struct gateway *gateway) {
    return (struct kernelspec_users){gateway->settings->authorized_users,
                                     gateway->settings->unauthorized_users};
}

static bool may_use(const struct gateway *gateway, const struct kernelspec *spec,
                    const struct asker *asker) {
    struct kernelspec_users users = users_of(gateway);
    return kernelspec_refusal(spec, asker->user, &users) == NULL;
}

static void list_specs(struct http_request *request, void *context) {
    const struct gateway *gateway = context;
    struct asker asker = asker_of(request);
    const char *base_url = http_base_url(request);
    struct kernelspec_users users = users_of(gateway);
    json_t *list = kernelspecs_model(gateway->specs, base_url, asker.user, &users);
    /* The misled client gets the one it meant, beside the list. */
    const struct kernelspec *spec = kernelspecs_find(gateway->specs, asker.name);
    if (spec != NULL && may_use(gateway, spec, &asker))
        json_object_update_new(list, kernelspec_model(gateway->specs, spec, asker.name, base_url));
    asker_free(&asker);
    http_reply_json(request, 200, list);
}

/* The kernelspec that {name} names and the client may use; else NULL, and the request is
 * answered. */
static const struct kernelspec *find_spec(const struct gateway *gateway,
                                          struct http_request *request) {
    const char *name = http_request_param(request, "name");
    const struct kernelspec *spec = kernelspecs_find(gateway->specs, name);
    struct asker asker = asker_of(request);
    if (spec == NULL) {
        http_reply_error(request, 404, NULL, "Kernel spec %.256s not found", name);
    } else if (!may_use(gateway, spec, &asker)) {
        http_reply_error(request, 403, NULL,
                         "User %.128s is not authorized to use kernel spec %.256s", asker.user,
                         name);
        spec = NULL;
    }
    asker_free(&asker);
    return spec;
}

static void get_spec(struct http_request *request, void *context) {
    const struct gateway *gateway = context;
    const struct kernelspec *spec = find_spec(gateway, request);
    if (spec == NULL)
        return;
    json_t *model = kernelspec_model(gateway->specs, spec, http_request_param(request, "name"),
                                     http_base_url(request));
    http_reply_json(request, 200, model);
}

/* A part of `path` that begins with a dot (but "..", which the file server refuses louder), or a
 * copy that an editor or a person left of kernel.json: files that hold what kernel.json holds. */
static bool is_hidden(const char *path) {
    const char *last = path;
    for (const char *part = path; *part != '\0'; part += strcspn(part, "/")) {
        part += strspn(part, "/");
        if (*part == '.' && strncmp(part, "../", 3) != 0 && strcmp(part, "..") != 0)
            return true;
        last = part;
    }
    return strncmp(last, "kernel.json", strlen("kernel.json")) == 0;
}

static void get_resource(struct http_request *request, void *context) {
    const struct gateway *gateway = context;
    const struct kernelspec *spec = find_spec(gateway, request);
    if (spec == NULL)
        return;
    const char *path = http_request_param(request, "path");
    bool shows_env = kernelspecs_publish_env(gateway->specs);
    const struct http_file file = {
        .root = spec->directory, .path = path, .except = shows_env ? NULL : "kernel.json"};
    if (!shows_env && is_hidden(path))
        http_reply_error(request, 404, NULL, "%.512s is not served: it may hold values of env",
                         path);
    else
        http_reply_file(request, gateway->background, &file);
}

const struct http_route api_kernelspecs_routes[] = {
    {"GET", "/api/kernelspecs", list_specs, 0},
    {"GET", "/api/kernelspecs/{name}", get_spec, 0},
    {"GET", "/kernelspecs/{name}/{path...}", get_resource, 0},
    {0},
};
