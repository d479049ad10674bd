/* elara policy explain */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin.h"
#include "gateway/auth_method.h"
#include "gateway/explain.h"
#include "gateway/http.h"
#include "gateway/settings.h"
#include "gateway/yaml_write.h"
#include "kernelspecs/kernelspecs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BODY_MAX = 4 << 20, YAML_MAX = 4 << 20 };

struct wanted {
    const char *kernelspec, *user, *file;
    bool wants_json, wants_pod;
    json_t *body; /* as a POST has it */
};

static int take_text(int *argc, char **argv, const char *flag, const char *what, const char **ret,
                     struct error *err) {
    *ret = NULL;
    return option_take_flag(argc, argv, flag, ret) && *ret == NULL
               ? error_set(err, ERROR_INVALID, "--%s: needs %s", flag, what)
               : 0;
}

static int take_variables(int *argc, char **argv, json_t *env, struct error *err) {
    const char *text;
    while (option_take_flag(argc, argv, "env", &text)) {
        const char *equals = text != NULL ? strchr(text, '=') : NULL;
        if (equals == NULL || equals == text)
            return error_set(err, ERROR_INVALID, "--env: needs NAME=VALUE");
        cleanup_free char *name = memory_strndup(text, (size_t)(equals - text));
        if (json_object_set_new(env, name, json_string(equals + 1)) < 0)
            return error_set(err, ERROR_INVALID, "--env: %.100s is not UTF-8", name);
    }
    return 0;
}

static int take(int *argc, char **argv, struct wanted *ret, struct error *err) {
    ret->wants_json = option_take_flag(argc, argv, "json", NULL);
    ret->wants_pod = option_take_flag(argc, argv, "dry-run", NULL);
    if (take_text(argc, argv, "kernelspec", "the name of one", &ret->kernelspec, err) < 0 ||
        take_text(argc, argv, "user", "the name of a token", &ret->user, err) < 0 ||
        take_text(argc, argv, "request", "a file", &ret->file, err) < 0)
        return -1;
    if (ret->file != NULL && file_read_json(ret->file, BODY_MAX, &ret->body, err) < 0)
        return -1;
    if (ret->body == NULL)
        ret->body = json_object();
    if (!json_is_object(ret->body))
        return error_set(err, ERROR_INVALID,
                         "%s: must be an object such as {\"name\": \"python3\", \"env\": {}}",
                         ret->file);
    json_t *env = json_object_get(ret->body, "env");
    if (!json_is_object(env)) {
        env = json_object();
        json_object_set_new(ret->body, "env", env);
    }
    if (ret->kernelspec != NULL)
        json_object_set_new(ret->body, "name", json_string(ret->kernelspec));
    return take_variables(argc, argv, env, err);
}

static void print_tree(const json_t *tree, bool wants_json) {
    if (wants_json) {
        admin_print_json(json_incref((json_t *)(uintptr_t)tree));
        return;
    }
    cleanup_buffer struct buffer out = {.limit = YAML_MAX};
    yaml_write(tree, &out);
    fputs(buffer_text(&out), stdout);
}

static void print_fields(const struct explanation *explanation) {
    size_t i;
    json_t *field;
    struct admin_table *table = admin_table_create(4);
    admin_table_add(table, (const char *[]){"FIELD", "VALUE", "SAID BY", "ALLOWED BY"});
    json_array_foreach(explanation->fields, i, field) {
        admin_table_add(table, (const char *[]){admin_text_at(field, "field"),
                                                admin_text_at(field, "value"),
                                                admin_text_at(field, "said_by"),
                                                admin_text_at(field, "allowed_by")});
    }
    admin_table_print(table);
}

static void print_json(const struct explanation *explanation) {
    const struct error *refusal = &explanation->refusal;
    bool is_allowed = explanation->is_allowed;
    json_t *all = json_pack("{s:b, s:i, s:s?, s:O?, s:O?, s:O?}", "allowed", (int)is_allowed,
                            "status", is_allowed ? 201 : http_status_of(refusal->code), "message",
                            is_allowed ? NULL : refusal->text, "fields", explanation->fields, "pod",
                            explanation->pod, "launch", explanation->launch);
    admin_print_json(all);
}

static void print(const struct wanted *wanted, const struct explanation *explanation) {
    const json_t *tree = explanation->pod != NULL ? explanation->pod : explanation->launch;
    if (!explanation->is_allowed && !wanted->wants_json) {
        cleanup_free char *text = admin_printable(explanation->refusal.text);
        printf("refused (%d): %s\n", http_status_of(explanation->refusal.code), text);
    } else if (wanted->wants_pod && explanation->is_allowed) {
        print_tree(tree, wanted->wants_json);
    } else if (wanted->wants_json) {
        print_json(explanation);
    } else {
        printf("allowed: %s of %s\n\n", explanation->pod != NULL ? "a pod" : "a process",
               explanation->kernelspec);
        print_fields(explanation);
    }
}

static int explain_with(struct settings *settings, const struct wanted *wanted, struct error *err) {
    struct kernelspecs *specs;
    struct explanation explanation;
    /* Without named tokens everybody is the one user, who has all rights. */
    const struct auth_identity one = {AUTH_DEFAULT_NAME, AUTH_ADMIN, false},
                               named = {wanted->user, AUTH_USER, true};
    const struct explain_request request = {
        .name = json_string_value(json_object_get(wanted->body, "name")),
        .path = json_string_value(json_object_get(wanted->body, "path")),
        .env = json_object_get(wanted->body, "env"),
        .identity = wanted->user != NULL ? &named : &one};
    if (admin_load_kernelspecs(settings, &specs, err) < 0)
        return -1;
    int status = explain(settings, specs, &request, &explanation, err);
    if (status == 0) {
        print(wanted, &explanation);
        status = explanation.is_allowed ? 0 : 1;
        explain_free(&explanation);
    }
    kernelspecs_destroy(specs);
    return status;
}

int admin_policy_explain(int argc, char **argv, struct error *err) {
    struct wanted wanted = {0};
    struct settings *settings = NULL;
    int status = take(&argc, argv, &wanted, err) < 0 ||
                         settings_create(argc, argv, environ, &settings, err) < 0
                     ? -1
                     : explain_with(settings, &wanted, err);
    settings_destroy(settings);
    json_decref(wanted.body);
    return status;
}
