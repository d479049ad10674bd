/* A jansson tree as YAML, for the route description. */
#pragma once

#include "base/buffer.h"

#include <jansson.h>

/* Block style, members in their order, every text in double quotes. Stops at the buffer's limit. */
void yaml_write(const json_t *tree, struct buffer *out);
