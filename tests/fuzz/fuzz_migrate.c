/* Set-ups of Enterprise Gateway, of which the first byte says what kind it is: whatever they hold,
 * what elara migrate prints is YAML that its settings can be read from. */
#include "base/buffer.h"
#include "base/yaml.h"
#include "gateway/migrate.h"
#include "gateway/settings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void read_back(const struct migration *migration) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    migration_print(migration, "fuzz", out);
    fclose(out);
    json_t *file = NULL;
    struct error err = {0};
    struct settings settings = {0};
    int failed = yaml_parse(text, length, &file, &err);
    assert(failed == 0);
    struct option_input input = {.file = json_is_null(file) ? NULL : file, .file_name = "printed"};
    failed = option_load(settings_table(), &input, &settings, NULL, &err);
    assert(failed == 0);
    option_free(settings_table(), &settings);
    json_decref(file);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || memchr(data + 1, '\0', size - 1) != NULL)
        return 0;
    char *text = strndup((const char *)data + 1, size - 1);
    struct migration *migration = migration_create();
    switch (data[0]) {
    case 'p':
        migrate_python(migration, text, "c.py");
        break;
    case 'j':
        migrate_json(migration, text, strlen(text), "c.json", NULL);
        break;
    case 'y':
        migrate_yaml(migration, text, strlen(text), "v.yaml", NULL);
        break;
    default:
        migrate_environment(migration, text, "env");
    }
    read_back(migration);
    migration_destroy(migration);
    free(text);
    return 0;
}
