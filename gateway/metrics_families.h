/* Everything that GET /metrics tells (docs/monitoring.md), in Prometheus' text format. */
#pragma once

#include "base/buffer.h"

struct gateway;

void metrics_families_write(const struct gateway *gateway, struct buffer *out);
