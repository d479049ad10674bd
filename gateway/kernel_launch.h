/* From a client's request and a kernelspec to what the launcher starts: the checks of what a client
 * may say, the environment, argv, and the trees of launcher/launch.h. Nothing here keeps state. */
#pragma once

#include "gateway/kernels.h"

#include <jansson.h>

enum {
    REQUEST_ENV_VALUE_MAX = 4096, /* characters */
    REQUEST_ENV_NAME_MAX = 255,
    REQUEST_PATH_MAX = 4096,
};

/* The variables of a client that count (KERNEL_*, client_envs), checked; all others must be texts
 * too and are dropped without a word, since old notebook servers send their whole environment. env
 * may be NULL. *ret is a new reference, never NULL on success. */
int kernel_request_env(const struct kernels_settings *settings, const json_t *env, json_t **ret,
                       struct error *err);

/* KERNEL_LAUNCH_TIMEOUT (seconds) of the kept variables, or the setting. */
int kernel_request_timeout(const struct kernels_settings *settings, const json_t *kept,
                           int64_t *ret_ms, struct error *err);

/* KERNEL_CULL_IDLE_TIMEOUT (seconds) of the kept variables: how long the kernel wants to be idle;
 * 0: for ever; -1: it is not there. */
int kernel_request_own_idle(const json_t *kept, int64_t *ret_ms, struct error *err);

/* Does path (of a directory or a file, "/" or not in front) stay below the root directory, whether
 * it is there or not? Else ERROR_INVALID. */
int kernel_request_path(const char *path, struct error *err);

/* The same where we see no directories: KERNEL_WORKING_DIR, or "" for the image's own. Borrowed. */
const char *kernel_request_directory_elsewhere(const json_t *kept);
/* Where the kernel starts: path below the root directory (or its nearest parent that is there),
 * else KERNEL_WORKING_DIR, else the root directory. *ret is malloc'ed. */
int kernel_request_directory(const struct kernels_settings *settings, const char *path,
                             const json_t *kept, char **ret, struct error *err);

/* Whom the lists of users are asked about: the verified name of the kernel's owner, or without one
 * (NULL) what the kept variables claim to be KERNEL_USERNAME, or NULL. */
const char *kernel_request_name(const char *verified, const json_t *kept);
/* A refusal names only what the user (NULL: nobody in particular) may start. */
int kernel_request_spec(const struct kernels_settings *settings, const struct kernelspecs *specs,
                        const char *name, const char *user, const struct kernelspec **ret,
                        struct error *err);
/* May that user start this kernelspec? Else ERROR_DENIED. */
int kernel_request_user(const struct kernels_settings *settings, const struct kernelspec *spec,
                        const char *verified, const json_t *kept, struct error *err);

/* May the owner send these variables for it? Else ERROR_DENIED, by the policy. *ret: those that
 * count, a new reference. */
int kernel_request_policy(const struct kernels_settings *settings, const struct kernelspec *spec,
                          const char *owner, const json_t *kept, json_t **ret, struct error *err);

/* Does this gateway have what the kernelspec wants to be started by? */
int kernel_request_provisioner(const struct kernelspec *spec, bool is_elsewhere, struct error *err);

/* A variable that by its name holds a password, a token or a key. */
bool kernel_variable_is_secret(const char *name);

struct kernel_plan {
    const struct kernels_settings *settings;
    const struct kernelspec *spec;
    const char *kernel_id;
    const json_t *env; /* kept variables, those that count */
    const char *directory;
    const char *username;     /* for KERNEL_USERNAME when the client sent none */
    char *const *environment; /* the gateway's own */
    int64_t launch_timeout_ms;
    /* It runs where nothing of ours is: not our variables, programs and directories. */
    bool is_elsewhere;
};

/* The kernel's whole environment; a new reference. */
json_t *kernel_launch_environment(const struct kernel_plan *plan);
/* launch.json's tree; a new reference. */
int kernel_launch_create(const struct kernel_plan *plan, json_t **ret, struct error *err);
