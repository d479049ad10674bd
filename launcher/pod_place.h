/* What a launcher finds in its pod: a read-only directory with launch.json, record.json and the
 * keys of the link (a mounted Secret, whose files are symbolic links), and a kernel directory of
 * its own that outlives the container (in an emptyDir). docs/link-protocol.md, "In a pod". */
#pragma once

#include "base/error.h"
#include "launcher/link_curve.h"

#include <stdbool.h>

/* Makes the kernel directory, private, and copies launch.json and record.json there, unless an
 * earlier container of the pod has. *has_ended: that one ended in good order, and nothing is to be
 * done. An error names the file and what is wrong with it. */
int pod_place_prepare(const char *place, const char *directory, bool *has_ended, struct error *err);
/* Leaves the mark of it. */
int pod_place_end(const char *directory, struct error *err);

/* link.key, link.pub and gateway.pub: Z85, a newline behind it does not matter. The caller wipes
 * what it got. */
int pod_place_read_keys(const char *place, struct link_curve_keys *ret, struct error *err);

/* Why the container could not work, for its status; where Kubernetes has put the file for it. */
void pod_place_explain(const char *text);
