/*
 * mount.nfs SERVER:/PATH DIRECTORY [-o OPTIONS]: mounts an NFSv4 export through FUSE, where the
 * operating system's kernel has no NFS client. It is what mount(8), and so the kubelet, calls for
 * the type nfs. Of the options it knows ro and port=N; the others are about what it has not:
 * locks, timeouts, protocol versions.
 *
 * Each request goes out with the user and group of the process that caused it, so the server
 * decides who may do what, once the kernel has decided the same by mode and owner. libnfs is used
 * from one thread and waits for each answer.
 */
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>
#include <nfsc/libnfs.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>

/* FUSE's callbacks have no better place for these, and a process has one mount. */
static const char *source, *port = "2049";
static struct nfs_context *nfs;
static uid_t acting_uid;
static gid_t acting_gid;

struct open_file {
    struct nfs_context *nfs; /* an earlier one, once another had to be made */
    struct nfsfh *handle;
    int flags;
    uid_t uid; /* of who opened it: a late write of the page cache comes from nobody */
    gid_t gid;
};

/* Connects to SERVER:/PATH. */
static int connect_to_source(void) {
    const char *colon = strchr(source, ':');
    if (!colon || colon[1] != '/') {
        fprintf(stderr, "mount.nfs: %s: write SERVER:/PATH\n", source);
        return -1;
    }
    nfs = nfs_init_context();
    char *address = NULL;
    if (!nfs || asprintf(&address, "nfs://%.*s%s/?version=4&nfsport=%s&auto-traverse-mounts=0",
                         (int)(colon - source), source, colon + 1, port) < 0)
        return -1;
    struct nfs_url *url = nfs_parse_url_dir(nfs, address);
    free(address);
    if (!url || nfs_mount(nfs, url->server, url->path) != 0) {
        fprintf(stderr, "mount.nfs: %s: %s\n", source, nfs_get_error(nfs));
        return -1;
    }
    nfs_destroy_url(url);
    return 0;
}

static void act_as(struct nfs_context *context, uid_t uid, gid_t gid) {
    acting_uid = uid;
    acting_gid = gid;
    nfs_set_uid(context, (int)uid);
    nfs_set_gid(context, (int)gid);
}

/* A server forgets a client that opens nothing for a while, and what it has open; libnfs, which
 * does not see to it, has ERANGE for what is answered then. An operating system's client would
 * begin anew by itself, and so does this. */
static bool begins_anew(int result) {
    struct nfs_context *before = nfs;
    if (result != -ERANGE)
        return false;
    bool is_connected = connect_to_source() == 0;
    if (!is_connected)
        nfs = before;
    act_as(nfs, acting_uid, acting_gid);
    return is_connected;
}

/* `call` of libnfs, which opens a file. */
#define TRY(result, call)                                                                          \
    do {                                                                                           \
        (result) = (call);                                                                         \
        if (begins_anew(result))                                                                   \
            (result) = (call);                                                                     \
    } while (0)

static void act_as_caller(void) {
    const struct fuse_context *caller = fuse_get_context();
    act_as(nfs, caller->uid, caller->gid);
}

static struct open_file *file_of(const struct fuse_file_info *info) {
    struct open_file *file = (struct open_file *)(uintptr_t)info->fh;
    act_as(file->nfs, file->uid, file->gid);
    return file;
}

/* What the server has forgotten is opened again: whoever holds it sees nothing of that. */
static bool opens_anew(int result, const char *path, struct open_file *file) {
    struct nfsfh *handle;
    if (result != -ERANGE || (file->nfs == nfs && !begins_anew(result)))
        return false;
    act_as(nfs, file->uid, file->gid);
    TRY(result, nfs_open(nfs, path, file->flags & O_ACCMODE, &handle));
    if (result != 0)
        return false;
    file->nfs = nfs;
    file->handle = handle;
    return true;
}

static void copy_stat(const struct nfs_stat_64 *from, struct stat *to) {
    memset(to, 0, sizeof(*to));
    to->st_ino = from->nfs_ino;
    to->st_mode = (mode_t)from->nfs_mode;
    to->st_nlink = from->nfs_nlink;
    to->st_uid = (uid_t)from->nfs_uid;
    to->st_gid = (gid_t)from->nfs_gid;
    to->st_size = (off_t)from->nfs_size;
    to->st_blksize = (blksize_t)from->nfs_blksize;
    to->st_blocks = (blkcnt_t)from->nfs_blocks;
    to->st_atim = (struct timespec){(time_t)from->nfs_atime, (long)from->nfs_atime_nsec};
    to->st_mtim = (struct timespec){(time_t)from->nfs_mtime, (long)from->nfs_mtime_nsec};
    to->st_ctim = (struct timespec){(time_t)from->nfs_ctime, (long)from->nfs_ctime_nsec};
}

static int do_getattr(const char *path, struct stat *status, struct fuse_file_info *info) {
    struct nfs_stat_64 answer;
    int result;
    if (info) {
        result = nfs_fstat64(file_of(info)->nfs, file_of(info)->handle, &answer);
    } else {
        act_as_caller();
        result = nfs_lstat64(nfs, path, &answer);
    }
    if (result == 0)
        copy_stat(&answer, status);
    return result;
}

static int do_readlink(const char *path, char *target, size_t size) {
    act_as_caller();
    return nfs_readlink(nfs, path, target, (int)size);
}

static int do_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags) {
    (void)offset;
    (void)info;
    (void)flags;
    struct nfsdir *directory;
    act_as_caller();
    int result = nfs_opendir(nfs, path, &directory);
    if (result != 0)
        return result;
    for (const struct nfsdirent *entry; (entry = nfs_readdir(nfs, directory));)
        if (fill(buffer, entry->name, NULL, 0, 0) != 0)
            break;
    nfs_closedir(nfs, directory);
    return 0;
}

static int do_mkdir(const char *path, mode_t mode) {
    act_as_caller();
    return nfs_mkdir2(nfs, path, (int)mode);
}

static int do_unlink(const char *path) {
    act_as_caller();
    return nfs_unlink(nfs, path);
}

static int do_rmdir(const char *path) {
    act_as_caller();
    return nfs_rmdir(nfs, path);
}

static int do_symlink(const char *target, const char *path) {
    act_as_caller();
    return nfs_symlink(nfs, target, path);
}

static int do_rename(const char *from, const char *to, unsigned flags) {
    if (flags != 0)
        return -EINVAL; /* NFS has no exchange, and no rename that replaces nothing */
    act_as_caller();
    return nfs_rename(nfs, from, to);
}

static int do_link(const char *from, const char *to) {
    act_as_caller();
    return nfs_link(nfs, from, to);
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *info) {
    (void)info;
    int result;
    act_as_caller();
    TRY(result, nfs_chmod(nfs, path, (int)(mode & 07777)));
    return result;
}

static int do_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *info) {
    (void)info;
    struct nfs_stat_64 now;
    act_as_caller();
    int result = nfs_lstat64(nfs, path, &now);
    if (result != 0)
        return result;
    return nfs_lchown(nfs, path, uid == (uid_t)-1 ? (int)now.nfs_uid : (int)uid,
                      gid == (gid_t)-1 ? (int)now.nfs_gid : (int)gid);
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *info) {
    int result;
    if (info) {
        struct open_file *file = file_of(info);
        do
            result = nfs_ftruncate(file->nfs, file->handle, (uint64_t)size);
        while (opens_anew(result, path, file));
    } else {
        act_as_caller();
        TRY(result, nfs_truncate(nfs, path, (uint64_t)size));
    }
    return result;
}

static int do_utimens(const char *path, const struct timespec times[2],
                      struct fuse_file_info *info) {
    (void)info;
    struct timeval values[2];
    for (int i = 0; i < 2; i++) {
        struct timespec value = times[i];
        if (value.tv_nsec == UTIME_NOW || value.tv_nsec == UTIME_OMIT)
            clock_gettime(CLOCK_REALTIME, &value);
        values[i] = (struct timeval){value.tv_sec, value.tv_nsec / 1000};
    }
    int result;
    act_as_caller();
    TRY(result, nfs_lutimes(nfs, path, values));
    return result;
}

/* Keeps an opened file for FUSE; `result` is of the call that opened it. */
static int keep(int result, struct nfsfh *handle, struct fuse_file_info *info) {
    if (result != 0)
        return result;
    struct open_file *file = malloc(sizeof(*file));
    if (!file) {
        nfs_close(nfs, handle);
        return -ENOMEM;
    }
    const struct fuse_context *caller = fuse_get_context();
    *file = (struct open_file){
        .nfs = nfs, .handle = handle, .flags = info->flags, .uid = caller->uid, .gid = caller->gid};
    info->fh = (uint64_t)(uintptr_t)file;
    return 0;
}

/* O_APPEND is for FUSE to obey: libnfs would look for the file's end at each write. For O_EXCL the
 * kernel has looked whether there is such a file: NFSv4 would do without the race, but would keep
 * what tells two creators apart in the file's times, and libnfs 4.0 cannot set these afterwards. */
static int usable_flags(int flags) {
    return flags & (O_ACCMODE | O_TRUNC);
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *info) {
    struct nfsfh *handle = NULL;
    act_as_caller();
    int flags = usable_flags(info->flags) | O_CREAT;
    int result;
    TRY(result, nfs_create(nfs, path, flags, (int)(mode & 07777), &handle));
    if (result == 0)
        result = nfs_fchmod(nfs, handle, (int)(mode & 07777)); /* libnfs 4.0 creates with 0600 */
    return keep(result, handle, info);
}

static int do_open(const char *path, struct fuse_file_info *info) {
    struct nfsfh *handle = NULL;
    act_as_caller();
    int result;
    TRY(result, nfs_open(nfs, path, usable_flags(info->flags), &handle));
    return keep(result, handle, info);
}

enum {
    READ_MAX = 128 << 10,
    WRITE_MAX = 3 << 10, /* libnfs 4.0 has room for one page in a request of NFSv4 */
};

static size_t at_most(size_t size, size_t limit) {
    return size < limit ? size : limit;
}

static int do_read(const char *path, char *data, size_t size, off_t offset,
                   struct fuse_file_info *info) {
    struct open_file *file = file_of(info);
    size_t done = 0;
    while (done < size) {
        int got = nfs_pread(file->nfs, file->handle, (uint64_t)offset + done,
                            at_most(size - done, READ_MAX), data + done);
        if (opens_anew(got, path, file))
            continue;
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int)done;
}

static int do_write(const char *path, const char *data, size_t size, off_t offset,
                    struct fuse_file_info *info) {
    struct open_file *file = file_of(info);
    size_t done = 0;
    while (done < size) {
        int put = nfs_pwrite(file->nfs, file->handle, (uint64_t)offset + done,
                             at_most(size - done, WRITE_MAX), data + done);
        if (opens_anew(put, path, file))
            continue;
        if (put < 0)
            return put;
        done += (size_t)put;
    }
    return (int)done;
}

static int do_fsync(const char *path, int only_data, struct fuse_file_info *info) {
    (void)path;
    (void)only_data;
    return nfs_fsync(file_of(info)->nfs, file_of(info)->handle);
}

static int do_release(const char *path, struct fuse_file_info *info) {
    (void)path;
    struct open_file *file = file_of(info);
    nfs_close(file->nfs, file->handle);
    free(file);
    return 0;
}

static int do_statfs(const char *path, struct statvfs *status) {
    act_as_caller();
    return nfs_statvfs(nfs, path, status);
}

static void *do_init(struct fuse_conn_info *connection, struct fuse_config *config) {
    (void)connection;
    config->use_ino = 1;
    /* Several clients look at the same files, as with any NFS: nothing is believed for long. */
    config->attr_timeout = 0;
    config->entry_timeout = 0;
    config->negative_timeout = 0;
    config->auto_cache = 1;
    return NULL;
}

static const struct fuse_operations operations = {
    .init = do_init,
    .getattr = do_getattr,
    .readlink = do_readlink,
    .readdir = do_readdir,
    .mkdir = do_mkdir,
    .unlink = do_unlink,
    .rmdir = do_rmdir,
    .symlink = do_symlink,
    .rename = do_rename,
    .link = do_link,
    .chmod = do_chmod,
    .chown = do_chown,
    .truncate = do_truncate,
    .utimens = do_utimens,
    .create = do_create,
    .open = do_open,
    .read = do_read,
    .write = do_write,
    .fsync = do_fsync,
    .release = do_release,
    .statfs = do_statfs,
};

/* Mounts, and then goes into the background: who called mount(8) waits for that. */
static int serve(char *name, char *options, const char *directory) {
    char *words[] = {name, options, NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(2, words);
    struct fuse *fuse = fuse_new(&arguments, &operations, sizeof(operations), NULL);
    if (!fuse || fuse_mount(fuse, directory) != 0 || fuse_daemonize(0) != 0)
        return -1;
    fuse_set_signal_handlers(fuse_get_session(fuse));
    int result = fuse_loop(fuse);
    fuse_unmount(fuse);
    fuse_destroy(fuse);
    return result;
}

int main(int count, char **words) {
    const char *directory = NULL;
    int is_read_only = 0;
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "-o") == 0 && i + 1 < count) {
            for (char *option = strtok(words[++i], ","); option; option = strtok(NULL, ",")) {
                is_read_only |= strcmp(option, "ro") == 0;
                if (strncmp(option, "port=", 5) == 0)
                    port = option + 5;
            }
        } else if (words[i][0] != '-') {
            *(source ? &directory : &source) = words[i];
        }
    }
    if (!source || !directory) {
        fprintf(stderr, "usage: mount.nfs SERVER:/PATH DIRECTORY [-o OPTIONS]\n");
        return 1;
    }
    if (connect_to_source() != 0)
        return 32; /* mount(8): mount failure */
    char *options = NULL;
    /* With default_permissions, because after a chmod or chown that the server refuses libnfs 4.0
     * can open nothing any more: it loses count of the requests that NFSv4 numbers. */
    if (asprintf(&options, "-oallow_other,default_permissions,subtype=nfs,fsname=%s%s", source,
                 is_read_only ? ",ro" : "") < 0)
        return 32;
    return serve(words[0], options, directory) == 0 ? 0 : 32;
}
