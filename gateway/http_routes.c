#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/http_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LOG_AREA "gateway/http"

/* Paths. */

/* JUPYTER_GATEWAY_WS_URL is derived in lower case, so that a WebSocket comes in below a lower-case
 * base URL. */
static bool is_below_base(const struct http_request *request) {
    const struct http_target *base = &request->http->base;
    const struct http_target *target = &request->target;
    bool any_case = http_head_field(&request->head, "Upgrade") != NULL;
    if (target->segment_count <= base->segment_count)
        return false;
    for (size_t i = 0; i < base->segment_count; i++)
        if ((any_case ? strcasecmp : strcmp)(base->segments[i], target->segments[i]) != 0)
            return false;
    return true;
}

static void clear_params(struct http_request *request) {
    for (size_t i = 0; i < request->param_count; i++)
        free(request->params[i].value);
    request->param_count = 0;
}

static void add_param(struct http_request *request, const char *name, size_t length, char *value) {
    if (request->param_count == HTTP_PARAMS_MAX)
        abort(); /* a pattern of our own */
    request->params[request->param_count++] = (struct http_param){name, length, value};
}

/* Segments from `first` on, joined. */
static char *join_rest(const struct http_target *target, size_t first) {
    struct buffer rest = {0};
    for (size_t i = first; i < target->segment_count; i++)
        if (buffer_append_text(&rest, i > first ? "/" : "") < 0 ||
            buffer_append_text(&rest, target->segments[i]) < 0)
            break;
    char *text = memory_strdup(buffer_text(&rest));
    buffer_free(&rest);
    return text;
}

/* One part of a pattern against one segment. */
static bool match_part(struct http_request *request, const char *part, size_t length,
                       const char *segment) {
    if (length < 2 || part[0] != '{')
        return text_equal_n(part, length, segment);
    if (*segment == '\0')
        return false;
    add_param(request, part + 1, length - 2, memory_strdup(segment));
    return true;
}

static bool match(struct http_request *request, const char *pattern) {
    const struct http_target *target = &request->target;
    size_t at = request->http->base.segment_count;
    clear_params(request);
    while (*pattern == '/') {
        const char *part = pattern + 1;
        size_t length = strcspn(part, "/");
        pattern = part + length;
        if (at == target->segment_count)
            return false;
        if (length > 5 && part[0] == '{' && memcmp(part + length - 4, "...}", 4) == 0) {
            if (target->segments[at][0] == '\0' && at + 1 == target->segment_count)
                return false;
            add_param(request, part + 1, length - 5, join_rest(target, at));
            return true;
        }
        if (!match_part(request, part, length, target->segments[at++]))
            return false;
    }
    return at == target->segment_count;
}

/* Methods. */

static bool takes_method(const struct http_route *route, const char *method) {
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void add_method(struct buffer *allow, const char *method) {
    if (strstr(buffer_text(allow), method) == NULL)
        buffer_printf(allow, "%s, ", method);
}

/* Sets the route; or, when only other methods lead somewhere, leaves them in `allow`. */
static void find_route(struct http_request *request, struct buffer *allow) {
    for (size_t t = 0; t < request->http->table_count; t++) {
        const struct http_table *table = &request->http->tables[t];
        for (const struct http_route *route = table->routes; route->method != NULL; route++) {
            if (!match(request, route->pattern))
                continue;
            add_method(allow, route->method);
            if (strcmp(route->method, "GET") == 0)
                add_method(allow, "HEAD");
            if (!takes_method(route, request->head.method))
                continue;
            request->route = route;
            request->route_context = table->context;
            return;
        }
    }
}

static void answer_other_method(struct http_request *request, struct buffer *allow) {
    bool is_options = strcmp(request->head.method, "OPTIONS") == 0;
    bool is_star = strcmp(request->head.target, "*") == 0;
    if (allow->length == 0 && !is_star) {
        http_reply_error(request, 404, NULL, "there is nothing at %.512s",
                         http_request_path(request));
        return;
    }
    if (!is_star) {
        buffer_append_text(allow, "OPTIONS");
        http_reply_header(request, "Allow", buffer_text(allow));
    }
    if (is_options)
        http_reply_empty(request, 200);
    else
        http_reply_error(request, 405, NULL, "%s is not possible on %.512s; %s is",
                         request->head.method, http_request_path(request), buffer_text(allow));
}

/* Host and Origin: a page of another site must not reach kernels with the browser's help. */

static size_t without_port(const char *host, const char *port) {
    return strlen(host) - (text_ends_with(host, port) ? strlen(port) : 0);
}

/* Where a proxy in front ends TLS, it may say so; the header can only have more refused, so that
 * it needs no trust. */
static bool client_came_by_tls(const struct http_request *request) {
    const char *scheme = http_head_field(&request->head, "X-Forwarded-Proto");
    return request->http->tls != NULL || (scheme != NULL && (strncasecmp(scheme, "https", 5) == 0 ||
                                                             strncasecmp(scheme, "wss", 3) == 0));
}

bool http_is_same_origin(const struct http_request *request, const char *origin) {
    const char *host = request->head.host;
    const char *name = strstr(origin, "://");
    bool is_https = strncasecmp(origin, "https:", 6) == 0;
    const char *port = is_https ? ":443" : ":80";
    if (name == NULL || (!is_https && client_came_by_tls(request)))
        return false;
    name += 3;
    size_t length = without_port(name, port);
    return length == without_port(host, port) && strncasecmp(name, host, length) == 0;
}

static bool check_host(struct http_request *request) {
    const char *host = request->head.host;
    if (http_host_is_ours(&request->http->settings, host))
        return true;
    if (http_may_log(request->http))
        log_warning("refused a request with Host %.200s: it is not in allow-hosts", host);
    http_reply_error(request, 403, NULL,
                     "Host: %.200s is not known here. This gateway answers only to localhost and "
                     "loopback addresses, since it asks for no token or believes a proxy: name "
                     "the host in allow-hosts (ELARA_ALLOW_HOSTS), or set a token",
                     host);
    return false;
}

static bool check_origin(struct http_request *request) {
    const char *origin = http_head_field(&request->head, "Origin");
    const char *allowed = request->http->settings.allow_origin;
    if (origin == NULL || http_is_same_origin(request, origin) || strcmp(allowed, "*") == 0 ||
        strcmp(allowed, origin) == 0)
        return true;
    if (http_may_log(request->http))
        log_warning("refused a request with Origin %.200s for Host %.200s; allow_origin is \"%s\"",
                    origin, request->head.host, allowed);
    bool upgrade = http_head_field(&request->head, "Upgrade") != NULL;
    http_reply_error(request, upgrade ? 403 : 404, NULL,
                     "Origin: %.200s may not use this gateway; allow_origin names who may", origin);
    return false;
}

/* jupyter_server's GatewayKernelClient, on which nbclient and papermill run: it sets no header of
 * its own on its WebSocket, so that to ask it for one leads nowhere. */
static bool can_send_no_token(const struct http_request *request) {
    return http_head_field(&request->head, "Upgrade") != NULL &&
           http_head_field(&request->head, "User-Agent") == NULL &&
           http_head_field(&request->head, "Authorization") == NULL &&
           http_request_query(request, "token") == NULL;
}

static const char *only_header(void *context, const char *name) {
    struct http_request *request = context;
    const struct http_head *head = &request->head;
    const struct http_field *found = NULL;
    for (size_t i = 0; i < head->field_count; i++) {
        if (strcasecmp(head->fields[i].name, name) != 0)
            continue;
        if (found != NULL)
            return NULL;
        found = &head->fields[i];
    }
    if (found == NULL)
        return NULL;
    request->asked_header = found->name;
    request->asked_value = found->value;
    return found->value;
}

static enum auth_verdict find_identity(struct http_request *request, struct error *err) {
    struct auth_evidence evidence = {
        .authorization = http_head_field(&request->head, "Authorization"),
        .query_token = http_request_query(request, "token"),
        .is_page = http_is_page(request),
        .address = request->connection->address,
        .header = only_header,
        .header_context = request,
        .certificate = http_tls_certificate(request->connection->io),
    };
    return auth_check(request->http->auth, &evidence, &request->waiter, &request->identity, err);
}

static void refuse_stranger(struct http_request *request, struct error *err) {
    if (can_send_no_token(request))
        error_set(err, ERROR_DENIED,
                  "no token was sent, and nbclient, nbconvert and papermill cannot send one on "
                  "their WebSocket: start a second gateway for them, on loopback without a token "
                  "and with a runtime-dir of its own (docs/security.md, Tokens)");
    request->refusal = err->text; /* which never holds the token */
    if (err->code == ERROR_UNAVAILABLE) {
        http_reply_failure(request, err);
        return;
    }
    http_reply_header(request, "WWW-Authenticate",
                      http_is_page(request) ? "Basic realm=\"Elara\", charset=\"UTF-8\"" : "token");
    http_reply_error(request, 401, NULL, "%s", err->text);
}

static bool may_do(const struct http_request *request) {
    const struct auth_identity *identity = request->identity;
    bool is_upgrade = http_head_field(&request->head, "Upgrade") != NULL;
    if (identity->role == AUTH_METRICS)
        return (request->route->flags & HTTP_METRICS) != 0;
    return identity->role != AUTH_VIEWER ||
           (strcmp(request->route->method, "GET") == 0 && !is_upgrade &&
            (request->route->flags & HTTP_CONTENT) == 0);
}

static void refuse_role(struct http_request *request) {
    bool is_viewer = request->identity->role == AUTH_VIEWER;
    request->refusal =
        is_viewer ? "a viewer may only look" : "the role metrics sees /metrics alone";
    http_reply_error(request, 403, NULL,
                     is_viewer
                         ? "%s has the role viewer: it sees who has which kernels, but neither "
                           "what is in them, nor may it change anything"
                         : "%s has the role metrics: it sees /metrics and nothing else",
                     request->identity->name);
}

static enum http_admission check_identity(struct http_request *request) {
    struct error err;
    if (request->http->auth == NULL)
        return HTTP_ADMITTED;
    switch (find_identity(request, &err)) {
    case AUTH_WAIT:
        return HTTP_WAITS;
    case AUTH_REFUSED:
        refuse_stranger(request, &err);
        return HTTP_ANSWERED;
    case AUTH_KNOWN:
        break;
    }
    if (may_do(request))
        return HTTP_ADMITTED;
    refuse_role(request);
    return HTTP_ANSWERED;
}

enum http_admission http_route_admit(struct http_request *request) {
    if (request->route != NULL) /* it was asked who it is */
        return check_identity(request);
    if (!check_host(request))
        return HTTP_ANSWERED;
    struct buffer allow = {.limit = 1024};
    if (is_below_base(request))
        find_route(request, &allow);
    bool found = request->route != NULL;
    if (!found)
        answer_other_method(request, &allow);
    buffer_free(&allow);
    if (!found || (http_is_page(request) && !http_page_admit(request)))
        return HTTP_ANSWERED;
    if (request->route->flags & HTTP_PUBLIC)
        return HTTP_ADMITTED;
    return http_is_page(request) || check_origin(request) ? check_identity(request) : HTTP_ANSWERED;
}
