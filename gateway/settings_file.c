/* The settings' YAML file, by itself. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/yaml.h"
#include "gateway/settings_internal.h"

#include <string.h>
#include <sys/stat.h>

enum { CONFIG_FILE_MAX = 1 << 20 };

static void warn_of_mode(const char *path, const struct option_input *listener) {
    struct stat status;
    if (listener == NULL || listener->notice == NULL || stat(path, &status) < 0 ||
        (status.st_mode & 077) == 0)
        return;
    cleanup_free char *text =
        memory_printf("%s holds a token and can be read by others: chmod 600 it", path);
    listener->notice(listener->context, text);
}

int settings_read_file(const char *path, const struct option_input *listener, json_t **ret,
                       json_t **lines, struct error *err) {
    cleanup_buffer struct buffer text = {.limit = CONFIG_FILE_MAX};
    cleanup_json json_t *tree = NULL;
    if (file_read(path, CONFIG_FILE_MAX, &text, err) < 0)
        return error_wrap(err, "the configuration file %s", path);
    if (yaml_parse_lines(buffer_text(&text), text.length, &tree, lines, err) < 0)
        return error_wrap(err, "%s", path);
    if (json_is_null(tree)) { /* all of it is commented out */
        json_decref(tree);
        tree = json_object();
    }
    if (!json_is_object(tree))
        return error_set(err, ERROR_INVALID, "%s: must be lines of 'setting: value'", path);
    if (json_object_get(tree, "auth_token") != NULL)
        warn_of_mode(path, listener);
    *ret = steal(&tree);
    return 0;
}

/* ---- elara config check ---- */

struct check {
    settings_tell *tell;
    void *context;
    size_t problems;
};

static void on_problem(void *context, const struct error *err) {
    struct check *check = context;
    check->problems++;
    check->tell(check->context, true, err->text);
}

static void on_notice(void *context, const char *text) {
    struct check *check = context;
    check->tell(check->context, false, text);
}

/* What is wrong with values that are good one by one; the file may be meant for another machine. */
static void check_whole(struct check *check, const struct settings *settings) {
    const char *const files[] = {settings->certfile, settings->keyfile, settings->client_ca,
                                 settings->auth_token_file};
    struct error err = {0};
    if (settings_check_runtime_dir(settings, &err) < 0)
        on_problem(check, &err);
    if (settings_check_exposure(settings, &err) < 0)
        check->tell(check->context, false, err.text);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (files[i] == NULL || *files[i] == '\0' || access(files[i], R_OK) == 0)
            continue;
        cleanup_free char *text = memory_printf("%s cannot be read here", files[i]);
        check->tell(check->context, false, text);
    }
}

size_t settings_check_file(const char *path, char *const *environment, settings_tell *tell,
                           void *context) {
    char *const none[] = {NULL};
    char program[] = "elara", flag[] = "--config";
    char *name = memory_strdup(path);
    char *argv[] = {program, flag, name, NULL};
    struct check check = {.tell = tell, .context = context};
    struct option_input listener = {.problem = on_problem, .notice = on_notice, .context = &check};
    struct error err = {0};
    struct settings *settings = settings_create_empty(3, argv, none);
    if (settings_load(settings, &listener, &err) == 0)
        check_whole(&check, settings);
    else if (check.problems == 0) /* the file itself, or what finish() looks at */
        on_problem(&check, &err);
    settings_note_unknown(environment != NULL ? environment : none, &listener);
    settings_destroy(settings);
    free(name);
    return check.problems;
}
