/* What another server said of tokens: it is asked once for all requests that wait, and what it said
 * counts for a while. A token that is still used is asked about again before that ends, so that
 * nobody waits but the first. */
#pragma once

#include "gateway/auth_method.h"

enum { AUTH_ASKING_MAX = 64 };

struct auth_answers;
struct auth_answer;

/* Begins to ask about the token. auth_answer_give comes once, perhaps from inside. At most
 * AUTH_ASKING_MAX are begun at a time; the others have to wait for their turn. */
typedef void auth_answers_ask(void *context, const char *token, struct auth_answer *answer);

/* keep_ms: how long a yes counts, and so a token that was revoked. */
struct auth_answers *auth_answers_create(int64_t keep_ms, auth_answers_ask *ask, void *context);
/* Whoever waits asks again. No answer may be given afterwards. */
void auth_answers_destroy(struct auth_answers *answers);

/* As a method's find. */
enum auth_found auth_answers_find(struct auth_answers *answers,
                                  const struct auth_presented *presented,
                                  struct auth_waiter *waiter, const struct auth_identity **ret,
                                  struct error *err);

/* identity NULL: the token is not known, or refused for the reason in err (ERROR_DENIED). Any other
 * err: its server cannot be asked; what it said before counts as long as it would have. until_ms:
 * of the token itself, by clock_wall_us; 0: it does not end. */
void auth_answer_give(struct auth_answer *answer, const struct auth_identity *identity,
                      int64_t until_ms, const struct error *err);
void *auth_answer_context(const struct auth_answer *answer); /* of its answers */
/* How many answers are kept. */
size_t auth_answers_count(const struct auth_answers *answers);
