#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "gateway/kernels_internal.h"

#define LOG_AREA "gateway/kernel_dead"

/* Dead kernels are kept so that their notebooks can say why. They have one limit together; at the
 * limit the user who has the most of them gives way, so that nobody's crash loop takes the
 * explanations of others away. */

struct census {
    struct map *by_user; /* dead kernels of each, as a number */
    size_t all, most;
};

static const char *user_of(const char *user) {
    return user != NULL ? user : "";
}

static size_t count_of(const struct census *census, const char *user) {
    return (size_t)(uintptr_t)map_get(census->by_user, user_of(user));
}

static struct census take_census(const struct kernels *kernels) {
    struct census census = {.by_user = map_create()};
    list_each (&kernels->all, struct kernel, node, kernel) {
        if (kernel->status.phase != KERNEL_DEAD)
            continue;
        size_t count = count_of(&census, kernel->user) + 1;
        map_put(census.by_user, user_of(kernel->user), (void *)(uintptr_t)count);
        census.all++;
        if (count > census.most)
            census.most = count;
    }
    return census;
}

bool kernels_may_keep_dead(const struct kernels *kernels, const char *user) {
    struct census census = take_census(kernels);
    bool may =
        (int64_t)census.all < kernels->settings.max_failed || count_of(&census, user) < census.most;
    map_destroy(census.by_user);
    return may;
}

/* Of those that nobody looks at: of the user with the most, the one that is dead the longest. */
static struct kernel *choose(const struct kernels *kernels, const struct census *census,
                             const struct kernel *newest) {
    struct kernel *chosen = NULL;
    size_t most = 0;
    list_each (&kernels->all, struct kernel, node, kernel) {
        if (kernel->status.phase != KERNEL_DEAD || kernel->connections > 0 || kernel == newest ||
            kernel->is_adopting || kernel_is_unheard(kernel))
            continue;
        size_t count = count_of(census, kernel->user);
        if (chosen != NULL &&
            (count < most || (count == most && kernel->died_ms >= chosen->died_ms)))
            continue;
        chosen = kernel;
        most = count;
    }
    return chosen;
}

void kernel_make_room(const struct kernel *newest) {
    struct kernels *kernels = newest->kernels;
    struct census census = take_census(kernels);
    struct kernel *chosen = NULL;
    if ((int64_t)census.all > kernels->settings.max_failed)
        chosen = choose(kernels, &census, newest);
    map_destroy(census.by_user);
    if (chosen != NULL && !kernel_is_taken_up(chosen))
        kernel_stop(chosen, "it was dead, and newer dead kernels needed its place");
}

/* By the wall clock, since gateways come and go. A clock that was set back makes it no longer than
 * whole. */
int64_t kernel_retention_ms(const struct kernel *kernel) {
    int64_t whole_ms = kernel->kernels->settings.failed_retention_ms;
    int64_t age_ms = clock_wall_us() / 1000 - kernel->died_ms;
    return age_ms < 0 ? whole_ms : age_ms > whole_ms ? 0 : whole_ms - age_ms;
}

static json_t *dead_record(const struct kernel *kernel) {
    json_t *record = kernel_record(kernel);
    json_object_set_new(record, "phase", json_string("dead"));
    json_object_set_new(record, "reason",
                        json_string(kernel->reason ? kernel->reason : "nobody knows why"));
    if (kernel->reason_cause != NULL)
        json_object_set_new(record, "cause", json_string(kernel->reason_cause));
    json_object_set_new(record, "died_ms", json_integer(kernel->died_ms));
    if (kernel->provision != NULL)
        json_object_del(record, "marks"); /* the launcher's, where there was one */
    return record;
}

void kernel_keep_dead(struct kernel *kernel) {
    struct provisioner *provisioner = kernel->kernels->provisioner;
    bool is_place_free = kernel->provision == NULL || kernel->has_ended;
    struct error err;
    if (provisioner->ops->keep == NULL || kernel->status.phase != KERNEL_DEAD || !is_place_free ||
        kernel->is_unrecorded || kernel->request == NULL)
        return;
    cleanup_json json_t *record = dead_record(kernel);
    if (provisioner->ops->keep(provisioner, kernel->id, record, &kernel_provision_events, kernel,
                               &kernel->provision, &err) == 0)
        kernel->has_ended = true;
    else
        log_warning("kernel %s: the next gateway will not know why it is dead: %s", kernel->id,
                    err.text);
}
