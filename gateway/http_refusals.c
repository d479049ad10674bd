#include "gateway/http_refusals.h"

enum { COST_MIN_US = 20, SHARE = 5 };

int64_t http_refusals_wait(const struct http_refusals *refusals, int64_t now_us) {
    return refusals->free_at_us > now_us ? (refusals->free_at_us - now_us) / 1000 : 0;
}

int64_t http_refusals_note(struct http_refusals *refusals, int64_t now_us, int64_t spent_us) {
    int64_t cost_us = SHARE * (spent_us > COST_MIN_US ? spent_us : COST_MIN_US);
    if (refusals->free_at_us < now_us)
        refusals->free_at_us = now_us;
    refusals->free_at_us += cost_us;
    return http_refusals_wait(refusals, now_us);
}
