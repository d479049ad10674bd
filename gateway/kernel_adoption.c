#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/kernels_internal.h"

#include <string.h>

#define LOG_AREA "gateway/kernel_adoption"

static void on_find_again(void *context);

static void finish_if_settled(struct kernels *kernels) {
    if (kernels->searching || kernels->adopting > 0)
        return;
    loop_deadline_clear(kernels->loop, &kernels->adoption);
}

void kernel_adoption_settled(struct kernel *kernel) {
    if (!kernel->is_adopting)
        return;
    kernel->is_adopting = false;
    kernel->kernels->adopting--;
    finish_if_settled(kernel->kernels);
}

/* Those that have not answered by now are shown as they are: starting, until their launcher speaks or is found dead. */
static void on_patience_ended(void *context) {
    struct kernels *kernels = context;
    log_warning("%zu kernels of an earlier gateway have not answered yet", kernels->adopting);
    list_each (&kernels->all, struct kernel, node, kernel)
        kernel_adoption_settled(kernel);
}

static void on_found(void *context, const char *id, json_t *record) {
    struct kernels *kernels = context;
    if (!text_is_kernel_id(id) || map_get(kernels->by_id, id) != NULL)
        return;
    struct kernel *kernel = kernel_create(kernels, id);
    kernel_take_record(kernel, record);
    if (kernel->owner == NULL)
        kernel_replace(&kernel->owner, ""); /* nobody's: administrators see it */
    if (kernel->user == NULL)
        kernel_replace(&kernel->user, kernel->owner);
    if (kernel->name == NULL)
        kernel_replace(&kernel->name, "unknown");
    if (kernel->display_name == NULL)
        kernel_replace(&kernel->display_name, kernel->name);
    memcpy(kernel->last_activity, kernel->created, CLOCK_TEXT_SIZE);
    kernel_set_stage(kernel, "finding the kernel again");
    kernel->is_adopting = true;
    kernels->adopting++;
}

static void adopt(struct kernel *kernel) {
    struct kernels *kernels = kernel->kernels;
    struct error err;
    if (kernels->provisioner->ops->adopt(kernels->provisioner, kernel->id, &kernel_provision_events,
                                         kernel, &kernel->provision, &err) == 0)
        return;
    log_warning("kernel %s: %s", kernel->id, err.text);
    kernel_set_reason(kernel, err.text, NULL);
    kernel_post(kernel, KERNEL_EVENT_FAILED);
    kernel_adoption_settled(kernel);
}

void kernels_adopt(struct kernels *kernels) {
    struct error err;
    kernels->searching = true;
    if (kernels->provisioner->ops->find(kernels->provisioner, on_found, kernels, &err) < 0) {
        /* An empty list would make clients forget their kernels: rather no answer than a wrong one. */
        log_error("the kernels of an earlier gateway cannot be looked for, trying again: %s",
                  err.text);
        kernels->adoption = (struct loop_deadline){
            .node = kernels->adoption.node, .run = on_find_again, .context = kernels};
        loop_deadline_set(kernels->loop, &kernels->adoption, KERNELS_FIND_AGAIN_MS);
        return;
    }
    kernels->searching = false;
    if (kernels->adopting == 0)
        return;
    log_info("%zu kernels of an earlier gateway were found", kernels->adopting);
    kernels->adoption = (struct loop_deadline){
        .node = kernels->adoption.node, .run = on_patience_ended, .context = kernels};
    loop_deadline_set(kernels->loop, &kernels->adoption, KERNELS_ADOPTION_MS);
    list_each (&kernels->all, struct kernel, node, kernel) {
        if (kernel->is_adopting && kernel->provision == NULL)
            adopt(kernel);
    }
}

static void on_find_again(void *context) {
    kernels_adopt(context);
}

bool kernels_is_adopting(const struct kernels *kernels) {
    return kernels->searching || kernels->adopting > 0;
}
