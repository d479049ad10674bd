#include "gateway/confine.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOG_AREA "gateway/confine"

/* All of the first version of the interface, but reading. */
#define CHANGES                                                                                    \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                               \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |   \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE /* headers before Linux 6.2 */
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

/* Moving between directories is always refused by version 1, and has to be asked for in later
 * ones: kernel directories are moved into place. Earlier versions than 3 let any file be cut. */
static uint64_t changes_of(int version) {
    return CHANGES | (version >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) |
           (version >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0);
}

static int allow(int rules, const char *path, uint64_t access, struct error *err) {
    cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr beneath = {.allowed_access = access, .parent_fd = fd};
    if (fd < 0 ||
        syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0)
        return error_system(err, errno, "%s: cannot be excepted from what is closed", path);
    return 0;
}

static int allow_event_log(int rules, const char *path, uint64_t access, struct error *err) {
    if (path == NULL || *path == '\0')
        return 0;
    cleanup_free char *copy = memory_strdup(path);
    return allow(rules, dirname(copy), access, err);
}

static int lock(int version, const char *directory, const char *event_log, struct error *err) {
    uint64_t changes = changes_of(version);
    const struct landlock_ruleset_attr handled = {.handled_access_fs =
                                                      changes | LANDLOCK_ACCESS_FS_EXECUTE};
    cleanup_close int rules =
        (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (rules < 0)
        return error_system(err, errno, "landlock");
    /* Where it cannot be made, or is open to others, whoever wants to write there judges that. */
    bool has_directory =
        file_make_private_directory(directory, NULL) == 0 || access(directory, F_OK) == 0;
    if ((has_directory && allow(rules, directory, changes, err) < 0) ||
        allow(rules, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE, err) < 0 ||
        allow_event_log(rules, event_log, changes, err) < 0)
        return -1;
    if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
        return error_system(err, errno, "landlock");
    return 0;
}

int confine(const char *runtime_directory, const char *event_log, struct error *err) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_system(err, errno, "prctl");
    int version =
        (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 0) {
        log_info("this system has no Landlock (%s): a flaw in the gateway would reach all files "
                 "of its user",
                 strerror(errno));
        return 0;
    }
    return lock(version, runtime_directory, event_log, err);
}
