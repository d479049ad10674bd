/* A WebSocket (RFC 6455) to a gateway, as clients open one to a kernel. For one exchange, not for
 * traffic: calls wait. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct admin_gateway;
struct admin_websocket;

/* path: "api/kernels/ID/channels". deadline_ms, here and below: by clock_monotonic_ms. */
int admin_websocket_open(struct admin_gateway *gateway, const char *path, int64_t deadline_ms,
                         struct admin_websocket **ret, struct error *err);
void admin_websocket_destroy(struct admin_websocket *ws);
int admin_websocket_send(struct admin_websocket *ws, const char *text, size_t length,
                         int64_t deadline_ms, struct error *err);
/* The next text or binary message. ERROR_TIMEOUT: none came in time. */
int admin_websocket_receive(struct admin_websocket *ws, int64_t deadline_ms, struct buffer *ret,
                            struct error *err);
