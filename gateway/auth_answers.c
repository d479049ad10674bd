#include "gateway/auth_answers.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/memory.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANSWERS_MAX = 20000,
    /* Of AUTH_ASKING_MAX: guesses of strangers must become neither a flood over there, nor keep
     * tokens that are known from being asked about again. */
    STRANGERS_MAX = 48,
    QUEUE_MAX = 1000,  /* of each: all users come at once to a gateway that was started again */
    NO_KEPT_MS = 5000, /* a token that nobody knows */
    FAILED_KEPT_MS = 1000,
    KEPT_MIN_MS = 1000, /* who waited asks again within this */
};

struct auth_answer {
    struct list_node node;   /* of known or strangers, the longest unused first */
    struct list_node queued; /* linked: it waits for its turn to be asked about, and has: */
    char *token;
    struct auth_answers *answers;
    char key[2 * AUTH_HASH_SIZE + 1];
    const struct auth_identity *identity;
    struct error *reason; /* why identity is NULL; NULL: the token is not known */
    int64_t counts_until; /* monotonic ms; 0: nothing was said yet */
    int64_t ask_again_at;
    bool is_asked;
    struct list waiters;
};

struct auth_answers {
    struct map *by_token;
    struct list known, strangers;
    struct queue {
        struct list list;
        size_t length;
    } known_queue, queue; /* whom we knew until now do not wait behind strangers */
    int64_t keep_ms;
    size_t asking;
    bool is_going_on; /* with the queue */
    auth_answers_ask *ask;
    void *context;
};

struct auth_answers *auth_answers_create(int64_t keep_ms, auth_answers_ask *ask, void *context) {
    struct auth_answers *answers = memory_alloc(sizeof *answers);
    answers->by_token = map_create();
    list_init(&answers->known);
    list_init(&answers->strangers);
    list_init(&answers->known_queue.list);
    list_init(&answers->queue.list);
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

static void forget_token(struct auth_answer *answer) {
    if (answer->token != NULL)
        explicit_bzero(answer->token, strlen(answer->token));
    free(answer->token);
    answer->token = NULL;
}

/* identity does not change while it waits. */
static struct queue *queue_of(struct auth_answer *answer) {
    return answer->identity != NULL ? &answer->answers->known_queue : &answer->answers->queue;
}

static void leave_queue(struct auth_answer *answer) {
    if (list_node_is_linked(&answer->queued))
        queue_of(answer)->length--;
    list_remove(&answer->queued);
}

static void drop(struct auth_answer *answer) {
    leave_queue(answer);
    forget_token(answer);
    free(answer->reason);
    map_remove(answer->answers->by_token, answer->key);
    list_remove(&answer->node);
    free(answer);
}

static void end_all(struct list *list) {
    list_each (list, struct auth_answer, node, answer) {
        wake(answer);
        drop(answer);
    }
}

void auth_answers_destroy(struct auth_answers *answers) {
    if (answers == NULL)
        return;
    end_all(&answers->known);
    end_all(&answers->strangers);
    map_destroy(answers->by_token);
    free(answers);
}

size_t auth_answers_count(const struct auth_answers *answers) {
    return map_count(answers->by_token);
}

static void forget_oldest(struct auth_answers *answers, struct list *list) {
    list_each (list, struct auth_answer, node, oldest) {
        if (map_count(answers->by_token) < ANSWERS_MAX)
            return;
        if (!oldest->is_asked && !list_node_is_linked(&oldest->queued))
            drop(oldest);
    }
}

/* What has to be forgotten is what was not used for the longest time, and of strangers first;
 * questions stay. */
static void make_room(struct auth_answers *answers) {
    forget_oldest(answers, &answers->strangers);
    forget_oldest(answers, &answers->known);
}

static void note_use(struct auth_answer *answer) {
    struct auth_answers *answers = answer->answers;
    list_remove(&answer->node);
    list_append(answer->identity != NULL ? &answers->known : &answers->strangers, &answer->node);
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
    note_use(answer);
    return answer;
}

static bool counts(const struct auth_answer *answer, int64_t now) {
    return answer->counts_until > now;
}

static void ask(struct auth_answer *answer, const char *token) {
    answer->is_asked = true;
    answer->answers->asking++;
    answer->answers->ask(answer->answers->context, token, answer);
}

static bool may_ask(const struct auth_answer *answer) {
    size_t most = answer->identity != NULL ? AUTH_ASKING_MAX : STRANGERS_MAX;
    return answer->answers->asking < most;
}

/* Asked about at once, or in its turn. */
static void want(struct auth_answer *answer, const char *token, bool is_urgent) {
    if (answer->is_asked || list_node_is_linked(&answer->queued))
        return;
    if (may_ask(answer)) {
        ask(answer, token);
    } else if (is_urgent && queue_of(answer)->length < QUEUE_MAX) {
        answer->token = memory_strdup(token);
        list_append(&queue_of(answer)->list, &answer->queued);
        queue_of(answer)->length++;
    }
}

static void ask_queued(const struct queue *queue) {
    while (!list_is_empty(&queue->list)) {
        struct auth_answer *next = list_entry(queue->list.head.next, struct auth_answer, queued);
        if (!may_ask(next))
            return;
        leave_queue(next);
        if (list_is_empty(&next->waiters)) { /* they have gone */
            drop(next);
            continue;
        }
        char *token = steal(&next->token);
        ask(next, token);
        explicit_bzero(token, strlen(token));
        free(token);
    }
}

/* An answer may come from inside, and with it this again. */
static void go_on_with_queues(struct auth_answers *answers) {
    if (answers->is_going_on)
        return;
    answers->is_going_on = true;
    ask_queued(&answers->known_queue);
    ask_queued(&answers->queue);
    answers->is_going_on = false;
}

enum auth_found auth_answers_find(struct auth_answers *answers,
                                  const struct auth_presented *presented,
                                  struct auth_waiter *waiter, const struct auth_identity **ret,
                                  struct error *err) {
    int64_t now = clock_monotonic_ms();
    struct auth_answer *answer = get(answers, presented);
    if (!counts(answer, now) || answer->ask_again_at <= now)
        want(answer, presented->token, !counts(answer, now));
    if (!counts(answer, now) && (answer->is_asked || list_node_is_linked(&answer->queued))) {
        list_remove(&waiter->node);
        list_append(&answer->waiters, &waiter->node);
        return AUTH_ASKING;
    }
    if (!counts(answer, now)) {
        drop(answer);
        error_set(err, ERROR_UNAVAILABLE,
                  "too many tokens are being asked about at this moment: try again");
        return AUTH_UNKNOWN;
    }
    *ret = answer->identity;
    if (answer->identity != NULL)
        return AUTH_FOUND;
    if (answer->reason != NULL && err != NULL)
        *err = *answer->reason;
    return AUTH_UNKNOWN;
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

static void set_reason(struct auth_answer *answer, const struct error *reason) {
    free(steal(&answer->reason));
    if (reason == NULL)
        return;
    answer->reason = memory_alloc(sizeof *answer->reason);
    *answer->reason = *reason;
}

static void take_yes_or_no(struct auth_answer *answer, const struct auth_identity *identity,
                           int64_t until_ms, const struct error *reason, int64_t now) {
    int64_t kept_ms = kept_for(answer->answers, identity, until_ms);
    set_reason(answer, reason);
    answer->identity = identity;
    answer->counts_until = now + (kept_ms > KEPT_MIN_MS ? kept_ms : KEPT_MIN_MS);
    /* An end of its own does not move by asking. */
    answer->ask_again_at = identity != NULL && kept_ms == answer->answers->keep_ms
                               ? now + kept_ms / 2
                               : answer->counts_until;
}

static void take_failure(struct auth_answer *answer, const struct error *err, int64_t now) {
    answer->ask_again_at = now + FAILED_KEPT_MS;
    if (counts(answer, now))
        return;
    set_reason(answer, err);
    answer->identity = NULL;
    answer->counts_until = answer->ask_again_at;
}

void auth_answer_give(struct auth_answer *answer, const struct auth_identity *identity,
                      int64_t until_ms, const struct error *err) {
    struct auth_answers *answers = answer->answers;
    int64_t now = clock_monotonic_ms();
    answer->is_asked = false;
    answers->asking--;
    if (err == NULL || err->code == ERROR_DENIED)
        take_yes_or_no(answer, identity, until_ms, err, now);
    else
        take_failure(answer, err, now);
    note_use(answer);
    wake(answer);
    go_on_with_queues(answers);
}
