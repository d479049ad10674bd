/* A client and the scripted server that it talks to. */
#pragma once

#include "base/memory.h"
#include "launcher/kube_client.h"

#include "kube_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct kube_fixture {
    struct event_base *loop;
    struct kube_server *server;
    struct kube_config *config;
    struct kube_client *client;
    struct kube_limits limits;
    char *url;
    unsigned requests; /* that came */
    kube_handler *handler;
    void *context; /* the handler's */
};

static inline void kube_fixture_handle(void *context, struct kube_connection *connection,
                                       const struct kube_incoming *request) {
    struct kube_fixture *fixture = context;
    fixture->requests++;
    fixture->handler(fixture->context, connection, request);
}

/* user: lines of YAML below the user; NULL: anonymous. more: below the cluster. */
static inline struct kube_config *kube_fixture_config(const char *url, const char *more,
                                                      const char *user) {
    char *text = memory_printf("current-context: test\n"
                               "contexts:\n- {name: test, context: {cluster: c, user: u}}\n"
                               "clusters:\n- name: c\n  cluster:\n    server: %s\n%s"
                               "users:\n- name: u\n  user:\n%s",
                               url, more, user != NULL ? user : "    {}\n");
    char *path = kube_write_file("kubeconfig", text);
    struct kube_config *config = NULL;
    struct error err;
    if (kube_config_load(path, NULL, &config, &err) < 0)
        fail_msg("%s", err.text);
    free(path);
    free(text);
    return config;
}

static inline void kube_fixture_client(struct kube_fixture *fixture) {
    struct error err;
    if (kube_client_create(fixture->loop, fixture->config, &fixture->limits, &fixture->client,
                           &err) < 0)
        fail_msg("%s", err.text);
}

static inline void kube_fixture_begin(struct kube_fixture *fixture, kube_handler *handler,
                                      void *context) {
    signal(SIGPIPE, SIG_IGN);
    fixture->loop = event_base_new();
    fixture->handler = handler;
    fixture->context = context;
    fixture->server = kube_server_start(fixture->loop, 0, NULL, kube_fixture_handle, fixture);
    fixture->url = memory_printf("http://127.0.0.1:%d", kube_server_port(fixture->server));
    fixture->config = kube_fixture_config(fixture->url, "", NULL);
    if (fixture->limits.pause_ms == 0)
        fixture->limits.pause_ms = 2;
    kube_fixture_client(fixture);
}

static inline void kube_fixture_end(struct kube_fixture *fixture) {
    kube_client_destroy(fixture->client);
    kube_config_destroy(fixture->config);
    kube_server_stop(fixture->server);
    event_base_free(fixture->loop);
    free(fixture->url);
}
