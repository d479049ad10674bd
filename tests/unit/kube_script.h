/* Calls and what they come to, and a server that does one thing after the other. */
#pragma once

#include "kube_fixture.h"

/* What a call came to. */
struct kube_result {
    bool is_done;
    int status;
    json_t *answer;
    enum error_code code;
    char text[1024];
};

void kube_on_done(void *context, int status, json_t *answer, const struct error *err);
void kube_clear(struct kube_result *result);
/* Clears result, and waits until it is there. */
void kube_call_and_wait(struct kube_fixture *fixture, struct kube_result *result,
                        const struct kube_call *given);
void kube_get(struct kube_fixture *fixture, struct kube_result *result, int64_t deadline_ms);
void kube_post(struct kube_fixture *fixture, struct kube_result *result, bool may_repeat);

#define assert_text(result, words)                                                                 \
    do {                                                                                           \
        if (strstr((result)->text, words) == NULL)                                                 \
            fail_msg("\"%s\" is not in: %s", words, (result)->text);                               \
    } while (0)

/* A script: one action a request, the last one again and again. */

enum kube_action {
    ANSWER, /* 200 with the request's method and body */
    BREAK,  /* close without a word */
    RESET,
    TRUNCATE, /* half an answer */
    CHUNKED_TRUNCATE,
    GARBAGE, /* 200 without JSON */
    EMPTY,
    ENORMOUS,
    REDIRECT,
    SILENCE,
    TOO_MANY,         /* 429 with Retry-After: 1 */
    TOO_MANY_AT_ONCE, /* without */
    UNAVAILABLE,
    INTERNAL,
    GATEWAY, /* 502 of a proxy, in HTML */
    CONFLICT,
    EXISTS,
    UNAUTHORIZED,
};

struct kube_script {
    const enum kube_action *actions;
    size_t count, at;
    char last_head[4096];
};

/* A kube_handler; context: the struct kube_script. */
void kube_script_handle(void *context, struct kube_connection *connection,
                        const struct kube_incoming *request);
void kube_tell_back(struct kube_connection *connection, const struct kube_incoming *request);
void kube_refuse(struct kube_connection *connection, int status, const char *reason);

#define SCRIPT(...)                                                                                \
    {                                                                                              \
        .actions = (const enum kube_action[]){__VA_ARGS__},                                        \
        .count = sizeof((const enum kube_action[]){__VA_ARGS__}) / sizeof(enum kube_action)        \
    }
