/* YAML of any bytes: refused with a message, or a tree that can be written as JSON, and its
 * lines. */
#include "base/yaml.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    json_t *json = NULL, *lines = NULL;
    if (yaml_parse_lines((const char *)data, size, &json, &lines, &err) < 0) {
        assert(json == NULL && lines == NULL && err.code != ERROR_NONE && err.text[0] != '\0');
        return 0;
    }
    char *text = json_dumps(json, JSON_ENCODE_ANY);
    assert(text != NULL && strlen(text) > 0);
    free(text);
    assert(json_is_object(lines));
    json_decref(lines);
    json_decref(json);
    return 0;
}
