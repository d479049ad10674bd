/* The gateway at work: signals, and the way out. */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "gateway/auth.h"
#include "gateway/channels.h"
#include "gateway/gateway.h"
#include "gateway/handover.h"
#include "gateway/http.h"
#include "gateway/kernels.h"
#include "gateway/links.h"
#include "gateway/loop.h"
#include "gateway/reload.h"
#include "gateway/session_adoption.h"
#include "kernelspecs/kernelspecs.h"

#include <signal.h>
#include <string.h>

#define LOG_AREA "gateway"

enum {
    FAREWELL_POLL_MS = 20,
    FAREWELL_MS = 2000,         /* for clients to take their closing frame */
    SHUTDOWN_MARGIN_MS = 15000, /* beyond shutdown-wait, for kernels that do not want to end */
};

/* Freed with the gateway: a kernel that ends late still counts itself off here. */
struct gateway_run {
    struct gateway *gateway;
    struct event *terminate, *interrupt, *hand_over;
    struct loop_deadline farewell, patience;
    struct reload *reload;
    struct session_waiter adopted;
    struct successor *successor;
    size_t kernels_ending;
    int farewell_left_ms;
    bool is_stopping;
};

/* Clients have had their chance to ask, and to hear that they should come back. */
static void on_farewell(void *context) {
    struct gateway_run *run = context;
    run->farewell_left_ms -= FAREWELL_POLL_MS;
    const struct provisioner *provisioner = run->gateway->provisioner;
    bool is_busy = provisioner->ops->is_busy != NULL && provisioner->ops->is_busy(provisioner);
    if (run->kernels_ending == 0 && run->gateway->answers_owed == 0 && !is_busy &&
        (run->farewell_left_ms <= 0 ||
         (channels_count(run->gateway->channels) == 0 && http_is_quiet(run->gateway->http))))
        loop_stop(run->gateway->loop);
    else
        loop_deadline_set(run->gateway->loop, &run->farewell, FAREWELL_POLL_MS);
}

static void on_patience(void *context) {
    struct gateway_run *run = context;
    log_warning("ending while %zu kernels and %zu answers are still waited for",
                run->kernels_ending, run->gateway->answers_owed);
    loop_stop(run->gateway->loop);
}

static void on_kernel_ended(void *context, const struct error *err) {
    struct gateway_run *run = context;
    if (err != NULL)
        log_warning("a kernel did not end: %s", err->text);
    run->kernels_ending--;
}

static void shutdown_kernels(struct gateway_run *run) {
    struct kernels *kernels = run->gateway->kernels;
    struct kernel *next;
    for (struct kernel *kernel = kernels_next(kernels, NULL); kernel != NULL; kernel = next) {
        next = kernels_next(kernels, kernel); /* one that is dead already goes at once */
        run->kernels_ending++;
        kernel_shutdown(kernel, "the gateway was shut down", on_kernel_ended, run);
    }
}

/* Begins the way out. */
static void begin_end(struct gateway_run *run) {
    struct gateway *gateway = run->gateway;
    run->is_stopping = true;
    http_stop_accepting(gateway->http);
    loop_deadline_set(gateway->loop, &run->patience,
                      gateway->settings->shutdown_wait_ms + SHUTDOWN_MARGIN_MS);
    links_give_up_requests(gateway->links);
    channels_close_all(gateway->channels);
    run->farewell_left_ms = FAREWELL_MS;
    loop_deadline_set(gateway->loop, &run->farewell, FAREWELL_POLL_MS);
}

static void on_terminate(evutil_socket_t number, short what, void *context) {
    (void)what;
    struct gateway_run *run = context;
    struct gateway *gateway = run->gateway;
    const char *name = number == SIGINT ? "SIGINT" : "SIGTERM";
    if (run->is_stopping) {
        log_info("%s again: ending at once", name);
        loop_stop(gateway->loop);
        return;
    }
    bool ends_kernels = strcmp(gateway->settings->on_exit, "shutdown") == 0;
    log_info("%s: ending; %zu kernel%s %s", name, kernels_count(gateway->kernels),
             kernels_count(gateway->kernels) == 1 ? "" : "s",
             ends_kernels ? "will be shut down" : "left running for the next gateway");
    if (ends_kernels)
        shutdown_kernels(run);
    begin_end(run);
}

/* ---- handing over (gateway/handover.h) ---- */

static void on_successor_serves(void *context) {
    struct gateway_run *run = context;
    if (!run->is_stopping)
        begin_end(run); /* whatever on-exit says: the kernels are served on */
}

static void on_hand_over(evutil_socket_t number, short what, void *context) {
    static const struct successor_events events = {.done = on_successor_serves};
    (void)number, (void)what;
    struct gateway_run *run = context;
    struct gateway *gateway = run->gateway;
    int sockets[HANDOVER_SOCKETS_MAX];
    struct error err = {0};
    if (run->is_stopping || !successor_is_over(run->successor)) {
        log_info("SIGUSR2: a new gateway is taking over already, or this one is ending");
        return;
    }
    successor_destroy(run->successor);
    run->successor = NULL;
    size_t count = http_sockets(gateway->http, sockets, HANDOVER_SOCKETS_MAX);
    if (successor_start(gateway->loop, gateway->spawner, sockets, count, gateway->open_files,
                        &events, run, &run->successor, &err) < 0)
        log_error("SIGUSR2: the new gateway could not be started, this one goes on: %s", err.text);
}

/* Kernels and sessions are known: the gateway before us, if there is one, may go. */
static void on_adopted(void *context) {
    struct gateway_run *run = context;
    http_start_accepting(run->gateway->http);
    handover_ready(&run->gateway->handover);
}

static void say_hello(const struct gateway *gateway) {
    const struct settings *settings = gateway->settings;
    const char *ip = settings->ip;
    bool is_any = ip == NULL || strcmp(ip, "") == 0 || strcmp(ip, "*") == 0 ||
                  strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0;
    bool is_ipv6 = !is_any && strchr(ip, ':') != NULL;
    bool is_tls = settings->certfile != NULL && settings->certfile[0] != '\0';
    bool wants_certificate = settings->client_ca != NULL && settings->client_ca[0] != '\0';
    cleanup_free char *url =
        memory_printf("%s://%s%s%s:%d%s", is_tls ? "https" : "http", is_ipv6 ? "[" : "",
                      is_any ? "127.0.0.1" : ip, is_ipv6 ? "]" : "", http_port(gateway->http),
                      settings->base_url);
    log_info("elara-gateway " ELARA_VERSION " listens on %s%s", url,
             is_any ? " and all other addresses" : "");
    /* What stands in <> is to be filled in: a token is not logged. SSL_CERT_FILE is every Python's:
     * jupyter_server forgets its own JUPYTER_GATEWAY_CA_CERTS unless it has a client
     * certificate. */
    log_info("to use it: JUPYTER_GATEWAY_URL=%s%s%s%s jupyter lab", url,
             auth_is_required(gateway->auth) ? " JUPYTER_GATEWAY_AUTH_TOKEN=<token>" : "",
             is_tls ? " SSL_CERT_FILE=<file of its CA>" : "",
             wants_certificate ? " JUPYTER_GATEWAY_CLIENT_CERT=<file> "
                                 "JUPYTER_GATEWAY_CLIENT_KEY=<file>"
                               : "");
    if (kernelspecs_at(gateway->specs, 0) == NULL)
        log_warning("there is no kernelspec yet: install a kernel (such as ipykernel) or set "
                    "kernelspec-dirs; it is seen without a restart");
    if (!auth_is_required(gateway->auth) && !settings_ip_is_loopback(ip != NULL ? ip : "") &&
        settings->insecure)
        log_warning("--insecure: whoever reaches this port can run code as us");
}

static struct event *on_signal(struct gateway_run *run, int number, event_callback_fn handler) {
    struct event *event = evsignal_new(loop_base(run->gateway->loop), number, handler, run);
    event_add(event, NULL);
    return event;
}

static void start(struct gateway_run *run) {
    struct gateway *gateway = run->gateway;
    run->farewell = (struct loop_deadline){.run = on_farewell, .context = run};
    run->patience = (struct loop_deadline){.run = on_patience, .context = run};
    run->terminate = on_signal(run, SIGTERM, on_terminate);
    run->interrupt = on_signal(run, SIGINT, on_terminate);
    run->hand_over = on_signal(run, SIGUSR2, on_hand_over);
    run->adopted = (struct session_waiter){.ready = on_adopted, .context = run};
    session_adoption_wait(gateway->session_adoption, &run->adopted);
    run->reload = reload_create(gateway);
}

void gateway_run(struct gateway *gateway) {
    struct gateway_run *run = memory_alloc(sizeof *run);
    run->gateway = gateway;
    gateway->run = run;
    start(run);
    say_hello(gateway);
    loop_run(gateway->loop);
    struct event *const events[] = {run->terminate, run->interrupt, run->hand_over};
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        event_free(events[i]);
    reload_destroy(run->reload);
    successor_destroy(run->successor);
    loop_deadline_clear(gateway->loop, &run->farewell);
    loop_deadline_clear(gateway->loop, &run->patience);
    log_info("ended");
}
