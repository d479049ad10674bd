/* JSON from web servers that say who a client is (JupyterHub, an OpenID provider): GETs over
 * libcurl on the gateway's loop; nothing blocks. Redirects are not followed: a token would go with
 * them. */
#pragma once

#include "base/error.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdint.h>

struct web_client;

/* ca: a file of PEM certificates to trust; NULL: those that the system trusts. */
int web_client_create(struct event_base *loop, const char *ca, struct web_client **ret,
                      struct error *err);
/* Drops what is under way without a callback; not from inside one. */
void web_client_destroy(struct web_client *client);

/* status: of HTTP. answer: borrowed; NULL when it is no JSON. err: NULL when there was an answer,
 * else UNAVAILABLE with the cause and the URL. */
typedef void web_done(void *context, int status, const json_t *answer, const struct error *err);

/* url: http or https. authorization: the header's value, or NULL; both are copied. Never calls back
 * from inside. */
void web_client_get(struct web_client *client, const char *url, const char *authorization,
                    int64_t timeout_ms, web_done *done, void *context);
