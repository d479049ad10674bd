#include "launcher/kube_trouble.h"

#include <stdio.h>
#include <string.h>

static bool is_known(const struct kube_trouble *trouble, const char *text) {
    size_t length = sizeof trouble->last - 1;
    return strncmp(trouble->last, text, length) == 0 || strncmp(trouble->before, text, length) == 0;
}

bool kube_trouble_begins(struct kube_trouble *trouble, const char *text, int64_t now_ms) {
    if (!is_known(trouble, text)) {
        memcpy(trouble->before, trouble->last, sizeof trouble->before);
        snprintf(trouble->last, sizeof trouble->last, "%s", text);
        trouble->pause_ms = KUBE_TROUBLE_FIRST_MS;
    } else if (now_ms < trouble->again_ms) {
        return false;
    } else if (now_ms - trouble->again_ms > trouble->pause_ms) { /* it was away for long */
        trouble->pause_ms = KUBE_TROUBLE_FIRST_MS;
    } else if ((trouble->pause_ms *= 2) > KUBE_TROUBLE_LAST_MS) {
        trouble->pause_ms = KUBE_TROUBLE_LAST_MS;
    }
    trouble->again_ms = now_ms + trouble->pause_ms;
    trouble->is_told = true;
    return true;
}

bool kube_trouble_ends(struct kube_trouble *trouble) {
    bool was_told = trouble->is_told;
    trouble->is_told = false;
    return was_told;
}
