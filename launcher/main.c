#include "base/error.h"
#include "base/log.h"
#include "base/option.h"
#include "base/text.h"
#include "launcher/install.h"
#include "launcher/launcher.h"
#include "launcher/oom_score.h"
#include "launcher/pod_place.h"

#include <czmq.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { FD_MAX = 1 << 20 };

#define LOG_AREA "launcher"

static const char usage[] =
    "elara-launcher " ELARA_VERSION ", started by elara-gateway\n"
    "usage: elara-launcher --directory <kernel directory> [--ready-fd <n>] [--lock-fd <n>]\n"
    "           [--open-files <n>] [--resume policy|start|dead] [--resume-reason <text>]\n"
    "       elara-launcher --directory <kernel directory> --place <directory of launch.json,\n"
    "           record.json and keys> --listen tcp://<address>:<port>       (in a pod)\n"
    "       elara-launcher --install <directory> [--from <directory>]\n";

struct options {
    struct launcher_settings launcher;
    struct oom_score oom_score;
    const char *place; /* NULL: a local kernel's */
    const char *install, *from;
    int64_t ready_fd, lock_fd, open_files;
};

static void report(int64_t fd, const char *prefix, const char *text) {
    if (fd >= 0 && dprintf((int)fd, "%s%s\n", prefix, text) >= 0)
        close((int)fd);
}

static bool take_text(int *argc, char **argv, const char *name, const char **ret) {
    return !option_take_flag(argc, argv, name, ret) || *ret != NULL;
}

static bool take_number(int *argc, char **argv, const char *name, int64_t max, int64_t *ret) {
    const char *text = NULL;
    return !option_take_flag(argc, argv, name, &text) ||
           (text != NULL && text_parse_int(text, 3, max, name, ret, NULL) == 0);
}

static bool take_succession(int *argc, char **argv, struct launcher_succession *ret) {
    static const char *const names[] = {"policy", "start", "dead"}; /* enum launcher_resume */
    const char *how = NULL;
    if (!take_text(argc, argv, "resume-reason", &ret->reason))
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

static bool take_options(int argc, char **argv, struct options *ret) {
    struct launcher_settings *launcher = &ret->launcher;
    *ret = (struct options){.ready_fd = -1, .lock_fd = -1, .open_files = -1};
    if (!take_text(&argc, argv, "directory", &launcher->directory) ||
        !take_text(&argc, argv, "listen", &launcher->endpoint) ||
        !take_text(&argc, argv, "place", &ret->place) ||
        !take_text(&argc, argv, "install", &ret->install) ||
        !take_text(&argc, argv, "from", &ret->from) ||
        !take_number(&argc, argv, "ready-fd", FD_MAX, &ret->ready_fd) ||
        !take_number(&argc, argv, "lock-fd", FD_MAX, &ret->lock_fd) ||
        !take_number(&argc, argv, "open-files", INT64_MAX, &ret->open_files) ||
        !take_succession(&argc, argv, &launcher->succession) || argc != 1)
        return false;
    launcher->lock_fd = (int)ret->lock_fd;
    launcher->is_container = ret->place != NULL;
    return (ret->install != NULL) != (launcher->directory != NULL) &&
           (launcher->endpoint != NULL) == launcher->is_container;
}

/* The kernel may have the same user: neither a debugger nor /proc shows it what we are to hold, and
 * no core does. What of /proc we need open comes before, since afterwards it is root's. */
static void close_memory(struct options *options) {
    if (options->launcher.is_container) {
        oom_score_open(&options->oom_score);
        options->launcher.oom_score = &options->oom_score;
    }
    prctl(PR_SET_DUMPABLE, 0);
}

static int run(const struct options *options, struct error *err) {
    struct launcher *launcher;
    if (launcher_create(&options->launcher, &launcher, err) < 0)
        return -1;
    report(options->ready_fd, "ready", "");
    launcher_run(launcher);
    launcher_destroy(launcher);
    return 0;
}

static int run_in_pod(struct options *options, struct error *err) {
    const char *directory = options->launcher.directory;
    struct link_curve_keys keys;
    struct launcher *launcher;
    struct error problem;
    bool has_ended;
    if (pod_place_prepare(options->place, directory, &has_ended, err) < 0)
        return -1;
    if (has_ended) {
        log_info("the kernel was ended here in good order: there is nothing to go on with");
        return 0;
    }
    if (pod_place_read_keys(options->place, &keys, err) < 0)
        return -1;
    options->launcher.keys = &keys;
    int created = launcher_create(&options->launcher, &launcher, err);
    explicit_bzero(&keys, sizeof keys);
    if (created < 0)
        return -1;
    launcher_run(launcher);
    if (pod_place_end(directory, &problem) < 0)
        log_warning("the end could not be noted: %s", problem.text);
    launcher_destroy(launcher);
    return 0;
}

int main(int argc, char **argv) {
    struct options options;
    struct error err;
    if (!take_options(argc, argv, &options))
        return fputs(usage, stderr) < 0 ? 1 : 2;
    close_memory(&options);
    if (options.install != NULL) {
        if (install_launcher(options.from, options.install, &err) == 0)
            return 0;
        log_error("%s", err.text);
        return 1;
    }
    launcher_become(options.open_files, options.launcher.is_container);
    int result = options.place != NULL ? run_in_pod(&options, &err) : run(&options, &err);
    if (result < 0) {
        log_error("%s", err.text);
        report(options.ready_fd, err.cause != NULL ? "home failed: " : "error: ", err.text);
        if (options.place != NULL)
            pod_place_explain(err.text);
        return 1;
    }
    zsys_shutdown(); /* waits for what lingers */
    return 0;
}
