/* elara doctor */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/option.h"
#include "gateway/admin.h"
#include "gateway/admin_settings.h"
#include "gateway/doctor.h"
#include "gateway/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print(const struct doctor *doctor) {
    size_t i;
    json_t *finding;
    json_array_foreach(doctor->findings, i, finding) {
        cleanup_free char *text = admin_printable(admin_text_at(finding, "text"));
        printf("%-4s  %-11s  %s\n", admin_text_at(finding, "state"),
               admin_text_at(finding, "check"), text);
        if (*admin_text_at(finding, "fix") != '\0')
            printf("      %-11s  fix: %s\n", "", admin_text_at(finding, "fix"));
    }
    printf("%zu failed, %zu to look at\n", doctor_count(doctor, DOCTOR_FAIL),
           doctor_count(doctor, DOCTOR_WARN));
}

/* Moves the flags of verbs that ask a gateway from argv to `theirs` (room for as many, and a NULL).
 * Whether --url is among them. */
static bool take_flags(int *argc, char **argv, int *their_count, char **theirs) {
    static const char *const names[] = {"url", "token-file", "ca-file", "timeout"};
    bool has_url = false;
    theirs[(*their_count)++] = argv[0];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = NULL;
        if (!option_take_flag(argc, argv, names[i], &value))
            continue;
        theirs[(*their_count)++] = memory_printf("--%s=%s", names[i], value != NULL ? value : "");
        has_url = has_url || i == 0;
    }
    theirs[*their_count] = NULL;
    return has_url;
}

/* Our own flags. */
struct wishes {
    const char *kernel;
    struct doctor_cluster_wish cluster;
};

static int take_wishes(int *argc, char **argv, struct wishes *ret, struct error *err) {
    const struct {
        const char *flag, *what, **value;
    } own[] = {{"kernel", "a kernelspec", &ret->kernel},
               {"service-account", "a service account", &ret->cluster.account},
               {"user", "a user", &ret->cluster.user}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (option_take_flag(argc, argv, own[i].flag, own[i].value) && *own[i].value == NULL)
            return error_set(err, ERROR_INVALID, "--%s: needs the name of %s", own[i].flag,
                             own[i].what);
    return 0;
}

static void examine(struct doctor *doctor, struct settings *settings, const struct wishes *wishes,
                    int argc, char **argv, bool has_url, int their_count, char **theirs) {
    struct doctor_start start = {.settings = settings, .kernel = wishes->kernel};
    if (!admin_has_pods(settings)) /* nothing lies there */
        doctor_check_runtime_dir(doctor, settings);
    doctor_check_limits(doctor, settings);
    doctor_check_clock(doctor, settings);
    doctor_check_launcher(doctor, settings);
    doctor_check_kernelspecs(doctor, settings);
    doctor_check_identity(doctor, settings);
    if (admin_has_pods(settings))
        doctor_check_cluster(doctor, settings, &wishes->cluster);
    if (has_url) {
        start.argc = their_count;
        start.argv = theirs;
        doctor_check_running(doctor, &start);
        return;
    }
    doctor_check_port(doctor, settings);
    if (admin_has_pods(settings)) {
        doctor_tell(doctor, "gateway", DOCTOR_WARN, "name one that runs with --url",
                    memory_strdup("none is started to be tried: where kernels are pods it would be "
                                  "a replica, and take part in all of their lives"));
        return;
    }
    start.argc = argc;
    start.argv = argv;
    doctor_check_own(doctor, &start);
}

int admin_doctor(int argc, char **argv, struct error *err) {
    struct wishes wishes = {0};
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    if (take_wishes(&argc, argv, &wishes, err) < 0)
        return -1;
    cleanup_free char **theirs = memory_alloc(((size_t)argc + 1) * sizeof *theirs);
    int their_count = 0;
    bool has_url = take_flags(&argc, argv, &their_count, theirs);
    struct settings *settings = NULL;
    struct error wrong = {0};
    struct doctor doctor = {.findings = json_array()};
    log_set_level(LOG_ERROR); /* what is found is printed, not logged */
    if (settings_create(argc, argv, environ, &settings, &wrong) < 0) {
        doctor_tell(&doctor, "settings", DOCTOR_FAIL, "correct it; nothing else was looked at",
                    memory_strdup(wrong.text));
    } else {
        doctor_tell(&doctor, "settings", DOCTOR_OK, "", memory_strdup("can be read"));
        examine(&doctor, settings, &wishes, argc, argv, has_url, their_count, theirs);
    }
    settings_destroy(settings);
    for (int i = 1; i < their_count; i++)
        free(theirs[i]);
    size_t failed = doctor_count(&doctor, DOCTOR_FAIL);
    if (wants_json)
        admin_print_json(json_pack("{s:I, s:I, s:O}", "failed", (json_int_t)failed, "warned",
                                   (json_int_t)doctor_count(&doctor, DOCTOR_WARN), "checks",
                                   doctor.findings));
    else
        print(&doctor);
    json_decref(doctor.findings);
    return failed > 0 ? 1 : 0;
}
