/* Who is asking: methods are tried in order, each in a file of its own (auth_token.c, auth_file.c,
 * auth_certificate.c, auth_proxy.c, auth_oidc.c, auth_review.c, auth_hub.c). The last three ask
 * another server, so that an answer may have to be waited for. */
#pragma once

#include "base/error.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth;
struct event_base;
struct x509_st;

enum auth_role {
    AUTH_USER,    /* his own kernels */
    AUTH_ADMIN,   /* all kernels */
    AUTH_VIEWER,  /* sees who has which kernels, and changes nothing */
    AUTH_METRICS, /* sees /metrics, and nothing else */
};

struct auth_identity {
    const char *name; /* owner of what it starts; lives as long as the auth, over reloads too */
    enum auth_role role;
    bool verified; /* false: the one user of a gateway without named tokens */
};

/* Texts NULL or "", lists NULL or empty: not wanted. */
struct auth_settings {
    const char *token;      /* the shared one, role admin */
    const char *token_file; /* names and hashed tokens */
    /* Which name of a verified client certificate counts: "cn", "email", "dns", "uri", "none". */
    const char *certificate_user;
    const char *proxy_header;     /* in which a proxy at one of these addresses says the user */
    char *const *proxy_addresses; /* "10.0.0.0/8", "::1" */
    const char *oidc_issuer, *oidc_audience, *oidc_user_claim;
    bool token_review;
    char *const *review_audiences, *const *review_namespaces;
    const char *kubeconfig, *context; /* for token_review outside of a cluster */
    const char *hub_api_url;
    char *const *hub_scopes;              /* one of them the token must have; empty: any token */
    const char *ca;                       /* PEM file, for the hub and the issuer */
    char *const *admins, *const *viewers; /* names of those whom a method without roles knows */
    int64_t keep_ms;                      /* what another server said counts so long */
};

/* loop: where other servers are asked; NULL: methods that do so are an error. */
int auth_create(struct event_base *loop, const struct auth_settings *settings, struct auth **ret,
                struct error *err);
void auth_destroy(struct auth *auth);
int auth_reload(struct auth *auth, struct error *err); /* on failure the old tokens stay */
/* The same with other settings. Identities that were given out stay. */
int auth_configure(struct auth *auth, const struct auth_settings *settings, struct error *err);
/* false: nothing is configured, everybody is the one user */
bool auth_is_required(const struct auth *auth);

/* What a client shows. Borrowed; NULL: it does not. */
struct auth_evidence {
    const char *authorization; /* the header */
    const char *query_token;   /* "?token=", which wins when it is there */
    bool is_page; /* people in a browser: HTTP Basic counts too, with the token as the password and
                   * any user name. Browsers send that by themselves from then on, for other sites'
                   * pages too, so whoever sets this looks at Origin before anything is changed. */
    const char *address; /* of the connection's other end, whatever a header says */
    /* A header's only value; NULL when it is not there, or more than once. */
    const char *(*header)(void *context, const char *name);
    void *header_context;
    const struct x509_st *certificate; /* verified */
};

/* Runs once, in a later turn, when the server has answered or cannot; then ask again. The end of
 * waiting is list_remove(&waiter.node). */
struct auth_waiter {
    struct list_node node;
    void (*run)(void *context);
    void *context;
};

enum auth_verdict { AUTH_KNOWN, AUTH_REFUSED, AUTH_WAIT };

/* AUTH_REFUSED: ERROR_DENIED when no method knows the client, ERROR_UNAVAILABLE when one that might
 * could not be asked. Constant-time where it compares by itself. */
enum auth_verdict auth_check(struct auth *auth, const struct auth_evidence *evidence,
                             struct auth_waiter *waiter, const struct auth_identity **ret,
                             struct error *err);

/* It could be a verified user's: not empty, "default" or longer than AUTH_NAME_MAX, UTF-8, without
 * slashes, control characters or spaces at an end. */
bool auth_is_user_name(const char *name);

/* May this identity see what `owner` owns, and use it? Admins may all; what viewers may not do is
 * refused before (http_routes.c); the role metrics may nothing. */
bool auth_may_use(const struct auth_identity *identity, const char *owner);
