#include "launcher/user_place.h"

#define LOG_AREA "launcher/user_place"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 1000 };

int user_place_make(const char *path, uid_t uid, gid_t gid, struct error *err) {
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_system(err, errno, "%s", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int problem = fd < 0 || fchmod(fd, 0700) < 0 || fchown(fd, uid, gid) < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return problem != 0 ? error_system(err, problem, "%s", path) : 0;
}

void user_place_remove(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *item;
    for (int i = 0; directory != NULL && i < FILES_MAX && (item = readdir(directory)) != NULL; i++)
        if (unlinkat(fd, item->d_name, 0) < 0) /* a directory; ".." is never empty */
            unlinkat(fd, item->d_name, AT_REMOVEDIR);
    if (directory != NULL)
        closedir(directory);
    else if (fd >= 0)
        close(fd);
    if (rmdir(path) < 0 && errno != ENOENT)
        log_warning("%s: %s; it is left there", path, strerror(errno));
}
