#include "gateway/admin_settings.h"

#define ROW(flag, variables, kind, field, otherwise, ...)                                          \
    {                                                                                              \
        .name = flag, .environment = variables, .type = kind,                                      \
        .offset = offsetof(struct admin_settings, field), .fallback = otherwise, __VA_ARGS__       \
    }

static const struct option_row rows[] = {
    ROW("url", "ELARA_URL,JUPYTER_GATEWAY_URL", OPTION_TEXT, url, "http://127.0.0.1:8888/",
        .help = "The gateway, with its base URL."),
    ROW("token-file", "ELARA_TOKEN_FILE", OPTION_TEXT, token_file, NULL,
        .help = "A file that holds the token and nothing else."),
    ROW("token", "ELARA_TOKEN,JUPYTER_GATEWAY_AUTH_TOKEN,ELARA_AUTH_TOKEN,EG_AUTH_TOKEN",
        OPTION_TEXT, token, NULL, .flags = OPTION_SECRET, .help = "The token."),
    ROW("ca-file", "ELARA_CA_FILE", OPTION_TEXT, ca_file, NULL,
        .help = "Certificates that vouch for the gateway's, for https."),
    ROW("timeout", "ELARA_TIMEOUT", OPTION_DURATION, timeout_ms, "90s", .min = 1, .max = 86400000,
        .help = "How long to wait for an answer."),
    {0},
};

const struct option_row *admin_settings_table(void) {
    return rows;
}
