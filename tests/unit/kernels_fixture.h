/* What test_kernels.c runs on: kernels with a real local provisioner, elara-launcher and stub
 * kernel, on a loop. */
#pragma once

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
    struct spawner *spawner;
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
    struct provisioner_local_settings place = {
        .spawner = f->spawner, .runtime_directory = f->runtime, .launcher_path = f->launcher};
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
    assert_int_equal(spawner_create(&f->spawner, NULL), 0);
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
        .users = {.authorized = nothing, .unauthorized = nothing},
        .max_kernels = -1,
        .max_kernels_per_user = -1,
        .max_kernels_per_spec = -1,
        .state_directory = f->runtime,
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
    spawner_destroy(f->spawner);
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
    cleanup_json json_t *model = kernel_model(kernel, &ann);
    assert_int_equal(json_object_size(model), reason ? 7 : 5);
    assert_string_equal(json_string_value(json_object_get(model, "id")), kernel_id(kernel));
    assert_string_equal(json_string_value(json_object_get(model, "execution_state")), state);
    const char *activity = json_string_value(json_object_get(model, "last_activity"));
    assert_int_equal(strlen(activity), strlen("2026-01-31T12:00:00.000000Z"));
    assert_int_equal(activity[26], 'Z');
    assert_true(json_is_integer(json_object_get(model, "connections")));
    if (reason != NULL)
        assert_non_null(strstr(json_string_value(json_object_get(model, "message")), reason));
}
