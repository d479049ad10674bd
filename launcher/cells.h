/* Which cells the journal holds messages of, and where: a bounded table, kept while messages are
 * published and made again from the journal's record headers. */
#pragma once

#include "launcher/message_class.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CELLS_MAX = 1024 }; /* one more pushes out the oldest */

struct cells;

struct cells_entry {
    uint32_t cell;
    uint32_t prompt_session; /* whom it asks */
    uint64_t first, last;    /* seq */
    uint64_t prompt;         /* seq of the input_request that waits for its answer, or 0 */
    bool is_published;       /* some of it came on iopub */
    bool is_whole;           /* its beginning was seen there */
    bool is_running;
};

struct cells *cells_create(void);
void cells_destroy(struct cells *cells); /* NULL is fine */

/* One message, in the order of their numbers. session: whom it is for, 0 = all. */
void cells_note(struct cells *cells, uint64_t seq, uint32_t session,
                const struct message_mark *mark);
/* The session has answered what it was asked. */
void cells_answered(struct cells *cells, uint32_t session);

/* The input_request needs no answer any more. */
bool cells_is_over(struct cells *cells, uint32_t cell, uint64_t prompt);

/* size_t at = 0; while ((entry = cells_next(cells, &at)) != NULL) ... oldest first. Valid until the
 * next call that changes the table. */
const struct cells_entry *cells_next(const struct cells *cells, size_t *at);
