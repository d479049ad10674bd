/* What a launcher that has ended says, to whom. */
#include "launcher/provisioner_local_internal.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "launcher/kube_reasons.h"
#include "launcher/log_tail.h"

#include <string.h>

/* One that never worked tells why: its own word is the best, its log's last line the next best (the
 * loader writes there). Of one that worked the log is for the admin; the person who waits learns
 * what happened and what to do. */
void local_explain_end(struct provision *provision, struct error *cause) {
    cleanup_free char *said = utf8_repair(buffer_text(&provision->ready_text));
    cleanup_free char *what = memory_strdup(cause->text);
    error_set(&provision->end, cause->code, "%s, and the kernel ended with it.", what);
    said[strcspn(said, "\n")] = '\0';
    if (text_starts_with(said, "home failed: ")) {
        error_set(cause, ERROR_SYSTEM, "%.1000s", said + strlen("home failed: "));
        cause->cause = kube_reason_word("HomeFailed");
    } else if (text_starts_with(said, "error: ")) {
        error_set(cause, ERROR_SYSTEM, "%.1000s", said + strlen("error: "));
    } else if (cause->code != ERROR_SYSTEM) {
        error_set(cause, cause->code, "%s.", what);
    } else if (provision->was_reachable || strcmp(said, "ready") == 0) {
        error_set(cause, ERROR_SYSTEM,
                  "%s, and the kernel ended with it: restart the kernel to go on; its variables "
                  "are lost.",
                  what);
    } else {
        cleanup_free char *path = memory_printf("%s/launcher.log", provision->directory);
        cleanup_free char *line = log_tail_read(path, 512, 1);
        error_set(cause, ERROR_SYSTEM, "%s before the kernel was started%s%s", what,
                  line[0] != '\0' ? ". Its log ends with: " : ".", line);
    }
}
