/* elara migrate [FILE...] */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin.h"
#include "gateway/migrate.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* JEG itself ends no kernel; its container and its chart do, and have variables and values. */
static void add_own_default(struct migration *migration, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!text_ends_with(argv[i], ".py") && !text_ends_with(argv[i], ".json"))
            return;
    if (argc > 1)
        migration_set_text(migration, "EG_CULL_IDLE_TIMEOUT", "0", "cull_idle_timeout",
                           "default of JEG itself", MIGRATE_SCRIPT);
}

static int read_file(struct migration *migration, const char *path, struct error *err) {
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return migrate_kernelspecs(migration, path, err);
    cleanup_buffer struct buffer file = {.limit = MIGRATE_FILE_MAX + 1};
    if (file_read(path, MIGRATE_FILE_MAX, &file, err) < 0)
        return -1;
    const char *text = buffer_text(&file);
    if (strlen(text) != file.length)
        return error_set(err, ERROR_INVALID, "%s: holds NUL bytes, so it is no text", path);
    if (text_ends_with(path, ".py"))
        migrate_python(migration, text, path);
    else if (text_ends_with(path, ".json"))
        return migrate_json(migration, text, file.length, path, err);
    else if (text_ends_with(path, ".yaml") || text_ends_with(path, ".yml"))
        return migrate_yaml(migration, text, file.length, path, err);
    else
        migrate_environment(migration, text, path);
    return 0;
}

int admin_migrate(int argc, char **argv, struct error *err) {
    cleanup_buffer struct buffer sources = {.limit = 4096};
    struct migration *migration = migration_create();
    const char *policy = NULL;
    int failed = option_take_flag(&argc, argv, "policy", &policy) && policy == NULL
                     ? error_set(err, ERROR_INVALID, "--policy: needs the name of a new file")
                     : 0;
    for (int i = 1; i < argc && failed == 0; i++) {
        if (argv[i][0] == '-')
            failed =
                error_set(err, ERROR_INVALID, "%.64s: what is that? Names of files only", argv[i]);
        else
            failed = read_file(migration, argv[i], err);
        buffer_printf(&sources, "%s%s", i > 1 ? ", " : "", argv[i]);
    }
    if (failed == 0 && argc <= 1) {
        migrate_process(migration, environ);
        buffer_append_text(&sources, "the EG_ and KG_ variables of an environment");
    }
    size_t troubles = 0;
    add_own_default(migration, argc, argv);
    migration_add_defaults(migration);
    if (failed == 0 && policy != NULL)
        failed = migration_write_policy(migration, policy, buffer_text(&sources), err);
    if (failed == 0)
        troubles = migration_print(migration, buffer_text(&sources), stdout);
    if (troubles > 0)
        fprintf(stderr,
                "elara migrate: %zu thing%s not understood; the end of the output names "
                "them\n",
                troubles, troubles == 1 ? " was" : "s were");
    migration_destroy(migration);
    return failed < 0 ? -1 : troubles > 0 ? 1 : 0;
}
