#include "gateway/auth_answers.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/memory.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANSWERS_MAX = 20000,
    ASKING_MAX = 64,   /* at once; guesses of strangers must not become a flood over there */
    NO_KEPT_MS = 5000, /* a token that nobody knows */
    FAILED_KEPT_MS = 1000,
    KEPT_MIN_MS = 1000, /* who waited asks again within this */
};

struct auth_answer {
    struct list_node node; /* of those that are kept, the longest unused first */
    struct auth_answers *answers;
    char key[2 * AUTH_HASH_SIZE + 1];
    const struct auth_identity *identity;
    struct error err;     /* code ERROR_NONE: it was answered */
    int64_t counts_until; /* monotonic ms; 0: nothing was said yet */
    int64_t ask_again_at;
    bool is_asked;
    struct list waiters;
};

struct auth_answers {
    struct map *by_token;
    struct list kept;
    int64_t keep_ms;
    size_t asking;
    auth_answers_ask *ask;
    void *context;
};

struct auth_answers *auth_answers_create(int64_t keep_ms, auth_answers_ask *ask, void *context) {
    struct auth_answers *answers = memory_alloc(sizeof *answers);
    answers->by_token = map_create();
    list_init(&answers->kept);
    answers->keep_ms = keep_ms;
    answers->ask = ask;
    answers->context = context;
    return answers;
}

static void wake(struct auth_answer *answer) {
    list_each (&answer->waiters, struct auth_waiter, node, waiter) {
        list_remove(&waiter->node);
        waiter->run(waiter->context);
    }
}

static void drop(struct auth_answer *answer) {
    map_remove(answer->answers->by_token, answer->key);
    list_remove(&answer->node);
    free(answer);
}

void auth_answers_destroy(struct auth_answers *answers) {
    if (answers == NULL)
        return;
    list_each (&answers->kept, struct auth_answer, node, answer) {
        wake(answer);
        drop(answer);
    }
    map_destroy(answers->by_token);
    free(answers);
}

size_t auth_answers_count(const struct auth_answers *answers) {
    return map_count(answers->by_token);
}

/* What has to be forgotten is what was not used for the longest time; questions stay. */
static void make_room(struct auth_answers *answers) {
    list_each (&answers->kept, struct auth_answer, node, oldest) {
        if (map_count(answers->by_token) < ANSWERS_MAX)
            return;
        if (!oldest->is_asked)
            drop(oldest);
    }
}

static struct auth_answer *get(struct auth_answers *answers,
                               const struct auth_presented *presented) {
    char key[2 * AUTH_HASH_SIZE + 1];
    sodium_bin2hex(key, sizeof key, presented->blake2b, sizeof presented->blake2b);
    struct auth_answer *answer = map_get(answers->by_token, key);
    if (answer == NULL) {
        make_room(answers);
        answer = memory_alloc(sizeof *answer);
        answer->answers = answers;
        memcpy(answer->key, key, sizeof key);
        list_init(&answer->waiters);
        map_put(answers->by_token, key, answer);
    }
    list_remove(&answer->node);
    list_append(&answers->kept, &answer->node);
    return answer;
}

static void ask(struct auth_answer *answer, const char *token) {
    answer->is_asked = true;
    answer->answers->asking++;
    answer->answers->ask(answer->answers->context, token, answer);
}

static bool counts(const struct auth_answer *answer, int64_t now) {
    return answer->counts_until > now;
}

enum auth_found auth_answers_find(struct auth_answers *answers,
                                  const struct auth_presented *presented,
                                  struct auth_waiter *waiter, const struct auth_identity **ret,
                                  struct error *err) {
    int64_t now = clock_monotonic_ms();
    struct auth_answer *answer = get(answers, presented);
    bool is_wanted = !counts(answer, now) || answer->ask_again_at <= now;
    if (is_wanted && !answer->is_asked && answers->asking < ASKING_MAX)
        ask(answer, presented->token);
    if (!counts(answer, now) && answer->is_asked) {
        list_remove(&waiter->node);
        list_append(&answer->waiters, &waiter->node);
        return AUTH_ASKING;
    }
    if (!counts(answer, now)) {
        drop(answer);
        error_set(err, ERROR_UNAVAILABLE,
                  "too many tokens are being asked about at this moment: try again");
        return AUTH_FAILED;
    }
    if (answer->err.code != ERROR_NONE) {
        if (err != NULL)
            *err = answer->err;
        return AUTH_FAILED;
    }
    *ret = answer->identity;
    return answer->identity != NULL ? AUTH_FOUND : AUTH_UNKNOWN;
}

void *auth_answer_context(const struct auth_answer *answer) {
    return answer->answers->context;
}

static int64_t kept_for(const struct auth_answers *answers, const struct auth_identity *identity,
                        int64_t until_ms) {
    if (identity == NULL)
        return answers->keep_ms < NO_KEPT_MS ? answers->keep_ms : NO_KEPT_MS;
    int64_t left = until_ms - clock_wall_us() / 1000;
    return until_ms > 0 && left < answers->keep_ms ? left : answers->keep_ms;
}

void auth_answer_give(struct auth_answer *answer, const struct auth_identity *identity,
                      int64_t until_ms, const struct error *err) {
    int64_t now = clock_monotonic_ms();
    answer->is_asked = false;
    answer->answers->asking--;
    if (err == NULL) {
        int64_t kept_ms = kept_for(answer->answers, identity, until_ms);
        answer->identity = identity;
        answer->err.code = ERROR_NONE;
        answer->counts_until = now + (kept_ms > KEPT_MIN_MS ? kept_ms : KEPT_MIN_MS);
        /* An end of its own does not move by asking. */
        answer->ask_again_at = identity != NULL && kept_ms == answer->answers->keep_ms
                                   ? now + kept_ms / 2
                                   : answer->counts_until;
    } else if (counts(answer, now)) {
        answer->ask_again_at = now + FAILED_KEPT_MS;
    } else {
        answer->err = *err;
        answer->counts_until = answer->ask_again_at = now + FAILED_KEPT_MS;
    }
    wake(answer);
}
