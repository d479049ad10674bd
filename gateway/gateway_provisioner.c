/* Where kernels run, as the settings have it. */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "gateway/gateway.h"
#include "gateway/loop.h"
#include "launcher/kube_wishes.h"
#include "launcher/policy_file.h"
#include "launcher/provisioner.h"
#include "launcher/provisioner_kubernetes.h"
#include "nfs/user_ids.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOG_AREA "gateway"

static enum kubernetes_namespaces namespaces_of(const char *name) {
    if (strcmp(name, "user") == 0)
        return KUBERNETES_PER_USER;
    return strcmp(name, "kernel") == 0 || strcasecmp(name, "false") == 0 ? KUBERNETES_PER_KERNEL
                                                                         : KUBERNETES_FIXED;
}

/* What a file says of users whom home-uids does not have. */
static int load_home_uids(const struct settings *settings, json_t **ret, struct error *err) {
    const char *path = text_or_null(settings->home.passwd);
    json_t *uids;
    if (path == NULL)
        uids = json_object();
    else if (user_ids_read(path, &uids, err) < 0)
        return error_wrap(err, "home-passwd");
    json_object_update(uids, settings->home.uids);
    *ret = uids;
    return 0;
}

int gateway_home_settings(const struct gateway *gateway, struct home_settings *ret,
                          struct error *err) {
    const struct settings_home *home = &gateway->settings->home;
    const struct policy *policy = gateway->policy;
    enum kubernetes_namespaces namespaces = namespaces_of(gateway->settings->kubernetes.namespaces);
    *ret = (struct home_settings){.server = text_or_null(home->server),
                                  .export_path = home->export_path,
                                  .path = home->path,
                                  .mount = home->mount,
                                  .directory = text_or_null(home->directory),
                                  .pvc = text_or_null(home->pvc),
                                  .makes_claims = strcmp(home->volume, "claim") == 0,
                                  .makes_namespaces = namespaces != KUBERNETES_FIXED,
                                  .options = home->options,
                                  .uids = gateway->home_uids,
                                  .named = home->uids,
                                  .parent_gid = home->parent_gid,
                                  .extra = home->extra,
                                  .trusts_claimed = policy != NULL ? policy_trusts_names(policy)
                                                                   : home->trust_claimed_names,
                                  .deadline_ms = home->deadline_ms};
    if (user_name_scheme_parse(home->user_names, &ret->names, err) < 0)
        return error_wrap(err, "home-user-names");
    if (policy != NULL && home->trust_claimed_names && !ret->trusts_claimed)
        return error_set(err, ERROR_INVALID,
                         "home-trust-claimed-names: the policy does not trust claimed names: write "
                         "users: {trust_claimed_names: true} to it, or leave this setting out");
    return home_settings_check(ret, err);
}

int gateway_kubernetes_settings(const struct gateway *gateway,
                                struct provisioner_kubernetes_settings *ret, struct error *err) {
    const struct settings *settings = gateway->settings;
    const struct settings_kubernetes *kubernetes = &settings->kubernetes;
    *ret = (struct provisioner_kubernetes_settings){
        .background = gateway->background,
        .install = kubernetes->install,
        .gateway_namespace = text_or_null(kubernetes->gateway_namespace),
        .namespaces = namespaces_of(kubernetes->namespaces),
        .kernel_namespace = text_or_null(kubernetes->namespace),
        .namespace_prefix = kubernetes->namespace_prefix,
        .namespace_labels = kubernetes->namespace_labels,
        .network_policy = kubernetes->network_policy,
        .cluster_role = text_or_null(kubernetes->cluster_role),
        .start_deadline_ms = kubernetes->start_deadline_ms,
        .tombstone_retention_ms = settings->tombstone_retention_ms,
        .sweep_grace_ms = kubernetes->sweep_grace_ms,
        .pod = {.allowed = kube_wishes_free(),
                .trusted = kubernetes->allow,
                .policy = gateway->policy,
                .pod = kubernetes->pod,
                .image = text_or_null(kubernetes->image),
                .launcher_image = text_or_null(kubernetes->launcher_image),
                .gpu_resource = text_or_null(kubernetes->gpu_resource),
                .service_account = text_or_null(kubernetes->service_account),
                .uid = kubernetes->uid,
                .gid = kubernetes->gid,
                .mirror_working_dirs = kubernetes->mirror_working_dirs,
                .prohibited_uids = kubernetes->prohibited_uids,
                .prohibited_gids = kubernetes->prohibited_gids,
                .shutdown_wait_ms = settings->shutdown_wait_ms,
                .journal_bytes = settings->journal_size,
                .output_bytes = settings->kernel_log_size},
    };
    if (gateway_home_settings(gateway, &ret->home, err) < 0)
        return -1;
    if (ret->pod.launcher_image == NULL)
        return error_set(err, ERROR_INVALID,
                         "kubernetes-launcher-image: must name Elara's own image, which brings the "
                         "launcher into every pod");
    if (kube_wishes_parse(kubernetes->allow, &ret->pod.allowed, err) < 0)
        return error_wrap(err, "kubernetes-allow");
    return 0;
}

/* *ret NULL: there is none. */
static int load_policy(const struct settings *settings, struct policy **ret, struct error *err) {
    const char *path = text_or_null(settings->policy);
    const struct policy_defaults defaults = {settings->kubernetes.prohibited_uids,
                                             settings->kubernetes.prohibited_gids};
    *ret = NULL;
    return path != NULL ? policy_file_load(path, &defaults, ret, err) : 0;
}

int gateway_load_policy(struct gateway *gateway, struct error *err) {
    if (load_policy(gateway->settings, &gateway->policy, err) < 0 ||
        load_home_uids(gateway->settings, &gateway->home_uids, err) < 0)
        return -1;
    cleanup_json json_t *doubts =
        gateway->policy != NULL ? policy_file_doubts(gateway->policy) : NULL;
    for (size_t i = 0; i < json_array_size(doubts); i++)
        log_warning("%s", json_string_value(json_array_get(doubts, i)));
    return 0;
}

int gateway_kube_config(const struct settings *settings, struct kube_config **ret,
                        struct error *err) {
    const struct settings_kubernetes *kubernetes = &settings->kubernetes;
    const char *kubeconfig = text_or_null(kubernetes->kubeconfig);
    if (kubeconfig != NULL)
        return kube_config_load(kubeconfig, text_or_null(kubernetes->context), ret, err);
    if (kube_config_in_cluster(NULL, NULL, NULL, ret, err) == 0)
        return 0;
    return err->code == ERROR_NOT_FOUND
               ? error_set(err, ERROR_INVALID,
                           "kubeconfig: provisioner is kubernetes, but the gateway runs in no "
                           "pod and no kubeconfig says where the cluster is")
               : -1;
}

static struct local_accounts account_settings(const struct gateway *gateway) {
    const struct settings *settings = gateway->settings;
    return (struct local_accounts){.is_on = settings->run_as_owner,
                                   .min_uid = settings->run_as_min_uid,
                                   .prohibited_uids = settings->kubernetes.prohibited_uids,
                                   .prohibited_gids = settings->kubernetes.prohibited_gids,
                                   .policy = gateway->policy};
}

/* What becoming another user, signalling his kernels and making his directories needs. */
static int check_capabilities(struct error *err) {
    static const struct {
        int number;
        const char *name;
    } needed[] = {{CAP_SETUID, "SETUID"}, {CAP_SETGID, "SETGID"},
                  {CAP_KILL, "KILL"},     {CAP_CHOWN, "CHOWN"},
                  {CAP_FOWNER, "FOWNER"}, {CAP_DAC_OVERRIDE, "DAC_OVERRIDE"}};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, have) < 0)
        return error_system(err, errno, "capget");
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if ((have[0].effective & (1U << needed[i].number)) == 0)
            return error_set(err, ERROR_DENIED,
                             "run-as-owner: the gateway is root without the capability %s: give it "
                             "to the container or the service",
                             needed[i].name);
    return 0;
}

/* Where nobody is known, each kernel could ask the gateway for one of another user. */
static int check_run_as_owner(const struct settings *settings, struct error *err) {
    if (!settings->run_as_owner)
        return 0;
    if (geteuid() != 0)
        return error_set(err, ERROR_DENIED,
                         "run-as-owner (EG_IMPERSONATION_ENABLED): only root can start kernels as "
                         "other users: start the gateway as root, or leave the setting out, and "
                         "all kernels run as uid %u",
                         (unsigned)geteuid());
    if (!settings_know_clients(settings))
        return error_set(err, ERROR_DENIED,
                         "run-as-owner: without a token whoever reaches the port could run code as "
                         "every user: set --auth-token-file or another way to know who asks "
                         "(docs/security.md)");
    if (strcmp(settings->kernel_transport, "tcp") == 0)
        log_warning("run-as-owner with kernel-transport tcp: every user of this machine can listen "
                    "to what kernels print");
    return check_capabilities(err);
}

static int create_local(struct gateway *gateway, struct error *err) {
    const struct settings *settings = gateway->settings;
    struct provisioner_local_settings wanted = {
        .spawner = gateway->spawner,
        .runtime_directory = settings->runtime_dir,
        .launcher_path = settings->launcher,
        .open_files = gateway->open_files,
        .accounts = account_settings(gateway),
    };
    if (check_run_as_owner(settings, err) < 0 ||
        gateway_home_settings(gateway, &wanted.home, err) < 0)
        return -1;
    if (access(settings->launcher, X_OK) < 0)
        return error_set(
            err, ERROR_NOT_FOUND,
            "launcher: %s is not a program that can be run; say where elara-launcher is",
            settings->launcher);
    return provisioner_local_create(loop_base(gateway->loop), &wanted, &gateway->provisioner, err);
}

static int create_kubernetes(struct gateway *gateway, struct error *err) {
    struct provisioner_kubernetes_settings wanted;
    struct kube_config *config;
    if (gateway_kubernetes_settings(gateway, &wanted, err) < 0 ||
        gateway_kube_config(gateway->settings, &config, err) < 0)
        return -1;
    if (kube_config_is_insecure(config))
        log_warning("the API server's certificate is not checked (insecure-skip-tls-verify)");
    return provisioner_kubernetes_create(loop_base(gateway->loop), config, &wanted,
                                         &gateway->provisioner, err);
}

int gateway_create_provisioner(struct gateway *gateway, struct error *err) {
    if (settings_check_runtime_dir(gateway->settings, err) < 0 ||
        gateway_load_policy(gateway, err) < 0)
        return -1;
    return strcmp(gateway->settings->provisioner, "kubernetes") == 0
               ? create_kubernetes(gateway, err)
               : create_local(gateway, err);
}

/* What it had is gone. */
static void configure_kubernetes(struct gateway *gateway) {
    struct provisioner_kubernetes_settings wanted;
    struct error err;
    if (gateway_kubernetes_settings(gateway, &wanted, &err) < 0)
        settings_note_problem(gateway->settings, SETTINGS_FILE, &err);
    provisioner_kubernetes_configure(gateway->provisioner, &wanted);
}

static void configure_local(struct gateway *gateway) {
    struct home_settings wanted;
    struct error err;
    if (gateway_home_settings(gateway, &wanted, &err) < 0)
        settings_note_problem(gateway->settings, SETTINGS_FILE, &err);
    const struct local_accounts accounts = account_settings(gateway);
    provisioner_local_configure(gateway->provisioner, &wanted, &accounts);
}

void gateway_configure_provisioner(struct gateway *gateway) {
    struct policy *before = gateway->policy, *policy;
    json_t *uids;
    struct error err;
    if (load_policy(gateway->settings, &policy, &err) < 0) {
        settings_note_problem(gateway->settings, SETTINGS_FILE, &err);
        policy = before;
    }
    gateway->policy = policy;
    if (load_home_uids(gateway->settings, &uids, &err) < 0)
        settings_note_problem(gateway->settings, SETTINGS_FILE, &err);
    else {
        json_decref(gateway->home_uids);
        gateway->home_uids = uids;
    }
    if (strcmp(gateway->provisioner->ops->name, "kubernetes") == 0)
        configure_kubernetes(gateway);
    else
        configure_local(gateway);
    if (policy != before)
        policy_destroy(before);
}
