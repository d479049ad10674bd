/* Certificates and a proxy's header: whose name they say, and which method goes before which. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "gateway/auth.h"
#include "gateway/auth_method.h"

#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

static char one_address[] = "10.0.0.7", network[] = "192.168.0.0/20", network6[] = "fd00::/9",
            own[] = "::1", root_alice[] = "root-alice", both[] = "both", wall[] = "wall";
static char *proxies[] = {one_address, network, network6, own, NULL};
static char *admins[] = {root_alice, both, NULL};
static char *viewers[] = {wall, both, NULL};

static struct auth *create(const struct auth_settings *settings) {
    struct auth *auth = NULL;
    struct error err = {0};
    log_set_level(LOG_ERROR);
    if (auth_create(NULL, settings, &auth, &err) < 0)
        fail_msg("%s", err.text);
    return auth;
}

static void refuse(const struct auth_settings *settings, const char *why) {
    struct auth *auth = NULL;
    struct error err = {0};
    assert_int_equal(auth_create(NULL, settings, &auth, &err), -1);
    assert_int_equal(err.code, ERROR_INVALID);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", why, err.text);
}

static const char *name_of(struct auth *auth, const struct auth_evidence *evidence,
                           enum auth_role *role) {
    const struct auth_identity *identity = NULL;
    struct error err = {0};
    if (auth_check(auth, evidence, NULL, &identity, &err) != AUTH_KNOWN) {
        assert_int_equal(err.code, ERROR_DENIED);
        return NULL;
    }
    if (role != NULL)
        *role = identity->role;
    return identity->name;
}

static void assert_name(const char *found, const char *wanted) {
    if (wanted == NULL)
        assert_null(found);
    else if (found == NULL)
        fail_msg("nobody, not %s", wanted);
    else
        assert_string_equal(found, wanted);
}

/* The proxy's header. */

struct header {
    const char *name, *value;
};

static const char *read_header(void *context, const char *name) {
    const struct header *header = context;
    return header != NULL && strcasecmp(header->name, name) == 0 ? header->value : NULL;
}

static const char *by_header(struct auth *auth, const char *address, const char *value,
                             enum auth_role *role) {
    struct header header = {"x-forwarded-user", value};
    return name_of(auth,
                   &(struct auth_evidence){
                       .address = address, .header = read_header, .header_context = &header},
                   role);
}

static struct auth *behind_proxy(void) {
    return create(&(struct auth_settings){.proxy_header = "X-Forwarded-User",
                                          .proxy_addresses = proxies,
                                          .admins = admins,
                                          .viewers = viewers});
}

static void test_the_proxys_header_counts_from_its_addresses(void **state) {
    (void)state;
    static const struct {
        const char *address;
        bool counts;
    } cases[] = {
        {"10.0.0.7", true},
        {"10.0.0.6", false},
        {"10.0.0.70", false},
        {"192.168.0.0", true},
        {"192.168.15.255", true},
        {"192.168.16.0", false},
        {"192.167.255.255", false},
        {"::ffff:10.0.0.7", true},
        {"::ffff:10.0.0.8", false},
        {"::10.0.0.7", false},
        {"fd00::1", true},
        {"fd7f:ffff::1", true},
        {"fd80::1", false},
        {"fc00::1", false},
        {"::1", true},
        {"::2", false},
        {"127.0.0.1", false},
        {"-", false},
        {"", false},
        {NULL, false},
    };
    struct auth *auth = behind_proxy();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *name = by_header(auth, cases[i].address, "alice", NULL);
        if ((name != NULL) != cases[i].counts)
            fail_msg("%s: %s", cases[i].address, name != NULL ? "in" : "out");
    }
    auth_destroy(auth);
}

static void test_networks(void **state) {
    (void)state;
    static const struct {
        const char *network, *within, *outside;
    } cases[] = {
        {"0.0.0.0/0", "255.255.255.255", "2001:db8::1"},
        {"10.1.2.3/32", "10.1.2.3", "10.1.2.2"},
        {"10.1.2.3/31", "10.1.2.2", "10.1.2.4"},
        {"10.1.2.3/8", "10.255.0.0", "11.1.2.3"},
        {"128.0.0.0/1", "200.1.1.1", "127.255.255.255"},
        {"::/0", "10.1.1.1", NULL},
        {"2001:db8::/127", "2001:db8::1", "2001:db8::2"},
        {"2001:db8::1/128", "2001:db8::1", "2001:db8::"},
        {"::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", cases[i].network);
        char *list[] = {text, NULL};
        struct auth *auth = create(
            &(struct auth_settings){.proxy_header = "x-forwarded-user", .proxy_addresses = list});
        assert_name(by_header(auth, cases[i].within, "alice", NULL), "alice");
        if (cases[i].outside != NULL && by_header(auth, cases[i].outside, "alice", NULL) != NULL)
            fail_msg("%s is not in %s", cases[i].outside, cases[i].network);
        auth_destroy(auth);
    }
}

static void test_networks_that_are_none(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "proxy",
        "10.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/x",
        "10.0.0.0/8 ",
        "10.0.0.0/ 8",
        "10.0.0.0/+8",
        "10.0.0.0/-1",
        "::/129",
        "fe80::1%lo",
        "10.0.0.0/8/8",
        "10.0.0.0/99999999999999999999",
        "10.0.0.7,",
        "[::1]",
        "2001:0db8:0000:0000:0000:0000:0000:0001/00000000000000000000000000000128",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s", wrong[i]);
        char *list[] = {text, NULL};
        refuse(&(struct auth_settings){.proxy_header = "x", .proxy_addresses = list},
               "proxy-addresses: \"");
    }
    refuse(&(struct auth_settings){.proxy_header = "x"}, "without proxy-addresses");
    refuse(&(struct auth_settings){.proxy_header = "x:", .proxy_addresses = proxies},
           "is no header's name");
    refuse(&(struct auth_settings){.proxy_header = "x y", .proxy_addresses = proxies},
           "is no header's name");
    char *many[66] = {0};
    for (size_t i = 0; i < 65; i++)
        many[i] = proxies[0];
    struct auth *auth = NULL;
    struct error err = {0};
    assert_int_equal(
        auth_create(NULL, &(struct auth_settings){.proxy_header = "x", .proxy_addresses = many},
                    &auth, &err),
        -1);
    assert_non_null(strstr(err.text, "more than 64"));
}

static void test_a_header_from_elsewhere_is_told(void **state) {
    (void)state;
    struct auth *auth = behind_proxy();
    const struct auth_identity *identity = NULL;
    struct header header = {"x-forwarded-user", "alice"};
    struct auth_evidence evidence = {
        .address = "10.9.9.9", .header = read_header, .header_context = &header};
    struct error err = {0};
    assert_int_equal(auth_check(auth, &evidence, NULL, &identity, &err), AUTH_REFUSED);
    assert_string_equal(
        err.text,
        "X-Forwarded-User does not count from 10.9.9.9, which is none of proxy-addresses");
    auth_destroy(auth);
}

static void test_names_that_cannot_be_owners(void **state) {
    (void)state;
    char longest[AUTH_NAME_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[AUTH_NAME_MAX] = '\0';
    struct auth *auth = behind_proxy();
    static const char *const good[] = {
        "alice", "alice@example.org", "Alice M\xc3\xbcller", "a", "..", "Default",
        "<b>",   "alice, bob"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_name(by_header(auth, "::1", good[i], NULL), good[i]);
    assert_name(by_header(auth, "::1", longest, NULL), longest);
    longest[AUTH_NAME_MAX] = 'a';
    longest[AUTH_NAME_MAX + 1] = '\0';
    const char *const bad[] = {"",       "default", "a/b",          "/",    " alice",
                               "alice ", "a\nb",    "a\x7f",        "\xff", "\xc0\xaf",
                               "a\tb",   "alice\r", "\xed\xa0\x80", longest};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (by_header(auth, "::1", bad[i], NULL) != NULL)
            fail_msg("\"%s\" can own", bad[i]);
    auth_destroy(auth);
}

static void test_roles(void **state) {
    (void)state;
    enum auth_role role;
    struct auth *auth = behind_proxy();
    by_header(auth, "::1", "alice", &role);
    assert_int_equal(role, AUTH_USER);
    by_header(auth, "::1", "root-alice", &role);
    assert_int_equal(role, AUTH_ADMIN);
    by_header(auth, "::1", "wall", &role);
    assert_int_equal(role, AUTH_VIEWER);
    by_header(auth, "::1", "both", &role);
    assert_int_equal(role, AUTH_ADMIN);
    by_header(auth, "::1", "ROOT-alice", &role);
    assert_int_equal(role, AUTH_USER);

    struct error err = {0};
    assert_int_equal(auth_configure(auth,
                                    &(struct auth_settings){.proxy_header = "X-Forwarded-User",
                                                            .proxy_addresses = proxies,
                                                            .viewers = admins},
                                    &err),
                     0);
    by_header(auth, "::1", "root-alice", &role);
    assert_int_equal(role, AUTH_VIEWER);
    by_header(auth, "::1", "wall", &role);
    assert_int_equal(role, AUTH_USER);
    auth_destroy(auth);
}

static void test_who_may_use_what(void **state) {
    (void)state;
    const struct auth_identity user = {"alice", AUTH_USER, true},
                               viewer = {"wall", AUTH_VIEWER, true},
                               metrics = {"alice", AUTH_METRICS, true};
    assert_true(auth_may_use(&user, "alice"));
    assert_false(auth_may_use(&user, "bob"));
    assert_false(auth_may_use(&metrics, "alice"));
    assert_true(
        auth_may_use(&viewer, "bob")); /* to look at: http_routes.c keeps it from the rest */
}

/* Certificates. */

static void add_name(X509 *certificate, const char *field, const void *value, int length) {
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), field,
                                                MBSTRING_UTF8, value, length, -1, 0),
                     1);
}

/* That ends in so many seconds. */
static X509 *new_certificate(long seconds) {
    X509 *certificate = X509_new();
    X509_gmtime_adj(X509_getm_notAfter(certificate), seconds);
    return certificate;
}

static void add_alternatives(X509 *certificate, const char *text) {
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static const char *by_certificate(const char *kind, X509 *certificate, char *name, size_t size) {
    struct auth *auth = create(&(struct auth_settings){.certificate_user = kind});
    const char *found = name_of(auth, &(struct auth_evidence){.certificate = certificate}, NULL);
    if (found != NULL)
        snprintf(name, size, "%s", found);
    auth_destroy(auth);
    return found != NULL ? name : NULL;
}

static void assert_certificate(const char *kind, X509 *certificate, const char *wanted) {
    char name[256];
    assert_name(by_certificate(kind, certificate, name, sizeof name), wanted);
}

static void test_a_certificates_subject(void **state) {
    (void)state;
    X509 *certificate = new_certificate(3600);
    assert_certificate("cn", certificate, NULL);
    assert_certificate("cn", NULL, NULL);
    add_name(certificate, "O", "lab", -1);
    add_name(certificate, "CN", "Alice M\xc3\xbcller", -1);
    assert_certificate("cn", certificate, "Alice M\xc3\xbcller");
    assert_certificate("email", certificate, NULL);
    add_name(certificate, "CN", "bob", -1); /* whose it is must not depend on an order */
    assert_certificate("cn", certificate, NULL);
    X509_free(certificate);
}

static void test_a_certificate_that_has_ended_meanwhile(void **state) {
    (void)state;
    X509 *certificate = new_certificate(-1);
    struct auth *auth = create(&(struct auth_settings){.certificate_user = "cn"});
    const struct auth_identity *identity;
    struct error err = {0};
    add_name(certificate, "CN", "alice", -1);
    assert_int_equal(auth_check(auth, &(struct auth_evidence){.certificate = certificate}, NULL,
                                &identity, &err),
                     AUTH_REFUSED);
    assert_string_equal(err.text, "the client certificate has expired");
    auth_destroy(auth);
    X509_free(certificate);
}

static void test_a_certificates_name_with_a_nul(void **state) {
    (void)state;
    X509 *certificate = new_certificate(3600);
    add_name(certificate, "CN", "alice\0.evil.org", 15);
    assert_certificate("cn", certificate, NULL);
    X509_free(certificate);

    certificate = new_certificate(3600);
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, "alice\0.evil.org", 15);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, name);
    assert_int_equal(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
    assert_certificate("dns", certificate, NULL);
    X509_free(certificate);
}

static void test_a_certificates_alternative_names(void **state) {
    (void)state;
    X509 *certificate = new_certificate(3600);
    add_name(certificate, "CN", "carla", -1);
    add_alternatives(certificate, "email:alice@example.org,DNS:alice.example.org,URI:urn:alice");
    assert_certificate("email", certificate, "alice@example.org");
    assert_certificate("dns", certificate, "alice.example.org");
    assert_certificate("uri", certificate, "urn:alice");
    assert_certificate("cn", certificate, "carla");
    assert_certificate("none", certificate, "default"); /* nothing is asked for */
    X509_free(certificate);

    certificate = new_certificate(3600);
    add_alternatives(certificate, "email:alice@example.org,email:bob@example.org,DNS:one");
    assert_certificate("email", certificate, NULL);
    assert_certificate("dns", certificate, "one");
    X509_free(certificate);

    certificate = new_certificate(3600); /* an extension may come once (RFC 5280, 4.2) */
    add_alternatives(certificate, "email:alice@example.org");
    add_alternatives(certificate, "DNS:bob");
    assert_certificate("email", certificate, NULL);
    assert_certificate("dns", certificate, NULL);
    X509_free(certificate);

    certificate = new_certificate(3600); /* a path is no name: it cannot own */
    add_alternatives(certificate, "URI:spiffe://lab/alice");
    assert_certificate("uri", certificate, NULL);
    X509_free(certificate);
    refuse(&(struct auth_settings){.certificate_user = "sn"}, "client-certificate-user");
}

/* The order. */

static void test_the_first_that_knows_the_client_says_who_it_is(void **state) {
    (void)state;
    char path[] = "/tmp/elara-test-auth-methods-XXXXXX";
    /* printf %s anna-token | sha256sum */
    static const char line[] =
        "anna:user:sha256:c3cdf8b93111159d4a078d5b124d961890ae85d5aa9a955cfbe670c1d85f98ff\n";
    int fd = mkstemp(path);
    close(fd);
    assert_int_equal(file_write(path, line, strlen(line), 0600, NULL), 0);
    struct auth *auth = create(&(struct auth_settings){.token = "s3cret",
                                                       .token_file = path,
                                                       .certificate_user = "cn",
                                                       .proxy_header = "X-Forwarded-User",
                                                       .proxy_addresses = proxies});
    struct header header = {"X-Forwarded-User", "paula"};
    X509 *certificate = new_certificate(3600);
    add_name(certificate, "CN", "carla", -1);
    struct auth_evidence evidence = {.authorization = "token s3cret",
                                     .address = "::1",
                                     .header = read_header,
                                     .header_context = &header,
                                     .certificate = certificate};
    assert_name(name_of(auth, &evidence, NULL), "default");
    evidence.authorization = "token anna-token";
    assert_name(name_of(auth, &evidence, NULL), "anna");
    static const char *const others[] = {"token wrong", "token ", "Basic x", NULL};
    for (size_t i = 0; i < 4; i++) {
        evidence.authorization = others[i];
        assert_name(name_of(auth, &evidence, NULL), "carla");
    }
    evidence.certificate = NULL;
    assert_name(name_of(auth, &evidence, NULL), "paula");
    header.value = "default"; /* no admin by this door */
    assert_name(name_of(auth, &evidence, NULL), NULL);
    evidence.header_context = NULL;
    assert_name(name_of(auth, &evidence, NULL), NULL);
    X509_free(certificate);
    auth_destroy(auth);
    unlink(path);
}

static void test_settings_that_lack_another_one(void **state) {
    (void)state;
    refuse(&(struct auth_settings){.oidc_issuer = "id.example.org", .oidc_audience = "elara"},
           "oidc-issuer: must begin with https://");
    refuse(&(struct auth_settings){.oidc_issuer = "https://id.example.org"}, "oidc-audience");
    refuse(&(struct auth_settings){.token_review = true}, "token-review-namespaces");
    refuse(&(struct auth_settings){.hub_api_url = "hub:8081"}, "jupyterhub-api-url");
}

static void test_what_looks_like_a_jwt(void **state) {
    (void)state;
    assert_true(auth_token_is_jwt("eyJh.eyJi.c"));
    assert_true(auth_token_is_jwt("eyJh..")); /* refused by those who read it */
    assert_false(auth_token_is_jwt("eyJh.eyJi"));
    assert_false(auth_token_is_jwt("eyJh.eyJi.c.d"));
    assert_false(auth_token_is_jwt("0123456789abcdef0123456789abcdef"));
    assert_false(auth_token_is_jwt("a.b.c"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_proxys_header_counts_from_its_addresses),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_networks_that_are_none),
        cmocka_unit_test(test_a_header_from_elsewhere_is_told),
        cmocka_unit_test(test_names_that_cannot_be_owners),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_who_may_use_what),
        cmocka_unit_test(test_a_certificates_subject),
        cmocka_unit_test(test_a_certificate_that_has_ended_meanwhile),
        cmocka_unit_test(test_a_certificates_name_with_a_nul),
        cmocka_unit_test(test_a_certificates_alternative_names),
        cmocka_unit_test(test_the_first_that_knows_the_client_says_who_it_is),
        cmocka_unit_test(test_settings_that_lack_another_one),
        cmocka_unit_test(test_what_looks_like_a_jwt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
