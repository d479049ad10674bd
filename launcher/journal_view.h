/* What a client that read the whole journal would no longer see: outputs that a clear_output took
 * away, updates of a display that a later one replaced. Follows the records as they are appended;
 * bounded, and what it forgot counts as visible.
 *
 * A comm message may send what follows in its cell elsewhere (into an Output widget), so nothing
 * that lies before one is held for hidden by what comes behind it. */
#pragma once

#include "launcher/journal_segment.h"

enum { VIEW_PARTS_MAX = 4 };

struct journal_view;

/* Bytes of one segment that were just hidden. */
struct view_part {
    uint64_t first_seq; /* the segment's when they were noted */
    uint64_t bytes;
};

struct journal_view *view_create(void);
void view_destroy(struct journal_view *view);
/* record: the next one, in the segment that begins with first_seq. Returns how many parts it hid,
 * at most VIEW_PARTS_MAX of them. */
size_t view_note(struct journal_view *view, const struct segment_record *record, uint64_t first_seq,
                 struct view_part *ret);
/* No client misses the message: it is not seen in the end, or was for no client's eyes and is done
 * with. */
bool view_hides(const struct journal_view *view, const struct segment_record *record);
/* Whether another status came behind the one with this number. */
bool view_is_old_status(const struct journal_view *view, uint64_t seq);
