#include "launcher/user_place.h"

#define LOG_AREA "launcher/user_place"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENTRIES_MAX = 1000, DEPTH_MAX = 32 };
enum { DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

int user_place_make(const char *path, uid_t uid, gid_t gid, struct error *err) {
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_system(err, errno, "%s", path);
    int fd = open(path, DIRECTORY);
    int problem = fd < 0 || fchmod(fd, 0700) < 0 || fchown(fd, uid, gid) < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return problem != 0 ? error_system(err, problem, "%s", path) : 0;
}

/* What is done at once, however much a user has left. */
struct pass {
    int place;
    int entries_left;
};

static void clear(struct pass *pass, int fd, int depth);

/* Too deep to be cleared from above: next time it is at the top. */
static void lift(const struct pass *pass, int fd, const char *name, int itself) {
    struct stat found;
    char up[64];
    if (fstat(itself, &found) < 0)
        return;
    snprintf(up, sizeof up, ".removed-%llu", (unsigned long long)found.st_ino);
    renameat(fd, name, pass->place, up);
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as DEPTH_MAX
static void remove_entry(struct pass *pass, int fd, const char *name, int depth) {
    if (unlinkat(fd, name, 0) == 0 || unlinkat(fd, name, AT_REMOVEDIR) == 0)
        return;
    int itself = openat(fd, name, DIRECTORY);
    if (itself < 0)
        return;
    if (depth == DEPTH_MAX)
        lift(pass, fd, name, itself);
    else
        clear(pass, itself, depth + 1);
    close(itself);
    unlinkat(fd, name, AT_REMOVEDIR);
}

// NOLINTNEXTLINE(misc-no-recursion)
static void clear(struct pass *pass, int fd, int depth) {
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *directory = own >= 0 ? fdopendir(own) : NULL;
    const struct dirent *item;
    while (directory != NULL && pass->entries_left > 0 && (item = readdir(directory)) != NULL) {
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        pass->entries_left--;
        remove_entry(pass, fd, item->d_name, depth);
    }
    if (directory != NULL)
        closedir(directory);
    else if (own >= 0)
        close(own);
}

bool user_place_remove(const char *path) {
    struct pass pass = {.place = open(path, DIRECTORY), .entries_left = ENTRIES_MAX};
    if (pass.place >= 0) {
        clear(&pass, pass.place, 0);
        close(pass.place);
    }
    if (rmdir(path) == 0 || errno == ENOENT)
        return true;
    log_warning("%s: %s; what is left there is removed when other kernels end", path,
                strerror(errno));
    return false;
}
