/* The fields of what would be made, for people: value, who said it, what allows it. */
#pragma once

#include "gateway/explain.h"
#include "launcher/kube_trace.h"
#include "launcher/provisioner.h"

/* A new reference. user: whose kernel it is for the policy. Masks the secrets of what explanation
 * holds: values of variables that look like one by their name. */
json_t *explain_fields(const struct provision_order *order, const char *user,
                       struct explanation *explanation, const struct kube_trace *trace);
