/* What a launcher takes from its pod, and what it says when that is wrong. */
#include "launcher/pod_place.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

struct place {
    char root[64];
    char *place, *kernel;
    char server_public[41], server_secret[41], gateway[41];
};

static void write_text(const struct place *place, const char *name, const char *text) {
    cleanup_free char *path = memory_printf("%s/%s", place->place, name);
    assert_int_equal(file_write(path, text, strlen(text), 0444, NULL), 0);
}

static char *read_text(const char *folder, const char *name) {
    cleanup_free char *path = memory_printf("%s/%s", folder, name);
    cleanup_buffer struct buffer text = {.limit = 4096};
    assert_int_equal(file_read(path, 4095, &text, NULL), 0);
    return memory_strdup(buffer_text(&text));
}

static int setup(void **state) {
    struct place *place = memory_alloc(sizeof *place);
    char unused[41];
    strcpy(place->root, "/tmp/elara-place-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    place->place = memory_printf("%s/place", place->root);
    place->kernel = memory_printf("%s/volume/kernel", place->root);
    cleanup_free char *volume = memory_printf("%s/volume", place->root);
    assert_int_equal(mkdir(place->place, 0755), 0);
    assert_int_equal(mkdir(volume, 0777), 0);
    assert_int_equal(chmod(volume, 02777), 0); /* as an emptyDir with fsGroup is */
    assert_int_equal(zmq_curve_keypair(place->server_public, place->server_secret), 0);
    assert_int_equal(zmq_curve_keypair(place->gateway, unused), 0);
    write_text(place, "launch.json", "{\"launch\": 1}");
    write_text(place, "record.json", "{\"record\": 1}");
    write_text(place, "link.key", place->server_secret);
    cleanup_free char *line = memory_printf("%s\n", place->server_public);
    write_text(place, "link.pub", line);
    write_text(place, "gateway.pub", place->gateway);
    *state = place;
    return 0;
}

static int teardown(void **state) {
    struct place *place = *state;
    file_remove_tree(place->root, NULL);
    free(place->place);
    free(place->kernel);
    free(place);
    return 0;
}

static bool prepare(const struct place *place) {
    struct error err;
    bool has_ended = true;
    if (pod_place_prepare(place->place, place->kernel, &has_ended, &err) < 0)
        fail_msg("%s", err.text);
    return has_ended;
}

static void test_first_container(void **state) {
    const struct place *place = *state;
    struct stat found;
    assert_false(prepare(place));
    assert_int_equal(stat(place->kernel, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0700);
    cleanup_free char *launch = read_text(place->kernel, "launch.json");
    cleanup_free char *record = read_text(place->kernel, "record.json");
    assert_string_equal(launch, "{\"launch\": 1}");
    assert_string_equal(record, "{\"record\": 1}");
    cleanup_free char *key = memory_printf("%s/link.key", place->kernel);
    assert_int_equal(access(key, F_OK), -1); /* keys stay where they are */
}

static void test_later_containers(void **state) {
    const struct place *place = *state;
    prepare(place);
    write_text(place, "record.json", "{\"record\": 2}");
    assert_false(prepare(place));
    cleanup_free char *record = read_text(place->kernel, "record.json");
    assert_string_equal(record, "{\"record\": 1}"); /* what the launcher wrote counts */
    assert_int_equal(pod_place_end(place->kernel, NULL), 0);
    assert_true(prepare(place));
}

/* Broken off between the two files. */
static void test_half_a_directory_is_completed(void **state) {
    const struct place *place = *state;
    cleanup_free char *record = memory_printf("%s/record.json", place->kernel);
    prepare(place);
    assert_int_equal(unlink(record), 0);
    write_text(place, "launch.json", "{\"launch\": 2}");
    assert_false(prepare(place));
    cleanup_free char *launch = read_text(place->kernel, "launch.json");
    assert_string_equal(launch, "{\"launch\": 2}");
}

static void refuse_place(const struct place *place, const char *text) {
    struct error err = {0};
    bool has_ended;
    assert_int_equal(pod_place_prepare(place->place, place->kernel, &has_ended, &err), -1);
    if (strstr(err.text, text) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, text);
}

static void test_wrong_directories(void **state) {
    const struct place *place = *state;
    cleanup_free char *launch = memory_printf("%s/launch.json", place->place);
    assert_int_equal(mkdir(place->kernel, 0777), 0);
    assert_int_equal(chmod(place->kernel, 0777), 0);
    refuse_place(place, "below a volume that its user can write");
    assert_int_equal(rmdir(place->kernel), 0);
    assert_int_equal(unlink(launch), 0);
    refuse_place(place, "place/launch.json: no such file");
}

static void test_keys(void **state) {
    const struct place *place = *state;
    struct link_curve_keys keys;
    uint8_t expected[32];
    assert_int_equal(pod_place_read_keys(place->place, &keys, NULL), 0);
    assert_non_null(zmq_z85_decode(expected, place->server_secret));
    assert_memory_equal(keys.secret, expected, sizeof expected);
    assert_non_null(zmq_z85_decode(expected, place->gateway));
    assert_memory_equal(keys.gateway, expected, sizeof expected);
}

/* A mounted Secret: name -> ..data/name, ..data -> a directory. */
static void test_keys_behind_links(void **state) {
    const struct place *place = *state;
    struct link_curve_keys keys;
    cleanup_free char *real = memory_printf("%s/..2026", place->place);
    cleanup_free char *data = memory_printf("%s/..data", place->place);
    cleanup_free char *name = memory_printf("%s/link.key", place->place);
    cleanup_free char *moved = memory_printf("%s/link.key", real);
    assert_int_equal(mkdir(real, 0755), 0);
    assert_int_equal(rename(name, moved), 0);
    assert_int_equal(symlink("..2026", data), 0);
    assert_int_equal(symlink("..data/link.key", name), 0);
    assert_int_equal(pod_place_read_keys(place->place, &keys, NULL), 0);
}

static void refuse_keys(const struct place *place, const char *name, const char *value,
                        const char *text) {
    struct link_curve_keys keys, zeros = {0};
    struct error err = {0};
    cleanup_free char *path = memory_printf("%s/%s", place->place, name);
    cleanup_free char *before = read_text(place->place, name);
    if (value == NULL)
        unlink(path);
    else
        write_text(place, name, value);
    assert_int_equal(pod_place_read_keys(place->place, &keys, &err), -1);
    if (strstr(err.text, text) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, text);
    assert_null(strstr(err.text, place->server_secret));
    assert_memory_equal(&keys, &zeros, sizeof keys);
    write_text(place, name, before);
}

static void test_wrong_keys(void **state) {
    const struct place *place = *state;
    cleanup_free char *longer = memory_printf("%s\nmore", place->gateway);
    refuse_keys(place, "link.key", NULL, "link.key: No such file");
    refuse_keys(place, "link.key", "", "link.key: a CURVE key in Z85 has 40 characters");
    refuse_keys(place, "link.key", place->gateway, "link.pub is not the public key of link.key");
    refuse_keys(place, "link.pub", place->gateway, "link.pub is not the public key of link.key");
    refuse_keys(place, "gateway.pub", longer, "gateway.pub: a CURVE key in Z85");
    refuse_keys(place, "gateway.pub", "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
                "gateway.pub: that is no Z85");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_first_container),
        TEST(test_later_containers),
        TEST(test_half_a_directory_is_completed),
        TEST(test_wrong_directories),
        TEST(test_keys),
        TEST(test_keys_behind_links),
        TEST(test_wrong_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
