#include "launcher/oom_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENDING_MS = 10000 }; /* gigabytes are given back between the kill and the end */

/* The line "oom_kill <n>" of a counter file. */
static int64_t read_counter(const char *path) {
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    int64_t count = -1;
    char line[128];
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "oom_kill ", 9) == 0)
            count = strtoll(line + 9, NULL, 10);
    fclose(file);
    return count;
}

/* Inside a container the cgroup is mounted as the root, whatever path /proc/self/cgroup shows: both
 * places are tried. */
static int64_t read_group(const char *mount, const char *group, const char *name) {
    char path[4352];
    snprintf(path, sizeof path, "%s%s/%s", mount, group, name);
    int64_t count = read_counter(path);
    if (count < 0) {
        snprintf(path, sizeof path, "%s/%s", mount, name);
        count = read_counter(path);
    }
    return count;
}

int64_t oom_watch_count(void) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL)
        return -1;
    char line[4096];
    int64_t count = -1;
    while (count < 0 && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        const char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        controllers++;
        if (strcmp(group, "/") == 0)
            group++; /* the mount itself */
        if (strcmp(controllers, "memory") == 0)
            count = read_group("/sys/fs/cgroup/memory", group, "memory.oom_control");
        else if (controllers[0] == '\0')
            count = read_group("/sys/fs/cgroup", group, "memory.events");
    }
    fclose(file);
    return count;
}

void oom_watch_begin(struct oom_watch *watch, int64_t count, int64_t now_ms) {
    *watch = (struct oom_watch){.before = count, .seen = count, .seen_ms = now_ms};
}

bool oom_watch_is_due(const struct oom_watch *watch, int64_t now_ms) {
    return now_ms - watch->seen_ms >= ENDING_MS;
}

void oom_watch_note(struct oom_watch *watch, int64_t count, int64_t now_ms) {
    watch->before = watch->seen;
    watch->seen = count;
    watch->seen_ms = now_ms;
}

int oom_watch_compare(int64_t before, int64_t after) {
    if (before < 0 || after < 0)
        return -1;
    return after > before;
}
