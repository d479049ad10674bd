/* The policy's YAML file (docs/policy.md), read and checked as a whole: one with a mistake in it is
 * no policy. */
#pragma once

#include "base/error.h"
#include "launcher/policy.h"

#include <stddef.h>

enum { POLICY_FILE_MAX = 256 << 10, POLICY_RULES_MAX = 256 };

/* What counts where the file says nothing: uid.prohibited and gid.prohibited. NULL: none. */
struct policy_defaults {
    char *const *prohibited_uids, *const *prohibited_gids;
};

/* The error begins with file and line: "policy.yaml:12: volumes.types[0]: ...". */
int policy_file_load(const char *path, const struct policy_defaults *defaults, struct policy **ret,
                     struct error *err);
/* Paths by which a link that a user may make leads on to another's data: whoever mounts what is
 * below a path (/ and two stars at its end) for writing can put one there, and NFS clients follow
 * it. An array of "policy.yaml:12: volumes.nfs[0].paths[1]: ..."; a new reference. */
json_t *policy_file_doubts(const struct policy *policy);
/* The same of a text; name: for errors and refusals, without directories. */
int policy_file_parse(const char *text, size_t length, const char *name,
                      const struct policy_defaults *defaults, struct policy **ret,
                      struct error *err);
