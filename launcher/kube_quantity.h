/* Amounts as the Kubernetes API writes them ("500m", "2", "1.5Gi", "1e3"; Kubernetes documentation,
 * "Quantity"). */
#pragma once

#include "base/error.h"

/* A positive amount or 0; an error says what is wrong with the text `what` has. ret may be NULL. */
int kube_quantity_parse(const char *text, const char *what, double *ret, struct error *err);
