/* LISTING -> STREAMING -> (the stream ends) STREAMING again or LISTING, with a PAUSE in between
 * where the server has nothing for us. */
#include "launcher/kube_watch.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_client_internal.h"
#include "launcher/kube_lines.h"
#include "launcher/kube_retry.h"
#include "launcher/kube_seen.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    PAGE_SIZE = 250,
    OBJECTS_MAX = 200000,
    LINE_MAX_BYTES = 8 << 20,
    SILENCE_MS = 150000,
    OPENING_MS = 30000, /* until the server answers to a watch */
    LIFETIME_S = 3600,
    PAUSE_MS = 100,
    LIST_DEADLINE_MS = 60000,
    STEADY_MS = 5000, /* a stream that lasts so long without an event is a good one too */
};

enum state { LISTING, STREAMING, PAUSED };

struct kube_watch {
    struct kube_client *client;
    struct kube_watch_settings settings;
    struct kube_watch_events events;
    void *context;
    char *list_path; /* with the selectors */
    char *path;      /* of the request under way, for messages */
    char *version;   /* resourceVersion to go on from; NULL: list first */
    char *next_page; /* continue; NULL: the first one */
    unsigned page_size;
    enum state state;
    struct kube_request *request;   /* LISTING */
    struct kube_exchange *exchange; /* STREAMING */
    struct event *timer;            /* end of a pause, or a look at how long a stream is silent */
    struct kube_seen *seen;
    struct kube_lines lines;
    int64_t opened_ms; /* 0: not answered yet */
    int64_t heard_ms;
    unsigned failures; /* in a row */
    bool is_synced, is_in_trouble;
    struct error trouble; /* that was told */
    struct kube_watch_counts counts;
    bool is_entered, is_destroyed; /* destroyed by one of its own callbacks: freed when it leaves */
};

static void begin(struct kube_watch *watch);

static void set_timer(struct kube_watch *watch, int64_t in_ms) {
    struct timeval in = {.tv_sec = in_ms / 1000, .tv_usec = in_ms % 1000 * 1000};
    event_add(watch->timer, &in);
}

static void free_watch(struct kube_watch *watch) {
    event_free(watch->timer);
    kube_lines_free(&watch->lines);
    kube_seen_destroy(watch->seen);
    free(watch->list_path);
    free(watch->path);
    free(watch->version);
    free(watch->next_page);
    free(watch);
}

/* Around all that the loop calls. */
static struct kube_watch *enter(struct kube_watch *watch) {
    watch->is_entered = true;
    return watch;
}

static void leave(struct kube_watch *watch) {
    watch->is_entered = false;
    if (watch->is_destroyed)
        free_watch(watch);
}

/* Telling; the watch may be destroyed after each. */

static bool tell(struct kube_watch *watch, enum kube_change change, json_t *object) {
    if (!watch->is_destroyed && watch->events.changed != NULL)
        watch->events.changed(watch->context, change, object);
    return !watch->is_destroyed;
}

static void tell_synced(struct kube_watch *watch) {
    bool is_first = !watch->is_synced;
    watch->is_synced = true;
    if (is_first && !watch->is_destroyed && watch->events.synced != NULL)
        watch->events.synced(watch->context);
}

static void tell_trouble(struct kube_watch *watch, const struct error *err) {
    bool is_news = !watch->is_in_trouble || watch->trouble.code != err->code ||
                   strcmp(watch->trouble.text, err->text) != 0;
    watch->is_in_trouble = true;
    watch->trouble = *err;
    if (is_news && watch->events.trouble != NULL)
        watch->events.trouble(watch->context, &watch->trouble);
}

static void tell_well(struct kube_watch *watch) {
    bool is_news = watch->is_in_trouble;
    watch->is_in_trouble = false;
    if (is_news && watch->events.trouble != NULL)
        watch->events.trouble(watch->context, NULL);
}

/* Ends and pauses */

static void stop(struct kube_watch *watch) {
    kube_request_cancel(steal(&watch->request));
    kube_exchange_cancel(steal(&watch->exchange));
    event_del(watch->timer);
    buffer_clear(&watch->lines.partial);
}

static void pause_watch(struct kube_watch *watch, int64_t retry_after_ms) {
    stop(watch);
    watch->state = PAUSED;
    watch->failures++;
    set_timer(watch,
              kube_retry_pause_ms(watch->settings.pause_ms, watch->failures, retry_after_ms));
}

/* Whatever it was, what is there is found out by a list. */
static void list_again(struct kube_watch *watch) {
    text_replace(&watch->version, NULL);
    text_replace(&watch->next_page, NULL);
}

static void fail(struct kube_watch *watch, const struct error *err, int64_t retry_after_ms) {
    pause_watch(watch, retry_after_ms);
    tell_trouble(watch, err);
}

static void fail_and_list(struct kube_watch *watch, const struct error *err) {
    list_again(watch);
    fail(watch, err, -1);
}

/* One object. False: the watch is destroyed, or it has failed. */

static bool refuse_object(struct kube_watch *watch) {
    struct error err;
    error_set(&err, ERROR_UNAVAILABLE,
              "the Kubernetes API server %s sent an object without name, uid or resourceVersion at "
              "%s",
              kube_client_target(watch->client, "GET", watch->list_path).server, watch->list_path);
    fail_and_list(watch, &err);
    return false;
}

static bool refuse_count(struct kube_watch *watch) {
    struct error err;
    error_set(&err, ERROR_LIMIT, "there are more than %zu objects at %s: more than we watch",
              watch->settings.objects_max, watch->list_path);
    fail_and_list(watch, &err);
    return false;
}

static bool take_object(struct kube_watch *watch, json_t *object) {
    cleanup_json json_t *replaced = NULL;
    enum kube_novelty novelty = kube_seen_note(watch->seen, object, &replaced);
    watch->counts.objects = kube_seen_count(watch->seen);
    if (watch->counts.objects > watch->settings.objects_max) {
        kube_seen_forget(watch->seen, object); /* it was not told */
        return refuse_count(watch);
    }
    switch (novelty) {
    case KUBE_SEEN_NEW:
        return tell(watch, KUBE_ADDED, object);
    case KUBE_SEEN_CHANGED:
        return tell(watch, KUBE_MODIFIED, object);
    case KUBE_SEEN_REPLACED:
        return tell(watch, KUBE_DELETED, replaced) && tell(watch, KUBE_ADDED, object);
    case KUBE_SEEN_SAME:
        return true;
    default:
        return refuse_object(watch);
    }
}

/* The list */

static void add_selectors(const struct kube_watch_settings *settings, struct buffer *path) {
    if (settings->label_selector != NULL)
        kube_path_add_query(path, "labelSelector", settings->label_selector);
    if (settings->field_selector != NULL)
        kube_path_add_query(path, "fieldSelector", settings->field_selector);
}

static void finish_list(struct kube_watch *watch, const json_t *answer) {
    const json_t *metadata = json_object_get(answer, "metadata");
    text_replace(&watch->version, json_string_value(json_object_get(metadata, "resourceVersion")));
    text_replace(&watch->next_page, NULL);
    cleanup_json json_t *vanished = kube_seen_sweep(watch->seen);
    watch->counts.objects = kube_seen_count(watch->seen);
    size_t at;
    json_t *object;
    json_array_foreach(vanished, at, object) {
        tell(watch, KUBE_DELETED, object);
    }
    tell_synced(watch);
    if (!watch->is_destroyed)
        begin(watch);
}

static void take_page(struct kube_watch *watch, const json_t *answer) {
    const json_t *items = json_object_get(answer, "items"),
                 *metadata = json_object_get(answer, "metadata");
    const char *next = json_string_value(json_object_get(metadata, "continue"));
    bool is_list = json_is_array(items) || json_is_null(items); /* Go's empty ones */
    if (!is_list || !json_is_object(metadata) ||
        !json_string_length(json_object_get(metadata, "resourceVersion"))) {
        struct error err;
        error_set(&err, ERROR_UNAVAILABLE, "GET %s is answered with what is no list",
                  watch->list_path);
        fail_and_list(watch, &err);
        return;
    }
    size_t at;
    json_t *item;
    json_array_foreach(items, at, item) {
        if (!take_object(watch, item))
            return;
    }
    if (next != NULL && *next != '\0') {
        text_replace(&watch->next_page, next);
        begin(watch);
    } else {
        finish_list(watch, answer);
    }
}

static void refuse_page(struct kube_watch *watch, int status, const struct error *err) {
    if (err->code == ERROR_LIMIT && status == 0 && watch->page_size > 1)
        watch->page_size /= 2; /* the page's objects are large */
    bool is_expired = status == 410 && watch->next_page != NULL;
    list_again(watch);
    if (is_expired) /* it took too long from page to page */
        pause_watch(watch, -1);
    else
        fail(watch, err, -1);
}

static void on_page(void *context, int status, json_t *answer, const struct error *err) {
    struct kube_watch *watch = enter(context);
    watch->request = NULL;
    if (err == NULL)
        take_page(watch, answer);
    else
        refuse_page(watch, status, err);
    leave(watch);
}

static void begin_page(struct kube_watch *watch) {
    cleanup_buffer struct buffer path = {.limit = 65536};
    char limit[16];
    snprintf(limit, sizeof limit, "%u", watch->page_size);
    buffer_append_text(&path, watch->list_path);
    kube_path_add_query(&path, "limit", limit);
    if (watch->next_page != NULL) {
        kube_path_add_query(&path, "continue", watch->next_page);
    } else {
        kube_seen_begin(watch->seen);
        watch->counts.lists++;
    }
    watch->state = LISTING;
    text_replace(&watch->path, buffer_text(&path));
    struct kube_call call = {
        .method = "GET", .path = watch->path, .once = true, .deadline_ms = LIST_DEADLINE_MS};
    watch->request = kube_client_call(watch->client, &call, on_page, watch);
}

/* The stream */

/* An event of type ERROR holds a Status. */
static void take_error(struct kube_watch *watch, const json_t *object) {
    int status = (int)json_integer_value(json_object_get(object, "code"));
    if (status != 429)
        list_again(watch);
    if (status == 410) {
        pause_watch(watch, -1); /* ordinary; the pause is for a server that always says so */
        return;
    }
    struct kube_target target = kube_client_target(watch->client, "GET", watch->path);
    struct error err;
    kube_error_of_object(&target, status, object, &err);
    fail(watch, &err, -1);
}

static bool take_event(struct kube_watch *watch, const char *type, json_t *object) {
    const char *version =
        json_string_value(json_object_get(json_object_get(object, "metadata"), "resourceVersion"));
    if (strcmp(type, "ERROR") == 0) {
        take_error(watch, object);
        return false;
    }
    if (version == NULL)
        return refuse_object(watch);
    text_replace(&watch->version, version);
    watch->failures = 0;
    watch->counts.events++;
    if (strcmp(type, "BOOKMARK") == 0)
        return true;
    if (strcmp(type, "DELETED") != 0)
        return take_object(watch, object);
    bool was_told = kube_seen_forget(watch->seen, object);
    watch->counts.objects = kube_seen_count(watch->seen);
    return !was_told || tell(watch, KUBE_DELETED, object);
}

/* False: the watch is destroyed, or the stream has ended. */
static bool on_line(void *context, const char *text, size_t length) {
    struct kube_watch *watch = context;
    cleanup_json json_t *event = json_loadb(text, length, JSON_ALLOW_NUL, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    json_t *object = json_object_get(event, "object");
    if (type != NULL && json_is_object(object))
        return take_event(watch, type, object);
    struct buffer line = {.data = (uint8_t *)(uintptr_t)text, .length = length};
    struct kube_target target = kube_client_target(watch->client, "GET", watch->path);
    struct error err;
    kube_error_of_garbage(&target, &line, &err);
    fail_and_list(watch, &err);
    return false;
}

static void on_opened(void *context) {
    struct kube_watch *watch = enter(context);
    watch->opened_ms = watch->heard_ms = clock_monotonic_ms();
    set_timer(watch, watch->settings.silence_ms);
    tell_well(watch);
    leave(watch);
}

static void refuse_line(struct kube_watch *watch) {
    struct error err;
    error_set(&err, ERROR_LIMIT, "GET %s: an event is larger than %zu bytes", watch->list_path,
              watch->settings.line_max);
    fail_and_list(watch, &err);
}

static void on_data(void *context, const char *data, size_t length) {
    struct kube_watch *watch = enter(context);
    watch->heard_ms = clock_monotonic_ms();
    if (kube_lines_feed(&watch->lines, data, length, on_line, watch) == KUBE_LINES_TOO_LONG)
        refuse_line(watch);
    leave(watch);
}

/* A stream that was open and has ended is taken up again; that one was of no use makes the next
 * pause longer. */
static void resume(struct kube_watch *watch) {
    bool was_steady = clock_monotonic_ms() - watch->opened_ms >= STEADY_MS;
    if (was_steady)
        watch->failures = 0;
    if (watch->failures > 0 || !was_steady) {
        pause_watch(watch, -1);
    } else {
        stop(watch);
        begin(watch);
    }
}

static void refuse_stream(struct kube_watch *watch, const struct kube_outcome *outcome) {
    struct kube_target target = kube_client_target(watch->client, "GET", watch->path);
    struct error err;
    if (outcome->code != CURLE_OK) {
        kube_error_of_transfer(&target, outcome, &err);
        fail(watch, &err, -1);
        return;
    }
    int status = outcome->status;
    const struct buffer *body = outcome->body;
    cleanup_json json_t *answer =
        body->length > 0 ? json_loadb((const char *)body->data, body->length, 0, NULL) : NULL;
    kube_error_of_status(&target, outcome, answer, &err);
    if (status == 401)
        kube_client_renew(watch->client);
    if (status != 401 && status != 403 && status != 429 && status != 503)
        list_again(watch); /* 410, 400: the place; 504: a version that is yet to come */
    if (status == 410)
        pause_watch(watch, -1);
    else
        fail(watch, &err, outcome->retry_after_ms);
}

static void on_end(void *context, const struct kube_outcome *outcome) {
    struct kube_watch *watch = enter(context);
    watch->exchange = NULL;
    if (watch->opened_ms != 0)
        resume(watch);
    else
        refuse_stream(watch, outcome);
    leave(watch);
}

static void begin_stream(struct kube_watch *watch) {
    static const struct kube_exchange_events events = {
        .opened = on_opened, .data = on_data, .done = on_end};
    cleanup_buffer struct buffer path = {.limit = 65536};
    uint32_t dice = 0;
    if (getrandom(&dice, sizeof dice, GRND_NONBLOCK) != sizeof dice)
        dice = 0;
    char lifetime[24];
    snprintf(lifetime, sizeof lifetime, "%" PRId64,
             watch->settings.lifetime_s -
                 (int64_t)(dice % (uint64_t)(watch->settings.lifetime_s / 2 + 1)));
    buffer_append_text(&path, watch->list_path);
    kube_path_add_query(&path, "watch", "1");
    kube_path_add_query(&path, "allowWatchBookmarks", "true");
    kube_path_add_query(&path, "resourceVersion", watch->version);
    kube_path_add_query(&path, "timeoutSeconds", lifetime);
    watch->state = STREAMING;
    watch->counts.streams++;
    watch->opened_ms = 0;
    watch->heard_ms = clock_monotonic_ms();
    text_replace(&watch->path, buffer_text(&path));
    set_timer(watch,
              watch->settings.silence_ms < OPENING_MS ? watch->settings.silence_ms : OPENING_MS);
    watch->exchange = kube_client_stream(watch->client, watch->path, &events, watch);
}

/* What comes next */

static void begin(struct kube_watch *watch) {
    if (watch->version != NULL)
        begin_stream(watch);
    else
        begin_page(watch);
}

static void give_up_stream(struct kube_watch *watch) {
    bool was_open = watch->opened_ms != 0;
    int64_t silent_ms = clock_monotonic_ms() - watch->heard_ms;
    if (was_open && silent_ms < watch->settings.silence_ms) {
        set_timer(watch, watch->settings.silence_ms - silent_ms);
        return;
    }
    if (was_open) {
        resume(watch);
        return;
    }
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "the Kubernetes API server %s does not answer GET %s",
              kube_client_target(watch->client, "GET", watch->path).server, watch->list_path);
    fail(watch, &err, -1);
}

static void on_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct kube_watch *watch = enter(context);
    if (watch->state == PAUSED)
        begin(watch);
    else if (watch->state == STREAMING)
        give_up_stream(watch);
    leave(watch);
}

static struct kube_watch_settings complete_settings(const struct kube_watch_settings *given) {
    struct kube_watch_settings settings = *given;
    if (settings.page_size == 0)
        settings.page_size = PAGE_SIZE;
    if (settings.objects_max == 0)
        settings.objects_max = OBJECTS_MAX;
    if (settings.line_max == 0)
        settings.line_max = LINE_MAX_BYTES;
    if (settings.silence_ms == 0)
        settings.silence_ms = SILENCE_MS;
    if (settings.lifetime_s == 0)
        settings.lifetime_s = LIFETIME_S;
    if (settings.pause_ms == 0)
        settings.pause_ms = PAUSE_MS;
    settings.path = settings.label_selector = settings.field_selector = NULL; /* the caller's */
    return settings;
}

int kube_watch_create(struct kube_client *client, const struct kube_watch_settings *settings,
                      const struct kube_watch_events *events, void *context,
                      struct kube_watch **ret, struct error *err) {
    cleanup_buffer struct buffer path = {.limit = 16384};
    buffer_append_text(&path, settings->path);
    add_selectors(settings, &path);
    if (path.length + 1024 > path.limit)
        return error_set(err, ERROR_LIMIT, "the selectors of a watch are too long");
    struct kube_watch *watch = memory_alloc(sizeof *watch);
    watch->client = client;
    watch->settings = complete_settings(settings);
    watch->events = *events;
    watch->context = context;
    watch->list_path = memory_strdup(buffer_text(&path));
    watch->page_size = watch->settings.page_size;
    watch->lines.partial.limit = watch->settings.line_max;
    watch->seen = kube_seen_create();
    watch->timer = event_new(kube_client_loop(client), -1, 0, on_timer, watch);
    begin(watch);
    *ret = watch;
    return 0;
}

void kube_watch_destroy(struct kube_watch *watch) {
    if (watch == NULL)
        return;
    stop(watch);
    watch->is_destroyed = true;
    if (!watch->is_entered)
        free_watch(watch);
}

void kube_watch_count(const struct kube_watch *watch, struct kube_watch_counts *ret) {
    *ret = watch->counts;
}
