/* pod_init COMMAND...: the first process of a hollow pod's own process namespace. Gives it the
 * /proc of that namespace, and becomes the command. */
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count < 2 || mount("proc", "/proc", "proc", 0, NULL) != 0) {
        perror("pod_init: /proc");
        return 128;
    }
    execvp(words[1], words + 1);
    perror(words[1]);
    return 127;
}
