#include "gateway/gateway.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/api.h"
#include "gateway/auth.h"
#include "gateway/channels.h"
#include "gateway/confine.h"
#include "gateway/culling.h"
#include "gateway/events.h"
#include "gateway/http.h"
#include "gateway/kernels.h"
#include "gateway/links.h"
#include "gateway/loop.h"
#include "gateway/metrics.h"
#include "gateway/session_adoption.h"
#include "gateway/sessions.h"
#include "kernelspecs/kernelspecs.h"
#include "launcher/background.h"
#include "launcher/policy.h"
#include "launcher/provisioner.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOG_AREA "gateway"

/* A client is a descriptor, and a kernel another one. Returns the limit before, 0 when it is as it
 * was: kernels keep it, since whatever calls select() breaks on descriptors above 1023. */
static int64_t raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
        return 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return (int64_t)before;
    log_warning("the limit of open files stays low: no more than %llu clients and kernels",
                (unsigned long long)before);
    return 0;
}

void gateway_auth_settings(const struct settings *settings, struct auth_settings *ret) {
    *ret = (struct auth_settings){
        .token = settings->auth_token,
        .token_file = settings->auth_token_file,
        .certificate_user = settings->certificate_user,
        .proxy_header = settings->proxy_user_header,
        .proxy_addresses = settings->proxy_addresses,
        .oidc_issuer = settings->oidc_issuer,
        .oidc_audience = settings->oidc_audience,
        .oidc_user_claim = settings->oidc_user_claim,
        .token_review = settings->token_review,
        .review_audiences = settings->review_audiences,
        .review_namespaces = settings->review_namespaces,
        .kubeconfig = settings->kubernetes.kubeconfig,
        .context = text_or_null(settings->kubernetes.context),
        .hub_api_url = settings->hub_api_url,
        .hub_scopes = settings->hub_scopes,
        .ca = text_or_null(settings->auth_ca),
        .admins = settings->admin_users,
        .viewers = settings->viewer_users,
        .keep_ms = settings->auth_keep_ms,
    };
}

/* With client-ca a browser would have to find the foreign page's name in our certificate. A proxy's
 * header is what a page of any name may send from here, if we are to believe it from here. */
static bool must_check_host(const struct gateway *gateway) {
    const char *ip = gateway->settings->ip;
    bool asks_token = auth_is_required(gateway->auth) &&
                      text_or_null(gateway->settings->proxy_user_header) == NULL;
    return !asks_token && ip != NULL && settings_ip_is_loopback(ip) &&
           (text_or_null(gateway->settings->client_ca) == NULL ||
            gateway->settings->client_ca_optional);
}

static struct http_settings http_settings(const struct gateway *gateway) {
    const struct settings *settings = gateway->settings;
    return (struct http_settings){
        .ip = settings->ip,
        .port = (int)settings->port,
        .port_retries = (int)settings->port_retries,
        .sockets = gateway->handover.sockets,
        .socket_count = gateway->handover.count,
        .accept_later = gateway->handover.ready_fd >= 0,
        .base_url = settings->base_url,
        .body_max = settings->body_limit,
        .header_max = settings->header_limit,
        .header_timeout_ms = settings->header_timeout_ms,
        .body_timeout_ms = settings->body_timeout_ms,
        .idle_timeout_ms = settings->idle_timeout_ms,
        .connections_max = settings->max_connections,
        .connections_per_address_max = settings->max_connections_per_address,
        .connections_per_user_max = settings->max_connections_per_user,
        .requests_max = settings->max_requests,
        .requests_per_user_max = settings->max_requests_per_user,
        .input_max = settings->max_input_bytes,
        .input_per_user_max = settings->max_input_bytes_per_user,
        .allow_origin = settings->allow_origin,
        .allow_headers = settings->allow_headers,
        .allow_methods = settings->allow_methods,
        .allow_credentials = settings->allow_credentials,
        .expose_headers = settings->expose_headers,
        .max_age = settings->max_age,
        .tls_certificate = text_or_null(settings->certfile),
        .tls_key = text_or_null(settings->keyfile),
        .tls_client_ca = text_or_null(settings->client_ca),
        .tls_client_ca_optional = settings->client_ca_optional,
        .hsts_ms = settings->hsts_ms,
        .trust_xheaders = settings->trust_xheaders,
        .check_host = must_check_host(gateway),
        .allow_hosts = settings->allow_hosts,
        .metrics = gateway->metrics,
    };
}

static bool runs_as_owners(const struct settings *settings) {
    return settings->run_as_owner && strcmp(settings->provisioner, "local") == 0;
}

static const char *transport_of(const struct settings *settings) {
    if (strcmp(settings->kernel_transport, "auto") != 0)
        return settings->kernel_transport;
    return runs_as_owners(settings) ? "ipc" : "tcp";
}

void gateway_kernels_settings(const struct gateway *gateway, struct kernels_settings *ret) {
    const struct settings *settings = gateway->settings;
    *ret = (struct kernels_settings){
        .python = text_or_null(settings->python),
        .root_directory = text_or_null(settings->root_dir),
        .client_envs = settings->client_envs,
        .inherited_envs = settings->inherited_envs,
        .max_kernels = settings->max_kernels,
        .max_kernels_per_user = settings->max_kernels_per_user,
        .max_kernels_per_spec = settings->max_kernels_per_spec,
        .max_starts_per_user = settings->max_starts_per_user,
        .state_directory = settings->runtime_dir,
        .max_failed = settings->max_failed_kernels,
        .failed_retention_ms = settings->failed_retention_ms,
        .tombstone_retention_ms = settings->tombstone_retention_ms,
        .launch_timeout_ms = settings->launch_timeout_ms,
        .start_deadline_ms = settings->kubernetes.start_deadline_ms,
        .shutdown_wait_ms = settings->shutdown_wait_ms,
        .restart_limit = settings->restart_limit,
        .stable_after_ms = settings->restart_stable_after_ms,
        .journal_bytes = settings->journal_size,
        .output_bytes = settings->kernel_log_size,
        .session_retention_ms = settings->session_retention_ms,
        .transport = transport_of(settings),
        .is_run_as_owner = runs_as_owners(settings),
        .log_level = settings->log_level,
        .log_format = settings->log_format,
        .metrics = gateway->metrics,
        .events = gateway->events,
        .users = {settings->authorized_users, settings->unauthorized_users},
        .policy = gateway->policy,
    };
}

static struct channels_settings channels_settings(const struct gateway *gateway) {
    const struct settings *settings = gateway->settings;
    return (struct channels_settings){
        .message_max = settings->message_limit,
        .ping_interval_ms = settings->ws_ping_interval_ms,
        .window = settings->client_window,
        .unsure_ms = settings->replay_unsure_ms,
        .gateway_client_max = settings->gateway_client_frame_limit,
        .login_every_ms = settings->auth_keep_ms,
        .metrics = gateway->metrics,
    };
}

void gateway_configure(struct gateway *gateway) {
    struct settings *settings = gateway->settings;
    struct auth_settings auth;
    gateway_auth_settings(settings, &auth);
    struct error err = {0};
    settings_set_log(settings);
    int failed = auth_configure(gateway->auth, &auth, &err);
    settings_note_problem(settings, SETTINGS_TOKENS, failed < 0 ? &err : NULL);
    struct http_settings http = http_settings(gateway);
    failed = http_configure(gateway->http, &http, &err);
    settings_note_problem(settings, SETTINGS_TLS, failed < 0 ? &err : NULL);
    struct kernelspecs_settings specs;
    gateway_specs_settings(gateway, &specs);
    failed = kernelspecs_configure(gateway->specs, &specs, &err);
    settings_note_problem(settings, SETTINGS_KERNELSPECS, failed < 0 ? &err : NULL);
    gateway_configure_provisioner(gateway);
    struct kernels_settings kernels;
    gateway_kernels_settings(gateway, &kernels); /* with the policy that is new */
    kernels_configure(gateway->kernels, &kernels);
    struct channels_settings channels = channels_settings(gateway);
    channels_configure(gateway->channels, &channels);
    channels_ask_again(gateway->channels);
    if (culling_configure(gateway->culling, &err) < 0)
        settings_note_problem(settings, SETTINGS_FILE, &err);
}

void gateway_specs_settings(const struct gateway *gateway, struct kernelspecs_settings *ret) {
    const struct settings *settings = gateway->settings;
    *ret = (struct kernelspecs_settings){
        .directories = settings->kernelspec_dirs,
        .allowed = settings->allowed_kernelspecs,
        .denied = settings->denied_kernelspecs,
        .default_name = text_or_null(settings->default_kernel_name),
        .publish_env = settings->publish_kernelspec_env,
    };
}

static int create_specs(struct gateway *gateway, struct error *err) {
    struct kernelspecs_settings wanted;
    gateway_specs_settings(gateway, &wanted);
    return kernelspecs_create(&wanted, &gateway->specs, err);
}

static bool is_kernel_there(void *context, const char *kernel_id) {
    const struct gateway *gateway = context;
    return kernels_find(gateway->kernels, kernel_id) != NULL;
}

/* Each needs the ones before it. The port comes first: when it is taken nothing else has been
 * touched. */
static int build(struct gateway *gateway, struct error *err) {
    gateway->loop = loop_create();
    gateway->background = background_create(loop_base(gateway->loop));
    gateway->metrics = metrics_create();
    const struct settings *settings = gateway->settings;
    if (events_create(settings->event_log, &gateway->events, err) < 0 ||
        (settings->confine && confine(settings->runtime_dir, settings->event_log, err) < 0))
        return -1;
    struct auth_settings auth;
    gateway_auth_settings(gateway->settings, &auth);
    if (auth_create(loop_base(gateway->loop), &auth, &gateway->auth, err) < 0)
        return -1;
    struct http_settings http = http_settings(gateway);
    if (http_create(gateway->loop, &http, gateway->auth, &gateway->http, err) < 0 ||
        http_listen(gateway->http, err) < 0)
        return -1;
    handover_close_sockets(&gateway->handover); /* the HTTP server has its own of them */
    if (create_specs(gateway, err) < 0 || gateway_create_provisioner(gateway, err) < 0 ||
        links_create(gateway->loop, &gateway->links, err) < 0)
        return -1;
    struct kernels_settings kernels;
    gateway_kernels_settings(gateway, &kernels);
    if (kernels_create(gateway->loop, &kernels, gateway->links, gateway->provisioner,
                       gateway->specs, &gateway->kernels, err) < 0 ||
        culling_create(gateway->loop, &gateway->settings->cull, gateway->kernels, &gateway->culling,
                       err) < 0)
        return -1;
    kernels_observe_culling(gateway->culling);
    gateway->sessions = sessions_create(is_kernel_there, gateway);
    struct channels_settings channels = channels_settings(gateway);
    gateway->channels = channels_create(gateway->loop, &channels);
    api_add_routes(gateway);
    kernels_adopt(gateway->kernels);
    gateway->session_adoption =
        session_adoption_start(gateway->loop, gateway->kernels, gateway->sessions);
    return 0;
}

/* Sockets that we were given may be open to more than the settings say. */
static int take_handover(struct gateway *gateway, struct error *err) {
    struct settings *settings = gateway->settings;
    if (handover_take(&gateway->handover, err) < 0)
        return -1;
    if (gateway->handover.open_files > 0)
        gateway->open_files = gateway->handover.open_files;
    for (size_t i = 0; i < gateway->handover.count; i++) {
        char address[64];
        handover_address(gateway->handover.sockets[i], address, sizeof address);
        if (i > 0 && settings_ip_is_loopback(address))
            continue; /* of several, one that others can reach is what counts */
        free(settings->ip);
        settings->ip = memory_strdup(address);
    }
    return settings_check_exposure(settings, err);
}

int gateway_create(struct settings *settings, struct spawner *spawner, struct gateway **ret,
                   struct error *err) {
    signal(SIGPIPE, SIG_IGN); /* a client that left is an error of a write, not our end */
    struct gateway *gateway = memory_alloc(sizeof *gateway);
    gateway->spawner = spawner;
    gateway->open_files = raise_descriptor_limit();
    gateway->settings = settings;
    gateway->started_us = clock_wall_us();
    if (take_handover(gateway, err) < 0 || build(gateway, err) < 0) {
        gateway_destroy(gateway);
        return -1;
    }
    *ret = gateway;
    return 0;
}

/* Requests outlive the HTTP server, so that whoever still has to answer one may do so; the kernels
 * are let go of, not ended. */
bool gateway_destroy(struct gateway *gateway) {
    if (gateway == NULL)
        return false;
    channels_destroy(gateway->channels);
    http_destroy(gateway->http);
    if (gateway->loop != NULL)
        loop_finish(gateway->loop); /* their last words, while those who carry them are there */
    culling_destroy(gateway->culling);
    kernels_destroy(gateway->kernels);
    links_destroy(gateway->links);
    session_adoption_destroy(gateway->session_adoption);
    sessions_destroy(gateway->sessions);
    if (gateway->provisioner != NULL)
        gateway->provisioner->ops->destroy(gateway->provisioner);
    bool hangs = background_destroy(gateway->background);
    policy_destroy(gateway->policy);
    json_decref(gateway->home_uids);
    kernelspecs_destroy(gateway->specs);
    auth_destroy(gateway->auth);
    events_destroy(gateway->events);
    metrics_destroy(gateway->metrics);
    loop_destroy(gateway->loop);
    handover_close(&gateway->handover);
    spawner_destroy(gateway->spawner);
    free(gateway->run);
    free(gateway);
    return hangs;
}
