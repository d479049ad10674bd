/* Trees for the tests of what is made for Kubernetes. */
#pragma once

#include "base/yaml.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline json_t *tree_of(const char *yaml) {
    struct error err = {0};
    json_t *tree = NULL;
    if (yaml_parse(yaml, strlen(yaml), &tree, &err) < 0)
        fail_msg("%s", err.text);
    return tree;
}

/* "spec/containers/0/image"; a key's "/" is written as "~". */
static inline json_t *at(const json_t *tree, const char *path) {
    char *copy = strdup(path), *save = NULL;
    for (char *step = strtok_r(copy, "/", &save); step; step = strtok_r(NULL, "/", &save)) {
        for (char *c = step; *c != '\0'; c++)
            if (*c == '~')
                *c = '/';
        tree = json_is_array(tree) ? json_array_get(tree, (size_t)atoi(step))
                                   : json_object_get(tree, step);
    }
    free(copy);
    return (json_t *)(uintptr_t)tree;
}

static inline const char *text_at(const json_t *tree, const char *path) {
    return json_string_value(at(tree, path));
}

/* The value as JSON against `expected`; NULL: there is none. */
static inline void assert_value(const json_t *tree, const char *path, const char *expected) {
    char *text = json_dumps(at(tree, path), JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    const char *got = text != NULL ? text : "missing";
    const char *wanted = expected != NULL ? expected : "missing";
    if (strcmp(got, wanted) != 0)
        fail_msg("%s is %s, not %s", path, got, wanted);
    free(text);
}

static inline void assert_has(const char *text, const char *part) {
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", text, part);
}
