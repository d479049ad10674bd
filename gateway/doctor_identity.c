/* Whether those who say whose a token is can be asked: each is shown one that nobody has. */
#include "base/memory.h"
#include "base/text.h"
#include "gateway/auth.h"
#include "gateway/doctor.h"
#include "gateway/gateway.h"
#include "gateway/settings.h"

#include <event2/event.h>

static const char *no_header(void *context, const char *name) {
    (void)context, (void)name;
    return NULL;
}

static void on_answer(void *context) {
    *(bool *)context = true;
}

/* As long as it takes to be refused: all who are asked have a time-out. */
static int ask(struct event_base *loop, struct auth *auth, const char *token, struct error *err) {
    bool was_woken = false;
    struct auth_waiter waiter = {.run = on_answer, .context = &was_woken};
    struct auth_evidence evidence = {.query_token = token, .header = no_header};
    const struct auth_identity *identity = NULL;
    while (auth_check(auth, &evidence, &waiter, &identity, err) == AUTH_WAIT) {
        was_woken = false;
        while (!was_woken)
            event_base_loop(loop, EVLOOP_ONCE);
    }
    return err->code == ERROR_UNAVAILABLE ? -1 : 0;
}

static void check(struct doctor *doctor, const char *what, const char *setting, const char *token,
                  const struct auth_settings *settings) {
    struct event_base *loop = event_base_new();
    struct auth *auth = NULL;
    struct error err = {0};
    if (auth_create(loop, settings, &auth, &err) < 0 || ask(loop, auth, token, &err) < 0)
        doctor_tell(doctor, "identity", DOCTOR_FAIL, setting, memory_strdup(err.text));
    else
        doctor_tell(doctor, "identity", DOCTOR_OK, "", memory_printf("%s answers", what));
    auth_destroy(auth);
    event_base_free(loop);
}

void doctor_check_identity(struct doctor *doctor, const struct settings *settings) {
    static const char no_jwt[] = "elara-doctor", jwt[] = "eyJhbGciOiJSUzI1NiJ9.e30.AAAA";
    struct auth_settings all, one;
    gateway_auth_settings(settings, &all);
    one = (struct auth_settings){.ca = all.ca, .keep_ms = all.keep_ms};
    if (text_or_null(all.hub_api_url) != NULL) {
        one.hub_api_url = all.hub_api_url;
        check(doctor, all.hub_api_url, "correct --jupyterhub-api-url, or start the hub", no_jwt,
              &one);
        one.hub_api_url = NULL;
    }
    if (text_or_null(all.oidc_issuer) != NULL) {
        one.oidc_issuer = all.oidc_issuer;
        one.oidc_audience = all.oidc_audience;
        one.oidc_user_claim = all.oidc_user_claim;
        check(doctor, all.oidc_issuer, "correct --oidc-issuer, or start the provider", jwt, &one);
        one.oidc_issuer = NULL;
    }
    if (all.token_review) {
        one.token_review = true;
        one.review_audiences = all.review_audiences;
        one.review_namespaces = all.review_namespaces;
        one.kubeconfig = all.kubeconfig;
        one.context = all.context;
        check(doctor, "the Kubernetes API server",
              "correct --kubeconfig, or grant the right (manifests/components/token-review)", jwt,
              &one);
    }
}
