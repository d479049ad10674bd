/* Time. Deadlines and ages are monotonic milliseconds; wall time is only for people and clients. */
#pragma once

#include <stdint.h>

enum { CLOCK_TEXT_SIZE = 28 };

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
int64_t clock_wall_us(void); /* since 1970 */

/* "2026-01-31T12:00:00.000000Z": jupyter_server parses last_activity with %Y-%m-%dT%H:%M:%S.%fZ, so
 * the fraction and the Z are always there. */
void clock_format(int64_t wall_us, char text[CLOCK_TEXT_SIZE]);
