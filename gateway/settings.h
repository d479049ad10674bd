/* The gateway's settings: one table (settings_table.c) for flags, variables, the YAML file, --help,
 * --show-config and docs/configuration.md. Durations are milliseconds, sizes are bytes; texts are
 * NULL when not set. */
#pragma once

#include "base/error.h"
#include "base/option.h"
#include "gateway/culling_policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct settings {
    /* network */
    char *ip;
    int64_t port, port_retries;
    char *base_url; /* begins and ends with '/' */
    char *certfile, *keyfile, *client_ca;
    bool client_ca_optional;
    int64_t hsts_ms;
    bool trust_xheaders;
    char *allow_origin, *allow_credentials, *allow_headers, *allow_methods, *expose_headers,
        *max_age;
    int64_t ws_ping_interval_ms;

    /* who may come in */
    char *auth_token, *auth_token_file;
    char *certificate_user; /* none | cn | email | dns | uri */
    char *proxy_user_header, **proxy_addresses;
    char *oidc_issuer, *oidc_audience, *oidc_user_claim;
    bool token_review;
    char **review_audiences, **review_namespaces;
    char *hub_api_url, **hub_scopes;
    char *auth_ca;
    int64_t auth_keep_ms;
    char **admin_users, **viewer_users;
    bool insecure;
    char **allow_hosts;
    char **authorized_users, **unauthorized_users;

    /* kernelspecs */
    char **kernelspec_dirs, **allowed_kernelspecs, **denied_kernelspecs;
    char *default_kernel_name;
    int64_t kernelspecs_interval_ms;
    bool publish_kernelspec_env;

    /* kernels */
    char **client_envs, **inherited_envs;
    char *python, *root_dir;
    int64_t launch_timeout_ms, shutdown_wait_ms;
    int64_t restart_limit, restart_stable_after_ms;
    char *runtime_dir, *launcher; /* never NULL: the defaults are worked out at load */
    char *kernel_transport;       /* auto | tcp | ipc */
    bool run_as_owner;
    int64_t run_as_min_uid;
    char *on_exit; /* leave | shutdown */
    bool list_kernels;
    char *provisioner; /* local | kubernetes */
    char *policy;      /* NULL or "": none */

    struct settings_kubernetes {
        char *kubeconfig, *context;
        char *install;
        char *gateway_namespace, *namespaces, *namespace, *namespace_prefix;
        json_t *namespace_labels, *network_policy;
        char *cluster_role, *service_account;
        json_t *pod;
        char *image, *launcher_image, *gpu_resource;
        int64_t uid, gid;
        bool mirror_working_dirs;
        char **allow;
        char **prohibited_uids, **prohibited_gids;
        int64_t start_deadline_ms;
        int64_t sweep_grace_ms;
    } kubernetes;

    struct settings_home {
        char *server, *export_path, *path, *mount, *pvc;
        char *volume; /* nfs | claim */
        char **options;
        char *directory, *passwd;
        char *user_names; /* hub | safe-slug | raw */
        json_t *uids;
        int64_t parent_gid; /* -1: none */
        char **extra;
        bool trust_claimed_names;
        int64_t deadline_ms;
    } home;

    struct culling_settings cull;

    /* limits */
    int64_t max_kernels, max_kernels_per_user, max_kernels_per_spec; /* -1: none */
    int64_t max_failed_kernels;
    int64_t failed_retention_ms, tombstone_retention_ms, session_retention_ms;
    char *refusal_style; /* auto | http | notebook */
    /* 0: none */
    int64_t max_connections, max_connections_per_address, max_connections_per_user;
    int64_t max_requests, max_requests_per_user, max_starts_per_user, max_sessions_per_user;
    int64_t max_input_bytes, max_input_bytes_per_user;
    int64_t body_limit, header_limit, message_limit;
    int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms;
    int64_t client_window, gateway_client_frame_limit;
    int64_t journal_size, kernel_log_size;
    int64_t replay_unsure_ms;

    char *log_level, *log_format; /* text | json */
    char *event_log;              /* NULL or "": none */
    bool confine;
    bool metrics_public;

    struct settings_origin *origin; /* what they were read from, for reload and --show-config */
};

/* Ends with a row whose name is NULL. */
const struct option_row *settings_table(void);

/* From argv (argv[0] is the program), environ and the file that --config or ELARA_CONFIG names.
 * Both arrays must outlive the settings. Warns about unknown EG_ and KG_ variables and about those
 * that do nothing here. */
int settings_create(int argc, char **argv, char *const *environment, struct settings **ret,
                    struct error *err);
void settings_destroy(struct settings *settings);

/* Reads the sources again: rows with OPTION_RELOAD take effect, a change of another one is logged
 * as waiting for a restart. On failure everything stays. */
int settings_reload(struct settings *settings, struct error *err);

/* What a gateway reads again while it runs. */
enum settings_part { SETTINGS_FILE, SETTINGS_TOKENS, SETTINGS_TLS, SETTINGS_KERNELSPECS };
enum { SETTINGS_PARTS = SETTINGS_KERNELSPECS + 1 };

/* That part could not be read, so that its old state stays (logged); NULL: it is well again. */
void settings_note_problem(struct settings *settings, enum settings_part part,
                           const struct error *err);
/* "the settings stay as they were: elara.yaml:3: ..."; NULL: what was read last is in effect. For
 * the admin's eyes: it names files. since_us (may be NULL): clock_wall_us. */
const char *settings_problem(const struct settings *settings, int64_t *since_us);
/* The YAML file that they are read from; NULL: none. */
const char *settings_file_name(const struct settings *settings);
/* "port, runtime-dir": what has changed and waits for a restart; NULL: nothing does. */
const char *settings_pending(const struct settings *settings);

/* The YAML file as an object, and its lines (option_input.lines). Of the listener, which may be
 * NULL, only `notice` counts. */
int settings_read_file(const char *path, const struct option_input *listener, json_t **ret,
                       json_t **lines, struct error *err);

/* A flag or a variable says it, which goes before whatever stands in a file. */
bool settings_is_fixed(const struct settings *settings, const char *name);

/* Reads a YAML file as a gateway would that has neither flags nor variables, and tells of every
 * problem, and of what only may be one. Returns how many problems there are. environment: what does
 * nothing in it is told as well, and is no problem of the file; NULL: nobody looks. */
typedef void settings_tell(void *context, bool is_problem, const char *text);
size_t settings_check_file(const char *path, char *const *environment, settings_tell *tell,
                           void *context);

/* Is there any way of knowing who asks? */
bool settings_know_clients(const struct settings *settings);
/* The rule of who may listen where: without a token only on loopback, unless `insecure` says
 * otherwise. */
int settings_check_exposure(const struct settings *settings, struct error *err);
/* UNIX sockets lie in it, and their addresses are short. */
int settings_check_runtime_dir(const struct settings *settings, struct error *err);
bool settings_ip_is_loopback(const char *ip);

/* Level and format of the log, as they are set. */
void settings_set_log(const struct settings *settings);

void settings_print_config(const struct settings *settings, FILE *out); /* --show-config */
void settings_print_help(FILE *out);
void settings_print_reference(FILE *out); /* docs/configuration.md */
void settings_print_schema(FILE *out);    /* docs/configuration.schema.json */
