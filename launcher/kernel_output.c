#include "launcher/kernel_output.h"

#include "base/memory.h"
#include "launcher/log_tail.h"

#define LOG_AREA "launcher/kernel_output"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 16384, TURN_READS = 16, DRAIN_READS = 4096 };

struct kernel_output {
    char *path;
    char *old_path;
    int fd; /* -1: the file cannot be written */
    int64_t half_bytes;
    int64_t written;
    bool is_broken;    /* said so already */
    size_t tail_start; /* a ring */
    size_t tail_length;
    uint8_t tail[KERNEL_OUTPUT_TAIL_BYTES];
};

static void complain(struct kernel_output *output, const char *what) {
    if (!output->is_broken)
        log_warning("%s: %s: %s; output of the kernel process is not kept", output->path, what,
                    strerror(errno));
    output->is_broken = true;
}

static void open_log(struct kernel_output *output) {
    struct stat found;
    output->fd = open(output->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (output->fd < 0)
        complain(output, "cannot be opened");
    else if (fstat(output->fd, &found) == 0)
        output->written = found.st_size;
}

struct kernel_output *kernel_output_create(const char *path, int64_t cap_bytes) {
    struct kernel_output *output = memory_alloc(sizeof *output);
    output->path = memory_strdup(path);
    output->old_path = memory_printf("%s.1", path);
    output->half_bytes = cap_bytes / 2 > 0 ? cap_bytes / 2 : 1;
    open_log(output);
    return output;
}

void kernel_output_destroy(struct kernel_output *output) {
    if (output == NULL)
        return;
    if (output->fd >= 0)
        close(output->fd);
    free(output->path);
    free(output->old_path);
    free(output);
}

static void rotate(struct kernel_output *output) {
    close(output->fd);
    output->fd = -1;
    output->written = 0;
    if (rename(output->path, output->old_path) < 0) {
        complain(output, "cannot be renamed");
        return;
    }
    open_log(output);
}

static void keep(struct kernel_output *output, const uint8_t *data, size_t length) {
    for (size_t i = 0; i < length && output->fd >= 0;) {
        if (output->written >= output->half_bytes) {
            rotate(output);
            continue;
        }
        size_t room = (size_t)(output->half_bytes - output->written);
        ssize_t put = write(output->fd, data + i, length - i < room ? length - i : room);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            complain(output, "cannot be written");
            return;
        }
        output->written += put;
        i += (size_t)put;
    }
}

static void remember(struct kernel_output *output, const uint8_t *data, size_t length) {
    size_t size = sizeof output->tail;
    if (length > size) {
        data += length - size;
        length = size;
    }
    for (size_t i = 0; i < length; i++) {
        output->tail[(output->tail_start + output->tail_length) % size] = data[i];
        if (output->tail_length < size)
            output->tail_length++;
        else
            output->tail_start = (output->tail_start + 1) % size;
    }
}

static int read_some(struct kernel_output *output, int fd, int reads) {
    uint8_t data[READ_BYTES];
    for (int i = 0; i < reads; i++) {
        ssize_t got = read(fd, data, sizeof data);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got <= 0)
            return -1;
        keep(output, data, (size_t)got);
        remember(output, data, (size_t)got);
    }
    return 1;
}

int kernel_output_read(struct kernel_output *output, int fd) {
    return read_some(output, fd, TURN_READS);
}

void kernel_output_drain(struct kernel_output *output, int fd) {
    /* Bounded: a grandchild that holds the pipe may write without end. */
    read_some(output, fd, DRAIN_READS);
}

void kernel_output_begin(struct kernel_output *output) {
    output->tail_start = output->tail_length = 0;
}

char *kernel_output_tail(const struct kernel_output *output) {
    size_t length = output->tail_length;
    char *text = memory_alloc(length + 1);
    for (size_t i = 0; i < length; i++)
        text[i] = (char)output->tail[(output->tail_start + i) % sizeof output->tail];
    return log_tail_of(text, length, KERNEL_OUTPUT_TAIL_LINES, length == sizeof output->tail);
}
