#include "gateway/settings_legacy.h"

#include "base/text.h"

#include <stddef.h>
#include <string.h>

/* Told apart on purpose: an admin must know whether a feature is missing or has become needless. */
#define NOT_YET(what) what " is not supported yet"

static const char polling[] = "nothing is polled here, so there is no interval or time-out to set";
static const char response[] = "launchers do not report back to a port here: the gateway connects "
                               "to them over the kernel link";
static const char remote[] = "kernels on other hosts by ssh are not supported";
static const char yarn[] = "Hadoop YARN is not supported";
static const char conductor[] = "IBM Spectrum Conductor is not supported";
static const char docker[] = "Docker and Docker Swarm are not supported";
static const char persistence[] = "it is not needed: kernels outlive the gateway with their "
                                  "launcher, and the next one takes them over";
static const char sockets[] = "one socket serves all kernels here, so there is no limit to raise";

static const struct {
    const char *name; /* "EG_YARN_*" covers all that begins so */
    const char *note;
} notes[] = {
    {"EG_POD_TEMPLATE_DIR", "no template is written to a file here"},
    {"EG_KUBERNETES_LOG_LEVEL", "use log-level"},
    {"EG_KERNEL_EXECUTOR_IMAGE", "Spark executors are not supported"},
    {"EG_KERNEL_HEADERS", NOT_YET("handing request headers to a kernel's start")},
    {"EG_PORT_RANGE", NOT_YET("choosing the range of a kernel's ports")},
    {"EG_MIN_PORT_RANGE_SIZE", NOT_YET("choosing the range of a kernel's ports")},
    {"EG_MAX_PORT_RANGE_RETRIES", NOT_YET("choosing the range of a kernel's ports")},
    {"EG_SENSITIVE_ENV_KEYS", "values of variables are never logged here"},
    {"EG_REDACTION_MASK", "values of variables are never logged here"},
    {"EG_KERNELSPEC_CACHE_ENABLED", "kernelspecs are always cached and watched here"},
    {"EG_SSL_VERSION", "TLS 1.2 and 1.3 are always what is offered"},
    {"EG_AUTHORIZED_ORIGIN", "Enterprise Gateway does not read it either; use client-ca"},
    {"EG_AUTHORIZER_CLASS", "Python classes cannot be loaded; use auth-token-file"},
    {"EG_KERNEL_INFO_TIMEOUT", "use launch-timeout, which covers the first answer of a kernel too"},
    {"EG_DYNAMIC_CONFIG_INTERVAL", "changes are seen when they are made (docs/operations.md)"},
    {"EG_KERNEL_SESSION_PERSISTENCE", persistence},
    {"EG_KERNEL_SESSION_LOCATION", persistence},
    {"EG_PERSISTENCE_ROOT", persistence},
    {"EG_AVAILABILITY_MODE", persistence},
    {"EG_WEBHOOK_*", persistence},
    {"EG_AUTH_TYPE", persistence},
    {"EG_POLL_INTERVAL", polling},
    {"EG_MAX_POLL_ATTEMPTS", polling},
    {"EG_SOCKET_TIMEOUT", polling},
    {"EG_RESTART_STATUS_POLL_INTERVAL", polling},
    {"EG_RESPONSE_*", response},
    {"EG_PROHIBITED_LOCAL_IPS", response},
    {"EG_ENABLE_TUNNELING", remote},
    {"EG_SSH_*", remote},
    {"EG_REMOTE_HOSTS", remote},
    {"EG_REMOTE_USER", remote},
    {"EG_REMOTE_PWD", remote},
    {"EG_REMOTE_GSS_SSH", remote},
    {"EG_LOAD_BALANCING_ALGORITHM", remote},
    {"EG_KERNEL_LOG_DIR", "a kernel's log lies in its directory below runtime-dir"},
    {"EG_YARN_*", yarn},
    {"EG_ALT_YARN_ENDPOINT", yarn},
    {"EG_CONDUCTOR_ENDPOINT", conductor},
    {"EG_DOCKER_*", docker},
    {"EG_REMOVE_CONTAINER", docker},
    {"EG_ZMQ_*", sockets},
    {"EG_ALTERNATE_SIGINT", "it belongs in a kernelspec's env"},
    {"KG_*", "only some KG_ variables are read (docs/configuration.md); set the EG_ or ELARA_ one"},
};

const char *settings_legacy_note(const char *name) {
    size_t length = strcspn(name, "=");
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        const char *known = notes[i].name;
        size_t prefix = strlen(known) - 1;
        bool is_family = known[prefix] == '*';
        if (is_family ? length >= prefix && strncmp(name, known, prefix) == 0
                      : text_equal_n(name, length, known))
            return notes[i].note;
    }
    return NULL;
}
