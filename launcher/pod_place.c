#include "launcher/pod_place.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "launcher/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

enum { LAUNCH_FILE_MAX = 16 << 20, Z85_LENGTH = 40 };

#define TERMINATION_LOG "/dev/termination-log"

/* --- the kernel directory --- */

static bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* The volume itself is everybody's or its group's: ours is what we make in it. */
static int make_directory(const char *directory, struct error *err) {
    if (file_make_private_directory(directory, err) == 0)
        return 0;
    return error_wrap(err, "the kernel directory must be one that the launcher itself made, below "
                           "a volume that its user can write");
}

static int copy(const char *place, const char *directory, const char *name, size_t limit,
                struct error *err) {
    cleanup_free char *from = memory_printf("%s/%s", place, name);
    cleanup_free char *to = memory_printf("%s/%s", directory, name);
    cleanup_buffer struct buffer text = {.limit = limit + 1};
    if (file_read(from, limit, &text, err) < 0)
        return -1;
    return file_write(to, text.data, text.length, 0600, err);
}

int pod_place_prepare(const char *place, const char *directory, bool *has_ended,
                      struct error *err) {
    cleanup_free char *record = memory_printf("%s/record.json", directory);
    cleanup_free char *mark = memory_printf("%s/ended", directory);
    *has_ended = false;
    if (make_directory(directory, err) < 0)
        return -1;
    if (exists(mark)) {
        *has_ended = true;
        return 0;
    }
    if (exists(record))
        return 0;
    /* The record last: with it the directory is complete. */
    if (copy(place, directory, "launch.json", LAUNCH_FILE_MAX, err) < 0)
        return -1;
    return copy(place, directory, "record.json", LAUNCH_RECORD_MAX, err);
}

int pod_place_end(const char *directory, struct error *err) {
    cleanup_free char *mark = memory_printf("%s/ended", directory);
    return file_write(mark, "", 0, 0600, err);
}

/* --- keys --- */

/* Into text, with a NUL. */
static int read_text(const char *path, char text[Z85_LENGTH + 1], struct error *err) {
    char bytes[Z85_LENGTH + 3] = ""; /* one for a newline, one to see that there is more */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_system(err, errno, "%s", path);
    ssize_t got = read(fd, bytes, sizeof bytes - 1);
    if (got < 0)
        return error_system(err, errno, "%s", path);
    bytes[strcspn(bytes, "\n")] = '\0';
    bool fits = got <= Z85_LENGTH + 1 && strlen(bytes) == Z85_LENGTH;
    if (fits)
        memcpy(text, bytes, Z85_LENGTH + 1);
    explicit_bzero(bytes, sizeof bytes);
    return fits ? 0
                : error_set(err, ERROR_INVALID, "%s: a CURVE key in Z85 has %d characters", path,
                            Z85_LENGTH);
}

static int read_key(const char *place, const char *name, char text[Z85_LENGTH + 1],
                    uint8_t ret[LINK_CURVE_KEY_BYTES], struct error *err) {
    cleanup_free char *path = memory_printf("%s/%s", place, name);
    if (read_text(path, text, err) < 0)
        return -1;
    if (zmq_z85_decode(ret, text) == NULL)
        return error_set(err, ERROR_INVALID, "%s: that is no Z85", path);
    return 0;
}

/* Keys that do not fit would make a link that nobody can use, and nobody could say why. */
static int check_pair(const char *place, const char *secret, const char *public_key,
                      struct error *err) {
    char derived[Z85_LENGTH + 1];
    if (zmq_curve_public(derived, secret) < 0 || strcmp(derived, public_key) != 0)
        return error_set(err, ERROR_INVALID, "%s: link.pub is not the public key of link.key",
                         place);
    return 0;
}

int pod_place_read_keys(const char *place, struct link_curve_keys *ret, struct error *err) {
    char secret[Z85_LENGTH + 1] = "", text[Z85_LENGTH + 1] = "";
    uint8_t ignored[LINK_CURVE_KEY_BYTES];
    int result = read_key(place, "link.key", secret, ret->secret, err);
    if (result == 0)
        result = read_key(place, "link.pub", text, ignored, err);
    if (result == 0)
        result = check_pair(place, secret, text, err);
    if (result == 0)
        result = read_key(place, "gateway.pub", text, ret->gateway, err);
    explicit_bzero(secret, sizeof secret);
    if (result < 0)
        explicit_bzero(ret, sizeof *ret);
    return result;
}

void pod_place_explain(const char *text) {
    cleanup_close int fd = open(TERMINATION_LOG, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0 && write(fd, text, strlen(text)) < 0)
        return; /* it is in the log, too */
}
