#include "base/error.h"
#include "base/log.h"
#include "base/option.h"
#include "base/text.h"
#include "launcher/launcher.h"

#include <czmq.h>
#include <string.h>
#include <unistd.h>

enum { FD_MAX = 1 << 20 };

static void report(int64_t fd, const char *prefix, const char *text) {
    if (fd >= 0 && dprintf((int)fd, "%s%s\n", prefix, text) >= 0)
        close((int)fd);
}

static bool take_number(int *argc, char **argv, const char *name, int64_t max, int64_t *ret) {
    const char *text = NULL;
    return !option_take_flag(argc, argv, name, &text) ||
           (text != NULL && text_parse_int(text, 3, max, name, ret, NULL) == 0);
}

static bool take_succession(int *argc, char **argv, struct launcher_succession *ret) {
    static const char *const names[] = {"policy", "start", "dead"}; /* enum launcher_resume */
    const char *how = NULL;
    if (option_take_flag(argc, argv, "resume-reason", &ret->reason) && ret->reason == NULL)
        return false;
    if (!option_take_flag(argc, argv, "resume", &how))
        return true;
    for (size_t i = 0; how != NULL && i < sizeof names / sizeof *names; i++) {
        ret->how = (enum launcher_resume)i;
        if (strcmp(names[i], how) == 0)
            return true;
    }
    return false;
}

int main(int argc, char **argv) {
    const char *directory = NULL;
    struct error err;
    int64_t ready_fd = -1, lock_fd = -1, open_files = -1;
    struct launcher_succession succession = {0};
    if (!option_take_flag(&argc, argv, "directory", &directory) || directory == NULL ||
        !take_number(&argc, argv, "ready-fd", FD_MAX, &ready_fd) ||
        !take_number(&argc, argv, "lock-fd", FD_MAX, &lock_fd) ||
        !take_number(&argc, argv, "open-files", INT64_MAX, &open_files) ||
        !take_succession(&argc, argv, &succession) || argc != 1)
        return fprintf(stderr, "elara-launcher " ELARA_VERSION ", started by elara-gateway\n"
                               "usage: elara-launcher --directory <kernel directory> "
                               "[--ready-fd <n>] [--lock-fd <n>] [--open-files <n>] "
                               "[--resume policy|start|dead] [--resume-reason <text>]\n") < 0
                   ? 1
                   : 2;
    launcher_become(open_files);
    struct launcher *launcher;
    if (launcher_create(directory, (int)lock_fd, &succession, &launcher, &err) < 0) {
        log_write(LOG_ERROR, "launcher", "%s", err.text);
        report(ready_fd, "error: ", err.text);
        return 1;
    }
    report(ready_fd, "ready", "");
    launcher_run(launcher);
    launcher_destroy(launcher);
    zsys_shutdown(); /* waits for what lingers */
    return 0;
}
