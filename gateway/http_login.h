/* Who opened a WebSocket, asked again while it is open: it outlives its request, and may outlive
 * the token that it came with. */
#pragma once

#include "gateway/http.h"

struct http_login;

/* Either may free the login. */
struct http_login_events {
    /* The same credentials mean another name or role by now. */
    void (*changed)(void *context, const struct auth_identity *identity);
    /* They mean nothing any more; why is for the log and the user. */
    void (*lost)(void *context, const char *why);
};

/* Copies what the request has shown; asks each every_ms. NULL: nobody has to show anything. */
struct http_login *http_login_create(struct http_request *request, int64_t every_ms,
                                     const struct http_login_events *events, void *context);
/* From the loop, soon: settings or tokens are others now. NULL is fine. */
void http_login_ask(struct http_login *login);
void http_login_free(struct http_login *login); /* NULL is fine */
