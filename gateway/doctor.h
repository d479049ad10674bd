/* What `elara doctor` looks at. Each check tells what it found, and what helps. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct settings;

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

/* Where findings go: [{"check", "state", "text", "fix"}]. */
struct doctor {
    json_t *findings;
};

/* fix: what to do, "" for DOCTOR_OK. Takes text. */
void doctor_tell(struct doctor *doctor, const char *check, enum doctor_state state, const char *fix,
                 char *text);
size_t doctor_count(const struct doctor *doctor, enum doctor_state state);

/* doctor_machine.c */
void doctor_check_runtime_dir(struct doctor *doctor, const struct settings *settings);
void doctor_check_limits(struct doctor *doctor, const struct settings *settings);
void doctor_check_clock(struct doctor *doctor, const struct settings *settings);
/* What these find, judged; for tests, too, which have neither such clocks nor such file systems. */
struct doctor_clocks {
    bool stands_still;        /* the monotonic one */
    int64_t now_s, program_s; /* since 1970; when this program was made */
    int64_t file_s;           /* what a file that was written now claims; -1: nothing could be */
    const char *place;        /* of that file */
};
void doctor_judge_clocks(struct doctor *doctor, const struct doctor_clocks *clocks);
/* statfs(2)'s f_type: a file system that may hang, or be somebody else's, too. */
bool doctor_is_network(unsigned long type);
/* Has it an address? Else that is told; what: "home-server". */
bool doctor_check_name(struct doctor *doctor, const char *host, const char *what);

/* doctor_gateway.c */
void doctor_check_kernelspecs(struct doctor *doctor, const struct settings *settings);
void doctor_check_launcher(struct doctor *doctor, const struct settings *settings);
void doctor_check_port(struct doctor *doctor, const struct settings *settings);

/* doctor_identity.c */
void doctor_check_identity(struct doctor *doctor, const struct settings *settings);

/* doctor_cluster.c: where kernels are pods. Borrowed; either may be NULL. */
struct doctor_cluster_wish {
    const char *account; /* the gateway's service account, when somebody else looks after it */
    const char *user;    /* whose home is made ready */
};
void doctor_check_cluster(struct doctor *doctor, struct settings *settings,
                          const struct doctor_cluster_wish *wish);

/* doctor_kernel.c. argv: the flags of a gateway, for a running one those of the verbs that ask it.
 * kernel: the kernelspec, NULL for the default. */
struct doctor_start {
    const struct settings *settings;
    const char *kernel;
    int argc;
    char **argv;
};
void doctor_check_own(struct doctor *doctor, const struct doctor_start *start);
void doctor_check_running(struct doctor *doctor, const struct doctor_start *start);
