/* What HELLO and WELCOME settle (docs/link-protocol.md): the lower of both versions, and the
 * optional features that both sides named. Each side has one list of names; a new feature is one
 * line in each. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { LINK_CAPABILITIES_MAX = 32 }; /* names in a list */

struct link_terms {
    int version;           /* 0: nothing is settled */
    uint32_t capabilities; /* bit n: the other side named own[n] too */
};

/* The members `version` and `capabilities` of a HELLO or WELCOME; a new object. own: names, NULL at
 * the end. */
json_t *link_terms_offer(const char *const *own);
/* What the other side's HELLO or WELCOME and our own list come to. Names that we do not know are
 * passed over; without the member there are none. ERROR_INVALID names the member. */
int link_terms_settle(const json_t *said, const char *const *own, struct link_terms *ret,
                      struct error *err);
/* name: one of own. */
bool link_terms_have(const struct link_terms *terms, const char *const *own, const char *name);
