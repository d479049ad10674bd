/* elara completion: what makes a shell complete our words. The scripts hold the tables: nothing of
 * ours is run while somebody types. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "gateway/admin.h"
#include "gateway/admin_settings.h"
#include "gateway/settings.h"

#include <stdio.h>
#include <string.h>

/* A verb or "elara-gateway", and what may be completed behind it. */
struct place {
    const char *program;
    const char *words; /* "kernelspecs list", "" for the program itself */
    const char *arguments;
};

/* Told of each flag; choices: "a|b", NULL: any value, "": it takes none. */
typedef void visit_flag(const struct place *place, const char *name, const char *choices,
                        const char *help);

static void visit_table(const struct place *place, const struct option_row *table,
                        visit_flag *visit) {
    for (const struct option_row *row = table; row->name != NULL; row++) {
        if (row->flags & OPTION_SECRET)
            continue;
        visit(place, row->name, row->type == OPTION_BOOL ? "" : row->choices, row->help);
        if (row->type != OPTION_BOOL)
            continue;
        cleanup_free char *no = memory_printf("no-%s", row->name);
        visit(place, no, "", row->help);
    }
}

/* "NAME [--role user|admin] [--json]": the flags that stand in a verb's arguments. */
static void visit_own(const struct place *place, visit_flag *visit) {
    for (const char *at = place->arguments; (at = strstr(at, "--")) != NULL;) {
        size_t length = strcspn(at + 2, " ]=");
        cleanup_free char *name = memory_strndup(at + 2, length);
        at += 2 + length;
        bool has_value = *at == '=' || (*at == ' ' && at[1] != '[' && at[1] != '-');
        if (!has_value) {
            visit(place, name, "", NULL);
            continue;
        }
        cleanup_free char *value = memory_strndup(at + 1, strcspn(at + 1, " ]"));
        visit(place, name, strchr(value, '|') != NULL ? value : NULL, NULL);
    }
}

static void visit_flags(const struct place *place, visit_flag *visit) {
    visit_own(place, visit);
    if (strstr(place->arguments, "gateway's flags]") != NULL) {
        visit(place, "config", NULL, "YAML file of settings");
        visit_table(place, settings_table(), visit);
    } else if (strstr(place->arguments, "[flags]") != NULL) {
        visit_table(place, admin_settings_table(), visit);
    }
}

/* "elara|elara-gateway": words to choose from, and no placeholder. */
static bool is_choice(const char *arguments) {
    return strchr(arguments, '|') != NULL && strpbrk(arguments, " [") == NULL;
}

static void each_place(void (*run)(const struct place *place)) {
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++)
        run(&(struct place){"elara", verb->words, verb->arguments});
    run(&(struct place){"elara-gateway", "",
                        "[--show-config] [--version] [--help] "
                        "[the gateway's flags]"});
}

static void print_words(const char *choices) {
    for (; *choices != '\0'; choices++)
        putchar(*choices == '|' ? ' ' : *choices);
}

/* ---- bash and zsh: a function that sets `found` by what was said ---- */

static void print_flag_word(const struct place *place, const char *name, const char *choices,
                            const char *help) {
    (void)place, (void)choices, (void)help;
    printf(" --%s", name);
}

static void print_flag_values(const struct place *place, const char *name, const char *choices,
                              const char *help) {
    (void)place, (void)help;
    if (choices != NULL && *choices == '\0')
        return;
    printf("        --%s) found='", name);
    print_words(choices != NULL ? choices : "");
    puts("' ;;");
}

static void print_place_values(const struct place *place) {
    printf("    case \"$previous\" in\n");
    visit_flags(place, print_flag_values);
    fputs("        *) found='", stdout);
    if (is_choice(place->arguments))
        print_words(place->arguments);
    visit_flags(place, print_flag_word);
    puts("' ;;\n    esac");
}

static void print_place_case(const struct place *place) {
    printf("    '%s%s%s '*)\n", place->program, *place->words != '\0' ? " " : "", place->words);
    print_place_values(place);
    puts("    ;;");
}

/* Behind "elara kernelspecs ": its second words. */
static void print_second_words(const char *first, size_t length) {
    printf("    'elara %.*s ') found='", (int)length, first);
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++)
        if (strncmp(verb->words, first, length) == 0 && verb->words[length] == ' ')
            printf("%s ", verb->words + length + 1);
    puts("' ;;");
}

/* Is this the first verb that begins with its first word? */
static bool is_new_word(const struct admin_verb *verb, size_t *length) {
    *length = strcspn(verb->words, " ");
    for (const struct admin_verb *other = admin_verbs; other != verb; other++)
        if (strncmp(other->words, verb->words, *length) == 0 &&
            (other->words[*length] == ' ' || other->words[*length] == '\0'))
            return false;
    return true;
}

static void print_cases(void) {
    size_t length;
    puts("    case \"$said\" in");
    each_place(print_place_case);
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++)
        if (verb->words[strcspn(verb->words, " ")] == ' ' && is_new_word(verb, &length))
            print_second_words(verb->words, length);
    fputs("    'elara ') found='", stdout);
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++)
        if (is_new_word(verb, &length))
            printf("%.*s ", (int)length, verb->words);
    puts("help --help --version' ;;\n    esac");
}

static void print_bash(void) {
    puts("# Completion of elara and elara-gateway for bash: source <(elara completion bash)\n"
         "_elara() {\n"
         "    local word=\"${COMP_WORDS[COMP_CWORD]}\" last=$((COMP_CWORD - 1)) found=\n"
         "    [ \"$word\" = = ] && word=  # \"--flag=value\" comes as three words\n"
         "    [ \"${COMP_WORDS[last]}\" = = ] && [ $last -gt 0 ] && last=$((last - 1))\n"
         "    local previous=\"${COMP_WORDS[last]}\"\n"
         "    local said=\"${1##*/} ${COMP_WORDS[*]:1:COMP_CWORD-1} \"\n"
         "    [ \"$COMP_CWORD\" -gt 1 ] || said=\"${1##*/} \"");
    print_cases();
    puts("    COMPREPLY=($(compgen -W \"$found\" -- \"$word\"))\n"
         "}\n"
         "complete -o default -F _elara elara elara-gateway");
}

static void print_zsh(void) {
    puts("#compdef elara elara-gateway\n"
         "# Completion for zsh: source <(elara completion zsh), or a file _elara in $fpath.\n"
         "_elara() {\n"
         "    local word=\"$words[CURRENT]\" previous=\"$words[CURRENT-1]\" found=\n"
         "    local said=\"${words[1]:t} ${(j: :)words[2,CURRENT-1]} \"\n"
         "    [ \"$CURRENT\" -gt 2 ] || said=\"${words[1]:t} \"\n"
         "    if [[ \"$word\" == --*=* ]]; then\n"
         "        previous=\"${word%%=*}\"\n"
         "        compset -P '*='\n"
         "    fi");
    print_cases();
    puts("    if [ -n \"$found\" ]; then compadd -- ${=found}; else _files; fi\n"
         "}\n"
         "if [ \"${funcstack[1]}\" = _elara ]; then _elara \"$@\"; else compdef _elara elara "
         "elara-gateway; fi");
}

/* ---- fish: a line for each word ---- */

static void print_quoted(const char *text) {
    putchar('\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text == '\n' ? ' ' : *text);
    }
    putchar('\'');
}

static void print_condition(const struct place *place) {
    printf("complete -c %s", place->program);
    if (*place->words != '\0')
        printf(" -n '__elara_said %s'", place->words);
}

static void print_fish_flag(const struct place *place, const char *name, const char *choices,
                            const char *help) {
    print_condition(place);
    printf(" -l %s", name);
    if (choices == NULL || *choices != '\0')
        fputs(" -r", stdout);
    if (choices != NULL && *choices != '\0') {
        fputs(" -f -a '", stdout);
        print_words(choices);
        putchar('\'');
    }
    if (help != NULL) {
        fputs(" -d ", stdout);
        print_quoted(help);
    }
    putchar('\n');
}

static void print_fish_place(const struct place *place) {
    visit_flags(place, print_fish_flag);
    if (!is_choice(place->arguments))
        return;
    print_condition(place);
    fputs(" -f -a '", stdout);
    print_words(place->arguments);
    puts("'");
}

static void print_fish(void) {
    puts("# Completion of elara and elara-gateway for fish: elara completion fish | source\n"
         "function __elara_said\n"
         "    set -l said (commandline -opc)\n"
         "    set -l last (math 1 + (count $argv))\n"
         "    test (count $said) -ge $last; or return 1\n"
         "    test \"$said[2..$last]\" = \"$argv\"\n"
         "end\n"
         "function __elara_says_next\n"
         "    test (count (commandline -opc)) -eq (math 1 + (count $argv)); or return 1\n"
         "    test (count $argv) -eq 0; or __elara_said $argv\n"
         "end");
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++) {
        size_t length;
        const char *second = strchr(verb->words, ' ');
        if (is_new_word(verb, &length)) {
            printf("complete -c elara -n '__elara_says_next' -f -a %.*s", (int)length, verb->words);
            fputs(second == NULL ? " -d " : "\n", stdout);
            if (second == NULL) {
                print_quoted(verb->help);
                putchar('\n');
            }
        }
        if (second == NULL)
            continue;
        printf("complete -c elara -n '__elara_says_next %.*s' -f -a %s -d ", (int)length,
               verb->words, second + 1);
        print_quoted(verb->help);
        putchar('\n');
    }
    each_place(print_fish_place);
}

int admin_completion(int argc, char **argv, struct error *err) {
    const char *shell = admin_take_argument(&argc, argv);
    if (shell != NULL && argc == 1 && strcmp(shell, "bash") == 0)
        print_bash();
    else if (shell != NULL && argc == 1 && strcmp(shell, "zsh") == 0)
        print_zsh();
    else if (shell != NULL && argc == 1 && strcmp(shell, "fish") == 0)
        print_fish();
    else
        return error_set(err, ERROR_INVALID, "for which shell? bash, zsh or fish");
    return 0;
}
