/* How many connections clients have, and how many of their requests are not answered yet: in all,
 * of one address, of one user. Who wants a place beyond the settings' limits is refused with an
 * error whose cause is the setting's name: ERROR_UNAVAILABLE when all places are taken, ERROR_BUSY
 * when he has too many himself. */
#pragma once

#include "gateway/http.h"

struct http_limits;

struct http_limits *http_limits_create(void);
void http_limits_destroy(struct http_limits *limits); /* seats may outlive it */
void http_limits_count(const struct http_limits *limits, struct http_load *ret);

/* A place is given back with http_seat_free (http.h). A connection's goes with its socket, which
 * may become a WebSocket. On failure *ret is a place in which to say so, or NULL: there is none.
 * The descriptor tells how many there are, since the lowest free one is what we get: an eighth of
 * them (32 at least, 1,024 at most) is left to the kernels. */
int http_seat_connection(struct http_limits *limits, const struct http_settings *settings,
                         const char *address, int fd, struct http_seat **ret, struct error *err);
/* The connection is this user's from now on. Only users with a name of their own count. */
int http_seat_use(struct http_seat *seat, const struct http_settings *settings,
                  const struct auth_identity *identity, struct error *err);
int http_seat_request(struct http_limits *limits, const struct http_settings *settings,
                      const struct auth_identity *identity, struct http_seat **ret,
                      struct error *err);
