#include "launcher/process_tree.h"

#include "base/memory.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROCESSES_MAX = 65536 };

struct entry {
    pid_t pid, parent;
    uint64_t ticks;
    int64_t pages;
    bool is_below, is_zombie;
};

struct table {
    struct entry *entries;
    size_t count, capacity;
};

/* /proc/<pid>/stat (proc(5)): the name in parentheses may itself hold parentheses and spaces, so
 * the last one counts. */
static bool read_entry(int proc, const char *name, struct entry *ret) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "%.20s/stat", name);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    const char *fields = strrchr(text, ')');
    char state;
    int parent;
    unsigned long long user, system;
    long long children_user, children_system, pages;
    if (fields == NULL ||
        sscanf(fields + 1,
               " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld %*d %*d %*d %*d "
               "%*u %*u %lld",
               &state, &parent, &user, &system, &children_user, &children_system, &pages) != 7)
        return false;
    *ret =
        (struct entry){.pid = (pid_t)atoi(name),
                       .parent = parent,
                       .ticks = user + system + (uint64_t)children_user + (uint64_t)children_system,
                       .pages = pages,
                       .is_zombie = state == 'Z'};
    return true;
}

static void read_all(struct table *table) {
    DIR *directory = opendir("/proc");
    if (directory == NULL)
        return;
    const struct dirent *item;
    while ((item = readdir(directory)) != NULL && table->count < PROCESSES_MAX) {
        struct entry entry;
        if (!isdigit((unsigned char)item->d_name[0]) ||
            !read_entry(dirfd(directory), item->d_name, &entry))
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
    return (a->pid > b->pid) - (a->pid < b->pid);
}

/* Up the parents until this process or the top; bounded, since pids may be reused while /proc is
 * read. */
static bool is_below(const struct table *table, const struct entry *entry, pid_t self) {
    for (int depth = 0; entry != NULL && depth < 1024; depth++) {
        if (entry->parent == self)
            return true;
        if (entry->parent <= 1)
            return false;
        struct entry key = {.pid = entry->parent};
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
        if (!entry->is_below || entry->is_zombie)
            continue;
        ticks += entry->ticks;
        ret->rss_bytes += entry->pages * sysconf(_SC_PAGESIZE);
        ret->processes++;
    }
    ret->cpu_ms = (int64_t)(ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
    free(table.entries);
}

int process_tree_signal(int signum) {
    struct table table = {0};
    int count = 0;
    read_tree(&table);
    for (size_t i = 0; i < table.count; i++) {
        const struct entry *entry = &table.entries[i];
        if (entry->is_below && !entry->is_zombie && kill(entry->pid, signum) == 0)
            count++;
    }
    free(table.entries);
    return count;
}
