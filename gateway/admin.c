#include "gateway/admin.h"

#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GATEWAY_FLAGS "[--json] [flags]"

const struct admin_verb admin_verbs[] = {
    {"status", GATEWAY_FLAGS, "how a running gateway is", admin_status},
    {"kernels", GATEWAY_FLAGS,
     "its kernels: who has them, what they do, when they go, what they use", admin_kernels},
    {"why", "ID " GATEWAY_FLAGS, "why a kernel is kept or will be ended, and when", admin_why},
    {"keep", "ID TIME " GATEWAY_FLAGS, "let no rule end it for so long (4h); 0 takes it back",
     admin_keep},
    {"cull", "[--dry-run [--config FILE]] " GATEWAY_FLAGS,
     "end the kernels that are due; --dry-run only shows which go when, also by FILE's settings",
     admin_cull},
    {"interrupt", "ID " GATEWAY_FLAGS, "stop what it computes", admin_interrupt},
    {"restart", "ID " GATEWAY_FLAGS, "start it anew; what it held in memory is lost",
     admin_restart},
    {"delete", "ID " GATEWAY_FLAGS, "end it", admin_delete},
    {"logs", "ID " GATEWAY_FLAGS, "what it has written to its own stdout and stderr", admin_logs},
    {"journal", "ID [--since SEQ] " GATEWAY_FLAGS,
     "what it has sent, as its launcher keeps it, one message a line", admin_journal},
    {"kernelspecs list", "[--json] [the gateway's flags]",
     "what a gateway with these settings offers", admin_kernelspecs_list},
    {"kernelspecs check", "[--json] [the gateway's flags]",
     "where kernelspecs are looked for, and what is wrong with them (exit status 1)",
     admin_kernelspecs_check},
    {"policy explain",
     "[--kernelspec NAME] [--user NAME] [--env NAME=VALUE] [--request FILE] [--dry-run] [--json] "
     "[the gateway's flags]",
     "what a gateway with these settings would make of a request, and who says so (exit status 1: "
     "it is refused); --dry-run prints the pod",
     admin_policy_explain},
    {"config check", "FILE",
     "all mistakes of a configuration file, with their lines and what would be right (exit status "
     "1)",
     admin_config_check},
    {"config schema", "", "the JSON Schema of the configuration file, for editors",
     admin_config_schema},
    {"doctor",
     "[--kernel NAME] [--url URL] [--service-account NAME] [--user NAME] [--json] [the gateway's "
     "flags]",
     "what keeps kernels from running here, or at URL's gateway, and what helps (exit status 1)",
     admin_doctor},
    {"purge", "[the gateway's flags]",
     "end the kernels in Kubernetes whose gateways are gone for good, and delete all that is left "
     "of the installation but homes",
     admin_purge},
    {"migrate", "[--policy NEW_FILE] [FILE...]",
     "settings for a set-up of Jupyter Enterprise Gateway (docs/migrating-from-jeg.md), and a "
     "policy for what its kernelspecs mount",
     admin_migrate},
    {"completion", "bash|zsh|fish",
     "what makes a shell complete the words of elara and elara-gateway", admin_completion},
    {"man", "elara|elara-gateway", "a manual page, for man -l -", admin_man},
    {"token new", "NAME [--role user|admin|viewer|metrics] [--json]",
     "make a token, and its line for --auth-token-file", admin_token_new},
    {0},
};

static void print_help(FILE *out) {
    fputs("elara: looks after an Elara kernel gateway.\n\n", out);
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++)
        fprintf(out, "  elara %s %s\n      %s\n", verb->words, verb->arguments, verb->help);
    fputs(
        "  elara help\n  elara --version\n\n"
        "Settings of the gateway (elara-gateway --help) count for kernelspecs, policy, doctor and "
        "purge: flags, ELARA_\n"
        "and EG_ variables, --config. An ID is a kernel's id, or as much of its beginning as fits "
        "one only. The\n"
        "verbs that ask a running gateway take these flags:\n\n",
        out);
    option_print_help(admin_settings_table(), out);
}

/* How many of argv's words, from argv[1] on, are the verb's; 0 when it is another one. */
static int count_words(const struct admin_verb *verb, int argc, char **argv) {
    const char *rest = verb->words;
    int count = 0;
    while (*rest != '\0') {
        size_t length = strcspn(rest, " ");
        if (count + 1 >= argc || !text_equal_n(rest, length, argv[count + 1]))
            return 0;
        count++;
        rest += length;
        rest += *rest == ' ';
    }
    return count;
}

/* What may follow this first word of a verb; NULL when it is not the verb's. */
static const char *second_word(const struct admin_verb *verb, const char *first) {
    size_t length = strlen(first);
    bool is_its = strncmp(verb->words, first, length) == 0 && verb->words[length] == ' ';
    return is_its ? verb->words + length + 1 : NULL;
}

/* "kernel: interrupt, restart or delete?"; false when no verb of two words begins so. */
static bool ask_which(const char *first) {
    unsigned left = 0;
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++)
        left += second_word(verb, first) != NULL;
    if (left == 0)
        return false;
    fprintf(stderr, "elara %s: ", first);
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++) {
        const char *second = second_word(verb, first);
        if (second == NULL)
            continue;
        left--;
        fprintf(stderr, "%s%s", second, left > 1 ? ", " : left == 1 ? " or " : "?\n");
    }
    return true;
}

char *admin_printable(const char *text) {
    char *copy = memory_strdup(text != NULL ? text : "");
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return copy;
}

static int run(const struct admin_verb *verb, int words, int argc, char **argv) {
    struct error err = {0};
    argv[words] = argv[0];
    int status = verb->run(argc - words, argv + words, &err);
    if (status >= 0)
        return status;
    char *text = admin_printable(err.text);
    fprintf(stderr, "elara %s: %s\n", verb->words, text);
    free(text);
    return err.code == ERROR_INVALID ? 2 : 1;
}

int admin_main(int argc, char **argv) {
    bool wants_help = option_take_flag(&argc, argv, "help", NULL);
    if (wants_help || (argc == 2 && strcmp(argv[1], "help") == 0)) {
        print_help(stdout);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("elara " ELARA_VERSION);
        return 0;
    }
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++) {
        int words = count_words(verb, argc, argv);
        if (words > 0)
            return run(verb, words, argc, argv);
    }
    if (argc > 1 && ask_which(argv[1]))
        return 2;
    if (argc > 1)
        fprintf(stderr, "elara: there is no \"%s\"\n\n", argv[1]);
    print_help(stderr);
    return 2;
}

char *admin_take_argument(int *argc, char **argv) {
    if (*argc < 2 || argv[1][0] == '-')
        return NULL;
    char *argument = argv[1];
    memmove(argv + 1, argv + 2, (size_t)(*argc - 1) * sizeof *argv); /* with the NULL at its end */
    --*argc;
    return argument;
}

struct admin_table {
    size_t columns;
    char **texts; /* rows of `columns` */
    size_t count;
    size_t capacity;
};

struct admin_table *admin_table_create(size_t columns) {
    struct admin_table *table = memory_alloc(sizeof *table);
    table->columns = columns < ADMIN_COLUMNS_MAX ? columns : ADMIN_COLUMNS_MAX;
    return table;
}

void admin_table_add(struct admin_table *table, const char *const *texts) {
    if (table->count + table->columns > table->capacity) {
        table->capacity = table->capacity > 0 ? table->capacity * 2 : 8 * ADMIN_COLUMNS_MAX;
        table->texts = memory_resize(table->texts, table->capacity * sizeof *table->texts);
    }
    for (size_t i = 0; i < table->columns; i++)
        table->texts[table->count++] = admin_printable(texts[i]);
}

/* Characters, as near as counting UTF-8's first bytes comes. */
static size_t width(const char *text) {
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

void admin_table_print(struct admin_table *table) {
    size_t widest[ADMIN_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->count; i++)
        if (widest[i % table->columns] < width(table->texts[i]))
            widest[i % table->columns] = width(table->texts[i]);
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns, left = table->columns - column;
        while (left > 1 && *table->texts[i + left - 1] == '\0')
            left--; /* no blanks at a line's end */
        int padding = left == 1 ? 0 : (int)(widest[column] - width(table->texts[i]) + 2);
        printf("%s%*s%s", table->texts[i], padding, "", column + 1 == table->columns ? "\n" : "");
    }
    for (size_t i = 0; i < table->count; i++)
        free(table->texts[i]);
    free(table->texts);
    free(table);
}
