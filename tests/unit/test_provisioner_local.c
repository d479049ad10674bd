/* The local provisioner against a launcher that this program plays itself: kernel_name in
 * launch.json says what it does. */
#include "launcher/provisioner.h"
#include "launcher/spawner.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { READY_FD = 3, TIMEOUT_S = 20 };

/* --- the launcher --- */

static void say(const char *text) {
    ssize_t ignored = write(READY_FD, text, strlen(text));
    (void)ignored;
    close(READY_FD);
}

static void write_pid(const char *directory) {
    cleanup_free char *path = memory_printf("%s/record.json", directory);
    json_t *record = NULL;
    if (file_read_json(path, 65536, &record, NULL) < 0)
        exit(9);
    json_object_set_new(record, "launcher_pid", json_integer(getpid()));
    file_write_json(path, record, 0600, NULL);
    json_decref(record);
}

static int play_launcher(const char *directory) {
    cleanup_free char *path = memory_printf("%s/launch.json", directory);
    cleanup_json json_t *launch = NULL;
    signal(SIGPIPE, SIG_IGN); /* as elara-launcher: its gateway may be gone */
    alarm(60);                /* never left behind by a test that fails */
    if (file_read_json(path, 65536, &launch, NULL) < 0)
        return 9;
    const char *act = json_string_value(json_object_get(launch, "act"));
    if (strcmp(act, "error") == 0) {
        say("error: the disk is full\n");
        return 1;
    }
    if (strcmp(act, "crash") == 0) {
        fprintf(stderr, "cannot load libfoo.so\n");
        return 3;
    }
    if (strcmp(act, "descriptors") == 0 && (fcntl(5, F_GETFD) >= 0 || getsid(0) != getpid()))
        return 4;
    write_pid(directory);
    say("ready\n");
    if (strcmp(act, "short") == 0)
        return 0;
    if (strcmp(act, "late crash") == 0) {
        fprintf(stderr, "an assertion of ours\n");
        return 5;
    }
    for (;;)
        pause();
}

/* --- the tests --- */

struct world {
    char runtime[32];
    struct event_base *loop;
    struct provisioner *provisioner;
};

struct told {
    struct event_base *loop;
    int stages, reachables, ends;
    char endpoint[256];
    struct error cause;
    bool stop_at_reachable;
};

static void on_stage(void *context, const char *text) {
    struct told *told = context;
    assert_non_null(text);
    told->stages++;
}

static void on_reachable(void *context, const struct provision_address *address) {
    struct told *told = context;
    assert_null(address->server_key);
    snprintf(told->endpoint, sizeof told->endpoint, "%s", address->endpoint);
    told->reachables++;
    if (told->stop_at_reachable)
        event_base_loopbreak(told->loop);
}

static void on_ended(void *context, const struct error *cause) {
    struct told *told = context;
    told->cause = *cause;
    told->ends++;
    event_base_loopbreak(told->loop);
}

static const struct provision_events events = {
    .stage = on_stage, .reachable = on_reachable, .ended = on_ended};

static void on_limit(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what, (void)context;
    fail_msg("nothing came for %d s", TIMEOUT_S);
}

/* Until a callback breaks the loop. */
static void run(struct world *world) {
    const struct timeval limit = {.tv_sec = TIMEOUT_S};
    struct event *timer = event_new(world->loop, -1, 0, on_limit, world);
    event_add(timer, &limit);
    event_base_dispatch(world->loop);
    event_free(timer);
}

static struct spawner *spawner;

static int make_world(void **state) {
    struct world *world = memory_alloc(sizeof *world);
    struct error err;
    strcpy(world->runtime, "/tmp/elara-test-XXXXXX");
    *state = world;
    world->loop = event_base_new();
    if (mkdtemp(world->runtime) == NULL)
        return -1;
    const struct provisioner_local_settings settings = {
        .spawner = spawner, .runtime_directory = world->runtime, .launcher_path = "/proc/self/exe"};
    return provisioner_local_create(world->loop, &settings, &world->provisioner, &err);
}

static int remove_world(void **state) {
    struct world *world = *state;
    world->provisioner->ops->destroy(world->provisioner);
    event_base_free(world->loop);
    int rc = file_remove_tree(world->runtime, NULL);
    free(world);
    return rc;
}

static const char id[] = "11111111-2222-4333-8444-555555555555";

static struct provision *start(struct world *world, const char *act, struct told *told) {
    struct provision *provision = NULL;
    struct error err = {0};
    cleanup_json json_t *launch = json_pack("{s:s}", "act", act);
    cleanup_json json_t *record = json_pack("{s:s, s:s}", "kernel_id", id, "name", "python3");
    *told = (struct told){.loop = world->loop};
    if (world->provisioner->ops->start(world->provisioner,
                                       &(struct provision_order){id, launch, record, NULL, NULL},
                                       &events, told, &provision, &err) < 0)
        fail_msg("%s", err.text);
    /* Nothing was called from inside, and the record is there at once. */
    assert_int_equal(told->stages + told->reachables + told->ends, 0);
    cleanup_free char *path = memory_printf("%s/kernels/%s/record.json", world->runtime, id);
    struct stat found;
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    return provision;
}

static bool is_there(const struct world *world) {
    cleanup_free char *path = memory_printf("%s/kernels/%s", world->runtime, id);
    return access(path, F_OK) == 0;
}

/* What makes it a kernel to other gateways. */
static bool has_record(const struct world *world) {
    cleanup_free char *path = memory_printf("%s/kernels/%s/record.json", world->runtime, id);
    return access(path, F_OK) == 0;
}

static void test_life(void **state) {
    struct world *world = *state;
    const struct provisioner_ops *ops = world->provisioner->ops;
    struct told told;
    struct error err;
    struct provision *provision = start(world, "descriptors", &told);
    told.stop_at_reachable = true;
    run(world);
    int stages = told.stages; /* none when the launcher was quicker than the turn */
    assert_in_range(stages, 0, 1);
    assert_int_equal(told.reachables, 1);
    cleanup_free char *endpoint = memory_printf("ipc://%s/kernels/%s/link", world->runtime, id);
    assert_string_equal(told.endpoint, endpoint);
    assert_int_equal(ops->signal(provision, SIGKILL, &err), 0);
    run(world);
    assert_int_equal(told.stages, stages);
    assert_int_equal(told.ends, 1);
    assert_string_equal(
        told.cause.text,
        "The kernel's launcher was killed by signal 9 (SIGKILL, as when memory runs "
        "out), and the kernel ended with it: restart the kernel to go on; its variables are lost.");
    assert_int_equal(ops->signal(provision, SIGTERM, &err), -1);
    ops->remove(provision, NULL);
    assert_false(is_there(world));
}

static void test_causes(void **state) {
    struct world *world = *state;
    const struct provisioner_ops *ops = world->provisioner->ops;
    struct told told;
    struct provision *provision = start(world, "error", &told);
    run(world);
    assert_int_equal(told.ends, 1);
    assert_int_equal(told.reachables, 0);
    assert_string_equal(told.cause.text, "the disk is full");
    ops->remove(provision, NULL);
    provision = start(world, "crash", &told);
    run(world);
    assert_int_equal(told.ends, 1);
    assert_non_null(strstr(told.cause.text, "code 3"));
    assert_non_null(strstr(told.cause.text, "cannot load libfoo.so"));
    cleanup_free char *words = ops->describe_failure(provision);
    assert_non_null(strstr(words, "cannot load libfoo.so"));
    ops->remove(provision, NULL);
    provision = start(world, "short", &told);
    run(world);
    assert_int_equal(told.ends, 1);
    assert_string_equal(told.cause.text, "The kernel has ended.");
    ops->remove(provision, NULL);
    assert_false(is_there(world));
}

static void test_refusals(void **state) {
    struct world *world = *state;
    const struct provisioner_ops *ops = world->provisioner->ops;
    struct told told;
    struct error err;
    struct provision *provision = NULL, *second = NULL;
    cleanup_json json_t *object = json_object();
    static const char *const wrong[] = {"", "..", "a/b-c-d-e-f", "../../x-y-z-a-b", "short"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(ops->start(world->provisioner,
                                    &(struct provision_order){wrong[i], object, object, NULL, NULL},
                                    &events, &told, &second, &err),
                         -1);
        assert_int_equal(ops->adopt(world->provisioner, wrong[i], &events, &told, &second, &err),
                         -1);
    }
    provision = start(world, "stay", &told);
    assert_int_equal(ops->start(world->provisioner,
                                &(struct provision_order){id, object, object, NULL, NULL}, &events,
                                &told, &second, &err),
                     -1);
    assert_int_equal(err.code, ERROR_EXISTS);
    assert_true(is_there(world)); /* the other one is untouched */
    told.stop_at_reachable = true;
    run(world);
    ops->remove(provision, NULL); /* a living one */
    assert_false(has_record(world));
    event_base_dispatch(world->loop); /* until the launcher is reaped */
    assert_false(is_there(world));
    assert_int_equal(told.ends, 0);
}

/* The launcher is not reaped before the loop runs again, and its directory goes when it is. */
static void test_an_id_is_free_when_its_removal_is_done(void **state) {
    struct world *world = *state;
    const struct provisioner_ops *ops = world->provisioner->ops;
    struct told told;
    struct error err;
    struct provision *second = NULL;
    cleanup_json json_t *launch = json_pack("{s:s}", "act", "stay");
    cleanup_json json_t *record = json_pack("{s:s, s:s}", "kernel_id", id, "name", "python3");
    struct provision *provision = start(world, "stay", &told);
    told.stop_at_reachable = true;
    run(world);
    ops->remove(provision, NULL);
    assert_int_equal(ops->start(world->provisioner,
                                &(struct provision_order){id, launch, record, NULL, NULL}, &events,
                                &told, &second, &err),
                     -1);
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "try again"));
    event_base_dispatch(world->loop); /* until it is reaped */
    assert_false(is_there(world));
    provision = start(world, "stay", &told);
    told.stop_at_reachable = true;
    run(world);
    assert_int_equal(told.reachables, 1);
    assert_true(is_there(world));
    ops->remove(provision, NULL);
    event_base_dispatch(world->loop);
}

/* What the launcher wrote into its log is for the admin. */
static void test_the_cause_of_a_working_launchers_end_is_one_sentence(void **state) {
    struct world *world = *state;
    const struct provisioner_ops *ops = world->provisioner->ops;
    struct told told;
    struct provision *provision = start(world, "late crash", &told);
    run(world);
    assert_int_equal(told.ends, 1);
    assert_string_equal(told.cause.text,
                        "The kernel's launcher exited with code 5, and the kernel ended with it: "
                        "restart the kernel to go on; its variables are lost.");
    cleanup_free char *words = ops->describe_failure(provision);
    assert_non_null(strstr(words, "an assertion of ours"));
    ops->remove(provision, NULL);
}

static void note_found(void *context, const char *kernel_id, json_t *record, bool is_served) {
    (void)is_served;
    int *count = context;
    assert_string_equal(kernel_id, id);
    assert_string_equal(json_string_value(json_object_get(record, "name")), "python3");
    (*count)++;
}

static void test_adoption(void **state) {
    struct world *world = *state;
    const struct provisioner_ops *ops = world->provisioner->ops;
    struct told told;
    struct error err;
    int found = 0;
    struct provision *provision = start(world, "stay", &told);
    /* At once, before the launcher could say a word: the lock tells that it lives. */
    assert_int_equal(ops->find(world->provisioner, note_found, &found, &err), 0);
    assert_int_equal(found, 1);
    ops->release(provision);
    told = (struct told){.loop = world->loop, .stop_at_reachable = true};
    assert_int_equal(ops->adopt(world->provisioner, id, &events, &told, &provision, &err), 0);
    assert_int_equal(told.reachables, 0);
    run(world);
    assert_int_equal(told.reachables, 1);
    assert_int_equal(ops->signal(provision, SIGKILL, &err), 0);
    run(world);
    assert_int_equal(told.ends, 1);
    ops->release(provision);
    /* Its launcher is gone: what is left is cleaned up. */
    found = 0;
    assert_int_equal(ops->find(world->provisioner, note_found, &found, &err), 0);
    assert_int_equal(found, 0);
    assert_false(is_there(world));
}

struct seen {
    struct event_base *loop;
    int found, gone;
};

static void see_found(void *context, const char *kernel_id, json_t *record, bool is_served) {
    struct seen *seen = context;
    note_found(&seen->found, kernel_id, record, is_served);
    event_base_loopbreak(seen->loop);
}

static void see_gone(void *context, const char *kernel_id, const json_t *record, const char *why) {
    struct seen *seen = context;
    assert_null(record);
    assert_null(why);
    assert_string_equal(kernel_id, id);
    seen->gone++;
    event_base_loopbreak(seen->loop);
}

/* Two provisioners on one directory, as two gateways have them. */
static void test_kernels_of_others(void **state) {
    static const struct provisioner_watch watch = {.found = see_found, .gone = see_gone};
    struct world *world = *state;
    const struct provisioner_ops *ops = world->provisioner->ops;
    const struct provisioner_local_settings settings = {
        .spawner = spawner, .runtime_directory = world->runtime, .launcher_path = "/proc/self/exe"};
    struct seen seen = {.loop = world->loop};
    struct provisioner *other;
    struct told told;
    struct error err;
    assert_int_equal(provisioner_local_create(world->loop, &settings, &other, &err), 0);
    assert_int_equal(ops->watch(other, &watch, &seen, &err), 0);
    ops->look(other, id);
    assert_int_equal(seen.found, 0);
    struct provision *provision = start(world, "stay", &told);
    ops->look(other, id); /* at once: it is there as soon as start returns */
    assert_int_equal(seen.found, 1);
    while (seen.found < 2)
        run(world);
    ops->remove(provision, NULL);
    while (seen.gone < 1)
        run(world);
    ops->look(other, id);
    assert_int_equal(seen.found, 2);
    ops->destroy(other);
}

/* What a gateway that was killed left half made is removed once it is old; what another one is
 * making is not. */
static void test_half_made_kernels(void **state) {
    struct world *world = *state;
    struct error err;
    int found = 0;
    cleanup_free char *path = memory_printf("%s/kernels/.new-%s", world->runtime, id);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(world->provisioner->ops->find(world->provisioner, note_found, &found, &err),
                     0);
    assert_int_equal(found, 0);
    assert_int_equal(access(path, F_OK), 0);
    struct told told;
    struct provision *provision = start(world, "stay", &told);
    assert_int_equal(access(path, F_OK), -1); /* the id is wanted: it gives way */
    world->provisioner->ops->remove(provision, NULL);
}

static void test_strangers(void **state) {
    struct world *world = *state;
    struct error err;
    int found = 0;
    cleanup_free char *stranger = memory_printf("%s/kernels/notes", world->runtime);
    cleanup_free char *link = memory_printf("%s/kernels/%s", world->runtime, id);
    assert_int_equal(mkdir(stranger, 0700), 0);
    assert_int_equal(symlink("/tmp", link), 0);
    assert_int_equal(world->provisioner->ops->find(world->provisioner, note_found, &found, &err),
                     0);
    assert_int_equal(found, 0);
    assert_int_equal(access(stranger, F_OK), 0); /* left alone */
    assert_int_equal(access("/tmp", F_OK), 0);
}

static void test_settings(void **state) {
    struct world *world = *state;
    struct provisioner *provisioner = NULL;
    struct error err;
    struct provisioner_local_settings settings = {.spawner = spawner,
                                                  .runtime_directory = world->runtime,
                                                  .launcher_path = "/no/such/launcher"};
    assert_int_equal(provisioner_local_create(world->loop, &settings, &provisioner, &err), -1);
    assert_non_null(strstr(err.text, "/no/such/launcher"));
    cleanup_free char *open_place = memory_printf("%s/open", world->runtime);
    assert_int_equal(mkdir(open_place, 0700), 0);
    assert_int_equal(chmod(open_place, 0755), 0);
    settings = (struct provisioner_local_settings){
        .spawner = spawner, .runtime_directory = open_place, .launcher_path = "/proc/self/exe"};
    assert_int_equal(provisioner_local_create(world->loop, &settings, &provisioner, &err), -1);
    assert_int_equal(err.code, ERROR_DENIED);
}

int main(int argc, char **argv) {
    if (argc > 1 && text_starts_with(argv[1], "--directory="))
        return play_launcher(argv[1] + strlen("--directory="));
    if (spawner_create(&spawner, NULL) < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life, make_world, remove_world),
        cmocka_unit_test_setup_teardown(test_causes, make_world, remove_world),
        cmocka_unit_test_setup_teardown(test_refusals, make_world, remove_world),
        cmocka_unit_test_setup_teardown(test_an_id_is_free_when_its_removal_is_done, make_world,
                                        remove_world),
        cmocka_unit_test_setup_teardown(test_the_cause_of_a_working_launchers_end_is_one_sentence,
                                        make_world, remove_world),
        cmocka_unit_test_setup_teardown(test_adoption, make_world, remove_world),
        cmocka_unit_test_setup_teardown(test_kernels_of_others, make_world, remove_world),
        cmocka_unit_test_setup_teardown(test_half_made_kernels, make_world, remove_world),
        cmocka_unit_test_setup_teardown(test_strangers, make_world, remove_world),
        cmocka_unit_test_setup_teardown(test_settings, make_world, remove_world),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    spawner_destroy(spawner);
    return failed;
}
