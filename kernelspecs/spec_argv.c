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

int kernelspec_argv(const struct kernelspec *spec, bool is_elsewhere, json_t **ret,
                    struct error *err) {
    json_t *argv = json_object_get(spec->json, "argv");
    json_t *own =
        json_object_get(json_object_get(json_object_get(spec->json, "metadata"), "elara"), "argv");
    const char *script = find_word(argv, "launch_kubernetes.py"),
               *spark = find_word(argv, "bin/run.sh");
    if (own != NULL)
        *ret = json_incref(own);
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
