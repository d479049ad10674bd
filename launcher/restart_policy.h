/* Whether a kernel that died is started again: a pure decision, with the rules of jupyter_client's
 * KernelRestarter (a limit of deaths in a row, a count that a long enough life resets), except that
 * a kernel which never answered is not tried again and again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum restart_decision {
    RESTART_AGAIN,     /* start it again and say so */
    RESTART_NEW_PORTS, /* it lost the race for its ports: try others, quietly */
    RESTART_FAILED,    /* it never worked: trying again would only say the same again */
    RESTART_GIVE_UP,   /* it died too often */
};

enum { RESTART_PORT_TRIES = 5 };

struct restart_policy {
    int64_t limit;           /* deaths in a row that are forgiven; 0 = none */
    int64_t stable_after_ms; /* a life this long is not "in a row" */
    int64_t deaths;          /* in a row */
    int64_t started_ms;
    int port_tries;
    bool was_ready; /* since somebody asked for the start */
};

/* Somebody asked for a start: a clean sheet. */
void restart_policy_begin(struct restart_policy *policy);
void restart_policy_started(struct restart_policy *policy, int64_t now_ms);
void restart_policy_ready(struct restart_policy *policy);
enum restart_decision restart_policy_died(struct restart_policy *policy, int64_t now_ms,
                                          bool is_port_race);
