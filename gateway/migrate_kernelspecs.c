/* Kernelspecs of JEG: which start here as they are, and what else is needed. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/migrate.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { SPECS_LISTED_MAX = 4096 };

static const char *last_part(const char *class_name) {
    const char *dot = strrchr(class_name, '.');
    return dot != NULL ? dot + 1 : class_name;
}

static const char *advice(const char *proxy) {
    static const struct {
        const char *proxy;
        const char *text;
    } rows[] = {
        {"LocalProcessProxy", "starts here as it is"},
        {"KubernetesProcessProxy", "listed, but starting kernels in Kubernetes is not supported "
                                   "yet: a start says so"},
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

/* The first placeholder that only JEG fills in, NULL for none. */
static const char *find_placeholder(const json_t *argv) {
    static const char *const names[] = {"{response_address}", "{public_key}", "{port_range}",
                                        "{kernel_id}"};
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
static void tell(struct migration *migration, const char *name, char *text) {
    cleanup_free char *line = memory_printf("%s: %s", name, text);
    migration_kernelspec(migration, line);
    free(text);
}

static void tell_config(struct migration *migration, const char *name, const json_t *config) {
    static const char *const counts[] = {"authorized_users", "unauthorized_users"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        bool is_used = strcmp(key, counts[0]) == 0 || strcmp(key, counts[1]) == 0;
        if (!is_used)
            tell(migration, name, memory_printf("process_proxy.config.%s does nothing here", key));
    }
}

static void tell_spec(struct migration *migration, const char *name, const json_t *spec) {
    const json_t *proxy = json_object_get(json_object_get(spec, "metadata"), "process_proxy");
    const char *class_name = json_string_value(json_object_get(proxy, "class_name"));
    if (class_name == NULL) {
        tell(migration, name, memory_strdup("starts here as it is"));
        return;
    }
    const char *last = last_part(class_name);
    const char *placeholder = find_placeholder(json_object_get(spec, "argv"));
    tell(migration, name, memory_printf("%s: %s", last, advice(last)));
    tell_config(migration, name, json_object_get(proxy, "config"));
    if (placeholder != NULL)
        tell(migration, name,
             memory_printf("argv holds %s, which JEG's own launch scripts want; a kernel on this "
                           "machine is [\"python3\", \"-m\", \"ipykernel_launcher\", \"-f\", "
                           "\"{connection_file}\"] (no process_proxy is needed then)",
                           placeholder));
}

static void read_spec(struct migration *migration, const char *directory, const char *name) {
    struct error err = {0};
    cleanup_json json_t *spec = NULL;
    cleanup_free char *path = memory_printf("%s/kernel.json", directory);
    if (file_read_json(path, MIGRATE_FILE_MAX, &spec, &err) < 0)
        migration_trouble(migration, name, path, err.text);
    else
        tell_spec(migration, name, spec);
}

static bool is_spec(const char *directory) {
    cleanup_free char *path = memory_printf("%s/kernel.json", directory);
    return access(path, F_OK) == 0;
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
