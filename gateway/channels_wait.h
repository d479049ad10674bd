/* Patience for jupyter_client's own WebSocket client (nbclient, papermill). It gives a kernel one
 * second to answer its first request, then asks a process that it does not have whether it is
 * alive, and fails. But it waits 40 s for its upgrade. */
#pragma once

#include "gateway/channels.h"

/* channels_open, for such a client when the kernel can answer or has died, at the latest after 30
 * s; for all others at once. */
void channels_open_patiently(struct channels *channels, struct loop *loop, struct kernel *kernel,
                             struct http_request *request);
