#include "base/option.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct settings {
    bool list_kernels;
    int64_t port;
    int64_t offset;
    int64_t idle_timeout_ms;
    int64_t body_limit;
    char *ip;
    char *base_url;
    char *auth_token;
    char *style;
    char **users;
    char **none;
    json_t *overrides;
};

static int check_overrides(const void *value, struct error *err) {
    const json_t *alice = json_object_get(value, "alice");
    if (alice != NULL && !json_is_integer(json_object_get(alice, "idle")))
        return error_set(err, ERROR_INVALID, "alice.idle: must be a number");
    return 0;
}

#define AT(field) .offset = offsetof(struct settings, field)

static const struct option_row table[] = {
    {"list-kernels", "ELARA_LIST_KERNELS,EG_LIST_KERNELS", OPTION_BOOL, AT(list_kernels),
     .fallback = "true", .group = "Kernels", .help = "Lists kernels."},
    {"port", "ELARA_PORT,EG_PORT,KG_PORT", OPTION_INT, AT(port), .fallback = "8888", .min = 1,
     .max = 65535, .group = "Network", .help = "The port."},
    {"offset", "ELARA_OFFSET", OPTION_INT, AT(offset), .fallback = "0", .min = -10, .max = 10,
     .group = "Network"},
    {"idle-timeout", "ELARA_IDLE_TIMEOUT", OPTION_DURATION, AT(idle_timeout_ms), .fallback = "0",
     .group = "Network", .help = "How long."},
    {"body-limit", "ELARA_BODY_LIMIT", OPTION_BYTES, AT(body_limit), .fallback = "10M", .min = 1024,
     .max = 1 << 30, .group = "Network"},
    {"ip", "ELARA_IP,EG_IP", OPTION_TEXT, AT(ip), .fallback = "127.0.0.1", .group = "Network"},
    {"base-url", "ELARA_BASE_URL", OPTION_TEXT, AT(base_url), .group = "Network"},
    {"auth-token", "ELARA_AUTH_TOKEN,EG_AUTH_TOKEN", OPTION_TEXT, AT(auth_token),
     .flags = OPTION_SECRET, .group = "Auth", .help = "The token."},
    {"style", "ELARA_STYLE", OPTION_ENUM, AT(style), .fallback = "auto",
     .choices = "auto|http|notebook", .group = "Auth", .flags = OPTION_RELOAD, .help = "A | B."},
    {"users", "ELARA_USERS,EG_USERS", OPTION_LIST, AT(users), .fallback = "root", .group = "Auth"},
    {"none", "ELARA_NONE", OPTION_LIST, AT(none), .group = "Auth"},
    {"overrides", "ELARA_OVERRIDES", OPTION_MAPPING, AT(overrides), .group = "Auth",
     .check = check_overrides},
    {0},
};
enum { ROWS = sizeof table / sizeof table[0] - 1, WORDS = 8 };

/* One load: at most WORDS words and variables, and YAML text. */
struct load {
    const char *arguments[WORDS];
    const char *environment[WORDS];
    const char *yaml;
};

struct loaded {
    struct settings settings;
    struct option_source sources[ROWS];
    struct error err;
    int failed;
};

/* argv and envp are lists of changeable texts; option_load does not change any. */
static void as_vector(const char *const *texts, char *vector[WORDS + 1]) {
    memcpy(vector, texts, WORDS * sizeof *vector);
}

static void load(const struct load *from, struct loaded *ret) {
    char *argv[WORDS + 2] = {(char[]){"elara"}};
    char *environment[WORDS + 1] = {0};
    as_vector(from->arguments, argv + 1);
    as_vector(from->environment, environment);
    int argc = 1;
    while (argv[argc] != NULL)
        argc++;
    cleanup_json json_t *file = NULL, *lines = NULL;
    *ret = (struct loaded){0};
    if (from->yaml != NULL)
        assert_int_equal(yaml_parse_lines(from->yaml, strlen(from->yaml), &file, &lines, &ret->err),
                         0);
    struct option_input input = {.argc = argc,
                                 .argv = argv,
                                 .environment = environment,
                                 .file = file,
                                 .file_name = "elara.yaml",
                                 .lines = lines};
    ret->failed = option_load(table, &input, &ret->settings, ret->sources, &ret->err);
}

static size_t row_at(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(table[i].name, name) == 0)
            return i;
    fail_msg("no row %s", name);
    return 0;
}

/* What --show-config prints for one row: "value  # source". */
static char *shown(const struct loaded *loaded, const char *key) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    option_print_config(table, &loaded->settings, loaded->sources, out);
    fclose(out);
    cleanup_free char *whole = text;
    cleanup_free char *start = memory_printf("\n%s: ", key);
    const char *found = strstr(whole, start);
    assert_non_null(found);
    found += strlen(start);
    return memory_strndup(found, strcspn(found, "\n"));
}

struct good_row {
    const char *key;
    const char *want; /* value and source as --show-config has them */
    struct load from;
};

/* clang-format off */
static const struct good_row good[] = {
    {"list_kernels", "true  # default", {.yaml = NULL}},
    {"list_kernels", "false  # --list-kernels", {.arguments = {"--list-kernels=false"}}},
    {"list_kernels", "false  # --list-kernels", {.arguments = {"--list-kernels", "Off"}}},
    {"list_kernels", "false  # --no-list-kernels", {.arguments = {"--no-list-kernels"}}},
    {"list_kernels", "true  # --list-kernels", {.arguments = {"--no-list-kernels", "--list-kernels"}}},
    {"list_kernels", "false  # EG_LIST_KERNELS", {.environment = {"EG_LIST_KERNELS=False"}}},
    {"list_kernels", "true  # EG_LIST_KERNELS", {.environment = {"EG_LIST_KERNELS=YES"}}},
    {"list_kernels", "false  # elara.yaml:1", {.yaml = "list_kernels: no"}},
    {"list_kernels", "false  # elara.yaml:1", {.yaml = "list_kernels: false"}},
    {"list_kernels", "false  # elara.yaml:1", {.yaml = "list_kernels: 0"}},
    {"port", "8888  # default", {.yaml = NULL}},
    {"port", "9  # elara.yaml:1", {.yaml = "port: 9"}},
    {"port", "9  # elara.yaml:1", {.yaml = "port: '9'"}},
    {"port", "8888  # default", {.yaml = "port:"}},
    {"port", "8  # KG_PORT", {.environment = {"KG_PORT=8"}, .yaml = "port: 9"}},
    {"port", "7  # EG_PORT", {.environment = {"KG_PORT=8", "EG_PORT=7"}, .yaml = "port: 9"}},
    {"port", "6  # ELARA_PORT", {.environment = {"KG_PORT=8", "EG_PORT=7", "ELARA_PORT=6"}}},
    {"port", "5  # --port", {.arguments = {"--port", "5"}, .environment = {"ELARA_PORT=6"}, .yaml = "port: 9"}},
    {"port", "4  # --port", {.arguments = {"--port", "5", "--port=4"}}},
    {"port", "7  # EG_PORT", {.environment = {"ELARA_PORT=tcp://10.0.0.1:8888", "EG_PORT=7"}}},
    {"port", "8888  # default", {.environment = {"EG_PORT="}}},
    {"port", "8888  # default", {.environment = {"EG_PORTS=1", "XEG_PORT=1", "EG_PORT"}}},
    {"port", "65535  # --port", {.arguments = {"--port=65535"}}},
    {"offset", "-10  # --offset", {.arguments = {"--offset=-10"}}},
    {"offset", "-3  # --offset", {.arguments = {"--offset", "-3"}}},
    {"idle_timeout", "0  # default", {.yaml = NULL}},
    {"idle_timeout", "90s  # --idle-timeout", {.arguments = {"--idle-timeout=90"}}},
    {"idle_timeout", "500ms  # --idle-timeout", {.arguments = {"--idle-timeout=500ms"}}},
    {"idle_timeout", "30s  # --idle-timeout", {.arguments = {"--idle-timeout=30s"}}},
    {"idle_timeout", "5m  # --idle-timeout", {.arguments = {"--idle-timeout=5m"}}},
    {"idle_timeout", "4h  # --idle-timeout", {.arguments = {"--idle-timeout=4h"}}},
    {"idle_timeout", "2d  # --idle-timeout", {.arguments = {"--idle-timeout=48h"}}},
    {"idle_timeout", "1500ms  # --idle-timeout", {.arguments = {"--idle-timeout=1.5"}}},
    {"idle_timeout", "90m  # --idle-timeout", {.arguments = {"--idle-timeout=1.5h"}}},
    {"idle_timeout", "250ms  # elara.yaml:1", {.yaml = "idle_timeout: 0.25"}},
    {"idle_timeout", "1h  # elara.yaml:1", {.yaml = "idle_timeout: 3600"}},
    {"idle_timeout", "1h  # elara.yaml:1", {.yaml = "idle_timeout: 1h"}},
    {"body_limit", "10M  # default", {.yaml = NULL}},
    {"body_limit", "1025  # --body-limit", {.arguments = {"--body-limit=1025"}}},
    {"body_limit", "64k  # --body-limit", {.arguments = {"--body-limit=64k"}}},
    {"body_limit", "64k  # --body-limit", {.arguments = {"--body-limit=64KiB"}}},
    {"body_limit", "1536k  # --body-limit", {.arguments = {"--body-limit=1.5Mi"}}},
    {"body_limit", "1G  # --body-limit", {.arguments = {"--body-limit=1G"}}},
    {"body_limit", "2k  # elara.yaml:1", {.yaml = "body_limit: 2048"}},
    {"ip", "\"127.0.0.1\"  # default", {.yaml = NULL}},
    {"ip", "\"\"  # EG_IP", {.environment = {"EG_IP="}}},
    {"ip", "\"::\"  # --ip", {.arguments = {"--ip", "::"}}},
    {"ip", "\"a=b\"  # --ip", {.arguments = {"--ip=a=b"}}},
    {"ip", "\"--x\"  # --ip", {.arguments = {"--ip=--x"}}},
    {"ip", "\"q\\\"\\\\ \\u0007\"  # --ip", {.arguments = {"--ip=q\"\\ \a"}}},
    {"base_url", "null  # default", {.yaml = NULL}},
    {"base_url", "null  # ELARA_BASE_URL", {.environment = {"ELARA_BASE_URL="}}},
    {"base_url", "\"/x\"  # elara.yaml:1", {.yaml = "base_url: /x"}},
    {"auth_token", "null  # default", {.yaml = NULL}},
    {"style", "\"auto\"  # default", {.yaml = NULL}},
    {"style", "\"http\"  # --style", {.arguments = {"--style=http"}}},
    {"style", "\"notebook\"  # elara.yaml:1", {.yaml = "style: notebook"}},
    {"users", "[\"root\"]  # default", {.yaml = NULL}},
    {"none", "[]  # default", {.yaml = NULL}},
    {"users", "[]  # EG_USERS", {.environment = {"EG_USERS="}}},
    {"users", "[]  # EG_USERS", {.environment = {"EG_USERS=[]"}}},
    {"users", "[]  # EG_USERS", {.environment = {"EG_USERS= , ,"}}},
    {"users", "[\"a\", \"b c\"]  # EG_USERS", {.environment = {"EG_USERS= a , b c,"}}},
    {"users", "[\"a\", \"b,c\"]  # EG_USERS", {.environment = {"EG_USERS=[\"a\",\"b,c\"]"}}},
    {"users", "[\"a\", \"b\"]  # EG_USERS", {.environment = {"EG_USERS='a','b'"}}},
    {"users", "[\"a,x\", \"b\", \"c\"]  # EG_USERS", {.environment = {"EG_USERS='a,x' , b, \"c\""}}},
    {"users", "[\"it's\"]  # EG_USERS", {.environment = {"EG_USERS=it's"}}},
    {"users", "[\"\"]  # EG_USERS", {.environment = {"EG_USERS=''"}}},
    {"users", "[\"a\", \"b\", \"c\"]  # --users", {.arguments = {"--users=a", "--users", "b,c"}, .environment = {"EG_USERS=d"}}},
    {"users", "[\"a\", \"2\"]  # elara.yaml:1", {.yaml = "users: [a, '2']"}},
    {"users", "[\"a\", \"b\"]  # elara.yaml:1", {.yaml = "users: a,b"}},
    {"users", "[]  # elara.yaml:1", {.yaml = "users: []"}},
    {"overrides", "{}  # default", {.yaml = NULL}},
    {"overrides", "{}  # default", {.environment = {"ELARA_OVERRIDES="}}},
    {"overrides", "{}  # elara.yaml:1", {.yaml = "overrides: {}"}},
    {"overrides", "{\"alice\": {\"idle\": 5}}  # elara.yaml:1", {.yaml = "overrides:\n  alice:\n    idle: 5\n"}},
    {"overrides", "{\"alice\": {\"idle\": 5}}  # ELARA_OVERRIDES", {.environment = {"ELARA_OVERRIDES={\"alice\": {\"idle\": 5}}"}}},
};
/* clang-format on */

static void takes_every_type_from_every_source(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct loaded loaded;
        load(&good[i].from, &loaded);
        if (loaded.failed < 0)
            fail_msg("row %zu, %s: %s", i, good[i].want, loaded.err.text);
        cleanup_free char *got = shown(&loaded, good[i].key);
        if (strcmp(got, good[i].want) != 0)
            fail_msg("row %zu: got %s, want %s", i, got, good[i].want);
        option_free(table, &loaded.settings);
    }
}

struct bad_row {
    const char *want; /* the whole message */
    struct load from;
};

/* clang-format off */
static const struct bad_row bad[] = {
    {"--list-kernels: \"maybe\" must be true or false", {.arguments = {"--list-kernels=maybe"}}},
    {"EG_LIST_KERNELS: \"2\" must be true or false", {.environment = {"EG_LIST_KERNELS=2"}}},
    {"elara.yaml:1: list_kernels: \"2\" must be true or false", {.yaml = "list_kernels: 2"}},
    {"elara.yaml:1: list_kernels: must be true or false", {.yaml = "list_kernels: [true]"}},
    {"--port: \"0\" must be a whole number from 1 to 65535", {.arguments = {"--port=0"}}},
    {"--port: \"65536\" must be a whole number from 1 to 65535", {.arguments = {"--port", "65536"}}},
    {"--port: \"+5\" must be a whole number from 1 to 65535", {.arguments = {"--port=+5"}}},
    {"--port: \" 5\" must be a whole number from 1 to 65535", {.arguments = {"--port= 5"}}},
    {"--port: \"5x\" must be a whole number from 1 to 65535", {.arguments = {"--port=5x"}}},
    {"--port: \"5.0\" must be a whole number from 1 to 65535", {.arguments = {"--port=5.0"}}},
    {"--port: \"\" must be a whole number from 1 to 65535", {.arguments = {"--port="}}},
    {"--port: \"99999999999999999999\" must be a whole number from 1 to 65535",
     {.arguments = {"--port=99999999999999999999"}}},
    {"KG_PORT: \"x\" must be a whole number from 1 to 65535", {.arguments = {"--port=5"}, .environment = {"KG_PORT=x"}}},
    {"elara.yaml:1: port: must be a whole number from 1 to 65535 (put it in quotes to make it a text)",
     {.yaml = "port: true"}},
    {"elara.yaml:1: port: must be a whole number from 1 to 65535", {.yaml = "port: {a: 1}"}},
    {"--port: needs a value: --port=VALUE", {.arguments = {"--port"}}},
    {"--port: needs a value: --port=VALUE", {.arguments = {"--port", "--ip", "::"}}},
    {"--offset: \"-11\" must be a whole number from -10 to 10", {.arguments = {"--offset=-11"}}},
    {"--idle-timeout: \"-1\" must be seconds, or a time such as 500ms, 30s, 5m, 4h, 2d, at least 0",
     {.arguments = {"--idle-timeout=-1"}}},
    {"--idle-timeout: \"5 m\" must be seconds, or a time such as 500ms, 30s, 5m, 4h, 2d, at least 0",
     {.arguments = {"--idle-timeout=5 m"}}},
    {"--idle-timeout: \"1w\" must be seconds, or a time such as 500ms, 30s, 5m, 4h, 2d, at least 0",
     {.arguments = {"--idle-timeout=1w"}}},
    {"--idle-timeout: \"1.s\" must be seconds, or a time such as 500ms, 30s, 5m, 4h, 2d, at least 0",
     {.arguments = {"--idle-timeout=1.s"}}},
    {"--idle-timeout: \"9223372036854775806d\" must be seconds, or a time such as 500ms, 30s, 5m, 4h, 2d, at least 0",
     {.arguments = {"--idle-timeout=9223372036854775806d"}}},
    {"--body-limit: \"1023\" must be bytes, or a size such as 64k, 10M, 1G, from 1k to 1G",
     {.arguments = {"--body-limit=1023"}}},
    {"--body-limit: \"1MB\" must be bytes, or a size such as 64k, 10M, 1G, from 1k to 1G",
     {.arguments = {"--body-limit=1MB"}}},
    {"--body-limit: \"9000000T\" must be bytes, or a size such as 64k, 10M, 1G, from 1k to 1G",
     {.arguments = {"--body-limit=9000000T"}}},
    {"elara.yaml:1: ip: must be text (put it in quotes to make it a text)", {.yaml = "ip: 1234"}},
    {"elara.yaml:1: ip: must be text", {.yaml = "ip: [a]"}},
    {"ELARA_IP: the value is not UTF-8", {.environment = {"ELARA_IP=\xFF"}}},
    {"--style: \"htt\" must be one of auto, http, notebook", {.arguments = {"--style=htt"}}},
    {"--style: \"auto|http\" must be one of auto, http, notebook", {.arguments = {"--style=auto|http"}}},
    {"--style: \"\" must be one of auto, http, notebook", {.arguments = {"--style="}}},
    {"elara.yaml:1: idle_timeout: \"0.000400000\" must be seconds, or a time such as 500ms, 30s, 5m, 4h, 2d, at least 0",
     {.yaml = "idle_timeout: 0.0004"}},
    {"--idle-timeout: \"0.4ms\" must be seconds, or a time such as 500ms, 30s, 5m, 4h, 2d, at least 0",
     {.arguments = {"--idle-timeout=0.4ms"}}},
    {"elara.yaml:3: overrides: alice.idle: must be a number", {.yaml = "overrides:\n  alice:\n    idle: x"}},
    {"elara.yaml:1: overrides: must be a mapping: lines of \"key: value\", or {\"key\": value}",
     {.yaml = "overrides: [alice]"}},
    {"elara.yaml:1: overrides: must be a mapping: lines of \"key: value\", or {\"key\": value}",
     {.yaml = "overrides: 5"}},
    {"elara.yaml:1: overrides: alice.idle: must be a number", {.yaml = "overrides: {alice: {idle: x}}"}},
    {"ELARA_OVERRIDES: line 1, column 8: \"a\" is there twice", {.environment = {"ELARA_OVERRIDES={a: 1, a: 2}"}}},
    {"elara.yaml:1: users: item 2 of the list must be a text", {.yaml = "users: [a, 2]"}},
    {"EG_USERS: item 1 of the list must be a text", {.environment = {"EG_USERS=[1]"}}},
    {"EG_USERS: a list that starts with [ must be a JSON array of texts: ']' expected near end of file",
     {.environment = {"EG_USERS=[\"a\""}}},
    {"EG_USERS: a quoted list item must end with its quote and a comma",
     {.environment = {"EG_USERS='a' b"}}},
    {"EG_USERS: a quoted list item must end with its quote and a comma",
     {.environment = {"EG_USERS=a,'b"}}},
    {"--users: a quoted list item must end with its quote and a comma", {.arguments = {"--users=a", "--users='"}}},
    {"--auth-token: not taken as a flag, because everybody on the machine can read command lines; "
     "set it as ELARA_AUTH_TOKEN in the environment or as auth_token in the configuration file",
     {.arguments = {"--auth-token=geheim"}}},
    {"elara.yaml:1: auth_token: must be text (put it in quotes to make it a text)",
     {.yaml = "auth_token: 12345"}},
    {"elara.yaml:2: unknown key \"prot\"; did you mean \"port\"?", {.yaml = "port: 1\nprot: 2"}},
    {"elara.yaml:1: unknown key \"base-url\"; did you mean \"base_url\"?", {.yaml = "base-url: /"}},
    {"elara.yaml:1: unknown key \"BodyLimit\"; did you mean \"body_limit\"?", {.yaml = "BodyLimit: 1"}},
    {"elara.yaml:1: unknown key \"zzzzzzz\"; --help lists all settings", {.yaml = "zzzzzzz: 1"}},
    {"elara.yaml: must hold lines of \"key: value\"", {.yaml = "- port"}},
    {"--prot: unknown flag; did you mean --port?", {.arguments = {"--prot=geheim"}}},
    {"--zzzzzzz: unknown flag; --help lists all", {.arguments = {"--zzzzzzz=geheim"}}},
    {"--no-port: unknown flag; did you mean --port?", {.arguments = {"--no-port"}}},
    {"--no-list-kernels: unknown flag; did you mean --list-kernels?", {.arguments = {"--no-list-kernels=1"}}},
    {"\"serve\": not a flag; flags read --name value or --name=value", {.arguments = {"serve"}}},
    {"\"-p\": not a flag; flags read --name value or --name=value", {.arguments = {"-p", "1"}}},
    {"\"--\": not a flag; flags read --name value or --name=value", {.arguments = {"--"}}},
};
/* clang-format on */

static void refuses_with_the_source_and_the_fix(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct loaded loaded;
        load(&bad[i].from, &loaded);
        if (loaded.failed == 0)
            fail_msg("row %zu was taken; want %s", i, bad[i].want);
        if (strcmp(loaded.err.text, bad[i].want) != 0)
            fail_msg("row %zu: got %s, want %s", i, loaded.err.text, bad[i].want);
        assert_int_equal(loaded.err.code, ERROR_INVALID);
        assert_null(loaded.settings.ip); /* nothing is owned after a failure */
        assert_null(loaded.settings.users);
        assert_null(loaded.settings.overrides);
    }
}

static void on_problem(void *context, const struct error *err) {
    struct buffer *told = context;
    buffer_printf(told, "! %s\n", err->text);
}

static void on_notice(void *context, const char *text) {
    struct buffer *told = context;
    buffer_printf(told, "- %s\n", text);
}

static void tells(const struct load *from, const char *want) {
    char *argv[WORDS + 2] = {(char[]){"elara"}};
    char *environment[WORDS + 1] = {0};
    as_vector(from->arguments, argv + 1);
    as_vector(from->environment, environment);
    cleanup_json json_t *file = NULL, *lines = NULL;
    if (from->yaml != NULL)
        assert_int_equal(yaml_parse_lines(from->yaml, strlen(from->yaml), &file, &lines, NULL), 0);
    cleanup_buffer struct buffer told = {0};
    struct option_input input = {.argv = argv,
                                 .environment = environment,
                                 .file = file,
                                 .file_name = "e.yaml",
                                 .lines = lines,
                                 .problem = on_problem,
                                 .notice = on_notice,
                                 .context = &told};
    for (input.argc = 1; argv[input.argc] != NULL;)
        input.argc++;
    struct settings settings = {0};
    int failed = option_load(table, &input, &settings, NULL, NULL);
    if (strcmp(buffer_text(&told), want) != 0)
        fail_msg("got:\n%swant:\n%s", buffer_text(&told), want);
    assert_int_equal(failed, strchr(want, '!') != NULL ? -1 : 0);
    if (failed == 0)
        option_free(table, &settings);
}

static void tells_of_every_mistake(void **state) {
    (void)state;
    tells(&(struct load){.yaml = "port: x\nprot: 1\nstyle: loud\nip: a\n",
                         .environment = {"EG_LIST_KERNELS=maybe"},
                         .arguments = {"--offset=99", "--nothing", "1", "--auth-token=s", "serve"}},
          "! e.yaml:1: port: \"x\" must be a whole number from 1 to 65535\n"
          "! e.yaml:2: unknown key \"prot\"; did you mean \"port\"?\n"
          "! e.yaml:3: style: \"loud\" must be one of auto, http, notebook\n"
          "! EG_LIST_KERNELS: \"maybe\" must be true or false\n"
          "! --offset: \"99\" must be a whole number from -10 to 10\n"
          "! --nothing: unknown flag; --help lists all\n"
          "! --auth-token: not taken as a flag, because everybody on the machine can read command "
          "lines; set it as ELARA_AUTH_TOKEN in the environment or as auth_token in the "
          "configuration file\n"
          "! \"serve\": not a flag; flags read --name value or --name=value\n");
}

static void tells_which_source_wins(void **state) {
    (void)state;
    tells(&(struct load){.yaml = "port: 9\nip: a\n", .environment = {"EG_PORT=9"}}, "");
    tells(&(struct load){.yaml = "\nport: 9\n", .environment = {"EG_PORT=8"}},
          "- port: EG_PORT counts, which says 8, and not e.yaml:2, which says 9\n");
    tells(&(struct load){.environment = {"EG_PORT=8", "KG_PORT=7"}, .arguments = {"--port=8"}},
          "- port: EG_PORT counts, which says 8, and not KG_PORT, which says 7\n");
    tells(&(struct load){.yaml = "idle_timeout: 1h\n", .environment = {"ELARA_IDLE_TIMEOUT=60m"}},
          "");
    tells(&(struct load){.yaml = "auth_token: geheim\n", .environment = {"EG_AUTH_TOKEN=offen"}},
          "- auth_token: EG_AUTH_TOKEN counts, and not e.yaml:1, which says otherwise\n");
    tells(&(struct load){.yaml = "users: [a]\n", .arguments = {"--users=b", "--users=c"}},
          "- users: --users counts, which says [\"b\"], and not e.yaml:1, which says [\"a\"]\n");
    tells(&(struct load){.yaml = "port:\nbase_url:\n"},
          "- e.yaml:1: port has no value; the default counts, which is 8888\n");
    tells(&(struct load){.yaml = "overrides:\n"},
          "- e.yaml:1: overrides has no value, and says nothing\n");
    tells(&(struct load){.yaml = "overrides:\n  bob: {}\n  carla: {idle: 5, age: }\n  dora:\n"},
          "- e.yaml:3: overrides.carla.age has no value, and says nothing\n"
          "- e.yaml:4: overrides.dora has no value, and says nothing\n");
    tells(&(struct load){.yaml = "overrides: {}\n"}, "");
}

static void bounds_texts_and_lists(void **state) {
    (void)state;
    cleanup_free char *huge = memory_alloc(70001);
    memset(huge, 'a', 70000);
    struct loaded loaded;
    load(&(struct load){.arguments = {"--ip", huge}}, &loaded);
    assert_int_equal(loaded.failed, -1);
    assert_int_equal(loaded.err.code, ERROR_LIMIT);
    for (size_t i = 1; i < 10000; i += 2)
        huge[i] = ',';
    huge[10000] = '\0';
    load(&(struct load){.arguments = {"--users", huge}}, &loaded);
    assert_int_equal(loaded.failed, -1);
    assert_string_equal(loaded.err.text, "--users: a list has at most 4096 items");
}

static void masks_secrets_wherever_it_prints(void **state) {
    (void)state;
    struct loaded loaded;
    load(&(struct load){.environment = {"EG_AUTH_TOKEN=geheim"}}, &loaded);
    assert_int_equal(loaded.failed, 0);
    assert_string_equal(loaded.settings.auth_token, "geheim");
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    option_print_config(table, &loaded.settings, loaded.sources, out);
    option_print_help(table, out);
    option_print_markdown(table, out);
    fclose(out);
    assert_null(strstr(text, "geheim"));
    assert_non_null(strstr(text, "\n# auth_token: (set, not shown)  # EG_AUTH_TOKEN\n"));
    assert_null(strstr(text, "--auth-token"));
    free(text);
    option_free(table, &loaded.settings);
    load(&(struct load){.environment = {"EG_AUTH_TOKEN=\xFEgeheim"}}, &loaded);
    assert_int_equal(loaded.failed, -1);
    assert_null(strstr(loaded.err.text, "geheim"));
}

static void what_it_shows_loads_again(void **state) {
    (void)state;
    struct loaded first;
    load(&(struct load){.arguments = {"--users=a, b:c,'# d'", "--idle-timeout=1.5", "--ip=a # b: c",
                                      "--no-list-kernels", "--body-limit=1025",
                                      "--overrides={alice: {idle: 7}}"}},
         &first);
    assert_int_equal(first.failed, 0);
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    option_print_config(table, &first.settings, first.sources, out);
    fclose(out);
    struct loaded second;
    load(&(struct load){.yaml = text}, &second);
    free(text);
    if (second.failed < 0)
        fail_msg("%s", second.err.text);
    assert_string_equal(second.settings.users[2], "# d");
    assert_string_equal(second.settings.ip, "a # b: c");
    assert_int_equal(second.settings.idle_timeout_ms, 1500);
    assert_int_equal(second.settings.body_limit, 1025);
    assert_false(second.settings.list_kernels);
    assert_true(json_equal(first.settings.overrides, second.settings.overrides));
    assert_true(strncmp(second.sources[row_at("ip")].text, "elara.yaml:", 11) == 0);
    option_free(table, &first.settings);
    option_free(table, &second.settings);
}

static void walks_unknown_variables(void **state) {
    (void)state;
    char *environment[] = {
        (char[]){"EG_PORT=1"},
        (char[]){"EG_PORTS=1"},
        (char[]){"PATH=/"},
        (char[]){"EG_SERVICE_HOST=10.0.0.1"},
        (char[]){"EG_PORT_80_TCP=x"},
        (char[]){"EG_A_SERVICE_PORT_HTTP=1"},
        (char[]){"EG_WEB_PORT=tcp://"},
        (char[]){"EG_RESPONSE_PORT=8877"},
        NULL,
    };
    size_t at = 0;
    assert_string_equal(option_next_unknown(table, environment, "EG_", &at), "EG_PORTS=1");
    assert_string_equal(option_next_unknown(table, environment, "EG_", &at),
                        "EG_RESPONSE_PORT=8877");
    assert_null(option_next_unknown(table, environment, "EG_", &at));
}

static void knows_which_variable_was_meant(void **state) {
    (void)state;
    char nearest[OPTION_NAME_MAX];
    static const char mistyped[] = "ELARA_IDLE_TIMOUT=12h";
    assert_true(option_nearest_variable(table, mistyped, strcspn(mistyped, "="), nearest));
    assert_string_equal(nearest, "ELARA_IDLE_TIMEOUT");
    assert_true(option_nearest_variable(table, "EG_PROT", 7, nearest));
    assert_string_equal(nearest, "EG_PORT");
    assert_false(option_nearest_variable(table, "EG_NAMESPACE", 12, nearest));
}

static void takes_flags_out(void **state) {
    (void)state;
    char *argv[] = {(char[]){"elara"},  (char[]){"--help"},    (char[]){"--config=a"},
                    (char[]){"--port"}, (char[]){"1"},         (char[]){"--config"},
                    (char[]){"b"},      (char[]){"--configs"}, NULL};
    int argc = 8;
    const char *value = NULL;
    assert_true(option_take_flag(&argc, argv, "help", NULL));
    assert_false(option_take_flag(&argc, argv, "help", NULL));
    assert_true(option_take_flag(&argc, argv, "config", &value));
    assert_string_equal(value, "a");
    assert_true(option_take_flag(&argc, argv, "config", &value));
    assert_string_equal(value, "b");
    assert_false(option_take_flag(&argc, argv, "config", &value));
    assert_true(option_take_flag(&argc, argv, "configs", &value));
    assert_null(value);
    assert_int_equal(argc, 3);
    assert_string_equal(argv[1], "--port");
    assert_string_equal(argv[2], "1");
    assert_null(argv[3]);
}

static void prints_help_and_the_manual(void **state) {
    (void)state;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    option_print_help(table, out);
    fclose(out);
    assert_non_null(strstr(text,
                           "Kernels:\n  --[no-]list-kernels\n      Lists kernels. Takes true or "
                           "false. Default: true. Environment: ELARA_LIST_KERNELS,\n"
                           "      EG_LIST_KERNELS.\n"));
    assert_non_null(strstr(text, "\nNetwork:\n  --port NUMBER\n"));
    free(text);
    out = open_memstream(&text, &length);
    option_print_markdown(table, out);
    fclose(out);
    assert_non_null(strstr(text,
                           "\n| `--port`<br>`port:` | `ELARA_PORT`<br>`EG_PORT`<br>`KG_PORT` | "
                           "`8888` | a whole number from 1 to 65535 | The port. |\n"));
    assert_non_null(strstr(text, "| A \\| B. *Reloads.* |\n"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_type_from_every_source),
        cmocka_unit_test(refuses_with_the_source_and_the_fix),
        cmocka_unit_test(tells_of_every_mistake),
        cmocka_unit_test(tells_which_source_wins),
        cmocka_unit_test(bounds_texts_and_lists),
        cmocka_unit_test(masks_secrets_wherever_it_prints),
        cmocka_unit_test(what_it_shows_loads_again),
        cmocka_unit_test(walks_unknown_variables),
        cmocka_unit_test(knows_which_variable_was_meant),
        cmocka_unit_test(takes_flags_out),
        cmocka_unit_test(prints_help_and_the_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
