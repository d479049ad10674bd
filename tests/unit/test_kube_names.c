#include "launcher/kube_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UUID    "0f8fad5b-d9cb-469f-a165-70867728950e"
#define LONG_48 "0f8fad5b-d9cb-469f-a165-70867728950e-abcdefghijk"

static void suffixes(void **state) {
    static const struct {
        const char *id;
        const char *expected; /* NULL: a hash */
    } rows[] = {
        {UUID, UUID},
        {"a-b-c-d-e", "a-b-c-d-e"},
        {LONG_48, LONG_48},
        {LONG_48 "l", NULL},
        {"0F8FAD5B-d9cb-469f-a165-70867728950e", NULL},
        {"a_b-c-d-e-f", NULL},
        {"-a-b", NULL},
        {"a-b-", NULL},
        {"0123456789012345678901234567890123456789", NULL}, /* could be somebody's hash */
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char suffix[KUBE_SUFFIX_SIZE], name[KUBE_NAME_SIZE];
        kube_name_suffix(rows[i].id, suffix);
        if (rows[i].expected != NULL) {
            assert_string_equal(suffix, rows[i].expected);
        } else {
            assert_string_not_equal(suffix, rows[i].id);
            assert_int_equal(strlen(suffix), 40);
            assert_int_equal(strspn(suffix, "0123456789abcdef"), 40);
        }
        kube_name_record("elara", rows[i].id, name);
        assert_true(kube_is_dns_label(name));
        kube_name_key("elara", rows[i].id, name);
        assert_true(kube_is_dns_label(name));
        kube_name_pod("elara", rows[i].id, NULL, INT64_MAX, name);
        assert_true(kube_is_dns_label(name));
    }
    char one[KUBE_SUFFIX_SIZE], other[KUBE_SUFFIX_SIZE];
    kube_name_suffix("A-b-c-d-e", one);
    kube_name_suffix("a-B-c-d-e", other);
    assert_string_not_equal(one, other);
    assert_string_equal(one, "67e784d35efac4ab637aa83a9834df5bfad8f857");
}

static void pods_are_named_as_wished(void **state) {
    static const struct {
        const char *wish;
        const char *expected;
    } rows[] = {
        {NULL, "kernel-" UUID "-2"},
        {"", "kernel-" UUID "-2"},
        {"{{ kernel_username }}-{{ kernel_id }}", "ann-lee-" UUID "-2"},
        {"{{kernel_username}}-{{kernel_id}}", "ann-lee-" UUID "-2"},
        {"{{ kernel_id }}", NULL}, /* the suffix alone is not one of ours */
        {"Team_A/{{ kernel_username }}", "team-a-ann-lee-c812e1edb6-2"},
        {"kernel-11111111-d9cb-469f-a165-70867728950e",
         "kernel-11111111-d9cb-469f-a165-70867728950e-c812e1edb6-2"},
        {"x" UUID, "x" UUID "-c812e1edb6-2"},
        {"{{ kernel_unknown }}-x", "kernel-" UUID "-2"},
        {"{{ kernel_id | upper }}", "kernel-" UUID "-2"},
        {"{{ kernel_id.__class__ }}", "kernel-" UUID "-2"},
        {"{{ namespace }}", "kernel-" UUID "-2"},
        {"{{ kernel_id", "kernel-" UUID "-2"},
        {"{% if x %}", "if-x-c812e1edb6-2"},
        {"\xc3\xa9\xc3\xa9", "kernel-" UUID "-2"},
        {"---", "kernel-" UUID "-2"},
        {"a-very-long-name-for-a-team-and-{{ kernel_username }}-{{ kernel_id }}",
         "a-very-long-name-fo-" UUID "-2"},
        {"a-very-long-name-for-a-team-that-has-no-end-and-goes-on-and-on",
         "a-very-long-name-for-a-team-that-has-no-end-a-c812e1edb6-2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *values = json_pack("{s:s, s:s, s:s*}", "KERNEL_ID", UUID, "KERNEL_USERNAME",
                                   "Ann.Lee", "KERNEL_POD_NAME", rows[i].wish);
        char name[KUBE_NAME_SIZE];
        kube_name_pod("elara", UUID, values, 2, name);
        assert_true(kube_is_dns_label(name));
        if (rows[i].expected != NULL)
            assert_string_equal(name, rows[i].expected);
        assert_int_equal(kube_attempt_of(name), 2);
        json_decref(values);
    }
    assert_int_equal(kube_attempt_of("kernel-a-0"), 0);
    assert_int_equal(kube_attempt_of("kernel-a-1b"), 0);
    assert_int_equal(kube_attempt_of("kernel"), 0);
}

static void no_wish_takes_anothers_name(void **state) {
    static const char other[] = "11111111-d9cb-469f-a165-70867728950e";
    (void)state;
    json_t *values = json_pack("{s:s}", "KERNEL_POD_NAME", other);
    char theirs[KUBE_NAME_SIZE], ours[KUBE_NAME_SIZE];
    kube_name_pod("elara", UUID, values, 1, theirs);
    kube_name_pod("elara", other, values, 1, ours);
    assert_string_not_equal(theirs, ours);
    json_object_set_new(values, "KERNEL_POD_NAME", json_string("same"));
    kube_name_pod("elara", UUID, values, 1, theirs);
    kube_name_pod("elara", other, values, 1, ours);
    assert_string_not_equal(theirs, ours);
    json_decref(values);
}

static void installs_share_no_name(void **state) {
    char ours[KUBE_NAME_SIZE], theirs[KUBE_NAME_SIZE], others[KUBE_NAME_SIZE];
    (void)state;
    kube_name_record("elara", UUID, ours);
    kube_name_record("b", UUID, theirs);
    assert_string_not_equal(ours, theirs);
    kube_name_key("elara", UUID, ours);
    kube_name_key("b", UUID, theirs);
    kube_name_key("c", UUID, others);
    assert_string_not_equal(ours, theirs);
    assert_string_not_equal(others, theirs);
    json_t *values =
        json_pack("{s:s, s:s}", "KERNEL_ID", UUID, "KERNEL_POD_NAME", "x-{{ kernel_id }}");
    for (int i = 0; i < 2; i++) {
        kube_name_pod("elara", UUID, i == 0 ? NULL : values, 1, ours);
        kube_name_pod("b", UUID, i == 0 ? NULL : values, 1, theirs);
        assert_string_not_equal(ours, theirs);
        kube_name_kernel_namespace("elara", UUID, i == 0 ? NULL : values, "ann", ours);
        kube_name_kernel_namespace("b", UUID, i == 0 ? NULL : values, "ann", theirs);
        assert_string_not_equal(ours, theirs);
        assert_true(kube_is_dns_label(theirs));
    }
    json_decref(values);
}

static void namespaces_of_kernels(void **state) {
    char name[KUBE_NAME_SIZE];
    (void)state;
    kube_name_kernel_namespace("elara", UUID, NULL, "jovyan", name);
    assert_string_equal(name, "jovyan-" UUID);
    kube_name_kernel_namespace("elara", UUID, NULL, "Ann.Lee@Example.com", name);
    assert_string_equal(name, "ann-lee-example-com-" UUID);
    kube_name_kernel_namespace("elara", UUID, NULL, "a-name-that-is-longer-than-there-is-room",
                               name);
    assert_string_equal(name, "a-name-that-is-longer-than-" UUID);
    kube_name_kernel_namespace("elara", UUID, NULL, NULL, name);
    assert_string_equal(name, "kernel-" UUID);
    kube_name_kernel_namespace("elara", UUID, NULL, "\xc3\xa9", name);
    assert_string_equal(name, UUID);
    json_t *values =
        json_pack("{s:s, s:s}", "KERNEL_ID", UUID, "KERNEL_POD_NAME", "lab-{{ kernel_id }}");
    kube_name_kernel_namespace("elara", UUID, values, "ann", name);
    assert_string_equal(name, "lab-" UUID);
    json_decref(values);
}

static void namespaces_of_users(void **state) {
    static const struct {
        const char *user;
        const char *expected; /* its begin when it ends in "---" */
    } rows[] = {
        {"alice", "elara-alice"},
        {"a1", "elara-a1"},
        {"7", "elara-7"},
        {"ann-lee", "elara-ann-lee"},
        {"Alice", "elara-alice---"},
        {"alice@example.com", "elara-alice-example-com---"},
        {"alice.example.com", "elara-alice-example-com---"},
        {"alice--x", "elara-alice-x---"},
        {"alice-", "elara-alice---"},
        {"-", "elara-x---"},
        {"\xc3\xa9", "elara-x---"},
        {"user-with-a-name-that-is-certainly-longer-than-a-label-may-be",
         "elara-user-with-a-name-that---"},
    };
    char names[sizeof rows / sizeof *rows][KUBE_NAME_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kube_name_user_namespace("elara-", rows[i].user, names[i]);
        assert_true(kube_is_dns_label(names[i]));
        size_t length = strlen(rows[i].expected);
        if (strcmp(rows[i].expected + length - 3, "---") == 0) {
            assert_int_equal(strncmp(names[i], rows[i].expected, length), 0);
            assert_int_equal(strlen(names[i]), length + 32);
        } else {
            assert_string_equal(names[i], rows[i].expected);
        }
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
    }
    char name[KUBE_NAME_SIZE];
    kube_name_user_namespace("a-prefix-as-long-as-may-", "Alice Smith-Jones", name);
    assert_true(kube_is_dns_label(name));
    /* Somebody whose name is what another's was made to be. */
    kube_name_user_namespace("elara-", names[4] + strlen("elara-"), name);
    assert_string_not_equal(name, names[4]);
}

static void what_settings_may_be(void **state) {
    static const char *const bad[] = {"",      "-a", "a-prefix-as-long-as-may-be", "A", "a.b",
                                      "kube-", "a b"};
    struct error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kube_prefix_check(bad[i], &err), -1);
    assert_int_equal(kube_prefix_check("elara-", &err), 0);
    assert_int_equal(kube_install_check("team-a", &err), 0);
    assert_int_equal(kube_install_check("team_a", &err), -1);
    assert_int_equal(kube_install_check("", &err), -1);
    assert_int_equal(kube_install_check("a2345678901234567890123456789012345678901", &err), -1);
    char name[KUBE_NAME_SIZE];
    kube_name_gateway("team-a", name);
    assert_string_equal(name, "elara-link-team-a");
}

static void label_values(void **state) {
    static const struct {
        const char *text;
        const char *expected;
    } rows[] = {
        {"", ""},
        {"Ann_Lee.x", "Ann_Lee.x"},
        {"ann@example.com", "ann-example.com---"},
        {"_x", "x---"},
        {"a234567890123456789012345678901234567890123456789012345678901234",
         "a234567890123456789012345678---"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char value[KUBE_NAME_SIZE];
        kube_label_value(rows[i].text, value);
        assert_true(kube_is_label_value(value));
        if (i < 2)
            assert_string_equal(value, rows[i].expected);
        else
            assert_int_equal(strncmp(value, rows[i].expected, strlen(rows[i].expected)), 0);
    }
}

static void forms(void **state) {
    (void)state;
    assert_true(kube_is_dns_subdomain("a.b-c.d"));
    assert_false(kube_is_dns_subdomain("a..b"));
    assert_false(kube_is_dns_subdomain("a.-b"));
    assert_false(kube_is_dns_subdomain("A"));
    assert_false(kube_is_dns_label("a.b"));
    assert_false(kube_is_dns_label(""));
    assert_true(kube_is_label_value("A_b.c-d"));
    assert_false(kube_is_label_value("a b"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suffixes),
        cmocka_unit_test(pods_are_named_as_wished),
        cmocka_unit_test(no_wish_takes_anothers_name),
        cmocka_unit_test(installs_share_no_name),
        cmocka_unit_test(namespaces_of_kernels),
        cmocka_unit_test(namespaces_of_users),
        cmocka_unit_test(what_settings_may_be),
        cmocka_unit_test(label_values),
        cmocka_unit_test(forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
