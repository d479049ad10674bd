/* This process, by the names that Prometheus' own clients use
 * (https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics). */
#pragma once

#include "base/buffer.h"

#include <stdint.h>

/* started_us: clock_wall_us of the start. What /proc does not tell is left out. */
void metrics_process_write(struct buffer *out, int64_t started_us);
