/* The page at /elara: what this gateway's kernels are doing, and what may be done about it, for a
 * person in a browser. It needs neither scripts nor anything from elsewhere (docs/status-page.md).
 */
#pragma once

#include "base/buffer.h"
#include "gateway/gateway.h"
#include "gateway/http.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE_ROWS = 100, PAGE_NAME_MAX = 200 }; /* of kernels; in bytes of a name */

extern const struct http_route page_routes[]; /* GET and POST /elara; context: struct gateway */

/* What the page shows, as page.c finds it. */
struct page_view {
    const char *user; /* the client's name; NULL: no token is asked for */
    enum auth_role role;
    bool is_adopting; /* kernels of an earlier gateway are still missing */
    int64_t now_us, started_us;
    int64_t max_kernels, max_kernels_per_user, max_kernels_per_spec; /* -1: none */
    /* For admins, since they name files: why changed settings are not in effect, and which ones
     * wait for a restart; NULL: nothing. */
    const char *problem, *pending;
    /* What has just been done, as the address says, and to which kernel; NULL: nothing. Only words
     * that are known are shown: the address may be anybody's. */
    const char *done, *done_to;
    /* At most PAGE_ROWS of the kernels that the client may see, the first of them being number
     * `first` (from 0) of `total`; NULL: listing is switched off. Each is as in GET
     * /api/elara/kernels (docs/http-api.md). */
    const json_t *kernels;
    size_t first, total;
};

/* A whole document; at most 16 MiB, since names are cut at PAGE_NAME_MAX and reasons where they are
 * made. */
void page_render(const struct page_view *view, struct buffer *out);

/* For how long "Keep" keeps: 4 h, or what the client may ask for at most (0, -1: no limit). */
int64_t page_keep_ms(int64_t max_ms);

/* What the page's buttons do: POST ?do=...&kernel=... */
void page_act(struct http_request *request, void *context);
/* "was interrupted" for `done`; NULL for what nobody here says. */
const char *page_done_text(const char *done);
