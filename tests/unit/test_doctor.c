/* What elara doctor makes of clocks and file systems that no machine of ours has. All else:
 * tests/integration/test_doctor.py. */
#include "base/cleanup.h"
#include "gateway/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { DAY_S = 86400, NOW_S = 1800000000 };

static void test_clocks(void **state) {
    (void)state;
    static const struct {
        struct doctor_clocks clocks;
        const char *state, *says;
    } rows[] = {
        {{false, NOW_S, NOW_S, NOW_S, "/run"},
         "ok",
         "2027-01-15T08:00:00.000000Z, and files agree"},
        {{false, NOW_S, NOW_S, NOW_S - 2, "/run"}, "ok", "files agree"},
        {{false, NOW_S, NOW_S, NOW_S - 3, "/run"}, "warn", "clock (/run) is 3 s behind ours"},
        {{false, NOW_S, NOW_S, NOW_S + 60, "/run"}, "warn", "clock (/run) is 60 s ahead of ours"},
        {{false, NOW_S, NOW_S, -1, "/run"}, "ok", "000Z"}, /* told as the directory's fault */
        {{false, NOW_S, NOW_S + DAY_S, NOW_S, "/run"}, "ok", "files agree"}, /* time zones */
        {{false, NOW_S, NOW_S + DAY_S + 1, NOW_S, "/run"}, "fail", "before this program was made"},
        {{true, NOW_S, NOW_S, NOW_S, "/run"}, "fail", "stands still"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cleanup_json json_t *findings = json_array();
        struct doctor doctor = {.findings = findings};
        doctor_judge_clocks(&doctor, &rows[i].clocks);
        const json_t *found = json_array_get(findings, 0);
        const char *text = json_string_value(json_object_get(found, "text"));
        const char *fix = json_string_value(json_object_get(found, "fix"));
        assert_string_equal(json_string_value(json_object_get(found, "state")), rows[i].state);
        assert_int_equal(*fix == '\0', strcmp(rows[i].state, "ok") == 0);
        if (strstr(text, rows[i].says) == NULL)
            fail_msg("%s", text);
    }
}

static void test_network_file_systems(void **state) {
    (void)state;
    static const unsigned long network[] = {0x6969, 0xff534d42, 0xfe534d42, 0x65735546, 0x01021997};
    static const unsigned long local[] = {0xef53, 0x01021994, 0x58465342, 0x9123683e, 0x794c7630};
    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        assert_true(doctor_is_network(network[i]));
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        assert_false(doctor_is_network(local[i]));
    assert_true(doctor_is_network((unsigned long)(int)0xff534d42)); /* f_type may be signed */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_network_file_systems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
