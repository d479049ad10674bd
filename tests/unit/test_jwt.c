/* Tokens of an OpenID provider: whose signature counts, and which claims. */
#include "base/cleanup.h"
#include "gateway/jwt.h"
#include "jwt_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ISSUER "https://id.example.org"
#define CLAIMS "{\"iss\":\"" ISSUER "\",\"sub\":\"alice\"}"

static struct {
    EVP_PKEY *rsa, *p256, *p384, *p521, *other;
    struct jwt_keys *keys;
} issuer;

static struct jwt_keys *parse(json_t *set /* stolen */) {
    struct jwt_keys *keys = NULL;
    struct error err = {0};
    if (jwt_keys_parse(set, &keys, &err) < 0)
        fail_msg("%s", err.text);
    json_decref(set);
    return keys;
}

static int setup(void **state) {
    (void)state;
    issuer.rsa = jwt_maker_rsa(2048);
    issuer.p256 = jwt_maker_ec("P-256");
    issuer.p384 = jwt_maker_ec("P-384");
    issuer.p521 = jwt_maker_ec("P-521");
    issuer.other = jwt_maker_rsa(2048);
    issuer.keys = parse(json_pack("{s:[o, o, o, o]}", "keys", jwt_maker_jwk(issuer.rsa, "r", NULL),
                                  jwt_maker_jwk(issuer.p256, "e256", "ES256"),
                                  jwt_maker_jwk(issuer.p384, "e384", NULL),
                                  jwt_maker_jwk(issuer.p521, "e521", NULL)));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    jwt_keys_destroy(issuer.keys);
    EVP_PKEY_free(issuer.rsa);
    EVP_PKEY_free(issuer.p256);
    EVP_PKEY_free(issuer.p384);
    EVP_PKEY_free(issuer.p521);
    EVP_PKEY_free(issuer.other);
    return 0;
}

static int verify_with(const struct jwt_keys *keys, const char *token, struct error *err) {
    cleanup_json json_t *claims = NULL;
    int result = jwt_verify(keys, token, ISSUER, &claims, err);
    if (result == 0)
        assert_string_equal(json_string_value(json_object_get(claims, "sub")), "alice");
    else
        assert_null(claims);
    return result;
}

static void accept_from(const struct jwt_keys *keys, EVP_PKEY *key, const char *algorithm,
                        const char *header) {
    cleanup_free char *token = jwt_maker_sign(key, algorithm, header, CLAIMS);
    struct error err = {0};
    if (verify_with(keys, token, &err) < 0)
        fail_msg("%s: %s", header, err.text);
}

static void accept(EVP_PKEY *key, const char *algorithm, const char *header) {
    accept_from(issuer.keys, key, algorithm, header);
}

static void refuse_token(const struct jwt_keys *keys, const char *token, enum error_code code,
                         const char *why) {
    struct error err = {0};
    if (verify_with(keys, token, &err) == 0)
        fail_msg("%.200s is taken", token);
    if (err.code != code || strstr(err.text, why) == NULL)
        fail_msg("%.80s: not \"%s\" but (%s) \"%s\"", token, why, error_code_name(err.code),
                 err.text);
}

static void refuse(EVP_PKEY *key, const char *algorithm, const char *header, enum error_code code,
                   const char *why) {
    cleanup_free char *token = jwt_maker_sign(key, algorithm, header, CLAIMS);
    refuse_token(issuer.keys, token, code, why);
}

static void test_signatures_of_public_keys_count(void **state) {
    (void)state;
    static const char *const sizes[] = {"256", "384", "512"};
    EVP_PKEY *const curves[] = {issuer.p256, issuer.p384, issuer.p521};
    for (size_t i = 0; i < 3; i++) {
        char algorithm[8], header[80];
        for (const char *family = "RPE"; *family != '\0'; family++) {
            snprintf(algorithm, sizeof algorithm, "%cS%s", *family, sizes[i]);
            snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", algorithm);
            accept(*family == 'E' ? curves[i] : issuer.rsa, algorithm, header);
        }
    }
    accept(issuer.rsa, "RS256", "{\"alg\":\"RS256\",\"kid\":\"r\",\"typ\":\"at+jwt\"}");
    accept(issuer.rsa, "RS256", "{\"alg\":\"RS256\",\"typ\":\"application/AT+JWT\"}");
}

static void test_other_algorithms_do_not(void **state) {
    (void)state;
    static const char why[] = "the token's algorithm";
    static const char *const names[] = {"none", "None",   "NONE",  "HS256", "HS384",
                                        "RS1",  "RS257",  "XS256", "rs256", "EdDSA",
                                        "dir",  "RS2566", ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char header[64];
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"r\"}", names[i]);
        cleanup_free char *token = jwt_maker_sign(issuer.rsa, "RS256", header, CLAIMS);
        struct error err = {0};
        assert_int_equal(verify_with(issuer.keys, token, &err), -1);
        assert_int_equal(err.code, ERROR_DENIED);
    }
    refuse(issuer.rsa, "none", "{\"alg\":\"none\"}", ERROR_DENIED, "");
    refuse(issuer.rsa, "HS256", "{\"alg\":\"HS256\",\"kid\":\"r\"}", ERROR_DENIED, why);
}

static void test_one_algorithm_does_not_pass_for_another(void **state) {
    (void)state;
    static const char forged[] = "the token's signature is not the issuer's";
    static const char no_key[] = "does not publish";
    refuse(issuer.rsa, "RS256", "{\"alg\":\"PS256\",\"kid\":\"r\"}", ERROR_DENIED, forged);
    refuse(issuer.rsa, "HS256", "{\"alg\":\"RS256\",\"kid\":\"r\"}", ERROR_DENIED, forged);
    refuse(issuer.rsa, "none", "{\"alg\":\"RS256\",\"kid\":\"r\"}", ERROR_DENIED, "");
    refuse(issuer.rsa, "RS256", "{\"alg\":\"ES256\",\"kid\":\"r\"}", ERROR_NOT_FOUND, no_key);
    /* "alg" of a key holds for it alone, whatever its kind could do */
    refuse(issuer.p256, "ES384", "{\"alg\":\"ES384\",\"kid\":\"e256\"}", ERROR_NOT_FOUND, no_key);
}

static void test_other_keys(void **state) {
    (void)state;
    refuse(issuer.other, "RS256", "{\"alg\":\"RS256\",\"kid\":\"r\"}", ERROR_DENIED,
           "the token's signature is not the issuer's");
    refuse(issuer.rsa, "RS256", "{\"alg\":\"RS256\",\"kid\":\"new\"}", ERROR_NOT_FOUND,
           "does not publish");
    /* Without a name it may be of a key that came later. */
    refuse(issuer.other, "RS256", "{\"alg\":\"RS256\"}", ERROR_NOT_FOUND, "does not publish");
}

static void test_keys_without_names(void **state) {
    (void)state;
    struct jwt_keys *keys =
        parse(json_pack("{s:[o, o]}", "keys", jwt_maker_jwk(issuer.p256, NULL, NULL),
                        jwt_maker_jwk(issuer.rsa, NULL, "PS256")));
    cleanup_free char *other =
        jwt_maker_sign(issuer.other, "PS256", "{\"alg\":\"PS256\",\"kid\":\"x\"}", CLAIMS);
    accept_from(keys, issuer.rsa, "PS256", "{\"alg\":\"PS256\",\"kid\":\"x\"}");
    refuse_token(keys, other, ERROR_NOT_FOUND, "does not publish");
    jwt_keys_destroy(keys);
}

static void test_what_was_signed_for_something_else(void **state) {
    (void)state;
    refuse(issuer.rsa, "RS256", "{\"alg\":\"RS256\",\"typ\":\"logout+jwt\"}", ERROR_DENIED,
           "the token's type is logout+jwt");
    refuse(issuer.rsa, "RS256", "{\"alg\":\"RS256\",\"typ\":\"\"}", ERROR_DENIED, "type");
    refuse(issuer.rsa, "RS256", "{\"alg\":\"RS256\",\"crit\":[\"exp\"],\"exp\":1}", ERROR_DENIED,
           "crit");
    refuse(issuer.rsa, "RS256", "{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}",
           ERROR_DENIED, "crit");
}

static void refuse_claims(EVP_PKEY *key, const char *claims, const char *why) {
    cleanup_free char *token = jwt_maker_sign(key, "RS256", "{\"alg\":\"RS256\"}", claims);
    refuse_token(issuer.keys, token, ERROR_DENIED, why);
}

static void test_another_issuer_is_not_looked_up(void **state) {
    (void)state;
    /* DENIED, not NOT_FOUND: no keys are fetched for it */
    refuse_claims(issuer.other, "{\"iss\":\"https://evil.example.org\",\"sub\":\"alice\"}",
                  "another issuer");
    refuse_claims(issuer.rsa, "{\"iss\":\"" ISSUER "/\",\"sub\":\"alice\"}", "another issuer");
    refuse_claims(issuer.rsa, "{\"iss\":[\"" ISSUER "\"],\"sub\":\"alice\"}", "another issuer");
    refuse_claims(issuer.rsa, "{\"sub\":\"alice\"}", "another issuer");
}

static void test_claims_that_are_none(void **state) {
    (void)state;
    static const char why[] = "no JSON object";
    refuse_claims(issuer.rsa, "[\"iss\"]", why);
    refuse_claims(issuer.rsa, "", "");
    refuse_claims(issuer.rsa, "{\"iss\":\"" ISSUER "\",", why);
    refuse_claims(issuer.rsa, "{\"iss\":\"" ISSUER "\",\"sub\":\"bob\",\"sub\":\"alice\"}", why);
    refuse_claims(issuer.rsa, "{\"iss\":\"" ISSUER "\",\"sub\":\"alice\\u0000x\"}", why);
    refuse_claims(issuer.rsa, "{\"iss\":\"" ISSUER "\",\"sub\":\"\xff\"}", why);
}

static void test_every_cut_and_changed_token_is_refused(void **state) {
    (void)state;
    cleanup_free char *token =
        jwt_maker_sign(issuer.p256, "ES256", "{\"alg\":\"ES256\",\"kid\":\"e256\"}", CLAIMS);
    struct error err = {0};
    size_t length = strlen(token);
    for (size_t i = 0; i < length; i++) { /* shorter by i */
        cleanup_free char *cut = strndup(token, i);
        assert_int_equal(verify_with(issuer.keys, cut, &err), -1);
    }
    for (size_t i = 0; i + 1 < length; i++) { /* the last letter has bits that mean nothing */
        char before = token[i];
        token[i] = before == 'A' ? 'B' : 'A';
        assert_int_equal(verify_with(issuer.keys, token, &err), -1);
        token[i] = before;
    }
    assert_int_equal(verify_with(issuer.keys, token, &err), 0);
    cleanup_free char *longer = NULL, *twice = NULL;
    assert_true(asprintf(&longer, "%s.e30", token) > 0 &&
                asprintf(&twice, "%s%s", token, token) > 0);
    assert_int_equal(verify_with(issuer.keys, longer, &err), -1);
    assert_int_equal(verify_with(issuer.keys, twice, &err), -1);
}

static void test_a_huge_token(void **state) {
    (void)state;
    size_t size = 1 << 20;
    cleanup_free char *claims = malloc(size + 1);
    memset(claims, '[', size);
    claims[size] = '\0';
    refuse_claims(issuer.rsa, claims, "no JSON object");
    memset(claims, '.', size);
    refuse_token(issuer.keys, claims, ERROR_DENIED, "no JSON Web Token");
}

static void test_key_sets(void **state) {
    (void)state;
    struct jwt_keys *keys = NULL;
    struct error err = {0};
    json_t *secret = json_pack("{s:s, s:s, s:s}", "kty", "oct", "k", "c2VjcmV0", "alg", "HS256");
    json_t *private_use = jwt_maker_jwk(issuer.p384, "e", NULL);
    json_object_set_new(private_use, "use", json_string("enc"));
    json_t *broken = json_pack("{s:s, s:s, s:s}", "kty", "RSA", "n", "!!", "e", "AQAB");
    json_t *odd = jwt_maker_jwk(issuer.rsa, "odd", NULL);
    json_object_set_new(odd, "n", json_string("AQABA"));
    EVP_PKEY *short_pair = jwt_maker_rsa(1024);
    json_t *too_short = jwt_maker_jwk(short_pair, "short", NULL);
    EVP_PKEY_free(short_pair);
    json_t *other_curve = jwt_maker_jwk(issuer.p256, "other", NULL);
    json_object_set_new(other_curve, "crv", json_string("P-384"));
    json_t *off_curve = jwt_maker_jwk(issuer.p256, "off", NULL);
    json_object_set(off_curve, "x", json_object_get(off_curve, "y"));
    cleanup_json json_t *set =
        json_pack("{s:[o, o, o, o, o, o, o, n, s, {}]}", "keys", secret, private_use, broken,
                  off_curve, odd, too_short, other_curve, "kty");
    assert_int_equal(jwt_keys_parse(set, &keys, &err), -1);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_null(keys);
    json_array_append_new(json_object_get(set, "keys"), jwt_maker_jwk(issuer.rsa, "r", NULL));
    assert_int_equal(jwt_keys_parse(set, &keys, &err), 0);
    accept_from(keys, issuer.rsa, "RS256", "{\"alg\":\"RS256\",\"kid\":\"r\"}");
    jwt_keys_destroy(keys);
    for (int i = 0; i < 100; i++) /* more than anybody has */
        json_array_append_new(json_object_get(set, "keys"), jwt_maker_jwk(issuer.p256, "e", NULL));
    assert_int_equal(jwt_keys_parse(set, &keys, &err), 0);
    jwt_keys_destroy(keys);
    jwt_keys_destroy(NULL);
}

static void test_claims(void **state) {
    (void)state;
    /* now is 1000 s; a minute of skew is let pass */
    static const struct {
        const char *claims, *why; /* NULL: good */
        int64_t until_ms;
    } cases[] = {
        {"{'aud':'elara','exp':1500}", NULL, 1560000},
        {"{'aud':['x','elara'],'exp':1500.5,'nbf':900}", NULL, 1560500},
        {"{'aud':'elara','exp':941}", NULL, 1001000},
        {"{'aud':'elara','exp':939}", "has expired", 0},
        {"{'aud':'elara','exp':1500,'nbf':1060}", NULL, 1560000},
        {"{'aud':'elara','exp':1500,'nbf':1061}", "does not count yet", 0},
        {"{'aud':'elara','exp':1500,'nbf':'900'}", "does not count yet", 0},
        {"{'aud':'elara','exp':1500,'nbf':null}", "does not count yet", 0},
        {"{'aud':'elara'}", "when it ends", 0},
        {"{'aud':'elara','exp':'1500'}", "when it ends", 0},
        {"{'aud':'elara','exp':-1}", "when it ends", 0},
        {"{'aud':'elara','exp':1e300}", "when it ends", 0},
        {"{'aud':'elara2','exp':1500}", "not for this gateway", 0},
        {"{'aud':'ELARA','exp':1500}", "not for this gateway", 0},
        {"{'aud':['elar','a'],'exp':1500}", "not for this gateway", 0},
        {"{'aud':[['elara']],'exp':1500}", "not for this gateway", 0},
        {"{'aud':{'elara':'elara'},'exp':1500}", "not for this gateway", 0},
        {"{'aud':[],'exp':1500}", "not for this gateway", 0},
        {"{'exp':1500}", "not for this gateway", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s", cases[i].claims);
        for (char *quote; (quote = strchr(text, '\'')) != NULL;)
            *quote = '"';
        cleanup_json json_t *claims = json_loads(text, 0, NULL);
        int64_t until_ms = 0;
        struct error err = {0};
        assert_non_null(claims);
        int result = jwt_check_claims(claims, "elara", 1000000, &until_ms, &err);
        if (result != (cases[i].why == NULL ? 0 : -1) || until_ms != cases[i].until_ms ||
            (cases[i].why != NULL && strstr(err.text, cases[i].why) == NULL))
            fail_msg("%s: %d, until %lld, \"%s\"", text, result, (long long)until_ms, err.text);
        assert_true(result == 0 || err.code == ERROR_DENIED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signatures_of_public_keys_count),
        cmocka_unit_test(test_other_algorithms_do_not),
        cmocka_unit_test(test_one_algorithm_does_not_pass_for_another),
        cmocka_unit_test(test_other_keys),
        cmocka_unit_test(test_keys_without_names),
        cmocka_unit_test(test_what_was_signed_for_something_else),
        cmocka_unit_test(test_another_issuer_is_not_looked_up),
        cmocka_unit_test(test_claims_that_are_none),
        cmocka_unit_test(test_every_cut_and_changed_token_is_refused),
        cmocka_unit_test(test_a_huge_token),
        cmocka_unit_test(test_key_sets),
        cmocka_unit_test(test_claims),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
