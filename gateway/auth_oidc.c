/* OpenID Connect: tokens that a provider has signed for us (OpenID Connect Discovery 1.0; RFC
 * 7519). Its keys are fetched, and again when a token has been signed with one that is not among
 * them, or after a while. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/auth_answers.h"
#include "gateway/jwt.h"
#include "gateway/web_client.h"

#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/auth_oidc"

enum {
    FETCH_TIMEOUT_MS = 5000,
    FETCH_PAUSE_MS = 2000, /* tokens of strangers must not have us ask without end */
    KEYS_KEPT_MS = 3600 * 1000,
};

struct waiting {
    struct auth_answer *answer;
    char *token;
};

struct oidc {
    struct auth_method method;
    struct auth *auth;
    struct web_client *client;
    struct auth_answers *answers;
    char *issuer, *audience, *user_claim;
    struct jwt_keys *keys; /* NULL: not fetched yet */
    bool is_fetching;
    int64_t fetched_at;   /* or tried; 0: never */
    struct error failure; /* why it was in vain */
    struct waiting waiting[AUTH_ASKING_MAX];
    size_t waiting_count;
};

static void forget(struct waiting *waiting) {
    explicit_bzero(waiting->token, strlen(waiting->token));
    free(waiting->token);
}

static int read_user(const struct oidc *oidc, const json_t *claims,
                     const struct auth_identity **identity, struct error *err) {
    const char *name = json_string_value(json_object_get(claims, oidc->user_claim));
    bool is_email = strcmp(oidc->user_claim, "email") == 0; /* which anybody may claim to have */
    if (name == NULL)
        return error_set(err, ERROR_DENIED, "the token has no claim %s (oidc-user-claim)",
                         oidc->user_claim);
    if (is_email && !json_is_true(json_object_get(claims, "email_verified")))
        return error_set(err, ERROR_DENIED,
                         "the token's email is not verified: its email_verified is not true");
    *identity = auth_identity_of(oidc->auth, name);
    return *identity != NULL ? 0
                             : error_set(err, ERROR_DENIED, "the token's user cannot be an owner");
}

static int read_token(const struct oidc *oidc, const char *token,
                      const struct auth_identity **identity, int64_t *until_ms, struct error *err) {
    cleanup_json json_t *claims = NULL;
    if (jwt_verify(oidc->keys, token, oidc->issuer, &claims, err) < 0 ||
        jwt_check_claims(claims, oidc->audience, clock_wall_us() / 1000, until_ms, err) < 0)
        return -1;
    return read_user(oidc, claims, identity, err);
}

static void give_denied(struct auth_answer *answer, const struct error *why) {
    struct error err = *why;
    err.code = ERROR_DENIED;
    auth_answer_give(answer, NULL, 0, &err);
}

/* false: newer keys may know the token. */
static bool answer_with_keys(const struct oidc *oidc, const char *token, struct auth_answer *answer,
                             bool is_last) {
    const struct auth_identity *identity = NULL;
    int64_t until_ms = 0;
    struct error err;
    if (read_token(oidc, token, &identity, &until_ms, &err) == 0)
        auth_answer_give(answer, identity, until_ms, NULL);
    else if (err.code == ERROR_NOT_FOUND && !is_last)
        return false;
    else
        give_denied(answer, &err);
    return true;
}

/* err NULL: the keys are there. */
static void end_fetch(struct oidc *oidc, const struct error *err) {
    struct waiting waiting[AUTH_ASKING_MAX];
    size_t count = oidc->waiting_count;
    memcpy(waiting, oidc->waiting, sizeof waiting);
    oidc->waiting_count = 0;
    oidc->is_fetching = false;
    oidc->fetched_at = clock_monotonic_ms();
    oidc->failure.code = ERROR_NONE;
    if (err != NULL) {
        oidc->failure = *err;
        log_warning("%s", err->text);
    }
    for (size_t i = 0; i < count; i++) {
        if (oidc->keys == NULL ||
            !answer_with_keys(oidc, waiting[i].token, waiting[i].answer, err == NULL))
            auth_answer_give(waiting[i].answer, NULL, 0, err);
        forget(&waiting[i]);
    }
}

static void fail_fetch(struct oidc *oidc, const char *what, int status, const struct error *cause) {
    struct error err;
    if (cause != NULL)
        error_set(&err, ERROR_UNAVAILABLE, "%s", cause->text);
    else
        error_set(&err, ERROR_UNAVAILABLE, "%s: %s: status %d", oidc->issuer, what, status);
    error_wrap(&err, "the OpenID provider's keys cannot be fetched");
    end_fetch(oidc, &err);
}

static void on_keys(void *context, int status, const json_t *answer, const struct error *err) {
    struct oidc *oidc = context;
    struct jwt_keys *keys;
    struct error why;
    if (err != NULL || status != 200) {
        fail_fetch(oidc, "jwks_uri", status, err);
        return;
    }
    if (jwt_keys_parse(answer, &keys, &why) < 0) {
        fail_fetch(oidc, "jwks_uri", status, &why);
        return;
    }
    jwt_keys_destroy(oidc->keys);
    oidc->keys = keys;
    end_fetch(oidc, NULL);
}

/* Discovery, section 4.3: an issuer that says to be another one is not believed. */
static void on_configuration(void *context, int status, const json_t *answer,
                             const struct error *err) {
    struct oidc *oidc = context;
    const char *issuer = json_string_value(json_object_get(answer, "issuer"));
    const char *keys = json_string_value(json_object_get(answer, "jwks_uri"));
    struct error why;
    if (err != NULL || status != 200) {
        fail_fetch(oidc, "/.well-known/openid-configuration", status, err);
    } else if (text_starts_with(oidc->issuer, "https://") && keys != NULL &&
               !text_starts_with(keys, "https://")) {
        error_set(&why, ERROR_UNAVAILABLE, "%s: jwks_uri is not https: %.200s", oidc->issuer, keys);
        fail_fetch(oidc, "", status, &why);
    } else if (issuer == NULL || strcmp(issuer, oidc->issuer) != 0 || keys == NULL) {
        error_set(&why, ERROR_UNAVAILABLE,
                  "oidc-issuer: %s says that its issuer is %.200s; the two must be the same",
                  oidc->issuer, issuer != NULL ? issuer : "nobody");
        fail_fetch(oidc, "", status, &why);
    } else {
        web_client_get(oidc->client, keys, NULL, FETCH_TIMEOUT_MS, on_keys, oidc);
    }
}

static void fetch(struct oidc *oidc) {
    size_t length = strlen(oidc->issuer);
    char *url = memory_printf("%.*s/.well-known/openid-configuration",
                              (int)(length - (oidc->issuer[length - 1] == '/')), oidc->issuer);
    oidc->is_fetching = true;
    web_client_get(oidc->client, url, NULL, FETCH_TIMEOUT_MS, on_configuration, oidc);
    free(url);
}

/* The keys were asked for a moment ago. What was signed with a newer one may come in later. */
static void give_later(const struct oidc *oidc, struct auth_answer *answer) {
    struct error err = oidc->failure;
    if (err.code == ERROR_NONE)
        error_set(&err, ERROR_UNAVAILABLE,
                  "%s did not publish the token's key a moment ago: try again", oidc->issuer);
    auth_answer_give(answer, NULL, 0, &err);
}

static void ask(void *context, const char *token, struct auth_answer *answer) {
    struct oidc *oidc = context;
    int64_t since_ms = clock_monotonic_ms() - oidc->fetched_at;
    if (oidc->keys != NULL && since_ms > KEYS_KEPT_MS && !oidc->is_fetching)
        fetch(oidc); /* nobody has to wait for it */
    if (oidc->keys != NULL && answer_with_keys(oidc, token, answer, false))
        return;
    if (!oidc->is_fetching && oidc->fetched_at != 0 && since_ms < FETCH_PAUSE_MS) {
        give_later(oidc, answer);
        return;
    }
    oidc->waiting[oidc->waiting_count++] = (struct waiting){answer, memory_strdup(token)};
    if (!oidc->is_fetching)
        fetch(oidc);
}

static enum auth_found oidc_find(struct auth_method *self, const struct auth_evidence *evidence,
                                 const struct auth_presented *presented, struct auth_waiter *waiter,
                                 const struct auth_identity **ret, struct error *err) {
    (void)evidence;
    const struct oidc *oidc = (const struct oidc *)self;
    if (!auth_token_is_jwt(presented->token))
        return AUTH_UNKNOWN;
    return auth_answers_find(oidc->answers, presented, waiter, ret, err);
}

static void oidc_destroy(struct auth_method *self) {
    struct oidc *oidc = (struct oidc *)self;
    web_client_destroy(oidc->client);
    auth_answers_destroy(oidc->answers);
    for (size_t i = 0; i < oidc->waiting_count; i++)
        forget(&oidc->waiting[i]);
    jwt_keys_destroy(oidc->keys);
    free(oidc->issuer);
    free(oidc->audience);
    free(oidc->user_claim);
    free(oidc);
}

static const struct auth_method_ops oidc_ops = {
    .name = "OpenID Connect",
    .is_last_resort = true,
    .needs_token = true,
    .find = oidc_find,
    .destroy = oidc_destroy,
};

int auth_oidc_create(struct auth *auth, struct event_base *loop,
                     const struct auth_settings *settings, struct auth_method **ret,
                     struct error *err) {
    if (!text_starts_with(settings->oidc_issuer, "https://") &&
        !text_starts_with(settings->oidc_issuer, "http://"))
        return error_set(err, ERROR_INVALID, "oidc-issuer: must begin with https://");
    if (text_or_null(settings->oidc_audience) == NULL)
        return error_set(err, ERROR_INVALID,
                         "oidc-audience: must be set beside oidc-issuer, or tokens that are for "
                         "other programs would open this one");
    struct web_client *client;
    if (web_client_create(loop, settings->ca, &client, err) < 0)
        return -1;
    struct oidc *oidc = memory_alloc(sizeof *oidc);
    oidc->method.ops = &oidc_ops;
    oidc->auth = auth;
    oidc->client = client;
    oidc->answers = auth_answers_create(settings->keep_ms, ask, oidc);
    oidc->issuer = memory_strdup(settings->oidc_issuer);
    oidc->audience = memory_strdup(settings->oidc_audience);
    oidc->user_claim = memory_strdup(settings->oidc_user_claim);
    fetch(oidc); /* so that the first client need not wait, and the log tells what is wrong */
    *ret = &oidc->method;
    return 0;
}
