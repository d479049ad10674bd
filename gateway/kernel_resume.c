#include "base/log.h"
#include "base/text.h"
#include "gateway/kernels_internal.h"

#define LOG_AREA "gateway/kernel_resume"

/* How often in a row: a launcher that always dies is not started for ever. The last one keeps the
 * kernel dead, for its output. */
enum { RESUMES_MAX = 3, RESUMES_WINDOW_MS = 5 * 60 * 1000 };

static int resume(struct kernel *kernel, enum provision_resume how, struct error *err) {
    const struct provisioner_ops *ops = kernel->kernels->provisioner->ops;
    if (kernel->provision == NULL || !kernel->has_ended || ops->resume == NULL)
        return error_set(err, ERROR_UNSUPPORTED, "it has no place");
    int result = ops->resume(kernel->provision, how, err);
    if (result < 0) {
        log_info("kernel %s: its launcher is not started again: %s", kernel->id, err->text);
        return -1;
    }
    kernel->has_ended = false;
    kernel->is_spawned = result == 0;
    kernel->start_wanted = result > 0 && how == PROVISION_RESUME_START;
    return 0;
}

static bool has_resumes_left(struct kernel *kernel) {
    int64_t now_ms = clock_monotonic_ms();
    if (kernel->resumes > 0 && now_ms - kernel->resumed_ms > RESUMES_WINDOW_MS)
        kernel->resumes = 0;
    if (kernel->resumes == 0)
        kernel->resumed_ms = now_ms;
    return kernel->resumes < RESUMES_MAX;
}

/* Where a launcher's place ends with it, another one is made, without what the kernel has said. */
static bool replace(struct kernel *kernel, const struct error *cause) {
    if (kernel->request == NULL || (cause->code != ERROR_SYSTEM && cause->code != ERROR_NOT_FOUND))
        return false; /* it would end as this one did */
    kernel->resumes++;
    log_warning("kernel %s: started anew: %s", kernel->id, cause->text);
    text_replace(&kernel->lost, cause->text);
    text_replace(&kernel->lost_cause, cause->cause);
    kernel->status.lost = kernel->lost;
    kernel_drop_link(kernel); /* its clients are told */
    kernel_post(kernel, KERNEL_EVENT_RESTART);
    kernel_start_again(kernel);
    return true;
}

bool kernel_resume(struct kernel *kernel, const struct error *cause, bool *is_gone) {
    *is_gone = false;
    if (!has_resumes_left(kernel))
        return false;
    if (kernel->kernels->provisioner->ops->resume == NULL)
        return cause != NULL && replace(kernel, cause);
    bool is_last = kernel->resumes == RESUMES_MAX - 1;
    struct error err;
    if (resume(kernel, is_last ? PROVISION_RESUME_DEAD : PROVISION_RESUME_BY_POLICY, &err) < 0) {
        *is_gone = err.code == ERROR_CHANGED;
        return false;
    }
    kernel->resumes++;
    log_warning("kernel %s: its launcher ended: started again%s", kernel->id,
                is_last ? ", the kernel stays dead" : "");
    kernel_post(kernel, KERNEL_EVENT_RESTART);
    kernel_set_stage(kernel, "starting the kernel's launcher again");
    return true;
}

bool kernel_resume_dead(struct kernel *kernel) {
    struct error err;
    if (!has_resumes_left(kernel) || resume(kernel, PROVISION_RESUME_DEAD, &err) < 0)
        return false;
    kernel->resumes++;
    log_info("kernel %s: a launcher keeps its output, the kernel stays dead", kernel->id);
    return true;
}

int kernel_resume_wanted(struct kernel *kernel, struct error *err) {
    if (resume(kernel, PROVISION_RESUME_START, err) < 0)
        return -1;
    kernel->resumes = 0;
    return 0;
}
