/* /api, /api/status, /api/me and the description of all routes: what clients ask that talk to the
 * gateway directly. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/api.h"
#include "gateway/yaml_write.h"

#include <stdlib.h>
#include <string.h>

static void get_version(struct http_request *request, void *context) {
    (void)context;
    http_reply_json(request, 200,
                    json_pack("{s:s, s:s}", "version", API_JUPYTER_SERVER_VERSION,
                              "gateway_version", ELARA_VERSION));
}

/* Of the client's own kernels; admins see all. */
static void get_status(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    if (api_reply_adopting(gateway, request))
        return;
    char started[CLOCK_TEXT_SIZE];
    clock_format(gateway->started_us, started);
    cleanup_json json_t *models = kernels_list(gateway->kernels, http_request_identity(request));
    const char *last = started;
    json_int_t connections = 0;
    size_t index;
    json_t *model;
    json_array_foreach(models, index, model) {
        const char *activity = json_string_value(json_object_get(model, "last_activity"));
        if (activity != NULL && strcmp(activity, last) > 0) /* one format, so texts sort as times */
            last = activity;
        connections += json_integer_value(json_object_get(model, "connections"));
    }
    http_reply_json(request, 200,
                    json_pack("{s:I, s:I, s:s, s:s}", "connections", connections, "kernels",
                              (json_int_t)json_array_size(models), "last_activity", last, "started",
                              started));
}

/* ?permissions={"kernels": ["read"]}: which of those the client has. Whoever came in may do all
 * that there is here. */
static int read_permissions(const struct http_request *request, json_t **ret, struct error *err) {
    static const char *const resources[] = {"api", "kernels", "kernelspecs", "sessions"};
    const char *query = http_request_query(request, "permissions");
    *ret = json_object();
    if (query == NULL || query[0] == '\0')
        return 0;
    cleanup_json json_t *asked = json_loads(query, JSON_REJECT_DUPLICATES, NULL);
    const char *resource;
    json_t *actions;
    bool is_fine = json_is_object(asked);
    json_object_foreach(asked, resource, actions) {
        is_fine = is_fine && json_is_array(actions);
        bool is_ours = false;
        for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++)
            is_ours = is_ours || strcmp(resource, resources[i]) == 0;
        json_object_set_new(*ret, resource, is_ours ? json_incref(actions) : json_array());
    }
    if (is_fine)
        return 0;
    json_decref(*ret);
    *ret = NULL;
    return error_set(err, ERROR_INVALID,
                     "permissions: must be a JSON object such as {\"kernels\": [\"read\"]}");
}

static void get_me(struct http_request *request, void *context) {
    (void)context;
    struct error err = {0};
    json_t *permissions;
    if (read_permissions(request, &permissions, &err) < 0) {
        http_reply_failure(request, &err);
        return;
    }
    const char *name = http_request_identity(request)->name;
    char initials[2] = {name[0], '\0'}; /* names are ASCII */
    if (initials[0] >= 'a' && initials[0] <= 'z')
        initials[0] = (char)(initials[0] - 'a' + 'A');
    http_reply_json(request, 200,
                    json_pack("{s:{s:s, s:s, s:s, s:s, s:n, s:n}, s:o}", "identity", "username",
                              name, "name", name, "display_name", name, "initials", initials,
                              "avatar_url", "color", "permissions", permissions));
}

static void get_swagger_json(struct http_request *request, void *context) {
    (void)context;
    http_reply_json(request, 200, api_swagger(http_base_url(request)));
}

static void get_swagger_yaml(struct http_request *request, void *context) {
    (void)context;
    cleanup_json json_t *document = api_swagger(http_base_url(request));
    cleanup_buffer struct buffer text = {0};
    yaml_write(document, &text);
    http_reply_bytes(request, 200, "text/x-yaml; charset=utf-8", text.data, text.length);
}

const struct http_route api_root_routes[] = {
    {"GET", "/api", get_version, 0},
    {"GET", "/api/status", get_status, 0},
    {"GET", "/api/me", get_me, 0},
    {"GET", "/api/swagger.json", get_swagger_json, HTTP_PUBLIC},
    {"GET", "/api/swagger.yaml", get_swagger_yaml, HTTP_PUBLIC},
    {NULL, NULL, NULL, 0},
};
