#include "gateway/migrate.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option_value.h"
#include "base/text.h"
#include "gateway/settings.h"
#include "gateway/settings_legacy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NOTES_MAX = 10000, SHOWN_MAX = 400 };

struct found {
    char *value;  /* as YAML; NULL: not set */
    char *source; /* "EG_PORT, jeg.env:3" */
    enum migrate_rank rank;
    int place; /* of the variable among the row's: JEG reads the first that is set */
};

struct lines {
    char **texts;
    size_t count;
};

struct migration {
    struct found *found; /* one a row of settings_table() */
    struct lines notes, troubles;
    struct lines kernelspecs[2]; /* where kernels are processes, where they are pods */
    json_t *mounts;              /* of migration_mount */
    bool may_have_token;         /* one that could not be read, or is a secret of the cluster's */
};

struct migration *migration_create(void) {
    struct migration *migration = memory_alloc(sizeof *migration);
    size_t rows = 0;
    while (settings_table()[rows].name != NULL)
        rows++;
    migration->found = memory_alloc((rows + 1) * sizeof *migration->found);
    migration->mounts = json_array();
    return migration;
}

static void lines_free(struct lines *lines) {
    for (size_t i = 0; i < lines->count; i++)
        free(lines->texts[i]);
    free(lines->texts);
}

void migration_destroy(struct migration *migration) {
    if (migration == NULL)
        return;
    for (size_t i = 0; settings_table()[i].name != NULL; i++) {
        free(migration->found[i].value);
        free(migration->found[i].source);
    }
    free(migration->found);
    lines_free(&migration->notes);
    lines_free(&migration->troubles);
    lines_free(&migration->kernelspecs[0]);
    lines_free(&migration->kernelspecs[1]);
    json_decref(migration->mounts);
    free(migration);
}

/* A comment must stay one: YAML takes more than \n for the end of a line, and some characters not
 * at all. In place. */
static char *as_comment(char *text) {
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
            *at = '?';
    return text;
}

/* Takes text. */
static void lines_add(struct lines *lines, char *text) {
    if (lines->count >= NOTES_MAX) {
        free(text);
        return;
    }
    lines->texts = memory_resize(lines->texts, (lines->count + 1) * sizeof *lines->texts);
    lines->texts[lines->count++] = as_comment(text);
}

static void look_for_token(struct migration *migration, const char *as) {
    if (strcasestr(as, "auth_token") != NULL || strcasestr(as, "authToken") != NULL)
        migration->may_have_token = true;
}

static char *note_text(const char *as, const char *where, const char *text) {
    return memory_printf("%.*s (%s): %.*s", SHOWN_MAX, as, where, SHOWN_MAX, text);
}

void migration_note(struct migration *migration, const char *as, const char *where,
                    const char *text) {
    look_for_token(migration, as);
    lines_add(&migration->notes, note_text(as, where, text));
}

void migration_trouble(struct migration *migration, const char *as, const char *where,
                       const char *text) {
    look_for_token(migration, as);
    lines_add(&migration->troubles, note_text(as, where, text));
}

void migration_kernelspec(struct migration *migration, enum migrate_place where, const char *text) {
    for (unsigned i = 0; i < 2; i++)
        if (((unsigned)where & 1u << i) != 0)
            lines_add(&migration->kernelspecs[i], memory_strdup(text));
}

static const struct option_row *find_row(const char *variable, int *place) {
    for (const struct option_row *row = settings_table(); row->name != NULL; row++) {
        const char *name = row->environment != NULL ? row->environment : "";
        for (*place = 0; *name != '\0'; ++*place) {
            size_t length = strcspn(name, ",");
            if (text_equal_n(name, length, variable))
                return row;
            name += length + (name[length] == ',');
        }
    }
    return NULL;
}

/* What JEG's words are called here; the rest as it is. */
static const char *our_word(const struct option_row *row, const char *word) {
    if (strcmp(row->name, "kubernetes-namespaces") != 0)
        return word;
    return strcasecmp(word, "true") == 0    ? "fixed"
           : strcasecmp(word, "false") == 0 ? "kernel"
                                            : word;
}

/* The row's value as YAML, or NULL with err. */
static char *convert(const struct option_row *row, const json_t *value, struct error *err) {
    static const char as[] = "the value";
    struct settings scratch = {0};
    const char *text = json_string_value(value);
    cleanup_free char *number =
        json_is_integer(value) && row->type == OPTION_TEXT
            ? memory_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value))
            : NULL;
    if (number != NULL)
        text = number;
    else if (json_is_boolean(value) && row->type == OPTION_ENUM)
        text = json_is_true(value) ? "true" : "false";
    if (text != NULL)
        text = our_word(row, text);
    int failed = text != NULL ? option_value_parse(row, text, as, &scratch, err)
                              : option_value_from_json(row, value, as, &scratch, err);
    char *yaml = NULL;
    if (failed == 0) {
        cleanup_buffer struct buffer out = {.limit = MIGRATE_FILE_MAX};
        option_value_print(row, &scratch, &out);
        yaml = memory_strdup(buffer_text(&out));
    }
    option_value_clear(row, &scratch);
    return yaml;
}

static bool wins(const struct found *found, const struct found *other) {
    if (found->rank != other->rank)
        return found->rank > other->rank;
    return found->place < other->place; /* of two with one name the last counts */
}

/* Takes over what `given` holds. */
static void keep(struct migration *migration, struct found *found, struct found given) {
    struct found *loser = wins(found, &given) ? &given : found;
    struct found winner = loser == found ? given : *found;
    if (found->value == NULL) {
        *found = given;
        return;
    }
    if (loser->rank > MIGRATE_SCRIPT)
        lines_add(&migration->notes,
                  memory_printf("%s: %s wins over it", loser->source, winner.source));
    free(loser->value);
    free(loser->source);
    *found = winner;
}

static void refuse_unknown(struct migration *migration, const char *variable, const char *as,
                           const char *where) {
    const char *note = settings_legacy_note(variable);
    if (note != NULL)
        migration_note(migration, as, where, note);
    else
        migration_trouble(migration, as, where, "Elara has no setting of that name");
}

static void see_pods_by(struct migration *migration, const char *variable, const char *as,
                        const char *where) {
    static const char *const names[] = {"EG_NAMESPACE", "EG_SHARED_NAMESPACE",
                                        "EG_KERNEL_CLUSTER_ROLE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(variable, names[i]) == 0)
            migration_see_pods(migration, as, where);
}

void migration_see_variable(struct migration *migration, const char *variable, const char *where) {
    see_pods_by(migration, variable, variable, where);
}

void migration_set_json(struct migration *migration, const char *variable, const json_t *value,
                        const char *as, const char *where, enum migrate_rank rank) {
    struct found given = {.rank = rank};
    const struct option_row *row = find_row(variable, &given.place);
    struct error err = {0};
    if (row == NULL) {
        if (rank != MIGRATE_SCRIPT) /* nobody asked for a default */
            refuse_unknown(migration, variable, as, where);
        return;
    }
    const char *text = json_string_value(value);
    if (json_is_null(value) ||
        (text != NULL && row->type == OPTION_LIST && strcmp(text, "null") == 0))
        return; /* JEG's words for its default */
    if (row->flags & OPTION_SECRET) {
        cleanup_free char *note =
            memory_printf("a secret, so it is not repeated here: set %.*s to it, or name tokens in "
                          "auth_token_file (`elara token new`)",
                          (int)strcspn(row->environment, ","), row->environment);
        migration_note(migration, as, where, note);
    }
    given.value = convert(row, value, &err);
    if (given.value == NULL) {
        migration_trouble(migration, as, where, err.text);
        return;
    }
    given.source = as_comment(memory_printf("%s, %s", as, where));
    keep(migration, &migration->found[row - settings_table()], given);
    see_pods_by(migration, variable, as, where);
}

void migration_set_text(struct migration *migration, const char *variable, const char *text,
                        const char *as, const char *where, enum migrate_rank rank) {
    int place;
    const struct option_row *row = find_row(variable, &place);
    bool has_empty = row != NULL && row->type == OPTION_LIST;
    /* What Kubernetes sets beside a Service called eg. */
    bool is_service = row != NULL && row->type == OPTION_INT && text_starts_with(text, "tcp://");
    if ((*text == '\0' && !has_empty) || is_service)
        return;
    cleanup_json json_t *value = json_string(text);
    if (value == NULL)
        migration_trouble(migration, as, where, "the value is not UTF-8");
    else
        migration_set_json(migration, variable, value, as, where, rank);
}

static const struct found *found_for(const struct migration *migration, const char *option) {
    for (size_t i = 0; settings_table()[i].name != NULL; i++)
        if (strcmp(settings_table()[i].name, option) == 0)
            return &migration->found[i];
    static const struct found nothing;
    return &nothing;
}

static bool is_set(const struct migration *migration, const char *option) {
    const struct found *found = found_for(migration, option);
    return found->value != NULL && strcmp(found->value, "null") != 0;
}

static bool has_pods(const struct migration *migration) {
    const char *value = found_for(migration, "provisioner")->value;
    return value != NULL && strcmp(value, "\"kubernetes\"") == 0;
}

void migration_see_pods(struct migration *migration, const char *as, const char *where) {
    if (!has_pods(migration)) /* the first that says so is named */
        migration_set_text(migration, "ELARA_PROVISIONER", "kubernetes", as, where, MIGRATE_SCRIPT);
}

void migration_add_defaults(struct migration *migration) {
    static const char as[] = "default of JEG", where[] = "whose kernels are pods";
    if (!has_pods(migration))
        return;
    if (!is_set(migration, "kubernetes-namespaces"))
        migration_set_text(migration, "EG_SHARED_NAMESPACE", "False", as, where, MIGRATE_SCRIPT);
    /* Its images' user has a name only, which does not show that it is not root. */
    if (!is_set(migration, "kubernetes-uid"))
        migration_set_text(migration, "ELARA_KUBERNETES_UID", "1000", as, where, MIGRATE_SCRIPT);
    if (!is_set(migration, "kubernetes-gid"))
        migration_set_text(migration, "ELARA_KUBERNETES_GID", "100", as, where, MIGRATE_SCRIPT);
}

/* ---- printing ---- */

/* In sentences of an admin who knows JEG. */
struct difference {
    const char *option;
    bool when_set;
    const char *text;
};

static const struct difference differences[] = {
    {"on-exit", false,
     "kernels outlive the gateway; JEG ends them with itself. As JEG: on_exit: shutdown"},
    {"port-retries", false,
     "a taken port is an error; JEG tries 50 others. As JEG: "
     "port_retries: 50"},
    {"list-kernels", false,
     "GET /api/kernels answers, which notebook servers need; JEG itself "
     "(not its container) says 403. As JEG: list_kernels: false"},
    {"list-kernels", true, "notebook servers need list_kernels: true"},
    {"authorized-users", true,
     "a client with a token of its own is its name, whatever "
     "KERNEL_USERNAME says"},
    {"max-kernels-per-user", true,
     "a client with a token of its own is its name, whatever "
     "KERNEL_USERNAME says"},
    {"cull-idle-timeout", true,
     "only what a person does keeps a kernel from being idle; in JEG "
     "any message does. docs/culling.md"},
    {"cull-idle-timeout", false,
     "nothing above says when idle kernels end: after 12 h, as in JEG's container; its chart says "
     "1 h, JEG itself never. As JEG itself: cull_idle_timeout: 0"},
    {"launch-timeout", true,
     "a start is answered at once; the time-out runs while the notebook "
     "shows how far it is"},
    {0},
};

static const struct difference differences_of_processes[] = {
    {"inherited-envs", false,
     "kernels get a list of variables of the gateway; JEG hands all of "
     "them to a request without env. As JEG: inherited_envs: [\"*\"]"},
    {"inherited-envs", true,
     "inherited_envs replaces the gateway's own list (PATH, HOME, LANG and "
     "others): what kernels need has to be in it"},
    {0},
};

static const struct difference differences_of_pods[] = {
    {"provisioner", true,
     "every kernelspec starts as a pod, those for local processes too; one that names no image "
     "(image_name in kernel.json, or its pod.yaml) gets kubernetes_image. docs/kernelspecs.md"},
    {"provisioner", true,
     "JEG's chart or Deployment gives way to manifests/ (docs/kubernetes.md); kernels that JEG "
     "started are not taken over"},
    {"kubernetes-allow", false,
     "clients may not say KERNEL_IMAGE, KERNEL_UID, KERNEL_GID, KERNEL_SERVICE_ACCOUNT_NAME and "
     "volumes of their pods. As JEG: kubernetes_allow: [\"*\"]"},
    {"kubernetes-cluster-role", false,
     "kernels may do nothing in the cluster; JEG binds them to a ClusterRole in their namespaces, "
     "its chart to kernel-controller. As there: kubernetes_cluster_role: kernel-controller"},
    {"kubernetes-cluster-role", true,
     "kubernetes_cluster_role came with JEG and has to be kept; where the gateway makes namespaces "
     "it needs the rights to create RoleBindings and to bind that ClusterRole. Kernels get a token "
     "only if their pod.yaml says automountServiceAccountToken: true"},
    {0},
};

static void print_rows(const struct migration *migration, const struct difference *rows,
                       FILE *out) {
    for (; rows->option != NULL; rows++)
        if (is_set(migration, rows->option) == rows->when_set)
            fprintf(out, "# - %s\n", rows->text);
}

static void print_differences(const struct migration *migration, FILE *out) {
    fputs("\n# What differs from JEG:\n"
          "# - EG_ and KG_ variables are read too, and win over this file (in JEG the file wins): "
          "unset them\n",
          out);
    print_rows(migration, differences, out);
    print_rows(migration, has_pods(migration) ? differences_of_pods : differences_of_processes,
               out);
}

static void print_lines(const struct lines *lines, const char *heading, FILE *out) {
    if (lines->count > 0)
        fprintf(out, "\n# %s\n", heading);
    for (size_t i = 0; i < lines->count; i++)
        fprintf(out, "# - %s\n", lines->texts[i]);
}

void migration_mount(struct migration *migration, const json_t *mount) {
    json_array_append_new(migration->mounts, json_deep_copy(mount));
}

int migration_write_policy(struct migration *migration, const char *path, const char *sources,
                           struct error *err) {
    if (!has_pods(migration) || json_array_size(migration->mounts) == 0)
        return 0;
    FILE *out = fopen(path, "wx");
    if (out == NULL)
        return error_system(err, errno, "--policy: %s", path);
    cleanup_free char *from = as_comment(memory_strdup(sources));
    cleanup_free char *whole = realpath(path, NULL);
    migrate_print_policy(migration->mounts, from, out);
    if (fclose(out) != 0)
        return error_system(err, errno, "--policy: %s", path);
    migration_set_text(migration, "ELARA_POLICY", whole != NULL ? whole : path, "written",
                       "for what kernelspecs mount", MIGRATE_SCRIPT);
    return 0;
}

/* Such a kernelspec is refused until somebody has said that it is meant. */
static void print_mounts(const struct migration *migration, FILE *out) {
    if (!has_pods(migration) || is_set(migration, "policy") ||
        json_array_size(migration->mounts) == 0)
        return;
    fputs("# STILL TO BE SET, kernelspecs that mount what clients say are refused without it. "
          "`elara migrate --policy\n"
          "# NEW_FILE ...` writes a policy and names it here (docs/policy.md).\n"
          "# policy: FILE\n",
          out);
}

static void print_setting(const struct option_row *row, const struct found *found, FILE *out) {
    char key[OPTION_NAME_MAX];
    option_key(row, key);
    if (row->flags & OPTION_SECRET)
        fprintf(out, "# %s: (%s; not repeated here)\n", key, found->source);
    else
        fprintf(out, "%s: %s  # %s\n", key, found->value, found->source);
}

/* JEG listened there without a token; this gateway wants to be told that it is meant. */
static void print_exposure(const struct migration *migration, FILE *out) {
    const struct found *ip = found_for(migration, "ip");
    struct settings settings = {0};
    struct error err = {0};
    cleanup_json json_t *address = NULL;
    if (ip->value != NULL)
        address = json_loads(ip->value, JSON_DECODE_ANY, NULL);
    const char *text = json_string_value(address);
    cleanup_free char *copy = memory_strdup(text != NULL ? text : "127.0.0.1");
    settings.ip = copy;
    if (is_set(migration, "auth-token") || is_set(migration, "client-ca") ||
        is_set(migration, "auth-token-file") || migration->may_have_token ||
        found_for(migration, "insecure")->value != NULL ||
        settings_check_exposure(&settings, &err) == 0)
        return;
    fputs("# As it was: no token. Whoever reaches the port runs code as the gateway's user.\n"
          "# Better: auth_token_file (`elara token new`), and this line away.\n"
          "insecure: true\n",
          out);
}

/* A name of an image cannot be guessed. */
static void print_launcher_image(const struct migration *migration, FILE *out) {
    if (has_pods(migration) && !is_set(migration, "kubernetes-launcher-image"))
        fputs("# STILL TO BE SET, the gateway does not start without it: Elara's own image, which "
              "brings the\n"
              "# launcher into every pod (`make image`, docs/kubernetes.md).\n"
              "# kubernetes_launcher_image: REGISTRY/elara:VERSION\n",
              out);
}

size_t migration_print(const struct migration *migration, const char *sources, FILE *out) {
    cleanup_free char *from = as_comment(memory_strdup(sources));
    fprintf(out, "# Settings of an Elara gateway, from %s.\n", from);
    fputs("# Try it: elara config check FILE; elara-gateway --config FILE\n\n", out);
    for (size_t i = 0; settings_table()[i].name != NULL; i++)
        if (migration->found[i].value != NULL)
            print_setting(&settings_table()[i], &migration->found[i], out);
    print_launcher_image(migration, out);
    print_mounts(migration, out);
    print_exposure(migration, out);
    print_differences(migration, out);
    print_lines(&migration->notes, "Not carried over, and why:", out);
    print_lines(&migration->kernelspecs[has_pods(migration)], "Kernelspecs:", out);
    print_lines(&migration->troubles, "NOT UNDERSTOOD, please look:", out);
    return migration->troubles.count;
}
