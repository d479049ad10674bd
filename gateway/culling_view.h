/* What the culling knows and decides, as JSON for people and programs (docs/http-api.md). */
#pragma once

#include "gateway/culling.h"
#include "gateway/settings.h"

/* {"id", "verdict", "rule", "in_ms", "text", "inputs", "policy", "fresh"}; a new reference.
 * is_fresh: its launcher was asked just now. */
json_t *culling_why(struct kernel *kernel, const struct culling_view *view, bool is_fresh);
/* {"id", "name", "owner", "user", "verdict", "rule", "in_ms", "text"} */
json_t *culling_entry(struct kernel *kernel, const struct culling_view *view);
/* What is in effect, as GET /api/elara/status tells it; overrides name users. */
json_t *culling_settings_model(const struct culling_settings *settings, bool with_overrides);
/* null for what is not known: below 0. */
json_t *culling_number(int64_t value);

/* How long this client may have this kernel kept; 0: as long as it likes. */
int64_t culling_keep_max_ms(const struct culling *culling, const struct kernel *kernel,
                            const struct auth_identity *identity);

/* A duration as settings have it, a text ("4h") or a number of seconds; the error names `what`. */
int culling_duration(const json_t *value, const char *what, int64_t *ret_ms, struct error *err);
/* The policy that would be in effect with a settings file that says {"cull_idle_timeout": "1h",
 * ...}: what flags and variables say goes before that, and what nobody says has its default. */
int culling_read_policy(const json_t *policy, const struct settings *settings,
                        struct culling_policies **ret, struct error *err);
