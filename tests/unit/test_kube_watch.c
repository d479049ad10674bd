/* List and watch against a scripted server: what is told, and what a server can do to a watch. */
#include "launcher/kube_lines.h"
#include "launcher/kube_watch.h"

#include "kube_fixture.h"

#include <time.h>

/* What the watch told, one line each: "added a 1", "deleted a", "synced", "trouble ...", "well". */
struct told {
    struct buffer text;
    unsigned count, added, troubles;
    bool is_synced;
    struct kube_watch *destroy_at_change; /* by the first change */
    struct error trouble;
};

static void on_changed(void *context, enum kube_change change, json_t *object) {
    static const char *const names[] = {"added", "modified", "deleted"};
    struct told *told = context;
    const json_t *metadata = json_object_get(object, "metadata");
    const char *version = json_string_value(json_object_get(metadata, "resourceVersion"));
    buffer_printf(&told->text, "%s %s%s%s\n", names[change],
                  json_string_value(json_object_get(metadata, "name")), version != NULL ? " " : "",
                  version != NULL ? version : "");
    told->count++;
    told->added += change == KUBE_ADDED;
    if (told->destroy_at_change != NULL)
        kube_watch_destroy(told->destroy_at_change);
    told->destroy_at_change = NULL;
}

static void on_synced(void *context) {
    struct told *told = context;
    assert_false(told->is_synced);
    told->is_synced = true;
    buffer_append_text(&told->text, "synced\n");
    told->count++;
}

static void on_trouble(void *context, const struct error *err) {
    struct told *told = context;
    if (err != NULL)
        told->trouble = *err;
    buffer_printf(&told->text, "%s\n", err != NULL ? "trouble" : "well");
    told->troubles += err != NULL;
    told->count++;
}

static const struct kube_watch_events events = {on_changed, on_synced, on_trouble};

/* The server: lists what `lists` says, one after the other, then hands streams to the test. */
struct world {
    struct kube_fixture fixture;
    struct told told;
    struct kube_watch *watch;
    struct kube_watch_settings settings;
    json_t *lists[8]; /* answers to lists; the last one again and again */
    size_t list_count;
    unsigned listed;
    int refuse_lists, refuse_streams; /* with this status */
    unsigned streams;
    struct kube_connection *stream; /* the last one */
    bool is_stream_quiet;           /* not answered: the test does */
    char list_path[4096], stream_path[4096];
};

static json_t *object(const char *name, const char *version) {
    return json_pack("{s:{s:s, s:s, s:s+, s:s}}", "metadata", "name", name, "namespace", "n", "uid",
                     "uid-", name, "resourceVersion", version);
}

/* names: "a1 b2": objects and their versions, one character each; of 'A' the uid is another than of
 * 'a', but the name is the same. */
static json_t *list(const char *names, const char *version, const char *next) {
    json_t *items = json_array();
    for (; *names; names += names[2] != '\0' ? 3 : 2) {
        char name[2] = {(char)(names[0] | 0x20)}, is[2] = {names[1]};
        json_t *item = object(name, is);
        if (names[0] != name[0])
            json_object_set_new(json_object_get(item, "metadata"), "uid", json_string("another"));
        json_array_append_new(items, item);
    }
    return json_pack("{s:s, s:{s:s, s:s}, s:o}", "kind", "List", "metadata", "resourceVersion",
                     version, "continue", next, "items", items);
}

static void on_list(struct world *world, struct kube_connection *connection,
                    const struct kube_incoming *request) {
    snprintf(world->list_path, sizeof world->list_path, "%s", request->path);
    size_t at = world->listed < world->list_count ? world->listed : world->list_count - 1;
    world->listed++;
    if (world->refuse_lists != 0)
        kube_answer_status(connection, world->refuse_lists, "Whatever", "no list for you");
    else
        kube_answer_json(connection, 200, json_incref(world->lists[at]));
}

static void on_request(void *context, struct kube_connection *connection,
                       const struct kube_incoming *request) {
    struct world *world = context;
    if (strstr(request->path, "watch=1") == NULL) {
        on_list(world, connection, request);
        return;
    }
    snprintf(world->stream_path, sizeof world->stream_path, "%s", request->path);
    world->streams++;
    world->stream = connection;
    if (world->refuse_streams != 0)
        kube_answer_status(connection, world->refuse_streams, "Whatever", "no stream for you");
    else if (!world->is_stream_quiet)
        kube_stream_begin(connection);
}

static void begin_watch(struct world *world) {
    struct error err;
    if (world->settings.path == NULL)
        world->settings.path = "/api/v1/namespaces/n/pods";
    world->settings.pause_ms = 2;
    if (kube_watch_create(world->fixture.client, &world->settings, &events, &world->told,
                          &world->watch, &err) < 0)
        fail_msg("%s", err.text);
}

static void begin(struct world *world) {
    world->told.text.limit = 1 << 20;
    kube_fixture_begin(&world->fixture, on_request, world);
    if (world->list_count == 0)
        world->lists[world->list_count++] = list("", "10", "");
    begin_watch(world);
}

static void end(struct world *world) {
    kube_watch_destroy(world->watch);
    kube_fixture_end(&world->fixture);
    for (size_t i = 0; i < world->list_count; i++)
        json_decref(world->lists[i]);
    buffer_free(&world->told.text);
}

static void run_until_told(struct world *world, unsigned count) {
    kube_run_until_count(world->fixture.loop, &world->told.count, count);
}

static void run_until_streams(struct world *world, unsigned count) {
    kube_run_until_count(world->fixture.loop, &world->streams, count);
}

static void expect(struct world *world, const char *text) {
    assert_string_equal(buffer_text(&world->told.text), text);
}

static void send_event(struct world *world, const char *type, json_t *tree) {
    kube_stream_event(world->stream, type, tree);
}

static void send_bookmark(struct world *world, const char *version) {
    send_event(world, "BOOKMARK", json_pack("{s:{s:s}}", "metadata", "resourceVersion", version));
}

static json_t *status_object(int code, const char *message) {
    return json_pack("{s:s, s:i, s:s}", "kind", "Status", "code", code, "message", message);
}

static void lists_page_by_page_and_then_watches(void **state) {
    (void)state;
    struct world world = {.lists = {list("a1 b2", "10", "next/page"), list("c3", "10", "")},
                          .list_count = 2,
                          .settings = {.label_selector = "elara.install=x",
                                       .field_selector = "type=Warning",
                                       .page_size = 2}};
    begin(&world);
    run_until_streams(&world, 1);
    expect(&world, "added a 1\nadded b 2\nadded c 3\nsynced\n");
    assert_string_equal(world.list_path,
                        "/api/v1/namespaces/n/pods?labelSelector=elara.install%3Dx&fieldSelector="
                        "type%3DWarning&limit=2&continue=next%2Fpage");
    char start[] = "/api/v1/namespaces/n/pods?labelSelector=elara.install%3Dx&fieldSelector=type%3D"
                   "Warning&watch=1&allowWatchBookmarks=true&resourceVersion=10&timeoutSeconds=";
    assert_memory_equal(world.stream_path, start, sizeof start - 1);
    long lifetime_s = strtol(world.stream_path + sizeof start - 1, NULL, 10);
    assert_true(lifetime_s >= 1800 && lifetime_s <= 3600);
    send_event(&world, "ADDED", object("d", "11"));
    send_event(&world, "MODIFIED", object("a", "12"));
    send_event(&world, "DELETED", object("b", "13"));
    run_until_told(&world, 7);
    expect(&world, "added a 1\nadded b 2\nadded c 3\nsynced\nadded d 11\nmodified a 12\n"
                   "deleted b 13\n");
    struct kube_watch_counts counts;
    kube_watch_count(world.watch, &counts);
    assert_int_equal(counts.objects, 3);
    assert_int_equal(counts.lists, 1);
    assert_int_equal(counts.streams, 1);
    assert_int_equal(counts.events, 3);
    end(&world);
}

static void goes_on_where_a_stream_ended(void **state) {
    (void)state;
    struct world world = {.lists = {list("a1", "10", "")}, .list_count = 1};
    begin(&world);
    run_until_streams(&world, 1);
    send_event(&world, "MODIFIED", object("a", "12"));
    run_until_told(&world, 3);
    kube_stream_write(world.stream, "", 0); /* its timeoutSeconds are over */
    run_until_streams(&world, 2);
    assert_non_null(strstr(world.stream_path, "resourceVersion=12&"));
    send_bookmark(&world, "77");
    kube_stream_write(world.stream, "{\"type\":\"ADD", 12); /* cut off in the middle of an event */
    kube_close(world.stream);
    run_until_streams(&world, 3);
    assert_non_null(strstr(world.stream_path, "resourceVersion=77&"));
    send_event(&world, "MODIFIED", object("a", "12")); /* told already */
    send_event(&world, "DELETED", object("z", "80"));  /* never told */
    json_t *former = object("a", "80");                /* another object had this name */
    json_object_set_new(json_object_get(former, "metadata"), "uid", json_string("former"));
    send_event(&world, "DELETED", former);
    send_event(&world, "MODIFIED", object("a", "81"));
    run_until_told(&world, 4);
    expect(&world, "added a 1\nsynced\nmodified a 12\nmodified a 81\n");
    assert_int_equal(world.listed, 1);
    end(&world);
}

static void lists_again_when_its_place_is_forgotten(void **state) {
    (void)state;
    struct world world = {
        .lists = {list("a1 b2 c3 d4", "10", ""), list("a1 b5 D6", "20", ""), list("a1", "30", "")},
        .list_count = 3};
    begin(&world);
    run_until_streams(&world, 1);
    send_event(&world, "ERROR", status_object(410, "too old resource version"));
    run_until_streams(&world, 2);
    expect(&world, "added a 1\nadded b 2\nadded c 3\nadded d 4\nsynced\n"
                   "modified b 5\ndeleted d\nadded d 6\ndeleted c\n");
    world.refuse_streams = 410; /* and as an answer */
    kube_close(world.stream);
    run_until_streams(&world, 3);
    world.refuse_streams = 0;
    run_until_streams(&world, 4);
    run_until_told(&world, 11);
    const char *tail = strstr(buffer_text(&world.told.text), "deleted c\n") + 10;
    assert_true(strcmp(tail, "deleted b\ndeleted d\n") == 0 ||
                strcmp(tail, "deleted d\ndeleted b\n") == 0);
    assert_int_equal(world.told.troubles, 0);
    end(&world);
}

/* What vanished is named, and nothing else is known of it. */
static void on_gone(void *context, enum kube_change change, json_t *gone) {
    json_t **kept = context;
    if (change == KUBE_DELETED)
        *kept = json_incref(gone);
}

static void names_what_vanished(void **state) {
    (void)state;
    static const struct kube_watch_events gone_events = {.changed = on_gone};
    struct world world = {.lists = {list("a1", "10", ""), list("", "20", "")}, .list_count = 2};
    begin(&world);
    kube_watch_destroy(world.watch);
    json_t *gone = NULL;
    struct error err;
    assert_int_equal(kube_watch_create(world.fixture.client, &world.settings, &gone_events, &gone,
                                       &world.watch, &err),
                     0);
    run_until_streams(&world, 1);
    send_event(&world, "ERROR", status_object(410, ""));
    run_until_streams(&world, 2);
    json_t *expected =
        json_pack("{s:{s:s, s:s, s:s}}", "metadata", "name", "a", "namespace", "n", "uid", "uid-a");
    assert_true(json_equal(gone, expected));
    json_decref(expected);
    json_decref(gone);
    end(&world);
}

static void tells_its_trouble_once_and_its_end(void **state) {
    (void)state;
    struct world world = {.lists = {list("a1", "10", "")}, .list_count = 1, .refuse_lists = 500};
    begin(&world);
    kube_run_until_count(world.fixture.loop, &world.listed, 4);
    expect(&world, "trouble\n");
    assert_string_equal(world.told.trouble.text, "no list for you");
    world.refuse_lists = 403; /* another reason is news */
    kube_run_until_count(world.fixture.loop, &world.told.count, 2);
    assert_int_equal(world.told.trouble.code, ERROR_DENIED);
    world.refuse_lists = 0;
    run_until_streams(&world, 1);
    run_until_told(&world, 5);
    expect(&world, "trouble\ntrouble\nadded a 1\nsynced\nwell\n");
    world.refuse_streams = 503;
    kube_close(world.stream);
    run_until_streams(&world, 4);
    world.refuse_streams = 0;
    run_until_told(&world, 7);
    expect(&world, "trouble\ntrouble\nadded a 1\nsynced\nwell\ntrouble\nwell\n");
    assert_int_equal(world.told.trouble.code, ERROR_UNAVAILABLE);
    unsigned listed = world.listed;
    kube_run_for(world.fixture.loop, 20);
    assert_int_equal(world.listed, listed); /* it went on where it was */
    end(&world);
}

static void survives_a_restart_of_the_server(void **state) {
    (void)state;
    struct world world = {.lists = {list("a1", "10", "")}, .list_count = 1};
    begin(&world);
    run_until_streams(&world, 1);
    int port = kube_server_port(world.fixture.server);
    kube_server_stop(world.fixture.server);
    world.fixture.server = NULL;
    run_until_told(&world, 3);
    assert_non_null(strstr(world.told.trouble.text, "Connection refused"));
    world.fixture.server =
        kube_server_start(world.fixture.loop, port, NULL, kube_fixture_handle, &world.fixture);
    run_until_told(&world, 4);
    expect(&world, "added a 1\nsynced\ntrouble\nwell\n");
    assert_int_equal(world.listed, 1);
    end(&world);
}

static void notices_a_stream_that_is_dead(void **state) {
    (void)state;
    struct world world = {
        .lists = {list("a1", "10", "")}, .list_count = 1, .settings = {.silence_ms = 100}};
    begin(&world);
    run_until_streams(&world, 3); /* nothing ever comes */
    expect(&world, "added a 1\nsynced\n");
    world.is_stream_quiet = true; /* not even an answer */
    run_until_streams(&world, 5);
    run_until_told(&world, 3);
    assert_int_equal(world.told.trouble.code, ERROR_TIMEOUT);
    assert_non_null(
        strstr(world.told.trouble.text, "does not answer GET /api/v1/namespaces/n/pods"));
    world.is_stream_quiet = false;
    run_until_told(&world, 4);
    expect(&world, "added a 1\nsynced\ntrouble\nwell\n");
    end(&world);
}

static void refuses_what_is_no_event(void **state) {
    (void)state;
    static const char *const lines[] = {
        "no JSON\n",
        "[]\n",
        "{\"type\":\"ADDED\"}\n",
        "{\"type\":1,\"object\":{}}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"}}}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1\"}}}\n",
        "{\"type\":\"ERROR\",\"object\":{\"code\":500,\"message\":\"etcd is ill\"}}\n",
    };
    struct world world = {.lists = {list("a1", "10", "")}, .list_count = 1};
    begin(&world);
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        run_until_streams(&world, i + 1);
        kube_run_until_count(world.fixture.loop, &world.listed, i + 1);
        unsigned troubles = world.told.troubles;
        kube_stream_write(world.stream, lines[i], strlen(lines[i]));
        kube_run_until_count(world.fixture.loop, &world.told.troubles, troubles + 1);
        run_until_streams(&world, i + 2);
        assert_int_equal(world.listed, i + 2);
    }
    assert_string_equal(world.told.trouble.text, "etcd is ill");
    assert_int_equal(world.told.added, 1); /* never told twice */
    end(&world);
}

static void limits_what_it_holds(void **state) {
    (void)state;
    struct world world = {
        .lists = {list("a1 b2", "10", ""), list("a1 b2 c3", "20", ""), list("a1 b2", "30", "")},
        .list_count = 3,
        .settings = {.objects_max = 2, .line_max = 1000}};
    begin(&world);
    run_until_streams(&world, 1);
    char *line = memory_alloc(2001);
    memset(line, 'x', 2000);
    kube_stream_write(world.stream, line, 2000);
    run_until_told(&world, 4);
    assert_int_equal(world.told.trouble.code, ERROR_LIMIT);
    assert_non_null(strstr(world.told.trouble.text, "an event is larger than 1000 bytes"));
    run_until_told(&world, 5);
    assert_int_equal(world.told.trouble.code, ERROR_LIMIT);
    assert_non_null(strstr(world.told.trouble.text, "more than 2 objects"));
    run_until_told(&world, 6);
    expect(&world, "added a 1\nadded b 2\nsynced\ntrouble\ntrouble\nwell\n");
    free(line);
    end(&world);
}

static void starts_a_list_again_whose_place_is_forgotten(void **state) {
    (void)state;
    struct world world = {
        .lists = {list("a1", "10", "next"), status_object(410, "expired"), list("a1 b2", "20", "")},
        .list_count = 3};
    begin(&world);
    /* the second answer is a 410: as a status */
    world.refuse_lists = 0;
    kube_run_until_count(world.fixture.loop, &world.listed, 1);
    world.refuse_lists = 410;
    kube_run_until_count(world.fixture.loop, &world.listed, 2);
    world.refuse_lists = 0;
    run_until_streams(&world, 1);
    expect(&world, "added a 1\nadded b 2\nsynced\n");
    assert_null(strstr(world.list_path, "continue="));
    end(&world);
}

/* Each byte of a stream is a chunk of its own. */
static void takes_a_stream_byte_by_byte(void **state) {
    (void)state;
    static const char text[] =
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"\xc3\xa9\",\"uid\":\"u\","
        "\"resourceVersion\":\"5\"}}}\r\n\n"
        "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"\xc3\xa9\",\"uid\":\"u\","
        "\"resourceVersion\":\"6\"}}}\n";
    struct world world = {0};
    begin(&world);
    run_until_streams(&world, 1);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        kube_stream_write(world.stream, text + i, 1);
        event_base_loop(world.fixture.loop, EVLOOP_NONBLOCK);
    }
    run_until_told(&world, 3);
    expect(&world, "synced\nadded \xc3\xa9 5\ndeleted \xc3\xa9 6\n");
    end(&world);
}

static bool keep_line(void *context, const char *text, size_t length) {
    buffer_printf(context, "<%.*s>", (int)length, text);
    return true;
}

static void cuts_lines_wherever_pieces_end(void **state) {
    (void)state;
    static const char text[] = "one\ntwo\r\n\n\nthree\nfo";
    for (size_t cut = 0; cut < sizeof text - 1; cut++) {
        struct kube_lines lines = {.partial = {.limit = 5}};
        struct buffer kept = {.limit = 1000};
        assert_int_equal(kube_lines_feed(&lines, text, cut, keep_line, &kept), KUBE_LINES_DONE);
        assert_int_equal(
            kube_lines_feed(&lines, text + cut, sizeof text - 1 - cut, keep_line, &kept),
            KUBE_LINES_DONE);
        assert_string_equal(buffer_text(&kept), "<one><two><three>");
        assert_int_equal(kube_lines_feed(&lines, "ur56\n", 5, keep_line, &kept),
                         KUBE_LINES_TOO_LONG);
        kube_lines_free(&lines);
        buffer_free(&kept);
    }
}

static void may_be_destroyed_by_what_it_tells(void **state) {
    (void)state;
    struct world world = {.lists = {list("a1 b2", "10", "")}, .list_count = 1};
    begin(&world);
    world.told.destroy_at_change = world.watch;
    run_until_told(&world, 1);
    expect(&world, "added a 1\n");
    begin_watch(&world);
    run_until_streams(&world, 1);
    world.told.destroy_at_change = world.watch;
    unsigned count = world.told.count;
    send_event(&world, "ADDED", object("x", "11"));
    send_event(&world, "ADDED", object("y", "12"));
    run_until_told(&world, count + 1);
    world.watch = NULL;
    kube_run_for(world.fixture.loop, 20);
    assert_int_equal(world.told.count, count + 1);
    end(&world);
}

/* A burst larger than what is read at once: the connection is paused and goes on. */
static void takes_a_flood(void **state) {
    (void)state;
    enum { OBJECTS = 3000 };
    struct world world = {0};
    begin(&world);
    run_until_streams(&world, 1);
    char *padding = memory_alloc(2001);
    memset(padding, 'p', 2000);
    for (int i = 0; i < OBJECTS; i++) {
        char name[16], version[16];
        snprintf(name, sizeof name, "o%d", i);
        snprintf(version, sizeof version, "%d", 100 + i);
        json_t *tree = object(name, version);
        json_object_set_new(tree, "padding", json_string(padding));
        send_event(&world, "ADDED", tree);
    }
    kube_run_until_count(world.fixture.loop, &world.told.added, OBJECTS);
    free(padding);
    end(&world);
}

/* 2,000 objects as large as pods are: listed, told, and told again as nothing. */
static void lists_thousands(void **state) {
    (void)state;
    enum { OBJECTS = 2000, PAGES = 8 };
    struct world world = {.list_count = PAGES};
    char *padding = memory_alloc(6001);
    memset(padding, 'p', 6000);
    for (int page = 0; page < PAGES; page++) {
        json_t *items = json_array();
        for (int i = 0; i < OBJECTS / PAGES; i++) {
            char name[16];
            snprintf(name, sizeof name, "o%d", page * OBJECTS / PAGES + i);
            json_t *tree = object(name, "5");
            json_object_set_new(tree, "padding", json_string(padding));
            json_array_append_new(items, tree);
        }
        world.lists[page] = json_pack("{s:{s:s, s:s}, s:o}", "metadata", "resourceVersion", "10",
                                      "continue", page < PAGES - 1 ? "more" : "", "items", items);
    }
    free(padding);
    clock_t begun = clock();
    begin(&world);
    kube_run_until(world.fixture.loop, &world.told.is_synced);
    print_message("%d objects listed in %ld ms of CPU, the server's part included\n", OBJECTS,
                  (clock() - begun) * 1000 / CLOCKS_PER_SEC);
    assert_int_equal(world.told.added, OBJECTS);
    run_until_streams(&world, 1);
    world.listed = 0;
    send_event(&world, "ERROR", status_object(410, ""));
    run_until_streams(&world, 2);
    assert_int_equal(world.told.count, OBJECTS + 1);
    end(&world);
}

static int tear_down(void **state) {
    (void)state;
    kube_remove_directory();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_page_by_page_and_then_watches),
        cmocka_unit_test(goes_on_where_a_stream_ended),
        cmocka_unit_test(lists_again_when_its_place_is_forgotten),
        cmocka_unit_test(names_what_vanished),
        cmocka_unit_test(tells_its_trouble_once_and_its_end),
        cmocka_unit_test(survives_a_restart_of_the_server),
        cmocka_unit_test(notices_a_stream_that_is_dead),
        cmocka_unit_test(refuses_what_is_no_event),
        cmocka_unit_test(limits_what_it_holds),
        cmocka_unit_test(starts_a_list_again_whose_place_is_forgotten),
        cmocka_unit_test(takes_a_stream_byte_by_byte),
        cmocka_unit_test(cuts_lines_wherever_pieces_end),
        cmocka_unit_test(may_be_destroyed_by_what_it_tells),
        cmocka_unit_test(takes_a_flood),
        cmocka_unit_test(lists_thousands),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
