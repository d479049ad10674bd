/* One kernelspec directory: kernel.json read and validated field by field (Jupyter documentation,
 * "Making kernels for Jupyter"; JEP 105's schema). Fields that nobody here knows are kept. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

enum { SPEC_FILE_MAX = 1 << 20, SPEC_RESOURCES_MAX = 64 };

/* kernel.json of a directory as a tree with interrupt_mode in lower case, a new reference; NULL
 * when it cannot be used. What is wrong is appended to problems, as kernelspecs_problems has it. */
json_t *spec_file_load(const char *directory, json_t *problems);
/* The same of a file's text; `file` is what the problems call it. */
json_t *spec_file_parse(const char *text, size_t length, const char *file, json_t *problems);
/* kernel.js, kernel.css and the logo-* files: key to file name. A new reference, never NULL. */
json_t *spec_file_resources(const char *directory);
bool spec_file_is_directory_of_one(const char *directory); /* holds a file kernel.json */
bool spec_name_is_valid(const char *name);

void spec_problem_add(json_t *problems, const char *file, int line, const char *field,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));
