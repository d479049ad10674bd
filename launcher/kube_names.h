/* Names of a kernel's objects in Kubernetes (Kubernetes documentation, "Object Names and IDs": DNS
 * labels; "Labels and Selectors": label values). All are pure functions, so that whoever repeats a
 * start makes the same objects. No two kernels share an object name and no two users a namespace:
 * what does not fit as it is carries a SHA-256 of the whole. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define KUBE_INSTALL_DEFAULT "elara"

enum {
    KUBE_NAME_SIZE = 64, /* a DNS label or a label value, with its NUL */
    KUBE_SUFFIX_SIZE = 49,
    KUBE_PREFIX_MAX = 24,      /* of users' namespaces */
    KUBE_ATTEMPT_MAX = 999999, /* of a pod; more are counted as this one */
    KUBE_INSTALL_MAX = 40,
};

/* What stands for the kernel in names: an id of [a-z0-9-] that is short enough is itself, any
 * other 40 hex digits. */
void kube_name_suffix(const char *kernel_id, char suffix[KUBE_SUFFIX_SIZE]);

/* Names in namespaces that installs may share. Of the default install they are made with the
 * suffix, of another one with a hash of its name and the id: the same id in two installs is two
 * kernels. */
void kube_name_record(const char *install, const char *kernel_id,
                      char name[KUBE_NAME_SIZE]); /* elara-record-... */
void kube_name_key(const char *install, const char *kernel_id,
                   char name[KUBE_NAME_SIZE]);                          /* elara-kernel-... */
void kube_name_gateway(const char *install, char name[KUBE_NAME_SIZE]); /* elara-link-... */
/* Is it usable in names and labels? Else ERROR_INVALID: [a-z0-9-], at most KUBE_INSTALL_MAX. */
int kube_install_check(const char *install, struct error *err);

/* The pod of an attempt (from 1): kernel-<suffix>-<attempt>, or what KERNEL_POD_NAME of `values`
 * (object of texts) wishes, as Jupyter Enterprise Gateway reads it: {{ kernel_x }} stands for
 * KERNEL_X; in lower case, each run of other characters is a "-". A wish that is empty, that has a
 * name which is not there or any other {{ }} is not followed. One that does not end in the suffix
 * gets a hash of the kernel's id, since a name must be one kernel's alone. */
void kube_name_pod(const char *install, const char *kernel_id, const json_t *values,
                   int64_t attempt, char name[KUBE_NAME_SIZE]);
/* What the names of all attempts begin with, and the name of one of them. */
void kube_name_pods(const char *install, const char *kernel_id, const json_t *values,
                    char name[KUBE_NAME_SIZE]);
void kube_name_attempt(const char *pods, int64_t attempt, char name[KUBE_NAME_SIZE]);
/* The attempt that a pod is named by; 0: it is no such name. */
int64_t kube_attempt_of(const char *name);

/* The namespace of one kernel: as KERNEL_POD_NAME wishes, else <user>-<suffix> (Jupyter Enterprise
 * Gateway's), without an attempt. user may be NULL or empty: kernel-<suffix>. */
void kube_name_kernel_namespace(const char *install, const char *kernel_id, const json_t *values,
                                const char *user, char name[KUBE_NAME_SIZE]);

/* The namespace of a user: prefix and the name. A name of [a-z0-9-] that fits, without "--" and
 * without "-" at its ends, is itself; any other is its letters and digits in lower case, "---" and
 * 128 bits of hash in hex. user is not empty; prefix has passed kube_prefix_check: without one, a
 * user called kube-system would get that namespace. */
void kube_name_user_namespace(const char *prefix, const char *user, char name[KUBE_NAME_SIZE]);
int kube_prefix_check(const char *prefix, struct error *err);

/* Any text as a label's value: as it is when that is allowed, else as a user's namespace is
 * made. */
void kube_label_value(const char *text, char value[KUBE_NAME_SIZE]);

bool kube_is_dns_label(const char *text);     /* namespaces, containers */
bool kube_is_dns_subdomain(const char *text); /* Secrets, service accounts */
bool kube_is_label_value(const char *text);
