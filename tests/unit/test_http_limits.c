/* What counts as one address. */
#include "gateway/http_limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_an_ipv6_network_is_one_address(void **state) {
    (void)state;
    static const struct {
        const char *address;
        bool is_refused;
    } cases[] = {
        {"2001:db8:0:1::1", false}, {"2001:db8:0:1:ffff::2", true},
        {"2001:db8:0:2::1", false}, {"10.0.0.1", false},
        {"10.0.0.2", false},        {"10.0.0.1", true},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    struct http_settings settings = {.connections_per_address_max = 1};
    struct http_limits *limits = http_limits_create(&settings);
    struct http_seat *seats[CASES];
    struct error err;
    for (size_t i = 0; i < CASES; i++)
        assert_int_equal(http_seat_connection(limits, cases[i].address, 3, &seats[i], &err),
                         cases[i].is_refused ? -1 : 0);
    for (size_t i = 0; i < CASES; i++)
        http_seat_free(seats[i]);
    http_limits_destroy(limits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ipv6_network_is_one_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
