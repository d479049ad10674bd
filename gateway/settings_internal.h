/* What the settings' own files share. */
#pragma once

#include "gateway/settings.h"

struct settings_origin {
    int argc;
    char **argv; /* our copy of the array: taking flags changes it */
    char *const *environment;
    const char *file_name; /* in argv or the environment; NULL: there is none */
    size_t row_count;
    struct option_source *sources; /* a row each */
    char **started;                /* the value with which each row started, as text */
    char *pending;                 /* names of what waits for a restart; NULL: nothing does */
    struct {
        char *text; /* NULL: all is well */
        int64_t since_us;
    } problems[SETTINGS_PARTS];
};

/* Zero but for the origin; both arrays must outlive the settings. */
struct settings *settings_create_empty(int argc, char **argv, char *const *environment);
/* Fills empty settings from all sources; of `listener` only problem, notice and context count. On
 * failure destroy the settings. */
int settings_load(struct settings *settings, const struct option_input *listener,
                  struct error *err);
/* Tells listener->notice of EG_, KG_ and ELARA_ variables that do nothing here. */
void settings_note_unknown(char *const *environment, const struct option_input *listener);
void settings_log_notice(void *context, const char *text);

/* settings_checks.c: an option_row's check of one value. */
int settings_check_log_level(const void *value, struct error *err);
int settings_check_install(const void *value, struct error *err);
int settings_check_prefix(const void *value, struct error *err);
int settings_check_pod(const void *value, struct error *err);
int settings_check_policy(const void *value, struct error *err);
int settings_check_home_place(const void *value, struct error *err);
int settings_check_home_passwd(const void *value, struct error *err);
int settings_check_home_path(const void *value, struct error *err);
int settings_check_labels(const void *value, struct error *err);
int settings_check_base_url(const void *value, struct error *err);
