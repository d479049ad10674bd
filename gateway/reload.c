#include "gateway/reload.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "gateway/auth.h"
#include "gateway/channels.h"
#include "gateway/events.h"
#include "gateway/file_watch.h"
#include "gateway/gateway.h"
#include "gateway/http.h"
#include "gateway/loop.h"
#include "kernelspecs/kernelspecs.h"
#include "launcher/background.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/reload"

enum { FILES = 7 };

struct watched {
    char *path;
    struct file_watch *watch; /* NULL: there is no file */
};

struct reload {
    struct gateway *gateway;
    struct event *hangup, *specs_changed;
    struct loop_deadline specs_settled, specs_silent, specs_due;
    struct background_job *loading; /* kernelspecs */
    bool is_load_due;               /* once more: something has changed meanwhile */
    struct watched files[FILES];
};

static void on_settings_file(void *context);

static void on_policy_file(void *context);
static void on_passwd_file(void *context);

static void on_token_file(void *context) {
    struct gateway *gateway = ((struct reload *)context)->gateway;
    struct error err = {0};
    int failed = auth_reload(gateway->auth, &err);
    settings_note_problem(gateway->settings, SETTINGS_TOKENS, failed < 0 ? &err : NULL);
    channels_ask_again(gateway->channels);
}

static void on_tls_file(void *context) {
    struct gateway *gateway = ((struct reload *)context)->gateway;
    struct error err = {0};
    int failed = http_reload_tls(gateway->http, &err);
    settings_note_problem(gateway->settings, SETTINGS_TLS, failed < 0 ? &err : NULL);
}

/* ---- kernelspecs, whose directories may be on a server that hangs ---- */

static void load_specs(struct reload *reload);

/* What another machine writes on NFS is told by nobody. */
static void wait_for_specs(struct reload *reload) {
    int64_t interval_ms = reload->gateway->settings->kernelspecs_interval_ms;
    if (interval_ms > 0)
        loop_deadline_set(reload->gateway->loop, &reload->specs_due, interval_ms);
    else
        loop_deadline_clear(reload->gateway->loop, &reload->specs_due);
}

static void on_specs_changed(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct reload *reload = context;
    int wait_ms = kernelspecs_changed(reload->gateway->specs);
    if (wait_ms >= 0)
        loop_deadline_set(reload->gateway->loop, &reload->specs_settled, wait_ms);
}

static void watch_specs(struct reload *reload) {
    int fd = kernelspecs_watch_fd(reload->gateway->specs);
    if (fd < 0)
        return;
    reload->specs_changed = event_new(loop_base(reload->gateway->loop), fd, EV_READ | EV_PERSIST,
                                      on_specs_changed, reload);
    event_add(reload->specs_changed, NULL);
}

static void unwatch_specs(struct reload *reload) {
    if (reload->specs_changed != NULL)
        event_free(steal(&reload->specs_changed));
}

static void run_load(void *work) {
    kernelspecs_load_run(work);
}

static void free_load(void *work) {
    kernelspecs_load_destroy(work);
}

static void on_loaded(void *context, void *work, const struct error *err) {
    struct reload *reload = context;
    reload->loading = NULL;
    loop_deadline_clear(reload->gateway->loop, &reload->specs_silent);
    if (err != NULL) {
        log_warning("the kernelspecs are not read again: %s", err->text);
    } else {
        unwatch_specs(reload); /* its descriptor goes */
        kernelspecs_take(reload->gateway->specs, work);
        watch_specs(reload);
    }
    wait_for_specs(reload);
    if (reload->is_load_due)
        load_specs(reload);
}

static void load_specs(struct reload *reload) {
    struct gateway *gateway = reload->gateway;
    reload->is_load_due = reload->loading != NULL;
    if (reload->is_load_due)
        return;
    const struct background_work work = {.place = "the kernelspecs",
                                         .run = run_load,
                                         .free = free_load,
                                         .work = kernelspecs_load_create(gateway->specs),
                                         .done = on_loaded,
                                         .context = reload};
    reload->loading = background_start(gateway->background, &work);
    loop_deadline_set(gateway->loop, &reload->specs_silent, BACKGROUND_DEADLINE_MS);
}

static void on_load_due(void *context) {
    load_specs(context);
}

static void on_specs_silent(void *context) {
    (void)context;
    log_warning("a directory of kernelspecs does not answer: they stay as they are until it does");
}

/* ---- files ---- */

static void watch_file(struct reload *reload, size_t at, const char *path,
                       void (*changed)(void *context)) {
    struct watched *file = &reload->files[at];
    path = path != NULL ? path : "";
    if (file->path != NULL && strcmp(path, file->path) == 0)
        return;
    file_watch_destroy(file->watch);
    file->watch = NULL;
    free(file->path);
    file->path = memory_strdup(path);
    struct error err = {0};
    if (*path != '\0' &&
        file_watch_create(reload->gateway->loop, path, changed, reload, &file->watch, &err) < 0)
        log_warning("%s", err.text);
}

static void watch_files(struct reload *reload) {
    const struct settings *settings = reload->gateway->settings;
    watch_file(reload, 0, settings_file_name(settings), on_settings_file);
    watch_file(reload, 1, settings->auth_token_file, on_token_file);
    watch_file(reload, 2, settings->certfile, on_tls_file);
    watch_file(reload, 3, settings->keyfile, on_tls_file);
    watch_file(reload, 4, settings->client_ca, on_tls_file);
    watch_file(reload, 5, settings->policy, on_policy_file);
    watch_file(reload, 6, settings->home.passwd, on_passwd_file);
}

static void reload_settings(struct reload *reload) {
    struct gateway *gateway = reload->gateway;
    int64_t begun_us = clock_monotonic_us();
    settings_reload(gateway->settings, NULL);
    gateway_configure(gateway); /* what lies in other files is read again in any case */
    load_specs(reload);
    watch_files(reload);
    if (settings_problem(gateway->settings, NULL) == NULL)
        log_info("the settings have been read again in %.1f ms",
                 (double)(clock_monotonic_us() - begun_us) / 1000);
}

static void on_settings_file(void *context) {
    struct reload *reload = context;
    log_info("%s has changed", settings_file_name(reload->gateway->settings));
    reload_settings(reload);
}

/* It is checked with the settings, whose last state stays with a bad one. */
static void on_policy_file(void *context) {
    struct reload *reload = context;
    log_info("%s has changed", reload->gateway->settings->policy);
    reload_settings(reload);
}

static void on_passwd_file(void *context) {
    struct reload *reload = context;
    log_info("%s has changed", reload->gateway->settings->home.passwd);
    reload_settings(reload);
}

static void on_hangup(evutil_socket_t number, short what, void *context) {
    (void)number, (void)what;
    struct reload *reload = context;
    log_info("SIGHUP: reading settings, tokens, certificates and kernelspecs again");
    events_reopen(reload->gateway->events);
    reload_settings(reload);
}

struct reload *reload_create(struct gateway *gateway) {
    struct reload *reload = memory_alloc(sizeof *reload);
    struct event_base *base = loop_base(gateway->loop);
    reload->gateway = gateway;
    reload->specs_settled = (struct loop_deadline){.run = on_load_due, .context = reload};
    reload->specs_silent = (struct loop_deadline){.run = on_specs_silent, .context = reload};
    reload->specs_due = (struct loop_deadline){.run = on_load_due, .context = reload};
    reload->hangup = evsignal_new(base, SIGHUP, on_hangup, reload);
    event_add(reload->hangup, NULL);
    watch_specs(reload);
    wait_for_specs(reload);
    watch_files(reload);
    return reload;
}

void reload_destroy(struct reload *reload) {
    if (reload == NULL)
        return;
    background_cancel(reload->loading);
    loop_deadline_clear(reload->gateway->loop, &reload->specs_settled);
    loop_deadline_clear(reload->gateway->loop, &reload->specs_silent);
    loop_deadline_clear(reload->gateway->loop, &reload->specs_due);
    event_free(reload->hangup);
    unwatch_specs(reload);
    for (size_t i = 0; i < FILES; i++) {
        file_watch_destroy(reload->files[i].watch);
        free(reload->files[i].path);
    }
    free(reload);
}
