/* How much of the loop those may have whose requests are refused before a handler sees them: wrong
 * and forged tokens, unknown paths. One turn after the other, in all connections together. */
#pragma once

#include <stdint.h>

/* Zero-initialise. */
struct http_refusals {
    int64_t free_at_us; /* when all of them have had their time */
};

/* One was refused, which took spent_us. Returns how many ms it has to wait before it may go on. A
 * refusal counts as 20 us at least and has five times what it took: they get a fifth of the time,
 * and 10,000 a second. */
int64_t http_refusals_note(struct http_refusals *refusals, int64_t now_us, int64_t spent_us);
/* How many ms from now the others have to wait already. */
int64_t http_refusals_wait(const struct http_refusals *refusals, int64_t now_us);
