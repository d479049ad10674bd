/* The traits of JEG's configuration files (its mixins.py, enterprisegatewayapp.py and the Jupyter
 * Server and jupyter_client classes below it), under the names of the variables that mean the
 * same. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/migrate.h"

#include <ctype.h>
#include <string.h>

/* Others of EnterpriseGatewayApp are called as their variable: ip is EG_IP. */
static const struct {
    const char *trait;
    const char *variable; /* NULL: nothing here is like it */
    const char *note;
} traits[] = {
    {"ws_ping_interval", "EG_WS_PING_INTERVAL_SECS", NULL},
    {"env_whitelist", "EG_ENV_WHITELIST", NULL},
    {"env_process_whitelist", "EG_ENV_PROCESS_WHITELIST", NULL},
    {"cull_idle_timeout", "EG_CULL_IDLE_TIMEOUT", NULL},
    {"cull_interval", "EG_CULL_INTERVAL", NULL},
    {"cull_connected", "EG_CULL_CONNECTED", NULL},
    {"cull_busy", NULL,
     "running cells are ended by cull_stalled_timeout, when they neither print nor use the CPU, or "
     "by cull_max_age"},
    {"kernel_info_timeout", "EG_KERNEL_INFO_TIMEOUT", NULL},
    {"default_kernel_name", "EG_DEFAULT_KERNEL_NAME", NULL},
    {"root_dir", "ELARA_ROOT_DIR", NULL},
    {"whitelist", "EG_ALLOWED_KERNELS", NULL},
    {"allowed_kernelspecs", "EG_ALLOWED_KERNELS", NULL},
    {"kernel_dirs", "ELARA_KERNELSPEC_DIRS", NULL},
    {"cache_enabled", "EG_KERNELSPEC_CACHE_ENABLED", NULL},
    {"enable_persistence", "EG_KERNEL_SESSION_PERSISTENCE", NULL},
    {"persistence_root", "EG_PERSISTENCE_ROOT", NULL},
    {"webhook_url", "EG_WEBHOOK_URL", NULL},
    {"webhook_username", "EG_WEBHOOK_USERNAME", NULL},
    {"webhook_password", "EG_WEBHOOK_PASSWORD", NULL},
    {"auth_type", "EG_AUTH_TYPE", NULL},
    {"shutdown_wait_time", "ELARA_SHUTDOWN_WAIT", NULL},
    {"restart_limit", "ELARA_RESTART_LIMIT", NULL},
    {"autorestart", NULL, "kernels that die are started again; restart_limit: 0 turns it off"},
    {"time_to_dead", NULL, "a kernel's end is seen at once, nothing is polled"},
    {"random_ports_until_alive", NULL, "not needed: the launcher chooses ports"},
    {"shared_context", NULL, "not needed: one socket serves all kernels"},
    {"buffer_offline_messages", NULL,
     "messages are always kept for clients that are away: journal_size, session_retention"},
    {"allowed_message_types", NULL, "not supported: all message types are let through"},
    {"allow_tracebacks", NULL, "not supported: tracebacks reach the notebook as they are"},
    {"traceback_replacement_message", NULL, "not supported: tracebacks are not replaced"},
    {"ensure_native_kernel", NULL,
     "no python3 is made up; `python3 -m ipykernel install --user` writes its kernelspec"},
    {"kernel_manager_class", NULL, "Python classes cannot be loaded"},
    {"kernel_spec_manager_class", NULL, "Python classes cannot be loaded"},
    {"kernel_spec_cache_class", NULL, "Python classes cannot be loaded"},
    {"kernel_session_manager_class", NULL, "Python classes cannot be loaded"},
    {"log_format", NULL, "the form of log lines is fixed"},
    {"log_datefmt", NULL, "the form of log lines is fixed"},
    {"answer_yes", NULL, "nothing is asked"},
};

/* Those whose traits those names are. */
static bool is_known_class(const char *name) {
    static const char *const names[] = {
        "EnterpriseGatewayApp",
        "EnterpriseGatewayConfigMixin",
        "KernelGatewayApp",
        "JupyterApp",
        "Application",
        "RemoteMappingKernelManager",
        "MappingKernelManager",
        "AsyncMappingKernelManager",
        "MultiKernelManager",
        "AsyncMultiKernelManager",
        "RemoteKernelManager",
        "KernelManager",
        "AsyncKernelManager",
        "IOLoopKernelManager",
        "AsyncIOLoopKernelManager",
        "ConnectionFileMixin",
        "KernelRestarter",
        "IOLoopKernelRestarter",
        "AsyncIOLoopKernelRestarter",
        "KernelSpecManager",
        "KernelSpecCache",
        "KernelSessionManager",
        "FileKernelSessionManager",
        "WebhookKernelSessionManager",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

void migrate_trait(struct migration *migration, const char *class_name, const char *trait,
                   const json_t *value, const char *where) {
    cleanup_free char *as = memory_printf("c.%s.%s", class_name, trait);
    if (!is_known_class(class_name)) {
        migration_trouble(migration, as, where, "Elara knows no class of that name");
        return;
    }
    for (size_t i = 0; i < sizeof traits / sizeof *traits; i++) {
        if (strcmp(trait, traits[i].trait) != 0)
            continue;
        if (traits[i].variable == NULL)
            migration_note(migration, as, where, traits[i].note);
        else
            migration_set_json(migration, traits[i].variable, value, as, where, MIGRATE_FILE);
        return;
    }
    cleanup_free char *variable = memory_printf("EG_%s", trait);
    for (char *at = variable; *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
    migration_set_json(migration, variable, value, as, where, MIGRATE_FILE);
}

int migrate_json(struct migration *migration, const char *text, size_t length, const char *name,
                 struct error *err) {
    json_error_t place;
    cleanup_json json_t *file = json_loadb(text, length, JSON_REJECT_DUPLICATES, &place);
    if (!json_is_object(file))
        return error_set(err, ERROR_INVALID, "%s:%d: %s", name, place.line,
                         file == NULL ? place.text : "must be an object of classes");
    const char *class_name;
    json_t *members;
    json_object_foreach(file, class_name, members) {
        const char *trait;
        json_t *value;
        if (!json_is_object(members))
            migration_trouble(migration, class_name, name, "must be an object of traits");
        json_object_foreach(members, trait, value) {
            migrate_trait(migration, class_name, trait, value, name);
        }
    }
    return 0;
}
