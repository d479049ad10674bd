#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/links_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/link_commands"

/* One COMMAND until its RESULT. The id stays the same over reconnects, so that the launcher carries
 * it out once. */
struct command {
    struct list_node node; /* link.commands, or links.commands_ended */
    struct link *link;     /* NULL once ended */
    char name[24];
    char *text;
    uint64_t number;
    bool sent;
    struct loop_deadline deadline;
    link_result *done;
    void *context;
    struct error err; /* why it ended without a RESULT */
};

static void free_command(struct command *command) {
    free(command->text);
    free(command);
}

/* Takes it off its link; what is left is to call done. */
static void unlink_command(struct command *command) {
    struct link *link = command->link;
    loop_deadline_clear(link->links->loop, &command->deadline);
    list_remove(&command->node);
    link->command_count--;
    command->link = NULL;
}

/* For an end that may come from inside somebody's call: done is told after the turn. */
static void end_later(struct links *links, struct command *command) {
    list_append(&links->commands_ended, &command->node);
    loop_post(links->loop, &links->reap);
}

static void on_timeout(void *context) {
    struct command *command = context;
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "%s: the kernel's launcher did not answer in time",
              command->name);
    unlink_command(command);
    command->done(command->context, NULL, &err);
    free_command(command);
}

static void write_text(struct command *command, json_t *members) {
    char id[37];
    text_uuid4(id);
    cleanup_json json_t *json = members ? members : json_object();
    json_object_set_new(json, "command", json_string(command->name));
    if (json_object_get(json, "id") == NULL)
        json_object_set_new(json, "id", json_string(id));
    command->text = json_dumps(json, JSON_COMPACT);
}

void link_command(struct link *link, const char *name, json_t *members, int64_t timeout_ms,
                  link_result *done, void *context) {
    struct links *links = link->links;
    struct command *command = memory_alloc(sizeof *command);
    snprintf(command->name, sizeof command->name, "%s", name);
    command->done = done;
    command->context = context;
    write_text(command, members);
    if (command->text == NULL) {
        error_set(&command->err, ERROR_INVALID, "%s: its members are no JSON", name);
        end_later(links, command);
    } else if (link->state == LINK_STATE_CLOSED) {
        error_set(&command->err, ERROR_UNAVAILABLE, "%s: the kernel is gone", name);
        end_later(links, command);
    } else if (link->command_count >= LINK_COMMANDS_MAX) {
        error_set(&command->err, ERROR_LIMIT, "%s: %d commands already wait for this kernel", name,
                  LINK_COMMANDS_MAX);
        end_later(links, command);
    } else {
        command->link = link;
        command->number = ++link->command_number;
        list_append(&link->commands, &command->node);
        link->command_count++;
        command->deadline = (struct loop_deadline){.run = on_timeout, .context = command};
        loop_deadline_set(links->loop, &command->deadline, timeout_ms);
        link_wake(link);
    }
}

void link_commands_forget(struct link *link) {
    list_each (&link->commands, struct command, node, command)
        command->sent = false;
}

enum link_sent link_commands_flush(struct link *link) {
    list_each (&link->commands, struct command, node, command) {
        if (command->sent)
            continue;
        enum link_sent sent =
            link_emit(link, LINK_COMMAND, 0, command->number, command->text, strlen(command->text));
        if (sent != LINK_SENT)
            return sent;
        command->sent = true;
    }
    return LINK_SENT;
}

static void read_refusal(const struct command *command, const json_t *result, struct error *err) {
    const char *code = json_string_value(json_object_get(result, "code"));
    const char *message = json_string_value(json_object_get(result, "message"));
    error_set(err, code ? error_code_parse(code) : ERROR_SYSTEM, "%s",
              message && *message ? message : "the launcher gave no reason");
    if (message == NULL || *message == '\0')
        error_wrap(err, "%s", command->name);
}

void link_on_result(struct link *link, uint64_t number, const uint8_t *payload, size_t length) {
    list_each (&link->commands, struct command, node, command) {
        if (command->number != number)
            continue;
        cleanup_json json_t *result = NULL;
        if (length <= LINK_CONTROL_MAX)
            result = json_loadb((const char *)payload, length, 0, NULL);
        struct error err;
        unlink_command(command);
        if (!json_is_object(result)) {
            error_set(&err, ERROR_SYSTEM, "%s: the launcher's RESULT is no JSON object",
                      command->name);
            command->done(command->context, NULL, &err);
        } else if (!json_is_true(json_object_get(result, "ok"))) {
            read_refusal(command, result, &err);
            command->done(command->context, NULL, &err);
        } else {
            command->done(command->context, result, NULL);
        }
        free_command(command);
        return;
    }
    log_debug("kernel %s: a RESULT for command %" PRIu64 ", which nobody waits for",
              link->kernel_id, number);
}

void link_commands_end(struct link *link) {
    list_each (&link->commands, struct command, node, command) {
        unlink_command(command);
        error_set(&command->err, ERROR_UNAVAILABLE, "%s: the kernel is gone", command->name);
        end_later(link->links, command);
    }
}

void link_commands_reap(struct links *links) {
    while (!list_is_empty(&links->commands_ended)) { /* done() may end more of them */
        struct command *command = list_entry(links->commands_ended.head.next, struct command, node);
        list_remove(&command->node);
        command->done(command->context, NULL, &command->err);
        free_command(command);
    }
}
