/* The shared token: EG_AUTH_TOKEN. Whoever has it is the one user, with the role admin. */
#include "base/memory.h"
#include "gateway/auth_method.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct shared_token {
    struct auth_method method;
    const struct auth_identity *identity;
    uint8_t hash[AUTH_HASH_SIZE];
};

static enum auth_found shared_token_find(struct auth_method *self,
                                         const struct auth_evidence *evidence,
                                         const struct auth_presented *presented,
                                         struct auth_waiter *waiter,
                                         const struct auth_identity **ret, struct error *err) {
    (void)evidence, (void)waiter, (void)err;
    const struct shared_token *shared = (const struct shared_token *)self;
    bool is_it = sodium_memcmp(shared->hash, presented->blake2b, AUTH_HASH_SIZE) == 0;
    *ret = is_it ? shared->identity : NULL;
    return is_it ? AUTH_FOUND : AUTH_UNKNOWN;
}

static void shared_token_destroy(struct auth_method *self) {
    free(self);
}

static const struct auth_method_ops shared_token_ops = {
    .name = "the shared token",
    .needs_token = true,
    .find = shared_token_find,
    .destroy = shared_token_destroy,
};

/* A token that no client could send would lock everybody out without a word. */
static int check_token(const char *token, struct error *err) {
    size_t length = strlen(token);
    if (length > AUTH_TOKEN_MAX)
        return error_set(err, ERROR_INVALID, "auth-token: is longer than %d characters",
                         AUTH_TOKEN_MAX);
    if (token[length - 1] == '\n' || token[length - 1] == '\r')
        return error_set(err, ERROR_INVALID,
                         "auth-token: ends with a line break, which no client sends; write it "
                         "with printf instead of echo");
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)token[i] <= ' ' || (unsigned char)token[i] >= 0x7f)
            return error_set(err, ERROR_INVALID,
                             "auth-token: character %zu cannot stand in a header; use letters, "
                             "digits and signs without spaces",
                             i + 1);
    return 0;
}

int auth_token_create(struct auth *auth, const char *token, struct auth_method **ret,
                      struct error *err) {
    if (check_token(token, err) < 0)
        return -1;
    struct shared_token *shared = memory_alloc(sizeof *shared);
    struct auth_presented hashes;
    auth_present(token, &hashes);
    memcpy(shared->hash, hashes.blake2b, sizeof shared->hash);
    shared->method.ops = &shared_token_ops;
    shared->identity = auth_identity_get(auth, AUTH_DEFAULT_NAME, AUTH_ADMIN, false);
    *ret = &shared->method;
    return 0;
}
