/* bin/elara-launcher of a pod: the only program there that is linked statically. An image may want
 * something loaded into each program of its own (LD_PRELOAD: another malloc, mostly), which may not
 * fit the launcher's C library; then its loader would refuse to start it. So the loader does not
 * get to see it. The kernel does: launch_add_base_environment gives it back. */
#include "launcher/pod_start.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { VARIABLES_MAX = 65536 };

static const char *const hidden[] = {"LD_PRELOAD=", "LD_AUDIT="};

int main(int argc, char **argv) {
    static char names[sizeof hidden / sizeof *hidden][1 << 17]; /* as long as one can be */
    static char *environment[VARIABLES_MAX + 1];
    size_t count = 0;
    (void)argc;
    for (char **item = environ; *item != NULL && count < VARIABLES_MAX; item++) {
        environment[count] = *item;
        for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
            if (strncmp(*item, hidden[i], strlen(hidden[i])) == 0) {
                snprintf(names[i], sizeof names[i], POD_START_PREFIX "%s", *item);
                environment[count] = names[i];
            }
        count++;
    }
    execve(POD_START_PROGRAM, argv, environment);
    perror(POD_START_PROGRAM);
    return 1;
}
