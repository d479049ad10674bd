/* elara token new NAME [--role user|admin|viewer|metrics] */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin.h"
#include "gateway/auth_method.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { TOKEN_BYTES = 32 };

/* What auth_file.c accepts as a name. */
static int check_name(const char *name, struct error *err) {
    static const char valid[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@+-";
    if (name == NULL)
        return error_set(err, ERROR_INVALID,
                         "whose? elara token new NAME [--role user|admin|viewer|metrics]");
    if (*name == '\0' || strlen(name) > AUTH_NAME_MAX || name[strspn(name, valid)] != '\0')
        return error_set(err, ERROR_INVALID, "NAME: must be 1 to %d letters, digits or . _ @ + -",
                         AUTH_NAME_MAX);
    if (strcmp(name, AUTH_DEFAULT_NAME) == 0)
        return error_set(err, ERROR_INVALID,
                         "NAME: '" AUTH_DEFAULT_NAME "' is who has no token of his own");
    return 0;
}

int admin_token_new(int argc, char **argv, struct error *err) {
    const char *role = "user";
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    bool has_role = option_take_flag(&argc, argv, "role", &role);
    const char *name = admin_take_argument(&argc, argv);
    if (check_name(name, err) < 0)
        return -1;
    enum auth_role known;
    if (has_role && (role == NULL || !auth_role_parse(role, &known)))
        return error_set(err, ERROR_INVALID, "--role: must be user, admin, viewer or metrics");
    if (argc > 1)
        return error_set(err, ERROR_INVALID, "%.64s: what is that? NAME and --role only", argv[1]);
    if (sodium_init() < 0)
        return error_set(err, ERROR_SYSTEM, "libsodium found no randomness");

    uint8_t random[TOKEN_BYTES];
    char token[2 * TOKEN_BYTES + 1];
    char hash[2 * AUTH_HASH_SIZE + 1];
    struct auth_presented presented;
    randombytes_buf(random, sizeof random);
    text_hex(random, sizeof random, token);
    auth_present(token, &presented);
    text_hex(presented.blake2b, sizeof presented.blake2b, hash);

    fputs("The token is shown this once and kept nowhere. Add the line to the gateway's "
          "--auth-token-file.\n",
          stderr);
    cleanup_free char *line = memory_printf("%s:%s:blake2b:%s", name, role, hash);
    if (wants_json)
        admin_print_json(json_pack("{s:s, s:s}", "token", token, "line", line));
    else
        printf("token: %s\nline:  %s\n", token, line);
    sodium_memzero(random, sizeof random);
    sodium_memzero(token, sizeof token);
    return 0;
}
