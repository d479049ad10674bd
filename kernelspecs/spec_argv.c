/* What a kernel of a kernelspec is run by. kernelspecs of Jupyter Enterprise Gateway name that
 * gateway's own start scripts (docs/kernelspecs.md). */
#include "kernelspecs/kernelspecs.h"

#include "base/text.h"

#include <string.h>
#include <strings.h>

/* The kernels' own commands, as their packages install them. */
static json_t *native_argv(const char *language) {
    if (strcasecmp(language, "python") == 0)
        return json_pack("[s, s, s, s, s]", "python3", "-m", "ipykernel_launcher", "-f",
                         "{connection_file}");
    if (strcasecmp(language, "R") == 0)
        return json_pack("[s, s, s, s, s, s]", "R", "--slave", "-e", "IRkernel::main()", "--args",
                         "{connection_file}");
    return NULL;
}

static const char *find_word(const json_t *argv, const char *ending) {
    for (size_t i = 0; i < json_array_size(argv); i++) {
        const char *word = json_string_value(json_array_get(argv, i));
        if (word != NULL && text_ends_with(word, ending))
            return word;
    }
    return NULL;
}

/* Starters of Jupyter Enterprise Gateway for which nothing but their own scripts will do. */
static const char *foreign_starter(const struct kernelspec *spec) {
    static const struct {
        const char *class_name, *starter;
    } rows[] = {
        {"DistributedProcessProxy", "starts kernels on other hosts by ssh"},
        {"YarnClusterProcessProxy", "starts kernels in Hadoop YARN"},
        {"ConductorClusterProcessProxy", "starts kernels in IBM Spectrum Conductor"},
        {"DockerProcessProxy", "starts kernels in Docker"},
        {"DockerSwarmProcessProxy", "starts kernels in Docker Swarm"},
        {"SparkOperatorProcessProxy", "starts kernels through the Spark operator"},
        {"CustomResourceProcessProxy", "starts kernels through a custom resource"},
    };
    const json_t *proxy = json_object_get(json_object_get(spec->json, "metadata"), "process_proxy");
    const char *name = json_string_value(json_object_get(proxy, "class_name"));
    const char *dot = name != NULL ? strrchr(name, '.') : NULL;
    for (size_t i = 0; name != NULL && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(dot != NULL ? dot + 1 : name, rows[i].class_name) == 0)
            return rows[i].starter;
    return NULL;
}

int kernelspec_argv(const struct kernelspec *spec, bool is_elsewhere, json_t **ret,
                    struct error *err) {
    json_t *argv = json_object_get(spec->json, "argv");
    const json_t *elara = json_object_get(json_object_get(spec->json, "metadata"), "elara");
    const char *provisioner = json_string_value(json_object_get(elara, "provisioner"));
    const char *starter = foreign_starter(spec);
    json_t *own = json_object_get(elara, "argv");
    const char *script = find_word(argv, "launch_kubernetes.py"),
               *spark = find_word(argv, "bin/run.sh");
    if (is_elsewhere && provisioner != NULL && strcmp(provisioner, "local") == 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "kernel spec %.100s is for metadata.elara.provisioner \"local\"; this "
                         "gateway starts kernels as pods only",
                         spec->name);
    if (own != NULL)
        *ret = json_incref(own);
    else if (is_elsewhere && starter != NULL)
        return error_set(err, ERROR_UNSUPPORTED,
                         "kernel spec %.100s: its metadata.process_proxy %s, which this gateway "
                         "does not do; as a pod it starts with the kernel's command in "
                         "metadata.elara.argv",
                         spec->name, starter);
    else if (is_elsewhere && spark != NULL)
        return error_set(err, ERROR_UNSUPPORTED,
                         "kernel spec %.100s: its argv starts Spark (%.200s), which this gateway "
                         "does not do; a kernel that makes its own Spark session needs a "
                         "kernelspec with the kernel's command in metadata.elara.argv",
                         spec->name, spark);
    else if (is_elsewhere && script != NULL)
        *ret = native_argv(spec->language);
    else
        *ret = json_incref(argv);
    if (json_array_size(*ret) > 0)
        return 0;
    json_decref(*ret);
    if (script == NULL)
        return error_set(err, ERROR_INVALID, "kernel spec %.100s: argv must name a program",
                         spec->name);
    return error_set(err, ERROR_UNSUPPORTED,
                     "kernel spec %.100s: its argv is Jupyter Enterprise Gateway's start script "
                     "(%.200s), and the command of a kernel for the language \"%.50s\" is not "
                     "known here; write it to metadata.elara.argv in kernel.json",
                     spec->name, script, spec->language);
}
