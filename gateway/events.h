/* What happens to kernels, as JSON lines in a file: the form of jupyter_events
 * (https://jupyter-events.readthedocs.io), so that its readers can read them. The schemas are
 * docs/events/. */
#pragma once

#include "base/error.h"

#include <jansson.h>

struct events;

enum event_kind { EVENT_KERNEL_ACTION, EVENT_KERNEL_CULLING };

/* Appends to the file, which is made when it is missing. path NULL or "": *ret is NULL, and no
 * event is written. */
int events_create(const char *path, struct events **ret, struct error *err);
void events_destroy(struct events *events);
/* The file may have been renamed: goes on in a new one. When there can be none, in the old one. */
void events_reopen(struct events *events);

/* One line, in one write. events NULL: nothing. What cannot be written is lost, and logged once. */
void events_emit(struct events *events, enum event_kind kind, json_t *data /* stolen */);
