#include "base/secret.h"

#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LOG_AREA "base/secret"

/* A page for each would be more than a process may lock when it has a link to each of thousands of
 * kernels. */
enum { PAGE_SIZE = 4096, SLOTS = PAGE_SIZE / SECRET_MAX };

struct page {
    struct list_node node;
    uint8_t *memory;
    bool used[SLOTS];
    size_t count;
};

static struct list pages = {{&pages.head, &pages.head}};

static void lock(void *memory) {
    static bool is_said;
    (void)madvise(memory, PAGE_SIZE, MADV_DONTDUMP);
    (void)madvise(memory, PAGE_SIZE, MADV_WIPEONFORK);
    if (mlock(memory, PAGE_SIZE) == 0 || is_said)
        return;
    is_said = true;
    log_warning("keys may be swapped out: no memory can be locked (%s); raise the limit with "
                "LimitMEMLOCK= or ulimit -l",
                strerror(errno));
}

static struct page *make_page(void) {
    void *memory =
        mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    lock(memory);
    struct page *page = memory_alloc(sizeof *page);
    page->memory = memory;
    list_append(&pages, &page->node);
    return page;
}

static struct page *find_room(void) {
    list_each (&pages, struct page, node, page)
        if (page->count < SLOTS)
            return page;
    return make_page();
}

void *secret_alloc(size_t size) {
    if (size > SECRET_MAX)
        abort();
    struct page *page = find_room();
    size_t at = 0;
    while (page->used[at])
        at++;
    page->used[at] = true;
    page->count++;
    return page->memory + at * SECRET_MAX;
}

char *secret_dup(const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(secret_alloc(size), text, size);
}

static struct page *page_of(const uint8_t *secret) {
    list_each (&pages, struct page, node, page)
        if (secret >= page->memory && secret < page->memory + PAGE_SIZE)
            return page;
    abort();
}

void secret_free(void *secret) {
    if (secret == NULL)
        return;
    struct page *page = page_of(secret);
    explicit_bzero(secret, SECRET_MAX);
    page->used[(size_t)((uint8_t *)secret - page->memory) / SECRET_MAX] = false;
    if (--page->count > 0)
        return;
    munmap(page->memory, PAGE_SIZE);
    list_remove(&page->node);
    free(page);
}
