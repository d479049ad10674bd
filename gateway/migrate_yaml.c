/* Helm values of JEG's chart, and what else of JEG is YAML: its Deployment, and the JupyterGateway
 * of elastic-jupyter-operator. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/yaml.h"
#include "gateway/migrate.h"

#include <string.h>

enum { PATH_BYTES = 256, DEPTH_MAX = 8 };

static const char deploy[] = "belongs to the deployment, not to the gateway's settings";
static const char puller[] =
    "no image puller is needed by the gateway; one of your own may read GET /api/kernelspecs";
static const char specs[] =
    "mount the kernelspecs at /usr/local/share/jupyter/kernels (they are read there), or name "
    "their place in kernelspec_dirs";

struct key {
    const char *path;     /* "kernel.launchTimeout"; "kip.*" covers all below it */
    const char *variable; /* as which it reaches JEG */
    const char *note;     /* why it does nothing here */
};

static const struct key chart[] = {
    {"logLevel", "EG_LOG_LEVEL", NULL},
    {"mirrorWorkingDirs", "EG_MIRROR_WORKING_DIRS", NULL},
    {"authToken", "EG_AUTH_TOKEN", NULL},
    {"namespace", "EG_NAMESPACE", NULL},
    {"kernel.clusterRole", "EG_KERNEL_CLUSTER_ROLE", NULL},
    {"kernel.shareGatewayNamespace", "EG_SHARED_NAMESPACE", NULL},
    {"kernel.launchTimeout", "EG_KERNEL_LAUNCH_TIMEOUT", NULL},
    {"kernel.infoTimeout", "EG_KERNEL_INFO_TIMEOUT", NULL},
    {"kernel.cullIdleTimeout", "EG_CULL_IDLE_TIMEOUT", NULL},
    {"kernel.cullInterval", "EG_CULL_INTERVAL", NULL},
    {"kernel.cullConnected", "EG_CULL_CONNECTED", NULL},
    {"kernel.allowedKernels", "EG_ALLOWED_KERNELS", NULL},
    {"kernel.defaultKernelName", "EG_DEFAULT_KERNEL_NAME", NULL},
    {"kernel.defaultServiceAccountName", "EG_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME", NULL},
    {"deployment.extraEnv.*", "*", NULL},
    /* Charts before 2.5 had them at the top. */
    {"port", "EG_PORT", NULL},
    {"responsePort", "EG_RESPONSE_PORT", NULL},
    {"kernelClusterRole", "EG_KERNEL_CLUSTER_ROLE", NULL},
    {"sharedNamespace", "EG_SHARED_NAMESPACE", NULL},
    {"kernelLaunchTimeout", "EG_KERNEL_LAUNCH_TIMEOUT", NULL},
    {"cullIdleTimeout", "EG_CULL_IDLE_TIMEOUT", NULL},
    {"kernelWhitelist", "EG_KERNEL_WHITELIST", NULL},
    {"kernel_whitelist", "EG_KERNEL_WHITELIST", NULL},
    {"kernelspecs.*", NULL, specs},
    {"kernelspecsPvc.*", NULL, specs},
    {"nfs.*", NULL, specs},
    {"kip.*", NULL, puller},
    {"global.*", NULL, deploy},
    {"image", NULL, deploy},
    {"imagePullPolicy", NULL, deploy},
    {"imagePullSecrets", NULL, deploy},
    {"imagePullSecretsCreate.*", NULL, deploy},
    {"service.*", NULL, deploy},
    {"deployment.*", NULL, deploy},
    {"replicas", NULL, deploy},
    {"resources.*", NULL, deploy},
    {"ingress.*", NULL, deploy},
    {"k8sMasterPublicIP", NULL, deploy},
    {0},
};

static const struct key operator_gateway[] = {
    {"kernels", "EG_ALLOWED_KERNELS", NULL},
    {"defaultKernel", "EG_DEFAULT_KERNEL_NAME", NULL},
    {"cullIdleTimeout", "EG_CULL_IDLE_TIMEOUT", NULL},
    {"cullInterval", "EG_CULL_INTERVAL", NULL},
    {"logLevel", "EG_LOG_LEVEL", NULL},
    {"clusterRole", "EG_KERNEL_CLUSTER_ROLE", NULL},
    {"resources.*", NULL, deploy},
    {"image", NULL, deploy},
    {0},
};

static const struct key *find_key(const struct key *keys, const char *path) {
    for (; keys->path != NULL; keys++) {
        size_t length = strlen(keys->path);
        bool is_family = text_ends_with(keys->path, ".*");
        if (is_family ? strncmp(path, keys->path, length - 2) == 0 &&
                            (path[length - 2] == '.' || path[length - 2] == '\0')
                      : strcmp(path, keys->path) == 0)
            return keys;
    }
    return NULL;
}

static void take(struct migration *migration, const struct key *key, const char *path,
                 const json_t *value, const char *name) {
    if (key->variable == NULL) {
        migration_note(migration, path, name, key->note);
        return;
    }
    const char *last = strrchr(path, '.');
    const char *variable = strcmp(key->variable, "*") != 0 ? key->variable : last + 1;
    if (!text_starts_with(variable, "EG_") && !text_starts_with(variable, "KG_"))
        migration_note(migration, path, name, "no setting: give it to the gateway's container");
    else if (json_is_string(value))
        migration_set_text(migration, variable, json_string_value(value), path, name,
                           MIGRATE_ENVIRONMENT);
    else
        migration_set_json(migration, variable, value, path, name, MIGRATE_ENVIRONMENT);
}

/* One note for a family's subtree, a walk through what the table names below it. */
static void walk(struct migration *migration, const struct key *keys, const char *prefix,
                 const json_t *object, const char *name, int depth) {
    const char *member;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, member, value) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s%s%s", prefix, *prefix != '\0' ? "." : "", member);
        const struct key *key = find_key(keys, path);
        bool goes_deeper = strcmp(path, "deployment") == 0 || strcmp(path, "kernel") == 0 ||
                           strcmp(path, "deployment.extraEnv") == 0;
        if (json_is_object(value) && goes_deeper && depth < DEPTH_MAX)
            walk(migration, keys, path, value, name, depth + 1);
        else if (json_is_null(value))
            continue;
        else if (key == NULL)
            migration_trouble(migration, path, name, "JEG's chart has no such value");
        else
            take(migration, key, path, value, name);
    }
}

/* service.ports: [{name: http, port: 8888}]; the chart makes EG_PORT of it. */
static void take_ports(struct migration *migration, const json_t *file, const char *name) {
    size_t i;
    json_t *port;
    json_array_foreach(json_object_get(json_object_get(file, "service"), "ports"), i, port) {
        const char *which = json_string_value(json_object_get(port, "name"));
        const json_t *number = json_object_get(port, "port");
        if (which == NULL || number == NULL)
            continue;
        bool is_http = strcmp(which, "http") == 0;
        migration_set_json(migration, is_http ? "EG_PORT" : "EG_RESPONSE_PORT", number,
                           is_http ? "service.ports: http" : "service.ports: http-response", name,
                           MIGRATE_ENVIRONMENT);
    }
}

/* What the chart, or the image's start script, sets where the values say nothing. */
static void take_defaults(struct migration *migration, bool is_chart) {
    static const struct {
        const char *variable;
        const char *text;
    } of_script[] = {{"EG_IP", "0.0.0.0"},
                     {"EG_PORT", "8888"},
                     {"EG_CULL_INTERVAL", "60"},
                     {"EG_LIST_KERNELS", "True"}};
    const char *from = is_chart ? "default of JEG's chart" : "default of the operator";
    for (size_t i = 0; i < sizeof of_script / sizeof *of_script; i++)
        migration_set_text(migration, of_script[i].variable, of_script[i].text,
                           of_script[i].variable, "default of JEG's container", MIGRATE_SCRIPT);
    migration_set_text(migration, "EG_CULL_IDLE_TIMEOUT", "3600",
                       is_chart ? "kernel.cullIdleTimeout" : "cullIdleTimeout", from,
                       MIGRATE_SCRIPT);
    migration_set_text(migration, "EG_SHARED_NAMESPACE", is_chart ? "False" : "True",
                       is_chart ? "kernel.shareGatewayNamespace" : "EG_SHARED_NAMESPACE", from,
                       MIGRATE_SCRIPT);
}

static void take_container(struct migration *migration, const json_t *container, const char *name) {
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(container, "env"), i, entry) {
        const char *variable = json_string_value(json_object_get(entry, "name"));
        const char *value = json_string_value(json_object_get(entry, "value"));
        if (variable == NULL ||
            (!text_starts_with(variable, "EG_") && !text_starts_with(variable, "KG_")))
            continue;
        if (value == NULL)
            migration_see_variable(migration, variable, name);
        if (value == NULL)
            migration_note(migration, variable, name,
                           "its value comes from elsewhere (valueFrom): keep the entry, the "
                           "variable is read as it is");
        else
            migration_set_text(migration, variable, value, variable, name, MIGRATE_ENVIRONMENT);
    }
}

/* spec.template.spec.containers[].env */
static void take_deployment(struct migration *migration, const json_t *file, const char *name) {
    const json_t *at = file;
    static const char *const path[] = {"spec", "template", "spec", "containers"};
    for (size_t i = 0; i < sizeof path / sizeof *path; i++)
        at = json_object_get(at, path[i]);
    size_t i;
    json_t *container;
    json_array_foreach(at, i, container) {
        take_container(migration, container, name);
    }
    migration_set_text(migration, "EG_IP", "0.0.0.0", "EG_IP", "default of JEG's container",
                       MIGRATE_SCRIPT);
    migration_set_text(migration, "EG_CULL_IDLE_TIMEOUT", "43200", "EG_CULL_IDLE_TIMEOUT",
                       "default of JEG's container", MIGRATE_SCRIPT);
}

int migrate_yaml(struct migration *migration, const char *text, size_t length, const char *name,
                 struct error *err) {
    cleanup_json json_t *file = NULL;
    if (yaml_parse(text, length, &file, err) < 0)
        return error_wrap(err, "%s", name);
    if (json_is_null(file)) {
        take_defaults(migration, true);
        return 0;
    }
    if (!json_is_object(file))
        return error_set(err, ERROR_INVALID, "%s: must hold lines of \"key: value\"", name);
    const char *kind = json_string_value(json_object_get(file, "kind"));
    if (kind == NULL) {
        take_ports(migration, file, name);
        walk(migration, chart, "", file, name, 0);
        take_defaults(migration, true);
    } else if (strcmp(kind, "Deployment") == 0) {
        take_deployment(migration, file, name);
    } else if (strcmp(kind, "JupyterGateway") == 0) {
        walk(migration, operator_gateway, "", json_object_get(file, "spec"), name, 0);
        take_defaults(migration, false);
    } else {
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: a %.64s; what can be read are Helm values, JEG's Deployment and a "
                         "JupyterGateway",
                         name, kind);
    }
    return 0;
}
