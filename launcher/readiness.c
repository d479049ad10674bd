#include "launcher/readiness.h"

void readiness_begin(struct readiness *readiness, int64_t now_ms) {
    *readiness = (struct readiness){.asked_ms = now_ms};
}

int64_t readiness_wait_ms(const struct readiness *readiness, int64_t now_ms) {
    int64_t pause =
        readiness->has_reply ? READINESS_REPEAT_MS << readiness->repeats : READINESS_RETRY_MS;
    int64_t left = readiness->asked_ms + pause - now_ms;
    return left > 0 ? left : 0;
}

void readiness_asked(struct readiness *readiness, int64_t now_ms) {
    readiness->asked_ms = now_ms;
    if (readiness->has_reply && readiness->repeats < READINESS_REPEAT_DOUBLINGS)
        readiness->repeats++;
}
