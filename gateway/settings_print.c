/* The settings as people read them. */
#include "base/cleanup.h"
#include "gateway/admin_settings.h"
#include "gateway/settings_internal.h"

void settings_print_config(const struct settings *settings, FILE *out) {
    option_print_config(settings_table(), settings, settings->origin->sources, out);
}

void settings_print_help(FILE *out) {
    fputs("Usage: elara-gateway [--config FILE] [settings]\n\n"
          "Serves Jupyter kernels over HTTP and WebSocket. A setting comes from its flag, else its "
          "variable,\n"
          "else the YAML file that --config or ELARA_CONFIG names, else its default.\n\n"
          "  --config FILE     YAML file of settings (max_kernels: 10)\n"
          "  --show-config     print the settings in effect and where each came from\n"
          "  --version         print the version\n"
          "  --help            print this\n\n",
          out);
    option_print_help(settings_table(), out);
}

static void print_admin_reference(FILE *out) {
    fputs("\n## The program elara\n\n"
          "The verbs of `elara` that speak to a running gateway (`elara help`) read these. To the "
          "gateway itself they\n"
          "mean nothing, but for the two `AUTH_TOKEN`s that are its own.\n\n"
          "| Flag | Environment | Default | Meaning |\n"
          "| --- | --- | --- | --- |\n",
          out);
    for (const struct option_row *row = admin_settings_table(); row->name != NULL; row++) {
        fprintf(out, row->flags & OPTION_SECRET ? "| no flag | `" : "| `--%s` | `", row->name);
        for (const char *at = row->environment; *at != '\0'; at++)
            *at == ',' ? fputs("`<br>`", out) : fputc(*at, out);
        const char *quote = row->fallback != NULL ? "`" : "";
        fprintf(out, "` | %s%s%s | %s |\n", quote, row->fallback != NULL ? row->fallback : "",
                quote, row->help);
    }
}

void settings_print_reference(FILE *out) {
    fputs("# Configuration\n\n"
          "Written by `elara-gateway --print-configuration-reference`; do not edit.\n\n"
          "A setting comes from its flag, else from the first of its variables that is set, else "
          "from the YAML\n"
          "file that `--config` or `ELARA_CONFIG` names, else it has its default. In YAML a name "
          "is written with\n"
          "`_` for `-` (`max_kernels: 10`). `elara-gateway --show-config` prints what is in effect "
          "and where each\n"
          "value came from: a flag, a variable, a file's line. Where two sources say different "
          "things, the log says which one\n"
          "counts; a variable that begins with `EG_`, `KG_` or `ELARA_` and names no setting is "
          "warned about.\n\n"
          "Durations are `500ms`, `30s`, `5m`, `4h`, `2d` or plain seconds; sizes are bytes or "
          "`64k`, `10M`,\n"
          "`1G`; lists are separated by commas; a mapping is YAML, in a variable JSON. A secret "
          "is never a flag, because\n"
          "everybody on the machine can read flags.\n\n"
          "The file is read again when it changes (also by a ConfigMap's symlink swap) and on "
          "SIGHUP. What is marked\n"
          "*Reloads* takes effect at once, for new connections and new kernels where it is about "
          "those; the log says what was\n"
          "changed, from which value to which, and what waits for a restart. A file with a mistake "
          "changes nothing: the\n"
          "settings stay as they were, and the log says which line is wrong. `elara config check "
          "FILE` finds all mistakes\n"
          "before; [configuration.schema.json](configuration.schema.json) lets an editor find them "
          "while you write.\n\n",
          out);
    option_print_markdown(settings_table(), out);
    print_admin_reference(out);
}

void settings_print_schema(FILE *out) {
    cleanup_json json_t *schema =
        json_pack("{s:s, s:s, s:s}", "$schema", "https://json-schema.org/draft/2020-12/schema",
                  "title", "elara-gateway", "description",
                  "The configuration file of elara-gateway (docs/configuration.md).");
    cleanup_json json_t *table = option_schema(settings_table());
    json_object_update(schema, table);
    json_dumpf(schema, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    fputc('\n', out);
}
