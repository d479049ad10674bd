/* YAML 1.1 (libyaml) into jansson trees: mappings, sequences and scalars. Plain scalars become
 * null, true/false, integers or reals as in the YAML 1.2 core schema (so that "no" and "on" stay
 * texts), quoted ones stay texts. Anchors and aliases are refused (no expansion bombs), as are
 * merge keys, duplicate keys, tags and a second document. Keys are texts. At most 4 MiB, 64 levels
 * and 200,000 values (ERROR_LIMIT). Errors name line and column. A text without a value is JSON's
 * null. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

int yaml_parse(const char *text, size_t length, json_t **ret, struct error *err);

/* The same, and where the members of its mappings stand: *lines maps paths of keys, joined by dots,
 * to lines: {"network": 3, "network.port": 4, "hosts[0]": 6}. What is very deep or has a very long
 * path is left out. */
int yaml_parse_lines(const char *text, size_t length, json_t **ret, json_t **lines,
                     struct error *err);

/* Appends tree as JSON that yaml_parse reads as the same: the characters that YAML takes for line
 * breaks or not at all (YAML 1.1, 5.1 and 5.4) are escaped. */
void yaml_print_flow(const json_t *tree, struct buffer *out);
