/* Secrets as trees: what kube_record.c and kube_key.c share. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

enum { KUBE_SECRET_MAX = 1 << 20 }; /* of all data, decoded (core/v1 MaxSecretSize) */

json_t *kube_secret_tree(const char *name, const char *namespace, json_t *labels,
                         json_t *annotations);
/* Adds a member of data. */
void kube_secret_add(json_t *data, const char *member, const void *bytes, size_t length);
void kube_secret_add_json(json_t *data, const char *member, const json_t *value);
/* ERROR_LIMIT above KUBE_SECRET_MAX; `name` for the text. */
int kube_secret_check(const json_t *data, const char *name, struct error *err);

/* Appends a member's bytes; an error names Secret and member. ERROR_NOT_FOUND: it has none. */
int kube_secret_get(const json_t *secret, const char *member, struct buffer *ret,
                    struct error *err);
int kube_secret_get_json(const json_t *secret, const char *member, json_t **ret, struct error *err);
/* malloc'ed. A Z85 key: 40 characters of its alphabet (ZeroMQ RFC 32). */
int kube_secret_get_key(const json_t *secret, const char *member, char **ret, struct error *err);
bool kube_is_z85_key(const char *text);
