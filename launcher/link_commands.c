#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "launcher/base64.h"
#include "launcher/link_server_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "launcher/link_commands"

enum { JOURNAL_BYTES_DEFAULT = 256 << 10 };

/* Who asked, under which number. */
struct waiter {
    struct link_peer *peer;
    uint64_t number;
};

struct link_command {
    struct list_node node; /* server.commands */
    struct link_server *server;
    char *id;
    char *result; /* NULL: it is being carried out */
    struct waiter waiters[SERVER_WAITERS_MAX];
    unsigned waiter_count;
};

/* What the kernel's side answers. */
static const char *const outside[] = {
    "interrupt", "restart",  "shutdown", "signal", "record_get", "record_set", "logs",
    "resources", "activity", "keep",     "say",    "explain",    "share"};

static void free_command(struct link_command *command) {
    struct link_server *server = command->server;
    list_remove(&command->node);
    server->command_count--;
    if (command->result != NULL)
        server->result_bytes -= strlen(command->result);
    free(command->result);
    free(command->id);
    free(command);
}

/* The oldest finished one goes; false when all are still at work. */
static bool forget_one(struct link_server *server) {
    list_each (&server->commands, struct link_command, node, command) {
        if (command->result == NULL)
            continue;
        free_command(command);
        return true;
    }
    return false;
}

static void emit_result(struct link_peer *peer, uint64_t number, const char *result) {
    link_peer_emit(peer, LINK_RESULT, 0, number, result, strlen(result));
}

/* Takes `json` (NULL for none) and makes it the RESULT's text, malloc'ed. */
static char *make_result(json_t *json, const struct error *err) {
    cleanup_json json_t *result = json != NULL ? json : json_object();
    if (err != NULL) {
        cleanup_free char *text = utf8_repair(err->text);
        json_object_set_new(result, "ok", json_false());
        json_object_set_new(result, "code", json_string(error_code_name(err->code)));
        json_object_set_new(result, "message", json_string(text));
    } else {
        json_object_set_new(result, "ok", json_true());
    }
    char *text = json_dumps(result, JSON_COMPACT);
    return text != NULL ? text : memory_strdup("{\"ok\":false,\"code\":\"system\"}");
}

static void refuse(struct link_peer *peer, uint64_t number, const struct error *err) {
    cleanup_free char *result = make_result(NULL, err);
    emit_result(peer, number, result);
}

static void add_waiter(struct link_command *command, struct link_peer *peer, uint64_t number) {
    if (command->waiter_count == SERVER_WAITERS_MAX) { /* the longest waiting one asks again */
        command->waiter_count--;
        memmove(command->waiters, command->waiters + 1,
                command->waiter_count * sizeof command->waiters[0]);
    }
    command->waiters[command->waiter_count++] = (struct waiter){peer, number};
}

static struct link_command *find_command(struct link_server *server, const char *id) {
    list_each (&server->commands, struct link_command, node, command)
        if (strcmp(command->id, id) == 0)
            return command;
    return NULL;
}

static struct link_command *remember(struct link_server *server, const char *id) {
    while (server->command_count >= SERVER_COMMANDS_MAX)
        if (!forget_one(server))
            return NULL;
    struct link_command *command = memory_alloc(sizeof *command);
    command->server = server;
    command->id = memory_strdup(id);
    list_append(&server->commands, &command->node);
    server->command_count++;
    return command;
}

void link_server_result(struct link_command *command, json_t *result, const struct error *err) {
    struct link_server *server = command->server;
    char *text = make_result(result, err);
    if (command->result != NULL) { /* our mistake: the first answer stands */
        log_error("a command was answered twice");
        free(text);
        return;
    }
    command->result = text;
    server->result_bytes += strlen(text);
    unsigned count = command->waiter_count;
    command->waiter_count = 0;
    for (unsigned i = 0; i < count; i++)
        if (!command->waiters[i].peer->is_gone)
            emit_result(command->waiters[i].peer, command->waiters[i].number, text);
    while (server->result_bytes > SERVER_RESULTS_BYTES_MAX && forget_one(server))
        ;
}

/* --- answered here --- */

static json_t *encode_record(const struct journal_record *record, struct buffer *scratch) {
    if (record->is_folded)
        return json_pack("{s:I, s:n, s:{s:I, s:I}}", "seq", (json_int_t)record->seq, "message",
                         "folded", "messages", (json_int_t)record->folded.messages, "bytes",
                         (json_int_t)record->folded.bytes);
    buffer_clear(scratch);
    if (record->length > SERVER_JOURNAL_BYTES_MAX ||
        base64_encode(record->data, record->length, scratch) < 0)
        return json_pack("{s:I, s:n, s:I}", "seq", (json_int_t)record->seq, "message", "length",
                         (json_int_t)record->length);
    return json_pack("{s:I, s:s%}", "seq", (json_int_t)record->seq, "message", buffer_text(scratch),
                     scratch->length);
}

static json_t *read_journal(const struct journal *journal, uint64_t since, uint64_t max_bytes) {
    cleanup_buffer struct buffer scratch = {.limit = 2 * (size_t)SERVER_JOURNAL_BYTES_MAX};
    json_t *messages = json_array();
    struct journal_record record;
    uint64_t bytes = 0, next = since;
    while (journal_next(journal, next, &record) > 0) {
        bool is_hidden =
            record.session == JOURNAL_NOBODY || (record.is_folded && record.folded.messages == 0);
        if (!is_hidden && bytes > 0 && bytes + record.length > max_bytes)
            break; /* one always goes, else a large one could never be read */
        next = record.seq;
        if (is_hidden)
            continue;
        json_array_append_new(messages, encode_record(&record, &scratch));
        bytes += record.length;
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "next", (json_int_t)next, "oldest",
                     (json_int_t)journal_oldest(journal), "last", (json_int_t)journal_last(journal),
                     "messages", messages);
}

/* A member that is missing has the fallback. */
static int get_count(const json_t *members, const char *name, uint64_t fallback, uint64_t *ret,
                     struct error *err) {
    const json_t *value = json_object_get(members, name);
    if (value != NULL && (!json_is_integer(value) || json_integer_value(value) < 0))
        return error_set(err, ERROR_INVALID, "%s: must be a whole number from 0 on", name);
    *ret = value != NULL ? (uint64_t)json_integer_value(value) : fallback;
    return 0;
}

/* Not remembered: it changes nothing, and its results are large. */
static void answer_journal(struct link_peer *peer, uint64_t number, const json_t *members) {
    struct error err;
    uint64_t since = 0, max_bytes = 0;
    if (get_count(members, "since", 0, &since, &err) < 0 ||
        get_count(members, "max_bytes", JOURNAL_BYTES_DEFAULT, &max_bytes, &err) < 0) {
        refuse(peer, number, &err);
        return;
    }
    if (max_bytes > SERVER_JOURNAL_BYTES_MAX)
        max_bytes = SERVER_JOURNAL_BYTES_MAX;
    cleanup_free char *result =
        make_result(read_journal(peer->server->journal, since, max_bytes), NULL);
    emit_result(peer, number, result);
}

static int inject(struct link_server *server, const json_t *members, uint64_t *seq,
                  struct error *err) {
    const json_t *text = json_object_get(members, "message");
    cleanup_buffer struct buffer bytes = {.limit = SERVER_CONTROL_JSON_MAX};
    struct kernel_message message;
    if (!json_is_string(text) ||
        base64_decode(json_string_value(text), json_string_length(text), &bytes) < 0)
        return error_set(err, ERROR_INVALID, "message: must be a message in base64");
    if (kernel_message_parse(bytes.data, bytes.length, &message, err) < 0)
        return error_wrap(err, "message");
    *seq = link_server_publish(server, message.channel, 0, bytes.data, bytes.length);
    return 0;
}

static void answer_inject(struct link_command *command, const json_t *members) {
    struct error err;
    uint64_t seq = 0;
    if (inject(command->server, members, &seq, &err) < 0)
        link_server_result(command, NULL, &err);
    else
        link_server_result(command, json_pack("{s:I}", "seq", (json_int_t)seq), NULL);
}

/* --- COMMAND --- */

static bool is_outside(const char *name) {
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        if (strcmp(outside[i], name) == 0)
            return true;
    return false;
}

static int check_command(const json_t *members, const char **name, const char **id,
                         struct error *err) {
    const json_t *id_json = json_object_get(members, "id");
    *name = json_string_value(json_object_get(members, "command"));
    *id = json_string_value(id_json);
    if (*name == NULL)
        return error_set(err, ERROR_INVALID, "command: must be a text");
    size_t length = json_string_length(id_json);
    if (*id == NULL || length == 0 || length > SERVER_COMMAND_ID_MAX || strlen(*id) != length)
        return error_set(err, ERROR_INVALID, "id: must be a text of 1 to %d bytes without NUL",
                         SERVER_COMMAND_ID_MAX);
    if (!is_outside(*name) && strcmp(*name, "journal") != 0 && strcmp(*name, "inject") != 0)
        return error_set(err, ERROR_UNSUPPORTED, "the launcher knows no command \"%.32s\"", *name);
    return 0;
}

static void carry_out(struct link_peer *peer, uint64_t number, const char *name, const char *id,
                      const json_t *members) {
    struct link_server *server = peer->server;
    struct link_command *command = remember(server, id);
    if (command == NULL) {
        struct error err;
        error_set(&err, ERROR_LIMIT, "%d commands are being carried out already",
                  SERVER_COMMANDS_MAX);
        refuse(peer, number, &err);
        return;
    }
    add_waiter(command, peer, number);
    if (strcmp(name, "inject") == 0)
        answer_inject(command, members);
    else
        server->events.command(server->context, name, members, command);
}

void link_command_take(struct link_peer *peer, const struct link_frame *frame,
                       const uint8_t *payload) {
    struct error err;
    const char *name, *id;
    cleanup_json json_t *members =
        link_server_parse(payload, frame->length, SERVER_CONTROL_JSON_MAX, &err);
    if (members == NULL || check_command(members, &name, &id, &err) < 0) {
        error_wrap(&err, "COMMAND");
        log_warning("gateway %.36s: %s", peer->gateway, err.text);
        refuse(peer, frame->seq, &err);
        return;
    }
    if (strcmp(name, "journal") == 0) {
        answer_journal(peer, frame->seq, members);
        return;
    }
    struct link_command *known = find_command(peer->server, id);
    if (known == NULL)
        carry_out(peer, frame->seq, name, id, members);
    else if (known->result != NULL)
        emit_result(peer, frame->seq, known->result);
    else
        add_waiter(known, peer, frame->seq);
}

void link_commands_forget_peer(struct link_server *server, const struct link_peer *peer) {
    list_each (&server->commands, struct link_command, node, command) {
        unsigned kept = 0;
        for (unsigned i = 0; i < command->waiter_count; i++)
            if (command->waiters[i].peer != peer)
                command->waiters[kept++] = command->waiters[i];
        command->waiter_count = kept;
    }
}

void link_commands_free(struct link_server *server) {
    list_each (&server->commands, struct link_command, node, command)
        free_command(command);
}
