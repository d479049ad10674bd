#include "kernelspecs/search_path.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { DIRECTORIES_MAX = 64 };

struct path_list {
    char **directories; /* NULL-terminated */
    size_t count;
};

static const char *variable(char *const *environment, const char *name) {
    size_t length = strlen(name);
    for (; environment != NULL && *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

/* Set and not empty. */
static const char *variable_text(char *const *environment, const char *name) {
    const char *value = variable(environment, name);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* jupyter_core's envset: everything but these words is a yes, an empty text too. */
static bool is_yes(const char *value) {
    static const char *const no[] = {"no", "n", "false", "off", "0", "0.0"};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (strcasecmp(value, no[i]) == 0)
            return false;
    return true;
}

static char *home_directory(char *const *environment) {
    const char *home = variable_text(environment, "HOME");
    const struct passwd *user = home == NULL ? getpwuid(geteuid()) : NULL;
    if (user != NULL)
        home = user->pw_dir;
    char *real = home != NULL ? realpath(home, NULL) : NULL;
    return real != NULL ? real : memory_strdup(home != NULL ? home : "/");
}

/* base + "/" + tail (NULL: nothing), absolute and without slashes at its end. */
static char *join(const char *base, const char *tail) {
    while (base[0] == '.' && (base[1] == '/' || base[1] == '\0')) /* "./specs", "." */
        base += base[1] == '/' ? 2 : 1;
    cleanup_free char *stem = memory_strdup(base);
    for (size_t length = strlen(stem); length > 0 && stem[length - 1] == '/'; length--)
        stem[length - 1] = '\0';
    cleanup_free char *here = *base != '/' ? getcwd(NULL, 0) : NULL;
    char *joined = memory_printf("%s%s%s%s%s", here != NULL ? here : "",
                                 here != NULL && *stem != '\0' ? "/" : "", stem,
                                 tail != NULL ? "/" : "", tail != NULL ? tail : "");
    if (*joined != '\0')
        return joined;
    free(joined);
    return memory_strdup("/");
}

static void add(struct path_list *list, char *directory /* stolen */) {
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->directories[i], directory) == 0) {
            free(directory);
            return;
        }
    }
    if (list->count == DIRECTORIES_MAX) {
        free(directory);
        return;
    }
    list->directories[list->count++] = directory;
}

static void add_each(struct path_list *list, const char *texts, const char *tail) {
    cleanup_free char *copy = memory_strdup(texts);
    char *rest = NULL;
    for (char *text = strtok_r(copy, ":", &rest); text != NULL; text = strtok_r(NULL, ":", &rest))
        add(list, join(text, tail));
}

static void add_user(struct path_list *list, char *const *environment, const char *home,
                     bool in_virtualenv) {
    const char *data = variable_text(environment, "JUPYTER_DATA_DIR");
    const char *xdg = variable_text(environment, "XDG_DATA_HOME");
    const char *base = variable_text(environment, "PYTHONUSERBASE");
    if (data != NULL)
        add(list, join(data, "kernels"));
    else if (xdg != NULL)
        add(list, join(xdg, "jupyter/kernels"));
    else
        add(list, join(home, ".local/share/jupyter/kernels"));
    /* Python's user site, which a virtual environment and PYTHONNOUSERSITE turn off. */
    if (in_virtualenv || variable_text(environment, "PYTHONNOUSERSITE") != NULL)
        return;
    add(list, base != NULL ? join(base, "share/jupyter/kernels")
                           : join(home, ".local/share/jupyter/kernels"));
}

/* The prefix of the active Python environment, NULL when there is none; *ret: it comes before the
 * user's directories. */
static const char *active_prefix(char *const *environment, bool *ret) {
    const char *virtualenv = variable_text(environment, "VIRTUAL_ENV");
    const char *conda = variable_text(environment, "CONDA_PREFIX");
    const char *conda_name = variable_text(environment, "CONDA_DEFAULT_ENV");
    const char *prefix = virtualenv != NULL ? virtualenv : conda;
    struct stat found;
    bool ours = prefix != NULL && stat(prefix, &found) == 0 && found.st_uid == geteuid();
    bool root_conda = virtualenv == NULL && (conda_name == NULL || strcmp(conda_name, "base") == 0);
    const char *wish = variable(environment, "JUPYTER_PREFER_ENV_PATH");
    *ret = wish != NULL ? is_yes(wish) : ours && !root_conda;
    return prefix;
}

static struct path_list new_list(void) {
    return (struct path_list){.directories = memory_alloc((DIRECTORIES_MAX + 1) * sizeof(char *))};
}

static void add_system(struct path_list *list, char *const *environment) {
    const char *platform = variable(environment, "JUPYTER_PLATFORM_DIRS");
    const char *shared = variable_text(environment, "XDG_DATA_DIRS");
    bool from_xdg = platform != NULL && is_yes(platform) && shared != NULL;
    add_each(list, from_xdg ? shared : "/usr/local/share:/usr/share", "jupyter/kernels");
}

/* The directory of the prefix; NULL when there is none, or it is one of the system's, which keep
 * their place. */
static char *prefix_directory(char *const *environment, const char *prefix) {
    struct path_list system = new_list();
    char *directory = prefix != NULL ? join(prefix, "share/jupyter/kernels") : NULL;
    add_system(&system, environment);
    for (size_t i = 0; directory != NULL && i < system.count; i++) {
        if (strcmp(system.directories[i], directory) == 0) {
            free(directory);
            directory = NULL;
        }
    }
    search_path_free(system.directories);
    return directory;
}

char **search_path_create(char *const *environment) {
    struct path_list list = new_list();
    cleanup_free char *home = home_directory(environment);
    bool prefix_first = false;
    const char *prefix = active_prefix(environment, &prefix_first);
    cleanup_free char *of_prefix = prefix_directory(environment, prefix);
    bool in_virtualenv = variable_text(environment, "VIRTUAL_ENV") != NULL;
    const char *extra = variable_text(environment, "JUPYTER_PATH");
    const char *ipython = variable_text(environment, "IPYTHONDIR");

    if (extra != NULL)
        add_each(&list, extra, "kernels");
    if (of_prefix != NULL && prefix_first)
        add(&list, memory_strdup(of_prefix));
    add_user(&list, environment, home, in_virtualenv);
    if (of_prefix != NULL)
        add(&list, memory_strdup(of_prefix));
    add_system(&list, environment);
    add(&list, ipython != NULL ? join(ipython, "kernels") : join(home, ".ipython/kernels"));
    return list.directories;
}

char **search_path_copy(char *const *directories) {
    struct path_list list = new_list();
    for (; *directories != NULL; directories++)
        if (**directories != '\0')
            add(&list, join(*directories, NULL));
    return list.directories;
}

void search_path_free(char **path) {
    for (size_t i = 0; path != NULL && path[i] != NULL; i++)
        free(path[i]);
    free(path);
}
