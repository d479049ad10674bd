/* What another server said of tokens: how often it is asked, and how long that counts. The test is
 * that server, and moves the clock. */
#include "base/clock.h"
#include "base/log.h"
#include "gateway/auth_answers.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { KEEP_MS = 60000, STRANGERS = 48, QUEUE = 1000, KEPT = 20000 };

struct other {
    struct auth_answers *answers;
    struct auth_answer *asked[4096]; /* in this order */
    char tokens[4096][32];
    size_t count;
    const struct auth_identity *at_once; /* is given from inside */
};

static const struct auth_identity alice = {.name = "alice", .verified = true};

static void on_ask(void *context, const char *token, struct auth_answer *answer) {
    struct other *other = context;
    assert_ptr_equal(auth_answer_context(answer), other);
    if (other->at_once != NULL) {
        auth_answer_give(answer, other->at_once, 0, NULL);
        return;
    }
    snprintf(other->tokens[other->count], sizeof other->tokens[0], "%s", token);
    other->asked[other->count++] = answer;
}

static struct other *begin(int64_t keep_ms) {
    struct other *other = calloc(1, sizeof *other);
    assert_true(sodium_init() >= 0);
    other->answers = auth_answers_create(keep_ms, on_ask, other);
    return other;
}

static void end(struct other *other) {
    auth_answers_destroy(other->answers);
    free(other);
}

struct client {
    struct auth_waiter waiter;
    int woken;
};

static void on_woken(void *context) {
    ((struct client *)context)->woken++;
}

static struct client fresh(void) {
    return (struct client){.waiter.run = on_woken};
}

static enum auth_found find(struct other *other, const char *token, struct client *client,
                            const char **name, struct error *err) {
    const struct auth_identity *identity = NULL;
    struct auth_presented presented;
    client->waiter.context = client;
    auth_present(token, &presented);
    enum auth_found found =
        auth_answers_find(other->answers, &presented, &client->waiter, &identity, err);
    assert_int_equal(found == AUTH_FOUND, identity != NULL);
    if (name != NULL)
        *name = identity != NULL ? identity->name : NULL;
    return found;
}

static enum auth_found look(struct other *other, const char *token) {
    struct client client = fresh();
    enum auth_found found = find(other, token, &client, NULL, NULL);
    list_remove(&client.waiter.node);
    return found;
}

static void give(struct other *other, size_t at, const struct auth_identity *identity) {
    auth_answer_give(other->asked[at], identity, 0, NULL);
}

static void fail_to_answer(struct other *other, size_t at) {
    struct error err;
    error_set(&err, ERROR_UNAVAILABLE, "out of reach");
    auth_answer_give(other->asked[at], NULL, 0, &err);
}

static int64_t passed_ms;

/* In the place of the C library's. */
int clock_gettime(clockid_t id, struct timespec *ret) {
    long failed = syscall(SYS_clock_gettime, id, ret);
    ret->tv_sec += passed_ms / 1000;
    return (int)failed;
}

/* Whole seconds. */
static void let_pass(int64_t ms) {
    passed_ms += ms;
}

static void test_asked_once_for_all_who_wait(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    struct client clients[3] = {fresh(), fresh(), fresh()};
    const char *name;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(find(other, "t", &clients[i], NULL, NULL), AUTH_ASKING);
    assert_int_equal(other->count, 1);
    assert_string_equal(other->tokens[0], "t");
    list_remove(&clients[1].waiter.node); /* it has gone */
    give(other, 0, &alice);
    assert_int_equal(clients[0].woken, 1);
    assert_int_equal(clients[1].woken, 0);
    assert_int_equal(clients[2].woken, 1);
    assert_false(list_node_is_linked(&clients[0].waiter.node));
    assert_int_equal(find(other, "t", &clients[0], &name, NULL), AUTH_FOUND);
    assert_string_equal(name, "alice");
    assert_int_equal(look(other, "T"), AUTH_ASKING); /* another one */
    assert_int_equal(other->count, 2);
    give(other, 1, NULL);
    assert_int_equal(look(other, "T"), AUTH_UNKNOWN);
    assert_int_equal(look(other, "t"), AUTH_FOUND);
    assert_int_equal(other->count, 2);
    end(other);
}

static void test_who_waits_twice_waits_once(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    struct client client = fresh();
    find(other, "t", &client, NULL, NULL);
    find(other, "t", &client, NULL, NULL);
    give(other, 0, &alice);
    assert_int_equal(client.woken, 1);
    end(other);
}

static void test_an_answer_from_inside(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    other->at_once = &alice;
    assert_int_equal(look(other, "t"), AUTH_FOUND);
    end(other);
}

static void test_asked_again_before_the_end_and_nobody_waits(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    look(other, "t");
    give(other, 0, &alice);
    look(other, "t");
    assert_int_equal(other->count, 1); /* not yet */
    let_pass(KEEP_MS / 2);
    assert_int_equal(look(other, "t"), AUTH_FOUND);
    assert_int_equal(other->count, 2);
    assert_int_equal(look(other, "t"), AUTH_FOUND); /* while it is asked */
    assert_int_equal(other->count, 2);
    fail_to_answer(other, 1); /* what was said before counts as long as it would have */
    assert_int_equal(look(other, "t"), AUTH_FOUND);
    let_pass(KEEP_MS / 2);
    assert_int_equal(look(other, "t"), AUTH_ASKING);
    assert_int_equal(other->count, 3);
    give(other, 2, NULL); /* revoked meanwhile */
    assert_int_equal(look(other, "t"), AUTH_UNKNOWN);
    end(other);
}

static void test_a_no_replaces_a_yes_at_once(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    look(other, "t");
    give(other, 0, &alice);
    let_pass(KEEP_MS / 2);
    assert_int_equal(look(other, "t"), AUTH_FOUND);
    give(other, 1, NULL);
    assert_int_equal(look(other, "t"), AUTH_UNKNOWN);
    end(other);
}

static void test_failures_and_refusals_are_kept_for_a_moment(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    struct client client = fresh();
    struct error err = {0};
    look(other, "t");
    fail_to_answer(other, 0);
    assert_int_equal(find(other, "t", &client, NULL, &err), AUTH_UNKNOWN);
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_string_equal(err.text, "out of reach");
    assert_int_equal(other->count, 1);
    look(other, "nobody");
    give(other, 1, NULL);
    let_pass(1000);
    assert_int_equal(look(other, "nobody"), AUTH_UNKNOWN);
    assert_int_equal(look(other, "t"), AUTH_ASKING);
    assert_int_equal(other->count, 3);
    give(other, 2, &alice);
    assert_int_equal(look(other, "t"), AUTH_FOUND);
    let_pass(4000);
    assert_int_equal(look(other, "nobody"), AUTH_ASKING);
    end(other);
}

static void test_a_refusal_has_its_reason(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    struct client client = fresh();
    struct error err;
    look(other, "t");
    error_set(&err, ERROR_DENIED, "the token has expired");
    auth_answer_give(other->asked[0], NULL, 0, &err);
    error_set(&err, ERROR_DENIED, "the token is not known");
    assert_int_equal(find(other, "t", &client, NULL, &err), AUTH_UNKNOWN);
    assert_string_equal(err.text, "the token has expired");
    let_pass(4000); /* kept as a no, not as a failure */
    assert_int_equal(look(other, "t"), AUTH_UNKNOWN);
    assert_int_equal(other->count, 1);
    end(other);
}

static void test_a_token_does_not_count_beyond_its_own_end(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    look(other, "t");
    auth_answer_give(other->asked[0], &alice, clock_wall_us() / 1000 + 50000, NULL);
    let_pass(KEEP_MS / 2);
    assert_int_equal(look(other, "t"), AUTH_FOUND);
    assert_int_equal(other->count, 1); /* asking would not make it longer */
    let_pass(20000);
    assert_int_equal(look(other, "t"), AUTH_ASKING);
    end(other);
}

static char *number(size_t at) {
    static char text[32];
    snprintf(text, sizeof text, "stranger-%zu", at);
    return text;
}

static void test_a_crowd_waits_for_its_turn(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    enum { CROWD = STRANGERS + QUEUE };
    struct client *clients = calloc(CROWD + 1, sizeof *clients);
    struct error err = {0};
    for (size_t i = 0; i <= CROWD; i++) {
        clients[i] = fresh();
        assert_int_equal(find(other, number(i), &clients[i], NULL, &err),
                         i < CROWD ? AUTH_ASKING : AUTH_UNKNOWN);
    }
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_int_equal(auth_answers_count(other->answers), CROWD);
    assert_int_equal(other->count, STRANGERS);
    list_remove(&clients[STRANGERS].waiter.node); /* the first in the queue has gone */
    for (size_t i = 0; i < other->count; i++) {
        assert_true(other->count - i <= STRANGERS);
        assert_string_equal(other->tokens[i], number(i < STRANGERS ? i : i + 1));
        give(other, i, &alice);
    }
    assert_int_equal(other->count, CROWD - 1);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(clients[i].woken, i != STRANGERS);
    free(clients);
    end(other);
}

static void test_a_queue_of_answers_from_inside(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    struct client *clients = calloc(STRANGERS + QUEUE, sizeof *clients);
    for (size_t i = 0; i < STRANGERS + QUEUE; i++) {
        clients[i] = fresh();
        find(other, number(i), &clients[i], NULL, NULL);
    }
    other->at_once = &alice;
    give(other, 0, &alice);
    assert_int_equal(clients[STRANGERS + QUEUE - 1].woken, 1);
    end(other); /* wakes those whom nobody answered */
    for (size_t i = 0; i < STRANGERS + QUEUE; i++)
        assert_int_equal(clients[i].woken, 1);
    free(clients);
}

static void test_strangers_do_not_keep_known_tokens_from_being_asked_about(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    enum { KNOWN = AUTH_ASKING_MAX - STRANGERS };
    for (size_t i = 0; i <= KNOWN; i++) {
        look(other, number(i));
        give(other, i, &alice);
    }
    for (size_t i = 0; i < STRANGERS + 5; i++)
        assert_int_equal(look(other, number(100 + i)), AUTH_ASKING);
    assert_int_equal(other->count, KNOWN + 1 + STRANGERS);
    let_pass(KEEP_MS / 2);
    for (size_t i = 0; i <= KNOWN; i++) /* the last one finds no room, and still counts */
        assert_int_equal(look(other, number(i)), AUTH_FOUND);
    assert_int_equal(other->count, KNOWN + 1 + AUTH_ASKING_MAX);
    end(other);
}

static void test_who_was_known_does_not_wait_behind_strangers(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    enum { KNOWN = AUTH_ASKING_MAX - STRANGERS, QUEUED = 5 };
    struct client clients[QUEUED + 1];
    for (size_t i = 0; i <= KNOWN; i++) {
        look(other, number(i));
        give(other, i, &alice);
    }
    let_pass(KEEP_MS);
    for (size_t i = 0; i < STRANGERS; i++)
        look(other, number(100 + i));
    for (size_t i = 0; i < QUEUED; i++) {
        clients[i] = fresh();
        assert_int_equal(find(other, number(200 + i), &clients[i], NULL, NULL), AUTH_ASKING);
    }
    for (size_t i = 0; i < KNOWN; i++)
        look(other, number(i));
    clients[QUEUED] = fresh();
    assert_int_equal(find(other, number(KNOWN), &clients[QUEUED], NULL, NULL), AUTH_ASKING);
    size_t count = other->count;
    give(other, KNOWN + 1, NULL); /* a stranger's place is free */
    assert_int_equal(other->count, count + 1);
    assert_string_equal(other->tokens[count], number(KNOWN));
    end(other);
}

static void test_strangers_do_not_push_out_who_is_known(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    look(other, "t");
    give(other, 0, &alice);
    for (size_t i = 0; i < KEPT + 10; i++) {
        other->count = 0;
        look(other, number(i));
        give(other, 0, NULL);
    }
    assert_int_equal(auth_answers_count(other->answers), KEPT);
    assert_int_equal(look(other, "t"), AUTH_FOUND);
    end(other);
}

static void test_the_longest_unused_is_forgotten(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    assert_int_equal(look(other, "asked"), AUTH_ASKING); /* a question stays */
    other->at_once = &alice;
    for (size_t i = 0; i < KEPT - 1; i++)
        look(other, number(i));
    assert_int_equal(auth_answers_count(other->answers), KEPT);
    look(other, number(0)); /* used again */
    look(other, number(KEPT));
    assert_int_equal(auth_answers_count(other->answers), KEPT);
    other->at_once = NULL;
    assert_int_equal(look(other, number(0)), AUTH_FOUND);
    assert_int_equal(look(other, number(2)), AUTH_FOUND);
    assert_int_equal(look(other, number(1)), AUTH_ASKING);
    give(other, 0, &alice);
    assert_int_equal(look(other, "asked"), AUTH_FOUND);
    end(other);
}

static void test_the_end_wakes_who_waits(void **state) {
    (void)state;
    struct other *other = begin(KEEP_MS);
    struct client clients[2] = {fresh(), fresh()};
    find(other, "t", &clients[0], NULL, NULL);
    find(other, "u", &clients[1], NULL, NULL);
    end(other);
    assert_int_equal(clients[0].woken, 1);
    assert_int_equal(clients[1].woken, 1);
    assert_false(list_node_is_linked(&clients[0].waiter.node));
    auth_answers_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked_once_for_all_who_wait),
        cmocka_unit_test(test_who_waits_twice_waits_once),
        cmocka_unit_test(test_an_answer_from_inside),
        cmocka_unit_test(test_asked_again_before_the_end_and_nobody_waits),
        cmocka_unit_test(test_a_no_replaces_a_yes_at_once),
        cmocka_unit_test(test_failures_and_refusals_are_kept_for_a_moment),
        cmocka_unit_test(test_a_refusal_has_its_reason),
        cmocka_unit_test(test_a_token_does_not_count_beyond_its_own_end),
        cmocka_unit_test(test_a_crowd_waits_for_its_turn),
        cmocka_unit_test(test_a_queue_of_answers_from_inside),
        cmocka_unit_test(test_strangers_do_not_keep_known_tokens_from_being_asked_about),
        cmocka_unit_test(test_who_was_known_does_not_wait_behind_strangers),
        cmocka_unit_test(test_strangers_do_not_push_out_who_is_known),
        cmocka_unit_test(test_the_longest_unused_is_forgotten),
        cmocka_unit_test(test_the_end_wakes_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
