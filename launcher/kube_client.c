#include "launcher/kube_client.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"
#include "launcher/kube_client_internal.h"
#include "launcher/kube_retry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECTIONS_MAX = 32,
    QUEUE_MAX = 10000,
    ANSWER_MAX = 32 << 20,
    PAUSE_MS = 100,
    DEADLINE_MS = 30000,
    HOLD_MAX_MS = 30000,
    BODY_MAX = 4 << 20, /* an API server takes 3 MiB */
    CLOCK_TOLERANCE_S = 5,
};

struct kube_client {
    struct event_base *loop;
    struct kube_config *config;
    struct kube_transport *transport;
    struct kube_limits limits;
    struct kube_counts counts;
    struct list queue;  /* requests that wait for a connection */
    struct list others; /* those under way and in a pause */
    struct event *start;
    int64_t held_until_ms; /* the server asked all of us to wait (429 with Retry-After) */
    unsigned generation;   /* of the credentials */
    int64_t clock_ahead_s; /* the server's */
};

struct kube_request {
    struct kube_client *client;
    struct list_node node;
    struct event *timer; /* the deadline while it waits in the queue, else the end of a pause */
    struct kube_exchange *exchange;
    char *method, *path, *content_type, *body;
    bool may_repeat, once, is_of_purge, is_queued, is_refused;
    unsigned attempts, generation;
    int64_t deadline_ms, timeout_ms;
    struct error last; /* of an attempt before */
    int last_status;
    kube_done *done;
    void *context;
};

static void start_queued(struct kube_client *client);

static void set_timer(struct event *timer, int64_t in_ms) {
    in_ms = in_ms > 0 ? in_ms : 0;
    struct timeval in = {.tv_sec = in_ms / 1000, .tv_usec = in_ms % 1000 * 1000};
    event_add(timer, &in);
}

/* A request's end */

static void free_request(struct kube_request *request) {
    struct kube_client *client = request->client;
    if (request->exchange != NULL)
        client->counts.active--;
    else if (request->is_queued)
        client->counts.queued--;
    else
        client->counts.waiting--;
    kube_exchange_cancel(request->exchange);
    list_remove(&request->node);
    event_free(request->timer);
    if (request->body != NULL) /* it may be a Secret */
        explicit_bzero(request->body, strlen(request->body));
    free(request->body);
    free(request->method);
    free(request->path);
    free(request->content_type);
    free(request);
}

static void finish(struct kube_request *request, int status, json_t *answer,
                   const struct error *err) {
    kube_done *done = request->done;
    void *context = request->context;
    struct kube_client *client = request->client;
    free_request(request);
    start_queued(client);
    done(context, status, answer, err);
}

void kube_request_cancel(struct kube_request *request) {
    if (request == NULL)
        return;
    struct kube_client *client = request->client;
    free_request(request);
    start_queued(client);
}

int kube_request_status(const struct kube_request *request) {
    return request->last_status;
}

/* Where a request is: in the queue, under way or in a pause. */

static void enqueue(struct kube_request *request) {
    struct kube_client *client = request->client;
    request->is_queued = true;
    client->counts.queued++;
    list_remove(&request->node);
    list_append(&client->queue, &request->node);
    set_timer(request->timer, request->deadline_ms - clock_monotonic_ms());
}

static void pause_request(struct kube_request *request, int64_t pause_ms) {
    request->client->counts.waiting++;
    set_timer(request->timer, pause_ms);
}

static void on_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct kube_request *request = context;
    struct kube_client *client = request->client;
    if (request->is_queued) {
        if (request->last.code == ERROR_NONE)
            error_set(&request->last, ERROR_TIMEOUT,
                      "%u calls to the Kubernetes API server %s are under way, and none ended in "
                      "time for %s %s to begin",
                      client->counts.active, kube_config_server(client->config), request->method,
                      request->path);
        struct error err = request->last;
        finish(request, 0, NULL, &err);
    } else if (request->is_refused) {
        struct error err = request->last;
        finish(request, 0, NULL, &err);
    } else {
        client->counts.waiting--;
        enqueue(request);
        start_queued(client);
    }
}

/* What comes back */

static struct kube_target target_of(const struct kube_request *request) {
    struct kube_target target = kube_client_target(request->client, request->method, request->path);
    target.timeout_ms = request->timeout_ms;
    target.is_of_purge = request->is_of_purge;
    return target;
}

/* A NUL in a text is none of our business. */
static json_t *parse(const struct buffer *body) {
    return body->length == 0
               ? NULL
               : json_loadb((const char *)body->data, body->length, JSON_ALLOW_NUL, NULL);
}

/* True: it succeeded. */
static bool explain(const struct kube_request *request, const struct kube_outcome *outcome,
                    const json_t *answer, struct error *err) {
    struct kube_target target = target_of(request);
    if (outcome->code != CURLE_OK)
        kube_error_of_transfer(&target, outcome, err);
    else if (outcome->status < 200 || outcome->status > 299)
        kube_error_of_status(&target, outcome, answer, err);
    else if (!json_is_object(answer))
        kube_error_of_garbage(&target, outcome->body, err);
    else
        return true;
    return false;
}

/* Whom a server that is overrun asks to wait, the others should not try in his place. */
static void hold_back(struct kube_client *client, const struct kube_outcome *outcome) {
    if (outcome->status != 429 || outcome->retry_after_ms < 0)
        return;
    int64_t hold_ms = outcome->retry_after_ms < HOLD_MAX_MS ? outcome->retry_after_ms : HOLD_MAX_MS;
    int64_t until_ms = clock_monotonic_ms() + hold_ms;
    if (until_ms > client->held_until_ms)
        client->held_until_ms = until_ms;
}

static void note_date(struct kube_client *client, const struct kube_outcome *outcome) {
    int64_t ahead_s = outcome->date_s - clock_wall_us() / 1000000;
    if (outcome->date_s >= 0)
        client->clock_ahead_s =
            ahead_s > CLOCK_TOLERANCE_S || ahead_s < -CLOCK_TOLERANCE_S ? ahead_s : 0;
}

/* Milliseconds until the next attempt; -1: there is none. */
static int64_t next_attempt(struct kube_request *request, const struct kube_outcome *outcome,
                            const json_t *answer) {
    struct kube_client *client = request->client;
    struct kube_attempt attempt = {.method = request->method,
                                   .may_repeat = request->may_repeat,
                                   .number = request->attempts,
                                   .outcome = outcome,
                                   .reason = kube_status_reason(answer),
                                   .is_garbage = outcome->status / 100 == 2};
    enum kube_next next = kube_retry_judge(&attempt);
    if (next == KUBE_AGAIN_IF_RENEWED)
        return kube_client_renew(client) != request->generation ? 0 : -1;
    if (next == KUBE_GIVE_UP || request->once)
        return -1;
    int64_t pause_ms =
        kube_retry_pause_ms(client->limits.pause_ms, request->attempts, outcome->retry_after_ms);
    return clock_monotonic_ms() + pause_ms < request->deadline_ms ? pause_ms : -1;
}

static void on_done(void *context, const struct kube_outcome *outcome) {
    struct kube_request *request = context;
    struct kube_client *client = request->client;
    request->exchange = NULL;
    client->counts.active--;
    json_t *answer = outcome->code == CURLE_OK ? parse(outcome->body) : NULL;
    struct error err = {0};
    bool succeeded = explain(request, outcome, answer, &err);
    hold_back(client, outcome);
    note_date(client, outcome);
    int64_t pause_ms = succeeded ? -1 : next_attempt(request, outcome, answer);
    if (pause_ms >= 0) {
        request->last = err;
        request->last_status = outcome->code == CURLE_OK ? outcome->status : 0;
        pause_request(request, pause_ms);
        start_queued(client);
    } else {
        int status = outcome->code == CURLE_OK ? outcome->status : 0;
        client->counts.waiting++; /* what free_request takes it for */
        finish(request, status, answer, succeeded ? NULL : &err);
    }
    json_decref(answer);
}

/* Beginning */

static void start_request(struct kube_request *request) {
    static const struct kube_exchange_events events = {.done = on_done};
    struct kube_client *client = request->client;
    list_remove(&request->node);
    list_append(&client->others, &request->node);
    event_del(request->timer);
    request->is_queued = false;
    client->counts.queued--;
    client->counts.active++;
    client->counts.requests++;
    client->counts.repeated += request->attempts > 0;
    request->attempts++;
    client->generation += kube_config_refresh(client->config, false);
    request->generation = client->generation;
    int64_t left_ms = request->deadline_ms - clock_monotonic_ms();
    struct kube_exchange_request exchange = {
        .method = request->method,
        .path = request->path,
        .content_type = request->content_type,
        .body = request->body,
        .body_length = request->body != NULL ? strlen(request->body) : 0,
        .may_repeat = request->may_repeat,
        .timeout_ms = left_ms > 1 ? left_ms : 1,
        .answer_max = client->limits.answer_max,
    };
    request->exchange = kube_transport_start(client->transport, &exchange, &events, request);
}

static void start_queued(struct kube_client *client) {
    while (!list_is_empty(&client->queue) &&
           client->counts.active < client->limits.connections_max) {
        int64_t held_ms = client->held_until_ms - clock_monotonic_ms();
        if (held_ms > 0) {
            set_timer(client->start, held_ms);
            return;
        }
        start_request(list_entry(client->queue.head.next, struct kube_request, node));
    }
}

static void on_start(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    start_queued(context);
}

/* Why it cannot begin at all; false: it can. */
static bool refuse(struct kube_request *request, const struct kube_call *call, struct error *err) {
    const struct kube_client *client = request->client;
    if (call->body != NULL && request->body == NULL)
        error_set(err, ERROR_INVALID, "%s %s: the body cannot be written as JSON", call->method,
                  call->path);
    else if (request->body != NULL && strlen(request->body) > BODY_MAX)
        error_set(err, ERROR_LIMIT, "%s %s: the body is larger than %d bytes", call->method,
                  call->path, BODY_MAX);
    else if (client->counts.queued >= client->limits.queue_max)
        error_set(err, ERROR_LIMIT,
                  "%u calls wait for the Kubernetes API server %s already; try again later",
                  client->counts.queued, kube_config_server(client->config));
    else
        return false;
    return true;
}

struct kube_request *kube_client_call(struct kube_client *client, const struct kube_call *call,
                                      kube_done *done, void *context) {
    struct kube_request *request = memory_alloc(sizeof *request);
    request->client = client;
    request->timer = event_new(client->loop, -1, 0, on_timer, request);
    request->method = memory_strdup(call->method);
    request->path = memory_strdup(call->path);
    if (call->content_type != NULL)
        request->content_type = memory_strdup(call->content_type);
    else if (strcmp(call->method, "PATCH") == 0)
        request->content_type = memory_strdup("application/merge-patch+json");
    if (call->body != NULL)
        request->body = json_dumps(call->body, JSON_COMPACT);
    request->may_repeat = call->may_repeat;
    request->once = call->once;
    request->is_of_purge = call->is_of_purge;
    request->timeout_ms = call->deadline_ms > 0 ? call->deadline_ms : DEADLINE_MS;
    request->deadline_ms = clock_monotonic_ms() + request->timeout_ms;
    request->done = done;
    request->context = context;
    client->counts.calls++;
    list_append(&client->others, &request->node);
    if (refuse(request, call, &request->last)) {
        request->is_refused = true;
        pause_request(request, 0);
    } else {
        enqueue(request);
        start_queued(client);
    }
    return request;
}

/* The client */

static struct kube_limits complete_limits(const struct kube_limits *given) {
    struct kube_limits limits = given != NULL ? *given : (struct kube_limits){0};
    if (limits.connections_max == 0)
        limits.connections_max = CONNECTIONS_MAX;
    if (limits.queue_max == 0)
        limits.queue_max = QUEUE_MAX;
    if (limits.answer_max == 0)
        limits.answer_max = ANSWER_MAX;
    if (limits.pause_ms == 0)
        limits.pause_ms = PAUSE_MS;
    return limits;
}

int kube_client_create(struct event_base *loop, struct kube_config *config,
                       const struct kube_limits *limits, struct kube_client **ret,
                       struct error *err) {
    struct kube_client *client = memory_alloc(sizeof *client);
    if (kube_transport_create(loop, config, &client->transport, err) < 0) {
        free(client);
        return -1;
    }
    client->loop = loop;
    client->config = config;
    client->limits = complete_limits(limits);
    client->start = event_new(loop, -1, 0, on_start, client);
    list_init(&client->queue);
    list_init(&client->others);
    *ret = client;
    return 0;
}

void kube_client_destroy(struct kube_client *client) {
    if (client == NULL)
        return;
    list_each (&client->queue, struct kube_request, node, queued)
        free_request(queued);
    list_each (&client->others, struct kube_request, node, other)
        free_request(other);
    kube_transport_destroy(client->transport);
    event_free(client->start);
    free(client);
}

int64_t kube_client_clock_ahead_s(const struct kube_client *client) {
    return client->clock_ahead_s;
}

int64_t kube_client_wall_ms(const struct kube_client *client) {
    return clock_wall_us() / 1000 + client->clock_ahead_s * 1000;
}

void kube_client_count(const struct kube_client *client, struct kube_counts *ret) {
    *ret = client->counts;
}

struct event_base *kube_client_loop(const struct kube_client *client) {
    return client->loop;
}

struct kube_target kube_client_target(const struct kube_client *client, const char *method,
                                      const char *path) {
    return (struct kube_target){.server = kube_config_server(client->config),
                                .origin = kube_config_origin(client->config),
                                .method = method,
                                .path = path,
                                .answer_max = client->limits.answer_max};
}

unsigned kube_client_renew(struct kube_client *client) {
    client->generation += kube_config_refresh(client->config, true);
    return client->generation;
}

struct kube_exchange *kube_client_stream(struct kube_client *client, const char *path,
                                         const struct kube_exchange_events *events, void *context) {
    struct kube_exchange_request request = {.method = "GET", .path = path};
    client->generation += kube_config_refresh(client->config, false);
    client->counts.requests++;
    return kube_transport_start(client->transport, &request, events, context);
}

int kube_path_add_query(struct buffer *path, const char *name, const char *value) {
    static const char unreserved[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"; /* RFC 3986, 2.3 */
    size_t before = path->length;
    bool is_first = path->length == 0 || memchr(path->data, '?', path->length) == NULL;
    int failed = buffer_printf(path, "%c%s=", is_first ? '?' : '&', name);
    for (; *value && failed == 0; value++)
        failed = strchr(unreserved, *value) != NULL
                     ? buffer_append(path, value, 1)
                     : buffer_printf(path, "%%%02X", (unsigned)(unsigned char)*value);
    if (failed < 0)
        path->length = before;
    return failed;
}
