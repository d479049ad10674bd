#include "launcher/install.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 256 << 10 };

/* Beside this program: <prefix>/bin/elara-launcher and <prefix>/lib/elara/pod. */
static char *find_own(struct error *err) {
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0) {
        error_system(err, errno, "/proc/self/exe");
        return NULL;
    }
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    *slash = '\0';
    return memory_printf("%s/../lib/elara/pod", path);
}

static int copy_bytes(int from, int to) {
    cleanup_free char *bytes = memory_alloc(COPY_BYTES);
    for (;;) {
        ssize_t got = read(from, bytes, COPY_BYTES);
        if (got == 0)
            return 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        for (ssize_t at = 0; at < got;) {
            ssize_t put = write(to, bytes + at, (size_t)(got - at));
            if (put < 0 && errno != EINTR)
                return -1;
            at += put > 0 ? put : 0;
        }
    }
}

static int copy_file(const char *from, const char *to, struct error *err) {
    struct stat found;
    cleanup_close int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0 || fstat(in, &found) < 0)
        return error_system(err, errno, "%s", from);
    cleanup_free char *temporary = memory_printf("%s.new", to);
    unlink(temporary); /* of one that was broken off */
    cleanup_close int out = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return error_system(err, errno, "%s", temporary);
    mode_t mode = found.st_mode & 0111 ? 0755 : 0644;
    if (copy_bytes(in, out) < 0 || fchmod(out, mode) < 0 || rename(temporary, to) < 0) {
        error_system(err, errno, "%s", to);
        unlink(temporary);
        return -1;
    }
    return 0;
}

static int make_directory(const char *path, struct error *err) {
    struct stat found;
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return error_system(err, errno, "%s", path);
    if (stat(path, &found) < 0)
        return error_system(err, errno, "%s", path);
    if (!S_ISDIR(found.st_mode))
        return error_set(err, ERROR_INVALID, "%s: not a directory", path);
    if (found.st_uid == geteuid() && chmod(path, 0755) < 0) /* whatever the umask is */
        return error_system(err, errno, "%s", path);
    return 0;
}

static int copy_folder(const char *from, const char *to, const char *name, struct error *err) {
    cleanup_free char *source = memory_printf("%s/%s", from, name);
    cleanup_free char *target = memory_printf("%s/%s", to, name);
    if (make_directory(target, err) < 0)
        return -1;
    DIR *folder = opendir(source);
    if (folder == NULL)
        return error_system(err, errno, "%s", source);
    int result = 0, count = 0;
    const struct dirent *item;
    while (result == 0 && (item = readdir(folder)) != NULL) {
        if (item->d_name[0] == '.')
            continue;
        cleanup_free char *one = memory_printf("%s/%s", source, item->d_name);
        cleanup_free char *other = memory_printf("%s/%s", target, item->d_name);
        result = copy_file(one, other, err);
        count++;
    }
    closedir(folder);
    if (result == 0 && count == 0)
        return error_set(err, ERROR_NOT_FOUND, "%s is empty", source);
    return result;
}

int install_launcher(const char *from, const char *to, struct error *err) {
    cleanup_free char *own = from == NULL ? find_own(err) : memory_strdup(from);
    if (own == NULL)
        return -1;
    if (copy_folder(own, to, "lib", err) == 0 && copy_folder(own, to, "bin", err) == 0)
        return 0;
    return error_wrap(err, "the launcher could not be installed");
}
