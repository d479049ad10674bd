/* The option table: one row a setting drives its flag, its environment variables, the YAML file,
 * --help, the manual and --show-config.
 *
 * Precedence: flag > environment (first name that is set) > YAML file > default. Flags are "--name
 * value" or "--name=value"; for OPTION_BOOL also "--name" and "--no-name". Lists: comma-separated
 * text, a JSON array of strings ('a','b' too, as charts write it), or a flag given several times.
 * An empty variable is a list without items, no text where the default is none, and for other types
 * as if it were not set; so is a YAML key without a value, and an OPTION_INT variable that reads
 * tcp://...: Kubernetes sets X_PORT so in every pod beside a Service called x. A bad value is
 * ERROR_INVALID naming the flag, variable or YAML key it came from, and what it may be. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_type {
    OPTION_BOOL, /* bool: true/false, yes/no, on/off, 1/0 in any case, as JEG's variables have it */
    OPTION_INT,  /* int64_t within [min, max] */
    /* int64_t milliseconds; plain numbers are seconds; also 500ms, 30s, 5m, 4h, 2d */
    OPTION_DURATION,
    OPTION_BYTES, /* int64_t bytes; also 64k, 10M, 1G (powers of 1024) */
    OPTION_TEXT,  /* char *, owned by the settings struct; NULL when the default is NULL */
    OPTION_ENUM,  /* char *, one of the texts in `choices`, separated by '|' */
    OPTION_LIST,  /* char **, NULL-terminated, owned; never NULL itself */
    /* json_t *, an object, owned; NULL when not set, or empty. A flag or variable holds it as JSON.
     * What it may hold is the row's `check`. */
    OPTION_MAPPING,
};

enum option_flags {
    OPTION_SECRET = 1, /* not as a flag (argv is public), masked in --show-config */
    OPTION_RELOAD = 2, /* takes effect without a restart */
};

struct option_row {
    const char *name;        /* "auth-token-file": the flag and, with '_', the YAML key */
    const char *environment; /* comma-separated names, first wins: "ELARA_IP,EG_IP,KG_IP" */
    enum option_type type;
    size_t offset;        /* of the field in the settings struct */
    const char *fallback; /* the default as text, NULL for none */
    int64_t min, max;     /* OPTION_INT, _DURATION (ms), _BYTES; both 0 = any non-negative value */
    const char *choices;  /* OPTION_ENUM */
    unsigned flags;
    const char *group; /* heading in --help */
    const char *help;  /* one or two sentences */
    /* What the type alone cannot say; NULL: nothing. value: the const char * of an OPTION_TEXT that
     * is set, the const json_t * of an OPTION_MAPPING. Where a part of a mapping is wrong the error
     * begins with its path: "owners.alice.idle_timeout: must be ...". */
    int (*check)(const void *value, struct error *err);
};

/* A table ends with a row whose name is NULL. */

enum { OPTION_NAME_MAX = 96 };

enum option_from { OPTION_FROM_DEFAULT, OPTION_FROM_FILE, OPTION_FROM_VARIABLE, OPTION_FROM_FLAG };

/* Where a value came from; the text for --show-config and messages. */
struct option_source {
    enum option_from from;
    char text[192]; /* "default", "--port", "EG_PORT", "/etc/elara.yaml:12" */
};

struct option_input {
    int argc;
    char **argv;              /* argv[0] is the program; words that are no flags are an error */
    char *const *environment; /* NULL-terminated, as environ */
    const json_t *file;       /* what yaml_parse made of the file; NULL: there is none */
    const char *file_name;
    const json_t *lines; /* of yaml_parse_lines; NULL: messages and sources name no line */
    /* Told of every mistake, one by one; NULL: option_load ends at the first. */
    void (*problem)(void *context, const struct error *err);
    /* Told what is no mistake but may not be meant: one source overrides another that says
     * something else; a key has no value. May be NULL. */
    void (*notice)(void *context, const char *text);
    void *context;
};

/* Fills `settings` (zeroed by the caller) from all sources; `sources`, if not NULL, has one entry a
 * row. After an error, of which err has the first, the settings own nothing. Flags --help,
 * --version, --show-config and --config are the caller's: it strips them first with
 * option_take_flag. */
int option_load(const struct option_row *table, const struct option_input *input, void *settings,
                struct option_source *sources, struct error *err);
void option_free(const struct option_row *table, void *settings);

/* The row's value as one line of YAML, malloc'ed. Secrets are written out: the caller masks. */
char *option_text(const struct option_row *row, const void *settings);
/* Exchanges the row's value in two settings. */
void option_swap(const struct option_row *row, void *settings, void *other);

/* Removes "--name" or "--name value"/"--name=value" from argv; true when it was there. value may be
 * NULL for flags without one; else it is NULL when the flag ended the line or another flag followed
 * it. */
bool option_take_flag(int *argc, char **argv, const char *name, const char **value);

/* The first variable of `environment` that starts with `prefix` and that no row names, or NULL; *at
 * walks on. What Kubernetes sets for a Service (X_SERVICE_HOST, X_PORT_8888_TCP, ...) is passed
 * over. The text is the whole "NAME=value": log the name alone. */
const char *option_next_unknown(const struct option_row *table, char *const *environment,
                                const char *prefix, size_t *at);

/* The name of a setting's variable that looks most like this one, which ends after `length` bytes;
 * false when none does. */
bool option_nearest_variable(const struct option_row *table, const char *name, size_t length,
                             char ret[OPTION_NAME_MAX]);

/* Does a row name this variable? name ends after `length` bytes. */
bool option_names_variable(const struct option_row *table, const char *name, size_t length);

/* "auth_token_file" */
void option_key(const struct option_row *row, char ret[OPTION_NAME_MAX]);

void option_print_help(const struct option_row *table, FILE *out);

/* YAML that loads again, each line with its source behind it; secrets are left out. */
void option_print_config(const struct option_row *table, const void *settings,
                         const struct option_source *sources, FILE *out);

/* The tables of docs/configuration.md. */
void option_print_markdown(const struct option_row *table, FILE *out);

/* The YAML file as a JSON Schema of draft 2020-12; a new reference. */
json_t *option_schema(const struct option_row *table);

/* Sections of a manual page (man(7)), and a text for one. */
void option_print_manual(const struct option_row *table, FILE *out);
void option_print_roff(const char *text, FILE *out);
