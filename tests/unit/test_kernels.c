/* The life of kernels, with everything real: local provisioner, elara-launcher, a stub kernel. */
#include "gateway/kernels.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ID    "11111111-2222-4333-8444-555555555555"
#define OTHER "22222222-2222-4333-8444-555555555555"

enum { PATIENCE_MS = 30000 };

struct outcome {
    int count;
    enum error_code code;
    char text[1024];
};

struct fixture {
    char directory[32];
    char *runtime, *specs_directory, *launcher, *stub;
    struct loop *loop;
    struct links *links;
    struct kernelspecs *specs;
    struct provisioner *provisioner;
    struct kernels *kernels;
    struct kernels_settings settings;

    struct loop_deadline tick;
    bool (*until)(struct fixture *f);
    int ticks;
    bool in_call;

    struct kernel *kernel;
    struct kernel_watcher watcher;
    int changes;
    bool was_gone;
    char stages[1024];
    struct outcome first, second;
};

static const struct auth_identity ann = {.name = "ann", .role = AUTH_USER, .verified = true};
static const struct auth_identity bob = {.name = "bob", .role = AUTH_USER, .verified = true};
static const struct auth_identity admin = {.name = "root", .role = AUTH_ADMIN, .verified = true};

/* Set-up. */

static char *beside_this_program(const char *name) {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(length > 0);
    path[length] = '\0';
    *strrchr(path, '/') = '\0';
    char *whole = memory_printf("%s/%s", path, name);
    if (access(whole, X_OK) < 0)
        fail_msg("%s is not built", whole);
    return whole;
}

static void add_spec(const struct fixture *f, const char *name, const char *first,
                     const char *second, const char *third) {
    cleanup_free char *directory = memory_printf("%s/%s", f->specs_directory, name);
    cleanup_free char *file = memory_printf("%s/kernel.json", directory);
    cleanup_json json_t *argv =
        json_pack("[s, s, s]", first ? first : f->stub, "-f", "{connection_file}");
    if (second != NULL)
        json_array_append_new(argv, json_string(second));
    if (third != NULL)
        json_array_append_new(argv, json_string(third));
    cleanup_json json_t *spec = json_pack("{s:O, s:s, s:s, s:s}", "argv", argv, "display_name",
                                          "A stub", "language", "stub", "interrupt_mode", "signal");
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_int_equal(file_write_json(file, spec, 0600, NULL), 0);
}

static void open_gateway(struct fixture *f) {
    struct error err = {0};
    struct provisioner_local_settings place = {.runtime_directory = f->runtime,
                                               .launcher_path = f->launcher};
    f->loop = loop_create();
    if (links_create(f->loop, &f->links, &err) < 0 ||
        provisioner_local_create(loop_base(f->loop), &place, &f->provisioner, &err) < 0 ||
        kernels_create(f->loop, &f->settings, f->links, f->provisioner, f->specs, &f->kernels,
                       &err) < 0)
        fail_msg("%s", err.text);
}

static void close_gateway(struct fixture *f) {
    kernels_destroy(f->kernels);
    f->provisioner->ops->destroy(f->provisioner);
    links_destroy(f->links);
    loop_destroy(f->loop);
}

static int setup(void **state) {
    struct fixture *f = memory_alloc(sizeof *f);
    snprintf(f->directory, sizeof f->directory, "/tmp/test-kernels-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->runtime = memory_printf("%s/run", f->directory);
    f->specs_directory = memory_printf("%s/specs", f->directory);
    f->launcher = beside_this_program("../elara-launcher");
    f->stub = beside_this_program("stub_kernel");
    assert_int_equal(mkdir(f->specs_directory, 0700), 0);
    add_spec(f, "stub", NULL, NULL, NULL);
    add_spec(f, "crash", NULL, "--crash-at-start", "cannot open shared object file");
    add_spec(f, "missing", "/no/such/interpreter", NULL, NULL);
    char *directories[] = {f->specs_directory, NULL};
    static char *nothing[] = {NULL};
    struct kernelspecs_settings wanted = {
        .directories = directories, .allowed = nothing, .denied = nothing, .default_name = "stub"};
    assert_int_equal(kernelspecs_create(&wanted, &f->specs, NULL), 0);
    f->settings = (struct kernels_settings){
        .root_directory = f->directory,
        .client_envs = nothing,
        .inherited_envs = nothing,
        .authorized_users = nothing,
        .unauthorized_users = nothing,
        .max_kernels = -1,
        .max_kernels_per_user = -1,
        .max_failed = 2,
        .failed_retention_ms = 60000,
        .tombstone_retention_ms = 60000,
        .launch_timeout_ms = 20000,
        .shutdown_wait_ms = 2000,
        .restart_limit = 0,
        .stable_after_ms = 10000,
        .journal_bytes = 1 << 20,
        .output_bytes = 1 << 16,
        .session_retention_ms = 60000,
        .transport = "ipc",
        .log_level = "INFO",
    };
    open_gateway(f);
    *state = f;
    return 0;
}

/* Running. */

static void on_tick(void *context) {
    struct fixture *f = context;
    if (f->until(f) || ++f->ticks > PATIENCE_MS)
        loop_stop(f->loop);
    else
        loop_deadline_set(f->loop, &f->tick, 1);
}

static void run_until(struct fixture *f, bool (*until)(struct fixture *f)) {
    f->until = until;
    f->ticks = 0;
    f->tick = (struct loop_deadline){.run = on_tick, .context = f};
    loop_deadline_set(f->loop, &f->tick, 0);
    loop_run(f->loop);
    if (f->ticks > PATIENCE_MS)
        fail_msg("it did not happen in %d s; stages: %s; reason: %s", PATIENCE_MS / 1000, f->stages,
                 f->kernel && kernel_status(f->kernel)->reason ? kernel_status(f->kernel)->reason
                                                               : "");
}

static bool all_gone(struct fixture *f) {
    return kernels_count(f->kernels) == 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    struct kernel *kernel = NULL;
    while ((kernel = kernels_next(f->kernels, kernel)) != NULL)
        kernel_shutdown(kernel, NULL, NULL, NULL);
    run_until(f, all_gone);
    close_gateway(f);
    kernelspecs_destroy(f->specs);
    file_remove_tree(f->directory, NULL);
    free(f->runtime);
    free(f->specs_directory);
    free(f->launcher);
    free(f->stub);
    free(f);
    return 0;
}

static void on_changed(void *context, struct kernel *kernel) {
    struct fixture *f = context;
    const struct kernel_status *status = kernel_status(kernel);
    assert_false(f->in_call);
    f->changes++;
    size_t used = strlen(f->stages);
    snprintf(f->stages + used, sizeof f->stages - used, "[%s: %s]", status->execution_state,
             status->stage);
    if (status->phase == KERNEL_GONE) {
        f->was_gone = true;
        f->kernel = NULL;
    }
}

static void on_done(void *context, const struct error *err) {
    struct outcome *outcome = context;
    outcome->count++;
    outcome->code = err ? err->code : ERROR_NONE;
    if (err != NULL)
        snprintf(outcome->text, sizeof outcome->text, "%s", err->text);
}

static struct kernel *start(struct fixture *f, struct kernel_request request) {
    struct error err = {0};
    struct kernel *kernel = NULL;
    if (request.identity == NULL)
        request.identity = &ann;
    f->in_call = true;
    if (kernels_start(f->kernels, &request, &kernel, &err) < 0)
        fail_msg("%s", err.text);
    f->in_call = false;
    f->kernel = kernel;
    f->stages[0] = '\0';
    kernel_unwatch(&f->watcher); /* only the latest one is watched */
    f->watcher = (struct kernel_watcher){.changed = on_changed, .context = f};
    kernel_watch(kernel, &f->watcher);
    return kernel;
}

static struct error refuse(struct fixture *f, struct kernel_request request, enum error_code code) {
    struct error err = {0};
    struct kernel *kernel;
    if (request.identity == NULL)
        request.identity = &ann;
    assert_int_equal(kernels_start(f->kernels, &request, &kernel, &err), -1);
    if (err.code != code)
        fail_msg("%s, not %s: %s", error_code_name(err.code), error_code_name(code), err.text);
    return err;
}

static bool is_ready(struct fixture *f) {
    return f->kernel != NULL && kernel_status(f->kernel)->phase == KERNEL_READY &&
           strcmp(kernel_status(f->kernel)->execution_state, "idle") == 0;
}
static bool is_dead(struct fixture *f) {
    return f->kernel != NULL && kernel_status(f->kernel)->phase == KERNEL_DEAD;
}
static bool first_done(struct fixture *f) {
    return f->first.count == 1;
}
static bool both_done(struct fixture *f) {
    return f->first.count == 1 && f->second.count == 1;
}
static bool gone(struct fixture *f) {
    return f->was_gone;
}

static void expect_model(const struct kernel *kernel, const char *state, const char *reason) {
    cleanup_json json_t *model = kernel_model(kernel);
    assert_int_equal(json_object_size(model), reason ? 6 : 5);
    assert_string_equal(json_string_value(json_object_get(model, "id")), kernel_id(kernel));
    assert_string_equal(json_string_value(json_object_get(model, "execution_state")), state);
    const char *activity = json_string_value(json_object_get(model, "last_activity"));
    assert_int_equal(strlen(activity), strlen("2026-01-31T12:00:00.000000Z"));
    assert_int_equal(activity[26], 'Z');
    assert_true(json_is_integer(json_object_get(model, "connections")));
    if (reason != NULL)
        assert_non_null(strstr(json_string_value(json_object_get(model, "reason")), reason));
}

/* Tests. */

static void test_a_whole_life(void **state) {
    struct fixture *f = *state;
    struct kernel *kernel = start(f, (struct kernel_request){.kernel_id = ID});
    expect_model(kernel, "starting", NULL);
    assert_string_equal(kernel_owner(kernel), "ann");
    assert_string_equal(kernel_display_name(kernel), "A stub");
    assert_null(kernel_link(kernel));
    run_until(f, is_ready);
    assert_non_null(kernel_link(kernel));
    expect_model(kernel, "idle", NULL);
    kernel_connected(kernel);
    cleanup_json json_t *model = kernel_model(kernel);
    assert_int_equal(json_integer_value(json_object_get(model, "connections")), 1);
    kernel_disconnected(kernel);

    kernel_interrupt(kernel, on_done, &f->first);
    assert_int_equal(f->first.count, 0);
    run_until(f, first_done);
    assert_int_equal(f->first.code, ERROR_NONE);

    f->first.count = 0;
    kernel_restart(kernel, on_done, &f->first);
    kernel_restart(kernel, on_done, &f->second); /* shares it */
    expect_model(kernel, "restarting", NULL);
    assert_int_equal(kernels_count(f->kernels), 1);
    run_until(f, both_done);
    assert_int_equal(f->first.code, ERROR_NONE);
    assert_int_equal(f->second.code, ERROR_NONE);
    run_until(f, is_ready);

    f->first.count = f->second.count = 0;
    kernel_shutdown(kernel, "of the test", on_done, &f->first);
    kernel_shutdown(kernel, "another reason", on_done, &f->second);
    struct outcome late = {0};
    kernel_restart(kernel, on_done, &late);
    run_until(f, both_done);
    assert_true(f->was_gone);
    assert_int_equal(late.code, ERROR_NOT_FOUND);
    assert_null(kernels_find(f->kernels, ID));
    assert_string_equal(kernels_tombstone(f->kernels, ID, &ann), "of the test");
    assert_string_equal(kernels_tombstone(f->kernels, ID, &admin), "of the test");
    assert_null(kernels_tombstone(f->kernels, ID, &bob)); /* it never was, for others */
    cleanup_free char *directory = memory_printf("%s/kernels/%s", f->runtime, ID);
    assert_int_equal(access(directory, F_OK), -1);
}

static void test_bad_requests(void **state) {
    struct fixture *f = *state;
    start(f, (struct kernel_request){.kernel_id = ID});
    struct error err = refuse(f, (struct kernel_request){.name = "nope"}, ERROR_NOT_FOUND);
    assert_non_null(strstr(err.text, "nope"));
    assert_non_null(strstr(err.text, "stub"));
    refuse(f, (struct kernel_request){.kernel_id = ID}, ERROR_EXISTS);
    refuse(f, (struct kernel_request){.kernel_id = "no id"}, ERROR_INVALID);
    refuse(f, (struct kernel_request){.kernel_id = "../../a-b-c-d"}, ERROR_INVALID);
    refuse(f, (struct kernel_request){.path = "../out"}, ERROR_INVALID);
    cleanup_json json_t *env = json_pack("{s:s}", "KERNEL_ID", ID);
    err = refuse(f, (struct kernel_request){.env = env}, ERROR_EXISTS);
    assert_non_null(strstr(err.text, "KERNEL_ID"));
    cleanup_json json_t *bad = json_pack("{s:s}", "KERNEL_X", "$(id)");
    /* Mistakes are told as such, also to a notebook. */
    refuse(f, (struct kernel_request){.env = bad, .refuse_in_notebook = true}, ERROR_INVALID);
    assert_int_equal(kernels_count(f->kernels), 1);
}

static void test_limits(void **state) {
    struct fixture *f = *state;
    close_gateway(f);
    f->settings.max_kernels = 2;
    f->settings.max_kernels_per_user = 1;
    open_gateway(f);
    start(f, (struct kernel_request){0});
    struct error err = refuse(f, (struct kernel_request){0}, ERROR_LIMIT);
    assert_non_null(strstr(err.text, "ann"));
    start(f, (struct kernel_request){.identity = &bob});
    err = refuse(f, (struct kernel_request){.identity = &admin}, ERROR_LIMIT);
    assert_non_null(strstr(err.text, "max-kernels"));
    for (int i = 0; i < 2; i++) { /* max_failed of them stand in and count in no limit */
        struct kernel *refused = start(f, (struct kernel_request){.refuse_in_notebook = true});
        assert_int_equal(kernel_status(refused)->phase, KERNEL_DEAD);
        expect_model(refused, "dead", "Resource Limit");
    }
    refuse(f, (struct kernel_request){.refuse_in_notebook = true}, ERROR_LIMIT);
    assert_int_equal(kernels_count(f->kernels), 4);
}

static bool one_left(struct fixture *f) {
    return kernels_count(f->kernels) == 1;
}

/* What was refused starts when there is room again. */
static void test_refused_kernel_starts_later(void **state) {
    struct fixture *f = *state;
    close_gateway(f);
    f->settings.max_kernels = 1;
    open_gateway(f);
    struct kernel *first = start(f, (struct kernel_request){.identity = &bob});
    struct kernel *refused = start(f, (struct kernel_request){.refuse_in_notebook = true});
    kernel_restart(refused, on_done, &f->first);
    run_until(f, first_done);
    assert_int_equal(f->first.code, ERROR_LIMIT);
    kernel_interrupt(refused, on_done, &f->second); /* nothing runs: no failure */
    kernel_shutdown(first, NULL, NULL, NULL);
    run_until(f, one_left);
    f->first.count = 0;
    kernel_restart(refused, on_done, &f->first);
    run_until(f, first_done);
    assert_int_equal(f->first.code, ERROR_NONE);
    run_until(f, is_ready);
    expect_model(refused, "idle", NULL);
}

static void test_failed_starts_say_why(void **state) {
    struct fixture *f = *state;
    struct kernel *kernel = start(f, (struct kernel_request){.name = "missing"});
    run_until(f, is_dead);
    expect_model(kernel, "dead", "/no/such/interpreter");
    kernel = start(f, (struct kernel_request){.name = "crash"});
    run_until(f, is_dead);
    expect_model(kernel, "dead", "cannot open shared object file");
    assert_non_null(kernels_find(f->kernels, kernel_id(kernel)));
    kernel_restart(kernel, on_done, &f->first); /* it tries again, and fails again */
    run_until(f, first_done);
    run_until(f, is_dead);
    expect_model(kernel, "dead", "cannot open shared object file");
    kernel_shutdown(kernel, NULL, on_done, &f->second);
    run_until(f, gone);
}

static void test_shutdown_while_it_starts(void **state) {
    struct fixture *f = *state;
    struct kernel *kernel = start(f, (struct kernel_request){.kernel_id = ID});
    kernel_restart(kernel, on_done, &f->second); /* a new process is on its way already */
    kernel_shutdown(kernel, NULL, on_done, &f->first);
    run_until(f, both_done);
    assert_int_equal(f->first.code, ERROR_NONE);
    assert_int_equal(f->second.code, ERROR_NONE);
    run_until(f, gone);
    start(f, (struct kernel_request){.kernel_id = ID}); /* the id is free again */
    assert_null(kernels_tombstone(f->kernels, ID, &ann));
    run_until(f, is_ready);
}

static pid_t launcher_pid(const struct fixture *f, const char *id) {
    cleanup_free char *path = memory_printf("%s/kernels/%s/record.json", f->runtime, id);
    cleanup_json json_t *record = NULL;
    assert_int_equal(file_read_json(path, 1 << 20, &record, NULL), 0);
    return (pid_t)json_integer_value(json_object_get(record, "launcher_pid"));
}

static void test_launcher_dies(void **state) {
    struct fixture *f = *state;
    struct kernel *kernel = start(f, (struct kernel_request){.kernel_id = ID});
    run_until(f, is_ready);
    assert_int_equal(kill(launcher_pid(f, ID), SIGKILL), 0);
    run_until(f, is_dead);
    assert_null(kernel_link(kernel));
    assert_non_null(kernel_status(kernel)->reason);
    kernel_restart(kernel, on_done, &f->first);
    run_until(f, first_done);
    assert_int_equal(f->first.code, ERROR_NONE);
    run_until(f, is_ready);
    assert_string_equal(kernel_id(kernel), ID);
}

static bool three_left(struct fixture *f) {
    return kernels_count(f->kernels) == 4; /* and the one that runs */
}

static void start_refused(struct fixture *f, const char *id, const struct auth_identity *identity) {
    struct kernel *kernel = start(
        f,
        (struct kernel_request){.kernel_id = id, .identity = identity, .refuse_in_notebook = true});
    assert_int_equal(kernel_status(kernel)->phase, KERNEL_DEAD);
}

static void expect_refusal(struct fixture *f, const struct auth_identity *identity) {
    refuse(f, (struct kernel_request){.identity = identity, .refuse_in_notebook = true},
           ERROR_LIMIT);
}

#define DEAD_ID(n) "33333333-3333-4333-8333-33333333333" #n

/* At the limit the user with the most dead kernels gives way, and of theirs the one that died first: not the one that was made first. */
static void test_dead_kernels_share_their_room(void **state) {
    struct fixture *f = *state;
    close_gateway(f);
    f->settings.max_kernels = 1;
    f->settings.max_failed = 3;
    open_gateway(f);
    start(f, (struct kernel_request){.kernel_id = DEAD_ID(1)});
    run_until(f, is_ready);
    struct kernel *oldest = f->kernel;
    start_refused(f, DEAD_ID(2), &ann);
    start_refused(f, DEAD_ID(3), &ann);
    f->kernel = oldest;
    assert_int_equal(kill(launcher_pid(f, DEAD_ID(1)), SIGKILL), 0);
    run_until(f, is_dead); /* made first, died last */
    start(f, (struct kernel_request){.kernel_id = ID, .identity = &admin});
    expect_refusal(f, &ann);
    start_refused(f, DEAD_ID(4), &bob); /* there is room for another user */
    run_until(f, three_left);
    assert_null(kernels_find(f->kernels, DEAD_ID(2)));
    assert_non_null(kernels_find(f->kernels, DEAD_ID(1)));
    expect_refusal(f, &ann);
    kernel_connected(kernels_find(f->kernels, DEAD_ID(3))); /* somebody reads its reason */
    start_refused(f, DEAD_ID(5), &bob);
    run_until(f, three_left);
    assert_null(kernels_find(f->kernels, DEAD_ID(1)));
    assert_non_null(kernels_find(f->kernels, DEAD_ID(3)));
    assert_non_null(kernels_find(f->kernels, DEAD_ID(4)));
    expect_refusal(f, &bob);
}

static void test_launcher_hangs(void **state) {
    struct fixture *f = *state;
    close_gateway(f);
    f->settings.shutdown_wait_ms = 100;
    f->settings.launch_timeout_ms = 5000;
    open_gateway(f);
    struct kernel *ended = start(f, (struct kernel_request){.kernel_id = ID});
    run_until(f, is_ready);
    struct kernel *restarted = start(f, (struct kernel_request){.kernel_id = OTHER});
    run_until(f, is_ready);
    pid_t pid = launcher_pid(f, OTHER);
    assert_int_equal(kill(launcher_pid(f, ID), SIGSTOP), 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    kernel_shutdown(ended, NULL, on_done, &f->first); /* removed by force */
    kernel_restart(restarted, on_done, &f->second);   /* gets another launcher */
    run_until(f, both_done);
    assert_int_equal(f->first.code, ERROR_NONE);
    assert_null(kernels_find(f->kernels, ID));
    assert_int_equal(f->second.code, ERROR_NONE);
    run_until(f, is_ready);
    assert_int_not_equal(launcher_pid(f, OTHER), pid);
}

static void test_retention(void **state) {
    struct fixture *f = *state;
    close_gateway(f);
    f->settings.failed_retention_ms = 20;
    open_gateway(f);
    start(f, (struct kernel_request){.name = "missing", .kernel_id = ID});
    run_until(f, gone);
    assert_non_null(strstr(kernels_tombstone(f->kernels, ID, &ann), "/no/such/interpreter"));
}

static bool adopted(struct fixture *f) {
    return !kernels_is_adopting(f->kernels);
}

static void test_another_gateway_takes_over(void **state) {
    struct fixture *f = *state;
    cleanup_json json_t *session = json_pack("{s:s}", "path", "first.ipynb");
    start(f, (struct kernel_request){.kernel_id = ID, .session = session});
    run_until(f, is_ready);
    kernel_set_session(f->kernel, json_pack("{s:s}", "path", "renamed.ipynb"));
    kernel_interrupt(f->kernel, on_done, &f->first); /* behind it on the link */
    run_until(f, first_done);
    close_gateway(f);
    f->kernel = NULL;
    open_gateway(f);
    assert_int_equal(kernels_count(f->kernels), 0);
    kernels_adopt(f->kernels);
    assert_true(kernels_is_adopting(f->kernels));
    run_until(f, adopted);
    f->kernel = kernels_find(f->kernels, ID);
    assert_non_null(f->kernel);
    assert_true(is_ready(f));
    assert_string_equal(kernel_owner(f->kernel), "ann");
    assert_string_equal(kernel_display_name(f->kernel), "A stub");
    assert_string_equal(json_string_value(json_object_get(kernel_session(f->kernel), "path")),
                        "renamed.ipynb");
    assert_int_equal(kill(launcher_pid(f, ID), SIGKILL), 0);
    run_until(f, is_dead);
    f->first.count = 0;
    kernel_restart(f->kernel, on_done, &f->first); /* from the request in its record */
    run_until(f, first_done);
    assert_int_equal(f->first.code, ERROR_NONE);
    run_until(f, is_ready);
}

static void test_nothing_to_adopt(void **state) {
    struct fixture *f = *state;
    kernels_adopt(f->kernels);
    assert_false(kernels_is_adopting(f->kernels));
}

static void test_lists_show_ones_own(void **state) {
    struct fixture *f = *state;
    start(f, (struct kernel_request){.identity = &ann});
    start(f, (struct kernel_request){.identity = &bob});
    cleanup_json json_t *anns = kernels_list(f->kernels, &ann);
    cleanup_json json_t *all = kernels_list(f->kernels, &admin);
    assert_int_equal(json_array_size(anns), 1);
    assert_int_equal(json_array_size(all), 2);
}

static void unwatch_both(void *context, struct kernel *kernel) {
    (void)kernel;
    struct kernel_watcher *watchers = context;
    kernel_unwatch(&watchers[0]);
    kernel_unwatch(&watchers[1]);
    watchers[0].context = NULL;
}

/* Watchers may go while they are told. */
static void test_watchers_that_go(void **state) {
    struct fixture *f = *state;
    struct kernel *kernel = start(f, (struct kernel_request){0});
    struct kernel_watcher watchers[2] = {
        {.changed = unwatch_both, .context = watchers},
        {.changed = unwatch_both, .context = NULL},
    };
    kernel_watch(kernel, &watchers[0]);
    kernel_watch(kernel, &watchers[1]);
    run_until(f, is_ready);
    assert_null(watchers[0].context);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_whole_life),
        TEST(test_bad_requests),
        TEST(test_limits),
        TEST(test_refused_kernel_starts_later),
        TEST(test_failed_starts_say_why),
        TEST(test_shutdown_while_it_starts),
        TEST(test_launcher_dies),
        TEST(test_dead_kernels_share_their_room),
        TEST(test_launcher_hangs),
        TEST(test_retention),
        TEST(test_another_gateway_takes_over),
        TEST(test_nothing_to_adopt),
        TEST(test_lists_show_ones_own),
        TEST(test_watchers_that_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
