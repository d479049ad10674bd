#include "gateway/http_login.h"

#include "base/memory.h"
#include "gateway/http_internal.h"

#include <openssl/x509.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct http_login {
    struct loop *loop;
    struct auth *auth;
    const struct auth_identity *identity;
    struct http_login_events events;
    void *context;
    char *authorization, *query_token; /* NULL: not sent */
    char *header_name, *header_value; /* by which a proxy said the user; NULL: none was asked for */
    X509 *certificate;                /* NULL: none */
    char address[HTTP_ADDRESS_SIZE];
    struct auth_waiter waiter;
    struct loop_task task;
    struct loop_deadline deadline;
    int64_t every_ms;
};

static char *copy(const char *text) {
    return text != NULL ? memory_strdup(text) : NULL;
}

static void wipe(char *text) {
    if (text != NULL)
        sodium_memzero(text, strlen(text));
    free(text);
}

static const char *same_header(void *context, const char *name) {
    const struct http_login *login = context;
    bool is_same = login->header_name != NULL && strcasecmp(login->header_name, name) == 0;
    return is_same ? login->header_value : NULL;
}

static void refuse(struct http_login *login) {
    loop_deadline_clear(login->loop, &login->deadline);
    login->events.lost(login->context, "the token that it came with does not count any more");
}

/* A server that cannot be asked takes nothing away from who is there. */
static void ask(void *context) {
    struct http_login *login = context;
    const struct auth_evidence evidence = {.authorization = login->authorization,
                                           .query_token = login->query_token,
                                           .address = login->address,
                                           .header = same_header,
                                           .header_context = login,
                                           .certificate = login->certificate};
    const struct auth_identity *identity;
    struct error err = {0};
    enum auth_verdict verdict = auth_check(login->auth, &evidence, &login->waiter, &identity, &err);
    if (verdict == AUTH_WAIT)
        return;
    loop_deadline_set(login->loop, &login->deadline, login->every_ms);
    if (verdict == AUTH_REFUSED && err.code != ERROR_UNAVAILABLE) {
        refuse(login);
    } else if (verdict == AUTH_KNOWN && identity != login->identity) {
        login->identity = identity;
        login->events.changed(login->context, identity); /* the last use */
    }
}

void http_login_ask(struct http_login *login) {
    if (login != NULL)
        loop_post(login->loop, &login->task);
}

static void on_answer(void *context) {
    http_login_ask(context);
}

struct http_login *http_login_create(struct http_request *request, int64_t every_ms,
                                     const struct http_login_events *events, void *context) {
    struct auth *auth = request->http->auth;
    if (auth == NULL || request->connection == NULL)
        return NULL;
    struct http_login *login = memory_alloc(sizeof *login);
    const X509 *certificate = http_tls_certificate(request->connection->io);
    login->loop = request->http->loop;
    login->auth = auth;
    login->identity = request->identity;
    login->events = *events;
    login->context = context;
    login->authorization = copy(http_head_field(&request->head, "Authorization"));
    login->query_token = copy(http_request_query(request, "token"));
    login->header_name = copy(request->asked_header);
    login->header_value = copy(request->asked_value);
    login->certificate = certificate != NULL ? X509_dup(certificate) : NULL;
    strcpy(login->address, request->connection->address);
    login->waiter = (struct auth_waiter){.run = on_answer, .context = login};
    login->task = (struct loop_task){.run = ask, .context = login};
    login->deadline = (struct loop_deadline){.run = ask, .context = login};
    login->every_ms = every_ms;
    if (auth_is_required(auth))
        loop_deadline_set(login->loop, &login->deadline, every_ms);
    return login;
}

void http_login_free(struct http_login *login) {
    if (login == NULL)
        return;
    list_remove(&login->waiter.node);
    loop_cancel(&login->task);
    loop_deadline_clear(login->loop, &login->deadline);
    X509_free(login->certificate);
    wipe(login->authorization);
    wipe(login->query_token);
    free(login->header_name);
    free(login->header_value);
    free(login);
}
