/* A scripted API server on loopback, on the test's own loop: it parses requests, and says whatever
 * bytes the test wants. */
#pragma once

#include "kube_pems.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct kube_server;
struct kube_connection;

struct kube_incoming {
    const char *method, *path; /* path with its query */
    const char *head;          /* the whole request up to the empty line */
    const char *body;
};

typedef void kube_handler(void *context, struct kube_connection *connection,
                          const struct kube_incoming *request);

/* tls: NULL speaks http. port: 0 for any. */
struct kube_server *kube_server_start(struct event_base *loop, int port,
                                      const struct kube_pems *tls, kube_handler *handler,
                                      void *context);
void kube_server_stop(struct kube_server *server); /* closes its connections; NULL is fine */
int kube_server_port(const struct kube_server *server);
unsigned kube_server_accepted(const struct kube_server *server);

/* Raw bytes; an answer; a part of a chunked body (length 0 ends it). */
void kube_write(struct kube_connection *connection, const void *data, size_t length);
void kube_answer(struct kube_connection *connection, int status, const char *more_headers,
                 const char *body);
void kube_answer_json(struct kube_connection *connection, int status,
                      json_t *tree); /* takes tree */
void kube_answer_status(struct kube_connection *connection, int status, const char *reason,
                        const char *message);
void kube_stream_begin(struct kube_connection *connection);
void kube_stream_write(struct kube_connection *connection, const char *data, size_t length);
void kube_stream_event(struct kube_connection *connection, const char *type,
                       json_t *object); /* takes object */
/* After all is written, or at once. */
void kube_close(struct kube_connection *connection);
void kube_abort(struct kube_connection *connection);

/* Runs the loop until *flag or until count reaches at_least; fails after 30 s. */
void kube_run_until(struct event_base *loop, const bool *flag);
void kube_run_until_count(struct event_base *loop, const unsigned *count, unsigned at_least);
/* Runs the loop for a while: only to see that nothing happens. */
void kube_run_for(struct event_base *loop, int ms);

/* A file below the directory of this process's tests, which is removed at its end. */
const char *kube_directory(void);
char *kube_write_file(const char *name, const char *text); /* the path; to be freed */
void kube_remove_directory(void);
