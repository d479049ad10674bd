/* The life of kernels, with everything real: local provisioner, elara-launcher, a stub kernel. */
#include "gateway/api.h"
#include "kernels_fixture.h"

#include "gateway/kernel_activity.h"

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
    cleanup_json json_t *model = kernel_model(kernel, &admin);
    assert_int_equal(json_integer_value(json_object_get(model, "connections")), 1);
    assert_string_equal(json_string_value(json_object_get(model, "owner")), "ann");
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
    /* JupyterLab would not connect to it any more, and could not say why. */
    kernel = start(f, (struct kernel_request){.name = "missing", .refuse_in_notebook = true});
    run_until(f, is_dead);
    expect_model(kernel, "starting", NULL);
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

static void on_asked(void *context, struct kernel *kernel, const struct error *err) {
    assert_non_null(kernel);
    on_done(context, err);
}

/* Ordered upon what it was then; true: its launcher has agreed. */
static bool end_if(struct fixture *f, struct kernel *kernel, uint64_t changes) {
    f->first.count = 0;
    kernel_activity(kernel)->changes = changes;
    assert_true(kernel_may_end_if(kernel));
    kernel_end_if(kernel, true, "of a decision", on_asked, &f->first);
    assert_false(kernel_may_end_if(kernel));
    assert_int_equal(kernel_status(kernel)->phase, KERNEL_READY); /* nothing is decided yet */
    run_until(f, first_done);
    assert_true(f->first.code == ERROR_NONE || f->first.code == ERROR_CHANGED);
    return f->first.code == ERROR_NONE;
}

static void test_an_order_holds_for_what_it_was_decided_upon(void **state) {
    struct fixture *f = *state;
    struct kernel *kernel = start(f, (struct kernel_request){.kernel_id = ID});
    run_until(f, is_ready);
    kernel_ask_activity(kernel, on_asked, &f->first);
    run_until(f, first_done);
    uint64_t then = kernel_activity(kernel)->changes;
    kernel_keep(kernel, 60000, "ann", on_done, &f->second);
    f->first.count = f->second.count = 0;
    kernel_ask_activity(kernel, on_asked, &f->first);
    run_until(f, both_done);
    assert_true(kernel_activity(kernel)->changes > then);
    assert_false(end_if(f, kernel, then));
    assert_int_equal(kernel_status(kernel)->phase, KERNEL_READY);
    f->first.count = f->second.count = 0;
    kernel_end_if(kernel, false, "of its age", on_asked, &f->first);
    kernel_end_if(kernel, false, "a second time", on_asked, &f->second);
    run_until(f, both_done);
    assert_int_equal(f->first.code, ERROR_NONE);
    assert_int_equal(f->second.code, ERROR_CHANGED); /* one of them has ended it */
    if (!f->was_gone)
        run_until(f, gone);
    assert_string_equal(kernels_tombstone(f->kernels, ID, &ann), "of its age");
}

static pid_t launcher_pid(const struct fixture *f, const char *id) {
    cleanup_free char *path = memory_printf("%s/kernels/%s/record.json", f->runtime, id);
    cleanup_json json_t *record = NULL;
    assert_int_equal(file_read_json(path, 1 << 20, &record, NULL), 0);
    return (pid_t)json_integer_value(json_object_get(record, "launcher_pid"));
}

static bool is_restarting(struct fixture *f) {
    return kernel_status(f->kernel)->phase == KERNEL_RESTARTING;
}

static bool link_is_gone(struct fixture *f) {
    return kernel_link(f->kernel) == NULL;
}

/* Another one goes on; the third keeps the kernel dead, and when that one dies nothing is tried
 * until somebody asks. */
static void test_launcher_dies(void **state) {
    struct fixture *f = *state;
    close_gateway(f);
    f->settings.restart_limit = 5;
    open_gateway(f);
    struct kernel *kernel = start(f, (struct kernel_request){.kernel_id = ID});
    run_until(f, is_ready);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kill(launcher_pid(f, ID), SIGKILL), 0);
        run_until(f, is_restarting);
        run_until(f, is_ready);
        assert_non_null(kernel_link(kernel));
    }
    assert_int_equal(kill(launcher_pid(f, ID), SIGKILL), 0);
    run_until(f, is_dead);
    assert_non_null(strstr(kernel_status(kernel)->reason, "killed by signal 9"));
    assert_non_null(kernel_link(kernel)); /* what it said can be read */
    assert_int_equal(kill(launcher_pid(f, ID), SIGKILL), 0);
    run_until(f, link_is_gone);
    assert_int_equal(kernel_status(kernel)->phase, KERNEL_DEAD);
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

/* At the limit the user with the most dead kernels gives way, and of theirs the one that died
 * first: not the one that was made first. */
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

/* Nothing is left to go on with: it starts anew from its request. */
static void test_restart_that_loses_its_launcher_starts_anew(void **state) {
    struct fixture *f = *state;
    struct kernel *kernel = start(f, (struct kernel_request){.kernel_id = ID});
    run_until(f, is_ready);
    pid_t pid = launcher_pid(f, ID);
    cleanup_free char *directory = memory_printf("%s/kernels/" ID, f->runtime);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    kernel_restart(kernel, on_done, &f->first);
    assert_int_equal(file_remove_tree(directory, NULL), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    run_until(f, first_done);
    assert_int_equal(f->first.code, ERROR_NONE);
    run_until(f, is_ready);
    assert_int_not_equal(launcher_pid(f, ID), pid);
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

/* What a kernel leaves to the next one. */

static char *notice_in_record(const struct fixture *f) {
    cleanup_free char *path =
        memory_printf("%s/kernels/%s/record.json", f->runtime, kernel_id(f->kernel));
    cleanup_json json_t *record = NULL;
    assert_int_equal(file_read_json(path, 1 << 20, &record, NULL), 0);
    const char *text =
        json_string_value(json_object_get(json_object_get(record, "marks"), "notice"));
    return text != NULL ? memory_strdup(text) : NULL;
}

static void test_a_notice_waits_for_a_start_that_works(void **state) {
    struct fixture *f = *state;
    cleanup_free char *program = memory_printf("%s/program", f->directory);
    assert_int_equal(symlink(f->stub, program), 0);
    add_spec(f, "fickle", program, NULL, NULL);
    kernelspecs_reload(f->specs);
    struct kernel *kernel = start(f, (struct kernel_request){.name = "fickle"});
    run_until(f, is_ready);
    kernel_leave_notice(kernel, "gone");
    kernel_shutdown(kernel, NULL, NULL, NULL);
    run_until(f, gone);
    assert_int_equal(unlink(program), 0);
    for (int i = 0; i < 2; i++) {
        f->was_gone = false;
        kernel = start(f, (struct kernel_request){.name = "fickle"});
        run_until(f, is_dead);
        kernel_shutdown(kernel, NULL, NULL, NULL);
        run_until(f, gone);
    }
    assert_int_equal(symlink(f->stub, program), 0);
    for (int i = 0; i < 2; i++) {
        start(f, (struct kernel_request){.name = "fickle"});
        run_until(f, is_ready);
        cleanup_free char *text = notice_in_record(f);
        assert_true(i == 0 ? strcmp(text, "gone") == 0 : text == NULL); /* told once */
        f->was_gone = false;
        kernel_shutdown(f->kernel, NULL, NULL, NULL);
        run_until(f, gone);
    }
}

/* Asking many, some at a time. */

enum { KERNELS = 5, AT_ONCE = 2 };

struct asked {
    struct gateway gateway;
    struct kernel *refused; /* is not wanted */
    size_t answers, done, most;
    bool in_call;
};

static bool wants(void *context, struct kernel *kernel) {
    const struct asked *asked = context;
    return kernel != asked->refused;
}

/* That of them which answers is not under way any more. */
static void on_answered(void *context, struct kernel *kernel, const struct error *err) {
    struct asked *asked = context;
    size_t under_way = 1;
    assert_non_null(kernel);
    assert_null(err);
    assert_false(asked->in_call);
    for (struct kernel *at = NULL; (at = kernels_next(asked->gateway.kernels, at)) != NULL;)
        under_way += at != kernel && kernel_is_asking_activity(at);
    if (under_way > asked->most)
        asked->most = under_way;
    asked->answers++;
}

static void on_all(void *context) {
    ((struct asked *)context)->done++;
}

static struct asked *asking; /* of the one test that runs */

static bool is_told(struct fixture *f) {
    (void)f;
    return asking->done > 0;
}

static bool all_ready(struct fixture *f) {
    struct kernel *kernel = NULL;
    while ((kernel = kernels_next(f->kernels, kernel)) != NULL)
        if (!kernel_may_ask_activity(kernel) || kernel_status(kernel)->phase != KERNEL_READY)
            return false;
    return true;
}

static struct asked begin(struct fixture *f, size_t kernels) {
    for (size_t i = 0; i < kernels; i++)
        start(f, (struct kernel_request){0});
    run_until(f, all_ready);
    return (struct asked){.gateway = {.loop = f->loop, .kernels = f->kernels}};
}

static void gather(struct asked *asked, size_t at_once, int64_t patience_ms) {
    const struct api_gather plan = {.gateway = &asked->gateway,
                                    .wants = wants,
                                    .answered = on_answered,
                                    .done = on_all,
                                    .context = asked,
                                    .at_once = at_once,
                                    .patience_ms = patience_ms};
    asking = asked;
    asked->in_call = true;
    api_gather(&plan);
    asked->in_call = false;
}

static void test_only_some_are_asked_at_once(void **state) {
    struct fixture *f = *state;
    struct asked asked = begin(f, KERNELS);
    asked.refused = kernels_next(f->kernels, NULL);
    gather(&asked, AT_ONCE, 0);
    assert_int_equal(asked.gateway.answers_owed, 1);
    run_until(f, is_told);
    assert_int_equal(asked.answers, KERNELS - 1);
    assert_int_equal(asked.most, AT_ONCE);
    assert_int_equal(asked.done, 1);
    assert_int_equal(asked.gateway.answers_owed, 0);
}

static void test_nobody_to_ask(void **state) {
    struct fixture *f = *state;
    struct asked asked = begin(f, 0);
    gather(&asked, 0, 0);
    assert_int_equal(asked.done, 1);
}

static bool are_answered(struct fixture *f) {
    struct kernel *kernel = NULL;
    while ((kernel = kernels_next(f->kernels, kernel)) != NULL)
        if (kernel_is_asking_activity(kernel))
            return false;
    return true;
}

/* Launchers that are stopped answer when they go on. */
static void test_patience_with_those_who_are_asked_ends(void **state) {
    struct fixture *f = *state;
    struct asked asked = begin(f, 3);
    for (struct kernel *at = NULL; (at = kernels_next(f->kernels, at)) != NULL;)
        assert_int_equal(kill(launcher_pid(f, kernel_id(at)), SIGSTOP), 0);
    gather(&asked, AT_ONCE, 50);
    run_until(f, is_told);
    assert_int_equal(asked.answers, 0);
    for (struct kernel *at = NULL; (at = kernels_next(f->kernels, at)) != NULL;)
        assert_int_equal(kill(launcher_pid(f, kernel_id(at)), SIGCONT), 0);
    run_until(f, are_answered);
    assert_int_equal(asked.answers, 0); /* nobody hears it any more */
    assert_int_equal(asked.done, 1);
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
        TEST(test_an_order_holds_for_what_it_was_decided_upon),
        TEST(test_launcher_dies),
        TEST(test_dead_kernels_share_their_room),
        TEST(test_launcher_hangs),
        TEST(test_restart_that_loses_its_launcher_starts_anew),
        TEST(test_retention),
        TEST(test_another_gateway_takes_over),
        TEST(test_nothing_to_adopt),
        TEST(test_lists_show_ones_own),
        TEST(test_watchers_that_go),
        TEST(test_a_notice_waits_for_a_start_that_works),
        TEST(test_only_some_are_asked_at_once),
        TEST(test_nobody_to_ask),
        TEST(test_patience_with_those_who_are_asked_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
