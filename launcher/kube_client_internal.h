/* What kube_watch.c needs of the client beside calls: streams, which no queue holds up. */
#pragma once

#include "launcher/kube_client.h"
#include "launcher/kube_error.h"

struct event_base *kube_client_loop(const struct kube_client *client);

/* A GET whose answer is handed over as it comes. */
struct kube_exchange *kube_client_stream(struct kube_client *client, const char *path,
                                         const struct kube_exchange_events *events, void *context);

struct kube_target kube_client_target(const struct kube_client *client, const char *method,
                                      const char *path);

/* Looks at the credentials' files; counts up when they were others. */
unsigned kube_client_renew(struct kube_client *client);
