/* Who may do what with a kernel: its owner and administrators all, others what one of these has
 * granted them by name. That is kept in the kernel's record, by its launcher, which tells all
 * gateways. */
#pragma once

#include "gateway/kernels.h"

enum kernel_right {
    KERNEL_RIGHT_NONE, /* it does not exist, then */
    KERNEL_RIGHT_VIEW, /* its state, and what it has said */
    KERNEL_RIGHT_USE,  /* its WebSocket too, and to interrupt it */
    KERNEL_RIGHT_OWN,
};

/* Of a viewer OWN: what he may not do is refused before (http_routes.c). */
enum kernel_right kernel_right(const struct kernel *kernel, const struct auth_identity *identity);
/* "view", "use", "own" */
const char *kernel_right_name(enum kernel_right right);
/* Only the first two can be granted. */
bool kernel_right_parse(const char *name, enum kernel_right *ret);

/* {"bert": "use", "carla": "view"}, {}; a new reference. */
json_t *kernel_shares(const struct kernel *kernel);
/* user: at most LAUNCH_SHARE_NAME_MAX bytes. KERNEL_RIGHT_NONE takes back what was granted. */
void kernel_share(struct kernel *kernel, const char *user, enum kernel_right right,
                  kernel_done *done, void *context);
