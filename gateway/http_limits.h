/* How many connections clients have, how many of their requests are not answered yet, and how many
 * bytes of what they sent are not done with: in all, of one address, of one user. Who wants more
 * than the settings allow is refused with an error whose cause is the setting's name:
 * ERROR_UNAVAILABLE when all is taken, ERROR_BUSY when he has too much himself. */
#pragma once

#include "gateway/http.h"

struct http_limits;

/* settings: of the server; what they are at the time counts. */
struct http_limits *http_limits_create(const struct http_settings *settings);
void http_limits_destroy(struct http_limits *limits); /* seats may outlive it */
void http_limits_count(const struct http_limits *limits, struct http_load *ret);

/* A place is given back with http_seat_free (http.h). A connection's goes with its socket, which
 * may become a WebSocket. On failure *ret is a place in which to say so, or NULL: there is none. Of
 * IPv6 a network of 64 bits counts as one address. The descriptor tells how many there are, since
 * the lowest free one is what we get: an eighth of them (32 at least, 1,024 at most) is left to the
 * kernels. */
int http_seat_connection(struct http_limits *limits, const char *address, int fd,
                         struct http_seat **ret, struct error *err);
/* The connection is this user's from now on, and its address's no more. Only users with a name of
 * their own count. */
int http_seat_use(struct http_seat *seat, const struct auth_identity *identity, struct error *err);
int http_seat_request(struct http_limits *limits, const struct auth_identity *identity,
                      struct http_seat **ret, struct error *err);
