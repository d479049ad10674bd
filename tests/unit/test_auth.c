/* Tokens: who gets in with which header, and what a token file may look like. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "gateway/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* What `printf %s anna-token | b2sum -l 256` and the like print: made by another program on
 * purpose. */
#define ANNA        "blake2b:b27adf10914c0265cfee2c84860a8ac043182a17f523be691e3306dbfee9ecfa"
#define ANNA_SECOND "blake2b:e142581816d5dec3941878291233e2e33fcb068910b5e839e508e8f32a320e85"
#define BOB         "blake2b:a64744a2c6972108d4ac986cbf85ae00afb5aff8f21974aa6454a33b420298ad"
#define OPS         "sha256:d9310c002af91822beb0b3487d8b04f85bf6bf1f8a5496bff7d35fc7c5a29def"

struct place {
    char directory[64];
    char path[96];
};

static int setup(void **state) {
    struct place *place = memory_alloc(sizeof *place);
    log_set_level(LOG_ERROR);
    strcpy(place->directory, "/tmp/elara-test-auth-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->path, sizeof place->path, "%s/tokens", place->directory);
    *state = place;
    return 0;
}

static int teardown(void **state) {
    struct place *place = *state;
    file_remove_tree(place->directory, NULL);
    free(place);
    return 0;
}

static void put(const struct place *place, const char *text) {
    assert_int_equal(file_write(place->path, text, strlen(text), 0600, NULL), 0);
}

static struct auth *shared(const char *token) {
    struct auth *auth = NULL;
    struct error err = {0};
    if (auth_create(NULL, &(struct auth_settings){.token = token}, &auth, &err) < 0)
        fail_msg("%s", err.text);
    return auth;
}

static struct auth *from_file(const struct place *place) {
    struct auth *auth = NULL;
    struct error err = {0};
    if (auth_create(NULL, &(struct auth_settings){.token_file = place->path}, &auth, &err) < 0)
        fail_msg("%s", err.text);
    return auth;
}

/* Whoever it lets in, or NULL. */
static const struct auth_identity *find(struct auth *auth, const struct auth_evidence *evidence) {
    const struct auth_identity *identity = NULL;
    struct error err = {0};
    if (auth_check(auth, evidence, NULL, &identity, &err) == AUTH_KNOWN)
        return identity;
    assert_int_equal(err.code, ERROR_DENIED);
    return NULL;
}

static const char *name_of(const struct auth_identity *identity) {
    return identity != NULL ? identity->name : NULL;
}

static const char *who(struct auth *auth, const char *header, const char *query) {
    return name_of(
        find(auth, &(struct auth_evidence){.authorization = header, .query_token = query}));
}

static const struct auth_identity *holder(struct auth *auth, const char *header) {
    return find(auth, &(struct auth_evidence){.authorization = header});
}

static void refuse(const struct place *place, const char *text, const char *expected) {
    put(place, text);
    struct auth *auth = NULL;
    struct error err = {0};
    assert_int_equal(
        auth_create(NULL, &(struct auth_settings){.token_file = place->path}, &auth, &err), -1);
    if (strstr(err.text, expected) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", expected, err.text);
    assert_non_null(strstr(err.text, place->path));
}

static void test_no_token_lets_everybody_in_as_one_user(void **state) {
    (void)state;
    struct auth *auth = shared("");
    assert_false(auth_is_required(auth));
    assert_string_equal(who(auth, NULL, NULL), "default");
    assert_string_equal(who(auth, "token ", NULL), "default"); /* what jupyter_server sends */
    assert_string_equal(who(auth, "Basic eDp5", "whatever"), "default");
    auth_destroy(auth);
}

static void test_schemes(void **state) {
    (void)state;
    struct auth *auth = shared("s3cret");
    assert_true(auth_is_required(auth));
    static const char *const fine[] = {"token s3cret", "Token s3cret", "TOKEN   s3cret",
                                       "Bearer s3cret", "bearer s3cret"};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        assert_string_equal(who(auth, fine[i], NULL), "default");
    static const char *const wrong[] = {"",
                                        "token",
                                        "token ",
                                        "tokens3cret",
                                        "token\ts3cret",
                                        "s3cret",
                                        "token S3CRET",
                                        "token s3cret ",
                                        "token s3cre",
                                        "token s3crets",
                                        "Basic s3cret",
                                        " token s3cret",
                                        "token s3cret, token s3cret",
                                        "bearers3cret"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (who(auth, wrong[i], NULL) != NULL)
            fail_msg("let in by \"%s\"", wrong[i]);
    assert_null(who(auth, NULL, NULL));
    auth_destroy(auth);
}

static void test_query_goes_before_the_header(void **state) {
    (void)state;
    struct auth *auth = shared("s3cret");
    assert_string_equal(who(auth, NULL, "s3cret"), "default");
    assert_string_equal(who(auth, "token wrong", "s3cret"), "default");
    assert_null(who(auth, "token s3cret", "wrong"));
    assert_null(who(auth, "token s3cret", ""));
    auth_destroy(auth);
}

static void test_long_tokens_are_refused(void **state) {
    (void)state;
    struct auth *auth = shared("s3cret");
    cleanup_free char *token = memory_alloc(100001);
    memset(token, 'x', 100000);
    assert_null(who(auth, NULL, token));
    auth_destroy(auth);
}

static void test_a_token_that_no_header_can_carry_is_an_error(void **state) {
    (void)state;
    static const char *const tokens[] = {"abc\n", "a b", "\tabc", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        struct auth *auth = NULL;
        struct error err = {0};
        assert_int_equal(
            auth_create(NULL, &(struct auth_settings){.token = tokens[i]}, &auth, &err), -1);
        assert_non_null(strstr(err.text, "auth-token"));
        assert_null(strstr(err.text, tokens[i])); /* it is a secret all the same */
    }
}

static void test_file_names_and_roles(void **state) {
    const struct place *place = *state;
    put(place, "# tokens\r\n\n  anna:user:" ANNA "  \r\nanna:user:" ANNA_SECOND
               "\nops@example.org:admin:" OPS "\nbob:user:" BOB);
    struct auth *auth = from_file(place);
    assert_true(auth_is_required(auth));
    assert_string_equal(who(auth, "token anna-token", NULL), "anna");
    assert_string_equal(who(auth, "token anna-second", NULL), "anna");
    assert_string_equal(who(auth, "Bearer ops-token", NULL), "ops@example.org");
    assert_string_equal(who(auth, NULL, "bob-token"), "bob");
    assert_null(who(auth, "token " ANNA, NULL)); /* the hash is not the token */
    assert_null(who(auth, "token nobody", NULL));

    const struct auth_identity *anna = holder(auth, "token anna-token");
    const struct auth_identity *ops = holder(auth, "token ops-token");
    assert_true(anna->verified && anna->role == AUTH_USER && ops->role == AUTH_ADMIN);
    assert_true(auth_may_use(anna, "anna"));
    assert_false(auth_may_use(anna, "bob"));
    assert_false(auth_may_use(anna, "Anna"));
    assert_false(auth_may_use(anna, NULL));
    assert_false(auth_may_use(NULL, "anna"));
    assert_true(auth_may_use(ops, "anna"));
    auth_destroy(auth);
}

static void test_shared_token_beside_the_file(void **state) {
    const struct place *place = *state;
    put(place, "anna:user:" ANNA "\n");
    struct auth *auth = NULL;
    assert_int_equal(
        auth_create(NULL, &(struct auth_settings){.token = "s3cret", .token_file = place->path},
                    &auth, NULL),
        0);
    assert_string_equal(who(auth, "token anna-token", NULL), "anna");
    const struct auth_identity *identity = holder(auth, "token s3cret");
    assert_true(identity->role == AUTH_ADMIN && !identity->verified);
    auth_destroy(auth);
}

static void test_bad_lines_are_named(void **state) {
    const struct place *place = *state;
    refuse(place, "# one\n\nanna\n", ":3: must be name:role");
    refuse(place, "anna:user\n", ":1: must be name:role");
    refuse(place, ":user:" ANNA, ":1: the name");
    refuse(place, "an na:user:" ANNA, ":1: the name");
    refuse(place, "default:user:" ANNA, ":1: the name 'default'");
    refuse(place, "anna:root:" ANNA, ":1: the role");
    refuse(place, "anna:user:anna-token", ":1: the token must be hashed");
    refuse(place, "anna:user:blake2b:b27a", ":1: the hash");
    refuse(place, "anna:user:" ANNA "00", ":1: the hash");
    refuse(place, "anna:user:" ANNA ":x", ":1: the hash");
    refuse(place, "anna:user:" ANNA "\nanna:admin:" BOB, ":2: 'anna' has another role");
    refuse(place, "anna:user:" ANNA "\nbob:user:" ANNA, ":2: the same token");
    refuse(place, "anna:user:md5:00", ":1: the token must be hashed");
}

static void test_a_secret_in_a_bad_line_is_not_repeated(void **state) {
    const struct place *place = *state;
    put(place, "anna:user:my-plain-token\n");
    struct auth *auth = NULL;
    struct error err = {0};
    assert_int_equal(
        auth_create(NULL, &(struct auth_settings){.token_file = place->path}, &auth, &err), -1);
    assert_null(strstr(err.text, "my-plain"));
}

static void test_file_that_others_may_write_is_refused(void **state) {
    const struct place *place = *state;
    put(place, "anna:user:" ANNA "\n");
    assert_int_equal(chmod(place->path, 0620), 0);
    struct auth *auth = NULL;
    struct error err = {0};
    assert_int_equal(
        auth_create(NULL, &(struct auth_settings){.token_file = place->path}, &auth, &err), -1);
    assert_int_equal(err.code, ERROR_DENIED);
    assert_non_null(strstr(err.text, "chmod 600"));
}

static void test_things_that_are_no_file(void **state) {
    const struct place *place = *state;
    struct auth *auth = NULL;
    struct error err = {0};
    assert_int_equal(
        auth_create(NULL, &(struct auth_settings){.token_file = place->path}, &auth, &err), -1);
    assert_int_equal(mkfifo(place->path, 0600), 0); /* must not hang */
    assert_int_equal(
        auth_create(NULL, &(struct auth_settings){.token_file = place->path}, &auth, &err), -1);
    assert_non_null(strstr(err.text, "regular file"));
}

static void test_reload(void **state) {
    const struct place *place = *state;
    put(place, "anna:user:" ANNA "\n");
    struct auth *auth = from_file(place);
    const struct auth_identity *anna = holder(auth, "token anna-token");

    put(place, "bob:user:" BOB "\n");
    assert_int_equal(auth_reload(auth, NULL), 0);
    assert_null(who(auth, "token anna-token", NULL));
    assert_string_equal(who(auth, "token bob-token", NULL), "bob");
    assert_string_equal(anna->name, "anna"); /* of a request that is still under way */

    struct error err = {0};
    put(place, "bob:user:" BOB "\nbroken\n");
    assert_int_equal(auth_reload(auth, &err), -1);
    assert_non_null(strstr(err.text, ":2:"));
    assert_string_equal(who(auth, "token bob-token", NULL), "bob");

    put(place, "# nobody\n");
    assert_int_equal(auth_reload(auth, NULL), 0);
    assert_true(auth_is_required(auth)); /* not open to all because the list is empty */
    assert_null(who(auth, NULL, NULL));
    auth_destroy(auth);
}

static const char *who_at_a_page(struct auth *auth, const char *header, const char *query) {
    return name_of(find(auth, &(struct auth_evidence){
                                  .authorization = header, .query_token = query, .is_page = true}));
}

static void test_pages_take_the_token_as_password(void **state) {
    put(*state, "anna:user:" ANNA "\nops:admin:" OPS "\n");
    struct auth *auth = from_file(*state);
    static const struct {
        const char *header, *query, *name;
    } cases[] = {
        {"Basic eDphbm5hLXRva2Vu", NULL, "anna"},    /* x:anna-token */
        {"basic   OmFubmEtdG9rZW4=", NULL, "anna"},  /* :anna-token */
        {"Basic YW5uYTpvcHMtdG9rZW4=", NULL, "ops"}, /* anna:ops-token */
        {"token anna-token", NULL, "anna"},
        {NULL, "anna-token", "anna"},
        {"Basic eDphbm5hLXRva2Vu", "wrong", NULL},  /* x:anna-token */
        {"Basic eDp3cm9uZw==", NULL, NULL},         /* x:wrong */
        {"Basic eDphbm5hLXRva2VuOg==", NULL, NULL}, /* x:anna-token: */
        {"Basic eDphbm5hLXRva2VuAA==", NULL, NULL}, /* x:anna-token and a NUL */
        {"Basic YW5uYS10b2tlbg==", NULL, NULL},     /* anna-token */
        {"Basic eDo=", NULL, NULL},                 /* x: */
        {"Basic x:anna-token", NULL, NULL},
        {"Basic ", NULL, NULL},
        {"Basic", NULL, NULL},
        {"Digest username=anna-token", NULL, NULL},
        {NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *name = who_at_a_page(auth, cases[i].header, cases[i].query);
        if (cases[i].name == NULL)
            assert_null(name);
        else
            assert_string_equal(name, cases[i].name);
    }
    assert_null(who(auth, cases[0].header, NULL)); /* Basic is for pages only */
    auth_destroy(auth);
}

static void test_page_without_a_token_is_open(void **state) {
    (void)state;
    struct auth *auth = shared(NULL);
    assert_string_equal(who_at_a_page(auth, NULL, NULL), "default");
    assert_string_equal(who_at_a_page(auth, "Basic nonsense", NULL), "default");
    auth_destroy(auth);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_no_token_lets_everybody_in_as_one_user),
        TEST(test_schemes),
        TEST(test_query_goes_before_the_header),
        TEST(test_long_tokens_are_refused),
        TEST(test_a_token_that_no_header_can_carry_is_an_error),
        TEST(test_file_names_and_roles),
        TEST(test_shared_token_beside_the_file),
        TEST(test_bad_lines_are_named),
        TEST(test_a_secret_in_a_bad_line_is_not_repeated),
        TEST(test_file_that_others_may_write_is_refused),
        TEST(test_things_that_are_no_file),
        TEST(test_reload),
        TEST(test_pages_take_the_token_as_password),
        TEST(test_page_without_a_token_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
