/* What the machine gives: a directory, limits, clocks. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/doctor.h"
#include "gateway/settings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <netdb.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum {
    PROBE_BYTES = 4096,
    CLOCK_TOLERANCE_S = 2,
    DAY_S = 86400,
    FILES_WANTED = 4096,
    FILES_NEEDED = 256
};
enum { TASKS_WANTED = 1000, TASKS_NEEDED = 100, SPACE_NEEDED = 16 << 20 };

static const char runtime_dir[] = "runtime-dir";

bool doctor_is_network(unsigned long type) {
    static const unsigned long types[] = {
        NFS_SUPER_MAGIC,  CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC, V9FS_MAGIC, CEPH_SUPER_MAGIC,
        FUSE_SUPER_MAGIC, AFS_SUPER_MAGIC,  0x0bd00bd0,       0x47504653, /* Lustre, GPFS */
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((type & UINT32_MAX) == types[i])
            return true;
    return false;
}

static bool is_network(const char *path) {
    struct statfs status;
    return statfs(path, &status) == 0 && doctor_is_network((unsigned long)status.f_type);
}

/* What journals and records do with files. NULL: all of it works; else what does not, and errno. */
static const char *probe_file(const char *directory, struct timespec *modified) {
    cleanup_free char *path = memory_printf("%s/.elara-doctor-XXXXXX", directory);
    cleanup_close int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return "a file cannot be made";
    unlink(path);
    struct stat status;
    int failed = posix_fallocate(fd, 0, PROBE_BYTES);
    if (failed != 0) {
        errno = failed;
        return "space cannot be reserved (fallocate)";
    }
    char *map = mmap(NULL, PROBE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return "a file cannot be mapped into memory (mmap)";
    memcpy(map, "elara", 5);
    failed = msync(map, PROBE_BYTES, MS_SYNC);
    munmap(map, PROBE_BYTES);
    char back[5] = "";
    if (failed < 0 || pread(fd, back, sizeof back, 0) != sizeof back ||
        memcmp(back, "elara", 5) != 0)
        return "what is written to mapped memory does not reach the file";
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return "a file cannot be locked (flock)";
    if (fstat(fd, &status) < 0)
        return "a file cannot be looked at";
    if (modified != NULL)
        *modified = status.st_mtim;
    return NULL;
}

/* The directory itself, or while it is not there the nearest one above it, to make it in. */
static char *existing_part(const char *path) {
    char *part = memory_strdup(path);
    while (access(part, F_OK) < 0 && strlen(part) > 1) {
        char *slash = strrchr(part, '/');
        slash[slash == part] = '\0';
    }
    return part;
}

/* 0: usable, as far as its mode says. */
static int check_owner(struct doctor *doctor, const char *path) {
    struct stat status;
    if (lstat(path, &status) < 0) {
        cleanup_free char *parent = existing_part(path);
        if (access(parent, W_OK | X_OK) == 0)
            return 0;
        doctor_tell(
            doctor, runtime_dir, DOCTOR_FAIL,
            "make it (install -d -m 700 -o USER DIRECTORY), or choose another with "
            "--runtime-dir",
            memory_printf("%s is not there, and %s is not ours to make it in", path, parent));
        return -1;
    }
    if (!S_ISDIR(status.st_mode)) {
        doctor_tell(doctor, runtime_dir, DOCTOR_FAIL, "choose another with --runtime-dir",
                    memory_printf("%s is no directory", path));
        return -1;
    }
    if (status.st_uid != geteuid()) {
        doctor_tell(doctor, runtime_dir, DOCTOR_FAIL,
                    "run the gateway as its owner, or choose another with --runtime-dir",
                    memory_printf("%s belongs to uid %u, we are %u", path, (unsigned)status.st_uid,
                                  (unsigned)geteuid()));
        return -1;
    }
    if ((status.st_mode & 077) != 0) {
        cleanup_free char *fix = memory_printf("chmod 700 %s", path);
        doctor_tell(doctor, runtime_dir, DOCTOR_FAIL, fix,
                    memory_printf("%s is open to others (mode %03o): keys lie in it", path,
                                  (unsigned)(status.st_mode & 0777)));
        return -1;
    }
    return 0;
}

static void check_space(struct doctor *doctor, const char *part, const struct settings *settings) {
    struct statvfs space;
    if (statvfs(part, &space) < 0)
        return;
    int64_t free_bytes = (int64_t)(space.f_bavail * space.f_frsize);
    double gib = (double)free_bytes / (1 << 30);
    cleanup_free char *told = memory_printf("%.1f GiB free in %s", gib, part);
    if (free_bytes < SPACE_NEEDED || (space.f_files > 0 && space.f_favail < TASKS_NEEDED))
        doctor_tell(
            doctor, "space", DOCTOR_FAIL,
            "make room, or choose another file system with --runtime-dir",
            memory_printf("%s, %" PRIu64 " files may be made", told, (uint64_t)space.f_favail));
    else if (free_bytes < settings->journal_size)
        doctor_tell(doctor, "space", DOCTOR_WARN, "make room, or lower --journal-size",
                    memory_printf("%s: less than one kernel's journal may grow to (%" PRId64
                                  " MiB)",
                                  told, settings->journal_size >> 20));
    else
        doctor_tell(doctor, "space", DOCTOR_OK, "", steal(&told));
}

void doctor_check_runtime_dir(struct doctor *doctor, const struct settings *settings) {
    const char *path = settings->runtime_dir;
    struct error err = {0};
    if (settings_check_runtime_dir(settings, &err) < 0) {
        doctor_tell(doctor, runtime_dir, DOCTOR_FAIL, "choose a shorter one with --runtime-dir",
                    memory_strdup(err.text));
        return;
    }
    if (check_owner(doctor, path) < 0)
        return;
    cleanup_free char *part = existing_part(path);
    const char *broken = probe_file(part, NULL);
    if (broken != NULL)
        doctor_tell(doctor, runtime_dir, DOCTOR_FAIL,
                    "choose a directory on a local file system with --runtime-dir",
                    memory_printf("%s: %s: %s", part, broken, strerror(errno)));
    else if (is_network(part))
        doctor_tell(
            doctor, runtime_dir, DOCTOR_WARN,
            "choose a directory on a local file system with --runtime-dir",
            memory_printf("%s lies on a network file system: kernels stop when it does", part));
    else
        doctor_tell(doctor, runtime_dir, DOCTOR_OK, "",
                    memory_printf("%s: %s; mmap and flock work", path,
                                  strcmp(part, path) == 0 ? "private and ours"
                                                          : "is made at the first start"));
    check_space(doctor, part, settings);
}

/* ---- limits ---- */

static void check_files(struct doctor *doctor) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (limit.rlim_max >= FILES_WANTED)
        doctor_tell(doctor, "descriptors", DOCTOR_OK, "",
                    limit.rlim_max == RLIM_INFINITY
                        ? memory_strdup("no limit")
                        : memory_printf("%" PRIu64, (uint64_t)limit.rlim_max));
    else
        doctor_tell(doctor, "descriptors",
                    limit.rlim_max < FILES_NEEDED ? DOCTOR_FAIL : DOCTOR_WARN,
                    "ulimit -Hn 65536, or LimitNOFILE=65536 in the systemd unit",
                    memory_printf("%" PRIu64 ": a kernel and each of its clients need one",
                                  (uint64_t)limit.rlim_max));
}

/* The value of a line "Name:\t123" of /proc/PID/status; -1 without one. */
static int64_t status_value(const char *text, const char *name) {
    const char *line = strstr(text, name);
    return line != NULL ? strtoll(line + strlen(name), NULL, 10) : -1;
}

static bool read_small(const char *path, char *text, size_t size) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, size - 1) : -1;
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* What RLIMIT_NPROC counts: threads of our user. */
static int64_t count_tasks(void) {
    DIR *directory = opendir("/proc");
    int64_t tasks = 0;
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        char text[4096];
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        cleanup_free char *path = memory_printf("/proc/%s/status", entry->d_name);
        if (read_small(path, text, sizeof text) &&
            status_value(text, "\nUid:\t") == (int64_t)getuid())
            tasks += status_value(text, "\nThreads:\t");
    }
    if (directory != NULL)
        closedir(directory);
    return tasks;
}

static void tell_tasks(struct doctor *doctor, const char *check, int64_t limit, int64_t used,
                       const char *fix) {
    int64_t left = limit - used;
    enum doctor_state state = left < TASKS_NEEDED   ? DOCTOR_FAIL
                              : left < TASKS_WANTED ? DOCTOR_WARN
                                                    : DOCTOR_OK;
    doctor_tell(doctor, check, state, state == DOCTOR_OK ? "" : fix,
                memory_printf("%" PRId64 " of %" PRId64 " threads are in use%s", used, limit,
                              state == DOCTOR_OK ? "" : "; a kernel has about 20"));
}

static void check_processes(struct doctor *doctor) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && geteuid() != 0)
        tell_tasks(doctor, "processes", (int64_t)limit.rlim_cur, count_tasks(),
                   "ulimit -u, or LimitNPROC= in the systemd unit");
    else
        doctor_tell(doctor, "processes", DOCTOR_OK, "",
                    memory_strdup("this user has no limit of them"));
}

/* cgroup v2 (the kernel's Documentation/admin-guide/cgroup-v2.rst, "PID"). */
static void check_cgroup(struct doctor *doctor) {
    char text[4096], most[64], used[64];
    if (!read_small("/proc/self/cgroup", text, sizeof text) || !text_starts_with(text, "0::/"))
        return;
    text[strcspn(text, "\n")] = '\0';
    cleanup_free char *most_path = memory_printf("/sys/fs/cgroup%s/pids.max", text + 3);
    cleanup_free char *used_path = memory_printf("/sys/fs/cgroup%s/pids.current", text + 3);
    if (!read_small(most_path, most, sizeof most) || !read_small(used_path, used, sizeof used) ||
        text_starts_with(most, "max"))
        return;
    tell_tasks(doctor, "cgroup", strtoll(most, NULL, 10), strtoll(used, NULL, 10),
               "raise pids.max: TasksMax= in the systemd unit, --pids-limit of the container");
}

static void check_inotify(struct doctor *doctor) {
    cleanup_close int fd = inotify_init1(IN_CLOEXEC);
    if (fd < 0)
        doctor_tell(
            doctor, "inotify", DOCTOR_WARN,
            "sysctl fs.inotify.max_user_instances=1024; until then send SIGHUP",
            memory_printf("changed kernelspecs and settings are not seen: %s", strerror(errno)));
    else
        doctor_tell(doctor, "inotify", DOCTOR_OK, "", memory_strdup("there is room for watches"));
}

void doctor_check_limits(struct doctor *doctor, const struct settings *settings) {
    struct rlimit limit;
    check_files(doctor);
    check_processes(doctor);
    check_cgroup(doctor);
    check_inotify(doctor);
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        (int64_t)limit.rlim_cur < settings->journal_size)
        doctor_tell(doctor, "file-size", DOCTOR_FAIL,
                    "ulimit -f unlimited, or LimitFSIZE=infinity in the systemd unit",
                    memory_printf("files may have %" PRIu64 " bytes, a kernel's journal may need "
                                  "more",
                                  (uint64_t)limit.rlim_cur));
}

/* ---- clocks ---- */

static int64_t program_time_s(void) {
    struct stat program;
    return stat("/proc/self/exe", &program) == 0 ? program.st_mtim.tv_sec : 0;
}

void doctor_judge_clocks(struct doctor *doctor, const struct doctor_clocks *clocks) {
    char now[CLOCK_TEXT_SIZE];
    clock_format(clocks->now_s * 1000000, now);
    int64_t apart_s = clocks->now_s - clocks->file_s;
    if (clocks->stands_still)
        doctor_tell(doctor, "clock", DOCTOR_FAIL, "look at the virtual machine's clock source",
                    memory_strdup("the monotonic clock stands still: nothing would ever end"));
    else if (clocks->now_s < clocks->program_s - DAY_S) /* older than the program cannot be true */
        doctor_tell(doctor, "clock", DOCTOR_FAIL, "set it, and let NTP keep it",
                    memory_printf("it is %s, before this program was made: TLS and tokens need "
                                  "the time",
                                  now));
    else if (clocks->file_s >= 0 && (apart_s > CLOCK_TOLERANCE_S || apart_s < -CLOCK_TOLERANCE_S))
        doctor_tell(doctor, "clock", DOCTOR_WARN, "let NTP keep both clocks",
                    memory_printf("the file system's clock (%s) is %" PRId64 " s %s ours",
                                  clocks->place, apart_s > 0 ? apart_s : -apart_s,
                                  apart_s > 0 ? "behind" : "ahead of"));
    else
        doctor_tell(doctor, "clock", DOCTOR_OK, "",
                    memory_printf("%s%s", now, clocks->file_s >= 0 ? ", and files agree" : ""));
}

void doctor_check_clock(struct doctor *doctor, const struct settings *settings) {
    struct timespec modified = {0};
    cleanup_free char *part = existing_part(settings->runtime_dir);
    int64_t first_us = clock_monotonic_us();
    bool is_written = probe_file(part, &modified) == NULL;
    struct doctor_clocks clocks = {.now_s = time(NULL),
                                   .program_s = program_time_s(),
                                   .file_s = is_written ? modified.tv_sec : -1,
                                   .place = part};
    clocks.stands_still = clock_monotonic_us() <= first_us;
    doctor_judge_clocks(doctor, &clocks);
}

bool doctor_check_name(struct doctor *doctor, const char *host, const char *what) {
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int failed = getaddrinfo(host, NULL, &wanted, &found);
    if (failed == 0)
        freeaddrinfo(found);
    else
        doctor_tell(doctor, "dns", DOCTOR_FAIL,
                    failed == EAI_NONAME
                        ? "correct the name, or have the name server know it"
                        : "look at the name servers in /etc/resolv.conf, and whether a "
                          "NetworkPolicy keeps port 53 from them",
                    memory_printf("%s (%s) has no address: %s", host, what, gai_strerror(failed)));
    return failed == 0;
}
