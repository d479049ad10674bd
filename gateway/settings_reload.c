/* Settings that change while the gateway runs. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "gateway/settings_internal.h"

#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/settings"

static bool is_set(const char *text) {
    return text != NULL && *text != '\0';
}

/* TLS is on or off for as long as the port is open. */
static bool is_of_tls(const struct option_row *row) {
    return row->offset == offsetof(struct settings, certfile) ||
           row->offset == offsetof(struct settings, keyfile) ||
           row->offset == offsetof(struct settings, client_ca);
}

static void add_pending(struct settings_origin *origin, const struct option_row *row) {
    char *old = origin->pending;
    origin->pending =
        old != NULL ? memory_printf("%s, %s", old, row->name) : memory_strdup(row->name);
    free(old);
}

static void take_row(struct settings *settings, struct settings *fresh, size_t at, bool may) {
    const struct option_row *row = settings_table() + at;
    struct settings_origin *origin = settings->origin;
    const char *source = fresh->origin->sources[at].text;
    bool reloads = row->flags & OPTION_RELOAD, waits = !reloads || !may;
    char *is = option_text(row, fresh);
    char *was = reloads ? option_text(row, settings) : memory_strdup(origin->started[at]);
    bool masked = row->flags & OPTION_SECRET;
    if (strcmp(is, was) == 0) {
        origin->sources[at] = fresh->origin->sources[at];
    } else if (waits) {
        log_warning("%s has changed (%s), which takes effect with the next start", row->name,
                    source);
        add_pending(origin, row);
    } else {
        log_info("%s: was %.200s, is %.200s (%s)", row->name, masked ? "set" : was,
                 masked ? "another one" : is, source);
        option_swap(row, settings, fresh); /* the old value is freed with fresh */
        origin->sources[at] = fresh->origin->sources[at];
    }
    free(is);
    free(was);
}

static int reload(struct settings *settings, struct settings *fresh, struct error *err) {
    static const struct option_input listener = {.notice = settings_log_notice};
    if (settings_load(fresh, &listener, err) < 0)
        return -1;
    char *own = fresh->ip; /* what is listened on stays, and with it who may reach us */
    fresh->ip = settings->ip;
    int failed = settings_check_exposure(fresh, err);
    fresh->ip = own;
    if (failed < 0)
        return -1;
    free(settings->origin->pending);
    settings->origin->pending = NULL;
    bool keeps_tls = is_set(settings->certfile) == is_set(fresh->certfile);
    for (size_t i = 0; i < settings->origin->row_count; i++)
        take_row(settings, fresh, i, keeps_tls || !is_of_tls(settings_table() + i));
    return 0;
}

int settings_reload(struct settings *settings, struct error *err) {
    struct settings_origin *origin = settings->origin;
    struct settings *fresh = settings_create_empty(origin->argc, origin->argv, origin->environment);
    struct error problem = {0};
    int failed = reload(settings, fresh, &problem);
    settings_destroy(fresh);
    settings_note_problem(settings, SETTINGS_FILE, failed < 0 ? &problem : NULL);
    if (failed < 0 && err != NULL)
        *err = problem;
    return failed;
}

void settings_note_problem(struct settings *settings, enum settings_part part,
                           const struct error *err) {
    static const char *const stays[] = {
        [SETTINGS_FILE] = "the settings stay as they were",
        [SETTINGS_TOKENS] = "the tokens stay as they were",
        [SETTINGS_TLS] = "certificate and key stay as they were",
        [SETTINGS_KERNELSPECS] = "the kernelspecs stay as they were",
    };
    struct settings_origin *origin = settings->origin;
    if (err == NULL) {
        free(origin->problems[part].text);
        origin->problems[part].text = NULL;
        return;
    }
    if (origin->problems[part].text == NULL)
        origin->problems[part].since_us = clock_wall_us();
    free(origin->problems[part].text);
    origin->problems[part].text = memory_printf("%s: %s", stays[part], err->text);
    log_error("%s", origin->problems[part].text);
}

const char *settings_problem(const struct settings *settings, int64_t *since_us) {
    for (size_t i = 0; i < SETTINGS_PARTS; i++) {
        if (settings->origin->problems[i].text == NULL)
            continue;
        if (since_us != NULL)
            *since_us = settings->origin->problems[i].since_us;
        return settings->origin->problems[i].text;
    }
    return NULL;
}

const char *settings_pending(const struct settings *settings) {
    return settings->origin->pending;
}
