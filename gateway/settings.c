#include "gateway/settings.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/admin_settings.h"
#include "gateway/settings_internal.h"
#include "gateway/settings_legacy.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define LOG_AREA "gateway/settings"

enum {
    /* "/kernels/<uuid>/link" has to fit behind it into a UNIX socket's address. */
    RUNTIME_DIR_MAX = (int)(sizeof(((struct sockaddr_un *)0)->sun_path) - 1 - 50),
};

struct settings *settings_create_empty(int argc, char **argv, char *const *environment) {
    struct settings *settings = memory_alloc(sizeof *settings);
    struct settings_origin *origin = memory_alloc(sizeof *origin);
    origin->argc = argc;
    origin->argv = memory_alloc(((size_t)argc + 1) * sizeof *origin->argv);
    memcpy(origin->argv, argv, (size_t)argc * sizeof *argv);
    origin->environment = environment;
    for (const struct option_row *row = settings_table(); row->name != NULL; row++)
        origin->row_count++;
    origin->sources = memory_alloc(origin->row_count * sizeof *origin->sources);
    origin->started = memory_alloc(origin->row_count * sizeof *origin->started);
    settings->origin = origin;
    return settings;
}

void settings_destroy(struct settings *settings) {
    if (settings == NULL)
        return;
    struct settings_origin *origin = settings->origin;
    option_free(settings_table(), settings);
    for (size_t i = 0; i < origin->row_count; i++)
        free(origin->started[i]);
    for (size_t i = 0; i < SETTINGS_PARTS; i++)
        free(origin->problems[i].text);
    free(origin->pending);
    free(origin->started);
    free(origin->sources);
    free(origin->argv);
    free(origin);
    free(settings);
}

static const char *environment_get(char *const *environment, const char *name) {
    size_t length = strlen(name);
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

static void normalise_base_url(struct settings *settings) {
    const char *given = settings->base_url != NULL ? settings->base_url : "";
    size_t length = strlen(given);
    char *whole = memory_printf("%s%s%s", given[0] == '/' ? "" : "/", given,
                                length > 0 && given[length - 1] != '/' ? "/" : "");
    free(settings->base_url);
    settings->base_url = whole;
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
    if (!has_ca && strcmp(settings->certificate_user, "none") != 0)
        return error_set(err, ERROR_INVALID,
                         "client-certificate-user is set without client-ca, which says whose "
                         "certificates count");
    return 0;
}

/* A certificate or a proxy's login is shown by browsers by themselves, whatever page asks. */
static int check_origin(const struct settings *settings, struct error *err) {
    bool has_certificates = strcmp(settings->certificate_user, "none") != 0;
    if (text_or_null(settings->allow_origin) == NULL || strcmp(settings->allow_origin, "*") != 0 ||
        (!has_certificates && text_or_null(settings->proxy_user_header) == NULL))
        return 0;
    return error_set(err, ERROR_INVALID,
                     "allow-origin: must not be \"*\" beside %s, or every page that a user opens "
                     "could do what he may: name the one origin that is yours",
                     has_certificates ? "client-certificate-user" : "proxy-user-header");
}

/* What one row alone cannot say. */
static int finish(struct settings *settings, struct error *err) {
    unquote_list(settings->allowed_kernelspecs);
    unquote_list(settings->denied_kernelspecs);
    unquote_list(settings->client_envs);
    unquote_list(settings->inherited_envs);
    unquote_list(settings->authorized_users);
    unquote_list(settings->unauthorized_users);
    unquote_list(settings->kubernetes.prohibited_uids);
    unquote_list(settings->kubernetes.prohibited_gids);
    default_launcher(settings);
    normalise_base_url(settings);
    return find_runtime_dir(settings, err) < 0 || check_tls(settings, err) < 0
               ? -1
               : check_origin(settings, err);
}

/* The file's name; *ret is NULL when there is none. */
static int take_file_name(const struct settings_origin *origin, int *argc, char **argv,
                          const struct option_input *listener, const char **ret,
                          struct error *err) {
    const char *variable = environment_get(origin->environment, "ELARA_CONFIG");
    *ret = variable;
    if (option_take_flag(argc, argv, "config", ret) && *ret == NULL)
        return error_set(err, ERROR_INVALID, "--config: needs the name of a file");
    if (*ret != NULL && (*ret)[0] == '\0')
        *ret = NULL;
    if (*ret != NULL && variable != NULL && *variable != '\0' && strcmp(*ret, variable) != 0 &&
        listener->notice != NULL)
        listener->notice(listener->context,
                         "--config counts, and not ELARA_CONFIG, which names another file");
    return 0;
}

int settings_load(struct settings *settings, const struct option_input *listener,
                  struct error *err) {
    struct settings_origin *origin = settings->origin;
    cleanup_json json_t *file = NULL, *lines = NULL;
    cleanup_free char **argv = memory_alloc(((size_t)origin->argc + 1) * sizeof *argv);
    memcpy(argv, origin->argv, (size_t)origin->argc * sizeof *argv);
    struct option_input input = *listener;
    input.argc = origin->argc;
    input.argv = argv;
    input.environment = origin->environment;
    if (take_file_name(origin, &input.argc, argv, listener, &input.file_name, err) < 0)
        return -1;
    if (input.file_name != NULL &&
        settings_read_file(input.file_name, listener, &file, &lines, err) < 0)
        return -1;
    origin->file_name = input.file_name;
    input.file = file;
    input.lines = lines;
    if (option_load(settings_table(), &input, settings, origin->sources, err) < 0)
        return -1;
    return finish(settings, err);
}

void settings_log_notice(void *context, const char *text) {
    (void)context;
    log_warning("%s", text);
}

static char *describe_unknown(const char *name) {
    char meant[OPTION_NAME_MAX];
    int length = (int)strcspn(name, "=");
    const char *note = settings_legacy_note(name);
    if (note != NULL)
        return memory_printf("%.*s is set, but does nothing: %s", length, name, note);
    if (option_nearest_variable(settings_table(), name, (size_t)length, meant))
        return memory_printf("%.*s is set, but no setting has that name; is %s meant?", length,
                             name, meant);
    return memory_printf("%.*s is set, but no setting has that name (see --help)", length, name);
}

static void note_unknown(char *const *environment, const char *prefix,
                         const struct option_input *listener) {
    size_t at = 0;
    const char *name;
    while ((name = option_next_unknown(settings_table(), environment, prefix, &at)) != NULL) {
        size_t length = strcspn(name, "=");
        if (text_equal_n(name, length, "ELARA_CONFIG") ||
            option_names_variable(admin_settings_table(), name, length))
            continue;
        cleanup_free char *text = describe_unknown(name);
        listener->notice(listener->context, text);
    }
}

void settings_note_unknown(char *const *environment, const struct option_input *listener) {
    note_unknown(environment, "EG_", listener);
    note_unknown(environment, "KG_", listener);
    note_unknown(environment, "ELARA_", listener);
}

int settings_create(int argc, char **argv, char *const *environment, struct settings **ret,
                    struct error *err) {
    static const struct option_input listener = {.notice = settings_log_notice};
    struct settings *settings = settings_create_empty(argc, argv, environment);
    if (settings_load(settings, &listener, err) < 0) {
        settings_destroy(settings);
        return -1;
    }
    for (size_t i = 0; i < settings->origin->row_count; i++)
        settings->origin->started[i] = option_text(settings_table() + i, settings);
    settings_set_log(settings);
    settings_note_unknown(environment, &listener);
    *ret = settings;
    return 0;
}

void settings_set_log(const struct settings *settings) {
    enum log_level level;
    enum log_format format;
    if (log_level_parse(settings->log_level, &level) == 0)
        log_set_level(level);
    if (log_format_parse(settings->log_format, &format) == 0)
        log_set_format(format);
}

bool settings_is_fixed(const struct settings *settings, const char *name) {
    const struct option_row *row = settings_table();
    const struct option_source *source = settings->origin->sources;
    for (; row->name != NULL; row++, source++)
        if (strcmp(row->name, name) == 0)
            return source->from >= OPTION_FROM_VARIABLE;
    return false;
}

const char *settings_file_name(const struct settings *settings) {
    return settings->origin->file_name;
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

bool settings_know_clients(const struct settings *settings) {
    const char *certificate = settings->certificate_user; /* NULL in what migrate makes up */
    return text_or_null(settings->auth_token) != NULL ||
           text_or_null(settings->auth_token_file) != NULL ||
           (certificate != NULL && strcmp(certificate, "none") != 0) ||
           text_or_null(settings->proxy_user_header) != NULL ||
           text_or_null(settings->oidc_issuer) != NULL || settings->token_review ||
           text_or_null(settings->hub_api_url) != NULL;
}

int settings_check_exposure(const struct settings *settings, struct error *err) {
    const char *ip = settings->ip != NULL ? settings->ip : "";
    bool has_ca = text_or_null(settings->client_ca) != NULL && !settings->client_ca_optional;
    if (settings_know_clients(settings) || has_ca || settings->insecure ||
        settings_ip_is_loopback(ip))
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
