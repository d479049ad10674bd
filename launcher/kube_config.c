#include "launcher/kube_config.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_config_internal.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SECRET_MAX = 1 << 20, TOKEN_MAX = 64 << 10, NAMESPACE_MAX = 253, LOOK_AGAIN_MS = 10000 };

static const char account_directory[] = "/var/run/secrets/kubernetes.io/serviceaccount";

struct kube_config *kube_config_new(void) {
    return memory_alloc(sizeof(struct kube_config));
}

void kube_config_destroy(struct kube_config *config) {
    if (config == NULL)
        return;
    for (int i = 0; i < KUBE_SECRETS; i++) {
        kube_secret_wipe(&config->secrets[i]);
        free(config->sources[i].field);
        free(config->sources[i].path);
    }
    if (config->proxy != NULL) /* its URL may hold a password */
        explicit_bzero(config->proxy, strlen(config->proxy));
    free(config->proxy);
    free(config->server);
    free(config->namespace);
    free(config->origin);
    free(config->tls_name);
    free(config);
}

void kube_secret_wipe(struct kube_secret *secret) {
    if (secret->data != NULL)
        explicit_bzero(secret->data, secret->length);
    free(secret->data);
    *secret = (struct kube_secret){0};
}

void kube_secret_set(struct kube_secret *secret, const void *data, size_t length) {
    char *copy = memory_alloc(length + 1);
    memcpy(copy, data, length);
    kube_secret_wipe(secret);
    *secret = (struct kube_secret){copy, length};
}

/* The server */

static char *url_part(CURLU *url, CURLUPart part) {
    char *text = NULL;
    if (curl_url_get(url, part, &text, 0) != CURLUE_OK)
        return NULL;
    char *copy = memory_strdup(text);
    curl_free(text);
    return copy;
}

/* A token in clear text is for whoever listens. */
static bool is_loopback(const char *host) {
    struct in_addr address; /* of 127.0.0.0/8; its bytes are in network order */
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &address) == 1 && *(const uint8_t *)&address == 127);
}

static int take_url(struct kube_config *config, CURLU *parsed, const char *field, const char *url,
                    struct error *err) {
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK)
        return error_set(err, ERROR_INVALID, "%s: is no URL like https://10.0.0.1:6443", field);
    cleanup_free char *scheme = url_part(parsed, CURLUPART_SCHEME);
    cleanup_free char *host = url_part(parsed, CURLUPART_HOST);
    cleanup_free char *port = url_part(parsed, CURLUPART_PORT);
    cleanup_free char *path = url_part(parsed, CURLUPART_PATH);
    cleanup_free char *user = url_part(parsed, CURLUPART_USER);
    cleanup_free char *query = url_part(parsed, CURLUPART_QUERY);
    bool is_tls = scheme != NULL && strcmp(scheme, "https") == 0;
    if (!is_tls && (scheme == NULL || strcmp(scheme, "http") != 0))
        return error_set(err, ERROR_INVALID, "%s: must begin with https://", field);
    if (host == NULL || user != NULL || query != NULL)
        return error_set(err, ERROR_INVALID,
                         "%s: must be a host and port alone, without user, "
                         "password or query",
                         field);
    if (!is_tls && !is_loopback(host))
        return error_set(err, ERROR_INVALID,
                         "%s: must begin with https://: http:// is taken for "
                         "this machine alone",
                         field);
    for (size_t length = strlen(path); length > 0 && path[length - 1] == '/'; length--)
        path[length - 1] = '\0';
    if (is_loopback(host) && config->proxy == NULL) /* whatever the environment says */
        config->proxy = memory_strdup("");
    free(config->server);
    config->server = memory_printf("%s://%s%s%s%s", scheme, host, port != NULL ? ":" : "",
                                   port != NULL ? port : "", path);
    return 0;
}

int kube_config_set_server(struct kube_config *config, const char *field, const char *url,
                           struct error *err) {
    CURLU *parsed = curl_url();
    if (parsed == NULL)
        return error_set(err, ERROR_SYSTEM, "out of memory");
    int result = take_url(config, parsed, field, url, err);
    curl_url_cleanup(parsed);
    return result;
}

/* Secrets from files */

static bool is_same_file(const struct stat *one, const struct stat *other) {
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino &&
           one->st_size == other->st_size && one->st_mtim.tv_sec == other->st_mtim.tv_sec &&
           one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

/* A line end inside would end the header that the token travels in. */
static int trim_token(struct kube_secret *token, struct error *err) {
    while (token->length > 0 && strchr(" \t\r\n", token->data[token->length - 1]) != NULL)
        token->data[--token->length] = '\0';
    if (token->length == 0)
        return error_set(err, ERROR_INVALID, "is empty");
    if (token->length > TOKEN_MAX)
        return error_set(err, ERROR_LIMIT, "is longer than %d bytes", TOKEN_MAX);
    for (size_t i = 0; i < token->length; i++)
        if (token->data[i] <= 0x20 || token->data[i] == 0x7F)
            return error_set(err, ERROR_INVALID, "must be one line of visible ASCII characters");
    return 0;
}

static int read_secret(const struct kube_source *source, struct kube_secret *ret,
                       struct error *err) {
    struct buffer text = {.limit = SECRET_MAX};
    int result = file_read(source->path, SECRET_MAX - 65536, &text, err);
    if (result == 0)
        kube_secret_set(ret, text.data, text.length);
    if (text.data != NULL)
        explicit_bzero(text.data, text.length);
    buffer_free(&text);
    return result;
}

/* Which of them is wrong is in *field. */
static int check_secrets(struct kube_secret secrets[KUBE_SECRETS], enum kube_secret_kind *field,
                         struct error *err) {
    *field = KUBE_TOKEN;
    if (secrets[KUBE_TOKEN].data != NULL && trim_token(&secrets[KUBE_TOKEN], err) < 0)
        return -1;
    *field = KUBE_AUTHORITY;
    if (secrets[KUBE_AUTHORITY].data != NULL &&
        kube_pem_check_authority(&secrets[KUBE_AUTHORITY], err) < 0)
        return -1;
    *field = KUBE_CERTIFICATE;
    const struct kube_secret *certificate = &secrets[KUBE_CERTIFICATE], *key = &secrets[KUBE_KEY];
    return certificate->data != NULL ? kube_pem_check_pair(certificate, key, err) : 0;
}

static bool is_same_secret(const struct kube_secret *one, const struct kube_secret *other) {
    return one->length == other->length && (one->data == NULL) == (other->data == NULL) &&
           (one->data == NULL || memcmp(one->data, other->data, one->length) == 0);
}

/* All or nothing: while a certificate and its key are exchanged they may not fit. *changed: by this
 * call. */
static int read_all(struct kube_config *config, bool *changed, struct error *err) {
    struct kube_secret secrets[KUBE_SECRETS] = {{0}};
    struct stat seen[KUBE_SECRETS] = {{0}};
    int result = 0;
    enum kube_secret_kind field = KUBE_TOKEN;
    for (int i = 0; i < KUBE_SECRETS && result == 0; i++) {
        const struct kube_source *source = &config->sources[i];
        const struct kube_secret *now = &config->secrets[i];
        field = (enum kube_secret_kind)i;
        if (source->path == NULL && now->data != NULL)
            kube_secret_set(&secrets[i], now->data, now->length);
        /* stat before read: what is written in between is seen as a change by the next look */
        if (source->path != NULL && stat(source->path, &seen[i]) == 0 && !S_ISREG(seen[i].st_mode))
            result = error_set(err, ERROR_INVALID, "%s: is no file", source->path);
        else if (source->path != NULL)
            result = read_secret(source, &secrets[i], err);
    }
    if (result == 0)
        result = check_secrets(secrets, &field, err);
    if (result < 0)
        error_wrap(err, "%s", config->sources[field].field);
    for (int i = 0; i < KUBE_SECRETS; i++) {
        if (result == 0 && !is_same_secret(&secrets[i], &config->secrets[i])) {
            struct kube_secret before = config->secrets[i];
            config->secrets[i] = secrets[i];
            secrets[i] = before;
            *changed = true;
        }
        if (result == 0)
            config->sources[i].seen = seen[i];
        kube_secret_wipe(&secrets[i]);
    }
    return result;
}

int kube_config_complete(struct kube_config *config, struct error *err) {
    bool changed = false;
    config->looked_ms = clock_monotonic_ms();
    return read_all(config, &changed, err);
}

bool kube_config_refresh(struct kube_config *config, bool force) {
    int64_t now_ms = clock_monotonic_ms();
    if (!force && now_ms - config->looked_ms < LOOK_AGAIN_MS)
        return false;
    config->looked_ms = now_ms;
    bool is_stale = false, changed = false;
    for (int i = 0; i < KUBE_SECRETS; i++) {
        const struct kube_source *source = &config->sources[i];
        struct stat now;
        if (source->path != NULL && stat(source->path, &now) == 0)
            is_stale = is_stale || !is_same_file(&now, &source->seen);
    }
    if (is_stale)
        read_all(config, &changed, NULL);
    return changed;
}

/* In a pod */

static void set_account_file(struct kube_config *config, enum kube_secret_kind kind,
                             const char *directory, const char *name) {
    config->sources[kind].path = memory_printf("%s/%s", directory, name);
    config->sources[kind].field = memory_strdup("the pod's service account");
}

static int read_namespace(struct kube_config *config, const char *directory, struct error *err) {
    cleanup_free char *path = memory_printf("%s/namespace", directory);
    cleanup_buffer struct buffer text = {.limit = 65536};
    if (file_read(path, NAMESPACE_MAX, &text, err) < 0)
        return error_wrap(err, "the pod's service account");
    const char *name = buffer_text(&text);
    size_t length = strcspn(name, " \t\r\n");
    if (length == 0)
        return error_set(err, ERROR_INVALID, "the pod's service account: %s: is empty", path);
    config->namespace = memory_strndup(name, length);
    return 0;
}

static int take_account(struct kube_config *config, const char *directory, const char *host,
                        const char *port, struct error *err) {
    bool is_ipv6 = strchr(host, ':') != NULL;
    cleanup_free char *url =
        memory_printf("https://%s%s%s:%s", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
    set_account_file(config, KUBE_TOKEN, directory, "token");
    set_account_file(config, KUBE_AUTHORITY, directory, "ca.crt");
    config->origin = memory_strdup("the pod's service account");
    if (kube_config_set_server(config, "KUBERNETES_SERVICE_HOST and _PORT", url, err) < 0 ||
        kube_config_complete(config, err) < 0)
        return -1;
    free(config->proxy);
    config->proxy = memory_strdup("");
    return read_namespace(config, directory, err);
}

int kube_config_in_cluster(const char *directory, const char *host, const char *port,
                           struct kube_config **ret, struct error *err) {
    if (host == NULL)
        host = getenv("KUBERNETES_SERVICE_HOST");
    if (port == NULL)
        port = getenv("KUBERNETES_SERVICE_PORT");
    if (host == NULL || port == NULL || *host == '\0' || *port == '\0')
        return error_set(err, ERROR_NOT_FOUND,
                         "this is no pod: KUBERNETES_SERVICE_HOST and "
                         "KUBERNETES_SERVICE_PORT are not set; give a kubeconfig");
    struct kube_config *config = kube_config_new();
    if (take_account(config, directory != NULL ? directory : account_directory, host, port, err) <
        0) {
        kube_config_destroy(config);
        if (err->code == ERROR_NOT_FOUND) /* it is a pod, without a token */
            err->code = ERROR_INVALID;
        return -1;
    }
    *ret = config;
    return 0;
}

const char *kube_config_server(const struct kube_config *config) {
    return config->server;
}

const char *kube_config_namespace(const struct kube_config *config) {
    return config->namespace;
}

const char *kube_config_origin(const struct kube_config *config) {
    return config->origin;
}

bool kube_config_is_insecure(const struct kube_config *config) {
    return config->insecure;
}

const struct kube_secret *kube_config_secret(const struct kube_config *config,
                                             enum kube_secret_kind kind) {
    return &config->secrets[kind];
}

const char *kube_config_tls_name(const struct kube_config *config) {
    return config->tls_name;
}

const char *kube_config_proxy(const struct kube_config *config) {
    return config->proxy;
}
