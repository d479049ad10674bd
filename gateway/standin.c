#include "gateway/standin.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/absence.h"
#include "launcher/message_make.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    HELD_MAX = 1000,           /* requests */
    HELD_BYTES_MAX = 1 << 20,  /* of one client */
    CELL_BYTES_MAX = 64 << 10, /* a longer cell shows no stage */
    SHOW_AFTER_MS = 700,       /* a start faster than this shows nothing: no flicker */
    SHOW_EVERY_MS = 1000,
};

/* A request that waits for the kernel. */
struct held {
    struct list_node node;
    size_t length;
    uint8_t message[];
};

struct standin {
    struct loop *loop;
    struct kernel *kernel;
    standin_message *say;
    standin_forward *forward;
    standin_recorded *recorded;
    void *context;
    struct list held; /* there is no way to the launcher, or it is told to end */
    size_t held_count;
    size_t held_bytes;
    struct loop_deadline tick;
    int64_t since_ms; /* when the waiting began */
    /* the first one that a person looks at and that waits; also when it is with the launcher
     * already */
    struct held *cell;
    bool shown; /* it shows the stage under display_id */
    char session[37];
    char display_id[37];
    struct buffer doubted; /* header of the cell that shows the doubt under doubt_id; empty: none */
    char doubt_id[37];
    struct buffer scratch;
    struct absence answerer;
};

static void show_stage(void *context);

static void say_made(void *context, const struct message_recipe *recipe) {
    struct standin *standin = context;
    if (message_make(&standin->scratch, recipe) == 0) /* our own texts are UTF-8 */
        standin->say(standin->context, standin->scratch.data, standin->scratch.length);
}

struct standin *standin_create(struct loop *loop, struct kernel *kernel, standin_message *say,
                               standin_forward *forward, standin_recorded *recorded,
                               void *context) {
    struct standin *standin = memory_alloc(sizeof *standin);
    standin->loop = loop;
    standin->kernel = kernel;
    standin->say = say;
    standin->forward = forward;
    standin->recorded = recorded;
    standin->context = context;
    standin->tick = (struct loop_deadline){.run = show_stage, .context = standin};
    standin->answerer = (struct absence){.say = say_made, .context = standin};
    list_init(&standin->held);
    text_uuid4(standin->session);
    text_uuid4(standin->display_id);
    return standin;
}

static void drop_held(struct standin *standin, struct held *held) {
    list_remove(&held->node);
    standin->held_count--;
    standin->held_bytes -= held->length;
    free(held);
}

void standin_destroy(struct standin *standin) {
    if (standin == NULL)
        return;
    loop_deadline_clear(standin->loop, &standin->tick);
    list_each (&standin->held, struct held, node, held)
        drop_held(standin, held);
    buffer_free(&standin->scratch);
    buffer_free(&standin->doubted);
    free(standin->cell);
    free(standin);
}

static bool is_ready(const struct standin *standin) {
    return kernel_status(standin->kernel)->phase == KERNEL_READY;
}

static bool is_over(const struct standin *standin) {
    enum kernel_phase phase = kernel_status(standin->kernel)->phase;
    return phase == KERNEL_DEAD || phase == KERNEL_GONE;
}

bool standin_is_needed(const struct standin *standin) {
    return !is_ready(standin) || standin->held_count > 0;
}

bool standin_is_full(const struct standin *standin) {
    return standin->held_count >= HELD_MAX || standin->held_bytes >= HELD_BYTES_MAX;
}

static bool find_visible_cell(const struct standin *standin, struct kernel_message *ret) {
    return standin->cell != NULL &&
           kernel_message_parse(standin->cell->message, standin->cell->length, ret, NULL) == 0;
}

static struct held *keep(const void *message, size_t length) {
    struct held *held = memory_alloc(sizeof *held + length);
    held->length = length;
    memcpy(held->message, message, length);
    return held;
}

static char *stage_text(const struct standin *standin) {
    const char *stage = kernel_status(standin->kernel)->stage;
    return memory_printf("Starting %s: %s ... %" PRId64 " s", kernel_display_name(standin->kernel),
                         stage ? stage : "waiting",
                         (clock_monotonic_ms() - standin->since_ms) / 1000);
}

static void say_display(struct standin *standin, const char *session, struct bytes parent,
                        bool is_update, const char *display_id, const char *text) {
    say_made(standin,
             &(struct message_recipe){.channel = CHANNEL_IOPUB,
                                      .type = is_update ? "update_display_data" : "display_data",
                                      .session = session,
                                      .parent_header = parent,
                                      .content = json_pack("{s:{s:s}, s:{}, s:{s:s}}", "data",
                                                           "text/plain", text, "metadata",
                                                           "transient", "display_id", display_id)});
}

static void show_stage(void *context) {
    struct standin *standin = context;
    struct kernel_message cell;
    if (!find_visible_cell(standin, &cell))
        return;
    if (!standin->shown && !standin->recorded(standin->context)) {
        loop_deadline_set(standin->loop, &standin->tick, SHOW_EVERY_MS);
        return; /* who is told that it is busy must be told the end, should we not live to do so */
    }
    if (!standin->shown)
        absence_answer_begin(&standin->answerer, &cell, standin->session);
    cleanup_free char *stage = stage_text(standin);
    say_display(standin, standin->session, cell.header, standin->shown, standin->display_id, stage);
    standin->shown = true;
    loop_deadline_set(standin->loop, &standin->tick, SHOW_EVERY_MS);
}

/* JupyterLab drops what it has not yet handled when a message of another session comes, and the
 * kernel's own follow. */
static const char *last_session(const struct standin *standin) {
    const char *kernels = kernel_status(standin->kernel)->message_session;
    return kernels != NULL && *kernels != '\0' ? kernels : standin->session;
}

void standin_welcome(struct standin *standin) {
    enum kernel_phase phase = kernel_status(standin->kernel)->phase;
    if (phase == KERNEL_LAUNCHING || phase == KERNEL_STARTING)
        say_made(standin, &(struct message_recipe){
                              .channel = CHANNEL_IOPUB,
                              .type = "status",
                              .session = last_session(standin),
                              .content = json_pack("{s:s}", "execution_state", "starting")});
}

/* The kernel's own outputs follow: the cell must be empty again. */
static void clear_stage(struct standin *standin) {
    struct kernel_message cell;
    loop_deadline_clear(standin->loop, &standin->tick);
    if (standin->shown && find_visible_cell(standin, &cell))
        say_made(standin, &(struct message_recipe){.channel = CHANNEL_IOPUB,
                                                   .type = "clear_output",
                                                   .session = last_session(standin),
                                                   .parent_header = cell.header,
                                                   .content = json_pack("{s:b}", "wait", 0)});
    standin->shown = false;
    free(standin->cell);
    standin->cell = NULL;
}

static void answer(struct standin *standin, const uint8_t *message, size_t length) {
    struct kernel_message request;
    if (kernel_message_parse(message, length, &request, NULL) == 0)
        absence_answer(&standin->answerer, &request, standin->session,
                       kernel_status(standin->kernel)->reason,
                       kernel_display_name(standin->kernel));
}

/* Its launcher keeps requests until the kernel is ready, and answers them should it never be: they
 * outlive us there. */
static bool may_forward(const struct standin *standin) {
    return kernel_status(standin->kernel)->phase != KERNEL_STOPPING;
}

static void forward_held(struct standin *standin) {
    list_each (&standin->held, struct held, node, held) {
        if (!may_forward(standin) ||
            !standin->forward(standin->context, held->message, held->length))
            return;
        drop_held(standin, held);
    }
}

static void note_cell(struct standin *standin, const void *message, size_t length) {
    struct kernel_message request;
    if (standin->cell != NULL || length > CELL_BYTES_MAX ||
        kernel_message_parse(message, length, &request, NULL) < 0 ||
        !absence_is_visible_cell(&request))
        return;
    standin->cell = keep(message, length);
    standin->since_ms = clock_monotonic_ms();
    loop_deadline_set(standin->loop, &standin->tick, SHOW_AFTER_MS);
}

void standin_take(struct standin *standin, const void *message, size_t length) {
    standin_update(standin); /* the status may have changed earlier in this turn */
    if (is_over(standin)) {
        answer(standin, message, length);
        return;
    }
    if (!is_ready(standin))
        note_cell(standin, message, length);
    if (standin->held_count == 0 && may_forward(standin) &&
        standin->forward(standin->context, message, length))
        return;
    struct held *held = keep(message, length);
    list_append(&standin->held, &held->node);
    standin->held_count++;
    standin->held_bytes += length;
}

void standin_end_lost(struct standin *standin, const void *header, size_t length, const char *why) {
    const struct kernel_status *status = kernel_status(standin->kernel);
    const char *reason = why != NULL ? why : status->reason != NULL ? status->reason : status->lost;
    absence_answer_lost(&standin->answerer, &(struct kernel_message){.header = {header, length}},
                        last_session(standin),
                        reason ? reason
                               : "The kernel was ended and started anew; this cell is lost.",
                        kernel_display_name(standin->kernel));
}

static void say_doubt(struct standin *standin, bool is_update, const char *text) {
    struct bytes cell = {standin->doubted.data, standin->doubted.length};
    say_display(standin, last_session(standin), cell, is_update, standin->doubt_id, text);
}

void standin_tell_doubt(struct standin *standin, struct bytes waiting) {
    const char *doubt = kernel_status(standin->kernel)->doubt;
    bool is_told = standin->doubted.length > 0;
    if (doubt == NULL && is_told && is_ready(standin))
        say_doubt(
            standin, true,
            "The kernel's node was not ready for a while. It is now, and the kernel goes on.");
    if (doubt == NULL || !is_ready(standin)) { /* a cell that waits for a start shows its stage */
        buffer_clear(&standin->doubted);
    } else if (!is_told && waiting.length > 0 &&
               buffer_append(&standin->doubted, waiting.data, waiting.length) == 0) {
        text_uuid4(standin->doubt_id);
        say_doubt(standin, false, doubt);
    }
}

void standin_update(struct standin *standin) {
    if (is_ready(standin) || is_over(standin))
        clear_stage(standin);
    else if (standin->shown)
        show_stage(standin);
    if (!is_over(standin)) {
        forward_held(standin);
        return;
    }
    list_each (&standin->held, struct held, node, held) {
        answer(standin, held->message, held->length);
        drop_held(standin, held);
    }
}

void standin_before_kernel(struct standin *standin) {
    if (standin->cell != NULL && (is_ready(standin) || is_over(standin)))
        clear_stage(standin);
}
