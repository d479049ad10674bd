#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "launcher/link_server_internal.h"
#include "launcher/message_make.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "launcher/link_rebuild"

/* A message is suspected of ending connections when it is large; the larger, the sooner: networks
 * break by themselves. */
enum {
    SUSPECT_BYTES = 1 << 20,
    SUSPECT_ENDS = 4,
    LARGE_BYTES = 4 << 20,
    LARGE_ENDS = 2,
};

struct rebuilt_cell {
    uint32_t cell;
    uint64_t behind; /* its messages behind this are repeated */
    bool is_kept; /* its output is not cleared: of that, the journal has not everything any more */
};

/* What an attachment is sent before everything else. */
struct link_rebuild {
    struct rebuilt_cell *cells;
    size_t count;
    size_t opened;           /* of the cells, how many were told what comes */
    uint64_t position;       /* in the journal: everything up to it was sent or is not wanted */
    uint64_t until;          /* where the stream takes over */
    uint64_t unsure_to;      /* behind it nothing has arrived */
    struct journal_lost gap; /* met on the way, not told yet */
};

/* --- what is unsure --- */

struct range {
    uint64_t from, to; /* (from, to]: empty when to <= from */
};

void link_rebuild_init(struct link_session *session) {
    cursor_trail_reset(&session->trail, clock_monotonic_ms(), session->slot->sure);
    session->unsure_to = session->slot->sent_max;
}

static uint64_t lower(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

void link_rebuild_advance(struct link_attachment *attachment, uint64_t seq) {
    struct link_session *session = attachment->session;
    int64_t now_ms = clock_monotonic_ms();
    if (attachment->rebuild == NULL && seq > attachment->start)
        attachment->is_unproved = false;
    if (!attachment->is_unproved &&
        session->slot->cursor > cursor_trail_at(&session->trail, INT64_MAX))
        cursor_trail_move(&session->trail, now_ms, session->slot->cursor);
    uint64_t sure = cursor_trail_at(&session->trail, now_ms - session->unsure_ms);
    list_each (&session->attachments, struct link_attachment, node, each)
        sure = lower(sure, each->sure);
    session->slot->sure = sure;
}

static void widen(struct range *range, const struct link_session *session, uint64_t from,
                  uint64_t to) {
    range->from = lower(range->from, from);
    if (to > range->to)
        range->to = to;
    if (range->from < session->slot->cursor && session->slot->cursor > range->to)
        range->to = session->slot->cursor;
}

static void remember(struct link_session *session, struct range range, int64_t now_ms) {
    cursor_trail_reset(&session->trail, now_ms, range.from);
    session->unsure_to = range.to;
    session->slot->sure = range.from;
}

void link_rebuild_end(struct link_attachment *attachment) {
    struct link_session *session = attachment->session;
    if (attachment->rebuild != NULL)
        free(attachment->rebuild->cells);
    free(attachment->rebuild);
    attachment->rebuild = NULL;
    if (session->id == NULL || attachment->sent == 0)
        return;
    int64_t now_ms = clock_monotonic_ms();
    struct range range = {attachment->sure, session->unsure_to};
    widen(&range, session, cursor_trail_at(&session->trail, now_ms - attachment->unsure_ms),
          attachment->left != UINT64_MAX ? attachment->left : attachment->last_sent);
    if (attachment->sure <= attachment->start) /* nor was it there to read the rebuild */
        widen(&range, session, attachment->rebuilt_from, 0);
    remember(session, range, now_ms);
}

/* Also of connections that are still there: who comes back may know better than we that they are
 * dead. */
static struct range find_range(const struct link_attachment *attachment, uint64_t sure,
                               int64_t now_ms) {
    const struct link_session *session = attachment->session;
    struct range range = {sure, session->unsure_to};
    widen(&range, session, cursor_trail_at(&session->trail, now_ms), 0);
    list_each (&session->attachments, struct link_attachment, node, other) {
        if (other == attachment || other->sent == 0)
            continue;
        /* of those at its own gateway it has just been said anew */
        uint64_t heard = other->peer != attachment->peer ? lower(sure, other->sure) : sure;
        uint64_t arrived = cursor_trail_at(&session->trail, now_ms - other->unsure_ms);
        widen(&range, session, lower(heard, arrived), other->last_sent);
        if (heard <= other->start)
            widen(&range, session, other->rebuilt_from, 0);
    }
    return range;
}

/* --- which cells --- */

static bool is_asking(const struct cells_entry *entry, const struct link_session *session) {
    return entry->prompt != 0 && entry->prompt_session == session->number;
}

static bool is_unsure(const struct cells_entry *entry, const struct link_session *session,
                      struct range range) {
    if (is_asking(entry, session))
        return true;
    return range.to > range.from && entry->last > range.from && entry->first <= range.to;
}

/* Something of the cell that anybody could see is gone from the journal, up to there. */
static bool has_lost(const struct link_server *server, const struct cells_entry *entry,
                     uint64_t until) {
    struct journal_record record;
    uint64_t seq = entry->first - 1;
    while (seq < until && journal_next(server->journal, seq, &record) > 0) {
        if (record.first > seq + 1 ||
            (record.is_folded && record.mark.cell == entry->cell && record.folded.messages > 0))
            return true;
        seq = record.seq;
    }
    return false;
}

/* Clearing a cell of which the client may have what is gone, or what was before anything we know of
 * it, would take that from it. Such a one goes on behind what is sure; but who is asked for input
 * is asked again. */
static struct rebuilt_cell begin_cell(const struct link_session *session,
                                      const struct cells_entry *entry, struct range range) {
    uint64_t seen = range.to > range.from ? range.to : range.from;
    if (entry->is_whole && !has_lost(session->server, entry, seen))
        return (struct rebuilt_cell){.cell = entry->cell, .behind = entry->first - 1};
    uint64_t behind = range.from;
    if (is_asking(entry, session) && entry->prompt <= behind)
        behind = entry->prompt - 1;
    return (struct rebuilt_cell){.cell = entry->cell, .behind = behind, .is_kept = true};
}

/* A newcomer has nothing of any cell. */
static struct link_rebuild *choose(const struct link_session *session, struct range range,
                                   bool is_known) {
    const struct cells *table = session->server->cells;
    const struct cells_entry *entry;
    struct link_rebuild *rebuild = memory_alloc(sizeof *rebuild);
    rebuild->cells = memory_alloc(CELLS_MAX * sizeof *rebuild->cells);
    size_t at = 0;
    while ((entry = cells_next(table, &at)) != NULL)
        if (is_known ? is_unsure(entry, session, range) : entry->is_whole && entry->is_running)
            rebuild->cells[rebuild->count++] =
                is_known ? begin_cell(session, entry, range)
                         : (struct rebuilt_cell){.cell = entry->cell, .behind = entry->first - 1};
    if (rebuild->count > 0) {
        rebuild->cells = memory_resize(rebuild->cells, rebuild->count * sizeof *rebuild->cells);
        return rebuild;
    }
    free(rebuild->cells);
    free(rebuild);
    return NULL;
}

void link_rebuild_start(struct link_attachment *attachment, bool is_known, uint64_t sure) {
    struct link_session *session = attachment->session;
    int64_t now_ms = clock_monotonic_ms();
    struct range range = find_range(attachment, sure, now_ms);
    struct link_rebuild *rebuild = choose(session, range, is_known);
    if (rebuild != NULL) {
        rebuild->until = attachment->position;
        rebuild->position = UINT64_MAX;
        for (size_t i = 0; i < rebuild->count; i++)
            if (rebuild->cells[i].behind < rebuild->position)
                rebuild->position = rebuild->cells[i].behind;
        rebuild->unsure_to = range.to;
        /* it has nothing to clear; a second connection of it, at once, has to get the same */
        if (!is_known) {
            rebuild->opened = rebuild->count;
            range = (struct range){rebuild->position, rebuild->until};
        }
        attachment->rebuild = rebuild;
        attachment->is_unproved = true;
        attachment->rebuilt_from = range.from;
    }
    remember(session, range, now_ms);
}

/* NULL: the record is of none of them, or of one before it goes on. */
static const struct rebuilt_cell *find_cell(const struct link_rebuild *rebuild,
                                            const struct journal_record *record) {
    for (size_t i = rebuild->count; i-- > 0;)
        if (rebuild->cells[i].cell == record->mark.cell)
            return record->seq > rebuild->cells[i].behind ? &rebuild->cells[i] : NULL;
    return NULL;
}

/* --- sending --- */

/* The output goes; what comes next makes it again. As if the kernel had said it: JupyterLab drops
 * what it has not yet handled when a message of another session comes. */
static int write_clear(struct link_server *server, const struct journal_record *record) {
    struct kernel_message message;
    char session[256];
    if (kernel_message_parse(record->data, record->length, &message, NULL) < 0 ||
        json_scan_text(message.header, "session", session, sizeof session) < 0)
        return -1;
    return message_make(&server->scratch,
                        &(struct message_recipe){CHANNEL_IOPUB, "clear_output", session,
                                                 message.parent_header,
                                                 json_pack("{s:b}", "wait", false)});
}

/* What comes may be there already, which is as true of what the journal has no more. */
static int write_twice(struct link_server *server, const struct journal_record *record) {
    struct kernel_message message = {.parent_header = record->parent_header};
    if (!record->is_folded &&
        kernel_message_parse(record->data, record->length, &message, NULL) < 0)
        return -1;
    return link_session_write_line(
        server, message.parent_header, record->seq - 1,
        "[elara] The connection broke, and not all of this cell's output is kept to show it anew. "
        "Some of what comes next, or is said to be left out, may stand above already.");
}

static bool is_opening(const struct rebuilt_cell *cell, const struct journal_record *record) {
    if (record->mark.cell != cell->cell || record->mark.class == MESSAGE_REQUEST)
        return false;
    if (!cell->is_kept)
        return !record->is_folded;
    if (record->is_folded)
        return record->folded.messages > 0;
    return record->mark.class == MESSAGE_STREAM || record->mark.class == MESSAGE_OUTPUT;
}

/* The first message of the cell that is still there; of one that is kept, the first output that may
 * stand twice. */
static bool find_opening(const struct link_server *server, const struct link_rebuild *rebuild,
                         const struct rebuilt_cell *cell, struct journal_record *ret) {
    uint64_t seq = cell->behind;
    while (journal_next(server->journal, seq, ret) > 0 &&
           (!cell->is_kept || ret->seq <= rebuild->unsure_to)) {
        if (is_opening(cell, ret))
            return true;
        seq = ret->seq;
    }
    return false;
}

static enum link_step send_openings(struct link_attachment *attachment) {
    struct link_rebuild *rebuild = attachment->rebuild;
    struct link_server *server = attachment->session->server;
    struct journal_record record;
    for (; rebuild->opened < rebuild->count; rebuild->opened++) {
        const struct rebuilt_cell *cell = &rebuild->cells[rebuild->opened];
        if (!find_opening(server, rebuild, cell, &record) ||
            (cell->is_kept ? write_twice(server, &record) : write_clear(server, &record)) < 0)
            continue;
        enum link_step step = link_session_emit(attachment, LINK_FLAG_REPEAT, 0,
                                                server->scratch.data, server->scratch.length, NULL);
        if (step != LINK_STEP_DONE)
            return step;
    }
    return LINK_STEP_DONE;
}

/* States of the kernel are not repeated: clients show dialogs for them. What a cell's comm messages
 * did was done to no output. An update changes outputs of other cells, too, and in the end it is
 * the last one that counts. */
static bool is_repeated(const struct link_attachment *attachment,
                        const struct journal_record *record) {
    const struct link_session *session = attachment->session;
    if (!link_session_concerns(session, record))
        return false;
    switch (record->mark.class) {
    case MESSAGE_UPDATE:
        return true;
    case MESSAGE_STREAM:
    case MESSAGE_OUTPUT:
    case MESSAGE_CLEAR:
    case MESSAGE_BUSY:
    case MESSAGE_IDLE:
    case MESSAGE_INPUT:
    case MESSAGE_REPLY:
        return find_cell(attachment->rebuild, record) != NULL;
    case MESSAGE_PROMPT:
        return find_cell(attachment->rebuild, record) != NULL &&
               !cells_is_over(session->server->cells, record->mark.cell, record->seq);
    default:
        return false;
    }
}

/* What the cap took is said in the cell in whose place it is noticed. */
static enum link_step send_gap(struct link_attachment *attachment,
                               const struct journal_record *record, struct bytes parent_header) {
    struct link_server *server = attachment->session->server;
    struct journal_lost *gap = &attachment->rebuild->gap;
    if (gap->messages == 0 ||
        link_session_write_lost(server, parent_header, record->seq - 1, *gap) < 0)
        return LINK_STEP_DONE;
    enum link_step step = link_session_emit(attachment, LINK_FLAG_REPEAT, 0, server->scratch.data,
                                            server->scratch.length, NULL);
    if (step == LINK_STEP_DONE)
        *gap = (struct journal_lost){0, 0};
    return step;
}

static enum link_step repeat_message(struct link_attachment *attachment,
                                     const struct journal_record *record) {
    struct link_server *server = attachment->session->server;
    struct link_rebuild *rebuild = attachment->rebuild;
    if (rebuild->gap.messages > 0) {
        struct kernel_message message = {.channel = CHANNEL_IOPUB};
        (void)kernel_message_parse(record->data, record->length, &message, NULL);
        enum link_step step = send_gap(attachment, record, message.parent_header);
        if (step != LINK_STEP_DONE)
            return step;
    }
    if (link_rebuild_is_skipped(attachment->session, record->seq) &&
        link_rebuild_write_skipped(server, record) == 0)
        return link_session_emit(attachment, LINK_FLAG_REPEAT, record->seq, server->scratch.data,
                                 server->scratch.length, NULL);
    return link_session_emit(attachment, LINK_FLAG_REPEAT, record->seq, record->data,
                             record->length, record);
}

/* What the row says is missing, of the numbers behind this one. */
static struct journal_lost lost_behind(const struct journal *journal,
                                       const struct journal_record *row, uint64_t behind) {
    struct journal_record part = *row;
    if (row->first <= behind)
        (void)journal_next(journal, behind, &part);
    return part.folded;
}

/* Rows of folded messages that follow each other are told in one. */
static enum link_step repeat_folded(struct link_attachment *attachment,
                                    const struct journal_record *record) {
    struct journal_lost *gap = &attachment->rebuild->gap;
    const struct rebuilt_cell *cell = find_cell(attachment->rebuild, record);
    if (cell == NULL)
        return LINK_STEP_DONE;
    struct journal_lost before = *gap;
    struct journal_lost lost =
        lost_behind(attachment->session->server->journal, record, cell->behind);
    gap->messages += lost.messages;
    gap->bytes += lost.bytes;
    if (record->goes_on)
        return LINK_STEP_DONE;
    enum link_step step = send_gap(attachment, record, record->parent_header);
    if (step != LINK_STEP_DONE)
        *gap = before; /* it comes again */
    return step;
}

/* The stream tells of a row what is behind the cursor; with it, what the rebuild has met of the
 * same output. */
static void hand_over(struct link_attachment *attachment, const struct journal_record *row) {
    struct link_rebuild *rebuild = attachment->rebuild;
    const struct journal *journal = attachment->session->server->journal;
    const struct rebuilt_cell *cell = find_cell(rebuild, row);
    if (!row->is_folded || row->folded.messages == 0 || cell == NULL)
        return;
    struct journal_lost all = lost_behind(journal, row, cell->behind);
    struct journal_lost rest = lost_behind(journal, row, rebuild->until);
    attachment->folded.messages = rebuild->gap.messages + all.messages - rest.messages;
    attachment->folded.bytes = rebuild->gap.bytes + all.bytes - rest.bytes;
}

static enum link_step repeat(struct link_attachment *attachment,
                             const struct journal_record *record) {
    struct link_rebuild *rebuild = attachment->rebuild;
    const struct journal *journal = attachment->session->server->journal;
    if (record->first > rebuild->position + 1) {
        struct journal_lost lost = journal_lost_since(journal, rebuild->position);
        rebuild->gap.messages += lost.messages;
        rebuild->gap.bytes += lost.bytes;
        rebuild->position = record->first - 1;
    }
    enum link_step step = LINK_STEP_DONE;
    if (record->is_folded)
        step = repeat_folded(attachment, record);
    else if (is_repeated(attachment, record))
        step = repeat_message(attachment, record);
    if (step == LINK_STEP_DONE)
        rebuild->position = record->seq;
    return step;
}

enum link_step link_rebuild_step(struct link_attachment *attachment) {
    struct link_rebuild *rebuild = attachment->rebuild;
    const struct journal *journal = attachment->session->server->journal;
    struct journal_record record;
    enum link_step step = send_openings(attachment);
    bool is_more = false;
    while (step == LINK_STEP_DONE &&
           (is_more = journal_next(journal, rebuild->position, &record) > 0) &&
           record.seq <= rebuild->until)
        step = repeat(attachment, &record);
    if (step != LINK_STEP_DONE)
        return step;
    if (is_more)
        hand_over(attachment, &record);
    free(rebuild->cells);
    free(rebuild);
    attachment->rebuild = NULL;
    return LINK_STEP_DONE;
}

/* --- messages that end connections --- */

bool link_rebuild_is_skipped(const struct link_session *session, uint64_t seq) {
    unsigned count =
        session->skipped_count < SESSION_SKIPPED_MAX ? session->skipped_count : SESSION_SKIPPED_MAX;
    for (unsigned i = 0; i < count; i++)
        if (session->skipped[i] == seq)
            return true;
    return false;
}

int link_rebuild_write_skipped(struct link_server *server, const struct journal_record *record) {
    struct kernel_message message;
    char type[64], session[256], text[256];
    if (kernel_message_parse(record->data, record->length, &message, NULL) < 0 ||
        json_scan_text(message.header, "msg_type", type, sizeof type) < 0 ||
        json_scan_text(message.header, "session", session, sizeof session) < 0)
        return -1;
    snprintf(text, sizeof text,
             "\n[elara] A message (%s, %zu bytes) was left out here: the connection ended each "
             "time it was sent.\n",
             type, record->length);
    if (record->mark.class == MESSAGE_REPLY) /* it must come, or the cell never ends */
        return message_make_error_reply(&server->scratch, session, message.parent_header,
                                        "MessageLeftOut", text);
    return message_make_stderr(&server->scratch, session, message.parent_header, text);
}

/* After how many broken ends; 0: it is not suspected. */
static unsigned ends_of(const struct link_session *session, uint64_t seq) {
    struct journal_record record;
    if (seq == 0 || journal_next(session->server->journal, seq - 1, &record) <= 0 ||
        record.is_folded || record.seq != seq || !link_session_concerns(session, &record) ||
        record.length < SUSPECT_BYTES)
        return 0;
    return record.length < LARGE_BYTES ? SUSPECT_ENDS : LARGE_ENDS;
}

static void suspect(struct link_session *session, uint64_t seq) {
    unsigned ends = ends_of(session, seq);
    session->suspect_ends = ends > 0 && session->suspect == seq ? session->suspect_ends + 1 : 1;
    session->suspect = ends > 0 ? seq : 0;
    if (ends == 0 || session->suspect_ends < ends)
        return;
    log_warning("session %u: message %" PRIu64 " is not sent to it any more: %u connections ended "
                "while it was",
                session->number, seq, session->suspect_ends);
    session->skipped[session->skipped_count++ % SESSION_SKIPPED_MAX] = seq;
    session->suspect = 0;
}

/* --- DETACH --- */

/* -1: it is no number. Without the member it stays as it is. */
static int take_seq(const json_t *json, const char *member, uint64_t *ret, struct error *err) {
    const json_t *seq = json_object_get(json, member);
    if (seq == NULL)
        return 0;
    if (!json_is_integer(seq) || json_integer_value(seq) < 0)
        return error_set(err, ERROR_INVALID, "%s: must be the number of a message", member);
    *ret = (uint64_t)json_integer_value(seq);
    return 0;
}

static int take_ending(struct link_attachment *attachment, const json_t *json, struct error *err) {
    uint64_t left = attachment->left, sure = attachment->sure, seq = 0;
    if (take_seq(json, "left", &left, err) < 0 || take_seq(json, "sure", &sure, err) < 0 ||
        take_seq(json, "suspect", &seq, err) < 0)
        return -1;
    const struct session_slot *slot = attachment->session->slot;
    if (left != UINT64_MAX && left > slot->sent_max && left > slot->cursor)
        return error_set(err, ERROR_INVALID, "left: more than was sent");
    attachment->left = left;
    attachment->sure = sure;
    if (json_is_true(json_object_get(json, "broken")))
        suspect(attachment->session, seq);
    return 0;
}

void link_rebuild_take_ending(struct link_attachment *attachment, const struct link_frame *frame,
                              const uint8_t *payload) {
    struct error err;
    if (frame->length == 0)
        return;
    cleanup_json json_t *json =
        link_server_parse(payload, frame->length, SERVER_SMALL_JSON_MAX, &err);
    if (json != NULL && take_ending(attachment, json, &err) == 0)
        return;
    log_warning("gateway %.36s: attachment %u: DETACH: %s", attachment->peer->gateway,
                attachment->number, err.text);
}
