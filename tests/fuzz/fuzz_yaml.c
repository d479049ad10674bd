/* YAML of any bytes: refused with a message, or a tree that can be written as JSON. */
#include "base/yaml.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    json_t *json = NULL;
    if (yaml_parse((const char *)data, size, &json, &err) < 0) {
        assert(json == NULL && err.code != ERROR_NONE && err.text[0] != '\0');
        return 0;
    }
    char *text = json_dumps(json, JSON_ENCODE_ANY);
    assert(text != NULL && strlen(text) > 0);
    free(text);
    json_decref(json);
    return 0;
}
