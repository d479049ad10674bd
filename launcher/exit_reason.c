#include "launcher/exit_reason.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { LINE_MAX_BYTES = 300 };

struct kernel_exit kernel_exit_from_status(int wait_status, int oom) {
    if (WIFEXITED(wait_status))
        return (struct kernel_exit){.code = WEXITSTATUS(wait_status), .oom = 0};
    if (WIFSIGNALED(wait_status)) {
        int signum = WTERMSIG(wait_status);
        return (struct kernel_exit){
            .code = -1, .signum = signum, .oom = signum == SIGKILL ? oom : 0};
    }
    return (struct kernel_exit){.code = -1, .oom = -1};
}

/* Not strsignal: "Killed" says less than the name that people search for. */
static const char *signal_name(int signum) {
    static const struct {
        int signum;
        const char *name;
    } names[] = {
        {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},
        {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
        {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"}, {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
        {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"}, {SIGXCPU, "SIGXCPU"},
        {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].signum == signum)
            return names[i].name;
    return NULL;
}

/* The last line that says something, without its colours. */
static void last_line(const char *output, char *line, size_t size) {
    size_t end = strlen(output);
    while (end > 0 && strchr(" \t\r\n", output[end - 1]) != NULL)
        end--;
    size_t start = end;
    while (start > 0 && output[start - 1] != '\n')
        start--;
    size_t length = utf8_floor(output + start, end - start, size - 1);
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        if (output[start + i] == 0x1B) { /* CSI: ESC [ ... letter */
            while (i < length && strchr("mKJH", output[start + i]) == NULL)
                i++;
            continue;
        }
        line[kept++] = output[start + i];
    }
    line[kept] = '\0';
}

/* "ModuleNotFoundError: No module named 'x'", or "python: No module named x" as from python -m
 * x. */
static bool missing_module(const char *line, char *module, size_t size) {
    const char *at = strstr(line, "No module named ");
    if (at == NULL)
        return false;
    at += strlen("No module named ");
    if (*at == '\'' || *at == '"')
        at++;
    size_t length = strcspn(at, "'\".; ");
    if (length == 0 || length >= size)
        return false;
    memcpy(module, at, length);
    module[length] = '\0';
    /* The module that python -m starts belongs to this package. */
    if (strcmp(module, "ipykernel_launcher") == 0)
        snprintf(module, size, "ipykernel");
    return true;
}

static void add(char *text, const char *more) {
    size_t length = strlen(text);
    snprintf(text + length, EXIT_REASON_SIZE - length, "%s", more);
}

static void write_signal(const struct kernel_exit *exit, char *text) {
    const char *name = signal_name(exit->signum);
    if (name != NULL)
        snprintf(text, EXIT_REASON_SIZE, "The kernel was killed by signal %d (%s)", exit->signum,
                 name);
    else
        snprintf(text, EXIT_REASON_SIZE, "The kernel was killed by signal %d", exit->signum);
    if (exit->oom == 1)
        add(text, ": the system ended it because the memory limit was reached. Use less memory, "
                  "or ask for a larger limit");
    else if (exit->signum == SIGKILL && exit->oom < 0)
        add(text, "; running out of memory is a common cause");
}

void exit_reason_write(const struct kernel_exit *exit, const char *output, const char *program,
                       char text[EXIT_REASON_SIZE]) {
    if (exit->signum != 0) {
        write_signal(exit, text);
        add(text, ".");
        return;
    }
    if (exit->code < 0) {
        snprintf(text, EXIT_REASON_SIZE, "The kernel has ended; how is not known.");
        return;
    }
    char line[LINE_MAX_BYTES], module[100];
    last_line(output, line, sizeof line);
    snprintf(text, EXIT_REASON_SIZE, "The kernel exited with code %d%s%s", exit->code,
             line[0] != '\0' ? ": " : "", line);
    size_t length = strlen(text);
    if (text[length - 1] != '.')
        add(text, ".");
    if (exit->code != 0 && missing_module(line, module, sizeof module)) {
        cleanup_free char *hint =
            memory_printf(" Install %s in the environment of %.200s (for instance: %.200s -m pip "
                          "install %s).",
                          module, program, program, module);
        add(text, hint);
    }
}

bool exit_reason_has_output(const char *reason, const char *output) {
    size_t length = output != NULL ? strlen(output) : 0;
    while (length > 0 && output[length - 1] == '\n')
        length--;
    return length == 0 || memmem(reason, strlen(reason), output, length) != NULL;
}

bool exit_reason_is_port_race(const char *output) {
    return strcasestr(output, "address already in use") != NULL ||
           strcasestr(output, "address in use") != NULL || strstr(output, "EADDRINUSE") != NULL;
}

json_t *exit_report_create(const struct kernel_exit *exit, const char *reason, const char *output,
                           bool is_restarting) {
    cleanup_free char *clean = utf8_repair(reason); /* its parts may have been cut off */
    return json_pack("{s:o, s:o, s:o, s:s, s:s, s:b}", "code",
                     exit->code >= 0 ? json_integer(exit->code) : json_null(), "signal",
                     exit->signum != 0 ? json_integer(exit->signum) : json_null(), "oom",
                     exit->oom >= 0 ? json_boolean(exit->oom) : json_null(), "reason", clean,
                     "output", output, "restarting", is_restarting);
}
