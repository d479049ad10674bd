/* The command language of execute_request: each command gets the text behind its name and returns
 * 0, or -1 for an error that the notebook shows. */
#include "stub.h"

static void send_stream(struct stub *stub, const struct request *parent, const char *name,
                        const char *text) {
    stub_send_json(stub, IOPUB, parent, "stream",
                   json_pack("{s:s, s:o}", "name", name, "text", json_sprintf("%s\n", text)));
}

static int run_print(struct stub *stub, const char *text) {
    send_stream(stub, stub->running, "stdout", text);
    return 0;
}

static int run_eprint(struct stub *stub, const char *text) {
    send_stream(stub, stub->running, "stderr", text);
    return 0;
}

static int run_result(struct stub *stub, const char *text) {
    stub_send_json(stub, IOPUB, stub->running, "execute_result",
                   json_pack("{s:i, s:{s:s}, s:{}}", "execution_count", stub->execution_count,
                             "data", "text/plain", text, "metadata"));
    return 0;
}

/* A JSON text with `bytes` times x in it, between two pieces of text. */
static char *filled(const char *before, size_t bytes, const char *after, size_t *length) {
    *length = strlen(before) + bytes + strlen(after);
    char *text = malloc(*length + 1);
    if (text == NULL)
        stub_fail("out of memory");
    char *end = stpcpy(text, before);
    memset(end, 'x', bytes);
    memcpy(end + bytes, after, strlen(after) + 1);
    return text;
}

/* N stream outputs of BYTES, as fast as it goes. The numbers let a reader see a gap. */
static int run_flood(struct stub *stub, const char *arguments) {
    char *end;
    unsigned long count = strtoul(arguments, &end, 10), bytes = strtoul(end, NULL, 10);
    size_t length;
    const size_t number_size = 10;
    cleanup_free char *text =
        filled("{\"name\":\"stdout\",\"text\":\"",
               bytes > number_size ? bytes - number_size - 1 : 0, "", &length);
    text = realloc(text, length + number_size + 8);
    for (unsigned long i = 0; i < count && !stub->was_interrupted; i++) {
        char *at = text + length;
        unsigned long rest = i;
        for (size_t digit = number_size; digit-- > 0; rest /= 10)
            at[digit] = (char)('0' + rest % 10);
        memcpy(at + number_size, "\\n\"}", 4);
        stub_send(stub, IOPUB, stub->running, "stream",
                  (struct part){text, length + number_size + 4}, NULL, 0);
        if (i % 1024 == 1023)
            stub_wait(stub, 0, false, NULL);
    }
    return 0;
}

static int run_big(struct stub *stub, const char *arguments) {
    size_t length;
    cleanup_free char *text =
        filled("{\"name\":\"stdout\",\"text\":\"", strtoul(arguments, NULL, 10), "\"}", &length);
    stub_send(stub, IOPUB, stub->running, "stream", (struct part){text, length}, NULL, 0);
    return 0;
}

static int run_big_display(struct stub *stub, const char *arguments) {
    size_t length;
    cleanup_free char *text =
        filled("{\"metadata\":{},\"transient\":{},\"data\":{\"text/plain\":\"",
               strtoul(arguments, NULL, 10), "\"}}", &length);
    stub_send(stub, IOPUB, stub->running, "display_data", (struct part){text, length}, NULL, 0);
    return 0;
}

static int run_binary(struct stub *stub, const char *arguments) {
    static const char content[] =
        "{\"data\":{\"text/plain\":\"binary\"},\"metadata\":{},\"transient\":{}}";
    size_t bytes = strtoul(arguments, NULL, 10);
    cleanup_free uint8_t *data = malloc(bytes + 1);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)i;
    const struct part buffers[] = {{data, bytes}, {"second", 6}};
    stub_send(stub, IOPUB, stub->running, "display_data",
              (struct part){content, sizeof(content) - 1}, buffers, 2);
    return 0;
}

/* N buffers of one byte. */
static int run_huge_parts(struct stub *stub, const char *arguments) {
    static const char content[] = "{\"data\":{\"text/plain\":\"parts\"},\"metadata\":{}}";
    size_t count = strtoul(arguments, NULL, 10);
    cleanup_free struct part *buffers = calloc(count + 1, sizeof(*buffers));
    for (size_t i = 0; i < count; i++)
        buffers[i] = (struct part){"b", 1};
    stub_send(stub, IOPUB, stub->running, "display_data",
              (struct part){content, sizeof(content) - 1}, buffers, count);
    return 0;
}

static int send_error(struct stub *stub, const char *name, const char *value) {
    stub_send_json(
        stub, IOPUB, stub->running, "error",
        json_pack("{s:s, s:s, s:[s]}", "ename", name, "evalue", value, "traceback", value));
    return -1;
}

static int run_error(struct stub *stub, const char *text) {
    return send_error(stub, "StubError", text);
}

static int check_interrupt(struct stub *stub) {
    return stub->was_interrupted ? send_error(stub, "KeyboardInterrupt", "interrupted") : 0;
}

static int run_sleep(struct stub *stub, const char *arguments) {
    stub_wait(stub, strtol(arguments, NULL, 10), false, NULL);
    return check_interrupt(stub);
}

static int run_count(struct stub *stub, const char *arguments) {
    char *end, line[32];
    long count = strtol(arguments, &end, 10), ms = strtol(end, NULL, 10);
    for (long i = 0; i < count && !stub->was_interrupted; i++) {
        snprintf(line, sizeof(line), "line %ld", i);
        run_print(stub, line);
        stub_wait(stub, ms, false, NULL);
    }
    return check_interrupt(stub);
}

static int run_input(struct stub *stub, const char *prompt) {
    struct request input = {0};
    stub_send_json(stub, STDIN, stub->running, "input_request",
                   json_pack("{s:s, s:b}", "prompt", prompt, "password", 0));
    if (!stub_wait(stub, 600000, true, &input))
        return check_interrupt(stub);
    const char *value = json_string_value(json_object_get(input.content, "value"));
    run_print(stub, value != NULL ? value : "(no value)");
    stub_request_free(&input);
    return 0;
}

static int run_env(struct stub *stub, const char *name) {
    const char *value = getenv(name);
    return run_print(stub, value != NULL ? value : "(unset)");
}

static int run_cwd(struct stub *stub, const char *arguments) {
    (void)arguments;
    cleanup_free char *path = realpath(".", NULL);
    return run_print(stub, path != NULL ? path : "(gone)");
}

static int run_pid(struct stub *stub, const char *arguments) {
    (void)arguments;
    char text[32];
    snprintf(text, sizeof(text), "%d", (int)getpid());
    return run_print(stub, text);
}

static int run_display(struct stub *stub, const char *text) {
    stub_send_json(
        stub, IOPUB, stub->running, "display_data",
        json_pack("{s:{s:s}, s:{}, s:{}}", "data", "text/plain", text, "metadata", "transient"));
    return 0;
}

/* To the process's own stderr, not into the notebook. */
static int run_log(struct stub *stub, const char *text) {
    (void)stub;
    fprintf(stderr, "%s\n", text);
    return 0;
}

__attribute__((noreturn)) static int run_exit(struct stub *stub, const char *arguments) {
    (void)stub;
    _exit((int)strtol(arguments, NULL, 10));
}

__attribute__((noreturn)) static int run_segv(struct stub *stub, const char *arguments) {
    (void)stub, (void)arguments;
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    _exit(4);
}

__attribute__((noreturn)) static int run_silence(struct stub *stub, const char *arguments) {
    (void)stub, (void)arguments;
    for (;;)
        pause();
}

static int run_bad_hmac(struct stub *stub, const char *text) {
    stub->broken_signature = "0000000000000000000000000000000000000000000000000000000000000000";
    send_stream(stub, stub->running, "stdout", *text != '\0' ? text : "forged");
    stub->broken_signature = NULL;
    return 0;
}

static int run_missing_parts(struct stub *stub, const char *arguments) {
    (void)arguments;
    stub_send_part(stub->sockets[IOPUB], "stream", 6, true);
    stub_send_part(stub->sockets[IOPUB], DELIMITER, sizeof(DELIMITER) - 1, true);
    stub_send_part(stub->sockets[IOPUB], "00", 2, true);
    stub_send_part(stub->sockets[IOPUB], "{}", 2, false);
    stub_send_part(stub->sockets[IOPUB], "no DELIMITER", 12, false);
    stub_send_part(stub->sockets[IOPUB], "", 0, false);
    return 0;
}

static int run_bad_json(struct stub *stub, const char *arguments) {
    (void)arguments;
    stub_send_text(stub, IOPUB, stub->running, "stream", "{\"name\": \"stdout\", \"text\": ");
    return 0;
}

/* Contents that begin and end as an object does, for a stream as for a reply. */
static const char *broken_content(const char *kind) {
#define TEN(text) text text text text text text text text text text
    if (strcmp(kind, "utf8") == 0)
        return "{\"name\":\"stdout\",\"text\":\"bad \xff\xfe\\n\",\"status\":\"error\","
               "\"ename\":\"StubError\",\"evalue\":\"bad \xff\xfe\",\"traceback\":[]}";
    if (strcmp(kind, "deep") == 0) /* 1,000 levels */
        return "{\"a\":" TEN(TEN(TEN("["))) TEN(TEN(TEN("]"))) "}";
    return "{\"name\": nonsense}";
#undef TEN
}

static int run_broken(struct stub *stub, const char *kind) {
    stub_send_text(stub, IOPUB, stub->running, "stream", broken_content(kind));
    return 0;
}

static int run_broken_reply(struct stub *stub, const char *kind) {
    stub->broken_reply = broken_content(kind);
    return 0;
}

static int run_status(struct stub *stub, const char *text) {
    stub_send_status(stub, stub->running, text);
    return 0;
}

/* As when a PUB socket drops what does not fit. */
static int run_mute(struct stub *stub, const char *requests) {
    stub->mute_requests = strtol(requests, NULL, 10);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct stub *stub, const char *arguments);
} commands[] = {
    {"print", run_print},
    {"eprint", run_eprint},
    {"result", run_result},
    {"display", run_display},
    {"flood", run_flood}, /* flood N BYTES */
    {"big", run_big},     /* big BYTES: one stream output */
    {"bigdisplay", run_big_display},
    {"binary", run_binary},        /* binary BYTES: display_data with two buffers */
    {"hugeparts", run_huge_parts}, /* hugeparts N: N buffers */
    {"sleep", run_sleep},
    {"count", run_count}, /* count N MS: a line each MS */
    {"input", run_input},
    {"error", run_error},
    {"env", run_env},
    {"cwd", run_cwd},
    {"pid", run_pid},
    {"log", run_log},
    {"exit", run_exit},
    {"segv", run_segv},
    {"silence", run_silence},
    {"badhmac", run_bad_hmac},
    {"missingparts", run_missing_parts},
    {"badjson", run_bad_json},
    {"broken", run_broken}, /* broken utf8, deep or json: a stream output */
    {"brokenreply", run_broken_reply},
    {"status", run_status},
    {"mute", run_mute}, /* mute N: iopub for the rest of this request and N - 1 more */
};

static int run_line(struct stub *stub, const char *line) {
    size_t length = strcspn(line, " ");
    const char *arguments = line[length] == ' ' ? line + length + 1 : line + length;
    if (length == 0)
        return 0;
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (strlen(commands[i].name) == length && strncmp(commands[i].name, line, length) == 0)
            return commands[i].run(stub, arguments);
    return send_error(stub, "StubError", "no such command");
}

void stub_execute(struct stub *stub, struct request *request) {
    const char *code = json_string_value(json_object_get(request->content, "code"));
    bool is_silent = json_is_true(json_object_get(request->content, "silent"));
    cleanup_free char *copy = strdup(code != NULL ? code : "");
    int result = 0;
    stub->running = request;
    stub->was_interrupted = false;
    if (!is_silent) {
        stub->execution_count++;
        stub_send_json(
            stub, IOPUB, request, "execute_input",
            json_pack("{s:s, s:i}", "code", copy, "execution_count", stub->execution_count));
    }
    char *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL && result == 0;
         line = strtok_r(NULL, "\n", &rest))
        result = run_line(stub, line);
    stub->running = NULL;
    json_t *reply =
        json_pack("{s:s, s:i, s:{}, s:[]}", "status", result == 0 ? "ok" : "error",
                  "execution_count", stub->execution_count, "user_expressions", "payload");
    if (result != 0) {
        json_object_set_new(reply, "ename", json_string("StubError"));
        json_object_set_new(reply, "evalue", json_string("the command failed"));
        json_object_set_new(reply, "traceback", json_array());
    }
    if (stub->broken_reply != NULL) {
        stub_send_text(stub, SHELL, request, "execute_reply", stub->broken_reply);
        stub->broken_reply = NULL;
        json_decref(reply);
    } else {
        stub_send_json(stub, SHELL, request, "execute_reply", reply);
    }
}
