/* home_maker SERVER PORT EXPORT DEADLINE_MS PARENT_GID PATH=UID...: prepares homes as the gateway
 * does, all at once, and prints a line for each in the order of the arguments; then how many
 * descriptors are open beyond those there were. */
#include "base/memory.h"
#include "nfs/homes.h"

#include <dirent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct result {
    char *text;
    size_t *left;
    struct event_base *loop;
};

static void on_done(void *context, const struct error *err) {
    struct result *result = context;
    result->text = memory_strdup(err != NULL ? err->text : "ready");
    if (--*result->left == 0)
        event_base_loopbreak(result->loop);
}

static int count_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

int main(int argc, char **argv) {
    if (argc < 7)
        return 2;
    struct event_base *loop = event_base_new();
    int before = count_descriptors();
    struct homes *homes = homes_create(loop);
    size_t count = (size_t)argc - 6, left = count;
    struct result *results = memory_alloc(count * sizeof *results);
    for (size_t i = 0; i < count; i++) {
        char *path = argv[6 + i], *uid = strrchr(path, '=');
        *uid++ = '\0';
        results[i] = (struct result){.left = &left, .loop = loop};
        const struct home_target target = {.server = argv[1],
                                           .port = atoi(argv[2]),
                                           .export_path = argv[3],
                                           .path = path,
                                           .uid = (uint32_t)atoi(uid),
                                           .gid = (uint32_t)atoi(uid),
                                           .parent_gid = atoll(argv[5])};
        homes_prepare(homes, &target, atoll(argv[4]), on_done, &results[i]);
    }
    event_base_dispatch(loop);
    homes_destroy(homes);
    event_base_loop(loop, EVLOOP_NONBLOCK); /* libevent lets go of names that were asked for */
    for (size_t i = 0; i < count; i++) {
        printf("%s\n", results[i].text);
        free(results[i].text);
    }
    printf("%d\n", count_descriptors() - before);
    free(results);
    event_base_free(loop);
    return 0;
}
