#include "launcher/restart_policy.h"

void restart_policy_begin(struct restart_policy *policy) {
    policy->deaths = 0;
    policy->port_tries = 0;
    policy->was_ready = false;
}

void restart_policy_started(struct restart_policy *policy, int64_t now_ms) {
    policy->started_ms = now_ms;
}

void restart_policy_ready(struct restart_policy *policy) {
    policy->was_ready = true;
}

enum restart_decision restart_policy_died(struct restart_policy *policy, int64_t now_ms,
                                          bool is_port_race) {
    if (!policy->was_ready && is_port_race && policy->port_tries < RESTART_PORT_TRIES) {
        policy->port_tries++;
        return RESTART_NEW_PORTS;
    }
    if (!policy->was_ready)
        return RESTART_FAILED;
    if (now_ms - policy->started_ms >= policy->stable_after_ms)
        policy->deaths = 0;
    policy->deaths++;
    return policy->deaths > policy->limit ? RESTART_GIVE_UP : RESTART_AGAIN;
}
