/* What a request may wish of its pod through KERNEL_* variables: one table, so that a policy has
 * one place to look at. A name of the table counts
 *   - from the client, if the policy lets clients say it;
 *   - else from the kernelspec's env, which is the administrator's word;
 *   - a client's that it may not say, and that the kernelspec does not say either, refuses the
 *     start with a sentence. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum kube_wish {
    KUBE_WISH_IMAGE,
    KUBE_WISH_CPUS,
    KUBE_WISH_CPUS_LIMIT,
    KUBE_WISH_MEMORY,
    KUBE_WISH_MEMORY_LIMIT,
    KUBE_WISH_GPUS,
    KUBE_WISH_GPUS_LIMIT,
    KUBE_WISH_UID,
    KUBE_WISH_GID,
    KUBE_WISH_WORKING_DIR,
    KUBE_WISH_POD_NAME,
    KUBE_WISH_NAMESPACE,
    KUBE_WISH_SERVICE_ACCOUNT,
    KUBE_WISH_VOLUMES,
    KUBE_WISH_VOLUME_MOUNTS,
    KUBE_WISHES,
};

struct kube_wish_row {
    const char *name;  /* KERNEL_IMAGE */
    const char *field; /* of the pod, for people: "spec.containers[kernel].image" */
    bool is_free;      /* clients may say it unless a policy says otherwise */
};
const struct kube_wish_row *kube_wish_row(enum kube_wish wish);

/* Sets of wishes: 1u << wish. */
uint32_t kube_wishes_free(void);
/* The free ones and those of the names (NULL-terminated or NULL): "KERNEL_UID", "*" for all. A
 * name that is no variable for kernels is an error that lists the known ones. */
int kube_wishes_parse(char *const *names, uint32_t *ret, struct error *err);

/* One kernel's wishes after the rule above. Borrows client and spec. */
struct kube_wishes {
    const char *value[KUBE_WISHES]; /* NULL: not wished */
    bool is_clients[KUBE_WISHES];   /* not the kernelspec's */
};
/* client: the request's variables; spec: kernel.json's env, as it stands there; either may be
 * NULL. Empty texts wish nothing. ERROR_DENIED: names variable and
 * setting (kubernetes-allow). */
int kube_wishes_take(const json_t *client, const json_t *spec, uint32_t allowed,
                     struct kube_wishes *ret, struct error *err);
