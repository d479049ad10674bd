#include "gateway/metrics_process.h"

#include "gateway/metrics_text.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void write_number(struct buffer *out, const char *name, const char *help, uint64_t value) {
    metrics_text_head(out, name, METRICS_GAUGE, help);
    metrics_text_number(out, name, NULL, 0, value);
}

static void write_memory(struct buffer *out) {
    unsigned long long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return;
    int found = fscanf(file, "%llu %llu", &pages, &resident);
    fclose(file);
    if (found != 2)
        return;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    write_number(out, "process_virtual_memory_bytes", "Virtual memory size in bytes.",
                 pages * page);
    write_number(out, "process_resident_memory_bytes", "Resident memory size in bytes.",
                 resident * page);
}

static void write_descriptors(struct buffer *out) {
    struct rlimit limit;
    DIR *directory = opendir("/proc/self/fd");
    if (directory != NULL) {
        uint64_t count = 0;
        for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
            count += entry->d_name[0] != '.';
        closedir(directory);
        write_number(out, "process_open_fds", "Number of open file descriptors.",
                     count > 0 ? count - 1 : 0); /* without the one we read with */
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        write_number(out, "process_max_fds", "Maximum number of open file descriptors.",
                     limit.rlim_cur);
}

static void write_cpu(struct buffer *out) {
    static const char name[] = "process_cpu_seconds_total";
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return;
    metrics_text_head(out, name, METRICS_COUNTER,
                      "Total user and system CPU time spent in seconds.");
    metrics_text_time(out, name, NULL, 0,
                      ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                          usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

void metrics_process_write(struct buffer *out, int64_t started_us) {
    static const char started[] = "process_start_time_seconds";
    write_memory(out);
    write_descriptors(out);
    write_cpu(out);
    metrics_text_head(out, started, METRICS_GAUGE,
                      "Start time of the process since unix epoch in seconds.");
    metrics_text_time(out, started, NULL, 0, started_us);
}
