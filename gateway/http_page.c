/* Pages for people in a browser. After HTTP Basic a browser sends the token by itself, with other
 * sites' requests too: a request that another site makes is refused before anything is done, and
 * what we answer can be neither embedded, kept nor read by it. */
#include "base/log.h"
#include "gateway/html.h"
#include "gateway/http_internal.h"

#include <string.h>

#define LOG_AREA "gateway/http"

bool http_is_page(const struct http_request *request) {
    return request->route != NULL && (request->route->flags & HTTP_PAGE) != 0;
}

static void set_headers(struct http_request *request) {
    char hash[HTML_STYLE_HASH_SIZE], policy[HTML_STYLE_HASH_SIZE + 128];
    html_style_hash(hash);
    snprintf(policy, sizeof policy,
             "default-src 'none'; style-src %s; form-action 'self'; frame-ancestors 'none'; "
             "base-uri 'none'",
             hash);
    http_reply_header(request, "Content-Security-Policy", policy);
    http_reply_header(request, "X-Frame-Options", "DENY");
    http_reply_header(request, "Cross-Origin-Resource-Policy", "same-origin");
    http_reply_header(request, "Cache-Control", "no-store");
    /* Not no-referrer: with it browsers send "Origin: null" with our own forms. */
    http_reply_header(request, "Referrer-Policy", "same-origin");
}

/* allow-origin does not count here: who may use the API with a token of his own need not use it
 * with the one in the browser. */
bool http_page_admit(struct http_request *request) {
    const char *origin = http_head_field(&request->head, "Origin");
    bool changes = strcmp(request->route->method, "GET") != 0;
    set_headers(request);
    if (origin == NULL ? !changes : http_is_same_origin(request, origin))
        return true;
    log_warning("refused %s of a page with Origin %.200s for Host %.200s", request->head.method,
                origin != NULL ? origin : "(none)", request->head.host);
    if (origin == NULL)
        http_reply_error(request, 403, NULL,
                         "Origin: is missing, so that nobody knows whose form this is. Browsers "
                         "send it; programs use the API (docs/http-api.md)");
    else
        http_reply_error(request, 403, NULL,
                         "Origin: %.200s is not this gateway, which is %.200s to the browser. "
                         "Behind a proxy, let it pass Host on",
                         origin, request->head.host);
    return false;
}

void http_page_reply_error(struct http_request *request, int status, const char *reason,
                           const char *message) {
    struct buffer out = {.limit = 1 << 20};
    char number[16];
    snprintf(number, sizeof number, "%d", status);
    html_begin(&out, "Elara: refused");
    html_add(&out, "<h1>{} {}</h1>\n<p>{}</p>\n", number, http_status_phrase(status), message);
    if (strcmp(reason, http_status_phrase(status)) != 0)
        html_add(&out, "<p>{}</p>\n", reason);
    html_add(&out,
             "<p><a href=\"?\">Go to the page</a></p>\n"); /* its own address, without query */
    html_end(&out);
    http_reply_bytes(request, status, "text/html; charset=utf-8", out.data, out.length);
    buffer_free(&out);
}
