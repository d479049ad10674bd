/* Kernelspecs of JEG: which start here as they are, and what else is needed. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/migrate.h"
#include "kernelspecs/kernelspecs.h"
#include "launcher/kube_jinja.h"
#include "launcher/kube_pod.h"
#include "launcher/kube_template.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { SPECS_LISTED_MAX = 4096 };

static const char local_proxy[] = "LocalProcessProxy", pod_proxy[] = "KubernetesProcessProxy";

static const char *last_part(const char *class_name) {
    const char *dot = strrchr(class_name, '.');
    return dot != NULL ? dot + 1 : class_name;
}

static const char *advice(const char *proxy) {
    static const struct {
        const char *proxy;
        const char *text;
    } rows[] = {
        {"SparkOperatorProcessProxy", "listed, but Spark operators are not supported"},
        {"CustomResourceProcessProxy", "listed, but custom resources are not supported"},
        {"KubeflowProcessProxy", "listed, but elastic-jupyter-operator's own launcher is not "
                                 "supported"},
        {"DistributedProcessProxy", "listed, but kernels on other hosts by ssh are not supported: "
                                    "run a gateway there"},
        {"YarnClusterProcessProxy", "listed, but Hadoop YARN is not supported"},
        {"ConductorClusterProcessProxy", "listed, but IBM Spectrum Conductor is not supported"},
        {"DockerProcessProxy", "listed, but Docker is not supported"},
        {"DockerSwarmProcessProxy", "listed, but Docker Swarm is not supported"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(proxy, rows[i].proxy) == 0)
            return rows[i].text;
    return "listed, but nobody here can start it";
}

/* What in argv only JEG's launch scripts understand; NULL: nothing. */
static const char *find_script(const json_t *argv) {
    static const char *const names[] = {"launch_kubernetes.py", "{response_address}",
                                        "{public_key}", "{port_range}", "{kernel_id}"};
    size_t i;
    json_t *word;
    json_array_foreach((json_t *)(uintptr_t)argv, i, word) {
        for (size_t n = 0; n < sizeof names / sizeof *names; n++)
            if (json_is_string(word) && strstr(json_string_value(word), names[n]) != NULL)
                return names[n];
    }
    return NULL;
}

/* Takes text. */
static void tell(struct migration *migration, enum migrate_place where, const char *name,
                 char *text) {
    cleanup_free char *line = memory_printf("%s: %s", name, text);
    migration_kernelspec(migration, where, line);
    free(text);
}

static bool is_there(const char *directory, const char *file) {
    cleanup_free char *path = memory_printf("%s/%s", directory, file);
    return access(path, F_OK) == 0;
}

/* What its pod will be. */
static void tell_pod(struct migration *migration, const char *name, const char *directory,
                     const json_t *spec) {
    struct error err = {0};
    cleanup_json json_t *template = NULL;
    if (kube_template_load(directory, &template, &err) < 0) {
        migration_trouble(migration, name, directory, err.text);
        return;
    }
    const json_t *containers = json_object_get(json_object_get(template, "spec"), "containers");
    const char *image = kube_spec_image(spec);
    if (image == NULL && template != NULL)
        image = json_string_value(
            json_object_get(json_array_get(containers, kube_template_kernel(template)), "image"));
    tell(migration, MIGRATE_PODS, name,
         image != NULL
             ? memory_printf("starts as a pod of %.200s", image)
             : memory_strdup("starts as a pod of kubernetes_image: it names no image itself"));
    if (json_is_string(template))
        tell(migration, MIGRATE_PODS, name,
             memory_strdup(KUBE_JINJA_FILE " is its pod's template, as it is"));
}

static void tell_start(struct migration *migration, const char *name, const char *directory,
                       const json_t *spec, const char *proxy) {
    bool is_local = proxy == NULL || strcmp(proxy, local_proxy) == 0;
    if (is_local)
        tell(migration, MIGRATE_LOCAL, name,
             memory_printf("%s%sstarts here as it is", proxy != NULL ? proxy : "",
                           proxy != NULL ? ": " : ""));
    else if (strcmp(proxy, pod_proxy) == 0)
        tell(migration, MIGRATE_LOCAL, name,
             memory_printf("%s: listed, but it starts with provisioner: kubernetes only", proxy));
    else
        tell(migration, MIGRATE_ANYWHERE, name, memory_printf("%s: %s", proxy, advice(proxy)));
    if (is_local || strcmp(proxy, pod_proxy) == 0)
        tell_pod(migration, name, directory, spec);
}

/* What runs in its pod in place of JEG's script. */
static void tell_pod_argv(struct migration *migration, const char *name, const json_t *spec,
                          const char *language) {
    const struct kernelspec as = {.name = name,
                                  .language = language != NULL ? language : "",
                                  .json = (json_t *)(uintptr_t)spec};
    struct error err = {0};
    cleanup_json json_t *argv = NULL;
    if (kernelspec_argv(&as, true, &argv, &err) < 0) {
        tell(migration, MIGRATE_PODS, name, memory_strdup(err.text));
        return;
    }
    cleanup_free char *command = json_dumps(argv, 0);
    tell(migration, MIGRATE_PODS, name,
         memory_printf("its pod runs %s (metadata.elara.argv in kernel.json says another command)",
                       command));
}

static void tell_argv(struct migration *migration, const char *name, const json_t *spec) {
    const char *script = find_script(json_object_get(spec, "argv"));
    const char *language = json_string_value(json_object_get(spec, "language"));
    const char *command = "the one in its own kernel.json (`jupyter kernelspec list` says where)";
    if (script == NULL)
        return;
    if (language == NULL || strcasecmp(language, "python") == 0)
        command = "[\"python3\", \"-m\", \"ipykernel_launcher\", \"-f\", \"{connection_file}\"]";
    else if (strcasecmp(language, "R") == 0)
        command = "[\"R\", \"--slave\", \"-e\", \"IRkernel::main()\", \"--args\", "
                  "\"{connection_file}\"]";
    tell(migration, MIGRATE_LOCAL, name,
         memory_printf("argv holds %s, which JEG's own launch scripts want; here it has to be the "
                       "kernel's own command: %s (no process_proxy is needed then)",
                       script, command));
    tell_pod_argv(migration, name, spec, language);
}

static void tell_config(struct migration *migration, const char *name, const json_t *config) {
    static const char *const counts[] = {"authorized_users", "unauthorized_users"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        bool is_used = strcmp(key, counts[0]) == 0 || strcmp(key, counts[1]) == 0;
        bool is_of_pods = strcmp(key, "image_name") == 0;
        if (!is_used)
            tell(migration, is_of_pods ? MIGRATE_LOCAL : MIGRATE_ANYWHERE, name,
                 memory_printf("process_proxy.config.%s does nothing here", key));
    }
}

static void tell_spec(struct migration *migration, const char *name, const char *directory,
                      const json_t *spec) {
    const json_t *stanza = json_object_get(json_object_get(spec, "metadata"), "process_proxy");
    const char *class_name = json_string_value(json_object_get(stanza, "class_name"));
    const char *proxy = class_name != NULL ? last_part(class_name) : NULL;
    if (proxy != NULL && strcmp(proxy, pod_proxy) == 0) {
        cleanup_free char *as = memory_printf("%s of %s", pod_proxy, name);
        migration_see_pods(migration, as, directory);
    }
    tell_start(migration, name, directory, spec, proxy);
    migrate_volumes(migration, name, spec);
    if (proxy == NULL)
        return;
    tell_config(migration, name, json_object_get(stanza, "config"));
    tell_argv(migration, name, spec);
}

static void read_spec(struct migration *migration, const char *directory, const char *name) {
    struct error err = {0};
    cleanup_json json_t *spec = NULL;
    cleanup_free char *path = memory_printf("%s/kernel.json", directory);
    if (file_read_json(path, MIGRATE_FILE_MAX, &spec, &err) < 0)
        migration_trouble(migration, name, path, err.text);
    else
        tell_spec(migration, name, directory, spec);
}

static bool is_spec(const char *directory) {
    return is_there(directory, "kernel.json");
}

static int is_named(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

int migrate_kernelspecs(struct migration *migration, const char *directory, struct error *err) {
    const char *slash = strrchr(directory, '/');
    if (is_spec(directory)) {
        const char *name = slash != NULL && slash[1] != '\0' ? slash + 1 : directory;
        read_spec(migration, directory, name);
        return 0;
    }
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, is_named, alphasort);
    if (count < 0)
        return error_system(err, errno, "%s", directory);
    int found = 0;
    for (int i = 0; i < count; i++) {
        cleanup_free char *path = memory_printf("%s/%s", directory, entries[i]->d_name);
        if (is_spec(path) && found++ < SPECS_LISTED_MAX)
            read_spec(migration, path, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return found > 0 ? 0
                     : error_set(err, ERROR_NOT_FOUND,
                                 "%s: holds no kernelspec; name the directory of the kernelspecs' "
                                 "directories",
                                 directory);
}
