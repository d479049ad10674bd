#include "nfs/home_path.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "nfs/home.h"

#include <string.h>

#define USER "{user}"

int home_path_check(const char *path, int is_absolute, const char *what, struct error *err) {
    const char *at = path;
    if (is_absolute ? *path != '/' : *path == '/' || *path == '\0')
        return error_set(err, ERROR_INVALID, "%s: \"%.200s\" must %s", what, path,
                         is_absolute ? "begin with a slash" : "be a path without a slash in front");
    if (strlen(path) > HOME_PATH_MAX)
        return error_set(err, ERROR_INVALID, "%s: longer than %d bytes", what, HOME_PATH_MAX);
    if (strcmp(path, "/") == 0)
        return 0;
    at += is_absolute ? 1 : 0;
    for (int count = 1;; count++) {
        size_t length = strcspn(at, "/");
        if (length == 0 || text_equal_n(at, length, ".") || text_equal_n(at, length, ".."))
            return error_set(err, ERROR_INVALID,
                             "%s: \"%.200s\" has an empty part, \".\" or \"..\"", what, path);
        if (count > HOME_COMPONENTS_MAX / 2)
            return error_set(err, ERROR_INVALID, "%s: more than %d directories deep", what,
                             HOME_COMPONENTS_MAX / 2);
        at += length;
        if (*at++ == '\0')
            return 0;
    }
}

int home_template_check(const char *template, const char *what, struct error *err) {
    const char *user = strstr(template, USER);
    if (user == NULL)
        return error_set(err, ERROR_INVALID,
                         "%s: \"%.200s\" must have " USER
                         " in it: without it all users would have one directory",
                         what, template);
    if (strchr(user, '/') != NULL)
        return error_set(err, ERROR_INVALID,
                         "%s: \"%.200s\" must have nothing behind the part with " USER
                         ": what lies in users' directories they can replace by links",
                         what, template);
    return home_path_check(template, 0, what, err);
}

int home_template_fill(const char *template, const char *user, char **ret, size_t *given,
                       struct error *err) {
    cleanup_buffer struct buffer out = {.limit = 2 * HOME_PATH_MAX};
    if (home_template_check(template, "home-path", err) < 0)
        return -1;
    *given = 0;
    for (const char *at = template, *first = strstr(template, USER); at < first; at++)
        *given += *at == '/' ? 1 : 0;
    int failed = 0;
    const char *at = template;
    for (const char *next; (next = strstr(at, USER)) != NULL; at = next + strlen(USER))
        failed |= buffer_append(&out, at, (size_t)(next - at)) | buffer_append_text(&out, user);
    failed |= buffer_append_text(&out, at);
    if (failed != 0)
        return error_set(err, ERROR_LIMIT, "home-path: too long for the user's name");
    if (home_path_check(buffer_text(&out), 0, "home-path", err) < 0)
        return -1;
    *ret = memory_strdup(buffer_text(&out));
    return 0;
}

int home_path_is_below(const char *path, const char *directory) {
    size_t length = strlen(directory);
    while (length > 0 && directory[length - 1] == '/')
        length--;
    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0') &&
           strstr(path, "/../") == NULL && !text_ends_with(path, "/..");
}
