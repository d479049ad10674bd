/* The execute requests of one client that no reply has come for yet. When a launcher is lost, its
 * kernel and all knowledge of them go with it: without this their cells would wait for ever. */
#pragma once

#include "base/buffer.h"
#include "base/list.h"
#include "launcher/kernel_message.h"

#include <stdbool.h>
#include <stddef.h>

struct unanswered {
    struct list requests; /* oldest first */
    size_t count, bytes;  /* bounded: the oldest are forgotten */
};

void unanswered_init(struct unanswered *unanswered);
void unanswered_clear(struct unanswered *unanswered);

/* A message in the kernel link's layout, to the kernel; one that is no execute_request is not
 * noted. */
void unanswered_note_request(struct unanswered *unanswered, const void *message, size_t length);
/* The same from the kernel: a reply crosses its request out. Costs nothing while nothing is
 * unanswered. */
void unanswered_note_reply(struct unanswered *unanswered, const void *message, size_t length);

/* The header of the oldest, borrowed; empty when there is none. */
struct bytes unanswered_oldest(const struct unanswered *unanswered);
/* Takes the oldest out: its header. False when there is none. */
bool unanswered_take(struct unanswered *unanswered, struct buffer *header);
