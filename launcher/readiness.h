/* When a kernel that was started can be used: the decision without the sockets. The launcher asks
 * kernel_info on shell and control; the kernel is ready when one answer and one message on iopub
 * were seen. The latter proves that the subscription has arrived (a PUB socket drops what it sends
 * before that, and a cell's first output would be lost). Kernels with an XPUB socket say
 * iopub_welcome; for the others the busy status of our own request is the proof, so the request is
 * repeated while only that is missing. stdin is waited for too, but not for long: a kernel that
 * never asks might not open it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    /* answered, but nothing on iopub yet: the subscription is under way; doubled each time */
    READINESS_REPEAT_MS = 5,
    READINESS_REPEAT_DOUBLINGS = 6,
    /* not answered: the request waits in a queue; a kernel may have lost it all the same */
    READINESS_RETRY_MS = 3000,
    READINESS_PATIENCE_MS = 3000, /* so long a refused connection is tried again at once */
    READINESS_RECONNECT_FAST_MS = 4,
    READINESS_RECONNECT_SLOW_MS = 50,
};

struct readiness {
    bool has_reply;
    bool has_iopub;
    /* its connection stands: a kernel's question to somebody who is not connected goes nowhere, and
     * it waits for ever */
    bool has_stdin;
    int repeats; /* requests sent since the first answer */
    int64_t asked_ms;
};

void readiness_begin(struct readiness *readiness, int64_t now_ms);
static inline bool readiness_is_complete(const struct readiness *readiness) {
    return readiness->has_reply && readiness->has_iopub &&
           (readiness->has_stdin || readiness->repeats == READINESS_REPEAT_DOUBLINGS);
}
/* Milliseconds until the requests are to be sent again, 0 = now; a request that is sent is told by
 * readiness_asked. */
int64_t readiness_wait_ms(const struct readiness *readiness, int64_t now_ms);
void readiness_asked(struct readiness *readiness, int64_t now_ms);
