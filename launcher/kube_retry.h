/* Whether a request to the API server is tried again, and when. No state, no clock. */
#pragma once

#include "launcher/kube_transport.h"

struct kube_attempt {
    const char *method;
    bool may_repeat; /* the caller's word, for POST and PATCH */
    unsigned number; /* of the attempt that failed, from 1 */
    const struct kube_outcome *outcome;
    const char *reason; /* of the Status object; "" */
    bool is_garbage;    /* a 2xx that could not be read */
};

enum kube_next {
    KUBE_GIVE_UP,
    KUBE_AGAIN,            /* after a pause */
    KUBE_AGAIN_IF_RENEWED, /* at once, if the credentials are others by now */
};

enum { KUBE_BROKEN_ATTEMPTS_MAX = 5 };

enum kube_next kube_retry_judge(const struct kube_attempt *attempt);

/* Between half and the whole of first_ms * 2^(number - 1), which is at most 50 * first_ms; never
 * less than retry_after_ms (-1: not given). */
int64_t kube_retry_pause_ms(int64_t first_ms, unsigned number, int64_t retry_after_ms);
