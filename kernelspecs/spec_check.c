#include "kernelspecs/spec_check.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "kernelspecs/spec_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBLEMS_MAX_PER_FILE = 20 };

static json_t *text_of_bytes(const char *bytes) {
    json_t *text = json_string(bytes);
    if (text != NULL)
        return text;
    cleanup_free char *copy = memory_strdup(bytes); /* a file name need not be UTF-8 */
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(copy);
}

void spec_problem_add(json_t *problems, const char *file, int line, const char *field,
                      const char *format, ...) {
    char problem[512];
    va_list args;
    va_start(args, format);
    utf8_format(problem, sizeof problem, format, args);
    va_end(args);
    json_array_append_new(problems, json_pack("{s:o, s:i, s:o, s:o}", "file", text_of_bytes(file),
                                              "line", line, "field", text_of_bytes(field),
                                              "problem", text_of_bytes(problem)));
}

/* The steps as a person writes them: metadata.process_proxy, argv[2]. */
static char *field_name(const struct spec_check *check) {
    char *name = memory_strdup("");
    for (size_t i = 0; i < check->depth; i++) {
        const struct json_step *step = &check->steps[i];
        char *longer = step->key != NULL
                           ? memory_printf("%s%s%s", name, i > 0 ? "." : "", step->key)
                           : memory_printf("%s[%zu]", name, step->index);
        free(name);
        name = longer;
    }
    return name;
}

static void tell(const struct spec_check *check, const char *problem) {
    cleanup_free char *field = field_name(check);
    size_t line = json_place_line(check->text, check->length, check->steps, check->depth);
    spec_problem_add(check->problems, check->file, (int)line, field, "%s", problem);
}

void spec_complain(struct spec_check *check, const char *problem) {
    if (++check->count <= PROBLEMS_MAX_PER_FILE)
        tell(check, problem);
}

void spec_warn(struct spec_check *check, const char *problem) {
    tell(check, problem);
}

void spec_check_push(struct spec_check *check, const char *key, size_t index) {
    check->steps[check->depth++] = (struct json_step){key, index};
}

void spec_check_command(struct spec_check *check, const json_t *value) {
    if (!json_is_array(value)) {
        spec_complain(check,
                      "must be an array of texts: the program, then one text for each argument");
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *argument = json_array_get(value, i);
        spec_check_push(check, NULL, i);
        if (!json_is_string(argument))
            spec_complain(check, "must be a text in double quotes (numbers too)");
        else if (i == 0 && json_string_length(argument) == 0)
            spec_complain(check, "must name the program to run");
        check->depth--;
    }
}
