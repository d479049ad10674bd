/* GET /api/kernels/{id}/channels: one client's WebSocket joined to one attachment of its kernel's
 * link. */
#pragma once

#include "gateway/http.h"
#include "gateway/kernels.h"
#include "gateway/loop.h"

#include <stddef.h>
#include <stdint.h>

struct channels_settings {
    int64_t message_max; /* incoming WebSocket message */
    int64_t ping_interval_ms;
    int64_t window; /* bytes under way to one client */
    /* for how long a notebook server may read for a browser that is gone */
    int64_t unsure_ms;
    /* largest frame for jupyter_server's gateway client, which drops the connection above 10 MiB */
    int64_t gateway_client_max;
    int64_t login_every_ms;  /* whether who opened a WebSocket may still is asked so often */
    struct metrics *metrics; /* messages are counted there; NULL: nowhere */
};

struct channels;
struct channels *channels_create(struct loop *loop, const struct channels_settings *settings);
/* For clients from now on. */
void channels_configure(struct channels *channels, const struct channels_settings *settings);
/* Closes every client with 1012: come back. */
void channels_close_all(struct channels *channels);
/* Tokens or settings are others now: whoever does not count any more is shown out, with 1008. */
void channels_ask_again(struct channels *channels);
void channels_destroy(struct channels *channels);
size_t channels_count(const struct channels *channels);

/* Answers the upgrade (or refuses it). */
void channels_open(struct channels *channels, struct kernel *kernel, struct http_request *request);
