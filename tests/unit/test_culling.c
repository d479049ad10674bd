/* The policy of culling for one kernel, what launchers tell, and what is kept of an end. The
 * decision: test_culler.c; all of it with real kernels: tests/integration/test_culling.py. */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/culling_policy.h"
#include "gateway/culling_view.h"
#include "gateway/kernel_ends.h"
#include "gateway/notes.h"
#include "kernelspecs/kernelspecs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static char directory[32];

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test-culling-XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int remove_directory(void **state) {
    (void)state;
    return file_remove_tree(directory, NULL);
}

static const char overrides[] =
    "{\"specs\": {\"gpu-*\": {\"idle_timeout\": \"20m\", \"connected\": true, \"warn_before\": "
    "\"2m\"},"
    " \"gpu-large\": {\"idle_timeout\": 60}, \"*\": {\"stalled_timeout\": \"1h\"}},"
    " \"owners\": {\"ann\": {\"idle_timeout\": \"2d\", \"max_age\": \"7d\"}}}";

static struct culling_settings settings_with(json_t *json) {
    return (struct culling_settings){
        .idle_ms = HOUR, .warn_ms = 5 * MINUTE, .own_max_ms = DAY, .overrides = json};
}

struct result {
    struct culler_policy policy;
    struct culler_kernel kernel;
};

static struct result policy_of(const struct culling_settings *settings, const char *user,
                               const char *spec, int64_t own_ms) {
    struct culling_policies *policies;
    struct error err = {0};
    if (culling_policies_create(settings, &policies, &err) < 0)
        fail_msg("%s", err.text);
    struct culling_subject subject = {.user = user, .spec = spec, .own_idle_ms = own_ms};
    struct result result = {0};
    culling_policy_for(policies, &subject, &result.kernel, &result.policy);
    culling_policies_destroy(policies);
    return result;
}

static void test_overrides(void **state) {
    (void)state;
    cleanup_json json_t *json = json_loads(overrides, 0, NULL);
    struct culling_settings settings = settings_with(json);
    struct culler_policy policy = policy_of(&settings, "bob", "gpu-large", -1).policy;
    assert_int_equal(policy.idle_ms, 20 * MINUTE); /* the first that fits, not the best */
    assert_true(policy.culls_connected);
    assert_int_equal(policy.stalled_ms, 0);
    assert_int_equal(policy.warn_ms, 2 * MINUTE);
    policy = policy_of(&settings, "ann", "gpu-1", -1).policy;
    assert_int_equal(policy.idle_ms, 2 * DAY); /* the owner goes first */
    assert_int_equal(policy.age_ms, 7 * DAY);
    assert_true(policy.culls_connected); /* of what the owner's does not say, the kernelspec's */
    policy = policy_of(&settings, "bob", "python3", -1).policy;
    assert_int_equal(policy.idle_ms, HOUR);
    assert_int_equal(policy.stalled_ms, HOUR);
    assert_int_equal(policy.age_ms, 0);
}

static void test_own_timeouts(void **state) {
    (void)state;
    struct culling_settings settings = settings_with(NULL);
    static const struct {
        int64_t own_ms, max_ms, expected_ms;
        bool has;
    } rows[] = {
        {-1, DAY, 0, false},         {10 * MINUTE, DAY, 10 * MINUTE, true},
        {3 * DAY, DAY, DAY, true},   {0, DAY, DAY, true}, /* for ever is too long */
        {3 * DAY, 0, 3 * DAY, true}, {0, 0, 0, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        settings.own_max_ms = rows[i].max_ms;
        struct result result = policy_of(&settings, "ann", "stub", rows[i].own_ms);
        assert_int_equal(result.kernel.has_own_idle_ms, rows[i].has);
        assert_int_equal(result.kernel.own_idle_ms, rows[i].expected_ms);
    }
}

static void test_own_timeouts_within_what_an_override_allows(void **state) {
    (void)state;
    cleanup_json json_t *json = json_loads("{\"specs\": {\"gpu-*\": {\"max_own_timeout\": \"1h\"}},"
                                           " \"owners\": {\"carla\": {\"max_own_timeout\": "
                                           "\"30d\"}, \"dora\": {\"max_own_timeout\": 0}}}",
                                           0, NULL);
    struct culling_settings settings = settings_with(json);
    static const struct {
        const char *user, *spec;
        int64_t own_ms, expected_ms;
    } rows[] = {
        {"ann", "stub", 3 * DAY, DAY},
        {"ann", "gpu-1", 3 * DAY, HOUR},
        {"ann", "gpu-1", 0, HOUR},
        {"ann", "gpu-1", MINUTE, MINUTE},
        {"carla", "gpu-1", 3 * DAY, 3 * DAY},
        {"carla", "stub", 60 * DAY, 30 * DAY},
        {"dora", "gpu-1", 0, 0},
    };
    struct culling_policies *policies;
    assert_int_equal(culling_policies_create(&settings, &policies, NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct result result = policy_of(&settings, rows[i].user, rows[i].spec, rows[i].own_ms);
        assert_int_equal(result.kernel.own_idle_ms, rows[i].expected_ms);
    }
    const struct culling_subject gpu = {.user = "ann", .spec = "gpu-1"};
    assert_int_equal(culling_own_max_ms(policies, &gpu), HOUR);
    culling_policies_destroy(policies);
}

static void test_a_warning_is_no_news_after_each_cell(void **state) {
    (void)state;
    struct culling_settings settings = settings_with(NULL);
    assert_int_equal(policy_of(&settings, "ann", "stub", -1).policy.warn_ms, 5 * MINUTE);
    assert_int_equal(policy_of(&settings, "ann", "stub", 4 * MINUTE).policy.warn_ms, 2 * MINUTE);
    settings.detached_ms = 6 * MINUTE;
    assert_int_equal(policy_of(&settings, "ann", "stub", -1).policy.warn_ms, 3 * MINUTE);
}

static void test_bad_overrides(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } rows[] = {
        {"{\"users\": {}}", "users: unknown"},
        {"{\"owners\": []}", "owners: must be a mapping"},
        {"{\"owners\": {\"ann\": 5}}", "owners.ann: must be a mapping"},
        {"{\"owners\": {\"ann\": {\"idle_timeot\": 5}}}", "did you mean \"idle_timeout\"?"},
        {"{\"specs\": {\"x\": {\"idle_timeout\": \"soon\"}}}", "specs.x: idle_timeout"},
        {"{\"specs\": {\"x\": {\"idle_timeout\": -5}}}", "specs.x: idle_timeout"},
        {"{\"specs\": {\"x\": {\"max_age\": \"5000d\"}}}", "specs.x: max_age"},
        {"{\"specs\": {\"x\": {\"connected\": \"maybe\"}}}", "specs.x: connected"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cleanup_json json_t *json = json_loads(rows[i].json, 0, NULL);
        struct error err = {0};
        assert_int_equal(culling_check_overrides(json, &err), -1);
        if (strstr(err.text, rows[i].says) == NULL)
            fail_msg("%s: %s", rows[i].json, err.text);
    }
    cleanup_json json_t *good = json_loads(overrides, 0, NULL);
    assert_int_equal(culling_check_overrides(good, NULL), 0);
    char name[201] = "", *says = memory_printf("%0199d", 7);
    snprintf(name, sizeof name, "%s", says);
    free(says);
    cleanup_json json_t *far = json_pack("{s:{s:{s:s}}}", "specs", name, "idle_timeout", "soon");
    struct error err = {0};
    assert_int_equal(culling_check_overrides(far, &err), -1);
    assert_non_null(strstr(err.text, "00007: idle_timeout")); /* the whole name, or its end */
}

static void test_the_interval_of_enterprise_gateway(void **state) {
    (void)state;
    struct culling_settings settings = {.interval_ms = 0};
    assert_int_equal(culling_interval_ms(&settings), 300000);
    settings.interval_ms = 60000;
    assert_int_equal(culling_interval_ms(&settings), 60000);
}

static struct culler_policy policy_with(const char *file, const struct settings *settings,
                                        int64_t *idle_ms) {
    cleanup_json json_t *json = json_loads(file, 0, NULL);
    struct culling_policies *policies = NULL;
    struct error err = {0};
    struct culling_subject ann = {.user = "ann", .spec = "stub", .own_idle_ms = -1};
    struct culler_kernel kernel = {0};
    struct culler_policy policy;
    if (culling_read_policy(json, settings, &policies, &err) < 0)
        fail_msg("%s", err.text);
    culling_policy_for(policies, &ann, &kernel, &policy);
    *idle_ms = culling_policies_settings(policies)->idle_ms;
    culling_policies_destroy(policies);
    return policy;
}

/* What a gateway with these flags and variables would do with another file. */
static void test_another_file_for_a_dry_run(void **state) {
    (void)state;
    static const char now[] = "cull_idle_timeout: 5h\ncull_detached_timeout: 6h\n"
                              "cull_overrides: {owners: {ann: {idle_timeout: 2d}}}\n";
    char path[64], program[] = "elara-gateway", flag[] = "--config",
                   connected[] = "--cull-connected", age[] = "ELARA_CULL_MAX_AGE=7d";
    snprintf(path, sizeof path, "%s/now.yaml", directory);
    assert_int_equal(file_write(path, now, strlen(now), 0600, NULL), 0);
    char *argv[] = {program, flag, path, connected, NULL};
    char *environment[] = {age, NULL};
    struct settings *settings = NULL;
    struct error err = {0};
    int64_t idle_ms;
    if (settings_create(4, argv, environment, &settings, &err) < 0)
        fail_msg("%s", err.text);
    struct culler_policy policy =
        policy_with("{\"cull_stalled_timeout\": \"3d\", \"cull_connected\": false, "
                    "\"cull_max_age\": 0}",
                    settings, &idle_ms);
    assert_int_equal(policy.stalled_ms, 3 * DAY); /* the file's */
    assert_int_equal(policy.idle_ms, 12 * HOUR);  /* the old file's are gone, overrides too */
    assert_int_equal(policy.detached_ms, 0);
    assert_true(policy.culls_connected); /* a flag and a variable, which go before it */
    assert_int_equal(policy.age_ms, 7 * DAY);
    policy = policy_with("{\"cull_overrides\": {\"owners\": {\"ann\": {\"idle_timeout\": 60}}}}",
                         settings, &idle_ms);
    assert_int_equal(policy.idle_ms, MINUTE);
    assert_int_equal(idle_ms, 12 * HOUR);
    assert_int_equal(settings->cull.idle_ms, 5 * HOUR); /* what is in effect stays */
    static const char *const bad[][2] = {{"{\"cull_idle_timeot\": \"3d\"}", "cull_idle_timeout"},
                                         {"{\"port\": 1}", "port"},
                                         {"[]", "must be an object"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup_json json_t *json = json_loads(bad[i][0], 0, NULL);
        struct culling_policies *policies = NULL;
        assert_int_equal(culling_read_policy(json, settings, &policies, &err), -1);
        assert_non_null(strstr(err.text, bad[i][1]));
    }
    settings_destroy(settings);
}

static void test_durations(void **state) {
    (void)state;
    int64_t ms = -1;
    struct error err = {0};
    cleanup_json json_t *text = json_string("4h"), *number = json_integer(90), *bad = json_array();
    assert_int_equal(culling_duration(text, "for", &ms, &err), 0);
    assert_int_equal(ms, 4 * HOUR);
    assert_int_equal(culling_duration(number, "for", &ms, &err), 0);
    assert_int_equal(ms, 90000);
    assert_int_equal(culling_duration(bad, "for", &ms, &err), -1);
    assert_non_null(strstr(err.text, "for"));
}

/* What launchers tell. */

static json_t *told(const char *state, int waits) {
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:b, s:i, s:i}", "state", state, "age_ms",
                     5000, "state_for_ms", 4000, "untouched_for_ms", 3000, "silent_for_ms", 2000,
                     "unattached_for_ms", 0, "waits_for_input", waits, "busy_subshells", 0,
                     "keep_ms", 150);
}

static void add_answer(json_t *json) {
    json_object_set_new(json, "at_rest_for_ms", json_integer(1000));
    json_object_set_new(json, "cpu_ms", json_integer(7));
    json_object_set_new(json, "rss_bytes", json_integer(8));
    json_object_set_new(json, "processes", json_integer(9));
}

static void test_time_goes_on_after_what_was_told(void **state) {
    (void)state;
    struct kernel_activity activity = {0};
    struct culler_kernel now;
    struct error err = {0};
    cleanup_json json_t *json = told("idle", 0);
    kernel_activity_init(&activity);
    assert_false(kernel_activity_now(&activity, 0, 1000, &now));
    if (kernel_activity_take(&activity, json, false, 1000, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(kernel_activity_now(&activity, 0, 1100, &now));
    assert_int_equal(now.state, CULLER_IDLE);
    assert_int_equal(now.age_ms, 5100);
    assert_int_equal(now.state_for_ms, 4100);
    assert_int_equal(now.untouched_for_ms, 3100);
    assert_int_equal(now.silent_for_ms, 2100);
    assert_int_equal(now.unheard_for_ms, 0); /* that the last one went would have been told */
    assert_int_equal(now.keep_ms, 50);
    assert_int_equal(now.at_rest_for_ms, 5100); /* as long as it can be */
    assert_true(kernel_activity_now(&activity, 1, 1200, &now));
    assert_int_equal(now.unheard_for_ms, 0); /* a client of ours */
    assert_int_equal(now.keep_ms, 0);
    add_answer(json);
    assert_int_equal(kernel_activity_take(&activity, json, true, 2000, &err), 0);
    assert_int_equal(activity.rss_bytes, 8);
    cleanup_json json_t *later = told("busy", 1); /* nobody looked at its CPU meanwhile */
    assert_int_equal(kernel_activity_take(&activity, later, false, 2500, &err), 0);
    assert_true(kernel_activity_now(&activity, 0, 2600, &now));
    assert_int_equal(now.at_rest_for_ms, 1600);
    assert_true(now.waits_for_input);
}

static void test_bad_activity_changes_nothing(void **state) {
    (void)state;
    static const char *const members[] = {"state",   "age_ms",         "waits_for_input",
                                          "keep_ms", "at_rest_for_ms", "rss_bytes"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        struct kernel_activity activity = {0};
        struct error err = {0};
        cleanup_json json_t *json = told("idle", 0);
        add_answer(json);
        json_object_set_new(json, members[i], json_real(-1));
        assert_int_equal(kernel_activity_take(&activity, json, true, 1000, &err), -1);
        assert_non_null(strstr(err.text, members[i]));
        assert_int_equal(activity.heard_ms, 0);
    }
}

static void test_no_launcher_makes_time_overflow(void **state) {
    (void)state;
    static const struct {
        int64_t value;
        int taken;
    } rows[] = {{INT64_MAX, -1}, {(INT64_C(1) << 53) + 1, -1}, {INT64_C(1) << 53, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kernel_activity activity = {0};
        struct culler_kernel now;
        struct error err = {0};
        cleanup_json json_t *json = told("idle", 0);
        json_object_set_new(json, "age_ms", json_integer(rows[i].value));
        assert_int_equal(kernel_activity_take(&activity, json, false, 1000, &err), rows[i].taken);
        if (rows[i].taken == 0)
            assert_true(kernel_activity_now(&activity, 0, INT64_C(1) << 53, &now) &&
                        now.age_ms > rows[i].value);
        else
            assert_non_null(strstr(err.text, "activity.age_ms"));
    }
}

static void test_a_kernelspecs_own_timeout(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int64_t expected_ms;
    } rows[] = {
        {"{\"metadata\": {\"cull_idle_timeout\": 600}}", 600000},
        {"{\"metadata\": {\"cull_idle_timeout\": 0}}", 0},
        {"{\"metadata\": {\"cull_idle_timeout\": 0.5}}", 500},
        {"{\"metadata\": {\"cull_idle_timeout\": \"600\"}}", -1},
        {"{\"metadata\": {}}", -1},
        {"{}", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cleanup_json json_t *json = json_loads(rows[i].json, 0, NULL);
        struct kernelspec spec = {.json = json};
        assert_int_equal(kernelspec_cull_idle_ms(&spec), rows[i].expected_ms);
    }
}

/* What is kept of an end. */

static void put(struct notes *notes, const char *key) {
    struct error err = {0};
    if (notes_put(notes, key, json_pack("{s:s}", "of", key), &err) < 0)
        fail_msg("%s", err.text);
}

static size_t count_notes(const struct notes *notes, int keys) {
    size_t count = 0;
    for (int i = 0; i < keys; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        cleanup_json json_t *note = notes_get(notes, key);
        count += note != NULL;
    }
    return count;
}

static void test_notes_are_capped_and_taken_once(void **state) {
    (void)state;
    struct notes *notes, *others;
    assert_int_equal(notes_create(directory, 64, &notes, NULL), 0);
    for (int i = 0; i < 500; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        put(notes, key);
    }
    assert_null(notes_get(notes, "key 0"));
    assert_int_equal(count_notes(notes, 500), 64);
    json_decref(notes_get(notes, "key 499"));
    assert_int_equal(notes_create(directory, 64, &others, NULL), 0); /* another gateway */
    cleanup_json json_t *note = notes_take(others, "key 499");
    assert_string_equal(json_string_value(json_object_get(note, "of")), "key 499");
    assert_null(notes_take(notes, "key 499"));
    notes_destroy(others);
    notes_destroy(notes);
}

/* Between writing and renaming it; or left behind by one that died. */
static void test_a_sweep_leaves_another_gateways_temporary_file(void **state) {
    (void)state;
    struct notes *notes;
    struct timespec old[2] = {{.tv_sec = time(NULL) - 7200}, {.tv_sec = time(NULL) - 7200}};
    cleanup_free char *young = memory_printf("%s/f/0123456789abcdef.json.AbCdEf", directory);
    cleanup_free char *left = memory_printf("%s/f/0123456789abcdef.json.UvWxYz", directory);
    assert_int_equal(notes_create(directory, 16, &notes, NULL), 0);
    notes_destroy(notes);
    assert_int_equal(file_write(young, "{", 1, 0600, NULL), 0);
    assert_int_equal(file_write(left, "{", 1, 0600, NULL), 0);
    assert_int_equal(utimensat(AT_FDCWD, left, old, 0), 0);
    assert_int_equal(notes_create(directory, 16, &notes, NULL), 0);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        put(notes, key);
    }
    assert_int_equal(access(young, F_OK), 0);
    assert_int_equal(access(left, F_OK), -1);
    notes_destroy(notes);
}

static void test_a_note_that_cannot_be_read_is_none(void **state) {
    (void)state;
    struct notes *notes;
    assert_int_equal(notes_create(directory, 16, &notes, NULL), 0);
    put(notes, "a");
    cleanup_free char *path =
        memory_printf("%s/%lx/%016lx.json", directory, (unsigned long)text_hash("a") % 16,
                      (unsigned long)text_hash("a"));
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(file_write(path, "{", 1, 0600, NULL), 0);
    assert_null(notes_get(notes, "a"));
    assert_int_equal(file_write(path, "{\"key\": \"b\", \"note\": {}}", 24, 0600, NULL), 0);
    assert_null(notes_get(notes, "a")); /* another key of the same hash */
    notes_destroy(notes);
}

static void test_reasons_are_for_their_owner(void **state) {
    (void)state;
    static const struct auth_identity ann = {.name = "ann", .role = AUTH_USER, .verified = true};
    static const struct auth_identity bob = {.name = "bob", .role = AUTH_USER, .verified = true};
    struct kernel_ends *ends;
    assert_int_equal(kernel_ends_create(directory, &ends, NULL), 0);
    kernel_ends_bury(ends, "id", "ann", "because", false);
    kernel_ends_bury(ends, "id", "ann", "through another gateway", true);
    kernel_ends_destroy(ends);
    assert_int_equal(kernel_ends_create(directory, &ends, NULL), 0);
    assert_string_equal(kernel_ends_reason(ends, "id", &ann, HOUR), "because");
    assert_null(kernel_ends_reason(ends, "id", &bob, HOUR));
    assert_null(kernel_ends_reason(ends, "id", &ann, -1)); /* too long ago */
    assert_null(kernel_ends_reason(ends, "other", &ann, HOUR));
    kernel_ends_bury(ends, "both", "ann", "through another gateway", true);
    assert_string_equal(kernel_ends_reason(ends, "both", &ann, HOUR), "through another gateway");
    kernel_ends_bury(ends, "both", "ann", "because", false);
    assert_string_equal(kernel_ends_reason(ends, "both", &ann, HOUR), "because");
    struct kernel_heir heir = {.user = "ann", .spec = "stub", .directory = "/home"};
    struct kernel_heir stranger = {.user = "bob", .spec = "stub", .directory = "/home"};
    kernel_ends_bequeath(ends, &heir, "gone", "k1");
    assert_null(kernel_ends_inherit(ends, &stranger));
    cleanup_json json_t *will = kernel_ends_inherit(ends, &heir);
    cleanup_json json_t *older = json_pack("{s:s, s:s}", "text", "older", "from", "k0");
    assert_string_equal(json_string_value(json_object_get(will, "text")), "gone");
    assert_string_equal(json_string_value(json_object_get(will, "from")), "k1");
    assert_null(json_object_get(will, "instead_of"));
    assert_null(kernel_ends_inherit(ends, &heir));
    kernel_ends_return(ends, &heir, will, "heir");
    kernel_ends_return(ends, &heir, older, "heir"); /* no news */
    cleanup_json json_t *again = kernel_ends_inherit(ends, &heir);
    assert_string_equal(json_string_value(json_object_get(again, "text")), "gone");
    assert_string_equal(json_string_value(json_object_get(again, "from")), "k1");
    assert_string_equal(json_string_value(json_object_get(again, "instead_of")), "heir");
    struct kernel_heir folded = {.user = "ann", .spec = "stub\n/home", .directory = ""};
    struct kernel_heir other = {.user = "ann\nstub", .spec = "/home", .directory = ""};
    kernel_ends_bequeath(ends, &heir, "gone", "k1"); /* it was told */
    kernel_ends_told(ends, &heir, "elsewhere");
    kernel_ends_bequeath(ends, &heir, "elsewhere", "k2");
    assert_null(kernel_ends_inherit(ends, &heir));
    kernel_ends_bequeath(ends, &folded, "gone", "k1"); /* a name is no way into another's place */
    assert_null(kernel_ends_inherit(ends, &heir));
    assert_null(kernel_ends_inherit(ends, &other));
    kernel_ends_destroy(ends);
}

int main(void) {
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_own_timeouts),
        cmocka_unit_test(test_own_timeouts_within_what_an_override_allows),
        cmocka_unit_test(test_a_warning_is_no_news_after_each_cell),
        cmocka_unit_test(test_bad_overrides),
        cmocka_unit_test(test_the_interval_of_enterprise_gateway),
        IN_DIRECTORY(test_another_file_for_a_dry_run),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_time_goes_on_after_what_was_told),
        cmocka_unit_test(test_bad_activity_changes_nothing),
        cmocka_unit_test(test_no_launcher_makes_time_overflow),
        cmocka_unit_test(test_a_kernelspecs_own_timeout),
        IN_DIRECTORY(test_notes_are_capped_and_taken_once),
        IN_DIRECTORY(test_a_sweep_leaves_another_gateways_temporary_file),
        IN_DIRECTORY(test_a_note_that_cannot_be_read_is_none),
        IN_DIRECTORY(test_reasons_are_for_their_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
