/* A kernel.json of any bytes: unusable, with a problem that says why, or one of which everything
 * can be asked. */
#include "base/error.h"
#include "kernelspecs/kernelspecs.h"
#include "kernelspecs/spec_file.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_problems(const json_t *problems, const uint8_t *data, size_t size) {
    size_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    for (size_t i = 0; i < json_array_size(problems); i++) {
        const json_t *problem = json_array_get(problems, i);
        json_int_t line = json_integer_value(json_object_get(problem, "line")); /* 0: no line */
        assert(line >= 0 && (size_t)line <= lines);
        assert(json_string_length(json_object_get(problem, "problem")) > 0);
        assert(json_is_string(json_object_get(problem, "field")));
    }
}

static void check_argv(const struct kernelspec *spec, bool is_elsewhere) {
    struct error err = {0};
    json_t *argv = NULL;
    if (kernelspec_argv(spec, is_elsewhere, &argv, &err) < 0) {
        assert(err.code != ERROR_NONE && err.text[0] != '\0');
        return;
    }
    assert(json_string_length(json_array_get(argv, 0)) > 0);
    json_decref(argv);
}

static void ask_everything(json_t *json) {
    const char *language = json_string_value(json_object_get(json, "language"));
    const struct kernelspec spec = {.name = "fuzz",
                                    .directory = "/fuzz",
                                    .display_name = "fuzz",
                                    .language = language != NULL ? language : "",
                                    .json = json};
    const struct kernelspec_users nobody = {0};
    check_argv(&spec, false);
    check_argv(&spec, true);
    free(kernelspec_unsupported(&spec));
    assert(kernelspec_refusal(&spec, NULL, &nobody) == NULL);
    (void)kernelspec_refusal(&spec, "ann", &nobody);
    assert(kernelspec_cull_idle_ms(&spec) >= -1);
    assert(kernelspec_journal_bytes(&spec) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *problems = json_array();
    json_t *json = spec_file_parse((const char *)data, size, "kernel.json", problems);
    assert(json != NULL || json_array_size(problems) > 0);
    check_problems(problems, data, size);
    if (json != NULL)
        ask_everything(json);
    json_decref(json);
    json_decref(problems);
    return 0;
}
