/* inotify on everything that decides which kernelspecs there are: the way to each search directory
 * (every directory on it, so that one that appears, is renamed or is reached over a symlink that is
 * swapped is seen), the search directories and the kernel directories.
 *
 * Each load makes one of its own, and watches each directory BEFORE it reads it, so that no change
 * falls between. */
#pragma once

#include <stdbool.h>

struct spec_watch;

/* Never fails: without inotify its descriptor is -1. */
struct spec_watch *spec_watch_create(void);
void spec_watch_destroy(struct spec_watch *watch);
int spec_watch_fd(const struct spec_watch *watch);
/* What is not seen, and why; NULL: all is. */
const char *spec_watch_problem(const struct spec_watch *watch);

void spec_watch_search_directory(struct spec_watch *watch,
                                 const char *path); /* it need not exist */
void spec_watch_kernel_directory(struct spec_watch *watch, const char *path);

/* Reads what is pending; true when something that was watched for changed, or events were lost. */
bool spec_watch_read(struct spec_watch *watch);
