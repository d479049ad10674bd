#include "base/clock.h"
#include "base/memory.h"
#include "gateway/api.h"
#include "gateway/kernel_activity.h"

#include <stdlib.h>

struct gathering {
    struct api_gather plan;
    uint64_t last; /* number of the kernel that was asked last */
    size_t asking;
    bool is_cut;  /* there are more to be asked */
    bool is_told; /* done: the rest only needs to be waited for */
    struct loop_deadline patience;
};

static void tell(void *context) {
    struct gathering *gathering = context;
    loop_deadline_clear(gathering->plan.gateway->loop, &gathering->patience);
    gathering->plan.gateway->answers_owed--;
    gathering->is_told = true;
    gathering->plan.done(gathering->plan.context);
}

static void on_answer(void *context, struct kernel *kernel, const struct error *err);

static void ask_more(struct gathering *gathering) {
    const struct api_gather *plan = &gathering->plan;
    struct kernel *kernel = NULL;
    gathering->is_cut = false;
    while ((kernel = kernels_next(plan->gateway->kernels, kernel)) != NULL) {
        if (kernel_number(kernel) <= gathering->last || !kernel_may_ask_activity(kernel) ||
            !plan->wants(plan->context, kernel))
            continue;
        if (gathering->asking == plan->at_once) {
            gathering->is_cut = true;
            return;
        }
        gathering->last = kernel_number(kernel);
        gathering->asking++;
        kernel_ask_activity(kernel, on_answer, gathering);
    }
}

/* When half of them have answered there is room for as many: one walk serves them all. */
static void on_answer(void *context, struct kernel *kernel, const struct error *err) {
    struct gathering *gathering = context;
    const struct api_gather *plan = &gathering->plan;
    gathering->asking--;
    if (!gathering->is_told && plan->answered != NULL)
        plan->answered(plan->context, kernel, err);
    if (!gathering->is_told && gathering->is_cut && gathering->asking <= plan->at_once / 2)
        ask_more(gathering);
    if (gathering->asking > 0)
        return;
    if (!gathering->is_told)
        tell(gathering);
    free(gathering);
}

void api_gather(const struct api_gather *plan) {
    struct gathering *gathering = memory_alloc(sizeof *gathering);
    gathering->plan = *plan;
    if (gathering->plan.at_once == 0)
        gathering->plan.at_once = API_ASKED_MAX;
    gathering->patience = (struct loop_deadline){.run = tell, .context = gathering};
    plan->gateway->answers_owed++;
    ask_more(gathering);
    if (gathering->asking == 0) {
        tell(gathering);
        free(gathering);
    } else if (plan->patience_ms > 0) {
        loop_deadline_set(plan->gateway->loop, &gathering->patience, plan->patience_ms);
    }
}
