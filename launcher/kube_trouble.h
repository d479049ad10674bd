/* Trouble that lasts is logged when it begins, when it changes, and then at growing intervals; one
 * that comes and goes, or swings between two causes, is no news each time. No clock of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { KUBE_TROUBLE_FIRST_MS = 60000, KUBE_TROUBLE_LAST_MS = 3600000 };

struct kube_trouble { /* zeroes at first */
    char last[200], before[200];
    int64_t again_ms, pause_ms;
    bool is_told;
};

/* It is there: is that to be logged now? */
bool kube_trouble_begins(struct kube_trouble *trouble, const char *text, int64_t now_ms);
/* It is over: was it logged? */
bool kube_trouble_ends(struct kube_trouble *trouble);
