#include "nfs/home_mounted.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE_MADE = 0700, OPEN_FLAGS = O_PATH | O_NOFOLLOW | O_CLOEXEC };

static int fail_making(int problem, const char *place, struct error *err) {
    switch (problem) {
    case ENOSPC:
        return error_set(err, ERROR_LIMIT, "there is no space left to make %s", place);
    case EDQUOT:
        return error_set(err, ERROR_LIMIT, "the quota has no room to make %s", place);
    case EROFS:
        return error_set(err, ERROR_DENIED, "%s cannot be made: it is mounted read-only", place);
    case EACCES:
    case EPERM:
        return error_set(err, ERROR_DENIED,
                         "uid %u, as which the gateway runs, may not make %s: it has to be able to "
                         "write the directory above it",
                         geteuid(), place);
    default:
        return error_system(err, problem, "%s cannot be made", place);
    }
}

/* O_PATH with O_NOFOLLOW opens a symbolic link itself. */
static int check_type(int fd, const char *place, struct stat *ret, struct error *err) {
    if (fstat(fd, ret) < 0)
        return error_system(err, errno, "%s cannot be looked at", place);
    if (S_ISLNK(ret->st_mode))
        return error_set(err, ERROR_DENIED,
                         "%s is a symbolic link, which is not followed, as it could lead into "
                         "another's files: put the directory itself there",
                         place);
    if (!S_ISDIR(ret->st_mode))
        return error_set(err, ERROR_INVALID, "%s is a file: a directory has to be there", place);
    return 0;
}

/* The directory `name` in parent; place: its whole path. */
static int enter(int parent, const char *name, const char *place, bool is_given, struct stat *ret,
                 struct error *err) {
    cleanup_close int fd = openat(parent, name, OPEN_FLAGS);
    if (fd < 0 && errno == ENOENT && is_given)
        return error_set(err, ERROR_NOT_FOUND,
                         "there is no %s: the administrator has to make it, as it stands before "
                         "{user} in home-path",
                         place);
    if (fd < 0 && errno == ENOENT) {
        if (mkdirat(parent, name, MODE_MADE) < 0 && errno != EEXIST)
            return fail_making(errno, place, err);
        fd = openat(parent, name, OPEN_FLAGS);
    }
    if (fd < 0)
        return error_system(err, errno, "%s cannot be looked at", place);
    if (check_type(fd, place, ret, err) < 0)
        return -1;
    return steal_fd(&fd);
}

static int check_owner(const struct home_mounted *home, int fd, const char *place,
                       struct stat *status, struct error *err) {
    uid_t wanted = home->uid >= 0 ? (uid_t)home->uid : geteuid();
    bool is_anybodys = home->uid < 0 && wanted == 0; /* root's kernels write everything */
    if (status->st_uid == wanted || is_anybodys)
        return 0;
    if (status->st_uid != 0 || geteuid() != 0)
        return error_set(err, ERROR_DENIED,
                         "%s belongs to uid %u, not to uid %u: the administrator has to correct "
                         "its owner%s",
                         place, status->st_uid, wanted,
                         home->uid >= 0 ? ", or the setting home-uids" : "");
    if (fchownat(fd, "", wanted, (gid_t)home->gid, AT_EMPTY_PATH) < 0)
        return error_system(err, errno, "%s cannot be given to uid %u", place, wanted);
    return 0;
}

static int check_writing(int fd, const char *place, const struct stat *status, struct error *err) {
    if (faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) == 0)
        return 0;
    if (errno == EROFS)
        return error_set(err, ERROR_DENIED, "%s is mounted read-only", place);
    return error_set(err, ERROR_DENIED,
                     "%s belongs to %u:%u with the mode %04o and cannot be written by uid %u, as "
                     "which the gateway runs: the administrator has to correct its owner or its "
                     "mode",
                     place, status->st_uid, status->st_gid, status->st_mode & 07777, geteuid());
}

int home_mounted_prepare(const struct home_mounted *home, struct error *err) {
    cleanup_free char *path = memory_strdup(home->path);
    cleanup_close int fd = open(home->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat status = {0};
    const char *between = strcmp(home->directory, "/") == 0 ? "" : "/";
    if (fd < 0)
        return error_system(err, errno, "%s (home-directory) cannot be entered", home->directory);
    char *rest = path;
    size_t at = 0;
    for (const char *name; (name = strsep(&rest, "/")) != NULL; at++) {
        size_t length = (size_t)(name - path) + strlen(name);
        cleanup_free char *place =
            memory_printf("%s%s%.*s", home->directory, between, (int)length, home->path);
        int next = enter(fd, name, place, at < home->given, &status, err);
        if (next < 0)
            return -1;
        close(fd);
        fd = next;
        if (rest == NULL && (check_owner(home, fd, place, &status, err) < 0 ||
                             check_writing(fd, place, &status, err) < 0))
            return -1;
    }
    return 0;
}
