#include "launcher/local_home.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "launcher/helper_process.h"
#include "launcher/kube_reasons.h"
#include "nfs/home_mounted.h"

static int prepare_home(const void *context, char *reply, struct error *err) {
    (void)reply;
    const struct launch *launch = context;
    const struct home_mounted home = {.directory = launch->home_directory,
                                      .path = launch->home_path,
                                      .given = (size_t)launch->home_given,
                                      .uid = launch->home_uid,
                                      .gid = launch->home_gid};
    return home_mounted_prepare(&home, err);
}

static int prepare(const struct launch *launch, struct error *err) {
    cleanup_free char *reply = memory_alloc(HELPER_REPLY_SIZE);
    if (helper_process_run(prepare_home, launch, launch->home_deadline_ms, reply, err) == 0)
        return 0;
    if (err->code == ERROR_TIMEOUT)
        error_set(err, ERROR_TIMEOUT,
                  "%s/%s did not answer within %g s (home-deadline): see whether its file server "
                  "runs and can be reached",
                  launch->home_directory, launch->home_path,
                  (double)launch->home_deadline_ms / 1000);
    return -1;
}

int local_home_prepare(const struct launch *launch, struct error *err) {
    struct error cause;
    char text[sizeof cause.text];
    if (launch->home_directory == NULL || prepare(launch, &cause) == 0)
        return 0;
    kube_reason_write("HomeFailed", cause.text, text, sizeof text);
    error_set(err, cause.code, "%s", text);
    if (err != NULL)
        err->cause = kube_reason_word("HomeFailed");
    return -1;
}
