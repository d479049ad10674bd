/* elara why ID */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "gateway/admin.h"

#include <stdio.h>

struct line {
    const char *key;
    const char *what;
    const char *zero; /* instead of "0 ms"; NULL: the line is left out */
};

static void print_line(const char *what, const char *text) {
    cleanup_free char *shown = admin_printable(text);
    printf("  %-34s %s\n", what, shown);
}

static void print_durations(const json_t *object, const struct line *lines, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(object, lines[i].key);
        cleanup_free char *text = admin_duration_at(object, lines[i].key, "");
        if (!json_is_integer(value))
            continue;
        if (json_integer_value(value) > 0)
            print_line(lines[i].what, text);
        else if (lines[i].zero != NULL)
            print_line(lines[i].what, lines[i].zero);
    }
}

static void print_inputs(const json_t *inputs) {
    static const struct line times[] = {
        {"age_ms", "age", "0 s"},
        {"untouched_for_ms", "nobody made it do anything for", "0 s"},
        {"silent_for_ms", "no output for", NULL},
        {"at_rest_for_ms", "no use of the CPU for", "at work"},
        {"unattached_for_ms", "nobody connected for", "somebody is"},
        {"own_idle_ms", "asks to be left idle for", "ever"},
        {"keep_ms", "is to be kept for", NULL},
        {"cpu_ms", "CPU time used", "none"},
    };
    cleanup_free char *memory = admin_size_at(inputs, "rss_bytes");
    if (!json_is_object(inputs)) {
        puts("Nothing is known of it yet.");
        return;
    }
    puts("What is known of it:");
    cleanup_free char *since = admin_duration_at(inputs, "state_for_ms", "?");
    cleanup_free char *state = memory_printf("%s for %s", admin_text_at(inputs, "state"), since);
    print_line("state", state);
    if (json_is_true(json_object_get(inputs, "waits_for_input")))
        print_line("waits for input()", "yes");
    print_durations(inputs, times, sizeof times / sizeof *times);
    if (*memory != '\0')
        print_line("memory", memory);
}

static void print_policy(const json_t *policy) {
    static const struct line limits[] = {
        {"idle_ms", "cull-idle-timeout", "off"},
        {"idle_connected_ms", "cull-idle-connected-timeout", "off"},
        {"stalled_ms", "cull-stalled-timeout", "off"},
        {"detached_ms", "cull-detached-timeout", "off"},
        {"unattached_ms", "cull-unattached-timeout", "off"},
        {"max_age_ms", "cull-max-age", "off"},
        {"warn_ms", "warning before", "none"},
    };
    bool connected = json_is_true(json_object_get(policy, "connected"));
    puts("What holds for it:");
    print_durations(policy, limits, sizeof limits / sizeof *limits);
    print_line("cull-connected", connected ? "true" : "false");
}

static void print_why(const json_t *why) {
    cleanup_free char *text = admin_printable(admin_text_at(why, "text"));
    printf("%s\n", text);
    if (!json_is_true(json_object_get(why, "fresh")))
        puts("Its launcher was not asked: this is what was known of it last.");
    putchar('\n');
    print_inputs(json_object_get(why, "inputs"));
    print_policy(json_object_get(why, "policy"));
}

int admin_why(int argc, char **argv, struct error *err) {
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    const char *start = admin_take_argument(&argc, argv);
    cleanup_free char *id = NULL;
    cleanup_json json_t *why = NULL;
    if (admin_ask_kernel(argc, argv, start, "GET", "/why", NULL, &id, &why, err) < 0)
        return -1;
    if (wants_json)
        admin_print_json(steal(&why));
    else
        print_why(why);
    return 0;
}
