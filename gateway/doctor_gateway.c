/* What the gateway needs around it: kernelspecs, the launcher's program, a port. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/admin.h"
#include "gateway/doctor.h"
#include "gateway/settings.h"
#include "kernelspecs/kernelspecs.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void check_program(struct doctor *doctor, const struct kernelspec *spec,
                          const char *python) {
    cleanup_free char *missing = admin_missing_program(spec, python);
    bool is_setting = missing != NULL && python != NULL && strcmp(missing, python) == 0;
    cleanup_free char *unsupported = kernelspec_unsupported(spec);
    if (unsupported != NULL)
        doctor_tell(doctor, "kernelspec", DOCTOR_WARN,
                    "hide it with --denied-kernelspecs, or give it a starter that is here",
                    memory_printf("%s: %s", spec->name, unsupported));
    else if (missing != NULL)
        doctor_tell(
            doctor, "kernelspec", DOCTOR_WARN,
            is_setting ? "install it, or correct --python"
                       : "install it, or correct argv[0] in kernel.json",
            memory_printf("%s: there is no program %s for this user here", spec->name, missing));
}

static void tell_problems(struct doctor *doctor, const json_t *problems) {
    size_t i;
    json_t *problem;
    json_array_foreach(problems, i, problem) {
        doctor_tell(doctor, "kernelspec", DOCTOR_WARN,
                    "correct the file; until then no kernel starts from it",
                    admin_problem_text(problem));
    }
}

void doctor_check_kernelspecs(struct doctor *doctor, const struct settings *settings) {
    static const char check[] = "kernelspecs";
    struct kernelspecs *specs = NULL;
    struct error err = {0};
    if (admin_load_kernelspecs(settings, &specs, &err) < 0) {
        doctor_tell(doctor, check, DOCTOR_FAIL, "correct the settings", memory_strdup(err.text));
        return;
    }
    size_t count = 0;
    const struct kernelspec *spec;
    for (; (spec = kernelspecs_at(specs, count)) != NULL; count++)
        if (!admin_has_pods(settings))
            check_program(doctor, spec, settings->python);
    cleanup_json json_t *problems = admin_kernelspecs_problems(settings, specs);
    tell_problems(doctor, problems);
    const char *fallback = kernelspecs_default(specs);
    if (count == 0)
        doctor_tell(doctor, check, DOCTOR_FAIL,
                    "python3 -m pip install ipykernel && python3 -m ipykernel install --user; "
                    "`elara kernelspecs check` shows where they are looked for",
                    memory_strdup("there are none, so no kernel can start"));
    else if (kernelspecs_find(specs, fallback) == NULL)
        doctor_tell(doctor, check, DOCTOR_FAIL, "correct --default-kernel-name",
                    memory_printf("%s is the default, and it is not there", fallback));
    else
        doctor_tell(doctor, check, DOCTOR_OK, "",
                    memory_printf("%zu, the default is %s", count, fallback));
    kernelspecs_destroy(specs);
}

static void check_launcher_image(struct doctor *doctor, const struct settings *settings) {
    const char *image = settings->kubernetes.launcher_image;
    if (image == NULL || *image == '\0')
        doctor_tell(doctor, "launcher", DOCTOR_FAIL,
                    "name Elara's own image with --kubernetes-launcher-image (docs/kubernetes.md)",
                    memory_strdup("no image brings it into the pods"));
    else
        doctor_tell(doctor, "launcher", DOCTOR_OK, "", memory_printf("comes with %s", image));
}

void doctor_check_launcher(struct doctor *doctor, const struct settings *settings) {
    if (admin_has_pods(settings)) {
        check_launcher_image(doctor, settings);
        return;
    }
    if (access(settings->launcher, X_OK) < 0)
        doctor_tell(doctor, "launcher", DOCTOR_FAIL,
                    "install elara-launcher beside elara-gateway, or name it with --launcher",
                    memory_printf("%s: %s", settings->launcher, strerror(errno)));
    else
        doctor_tell(doctor, "launcher", DOCTOR_OK, "", memory_strdup(settings->launcher));
}

/* ---- port ---- */

/* errno of the attempt to listen there; 0: it is free. */
static int try_port(const struct settings *settings, struct error *err) {
    char port[16];
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    snprintf(port, sizeof port, "%" PRId64, settings->port);
    const char *ip = settings->ip != NULL && *settings->ip != '\0' ? settings->ip : NULL;
    int failed = getaddrinfo(ip, port, &wanted, &found);
    if (failed != 0) {
        error_set(err, ERROR_INVALID, "%s: %s", settings->ip, gai_strerror(failed));
        return EINVAL;
    }
    cleanup_close int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes); /* as the gateway does */
    int code =
        fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 1) < 0 ? errno : 0;
    freeaddrinfo(found);
    if (code != 0)
        error_system(err, code, "%s:%s", ip != NULL ? ip : "*", port);
    return code;
}

/* Who listens there: "an Elara gateway 0.1.0", or NULL when it is none. */
static char *ask_who(const struct settings *settings) {
    const char *ip = settings->ip != NULL ? settings->ip : "";
    bool is_any = *ip == '\0' || strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0;
    bool is_v6 = !is_any && strchr(ip, ':') != NULL;
    bool has_tls = settings->certfile != NULL && *settings->certfile != '\0';
    char *url = memory_printf("--url=http%s://%s%s%s:%" PRId64 "%s", has_tls ? "s" : "",
                              is_v6 ? "[" : "", is_any ? "127.0.0.1" : ip, is_v6 ? "]" : "",
                              settings->port, settings->base_url);
    char program[] = "elara", timeout[] = "--timeout=5";
    char *argv[] = {program, url, timeout, NULL};
    struct admin_gateway *gateway = NULL;
    cleanup_json json_t *answer = NULL;
    struct error err = {0};
    char *who = NULL;
    if (admin_gateway_create(3, argv, &gateway, &err) == 0 &&
        admin_gateway_call(gateway, "GET", "api", NULL, &answer, &err) == 0) {
        const char *version = json_string_value(json_object_get(answer, "gateway_version"));
        if (version != NULL)
            who = memory_printf("a gateway %s", version);
    } else if (err.code == ERROR_DENIED) {
        who = memory_strdup("something that wants a token");
    }
    admin_gateway_destroy(gateway);
    free(url);
    return who;
}

void doctor_check_port(struct doctor *doctor, const struct settings *settings) {
    struct error err = {0};
    if (settings_check_exposure(settings, &err) < 0)
        doctor_tell(doctor, "token", DOCTOR_FAIL, "`elara token new` makes tokens",
                    memory_strdup(err.text));
    int code = try_port(settings, &err);
    cleanup_free char *who = code == EADDRINUSE ? ask_who(settings) : NULL;
    if (code == 0)
        doctor_tell(doctor, "port", DOCTOR_OK, "",
                    memory_printf("%s:%" PRId64 " is free", settings->ip, settings->port));
    else if (who != NULL)
        doctor_tell(doctor, "port", DOCTOR_WARN,
                    "look at that one with --url; a second one needs another --port",
                    memory_printf("%s answers at %s:%" PRId64 " already", who, settings->ip,
                                  settings->port));
    else
        doctor_tell(doctor, "port", DOCTOR_FAIL,
                    code == EACCES       ? "choose a --port above 1023, or give the program "
                                           "CAP_NET_BIND_SERVICE"
                    : code == EADDRINUSE ? "`ss -ltnp` shows who has it; choose another with --port"
                                         : "correct --ip: it must be an address of this machine",
                    memory_strdup(err.text));
}
