/* What is told of a kernel after its end: the 404's reason, and the line in front of the first
 * output of its owner's next kernel. Both survive the gateway. */
#pragma once

#include "base/error.h"
#include "gateway/auth.h"

#include <jansson.h>
#include <stdint.h>

struct kernel_ends;

/* directory: the runtime directory; NULL: nothing is kept. */
int kernel_ends_create(const char *directory, struct kernel_ends **ret, struct error *err);
void kernel_ends_destroy(struct kernel_ends *ends);

/* by_another: another gateway ended it, which may know better: what it has said stays. */
void kernel_ends_bury(struct kernel_ends *ends, const char *kernel_id, const char *owner,
                      const char *reason, bool by_another);
/* Until the next call; NULL: nothing is known, or it is not for this client. */
const char *kernel_ends_reason(struct kernel_ends *ends, const char *kernel_id,
                               const struct auth_identity *identity, int64_t retention_ms);

/* Whose next kernel: user (never NULL), kernelspec, and the working directory in the client's own
 * words ("" for none). */
struct kernel_heir {
    const char *user, *spec, *directory;
};
/* Nothing, if it was told already. from: the id of the kernel that it is about. */
void kernel_ends_bequeath(struct kernel_ends *ends, const struct kernel_heir *heir,
                          const char *text, const char *from);
/* A kernel tells it, or has: another gateway's, or an earlier one's of ours. */
void kernel_ends_told(struct kernel_ends *ends, const struct kernel_heir *heir, const char *text);
/* Nobody could be told what this kernel had inherited: it is for the next one, unless there is
 * news. */
void kernel_ends_return(struct kernel_ends *ends, const struct kernel_heir *heir,
                        const json_t *inherited, const char *kernel_id);
/* {"text", "from", "instead_of": the kernel that could not tell it}, a new reference, or NULL: it
 * is told once. */
json_t *kernel_ends_inherit(struct kernel_ends *ends, const struct kernel_heir *heir);
