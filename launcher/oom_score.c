#include "launcher/oom_score.h"

#define LOG_AREA "launcher/oom_score"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* Not -1000: what cannot be killed would stay when the rest of its container is. */
#define LOWEST "-998"

static bool put(const struct oom_score *score, const char *value) {
    return pwrite(score->fd, value, strlen(value), 0) >= 0;
}

void oom_score_open(struct oom_score *score) {
    *score = (struct oom_score){.fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC)};
    if (score->fd < 0) {
        log_warning("oom_score_adj cannot be opened: %s; when memory runs out the launcher may be "
                    "ended before its kernel",
                    strerror(errno));
        return;
    }
    put(score, LOWEST);
    ssize_t got = pread(score->fd, score->own, sizeof score->own - 1, 0);
    score->own[got > 0 ? got : 0] = '\0';
    score->own[strcspn(score->own, "\n")] = '\0';
}

void oom_score_raise(const struct oom_score *score) {
    if (score->fd >= 0 && !put(score, "1000"))
        log_warning("the kernel's oom_score_adj cannot be raised: %s", strerror(errno));
}

void oom_score_restore(const struct oom_score *score) {
    if (score->fd >= 0)
        put(score, score->own);
}

void oom_score_close(struct oom_score *score) {
    if (score->fd >= 0)
        close(score->fd);
    score->fd = -1;
}
