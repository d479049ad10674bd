#include "base/map.h"
#include "gateway/kernels_internal.h"

/* Dead kernels are kept so that their notebooks can say why. They have one limit together; at the limit the user who has the most of them gives way, so that
 * nobody's crash loop takes the explanations of others away. */

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
        if (kernel->status.phase != KERNEL_DEAD || kernel->connections > 0 || kernel == newest)
            continue;
        size_t count = count_of(census, kernel->user);
        if (chosen != NULL && (count < most || (count == most && kernel->death > chosen->death)))
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
    if (chosen != NULL)
        kernel_stop(chosen, "it was dead, and newer dead kernels needed its place");
}
