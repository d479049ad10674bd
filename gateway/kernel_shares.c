#include "gateway/kernel_shares.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "gateway/kernels_internal.h"
#include "launcher/launch.h"

#include <stdlib.h>
#include <string.h>

enum { SHARE_TIMEOUT_MS = 15000 };

static const char *const names[] = {[KERNEL_RIGHT_NONE] = "none",
                                    [KERNEL_RIGHT_VIEW] = "view",
                                    [KERNEL_RIGHT_USE] = "use",
                                    [KERNEL_RIGHT_OWN] = "own"};

const char *kernel_right_name(enum kernel_right right) {
    return names[right];
}

bool kernel_right_parse(const char *name, enum kernel_right *ret) {
    for (enum kernel_right right = KERNEL_RIGHT_VIEW; right <= KERNEL_RIGHT_USE; right++) {
        if (strcmp(names[right], name) != 0)
            continue;
        *ret = right;
        return true;
    }
    return false;
}

/* The one who is everybody without a name of his own is granted nothing. */
enum kernel_right kernel_right(const struct kernel *kernel, const struct auth_identity *identity) {
    enum kernel_right right = KERNEL_RIGHT_NONE;
    if (auth_may_use(identity, kernel->owner))
        return KERNEL_RIGHT_OWN;
    if (identity == NULL || !identity->verified || identity->role == AUTH_METRICS)
        return KERNEL_RIGHT_NONE;
    const char *granted = json_string_value(json_object_get(kernel->shares, identity->name));
    return granted != NULL && kernel_right_parse(granted, &right) ? right : KERNEL_RIGHT_NONE;
}

json_t *kernel_shares(const struct kernel *kernel) {
    return kernel->shares != NULL ? json_incref(kernel->shares) : json_object();
}

/* A launcher's word, which its kernel may have forged: it is about this kernel alone. */
void kernel_take_shares(struct kernel *kernel, const json_t *shares) {
    if (json_object_size(shares) > LAUNCH_SHARES_MAX || json_equal(shares, kernel->shares))
        return;
    json_decref(kernel->shares);
    kernel->shares = json_object_size(shares) > 0 ? json_deep_copy(shares) : NULL;
    kernel_changed(kernel); /* who may not use it any more is shown out */
}

/* A change that the launcher is told of, and that has to be on record elsewhere too. */
struct sharing {
    json_t *changes;
    void *context;
};

static void on_shared(struct kernel *kernel, kernel_done *done, void *context, const json_t *result,
                      const struct error *err) {
    struct sharing sharing = *(struct sharing *)context;
    free(context);
    if (kernel != NULL && err == NULL)
        kernel_take_shares(kernel, json_object_get(result, "shares"));
    const struct provisioner_ops *ops = kernel != NULL ? kernel->kernels->provisioner->ops : NULL;
    if (err == NULL && ops != NULL && ops->share != NULL && kernel->provision != NULL) {
        kernel_wait_in(&kernel->share_waiters, done, sharing.context);
        ops->share(kernel->provision, sharing.changes);
    } else if (done != NULL) {
        done(sharing.context, err);
    }
    json_decref(sharing.changes);
}

void kernel_drop_sharing(struct kernel *kernel) {
    struct error err;
    error_set(&err, ERROR_UNAVAILABLE,
              "The kernel was ended or started again before it was on record; try again");
    kernel_answer_all(kernel->kernels, &kernel->share_waiters, &err);
}

void kernel_share(struct kernel *kernel, const char *user, enum kernel_right right,
                  kernel_done *done, void *context) {
    struct error err;
    const char *text = right == KERNEL_RIGHT_NONE ? NULL : kernel_right_name(right);
    if (kernel->link == NULL) {
        error_set(&err, ERROR_UNAVAILABLE,
                  "The kernel's launcher, which keeps who it is shared with, is not %s",
                  kernel->status.phase == KERNEL_DEAD ? "running any more" : "there yet");
        kernel_answer(kernel->kernels, done, context, &err);
        return;
    }
    struct sharing *sharing = memory_alloc(sizeof *sharing);
    *sharing = (struct sharing){json_pack("{s:s?}", user, text), context};
    kernel_order(kernel, "share", json_pack("{s:s, s:s?}", "user", user, "right", text),
                 SHARE_TIMEOUT_MS, on_shared, done, sharing);
}
