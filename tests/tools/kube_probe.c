/* The gateway's Kubernetes client from the command line, for tests against a real API server:
 *
 *   kube_probe KUBECONFIG call METHOD PATH [BODY [CONTENT-TYPE]]   one call; BODY "-": none
 *   kube_probe KUBECONFIG watch PATH [LABELS [FIELDS]]             until standard input ends
 *   kube_probe KUBECONFIG burst PATH COUNT CONNECTIONS   when there are so many connections, COUNT
 *                                                        Secrets or ConfigMaps (PATH says which)
 *                                                        are made at once, then deleted
 *
 * It prints JSON, one object a line. A watch prints its counts for each line of its input. */
#include "base/clock.h"
#include "base/memory.h"
#include "launcher/kube_client.h"
#include "launcher/kube_watch.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DATA_SIZE = 1024 }; /* as base64, as a kernel's record has it */

struct probe {
    struct event_base *loop;
    struct kube_client *client;
    struct kube_watch *watch;
    const char *path;
    int left;
    int64_t begun_us;
    json_t *took_us;
};

struct timed {
    struct probe *probe;
    int64_t begun_us;
};

static void print_line(json_t *tree) {
    json_dumpf(tree, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(tree);
}

static json_t *describe(const struct error *err) {
    if (err == NULL)
        return json_null();
    return json_pack("{s:s, s:s}", "code", error_code_name(err->code), "text", err->text);
}

static void fail(const struct error *err) {
    print_line(json_pack("{s:o}", "error", describe(err)));
    exit(1);
}

/* call */

static void on_called(void *context, int status, json_t *answer, const struct error *err) {
    struct probe *probe = context;
    print_line(
        json_pack("{s:i, s:O?, s:o}", "status", status, "answer", answer, "error", describe(err)));
    event_base_loopbreak(probe->loop);
}

static void run_call(struct probe *probe, int argc, char **argv) {
    json_t *body = NULL;
    if (argc > 2 && strcmp(argv[2], "-") != 0)
        body = json_loads(argv[2], 0, NULL);
    struct kube_call call = {.method = argv[0],
                             .path = argv[1],
                             .body = body,
                             .content_type = argc > 3 ? argv[3] : NULL,
                             .may_repeat = true};
    kube_client_call(probe->client, &call, on_called, probe);
    event_base_dispatch(probe->loop);
    json_decref(body);
}

/* watch */

static void on_changed(void *context, enum kube_change change, json_t *object) {
    static const char *const names[] = {"added", "modified", "deleted"};
    (void)context;
    print_line(json_pack("{s:s, s:O}", "event", names[change], "object", object));
}

static void on_synced(void *context) {
    (void)context;
    print_line(json_pack("{s:s}", "event", "synced"));
}

static void on_trouble(void *context, const struct error *err) {
    (void)context;
    print_line(
        json_pack("{s:s, s:o}", "event", err != NULL ? "trouble" : "well", "error", describe(err)));
}

static void print_counts(const struct probe *probe) {
    struct kube_watch_counts watch;
    struct kube_counts client;
    kube_watch_count(probe->watch, &watch);
    kube_client_count(probe->client, &client);
    print_line(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "event", "counts", "lists",
                         (json_int_t)watch.lists, "streams", (json_int_t)watch.streams, "events",
                         (json_int_t)watch.events, "objects", (json_int_t)watch.objects, "requests",
                         (json_int_t)client.requests));
}

static void on_input(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct probe *probe = context;
    char bytes[256];
    if (read((int)fd, bytes, sizeof bytes) <= 0)
        event_base_loopbreak(probe->loop);
    else
        print_counts(probe);
}

static void run_watch(struct probe *probe, int argc, char **argv) {
    static const struct kube_watch_events events = {on_changed, on_synced, on_trouble};
    struct kube_watch_settings settings = {.path = argv[0],
                                           .label_selector = argc > 1 ? argv[1] : NULL,
                                           .field_selector = argc > 2 ? argv[2] : NULL};
    struct error err;
    if (kube_watch_create(probe->client, &settings, &events, probe, &probe->watch, &err) < 0)
        fail(&err);
    struct event *input =
        event_new(probe->loop, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, probe);
    event_add(input, NULL);
    event_base_dispatch(probe->loop);
    event_free(input);
    kube_watch_destroy(probe->watch);
}

/* burst */

static void on_one(void *context, int status, json_t *answer, const struct error *err) {
    struct timed *timed = context;
    struct probe *probe = timed->probe;
    (void)status, (void)answer;
    if (err != NULL)
        fail(err);
    json_array_append_new(probe->took_us, json_integer(clock_monotonic_us() - timed->begun_us));
    free(timed);
    if (--probe->left == 0)
        event_base_loopbreak(probe->loop);
}

static void start_one(struct probe *probe, const char *method, int number) {
    char name[32], data[DATA_SIZE + 1];
    snprintf(name, sizeof name, "burst-%d", number);
    memset(data, 'x', DATA_SIZE);
    data[DATA_SIZE] = '\0';
    bool is_post = strcmp(method, "POST") == 0, is_of_one = strcmp(method, "DELETE") == 0;
    json_t *body =
        is_post ? json_pack("{s:{s:s}, s:{s:s}}", "metadata", "name", name, "data", "data", data)
                : NULL;
    char *path = is_of_one ? memory_printf("%s/%s", probe->path, name)
                           : memory_printf("%s%s", probe->path, is_post ? "" : "?limit=1");
    struct timed *timed = memory_alloc(sizeof *timed);
    *timed = (struct timed){probe, clock_monotonic_us()};
    struct kube_call call = {.method = method, .path = path, .body = body, .deadline_ms = 120000};
    kube_client_call(probe->client, &call, on_one, timed);
    json_decref(body);
    free(path);
}

static void run_burst(struct probe *probe, const char *method, int count) {
    probe->left = count;
    probe->took_us = json_array();
    probe->begun_us = clock_monotonic_us();
    for (int i = 0; i < count; i++)
        start_one(probe, method, i);
    event_base_dispatch(probe->loop);
    print_line(json_pack("{s:s, s:I, s:o}", "method", method, "all_us",
                         (json_int_t)(clock_monotonic_us() - probe->begun_us), "took_us",
                         probe->took_us));
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "kube_probe KUBECONFIG call|watch|burst ...\n");
        return 2;
    }
    struct probe probe = {.loop = event_base_new()};
    struct kube_config *config;
    struct kube_limits limits = {0};
    struct error err;
    signal(SIGPIPE, SIG_IGN);
    const char *command = argv[2];
    if (strcmp(command, "burst") == 0 && argc > 5)
        limits.connections_max = (unsigned)atoi(argv[5]);
    if (kube_config_load(argv[1], NULL, &config, &err) < 0 ||
        kube_client_create(probe.loop, config, &limits, &probe.client, &err) < 0)
        fail(&err);
    probe.path = argv[3];
    if (strcmp(command, "call") == 0 && argc > 4) {
        run_call(&probe, argc - 3, argv + 3);
    } else if (strcmp(command, "watch") == 0) {
        run_watch(&probe, argc - 3, argv + 3);
    } else if (strcmp(command, "burst") == 0 && argc > 5) {
        run_burst(&probe, "GET", atoi(argv[5]));
        run_burst(&probe, "POST", atoi(argv[4]));
        run_burst(&probe, "DELETE", atoi(argv[4]));
    }
    kube_client_destroy(probe.client);
    kube_config_destroy(config);
    event_base_free(probe.loop);
    return 0;
}
