/* Tells when a file has changed, by inotify on its directory and on the one it links to: an
 * editor's rename, a copy over it, and the symlink swap of a Kubernetes ConfigMap or Secret are all
 * one call. */
#pragma once

#include "base/error.h"
#include "gateway/loop.h"

struct file_watch;

/* changed() comes a moment after the last event of a burst, only when the file behind the path is
 * another one or has other content times. */
int file_watch_create(struct loop *loop, const char *path, void (*changed)(void *context),
                      void *context, struct file_watch **ret, struct error *err);
void file_watch_destroy(struct file_watch *watch);
