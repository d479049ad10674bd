/* The settings home-*, and whose home a kernel has (docs/homes.md). */
#pragma once

#include "base/error.h"
#include "nfs/user_name.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed. */
struct home_settings {
    const char *server;      /* NULL: nothing is prepared, and without pvc pods have no homes */
    const char *export_path; /* what paths are below */
    const char *path;        /* "{user}" */
    const char *mount;       /* in the pod */
    const char *directory;   /* where the export is mounted here, for local kernels; NULL */
    const char *pvc;         /* a claim whose root is the export, instead of an nfs volume; NULL */
    bool makes_claims;       /* the same, made by the gateway in each namespace */
    bool makes_namespaces;   /* of pods; claims go with them */
    char *const *options;    /* of that one's mounts; NULL */
    enum user_name_scheme names;
    const json_t *uids;  /* user's name: "uid:gid"; NULL */
    const json_t *named; /* those of them that home-uids has, not home-passwd; NULL */
    int64_t parent_gid;  /* home.h */
    char *const *extra;  /* home_extra_parse; NULL */
    bool trusts_claimed; /* KERNEL_USERNAME says whose home it is where nobody is verified */
    int64_t deadline_ms;
};

/* What the settings say wrongly, by the setting's name. */
int home_settings_check(const struct home_settings *settings, struct error *err);

/* A directory that all have: "path:mount", read-only, or with ":ro" or ":rw" behind it. */
struct home_extra {
    char *path, *mount;
    bool is_writable;
};
int home_extra_parse(const char *text, struct home_extra *ret, struct error *err);
void home_extra_free(struct home_extra *extra);

/* spec: kernel.json, whose metadata.elara.home may be false. */
bool home_is_refused(const json_t *spec);
/* record: with the request. Without a verified name all kernels are the gateway's own user's:
 * anybody can claim a name. Borrowed; never NULL. */
const char *home_user(const struct home_settings *settings, const json_t *record);
/* That user's directory, below the export; given as home.h has it. malloc'ed. */
int home_place(const struct home_settings *settings, const char *user, char **ret, size_t *given,
               struct error *err);
/* 1: uids has the user, 0: it does not. */
int home_ids(const struct home_settings *settings, const char *user, int64_t *uid, int64_t *gid,
             struct error *err);
