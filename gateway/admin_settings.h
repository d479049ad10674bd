/* What the verbs of `elara` that speak to a running gateway are told: flags and variables. */
#pragma once

#include "base/option.h"

struct admin_settings {
    char *url;
    char *token_file;
    char *token;
    char *ca_file;
    int64_t timeout_ms;
};

const struct option_row *admin_settings_table(void);
