/* A pod's events, read for what its status does not say (Kubernetes API, core/v1 Event). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Events of one kind, of which there may be many: the first's time, the last's time and message. */
struct kube_event_note {
    const char *message; /* borrowed from the events; NULL: there was none */
    int64_t first_ms, last_ms;
};

struct kube_events {
    struct kube_event_note mount, attach, sandbox; /* troubles before any container */
    struct kube_event_note scale_up, no_scale_up;  /* of the autoscaler */
    struct kube_event_note preempted, evicted, tainted;
    int64_t progress_ms; /* the last time that a container got further; 0: none did */
};

/* Those of the pod with that uid; NULL: of any. */
void kube_events_read(const json_t *events, const char *uid, struct kube_events *ret);

/* The same for one container, in which `field` is "spec.containers{kernel}". */
struct kube_container_events {
    struct kube_event_note pulling, pulled, pull_failed, failed;
};
void kube_events_read_container(const json_t *events, const char *uid, const char *field,
                                struct kube_container_events *ret);

/* Is it the last word, or did a container get further since? */
bool kube_event_is_current(const struct kube_events *events, const struct kube_event_note *note);
