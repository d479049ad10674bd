#include "launcher/session_file.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define LOG_AREA "launcher/session_file"

enum {
    VERSION = 2,
    HEADER_SIZE = 64,
    GROWTH = 4096,
    FIRST_VERSION = 1,
    FIRST_SLOT_SIZE = offsetof(struct session_slot, sure),
};

static const char file_magic[8] = {'E', 'L', 'R', 'A', 'S', 'E', 'S', 'S'};

struct file_header {
    char magic[8];
    uint32_t version;
    uint32_t slot_size;
    uint8_t zero[48];
};
_Static_assert(sizeof(struct file_header) == HEADER_SIZE, "the format says 64");
_Static_assert(sizeof(struct session_slot) % 8 == 0, "slots follow each other aligned");
_Static_assert((int)FIRST_SLOT_SIZE == 416, "as version 1 wrote them");

/* The whole of its largest size is mapped at once, so that slots never move; only the part that has
 * blocks is touched. */
struct session_file {
    int fd; /* -1: plain memory */
    uint8_t *map;
    size_t map_size;
    size_t slots_max;
    size_t slots;     /* with blocks */
    size_t free_from; /* all before it are taken */
    bool told;
};

static struct session_slot *slot_at(const struct session_file *file, size_t place) {
    return (struct session_slot *)(void *)(file->map + HEADER_SIZE) + place;
}

static uint32_t slot_checksum(const struct session_slot *slot) {
    uint64_t value = UINT64_C(0xCBF29CE484222325) ^ slot->number;
    for (const char *at = slot->id; *at != '\0'; at++)
        value = (value ^ (uint8_t)*at) * UINT64_C(0x100000001B3);
    value = (value ^ slot->number) * UINT64_C(0x100000001B3);
    uint32_t folded = (uint32_t)(value >> 32 ^ value);
    return folded != 0 ? folded : 1;
}

static bool is_taken(const struct session_slot *slot) {
    return slot->checksum != 0 && slot->number != 0 && slot->number != UINT32_MAX &&
           slot->id[0] != '\0' && memchr(slot->id, '\0', sizeof slot->id) != NULL &&
           slot->checksum == slot_checksum(slot);
}

static void use_memory(struct session_file *file, const char *path, const char *why) {
    if (!file->told)
        log_error("%s: %s; sessions are kept in memory, which does not survive the launcher",
                  path != NULL ? path : "the file of sessions", why);
    file->told = true;
}

/* Blocks for at least one more slot; a write into a hole of a full disk would be a SIGBUS. */
static bool grow(struct session_file *file) {
    if (file->fd < 0 || file->slots == file->slots_max)
        return false;
    size_t size = HEADER_SIZE + (file->slots + 1) * sizeof(struct session_slot);
    size = (size + GROWTH - 1) / GROWTH * GROWTH;
    if (size > file->map_size)
        size = file->map_size;
    int problem = posix_fallocate(file->fd, 0, (off_t)size);
    if (problem != 0) {
        use_memory(file, NULL, strerror(problem));
        return false;
    }
    file->slots = (size - HEADER_SIZE) / sizeof(struct session_slot);
    return true;
}

static int map_file(struct session_file *file, const char *path) {
    file->map_size = HEADER_SIZE + file->slots_max * sizeof(struct session_slot);
    file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (file->fd < 0)
        return -1;
    file->map = mmap(NULL, file->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (file->map != MAP_FAILED)
        return 0;
    file->map = NULL;
    return -1;
}

static void unmap_file(struct session_file *file) {
    if (file->map != NULL)
        munmap(file->map, file->map_size);
    if (file->fd >= 0)
        close(file->fd);
    file->map = NULL;
    file->fd = -1;
    file->slots = 0;
}

/* How many slots the file of an earlier launcher has; -1 when it is none of that version. A new
 * file has none. */
static ssize_t count_old(const struct session_file *file, uint32_t version, size_t slot_size) {
    struct stat status;
    if (fstat(file->fd, &status) < 0 || !S_ISREG(status.st_mode))
        return -1;
    if (status.st_size == 0)
        return 0;
    if (status.st_size < HEADER_SIZE ||
        posix_fallocate(file->fd, 0, (status.st_size + GROWTH - 1) / GROWTH * GROWTH) != 0)
        return -1; /* a copy may have holes, one that was cut off ends within a slot */
    struct file_header header;
    memcpy(&header, file->map, sizeof header);
    if (memcmp(header.magic, file_magic, sizeof header.magic) != 0 || header.version != version ||
        header.slot_size != slot_size)
        return -1;
    if (fstat(file->fd, &status) < 0)
        return -1;
    size_t slots = ((size_t)status.st_size - HEADER_SIZE) / slot_size;
    return (ssize_t)(slots < file->slots_max ? slots : file->slots_max);
}

/* What is torn or rotten is one session, not all of them. */
static void clear_broken(const struct session_file *file, const char *path) {
    static const struct session_slot none;
    size_t broken = 0;
    for (size_t i = 0; i < file->slots; i++) {
        struct session_slot *slot = slot_at(file, i);
        if (is_taken(slot) || memcmp(slot, &none, sizeof none) == 0)
            continue;
        broken += slot->checksum != 0; /* 0: it was just being made or dropped */
        *slot = none;
    }
    if (broken > 0)
        log_warning("%s: %zu sessions are damaged and forgotten: their clients go on live", path,
                    broken);
}

static struct file_header make_header(void) {
    struct file_header header = {.version = VERSION, .slot_size = sizeof(struct session_slot)};
    memcpy(header.magic, file_magic, sizeof header.magic);
    return header;
}

static bool begin(struct session_file *file) {
    struct file_header header = make_header();
    if (!grow(file))
        return false;
    memcpy(file->map, &header, sizeof header);
    return true;
}

/* The file of version 1, if it is one, makes room for one of ours with the same sessions: whenever
 * we are killed, one of them is there. -1: errno, and it stays. */
static int convert_first(struct session_file *file, const char *path) {
    ssize_t slots = count_old(file, FIRST_VERSION, FIRST_SLOT_SIZE);
    if (slots <= 0)
        return 0;
    cleanup_buffer struct buffer converted = {0};
    struct file_header header = make_header();
    buffer_append(&converted, &header, sizeof header);
    for (ssize_t i = 0; i < slots; i++) {
        struct session_slot slot = {.sure = 0};
        memcpy(&slot, file->map + HEADER_SIZE + i * FIRST_SLOT_SIZE, FIRST_SLOT_SIZE);
        buffer_append(&converted, &slot, sizeof slot);
    }
    if (file_write(path, converted.data, converted.length, 0600, NULL) < 0)
        return -1;
    unmap_file(file);
    return map_file(file, path);
}

/* A file that is not ours makes room for one that is. */
static int open_file(struct session_file *file, const char *path) {
    bool is_mapped = map_file(file, path) == 0;
    if (is_mapped && convert_first(file, path) < 0)
        return -1;
    ssize_t old = is_mapped ? count_old(file, VERSION, sizeof(struct session_slot)) : -1;
    if (old < 0) {
        log_warning("%s: this is no file of sessions; it is replaced, clients go on live", path);
        unmap_file(file);
        if (unlink(path) < 0 && errno != ENOENT)
            return -1;
        if (map_file(file, path) < 0)
            return -1;
        old = 0;
    }
    file->slots = (size_t)old;
    if (file->slots == 0)
        return begin(file) ? 0 : -1;
    clear_broken(file, path);
    return 0;
}

struct session_file *session_file_open(const char *path, size_t slots_max) {
    struct session_file *file = memory_alloc(sizeof *file);
    file->fd = -1;
    file->slots_max = slots_max;
    if (path != NULL && open_file(file, path) < 0) {
        use_memory(file, path, strerror(errno));
        unmap_file(file);
    }
    return file;
}

void session_file_close(struct session_file *file) {
    if (file == NULL)
        return;
    unmap_file(file);
    free(file);
}

struct session_slot *session_file_next(struct session_file *file, size_t *at) {
    while (*at < file->slots) {
        struct session_slot *slot = slot_at(file, (*at)++);
        if (is_taken(slot))
            return slot;
    }
    return NULL;
}

static struct session_slot *find_free(struct session_file *file) {
    for (; file->free_from < file->slots || grow(file); file->free_from++)
        if (slot_at(file, file->free_from)->checksum == 0)
            return slot_at(file, file->free_from);
    return NULL;
}

struct session_slot *session_file_take(struct session_file *file, uint32_t number, const char *id) {
    struct session_slot *slot = id != NULL ? find_free(file) : NULL;
    if (slot == NULL)
        slot = memory_alloc(sizeof *slot);
    memset(slot, 0, sizeof *slot);
    slot->number = number;
    if (id == NULL)
        return slot;
    strncpy(slot->id, id, sizeof slot->id - 1);
    uint32_t checksum = slot_checksum(slot);
    atomic_signal_fence(memory_order_release); /* whoever finds the checksum finds the rest */
    slot->checksum = checksum;
    return slot;
}

void session_file_drop(struct session_file *file, struct session_slot *slot) {
    const uint8_t *place = (const uint8_t *)slot;
    if (file->map == NULL || place < file->map || place >= file->map + file->map_size) {
        free(slot);
        return;
    }
    slot->checksum = 0;
    atomic_signal_fence(memory_order_release);
    memset(slot, 0, sizeof *slot);
    size_t index = (size_t)(slot - slot_at(file, 0));
    if (index < file->free_from)
        file->free_from = index;
}

struct session_gateway *session_gateway_find(struct session_slot *slot, uint64_t gateway) {
    for (size_t i = 0; i < SESSION_GATEWAYS_MAX; i++)
        if (slot->gateways[i].gateway == gateway)
            return &slot->gateways[i];
    return NULL;
}
