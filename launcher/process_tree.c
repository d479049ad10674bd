#include "launcher/process_tree.h"

#include "base/memory.h"
#include "launcher/process_stat.h"

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { PROCESSES_MAX = 65536 };

struct entry {
    struct process_stat stat;
    bool is_below;
};

struct table {
    struct entry *entries;
    size_t count, capacity;
};

static void read_all(struct table *table) {
    DIR *directory = opendir("/proc");
    if (directory == NULL)
        return;
    const struct dirent *item;
    while ((item = readdir(directory)) != NULL && table->count < PROCESSES_MAX) {
        struct entry entry = {0};
        if (!isdigit((unsigned char)item->d_name[0]) ||
            !process_stat_read(item->d_name, &entry.stat))
            continue;
        if (table->count == table->capacity) {
            table->capacity = table->capacity ? table->capacity * 2 : 256;
            table->entries =
                memory_resize(table->entries, table->capacity * sizeof *table->entries);
        }
        table->entries[table->count++] = entry;
    }
    closedir(directory);
}

static int by_pid(const void *left, const void *right) {
    const struct entry *a = left;
    const struct entry *b = right;
    return (a->stat.pid > b->stat.pid) - (a->stat.pid < b->stat.pid);
}

/* Up the parents until this process or the top; bounded, since pids may be reused while /proc is
 * read. */
static bool is_below(const struct table *table, const struct entry *entry, pid_t self) {
    for (int depth = 0; entry != NULL && depth < 1024; depth++) {
        if (entry->stat.parent == self)
            return true;
        if (entry->stat.parent <= 1)
            return false;
        struct entry key = {.stat.pid = entry->stat.parent};
        entry = bsearch(&key, table->entries, table->count, sizeof key, by_pid);
    }
    return false;
}

static void read_tree(struct table *table) {
    read_all(table);
    if (table->count == 0)
        return;
    qsort(table->entries, table->count, sizeof *table->entries, by_pid);
    pid_t self = getpid();
    for (size_t i = 0; i < table->count; i++)
        table->entries[i].is_below = is_below(table, &table->entries[i], self);
}

void process_tree_usage(struct process_usage *ret) {
    struct table table = {0};
    uint64_t ticks = 0;
    *ret = (struct process_usage){0};
    read_tree(&table);
    for (size_t i = 0; i < table.count; i++) {
        const struct entry *entry = &table.entries[i];
        if (!entry->is_below || entry->stat.is_zombie)
            continue;
        ticks += entry->stat.ticks;
        ret->rss_bytes += entry->stat.pages * sysconf(_SC_PAGESIZE);
        ret->processes++;
    }
    ret->cpu_ms = process_stat_cpu_ms(ticks);
    free(table.entries);
}

int process_tree_signal(int signum) {
    struct table table = {0};
    int count = 0;
    read_tree(&table);
    for (size_t i = 0; i < table.count; i++) {
        const struct entry *entry = &table.entries[i];
        if (entry->is_below && !entry->stat.is_zombie && kill(entry->stat.pid, signum) == 0)
            count++;
    }
    free(table.entries);
    return count;
}
