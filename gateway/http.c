#include "base/memory.h"
#include "base/text.h"
#include "gateway/http_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static const char *copy_text(const char *text, const char *fallback) {
    return text ? memory_strdup(text) : fallback ? memory_strdup(fallback) : NULL;
}

static void free_text(const char *text) {
    void *memory;
    memcpy(&memory, &text, sizeof memory);
    free(memory);
}

static void copy_settings(struct http_settings *own, const struct http_settings *given) {
    *own = *given;
    own->ip = copy_text(given->ip, "");
    own->allow_origin = copy_text(given->allow_origin, "");
    own->allow_headers = copy_text(given->allow_headers, "");
    own->allow_methods = copy_text(given->allow_methods, "");
    own->allow_credentials = copy_text(given->allow_credentials, "");
    own->expose_headers = copy_text(given->expose_headers, "");
    own->max_age = copy_text(given->max_age, "");
    own->tls_certificate = copy_text(given->tls_certificate, NULL);
    own->tls_key = copy_text(given->tls_key, NULL);
    own->tls_client_ca = copy_text(given->tls_client_ca, NULL);
    /* JEG takes "prefix" and "/prefix" too. */
    const char *base = given->base_url ? given->base_url : "";
    const char *tail = text_ends_with(base, "/") || *base == '\0' ? "" : "/";
    own->base_url = memory_printf("%s%s%s", *base == '/' ? "" : "/", base, tail);
}

static void free_settings(struct http_settings *own) {
    const char *const texts[] = {own->ip,
                                 own->base_url,
                                 own->allow_origin,
                                 own->allow_headers,
                                 own->allow_methods,
                                 own->allow_credentials,
                                 own->expose_headers,
                                 own->max_age,
                                 own->tls_certificate,
                                 own->tls_key,
                                 own->tls_client_ca};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free_text(texts[i]);
}

/* "/a/b/" becomes the segments "a", "b": the last, empty one is where patterns go on. */
static int split_base(struct http *http, struct error *err) {
    if (http_target_parse(http->settings.base_url, &http->base, err) < 0)
        return error_wrap(err, "base_url");
    http->base.segment_count--;
    return 0;
}

int http_create(struct loop *loop, const struct http_settings *settings, struct auth *auth,
                struct http **ret, struct error *err) {
    struct http *http = memory_alloc(sizeof *http);
    http->loop = loop;
    http->auth = auth;
    list_init(&http->connections);
    http->limits = http_limits_create(&http->settings);
    copy_settings(&http->settings, settings);
    if (split_base(http, err) < 0)
        goto fail;
    if (http->settings.tls_certificate != NULL &&
        http_tls_create(&http->settings, &http->tls, err) < 0)
        goto fail;
    *ret = http;
    return 0;
fail:
    http_destroy(http);
    return -1;
}

void http_destroy(struct http *http) {
    if (http == NULL)
        return;
    http_listen_close(http);
    list_each (&http->connections, struct http_connection, node, connection)
        http_connection_free(connection);
    http_limits_destroy(http->limits);
    http_tls_destroy(http->tls);
    http_target_free(&http->base);
    free_settings(&http->settings);
    free(http);
}

void http_add_routes(struct http *http, const struct http_route *routes, void *context) {
    if (http->table_count == HTTP_TABLES_MAX)
        abort(); /* our own mistake */
    http->tables[http->table_count++] = (struct http_table){routes, context};
}

void http_measure(const struct http *http, struct http_load *ret) {
    http_limits_count(http->limits, ret);
    ret->lacks_files = http->lacks_files;
}

int http_port(const struct http *http) {
    return http->port;
}

int http_configure(struct http *http, const struct http_settings *settings, struct error *err) {
    struct http_settings old = http->settings, fresh;
    copy_settings(&fresh, settings);
    http->settings = fresh;
    http->settings.ip = old.ip;
    http->settings.base_url = old.base_url; /* requests that are under way refer to it */
    old.ip = fresh.ip;
    old.base_url = fresh.base_url;
    free_settings(&old);
    return http_reload_tls(http, err);
}

int http_reload_tls(struct http *http, struct error *err) {
    struct ssl_ctx_st *fresh;
    if (http->tls == NULL)
        return 0;
    if (http_tls_create(&http->settings, &fresh, err) < 0)
        return -1;
    http_tls_destroy(http->tls); /* connections hold their own reference */
    http->tls = fresh;
    return 0;
}

/* Clients between requests are let go of; the others get "Connection: close" with their answer. */
/* Between two requests. One that has just been opened, or whose next request is on the way, is
 * about to ask: it gets its answer. */
static bool is_idle(const struct http_connection *connection) {
    int unread = 0;
    (void)ioctl(bufferevent_getfd(connection->io), FIONREAD, &unread);
    return connection->state == HTTP_READING_HEAD && !connection->head_started &&
           connection->has_served && unread == 0;
}

void http_stop_accepting(struct http *http) {
    http->stopping = true;
    http_listen_close(http);
    list_each (&http->connections, struct http_connection, node, connection)
        if (is_idle(connection))
            http_connection_free(connection);
}

bool http_is_quiet(const struct http *http) {
    return list_is_empty(&http->connections);
}
