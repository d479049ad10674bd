/* The description of the routes. It walks the route tables themselves, so that it names what is
 * served and nothing else; the table here adds the words. tests/unit/test_api.c checks that no
 * route is without them. */
#include "base/memory.h"
#include "gateway/api.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct description {
    const char *method, *pattern;
    const char *tag, *summary;
    int status; /* of success */
    const char *success;
    const char *body;   /* name of the definition it takes, or NULL */
    const char *result; /* name of the definition it answers with, "[x]" for an array, or NULL */
};

static const struct description descriptions[] = {
    {"GET", "/healthz", "health", "The gateway runs", 200, "It does", NULL, NULL},
    {"GET", "/readyz", "health", "The kernels of an earlier gateway are taken over", 200,
     "They are; 503 until then", NULL, NULL},
    {"GET", "/metrics", "health", "Numbers for Prometheus, for administrators", 200,
     "The numbers, as text", NULL, NULL},
    {"GET", "/api", "api", "Versions", 200, "The versions", NULL, "Version"},
    {"GET", "/api/status", "api", "Numbers of the client's kernels", 200, "The numbers", NULL,
     "Status"},
    {"GET", "/api/me", "api", "Who the client is", 200, "Name and permissions", NULL, "Me"},
    {"GET", "/api/swagger.json", "api", "This description", 200, "As JSON", NULL, NULL},
    {"GET", "/api/swagger.yaml", "api", "This description", 200, "As YAML", NULL, NULL},
    {"GET", "/api/kernelspecs", "kernelspecs", "All kernelspecs and the default", 200,
     "The kernelspecs", NULL, "Kernelspecs"},
    {"GET", "/api/kernelspecs/{name}", "kernelspecs", "One kernelspec", 200, "The kernelspec", NULL,
     "Kernelspec"},
    {"GET", "/kernelspecs/{name}/{path...}", "kernelspecs",
     "A file of a kernelspec, such as its logo", 200, "The file", NULL, NULL},
    {"GET", "/api/kernels", "kernels", "The client's kernels", 200, "The kernels", NULL,
     "[Kernel]"},
    {"POST", "/api/kernels", "kernels", "Start a kernel", 201,
     "It is being started; Location names it", "KernelStart", "Kernel"},
    {"GET", "/api/kernels/{kernel_id}", "kernels", "One kernel", 200, "The kernel", NULL, "Kernel"},
    {"DELETE", "/api/kernels/{kernel_id}", "kernels", "Shut a kernel down", 204, "It has ended",
     NULL, NULL},
    {"POST", "/api/kernels/{kernel_id}/interrupt", "kernels", "Interrupt a kernel", 204,
     "It was interrupted", NULL, NULL},
    {"POST", "/api/kernels/{kernel_id}/restart", "kernels", "Restart a kernel under its id", 200,
     "The new process has started", NULL, "Kernel"},
    {"GET", "/api/kernels/{kernel_id}/channels", "kernels",
     "WebSocket with the kernel's channels; subprotocol v1.kernel.websocket.jupyter.org or none",
     101, "The protocol is switched", NULL, NULL},
    {"GET", "/api/kernels/{kernel_id}/journal", "kernels",
     "What the kernel has sent, behind message `since`, as JSON lines", 200, "The messages", NULL,
     NULL},
    {"GET", "/api/kernels/{kernel_id}/logs", "kernels",
     "The end of the kernel's stdout and stderr, as text", 200, "The text", NULL, NULL},
    {"GET", "/api/kernels/{kernel_id}/why", "culling",
     "Why the kernel is kept, or when it will be ended", 200, "The decision and what it is made of",
     NULL, "Why"},
    {"POST", "/api/kernels/{kernel_id}/keep", "culling",
     "Keep the kernel from being ended for a while", 200, "How long", "Keep", "Kept"},
    {"GET", "/api/kernels/{kernel_id}/shares", "kernels", "With whom the kernel is shared", 200,
     "Names and rights", NULL, "Shares"},
    {"PUT", "/api/kernels/{kernel_id}/shares/{user}", "kernels",
     "Let somebody use the kernel, or look at it", 200, "Names and rights", "Share", "Shares"},
    {"DELETE", "/api/kernels/{kernel_id}/shares/{user}", "kernels", "Take that back", 200,
     "Names and rights", NULL, "Shares"},
    {"POST", "/api/elara/cull", "culling",
     "End the client's kernels that are due, or say which and when", 200,
     "Those that were ended, or would be", "Cull", "[Culled]"},
    {"GET", "/api/elara/kernels", "elara", "The client's kernels, in detail", 200, "The kernels",
     NULL, "[KernelDetails]"},
    {"GET", "/api/elara/status", "elara", "How the gateway does", 200, "Numbers and policy", NULL,
     "GatewayStatus"},
    {"GET", "/api/sessions", "sessions", "The client's sessions", 200, "The sessions", NULL,
     "[Session]"},
    {"POST", "/api/sessions", "sessions", "A session for a path: the one it has, or a new one", 201,
     "The session; Location names it", "SessionStart", "Session"},
    {"GET", "/api/sessions/{session_id}", "sessions", "One session", 200, "The session", NULL,
     "Session"},
    {"PATCH", "/api/sessions/{session_id}", "sessions", "Change path, name, type or kernel", 200,
     "The session", "SessionStart", "Session"},
    {"DELETE", "/api/sessions/{session_id}", "sessions", "Delete a session and end its kernel", 204,
     "Both are gone", NULL, NULL},
};

static const char definitions[] =
    "{'Error': {'type': 'object', 'properties': {'reason': {'type': 'string'},"
    "  'message': {'type': 'string'}}},"
    " 'Version': {'type': 'object', 'properties': {'version': {'type': 'string'},"
    "  'gateway_version': {'type': 'string'}}},"
    " 'Status': {'type': 'object', 'properties': {'connections': {'type': 'integer'},"
    "  'kernels': {'type': 'integer'}, 'started': {'type': 'string', 'format': 'date-time'},"
    "  'last_activity': {'type': 'string', 'format': 'date-time'}}},"
    " 'Me': {'type': 'object', 'properties': {'identity': {'type': 'object'},"
    "  'permissions': {'type': 'object'}}},"
    " 'Kernel': {'type': 'object', 'required': ['id', 'name'], 'properties': {"
    "  'id': {'type': 'string', 'format': 'uuid'}, 'name': {'type': 'string'},"
    "  'last_activity': {'type': 'string', 'format': 'date-time'},"
    "  'execution_state': {'type': 'string',"
    "   'enum': ['starting', 'idle', 'busy', 'restarting', 'dead']},"
    "  'connections': {'type': 'integer'}, 'owner': {'type': 'string'},"
    "  'reason': {'type': 'string'}, 'message': {'type': 'string'}}},"
    " 'Why': {'type': 'object', 'properties': {'id': {'type': 'string'},"
    "  'verdict': {'type': 'string', 'enum': ['keep', 'warn', 'cull']},"
    "  'rule': {'type': 'string', 'enum': ['none', 'idle', 'idle-connected', 'stalled', 'detached',"
    "   'unattached', 'age']}, 'in_ms': {'type': 'integer', 'x-nullable': true},"
    "  'text': {'type': 'string'},"
    "  'inputs': {'type': 'object', 'x-nullable': true}, 'policy': {'type': 'object'},"
    "  'fresh': {'type': 'boolean'}}},"
    " 'Keep': {'type': 'object', 'required': ['for'], 'properties': {'for': {'type': 'string'}}},"
    " 'Kept': {'type': 'object', 'properties': {'keep_ms': {'type': 'integer'}}},"
    " 'Share': {'type': 'object', 'required': ['right'], 'properties': {"
    "  'right': {'type': 'string', 'enum': ['use', 'view']}}},"
    " 'Shares': {'type': 'object', 'properties': {'shares': {'type': 'object',"
    "  'additionalProperties': {'type': 'string', 'enum': ['use', 'view']}}}},"
    " 'Cull': {'type': 'object', 'properties': {'dry_run': {'type': 'boolean'},"
    "  'policy': {'type': 'object'}}},"
    " 'Culled': {'type': 'object', 'properties': {'id': {'type': 'string'},"
    "  'name': {'type': 'string'}, 'owner': {'type': 'string'}, 'verdict': {'type': 'string'},"
    "  'rule': {'type': 'string'}, 'in_ms': {'type': 'integer'}, 'text': {'type': 'string'}}},"
    " 'KernelDetails': {'type': 'object', 'properties': {'id': {'type': 'string'},"
    "  'name': {'type': 'string'}, 'display_name': {'type': 'string'},"
    "  'owner': {'type': 'string'}, 'user': {'type': 'string'},"
    "  'right': {'type': 'string', 'enum': ['own', 'use', 'view']},"
    "  'execution_state': {'type': 'string'}, 'stage': {'type': 'string'},"
    "  'reason': {'type': 'string'}, 'message': {'type': 'string'},"
    "  'last_activity': {'type': 'string', 'format': 'date-time'},"
    "  'connections': {'type': 'integer'}, 'session': {'type': 'object', 'x-nullable': true},"
    "  'age_ms': {'type': 'integer', 'x-nullable': true},"
    "  'idle_ms': {'type': 'integer', 'x-nullable': true},"
    "  'keep_ms': {'type': 'integer', 'x-nullable': true}, 'rule': {'type': 'string'},"
    "  'verdict': {'type': 'string'}, 'cull_in_ms': {'type': 'integer', 'x-nullable': true},"
    "  'text': {'type': 'string'}, 'rss_bytes': {'type': 'integer', 'x-nullable': true},"
    "  'cpu_ms': {'type': 'integer', 'x-nullable': true},"
    "  'processes': {'type': 'integer', 'x-nullable': true}}},"
    " 'GatewayStatus': {'type': 'object', 'properties': {'version': {'type': 'string'},"
    "  'started': {'type': 'string', 'format': 'date-time'}, 'uptime_ms': {'type': 'integer'},"
    "  'adopting': {'type': 'boolean'}, 'connections': {'type': 'integer'},"
    "  'kernels': {'type': 'object'}, 'limits': {'type': 'object'},"
    "  'culling': {'type': 'object'}}},"
    " 'KernelStart': {'type': 'object', 'properties': {'name': {'type': 'string'},"
    "  'path': {'type': 'string'}, 'kernel_id': {'type': 'string', 'format': 'uuid'},"
    "  'env': {'type': 'object', 'additionalProperties': {'type': 'string'}}}},"
    " 'Kernelspec': {'type': 'object', 'required': ['name', 'spec', 'resources'], 'properties': {"
    "  'name': {'type': 'string'}, 'spec': {'type': 'object'},"
    "  'resources': {'type': 'object', 'additionalProperties': {'type': 'string'}}}},"
    " 'Kernelspecs': {'type': 'object', 'properties': {'default': {'type': 'string'},"
    "  'kernelspecs': {'type': 'object',"
    "   'additionalProperties': {'$ref': '#/definitions/Kernelspec'}}}},"
    " 'Session': {'type': 'object', 'properties': {'id': {'type': 'string', 'format': 'uuid'},"
    "  'path': {'type': 'string'}, 'name': {'type': 'string'}, 'type': {'type': 'string'},"
    "  'kernel': {'$ref': '#/definitions/Kernel'}}},"
    " 'SessionStart': {'type': 'object', 'properties': {'path': {'type': 'string'},"
    "  'name': {'type': 'string'}, 'type': {'type': 'string'}, 'kernel': {'type': 'object',"
    "   'properties': {'id': {'type': 'string'}, 'name': {'type': 'string'}}}}}}";

/* Written above with ' for ", which no text of it holds. */
static json_t *definitions_tree(void) {
    char *text = memory_strdup(definitions);
    for (char *at = text; *at != '\0'; at++)
        if (*at == '\'')
            *at = '"';
    json_t *tree = json_loads(text, 0, NULL);
    free(text);
    return tree;
}

static const struct description *find_description(const struct http_route *route) {
    for (size_t i = 0; i < sizeof descriptions / sizeof descriptions[0]; i++)
        if (strcmp(descriptions[i].method, route->method) == 0 &&
            strcmp(descriptions[i].pattern, route->pattern) == 0)
            return &descriptions[i];
    return NULL;
}

static json_t *schema(const char *definition) {
    bool is_array = definition[0] == '[';
    size_t length = strcspn(definition + is_array, "]");
    char *name = memory_printf("#/definitions/%.*s", (int)length, definition + is_array);
    json_t *reference = json_pack("{s:s}", "$ref", name);
    free(name);
    return is_array ? json_pack("{s:s, s:o}", "type", "array", "items", reference) : reference;
}

static json_t *parameters(const char *pattern, const struct description *about) {
    json_t *list = json_array();
    for (const char *at = strchr(pattern, '{'); at != NULL; at = strchr(at + 1, '{'))
        json_array_append_new(list, json_pack("{s:s%, s:s, s:s, s:b}", "name", at + 1,
                                              strcspn(at + 1, ".}"), "in", "path", "type", "string",
                                              "required", 1));
    if (about != NULL && about->body != NULL)
        json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", "body", "in", "body",
                                              "schema", schema(about->body)));
    return list;
}

static json_t *operation(const struct http_route *route) {
    const struct description *about = find_description(route);
    json_t *tree = json_object();
    json_t *responses = json_object();
    if (about != NULL) {
        char status[16];
        snprintf(status, sizeof status, "%d", about->status);
        json_t *success = json_pack("{s:s}", "description", about->success);
        if (about->result != NULL)
            json_object_set_new(success, "schema", schema(about->result));
        json_object_set_new(responses, status, success);
        json_object_set_new(tree, "summary", json_string(about->summary));
        json_object_set_new(tree, "tags", json_pack("[s]", about->tag));
    }
    json_object_set_new(responses, "default",
                        json_pack("{s:s, s:o}", "description", "What went wrong, and why", "schema",
                                  schema("Error")));
    json_object_set_new(tree, "parameters", parameters(route->pattern, about));
    json_object_set_new(tree, "responses", responses);
    if ((route->flags & HTTP_PUBLIC) != 0)
        json_object_set_new(tree, "security", json_array());
    return tree;
}

/* "{path...}" takes slashes, for which the description has no word. */
static char *path_of(const char *pattern) {
    char *path = memory_strdup(pattern);
    char *dots = strstr(path, "...}");
    if (dots != NULL)
        memmove(dots, dots + 3, strlen(dots + 3) + 1);
    return path;
}

static void add_paths(json_t *paths, const struct http_route *route) {
    for (; route->method != NULL; route++) {
        char method[16] = "";
        for (size_t i = 0; i < sizeof method - 1 && route->method[i] != '\0'; i++)
            method[i] = (char)tolower((unsigned char)route->method[i]);
        char *name = path_of(route->pattern);
        json_t *path = json_object_get(paths, name);
        if (path == NULL)
            json_object_set_new(paths, name, path = json_object());
        free(name);
        json_object_set_new(path, method, operation(route));
    }
}

json_t *api_swagger(const char *base_url) {
    size_t base_length = strlen(base_url);
    if (base_length > 1 && base_url[base_length - 1] == '/')
        base_length--;
    json_t *paths = json_object();
    add_paths(paths, api_root_routes);
    add_paths(paths, api_kernels_routes);
    add_paths(paths, api_kernelspecs_routes);
    add_paths(paths, api_journal_routes);
    add_paths(paths, api_sessions_routes);
    add_paths(paths, api_culling_routes);
    add_paths(paths, api_shares_routes);
    add_paths(paths, api_elara_routes);
    add_paths(paths, api_health_routes);
    add_paths(paths, api_metrics_routes);
    return json_pack(
        "{s:s, s:{s:s, s:s, s:s}, s:s%, s:[s], s:[s], s:{s:{s:s, s:s, s:s}, s:{s:s, s:s, s:s}},"
        " s:[{s:[]}, {s:[]}], s:o, s:o}",
        "swagger", "2.0", "info", "title", "Elara", "description",
        "Jupyter kernels over HTTP and WebSocket", "version", ELARA_VERSION, "basePath", base_url,
        base_length, "consumes", "application/json", "produces", "application/json",
        "securityDefinitions", "header", "type", "apiKey", "name", "Authorization", "in", "header",
        "query", "type", "apiKey", "name", "token", "in", "query", "security", "header", "query",
        "paths", paths, "definitions", definitions_tree());
}
