/* elara man: the manual pages, from the tables. */
#include "gateway/admin.h"
#include "gateway/admin_settings.h"
#include "gateway/settings.h"

#include <stdio.h>
#include <string.h>

static void print_head(const char *name, const char *what) {
    printf(".TH \"%s\" 1 \"\" \"Elara " ELARA_VERSION "\" \"Elara\"\n.ad l\n.nh\n.SH NAME\n", name);
    option_print_roff(name, stdout);
    printf(" \\- %s\n.SH SYNOPSIS\n", what);
}

static void print_text(const char *text) {
    option_print_roff(text, stdout);
    putchar('\n');
}

static void print_gateway_page(void) {
    print_head("elara-gateway", "serves Jupyter kernels over HTTP and WebSocket");
    puts(".B elara\\-gateway\n[\\fB\\-\\-config\\fR \\fIFILE\\fR] [\\fIsettings\\fR]\n"
         ".SH DESCRIPTION");
    print_text("Starts kernels for notebook servers (JUPYTER_GATEWAY_URL) and for whoever speaks "
               "Jupyter's REST and WebSocket interface. A setting comes from its flag, else its "
               "variable, else the YAML file, else it has its default. In YAML a name is written "
               "with _ for -. Durations are 500ms, 30s, 5m, 4h, 2d or plain seconds; sizes are "
               "bytes or 64k, 10M, 1G.");
    puts(".SH OPTIONS");
    static const char *const own[][2] = {
        {"--config\\fR \\fIFILE", "YAML file of settings. Also ELARA_CONFIG. It is read again when "
                                  "it changes; elara config check finds its mistakes."},
        {"--show-config", "Print the settings in effect and where each came from."},
        {"--version", "Print the version."},
        {"--help", "Print the settings."},
    };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        printf(".TP\n.B \\-\\-%s\n", own[i][0] + 2);
        print_text(own[i][1]);
    }
    puts(".SH SETTINGS");
    option_print_manual(settings_table(), stdout);
    puts(".SH SIGNALS\n.TP\n.B SIGTERM, SIGINT");
    print_text("End; kernels stay for the next gateway, unless on-exit is shutdown. A second one "
               "ends at once.");
    puts(".TP\n.B SIGHUP");
    print_text("Read settings, tokens, certificates and kernelspecs again. What is said above to "
               "reload takes effect; what needs a restart is logged.");
    puts(".TP\n.B SIGUSR2");
    print_text("Hand over to the program that now lies where this one did, without refusing a "
               "connection.");
    puts(".SH SEE ALSO\n.BR elara (1)");
}

static void print_admin_page(void) {
    print_head("elara", "looks after an Elara kernel gateway");
    puts(".B elara\n\\fIverb\\fR [\\fIarguments\\fR]\n.SH VERBS");
    for (const struct admin_verb *verb = admin_verbs; verb->words != NULL; verb++) {
        fputs(".TP\n.B ", stdout);
        option_print_roff(verb->words, stdout);
        fputs("\\fR ", stdout);
        print_text(verb->arguments);
        print_text(verb->help);
    }
    puts(".SH OPTIONS");
    print_text("The verbs that ask a running gateway take these:");
    option_print_manual(admin_settings_table(), stdout);
    puts(".SH EXIT STATUS");
    print_text("0, 1 when something failed or is wrong, 2 for a wrong call.");
    puts(".SH SEE ALSO\n.BR elara\\-gateway (1)");
}

int admin_man(int argc, char **argv, struct error *err) {
    const char *page = admin_take_argument(&argc, argv);
    if (page != NULL && argc == 1 && strcmp(page, "elara-gateway") == 0)
        print_gateway_page();
    else if (page != NULL && argc == 1 && strcmp(page, "elara") == 0)
        print_admin_page();
    else
        return error_set(err, ERROR_INVALID, "which page? elara or elara-gateway");
    return 0;
}
