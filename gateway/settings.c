#include "gateway/settings.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/yaml.h"
#include "gateway/admin_settings.h"
#include "gateway/settings_legacy.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/un.h>

#define LOG_AREA "gateway/settings"

enum {
    CONFIG_FILE_MAX = 1 << 20,
    BASE_URL_MAX = 1024,
    /* "/kernels/<uuid>/link" has to fit behind it into a UNIX socket's address. */
    RUNTIME_DIR_MAX = (int)(sizeof(((struct sockaddr_un *)0)->sun_path) - 1 - 50),
};

struct settings_origin {
    int argc;
    char **argv; /* our copy of the array: taking flags changes it */
    char *const *environment;
    struct option_source *sources;
};

static size_t table_size(void) {
    size_t count = 0;
    while (settings_table()[count].name != NULL)
        count++;
    return count;
}

static struct settings_origin *origin_create(int argc, char **argv, char *const *environment) {
    struct settings_origin *origin = memory_alloc(sizeof *origin);
    origin->argc = argc;
    origin->argv = memory_alloc(((size_t)argc + 1) * sizeof *origin->argv);
    memcpy(origin->argv, argv, (size_t)argc * sizeof *argv);
    origin->environment = environment;
    origin->sources = memory_alloc(table_size() * sizeof *origin->sources);
    return origin;
}

static void origin_destroy(struct settings_origin *origin) {
    if (origin == NULL)
        return;
    free(origin->argv);
    free(origin->sources);
    free(origin);
}

static const char *environment_get(char *const *environment, const char *name) {
    size_t length = strlen(name);
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

static int read_config_file(const char *path, json_t **ret, json_t **lines, struct error *err) {
    cleanup_buffer struct buffer text = {.limit = CONFIG_FILE_MAX};
    if (file_read(path, CONFIG_FILE_MAX, &text, err) < 0)
        return error_wrap(err, "the configuration file %s", path);
    if (yaml_parse_lines(buffer_text(&text), text.length, ret, lines, err) < 0)
        return error_wrap(err, "%s", path);
    if (json_is_null(*ret)) { /* all of it is commented out */
        json_decref(*ret);
        *ret = json_object();
    }
    if (!json_is_object(*ret)) {
        json_decref(*ret);
        *ret = NULL;
        return error_set(err, ERROR_INVALID, "%s: must be lines of 'setting: value'", path);
    }
    struct stat status;
    if (json_object_get(*ret, "auth_token") != NULL && stat(path, &status) == 0 &&
        (status.st_mode & 077) != 0)
        log_warning("%s holds a token and can be read by others: chmod 600 it", path);
    return 0;
}

static int check_base_url(struct settings *settings, struct error *err) {
    const char *given = settings->base_url != NULL ? settings->base_url : "";
    size_t allowed = strspn(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                   "-._~/@:+");
    if (given[allowed] != '\0' || strlen(given) > BASE_URL_MAX || strstr(given, "//") != NULL ||
        strstr(given, "..") != NULL)
        return error_set(
            err, ERROR_INVALID,
            "base-url: must be a path such as /gateway/ of letters, digits, - . _ ~ @ : + and /");
    size_t length = strlen(given);
    char *whole = memory_printf("%s%s%s", given[0] == '/' ? "" : "/", given,
                                length > 0 && given[length - 1] != '/' ? "/" : "");
    free(settings->base_url);
    settings->base_url = whole;
    return 0;
}

/* JEG's start script takes lists as Python or shell writes them, quotes included, and "null" for
 * none. */
static void unquote_list(char **list) {
    if (list[0] != NULL && list[1] == NULL && strcmp(list[0], "null") == 0) {
        free(list[0]);
        list[0] = NULL;
    }
    for (; *list != NULL; list++) {
        size_t length = strlen(*list);
        char quote = **list;
        if (length < 2 || (quote != '\'' && quote != '"') || (*list)[length - 1] != quote)
            continue;
        memmove(*list, *list + 1, length - 2);
        (*list)[length - 2] = '\0';
    }
}

static char *default_runtime_dir(char *const *environment) {
    const char *xdg = environment_get(environment, "XDG_RUNTIME_DIR");
    if (xdg != NULL && xdg[0] == '/' && strlen(xdg) + strlen("/elara") <= (size_t)RUNTIME_DIR_MAX)
        return memory_printf("%s/elara", xdg);
    if (geteuid() == 0)
        return memory_strdup("/run/elara");
    return memory_printf("/tmp/elara-%lu", (unsigned long)geteuid());
}

static int find_runtime_dir(struct settings *settings, struct error *err) {
    if (settings->runtime_dir == NULL || settings->runtime_dir[0] == '\0') {
        free(settings->runtime_dir);
        settings->runtime_dir = default_runtime_dir(settings->origin->environment);
    }
    if (settings->runtime_dir[0] != '/') {
        cleanup_free char *here = getcwd(NULL, 0);
        if (here == NULL)
            return error_set(err, ERROR_INVALID, "runtime-dir: must be an absolute path");
        char *whole = memory_printf("%s/%s", here, settings->runtime_dir);
        free(settings->runtime_dir);
        settings->runtime_dir = whole;
    }
    return 0;
}

static void default_launcher(struct settings *settings) {
    if (settings->launcher != NULL && settings->launcher[0] != '\0')
        return;
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/');
    free(settings->launcher);
    settings->launcher = slash == NULL
                             ? memory_strdup("/usr/bin/elara-launcher")
                             : memory_printf("%.*s/elara-launcher", (int)(slash - path), path);
}

static int check_tls(const struct settings *settings, struct error *err) {
    bool has_certificate = settings->certfile != NULL && settings->certfile[0] != '\0';
    bool has_key = settings->keyfile != NULL && settings->keyfile[0] != '\0';
    bool has_ca = settings->client_ca != NULL && settings->client_ca[0] != '\0';
    if (has_key && !has_certificate)
        return error_set(err, ERROR_INVALID, "keyfile is set without certfile");
    if (has_ca && !has_certificate)
        return error_set(err, ERROR_INVALID, "client-ca is set without certfile: it needs TLS");
    return 0;
}

/* What one row alone cannot say. */
static int finish(struct settings *settings, struct error *err) {
    enum log_level level;
    if (log_level_parse(settings->log_level, &level) < 0)
        return error_set(err, ERROR_INVALID,
                         "log-level: '%s' must be DEBUG, INFO, WARNING or ERROR",
                         settings->log_level);
    unquote_list(settings->allowed_kernelspecs);
    unquote_list(settings->denied_kernelspecs);
    unquote_list(settings->client_envs);
    unquote_list(settings->inherited_envs);
    unquote_list(settings->authorized_users);
    unquote_list(settings->unauthorized_users);
    default_launcher(settings);
    if (check_base_url(settings, err) < 0 || find_runtime_dir(settings, err) < 0)
        return -1;
    return check_tls(settings, err);
}

static int load(struct settings *settings, struct error *err) {
    struct settings_origin *origin = settings->origin;
    const char *file_name = environment_get(origin->environment, "ELARA_CONFIG");
    cleanup_json json_t *file = NULL, *lines = NULL;
    char **argv = memory_alloc(((size_t)origin->argc + 1) * sizeof *argv);
    memcpy(argv, origin->argv, (size_t)origin->argc * sizeof *argv);
    int argc = origin->argc;
    int failed = 0;
    if (option_take_flag(&argc, argv, "config", &file_name) && file_name == NULL)
        failed = error_set(err, ERROR_INVALID, "--config: needs the name of a file");
    if (failed == 0 && file_name != NULL && file_name[0] != '\0')
        failed = read_config_file(file_name, &file, &lines, err);
    if (failed == 0)
        failed = option_load(settings_table(),
                             &(struct option_input){.argc = argc,
                                                    .argv = argv,
                                                    .environment = origin->environment,
                                                    .file = file,
                                                    .file_name = file_name,
                                                    .lines = lines},
                             settings, origin->sources, err);
    if (failed == 0)
        failed = finish(settings, err);
    free(argv);
    return failed;
}

void settings_set_log(const struct settings *settings) {
    enum log_level level;
    enum log_format format;
    if (log_level_parse(settings->log_level, &level) == 0)
        log_set_level(level);
    if (log_format_parse(settings->log_format, &format) == 0)
        log_set_format(format);
}

static void warn_unknown(char *const *environment, const char *prefix) {
    size_t at = 0;
    const char *name;
    while ((name = option_next_unknown(settings_table(), environment, prefix, &at)) != NULL) {
        int length = (int)strcspn(name, "=");
        if (text_equal_n(name, (size_t)length, "ELARA_CONFIG") ||
            option_names_variable(admin_settings_table(), name, (size_t)length))
            continue;
        const char *note = settings_legacy_note(name);
        if (note != NULL)
            log_warning("%.*s is set, but does nothing: %s", length, name, note);
        else
            log_warning("%.*s is set, but no setting has that name (see --help)", length, name);
    }
}

int settings_create(int argc, char **argv, char *const *environment, struct settings **ret,
                    struct error *err) {
    struct settings *settings = memory_alloc(sizeof *settings);
    settings->origin = origin_create(argc, argv, environment);
    if (load(settings, err) < 0) {
        settings_destroy(settings);
        return -1;
    }
    settings_set_log(settings);
    warn_unknown(settings->origin->environment, "EG_");
    warn_unknown(settings->origin->environment, "KG_");
    warn_unknown(settings->origin->environment, "ELARA_");
    *ret = settings;
    return 0;
}

void settings_destroy(struct settings *settings) {
    if (settings == NULL)
        return;
    option_free(settings_table(), settings);
    origin_destroy(settings->origin);
    free(settings);
}

static bool text_is_same(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool list_is_same(char *const *a, char *const *b) {
    while (*a != NULL && *b != NULL && strcmp(*a, *b) == 0)
        a++, b++;
    return *a == NULL && *b == NULL;
}

/* A setting's field, whatever its type. */
union value {
    bool on;
    int64_t number;
    char *text;
    char **list;
    json_t *mapping;
};

static size_t value_size(const struct option_row *row) {
    switch (row->type) {
    case OPTION_BOOL:
        return sizeof(bool);
    case OPTION_INT:
    case OPTION_DURATION:
    case OPTION_BYTES:
        return sizeof(int64_t);
    case OPTION_TEXT:
    case OPTION_ENUM:
    case OPTION_LIST:
    case OPTION_MAPPING:
        break;
    }
    return sizeof(char *);
}

static bool value_is_same(const struct option_row *row, const union value *a,
                          const union value *b) {
    if (row->type == OPTION_LIST)
        return list_is_same(a->list, b->list);
    if (row->type == OPTION_TEXT || row->type == OPTION_ENUM)
        return text_is_same(a->text, b->text);
    if (row->type == OPTION_MAPPING)
        return a->mapping == b->mapping || json_equal(a->mapping, b->mapping);
    return memcmp(a, b, value_size(row)) == 0;
}

static void take_changed(struct settings *settings, struct settings *fresh) {
    for (const struct option_row *row = settings_table(); row->name != NULL; row++) {
        char *mine = (char *)settings + row->offset, *new = (char *)fresh + row->offset;
        size_t size = value_size(row);
        union value before = {0}, after = {0};
        memcpy(&before, mine, size);
        memcpy(&after, new, size);
        if (value_is_same(row, &before, &after))
            continue;
        if ((row->flags & OPTION_RELOAD) == 0) {
            log_warning("%s has changed, which takes effect with the next start", row->name);
            continue;
        }
        memcpy(mine, &after, size); /* swapped, so that the old value is freed with fresh */
        memcpy(new, &before, size);
        log_info("%s has changed", row->name);
    }
}

int settings_reload(struct settings *settings, struct error *err) {
    struct settings *fresh = memory_alloc(sizeof *fresh);
    fresh->origin = origin_create(settings->origin->argc, settings->origin->argv,
                                  settings->origin->environment);
    if (load(fresh, err) < 0) {
        settings_destroy(fresh);
        return -1;
    }
    take_changed(settings, fresh);
    settings_destroy(fresh);
    return 0;
}

bool settings_ip_is_loopback(const char *ip) {
    struct in_addr v4;
    struct in6_addr v6;
    if (strcasecmp(ip, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, ip, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, ip, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    return false;
}

int settings_check_exposure(const struct settings *settings, struct error *err) {
    const char *ip = settings->ip != NULL ? settings->ip : "";
    bool has_token = (settings->auth_token != NULL && settings->auth_token[0] != '\0') ||
                     (settings->auth_token_file != NULL && settings->auth_token_file[0] != '\0');
    if (has_token || settings->insecure || settings_ip_is_loopback(ip) ||
        (settings->client_ca != NULL && settings->client_ca[0] != '\0'))
        return 0;
    return error_set(
        err, ERROR_DENIED,
        "will not listen on '%s' without a token: whoever reaches the port could run code. Set "
        "EG_AUTH_TOKEN or --auth-token-file, or listen on 127.0.0.1, or take the risk with "
        "--insecure",
        ip);
}

int settings_check_runtime_dir(const struct settings *settings, struct error *err) {
    if (strlen(settings->runtime_dir) > (size_t)RUNTIME_DIR_MAX)
        return error_set(err, ERROR_INVALID,
                         "runtime-dir: %s is too long for the sockets in it (at most %d bytes)",
                         settings->runtime_dir, RUNTIME_DIR_MAX);
    return 0;
}

void settings_print_config(const struct settings *settings, FILE *out) {
    option_print_config(settings_table(), settings, settings->origin->sources, out);
}

void settings_print_help(FILE *out) {
    fputs("Usage: elara-gateway [--config FILE] [settings]\n\n"
          "Serves Jupyter kernels over HTTP and WebSocket. A setting comes from its flag, else its "
          "variable,\n"
          "else the YAML file that --config or ELARA_CONFIG names, else its default.\n\n"
          "  --config FILE     YAML file of settings (max_kernels: 10)\n"
          "  --show-config     print the settings in effect and where each came from\n"
          "  --version         print the version\n"
          "  --help            print this\n\n",
          out);
    option_print_help(settings_table(), out);
}

static void print_admin_reference(FILE *out) {
    fputs("\n## The program elara\n\n"
          "The verbs of `elara` that speak to a running gateway (`elara help`) read these. To the "
          "gateway itself they\n"
          "mean nothing, but for the two `AUTH_TOKEN`s that are its own.\n\n"
          "| Flag | Environment | Default | Meaning |\n"
          "| --- | --- | --- | --- |\n",
          out);
    for (const struct option_row *row = admin_settings_table(); row->name != NULL; row++) {
        fprintf(out, row->flags & OPTION_SECRET ? "| no flag | `" : "| `--%s` | `", row->name);
        for (const char *at = row->environment; *at != '\0'; at++)
            *at == ',' ? fputs("`<br>`", out) : fputc(*at, out);
        const char *quote = row->fallback != NULL ? "`" : "";
        fprintf(out, "` | %s%s%s | %s |\n", quote, row->fallback != NULL ? row->fallback : "",
                quote, row->help);
    }
}

void settings_print_reference(FILE *out) {
    fputs("# Configuration\n\n"
          "Written by `elara-gateway --print-configuration-reference`; do not edit.\n\n"
          "A setting comes from its flag, else from the first of its variables that is set, else "
          "from the YAML\n"
          "file that `--config` or `ELARA_CONFIG` names, else it has its default. In YAML a name "
          "is written with\n"
          "`_` for `-` (`max_kernels: 10`). `elara-gateway --show-config` prints what is in effect "
          "and where each\n"
          "value came from. A variable that begins with `EG_`, `KG_` or `ELARA_` and names no "
          "setting is warned\n"
          "about at start.\n\n"
          "Durations are `500ms`, `30s`, `5m`, `4h`, `2d` or plain seconds; sizes are bytes or "
          "`64k`, `10M`,\n"
          "`1G`; lists are separated by commas. SIGHUP reads everything again and applies what can "
          "change\n"
          "without a restart. A secret is never a flag, because everybody on the machine can read "
          "flags.\n\n",
          out);
    option_print_markdown(settings_table(), out);
    print_admin_reference(out);
}
