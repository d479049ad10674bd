/* elara kernelspecs list */
#include "base/log.h"
#include "base/option.h"
#include "gateway/admin.h"
#include "gateway/settings.h"
#include "kernelspecs/kernelspecs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int admin_load_kernelspecs(const struct settings *settings, struct kernelspecs **ret,
                           struct error *err) {
    struct kernelspecs_settings wanted = {
        .directories = settings->kernelspec_dirs,
        .allowed = settings->allowed_kernelspecs,
        .denied = settings->denied_kernelspecs,
        .default_name = settings->default_kernel_name,
        .publish_env = settings->publish_kernelspec_env,
    };
    log_set_level(LOG_ERROR); /* what is found is printed, not logged */
    return kernelspecs_create(&wanted, ret, err);
}

static void print_json(const struct kernelspecs *specs) {
    const struct kernelspec *spec;
    json_t *list = json_array();
    for (size_t i = 0; (spec = kernelspecs_at(specs, i)) != NULL; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", spec->name,
                                              "display_name", spec->display_name, "language",
                                              spec->language, "directory", spec->directory));
    admin_print_json(
        json_pack("{s:s, s:o}", "default", kernelspecs_default(specs), "kernelspecs", list));
}

static void print_list(const struct kernelspecs *specs) {
    struct admin_table *table = admin_table_create(5);
    admin_table_add(table, (const char *[]){"", "NAME", "DISPLAY NAME", "LANGUAGE", "DIRECTORY"});
    const struct kernelspec *spec;
    for (size_t i = 0; (spec = kernelspecs_at(specs, i)) != NULL; i++) {
        bool is_default = strcmp(spec->name, kernelspecs_default(specs)) == 0;
        admin_table_add(table,
                        (const char *[]){is_default ? "*" : "", spec->name, spec->display_name,
                                         spec->language, spec->directory});
    }
    admin_table_print(table);
}

int admin_kernelspecs_list(int argc, char **argv, struct error *err) {
    struct settings *settings = NULL;
    struct kernelspecs *specs = NULL;
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    if (settings_create(argc, argv, environ, &settings, err) < 0)
        return -1;
    int failed = admin_load_kernelspecs(settings, &specs, err);
    settings_destroy(settings);
    if (failed < 0)
        return -1;
    if (wants_json)
        print_json(specs);
    else
        print_list(specs);
    size_t problems = json_array_size(kernelspecs_problems(specs));
    if (problems > 0)
        fprintf(stderr, "%zu problem%s: `elara kernelspecs check` tells more\n", problems,
                problems == 1 ? "" : "s");
    kernelspecs_destroy(specs);
    return 0;
}
