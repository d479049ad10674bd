/* elara cull [--dry-run] [--config FILE] */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin.h"
#include "gateway/settings.h"

#include <stdio.h>
#include <string.h>

static void tell(void *context, bool is_problem, const char *text) {
    (void)context;
    fprintf(stderr, "%s%s\n", is_problem ? "" : "note: ", text);
}

/* The keys about culling, as they stand there: the gateway judges their values. */
static int read_policy(const char *path, json_t **ret, struct error *err) {
    cleanup_json json_t *file = NULL, *lines = NULL;
    const char *key;
    json_t *value;
    if (settings_read_file(path, NULL, &file, &lines, err) < 0)
        return -1;
    cleanup_json json_t *policy = json_object();
    json_object_foreach(file, key, value) {
        if (text_starts_with(key, "cull_"))
            json_object_set(policy, key, value);
    }
    *ret = steal(&policy);
    return 0;
}

static char *when(const json_t *entry) {
    if (json_integer_value(json_object_get(entry, "in_ms")) <= 0)
        return memory_strdup("now");
    return admin_duration_at(entry, "in_ms", "never");
}

static void add_row(struct admin_table *table, const char *id, const json_t *entry) {
    const char *user = admin_text_at(entry, "user");
    cleanup_free char *in = when(entry);
    admin_table_add(
        table, (const char *[]){id, *user != '\0' ? user : admin_text_at(entry, "owner"),
                                admin_text_at(entry, "name"), in, admin_text_at(entry, "rule")});
}

/* Those that end, and behind them those that were due and to which somebody came in that moment. */
static void print_list(const json_t *list, bool is_dry) {
    size_t i, length = admin_short_length(list);
    json_t *entry;
    struct admin_table *table = NULL;
    cleanup_buffer struct buffer stay = {0};
    if (json_array_size(list) == 0)
        puts(is_dry ? "no rule would end any kernel" : "no kernel is due");
    json_array_foreach((json_t *)(uintptr_t)list, i, entry) {
        cleanup_free char *id = memory_strndup(admin_text_at(entry, "id"), length);
        if (!is_dry && strcmp(admin_text_at(entry, "verdict"), "cull") != 0) {
            cleanup_free char *text = admin_printable(admin_text_at(entry, "text"));
            buffer_printf(&stay, "%s: %s\n", id, text);
            continue;
        }
        if (table == NULL) {
            table = admin_table_create(5);
            admin_table_add(table, (const char *[]){"ID", "WHO", "KERNELSPEC",
                                                    is_dry ? "WHEN" : "ENDED", "RULE"});
        }
        add_row(table, id, entry);
    }
    if (table != NULL)
        admin_table_print(table);
    fputs(buffer_text(&stay), stdout);
}

int admin_cull(int argc, char **argv, struct error *err) {
    const char *path = NULL;
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    bool is_dry = option_take_flag(&argc, argv, "dry-run", NULL);
    bool has_file = option_take_flag(&argc, argv, "config", &path);
    cleanup_json json_t *list = NULL;
    cleanup_json json_t *policy = NULL;
    if (has_file && path == NULL)
        return error_set(err, ERROR_INVALID, "--config: needs the name of a file");
    if (has_file && !is_dry)
        return error_set(err, ERROR_INVALID,
                         "--config: only with --dry-run; kernels are ended by the settings that "
                         "the gateway has");
    if (has_file && settings_check_file(path, NULL, tell, NULL) > 0)
        return 1; /* no gateway would take it, so that nothing would be by it */
    if (has_file && read_policy(path, &policy, err) < 0)
        return -1;
    cleanup_json json_t *body = json_pack("{s:b, s:O?}", "dry_run", is_dry, "policy", policy);
    if (admin_ask(argc, argv, "POST", "api/elara/cull", body, JSON_ARRAY, &list, err) < 0)
        return has_file ? error_wrap(err, "%s", path) : -1;
    if (wants_json)
        admin_print_json(steal(&list));
    else
        print_list(list, is_dry);
    return 0;
}
