/* Live reload. inotify queues an event before the change's system call returns, so nothing here
 * waits. */
#include "kernelspecs/kernelspecs.h"

#include "base/file.h"
#include "base/log.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define GOOD  "{\"argv\": [\"python3\"], \"display_name\": \"Good\", \"language\": \"python\"}"
#define OTHER "{\"argv\": [\"python3\"], \"display_name\": \"Other\", \"language\": \"python\"}"

struct place {
    char root[64];
    struct kernelspecs *specs;
};

static int set_up(void **state) {
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->root, "/tmp/elara-watch-XXXXXX");
    log_set_level(LOG_ERROR);
    *state = place;
    return mkdtemp(place->root) != NULL && chdir(place->root) == 0 ? 0 : -1;
}

static int tear_down(void **state) {
    struct place *place = *state;
    kernelspecs_destroy(place->specs);
    file_remove_tree(place->root, NULL);
    free(place);
    return chdir("/");
}

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void watch(struct place *place, const char *directory) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", place->root, directory);
    char *directories[] = {path, NULL};
    struct kernelspecs_settings settings = {.directories = directories};
    assert_int_equal(kernelspecs_create(&settings, &place->specs, NULL), 0);
    assert_int_equal(kernelspecs_changed(place->specs), -1);
}

static bool is_quiet(struct place *place) {
    struct pollfd ready = {.fd = kernelspecs_watch_fd(place->specs), .events = POLLIN};
    return poll(&ready, 1, 0) == 0;
}

/* Something was seen; loads it, and loading causes no change itself. */
static void reload(struct place *place) {
    assert_false(is_quiet(place));
    int wait_ms = kernelspecs_changed(place->specs);
    assert_in_range(wait_ms, 0, 1000);
    kernelspecs_reload(place->specs);
    kernelspecs_changed(place->specs); /* what the reload let go of */
    assert_true(is_quiet(place));
    assert_int_equal(kernelspecs_changed(place->specs), -1);
}

static const char *display_name(struct place *place, const char *name) {
    const struct kernelspec *spec = kernelspecs_find(place->specs, name);
    return spec != NULL ? spec->display_name : "";
}

static void kernels_come_change_and_go(void **state) {
    struct place *place = *state;
    mkdir("kernels", 0755);
    watch(place, "kernels");
    mkdir("kernels/k", 0755);
    reload(place);
    assert_string_equal(display_name(place, "k"), "");
    write_text("kernels/k/kernel.json", GOOD);
    reload(place);
    assert_string_equal(display_name(place, "k"), "Good");
    write_text("kernels/k/kernel.json", OTHER);
    reload(place);
    assert_string_equal(display_name(place, "k"), "Other");
    write_text("kernels/k/kernel.json", "{");
    reload(place);
    assert_string_equal(display_name(place, "k"), "");
    assert_int_equal(json_array_size(kernelspecs_problems(place->specs)), 1);
    write_text("kernels/k/kernel.json", GOOD);
    reload(place);
    assert_int_equal(json_array_size(kernelspecs_problems(place->specs)), 0);
    write_text("kernels/k/logo-32x32.png", "png");
    reload(place);
    assert_int_equal(json_object_size(kernelspecs_find(place->specs, "k")->resources), 1);
    rename("kernels/k", "kernels/moved");
    reload(place);
    assert_string_equal(display_name(place, "moved"), "Good");
    assert_string_equal(display_name(place, "k"), "");
    unlink("kernels/moved/kernel.json");
    reload(place);
    assert_null(kernelspecs_at(place->specs, 0));
    write_text("kernels/moved/kernel.json", GOOD);
    reload(place);
    file_remove_tree("kernels/moved", NULL);
    reload(place);
    assert_null(kernelspecs_at(place->specs, 0));
}

static void editors_that_rename(void **state) {
    struct place *place = *state;
    mkdir("kernels", 0755);
    mkdir("kernels/k", 0755);
    write_text("kernels/k/kernel.json", GOOD);
    watch(place, "kernels");
    for (int i = 0; i < 3; i++) {
        write_text("kernels/k/.kernel.json.swp", i % 2 ? GOOD : OTHER);
        assert_int_equal(kernelspecs_changed(place->specs),
                         -1); /* not one of a kernelspec's files */
        rename("kernels/k/.kernel.json.swp", "kernels/k/kernel.json");
        reload(place);
        assert_string_equal(display_name(place, "k"), i % 2 ? "Good" : "Other");
    }
}

static void a_directory_that_appears_later(void **state) {
    struct place *place = *state;
    watch(place, "share/jupyter/kernels");
    write_text("unrelated", "x");
    assert_int_equal(kernelspecs_changed(place->specs), -1);
    mkdir("share", 0755);
    mkdir("share/jupyter", 0755); /* before the reload that watches share */
    reload(place);
    mkdir("share/jupyter/kernels", 0755);
    reload(place);
    mkdir("share/jupyter/kernels/k", 0755);
    write_text("share/jupyter/kernels/k/kernel.json", GOOD);
    reload(place);
    assert_string_equal(display_name(place, "k"), "Good");
    /* A parent is renamed away and another one takes its place. */
    rename("share", "old");
    reload(place);
    assert_string_equal(display_name(place, "k"), "");
    rename("old", "share");
    reload(place);
    assert_string_equal(display_name(place, "k"), "Good");
    write_text("share/jupyter/kernels/k/kernel.json", OTHER);
    reload(place);
    assert_string_equal(display_name(place, "k"), "Other");
    file_remove_tree("share", NULL);
    reload(place);
    assert_null(kernelspecs_at(place->specs, 0));
    mkdir("share", 0755);
    reload(place);
}

/* How the kubelet updates a ConfigMap: a new directory, a new symlink, renamed over ..data. */
static void swap(const char *root, const char *version) {
    char link[128];
    char data[128];
    snprintf(link, sizeof link, "%s/..data_tmp", root);
    snprintf(data, sizeof data, "%s/..data", root);
    assert_int_equal(symlink(version, link), 0);
    assert_int_equal(rename(link, data), 0);
}

static void configmap_of_one_kernel(void **state) {
    struct place *place = *state;
    mkdir("kernels", 0755);
    mkdir("kernels/k", 0755);
    mkdir("kernels/k/..2024_1", 0755);
    write_text("kernels/k/..2024_1/kernel.json", GOOD);
    swap("kernels/k", "..2024_1");
    assert_int_equal(symlink("..data/kernel.json", "kernels/k/kernel.json"), 0);
    watch(place, "kernels");
    assert_string_equal(display_name(place, "k"), "Good");
    mkdir("kernels/k/..2024_2", 0755);
    write_text("kernels/k/..2024_2/kernel.json", OTHER);
    swap("kernels/k", "..2024_2");
    reload(place);
    assert_string_equal(display_name(place, "k"), "Other");
    swap("kernels/k", "..2024_1");
    reload(place);
    assert_string_equal(display_name(place, "k"), "Good");
}

static void configmap_of_all_kernels(void **state) {
    struct place *place = *state;
    mkdir("mount", 0755);
    mkdir("mount/..1", 0755);
    mkdir("mount/..1/k", 0755);
    write_text("mount/..1/k/kernel.json", GOOD);
    mkdir("mount/..2", 0755);
    mkdir("mount/..2/k", 0755);
    write_text("mount/..2/k/kernel.json", OTHER);
    swap("mount", "..1");
    assert_int_equal(symlink("..data/k", "mount/k"), 0);
    watch(place, "mount");
    assert_null(kernelspecs_at(place->specs, 1));
    assert_string_equal(display_name(place, "k"), "Good");
    swap("mount", "..2");
    reload(place);
    assert_string_equal(display_name(place, "k"), "Other");
}

static void symlinks_that_lead_elsewhere(void **state) {
    struct place *place = *state;
    char path[256];
    mkdir("store", 0755);
    mkdir("store/a", 0755);
    mkdir("store/b", 0755);
    mkdir("store/a/k", 0755);
    mkdir("store/b/k", 0755);
    write_text("store/a/k/kernel.json", GOOD);
    write_text("store/b/k/kernel.json", OTHER);
    assert_int_equal(symlink("a", "store/current"), 0);
    snprintf(path, sizeof path, "%s/store/current", place->root);
    assert_int_equal(symlink(path, "kernels"), 0);
    watch(place, "kernels");
    assert_string_equal(display_name(place, "k"), "Good");
    assert_int_equal(symlink("b", "store/next"), 0);
    assert_int_equal(kernelspecs_changed(place->specs), -1);
    assert_int_equal(rename("store/next", "store/current"), 0);
    reload(place);
    assert_string_equal(display_name(place, "k"), "Other");
    /* The file itself is a link into a directory that nobody searches. */
    write_text("store/elsewhere.json", GOOD);
    unlink("store/b/k/kernel.json");
    assert_int_equal(symlink("../../elsewhere.json", "store/b/k/kernel.json"), 0);
    reload(place);
    assert_string_equal(display_name(place, "k"), "Good");
    write_text("store/elsewhere.json", OTHER);
    reload(place);
    assert_string_equal(display_name(place, "k"), "Other");
    /* And a link on the way of that link. */
    mkdir("store/v1", 0755);
    write_text("store/v1/kernel.json", GOOD);
    assert_int_equal(symlink("v1", "store/version"), 0);
    assert_int_equal(symlink("../../version/kernel.json", "store/next"), 0);
    assert_int_equal(rename("store/next", "store/b/k/kernel.json"), 0);
    reload(place);
    assert_string_equal(display_name(place, "k"), "Good");
    mkdir("store/v2", 0755);
    write_text("store/v2/kernel.json", OTHER);
    assert_int_equal(symlink("v2", "store/next"), 0);
    assert_int_equal(kernelspecs_changed(place->specs), -1);
    assert_int_equal(rename("store/next", "store/version"), 0);
    reload(place);
    assert_string_equal(display_name(place, "k"), "Other");
    assert_int_equal(symlink("kernels", "loop"), 0); /* a circle ends */
    unlink("kernels");
    assert_int_equal(symlink("loop", "kernels"), 0);
    reload(place);
    assert_null(kernelspecs_at(place->specs, 0));
}

static void a_burst_is_one_reload(void **state) {
    struct place *place = *state;
    char path[64];
    mkdir("kernels", 0755);
    watch(place, "kernels");
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "kernels/k%d", i);
        mkdir(path, 0755);
        snprintf(path, sizeof path, "kernels/k%d/kernel.json", i);
        write_text(path, GOOD);
    }
    reload(place);
    assert_non_null(kernelspecs_at(place->specs, 299));
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "kernels/k%d", i);
        file_remove_tree(path, NULL);
    }
    reload(place);
    assert_null(kernelspecs_at(place->specs, 0));
}

static void lost_events_are_a_change(void **state) {
    struct place *place = *state;
    unsigned queue = 16384;
    FILE *limit = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    if (limit != NULL) {
        assert_int_equal(fscanf(limit, "%u", &queue), 1);
        fclose(limit);
    }
    mkdir("kernels", 0755);
    mkdir("kernels/k", 0755);
    write_text("kernels/k/kernel.json", GOOD);
    watch(place, "kernels");
    /* Two files by turns, since equal events next to each other are merged. None is one of a
     * kernelspec's. */
    for (unsigned i = 0; i < queue + 16; i++)
        write_text(i % 2 ? "kernels/k/noise" : "kernels/k/sound", "");
    write_text("kernels/k/kernel.json", OTHER);
    assert_in_range(kernelspecs_changed(place->specs), 0, 1000);
    kernelspecs_reload(place->specs);
    assert_string_equal(display_name(place, "k"), "Other");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(kernels_come_change_and_go),     TEST(editors_that_rename),
        TEST(a_directory_that_appears_later), TEST(configmap_of_one_kernel),
        TEST(configmap_of_all_kernels),       TEST(symlinks_that_lead_elsewhere),
        TEST(a_burst_is_one_reload),          TEST(lost_events_are_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
